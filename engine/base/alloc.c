/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that out-of-line code needs. Every size passes the saturating arithmetic of alloc.h, so
 * that a sum or product that overflows ends as -ENOMEM and never as a block that is too small.
 */

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

void *mem_dup(const void *p, size_t len)
{
    uint8_t *q = mem_alloc(size_add(len, 1));

    if (!q)
        return NULL;
    if (len)
        memcpy(q, p, len);
    q[len] = 0;
    return q;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s));
}

/*
 * The pointer is copied in and out by memcpy, as data stands for a T ** of any T: reading it through a
 * void ** would break the aliasing rules. Doubling makes n appends cost O(n) copies in all.
 */
int vec_reserve(void *data, size_t *cap, size_t n, size_t size)
{
    size_t want = *cap ? *cap : 8;
    void *p;

    if (n <= *cap)
        return 0;
    while (want < n)
        want = size_mul(want, 2);
    memcpy(&p, data, sizeof(p));
    p = mem_realloc(p, size_mul(want, size));
    if (!p)
        return -ENOMEM;
    memcpy(data, &p, sizeof(p));
    *cap = want;
    return 0;
}
