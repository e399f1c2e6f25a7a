/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_ROW_H
#define FORMAT_ROW_H

#include "base/bytes.h"
#include "base/slice.h"

/*
 * One row as it lies in a data block (storage format sections 3.3-3.5), all integers big-endian.
 *   V2  varint shared | varint unshared | varint value_len | suffix | value | u64 seq | u8 flags | i64 expire?
 *       | i64 create?
 *   V0  u16 shared | u16 suffix_len | suffix | u64 seq | u8 flags | i64 expire? | i64 create? | u32 value_len, value
 *       (the last two not for tombstones)
 * shared counts leading bytes of another key: in V2 the key of the row before, in V0 the first key of the block.
 * Source: SlateDB 0.12.1, format/row.rs, row_codec_v2.rs.
 *
 * Pure functions on memory the caller has checked or bounded: writers are given room, readers an end they never pass.
 * Flags that contradict each other are refused, as SlateDB refuses them (storage format 3.3). V2, the codec of all that
 * is written, is inlined into block builder and iterator, since every row of every scan and compaction comes by here.
 */

/* A decoded row whose key is not put together yet. Everything is borrowed from the block. */
struct row_parts {
    size_t shared;
    struct shale_slice suffix;
    struct shale_row row; /* all but key */
};

enum row_flags {
    ROW_TOMBSTONE = 0x01,
    ROW_HAS_EXPIRE = 0x02,
    ROW_HAS_CREATE = 0x04,
    ROW_MERGE = 0x08,
    ROW_KNOWN = 0x0f,
};

#define ROW_SEQ_FLAGS_LEN 9

/*
 * A tombstone never has an expiry in the file: it does not expire, and under merge operands SlateDB's scans would
 * take it into the expiry of the result (storage format 3.7).
 */
static inline uint8_t row_flags_of(const struct shale_row *row)
{
    unsigned f = 0;

    if (row->kind == SHALE_TOMBSTONE)
        f |= ROW_TOMBSTONE;
    else if (row->expire_ts != SHALE_NO_TS)
        f |= ROW_HAS_EXPIRE;
    if (row->create_ts != SHALE_NO_TS)
        f |= ROW_HAS_CREATE;
    if (row->kind == SHALE_MERGE)
        f |= ROW_MERGE;
    return (uint8_t)f;
}

/* Bytes that the rest of a row takes beside lengths, key and value. */
static inline size_t row_fixed_len(const struct shale_row *row)
{
    size_t expire = row->expire_ts != SHALE_NO_TS && row->kind != SHALE_TOMBSTONE ? 8 : 0;
    size_t create = row->create_ts != SHALE_NO_TS ? 8 : 0;

    return ROW_SEQ_FLAGS_LEN + expire + create;
}

static inline size_t row_value_len(const struct shale_row *row)
{
    return row->kind == SHALE_TOMBSTONE ? 0 : row->value.len;
}

static inline uint8_t *row_put_bytes(uint8_t *p, const uint8_t *from, size_t n)
{
    if (n)
        memcpy(p, from, n);
    return p + n;
}

static inline uint8_t *row_put_fixed(uint8_t *p, const struct shale_row *row)
{
    uint8_t flags = row_flags_of(row);

    put_u64be(p, row->seq);
    p[8] = flags;
    p += ROW_SEQ_FLAGS_LEN;
    if (flags & ROW_HAS_EXPIRE) {
        put_u64be(p, (uint64_t)row->expire_ts);
        p += 8;
    }
    if (flags & ROW_HAS_CREATE) {
        put_u64be(p, (uint64_t)row->create_ts);
        p += 8;
    }
    return p;
}

/* Sequence number, flags and times at p. */
static inline const uint8_t *row_get_fixed(const uint8_t *p, const uint8_t *end, struct shale_row *row)
{
    size_t left = (size_t)(end - p);
    unsigned flags;

    if (left < ROW_SEQ_FLAGS_LEN)
        return NULL;
    row->seq = get_u64be(p);
    flags = p[8];
    p += ROW_SEQ_FLAGS_LEN;
    left -= ROW_SEQ_FLAGS_LEN;
    if ((flags & ~(unsigned)ROW_KNOWN) || (flags & (ROW_TOMBSTONE | ROW_MERGE)) == (ROW_TOMBSTONE | ROW_MERGE))
        return NULL;
    row->kind = flags & ROW_TOMBSTONE ? SHALE_TOMBSTONE : flags & ROW_MERGE ? SHALE_MERGE : SHALE_PUT;
    row->expire_ts = SHALE_NO_TS;
    row->create_ts = SHALE_NO_TS;
    if (flags & ROW_HAS_EXPIRE) {
        if (left < 8)
            return NULL;
        row->expire_ts = (int64_t)get_u64be(p);
        p += 8;
        left -= 8;
    }
    if (flags & ROW_HAS_CREATE) {
        if (left < 8)
            return NULL;
        row->create_ts = (int64_t)get_u64be(p);
        p += 8;
    }
    return p;
}

/* Both parts are bounded before they are added. A key without bytes is no key of any row. */
static inline bool row_key_len_ok(size_t shared, size_t unshared)
{
    size_t len = shared + unshared;

    return shared <= SHALE_KEY_MAX && unshared <= SHALE_KEY_MAX && len >= 1 && len <= SHALE_KEY_MAX;
}

/*
 * Encoded length and encoder for a key that shares that many bytes. Sizes were checked: keys up to SHALE_KEY_MAX,
 * values up to SHALE_VALUE_MAX. The expiry of a tombstone is left out (section 3.7). write returns the byte behind
 * the row.
 */
static inline size_t row_v2_len(const struct shale_row *row, size_t shared)
{
    size_t unshared = row->key.len - shared;
    size_t vlen = row_value_len(row);

    return varint32_len((uint32_t)shared) + varint32_len((uint32_t)unshared) + varint32_len((uint32_t)vlen) + unshared +
           vlen + row_fixed_len(row);
}

static inline uint8_t *row_v2_write(uint8_t *p, const struct shale_row *row, size_t shared)
{
    size_t unshared = row->key.len - shared;
    size_t vlen = row_value_len(row);

    p += put_varint32(p, (uint32_t)shared);
    p += put_varint32(p, (uint32_t)unshared);
    p += put_varint32(p, (uint32_t)vlen);
    p = row_put_bytes(p, row->key.data + shared, unshared);
    p = row_put_bytes(p, row->value.data, vlen);
    return row_put_fixed(p, row);
}

/* The three lengths of a V2 row; nearly always a byte for each part of the key, and one or two for the value. */
static inline const uint8_t *row_v2_get_lens(const uint8_t *p, const uint8_t *end, uint32_t len[3])
{
    if (end - p >= 4 && ((p[0] | p[1]) & 0x80) == 0 && (p[2] & p[3] & 0x80) == 0) {
        len[0] = p[0];
        len[1] = p[1];
        len[2] = p[2] & 0x7f;
        if (!(p[2] & 0x80))
            return p + 3;
        len[2] |= (uint32_t)p[3] << 7;
        return p + 4;
    }
    for (int i = 0; i < 3; i++) {
        size_t n = get_varint32(p, end, &len[i]);

        if (n == 0)
            return NULL;
        p += n;
    }
    return p;
}

/*
 * Decode the row at p, which must end at or before end. Returns the byte behind it; NULL when a length passes end, the
 * flags are not valid or the key has not 1..SHALE_KEY_MAX bytes. Whether shared fits the other key is for the caller.
 */
static inline const uint8_t *row_v2_read(const uint8_t *p, const uint8_t *end, struct row_parts *out)
{
    uint32_t len[3];
    size_t left;

    p = row_v2_get_lens(p, end, len);
    if (!p || !row_key_len_ok(len[0], len[1]))
        return NULL;
    left = (size_t)(end - p);
    if (len[1] > left || len[2] > left - len[1])
        return NULL;
    out->shared = len[0];
    out->suffix = slice_of(p, len[1]);
    p += len[1];
    out->row.value = slice_of(p, len[2]);
    p = row_get_fixed(p + len[2], end, &out->row);
    if (p && out->row.kind == SHALE_TOMBSTONE)
        out->row.value.len = 0;
    return p;
}

/* The same of V0. */
size_t row_v0_len(const struct shale_row *row, size_t shared);
uint8_t *row_v0_write(uint8_t *p, const struct shale_row *row, size_t shared);
const uint8_t *row_v0_read(const uint8_t *p, const uint8_t *end, struct row_parts *out);

/* Length of the longest common prefix, eight bytes at a time. */
static inline size_t row_key_common(struct shale_slice a, struct shale_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    size_t i = 0;

    while (n - i >= 8) {
        uint64_t diff = get_u64le(a.data + i) ^ get_u64le(b.data + i);

        if (diff)
            return i + (size_t)__builtin_ctzll(diff) / 8;
        i += 8;
    }
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

#endif
