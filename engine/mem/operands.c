/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge operands of one key on their way into the operator. They arrive newest first, as
 * iterators deliver them; the operator wants them oldest first, at most OPERANDS_BATCH at a time
 * (R257).
 *   arriving        9 8 7 ... (newest first)
 *   full batches    folded without a base into results[0] (newest), results[1], ...
 *   at the end      base + results, oldest first, in one more call
 * The grouping is allowed as operators are associative. Used by one thread; the operator is
 * called with no lock held.
 */

#include "mem/operands.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <stdio.h>

/* Buffers up to this size are kept for the next key. */
#define KEEP_BYTES ((size_t)256 << 10)

/* So much of a key shows in an error. */
#define KEY_SHOWN 32

void operands_init(struct operands *o, const struct shale_merge_operator *op)
{
    *o = (struct operands){ .op = op };
    operands_clear(o);
}

void operands_fini(struct operands *o)
{
    for (size_t i = 0; i < o->n_bufs; i++)
        shale_buf_fini(&o->results[i]);
    mem_free(o->results);
    mem_free(o->ends);
    mem_free(o->list);
    shale_buf_fini(&o->bytes);
}

static void buf_recycle(struct shale_buf *b)
{
    if (b->cap > KEEP_BYTES)
        shale_buf_fini(b);
    else
        buf_clear(b);
}

/* Memory for one ordinary key is kept, what a huge one needed is returned. */
void operands_clear(struct operands *o)
{
    for (size_t i = 0; i < o->n_bufs; i++) {
        if (i == 0)
            buf_recycle(&o->results[i]);
        else
            shale_buf_fini(&o->results[i]);
    }
    if (o->n_bufs > 1)
        o->n_bufs = 1;
    buf_recycle(&o->bytes);
    o->n = o->n_ends = o->n_results = 0;
    o->sum = (struct shale_row){ .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
}

static void key_hex(struct shale_slice key, char out[2 * KEY_SHOWN + 4])
{
    size_t n = key.len < KEY_SHOWN ? key.len : KEY_SHOWN;

    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", key.data[i]);
    snprintf(out + 2 * n, 4, "%s", key.len > n ? "..." : "");
}

static int no_operator(struct shale_slice key)
{
    char hex[2 * KEY_SHOWN + 4];

    key_hex(key, hex);
    return err_set(SHALE_EMERGE, "key %s has a merge operand, but there is no merge operator", hex);
}

/*
 * One call of the operator.
 * A result longer than a value may be is refused here, before it becomes a row that cannot be
 * encoded.
 */
static int call_operator(struct operands *o, struct shale_slice key, const struct shale_slice *existing,
                         const struct shale_slice *list, size_t n, struct shale_buf *out)
{
    char hex[2 * KEY_SHOWN + 4];
    int rc;

    buf_clear(out);
    rc = o->op->merge(o->op->ctx, key, existing, list, n, out);
    if (rc == 0 && out->len <= SHALE_VALUE_MAX)
        return 0;
    key_hex(key, hex);
    if (rc == -ENOMEM)
        return err_set(rc, "merge operator %s: out of memory folding %zu operands of key %s", o->op->name, n, hex);
    if (rc < 0)
        return err_set(SHALE_EMERGE, "merge operator %s failed on %zu operands of key %s: %s", o->op->name, n, hex,
                       shale_strerror(rc));
    return err_set(SHALE_EMERGE, "merge operator %s gave an invalid result for key %s", o->op->name, hex);
}

static int list_reserve(struct operands *o, size_t n)
{
    return vec_reserve(&o->list, &o->cap_list, n, sizeof(*o->list));
}

/*
 * The current batch as slices, oldest first; list has room.
 * ends[i] is where operand i, the i-th newest, stops in bytes.
 */
static void list_batch(struct operands *o)
{
    struct shale_slice bytes = slice_of_buf(&o->bytes); /* without data when all operands are empty */

    for (size_t i = 0; i < o->n_ends; i++) {
        size_t from = i ? o->ends[i - 1] : 0;

        o->list[o->n_ends - 1 - i] = slice_of(slice_from(bytes, from).data, o->ends[i] - from);
    }
}

/*
 * Fold the current batch, without a base, into one more result.
 * n_ends is reset only after success: a failure leaves the operands for whoever frees them.
 */
static int fold_batch(struct operands *o, struct shale_slice key)
{
    int rc;

    rc = list_reserve(o, o->n_ends);
    if (rc < 0)
        return rc;
    rc = vec_reserve(&o->results, &o->cap_results, o->n_results + 1, sizeof(*o->results));
    if (rc < 0)
        return rc;
    if (o->n_bufs == o->n_results)
        o->results[o->n_bufs++] = (struct shale_buf)SHALE_BUF_INIT;
    list_batch(o);
    rc = call_operator(o, key, NULL, o->list, o->n_ends, &o->results[o->n_results]);
    if (rc < 0)
        return rc;
    o->n_results++;
    o->n_ends = 0;
    buf_clear(&o->bytes);
    return 0;
}

/*
 * The base's times count as well: the result is as new as its newest part and expires with its
 * first (R146, R256).
 */
void operands_add_times(struct operands *o, const struct shale_row *row)
{
    if (row->create_ts > o->sum.create_ts) /* SHALE_NO_TS is the least */
        o->sum.create_ts = row->create_ts;
    if (row->expire_ts != SHALE_NO_TS && (o->sum.expire_ts == SHALE_NO_TS || row->expire_ts < o->sum.expire_ts))
        o->sum.expire_ts = row->expire_ts;
}

int operands_add(struct operands *o, struct shale_slice key, const struct shale_row *row)
{
    int rc;

    if (!o->op)
        return no_operator(key);
    /* Only now is it known that this batch is not the last. */
    if (o->n_ends == OPERANDS_BATCH) {
        rc = fold_batch(o, key);
        if (rc < 0)
            return rc;
    }
    rc = vec_reserve(&o->ends, &o->cap_ends, o->n_ends + 1, sizeof(*o->ends));
    if (rc < 0)
        return rc;
    rc = buf_append_slice(&o->bytes, row->value);
    if (rc < 0)
        return rc;
    o->ends[o->n_ends++] = o->bytes.len;
    if (o->n++ == 0)
        o->sum.seq = row->seq;
    operands_add_times(o, row);
    return 0;
}

struct shale_slice operands_only(const struct operands *o)
{
    return slice_of_buf(&o->bytes);
}

int operands_fold(struct operands *o, struct shale_slice key, const struct shale_slice *existing,
                  struct shale_buf *out)
{
    int rc;

    if (o->n_results == 0) {
        rc = list_reserve(o, o->n_ends);
        if (rc < 0)
            return rc;
        list_batch(o);
        return call_operator(o, key, existing, o->list, o->n_ends, out);
    }
    rc = fold_batch(o, key); /* never empty: operands_add folds a full batch only for one that follows */
    if (rc < 0)
        return rc;
    rc = list_reserve(o, o->n_results);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < o->n_results; i++)
        o->list[o->n_results - 1 - i] = slice_of_buf(&o->results[i]);
    return call_operator(o, key, existing, o->list, o->n_results, out);
}
