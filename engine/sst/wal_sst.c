/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes WAL objects (storage format 7.1): an SST whose rows are in commit order rather than key
 * order, whose index has sequence numbers for keys, and which has neither filter nor stats.
 *   [block 0][block 1]...[index][properties?][info][trailer]       info: first = u64be sequence number, type WAL
 */

#include "sst/sst_writer.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "format/block.h"
#include "sst/sst_collect.h"

#include <errno.h>

/* A WAL object is made whole in memory: its rows are there anyway, and it is bounded by what waits for a commit. */
struct wal_sst {
    const struct sst_format *format;
    struct section_form form;
    struct shale_buf *out;
    size_t start; /* of the object in out */
    struct block_builder block;
    struct sst_index_builder index;
    struct shale_buf raw, scratch;
    struct sst_collect collect;
    struct sst_info info;
};

static void wal_sst_init(struct wal_sst *w, const struct sst_format *format, struct shale_buf *out)
{
    *w = (struct wal_sst){ .format = format, .form = sst_format_form(format), .out = out, .start = out->len,
                           .info = { .codec = format->codec } };
    block_builder_init(&w->block, BLOCK_V2, format->block_size);
}

static void wal_sst_fini(struct wal_sst *w)
{
    block_builder_fini(&w->block);
    sst_index_builder_fini(&w->index);
    sst_collect_fini(&w->collect);
    sst_info_fini(&w->info);
    shale_buf_fini(&w->raw);
    shale_buf_fini(&w->scratch);
}

static uint64_t wal_offset(const struct wal_sst *w)
{
    return w->out->len - w->start;
}

static int put_section(struct wal_sst *w, struct shale_slice payload, const struct section_form *form)
{
    return section_encode(payload, form, &w->scratch, w->out);
}

static int end_block(struct wal_sst *w)
{
    struct shale_slice payload;
    int rc = block_builder_payload(&w->block, &payload);

    if (rc == 0)
        rc = put_section(w, payload, &w->form);
    block_builder_reset(&w->block);
    return rc;
}

static int add_row(struct wal_sst *w, const struct shale_row *row, bool is_first)
{
    size_t common = block_builder_common(&w->block, row->key);
    bool begins = is_first;
    uint8_t seq[8];
    int rc = 0;

    if (row->key.len < 1 || row->key.len > SHALE_KEY_MAX || row->value.len > SHALE_VALUE_MAX)
        return err_set(-EINVAL, "a WAL row of %zu and %zu bytes", row->key.len, row->value.len);
    if (!is_first && !block_builder_would_fit(&w->block, row, common)) {
        rc = end_block(w);
        begins = true;
    }
    put_u64be(seq, row->seq);
    if (rc == 0 && begins)
        rc = sst_index_builder_add(&w->index, wal_offset(w), slice_of(seq, sizeof(seq)));
    if (rc == 0 && is_first) {
        rc = buf_set(&w->info.first, slice_of(seq, sizeof(seq)));
        w->info.has_first = true;
    }
    if (rc == 0)
        rc = block_builder_add(&w->block, row, common);
    return rc < 0 ? rc : sst_collect_add(&w->collect, row);
}

static int put_index(struct wal_sst *w)
{
    int rc;

    w->info.filter_offset = w->info.index_offset = wal_offset(w);
    buf_clear(&w->raw);
    rc = sst_index_builder_finish(&w->index, &w->raw);
    if (rc == 0)
        rc = put_section(w, slice_of_buf(&w->raw), &w->form);
    w->info.index_len = wal_offset(w) - w->info.index_offset;
    return rc;
}

static int put_properties(struct wal_sst *w)
{
    int rc = sst_collect_end(&w->collect, &w->raw);

    if (rc != 0)
        return rc == SHALE_END ? 0 : rc;
    return properties_encode(slice_of_buf(&w->raw), &w->form, &w->scratch, w->out);
}

static int put_end(struct wal_sst *w)
{
    struct sst_trailer t = { .info_offset = wal_offset(w), .version = BLOCK_V2 };
    uint8_t bytes[SST_TRAILER_LEN];
    int rc;

    buf_clear(&w->raw);
    rc = sst_info_encode(&w->info, &w->raw);
    if (rc == 0)
        rc = put_section(w, slice_of_buf(&w->raw), &section_plain);
    if (rc < 0)
        return rc;
    sst_trailer_encode(&t, bytes);
    return shale_buf_append(w->out, bytes, sizeof(bytes));
}

/* On failure out is as it was, so that a retry may append to it again. */
int wal_sst_encode(const struct sst_format *format, const struct shale_row *const *rows, size_t n,
                   struct shale_buf *out)
{
    struct wal_sst w;
    int rc = 0;

    if (n == 0)
        return err_set(-EINVAL, "a WAL object without rows");
    wal_sst_init(&w, format, out);
    w.info.type = SST_WAL;
    rc = sst_collect_begin(&w.collect, format->collector, SHALE_SST_WAL);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_row(&w, rows[i], i == 0);
    if (rc == 0)
        rc = end_block(&w);
    if (rc == 0)
        rc = put_index(&w);
    if (rc == 0)
        rc = put_properties(&w);
    if (rc == 0)
        rc = put_end(&w);
    if (rc < 0)
        out->len = w.start;
    wal_sst_fini(&w);
    return rc;
}

/* As SlateDB makes it: an SST of the compacted kind, with stats, but without a row. */
int wal_fence_encode(const struct sst_format *format, struct shale_buf *out)
{
    const struct sst_stats none = { 0 };
    struct wal_sst w;
    int rc;

    wal_sst_init(&w, format, out);
    w.info.type = SST_COMPACTED;
    rc = put_index(&w);
    w.info.stats_offset = wal_offset(&w);
    buf_clear(&w.raw);
    if (rc == 0)
        rc = sst_stats_encode(&none, &w.raw);
    if (rc == 0)
        rc = put_section(&w, slice_of_buf(&w.raw), &w.form);
    w.info.stats_len = wal_offset(&w) - w.info.stats_offset;
    if (rc == 0)
        rc = put_end(&w);
    if (rc < 0)
        out->len = w.start;
    wal_sst_fini(&w);
    return rc;
}
