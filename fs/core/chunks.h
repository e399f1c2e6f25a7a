/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_CHUNKS_H
#define FS_CORE_CHUNKS_H

#include "fs/core/extent.h"
#include "fs/core/volume_state.h"

/* Chunk rows in the engine. rec says under which generation each is found. */

/* The folded value of a chunk replaces out; empty when there is no row, which is a hole. */
int chunk_load(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t chunk, struct shale_buf *out);

/*
 * Every chunk of the file from chunk first on that has a row, ascending. fn gets the extents of it; they are borrowed.
 * Stops with what fn returns if that is not 0.
 */
typedef int (*chunk_fn)(void *arg, uint64_t chunk, const struct extent_list *extents);
int chunks_each(struct fs *fs, uint64_t ino, const struct inode_rec *rec, uint64_t first, chunk_fn fn, void *arg);

/* 512-byte blocks for so many bytes of data in one chunk, or of a file without holes. */
static inline uint64_t blocks_for(uint64_t bytes)
{
    return bytes / 512 + (bytes % 512 != 0);
}

#endif
