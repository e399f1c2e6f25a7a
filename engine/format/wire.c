/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables that occur in several objects: 128-bit ids, lists of them, SST info. Slot numbers are those of
 * the schemas of SlateDB 0.12.1 (storage format 5.3) and must never change. Fields are written in the
 * order in which its generated code writes them, so that equal models give equal bytes.
 */

#include "format/wire.h"

#include "base/alloc.h"

#include <errno.h>

enum { SLOT_HIGH, SLOT_LOW };
enum {
    INFO_FIRST, INFO_INDEX_OFFSET, INFO_INDEX_LEN, INFO_FILTER_OFFSET, INFO_FILTER_LEN, INFO_CODEC, INFO_TYPE,
    INFO_LAST, INFO_STATS_OFFSET, INFO_STATS_LEN, INFO_FILTER_FORMAT,
};

struct shale_ulid wire_get_ulid(struct fb_reader *r, const struct fb_table *t)
{
    return (struct shale_ulid){ .hi = fb_u64(r, t, SLOT_HIGH, 0), .lo = fb_u64(r, t, SLOT_LOW, 0) };
}

static fb_ref put_128(struct fb_builder *b, uint64_t hi, uint64_t lo)
{
    fb_begin(b);
    fb_add_u64(b, SLOT_LOW, lo, 0);
    fb_add_u64(b, SLOT_HIGH, hi, 0);
    return fb_end(b);
}

fb_ref wire_put_ulid(struct fb_builder *b, struct shale_ulid id)
{
    return put_128(b, id.hi, id.lo);
}

struct shale_uuid wire_get_uuid(struct fb_reader *r, const struct fb_table *t)
{
    return (struct shale_uuid){ .hi = fb_u64(r, t, SLOT_HIGH, 0), .lo = fb_u64(r, t, SLOT_LOW, 0) };
}

fb_ref wire_put_uuid(struct fb_builder *b, struct shale_uuid id)
{
    return put_128(b, id.hi, id.lo);
}

int wire_get_ulids(struct fb_reader *r, const struct fb_vector *v, struct shale_ulid **out, size_t *n)
{
    if (r->rc != 0 || v->n == 0)
        return r->rc;
    *out = mem_calloc(v->n, sizeof(**out));
    if (!*out)
        return fb_nomem(r);
    *n = v->n;
    for (uint32_t i = 0; i < v->n && r->rc == 0; i++) {
        struct fb_table t = fb_table_at(r, v, i);

        (*out)[i] = wire_get_ulid(r, &t);
    }
    return r->rc;
}

fb_ref *wire_refs(struct fb_builder *b, size_t n)
{
    fb_ref *refs = b->rc == 0 ? mem_calloc(n, sizeof(*refs)) : NULL;

    if (!refs && b->rc == 0)
        b->rc = -ENOMEM;
    return refs;
}

fb_ref wire_put_ulids(struct fb_builder *b, const struct shale_ulid *ids, size_t n)
{
    fb_ref *refs = wire_refs(b, n);
    fb_ref out;

    if (!refs)
        return 0;
    for (size_t i = 0; i < n; i++)
        refs[i] = wire_put_ulid(b, ids[i]);
    out = fb_put_refs(b, refs, n);
    mem_free(refs);
    return out;
}

/* An optional key of at most SHALE_KEY_MAX bytes. */
static bool get_key(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct shale_buf *out)
{
    struct shale_slice s;

    if (!fb_bytes(r, t, slot, &s))
        return false;
    if (s.len > SHALE_KEY_MAX)
        fb_fail(r, SHALE_ECORRUPT, "a key is longer than 65535 bytes");
    else if (buf_set(out, s) < 0)
        fb_nomem(r);
    return r->rc == 0;
}

/*
 * So that later sums (sst_handle_size, ends of sections) need no check. Whether the object is that long
 * only reading it tells.
 */
static void check_section(struct fb_reader *r, uint64_t offset, uint64_t len)
{
    if (len > UINT64_MAX - offset)
        fb_fail(r, SHALE_ECORRUPT, "the offset and length of a section overflow");
}

int wire_get_info(struct fb_reader *r, const struct fb_table *t, struct sst_info *out)
{
    uint8_t codec = fb_u8(r, t, INFO_CODEC, 0);
    uint8_t type = fb_u8(r, t, INFO_TYPE, 0);

    out->has_first = get_key(r, t, INFO_FIRST, &out->first);
    out->has_last = get_key(r, t, INFO_LAST, &out->last);
    out->index_offset = fb_u64(r, t, INFO_INDEX_OFFSET, 0);
    out->index_len = fb_u64(r, t, INFO_INDEX_LEN, 0);
    out->filter_offset = fb_u64(r, t, INFO_FILTER_OFFSET, 0);
    out->filter_len = fb_u64(r, t, INFO_FILTER_LEN, 0);
    out->stats_offset = fb_u64(r, t, INFO_STATS_OFFSET, 0);
    out->stats_len = fb_u64(r, t, INFO_STATS_LEN, 0);
    out->filter_format = fb_u8(r, t, INFO_FILTER_FORMAT, 0);
    out->codec = (enum shale_codec)codec;
    out->type = (enum sst_type)type;
    check_section(r, out->index_offset, out->index_len);
    check_section(r, out->filter_offset, out->filter_len);
    check_section(r, out->stats_offset, out->stats_len);
    if (type > SST_WAL || out->filter_format > 1)
        fb_fail(r, SHALE_ECORRUPT, "unknown SST type or filter format");
    if (codec > SHALE_CODEC_ZSTD)
        fb_fail(r, SHALE_EVERSION, "unknown compression codec");
    return r->rc;
}

fb_ref wire_put_info(struct fb_builder *b, const struct sst_info *i)
{
    fb_ref first = i->has_first ? fb_put_bytes(b, slice_of_buf(&i->first)) : 0;
    fb_ref last = i->has_last ? fb_put_bytes(b, slice_of_buf(&i->last)) : 0;

    fb_begin(b);
    fb_add_u64(b, INFO_STATS_LEN, i->stats_len, 0);
    fb_add_u64(b, INFO_STATS_OFFSET, i->stats_offset, 0);
    fb_add_u64(b, INFO_FILTER_LEN, i->filter_len, 0);
    fb_add_u64(b, INFO_FILTER_OFFSET, i->filter_offset, 0);
    fb_add_u64(b, INFO_INDEX_LEN, i->index_len, 0);
    fb_add_u64(b, INFO_INDEX_OFFSET, i->index_offset, 0);
    fb_add_ref(b, INFO_LAST, last);
    fb_add_ref(b, INFO_FIRST, first);
    fb_add_u8(b, INFO_FILTER_FORMAT, i->filter_format, 0);
    fb_add_u8(b, INFO_TYPE, (uint8_t)i->type, 0);
    fb_add_u8(b, INFO_CODEC, (uint8_t)i->codec, 0);
    return fb_end(b);
}
