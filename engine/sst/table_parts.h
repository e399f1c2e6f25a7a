/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_TABLE_PARTS_H
#define SST_TABLE_PARTS_H

#include "sst/table_store.h"

/*
 * How table_fetch.c reads what is not in the cache: every call asks the store. Errors name the object and the part;
 * what is given is as it was, or empty, after one.
 */

/* Empty, with one reference; NULL without memory. */
struct table_index *table_index_new(void);
struct table_filter *table_filter_new(void);
/* What frees an item tells what it is. */
void table_index_free(struct cache_item *item);
void table_filter_free(struct cache_item *item);
void table_block_free(struct cache_item *item);

int table_index_load(struct table_store *ts, const struct sst_source *src, struct table_index *i);
int table_filter_load(struct table_store *ts, const struct sst_source *src, struct table_filter *f);
/* Whether filter and index follow each other, so that one read brings both; and that read. Either both or an error. */
bool table_meta_is_one(const struct sst_source *src);
int table_meta_load(struct table_store *ts, const struct sst_source *src, struct table_index *i,
                    struct table_filter *f);
/*
 * Of blocks that are read, those that are wanted. The others are decoded while left lasts, which what they become
 * counts against: some codecs make a megabyte of a hundred bytes.
 */
struct blocks_along {
    size_t wanted, n_wanted;
    uint64_t left;
};

/*
 * Fill the NULLs of out, which is of blocks first..first+n-1, with one read for each stretch of neighbours; fill: and
 * keep them in the cache. along NULL: all are wanted; otherwise NULLs may remain. After a failure some may be there.
 */
int table_blocks_load(struct table_store *ts, const struct sst_source *src, const struct sst_index *x, size_t first,
                      size_t n, struct blocks_along *along, bool fill, struct block **out);

/* Keep a part in the cache, unless it is of a WAL object. high: as of block_cache_put. */
void table_part_keep(struct table_store *ts, const struct sst_source *src, uint64_t offset, struct cache_item *item,
                     bool high);

/* Behind block i. */
static inline uint64_t table_block_end(const struct sst_source *src, const struct sst_index *x, size_t i)
{
    return i + 1 < x->n ? x->offsets[i + 1] : src->sst->info.filter_offset;
}

#endif
