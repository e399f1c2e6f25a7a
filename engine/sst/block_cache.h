/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_BLOCK_CACHE_H
#define SST_BLOCK_CACHE_H

#include "base/ulid.h"

#include <stdatomic.h>
#include <stdbool.h>

/*
 * What the cache holds: an immutable object with a reference count. The embedding type sets the three fields and
 * starts with one reference for its maker.
 */
struct cache_item {
    _Atomic int refs;                       /* relaxed to add, acq_rel to drop */
    size_t charge;                          /* bytes it counts for */
    void (*free)(struct cache_item *item);  /* called by the last unref, on any thread */
};

struct cache_item *cache_item_ref(struct cache_item *item);
void cache_item_unref(struct cache_item *item); /* NULL is fine */

/*
 * Unique for ever: ids of SSTs are never used twice, so nothing in the cache has to be
 * invalidated (R172).
 */
struct cache_key {
    struct shale_ulid sst;
    uint64_t offset; /* in the object */
};

struct cache_stats {
    uint64_t bytes, hits, misses;
};

/*
 * Decoded blocks, indexes and filters of SSTs, by least recent use in several shards, within a byte limit. Safe from
 * any thread; never calls back but to free. Index and filter entries are kept before blocks (high is their flag).
 */
struct block_cache;

int block_cache_new(size_t limit_bytes, struct block_cache **out);
void block_cache_free(struct block_cache *c); /* NULL is fine; items still referenced live on */
/* A new reference, or NULL. */
struct cache_item *block_cache_get(struct block_cache *c, struct cache_key key);
/* The same, but it counts as no use of it, and in no statistics. */
struct cache_item *block_cache_peek(struct block_cache *c, struct cache_key key);
/* Keep item (takes a reference of its own); an equal key keeps the older item. Too large or no memory: not kept. */
void block_cache_put(struct block_cache *c, struct cache_key key, struct cache_item *item, bool high);
void block_cache_stats(struct block_cache *c, struct cache_stats *out);

#endif
