/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_CHUNK_CACHE_H
#define FS_CORE_CHUNK_CACHE_H

#include "base/cancel.h"
#include "base/pool.h"
#include "base/sync.h"
#include "fs/core/inode.h"

/*
 * Chunks of open files as the engine has them, folded: what was read last, since the kernel asks for a chunk in pieces,
 * and what a reader that goes forward is about to want. Of several that want a chunk one loads it. The bytes of all
 * files together are bounded by the option read_ahead_bytes.
 *
 * What is held of an inode is always of its data as it is: whoever changes the data in the engine drops it, and what is
 * on its way then is given to those who asked before, and to nobody else.
 */
struct chunk_cache {
    struct mutex mu;          /* rank FS_RANK_CHUNKS; taken under an inode's */
    struct cond loaded;       /* a chunk has come, or failed */
    struct list used, unused; /* chunks in memory, of which something was read / nothing yet; least recently first */
    uint64_t bytes;           /* of all that is held or on its way, what readers still copy from included */
    uint64_t limit;
    uint64_t n_ahead;         /* chunks that no reader has asked for yet */
    int64_t load_ns;          /* what loading a chunk takes of late */
    int64_t slow_ns;          /* from when on that is worth doing ahead; 0: always, and as far as memory goes */
    bool stopping;            /* what waits in the pool is not loaded any more */
    struct cancel give_up;    /* what it loads then is given up; also that of the options */
    struct pool *pool;        /* made when it is first needed */
};

struct file_chunk;

/* give_up: of the options, or NULL. */
void chunk_cache_init(struct chunk_cache *cc, const struct cancel *give_up);
/* Once the volume is known, and before the first read. */
void chunk_cache_set_limit(struct chunk_cache *cc, uint64_t read_ahead_bytes, uint32_t chunk_bytes);
/* Before the database is closed: nothing is loaded any more, when this returns, but what a reader loads himself. */
void chunk_cache_stop(struct chunk_cache *cc);
/* Before the inodes go. */
void chunk_cache_fini(struct chunk_cache *cc);

/*
 * A reference to a chunk of a file that the caller has open, loaded if need be. Errors are the engine's; one that
 * another reader met is not passed on: the chunk is read again. SHALE_ECANCELED when the caller gave up, whoever loads.
 */
int chunk_cache_get(struct fs *fs, struct inode *i, uint64_t chunk, struct file_chunk **out);
void chunk_cache_put(struct fs *fs, struct file_chunk *c);
/* Its folded value, empty when it is a hole. Does not change; borrowed from the reference. */
struct shale_slice file_chunk_value(const struct file_chunk *c);

/*
 * Begin to load the chunks first..end-1, as far as the file and the memory for it go; nothing when chunks come fast
 * anyway. Does not wait, and fails silently: who wants a chunk that did not come reads it.
 */
void chunk_cache_ahead(struct fs *fs, struct inode *i, uint64_t first, uint64_t end);

/* Forget all chunks of the inode. REQUIRES(i->mu), so that nobody sees new data with old chunks. */
void chunk_cache_drop_locked(struct fs *fs, struct inode *i);

/*
 * A reader of a file, as its handle sees it. Reads that go on about where the last one ended make a run; the longer it
 * is, the farther ahead of it chunks are loaded. Guarded by the inode's mu.
 */
struct read_run {
    uint64_t next;   /* behind the farthest read of the run */
    uint64_t bytes;  /* read in it */
    uint64_t target; /* chunks before this one were asked for */
};

/* Somebody is about to read len bytes from offset. */
void read_run_note(struct fs *fs, struct inode *i, struct read_run *r, uint64_t offset, size_t len);

#endif
