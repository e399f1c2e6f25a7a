/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "compact/compaction_log.h"
#include "compact/compactor.h"
#include "compact/compactor_state.h"
#include "compact/executor.h"
#include "compact/input_iter.h"
#include "lib/compact_fixture.h"
#include "lib/store_fault.h"
#include "read/merge_iter.h"
#include "read/run_iter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NEVER_MS (3600 * 1000)

/* A database that only a compactor works on, and what the compactor tells. */
struct tree {
    struct compact_fixture f;
    struct manifest_store *manifests;
    struct shale_options opt;
    struct compactor *c;
    struct mutex mu;
    struct cond changed;
    size_t n_published;   /* GUARDED_BY(mu) */
    uint64_t last_id;     /* GUARDED_BY(mu), of the manifest that was published last */
    bool crashed;         /* GUARDED_BY(mu) */
};

static void options_small(struct shale_options *opt)
{
    *opt = (struct shale_options){ .manifest_update_timeout_ms = 10000 };
    opt->compactor = (struct shale_compactor_options){ .enabled = true, .poll_interval_ms = NEVER_MS,
                                                       .max_sst_size = (uint64_t)64 << 20, .max_concurrent = 2,
                                                       .min_sources = 4, .max_sources = 8,
                                                       .include_size_threshold = 4.0 };
}

static void tree_open(struct tree *t)
{
    struct manifest m;

    *t = (struct tree){ .n_published = 0 };
    compact_fixture_init(&t->f, 128);
    mutex_init(&t->mu, 1000, "test tree");
    cond_init(&t->changed);
    options_small(&t->opt);
    t->opt.clock = &t->f.clock;
    t->opt.merge_operator = &t->f.op;
    assert_int_equal(manifest_store_new(t->f.store, "db", 10000, &t->manifests), 0);
    manifest_init(&m);
    m.recent_snapshot_min_seq = 1000;
    m.initialized = true;
    assert_int_equal(manifest_store_create(t->manifests, &m), 0);
    manifest_fini(&m);
}

static void tree_close(struct tree *t)
{
    compactor_stop(t->c);
    manifest_store_free(t->manifests);
    cond_fini(&t->changed);
    mutex_fini(&t->mu);
    compact_fixture_fini(&t->f);
}

static void note_published(void *arg, struct manifest_version *v)
{
    struct tree *t = arg;

    mutex_lock(&t->mu);
    t->n_published++;
    t->last_id = v->id;
    cond_broadcast(&t->changed);
    mutex_unlock(&t->mu);
    manifest_version_unref(v);
}

static void note_crash(void *arg)
{
    struct tree *t = arg;

    mutex_lock(&t->mu);
    t->crashed = true;
    cond_broadcast(&t->changed);
    mutex_unlock(&t->mu);
}

/* Until n were published in all, or the store died. */
static void wait_published(struct tree *t, size_t n)
{
    mutex_lock(&t->mu);
    while (t->n_published < n && !t->crashed)
        cond_wait(&t->changed, &t->mu);
    mutex_unlock(&t->mu);
}

static int start(struct tree *t)
{
    struct compactor_config cfg = { .store = t->f.store, .root = "db", .manifests = t->manifests, .ts = &t->f.ts,
                                    .opt = &t->opt, .published = note_published, .arg = t };

    return compactor_start(&cfg, &t->c);
}

static void stop(struct tree *t)
{
    compactor_stop(t->c);
    t->c = NULL;
}

/* As after a crash of the process: nothing is remembered. */
static void reopen(struct tree *t)
{
    struct manifest_version *v;

    stop(t);
    store_fault_clear(t->f.store);
    manifest_store_free(t->manifests);
    assert_int_equal(manifest_store_new(t->f.store, "db", 10000, &t->manifests), 0);
    assert_int_equal(manifest_store_load_latest(t->manifests, &v), 0);
    manifest_version_unref(v);
    mutex_lock(&t->mu);
    t->crashed = false;
    t->n_published = 0;
    mutex_unlock(&t->mu);
}

static int push_l0(void *arg, struct manifest *m, uint64_t next_id)
{
    struct sst_handle *h = arg;

    (void)next_id;
    assert_int_equal(vec_reserve(&m->l0, &m->cap_l0, m->n_l0 + 1, sizeof(*m->l0)), 0);
    memmove(&m->l0[1], &m->l0[0], m->n_l0 * sizeof(*m->l0));
    m->l0[0] = (struct sst_view){ .id = h->id, .sst = sst_handle_ref(h) };
    m->n_l0++;
    return 0;
}

/* As a writer in another process would. */
static void add_l0(struct tree *t, const char *rows)
{
    struct sst_handle *h = fixture_sst_text(&t->f, rows);
    struct manifest_store *writer;

    assert_int_equal(manifest_store_new(t->f.memory, "db", 10000, &writer), 0);
    assert_int_equal(manifest_store_update(writer, push_l0, h, NULL), 0);
    manifest_store_free(writer);
    sst_handle_unref(h);
}

static int push_run(void *arg, struct manifest *m, uint64_t next_id)
{
    struct sorted_run *run = arg;

    (void)next_id;
    assert_int_equal(vec_reserve(&m->runs, &m->cap_runs, m->n_runs + 1, sizeof(*m->runs)), 0);
    assert_int_equal(sorted_run_copy(&m->runs[m->n_runs++], run), 0);
    return 0;
}

/* Below all that are there. */
static void add_run(struct tree *t, uint32_t id, const char *rows)
{
    struct sorted_run run = fixture_run(&t->f, id, &rows, 1);

    assert_int_equal(manifest_store_update(t->manifests, push_run, &run, NULL), 0);
    sorted_run_fini(&run);
}

static struct manifest_version *latest(struct tree *t)
{
    struct manifest_store *reader;
    struct manifest_version *v;

    assert_int_equal(manifest_store_new(t->f.memory, "db", 10000, &reader), 0);
    assert_int_equal(manifest_store_load_latest(reader, &v), 0);
    manifest_store_free(reader);
    return v;
}

static struct compactions latest_list(struct tree *t)
{
    struct compactions_store s;
    struct compactions cs = { 0 };

    assert_int_equal(compactions_store_init(&s, t->f.memory, "db"), 0);
    assert_int_equal(compactions_store_load(&s, &cs), 0);
    compactions_store_fini(&s);
    return cs;
}

/* "d c b a 5 4", as in tree_text, but with the number of L0 SSTs alone: "L2 5 4". */
static void assert_shape(struct tree *t, const char *want)
{
    struct manifest_version *v = latest(t);
    struct shale_buf text = SHALE_BUF_INIT;

    assert_int_equal(buf_printf(&text, "L%zu", v->m.n_l0), 0);
    for (size_t i = 0; i < v->m.n_runs; i++)
        assert_int_equal(buf_printf(&text, " %u", v->m.runs[i].id), 0);
    assert_string_equal((char *)text.data, want);
    shale_buf_fini(&text);
    manifest_version_unref(v);
}

static void check_exists(struct tree *t, const struct sst_handle *h)
{
    struct shale_buf name = SHALE_BUF_INIT;
    struct shale_object_meta meta;

    assert_int_equal(table_store_sst_name(&t->f.ts, h->id, &name), 0);
    assert_int_equal(shale_store_head(t->f.memory, (char *)name.data, &meta), 0);
    shale_buf_fini(&name);
}

static size_t count_ssts(struct tree *t)
{
    struct manifest_version *v = latest(t);
    size_t n = v->m.n_l0;

    for (size_t i = 0; i < v->m.n_l0; i++)
        check_exists(t, v->m.l0[i].sst);
    for (size_t i = 0; i < v->m.n_runs; i++)
        for (size_t k = 0; k < v->m.runs[i].n; k++, n++)
            check_exists(t, v->m.runs[i].ssts[k].sst);
    manifest_version_unref(v);
    return n;
}

/* The newest version of every key, tombstones included; every SST that is referenced is read. */
static char *rows_text(struct tree *t)
{
    struct manifest_version *v = latest(t);
    struct sst_iter_options opt = { .order = ITER_ASC };
    struct key_range all = { 0 };
    struct iter *children[64];
    struct iter *merged;
    size_t n = 0;
    char *text;

    for (size_t i = 0; i < v->m.n_l0; i++, n++)
        assert_int_equal(sst_iter_new(&t->f.ts, &v->m.l0[i], &all, &opt, &children[n]), 0);
    for (size_t i = 0; i < v->m.n_runs; i++, n++)
        assert_int_equal(run_iter_new(&t->f.ts, &v->m.runs[i], &all, &opt, &children[n]), 0);
    assert_int_equal(merge_iter_new(children, n, ITER_ASC, true, &merged), 0);
    text = iter_text(merged);
    manifest_version_unref(v);
    return text;
}

static void assert_rows(struct tree *t, const char *want)
{
    char *text = rows_text(t);

    assert_string_equal(text, want);
    free(text);
}

static const char *const four[] = { "a=1@1 b=1@2 c=1@3", "b=2@4 d=1@5", "a=DEL@6 e=1@7", "c=2@8 f=1@9 g=1@10" };
#define FOUR_ROWS "b=2@4 c=2@8 d=1@5 e=1@7 f=1@9 g=1@10"

static void add_four(struct tree *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(four); i++)
        add_l0(t, four[i]);
}

/* Section 15.2 and R229, R230; test_fence_syncs_compactor_epochs. */
static void l0_becomes_a_run(void **state)
{
    struct manifest_version *v;
    struct shale_ulid newest;
    struct compactions cs;
    uint64_t completed;
    uint32_t running;
    struct tree t;

    (void)state;
    tree_open(&t);
    add_four(&t);
    v = latest(&t);
    newest = v->m.l0[0].id;
    manifest_version_unref(v);
    assert_int_equal(start(&t), 0);
    wait_published(&t, 1);
    compactor_counts(t.c, &running, &completed);
    assert_int_equal(running, 0);
    assert_int_equal(completed, 1);
    stop(&t);
    assert_shape(&t, "L0 0");
    assert_rows(&t, FOUR_ROWS);
    v = latest(&t);
    assert_int_equal(v->id, t.last_id);
    assert_true(v->m.has_l0_last_compacted);
    assert_true(ulid_eq(v->m.l0_last_compacted, newest));
    assert_int_equal(v->m.n_checkpoints, 0);
    cs = latest_list(&t);
    assert_int_equal(cs.compactor_epoch, v->m.compactor_epoch);
    assert_int_equal(cs.n, 1);
    assert_int_equal(cs.list[0].status, COMPACTION_COMPLETED);
    for (size_t i = 0; i < v->m.runs[0].n; i++)
        assert_true(ulid_cmp(v->m.runs[0].ssts[i].sst->id, cs.list[0].id) > 0);
    compactions_fini(&cs);
    manifest_version_unref(v);
    tree_close(&t);
}

static void too_little_is_left_alone_until_woken(void **state)
{
    struct tree t;

    (void)state;
    tree_open(&t);
    for (size_t i = 0; i < 3; i++)
        add_l0(&t, four[i]);
    assert_int_equal(start(&t), 0);
    add_l0(&t, four[3]);
    compactor_wake(t.c);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0 0");
    assert_rows(&t, FOUR_ROWS);
    tree_close(&t);
}

/*
 * Each step is stored before the next begins; read as the stored versions of the list. R224, R226;
 * test_should_persist_compactions_on_start_and_finish, test_maybe_schedule_compactions_only_submits,
 * test_maybe_start_compactions_starts_submitted.
 */
static void steps_are_stored_in_order(void **state)
{
    struct compactions_store s;
    struct tree t;
    int status = -1;

    (void)state;
    tree_open(&t);
    add_four(&t);
    assert_int_equal(start(&t), 0);
    wait_published(&t, 1);
    stop(&t);
    assert_int_equal(compactions_store_init(&s, t.f.memory, "db"), 0);
    for (uint64_t id = 2;; id++) {
        struct compactions cs = { 0 };
        int rc = compactions_store_read(&s, id, &cs);

        if (rc < 0)
            break;
        assert_int_equal(cs.n, 1);
        assert_true((int)cs.list[0].status == status || (int)cs.list[0].status == status + 1);
        status = (int)cs.list[0].status;
        compactions_fini(&cs);
    }
    assert_int_equal(status, COMPACTION_COMPLETED);
    compactions_store_fini(&s);
    tree_close(&t);
}

static void runs_and_l0_at_once(void **state)
{
    static const char *const runs[] = { "a=r4@1 z=1@1", "b=r3@1 z=0@0", "h=r2@1", "i=r1@1" };
    struct tree t;

    (void)state;
    tree_open(&t);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
        add_run(&t, (uint32_t)(4 - i), runs[i]);
    for (size_t i = 0; i < ARRAY_SIZE(four); i++)
        add_l0(&t, i == 0 ? "a=1@11 b=1@12 c=1@13" : i == 2 ? "a=DEL@16 e=1@17" : i == 1 ? "b=2@14 d=1@15" : "c=2@18");
    assert_int_equal(start(&t), 0);
    wait_published(&t, 2);
    stop(&t);
    assert_shape(&t, "L0 5 1");
    assert_rows(&t, "a=DEL@16 b=2@14 c=2@18 d=1@15 e=1@17 h=r2@1 i=r1@1 z=1@1");
    tree_close(&t);
}

static void an_empty_result_leaves_no_run(void **state)
{
    struct tree t;

    (void)state;
    tree_open(&t);
    for (int i = 0; i < 4; i++)
        add_l0(&t, "a=DEL@5 b=DEL@6");
    assert_int_equal(start(&t), 0);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0");
    tree_close(&t);
}

/* R223, test_should_write_manifest_safely. */
static void a_flush_meanwhile_is_kept(void **state)
{
    struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/" };
    unsigned id;
    struct tree t;

    (void)state;
    tree_open(&t);
    add_four(&t);
    id = store_fault_add(t.f.store, &gate);
    assert_int_equal(start(&t), 0);
    store_fault_wait(t.f.store, id, 1);
    add_l0(&t, "z=9@20");
    store_fault_release(t.f.store, id);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L1 0");
    assert_rows(&t, FOUR_ROWS " z=9@20");
    tree_close(&t);
}

static void a_second_compactor_takes_over(void **state)
{
    struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/" };
    struct manifest_store *own;
    struct compactor *first;
    struct manifest_version *v;
    unsigned id;
    struct tree t;

    (void)state;
    tree_open(&t);
    add_four(&t);
    id = store_fault_add(t.f.store, &gate);
    assert_int_equal(start(&t), 0);
    store_fault_wait(t.f.store, id, 1);
    first = t.c;
    own = t.manifests;
    assert_int_equal(manifest_store_new(t.f.memory, "db", 10000, &t.manifests), 0);
    assert_int_equal(start(&t), 0);
    store_fault_release(t.f.store, id);
    wait_published(&t, 1);
    stop(&t);
    compactor_wake(first); /* it stops by itself; whether before or after this does not matter */
    compactor_stop(first);
    assert_int_equal(t.n_published, 1);
    assert_shape(&t, "L0 0");
    assert_rows(&t, FOUR_ROWS);
    /* The writer that shares its manifests goes on (H19). */
    assert_int_equal(manifest_store_refresh_as(own, EPOCH_WRITER, &v), 0);
    manifest_version_unref(v);
    assert_int_equal(manifest_store_refresh_as(own, EPOCH_COMPACTOR, &v), SHALE_EFENCED);
    manifest_store_free(own);
    tree_close(&t);
}

/* R217, test_new_fences_manifest_and_compactions. */
static void a_stale_epoch_is_fenced_at_start(void **state)
{
    struct compaction_log log;
    struct tree t;

    (void)state;
    tree_open(&t);
    assert_int_equal(compaction_log_init(&log, t.f.store, "db", 5, 10000), 0);
    compaction_log_fini(&log);
    assert_int_equal(start(&t), SHALE_EFENCED);
    tree_close(&t);
}

static void without_a_manifest_nothing_starts(void **state)
{
    struct manifest_store *empty;
    struct tree t;

    (void)state;
    tree_open(&t);
    assert_int_equal(manifest_store_new(t.f.store, "nowhere", 10000, &empty), 0);
    manifest_store_free(t.manifests);
    t.manifests = empty;
    assert_int_equal(start(&t), -ENOENT);
    tree_close(&t);
}

/* A record that somebody else puts into the list. */
static void submit(struct tree *t, struct shale_ulid id, const uint32_t *runs, size_t n)
{
    struct compaction c = { .id = id, .n_runs = n };
    struct compactions_store s;
    struct compactions cs = { 0 };
    int rc;

    c.runs = mem_dup(runs, n * sizeof(*runs));
    assert_non_null(c.runs);
    assert_int_equal(compactions_store_init(&s, t->f.memory, "db"), 0);
    rc = compactions_store_load(&s, &cs);
    assert_true(rc == 0 || rc == -ENOENT);
    assert_int_equal(compactions_add(&cs, &c), 0);
    assert_int_equal(compactions_store_write(&s, &cs), 0);
    compactions_fini(&cs);
    compactions_store_fini(&s);
}

/*
 * R226, R227; test_maybe_start_compactions_marks_invalid_failed,
 * test_handle_ticker_starts_preexisting_submitted_compaction.
 */
static void others_submit_and_invalid_ones_fail(void **state)
{
    struct compactions cs;
    struct tree t;

    (void)state;
    tree_open(&t);
    add_run(&t, 7, "a=1@2");
    add_run(&t, 6, "b=1@1");
    assert_int_equal(start(&t), 0);
    submit(&t, (struct shale_ulid){ 1, 1 }, (const uint32_t[]){ 9, 8 }, 2);
    submit(&t, (struct shale_ulid){ 1, 2 }, (const uint32_t[]){ 7, 6 }, 2);
    compactor_wake(t.c);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0 6");
    assert_rows(&t, "a=1@2 b=1@1");
    cs = latest_list(&t);
    assert_int_equal(cs.n, 1);
    assert_int_equal(cs.list[0].id.lo, 2);
    assert_int_equal(cs.list[0].status, COMPACTION_COMPLETED);
    compactions_fini(&cs);
    tree_close(&t);
}

/* R222, test_write_compactions_safely_retries_on_version_conflict, test_load_compactions_merges_external_submitted. */
static void a_submission_during_a_save_is_merged(void **state)
{
    struct compaction own = { .id = { 5, 5 }, .status = COMPACTION_RUNNING };
    struct compaction_log log;
    struct compactions cs;
    struct tree t;

    (void)state;
    tree_open(&t);
    assert_int_equal(compaction_log_init(&log, t.f.store, "db", 1, 10000), 0);
    submit(&t, (struct shale_ulid){ 1, 2 }, (const uint32_t[]){ 7, 6 }, 2);
    own.runs = mem_zalloc(sizeof(*own.runs));
    own.n_runs = 1;
    assert_int_equal(compactions_add(&log.state, &own), 0);
    log.dirty = true;
    assert_int_equal(compaction_log_save(&log), 0);
    assert_false(log.dirty);
    cs = latest_list(&t);
    assert_int_equal(cs.n, 2);
    assert_int_equal(cs.list[0].status, COMPACTION_SUBMITTED);
    assert_int_equal(cs.list[1].status, COMPACTION_RUNNING);
    compactions_fini(&cs);
    compaction_log_fini(&log);
    tree_close(&t);
}

/* test_should_clear_compaction_on_failure_and_retry, test_should_update_failed_compaction_status. */
static void a_failed_job_is_tried_anew(void **state)
{
    struct fault_rule rule = { .cls = FAULT_PUT, .action = FAULT_FAIL, .match = "compacted/", .nth = 3, .rc = -EIO };
    struct tree t;
    size_t n_inputs;

    (void)state;
    tree_open(&t);
    t.opt.compactor.poll_interval_ms = 1;
    t.opt.compactor.max_sst_size = 1;
    for (size_t i = 0; i < 4; i++)
        add_l0(&t, "a=0123456789012345678901234567890123456789@1 b=0123456789012345678901234567890123456789@2 "
                   "c=0123456789012345678901234567890123456789@3 d=0123456789012345678901234567890123456789@4 "
                   "e=0123456789012345678901234567890123456789@5 f=0123456789012345678901234567890123456789@6 "
                   "g=0123456789012345678901234567890123456789@7 h=0123456789012345678901234567890123456789@8");
    n_inputs = objects_count(t.f.memory, "compacted/");
    store_fault_add(t.f.store, &rule);
    assert_int_equal(start(&t), 0);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0 0");
    assert_true(count_ssts(&t) > 2);
    /* The outputs of the job that failed are gone, recorded or not. */
    assert_int_equal(objects_count(t.f.memory, "compacted/"), n_inputs + count_ssts(&t));
    tree_close(&t);
}

static bool has_sst(const struct manifest *m, struct shale_ulid id)
{
    for (size_t i = 0; i < m->n_runs; i++)
        for (size_t k = 0; k < m->runs[i].n; k++)
            if (ulid_eq(m->runs[i].ssts[k].sst->id, id))
                return true;
    return false;
}

/* Outputs that are recorded as of now, and how many of them the manifest has in the end. */
static size_t n_reused(struct tree *t, const struct compactions *before)
{
    struct manifest_version *v = latest(t);
    size_t n = 0;

    for (size_t i = 0; i < before->n; i++)
        for (size_t k = 0; k < before->list[i].n_outputs; k++)
            n += has_sst(&v->m, before->list[i].outputs[k]->id);
    manifest_version_unref(v);
    return n;
}

static char *long_rows(int version)
{
    struct shale_buf b = SHALE_BUF_INIT;

    for (int i = 0; i < 24; i++)
        assert_int_equal(buf_printf(&b, "%sk%02d%c%d_23456789012345678901234567890@%d", i ? " " : "", i,
                                    i % 3 == 0 && version ? '+' : '=', version, 100 * version + i), 0);
    return (char *)buf_take(&b);
}

/* Enough for many outputs when these are small; every third key is a chain of operands. */
static void add_long(struct tree *t)
{
    for (int i = 0; i < 4; i++) {
        char *rows = long_rows(i);

        add_l0(t, rows);
        free(rows);
    }
}

/* Of the stored list, by the order of ids: one letter each, s, r, c or f. */
static void assert_statuses(struct tree *t, const char *want)
{
    struct compactions cs = latest_list(t);
    char got[16] = "";

    assert_true(cs.n < sizeof(got));
    for (size_t i = 0; i < cs.n; i++)
        got[i] = "srcf"[cs.list[i].status];
    assert_string_equal(got, want);
    compactions_fini(&cs);
}

/* R224, R226, test_maybe_start_compactions_respects_capacity: with room for one the second waits for its turn. */
static void one_at_a_time_when_there_is_room_for_one(void **state)
{
    struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/" };
    struct tree t;
    unsigned id;

    (void)state;
    tree_open(&t);
    t.opt.compactor.max_concurrent = 1;
    for (uint32_t run = 7; run >= 4; run--)
        add_run(&t, run, "a=1@2");
    submit(&t, (struct shale_ulid){ 1, 1 }, (const uint32_t[]){ 7, 6 }, 2);
    submit(&t, (struct shale_ulid){ 2, 1 }, (const uint32_t[]){ 5, 4 }, 2);
    id = store_fault_add(t.f.store, &gate);
    assert_int_equal(start(&t), 0);
    store_fault_wait(t.f.store, id, 1);
    assert_statuses(&t, "rs");
    store_fault_release(t.f.store, id);
    wait_published(&t, 2);
    stop(&t);
    assert_shape(&t, "L0 6 4");
    assert_statuses(&t, "c");
    tree_close(&t);
}

/* R225, R241, test_should_not_schedule_conflicting_compaction: sources in use are not compacted twice. */
static void the_same_sources_are_not_compacted_twice(void **state)
{
    struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/" };
    struct tree t;
    unsigned id;

    (void)state;
    tree_open(&t);
    add_run(&t, 7, "a=1@2");
    add_run(&t, 6, "b=1@1");
    submit(&t, (struct shale_ulid){ 1, 1 }, (const uint32_t[]){ 7, 6 }, 2);
    submit(&t, (struct shale_ulid){ 2, 1 }, (const uint32_t[]){ 7, 6 }, 2);
    id = store_fault_add(t.f.store, &gate);
    assert_int_equal(start(&t), 0);
    store_fault_wait(t.f.store, id, 1);
    assert_statuses(&t, "rf");
    store_fault_release(t.f.store, id);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0 6");
    assert_int_equal(objects_count(t.f.memory, "compacted/"), 3);
    tree_close(&t);
}

/* Section 15.3, test_progress_persists_output_ssts: outputs are in the stored list while their job runs. */
static void outputs_are_recorded_as_they_are_finished(void **state)
{
    struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/", .nth = 3 };
    size_t n_outputs = 0;
    struct tree t;
    unsigned id;

    (void)state;
    tree_open(&t);
    t.opt.compactor.max_sst_size = 1;
    add_long(&t);
    id = store_fault_add(t.f.store, &gate);
    assert_int_equal(start(&t), 0);
    store_fault_wait(t.f.store, id, 1);
    while (n_outputs < 2) {
        struct compactions cs = latest_list(&t);

        assert_int_equal(cs.n, 1);
        assert_int_equal(cs.list[0].status, COMPACTION_RUNNING);
        n_outputs = cs.list[0].n_outputs;
        for (size_t i = 0; i < n_outputs; i++)
            check_exists(&t, cs.list[0].outputs[i]);
        compactions_fini(&cs);
    }
    store_fault_release(t.f.store, id);
    wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0 0");
    tree_close(&t);
}

static void note_end(void *arg, const struct shale_compaction *c, int rc)
{
    struct tree *t = arg;

    mutex_lock(&t->mu);
    if (!c) {
        assert_int_equal(rc, SHALE_EFENCED);
        t->crashed = true;
    }
    cond_broadcast(&t->changed);
    mutex_unlock(&t->mu);
}

static void fence_list(struct tree *t)
{
    struct compaction_log log;

    assert_int_equal(compaction_log_init(&log, t->f.memory, "db", 99, 10000), 0);
    compaction_log_fini(&log);
}

/*
 * R232: fenced in the list alone, at the next look (test_should_fail_when_compactions_store_fences_compactor) and when
 * a job ends (test_should_error_when_finishing_if_compactions_fenced). The manifest is whole in any case.
 */
static void fenced_by_the_list_it_ends(void **state)
{
    (void)state;
    for (int in_job = 0; in_job < 2; in_job++) {
        struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/" };
        struct compactor_config cfg;
        struct compactions cs;
        unsigned id = 0;
        struct tree t;

        tree_open(&t);
        for (int i = in_job ? 0 : 1; i < 4; i++)
            add_l0(&t, four[i]);
        if (in_job)
            id = store_fault_add(t.f.store, &gate);
        cfg = (struct compactor_config){ .store = t.f.store, .root = "db", .manifests = t.manifests, .ts = &t.f.ts,
                                         .opt = &t.opt, .report = note_end, .arg = &t };
        assert_int_equal(compactor_start(&cfg, &t.c), 0);
        if (in_job)
            store_fault_wait(t.f.store, id, 1);
        fence_list(&t);
        if (in_job)
            store_fault_release(t.f.store, id); /* the end of the job is what is noticed next */
        else
            compactor_wake(t.c);
        wait_published(&t, 1); /* until note_end */
        assert_true(t.crashed);
        stop(&t);
        (void)count_ssts(&t);
        assert_rows(&t, in_job ? FOUR_ROWS : "a=DEL@6 b=2@4 c=2@8 d=1@5 e=1@7 f=1@9 g=1@10");
        cs = latest_list(&t);
        assert_int_equal(cs.compactor_epoch, 99);
        compactions_fini(&cs);
        tree_close(&t);
    }
}

/* The store dies behind its nth call, in the first life; the second one finds a whole tree and ends the work. */
static bool crash_and_recover(unsigned n, const char *want, size_t *reused)
{
    struct fault_rule last = { .cls = FAULT_ANY, .action = FAULT_CRASH_DONE, .nth = n, .fn = note_crash };
    struct fault_rule dead = { .cls = FAULT_ANY, .action = FAULT_FAIL, .nth = n + 1, .times = FAULT_ALWAYS,
                               .rc = -EIO };
    struct compactions before = { 0 };
    struct manifest_version *v;
    unsigned id;
    bool hit;
    struct tree t;

    tree_open(&t);
    t.opt.compactor.max_sst_size = 1;
    add_long(&t);
    last.arg = &t;
    id = store_fault_add(t.f.store, &last);
    store_fault_add(t.f.store, &dead);
    if (start(&t) == 0)
        wait_published(&t, 1);
    stop(&t);
    hit = store_fault_hits(t.f.store, id) > 0;
    reopen(&t);
    (void)count_ssts(&t);
    if (objects_count(t.f.memory, "compactions/") > 0)
        before = latest_list(&t);
    v = latest(&t);
    assert_int_equal(start(&t), 0);
    if (v->m.n_l0 > 0)
        wait_published(&t, 1);
    stop(&t);
    assert_shape(&t, "L0 0");
    (void)count_ssts(&t);
    assert_rows(&t, want);
    *reused += v->m.n_l0 > 0 ? n_reused(&t, &before) : 0;
    compactions_fini(&before);
    manifest_version_unref(v);
    tree_close(&t);
    return hit;
}

/* R231, R218; test_new_resets_running_to_submitted_and_preserves_output_ssts. */
static void a_crash_after_any_call_loses_nothing(void **state)
{
    size_t reused = 0;
    struct tree t;
    char *want;

    (void)state;
    tree_open(&t);
    add_long(&t);
    assert_int_equal(start(&t), 0);
    wait_published(&t, 1);
    stop(&t);
    want = rows_text(&t);
    tree_close(&t);
    /*
     * Somewhere on the way there are outputs that the second life does not write again. Where a job is over before its
     * compactor's thread runs, none are recorded: then once more.
     */
    for (int sweep = 0; sweep < 20 && reused == 0; sweep++) {
        for (unsigned n = 1; crash_and_recover(n, want, &reused); n++)
            ;
    }
    assert_true(reused > 0);
    free(want);
}

/* Stopping is not failing: a compaction that was stopped is resumed. */
static void a_stopped_compaction_goes_on_later(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct compactions cs;
        struct tree t;

        tree_open(&t);
        t.opt.compactor.max_sst_size = 1;
        add_long(&t);
        assert_int_equal(start(&t), 0);
        stop(&t);
        cs = latest_list(&t);
        for (size_t i = 0; i < cs.n; i++)
            assert_int_not_equal(cs.list[i].status, COMPACTION_FAILED);
        reopen(&t);
        assert_int_equal(start(&t), 0);
        if (cs.n == 0 || cs.list[0].status != COMPACTION_COMPLETED)
            wait_published(&t, 1);
        stop(&t);
        assert_shape(&t, "L0 0");
        compactions_fini(&cs);
        tree_close(&t);
    }
}

static void ignore_events(void *arg)
{
    (void)arg;
}

/* The last event of the job with this id; those of others are dropped. */
static struct executor_event last_event(struct executor *x, struct shale_ulid id)
{
    struct executor_event e, found = { 0 };

    while (executor_next(x, &e)) {
        if (e.finished && ulid_eq(e.id, id))
            found = e;
        else
            executor_event_fini(&e);
    }
    return found;
}

/* More than a job reads between two looks at what it was told. */
static void add_many(struct tree *t)
{
    struct shale_buf b = SHALE_BUF_INIT;

    for (int i = 0; i < 4 * INPUT_TICK_ROWS; i++)
        assert_int_equal(buf_printf(&b, "%sk%04d=v@%d", i ? " " : "", i, i), 0);
    add_l0(t, (char *)b.data);
    shale_buf_fini(&b);
}

static void stop_executor(void *arg)
{
    executor_stop(arg);
}

static struct sst_handle *missing_sst(void)
{
    struct sst_info info = { .has_first = true, .index_len = 8 };
    struct sst_handle *h;

    assert_int_equal(shale_buf_append(&info.first, "k", 1), 0);
    assert_int_equal(sst_handle_new((struct shale_ulid){ 3, 3 }, 2, &info, &h), 0);
    sst_info_fini(&info);
    return h;
}

/* The job is held in its third output until the executor is known to be stopping. */
static void a_stopped_job_keeps_what_it_reported(void **state)
{
    struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "compacted/", .nth = 3 };
    struct executor_config cfg = { .max_jobs = 2, .max_sst_size = 1, .notify = ignore_events };
    struct compaction c = { .id = { 9, 1 } }, other;
    struct executor *x;
    struct executor_event e;
    struct manifest_version *v;
    struct worker stopper = { 0 };
    struct tree t;
    unsigned rule;
    int rc;

    (void)state;
    tree_open(&t);
    add_many(&t);
    v = latest(&t);
    c.l0 = &v->m.l0[0].id;
    c.n_l0 = 1;
    other = c;
    other.id.lo = 2;
    cfg.ts = &t.f.ts;
    cfg.op = &t.f.op;
    assert_int_equal(executor_new(&cfg, &x), 0);
    rule = store_fault_add(t.f.store, &gate);
    assert_int_equal(executor_start(x, &c, v), 0);
    store_fault_wait(t.f.store, rule, 1);
    assert_true(executor_has(x, c.id));
    assert_int_equal(executor_running(x), 1);
    assert_int_equal(worker_start(&stopper, "stopper", stop_executor, x), 0);
    /* Jobs with an output that does not exist end at once, until none is taken any more. */
    other.outputs = (struct sst_handle *[]){ missing_sst() };
    other.n_outputs = 1;
    while ((rc = executor_start(x, &other, v)) == 0)
        ;
    assert_int_equal(rc, SHALE_ECANCELED);
    store_fault_release(t.f.store, rule);
    worker_join(&stopper);
    assert_int_equal(executor_running(x), 0);
    e = last_event(x, c.id);
    assert_true(e.finished);
    assert_int_equal(e.rc, SHALE_ECANCELED);
    assert_true(e.n_outputs >= 2);
    for (size_t i = 0; i < e.n_outputs; i++)
        check_exists(&t, e.outputs[i]);
    assert_int_equal(objects_count(t.f.memory, "compacted/"), 1 + e.n_outputs);
    assert_false(executor_has(x, c.id));
    executor_event_fini(&e);
    executor_free(x);
    sst_handle_unref(other.outputs[0]);
    manifest_version_unref(v);
    tree_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l0_becomes_a_run),
        cmocka_unit_test(too_little_is_left_alone_until_woken),
        cmocka_unit_test(steps_are_stored_in_order),
        cmocka_unit_test(runs_and_l0_at_once),
        cmocka_unit_test(an_empty_result_leaves_no_run),
        cmocka_unit_test(a_flush_meanwhile_is_kept),
        cmocka_unit_test(a_second_compactor_takes_over),
        cmocka_unit_test(a_stale_epoch_is_fenced_at_start),
        cmocka_unit_test(without_a_manifest_nothing_starts),
        cmocka_unit_test(others_submit_and_invalid_ones_fail),
        cmocka_unit_test(a_submission_during_a_save_is_merged),
        cmocka_unit_test(a_failed_job_is_tried_anew),
        cmocka_unit_test(one_at_a_time_when_there_is_room_for_one),
        cmocka_unit_test(the_same_sources_are_not_compacted_twice),
        cmocka_unit_test(outputs_are_recorded_as_they_are_finished),
        cmocka_unit_test(fenced_by_the_list_it_ends),
        cmocka_unit_test(a_crash_after_any_call_loses_nothing),
        cmocka_unit_test(a_stopped_compaction_goes_on_later),
        cmocka_unit_test(a_stopped_job_keeps_what_it_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
