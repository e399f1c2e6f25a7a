/* SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_MERGE_ITER_H
#define READ_MERGE_ITER_H

#include "format/iter.h"

#include <stdbool.h>

/*
 * Merges children by key, then by sequence number descending, in both orders (R120-R124). Takes over the children
 * (moved, also on failure) and their array stays the caller's. dedup: after a value or tombstone the other
 * versions of its key are skipped. A (key, seq) that several children have (a WAL replayed over an L0) comes out
 * once.
 */
int merge_iter_new(struct iter **children, size_t n, enum iter_order order, bool dedup, struct iter **out);
/*
 * Tell a merge iterator, before the first row, that all keys of all children begin with the same n bytes, which it then
 * need not compare.
 */
void merge_iter_share(struct iter *it, size_t n);
/*
 * Key and value bytes of the rows taken so far.
 * Repetitions that were passed over count as well (R124). it must be a merge iterator.
 */
uint64_t merge_iter_bytes(const struct iter *it);

#endif
