/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_WIRE_H
#define FS_CORE_WIRE_H

#include "base/bytes.h"
#include "base/slice.h"

#include <stdbool.h>

/*
 * What the records of fs/core are made of: unsigned LEB128 integers in their shortest form, signed ones folded to
 * unsigned (0, -1, 1, -2, ...), and big-endian integers of fixed width.
 *
 * A reader never passes its end. The first thing that does not fit makes it bad for good; from then on it yields zeros,
 * so that a decoder checks once, behind the last field.
 */
struct wire {
    const uint8_t *p, *end;
    bool bad;
};

#define VARINT64_MAX_LEN 10

static inline struct wire wire_of(struct shale_slice s)
{
    return (struct wire){ .p = s.data, .end = s.data ? s.data + s.len : s.data };
}

static inline size_t wire_left(const struct wire *w)
{
    return (size_t)(w->end - w->p);
}

/* The next n bytes, borrowed; NULL when there are fewer. */
static inline const uint8_t *wire_bytes(struct wire *w, uint64_t n)
{
    const uint8_t *p = w->p;

    if (w->bad || n > wire_left(w)) {
        w->bad = true;
        return NULL;
    }
    w->p += n;
    return p;
}

static inline uint8_t wire_u8(struct wire *w)
{
    const uint8_t *p = wire_bytes(w, 1);

    return p ? *p : 0;
}

static inline uint32_t wire_u32(struct wire *w)
{
    const uint8_t *p = wire_bytes(w, 4);

    return p ? get_u32be(p) : 0;
}

static inline uint64_t wire_u64(struct wire *w)
{
    const uint8_t *p = wire_bytes(w, 8);

    return p ? get_u64be(p) : 0;
}

/* One integer of at most max. A longer form than needed is bad, so that each value has one encoding. */
static inline uint64_t wire_varint(struct wire *w, uint64_t max)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < VARINT64_MAX_LEN; i++) {
        uint8_t b = wire_u8(w);

        if (i == VARINT64_MAX_LEN - 1 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (b & 0x80)
            continue;
        if (v > max || (b == 0 && i > 0))
            break;
        return w->bad ? 0 : v;
    }
    w->bad = true;
    return 0;
}

static inline int64_t wire_signed(struct wire *w)
{
    uint64_t v = wire_varint(w, UINT64_MAX);

    return (int64_t)(v >> 1 ^ -(v & 1));
}

/* Writers return the place behind what they wrote; the caller made room (VARINT64_MAX_LEN for an integer). */
static inline uint8_t *put_varint64(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static inline uint8_t *put_signed64(uint8_t *p, int64_t v)
{
    return put_varint64(p, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

#endif
