/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Loads and stores of fixed-width integers at any address. */

/*
 * By memcpy, which compiles to one load: encoded integers lie at any address, and a cast would be
 * undefined there. Big-endian is what SSTs, WAL objects and version numbers use, little-endian what
 * FlatBuffers and a few codecs do.
 */
static inline uint16_t get_u16be(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return be16toh(v); }
static inline uint32_t get_u32be(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }
static inline uint64_t get_u64be(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }
static inline uint16_t get_u16le(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return le16toh(v); }
static inline uint32_t get_u32le(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return le32toh(v); }
static inline uint64_t get_u64le(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return le64toh(v); }

static inline void put_u16be(uint8_t *p, uint16_t v) { v = htobe16(v); memcpy(p, &v, 2); }
static inline void put_u32be(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static inline void put_u64be(uint8_t *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }
static inline void put_u16le(uint8_t *p, uint16_t v) { v = htole16(v); memcpy(p, &v, 2); }
static inline void put_u32le(uint8_t *p, uint32_t v) { v = htole32(v); memcpy(p, &v, 4); }
static inline void put_u64le(uint8_t *p, uint64_t v) { v = htole64(v); memcpy(p, &v, 8); }

#define VARINT32_MAX_LEN 5

/* Unsigned LEB128. Writes 1..5 bytes and returns how many. */
static inline size_t put_varint32(uint8_t *p, uint32_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

static inline size_t varint32_len(uint32_t v)
{
    return v < 1u << 7 ? 1 : v < 1u << 14 ? 2 : v < 1u << 21 ? 3 : v < 1u << 28 ? 4 : 5;
}

/*
 * Reads one from p, not passing end. Returns its length, or 0 when it is cut short or does not fit 32 bits.
 * The fifth byte may carry four bits only. Longer forms of small numbers are accepted, as SlateDB does.
 */
static inline size_t get_varint32(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
    uint32_t v = 0;

    for (size_t i = 0; i < VARINT32_MAX_LEN && p + i < end; i++) {
        if (i == 4 && p[i] > 0x0f)
            return 0;
        v |= (uint32_t)(p[i] & 0x7f) << (7 * i);
        if (!(p[i] & 0x80)) {
            *out = v;
            return i + 1;
        }
    }
    return 0;
}

#endif
