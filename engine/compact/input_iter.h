/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_INPUT_ITER_H
#define COMPACT_INPUT_ITER_H

#include "sst/table_store.h"

/*
 * What a compaction reads: every version of every key of all sources (R182 steps 2-5, R184). All borrowed while it is
 * used. A (key, sequence number) that two sources have comes out once, from the newer source.
 */
struct input_options {
    const struct sst_view *l0;     /* newest first */
    size_t n_l0;
    const struct sorted_run *runs; /* id descending */
    size_t n_runs;
    struct table_store *ts;
    int (*tick)(void *arg);        /* called before every INPUT_TICK_ROWSth row; an error ends the iteration with it */
    void *tick_arg;
};

#define INPUT_TICK_ROWS 256
/*
 * Bytes read ahead of the merge, shared out among the sources, so that many sources need no more memory than few; and
 * the most for one of them: what is read should still be in the processor's cache when it is decoded.
 */
#define INPUT_READ_AHEAD ((uint64_t)16 << 20)
#define INPUT_READ_MAX ((uint64_t)512 << 10)

int input_iter_new(const struct input_options *opt, struct iter **out);
/* Key and value bytes of the rows taken so far. */
uint64_t input_iter_bytes(const struct iter *it);

#endif
