/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <shale/types.h>
#include <stdbool.h>
#include <string.h>

/* Borrows: nothing is copied, and the bytes must outlive the slice. */
static inline struct shale_slice slice_of(const void *data, size_t len)
{
    return (struct shale_slice){ .data = data, .len = len };
}

static inline struct shale_slice slice_str(const char *s)
{
    return slice_of(s, strlen(s));
}

static inline struct shale_slice slice_of_buf(const struct shale_buf *b)
{
    return slice_of(b->data, b->len);
}

/* The bytes from pos on; pos must not pass the end. */
static inline struct shale_slice slice_from(struct shale_slice s, size_t pos)
{
    return slice_of(s.data ? s.data + pos : NULL, s.len - pos);
}

/* Unsigned bytewise order; a proper prefix sorts first. This is key order everywhere. */
static inline int slice_cmp(struct shale_slice a, struct shale_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;

    if (c != 0)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_eq(struct shale_slice a, struct shale_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_has_prefix(struct shale_slice s, struct shale_slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

/* Length of the longest common prefix. */
static inline size_t slice_common(struct shale_slice a, struct shale_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    size_t i = 0;

    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

#endif
