/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_INODE_H
#define FS_CORE_INODE_H

#include "base/list.h"
#include "fs/core/dirty.h"
#include "fs/core/fs.h"
#include "fs/core/inode_codec.h"
#include "fs/core/lock.h"

/*
 * A live inode: one that the kernel knows, that is open, that an operation uses or that holds unwritten data. There is
 * at most one for an inode number.
 *
 *   rec    what the engine has, all batches that were handed to it included. Changed by the holder of op, under mu.
 *   size, atime, mtime, ctime
 *          what a program sees: ahead of rec by what write did and writeback did not yet hand over.
 *   dirty  written data, newest; flushing: data that a writeback is handing over, which does not change meanwhile.
 */
struct inode {
    struct list link;      /* in its bucket of the table; guarded by the table */
    struct list told;      /* names that caches know it by, or in it to be absent; guarded by the told names */
    uint64_t ino;
    uint64_t n_lookup;     /* guarded by the table: what the kernel will forget */
    uint32_t n_ref;        /* guarded by the table: operations, open handles, the dirty list */
    bool loading;          /* guarded by the table: its row is being read or made; nobody may use it yet */
    struct oplock op;      /* held while a batch about this inode is made and committed */

    struct mutex mu;       /* rank FS_RANK_INODE; guards the rest */
    struct inode_rec rec;
    uint64_t size;
    int64_t atime_ns, mtime_ns, ctime_ns;
    bool mtime_ahead, ctime_ahead, atime_ahead; /* newer than rec, to be written with the data */
    bool hole_ahead;       /* some dirty data began behind the end of the file */
    struct dirty dirty, flushing;
    uint32_t n_open;       /* file handles */
    bool gone;             /* its row was deleted: no name and no handle is left */
    bool on_dirty_list;    /* guarded by the dirty list's lock, as the next two */
    uint64_t dirty_seq;    /* when it was listed */
    struct list dirty_link;
    /* Of a follower: changes that were heard of, and how many of them rec has. It is read again before the next use. */
    uint64_t n_heard, n_read;

    struct list chunks;    /* of the file_chunks that are held of it; guarded by the chunk cache */

    /* By the holder of op: the chunk that was handed over last, and how many operands it has got since it was whole. */
    uint64_t tail_chunk;
    uint32_t tail_operands;
};

#define FS_RANK_SWEEP 2
#define FS_RANK_NAMES 2
#define FS_RANK_OP 4
#define FS_RANK_DIRTY_LIST 6
#define FS_RANK_TABLE 8
#define FS_RANK_INODE 10
#define FS_RANK_CHUNKS 11
#define FS_RANK_COUNTERS 12
#define FS_RANK_FOLLOW 14
#define FS_RANK_TOLD 14

#define INODE_BUCKETS_MIN 4096u

struct told;

struct inode_table {
    struct mutex mu; /* rank FS_RANK_TABLE */
    struct told *told; /* of a follower; set before any inode is there */
    struct cond loaded;
    struct list *buckets;
    size_t n_buckets; /* a power of two; grows with n, so that a chain stays short */
    size_t n;
    struct list first_buckets[INODE_BUCKETS_MIN];
};

void inode_table_init(struct inode_table *t);
/* Frees every inode; nobody uses one any more. */
void inode_table_fini(struct inode_table *t);

/* Find or load an inode; *out is a reference. -ENOENT when there is no such row. */
int inode_get(struct fs *fs, uint64_t ino, struct inode **out);
/*
 * A fresh inode: begun before its batch is committed, so that whoever finds its entry meanwhile waits for it; then
 * published with the record that was written (moved; the caller has a reference) or discarded (NULL is fine).
 * Publishing cannot fail.
 */
int inode_begin(struct fs *fs, uint64_t ino, struct inode **out);
void inode_publish(struct fs *fs, struct inode *i, struct inode_rec *rec);
void inode_discard(struct fs *fs, struct inode *i);
struct inode *inode_ref(struct fs *fs, struct inode *i);
/* Drop a reference; the last one of an inode without lookups frees it. NULL is fine. */
void inode_put(struct fs *fs, struct inode *i);
void inode_add_lookup(struct fs *fs, struct inode *i);
void inode_forget(struct fs *fs, uint64_t ino, uint64_t n);

/*
 * Followers: rows of ino changed; rec is its new record, when that was written whole; or NULL. Whether it is live; *cut
 * becomes the chunk from which on its data is found under another generation, UINT64_MAX when there is none; unchanged
 * without rec.
 */
bool inode_note_change(struct fs *fs, uint64_t ino, const struct inode_rec *rec, uint64_t *cut);
/* Any inode may have changed. */
void inode_note_all(struct fs *fs);
/* Make a referenced inode what the rows say now, as inode_get does. -ENOENT when it was removed. */
int inode_freshen(struct fs *fs, struct inode *i);
/* The numbers of all live inodes, owned by the caller. 0 or -ENOMEM. */
int inode_table_list(struct inode_table *t, uint64_t **out, size_t *n);

static inline void inode_lock(struct inode *i)
{
    oplock_lock(&i->op);
}

/* As oplock_take. */
static inline int inode_take(struct inode *i)
{
    return oplock_take(&i->op);
}

static inline void inode_unlock(struct inode *i)
{
    oplock_unlock(&i->op);
}

/* What a program sees. Takes mu. */
void inode_attr(struct inode *i, uint32_t block_bytes, struct fs_attr *out);

/*
 * A new committed state, by the holder of op; rec is moved. take leaves what a program sees as it is; with follow, what
 * changed in the record is what a program sees.
 */
void inode_take_rec(struct inode *i, struct inode_rec *rec);
void inode_follow_rec(struct inode *i, struct inode_rec *rec);

static inline bool inode_is_dir(const struct inode *i)
{
    return S_ISDIR(i->rec.mode);
}

#endif
