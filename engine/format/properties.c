/* SPDX-License-Identifier: Apache-2.0 */
#include "format/properties.h"

#include "base/crc32.h"
#include "base/err.h"

#include <errno.h>

#define MAGIC_LEN 8
#define CRC_LEN 4
#define LEN_LEN 4

static const uint8_t magic[MAGIC_LEN] = { 's', 'h', 'a', 'l', 'e', 'p', 'r', '1' };

int properties_seal(struct shale_buf *out, size_t start)
{
    size_t len = out->len - start;
    int rc;

    if (len > PROPERTIES_STORED_MAX)
        return err_set(-E2BIG, "properties of %zu bytes, stored; at most %zu", len, PROPERTIES_STORED_MAX);
    rc = buf_put_u32be(out, (uint32_t)len);
    if (rc == 0)
        rc = buf_put_u32be(out, crc32_of(slice_of(out->data + start, len + LEN_LEN)));
    return rc < 0 ? rc : shale_buf_append(out, magic, sizeof(magic));
}

/* The checksum is made only of a gap whose length is right: a long one of somebody else's costs nothing. */
int properties_find(struct shale_slice gap, struct shale_slice *stored)
{
    const uint8_t *end;
    bool has_magic, has_len, has_crc;
    size_t len;

    if (gap.len < PROPERTIES_TRAILER_LEN || gap.len > PROPERTIES_STORED_MAX + PROPERTIES_TRAILER_LEN)
        return 0;
    end = gap.data + gap.len;
    len = gap.len - PROPERTIES_TRAILER_LEN;
    has_magic = memcmp(end - MAGIC_LEN, magic, MAGIC_LEN) == 0;
    has_len = get_u32be(end - PROPERTIES_TRAILER_LEN) == len;
    if (!has_magic && !has_len)
        return 0;
    has_crc = crc32_of(slice_of(gap.data, len + LEN_LEN)) == get_u32be(end - MAGIC_LEN - CRC_LEN);
    if (!has_magic && !has_crc)
        return 0;
    if (!has_len)
        return err_set(SHALE_ECORRUPT, "their length is not that of their place");
    if (!has_crc)
        return err_set(SHALE_ECORRUPT, "checksum mismatch");
    if (!has_magic)
        return err_set(SHALE_ECORRUPT, "unknown magic behind a good checksum");
    *stored = slice_of(gap.data, len);
    return 1;
}
