/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for jobs, and a mailbox for what they report. A job has a slot from executor_start
 * until its last event was taken:
 *   queued      in the pool's queue          has_news: no
 *   running     reports progress             has_news: after a report, until it is taken
 *   finished    outcome in the slot          has_news: yes; n_running no longer counts it
 *   taken       event moved out, slot freed
 * Unread reports are overwritten, as each holds all outputs so far: the mailbox never grows.
 * Everything is under mu but the job itself; notify is called without it. stop is relaxed: jobs
 * look at it every few hundred rows, and nothing is published by it.
 */

#include "compact/executor.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io_class.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/sync.h"
#include "compact/compactor_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXECUTOR_RANK 460

/* A job from executor_start until its last event is taken. Fields without GUARDED_BY are set before it is submitted. */
struct slot {
    struct list link; /* GUARDED_BY(executor.mu) */
    struct executor *x;
    struct compaction_job job;
    struct compaction spec;        /* owns what the job borrows, together with base */
    struct manifest_version *base; /* shared */
    uint64_t source_bytes;
    int64_t begun_ms;              /* monotonic */
    bool has_news;                 /* GUARDED_BY(executor.mu) */
    struct executor_event event;   /* GUARDED_BY(executor.mu) */
};

struct executor {
    struct executor_config cfg;
    struct pool *pool;
    _Atomic bool stop; /* relaxed; jobs look at it, executor_start under mu */
    struct mutex mu;
    struct cond idle;  /* n_running fell to 0 */
    struct list slots; /* GUARDED_BY(mu), oldest first */
    size_t n_running;  /* GUARDED_BY(mu), slots whose job has not finished */
};

void executor_event_fini(struct executor_event *e)
{
    for (size_t i = 0; i < e->n_outputs; i++)
        sst_handle_unref(e->outputs[i]);
    mem_free(e->outputs);
    sorted_run_fini(&e->run);
    *e = (struct executor_event){ 0 };
}

static void slot_free(struct slot *s)
{
    executor_event_fini(&s->event);
    compaction_fini(&s->spec);
    manifest_version_unref(s->base);
    mem_free(s);
}

static int outputs_copy(struct sst_handle *const *from, size_t n, struct sst_handle ***out)
{
    struct sst_handle **copy = mem_calloc(n, sizeof(struct sst_handle *));

    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        copy[i] = sst_handle_ref(from[i]);
    *out = copy;
    return 0;
}

/*
 * On the job's thread. News that were not fetched are replaced: the last report holds all there is.
 * The copy is made before the lock, the old list freed after it.
 */
static int slot_progress(void *arg, uint64_t bytes_read, struct sst_handle *const *outputs, size_t n_outputs)
{
    struct slot *s = arg;
    struct sst_handle **copy = NULL;
    struct executor_event old;
    int rc;

    rc = outputs_copy(outputs, n_outputs, &copy);
    if (rc < 0)
        return rc;
    mutex_lock(&s->x->mu);
    old = (struct executor_event){ .outputs = s->event.outputs, .n_outputs = s->event.n_outputs };
    s->event.outputs = copy;
    s->event.n_outputs = n_outputs;
    s->event.bytes_read = bytes_read;
    s->has_news = true;
    mutex_unlock(&s->x->mu);
    executor_event_fini(&old);
    s->x->cfg.notify(s->x->cfg.arg);
    return 0;
}

/* Errors travel with their sentence, which is the property of this thread. */
static void slot_run(void *arg)
{
    struct slot *s = arg;
    struct executor *x = s->x;
    struct sorted_run run = { 0 };
    int rc;

    (void)io_class_set(IO_COMPACTION);
    if (x->cfg.metrics)
        metric_step(x->cfg.metrics->running, 1);
    rc = compaction_job_run(&s->job, &run);
    if (x->cfg.metrics)
        metric_step(x->cfg.metrics->running, -1);
    mutex_lock(&x->mu);
    s->event.rc = rc;
    s->event.run = run;
    if (rc < 0)
        snprintf(s->event.sentence, sizeof(s->event.sentence), "%s", shale_errmsg());
    s->event.finished = true;
    s->has_news = true;
    x->n_running--;
    mutex_unlock(&x->mu);
    /* executor_stop waits for running to be none; the slot may be gone by now, x is not before its pool has ended. */
    x->cfg.notify(x->cfg.arg);
    mutex_lock(&x->mu);
    cond_broadcast(&x->idle);
    mutex_unlock(&x->mu);
}

int executor_new(const struct executor_config *cfg, struct executor **out)
{
    struct executor *x = mem_zalloc(sizeof(*x));
    int rc;

    if (!x)
        return -ENOMEM;
    x->cfg = *cfg;
    mutex_init(&x->mu, EXECUTOR_RANK, "executor");
    cond_init(&x->idle);
    list_init(&x->slots);
    rc = pool_new("shale-compact", cfg->max_jobs, &x->pool);
    if (rc < 0) {
        executor_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

static uint64_t source_bytes(const struct compaction_job *job)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < job->n_l0; i++)
        sum += sst_handle_size(job->l0[i].sst);
    for (size_t i = 0; i < job->n_runs; i++)
        sum += sorted_run_size(&job->runs[i]);
    return sum;
}

/* The arguments of a job (R228). base keeps its inputs alive, whatever is published meanwhile. */
static int slot_new(struct executor *x, const struct compaction *c, struct manifest_version *base, struct slot **out)
{
    struct compaction_window w;
    struct slot *s;
    int rc;

    rc = compaction_window_find(&base->m, c, &w);
    if (rc < 0)
        return rc;
    s = mem_zalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    rc = compaction_copy(&s->spec, c);
    if (rc < 0) {
        mem_free(s);
        return rc;
    }
    s->x = x;
    s->base = manifest_version_ref(base);
    s->event.id = c->id;
    s->job = (struct compaction_job){
        .id = c->id, .destination = c->destination,
        .l0 = w.n_l0 ? &base->m.l0[w.l0] : NULL, .n_l0 = w.n_l0,
        .runs = w.n_runs ? &base->m.runs[w.runs] : NULL, .n_runs = w.n_runs,
        .outputs = s->spec.outputs, .n_outputs = s->spec.n_outputs,
        .clock_tick = base->m.last_l0_clock_tick, .is_last_run = compaction_is_last_run(&base->m, c),
        .retention_min_seq = base->m.recent_snapshot_min_seq, .max_sst_size = x->cfg.max_sst_size,
        .ts = x->cfg.ts, .op = x->cfg.op, .filter = x->cfg.filter, .clock = x->cfg.clock, .cancel = &x->stop,
        .progress = slot_progress, .progress_arg = s,
        .written = x->cfg.metrics ? x->cfg.metrics->bytes_compacted : NULL,
    };
    s->source_bytes = source_bytes(&s->job);
    s->begun_ms = clock_mono_ms();
    *out = s;
    return 0;
}

/*
 * The event begins with the earlier outputs: a job that never reports must not seem to have lost them.
 * Submitted under mu, so that the slot is in the list before the job can finish. The pool's lock
 * (rank 900) may be taken under it.
 */
int executor_start(struct executor *x, const struct compaction *c, struct manifest_version *base)
{
    struct slot *s = NULL;
    int rc;

    rc = slot_new(x, c, base, &s);
    if (rc < 0)
        return rc;
    rc = outputs_copy(s->spec.outputs, s->spec.n_outputs, &s->event.outputs);
    if (rc == 0)
        s->event.n_outputs = s->spec.n_outputs;
    mutex_lock(&x->mu);
    if (rc == 0 && atomic_load_explicit(&x->stop, memory_order_relaxed))
        rc = err_set(SHALE_ECANCELED, "the compactor is stopping");
    if (rc == 0)
        rc = pool_submit(x->pool, slot_run, s);
    if (rc == 0) {
        list_append(&x->slots, &s->link);
        x->n_running++;
    }
    mutex_unlock(&x->mu);
    if (rc < 0)
        slot_free(s);
    return rc;
}

bool executor_has(struct executor *x, struct shale_ulid id)
{
    bool found = false;

    mutex_lock(&x->mu);
    list_for_each(pos, &x->slots)
        found = found || ulid_eq(list_entry(pos, struct slot, link)->event.id, id);
    mutex_unlock(&x->mu);
    return found;
}

size_t executor_running(struct executor *x)
{
    size_t n;

    mutex_lock(&x->mu);
    n = x->n_running;
    mutex_unlock(&x->mu);
    return n;
}

void executor_totals(struct executor *x, struct executor_totals *out)
{
    int64_t now = clock_mono_ms();

    *out = (struct executor_totals){ 0 };
    mutex_lock(&x->mu);
    list_for_each(pos, &x->slots) {
        const struct slot *s = list_entry(pos, struct slot, link);

        if (s->event.finished)
            continue;
        out->bytes_total += s->source_bytes;
        out->bytes_read += s->event.bytes_read;
        out->ms += now - s->begun_ms;
    }
    mutex_unlock(&x->mu);
}

/*
 * Hand the event over. What is copied is shared, so that a job that goes on still has it. false: no memory, later.
 * Without memory the news stay for the next call.
 */
static bool slot_take_locked(struct slot *s, struct executor_event *out)
{
    struct sst_handle **copy = NULL;

    if (s->event.finished) {
        *out = s->event;
        s->event = (struct executor_event){ 0 };
        list_remove(&s->link);
        return true;
    }
    if (outputs_copy(s->event.outputs, s->event.n_outputs, &copy) < 0)
        return false;
    *out = s->event;
    out->outputs = copy;
    s->has_news = false;
    return true;
}

bool executor_next(struct executor *x, struct executor_event *out)
{
    struct slot *done = NULL;
    bool taken = false;

    mutex_lock(&x->mu);
    list_for_each_safe(pos, tmp, &x->slots) {
        struct slot *s = list_entry(pos, struct slot, link);

        if (!s->has_news || !slot_take_locked(s, out))
            continue;
        done = out->finished ? s : NULL;
        taken = true;
        break;
    }
    mutex_unlock(&x->mu);
    if (done)
        slot_free(done);
    return taken;
}

/*
 * The jobs end at their next tick; a read or upload under way is waited for. Their events are
 * still there to be taken.
 */
void executor_stop(struct executor *x)
{
    mutex_lock(&x->mu);
    atomic_store_explicit(&x->stop, true, memory_order_relaxed); /* first, so that nothing starts behind it (R205) */
    while (x->n_running > 0)
        cond_wait(&x->idle, &x->mu);
    mutex_unlock(&x->mu);
}

void executor_free(struct executor *x)
{
    if (!x)
        return;
    executor_stop(x);
    pool_free(x->pool);
    list_for_each_safe(pos, tmp, &x->slots)
        slot_free(list_entry(pos, struct slot, link));
    cond_fini(&x->idle);
    mutex_fini(&x->mu);
    mem_free(x);
}
