/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write batches, and what becomes of them: operations are gathered in call order, then turned
 * into one row for each key (R40-R43).
 *   on one key, in call order            row
 *   put a                                value a
 *   put a, merge b                       value ab        delete, merge b: value b
 *   merge a, merge b                     operand ab
 *   merge a, put b                       value b         what lies before a put or delete is forgotten
 * Most batches come with distinct keys in ascending order, which is noticed as they are filled:
 * then nothing is sorted. A batch belongs to one thread.
 */

#include "mem/batch.h"

#include "base/alloc.h"
#include "base/err.h"
#include "mem/operands.h"

#include <errno.h>

/* One operation; key and value lie one behind the other in the batch's bytes, which may move. */
struct batch_op {
    size_t at;
    uint32_t key_len;
    uint32_t value_len;
    enum shale_kind kind;
    struct shale_ttl ttl;
};

struct shale_batch {
    struct shale_buf bytes;
    struct batch_op *ops; /* in call order */
    size_t n, cap;
    bool ascending; /* keys are distinct and in order, so that nothing need be sorted or merged */
};

static struct shale_slice op_key(const struct shale_batch *b, const struct batch_op *op)
{
    return slice_of(b->bytes.data + op->at, op->key_len);
}

static struct shale_slice op_value(const struct shale_batch *b, const struct batch_op *op)
{
    return slice_of(b->bytes.data + op->at + op->key_len, op->value_len);
}

int shale_batch_new(struct shale_batch **out)
{
    struct shale_batch *b = mem_zalloc(sizeof(*b));

    if (!b)
        return err_set(-ENOMEM, "out of memory for a batch");
    b->ascending = true;
    *out = b;
    return 0;
}

void shale_batch_free(struct shale_batch *b)
{
    if (!b)
        return;
    shale_buf_fini(&b->bytes);
    mem_free(b->ops);
    mem_free(b);
}

void shale_batch_clear(struct shale_batch *b)
{
    buf_clear(&b->bytes);
    b->n = 0;
    b->ascending = true;
}

/*
 * Room is made for both before either changes. The bytes may move as they grow, so operations
 * keep offsets.
 */
static int batch_add(struct shale_batch *b, enum shale_kind kind, struct shale_slice key, struct shale_slice value,
                     struct shale_ttl ttl)
{
    struct batch_op op = { .at = b->bytes.len, .kind = kind, .ttl = ttl };

    if (key.len == 0 || key.len > SHALE_KEY_MAX)
        return err_set(-EINVAL, "a key of %zu bytes: must have 1 to %u", key.len, SHALE_KEY_MAX);
    if (value.len > SHALE_VALUE_MAX)
        return err_set(-EINVAL, "a value of %zu bytes: may have at most %u", value.len, SHALE_VALUE_MAX);
    if (vec_reserve(&b->ops, &b->cap, b->n + 1, sizeof(*b->ops)) < 0 ||
        shale_buf_reserve(&b->bytes, size_add(key.len, value.len)) < 0)
        return err_set(-ENOMEM, "out of memory for %zu bytes more in a batch of %zu", size_add(key.len, value.len),
                       b->bytes.len);
    op.key_len = (uint32_t)key.len;
    op.value_len = (uint32_t)value.len;
    if (b->n && b->ascending)
        b->ascending = slice_cmp(op_key(b, &b->ops[b->n - 1]), key) < 0;
    /* Room is there, so these cannot fail. */
    (void)buf_append_slice(&b->bytes, key);
    (void)buf_append_slice(&b->bytes, value);
    b->ops[b->n++] = op;
    return 0;
}

int shale_batch_put(struct shale_batch *b, struct shale_slice key, struct shale_slice value, struct shale_ttl ttl)
{
    return batch_add(b, SHALE_PUT, key, value, ttl);
}

int shale_batch_merge(struct shale_batch *b, struct shale_slice key, struct shale_slice operand, struct shale_ttl ttl)
{
    return batch_add(b, SHALE_MERGE, key, operand, ttl);
}

int shale_batch_delete(struct shale_batch *b, struct shale_slice key)
{
    return batch_add(b, SHALE_TOMBSTONE, key, slice_of(NULL, 0), (struct shale_ttl){ SHALE_TTL_NONE, 0 });
}

size_t shale_batch_count(const struct shale_batch *b)
{
    return b->n;
}

size_t shale_batch_bytes(const struct shale_batch *b)
{
    return b->bytes.len;
}

void batch_rows_fini(struct batch_rows *r)
{
    mem_free(r->rows);
    shale_buf_fini(&r->mem);
    *r = (struct batch_rows){ 0 };
}

/* State of one conversion. */
struct maker {
    const struct shale_batch *b;
    int64_t now_ms, default_ttl_ms;
    struct operands operands;
    struct shale_buf folded;
    struct batch_rows *out;
    size_t *moved; /* rows whose values lie in out->mem, in this order, one behind the other */
    size_t n_moved, cap_moved;
};

/* R13; a time that does not fit is none (R14). */
static int64_t expiry(const struct maker *mk, const struct batch_op *op)
{
    int64_t t;

    switch (op->ttl.kind) {
    case SHALE_TTL_DEFAULT:
        if (op->kind == SHALE_TOMBSTONE || mk->default_ttl_ms == 0)
            return SHALE_NO_TS;
        return __builtin_add_overflow(mk->now_ms, mk->default_ttl_ms, &t) ? SHALE_NO_TS : t;
    case SHALE_TTL_AFTER:
        return __builtin_add_overflow(mk->now_ms, op->ttl.ms, &t) ? SHALE_NO_TS : t;
    case SHALE_TTL_AT:
        return op->ttl.ms;
    case SHALE_TTL_NONE:
        break;
    }
    return SHALE_NO_TS;
}

static struct shale_row op_row(const struct maker *mk, const struct batch_op *op)
{
    return (struct shale_row){
        .key = op_key(mk->b, op),
        .value = op_value(mk->b, op),
        .create_ts = mk->now_ms,
        .expire_ts = expiry(mk, op),
        .kind = op->kind,
    };
}

/*
 * Keep a folded value; out->mem may move, so that the row learns where it lies at the end.
 * moved lists the rows in the order of their values in out->mem, so that one pass at the end
 * gives each its address.
 */
static int keep_value(struct maker *mk, struct shale_row *row)
{
    int rc;

    rc = vec_reserve(&mk->moved, &mk->cap_moved, mk->n_moved + 1, sizeof(*mk->moved));
    if (rc < 0)
        return rc;
    rc = buf_append_slice(&mk->out->mem, slice_of_buf(&mk->folded));
    if (rc < 0)
        return rc;
    row->value = slice_of(NULL, mk->folded.len);
    mk->moved[mk->n_moved++] = mk->out->n;
    return 0;
}

/*
 * Lay the operands ops[0..n-1], in call order, over base (NULL: none); *row gets kind, value and expiry.
 * Operands with different expiry cannot be one row, and a table holds one row for each key and
 * sequence number: refused instead of lost (H4). The same for a value below them.
 */
static int fold_ops(struct maker *mk, const struct batch_op *const *ops, size_t n, const struct batch_op *base,
                    struct shale_row *row)
{
    bool on_value = base && base->kind == SHALE_PUT;
    struct shale_slice value;
    int rc;

    operands_clear(&mk->operands);
    *row = op_row(mk, ops[0]);
    if (on_value && expiry(mk, base) != row->expire_ts)
        return err_set(SHALE_EMERGE, "a batch merges onto a value of its own with another expiry");
    row->kind = base ? SHALE_PUT : SHALE_MERGE;
    if (!base && n == 1 && mk->operands.op)
        return 0; /* an operand alone stays what it is, where it is */
    for (size_t i = n; i-- > 0;) {
        struct shale_row one = op_row(mk, ops[i]);

        if (one.expire_ts != row->expire_ts)
            return err_set(SHALE_EMERGE, "a batch has merge operands of one key with different expiry");
        rc = operands_add(&mk->operands, one.key, &one);
        if (rc < 0)
            return rc;
    }
    if (on_value)
        value = op_value(mk->b, base);
    rc = operands_fold(&mk->operands, row->key, on_value ? &value : NULL, &mk->folded);
    if (rc < 0)
        return rc;
    return keep_value(mk, row);
}

/* One row from all operations on a key, in call order. */
static int make_row(struct maker *mk, const struct batch_op *const *ops, size_t n)
{
    size_t first = n; /* of the operands that no put or delete follows */
    struct shale_row row;
    int rc = 0;

    while (first > 0 && ops[first - 1]->kind == SHALE_MERGE)
        first--;
    if (first == n)
        row = op_row(mk, ops[n - 1]);
    else
        rc = fold_ops(mk, ops + first, n - first, first ? ops[first - 1] : NULL, &row);
    if (rc < 0)
        return rc;
    mk->out->rows[mk->out->n++] = row;
    return 0;
}

/* Same address, same operation: call order settles equal keys. */
static int op_order(const void *a, const void *b, void *arg)
{
    const struct batch_op *const *x = a, *const *y = b;
    int c = slice_cmp(op_key(arg, *x), op_key(arg, *y));

    return c ? c : (*x > *y) - (*x < *y);
}

/* qsort_r is not stable; op_order falls back on addresses, which are in call order. */
static int make_sorted(struct maker *mk)
{
    const struct shale_batch *b = mk->b;
    const struct batch_op **order = mem_calloc(b->n, sizeof(*order));
    int rc = 0;

    if (!order)
        return -ENOMEM;
    for (size_t i = 0; i < b->n; i++)
        order[i] = &b->ops[i];
    qsort_r(order, b->n, sizeof(*order), op_order, (void *)(uintptr_t)b);
    for (size_t i = 0, j; i < b->n && rc == 0; i = j) {
        for (j = i + 1; j < b->n && slice_eq(op_key(b, order[i]), op_key(b, order[j])); j++)
            ;
        rc = make_row(mk, order + i, j - i);
    }
    mem_free(order);
    return rc;
}

static int make_ascending(struct maker *mk)
{
    int rc = 0;

    for (size_t i = 0; i < mk->b->n && rc == 0; i++) {
        const struct batch_op *op = &mk->b->ops[i];

        rc = make_row(mk, &op, 1);
    }
    return rc;
}

/*
 * Values that were folded lie in out->mem, all others in the batch: both must live until the rows
 * were inserted.
 */
int batch_to_rows(const struct shale_batch *b, int64_t now_ms, int64_t default_ttl_ms,
                  const struct shale_merge_operator *op, struct batch_rows *out)
{
    struct maker mk = { .b = b, .now_ms = now_ms, .default_ttl_ms = default_ttl_ms, .out = out };
    size_t at = 0;
    int rc;

    operands_init(&mk.operands, op);
    out->n = 0;
    buf_clear(&out->mem);
    rc = vec_reserve(&out->rows, &out->cap, b->n, sizeof(*out->rows));
    if (rc == 0)
        rc = b->ascending ? make_ascending(&mk) : make_sorted(&mk);
    for (size_t i = 0; rc == 0 && i < mk.n_moved; i++) {
        struct shale_slice *value = &out->rows[mk.moved[i]].value;

        value->data = value->len ? out->mem.data + at : NULL; /* no arithmetic on the NULL of an empty buffer */
        at += value->len;
    }
    if (rc < 0)
        out->n = 0;
    operands_fini(&mk.operands);
    shale_buf_fini(&mk.folded);
    mem_free(mk.moved);
    return rc == -ENOMEM ? err_set(rc, "out of memory for the rows of a batch of %zu operations", b->n) : rc;
}
