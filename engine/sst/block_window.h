/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_BLOCK_WINDOW_H
#define SST_BLOCK_WINDOW_H

#include "sst/table_store.h"

/*
 * Neighbouring blocks of one SST that were read together, so that an iterator which goes through them asks the store
 * once for many. The borrowed things outlive it.
 */
struct block_window {
    struct table_store *ts;
    struct sst_source src;
    const struct table_index *index; /* borrowed */
    bool fill_cache;
    uint64_t bytes;        /* how much to read in one go; at least one block */
    uint64_t expansion;    /* decoded bytes for each stored one, as last seen; 0: nothing was read yet */
    struct block **blocks; /* n of them from first on, one reference each */
    size_t first, n, cap;
};

void block_window_fini(struct block_window *w); /* forgets the blocks and frees the memory */
/*
 * A reference to block i. What has to be read is read together with what follows it (ITER_DESC: precedes it), not
 * beyond lo..hi, as far as bytes goes, and about twice as many when decoded.
 */
int block_window_get(struct block_window *w, size_t i, size_t lo, size_t hi, enum iter_order order,
                     struct block **out);

#endif
