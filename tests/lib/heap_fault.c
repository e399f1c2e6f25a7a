/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

/* Allocations until the failing one; 0 when nothing is to fail. */
static atomic_uint left;
static atomic_bool failed;
static _Thread_local bool spared;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void heap_fault_after(unsigned n)
{
    atomic_store(&failed, false);
    atomic_store(&left, n);
}

bool heap_fault_off(void)
{
    atomic_store(&left, 0);
    return atomic_load(&failed);
}

void heap_fault_spare(void)
{
    spared = true;
}

static bool fails(void)
{
    unsigned n = spared ? 0 : atomic_load(&left);

    while (n > 0 && !atomic_compare_exchange_weak(&left, &n, n - 1))
        ;
    if (n != 1)
        return false;
    atomic_store(&failed, true);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}
