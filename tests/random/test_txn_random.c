/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/model.h"
#include "lib/random_env.h"

#include "base/rng.h"

#include <shale/transaction.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Random transactions side by side on few keys, against two naive judges: one says from the sets of keys alone whether a
 * commit must succeed, the other repeats all committed transactions one after the other, in the order of their
 * commits, and wants every read to give the same again. SHALE_RANDOM_CASES says how many cases, SHALE_SEED replays one.
 */
enum { KEYS = 8, TXNS = 4, READS = 64, WRITES = 64, STEPS = 150, DEFAULT_CASES = 150, TEXT = 48 };

/* What one read gave: a key, or the keys of a range. */
struct seen {
    unsigned from, to; /* keys looked at: from..to-1 */
    size_t n_writes;   /* own writes before it */
    char text[KEYS][TEXT];
    bool there[KEYS];
};

struct write {
    unsigned key;
    enum shale_kind kind;
    char value[8];
};

struct txn {
    struct shale_txn *t; /* NULL: none under way */
    enum shale_isolation isolation;
    uint64_t started;
    struct write writes[WRITES];
    size_t n_writes;
    struct seen reads[READS];
    size_t n_reads;
    unsigned write_mask, read_mask; /* keys that count */
};

struct commit {
    uint64_t seq;
    unsigned mask;
};

struct run {
    struct db_fixture f;
    struct rng rng;
    struct model model;
    struct txn txns[TXNS];
    struct commit commits[STEPS];
    size_t n_commits;
    bool unmarks; /* then commits need not be in any order */
    unsigned n_ok, n_conflicts, n_values;
};

static unsigned below(struct run *r, unsigned n)
{
    return (unsigned)rng_below(&r->rng, n);
}

static struct shale_slice key_slice(unsigned key, char out[8])
{
    snprintf(out, 8, "key%02u", key);
    return slice_str(out);
}

static unsigned key_number(struct shale_slice key)
{
    return (unsigned)(key.data[3] - '0') * 10 + (unsigned)(key.data[4] - '0');
}

/* The value of a key for a transaction that has done n_writes and stands at seq. */
static bool value_for(const struct run *r, const struct txn *t, unsigned key, uint64_t seq, size_t n_writes, char out[TEXT])
{
    struct shale_buf b = SHALE_BUF_INIT;
    bool there = model_get(&r->model, key, seq, &b);

    for (size_t i = 0; i < n_writes; i++) {
        const struct write *w = &t->writes[i];

        if (w->key != key)
            continue;
        if (w->kind != SHALE_MERGE || !there)
            b.len = 0;
        there = w->kind != SHALE_TOMBSTONE;
        check_ok(buf_append_slice(&b, slice_str(w->value)));
    }
    snprintf(out, TEXT, "%.*s", there ? (int)b.len : 0, b.len ? (const char *)b.data : "");
    shale_buf_fini(&b);
    return there;
}

/* A read gave what the model has at seq. */
static void check_seen(struct run *r, const struct txn *t, const struct seen *s, uint64_t seq, const char *what)
{
    char want[TEXT];

    for (unsigned k = s->from; k < s->to; k++)
        if (value_for(r, t, k, seq, s->n_writes, want) != s->there[k] || (s->there[k] && strcmp(want, s->text[k]) != 0))
            fail_msg("%s: key %u read as '%s', is '%s'", what, k, s->there[k] ? s->text[k] : "(none)", want);
}

static void add_seen(struct run *r, struct txn *t, const struct seen *s)
{
    check_seen(r, t, s, t->started, "at its beginning");
    if (t->isolation != SHALE_TXN_SERIALIZABLE)
        return;
    if (s->from < s->to)
        t->reads[t->n_reads++] = *s;
    for (unsigned k = s->from; k < s->to; k++)
        t->read_mask |= 1u << k;
}

static void note(struct seen *s, unsigned key, struct shale_slice value)
{
    s->there[key] = true;
    snprintf(s->text[key], TEXT, "%.*s", (int)value.len, (const char *)value.data);
}

static void step_get(struct run *r, struct txn *t)
{
    unsigned key = below(r, KEYS);
    struct seen s = { .from = key, .to = key + 1, .n_writes = t->n_writes };
    struct shale_buf value = SHALE_BUF_INIT;
    char text[8];
    int rc = shale_txn_get(t->t, key_slice(key, text), NULL, &value);

    if (rc == 0)
        note(&s, key, slice_of_buf(&value));
    else
        check_err(-ENOENT, rc);
    add_seen(r, t, &s);
    shale_buf_fini(&value);
}

/* A scan that may end early; what it went over without finding anything was read, too. */
static void step_scan(struct run *r, struct txn *t)
{
    unsigned a = below(r, KEYS + 1), b = below(r, KEYS + 1), max = below(r, 3) ? KEYS + 1 : below(r, 3);
    const struct shale_read_options o = { .descending = below(r, 2) };
    char from[8], to[8];
    const struct shale_key_range range = { key_slice(a, from), b == KEYS ? slice_of(NULL, 0) : key_slice(b, to) };
    struct seen s = { .from = a, .to = a, .n_writes = t->n_writes };
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc = 0;

    if (o.descending)
        s.from = s.to = b;
    check_ok(shale_txn_scan(t->t, &range, &o, &it));
    for (unsigned n = 0; n < max && (rc = shale_iter_next(it, &row)) == 0; n++) {
        unsigned key = key_number(row.key);

        assert_true(key >= a && key < b);
        note(&s, key, row.value);
        if (o.descending)
            s.from = key;
        else
            s.to = key + 1;
    }
    if (rc == SHALE_END && a < b) {
        s.from = a;
        s.to = b;
    }
    shale_iter_close(it);
    add_seen(r, t, &s);
}

static void step_write(struct run *r, struct txn *t)
{
    struct write *w = &t->writes[t->n_writes++];
    unsigned kind = below(r, 4);
    struct shale_slice key;
    char text[8];

    w->key = below(r, KEYS);
    w->kind = kind == 0 ? SHALE_TOMBSTONE : kind == 1 ? SHALE_MERGE : SHALE_PUT;
    w->value[0] = '\0';
    if (kind != 0)
        snprintf(w->value, sizeof(w->value), "%u,", r->n_values % 1000);
    r->n_values++;
    key = key_slice(w->key, text);
    if (w->kind == SHALE_PUT)
        check_ok(shale_txn_put(t->t, key, slice_str(w->value), SHALE_TTL_INIT));
    else if (w->kind == SHALE_MERGE)
        check_ok(shale_txn_merge(t->t, key, slice_str(w->value), SHALE_TTL_INIT));
    else
        check_ok(shale_txn_delete(t->t, key));
    t->write_mask |= 1u << w->key;
}

static void step_mark(struct run *r, struct txn *t)
{
    unsigned key = below(r, KEYS);
    char text[8];

    if (r->unmarks && below(r, 2)) {
        check_ok(shale_txn_unmark_write(t->t, key_slice(key, text)));
        t->write_mask &= ~(1u << key);
    } else {
        check_ok(shale_txn_mark_read(t->t, key_slice(key, text)));
        t->read_mask |= 1u << key;
    }
}

/* The first judge. */
static bool must_fail(const struct run *r, const struct txn *t)
{
    if (t->n_writes == 0 && t->isolation == SHALE_TXN_SNAPSHOT)
        return false;
    for (size_t i = 0; i < r->n_commits; i++)
        if (r->commits[i].seq > t->started && (r->commits[i].mask & (t->write_mask | t->read_mask)))
            return true;
    return false;
}

static void record(struct run *r, uint64_t seq, unsigned mask)
{
    r->commits[r->n_commits++] = (struct commit){ .seq = seq, .mask = mask };
}

static void step_commit(struct run *r, struct txn *t)
{
    struct shale_write_result w = { 0 };
    uint64_t before = model_last_seq(&r->model);
    bool fails = must_fail(r, t);

    check_err(fails ? SHALE_ECONFLICT : 0, shale_txn_commit(t->t, below(r, 8) == 0, &w));
    t->t = NULL;
    if (fails) {
        r->n_conflicts++;
        return;
    }
    r->n_ok++;
    /* The second judge: as if the whole transaction took place here and now. */
    for (size_t i = 0; i < t->n_reads && !r->unmarks; i++)
        check_seen(r, t, &t->reads[i], before, "at its commit");
    if (t->n_writes == 0)
        return;
    for (size_t i = 0; i < t->n_writes; i++)
        model_add(&r->model, w.seq, t->writes[i].key, t->writes[i].kind, t->writes[i].value);
    record(r, w.seq, t->write_mask);
}

static void step_plain(struct run *r)
{
    struct shale_write_result w = { 0 };
    struct shale_batch *b = NULL;
    unsigned key = below(r, KEYS);
    char text[8], value[8];

    snprintf(value, sizeof(value), "%u,", r->n_values++ % 1000);
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_put(b, key_slice(key, text), slice_str(value), SHALE_TTL_INIT));
    check_ok(shale_db_write(r->f.db, b, false, &w));
    shale_batch_free(b);
    model_add(&r->model, w.seq, key, SHALE_PUT, value);
    record(r, w.seq, 1u << key);
}

static void step(struct run *r)
{
    struct txn *t = &r->txns[below(r, TXNS)];
    unsigned what = below(r, 20);

    if (what == 0) {
        step_plain(r);
    } else if (!t->t) {
        *t = (struct txn){ .isolation = below(r, 4) ? SHALE_TXN_SERIALIZABLE : SHALE_TXN_SNAPSHOT };
        check_ok(shale_txn_begin(r->f.db, t->isolation, &t->t));
        t->started = shale_txn_seq(t->t);
        assert_int_equal(t->started, model_last_seq(&r->model));
    } else if (what < 3 || t->n_reads == READS || t->n_writes == WRITES) {
        step_commit(r, t);
    } else if (what == 3 && below(r, 3) == 0) {
        shale_txn_rollback(t->t);
        t->t = NULL;
    } else if (what < 8) {
        step_get(r, t);
    } else if (what < 11) {
        step_scan(r, t);
    } else if (what < 12) {
        step_mark(r, t);
    } else if (what < 13 && below(r, 4) == 0) {
        check_ok(shale_db_flush(r->f.db, SHALE_FLUSH_MEMTABLE));
    } else {
        step_write(r, t);
    }
}

static void run_case(struct run *r, uint64_t seed)
{
    rng_seed(&r->rng, seed);
    fixture_init(&r->f);
    r->f.opt.l0_sst_size_bytes = 1 + below(r, 3000);
    r->f.opt.l0_max_ssts = 1000;
    r->f.opt.compactor.enabled = below(r, 2);
    r->f.opt.compactor.min_sources = 2;
    r->f.opt.compactor.poll_interval_ms = 5;
    r->unmarks = below(r, 3) == 0;
    fixture_open(&r->f);
    for (unsigned i = 0; i < STEPS; i++)
        step(r);
    for (unsigned i = 0; i < TXNS; i++) {
        shale_txn_rollback(r->txns[i].t);
        r->txns[i].t = NULL;
    }
    fixture_close(&r->f);
    fixture_fini(&r->f);
    model_fini(&r->model);
}

static void test_random(void **state)
{
    struct random_env env = random_env(DEFAULT_CASES);
    unsigned ok = 0, conflicts = 0;

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        struct run *r = calloc(1, sizeof(*r));

        assert_non_null(r);
        print_message("SHALE_SEED=%llu\n", (unsigned long long)(env.first + i));
        run_case(r, env.first + i);
        ok += r->n_ok;
        conflicts += r->n_conflicts;
        free(r);
    }
    print_message("%u committed, %u had conflicts\n", ok, conflicts);
    assert_true(env.n < 10 || (ok > env.n && conflicts > env.n));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
