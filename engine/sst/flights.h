/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_FLIGHTS_H
#define SST_FLIGHTS_H

#include "base/list.h"
#include "base/sync.h"
#include "sst/block_cache.h"

/*
 * Reads of parts of SSTs that are under way, so that of several threads that miss the same part in the cache one reads
 * it and the others take what it brings. A part is named by the SST and its offset in the object. No lock is held while
 * anybody reads. Safe from any thread.
 *
 * Nobody waits for another while others may wait for him: a thread lands its own flight before it waits for one.
 */
struct flights {
    struct mutex mu;   /* rank 605 */
    struct cond landed;
    struct list under_way; /* GUARDED_BY(mu) */
};

/* One read, of one or more parts; shared by its maker and all who wait for a part. */
struct flight;

void flights_init(struct flights *f);
void flights_fini(struct flights *f); /* none is under way */

/*
 * For each of the n parts at offsets (which ascend) who reads it: others[k] becomes a reference to a flight that is
 * under way, or NULL: the caller reads it, by *mine (NULL when nothing is left for it), which he must land. -ENOMEM:
 * all NULL.
 */
int flights_join(struct flights *f, struct shale_ulid sst, const uint64_t *offsets, size_t n, struct flight **others,
                 struct flight **mine);
/* Whether somebody is reading the part at this moment. */
bool flights_has(struct flights *f, struct shale_ulid sst, uint64_t offset);

/* What the caller's flight has brought; item is borrowed. What was given for no part is not there. */
void flight_bring(struct flight *mine, uint64_t offset, struct cache_item *item);
/* The read is over, well or not: who waits goes on. Ends the caller's reference. NULL is fine. */
void flight_land(struct flights *f, struct flight *mine);
/*
 * A reference to what another's flight brings, or NULL: it failed, or the caller is to give up waiting (base/cancel.h);
 * he reads for himself, which says so. Ends his reference.
 */
struct cache_item *flight_wait(struct flights *f, struct flight *other, uint64_t offset);
/* Does not want it after all. NULL is fine. */
void flight_leave(struct flights *f, struct flight *other);

#endif
