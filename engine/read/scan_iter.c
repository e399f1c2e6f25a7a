/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan is a stack of iterators (R148-R155):
 *   tombstones out
 *     fold operands onto values, across different expiry
 *       drop what has expired, if asked
 *         merge, newest version of each key and the operands above it
 *           visible: sequence numbers up to max_seq, one for each child
 *             memtables | L0 SSTs | runs
 * Visibility comes first: a tombstone above max_seq must not hide the value below it (R140).
 */

#include "base/alloc.h"
#include "read/fold_iter.h"
#include "read/merge_iter.h"
#include "read/point_get.h"
#include "read/retention_iter.h"
#include "read/run_iter.h"
#include "read/visible_iter.h"

#include <errno.h>

struct scan_iter {
    struct iter base;
    struct iter *top; /* its rows: one for each key, perhaps a tombstone */
};

static int scan_iter_next(struct iter *it, struct shale_row *out)
{
    struct scan_iter *s = container_of(it, struct scan_iter, base);
    int rc;

    do {
        rc = iter_next(s->top, out);
    } while (rc == 0 && out->kind == SHALE_TOMBSTONE);
    return rc;
}

static int scan_iter_seek(struct iter *it, struct shale_slice key)
{
    struct scan_iter *s = container_of(it, struct scan_iter, base);

    return iter_seek(s->top, key);
}

static void scan_iter_close(struct iter *it)
{
    struct scan_iter *s = container_of(it, struct scan_iter, base);

    iter_close(s->top);
    mem_free(s);
}

static const struct iter_ops scan_iter_ops = {
    .next = scan_iter_next,
    .seek = scan_iter_seek,
    .close = scan_iter_close,
};

/* What a scan is made of; children in the order of layers. */
struct scan_parts {
    const struct read_layers *l;
    const struct key_range *range;
    const struct sst_iter_options *opt;
    struct scan_iter *s;
    struct iter **children;
    size_t n;
};

/* it is moved, also on failure. With nothing to hide no iterator is put over it. */
static int add_child_of(struct scan_parts *p, struct iter *it, uint64_t after_seq, uint64_t max_seq)
{
    int rc = visible_iter_new_after(it, after_seq, max_seq, &p->children[p->n]);

    if (rc == 0)
        p->n++;
    return rc;
}

/* What is in SSTs has sequence numbers up to the manifest's last: only reads of the past have something to hide. */
static int add_ssts(struct scan_parts *p, struct iter *it)
{
    return add_child_of(p, it, 0, p->l->max_seq >= p->l->manifest->last_l0_seq ? UINT64_MAX : p->l->max_seq);
}

static int add_tables(struct scan_parts *p)
{
    struct iter *it;
    int rc = 0;

    if (p->l->own) {
        rc = memtable_iter_new(p->l->own, p->range, p->opt->order, &it);
        if (rc == 0)
            rc = add_child_of(p, it, 0, p->l->own_max_seq);
    }
    for (size_t i = 0; i < p->l->n_tables && rc == 0; i++) {
        rc = memtable_iter_new(p->l->tables[i], p->range, p->opt->order, &it);
        if (rc == 0)
            rc = add_child_of(p, it, p->l->tables_after, p->l->max_seq);
    }
    return rc;
}

static int add_l0(struct scan_parts *p)
{
    const struct manifest *m = p->l->manifest;
    struct iter *it;
    int rc = 0;

    for (size_t i = 0; i < m->n_l0 && rc == 0; i++) {
        struct key_range range = sst_view_range(&m->l0[i]);

        range = key_range_intersect(&range, p->range);
        if (key_range_is_empty(&range))
            continue;
        rc = sst_iter_new(p->l->ts, &m->l0[i], p->range, p->opt, &it);
        if (rc == 0)
            rc = add_ssts(p, it);
    }
    return rc;
}

static int add_runs(struct scan_parts *p)
{
    const struct manifest *m = p->l->manifest;
    struct iter *it;
    int rc = 0;

    for (size_t i = 0; i < m->n_runs && rc == 0; i++) {
        size_t first, end;

        run_covering(&m->runs[i], p->range, &first, &end);
        if (first == end)
            continue;
        rc = run_iter_new(p->l->ts, &m->runs[i], p->range, p->opt, &it);
        if (rc == 0)
            rc = add_ssts(p, it);
    }
    return rc;
}

/* Put the iterators over the children, which are moved, also on failure. */
static int stack_up(struct scan_parts *p, struct iter **out)
{
    struct fold_options fold = { .op = p->l->op, .finish = true };
    /* Expiry comes before folding: an expired operand must not take the value below it along. */
    struct retention_options live = { .clock_tick = p->l->expire_now, .drop_tombstones = true };
    struct iter *it;
    int rc;

    rc = merge_iter_new(p->children, p->n, p->opt->order, true, &it);
    p->n = 0;
    if (rc == 0)
        merge_iter_share(it, key_range_common(p->range));
    if (rc == 0 && p->l->expire_now != SHALE_NO_TS)
        rc = retention_iter_new(it, &live, &it);
    if (rc == 0)
        rc = fold_iter_new(it, &fold, &it);
    if (rc == 0)
        *out = it;
    return rc;
}

int scan_iter_new(const struct read_layers *l, const struct key_range *range, const struct sst_iter_options *opt,
                  struct iter **out)
{
    size_t max = 1 + l->n_tables + (l->manifest ? l->manifest->n_l0 + l->manifest->n_runs : 0);
    struct sst_iter_options how = *opt;
    struct scan_parts p = { .l = l, .range = range, .opt = &how };
    int rc = -ENOMEM;

    how.borrow_range = true;
    p.s = mem_zalloc(sizeof(*p.s));
    p.children = mem_calloc(max, sizeof(*p.children));
    if (!p.s || !p.children)
        goto out;
    p.s->base.ops = &scan_iter_ops;
    rc = key_range_is_empty(range) ? 0 : add_tables(&p);
    if (rc == 0 && l->manifest && !key_range_is_empty(range))
        rc = add_l0(&p);
    if (rc == 0 && l->manifest && !key_range_is_empty(range))
        rc = add_runs(&p);
    if (rc == 0)
        rc = stack_up(&p, &p.s->top);
    if (rc < 0)
        goto out;
    *out = &p.s->base;
    p.s = NULL;
out:
    for (size_t i = 0; i < p.n; i++)
        iter_close(p.children[i]);
    mem_free(p.children);
    if (p.s)
        scan_iter_close(&p.s->base);
    return rc;
}
