/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HEAP_FAULT_H
#define TESTS_HEAP_FAULT_H

#include <stdbool.h>

/*
 * Makes allocations fail. A program that uses this lists heap_fault.c among its sources and links with
 * $(HEAP_FAULT_WRAP), so that malloc, calloc and realloc of the engine and the test come by here.
 *
 *     for (unsigned n = 1;; n++) {
 *         heap_fault_after(n);
 *         rc = thing();
 *         if (!heap_fault_off())
 *             break;                      (ran through untouched: rc is the real result)
 *         assert_int_equal(rc, -ENOMEM);
 *     }
 */

/* The n-th allocation from now on fails, once; n counts from 1. */
void heap_fault_after(unsigned n);
/* No failure any more; whether there was one since heap_fault_after. */
bool heap_fault_off(void);
/* The calling thread is not the one that is tested: its allocations neither count nor fail. */
void heap_fault_spare(void);

#endif
