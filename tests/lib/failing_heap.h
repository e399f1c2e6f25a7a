/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAILING_HEAP_H
#define TESTS_FAILING_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Allocation that fails on the n-th call, for a program linked with FAILING_HEAP (tests/format.am), which sends
 * the allocations of the engine here. Included once in a program. One thread.
 */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long heap_left = -1; /* so many calls succeed; negative: all */

static bool heap_fails(void)
{
    return heap_left >= 0 && heap_left-- == 0;
}

/* Let the call after n more fail, and all later ones succeed. */
static void heap_fail_after(long n)
{
    heap_left = n;
}

/* Ends it; says whether an allocation did fail. */
static bool heap_failed(void)
{
    bool failed = heap_left < 0;

    heap_left = -1;
    return failed;
}

void *__wrap_malloc(size_t n)
{
    return heap_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return heap_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return heap_fails() ? NULL : __real_realloc(p, n);
}

#endif
