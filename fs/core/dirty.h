/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_DIRTY_H
#define FS_CORE_DIRTY_H

#include <shale/types.h>
#include <stdbool.h>

/*
 * Bytes of one file that were written and are not yet in the engine: per chunk a list of extents that ascend and do not
 * overlap. Newer bytes replace older ones as they come. No locks: the inode's.
 */
struct dirty_extent {
    uint32_t offset; /* within the chunk */
    uint32_t len, cap;
    uint8_t *data; /* owned */
};

struct dirty_chunk {
    uint64_t index; /* offset in the file / chunk size */
    struct dirty_extent *ext;
    size_t n, cap;
    uint64_t bytes; /* sum of the lengths */
};

struct dirty {
    uint32_t chunk_bytes;
    struct dirty_chunk *chunks; /* index ascending */
    size_t n, cap;
    uint64_t bytes;
};

void dirty_init(struct dirty *d, uint32_t chunk_bytes);
void dirty_fini(struct dirty *d);

/*
 * Lay len bytes at offset over what is there. Returns how many were taken: fewer, the first ones, only when memory ran
 * out.
 */
size_t dirty_write(struct dirty *d, uint64_t offset, const void *data, size_t len);

/* Forget everything at and behind size. */
void dirty_truncate(struct dirty *d, uint64_t size);

/*
 * Copy what lies in offset..offset+len-1 into the same places of out, and call gap for each part that is not here
 * (offsets are of the file). gap may be NULL. Returns 0 or what gap returned.
 */
typedef int (*dirty_gap_fn)(void *arg, uint64_t offset, size_t len);
int dirty_read(const struct dirty *d, uint64_t offset, uint8_t *out, size_t len, dirty_gap_fn gap, void *arg);

/* End of the last byte, 0 when empty. */
uint64_t dirty_end(const struct dirty *d);

/*
 * Lay everything of newer over d; newer becomes empty. On -ENOMEM newer stays whole and d may hold a part of it, so
 * that trying again gives the right result.
 */
int dirty_merge(struct dirty *d, struct dirty *newer);

#endif
