/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growable bytes: the public shale_buf and what the engine adds. Capacity doubles and is only given
 * back by fini, so that an object that reuses its buffer stops allocating after the first few rounds.
 * Not safe for concurrent use.
 */

#include "base/buf.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int shale_buf_reserve(struct shale_buf *b, size_t extra)
{
    size_t need = size_add(b->len, extra);
    size_t cap = b->cap ? b->cap : 64;
    uint8_t *p;

    if (need <= b->cap)
        return 0;
    while (cap < need)
        cap = size_mul(cap, 2);
    p = mem_realloc(b->data, cap);
    if (!p)
        return -ENOMEM;
    b->data = p;
    b->cap = cap;
    return 0;
}

int shale_buf_append(struct shale_buf *b, const void *data, size_t len)
{
    int rc = shale_buf_reserve(b, len);

    if (rc < 0)
        return rc;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

void shale_buf_fini(struct shale_buf *b)
{
    mem_free(b->data);
    *b = (struct shale_buf)SHALE_BUF_INIT;
}

/*
 * At least one byte is reserved, so that even an empty extension of an empty buffer has an address to
 * return.
 */
uint8_t *buf_extend(struct shale_buf *b, size_t extra)
{
    uint8_t *p;

    if (shale_buf_reserve(b, extra ? extra : 1) < 0)
        return NULL;
    p = b->data + b->len;
    b->len += extra;
    return p;
}

int buf_put_u8(struct shale_buf *b, uint8_t v)
{
    return shale_buf_append(b, &v, 1);
}

int buf_put_u16be(struct shale_buf *b, uint16_t v)
{
    uint8_t t[2];

    put_u16be(t, v);
    return shale_buf_append(b, t, sizeof(t));
}

int buf_put_u32be(struct shale_buf *b, uint32_t v)
{
    uint8_t t[4];

    put_u32be(t, v);
    return shale_buf_append(b, t, sizeof(t));
}

int buf_put_u64be(struct shale_buf *b, uint64_t v)
{
    uint8_t t[8];

    put_u64be(t, v);
    return shale_buf_append(b, t, sizeof(t));
}

int buf_put_varint32(struct shale_buf *b, uint32_t v)
{
    uint8_t t[VARINT32_MAX_LEN];

    return shale_buf_append(b, t, put_varint32(t, v));
}

/*
 * Formats twice: once for the length, once in place. The NUL is written behind len, which lets the
 * result serve as a C string as long as nothing is appended.
 */
int buf_printf(struct shale_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n, rc;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -EINVAL;
    rc = shale_buf_reserve(b, (size_t)n + 1);
    if (rc < 0)
        return rc;
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}
