/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_ROW_H
#define FORMAT_ROW_H

#include "base/slice.h"

/*
 * One row as it lies in a data block (storage format sections 3.3-3.5), all integers big-endian.
 *   V2  varint shared | varint unshared | varint value_len | suffix | value | u64 seq | u8 flags | i64 expire?
 *       | i64 create?
 *   V0  u16 shared | u16 suffix_len | suffix | u64 seq | u8 flags | i64 expire? | i64 create? | u32 value_len, value
 *       (the last two not for tombstones)
 * shared counts leading bytes of another key: in V2 the key of the row before, in V0 the first key of the block.
 * Source: SlateDB 0.12.1, format/row.rs, row_codec_v2.rs.
 */

/* A decoded row whose key is not put together yet. Everything is borrowed from the block. */
struct row_parts {
    size_t shared;
    struct shale_slice suffix;
    struct shale_row row; /* all but key */
};

/* Bytes that the rest of a row takes beside lengths, key and value. */
size_t row_fixed_len(const struct shale_row *row);

/*
 * Encoded length and encoder for a key that shares that many bytes. Sizes were checked: keys up to SHALE_KEY_MAX,
 * values up to SHALE_VALUE_MAX. The expiry of a tombstone is left out (section 3.7). write returns the byte behind
 * the row.
 */
size_t row_v2_len(const struct shale_row *row, size_t shared);
uint8_t *row_v2_write(uint8_t *p, const struct shale_row *row, size_t shared);
size_t row_v0_len(const struct shale_row *row, size_t shared);
uint8_t *row_v0_write(uint8_t *p, const struct shale_row *row, size_t shared);

/*
 * Decode the row at p, which must end at or before end. Returns the byte behind it; NULL when a length passes end, the
 * flags are not valid or the key has not 1..SHALE_KEY_MAX bytes. Whether shared fits the other key is for the caller.
 */
const uint8_t *row_v2_read(const uint8_t *p, const uint8_t *end, struct row_parts *out);
const uint8_t *row_v0_read(const uint8_t *p, const uint8_t *end, struct row_parts *out);

/* Length of the longest common prefix, eight bytes at a time. */
size_t row_key_common(struct shale_slice a, struct shale_slice b);

#endif
