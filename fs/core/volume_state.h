/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_VOLUME_STATE_H
#define FS_CORE_VOLUME_STATE_H

#include "base/cancel.h"
#include "base/pool.h"
#include "fs/core/chunk_cache.h"
#include "fs/core/fs_filter.h"
#include "fs/core/session.h"
#include "fs/core/volume.h"

#include <stdatomic.h>

/* Sums over the volume, kept by the counters of the same names (design: 'C' keys). */
enum fs_counter { FS_COUNT_INODES, FS_COUNT_BYTES, FS_COUNT_DEAD, FS_N_COUNTERS };

/* An open volume. */
struct shale_reader;
struct follow;

struct fs {
    struct fs_options opt;
    struct shale_store *store;   /* owned; the database's, which asks again by itself */
    struct shale_store *patient; /* owned; the same for all else: asked again for half a minute */
    char *path;                /* of the volume in its store, owned */
    struct volume volume;
    struct session session;
    struct shale_db *db;         /* NULL when it follows */
    struct shale_reader *reader; /* what rows.h reads from then */
    struct follow *follow;       /* likewise; else NULL */
    struct fs_filter filter;     /* of db */
    struct inode_table inodes;
    struct chunk_cache chunks;

    struct oplock sweep;       /* held by who writes everything back: whoever waits for it finds all of that done */
    struct oplock names;       /* held by every operation that changes names; orders their batches */
    uint64_t next_ino, end_ino; /* numbers reserved; guarded by names */

    struct mutex counters_mu;  /* rank FS_RANK_COUNTERS */
    int64_t counters[FS_N_COUNTERS];
    _Atomic bool counters_stale; /* of a follower: the writer has moved them */
    _Atomic int64_t gone_look_ms; /* relaxed; monotonic: when a follower may look at the volume object again */
    _Atomic int error;         /* relaxed: what the engine died of, once somebody has met it */
    _Atomic uint64_t dirty_bytes; /* relaxed: a limit; in dirty and flushing of all inodes */

    /* An empty batch with the memory that it once took, for the next change (txn.c); or NULL. */
    struct shale_batch *_Atomic spare_batch;

    struct mutex dirty_mu;     /* rank FS_RANK_DIRTY_LIST */
    struct cond committer_wake, space_wake;
    struct list dirty_list;    /* inodes with something to write back, oldest first; each holds a reference */
    uint64_t dirty_seq;        /* of the inode that was listed last; they ascend along the list */
    bool stopping;
    uint64_t n_changes, n_committed; /* batches handed to the engine, and how many of them the last commit covered */
    struct worker committer, space;
};

/* Key of a counter: its name. */
const char *fs_counter_name(enum fs_counter c);

/* Make everything durable that was handed to the engine. 0 or the engine's error. */
int volume_commit(struct fs *fs);

/* Look, after the failure rc of an engine call, whether the engine is dead. Returns rc, or -EIO of a dead one. */
int volume_note_error(struct fs *fs, int rc);
/*
 * The failure rc of a follower's read. When objects are gone and a look for the tree of now did not help, the log says
 * so if the volume itself was removed or replaced. Returns rc.
 */
int volume_note_gone(struct fs *fs, int rc);
/* 0, or -EIO once the engine is known to be dead. */
int volume_alive(struct fs *fs);

/* File data is handed over in batches of about this many bytes; a file with as much of it does so itself. */
#define FS_BATCH_BYTES (4u << 20)
/* Scans that are begun anew when another process's collector took the objects away (-ESTALE). */
#define FS_RESCANS_MAX 8

#endif
