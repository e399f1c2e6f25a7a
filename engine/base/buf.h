/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/bytes.h"
#include "base/slice.h"

/* Internal additions to the public growable buffer (shale/types.h). Nothing here shrinks or frees but buf_take. */

static inline void buf_clear(struct shale_buf *b)
{
    b->len = 0;
}

/*
 * Become a copy of s. 0 or -ENOMEM.
 * s must not lie in b: its bytes may move while they are copied.
 */
static inline int buf_set(struct shale_buf *b, struct shale_slice s)
{
    b->len = 0;
    if (s.len > b->cap)
        return shale_buf_append(b, s.data, s.len);
    if (s.len)
        memcpy(b->data, s.data, s.len);
    b->len = s.len;
    return 0;
}

static inline int buf_append_slice(struct shale_buf *b, struct shale_slice s)
{
    return shale_buf_append(b, s.data, s.len);
}

/* Make room for extra bytes, count them as used, and give the place to write them to; NULL when out of memory. */
uint8_t *buf_extend(struct shale_buf *b, size_t extra);

int buf_put_u8(struct shale_buf *b, uint8_t v);
int buf_put_u16be(struct shale_buf *b, uint16_t v);
int buf_put_u32be(struct shale_buf *b, uint32_t v);
int buf_put_u64be(struct shale_buf *b, uint64_t v);
int buf_put_varint32(struct shale_buf *b, uint32_t v);

/* Append formatted text, without the terminating NUL counted in len (one is kept behind it). 0 or -ENOMEM. */
int buf_printf(struct shale_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Hand the bytes over (moved to the caller, freed with free()) and become empty. */
static inline uint8_t *buf_take(struct shale_buf *b)
{
    uint8_t *p = b->data;

    *b = (struct shale_buf)SHALE_BUF_INIT;
    return p;
}

#endif
