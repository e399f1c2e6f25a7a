/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIST_ITER_H
#define TESTS_LIST_ITER_H

#include "format/iter.h"

/*
 * An iterator over an array of rows, for tests of what consumes iterators. It sorts them (the bytes stay the caller's),
 * hands out copies that die with the next call, as the contract allows, and can fail. NULL when out of memory.
 */
struct iter *list_iter_new(const struct shale_row *rows, size_t n, enum iter_order order);
/* Keep the order of the array, whatever it is. */
struct iter *list_iter_new_unsorted(const struct shale_row *rows, size_t n);
/* The nth call of next and seek from now on (1 is the next one) gives rc. */
void list_iter_fail(struct iter *it, size_t nth, int rc);
/* Calls of next so far. */
size_t list_iter_calls(const struct iter *it);
/* Those not closed yet, of all. */
size_t list_iter_open_count(void);

#endif
