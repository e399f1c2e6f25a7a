/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SST as a stream. Compactions of hundreds of SSTs hold one of these for each, so it is kept small: of the index,
 * which has some 80 bytes for each block, only the stored lengths stay, as varints of two bytes or so.
 *   lens    | len | len | len | len | len |      of the blocks that can hold keys of the range
 *              entered ^         ^ fetched       block by block; chunk by chunk
 *   chunk   [block][block]                       stored bytes of the blocks in between
 * Blocks that are stored as they are get decoded in place: rows point into the chunk.
 */

#include "sst/sst_stream.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "format/block.h"
#include "sst/section_read.h"

#include <errno.h>

#define VARINT64_MAX_LEN 10

/* As of an sst_iter: nothing read yet, a row was given out, behind the last one, or an error, given again. */
enum stream_state { STREAM_NEW, STREAM_OPEN, STREAM_DONE, STREAM_FAILED };

struct sst_stream {
    struct iter base;
    enum stream_state state;
    int failure;
    struct table_store *ts;
    struct sst_handle *sst;    /* shared */
    struct shale_buf from, to; /* what range points at */
    struct key_range range;    /* of what may still come: a seek narrows it */
    struct shale_buf name;     /* of the object */
    struct shale_buf lens;
    size_t entered, fetched;   /* positions in lens */
    uint64_t chunk_bytes;
    struct shale_buf chunk;
    size_t chunk_pos;          /* in chunk, of the block to be entered next */
    uint64_t next_offset;      /* in the object, of that block */
    struct sst_part part;      /* the current block, for errors */
    struct shale_buf plain;    /* the current block, when it was compressed */
    struct block_iter rows;    /* of the current block */
    bool edge;                 /* rows of the current block can lie behind the end of the range */
    bool leading;              /* rows can still lie before its start */
    struct shale_slice last;   /* STREAM_OPEN: key of the row given out last, borrowed from rows */
};

static struct sst_stream *self(struct iter *base)
{
    return container_of(base, struct sst_stream, base);
}

/* Let go of what only a stream under way needs. */
static void release(struct sst_stream *it)
{
    shale_buf_fini(&it->lens);
    shale_buf_fini(&it->chunk);
    shale_buf_fini(&it->plain);
    it->entered = it->fetched = it->chunk_pos = 0;
}

static int finish(struct sst_stream *it)
{
    release(it);
    it->state = STREAM_DONE;
    return SHALE_END;
}

static int fail(struct sst_stream *it, int rc)
{
    release(it);
    it->state = STREAM_FAILED;
    it->failure = rc;
    return rc;
}

static int put_len(struct shale_buf *b, uint64_t v)
{
    uint8_t t[VARINT64_MAX_LEN];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        t[n++] = (uint8_t)(v | 0x80);
    t[n++] = (uint8_t)v;
    return shale_buf_append(b, t, n);
}

/* The length at *pos, which moves on. */
static uint64_t take_len(const struct sst_stream *it, size_t *pos)
{
    uint64_t v = 0;
    unsigned shift = 0;
    uint8_t byte;

    do {
        byte = it->lens.data[(*pos)++];
        v |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return v;
}

/* Read the blocks that follow, as far as chunk_bytes goes. */
static int fetch(struct sst_stream *it)
{
    uint64_t sum = 0;
    int rc;

    while (it->fetched < it->lens.len) {
        size_t pos = it->fetched;
        uint64_t len = take_len(it, &pos);

        if (sum > 0 && sum + len > it->chunk_bytes)
            break;
        sum += len;
        it->fetched = pos;
    }
    rc = part_read(it->ts->store, &it->part, sum, &it->chunk);
    it->chunk_pos = 0;
    return rc;
}

/* Go on with the next block. 0, SHALE_END or an error. */
static int enter_block(struct sst_stream *it)
{
    const struct section_form form = { it->sst->info.codec, it->ts->format.transformer };
    struct shale_slice payload;
    uint8_t *stored;
    size_t len;
    int rc = 0;

    if (it->entered == it->lens.len)
        return finish(it);
    it->part.number++;
    it->part.offset = it->next_offset;
    if (it->chunk_pos == it->chunk.len)
        rc = fetch(it);
    if (rc < 0)
        return fail(it, rc);
    stored = it->chunk.data + it->chunk_pos;
    len = (size_t)take_len(it, &it->entered);
    it->chunk_pos += len;
    it->next_offset += len;
    it->edge = it->entered == it->lens.len;
    rc = section_read_decode(it->ts->store, &it->part, stored, len, &form, &it->plain, &payload);
    if (rc < 0)
        return fail(it, rc);
    rc = block_iter_reset(&it->rows, payload, it->sst->version, ITER_ASC);
    return rc < 0 ? fail(it, part_err_add(rc, &it->part)) : 0;
}

static int keep_lens(struct sst_stream *it, const struct sst_index *x, size_t first, size_t last)
{
    int rc = 0;

    for (size_t i = first; rc == 0 && i <= last; i++) {
        uint64_t end = i + 1 < x->n ? x->offsets[i + 1] : it->sst->info.filter_offset;

        rc = put_len(&it->lens, end - x->offsets[i]);
    }
    it->part.number = first - 1; /* entering the first one moves it there; it may wrap */
    it->next_offset = x->offsets[first];
    return rc;
}

/* Go to the start of the range. 0, SHALE_END or an error. */
static int start(struct sst_stream *it)
{
    struct sst_source src = sst_source_compacted(it->sst);
    struct table_index *index = NULL;
    size_t first, last;
    int rc;

    if (key_range_is_empty(&it->range))
        return finish(it);
    rc = table_store_sst_name(it->ts, it->sst->id, &it->name);
    if (rc == 0)
        rc = table_index_read(it->ts, &src, &index);
    if (rc < 0)
        return fail(it, rc);
    it->part = (struct sst_part){ .object = (const char *)it->name.data, .kind = "block" };
    if (sst_index_covering(&index->x, &it->range, &first, &last))
        rc = keep_lens(it, &index->x, first, last);
    table_index_unref(index);
    if (rc == 0)
        rc = enter_block(it);
    else
        rc = fail(it, rc);
    if (rc != 0)
        return rc;
    it->state = STREAM_OPEN;
    it->leading = it->range.from_kind == KEY_EXCLUDED;
    if (it->range.from_kind == KEY_UNBOUNDED)
        return 0;
    rc = block_iter_seek(&it->rows, it->range.from);
    return rc < 0 ? fail(it, part_err_add(rc, &it->part)) : 0;
}

static int stream_next(struct iter *base, struct shale_row *out)
{
    struct sst_stream *it = self(base);
    int rc = 0;

    if (it->state != STREAM_OPEN)
        rc = it->state == STREAM_NEW ? start(it) : it->state == STREAM_DONE ? SHALE_END : it->failure;
    while (rc == 0) {
        rc = block_iter_next(&it->rows, out);
        if (rc == 0) {
            if (it->leading && key_before_range(&it->range, out->key))
                continue;
            it->leading = false;
            if (it->edge && key_after_range(&it->range, out->key))
                return finish(it);
            it->last = out->key;
            return 0;
        }
        rc = rc < 0 ? fail(it, part_err_add(rc, &it->part)) : enter_block(it);
    }
    return rc;
}

/* Only forward. Under way it begins anew: a compaction seeks only before its first row. */
static int stream_seek(struct iter *base, struct shale_slice key)
{
    struct sst_stream *it = self(base);
    struct key_range *r = &it->range;
    int rc;

    if (it->state == STREAM_DONE || it->state == STREAM_FAILED)
        return it->state == STREAM_DONE ? 0 : it->failure;
    if ((r->from_kind != KEY_UNBOUNDED && slice_cmp(key, r->from) <= 0) ||
        (it->state == STREAM_OPEN && slice_cmp(key, it->last) <= 0))
        return 0;
    rc = buf_set(&it->from, key);
    if (rc < 0)
        return fail(it, rc);
    r->from_kind = KEY_INCLUDED;
    r->from = slice_of_buf(&it->from);
    release(it);
    it->state = STREAM_NEW;
    return 0;
}

static void stream_close(struct iter *base)
{
    struct sst_stream *it = self(base);

    release(it);
    block_iter_fini(&it->rows);
    shale_buf_fini(&it->from);
    shale_buf_fini(&it->to);
    shale_buf_fini(&it->name);
    sst_handle_unref(it->sst);
    mem_free(it);
}

static const struct iter_ops stream_ops = { .next = stream_next, .seek = stream_seek, .close = stream_close };

/* The intersection borrows from range and view; what is left of them is copied. */
int sst_stream_new(struct table_store *ts, const struct sst_view *view, const struct key_range *range,
                   uint64_t chunk_bytes, struct iter **out)
{
    struct sst_stream *it = mem_zalloc(sizeof(*it));
    struct key_range visible = sst_view_range(view);

    if (!it)
        return -ENOMEM;
    it->base.ops = &stream_ops;
    it->ts = ts;
    it->sst = sst_handle_ref(view->sst);
    it->chunk_bytes = chunk_bytes;
    it->range = key_range_intersect(range, &visible);
    if (buf_set(&it->from, it->range.from) < 0 || buf_set(&it->to, it->range.to) < 0) {
        stream_close(&it->base);
        return -ENOMEM;
    }
    it->range.from = slice_of_buf(&it->from);
    it->range.to = slice_of_buf(&it->to);
    *out = &it->base;
    return 0;
}
