/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Row codecs V2 (current) and V0 (SST version 1), to and from bytes; drawn in row.h. Pure functions on
 * memory the caller has checked or bounded: writers are given room, readers an end they never pass.
 * Flags that contradict each other are refused, as SlateDB refuses them (storage format 3.3).
 */

#include "format/row.h"

#include "base/bytes.h"

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
static uint8_t flags_of(const struct shale_row *row)
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

size_t row_fixed_len(const struct shale_row *row)
{
    size_t expire = row->expire_ts != SHALE_NO_TS && row->kind != SHALE_TOMBSTONE ? 8 : 0;
    size_t create = row->create_ts != SHALE_NO_TS ? 8 : 0;

    return ROW_SEQ_FLAGS_LEN + expire + create;
}

static size_t value_len(const struct shale_row *row)
{
    return row->kind == SHALE_TOMBSTONE ? 0 : row->value.len;
}

static uint8_t *put_bytes(uint8_t *p, const uint8_t *from, size_t n)
{
    if (n)
        memcpy(p, from, n);
    return p + n;
}

static uint8_t *put_fixed(uint8_t *p, const struct shale_row *row)
{
    uint8_t flags = flags_of(row);

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

size_t row_v2_len(const struct shale_row *row, size_t shared)
{
    size_t unshared = row->key.len - shared;
    size_t vlen = value_len(row);

    return varint32_len((uint32_t)shared) + varint32_len((uint32_t)unshared) + varint32_len((uint32_t)vlen) + unshared +
           vlen + row_fixed_len(row);
}

uint8_t *row_v2_write(uint8_t *p, const struct shale_row *row, size_t shared)
{
    size_t unshared = row->key.len - shared;
    size_t vlen = value_len(row);

    p += put_varint32(p, (uint32_t)shared);
    p += put_varint32(p, (uint32_t)unshared);
    p += put_varint32(p, (uint32_t)vlen);
    p = put_bytes(p, row->key.data + shared, unshared);
    p = put_bytes(p, row->value.data, vlen);
    return put_fixed(p, row);
}

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
    p = put_bytes(p + 4, row->key.data + shared, suffix_len);
    p = put_fixed(p, row);
    if (row->kind == SHALE_TOMBSTONE)
        return p;
    put_u32be(p, (uint32_t)row->value.len);
    return put_bytes(p + 4, row->value.data, row->value.len);
}

/* Sequence number, flags and times at p. */
static const uint8_t *get_fixed(const uint8_t *p, const uint8_t *end, struct shale_row *row)
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
static inline bool key_len_ok(size_t shared, size_t unshared)
{
    size_t len = shared + unshared;

    return shared <= SHALE_KEY_MAX && unshared <= SHALE_KEY_MAX && len >= 1 && len <= SHALE_KEY_MAX;
}

/*
 * The three lengths of a V2 row; nearly always three single bytes.
 * This is the hottest line of a scan: one test for the three continuation bits.
 */
static inline const uint8_t *get_lens(const uint8_t *p, const uint8_t *end, uint32_t len[3])
{
    if (end - p >= 3 && ((p[0] | p[1] | p[2]) & 0x80) == 0) {
        len[0] = p[0];
        len[1] = p[1];
        len[2] = p[2];
        return p + 3;
    }
    for (int i = 0; i < 3; i++) {
        size_t n = get_varint32(p, end, &len[i]);

        if (n == 0)
            return NULL;
        p += n;
    }
    return p;
}

const uint8_t *row_v2_read(const uint8_t *p, const uint8_t *end, struct row_parts *out)
{
    uint32_t len[3];
    size_t left;

    p = get_lens(p, end, len);
    if (!p || !key_len_ok(len[0], len[1]))
        return NULL;
    left = (size_t)(end - p);
    if (len[1] > left || len[2] > left - len[1])
        return NULL;
    out->shared = len[0];
    out->suffix = slice_of(p, len[1]);
    p += len[1];
    out->row.value = slice_of(p, len[2]);
    p = get_fixed(p + len[2], end, &out->row);
    if (p && out->row.kind == SHALE_TOMBSTONE)
        out->row.value.len = 0;
    return p;
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
    if (!key_len_ok(out->shared, suffix_len) || suffix_len > left - 4)
        return NULL;
    out->suffix = slice_of(p + 4, suffix_len);
    p = get_fixed(p + 4 + suffix_len, end, &out->row);
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

size_t row_key_common(struct shale_slice a, struct shale_slice b)
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
