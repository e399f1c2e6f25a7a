/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the properties of an SST (format/properties.h). The manifest's copy of the info tells where its sections end,
 * and nothing where the properties do: what lies behind the sections is read whole, and taken apart from its end:
 *   sections end | properties, or nothing, or what somebody else put there | info | trailer |
 * The checksum of the info is looked at, though it is not needed: it vouches for the trailer's offset, without which
 * properties might seem to be none.
 */

#include "sst/table_store.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "format/properties.h"

#include <errno.h>

/* An info section has two keys and some numbers. What is longer than this and properties is none of ours. */
#define TAIL_MAX (PROPERTIES_STORED_MAX + PROPERTIES_TRAILER_LEN + ((size_t)1 << 20))

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Where the last section ends. The sums were looked at when the info was read, but not in every manifest. */
static int sections_end(const struct sst_info *i, uint64_t *end)
{
    *end = max_u64(max_u64(i->filter_offset + i->filter_len, i->index_offset + i->index_len),
                   i->stats_offset + i->stats_len);
    return *end < i->filter_len || *end < i->index_len || *end < i->stats_len ? SHALE_ECORRUPT : 0;
}

/* The gap between sections and info; tail begins with it. */
static int find_gap(struct sst_part *part, struct shale_slice tail, uint64_t tail_offset, struct shale_slice *gap)
{
    uint64_t object_len = tail_offset + tail.len;
    struct sst_trailer trailer;
    struct sst_info info;
    size_t at;
    int rc;

    if (tail.len < SST_TRAILER_LEN)
        return part_err(SHALE_ECORRUPT, part, "the object ends with its sections");
    err_clear();
    rc = sst_trailer_decode(tail.data + tail.len - SST_TRAILER_LEN, object_len, &trailer);
    if (rc < 0)
        return part_err_add(rc, part);
    if (trailer.info_offset < tail_offset)
        return part_err(SHALE_ECORRUPT, part, "the info section lies before the end of the others");
    at = (size_t)(trailer.info_offset - tail_offset);
    part->offset = trailer.info_offset;
    rc = section_info_decode(part, slice_of(tail.data + at, tail.len - SST_TRAILER_LEN - at), &info);
    if (rc < 0)
        return rc;
    sst_info_fini(&info);
    *gap = slice_of(tail.data, at);
    return 0;
}

static int decode(const char *name, struct shale_slice tail, uint64_t tail_offset, const struct section_form *form,
                  struct shale_buf *out)
{
    struct sst_part part = { .object = name, .kind = "info", .offset = tail_offset };
    struct shale_slice gap, stored, payload;
    int rc = find_gap(&part, tail, tail_offset, &gap);

    if (rc < 0)
        return rc;
    part = (struct sst_part){ .object = name, .kind = "properties", .offset = tail_offset };
    err_clear();
    rc = properties_find(gap, &stored);
    if (rc <= 0)
        return rc < 0 ? part_err_add(rc, &part) : 0;
    rc = payload_decode(&part, stored, form, SHALE_PROPERTIES_MAX, out, &payload);
    if (rc == 0 && payload.len > SHALE_PROPERTIES_MAX)
        rc = part_err(SHALE_ECORRUPT, &part, "they are longer than they may be");
    if (rc == 0 && payload.data != out->data)
        rc = buf_set(out, payload);
    return rc < 0 ? rc : 1;
}

/* HEAD and one range. */
static int read_once(struct shale_store *store, const char *name, const struct sst_info *info,
                     const struct section_form *form, struct shale_buf *out)
{
    struct shale_buf tail = SHALE_BUF_INIT;
    struct shale_object_meta meta;
    uint64_t end;
    int rc = shale_store_head(store, name, &meta);

    if (rc == -ENOENT)
        return err_set(-ESTALE, "%s: the object is gone", name);
    if (rc < 0)
        return rc;
    if (sections_end(info, &end) < 0 || end >= meta.size)
        return err_set(SHALE_ECORRUPT, "%s: of %llu bytes, and its sections end at %llu", name,
                       (unsigned long long)meta.size, (unsigned long long)end);
    if (meta.size - end > TAIL_MAX)
        return 0;
    rc = shale_store_get_range(store, name, end, meta.size - end, &tail);
    if (rc == 0)
        rc = decode(name, slice_of_buf(&tail), end, form, out);
    else if (rc == -ENOENT)
        rc = err_set(-ESTALE, "%s: the object is gone", name);
    shale_buf_fini(&tail);
    return rc;
}

static int read_object(struct shale_store *store, const char *name, const struct sst_info *info,
                       const struct section_form *form, struct shale_buf *out)
{
    struct reread again = REREAD_INIT;
    int rc;

    do
        rc = read_once(store, name, info, form, out);
    while (reread_due(&again, rc));
    return rc;
}

int table_properties_read(struct table_store *ts, const struct sst_source *src, struct shale_buf *out)
{
    const struct sst_info *info = &src->sst->info;
    const struct section_form form = { info->codec, ts->format.transformer };
    struct shale_buf name = SHALE_BUF_INIT, blob = SHALE_BUF_INIT;
    int rc;

    if (src->is_wal && info->index_len == 0)
        return 0; /* an object of no bytes, by which later versions of SlateDB fence */
    rc = src->is_wal ? table_store_wal_name(ts, src->wal_id, &name) : table_store_sst_name(ts, src->sst->id, &name);
    if (rc == 0)
        rc = read_object(src->is_wal ? ts->wal_store : ts->store, (const char *)name.data, info, &form, &blob);
    if (rc == 1) {
        struct shale_buf old = *out;

        *out = blob;
        blob = old;
    }
    shale_buf_fini(&blob);
    shale_buf_fini(&name);
    return rc;
}
