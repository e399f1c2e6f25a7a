/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of a sorted run: its SSTs lie one behind the other, so at most one is open (two while a
 * shared key is read backwards). Those before the range are found by bisection and never opened.
 * Neighbours may share a boundary key whose versions SlateDB split between them (R197, R331).
 */

#include "read/run_iter.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <errno.h>

/*
 * The range shrinks from the side where the iterator began: by a seek, and in descending order by every key that
 * SSTs share.
 *
 * Ascending, the SSTs are read one behind the other; the versions of a key at a boundary lie newest first already.
 * Descending, an SST whose first key the one before it may have, too, is read down to that key (without it). Then
 * the key is looked up in all the SSTs that share it, from the first to the last of them; then come the keys below
 * it.
 */
struct run_iter {
    struct iter base;
    struct table_store *ts;
    const struct sorted_run *run;
    struct sst_iter_options opt;
    struct key_range range; /* what is left of it */
    struct shale_buf from, to;
    struct iter *cur; /* of one SST; NULL: none is open */
    size_t low;       /* no SST below has a key of the range */
    size_t pos;       /* ascending: that of cur, or the next; descending: one more than it */
    /* Descending only. */
    bool shared;      /* the first key of SST pos - 1 is in the range and perhaps in the SST before it */
    bool in_group;    /* such a key is being read */
    size_t group_low, group_at; /* from the lowest SST that has it; cur is of group_at, and pos - 1 is the last */
};

static bool first_key(const struct sst_view *v, struct shale_slice *key)
{
    const struct sst_info *info = &v->sst->info;
    struct key_range r;

    if (!v->has_range && info->type == SST_COMPACTED) {
        *key = slice_of_buf(&info->first);
        return info->has_first;
    }
    r = sst_view_range(v);
    *key = r.from;
    return r.from_kind != KEY_UNBOUNDED;
}

/*
 * How many SSTs begin before key; or_at: or with it.
 * A view without a known first key sorts before everything: it may hold any key.
 */
static size_t count_before(const struct sorted_run *run, struct shale_slice key, bool or_at)
{
    size_t lo = 0, hi = run->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct shale_slice first;
        int c = first_key(&run->ssts[mid], &first) ? slice_cmp(first, key) : -1;

        if (c < 0 || (c == 0 && or_at))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The lowest SST that may have a key at or after key: the last of those that begin before it, unless it ends before it. */
static size_t lowest_with(const struct sorted_run *run, struct shale_slice key, bool after_only)
{
    size_t n = count_before(run, key, after_only);
    struct key_range range;

    if (n == 0)
        return 0;
    range = sst_view_range(&run->ssts[n - 1]);
    return key_after_range(&range, key) ? n : n - 1;
}

void run_covering(const struct sorted_run *run, const struct key_range *range, size_t *first, size_t *end)
{
    *first = range->from_kind == KEY_UNBOUNDED ? 0 : lowest_with(run, range->from, range->from_kind == KEY_EXCLUDED);
    *end = range->to_kind == KEY_UNBOUNDED ? run->n : count_before(run, range->to, range->to_kind == KEY_INCLUDED);
    if (*end < *first)
        *end = *first;
}

/* Behind those that begin with key or before it; in front of the first that begins with it, one may end with it. */
void run_find(const struct sorted_run *run, struct shale_slice key, size_t *first, size_t *end)
{
    size_t i = count_before(run, key, true);
    struct shale_slice k;

    *end = i;
    while (i > 0 && first_key(&run->ssts[i - 1], &k) && slice_eq(k, key))
        i--;
    *first = i > 0 && sst_view_may_have(&run->ssts[i - 1], key) ? i - 1 : i;
}

static void close_current(struct run_iter *r)
{
    iter_close(r->cur);
    r->cur = NULL;
}

static int asc_next(struct iter *it, struct shale_row *out)
{
    struct run_iter *r = container_of(it, struct run_iter, base);
    struct shale_slice first;
    int rc;

    for (;;) {
        if (!r->cur) {
            if (r->pos == r->run->n)
                return SHALE_END;
            if (first_key(&r->run->ssts[r->pos], &first) && key_after_range(&r->range, first))
                return SHALE_END;
            rc = sst_iter_new(r->ts, &r->run->ssts[r->pos], &r->range, &r->opt, &r->cur);
            if (rc < 0)
                return rc;
        }
        rc = iter_next(r->cur, out);
        if (rc != SHALE_END)
            return rc;
        close_current(r);
        r->pos++;
    }
}

static int asc_seek(struct iter *it, struct shale_slice key)
{
    struct run_iter *r = container_of(it, struct run_iter, base);
    size_t at = lowest_with(r->run, key, false);
    int rc;

    if (r->range.from_kind != KEY_UNBOUNDED && slice_cmp(key, r->range.from) <= 0)
        return 0;
    rc = buf_set(&r->from, key);
    if (rc < 0)
        return rc;
    r->range.from_kind = KEY_INCLUDED;
    r->range.from = slice_of_buf(&r->from);
    if (at > r->pos) {
        close_current(r);
        r->pos = at;
    }
    return r->cur ? iter_seek(r->cur, key) : 0;
}

/*
 * Whether an SST and the one before it may both have key, which is the first of the former.
 * Without a last key on record (written before SlateDB kept it) any key may be in the SST before.
 */
static bool may_share(const struct run_iter *r, size_t i, struct shale_slice key)
{
    struct key_range here = sst_view_range(&r->run->ssts[i]), before;

    if (i <= r->low || here.from_kind != KEY_INCLUDED || !slice_eq(here.from, key))
        return false;
    before = sst_view_range(&r->run->ssts[i - 1]);
    return key_in_range(&before, key);
}

/* Open SST pos - 1 for the keys that it need not share. */
static int desc_open_body(struct run_iter *r)
{
    const struct sst_view *v = &r->run->ssts[r->pos - 1];
    struct key_range range = r->range;
    struct shale_slice first;

    r->shared = first_key(v, &first) && key_in_range(&range, first) && may_share(r, r->pos - 1, first);
    if (r->shared) {
        range.from_kind = KEY_EXCLUDED;
        range.from = first;
    }
    return sst_iter_new(r->ts, v, &range, &r->opt, &r->cur);
}

static int desc_open_group(struct run_iter *r, struct shale_slice key)
{
    struct key_range point = key_range_point(key);

    return sst_iter_new(r->ts, &r->run->ssts[r->group_at], &point, &r->opt, &r->cur);
}

/*
 * What was open has ended: go on to the next, opening it when it belongs to a shared key.
 *   body      SST pos-1 without its first key, if that may be shared
 *   group     that key, in SSTs group_low .. pos-1, from the lowest: newest versions first
 *   next      pos = group_low + 1, with the key excluded from now on
 */
static int desc_advance(struct run_iter *r)
{
    struct shale_slice first;

    close_current(r);
    if (!r->in_group && !r->shared) {
        r->pos--;
        return 0;
    }
    (void)first_key(&r->run->ssts[r->pos - 1], &first); /* it has one, being shared */
    if (!r->in_group) {
        r->in_group = true;
        r->group_low = r->pos - 2;
        while (may_share(r, r->group_low, first))
            r->group_low--;
        r->group_at = r->group_low;
        return desc_open_group(r, first);
    }
    if (r->group_at + 1 < r->pos) {
        r->group_at++;
        return desc_open_group(r, first);
    }
    r->in_group = false;
    r->pos = r->group_low + 1;
    r->range.to_kind = KEY_EXCLUDED;
    if (buf_set(&r->to, first) < 0)
        return -ENOMEM;
    r->range.to = slice_of_buf(&r->to);
    return 0;
}

static int desc_next(struct iter *it, struct shale_row *out)
{
    struct run_iter *r = container_of(it, struct run_iter, base);
    int rc = 0;

    while (rc == 0) {
        if (!r->cur) {
            if (r->pos <= r->low)
                return SHALE_END;
            rc = desc_open_body(r);
            if (rc < 0)
                return rc;
        }
        rc = iter_next(r->cur, out);
        if (rc != SHALE_END)
            return rc;
        rc = desc_advance(r);
    }
    return rc;
}

static int desc_seek(struct iter *it, struct shale_slice key)
{
    struct run_iter *r = container_of(it, struct run_iter, base);
    struct shale_slice first;
    size_t n;
    int rc;

    if (r->range.to_kind != KEY_UNBOUNDED && slice_cmp(key, r->range.to) >= 0)
        return 0;
    rc = buf_set(&r->to, key);
    if (rc < 0)
        return rc;
    r->range.to_kind = KEY_INCLUDED;
    r->range.to = slice_of_buf(&r->to);
    n = count_before(r->run, key, true);
    if (r->in_group) {
        (void)first_key(&r->run->ssts[r->pos - 1], &first);
        if (slice_cmp(key, first) >= 0)
            return 0;
        r->in_group = false;
        close_current(r);
        r->pos = r->group_low + 1;
    }
    if (n < r->pos) {
        close_current(r);
        r->pos = n;
    }
    return r->cur ? iter_seek(r->cur, key) : 0;
}

static void run_iter_close(struct iter *it)
{
    struct run_iter *r = container_of(it, struct run_iter, base);

    close_current(r);
    shale_buf_fini(&r->from);
    shale_buf_fini(&r->to);
    mem_free(r);
}

static const struct iter_ops asc_ops = { .next = asc_next, .seek = asc_seek, .close = run_iter_close };
static const struct iter_ops desc_ops = { .next = desc_next, .seek = desc_seek, .close = run_iter_close };

int run_iter_new(struct table_store *ts, const struct sorted_run *run, const struct key_range *range,
                 const struct sst_iter_options *opt, struct iter **out)
{
    struct run_iter *r = mem_zalloc(sizeof(*r));
    size_t end;

    if (!r)
        return -ENOMEM;
    r->base.ops = opt->order == ITER_DESC ? &desc_ops : &asc_ops;
    r->ts = ts;
    r->run = run;
    r->opt = *opt;
    r->range = *range;
    r->opt.borrow_range = false; /* seeks change what range points at */
    if (!opt->borrow_range) {
        if (buf_set(&r->from, range->from) < 0 || buf_set(&r->to, range->to) < 0) {
            run_iter_close(&r->base);
            return -ENOMEM;
        }
        r->range.from = slice_of_buf(&r->from);
        r->range.to = slice_of_buf(&r->to);
    }
    run_covering(run, range, &r->low, &end);
    r->pos = opt->order == ITER_DESC ? end : r->low;
    *out = &r->base;
    return 0;
}
