/* SPDX-License-Identifier: Apache-2.0 */
/* Row codec V0, of SST version 1, to and from bytes; drawn in row.h, where what it shares with V2 is. */

#include "format/row.h"

size_t row_v0_len(const struct shale_row *row, size_t shared)
{
    size_t value = row->kind == SHALE_TOMBSTONE ? 0 : 4 + row->value.len;

    return 4 + (row->key.len - shared) + row_fixed_len(row) + value;
}

uint8_t *row_v0_write(uint8_t *p, const struct shale_row *row, size_t shared)
{
    size_t suffix_len = row->key.len - shared;

    put_u16be(p, (uint16_t)shared);
    put_u16be(p + 2, (uint16_t)suffix_len);
    p = row_put_bytes(p + 4, row->key.data + shared, suffix_len);
    p = row_put_fixed(p, row);
    if (row->kind == SHALE_TOMBSTONE)
        return p;
    put_u32be(p, (uint32_t)row->value.len);
    return row_put_bytes(p + 4, row->value.data, row->value.len);
}

const uint8_t *row_v0_read(const uint8_t *p, const uint8_t *end, struct row_parts *out)
{
    size_t left = (size_t)(end - p);
    size_t suffix_len;
    uint32_t vlen;

    if (left < 4)
        return NULL;
    out->shared = get_u16be(p);
    suffix_len = get_u16be(p + 2);
    if (!row_key_len_ok(out->shared, suffix_len) || suffix_len > left - 4)
        return NULL;
    out->suffix = slice_of(p + 4, suffix_len);
    p = row_get_fixed(p + 4 + suffix_len, end, &out->row);
    if (!p)
        return NULL;
    out->row.value = slice_of(p, 0);
    if (out->row.kind == SHALE_TOMBSTONE) {
        out->row.expire_ts = SHALE_NO_TS; /* this codec drops it */
        return p;
    }
    if (end - p < 4)
        return NULL;
    vlen = get_u32be(p);
    p += 4;
    if (vlen > (size_t)(end - p))
        return NULL;
    out->row.value = slice_of(p, vlen);
    return p + vlen;
}
