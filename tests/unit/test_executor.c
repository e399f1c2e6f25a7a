/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/sync.h"
#include "compact/executor.h"
#include "lib/compact_fixture.h"
#include "lib/store_fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The executor as the orchestrator sees it: jobs begun, messages, the end (R202-R207, R211-R213). */

/* As in SlateDB's tests, nothing is waited for longer. */
#define WAIT_MS 5000

struct rig {
    struct compact_fixture f;
    struct executor *x;
    struct manifest_version *base;
    struct mutex mu;
    struct cond news;
    unsigned n_news; /* GUARDED_BY(mu) */
    struct shale_compaction_filter filter;
};

static void notify(void *arg)
{
    struct rig *r = arg;

    mutex_lock(&r->mu);
    r->n_news++;
    cond_broadcast(&r->news);
    mutex_unlock(&r->mu);
}

/* A run for each text, with ids from 3 down. */
static void add_runs(struct rig *r, struct manifest *m, const char *const *runs)
{
    for (; runs && *runs; runs++) {
        assert_int_equal(vec_reserve(&m->runs, &m->cap_runs, m->n_runs + 1, sizeof(m->runs[0])), 0);
        m->runs[m->n_runs] = fixture_run(&r->f, 3 - (uint32_t)m->n_runs, runs, 1);
        m->n_runs++;
    }
}

/* A manifest with an L0 SST for each text, the first one newest, and runs; NULL ends each. */
static void rig_open(struct rig *r, const char *const *l0, const char *const *runs,
                     const struct shale_compaction_filter *filter)
{
    struct executor_config cfg = { .max_jobs = 4, .max_sst_size = (uint64_t)64 << 20, .notify = notify, .arg = r };
    struct manifest m;
    struct manifest_store *ms;

    *r = (struct rig){ .n_news = 0 };
    compact_fixture_init(&r->f, 64);
    mutex_init(&r->mu, 1000, "test rig");
    cond_init(&r->news);
    manifest_init(&m);
    m.initialized = true;
    m.recent_snapshot_min_seq = UINT64_MAX;
    for (; l0 && *l0; l0++)
        views_add(&m.l0, &m.n_l0, &m.cap_l0, fixture_sst_text(&r->f, *l0));
    add_runs(r, &m, runs);
    assert_int_equal(manifest_store_new(r->f.store, "db", 10000, &ms), 0);
    assert_int_equal(manifest_store_create(ms, &m), 0);
    r->base = manifest_store_current(ms);
    manifest_fini(&m);
    manifest_store_free(ms);
    cfg.ts = &r->f.ts;
    cfg.op = &r->f.op;
    cfg.filter = filter;
    cfg.clock = &r->f.clock;
    assert_int_equal(executor_new(&cfg, &r->x), 0);
}

static void rig_close(struct rig *r)
{
    executor_free(r->x);
    manifest_version_unref(r->base);
    cond_fini(&r->news);
    mutex_fini(&r->mu);
    compact_fixture_fini(&r->f);
}

/* A compaction of the L0 SST. */
static int start_l0(struct rig *r)
{
    struct compaction c = { .id = FIXTURE_JOB, .l0 = &r->base->m.l0[0].id, .n_l0 = 1 };

    return executor_start(r->x, &c, r->base);
}

/* Of a run, into itself. */
static int start_run(struct rig *r, uint32_t id)
{
    struct compaction c = { .id = { FIXTURE_JOB.hi, id }, .destination = id, .runs = &id, .n_runs = 1 };

    return executor_start(r->x, &c, r->base);
}

/* The next message that a job has finished. */
static struct executor_event finished(struct rig *r)
{
    int64_t deadline = clock_mono_ms() + WAIT_MS;
    struct executor_event e = { 0 };
    bool in_time = true;

    for (;;) {
        unsigned seen;

        mutex_lock(&r->mu);
        seen = r->n_news;
        mutex_unlock(&r->mu);
        while (executor_next(r->x, &e)) {
            if (e.finished)
                return e;
            executor_event_fini(&e);
        }
        if (!in_time)
            fail_msg("no message within %d ms", WAIT_MS);
        mutex_lock(&r->mu);
        while (in_time && r->n_news == seen)
            in_time = cond_wait_until(&r->news, &r->mu, deadline);
        mutex_unlock(&r->mu);
    }
}

/* What the first letters of a key tell the filter to do; end and create fail when they are to. */
struct prefix_filter {
    int create_rc, end_rc;
    _Atomic int n_ended;
};

static int filter_create(void *ctx, const struct shale_filter_context *job, void **filter)
{
    (void)job;
    *filter = ctx;
    return ((struct prefix_filter *)ctx)->create_rc;
}

static int filter_decide(void *filter, const struct shale_row *row, struct shale_buf *new_value)
{
    (void)filter;
    if (slice_has_prefix(row->key, slice_str("drop")))
        return SHALE_FILTER_DROP;
    if (slice_has_prefix(row->key, slice_str("tombstone")))
        return SHALE_FILTER_TOMBSTONE;
    if (!slice_has_prefix(row->key, slice_str("modify")))
        return SHALE_FILTER_KEEP;
    if (buf_append_slice(new_value, row->value) < 0 || buf_append_slice(new_value, slice_str("_modified")) < 0)
        return -ENOMEM;
    return SHALE_FILTER_MODIFY;
}

static int filter_end(void *filter)
{
    struct prefix_filter *p = filter;

    p->n_ended++;
    return p->end_rc;
}

static void filter_destroy(void *filter)
{
    (void)filter;
}

static struct shale_compaction_filter filter_of(struct prefix_filter *p)
{
    return (struct shale_compaction_filter){ .ctx = p, .create = filter_create, .decide = filter_decide,
                                             .end = filter_end, .destroy = filter_destroy };
}

#define FILTER_ROWS                                                                                                    \
    "drop:1=value1@1 drop:2=value2@2 keep:3=value3@3 keep:4=value4@4 modify:5=value5@5 modify:6=value6@6 "             \
    "tombstone:7=value7@7 tombstone:8=value8@8"

/* R211, test_compaction_job_with_filter_success: the filter comes after tombstones were removed, so its own stay. */
static void a_filter_works_on_the_last_run(void **state)
{
    static const char *const l0[] = { FILTER_ROWS, NULL };
    struct prefix_filter p = { 0 };
    struct shale_compaction_filter filter = filter_of(&p);
    struct executor_event e;
    struct rig r;
    char *text;

    (void)state;
    rig_open(&r, l0, NULL, &filter);
    assert_int_equal(start_l0(&r), 0); /* no run is there: the last one */
    e = finished(&r);
    assert_int_equal(e.rc, 0);
    assert_int_equal(e.run.id, 0);
    text = run_text(&r.f, &e.run, 0);
    assert_string_equal(text, "keep:3=value3@3 keep:4=value4@4 modify:5=value5_modified@5 modify:6=value6_modified@6 "
                              "tombstone:7=DEL@7 tombstone:8=DEL@8");
    assert_int_equal(p.n_ended, 1);
    free(text);
    executor_event_fini(&e);
    rig_close(&r);
}

/* R212, test_compaction_job_aborts_on_filter_creation_error; R213, ..._on_compaction_end_error. No output is left. */
static void a_filter_that_fails_fails_its_job(void **state)
{
    static const char *const l0[] = { FILTER_ROWS, NULL };

    (void)state;
    for (int at_end = 0; at_end < 2; at_end++) {
        struct prefix_filter p = { .create_rc = at_end ? 0 : -EPERM, .end_rc = at_end ? -EPERM : 0 };
        struct shale_compaction_filter filter = filter_of(&p);
        struct executor_event e;
        struct rig r;

        rig_open(&r, l0, NULL, &filter);
        assert_int_equal(start_l0(&r), 0);
        e = finished(&r);
        assert_int_equal(e.rc, -EPERM);
        assert_non_null(strstr(e.sentence, "compaction filter error"));
        assert_int_equal(e.run.n, 0);
        assert_int_equal(objects_count(r.f.memory, "compacted/"), 1);
        assert_int_equal(p.n_ended, at_end);
        executor_event_fini(&e);
        rig_close(&r);
    }
}

/* R202, R203: one message for each, whatever the order, and the place is free only when it was taken. */
static void jobs_run_side_by_side(void **state)
{
    static const char *const runs[] = { "a=1@1", "b=1@2", "c+x@3", NULL };
    struct rig r;

    (void)state;
    rig_open(&r, NULL, runs, NULL);
    for (uint32_t i = 1; i <= 3; i++)
        assert_int_equal(start_run(&r, i), 0);
    for (uint32_t seen = 0; seen != 14;) {
        struct executor_event e = finished(&r);

        assert_int_equal(e.rc, 0);
        assert_int_equal(e.run.id, e.id.lo);
        assert_false(seen & 1u << e.run.id);
        seen |= 1u << e.run.id;
        assert_false(executor_has(r.x, e.id));
        executor_event_fini(&e);
    }
    assert_int_equal(executor_running(r.x), 0);
    rig_close(&r);
}

/* R203: an error is a message like another; R228: sources that are not there are no job at all. */
static void errors_are_told(void **state)
{
    static const char *const l0[] = { "a=1@1", NULL };
    const struct fault_rule gone = { .cls = FAULT_RANGE, .match = "compacted/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct compaction unknown = { .id = { 1, 1 }, .l0 = &(struct shale_ulid){ 7, 7 }, .n_l0 = 1 };
    struct executor_event e;
    struct rig r;

    (void)state;
    rig_open(&r, l0, NULL, NULL);
    assert_int_equal(executor_start(r.x, &unknown, r.base), -EINVAL);
    store_fault_add(r.f.store, &gone);
    assert_int_equal(start_l0(&r), 0);
    e = finished(&r);
    assert_int_equal(e.rc, -EACCES);
    assert_true(e.sentence[0] != '\0');
    executor_event_fini(&e);
    store_fault_clear(r.f.store);
    assert_int_equal(start_l0(&r), 0); /* and the next attempt is a new one */
    e = finished(&r);
    assert_int_equal(e.rc, 0);
    executor_event_fini(&e);
    rig_close(&r);
}

/* R202, R205, R206: nothing starts afterwards, without a message or a change. */
static void nothing_starts_once_stopped(void **state)
{
    static const char *const l0[] = { "a=1@1", NULL };
    struct executor_event e;
    struct rig r;

    (void)state;
    rig_open(&r, l0, NULL, NULL);
    executor_stop(r.x);
    executor_stop(r.x);
    assert_int_equal(start_l0(&r), SHALE_ECANCELED);
    assert_int_equal(executor_running(r.x), 0);
    assert_false(executor_next(r.x, &e));
    assert_int_equal(r.n_news, 0);
    assert_int_equal(objects_count(r.f.memory, "compacted/"), 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_works_on_the_last_run),
        cmocka_unit_test(a_filter_that_fails_fails_its_job),
        cmocka_unit_test(jobs_run_side_by_side),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(nothing_starts_once_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
