/* SPDX-License-Identifier: Apache-2.0 */
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

/* The collector on objects made by hand, with ages as the reference's tests have them (section 23.6). */

#define ROOT "t/db"
#define NOW INT64_C(1700000000000)
#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

struct fix {
    struct shale_store *mem, *fault, *store; /* store_aged over store_fault over mem */
    struct manifest_store *ms;
    struct shale_clock clock;
    struct shale_admin_options admin;
    struct shale_gc_options opt;
    struct shale_gc_result res;
    struct shale_buf text;
};

static int64_t now(void *ctx)
{
    (void)ctx;
    return NOW;
}

static int setup(void **state)
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

static int teardown(void **state)
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

static void check_rc(int want, int rc)
{
    if (rc != want)
        fail_msg("%d (%s), not %d: %s", rc, shale_strerror(rc), want, shale_errmsg());
}

/* ---- making ---- */

static void first_manifest(struct fix *f)
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

static int apply(void *arg, struct manifest *m, uint64_t next_id)
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
static void next_manifest(struct fix *f, struct edit e)
{
    check_rc(0, manifest_store_update(f->ms, apply, &e, NULL));
}

/* A checkpoint of the version that brings it. */
static struct shale_checkpoint checkpoint(struct fix *f, const struct shale_checkpoint_options *opt)
{
    struct shale_checkpoint c;

    check_rc(0, shale_checkpoint_create(f->store, ROOT, &f->admin, opt, &c));
    return c;
}

static void put(struct fix *f, const char *dir, const char *name, const char *bytes)
{
    char path[PATH_NAME_MAX];

    snprintf(path, sizeof(path), ROOT "/%s/%s", dir, name);
    check_rc(0, shale_store_put(f->mem, path, (struct shale_slice){ (const uint8_t *)bytes, strlen(bytes) },
                                SHALE_PUT_IF_ABSENT));
}

/* With one row, or as a fence with none. */
static void put_wal_object(struct fix *f, uint64_t id, bool fence)
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

static void put_wal(struct fix *f, uint64_t id)
{
    put_wal_object(f, id, false);
}

static void put_fence(struct fix *f, uint64_t id)
{
    put_wal_object(f, id, true);
}

/* An id of this age; n tells those of one age apart. */
static struct shale_ulid id_of(int64_t age_ms, unsigned n)
{
    return (struct shale_ulid){ .hi = (uint64_t)(NOW - age_ms) << 16, .lo = n };
}

static void put_sst(struct fix *f, struct shale_ulid id)
{
    char text[SHALE_ULID_TEXT_LEN + 1], name[64];

    ulid_format(id, text);
    snprintf(name, sizeof(name), "%s.sst", text);
    put(f, "compacted", name, "sst");
}

static struct sst_view view_of(struct shale_ulid id)
{
    struct sst_info info = { .has_first = true, .index_offset = 1 };
    struct sst_view v = { .id = id };

    assert_int_equal(shale_buf_append(&info.first, "k", 1), 0);
    assert_int_equal(sst_handle_new(id, 2, &info, &v.sst), 0);
    sst_info_fini(&info);
    return v;
}

static void push_l0(struct manifest *m, void *arg)
{
    assert_int_equal(vec_reserve(&m->l0, &m->cap_l0, m->n_l0 + 1, sizeof(m->l0[0])), 0);
    memmove(m->l0 + 1, m->l0, m->n_l0 * sizeof(m->l0[0]));
    m->l0[0] = view_of(*(struct shale_ulid *)arg);
    m->n_l0++;
}

static void push_run(struct manifest *m, void *arg)
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
static void drop_l0(struct manifest *m, void *arg)
{
    (void)arg;
    m->has_l0_last_compacted = true;
    m->l0_last_compacted = m->l0[0].sst->id;
    while (m->n_l0)
        sst_view_fini(&m->l0[--m->n_l0]);
}

static void drop_runs(struct manifest *m, void *arg)
{
    (void)arg;
    while (m->n_runs)
        sorted_run_fini(&m->runs[--m->n_runs]);
}

/* A version of the list with one record, finished, of this age; negative: none. */
static void put_compactions(struct fix *f, int64_t age_ms)
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

static int name_fn(void *arg, const char *name, const struct shale_object_meta *meta)
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
static void check_left(struct fix *f, enum path_kind kind, const char *want)
{
    struct names n = { .f = f, .kind = kind };
    char prefix[PATH_NAME_MAX];

    buf_clear(&f->text);
    assert_int_equal(path_dir(ROOT, kind, prefix), 0);
    check_rc(0, shale_store_list(f->mem, prefix, NULL, name_fn, &n));
    assert_string_equal(f->text.len ? (const char *)f->text.data : "", want);
}

static void collect(struct fix *f)
{
    check_rc(0, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
}

static void only(struct fix *f, enum shale_gc_kind kind, int64_t min_age_ms)
{
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        f->opt.skip[k] = k != (int)kind;
    f->opt.min_age_ms[kind] = min_age_ms;
}

/* ---- manifests (R315) ---- */

static void manifests_go_when_they_are_old(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ 0 });
    collect(f);
    check_left(f, PATH_MANIFEST, "1 2"); /* both recent */
    store_aged_set(f->store, "1.manifest", DAY);
    collect(f);
    check_left(f, PATH_MANIFEST, "2");
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 1);
    store_aged_set(f->store, ".manifest", DAY);
    collect(f);
    check_left(f, PATH_MANIFEST, "2"); /* the latest */
}

static void expired_checkpoints_hold_nothing(void **state)
{
    struct fix *f = *state;
    const struct shale_checkpoint_options expired = { .has_lifetime = true }, named = { .name = "n" };

    first_manifest(f);
    (void)checkpoint(f, &expired); /* of 2 */
    (void)checkpoint(f, &named);   /* of 3 */
    next_manifest(f, (struct edit){ 0 });
    store_aged_set(f->store, ".manifest", DAY);
    f->opt.dry_run = true;
    collect(f);
    check_left(f, PATH_MANIFEST, "1 2 3 4");
    assert_int_equal(f->res.expired, 1);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 2);
    f->opt.dry_run = false;
    collect(f);
    check_left(f, PATH_MANIFEST, "3 5"); /* 5 is without the expired one (R313) */
    assert_int_equal(f->res.expired, 1);
    collect(f);
    check_left(f, PATH_MANIFEST, "3 5"); /* nothing to write */
    assert_int_equal(f->res.expired, 0);
}

static void young_manifests_stay_for_who_probes(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ 0 });
    next_manifest(f, (struct edit){ 0 });
    f->opt.min_age_ms[SHALE_GC_MANIFEST] = 0;
    store_aged_set(f->store, "1.manifest", 121 * SECOND);
    store_aged_set(f->store, "2.manifest", 119 * SECOND);
    collect(f);
    check_left(f, PATH_MANIFEST, "2 3");
}

/* ---- WAL (R316, H1) ---- */

static void wal_below_the_replay_point_goes(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 3 });
    for (uint64_t id = 1; id <= 5; id++)
        put_wal(f, id);
    collect(f);
    check_left(f, PATH_WAL, "1 2 3 4 5"); /* recent */
    store_aged_set(f->store, "1.sst", HOUR);
    store_aged_set(f->store, "4.sst", HOUR);
    collect(f);
    check_left(f, PATH_WAL, "2 3 4 5");
    store_aged_set(f->store, ".sst", HOUR);
    collect(f);
    check_left(f, PATH_WAL, "3 4 5"); /* the one at the replay point stays */
}

static void checkpoints_hold_wal(void **state)
{
    struct fix *f = *state;
    struct shale_checkpoint c;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 2, .last_seen = 4 });
    c = checkpoint(f, NULL);
    next_manifest(f, (struct edit){ .replay_after = 9, .last_seen = 9 });
    for (uint64_t id = 1; id <= 9; id++)
        put_wal(f, id);
    store_aged_set(f->store, ".sst", HOUR);
    collect(f);
    check_left(f, PATH_WAL, "3 4 9");
    check_rc(0, shale_checkpoint_delete(f->store, ROOT, &f->admin, c.id));
    collect(f);
    check_left(f, PATH_WAL, "9");
}

static void fences_stay_longer(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 9 });
    put_fence(f, 1);
    put_wal(f, 2);
    put_fence(f, 3);
    put(f, "wal", "00000000000000000004.sst", ""); /* as later versions of SlateDB fence */
    put_wal(f, 5);
    put(f, "wal", "00000000000000000006.sst", "a fence of the far future");
    store_aged_set(f->store, ".sst", HOUR);
    store_aged_set(f->store, "1.sst", DAY + SECOND);
    f->opt.min_age_ms[SHALE_GC_WAL] = 0;
    collect(f);
    check_left(f, PATH_WAL, "3 4 6");
    f->opt.fence_age_ms = 0;
    collect(f);
    check_left(f, PATH_WAL, "");
}

/* ---- compactions (R317) ---- */

static void lists_of_compactions_go(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    for (int i = 0; i < 3; i++)
        put_compactions(f, HOUR);
    store_aged_set(f->store, ".compactions", 60 * SECOND);
    collect(f);
    check_left(f, PATH_COMPACTIONS, "1 2 3");
    store_aged_set(f->store, ".compactions", DAY);
    collect(f);
    check_left(f, PATH_COMPACTIONS, "3");
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTIONS], 2);
}

/* ---- SSTs (R318-R320) ---- */

/* Referenced or not, in L0 or a run, two hours old or ten seconds. */
static void make_ssts(struct fix *f)
{
    struct shale_ulid l0_old = id_of(2 * HOUR, 1), l0_new = id_of(10 * SECOND, 2);
    struct shale_ulid run_old = id_of(2 * HOUR, 3), run_new = id_of(10 * SECOND, 4);

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0_old });
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0_new });
    next_manifest(f, (struct edit){ .fn = push_run, .arg = &run_old });
    next_manifest(f, (struct edit){ .fn = push_run, .arg = &run_new });
    put_sst(f, l0_old);
    put_sst(f, l0_new);
    put_sst(f, run_old);
    put_sst(f, run_new);
    for (unsigned i = 5; i < 7; i++) {
        put_sst(f, id_of(2 * HOUR, i));
        put_sst(f, id_of(10 * SECOND, i));
    }
    put_compactions(f, 10 * SECOND);
}

#define ALL_SSTS "7200.1 7200.3 7200.5 7200.6 10.2 10.4 10.5 10.6"
#define LIVE_SSTS "7200.1 7200.3 10.2 10.4 10.5 10.6"

static void ssts_without_reference_go(void **state)
{
    struct fix *f = *state;

    make_ssts(f);
    only(f, SHALE_GC_COMPACTED, 3 * HOUR);
    collect(f);
    check_left(f, PATH_COMPACTED, ALL_SSTS);
    only(f, SHALE_GC_COMPACTED, HOUR);
    collect(f);
    check_left(f, PATH_COMPACTED, LIVE_SSTS);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTED], 2);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 0);
}

static void the_oldest_compaction_and_the_newest_l0_bound_it(void **state)
{
    struct fix *f = *state;

    make_ssts(f);
    only(f, SHALE_GC_COMPACTED, 0);
    put_compactions(f, -1);
    collect(f);
    check_left(f, PATH_COMPACTED, ALL_SSTS); /* no record */
    put_compactions(f, 2 * HOUR);
    collect(f);
    check_left(f, PATH_COMPACTED, ALL_SSTS); /* not older than it */
    put_compactions(f, SECOND);
    collect(f);
    check_left(f, PATH_COMPACTED, LIVE_SSTS); /* 10.5 and 10.6 are not older than the newest L0 */
    next_manifest(f, (struct edit){ .fn = drop_l0 });
    collect(f);
    check_left(f, PATH_COMPACTED, "7200.3 10.2 10.4 10.5 10.6"); /* nor than the one last compacted */
}

static void nothing_goes_without_a_list_of_compactions(void **state)
{
    struct fix *f = *state;
    struct shale_ulid l0 = id_of(10 * SECOND, 1);

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0 });
    put_sst(f, id_of(DAY, 2));
    collect(f);
    check_left(f, PATH_COMPACTED, "86400.2"); /* R319 */
    put_compactions(f, 0);
    collect(f);
    check_left(f, PATH_COMPACTED, "");
}

static void nothing_goes_before_there_was_an_l0(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    put_compactions(f, 0);
    put_sst(f, id_of(DAY, 1)); /* perhaps the first, on its way into the manifest */
    collect(f);
    check_left(f, PATH_COMPACTED, "86400.1");
}

static void checkpoints_hold_ssts(void **state)
{
    struct fix *f = *state;
    struct shale_checkpoint c;
    struct shale_ulid newer = id_of(SECOND, 9);

    make_ssts(f);
    c = checkpoint(f, NULL);
    next_manifest(f, (struct edit){ .fn = drop_l0 });
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &newer });
    next_manifest(f, (struct edit){ .fn = drop_runs });
    put_compactions(f, SECOND);
    f->opt.min_age_ms[SHALE_GC_COMPACTED] = 5 * SECOND;
    store_aged_set(f->store, ".manifest", DAY);
    collect(f);
    check_left(f, PATH_COMPACTED, "7200.1 7200.3 10.2 10.4");
    check_left(f, PATH_MANIFEST, "6 9");
    check_rc(0, shale_checkpoint_delete(f->store, ROOT, &f->admin, c.id));
    collect(f);
    check_left(f, PATH_COMPACTED, "");
}

static void a_checkpoint_without_its_manifest_stops_all(void **state)
{
    struct fix *f = *state;
    char name[PATH_NAME_MAX];

    make_ssts(f);
    (void)checkpoint(f, NULL);
    next_manifest(f, (struct edit){ .fn = drop_runs });
    assert_int_equal(path_manifest(ROOT, 6, name), 0);
    check_rc(0, shale_store_delete(f->mem, name));
    check_rc(SHALE_ECORRUPT, shale_gc(f->store, ROOT, &f->admin, NULL, &f->res));
    check_left(f, PATH_COMPACTED, ALL_SSTS);
}

static void names_of_others_stay(void **state)
{
    struct fix *f = *state;
    struct shale_ulid l0 = id_of(0, 1);
    char text[SHALE_ULID_TEXT_LEN + 1], name[64];

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0 });
    put_compactions(f, 0);
    ulid_format(id_of(DAY, 1), text);
    snprintf(name, sizeof(name), "%s.sst.part", text);
    put(f, "compacted", name, "x");
    put(f, "compacted", "README", "x");
    put(f, "manifest", "00000000000000000001.txt", "x");
    store_aged_set(f->store, "/", DAY);
    collect(f);
    check_left(f, PATH_COMPACTED, "86400.1 README");
    check_left(f, PATH_MANIFEST, "00000000000000000001.txt 2");
}

/* ---- what this process holds; memory ---- */

static void run_with(struct fix *f, struct gc_memory *memory, int64_t mono_ms)
{
    const struct gc_config cfg = { .store = f->store, .wal_store = f->store, .root = ROOT, .manifests = f->ms,
                                   .now_ms = NOW, .mono_ms = mono_ms, .memory = memory };

    f->res = (struct shale_gc_result){ 0 };
    check_rc(0, gc_run(&cfg, &f->opt, &f->res));
}

static void versions_in_use_hold_ssts(void **state)
{
    struct fix *f = *state;
    struct manifest_version *reader;

    make_ssts(f);
    reader = manifest_store_current(f->ms);
    next_manifest(f, (struct edit){ .fn = drop_runs });
    only(f, SHALE_GC_COMPACTED, HOUR);
    run_with(f, NULL, 0);
    check_left(f, PATH_COMPACTED, LIVE_SSTS);
    manifest_version_unref(reader);
    run_with(f, NULL, 0);
    check_left(f, PATH_COMPACTED, "7200.1 10.2 10.4 10.5 10.6");
}

static void age_counts_from_when_it_was_seen(void **state)
{
    struct gc_memory memory = { 0 };
    struct fix *f = *state;

    make_ssts(f);
    only(f, SHALE_GC_COMPACTED, HOUR);
    run_with(f, &memory, 5 * SECOND);
    check_left(f, PATH_COMPACTED, ALL_SSTS); /* H22: news */
    next_manifest(f, (struct edit){ .fn = drop_runs });
    run_with(f, &memory, 6 * SECOND);
    check_left(f, PATH_COMPACTED, ALL_SSTS);
    run_with(f, &memory, HOUR + 5 * SECOND);
    check_left(f, PATH_COMPACTED, LIVE_SSTS); /* and 7200.3 is a second younger as garbage */
    run_with(f, &memory, HOUR + 6 * SECOND);
    check_left(f, PATH_COMPACTED, "7200.1 10.2 10.4 10.5 10.6");
    gc_memory_fini(&memory);
}

/* ---- the run as a whole ---- */

static int note_name(void *arg, enum shale_gc_kind kind, const char *name)
{
    struct fix *f = arg;

    return buf_printf(&f->text, "%s%d:%s", f->text.len ? " " : "", (int)kind, strrchr(name, '/') + 1);
}

static int refuse(void *arg, enum shale_gc_kind kind, const char *name)
{
    (void)arg, (void)kind, (void)name;
    return 7;
}

static void make_garbage(struct fix *f)
{
    make_ssts(f);
    next_manifest(f, (struct edit){ .replay_after = 2 });
    put_wal(f, 1);
    put_wal(f, 2);
    put_compactions(f, 0);
    store_aged_set(f->store, ".manifest", DAY);
    store_aged_set(f->store, ".sst", DAY);
    store_aged_set(f->store, ".compactions", DAY);
}

static void a_dry_run_tells_what_would_go(void **state)
{
    struct fix *f = *state;
    unsigned deletes;

    make_garbage(f);
    f->opt.dry_run = true;
    f->opt.report = note_name;
    f->opt.report_arg = f;
    deletes = store_fault_count(f->fault, FAULT_DELETE) + store_fault_count(f->fault, FAULT_PUT);
    buf_clear(&f->text);
    collect(f);
    assert_int_equal(store_fault_count(f->fault, FAULT_DELETE) + store_fault_count(f->fault, FAULT_PUT), deletes);
    assert_non_null(strstr((const char *)f->text.data, "0:00000000000000000001.manifest"));
    assert_non_null(strstr((const char *)f->text.data, " 1:00000000000000000001.sst 2:"));
    assert_non_null(strstr((const char *)f->text.data, " 3:00000000000000000001.compactions"));
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 5);
    assert_int_equal(f->res.removed[SHALE_GC_WAL], 1);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTED], 2);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTIONS], 1);
    f->opt.report = refuse;
    check_rc(7, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
    f->opt.dry_run = false;
    check_rc(7, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
    check_left(f, PATH_COMPACTED, ALL_SSTS);
    check_left(f, PATH_MANIFEST, "1 2 3 4 5 6");
}

static void each_kind_has_its_turn_after_a_failure(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_DELETE, .match = "/manifest/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct fix *f = *state;

    make_garbage(f);
    store_fault_add(f->fault, &denied);
    check_rc(-EACCES, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
    check_left(f, PATH_MANIFEST, "1 2 3 4 5 6");
    check_left(f, PATH_WAL, "2");
    check_left(f, PATH_COMPACTED, LIVE_SSTS);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 0);
    store_fault_clear(f->fault);
    collect(f);
    check_left(f, PATH_MANIFEST, "6");
}

static void more_than_a_batch(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 2345 });
    for (uint64_t id = 1; id <= 2345; id++)
        put_wal(f, id);
    store_aged_set(f->store, ".sst", DAY);
    store_aged_set(f->store, "0000001000.sst", 0); /* the last of the first batch would be */
    collect(f);
    check_left(f, PATH_WAL, "1000 2345");
    assert_int_equal(f->res.removed[SHALE_GC_WAL], 2343);
}

static void bad_arguments(void **state)
{
    struct fix *f = *state;

    check_rc(-ENOENT, shale_gc(f->store, ROOT, &f->admin, NULL, NULL));
    f->opt.min_age_ms[SHALE_GC_WAL] = -1;
    check_rc(-EINVAL, shale_gc(f->store, ROOT, &f->admin, &f->opt, NULL));
    shale_gc_options_init(&f->opt);
    f->opt.fence_age_ms = INT64_MAX;
    check_rc(-EINVAL, shale_gc(f->store, ROOT, &f->admin, &f->opt, NULL));
    check_rc(-EINVAL, shale_gc(f->store, "a//b", &f->admin, NULL, NULL));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(manifests_go_when_they_are_old),
        TEST(expired_checkpoints_hold_nothing),
        TEST(young_manifests_stay_for_who_probes),
        TEST(wal_below_the_replay_point_goes),
        TEST(checkpoints_hold_wal),
        TEST(fences_stay_longer),
        TEST(lists_of_compactions_go),
        TEST(ssts_without_reference_go),
        TEST(the_oldest_compaction_and_the_newest_l0_bound_it),
        TEST(nothing_goes_without_a_list_of_compactions),
        TEST(nothing_goes_before_there_was_an_l0),
        TEST(checkpoints_hold_ssts),
        TEST(a_checkpoint_without_its_manifest_stops_all),
        TEST(names_of_others_stay),
        TEST(versions_in_use_hold_ssts),
        TEST(age_counts_from_when_it_was_seen),
        TEST(a_dry_run_tells_what_would_go),
        TEST(each_kind_has_its_turn_after_a_failure),
        TEST(more_than_a_batch),
        TEST(bad_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
