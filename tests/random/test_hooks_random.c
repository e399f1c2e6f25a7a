/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/hooks.h"
#include "lib/random_env.h"

#include "base/rng.h"

#include <inttypes.h>
#include <sched.h>
#include <shale/compact.h>
#include <shale/inspect.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A database with all hooks, some of whose calls fail, beside a model: writes, flushes, compactions that are interrupted
 * and resumed, crashes. At any time each SST and WAL object has a blob, which says what its rows are; and when all is
 * compacted the blobs together say what the model holds. Values come back with the marks of the flush transform.
 */

#define N_KEYS 40
#define VALUE_MAX 1000
#define VALUE_LEN_MAX 200
#define N_OPS 120

struct scene {
    uint64_t seed;
    struct rng rng;
    struct db_fixture f;
    struct tally_hook tally;
    struct mark_hook mark;
    struct xor_hook xor;
    unsigned n_recorded; /* outputs that resumed compactions found */
    struct entry {
        bool present;
        char value[VALUE_MAX + 8];
    } model[N_KEYS];
};

static void key_of(size_t i, char out[4])
{
    snprintf(out, 4, "%c%02zu", (char)('a' + i % 4), i);
}

/* ---- what the blobs say ---- */

static int tally_row(void *arg, const struct shale_row *row)
{
    ((unsigned *)arg)[row->key.data[0]]++;
    return 0;
}

struct look {
    struct scene *s;
    struct shale_inspect *in;
    unsigned in_ssts[256]; /* by blobs */
    size_t n_ssts;
};

static void check_blob(const struct shale_properties *p, const unsigned rows[256])
{
    struct shale_buf want = SHALE_BUF_INIT;

    for (int i = 0; i < 256; i++)
        if (rows[i])
            check_ok(buf_printf(&want, "%c=%u ", i, rows[i]));
    if (p->kind == SHALE_SST_WAL && want.len == 0) {
        assert_false(p->has_blob); /* a fence */
    } else {
        assert_true(p->has_blob);
        assert_true(slice_eq(p->blob, slice_of_buf(&want)));
    }
    shale_buf_fini(&want);
}

static int look_at(void *arg, const struct shale_properties *p)
{
    unsigned rows[256] = { 0 };
    struct look *l = arg;
    struct shale_sst *sst = NULL;

    if (p->kind == SHALE_SST_WAL) {
        check_ok(shale_inspect_wal_rows(l->in, p->wal_id, tally_row, rows));
        check_blob(p, rows);
        return 0;
    }
    check_ok(shale_inspect_sst(l->in, p->id, &sst));
    check_ok(shale_sst_rows(sst, tally_row, rows));
    shale_sst_close(sst);
    check_blob(p, rows);
    l->n_ssts++;
    for (int i = 0; i < 256; i++)
        l->in_ssts[i] += rows[i];
    return 0;
}

static void look(struct scene *s, struct look *l)
{
    const struct shale_inspect_options opt = { .block_transformer = &s->xor.hook };

    *l = (struct look){ .s = s };
    check_ok(shale_inspect_open(s->f.store, FIXTURE_ROOT, &opt, &l->in));
    check_ok(shale_inspect_properties(l->in, NULL, look_at, l));
    shale_inspect_close(l->in);
}

/* ---- the rows ---- */

/* Without the marks: how many there are depends on when tables were flushed. */
static void check_rows(struct scene *s)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        struct shale_buf v = SHALE_BUF_INIT;
        char key[4];
        size_t n = 0;
        int rc;

        key_of(i, key);
        rc = shale_db_get(s->f.db, slice_str(key), NULL, &v);
        assert_int_equal(rc, s->model[i].present ? 0 : -ENOENT);
        for (size_t k = 0; rc == 0 && k < v.len; k++)
            if (v.data[k] != '<' && v.data[k] != '>')
                v.data[n++] = v.data[k];
        if (rc == 0)
            assert_true(slice_eq(slice_of(v.data, n), slice_str(s->model[i].value)));
        shale_buf_fini(&v);
    }
}

static void write_one(struct scene *s)
{
    size_t i = rng_below(&s->rng, N_KEYS), len;
    struct entry *e = &s->model[i];
    uint64_t what = rng_below(&s->rng, 10);
    char key[4], value[VALUE_LEN_MAX + 1];

    key_of(i, key);
    snprintf(value, sizeof(value), "%0*" PRIu64 ".", (int)rng_below(&s->rng, VALUE_LEN_MAX), rng_below(&s->rng, 100000));
    len = e->present ? strlen(e->value) : 0;
    if (what == 0) {
        check_ok(delete_text(s->f.db, key, false));
        *e = (struct entry){ .present = false };
    } else if (what < 5 && len + sizeof(value) < VALUE_MAX) {
        check_ok(merge_text(s->f.db, key, value, false));
        snprintf(e->value + len, VALUE_MAX - len, "%s", value);
        e->present = true;
    } else {
        check_ok(put_text(s->f.db, key, value, false));
        snprintf(e->value, VALUE_MAX, "%s", value);
        e->present = true;
    }
}

/* ---- failures of the hooks ---- */

static void some_failures(struct scene *s)
{
    struct hook_fault *faults[] = { &s->tally.create_fault, &s->tally.add_fault, &s->tally.finish_fault,
                                    &s->mark.create_fault,  &s->mark.apply_fault, &s->mark.end_fault,
                                    &s->xor.encode_fault };

    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        if (rng_below(&s->rng, 6) == 0)
            hook_fault_set(faults[i], 1 + (unsigned)rng_below(&s->rng, 8), 1 + (unsigned)rng_below(&s->rng, 2), -EIO);
}

static void no_failures(struct scene *s)
{
    hook_fault_set(&s->tally.create_fault, 0, 0, 0);
    hook_fault_set(&s->tally.add_fault, 0, 0, 0);
    hook_fault_set(&s->tally.finish_fault, 0, 0, 0);
    hook_fault_set(&s->mark.create_fault, 0, 0, 0);
    hook_fault_set(&s->mark.apply_fault, 0, 0, 0);
    hook_fault_set(&s->mark.end_fault, 0, 0, 0);
    hook_fault_set(&s->xor.encode_fault, 0, 0, 0);
    hook_fault_set(&s->xor.decode_fault, 0, 0, 0);
}

/* ---- compactions ---- */

struct teller {
    _Atomic unsigned n_completed, n_failed;
};

static void tell(void *arg, const struct shale_compaction *c, int rc)
{
    struct teller *t = arg;

    (void)rc;
    if (c && c->status == SHALE_COMPACTION_COMPLETED)
        atomic_fetch_add(&t->n_completed, 1);
    if (c && c->status == SHALE_COMPACTION_FAILED)
        atomic_fetch_add(&t->n_failed, 1);
}

static int count_outputs(void *arg, const struct shale_compaction *c)
{
    if (c->status == SHALE_COMPACTION_RUNNING)
        *(unsigned *)arg = c->n_outputs;
    return 0;
}

/* Whether it stands in front of output stop_at, and those before are recorded. */
static bool stands(struct scene *s, unsigned rule, unsigned stop_at)
{
    unsigned n = 0;

    if (store_fault_hits(s->f.store, rule) == 0)
        return false;
    check_ok(shale_compaction_list(s->f.store, FIXTURE_ROOT, count_outputs, &n));
    s->n_recorded += n >= stop_at - 1 ? n : 0;
    return n >= stop_at - 1;
}

/*
 * One compactor, until it is done, or (stop_at not 0) until it stands in front of that output. Whether a compaction
 * ended; spec NULL: go on with what is recorded.
 */
static bool compactor_turn(struct scene *s, const struct shale_compaction_spec *spec, unsigned stop_at)
{
    struct teller t = { .n_completed = 0 };
    const struct shale_compactor_config cfg = { .only_submitted = true, .report = tell, .arg = &t };
    const struct fault_rule outage = { .cls = FAULT_PUT, .action = FAULT_FAIL, .match = "/compacted/", .nth = stop_at,
                                       .times = FAULT_ALWAYS };
    struct shale_compactor *c = NULL;
    struct shale_ulid id;
    unsigned rule = 0;
    int rc = 0;

    if (stop_at)
        rule = store_fault_add(s->f.store, &outage);
    check_ok(shale_compactor_open(s->f.store, FIXTURE_ROOT, &s->f.opt, &cfg, &c));
    if (spec)
        rc = shale_compaction_submit(s->f.store, FIXTURE_ROOT, spec, &id);
    if (rc != SHALE_END)
        check_ok(rc);
    shale_compactor_wake(c);
    while (rc == 0 && t.n_completed + t.n_failed == 0 && !(stop_at && stands(s, rule, stop_at)))
        sched_yield();
    shale_compactor_close(c);
    store_fault_clear(s->f.store);
    return rc == SHALE_END || t.n_completed + t.n_failed > 0;
}

/* With the database closed, so that no flush is held up by the outage. With failures nothing may come of it. */
static void compact(struct scene *s, enum shale_compaction_kind kind, unsigned stop_at, bool with_failures)
{
    const struct shale_compaction_spec spec = { .kind = kind };

    fixture_close(&s->f);
    if (with_failures) {
        some_failures(s);
        hook_fault_set(&s->xor.decode_fault, 1 + (unsigned)rng_below(&s->rng, 60), 1, -EIO);
    }
    if (!compactor_turn(s, &spec, stop_at))
        assert_true(compactor_turn(s, NULL, 0));
    no_failures(s);
    fixture_open(&s->f);
}

static void step(struct scene *s)
{
    uint64_t what = rng_below(&s->rng, 40);

    if (what < 30) {
        write_one(s);
    } else if (what < 35) {
        some_failures(s);
        check_ok(shale_db_flush(s->f.db, what < 32 ? SHALE_FLUSH_WAL : SHALE_FLUSH_MEMTABLE));
        no_failures(s);
    } else if (what < 37) {
        if (what == 35)
            some_failures(s);
        check_ok(shale_db_flush(s->f.db, SHALE_FLUSH_WAL));
        fixture_crash(&s->f);
        no_failures(s);
        fixture_open(&s->f);
    } else {
        compact(s, what == 37 ? SHALE_COMPACT_L0 : SHALE_COMPACT_FULL,
                rng_below(&s->rng, 2) ? 1 + (unsigned)rng_below(&s->rng, 4) : 0, rng_below(&s->rng, 3) == 0);
    }
}

/* Everything is in one run, a row for each key. */
static void check_sum(struct scene *s)
{
    unsigned want[256] = { 0 };
    struct look l;

    for (size_t i = 0; i < N_KEYS; i++)
        want['a' + i % 4] += s->model[i].present;
    check_ok(shale_db_flush(s->f.db, SHALE_FLUSH_MEMTABLE));
    compact(s, SHALE_COMPACT_FULL, 1 + (unsigned)rng_below(&s->rng, 4), false);
    look(s, &l);
    assert_memory_equal(l.in_ssts, want, sizeof(want));
}

/* How many outputs resumed compactions found. */
static unsigned run_scene(uint64_t seed)
{
    struct scene *s = calloc(1, sizeof(*s));
    unsigned n_recorded;
    struct look l;

    assert_non_null(s);
    s->seed = seed;
    rng_seed(&s->rng, seed);
    fixture_init(&s->f);
    tally_hook_init(&s->tally);
    mark_hook_init(&s->mark);
    xor_hook_init(&s->xor, 0x3c, true);
    s->f.opt.manifest_poll_interval_ms = 2;
    s->f.opt.codec = (enum shale_codec)rng_below(&s->rng, SHALE_CODEC_ZSTD + 1);
    s->f.opt.l0_max_ssts = 1000; /* nothing compacts by itself, and a flush waits for room */
    s->f.opt.compactor.max_sst_size = 1 + rng_below(&s->rng, 600);
    s->f.opt.compactor.poll_interval_ms = 1;
    s->f.opt.property_collector = &s->tally.hook;
    s->f.opt.flush_transform = &s->mark.hook;
    s->f.opt.block_transformer = &s->xor.hook;
    fixture_open(&s->f);
    for (size_t i = 0; i < N_OPS; i++) {
        step(s);
        if (rng_below(&s->rng, 12) == 0) {
            check_rows(s);
            look(s, &l);
        }
    }
    check_sum(s);
    check_rows(s);
    fixture_close(&s->f);
    assert_int_equal(s->tally.alive, 0);
    assert_int_equal(s->mark.alive, 0);
    fixture_fini(&s->f);
    n_recorded = s->n_recorded;
    free(s);
    return n_recorded;
}

static void blobs_say_what_the_rows_are(void **state)
{
    const struct random_env env = random_env(25);

    unsigned n = 0;

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("seed %" PRIu64 "\n", env.first + i);
        n += run_scene(env.first + i);
    }
    if (env.n >= 10)
        assert_true(n > 0); /* it does what it is for */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(blobs_say_what_the_rows_are) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
