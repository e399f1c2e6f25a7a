/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SST_STREAM_H
#define SST_SST_STREAM_H

#include "format/key_range.h"
#include "sst/table_store.h"

/*
 * The rows of an SST from front to back, read once, as a compaction does: no block enters the cache or is looked up
 * there, rows borrow from the bytes that were read, and of the index only the lengths of blocks are kept. Holds about
 * chunk_bytes, which are read in one go (at least one block), and one block if blocks are compressed.
 *
 * Otherwise as sst_iter_new. A seek while rows are given out reads the index again.
 */
int sst_stream_new(struct table_store *ts, const struct sst_view *view, const struct key_range *range,
                   uint64_t chunk_bytes, struct iter **out);

#endif
