/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/list_iter.h"

#include "base/alloc.h"

#include <errno.h>

struct list_iter {
    struct iter base;
    struct shale_row *rows;
    size_t n, pos;
    enum iter_order order;
    uint8_t *copy; /* bytes of the row handed out last */
    size_t calls, left; /* left: until the failing call; 0: none */
    int rc;
};

static size_t n_open;

static int asc(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

static int desc(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;
    int c = slice_cmp(y->key, x->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

static void forget_copy(struct list_iter *l)
{
    mem_free(l->copy);
    l->copy = NULL;
}

static bool fails_now(struct list_iter *l)
{
    return l->left && --l->left == 0;
}

static int list_iter_next(struct iter *it, struct shale_row *out)
{
    struct list_iter *l = container_of(it, struct list_iter, base);
    const struct shale_row *row;

    l->calls++;
    forget_copy(l);
    if (fails_now(l))
        return l->rc;
    if (l->pos == l->n)
        return SHALE_END;
    row = &l->rows[l->pos];
    l->copy = mem_alloc(row->key.len + row->value.len);
    if (!l->copy)
        return -ENOMEM;
    l->pos++;
    memcpy(l->copy, row->key.data, row->key.len);
    if (row->value.len)
        memcpy(l->copy + row->key.len, row->value.data, row->value.len);
    *out = *row;
    out->key.data = l->copy;
    out->value.data = l->copy + row->key.len;
    return 0;
}

static int list_iter_seek(struct iter *it, struct shale_slice key)
{
    struct list_iter *l = container_of(it, struct list_iter, base);

    if (fails_now(l))
        return l->rc;
    for (; l->pos < l->n; l->pos++) {
        int c = slice_cmp(l->rows[l->pos].key, key);

        if (l->order == ITER_ASC ? c >= 0 : c <= 0)
            break;
    }
    forget_copy(l);
    return 0;
}

static void list_iter_close(struct iter *it)
{
    struct list_iter *l = container_of(it, struct list_iter, base);

    n_open--;
    forget_copy(l);
    mem_free(l->rows);
    mem_free(l);
}

static const struct iter_ops list_iter_ops = {
    .next = list_iter_next,
    .seek = list_iter_seek,
    .close = list_iter_close,
};

struct iter *list_iter_new_unsorted(const struct shale_row *rows, size_t n)
{
    struct list_iter *l = mem_zalloc(sizeof(*l));

    if (!l)
        return NULL;
    l->rows = mem_calloc(n, sizeof(*rows));
    if (!l->rows) {
        mem_free(l);
        return NULL;
    }
    if (n)
        memcpy(l->rows, rows, n * sizeof(*rows));
    l->base.ops = &list_iter_ops;
    l->n = n;
    n_open++;
    return &l->base;
}

struct iter *list_iter_new(const struct shale_row *rows, size_t n, enum iter_order order)
{
    struct iter *it = list_iter_new_unsorted(rows, n);
    struct list_iter *l;

    if (!it)
        return NULL;
    l = container_of(it, struct list_iter, base);
    l->order = order;
    if (n)
        qsort(l->rows, n, sizeof(*rows), order == ITER_DESC ? desc : asc);
    return it;
}

void list_iter_fail(struct iter *it, size_t nth, int rc)
{
    struct list_iter *l = container_of(it, struct list_iter, base);

    l->left = nth;
    l->rc = rc;
}

size_t list_iter_calls(const struct iter *it)
{
    return ((const struct list_iter *)(const void *)it)->calls;
}

size_t list_iter_open_count(void)
{
    return n_open;
}
