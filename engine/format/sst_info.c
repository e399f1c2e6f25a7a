/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last two pieces of an SST: its info section, a FlatBuffer of which the manifest keeps a copy, and
 * the trailer, from which reading an object begins:
 *   ... | info FlatBuffer | u32be crc | u64be info_offset | u16be version |   end of the object
 */

#include "format/sst_info.h"

#include "base/alloc.h"
#include "base/err.h"
#include "format/wire.h"

#include <errno.h>

/* The info section holds at least a checksum and one byte. */
#define INFO_SECTION_MIN 5

void sst_info_fini(struct sst_info *i)
{
    shale_buf_fini(&i->first);
    shale_buf_fini(&i->last);
    *i = (struct sst_info){ 0 };
}

int sst_info_copy(struct sst_info *to, const struct sst_info *from)
{
    struct sst_info copy = *from;

    copy.first = copy.last = (struct shale_buf)SHALE_BUF_INIT;
    if (buf_set(&copy.first, slice_of_buf(&from->first)) < 0 || buf_set(&copy.last, slice_of_buf(&from->last)) < 0) {
        sst_info_fini(&copy);
        return -ENOMEM;
    }
    *to = copy;
    return 0;
}

int sst_info_encode(const struct sst_info *i, struct shale_buf *out)
{
    struct fb_builder b;
    int rc;

    fb_builder_init(&b);
    rc = fb_finish(&b, wire_put_info(&b, i), out);
    fb_builder_fini(&b);
    return rc;
}

int sst_info_decode(struct shale_slice in, struct sst_info *out)
{
    struct sst_info info = { 0 };
    struct fb_reader r;
    struct fb_table root;

    fb_reader_init(&r, in, "SST info", FB_MAX_TABLES);
    root = fb_root(&r);
    wire_get_info(&r, &root, &info);
    if (r.rc < 0)
        sst_info_fini(&info);
    else
        *out = info;
    return r.rc;
}

void sst_trailer_encode(const struct sst_trailer *t, uint8_t out[SST_TRAILER_LEN])
{
    put_u64be(out, t->info_offset);
    put_u16be(out + 8, t->version);
}

/* Bounds what it returns: behind a good trailer the info section lies whole inside the object. */
int sst_trailer_decode(const uint8_t in[SST_TRAILER_LEN], uint64_t object_len, struct sst_trailer *out)
{
    struct sst_trailer t = { .info_offset = get_u64be(in), .version = get_u16be(in + 8) };

    if (object_len < SST_TRAILER_LEN + INFO_SECTION_MIN)
        return err_set(SHALE_ECORRUPT, "an SST of %llu bytes is too short", (unsigned long long)object_len);
    if (t.version < 1 || t.version > SST_VERSION_MAX)
        return err_set(SHALE_EVERSION, "unknown SST version %u", t.version);
    if (t.info_offset > object_len - SST_TRAILER_LEN - INFO_SECTION_MIN)
        return err_set(SHALE_ECORRUPT, "the trailer of an SST points past its end");
    *out = t;
    return 0;
}
