/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One job, from sources to outputs, on a thread of the executor (R180-R201). Rows come up through
 * a stack of iterators and go into the output set:
 *   resume     what an earlier attempt has written is left out
 *   filter     the application's, sees what is kept
 *   retention  versions that nobody can see, tombstones at the last run
 *   fold       operands up to retention_min_seq
 *   input      merge of all sources, every version
 * The order is normative (R183): a filter sees merged rows, and resuming compares final ones. A
 * row is in the outputs exactly once or was dropped by rule; that holds across crashes since
 * outputs end between keys (output_set.h) or are written again.
 */

#include "compact/compaction_job.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "compact/filter_iter.h"
#include "compact/input_iter.h"
#include "compact/output_set.h"
#include "compact/resume_iter.h"
#include "read/fold_iter.h"
#include "read/retention_iter.h"

#include <errno.h>

#define PROGRESS_MS 1000

struct job_state {
    const struct compaction_job *job;
    struct output_set outputs;
    struct resume_cursor cursor;
    struct shale_buf from; /* where reading begins again */
    struct iter *rows;     /* top of the stack */
    struct iter *input;    /* its bottom, part of it */
    uint64_t start_bytes;
    int64_t reported_ms;
};

static int64_t now_ms(const struct compaction_job *job)
{
    return job->clock ? job->clock->now_ms(job->clock->ctx) : clock_wall_ms();
}

/*
 * Show what there is to whoever records it.
 * n_kept moves before the call: once an output may have been recorded, deleting it on failure is
 * the recorder's business.
 */
static int report(struct job_state *s, int64_t now)
{
    const struct compaction_job *job = s->job;

    s->reported_ms = now;
    if (!job->progress)
        return 0;
    s->outputs.n_kept = s->outputs.n; /* even when it fails: they may have been recorded */
    return job->progress(job->progress_arg, s->start_bytes + input_iter_bytes(s->input), s->outputs.list,
                         s->outputs.n);
}

static int check_cancel(void *arg)
{
    const struct compaction_job *job = ((struct job_state *)arg)->job;

    if (job->cancel && atomic_load_explicit(job->cancel, memory_order_relaxed))
        return err_set(SHALE_ECANCELED, "the compaction into sorted run %u was stopped", job->destination);
    return 0;
}

/*
 * Called every so many input rows, also when none of them comes out at the top.
 * Counted in input rows, so that a job which drops everything still reports and can be stopped.
 */
static int tick(void *arg)
{
    struct job_state *s = arg;
    int64_t now = now_ms(s->job);
    int rc;

    rc = check_cancel(arg);
    if (rc < 0)
        return rc;
    return now - s->reported_ms > PROGRESS_MS ? report(s, now) : 0;
}

static int open_input(struct job_state *s, int (*each)(void *arg), struct iter **out)
{
    struct input_options opt = { .l0 = s->job->l0, .n_l0 = s->job->n_l0, .runs = s->job->runs, .n_runs = s->job->n_runs,
                                 .ts = s->job->ts, .tick = each, .tick_arg = s };

    return input_iter_new(&opt, out);
}

/*
 * *found: whether the inputs hold versions of the cursor's key older than the cursor.
 * Asks the inputs as they are now. The tick is check_cancel only: nothing has been opened that
 * could be reported on.
 */
static int has_older_versions(struct job_state *s, bool *found)
{
    struct shale_slice key = slice_of_buf(&s->cursor.key);
    struct iter *it = NULL;
    struct shale_row row;
    int rc;

    rc = open_input(s, check_cancel, &it);
    if (rc < 0)
        return rc;
    rc = iter_seek(it, key);
    *found = false;
    while (rc == 0 && !*found) {
        rc = iter_next(it, &row);
        if (rc != 0 || !slice_eq(row.key, key))
            break;
        *found = row.seq < s->cursor.seq;
    }
    iter_close(it);
    return rc < 0 ? rc : 0;
}

/*
 * Which earlier outputs stay, and the cursor at the end of the last of them.
 * From the last output back: leaving one out is always safe, as its rows are made again from the
 * inputs.
 */
static int choose_cursor(struct job_state *s, size_t *n_earlier)
{
    bool unsafe = true;
    size_t n;
    int rc;

    for (n = s->job->n_outputs; n > 0; n--) {
        rc = resume_cursor_read(s->job->ts, s->job->outputs[n - 1], &s->cursor);
        if (rc < 0)
            return err_add(rc, "cannot resume a compaction into sorted run %u", s->job->destination);
        unsafe = true;
        if (!s->cursor.set)
            continue; /* it has no rows: nothing tells where it ends */
        unsafe = s->cursor.kind == SHALE_MERGE;
        rc = unsafe ? has_older_versions(s, &unsafe) : 0;
        if (rc < 0)
            return rc;
        if (!unsafe)
            break;
    }
    if (n == 0)
        resume_cursor_fini(&s->cursor);
    *n_earlier = n;
    return 0;
}

/*
 * Each layer takes the one below over, so that at most one pointer is to be closed: *top. A layer whose creation
 * failed has closed what it was given.
 */
static int stack_fold(const struct compaction_job *job, struct iter **top)
{
    struct fold_options fold = { .op = job->op, .same_expiry_only = true, .has_barrier = true,
                                 .barrier = job->retention_min_seq };
    struct retention_options keep = { .has_min_seq = true, .min_seq = job->retention_min_seq,
                                      .clock_tick = job->clock_tick, .drop_tombstones = job->is_last_run };
    struct iter *child = *top;
    int rc;

    *top = NULL;
    rc = fold_iter_new(child, &fold, &child);
    if (rc < 0)
        return rc;
    return retention_iter_new(child, &keep, top);
}

static int stack_filter(struct job_state *s, struct iter **top)
{
    const struct compaction_job *job = s->job;
    struct shale_filter_context context = { .destination = job->destination, .is_last_run = job->is_last_run,
                                            .clock_tick = job->clock_tick,
                                            .retention_min_seq = job->retention_min_seq };
    struct iter *child = *top;
    int rc;

    if (!job->filter)
        return s->cursor.set ? buf_set(&s->from, slice_of_buf(&s->cursor.key)) : 0;
    *top = NULL;
    rc = filter_iter_new(child, job->filter, &context, top);
    if (rc < 0 || !s->cursor.set)
        return rc;
    return filter_iter_resume_from(*top, slice_of_buf(&s->cursor.key), &s->from);
}

static int open_rows(struct job_state *s)
{
    struct iter *top = NULL;
    struct iter *child;
    int rc;

    rc = open_input(s, tick, &top);
    if (rc < 0)
        return rc;
    s->input = top;
    rc = stack_fold(s->job, &top);
    if (rc < 0)
        goto out;
    rc = stack_filter(s, &top);
    if (rc < 0)
        goto out;
    child = top;
    top = NULL;
    if (!s->cursor.set) {
        s->rows = child;
        return 0;
    }
    rc = resume_iter_new(child, &s->cursor, slice_of_buf(&s->from), &s->rows);
out:
    iter_close(top);
    return rc;
}

/*
 * R193: what lies before the cursor, in the runs only.
 * An estimate for progress; L0 is ignored, as SlateDB does.
 */
static uint64_t bytes_before(const struct compaction_job *job, const struct resume_cursor *cursor)
{
    uint64_t sum = 0;

    for (size_t i = 0; cursor->set && i < job->n_runs; i++) {
        const struct sorted_run *run = &job->runs[i];

        for (size_t k = 1; k < run->n; k++) {
            if (slice_cmp(slice_of_buf(&run->ssts[k].sst->info.first), slice_of_buf(&cursor->key)) > 0)
                break;
            sum += sst_handle_size(run->ssts[k - 1].sst);
        }
    }
    return sum;
}

/* The last output is not reported: it comes with the result (R199). */
static int write_rows(struct job_state *s)
{
    struct shale_row row;
    int rc;

    while ((rc = iter_next(s->rows, &row)) == 0) {
        rc = output_set_add(&s->outputs, &row);
        if (rc > 0)
            rc = report(s, now_ms(s->job));
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : output_set_finish(&s->outputs);
}

/*
 * The outputs as a run. View ids are those of the SSTs: version 1 of the manifest has no others.
 * No memory here fails the job after all the work: it is chosen and done again.
 */
static int make_run(const struct job_state *s, struct sorted_run *out)
{
    struct sorted_run run = { .id = s->job->destination };
    int rc;

    rc = vec_reserve(&run.ssts, &run.cap, s->outputs.n, sizeof(*run.ssts));
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < s->outputs.n; i++) {
        struct sst_handle *h = s->outputs.list[i];

        run.ssts[run.n++] = (struct sst_view){ .id = h->id, .sst = sst_handle_ref(h) };
    }
    *out = run;
    return 0;
}

int compaction_job_run(const struct compaction_job *job, struct sorted_run *out)
{
    struct job_state s = { .job = job };
    size_t n_earlier = 0;
    int rc;

    s.reported_ms = now_ms(job);
    rc = choose_cursor(&s, &n_earlier);
    if (rc < 0)
        goto out;
    rc = output_set_init(&s.outputs, job->ts, job->max_sst_size, job->id, job->clock, job->outputs, n_earlier);
    if (rc < 0)
        goto out;
    s.outputs.written = job->written;
    s.start_bytes = bytes_before(job, &s.cursor);
    rc = open_rows(&s);
    if (rc < 0)
        goto out;
    rc = write_rows(&s);
    if (rc == 0)
        rc = make_run(&s, out);
    if (rc < 0)
        output_set_abandon(&s.outputs);
out:
    iter_close(s.rows);
    output_set_fini(&s.outputs);
    shale_buf_fini(&s.from);
    resume_cursor_fini(&s.cursor);
    return rc;
}
