/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairs (sequence number, time), one a minute, for questions such as "which sequence number was current
 * an hour ago". At most SEQ_TRACKER_MAX are kept: when full, every other one is dropped, so that old
 * history gets coarser and the newest stays fine (R34). A point is a hint: losing one costs precision
 * only, hence callers may ignore -ENOMEM.
 */

#include "format/seq_tracker.h"

#include "base/alloc.h"

#include <errno.h>

void seq_tracker_init(struct seq_tracker *t)
{
    *t = (struct seq_tracker){ .last_recorded_s = SHALE_NO_TS };
}

void seq_tracker_fini(struct seq_tracker *t)
{
    mem_free(t->points);
    seq_tracker_init(t);
}

int seq_tracker_copy(struct seq_tracker *to, const struct seq_tracker *from)
{
    struct seq_tracker copy = { .last_recorded_s = from->last_recorded_s };

    if (from->n) {
        if (vec_reserve(&copy.points, &copy.cap, from->n, sizeof(*copy.points)) < 0)
            return -ENOMEM;
        memcpy(copy.points, from->points, from->n * sizeof(*copy.points));
        copy.n = from->n;
    }
    *to = copy;
    return 0;
}

static void thin_out(struct seq_tracker *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i += 2)
        t->points[n++] = t->points[i];
    t->n = n;
}

/*
 * The distance is measured from what this process recorded, not from what was loaded (R34); computed
 * unsigned, as times may lie anywhere in 64 bits. Points that descend are refused: SlateDB aborts on
 * them.
 */
static bool is_due(const struct seq_tracker *t, struct seq_point p)
{
    const struct seq_point *last = t->n ? &t->points[t->n - 1] : NULL;

    if (t->last_recorded_s != SHALE_NO_TS &&
        (p.time_s < t->last_recorded_s || (uint64_t)p.time_s - (uint64_t)t->last_recorded_s < SEQ_TRACKER_STEP_S))
        return false;
    return !last || (p.seq >= last->seq && p.time_s >= last->time_s);
}

static int record_point(struct seq_tracker *t, struct seq_point p)
{
    if (!is_due(t, p))
        return 0;
    if (vec_reserve(&t->points, &t->cap, t->n + 1, sizeof(*t->points)) < 0)
        return -ENOMEM;
    t->points[t->n++] = p;
    t->last_recorded_s = p.time_s;
    if (t->n > SEQ_TRACKER_MAX)
        thin_out(t);
    return 0;
}

int seq_tracker_record(struct seq_tracker *t, uint64_t seq, int64_t time_ms)
{
    int64_t time_s = time_ms / 1000 - (time_ms % 1000 < 0);

    return record_point(t, (struct seq_point){ .seq = seq, .time_s = time_s });
}

int seq_tracker_merge(struct seq_tracker *t, const struct seq_tracker *from)
{
    /* A failure half way would leave points behind that a second try takes for its own. */
    if (vec_reserve(&t->points, &t->cap, size_add(t->n, from->n), sizeof(*t->points)) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < from->n; i++)
        (void)record_point(t, from->points[i]); /* cannot fail: the room is there */
    return 0;
}

/* How many points have a sequence number below seq, or also seq itself. */
static size_t count_seq(const struct seq_tracker *t, uint64_t seq, bool or_equal)
{
    size_t lo = 0, hi = t->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (t->points[mid].seq < seq || (or_equal && t->points[mid].seq == seq))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t count_time(const struct seq_tracker *t, int64_t time_s, bool or_equal)
{
    size_t lo = 0, hi = t->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (t->points[mid].time_s < time_s || (or_equal && t->points[mid].time_s == time_s))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/*
 * Rounding up gives a time at which seq was certainly written, rounding down one at which it was
 * perhaps not yet (R35).
 */
bool seq_tracker_time_of(const struct seq_tracker *t, uint64_t seq, bool round_up, int64_t *time_s)
{
    size_t n = count_seq(t, seq, !round_up);

    if (round_up ? n == t->n : n == 0)
        return false;
    *time_s = t->points[round_up ? n : n - 1].time_s;
    return true;
}

bool seq_tracker_seq_at(const struct seq_tracker *t, int64_t time_s, bool round_up, uint64_t *seq)
{
    size_t n = count_time(t, time_s, !round_up);

    if (round_up ? n == t->n : n == 0)
        return false;
    *seq = t->points[round_up ? n : n - 1].seq;
    return true;
}
