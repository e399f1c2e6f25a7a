/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HEAP_COUNT_H
#define TESTS_HEAP_COUNT_H

#include <stddef.h>

/*
 * Counts the bytes that are allocated. A program that uses this lists heap_count.c among its sources and links with
 * $(HEAP_COUNT_WRAP), so that malloc, calloc, realloc and free of the engine and the test come by here. What libraries
 * allocate by themselves is not seen.
 */

/* Begin anew: what is allocated now counts as nothing. */
void heap_count_begin(void);
/* The most bytes beyond that which were allocated at one time since then. */
size_t heap_count_peak(void);

#endif
