/* SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_RUN_ITER_H
#define READ_RUN_ITER_H

#include "sst/sst_iter.h"

/*
 * Rows of a sorted run in range, in either order, opening one SST after the other (R131, H6). ts and run are borrowed.
 * Versions of a boundary key come newest first in both orders.
 */
int run_iter_new(struct table_store *ts, const struct sorted_run *run, const struct key_range *range,
                 const struct sst_iter_options *opt, struct iter **out);

/*
 * The SSTs *first..*end-1 of a run are those that can have a key of range; none when they are equal.
 * By bisection over the first keys of the views; nothing is read.
 */
void run_covering(const struct sorted_run *run, const struct key_range *range, size_t *first, size_t *end);
/* The same for one key, by one bisection. */
void run_find(const struct sorted_run *run, struct shale_slice key, size_t *first, size_t *end);

#endif
