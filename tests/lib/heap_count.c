/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_count.h"

#include <malloc.h>
#include <stdatomic.h>

static atomic_llong live, peak;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

void heap_count_begin(void)
{
    atomic_store(&live, 0);
    atomic_store(&peak, 0);
}

size_t heap_count_peak(void)
{
    return (size_t)atomic_load(&peak);
}

static void add(long long n)
{
    long long now = atomic_fetch_add(&live, n) + n;
    long long most = atomic_load(&peak);

    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now))
        ;
}

/* p is NULL after a failure, which has no size. */
static void *counted(void *p)
{
    add((long long)malloc_usable_size(p));
    return p;
}

void *__wrap_malloc(size_t n)
{
    return counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    long long before = (long long)malloc_usable_size(p);
    void *q = __real_realloc(p, n);

    if (q)
        add((long long)malloc_usable_size(q) - before);
    return q;
}

void __wrap_free(void *p)
{
    add(-(long long)malloc_usable_size(p));
    __real_free(p);
}
