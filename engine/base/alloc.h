/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Saturating size arithmetic: an overflow becomes SIZE_MAX, which no allocation satisfies. */
static inline size_t size_add(size_t a, size_t b)
{
    size_t r;

    return __builtin_add_overflow(a, b, &r) ? SIZE_MAX : r;
}

static inline size_t size_mul(size_t a, size_t b)
{
    size_t r;

    return __builtin_mul_overflow(a, b, &r) ? SIZE_MAX : r;
}

/*
 * malloc and its kin, refusing absurd sizes before the C library sees them. NULL when out of memory.
 * A size of 0 still gives a block of its own: NULL always means out of memory, and an empty list needs
 * no case of its own anywhere.
 */
static inline void *mem_alloc(size_t n)
{
    return n > PTRDIFF_MAX ? NULL : malloc(n ? n : 1);
}

static inline void *mem_zalloc(size_t n)
{
    return n > PTRDIFF_MAX ? NULL : calloc(1, n ? n : 1);
}

static inline void *mem_calloc(size_t n, size_t size)
{
    return mem_zalloc(size_mul(n, size));
}

static inline void *mem_realloc(void *p, size_t n)
{
    return n > PTRDIFF_MAX ? NULL : realloc(p, n ? n : 1);
}

/* A copy of len bytes with a NUL behind it. */
void *mem_dup(const void *p, size_t len);
char *mem_strdup(const char *s);

static inline void mem_free(void *p)
{
    free(p);
}

/*
 * Make room for at least n elements of size bytes in the array *data, which has room for *cap; grows by doubling.
 * 0 or -ENOMEM (nothing changed). data points to the array pointer, of whatever type.
 */
int vec_reserve(void *data, size_t *cap, size_t n, size_t size);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
