/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which runs to merge (R237-R245). Runs of similar size are merged with one another, so that each
 * row is rewritten about once for every level of size, log(n) times in all:
 *   1  all of L0 once there are min_sources of it, into a new newest run
 *   2  else the first stretch of neighbouring runs in which none is more than threshold times the smallest, into
 *      the id of the oldest of them
 * A stretch must not be laid on a level that is itself full (R242): that level is merged first.
 * Pure choice over sizes in the manifest; nothing is read. The order of proposals follows SlateDB
 * exactly, so both schedulers choose the same.
 */

#include "compact/size_tiered.h"

#include "base/alloc.h"
#include "base/err.h"
#include "compact/compactor_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What a search for the next proposal looks at. */
struct search {
    const struct manifest *m;
    const struct shale_compactor_options *opt;
    const struct compaction *active;
    size_t n_active;
    const struct compactions *proposed;
};

/* size times factor, truncated, as the thresholds want it. */
static uint64_t scaled(uint64_t size, double factor)
{
    double d = (double)size * factor;

    if (!(d > 0))
        return 0;
    return d >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)d;
}

static uint64_t add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static bool uses_run(const struct compaction *c, uint32_t run)
{
    for (size_t i = 0; i < c->n_runs; i++)
        if (c->runs[i] == run)
            return true;
    return c->destination == run;
}

static bool uses_l0(const struct compaction *c, struct shale_ulid view)
{
    for (size_t i = 0; i < c->n_l0; i++)
        if (ulid_eq(c->l0[i], view))
            return true;
    return false;
}

/*
 * R241, for one source or destination: neither an active compaction nor an earlier proposal has it.
 * A destination counts as used: two jobs must not write the same run.
 */
static bool run_is_free(const struct search *s, uint32_t run)
{
    for (size_t i = 0; i < s->n_active; i++)
        if (compaction_is_active(&s->active[i]) && uses_run(&s->active[i], run))
            return false;
    for (size_t i = 0; i < s->proposed->n; i++)
        if (uses_run(&s->proposed->list[i], run))
            return false;
    return true;
}

static bool l0_is_free(const struct search *s, struct shale_ulid view)
{
    for (size_t i = 0; i < s->n_active; i++)
        if (compaction_is_active(&s->active[i]) && uses_l0(&s->active[i], view))
            return false;
    for (size_t i = 0; i < s->proposed->n; i++)
        if (uses_l0(&s->proposed->list[i], view))
            return false;
    return true;
}

/* Whether the longest compactable stretch of runs from start, regardless of what is taken, fills a compaction. */
static bool is_saturated(const struct search *s, size_t start)
{
    uint64_t least = UINT64_MAX;
    size_t n = 0;

    for (size_t i = start; i < s->m->n_runs && n < s->opt->max_sources; i++, n++) {
        uint64_t size = sorted_run_size(&s->m->runs[i]);

        if (n > 0 && size > scaled(least, s->opt->include_size_threshold))
            break;
        if (size < least)
            least = size;
    }
    return n >= s->opt->max_sources;
}

/* R242: sources of this size may be laid on the run at next. */
static bool has_room_below(const struct search *s, uint64_t size, size_t next)
{
    return next >= s->m->n_runs ||
           sorted_run_size(&s->m->runs[next]) > scaled(size, s->opt->include_size_threshold) || !is_saturated(s, next);
}

/* R239. Sets *start to the newest L0 SST to take. */
static bool find_l0(const struct search *s, size_t *start, uint32_t *destination)
{
    const struct manifest *m = s->m;
    size_t n = m->n_l0 < s->opt->max_sources ? m->n_l0 : s->opt->max_sources;
    uint32_t dest = m->n_runs ? m->runs[0].id + 1 : 0;
    uint64_t size = 0;

    if (m->n_runs && m->runs[0].id == UINT32_MAX)
        return false; /* no id is left above it: what would come out could never start, and be proposed for ever */
    if (n == 0 || m->n_l0 < s->opt->min_sources || !run_is_free(s, dest))
        return false;
    for (size_t i = m->n_l0 - n; i < m->n_l0; i++) {
        if (!l0_is_free(s, m->l0[i].id))
            return false;
        size = add_sat(size, sst_handle_size(m->l0[i].sst));
    }
    if (!has_room_below(s, size, 0))
        return false;
    *start = m->n_l0 - n;
    *destination = dest;
    return true;
}

/*
 * R240 for one start: how many runs from there belong together and may be merged.
 * The sum so far is what would be laid on the next run. A run that fails a check ends the stretch
 * in front of it.
 */
static size_t extend_runs(const struct search *s, size_t start)
{
    uint64_t least = UINT64_MAX, sum = 0;
    size_t i;

    for (i = start; i < s->m->n_runs; i++) {
        uint64_t size = sorted_run_size(&s->m->runs[i]);

        if (i > start && size > scaled(least, s->opt->include_size_threshold))
            break;
        sum = add_sat(sum, size);
        if (!run_is_free(s, s->m->runs[i].id) || !has_room_below(s, sum, i + 1))
            break;
        if (size < least)
            least = size;
    }
    return i - start;
}

/* R240: the first start, from the newest on, that gives a long enough stretch; of too long a one the oldest part. */
static bool find_runs(const struct search *s, size_t *start, size_t *n)
{
    for (size_t i = 0; i < s->m->n_runs; i++) {
        size_t len = extend_runs(s, i);

        if (len == 0 || len < s->opt->min_sources)
            continue;
        *n = len < s->opt->max_sources ? len : s->opt->max_sources;
        *start = i + len - *n;
        return *n > 0;
    }
    return false;
}

static int append(struct compactions *out, struct compaction *c)
{
    int rc = vec_reserve(&out->list, &out->cap, out->n + 1, sizeof(*out->list));

    if (rc < 0)
        compaction_fini(c);
    else
        out->list[out->n++] = *c;
    return rc;
}

static int propose_l0(const struct manifest *m, size_t start, uint32_t destination, struct compactions *out)
{
    struct compaction c = { .status = COMPACTION_SUBMITTED, .destination = destination, .n_l0 = m->n_l0 - start };

    c.l0 = mem_calloc(c.n_l0, sizeof(*c.l0));
    if (!c.l0)
        return -ENOMEM;
    for (size_t i = 0; i < c.n_l0; i++)
        c.l0[i] = m->l0[start + i].id;
    return append(out, &c);
}

static int propose_runs(const struct manifest *m, size_t start, size_t n, struct compactions *out)
{
    struct compaction c = { .status = COMPACTION_SUBMITTED, .n_runs = n, .destination = m->runs[start + n - 1].id };

    c.runs = mem_calloc(n, sizeof(*c.runs));
    if (!c.runs)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        c.runs[i] = m->runs[start + i].id;
    return append(out, &c);
}

int size_tiered_propose(const struct manifest *m, const struct compaction *active, size_t n_active,
                        const struct shale_compactor_options *opt, struct compactions *out)
{
    struct search s = { .m = m, .opt = opt, .active = active, .n_active = n_active, .proposed = out };
    size_t busy = 0;

    for (size_t i = 0; i < n_active; i++)
        busy += compaction_is_active(&active[i]);
    for (; busy < opt->max_concurrent; busy++) {
        uint32_t destination;
        size_t start, n;
        int rc;

        if (find_l0(&s, &start, &destination))
            rc = propose_l0(m, start, destination, out);
        else if (find_runs(&s, &start, &n))
            rc = propose_runs(m, start, n, out);
        else
            return 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A run that exists may be replaced only by a merge that reads it; a new one has to be newer than all (R227, R243). */
static int destination_check(const struct manifest *m, const struct compaction *spec)
{
    if (spec->n_runs && spec->destination != spec->runs[spec->n_runs - 1])
        return err_set(-EINVAL, "invalid compaction: destination %" PRIu32 " is not the lowest run among the sources",
                       spec->destination);
    if (!spec->n_runs && m->n_runs && spec->destination <= m->runs[0].id)
        return err_set(-EINVAL, "invalid compaction: destination %" PRIu32 " is not above the highest run %" PRIu32,
                       spec->destination, m->runs[0].id);
    return 0;
}

/*
 * Two jobs that read the same run would both bring its rows back; L0 has one watermark, so one job at a time.
 * uses_run includes the other's destination, which may be a run that does not exist yet.
 */
static int overlap_check(const struct compaction *spec, const struct compaction *other)
{
    bool shares = uses_run(other, spec->destination);

    if (spec->n_l0 && other->n_l0)
        return err_set(-EINVAL, "invalid compaction: another one with L0 sources runs");
    for (size_t i = 0; i < spec->n_runs; i++)
        shares = shares || uses_run(other, spec->runs[i]);
    if (shares)
        return err_set(-EINVAL, "invalid compaction: a source or its destination %" PRIu32 " belongs to one that runs",
                       spec->destination);
    return 0;
}

int compaction_spec_check(const struct manifest *m, const struct compaction *spec, const struct compaction *active,
                          size_t n_active)
{
    struct compaction_window w;
    int rc;

    rc = compaction_window_find(m, spec, &w);
    if (rc < 0)
        return rc;
    rc = destination_check(m, spec);
    for (size_t i = 0; rc == 0 && i < n_active; i++)
        if (&active[i] != spec && active[i].status == COMPACTION_RUNNING)
            rc = overlap_check(spec, &active[i]);
    return rc;
}
