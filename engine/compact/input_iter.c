/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bottom of the stack: all sources merged, nothing left out, nothing cached: a compaction
 * reads everything once and would push the readers' blocks out of the cache (R182, R184).
 */

#include "compact/input_iter.h"

#include "base/alloc.h"
#include "format/row.h"
#include "read/merge_iter.h"
#include "read/run_iter.h"

#include <errno.h>

struct input_iter {
    struct iter base;
    struct iter *merge;
    int (*tick)(void *arg);
    void *tick_arg;
    size_t n_rows;
};

/*
 * The tick comes before the first row too, so that a job that was stopped while queued reads
 * nothing.
 */
static int input_next(struct iter *it, struct shale_row *out)
{
    struct input_iter *in = container_of(it, struct input_iter, base);
    int rc;

    if (in->n_rows++ % INPUT_TICK_ROWS == 0) {
        rc = in->tick(in->tick_arg);
        if (rc < 0)
            return rc;
    }
    return iter_next(in->merge, out);
}

static int input_seek(struct iter *it, struct shale_slice key)
{
    return iter_seek(container_of(it, struct input_iter, base)->merge, key);
}

static void input_close(struct iter *it)
{
    struct input_iter *in = container_of(it, struct input_iter, base);

    iter_close(in->merge);
    mem_free(in);
}

static const struct iter_ops input_ops = { .next = input_next, .seek = input_seek, .close = input_close };

/*
 * Opens the sources, newest first, into children; *n counts those that are open, also on failure.
 * Newest first, which decides between equal rows.
 */
static int open_sources(const struct input_options *opt, struct iter **children, size_t *n)
{
    uint64_t share = INPUT_READ_AHEAD / (opt->n_l0 + opt->n_runs);
    struct sst_iter_options how = { .order = ITER_ASC, .once = true,
                                    .read_ahead_bytes = share < INPUT_READ_MAX ? share : INPUT_READ_MAX };
    const struct key_range all = { 0 };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < opt->n_l0; i++) {
        rc = sst_iter_new(opt->ts, &opt->l0[i], &all, &how, &children[*n]);
        *n += rc == 0;
    }
    for (size_t i = 0; rc == 0 && i < opt->n_runs; i++) {
        rc = run_iter_new(opt->ts, &opt->runs[i], &all, &how, &children[*n]);
        *n += rc == 0;
    }
    return rc;
}

/* What is left of *n bytes of key, which all keys so far share, when those of range have to share them, too. */
static void share_with(const struct key_range *range, struct shale_slice key, size_t *n)
{
    size_t common = key_range_common(range);
    size_t with_key = common ? row_key_common(key, range->from) : 0;

    common = common < with_key ? common : with_key;
    *n = *n < common ? *n : common;
}

/*
 * How many leading bytes are the same in all keys: those that the first and the last key of every source share.
 * Whole keyspaces often begin alike, and then the merge can leave that out of its comparisons.
 */
static size_t shared_by_all(const struct input_options *opt)
{
    const struct sst_view *any = opt->n_l0 ? opt->l0 : opt->runs[0].n ? opt->runs[0].ssts : NULL;
    struct key_range range;
    struct shale_slice key;
    size_t n;

    if (!any)
        return 0;
    range = sst_view_range(any);
    key = range.from;
    n = range.from_kind == KEY_UNBOUNDED ? 0 : key.len;
    for (size_t i = 0; i < opt->n_l0; i++) {
        range = sst_view_range(&opt->l0[i]);
        share_with(&range, key, &n);
    }
    for (size_t i = 0; i < opt->n_runs; i++) {
        for (size_t k = 0; k < opt->runs[i].n; k++) {
            range = sst_view_range(&opt->runs[i].ssts[k]);
            share_with(&range, key, &n);
        }
    }
    return n;
}

static int open_merge(const struct input_options *opt, struct iter **out)
{
    struct iter **children;
    size_t n = 0;
    int rc;

    if (opt->n_l0 + opt->n_runs == 0)
        return -EINVAL;
    children = mem_calloc(opt->n_l0 + opt->n_runs, sizeof(struct iter *));
    if (!children)
        return -ENOMEM;
    rc = open_sources(opt, children, &n);
    if (rc == 0)
        rc = merge_iter_new(children, n, ITER_ASC, false, out);
    else
        while (n > 0)
            iter_close(children[--n]);
    if (rc == 0)
        merge_iter_share(*out, shared_by_all(opt));
    mem_free(children);
    return rc;
}

int input_iter_new(const struct input_options *opt, struct iter **out)
{
    struct input_iter *in = mem_zalloc(sizeof(*in));
    int rc;

    if (!in)
        return -ENOMEM;
    in->base.ops = &input_ops;
    in->tick = opt->tick;
    in->tick_arg = opt->tick_arg;
    rc = open_merge(opt, &in->merge);
    if (rc < 0) {
        mem_free(in);
        return rc;
    }
    *out = &in->base;
    return 0;
}

uint64_t input_iter_bytes(const struct iter *it)
{
    return merge_iter_bytes(((const struct input_iter *)it)->merge);
}
