/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SST_ITER_H
#define SST_SST_ITER_H

#include "format/key_range.h"
#include "sst/table_store.h"

/*
 * read_ahead_bytes bounds what one iterator holds: about one window of stored blocks, and the
 * decoded ones.
 */
struct sst_iter_options {
    enum iter_order order;
    bool fill_cache;
    uint64_t read_ahead_bytes; /* read so many bytes of blocks in one go; 0: one block */
    bool once;                 /* ascending, everything, past the cache: sst/sst_stream.h */
    bool borrow_range;         /* the bytes of the range outlive the iterator and are not copied */
};

/*
 * Rows of a view that lie in range, versions included, in order (R125-R130). Nothing is read before the first next. ts
 * and view are borrowed, the view's SST is kept by a reference; the range's bytes are copied. A point range asks the
 * filter first. A range that does not touch the view gives an iterator that ends at once.
 */
int sst_iter_new(struct table_store *ts, const struct sst_view *view, const struct key_range *range,
                 const struct sst_iter_options *opt, struct iter **out);

#endif
