/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GC_FIXTURE_H
#define TESTS_GC_FIXTURE_H

#include "lib/check.h"
#include "lib/store_aged.h"
#include "lib/store_fault.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "compact/compactor_state.h"
#include "compact/gc.h"
#include "manifest/checkpoint.h"
#include "manifest/compactions_store.h"
#include "object/paths.h"
#include "sst/sst_writer.h"

#include <errno.h>
#include <shale/admin.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOT "t/db"
#define NOW INT64_C(1700000000000)
#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

/* A database of objects made by hand, whose ages are set; and a clock that stands. */
struct fix {
    struct shale_store *mem, *fault, *store; /* store_aged over store_fault over mem */
    struct manifest_store *ms;
    struct shale_clock clock;
    struct shale_admin_options admin;
    struct shale_gc_options opt;
    struct shale_gc_result res;
    struct shale_buf text;
};

static inline int64_t now(void *ctx)
{
    (void)ctx;
    return NOW;
}

static inline int setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(shale_store_memory(&f->mem), 0);
    f->fault = store_fault_new(f->mem);
    f->store = store_aged_new(f->fault, NOW);
    assert_int_equal(manifest_store_new(f->store, ROOT, 10000, &f->ms), 0);
    f->clock = (struct shale_clock){ .now_ms = now };
    f->admin.clock = &f->clock;
    shale_gc_options_init(&f->opt);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fix *f = *state;

    manifest_store_free(f->ms);
    shale_store_close(f->store);
    shale_store_close(f->fault);
    shale_store_close(f->mem);
    shale_buf_fini(&f->text);
    free(f);
    return 0;
}

static inline void check_rc(int want, int rc)
{
    if (rc != want)
        fail_msg("%d (%s), not %d: %s", rc, shale_strerror(rc), want, shale_errmsg());
}

/* ---- making ---- */

static inline void first_manifest(struct fix *f)
{
    struct manifest m;

    manifest_init(&m);
    m.initialized = true;
    check_rc(0, manifest_store_create(f->ms, &m));
    manifest_fini(&m);
}

struct edit {
    uint64_t replay_after, last_seen;
    void (*fn)(struct manifest *m, void *arg);
    void *arg;
};

static inline int apply(void *arg, struct manifest *m, uint64_t next_id)
{
    struct edit *e = arg;

    (void)next_id;
    if (e->replay_after)
        m->replay_after_wal_id = e->replay_after;
    if (e->last_seen)
        m->wal_id_last_seen = e->last_seen;
    if (e->fn)
        e->fn(m, e->arg);
    return 0;
}

/* The next version. */
static inline void next_manifest(struct fix *f, struct edit e)
{
    check_rc(0, manifest_store_update(f->ms, apply, &e, NULL));
}

/* A checkpoint of the version that brings it. */
static inline struct shale_checkpoint checkpoint(struct fix *f, const struct shale_checkpoint_options *opt)
{
    struct shale_checkpoint c;

    check_rc(0, shale_checkpoint_create(f->store, ROOT, &f->admin, opt, &c));
    return c;
}

static inline void put(struct fix *f, const char *dir, const char *name, const char *bytes)
{
    char path[PATH_NAME_MAX];

    snprintf(path, sizeof(path), ROOT "/%s/%s", dir, name);
    check_rc(0, shale_store_put(f->mem, path, (struct shale_slice){ (const uint8_t *)bytes, strlen(bytes) },
                                SHALE_PUT_IF_ABSENT));
}

/* With one row, or as a fence with none. */
static inline void put_wal_object(struct fix *f, uint64_t id, bool fence)
{
    const struct sst_format format = { .block_size = 4096, .min_filter_keys = 1000, .filter_bits_per_key = 10 };
    const struct shale_row row = { .key = slice_str("k"), .seq = 1, .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
    const struct shale_row *rows = &row;
    struct shale_buf data = SHALE_BUF_INIT;
    char path[PATH_NAME_MAX];

    assert_int_equal(fence ? wal_fence_encode(&format, &data) : wal_sst_encode(&format, &rows, 1, &data), 0);
    assert_true(data.len < 1024);
    assert_int_equal(path_wal(ROOT, id, path), 0);
    check_rc(0, shale_store_put(f->mem, path, slice_of_buf(&data), SHALE_PUT_IF_ABSENT));
    shale_buf_fini(&data);
}

static inline void put_wal(struct fix *f, uint64_t id)
{
    put_wal_object(f, id, false);
}

static inline void put_fence(struct fix *f, uint64_t id)
{
    put_wal_object(f, id, true);
}

/* An id of this age; n tells those of one age apart. */
static inline struct shale_ulid id_of(int64_t age_ms, unsigned n)
{
    return (struct shale_ulid){ .hi = (uint64_t)(NOW - age_ms) << 16, .lo = n };
}

static inline void put_sst(struct fix *f, struct shale_ulid id)
{
    char text[SHALE_ULID_TEXT_LEN + 1], name[64];

    ulid_format(id, text);
    snprintf(name, sizeof(name), "%s.sst", text);
    put(f, "compacted", name, "sst");
}

static inline struct sst_view view_of(struct shale_ulid id)
{
    struct sst_info info = { .has_first = true, .index_offset = 1 };
    struct sst_view v = { .id = id };

    assert_int_equal(shale_buf_append(&info.first, "k", 1), 0);
    assert_int_equal(sst_handle_new(id, 2, &info, &v.sst), 0);
    sst_info_fini(&info);
    return v;
}

static inline void push_l0(struct manifest *m, void *arg)
{
    assert_int_equal(vec_reserve(&m->l0, &m->cap_l0, m->n_l0 + 1, sizeof(m->l0[0])), 0);
    memmove(m->l0 + 1, m->l0, m->n_l0 * sizeof(m->l0[0]));
    m->l0[0] = view_of(*(struct shale_ulid *)arg);
    m->n_l0++;
}

static inline void push_run(struct manifest *m, void *arg)
{
    struct sorted_run run = { .id = m->n_runs ? m->runs[0].id + 1 : 0 };

    assert_int_equal(vec_reserve(&m->runs, &m->cap_runs, m->n_runs + 1, sizeof(m->runs[0])), 0);
    assert_int_equal(vec_reserve(&run.ssts, &run.cap, 1, sizeof(run.ssts[0])), 0);
    run.ssts[run.n++] = view_of(*(struct shale_ulid *)arg);
    memmove(m->runs + 1, m->runs, m->n_runs * sizeof(m->runs[0]));
    m->runs[0] = run;
    m->n_runs++;
}

/* All L0s go, as a compaction leaves it. */
static inline void drop_l0(struct manifest *m, void *arg)
{
    (void)arg;
    m->has_l0_last_compacted = true;
    m->l0_last_compacted = m->l0[0].sst->id;
    while (m->n_l0)
        sst_view_fini(&m->l0[--m->n_l0]);
}

static inline void drop_runs(struct manifest *m, void *arg)
{
    (void)arg;
    while (m->n_runs)
        sorted_run_fini(&m->runs[--m->n_runs]);
}

/* A version of the list with one record, finished, of this age; negative: none. */
static inline void put_compactions(struct fix *f, int64_t age_ms)
{
    struct compactions_store s;
    struct compactions c = { 0 };
    int rc;

    assert_int_equal(compactions_store_init(&s, f->store, ROOT), 0);
    rc = compactions_store_load(&s, &c);
    assert_true(rc == 0 || rc == -ENOENT);
    compactions_fini(&c);
    c = (struct compactions){ 0 };
    if (age_ms >= 0) {
        struct compaction rec = { .id = id_of(age_ms, 0), .status = COMPACTION_COMPLETED };

        rec.runs = malloc(sizeof(rec.runs[0]));
        rec.runs[0] = 0;
        rec.n_runs = 1;
        assert_int_equal(compactions_add(&c, &rec), 0);
    }
    check_rc(0, compactions_store_write(&s, &c));
    compactions_fini(&c);
    compactions_store_fini(&s);
}

/* ---- looking ---- */

struct names {
    struct fix *f;
    enum path_kind kind;
};

static inline int name_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct names *n = arg;
    struct shale_buf *b = &n->f->text;
    struct shale_ulid u;
    uint64_t id;

    (void)meta;
    if (n->kind == PATH_COMPACTED && path_parse_ulid(ROOT, name, &u))
        return buf_printf(b, "%s%lld.%d", b->len ? " " : "", (long long)(NOW - ulid_time_ms(u)) / SECOND, (int)u.lo);
    if (n->kind != PATH_COMPACTED && path_parse_numbered(ROOT, n->kind, name, &id))
        return buf_printf(b, "%s%llu", b->len ? " " : "", (unsigned long long)id);
    return buf_printf(b, "%s%s", b->len ? " " : "", strrchr(name, '/') + 1);
}

/* Ids, or of SSTs their age in seconds and the number, in order of names. */
static inline void check_left(struct fix *f, enum path_kind kind, const char *want)
{
    struct names n = { .f = f, .kind = kind };
    char prefix[PATH_NAME_MAX];

    buf_clear(&f->text);
    assert_int_equal(path_dir(ROOT, kind, prefix), 0);
    check_rc(0, shale_store_list(f->mem, prefix, NULL, name_fn, &n));
    assert_string_equal(f->text.len ? (const char *)f->text.data : "", want);
}

static inline void collect(struct fix *f)
{
    check_rc(0, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
}

static inline void only(struct fix *f, enum shale_gc_kind kind, int64_t min_age_ms)
{
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        f->opt.skip[k] = k != (int)kind;
    f->opt.min_age_ms[kind] = min_age_ms;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
