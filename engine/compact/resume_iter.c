/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an interrupted job goes on (R185-R191). The cursor is the last row of the last output,
 * found by reading that SST's last block; the stream is moved to the cursor's key, and rows up to
 * and including the cursor are dropped.
 *   cursor (k, 7):   k@9 k@7 | k@4 | l@3       drops k@9 and k@7, delivers k@4 and what follows
 *                    key before k: dropped     (only seen when a filter asked to begin earlier)
 */

#include "compact/resume_iter.h"

#include "base/alloc.h"
#include "base/err.h"
#include "format/block.h"

#include <errno.h>

void resume_cursor_fini(struct resume_cursor *c)
{
    shale_buf_fini(&c->key);
    *c = (struct resume_cursor){ 0 };
}

/* Walked from the front: keys lean on those before, so the last row cannot be read by itself. */
static int last_row(const struct block *block, int version, struct resume_cursor *out)
{
    struct block_iter it = { 0 };
    struct shale_row row;
    int rc;

    rc = block_iter_init(&it, block_payload(block), version, ITER_ASC);
    while (rc == 0) {
        rc = block_iter_next(&it, &row);
        if (rc != 0)
            break;
        rc = buf_set(&out->key, row.key);
        out->seq = row.seq;
        out->kind = row.kind;
        out->set = true;
    }
    block_iter_fini(&it);
    return rc == SHALE_END ? 0 : rc;
}

int resume_cursor_read(struct table_store *ts, const struct sst_handle *sst, struct resume_cursor *out)
{
    struct sst_source src = sst_source_compacted(sst);
    struct resume_cursor cursor = { 0 };
    struct table_index *index = NULL;
    struct block *block = NULL;
    int rc;

    rc = table_index_read(ts, &src, &index);
    if (rc < 0)
        goto out;
    if (index->x.n > 0) {
        rc = table_blocks_read(ts, &src, index, index->x.n - 1, 1, false, &block);
        if (rc < 0)
            goto out;
        rc = last_row(block, sst->version, &cursor);
        if (rc < 0)
            goto out;
    }
    resume_cursor_fini(out);
    *out = cursor;
    cursor = (struct resume_cursor){ 0 };
out:
    resume_cursor_fini(&cursor);
    block_unref(block);
    table_index_unref(index);
    return rc;
}

struct resume_iter {
    struct iter base;
    struct iter *child;
    const struct resume_cursor *cursor;
    struct shale_slice from;
    bool draining;
};

static bool was_written(const struct resume_cursor *c, const struct shale_row *row)
{
    int cmp = slice_cmp(row->key, slice_of_buf(&c->key));

    return cmp < 0 || (cmp == 0 && row->seq >= c->seq);
}

/* Moving is put off until the first next, so that making the stack reads nothing. */
static int resume_next(struct iter *it, struct shale_row *out)
{
    struct resume_iter *r = container_of(it, struct resume_iter, base);
    struct shale_row row;
    int rc;

    if (!r->draining)
        return iter_next(r->child, out);
    rc = iter_seek(r->child, r->from);
    if (rc < 0)
        return rc;
    do {
        rc = iter_next(r->child, &row);
    } while (rc == 0 && was_written(r->cursor, &row));
    if (rc < 0)
        return rc;
    r->draining = false;
    if (rc == 0)
        *out = row;
    return rc;
}

static int resume_seek(struct iter *it, struct shale_slice key)
{
    struct resume_iter *r = container_of(it, struct resume_iter, base);

    if (!r->draining || slice_cmp(key, slice_of_buf(&r->cursor->key)) > 0) {
        r->draining = false;
        return iter_seek(r->child, key);
    }
    return 0; /* the first next goes to the cursor, which is not before key */
}

static void resume_close(struct iter *it)
{
    struct resume_iter *r = container_of(it, struct resume_iter, base);

    iter_close(r->child);
    mem_free(r);
}

static const struct iter_ops resume_ops = { .next = resume_next, .seek = resume_seek, .close = resume_close };

int resume_iter_new(struct iter *child, const struct resume_cursor *cursor, struct shale_slice from,
                    struct iter **out)
{
    struct resume_iter *r = mem_zalloc(sizeof(*r));

    if (!r) {
        iter_close(child);
        return -ENOMEM;
    }
    r->base.ops = &resume_ops;
    r->child = child;
    r->cursor = cursor;
    r->from = from;
    r->draining = cursor->set;
    *out = &r->base;
    return 0;
}
