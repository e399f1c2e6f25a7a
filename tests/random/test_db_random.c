/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/model.h"
#include "lib/random_env.h"

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Random operations on a database whose tables are so small that everything moves, compared with the model; closed, abandoned,
 * and cut off from its store at a random call. lib/random_env.h says how to choose cases and their number.
 */
enum { NO_L0_LIMIT = 1000, SNAPSHOTS = 3, DEFAULT_CASES = 200, OPS = 120 };

struct run {
    struct db_fixture f;
    struct model model;
    struct rng rng;
    uint64_t durable; /* everything up to here was acknowledged as durable */
    bool broken;      /* the store takes no writes any more */
    struct shale_snapshot *snapshots[SNAPSHOTS];
};

static unsigned below(struct run *r, unsigned n)
{
    return (unsigned)rng_below(&r->rng, n);
}

static void key_text(unsigned key, char out[8])
{
    snprintf(out, 8, "key%02u", key);
}

static void choose_options(struct run *r)
{
    struct shale_options *o = &r->f.opt;

    o->l0_sst_size_bytes = 1 + below(r, 2000);
    o->wal_max_bytes = below(r, 3) ? 0 : 1 + below(r, 300);
    o->max_unflushed_bytes = 1 + below(r, 4000);
    o->freeze_wal_count = 1 + below(r, 20);
    o->flush_interval_ms = below(r, 2);
    o->commit_gather_us = below(r, 2) ? 0 : 500;
    o->manifest_poll_interval_ms = 1 + below(r, 20);
    o->min_filter_keys = below(r, 5);
    o->block_cache_bytes = below(r, 3) ? 1 << 20 : 0;
    o->compactor.enabled = true;
    o->compactor.min_sources = 2;
    o->compactor.max_sources = 4;
    o->compactor.poll_interval_ms = 5;
    o->compactor.max_sst_size = 1 + below(r, 3000);
    o->l0_max_ssts = below(r, 2) ? 3 + below(r, 6) : NO_L0_LIMIT;
    o->codec = below(r, 4) ? SHALE_CODEC_NONE : SHALE_CODEC_ZSTD;
    o->wal_enabled = below(r, 6) != 0;
    o->seed = rng_next(&r->rng) | 1;
}

/* The whole database at one moment, in one direction. */
static void check_all(struct run *r, struct shale_db *db, const struct shale_read_options *o, uint64_t seq)
{
    struct shale_buf want = SHALE_BUF_INIT, got = SHALE_BUF_INIT, value = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    struct shale_row row;
    char key[8];
    int rc;

    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        unsigned k = o->descending ? MODEL_KEYS - 1 - i : i;

        if (!model_get(&r->model, k, seq, &value))
            continue;
        key_text(k, key);
        check_ok(buf_printf(&want, "%s=%.*s ", key, (int)value.len, (const char *)value.data));
    }
    check_ok(shale_db_scan(db, &(struct shale_key_range){ 0 }, o, &it));
    while ((rc = shale_iter_next(it, &row)) == 0)
        check_ok(buf_printf(&got, "%.*s=%.*s ", (int)row.key.len, (const char *)row.key.data, (int)row.value.len,
                            (const char *)row.value.data));
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    assert_string_equal(got.len ? (const char *)got.data : "", want.len ? (const char *)want.data : "");
    shale_buf_fini(&want);
    shale_buf_fini(&got);
    shale_buf_fini(&value);
}

static void check_one(struct run *r, const struct shale_read_options *o, uint64_t seq)
{
    struct shale_buf want = SHALE_BUF_INIT, got = SHALE_BUF_INIT;
    unsigned k = below(r, MODEL_KEYS);
    bool there = model_get(&r->model, k, seq, &want);
    char key[8];

    key_text(k, key);
    check_err(there ? 0 : -ENOENT, shale_db_get(r->f.db, slice_str(key), o, &got));
    if (there && !slice_eq(slice_of_buf(&want), slice_of_buf(&got)))
        fail_msg("%s is '%.*s', not '%.*s'", key, (int)got.len, (const char *)got.data, (int)want.len,
                 (const char *)want.data);
    shale_buf_fini(&want);
    shale_buf_fini(&got);
}

/* Part of the keys, with a seek in it. */
static void check_range(struct run *r)
{
    unsigned a = below(r, MODEL_KEYS), b = below(r, MODEL_KEYS), next, to = b;
    struct shale_read_options o = { .descending = below(r, 2) };
    uint64_t seq = model_last_seq(&r->model);
    struct shale_buf want = SHALE_BUF_INIT;
    struct shale_key_range range;
    struct shale_iter *it = NULL;
    struct shale_row row;
    char from_key[8], to_key[8], key[8];
    int rc;

    key_text(a, from_key);
    key_text(b, to_key);
    range = (struct shale_key_range){ slice_str(from_key), slice_str(to_key) };
    check_ok(shale_db_scan(r->f.db, &range, &o, &it));
    next = o.descending ? b : a;
    if (a < b && below(r, 2)) {
        next = a + below(r, b - a);
        key_text(next, key);
        check_ok(shale_iter_seek(it, slice_str(key)));
        next += o.descending; /* as the exclusive end */
    }
    while ((rc = shale_iter_next(it, &row)) == 0) {
        unsigned k = (unsigned)(row.key.data[3] - '0') * 10 + (unsigned)(row.key.data[4] - '0');
        bool there;

        /* Between the last one and this there is none. */
        for (; o.descending ? next > k + 1 : next < k; o.descending ? next-- : next++)
            assert_false(model_get(&r->model, o.descending ? next - 1 : next, seq, &want));
        there = model_get(&r->model, k, seq, &want);
        assert_true(there && k >= a && k < to && slice_eq(slice_of_buf(&want), row.value));
        next = o.descending ? k : k + 1;
    }
    check_err(SHALE_END, rc);
    for (; a < b && (o.descending ? next > a : next < b); o.descending ? next-- : next++)
        assert_false(model_get(&r->model, o.descending ? next - 1 : next, seq, &want));
    shale_iter_close(it);
    shale_buf_fini(&want);
}

/* Tell the model what became of a write: a handle that dies may have committed it before. */
static void note_write(struct run *r, uint64_t before, const struct model *batch, bool durable, int rc)
{
    uint64_t seq = db_status(r->f.db).committed_seq;

    if (!r->broken)
        check_ok(rc);
    if (rc == 0)
        assert_int_equal(seq, before + 1);
    for (size_t i = 0; seq > before && i < batch->n; i++)
        model_add(&r->model, seq, batch->changes[i].key, batch->changes[i].kind, batch->changes[i].value);
    if (rc == 0 && durable)
        r->durable = seq;
}

static void write_some(struct run *r)
{
    uint64_t before = db_status(r->f.db).committed_seq;
    bool durable = below(r, 4) == 0;
    struct model changes = { 0 };
    struct shale_batch *b = NULL;
    unsigned n = below(r, 3) ? 1 : 1 + below(r, 6);

    check_ok(shale_batch_new(&b));
    for (unsigned i = 0; i < n; i++) {
        enum shale_kind kind = (enum shale_kind)below(r, 3);
        unsigned k = below(r, MODEL_KEYS);
        char key[8], value[16] = "";

        key_text(k, key);
        if (kind != SHALE_TOMBSTONE)
            snprintf(value, sizeof(value), "%u,", below(r, 1000));
        if (kind == SHALE_PUT)
            check_ok(shale_batch_put(b, slice_str(key), slice_str(value), SHALE_TTL_INIT));
        else if (kind == SHALE_MERGE)
            check_ok(shale_batch_merge(b, slice_str(key), slice_str(value), SHALE_TTL_INIT));
        else
            check_ok(shale_batch_delete(b, slice_str(key)));
        model_add(&changes, 0, k, kind, value);
    }
    note_write(r, before, &changes, durable, shale_db_write(r->f.db, b, durable, NULL));
    shale_batch_free(b);
    model_fini(&changes);
}

static void release_snapshots(struct run *r)
{
    for (int i = 0; i < SNAPSHOTS; i++) {
        shale_snapshot_release(r->f.db, r->snapshots[i]);
        r->snapshots[i] = NULL;
    }
}

static void use_snapshot(struct run *r)
{
    struct shale_snapshot **s = &r->snapshots[below(r, SNAPSHOTS)];
    struct shale_read_options o = { .descending = below(r, 2) };

    if (!*s) {
        check_ok(shale_db_snapshot(r->f.db, s));
        return;
    }
    o.snapshot = *s;
    check_all(r, r->f.db, &o, shale_snapshot_seq(*s));
    check_one(r, &o, shale_snapshot_seq(*s));
    if (below(r, 2)) {
        shale_snapshot_release(r->f.db, *s);
        *s = NULL;
    }
}

static void flush_some(struct run *r)
{
    enum shale_flush_kind kind = below(r, 2) || !r->f.opt.wal_enabled ? SHALE_FLUSH_MEMTABLE : SHALE_FLUSH_WAL;
    uint64_t seq = db_status(r->f.db).committed_seq;
    int rc = shale_db_flush(r->f.db, kind);

    if (!r->broken)
        check_ok(rc);
    if (rc == 0)
        r->durable = seq;
}

/* From a random one of the next calls on nothing is written any more, as when the machine dies. */
static void cut_off(struct run *r)
{
    const struct fault_rule cut[] = {
        { .cls = FAULT_PUT, .nth = 1 + below(r, 6), .times = FAULT_ALWAYS, .rc = -EIO },
        { .cls = FAULT_UPLOAD_FINISH, .nth = 1 + below(r, 3), .times = FAULT_ALWAYS, .rc = -EIO },
        { .cls = FAULT_DELETE, .times = FAULT_ALWAYS, .rc = -EIO },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cut); i++)
        store_fault_add(r->f.store, &cut[i]);
    r->broken = true;
}

/* After a crash: what was durable is there, what is there is a beginning of what was written, and it goes on gaplessly. */
static void reopen(struct run *r, bool clean)
{
    struct shale_read_options o = { 0 };
    uint64_t seq;

    release_snapshots(r);
    if (clean && !r->broken) {
        r->durable = db_status(r->f.db).committed_seq;
        fixture_close(&r->f);
    } else if (clean) {
        if (shale_db_close(r->f.db, SHALE_CLOSE_FLUSH) == 0)
            r->durable = model_last_seq(&r->model);
        r->f.db = NULL;
    } else {
        fixture_crash(&r->f);
    }
    store_fault_clear(r->f.store);
    r->broken = false;
    if (below(r, 3) == 0)
        choose_options(r);
    fixture_open(&r->f);
    seq = db_status(r->f.db).committed_seq;
    assert_in_range(seq, r->durable, model_last_seq(&r->model));
    model_truncate(&r->model, seq);
    r->durable = seq;
    check_all(r, r->f.db, &o, seq);
}

static void read_some(struct run *r)
{
    struct shale_read_options o = { .descending = below(r, 2), .read_ahead_bytes = below(r, 2) ? 0 : 5000 };

    switch (below(r, 4)) {
    case 0:
        check_all(r, r->f.db, &o, model_last_seq(&r->model));
        break;
    case 1:
        check_range(r);
        break;
    default:
        check_one(r, &o, model_last_seq(&r->model));
    }
}

static void step(struct run *r)
{
    unsigned what = below(r, 100);

    r->f.now_ms += below(r, 3);
    if (what < 55)
        write_some(r);
    else if (what < 75)
        read_some(r);
    else if (what < 83)
        use_snapshot(r);
    else if (what < 90)
        flush_some(r);
    else if (what < 94)
        reopen(r, true);
    else if (what < 97)
        reopen(r, false);
    else if (!r->broken && r->f.opt.l0_max_ssts == NO_L0_LIMIT)
        cut_off(r); /* otherwise writers may wait for ever for a compactor that cannot write */
}

static void one_case(uint64_t seed)
{
    struct run *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    fixture_init(&r->f);
    rng_seed(&r->rng, seed);
    choose_options(r);
    fixture_open(&r->f);
    for (int i = 0; i < OPS; i++)
        step(r);
    reopen(r, true);
    check_ok(shale_db_flush(r->f.db, SHALE_FLUSH_MEMTABLE));
    reopen(r, false);
    fixture_fini(&r->f);
    model_fini(&r->model);
    free(r);
}

static void random_operations_agree_with_the_model(void **state)
{
    struct random_env env = random_env(DEFAULT_CASES);

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("SHALE_SEED=%llu\n", (unsigned long long)(env.first + i));
        one_case(env.first + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations_agree_with_the_model) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
