/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The orchestrator: one thread that decides what is compacted, starts jobs on the executor's
 * threads, and publishes results (R215-R236). A pass:
 *   take events     what the jobs report: outputs to record, results, failures
 *   publish         results into the manifest, one version each
 *   save            the list of compactions, if it changed; then delete what it no longer names
 *   schedule        on a poll, a wake, or when a job ended: refresh, choose, save, admit, save, start
 * Everything is stored before it is acted on, so that a crash at any point leaves a list from
 * which the next owner goes on. The state belongs to the thread; mu guards only the flags by
 * which others reach it. Being fenced ends the thread, not the database (H19).
 */

#include "compact/compactor.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io_class.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pace.h"
#include "base/pool.h"
#include "base/sync.h"
#include "compact/compaction_log.h"
#include "compact/compactor_state.h"
#include "compact/executor.h"
#include "compact/output_set.h"
#include "compact/size_tiered.h"
#include "compact/submit.h"
#include "manifest/checkpoint.h"
#include "mem/counted_operator.h"

#include <errno.h>
#include <inttypes.h>

#define COMPACTOR_RANK 450

/*
 * Overtaken and standing by, the epoch is taken back when there is something to do and nobody did anything for so
 * many poll intervals; longer while somebody is at work, who stores something only with each SST that he has
 * finished.
 */
#define UNATTENDED_POLLS 6
#define SILENT_POLLS 60

/*
 * A compaction goes through these steps, each stored before the next begins (storage format section 9.4):
 *   Submitted   chosen here, or by somebody else; or it ran when its compactor died, and has outputs to resume from
 *   Running     its job runs; grows outputs
 *   (result)    the job is done; still Running in the list until the manifest has the result
 *   Completed   published. A crash before this is stored leaves Running, whose sources are gone: Failed (R231).
 *   Failed      invalid when it was to start, or its job failed: its outputs are deleted, the scheduler chooses anew.
 *
 * One manifest version is written for each compaction. SlateDB writes another one before it, with a checkpoint of
 * 900 s of the old state (R230), because its collector counts the age of an SST from its id: without the
 * checkpoint, sources older than min_age may be deleted as soon as they are no longer referenced, under a scan that
 * still reads them, or a writer that has not seen the new version yet. A compactor with a process of its own
 * (keep_sources_ms) makes that checkpoint in the same version, of the one before it. In the process of the writer
 * there is none: its collector knows what its own scans hold and counts from when it first found an object
 * unreferenced (H22), and readers elsewhere have checkpoints of their own.
 */
struct result {
    struct list link;
    struct shale_ulid id;
    struct sorted_run run;
};

struct compactor {
    struct compactor_config cfg;
    struct counted_operator op; /* the merge operator of its jobs */
    struct compactor_metrics metrics;
    struct executor *executor; /* replaced under mu, by the orchestrator's thread */
    struct worker thread;

    /* Of the orchestrator's thread alone. */
    struct compaction_log log;
    struct list results;        /* of jobs, not published yet */
    struct shale_ulid *garbage; /* outputs nobody will refer to once the list is stored */
    size_t n_garbage, cap_garbage;
    int64_t next_look_ms;       /* on the monotonic clock */
    struct pace pace;           /* of the looks */
    uint64_t seen_list, seen_manifest; /* ids, as the last look left them */
    int64_t hold_until_ms;      /* after a failed job nothing new is chosen before; 0: none failed */

    struct mutex mu;
    struct cond changed;
    bool stop;          /* GUARDED_BY(mu) */
    bool woken;         /* GUARDED_BY(mu) */
    bool has_events;    /* GUARDED_BY(mu), of the executor */
    uint64_t completed; /* GUARDED_BY(mu) */
};

/* From threads of the executor, with no lock of theirs held. */
static void note_events(void *arg)
{
    struct compactor *c = arg;

    mutex_lock(&c->mu);
    c->has_events = true;
    cond_signal(&c->changed);
    mutex_unlock(&c->mu);
}

static bool has_work_locked(const struct compactor *c)
{
    return c->stop || c->woken || c->has_events;
}

/*
 * *look: it is time to look at what is stored, which the poll interval or a wake says; the executor's events alone
 * are no reason to. false: stop.
 * The flags are taken together: what is set from now on belongs to the next pass.
 */
static bool wait_for_work(struct compactor *c, bool *look)
{
    bool go_on;

    mutex_lock(&c->mu);
    while (!has_work_locked(c))
        if (!cond_wait_until(&c->changed, &c->mu, c->next_look_ms))
            break;
    *look = c->woken || clock_mono_ms() >= c->next_look_ms;
    go_on = !c->stop;
    c->woken = false;
    c->has_events = false;
    mutex_unlock(&c->mu);
    return go_on;
}

/*
 * How old the manifest may be that a look goes by: what this handle does to it is known in any case, and while others
 * are quiet the memtable flusher's looks at it are enough.
 */
static int64_t manifest_age(const struct compactor *c)
{
    return c->pace.pause_ms > c->pace.least_ms ? c->pace.pause_ms : 0;
}

/* After a look. */
static void plan_look(struct compactor *c, bool is_news)
{
    c->next_look_ms = clock_mono_ms() + pace_note(&c->pace, is_news);
}

static int64_t wall_ms(const struct compactor *c)
{
    const struct shale_clock *clock = c->cfg.opt->clock;

    return clock ? clock->now_ms(clock->ctx) : clock_wall_ms();
}

static bool is_listed(struct sst_handle *const *list, size_t n, struct shale_ulid id)
{
    for (size_t i = 0; i < n; i++)
        if (ulid_eq(list[i]->id, id))
            return true;
    return false;
}

/*
 * Mark outputs of rec for deletion, but for those in keep. Without memory they stay, for a collector to find.
 * Deleting itself waits for save(): as long as the stored list names an output, a successor may
 * resume from it.
 */
static void discard_outputs(struct compactor *c, const struct compaction *rec, struct sst_handle *const *keep, size_t n)
{
    if (vec_reserve(&c->garbage, &c->cap_garbage, c->n_garbage + rec->n_outputs, sizeof(*c->garbage)) < 0)
        return;
    for (size_t i = 0; i < rec->n_outputs; i++)
        if (!is_listed(keep, n, rec->outputs[i]->id))
            c->garbage[c->n_garbage++] = rec->outputs[i]->id;
}

/* Bytes of the sources; 0 when they are no longer there. */
static uint64_t source_bytes(struct compactor *c, const struct compaction *rec)
{
    struct manifest_version *v = manifest_store_current(c->cfg.manifests);
    struct compaction_window w;
    uint64_t sum = 0;

    if (compaction_window_find(&v->m, rec, &w) == 0) {
        for (size_t i = 0; i < w.n_l0; i++)
            sum += sst_handle_size(v->m.l0[w.l0 + i].sst);
        for (size_t i = 0; i < w.n_runs; i++)
            sum += sorted_run_size(&v->m.runs[w.runs + i]);
    }
    manifest_version_unref(v);
    return sum;
}

static void report(struct compactor *c, const struct compaction *rec, uint64_t bytes_read, const char *why)
{
    struct shale_compaction told;

    if (!c->cfg.report)
        return;
    told = compaction_told(rec);
    told.bytes_read = bytes_read;
    if (rec->status == COMPACTION_RUNNING)
        told.bytes_total = source_bytes(c, rec);
    told.why = why;
    c->cfg.report(c->cfg.arg, &told, 0);
}

static void fail(struct compactor *c, struct compaction *rec, const char *why)
{
    char text[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(rec->id, text);
    log_warn("compaction %s into sorted run %" PRIu32 " failed: %s", text, rec->destination, why);
    rec->status = COMPACTION_FAILED;
    c->log.dirty = true;
    report(c, rec, 0, why);
}

/*
 * Outputs are only ever appended or, once, the last one left out and written again under another id.
 * Comparing number and last id is enough, as outputs are appended and only the last one is ever
 * replaced.
 */
static bool same_outputs(const struct compaction *rec, const struct executor_event *e)
{
    return rec->n_outputs == e->n_outputs &&
           (e->n_outputs == 0 || ulid_eq(rec->outputs[e->n_outputs - 1]->id, e->outputs[e->n_outputs - 1]->id));
}

/* A job that resumed may have left out an output of its predecessor: outputs are replaced, not only extended. */
static int record_outputs(struct compactor *c, struct compaction *rec, const struct executor_event *e)
{
    size_t n_garbage = c->n_garbage;
    int rc;

    if (same_outputs(rec, e))
        return 0;
    discard_outputs(c, rec, e->outputs, e->n_outputs);
    rc = compaction_set_outputs(rec, e->outputs, e->n_outputs);
    if (rc < 0)
        c->n_garbage = n_garbage; /* the list still names them */
    else
        c->log.dirty = true;
    return rc;
}

/* The run moves out of the event; the record stays Running until the manifest has it. */
static int keep_result(struct compactor *c, struct executor_event *e)
{
    struct result *r = mem_zalloc(sizeof(*r));

    if (!r)
        return -ENOMEM;
    r->id = e->id;
    r->run = e->run;
    e->run = (struct sorted_run){ 0 };
    list_append(&c->results, &r->link);
    return 0;
}

static void result_free(struct result *r)
{
    list_remove(&r->link);
    sorted_run_fini(&r->run);
    mem_free(r);
}

/*
 * What a job says goes into its record. A stopped one stays Running there: who opens the list next resumes it. Only
 * outputs of a job that failed here are deleted, for its sources were in the manifest when it started, so that no
 * earlier result of it can have been published.
 */
static void take_event(struct compactor *c, struct executor_event *e)
{
    struct compaction *rec = compactions_find(&c->log.state, e->id);
    int rc;

    if (!rec)
        return;
    rc = record_outputs(c, rec, e);
    if (rc == 0 && !e->finished)
        report(c, rec, e->bytes_read, NULL);
    if (e->finished && e->rc == 0 && rc == 0)
        rc = keep_result(c, e);
    if (rc < 0) {
        /* Should it have gone on, nothing is lost: the job reports again, or the record is resumed. */
        if (e->finished)
            fail(c, rec, shale_strerror(rc));
    } else if (e->finished && e->rc < 0 && e->rc != SHALE_ECANCELED) {
        fail(c, rec, e->sentence);
        discard_outputs(c, rec, NULL, 0);
        c->hold_until_ms = clock_mono_ms() + c->cfg.opt->compactor.poll_interval_ms;
        if (c->next_look_ms > c->hold_until_ms)
            c->next_look_ms = c->hold_until_ms;
    }
}

/* How far the jobs are, as wants it told: bytes read for each second of each of them. */
static void note_progress(struct compactor *c)
{
    struct executor_totals t = { 0 };

    executor_totals(c->executor, &t);
    metric_set(c->metrics.bytes_in_progress, (int64_t)t.bytes_total);
    metric_set(c->metrics.bytes_per_s, t.ms > 0 ? (int64_t)((double)t.bytes_read * 1000 / (double)t.ms) : 0);
}

/* Whether a job has ended, so that another one may start. */
static bool take_events(struct compactor *c)
{
    struct executor_event e;
    bool ended = false;

    while (executor_next(c->executor, &e)) {
        take_event(c, &e);
        ended = ended || e.finished;
        executor_event_fini(&e);
    }
    note_progress(c);
    return ended;
}

struct publication {
    const struct compaction *rec;
    const struct sorted_run *run;
    const struct checkpoint_request *keep; /* NULL: none */
};

static int edit_manifest(void *arg, struct manifest *m, uint64_t next_id)
{
    struct publication *p = arg;
    int rc = compaction_publish(m, p->rec, p->run);

    return rc == 0 && p->keep ? checkpoint_add(m, p->keep, next_id - 1) : rc;
}

/*
 * Put a result into the manifest. What cannot be published ever ends the result, and leaves its outputs for a
 * collector, since it is not certain here that nothing refers to them; any other error keeps it for the next pass.
 * An edit that finds its own result there already (the reply was lost) leaves the manifest
 * unchanged and counts as published.
 */
static int publish(struct compactor *c, struct result *r)
{
    struct compaction *rec = compactions_find(&c->log.state, r->id);
    struct publication p = { .rec = rec, .run = &r->run };
    struct shale_checkpoint_options lifetime = { .has_lifetime = true, .lifetime_ms = c->cfg.keep_sources_ms };
    struct checkpoint_request keep;
    struct manifest_version *v = NULL;
    int rc;

    if (!rec) {
        result_free(r);
        return 0;
    }
    if (lifetime.lifetime_ms > 0) {
        checkpoint_request_init(&keep, &lifetime, wall_ms(c));
        p.keep = &keep;
    }
    rc = manifest_store_update_as(c->cfg.manifests, EPOCH_COMPACTOR, edit_manifest, &p, &v);
    if (rc == -EINVAL) {
        fail(c, rec, shale_errmsg());
        result_free(r);
        return 0;
    }
    if (rc < 0)
        return rc;
    rec->status = COMPACTION_COMPLETED;
    c->log.dirty = true;
    report(c, rec, 0, NULL);
    result_free(r);
    metric_set(c->metrics.last_timestamp_s, wall_ms(c) / 1000);
    mutex_lock(&c->mu);
    c->completed++;
    mutex_unlock(&c->mu);
    if (c->cfg.published)
        c->cfg.published(c->cfg.arg, v);
    else
        manifest_version_unref(v);
    return 0;
}

/* All of them; one that fails waits for the next time. The first error is returned. */
static int publish_all(struct compactor *c)
{
    int first = 0;

    list_for_each_safe(pos, tmp, &c->results) {
        int rc = publish(c, list_entry(pos, struct result, link));

        if (rc == SHALE_EFENCED)
            return rc;
        if (first == 0)
            first = rc;
    }
    return first;
}

/* Garbage goes only when the list that no longer names it is stored: a crash in between must find whole outputs. */
static int save(struct compactor *c)
{
    int rc = compaction_log_save(&c->log);

    while (rc == 0 && c->n_garbage > 0)
        output_delete(c->cfg.ts, c->garbage[--c->n_garbage]);
    return rc;
}

/*
 * After a failure nothing is chosen for one poll interval, however often a flush wakes us: it may well fail again.
 * Proposals count the active ones, so none is made for what is already submitted. A proposal without memory ends the
 * pass; what was added stays.
 */
static int choose(struct compactor *c, const struct manifest *m)
{
    struct compactions *cs = &c->log.state;
    struct compactions found = { 0 };
    size_t i = 0;
    int rc;

    if (c->cfg.only_submitted || clock_mono_ms() < c->hold_until_ms)
        return 0;
    rc = size_tiered_propose(m, cs->list, cs->n, &c->cfg.opt->compactor, &found);
    for (; rc == 0 && i < found.n; i++) {
        found.list[i].id = compactions_new_id(cs, wall_ms(c));
        rc = compactions_add(cs, &found.list[i]); /* moves it: nothing is left in found to free */
        c->log.dirty = true;
    }
    compactions_fini(&found);
    return rc;
}

static size_t count_running(const struct compactions *cs)
{
    size_t n = 0;

    for (size_t i = 0; i < cs->n; i++)
        n += cs->list[i].status == COMPACTION_RUNNING;
    return n;
}

/*
 * Submitted, in order of id, to Running while there is room (R226).
 * The list is in order of id, so the oldest submitted comes first, whoever submitted it.
 */
static void admit(struct compactor *c, const struct manifest *m)
{
    struct compactions *cs = &c->log.state;
    size_t n_running = count_running(cs);

    for (size_t i = 0; i < cs->n && n_running < c->cfg.opt->compactor.max_concurrent; i++) {
        struct compaction *rec = &cs->list[i];

        if (rec->status != COMPACTION_SUBMITTED)
            continue;
        if (compaction_spec_check(m, rec, cs->list, cs->n) < 0) {
            /* Outputs stay: when its result was published before a crash, the manifest refers to them (R231). */
            fail(c, rec, shale_errmsg());
            continue;
        }
        rec->status = COMPACTION_RUNNING;
        c->log.dirty = true;
        n_running++;
        report(c, rec, 0, NULL);
    }
}

static bool has_result(const struct compactor *c, struct shale_ulid id)
{
    list_for_each(pos, &c->results)
        if (ulid_eq(list_entry(pos, struct result, link)->id, id))
            return true;
    return false;
}

/*
 * Jobs for all that are Running in the stored list and do not run: an earlier attempt to start one may have failed.
 * v is the manifest that admission was checked against, and the job keeps it: its sources stay
 * alive though the manifest moves on.
 */
static int start_jobs(struct compactor *c, struct manifest_version *v)
{
    const struct compactions *cs = &c->log.state;
    int rc;

    rc = table_store_set_externals(c->cfg.ts, &v->m);
    for (size_t i = 0; rc == 0 && i < cs->n; i++) {
        if (cs->list[i].status != COMPACTION_RUNNING || has_result(c, cs->list[i].id) ||
            executor_has(c->executor, cs->list[i].id))
            continue;
        rc = executor_start(c->executor, &cs->list[i], v);
    }
    return rc;
}

/*
 * The list is read before the manifest: a compaction submitted for what the manifest shows is then not missed.
 * Saved twice: Submitted before Running, as SlateDB's protocol has it (storage format 9.6), so
 * that an observer sees each state; the second save is skipped when nothing was admitted.
 */
static int schedule(struct compactor *c, bool look)
{
    struct manifest_version *v = NULL;
    int rc;

    rc = look ? compaction_log_refresh(&c->log) : 0;
    if (rc < 0)
        return rc;
    if (look)
        rc = manifest_store_recent_as(c->cfg.manifests, EPOCH_COMPACTOR, manifest_age(c), &v);
    else
        v = manifest_store_current(c->cfg.manifests);
    if (rc < 0)
        return rc;
    compactions_place(&c->log.state, &v->m);
    rc = choose(c, &v->m);
    if (rc == 0)
        rc = save(c);
    if (rc < 0)
        goto out;
    admit(c, &v->m);
    rc = save(c);
    if (rc < 0)
        goto out;
    rc = start_jobs(c, v);
    note_progress(c);
out:
    manifest_version_unref(v);
    return rc;
}

/* A failure ends the pass, and the next one begins with the same results and the same dirty list. */
static int pass(struct compactor *c, bool look)
{
    bool ended = take_events(c);
    int rc;

    rc = publish_all(c);
    if (rc == 0)
        rc = save(c);
    return rc < 0 || !(look || ended) ? rc : schedule(c, look);
}

/*
 * Jobs stop; what is done is published, what is not is resumed by whoever comes next.
 * A fenced compactor publishes nothing: its successor has the list, and resumes from the outputs
 * recorded there.
 */
static void wind_up(struct compactor *c, bool fenced)
{
    int rc;

    executor_stop(c->executor);
    (void)take_events(c); /* nothing more starts */
    if (fenced)
        return;
    rc = publish_all(c);
    if (rc == 0)
        rc = save(c);
    if (rc < 0)
        log_warn("the compactor could not store its last state: %s", shale_errmsg());
}

/* What the orchestrator works with, while it owns the compactions. */
static void end_service(struct compactor *c)
{
    struct executor *x;

    mutex_lock(&c->mu);
    x = c->executor;
    c->executor = NULL;
    mutex_unlock(&c->mu);
    executor_free(x);
    list_for_each_safe(pos, tmp, &c->results)
        result_free(list_entry(pos, struct result, link));
    compaction_log_fini(&c->log);
    c->n_garbage = 0; /* what is not deleted yet is for a collector */
}

static void compactor_free(struct compactor *c)
{
    end_service(c);
    mem_free(c->garbage);
    cond_fini(&c->changed);
    mutex_fini(&c->mu);
    mem_free(c);
}

static int claim(struct compactor *c)
{
    const struct compactor_config *cfg = &c->cfg;
    struct manifest_version *v = NULL;
    uint64_t epoch;
    size_t n = 0;
    int rc;

    rc = manifest_store_claim(cfg->manifests, EPOCH_COMPACTOR, &epoch, &v);
    if (rc < 0)
        return rc;
    manifest_version_unref(v);
    rc = compaction_log_init(&c->log, cfg->store, cfg->root, epoch, cfg->opt->manifest_update_timeout_ms);
    for (size_t i = 0; rc == 0 && i < c->log.state.n; i++)
        n += compaction_is_active(&c->log.state.list[i]);
    if (rc == 0)
        log_info("compactor of %s started, epoch %" PRIu64 ", %zu compactions to resume", cfg->root, epoch, n);
    return rc;
}

/* Own the compactions from here on. end_service also after a failure. */
static int begin_service(struct compactor *c)
{
    const struct shale_options *opt = c->cfg.opt;
    struct executor_config cfg = { .max_jobs = opt->compactor.max_concurrent, .ts = c->cfg.ts,
                                   .op = counted_operator_op(&c->op), .filter = opt->compaction_filter,
                                   .clock = opt->clock, .metrics = &c->metrics,
                                   .max_sst_size = opt->compactor.max_sst_size, .notify = note_events, .arg = c };
    struct executor *x = NULL;
    int rc = claim(c);

    if (rc == 0)
        rc = executor_new(&cfg, &x);
    if (rc < 0)
        return rc;
    mutex_lock(&c->mu);
    c->executor = x;
    mutex_unlock(&c->mu);
    c->next_look_ms = clock_mono_ms(); /* the first look is at once */
    pace_init(&c->pace, opt->compactor.poll_interval_ms, opt->compactor.idle_poll_ms);
    return 0;
}

/* Whether something has changed since the last look, by this compactor or others, or is not done yet. */
static bool has_news(struct compactor *c)
{
    const struct compactions *cs = &c->log.state;
    struct manifest_version *v = manifest_store_current(c->cfg.manifests);
    bool news = c->log.store.id != c->seen_list || v->id != c->seen_manifest;

    for (size_t i = 0; i < cs->n && !news; i++)
        news = compaction_is_active(&cs->list[i]);
    c->seen_list = c->log.store.id;
    c->seen_manifest = v->id;
    manifest_version_unref(v);
    return news;
}

/* Until it is to stop (0) or another compactor took over (SHALE_EFENCED). */
static int serve(struct compactor *c)
{
    bool look;
    int rc = 0;

    while (rc != SHALE_EFENCED && wait_for_work(c, &look)) {
        rc = pass(c, look);
        if (look || rc < 0)
            plan_look(c, rc < 0 || has_news(c));
        if (rc < 0 && rc != SHALE_EFENCED)
            log_warn("the compactor tries again in %" PRId64 " ms: %s", c->cfg.opt->compactor.poll_interval_ms,
                     shale_errmsg());
    }
    if (rc == SHALE_EFENCED)
        log_warn("another compactor owns the database now, this one stops: %s", shale_errmsg());
    wind_up(c, rc == SHALE_EFENCED);
    return rc == SHALE_EFENCED ? rc : 0;
}

/* What the one who took over leaves to be seen. */
struct elsewhere {
    uint64_t list_id; /* moves with each thing that is begun or done */
    bool has_work, is_running;
};

static int look_elsewhere(struct compactor *c, struct elsewhere *out)
{
    struct manifest_version *v = NULL;
    struct compactions_store s = { 0 };
    struct compactions list = { 0 }, found = { 0 };
    int rc;

    *out = (struct elsewhere){ .list_id = 0 };
    rc = manifest_store_recent_as(c->cfg.manifests, EPOCH_WRITER, manifest_age(c), &v);
    if (rc == 0)
        rc = compactions_store_init(&s, c->cfg.store, c->cfg.root);
    if (rc == 0)
        rc = compactions_store_load(&s, &list);
    if (rc == 0)
        rc = size_tiered_propose(&v->m, list.list, list.n, &c->cfg.opt->compactor, &found);
    if (rc == 0) {
        out->list_id = s.id;
        out->has_work = found.n > 0;
        out->is_running = count_running(&list) > 0;
        for (size_t i = 0; i < list.n; i++)
            out->has_work = out->has_work || compaction_is_active(&list.list[i]);
    }
    compactions_fini(&found);
    compactions_fini(&list);
    compactions_store_fini(&s);
    manifest_version_unref(v);
    return rc;
}

/* true: there is work that nobody does; false: it is to stop. Errors are as good as news: they are no reason to act. */
static bool stand_by(struct compactor *c)
{
    int64_t poll_ms = c->cfg.opt->compactor.poll_interval_ms, since_ms = clock_mono_ms();
    uint64_t list_id = 0;
    bool look, had_work = false;

    while (wait_for_work(c, &look)) {
        int64_t now = clock_mono_ms();
        struct elsewhere e;
        int rc;

        if (!look)
            continue;
        rc = look_elsewhere(c, &e);
        if (rc < 0 || !e.has_work || !had_work || e.list_id != list_id)
            since_ms = now;
        else if (now - since_ms >= poll_ms * (e.is_running ? SILENT_POLLS : UNATTENDED_POLLS))
            return true;
        plan_look(c, rc < 0 || e.has_work || e.list_id != list_id);
        list_id = e.list_id;
        had_work = e.has_work;
    }
    return false;
}

static void compactor_main(void *arg)
{
    struct compactor *c = arg;
    int rc;

    (void)io_class_set(IO_COMPACTION);
    rc = serve(c);
    while (rc == SHALE_EFENCED && c->cfg.stands_by) {
        end_service(c);
        if (!stand_by(c))
            return;
        log_info("nobody compacts %s, taking it back", c->cfg.root);
        rc = begin_service(c);
        if (rc < 0)
            log_warn("the compactor could not take over: %s", shale_errmsg());
        rc = rc < 0 ? SHALE_EFENCED : serve(c);
    }
    if (rc == SHALE_EFENCED && c->cfg.report)
        c->cfg.report(c->cfg.arg, NULL, rc);
}

int compactor_start(const struct compactor_config *cfg, struct compactor **out)
{
    struct compactor *c = mem_zalloc(sizeof(*c));
    int rc;

    if (!c)
        return -ENOMEM;
    c->cfg = *cfg;
    mutex_init(&c->mu, COMPACTOR_RANK, "compactor");
    cond_init(&c->changed);
    list_init(&c->results);
    if (cfg->metrics)
        c->metrics = *cfg->metrics;
    rc = counted_operator_init(&c->op, cfg->opt->merge_operator, cfg->registry, "compact");
    if (rc == 0)
        rc = begin_service(c);
    if (rc == 0)
        rc = worker_start(&c->thread, "shale-compactor", compactor_main, c);
    if (rc < 0) {
        compactor_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void compactor_wake(struct compactor *c)
{
    mutex_lock(&c->mu);
    c->woken = true;
    cond_signal(&c->changed);
    mutex_unlock(&c->mu);
}

void compactor_stop(struct compactor *c)
{
    if (!c)
        return;
    mutex_lock(&c->mu);
    c->stop = true;
    cond_signal(&c->changed);
    mutex_unlock(&c->mu);
    worker_join(&c->thread);
    compactor_free(c);
}

void compactor_counts(struct compactor *c, uint32_t *running, uint64_t *completed)
{
    mutex_lock(&c->mu);
    *running = c->executor ? (uint32_t)executor_running(c->executor) : 0;
    *completed = c->completed;
    mutex_unlock(&c->mu);
}
