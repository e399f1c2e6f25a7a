/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SST_LOOKUP_H
#define SST_SST_LOOKUP_H

#include "format/block.h"
#include "sst/table_store.h"

/*
 * The versions of one key, looked up in one SST after the other. What they have in common is kept from one to the next:
 * the hash for filters and the memory of the block iterator.
 */
struct sst_lookup {
    struct table_store *ts; /* borrowed, as is the key */
    struct shale_slice key;
    bool fill_cache;
    bool has_hash, has_rows;
    uint64_t hash;
    struct block_iter rows;
};

void sst_lookup_init(struct sst_lookup *l, struct table_store *ts, struct shale_slice key, bool fill_cache);
void sst_lookup_fini(struct sst_lookup *l);

/* Is told a version, whose value is borrowed until it returns; other than 0 ends the look-up with that. */
typedef int (*sst_version_fn)(void *arg, const struct shale_row *row);
/*
 * Tell fn the versions that the view has, newest first. 0 behind the last of them, what fn returned, or an error. Nothing
 * is read when the view cannot have the key, nothing but the filter when that says so.
 */
int sst_lookup_in(struct sst_lookup *l, const struct sst_view *view, sst_version_fn fn, void *arg);

#endif
