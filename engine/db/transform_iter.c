/* SPDX-License-Identifier: Apache-2.0 */
#include "db/transform_iter.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

#include <errno.h>

struct transform_iter {
    struct iter base;
    struct iter *child;
    const struct shale_flush_transform *hook; /* borrowed */
    void *state;
    bool created, ended;
    struct shale_buf value; /* of a row that was changed */
};

/* One code for all of them: the application's own could be taken for the store's, which mean something here. */
static int failed(int rc, const char *what)
{
    return err_set(SHALE_EHOOK, "the flush transform cannot %s: %s", what, shale_strerror(rc));
}

/* The new value lies in the iterator's buffer until the next row, like any borrowed value. */
static int apply(struct transform_iter *t, struct shale_row *row)
{
    int rc;

    if (row->kind == SHALE_TOMBSTONE)
        return 0;
    buf_clear(&t->value);
    rc = t->hook->apply(t->state, row, &t->value);
    switch (rc) {
    case SHALE_TRANSFORM_KEEP:
        return 0;
    case SHALE_TRANSFORM_REPLACE:
        if (t->value.len > SHALE_VALUE_MAX)
            return failed(-E2BIG, "be followed");
        row->value = slice_of_buf(&t->value);
        return 0;
    default:
        return failed(rc < 0 ? rc : -EINVAL, "take a row");
    }
}

static int end(struct transform_iter *t)
{
    int rc;

    if (t->ended)
        return SHALE_END;
    rc = t->hook->end ? t->hook->end(t->state) : 0;
    if (rc < 0)
        return failed(rc, "end");
    t->ended = true;
    return SHALE_END;
}

static int transform_next(struct iter *it, struct shale_row *out)
{
    struct transform_iter *t = container_of(it, struct transform_iter, base);
    struct shale_row row;
    int rc = iter_next(t->child, &row);

    if (rc == SHALE_END)
        return end(t);
    if (rc == 0)
        rc = apply(t, &row);
    if (rc == 0)
        *out = row;
    return rc;
}

/* A flush reads from the beginning to the end. */
static int transform_seek(struct iter *it, struct shale_slice key)
{
    (void)it, (void)key;
    return err_set(-EINVAL, "the rows of a flush cannot be skipped");
}

static void transform_close(struct iter *it)
{
    struct transform_iter *t = container_of(it, struct transform_iter, base);

    iter_close(t->child);
    if (t->created && t->hook->destroy)
        t->hook->destroy(t->state);
    shale_buf_fini(&t->value);
    mem_free(t);
}

static const struct iter_ops transform_ops = {
    .next = transform_next,
    .seek = transform_seek,
    .close = transform_close,
};

int transform_iter_new(struct iter *child, const struct shale_flush_transform *hook, struct iter **out)
{
    struct transform_iter *t = mem_zalloc(sizeof(*t));
    int rc = 0;

    if (!t) {
        iter_close(child);
        return -ENOMEM;
    }
    t->base.ops = &transform_ops;
    t->child = child;
    t->hook = hook;
    t->state = hook->ctx;
    if (hook->create)
        rc = hook->create(hook->ctx, &t->state);
    if (rc < 0) {
        transform_close(&t->base);
        return failed(rc, "be created");
    }
    t->created = true;
    *out = &t->base;
    return 0;
}
