/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/integrity.h"
#include "lib/random_env.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "base/rng.h"

#include <sched.h>
#include <shale/admin.h>
#include <shale/compact.h>
#include <shale/reader.h>
#include <shale/transaction.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Everything that a handle can do at once, under the thread sanitizer, for a few lives of one database: writers,
 * transactions, readers, snapshots, checkpoints with readers on them, collections, compactions that are asked for and
 * that come by themselves, with a filter, and a close while compactor, collector and timers are at work. Afterwards,
 * and in every reader, the same sums hold, and no object is missing.
 */

enum { WRITERS = 3, MOVERS = 3, COUNTERS = 2, ACCOUNTS = 8, BALANCE = 100, ROUNDS = 40, LIVES = 4 };

struct world {
    struct db_fixture *f;
    int rounds;
    int written; /* by each writer in the lives before */
    _Atomic int working; /* writers, movers and counters that are not done */
    _Atomic int errors;
    _Atomic unsigned moved, conflicts, counted, checkpoints, collections, compactions, filtered;
    struct shale_compaction_filter filter;
};

struct actor {
    struct worker w;
    struct world *world;
    int id;
    struct rng rng;
};

static void expect(struct world *w, bool ok, const char *what, int rc)
{
    if (ok)
        return;
    w->errors++;
    print_error("%s: %d, %s\n", what, rc, shale_errmsg());
}

/* ---- the filter: rows of keys x* are worth nothing once they are compacted ---- */

static int filter_create(void *ctx, const struct shale_filter_context *job, void **filter)
{
    (void)job;
    *filter = ctx;
    return 0;
}

static int filter_decide(void *filter, const struct shale_row *row, struct shale_buf *new_value)
{
    struct world *w = filter;

    (void)new_value;
    if (row->key.data[0] != 'x')
        return SHALE_FILTER_KEEP;
    w->filtered++;
    return SHALE_FILTER_DROP;
}

static int filter_end(void *filter)
{
    (void)filter;
    return 0;
}

static void filter_destroy(void *filter)
{
    (void)filter;
}

/* ---- who writes ---- */

/* Both keys of a pair have the same number, which only grows; and a row for the filter. */
static int write_pair(struct shale_db *db, int id, int value, bool durable)
{
    struct shale_batch *b = NULL;
    char left[16], right[16], waste[24], text[16];
    int rc = shale_batch_new(&b);

    snprintf(left, sizeof(left), "l%d", id);
    snprintf(right, sizeof(right), "r%d", id);
    snprintf(waste, sizeof(waste), "x%d-%d", id, value);
    snprintf(text, sizeof(text), "%06d", value);
    if (rc == 0)
        rc = shale_batch_put(b, slice_str(left), slice_str(text), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_batch_put(b, slice_str(right), slice_str(text), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_batch_put(b, slice_str(waste), slice_str(text), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_db_write(db, b, durable, NULL);
    shale_batch_free(b);
    return rc;
}

static void writer_main(void *arg)
{
    struct actor *a = arg;

    for (int i = 1; i <= a->world->rounds; i++) {
        int rc = write_pair(a->world->f->db, a->id, a->world->written + i, i % 4 == 0);

        expect(a->world, rc == 0, "writing", rc);
    }
    a->world->working--;
}

static struct shale_slice account(unsigned n, char out[8])
{
    snprintf(out, 8, "a%u", n);
    return slice_str(out);
}

static int read_number(struct shale_txn *t, struct shale_slice key, int *out)
{
    struct shale_buf value = SHALE_BUF_INIT;
    int rc = shale_txn_get(t, key, NULL, &value);

    if (rc == 0)
        rc = buf_put_u8(&value, 0);
    if (rc == 0)
        *out = atoi((const char *)value.data);
    shale_buf_fini(&value);
    return rc;
}

static int add_to(struct shale_txn *t, unsigned n, int amount)
{
    char key[8], text[16];
    int balance = 0, rc = read_number(t, account(n, key), &balance);

    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text), "%d", balance + amount);
    return shale_txn_put(t, account(n, key), slice_str(text), SHALE_TTL_INIT);
}

static int move(struct actor *a)
{
    unsigned from = (unsigned)rng_below(&a->rng, ACCOUNTS);
    unsigned to = (from + 1 + (unsigned)rng_below(&a->rng, ACCOUNTS - 1)) % ACCOUNTS;
    struct shale_txn *t = NULL;
    int rc = shale_txn_begin(a->world->f->db, a->id % 2 ? SHALE_TXN_SNAPSHOT : SHALE_TXN_SERIALIZABLE, &t);

    if (rc == 0)
        rc = add_to(t, from, -1);
    if (rc == 0)
        rc = add_to(t, to, 1);
    if (rc == 0)
        return shale_txn_commit(t, rng_below(&a->rng, 4) == 0, NULL);
    shale_txn_rollback(t);
    return rc;
}

static void mover_main(void *arg)
{
    struct actor *a = arg;

    for (int i = 0; i < a->world->rounds; i++) {
        int rc;

        while ((rc = move(a)) == SHALE_ECONFLICT)
            a->world->conflicts++;
        expect(a->world, rc == 0, "a transfer", rc);
        a->world->moved++;
    }
    a->world->working--;
}

/* Operands that never conflict. */
static void counter_main(void *arg)
{
    struct actor *a = arg;

    for (int i = 0; i < a->world->rounds; i++) {
        struct shale_txn *t = NULL;
        int rc = shale_txn_begin(a->world->f->db, SHALE_TXN_SERIALIZABLE, &t);

        if (rc == 0)
            rc = shale_txn_merge(t, slice_str("n"), slice_str("1"), SHALE_TTL_INIT);
        if (rc == 0)
            rc = shale_txn_unmark_write(t, slice_str("n"));
        if (rc == 0)
            rc = shale_txn_commit(t, false, NULL);
        expect(a->world, rc == 0, "counting", rc);
        a->world->counted++;
    }
    a->world->working--;
}

/* ---- who looks: at least once, however late their thread comes to run ---- */

struct sums {
    int left[WRITERS], right[WRITERS], balance, n_accounts;
    size_t count;
};

static void add_row(struct sums *s, const struct shale_row *row)
{
    char text[16];
    int id = row->key.len > 1 ? row->key.data[1] - '0' : 0;

    snprintf(text, sizeof(text), "%.*s", (int)row->value.len, (const char *)row->value.data);
    switch (row->key.data[0]) {
    case 'a':
        s->balance += atoi(text);
        s->n_accounts++;
        break;
    case 'l':
        s->left[id] = atoi(text);
        break;
    case 'r':
        s->right[id] = atoi(text);
        break;
    case 'n':
        s->count = row->value.len;
        break;
    default:
        break;
    }
}

/* Takes the iterator over. */
static void check_rows(struct world *w, struct shale_iter *it, struct sums *out)
{
    struct shale_row row;
    int rc;

    *out = (struct sums){ .count = 0 };
    while ((rc = shale_iter_next(it, &row)) == 0)
        add_row(out, &row);
    shale_iter_close(it);
    expect(w, rc == SHALE_END, "a scan", rc);
    expect(w, out->n_accounts == ACCOUNTS && out->balance == ACCOUNTS * BALANCE, "balances", out->balance);
    for (int i = 0; i < WRITERS; i++)
        expect(w, out->left[i] == out->right[i], "a pair", i);
}

static void scan(struct world *w, const struct shale_read_options *o, struct sums *out)
{
    struct shale_iter *it = NULL;
    int rc = shale_db_scan(w->f->db, &(struct shale_key_range){ 0 }, o, &it);

    expect(w, rc == 0, "begin of a scan", rc);
    if (rc == 0)
        check_rows(w, it, out);
}

static void reader_main(void *arg)
{
    struct actor *a = arg;
    struct shale_read_options o = { .descending = a->id % 2 };
    struct sums last = { .count = 0 }, now;

    do {
        scan(a->world, &o, &now);
        expect(a->world, now.count >= last.count, "the counter", (int)now.count);
        for (int i = 0; i < WRITERS; i++)
            expect(a->world, now.left[i] >= last.left[i], "a number that falls", i);
        last = now;
    } while (a->world->working > 0);
}

/* A snapshot gives the same before and after a flush and a collection. */
static void pinner_main(void *arg)
{
    struct actor *a = arg;
    struct world *w = a->world;

    do {
        struct shale_snapshot *snap = NULL;
        struct shale_read_options o = { 0 };
        struct sums first, second;
        int rc = shale_db_snapshot(w->f->db, &snap);

        expect(w, rc == 0, "a snapshot", rc);
        o.snapshot = snap;
        scan(w, &o, &first);
        rc = shale_db_flush(w->f->db, SHALE_FLUSH_MEMTABLE);
        expect(w, rc == 0, "a flush", rc);
        scan(w, &o, &second);
        expect(w, memcmp(&first, &second, sizeof(first)) == 0, "a snapshot that moved", 0);
        shale_snapshot_release(w->f->db, snap);
    } while (w->working > 0);
}

static void read_checkpoint(struct world *w, struct shale_uuid id)
{
    struct shale_reader_options opt;
    struct shale_reader *r = NULL;
    struct shale_iter *it = NULL;
    struct sums sums;
    int rc;

    shale_reader_options_init(&opt);
    opt.checkpoint = &id;
    opt.merge_operator = &w->f->op;
    rc = shale_reader_open(w->f->store, FIXTURE_ROOT, &opt, &r);
    expect(w, rc == 0, "a reader of a checkpoint", rc);
    if (rc < 0)
        return;
    rc = shale_reader_scan(r, &(struct shale_key_range){ 0 }, NULL, &it);
    expect(w, rc == 0, "a scan of a checkpoint", rc);
    if (rc == 0)
        check_rows(w, it, &sums);
    shale_reader_close(r);
}

static void checkpoint_main(void *arg)
{
    struct actor *a = arg;
    struct world *w = a->world;

    do {
        struct shale_checkpoint c;
        int rc = shale_db_checkpoint(w->f->db, rng_below(&a->rng, 2) ? SHALE_CHECKPOINT_ALL : SHALE_CHECKPOINT_DURABLE,
                                     NULL, &c);

        expect(w, rc == 0, "a checkpoint", rc);
        read_checkpoint(w, c.id);
        rc = shale_checkpoint_delete(w->f->store, FIXTURE_ROOT, NULL, c.id);
        expect(w, rc == 0, "deleting a checkpoint", rc);
        w->checkpoints++;
    } while (w->working > 0);
}

static void collector_main(void *arg)
{
    struct actor *a = arg;
    struct shale_gc_options opt;

    shale_gc_options_init(&opt);
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        opt.min_age_ms[k] = 0;
    do {
        int rc = shale_db_gc(a->world->f->db, &opt, NULL);

        expect(a->world, rc == 0, "a collection", rc);
        a->world->collections++;
    } while (a->world->working > 0);
}

static void compactor_main(void *arg)
{
    struct actor *a = arg;
    struct world *w = a->world;

    do {
        struct shale_compaction_spec spec = { .kind = rng_below(&a->rng, 2) ? SHALE_COMPACT_FULL : SHALE_COMPACT_L0 };
        struct shale_compaction c = { .status = SHALE_COMPACTION_SUBMITTED };
        struct shale_ulid id;
        int rc = shale_db_compact(w->f->db, &spec, &id);

        expect(w, rc == 0 || rc == SHALE_END || rc == -EINVAL, "asking for a compaction", rc);
        while (rc == 0 && w->working > 0 && c.status <= SHALE_COMPACTION_RUNNING) {
            rc = shale_db_compaction(w->f->db, id, &c); /* others may have its sources: then it fails */
            sched_yield();
        }
        w->compactions++;
    } while (w->working > 0);
}

/* ---- a life ---- */

static void (*const casts[])(void *) = {
    writer_main,  writer_main, writer_main,     mover_main,     mover_main,    mover_main, counter_main,
    counter_main, reader_main, reader_main,     pinner_main,    checkpoint_main, collector_main, compactor_main,
};

static void run_life(struct world *w, uint64_t seed)
{
    struct actor actors[ARRAY_SIZE(casts)];

    w->working = WRITERS + MOVERS + COUNTERS;
    for (size_t i = 0; i < ARRAY_SIZE(casts); i++) {
        actors[i] = (struct actor){ .world = w, .id = (int)i };
        rng_seed(&actors[i].rng, seed + i);
        check_ok(worker_start(&actors[i].w, "actor", casts[i], &actors[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(casts); i++)
        worker_join(&actors[i].w);
    assert_int_equal(w->errors, 0);
}

static void set_options(struct world *w)
{
    struct shale_options *opt = &w->f->opt;

    w->filter = (struct shale_compaction_filter){ .ctx = w, .create = filter_create, .decide = filter_decide,
                                                  .end = filter_end, .destroy = filter_destroy };
    opt->clock = NULL;
    opt->seed = 0;
    opt->flush_interval_ms = 1;
    opt->manifest_poll_interval_ms = 2;
    opt->l0_sst_size_bytes = 400;
    opt->l0_max_ssts = 6;
    opt->max_unflushed_bytes = 4000;
    opt->compactor.enabled = true;
    opt->compactor.min_sources = 2;
    opt->compactor.max_sst_size = 1500;
    opt->compaction_filter = &w->filter;
    opt->gc = (struct shale_collector_options){ .enabled = true, .interval_ms = 2 };
}

static void fill_accounts(struct world *w)
{
    char key[8];

    fixture_open(w->f);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        check_ok(shale_db_put(w->f->db, account(i, key), slice_str("100"), true));
    fixture_close(w->f);
}

/* What the filter is to drop is gone after a compaction of everything. */
static void compact_all(struct world *w)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct shale_iter *it = NULL;
    struct shale_row row;
    struct shale_ulid id;
    int rc;

    fixture_open(w->f);
    check_ok(shale_db_flush(w->f->db, SHALE_FLUSH_MEMTABLE));
    /* Those that come by themselves may be quicker, and have its sources; a full one comes to be in the end. */
    while (db_status(w->f->db).n_l0 > 0 || db_status(w->f->db).n_runs > 1 || db_status(w->f->db).n_compacting) {
        rc = shale_db_compact(w->f->db, &full, &id);
        assert_true(rc == 0 || rc == SHALE_END || rc == -EINVAL);
        sched_yield();
    }
    check_ok(shale_db_scan_prefix(w->f->db, slice_str("x"), NULL, &it));
    check_err(SHALE_END, shale_iter_next(it, &row));
    shale_iter_close(it);
    fixture_close(w->f);
}

/* The last life is abandoned: what was not durable then is gone, as a whole. */
static void everything_at_once(void **state)
{
    uint64_t scale = random_env(100).n;
    struct world w = { .f = *state, .rounds = (int)(ROUNDS * scale / 100) + 5 };
    struct sums sums;

    set_options(&w);
    fill_accounts(&w);
    for (uint64_t life = 0; life < LIVES; life++) {
        size_t count = w.counted;

        fixture_open(w.f);
        run_life(&w, life * 100);
        if (life + 1 == LIVES)
            fixture_crash(w.f);
        else
            fixture_close(w.f);
        check_integrity(w.f->mem, FIXTURE_ROOT);
        fixture_open(w.f);
        scan(&w, NULL, &sums);
        assert_int_equal(w.errors, 0);
        assert_true(sums.count >= count && sums.count <= w.counted);
        if (life + 1 < LIVES)
            assert_int_equal(sums.count, w.counted);
        for (int i = 0; life + 1 < LIVES && i < WRITERS; i++)
            assert_int_equal(sums.left[i], w.written + w.rounds);
        w.written += w.rounds; /* numbers go on where they were, or readers would see them fall */
        fixture_close(w.f);
    }
    compact_all(&w);
    print_message("%u moved, %u conflicts, %u checkpoints, %u collections, %u compactions, %u filtered\n", w.moved,
                  w.conflicts, w.checkpoints, w.collections, w.compactions, w.filtered);
    assert_true(w.checkpoints > 0 && w.collections > 0 && w.compactions > 0 && w.filtered > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_at_once, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
