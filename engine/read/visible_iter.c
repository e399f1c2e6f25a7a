/* SPDX-License-Identifier: Apache-2.0 */
/* Hides rows above a sequence number. With no limit it is left out altogether. */

#include "read/visible_iter.h"

#include "base/alloc.h"

#include <errno.h>

struct visible_iter {
    struct iter base;
    struct iter *child;
    uint64_t after_seq, max_seq;
};

static int visible_iter_next(struct iter *it, struct shale_row *out)
{
    struct visible_iter *v = container_of(it, struct visible_iter, base);
    int rc;

    do {
        rc = iter_next(v->child, out);
    } while (rc == 0 && (out->seq > v->max_seq || (v->after_seq && out->seq <= v->after_seq)));
    return rc;
}

static int visible_iter_seek(struct iter *it, struct shale_slice key)
{
    struct visible_iter *v = container_of(it, struct visible_iter, base);

    return iter_seek(v->child, key);
}

static void visible_iter_close(struct iter *it)
{
    struct visible_iter *v = container_of(it, struct visible_iter, base);

    iter_close(v->child);
    mem_free(v);
}

static const struct iter_ops visible_iter_ops = {
    .next = visible_iter_next,
    .seek = visible_iter_seek,
    .close = visible_iter_close,
};

int visible_iter_new(struct iter *child, uint64_t max_seq, struct iter **out)
{
    return visible_iter_new_after(child, 0, max_seq, out);
}

int visible_iter_new_after(struct iter *child, uint64_t after_seq, uint64_t max_seq, struct iter **out)
{
    struct visible_iter *v;

    if (max_seq == UINT64_MAX && after_seq == 0) {
        *out = child;
        return 0;
    }
    v = mem_alloc(sizeof(*v));
    if (!v) {
        iter_close(child);
        return -ENOMEM;
    }
    *v = (struct visible_iter){ .base.ops = &visible_iter_ops, .child = child, .after_seq = after_seq,
                               .max_seq = max_seq };
    *out = &v->base;
    return 0;
}
