/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections, the unit in which an SST is stored and checked:
 *   payload, perhaps compressed, then perhaps transformed by the application | u32be CRC-32 of these bytes
 * The checksum covers the stored form and is checked before a decompressor or the application sees
 * the bytes: these are then corrupt only if they were written so.
 */

#include "sst/sst_section.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crc32.h"
#include "base/err.h"
#include "format/compress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* The largest block holds one row of 4 GiB; an index, filter or stats section stays far below. */
#define RAW_MAX (((uint64_t)1 << 32) + ((uint64_t)1 << 20))

static void part_text(const struct sst_part *p, char *out, size_t size)
{
    if (strcmp(p->kind, "block") == 0)
        snprintf(out, size, "%s: block %zu at %" PRIu64, p->object, p->number, p->offset);
    else
        snprintf(out, size, "%s: %s at %" PRIu64, p->object, p->kind, p->offset);
}

int part_err(int rc, const struct sst_part *part, const char *what)
{
    char text[512];

    part_text(part, text, sizeof(text));
    return err_set(rc, "%s: %s", text, what);
}

int part_err_add(int rc, const struct sst_part *part)
{
    char text[512];

    if (rc == -ENOMEM)
        return part_err(rc, part, "out of memory"); /* this leaves no sentence, and there may be an old one */
    part_text(part, text, sizeof(text));
    return err_add(rc, "%s", text);
}

/*
 * How long the raw form can be. A zstd frame says its length itself, and room is made for it at its word; but four
 * bytes, a block that repeats one byte, make no more than 128 KiB. The other codecs look after themselves.
 */
static size_t raw_bound(enum shale_codec codec, size_t len)
{
    size_t bound = codec == SHALE_CODEC_ZSTD ? size_mul(len / 4 + 1, (size_t)128 << 10) : SIZE_MAX;

    return bound < RAW_MAX ? bound : (size_t)RAW_MAX;
}

/* A section of no bytes does not exist: even an empty index has a root. */
int section_check(const struct sst_part *part, struct shale_slice stored, struct shale_slice *payload)
{
    struct shale_slice p;

    if (stored.len <= SECTION_CRC_LEN)
        return part_err(SHALE_ECORRUPT, part, "too short");
    p = slice_of(stored.data, stored.len - SECTION_CRC_LEN);
    if (crc32_of(p) != get_u32be(stored.data + p.len))
        return part_err(SHALE_ECORRUPT, part, "checksum mismatch");
    *payload = p;
    return 0;
}

/*
 * What the application's decode made of p replaces out. Its -ENOMEM and SHALE_ETRANSIENT mean what ours mean; any other
 * error may be a wrong key as well as a damaged block, which only the application can tell.
 */
static int untransform(const struct sst_part *part, const struct shale_block_transformer *t, struct shale_slice p,
                       struct shale_buf *out)
{
    char what[128];
    int rc;

    buf_clear(out);
    rc = t->decode(t->ctx, p, out);
    if (rc == 0)
        return 0;
    snprintf(what, sizeof(what), "the block transformer cannot decode it: %s", shale_strerror(rc));
    return part_err(rc == -ENOMEM || rc == SHALE_ETRANSIENT ? rc : SHALE_EHOOK, part, what);
}

/* With both steps the bytes in between need a place of their own. */
int payload_decode(const struct sst_part *part, struct shale_slice p, const struct section_form *form, size_t max_len,
                   struct shale_buf *scratch, struct shale_slice *payload)
{
    bool is_compressed = form->codec != SHALE_CODEC_NONE;
    struct shale_buf between = SHALE_BUF_INIT;
    int rc = 0;

    if (form->transformer) {
        struct shale_buf *out = is_compressed ? &between : scratch;

        rc = untransform(part, form->transformer, p, out);
        p = slice_of_buf(out);
    }
    if (rc == 0 && is_compressed) {
        size_t bound = raw_bound(form->codec, p.len);

        err_clear();
        rc = codec_decompress(form->codec, p, bound < max_len ? bound : max_len, scratch);
        if (rc < 0)
            rc = part_err_add(rc, part);
        p = slice_of_buf(scratch);
    }
    shale_buf_fini(&between);
    if (rc == 0)
        *payload = p;
    return rc;
}

int section_decode(const struct sst_part *part, struct shale_slice stored, const struct section_form *form,
                   struct shale_buf *scratch, struct shale_slice *payload)
{
    struct shale_slice p;
    int rc = section_check(part, stored, &p);

    return rc < 0 ? rc : payload_decode(part, p, form, SIZE_MAX, scratch, payload);
}

int section_seal(struct shale_buf *out, size_t start)
{
    return buf_put_u32be(out, crc32_of(slice_of(out->data + start, out->len - start)));
}

/* Appends. Never lets a code through that callers would take for the store's. */
static int transform(const struct shale_block_transformer *t, struct shale_slice p, struct shale_buf *out)
{
    struct shale_buf made = SHALE_BUF_INIT;
    int rc = t->encode(t->ctx, p, &made);

    if (rc != 0)
        rc = err_set(SHALE_EHOOK, "the block transformer cannot encode %zu bytes: %s", p.len, shale_strerror(rc));
    else
        rc = buf_append_slice(out, slice_of_buf(&made));
    shale_buf_fini(&made);
    return rc;
}

int payload_encode(struct shale_slice raw, const struct section_form *form, struct shale_buf *scratch,
                   struct shale_buf *out)
{
    int rc;

    if (form->codec != SHALE_CODEC_NONE) {
        rc = codec_compress(form->codec, raw, scratch);
        if (rc < 0)
            return rc;
        raw = slice_of_buf(scratch);
    }
    return form->transformer ? transform(form->transformer, raw, out) : buf_append_slice(out, raw);
}

int section_encode(struct shale_slice raw, const struct section_form *form, struct shale_buf *scratch,
                   struct shale_buf *out)
{
    size_t start = out->len;
    int rc = payload_encode(raw, form, scratch, out);

    return rc < 0 ? rc : section_seal(out, start);
}

/*
 * The info section is the last one, so every other lies below its offset. Overlaps among them do
 * no harm.
 */
static bool info_fits(const struct sst_info *i, uint64_t end)
{
    return section_fits(i->index_offset, i->index_len, end) && section_fits(i->filter_offset, i->filter_len, end) &&
           section_fits(i->stats_offset, i->stats_len, end);
}

int section_info_decode(const struct sst_part *part, struct shale_slice stored, struct sst_info *out)
{
    struct sst_info info = { 0 };
    struct shale_slice payload;
    int rc = section_check(part, stored, &payload);

    if (rc < 0)
        return rc;
    err_clear();
    rc = sst_info_decode(payload, &info);
    if (rc < 0)
        return part_err_add(rc, part);
    if (!info_fits(&info, part->offset)) {
        sst_info_fini(&info);
        return part_err(SHALE_ECORRUPT, part, "a section lies behind it");
    }
    *out = info;
    return 0;
}
