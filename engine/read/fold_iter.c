/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folds merge operands (R255-R260). Rows of other kinds pass. From the first operand at or below
 * the barrier, the following older rows of the same key are collected until one ends the group:
 *   +5 +4 +3 v2 v1       base v2:   value at 5, of v2 +3 +4 +5; then v1 passes
 *   +5 +4 +3 D2          base D2:   value at 5, of +3 +4 +5
 *   +5 +4 | +3 (expiry)  no base:   operand at 5, of +4 +5; then the group of +3 begins
 *   +9 +5 +4, barrier 5  +9 passes, as a reader may need the state between
 * The result carries the newest sequence number. One row of look-ahead is kept; its bytes are the
 * child's, which must not move before they were used.
 */

#include "read/fold_iter.h"

#include "base/alloc.h"
#include "base/err.h"
#include "mem/operands.h"

#include <errno.h>

struct fold_iter {
    struct iter base;
    struct iter *child;
    struct fold_options opt;
    bool has_ahead;
    struct shale_row ahead; /* the row behind the group handed out last; the child has not moved since */
    struct shale_buf key;   /* of that group */
    struct shale_buf value; /* folded */
    struct operands operands;
};

/* Whether row, which follows the operands collected so far, belongs to them. 1, 0 or SHALE_ECORRUPT. */
static int joins(const struct fold_iter *f, const struct shale_row *row, uint64_t prev_seq, int64_t expire_ts)
{
    if (!slice_eq(row->key, slice_of_buf(&f->key)))
        return 0;
    if (row->seq > prev_seq)
        return err_set(SHALE_ECORRUPT, "versions of a key are out of order: %llu after %llu",
                       (unsigned long long)row->seq, (unsigned long long)prev_seq);
    return !f->opt.same_expiry_only || row->expire_ts == expire_ts;
}

/*
 * Collect the operands that follow first, newest to oldest. *base tells whether f->ahead is then the value or tombstone
 * they lie on; otherwise it is the next row, if there is one.
 * first's bytes are the child's: the key is copied and the value taken over before the child
 * moves.
 */
static int collect(struct fold_iter *f, const struct shale_row *first, bool *base)
{
    uint64_t prev_seq = first->seq;
    int64_t expire_ts = first->expire_ts;
    struct shale_row row = *first;
    int rc;

    *base = false;
    rc = buf_set(&f->key, first->key);
    operands_clear(&f->operands);
    while (rc == 0) {
        rc = operands_add(&f->operands, slice_of_buf(&f->key), &row);
        if (rc < 0)
            return rc;
        rc = iter_next(f->child, &row);
        if (rc != 0)
            return rc == SHALE_END ? 0 : rc;
        rc = joins(f, &row, prev_seq, expire_ts);
        if (rc < 0)
            return rc;
        prev_seq = row.seq;
        if (rc == 0 || row.kind != SHALE_MERGE)
            break;
        rc = 0;
    }
    if (rc < 0)
        return rc;
    f->ahead = row;
    f->has_ahead = true;
    *base = rc > 0;
    return 0;
}

/*
 * Turn the operands that begin with first into one row.
 * A tombstone below counts for its times, and then there is nothing for the operands to lie on.
 */
static int fold_group(struct fold_iter *f, const struct shale_row *first, struct shale_row *out)
{
    struct shale_slice existing;
    bool base, on_value;
    int rc;

    rc = collect(f, first, &base);
    if (rc < 0)
        return rc;
    on_value = base && f->ahead.kind == SHALE_PUT;
    if (base) {
        operands_add_times(&f->operands, &f->ahead);
        f->has_ahead = false;
    }
    if (on_value)
        existing = f->ahead.value;
    *out = f->operands.sum;
    out->key = slice_of_buf(&f->key);
    out->kind = base || f->opt.finish ? SHALE_PUT : SHALE_MERGE;
    if (out->kind == SHALE_MERGE && f->operands.n == 1) {
        out->value = operands_only(&f->operands); /* one operand is what it was */
        return 0;
    }
    rc = operands_fold(&f->operands, out->key, on_value ? &existing : NULL, &f->value);
    out->value = slice_of_buf(&f->value);
    return rc;
}

/* Without operator even a row above the barrier is refused: nobody could ever read it. */
static inline bool begins_group(const struct fold_iter *f, const struct shale_row *row)
{
    return row->kind == SHALE_MERGE && (!f->opt.op || !f->opt.has_barrier || row->seq <= f->opt.barrier);
}

static int fold_iter_next(struct iter *it, struct shale_row *out)
{
    struct fold_iter *f = container_of(it, struct fold_iter, base);
    struct shale_row first;
    int rc = 0;

    if (f->has_ahead)
        *out = f->ahead;
    else
        rc = iter_next(f->child, out);
    f->has_ahead = false;
    if (rc != 0 || !begins_group(f, out))
        return rc;
    first = *out;
    return fold_group(f, &first, out);
}

/*
 * The row ahead has left the child and stays the next one if it is not before key. Which way that is shows in its
 * key and that of the group before it; when both are the same, key either is that one or lies ahead. The child is
 * already behind the row ahead, so seeking it would lose that row.
 */
static int fold_iter_seek(struct iter *it, struct shale_slice key)
{
    struct fold_iter *f = container_of(it, struct fold_iter, base);

    if (f->has_ahead) {
        int dir = slice_cmp(f->ahead.key, slice_of_buf(&f->key));
        int at = slice_cmp(f->ahead.key, key);

        if (at == 0 || (dir > 0 && at > 0) || (dir < 0 && at < 0))
            return 0;
        f->has_ahead = false;
    }
    return iter_seek(f->child, key);
}

static void fold_iter_close(struct iter *it)
{
    struct fold_iter *f = container_of(it, struct fold_iter, base);

    iter_close(f->child);
    operands_fini(&f->operands);
    shale_buf_fini(&f->key);
    shale_buf_fini(&f->value);
    mem_free(f);
}

static const struct iter_ops fold_iter_ops = {
    .next = fold_iter_next,
    .seek = fold_iter_seek,
    .close = fold_iter_close,
};

int fold_iter_new(struct iter *child, const struct fold_options *opt, struct iter **out)
{
    struct fold_iter *f = mem_zalloc(sizeof(*f));

    if (!f) {
        iter_close(child);
        return -ENOMEM;
    }
    f->base.ops = &fold_iter_ops;
    f->child = child;
    f->opt = *opt;
    operands_init(&f->operands, opt->op);
    *out = &f->base;
    return 0;
}
