/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The application's compaction filter as a layer of the stack (R261-R264). One filter object for
 * each job, used by its thread alone.
 */

#include "compact/filter_iter.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

#include <errno.h>

struct filter_iter {
    struct iter base;
    struct iter *child;
    const struct shale_compaction_filter *filter;
    void *state;
    bool created, ended;
    struct shale_buf value; /* of a row that was modified */
};

/* The new value lies in the iterator's buffer until the next row, like any borrowed value. */
static int apply(struct filter_iter *f, struct shale_row *row)
{
    int rc;

    buf_clear(&f->value);
    rc = f->filter->decide(f->state, row, &f->value);
    switch (rc) {
    case SHALE_FILTER_KEEP:
    case SHALE_FILTER_DROP:
        return rc;
    case SHALE_FILTER_MODIFY:
        row->value = slice_of_buf(&f->value);
        if (row->kind == SHALE_TOMBSTONE)
            row->kind = SHALE_PUT;
        return rc;
    case SHALE_FILTER_TOMBSTONE:
        row->value = slice_of(NULL, 0);
        row->kind = SHALE_TOMBSTONE;
        row->expire_ts = SHALE_NO_TS;
        return rc;
    default:
        return err_set(rc < 0 ? rc : -EINVAL, "compaction filter error: the decision on a row is %d", rc);
    }
}

/*
 * SHALE_END, once the filter has agreed to it.
 * Called once even if SHALE_END is asked for again; its error then makes the job fail although
 * every row went through.
 */
static int filter_end(struct filter_iter *f)
{
    int rc;

    if (f->ended)
        return SHALE_END;
    f->ended = true;
    rc = f->filter->end ? f->filter->end(f->state) : 0;
    return rc < 0 ? err_set(rc, "compaction filter error: its end failed: %s", shale_strerror(rc)) : SHALE_END;
}

static int filter_next(struct iter *it, struct shale_row *out)
{
    struct filter_iter *f = container_of(it, struct filter_iter, base);
    struct shale_row row;
    int rc;

    do {
        rc = iter_next(f->child, &row);
        if (rc == SHALE_END)
            return filter_end(f);
        if (rc < 0)
            return rc;
        rc = apply(f, &row);
        if (rc < 0)
            return rc;
    } while (rc == SHALE_FILTER_DROP);
    *out = row;
    return 0;
}

static int filter_seek(struct iter *it, struct shale_slice key)
{
    return iter_seek(container_of(it, struct filter_iter, base)->child, key);
}

static void filter_close(struct iter *it)
{
    struct filter_iter *f = container_of(it, struct filter_iter, base);

    iter_close(f->child);
    if (f->created && f->filter->destroy)
        f->filter->destroy(f->state);
    shale_buf_fini(&f->value);
    mem_free(f);
}

static const struct iter_ops filter_ops = { .next = filter_next, .seek = filter_seek, .close = filter_close };

int filter_iter_new(struct iter *child, const struct shale_compaction_filter *filter,
                    const struct shale_filter_context *context, struct iter **out)
{
    struct filter_iter *f = mem_zalloc(sizeof(*f));
    int rc = 0;

    if (!f) {
        iter_close(child);
        return -ENOMEM;
    }
    f->base.ops = &filter_ops;
    f->child = child;
    f->filter = filter;
    if (filter->create)
        rc = filter->create(filter->ctx, context, &f->state);
    if (rc < 0) {
        filter_close(&f->base);
        return err_set(rc, "compaction filter error: it cannot be created: %s", shale_strerror(rc));
    }
    f->created = true;
    *out = &f->base;
    return 0;
}

/*
 * A filter may decide by earlier rows (an inode before its chunks); it names the key from which
 * it needs to see them again, and the rows up to after are passed through it without being
 * written.
 */
int filter_iter_resume_from(struct iter *it, struct shale_slice after, struct shale_buf *from)
{
    struct filter_iter *f = container_of(it, struct filter_iter, base);
    int rc;

    buf_clear(from);
    if (!f->filter->resume_from)
        return buf_set(from, after);
    rc = f->filter->resume_from(f->state, after, from);
    if (rc < 0)
        return err_set(rc, "compaction filter error: it cannot say from where to resume: %s", shale_strerror(rc));
    return slice_cmp(slice_of_buf(from), after) > 0 ? buf_set(from, after) : 0;
}
