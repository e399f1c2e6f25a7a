/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_ADMIN_H
#define SHALE_ADMIN_H

#include <shale/shale.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What is done to a database as a whole: checkpoints, clones and the collection of garbage. The functions that take a
 * store and a path need no handle and fence nobody; they may run beside a writer, a compactor and each other, in
 * this process or another, of this library or of SlateDB 0.12.1. Each may be repeated after a failure or a crash.
 *
 * Errors of each: -ENOENT when there is no database; SHALE_EINITIALIZED for an unfinished clone; -EINVAL for a bad
 * path; those of the store (one that may answer when asked again is asked again); SHALE_ECORRUPT; -ETIMEDOUT.
 */
struct shale_admin_options {
    const struct shale_clock *clock; /* NULL: the system's */
    struct shale_store *wal_store;   /* NULL; the store of WAL objects, where the database has one of its own */
    int64_t store_limit_ms;          /* 0; give up on a store that does not answer after so long; 0: never */
    struct shale_metrics *metrics;   /* NULL; count requests and collections here (shale/metrics.h) */
    /* NULL; that of the database, for shale_gc: without it small WAL objects are taken for fences, and stay for a day. */
    const struct shale_block_transformer *block_transformer;
};

/*
 * A checkpoint keeps one version of the manifest, with all that it refers to, from the collector (R269). It is valid
 * until a collector removes it, which happens some time after its expiry (R275).
 */
struct shale_checkpoint {
    struct shale_uuid id;
    uint64_t manifest_id;
    int64_t create_s;  /* Unix seconds */
    int64_t expire_s;  /* 0: never */
    const char *name;  /* NULL: none; borrowed, see each function */
};

/* All zero: for ever, of the current state, without a name. */
struct shale_checkpoint_options {
    const char *name; /* need not be unique */
    bool has_lifetime;
    int64_t lifetime_ms;
    bool has_source; /* of the same state as this checkpoint, -ENOENT when it is gone */
    struct shale_uuid source;
};

enum shale_checkpoint_scope {
    SHALE_CHECKPOINT_ALL,     /* what was committed before the call; it is flushed first, which may wait for the compactor */
    SHALE_CHECKPOINT_DURABLE, /* what is in the store already */
};

/* Of an open database. out->name is opt->name. opt may be NULL. -EROFS for a handle that only reads. */
SHALE_API int shale_db_checkpoint(struct shale_db *db, enum shale_checkpoint_scope scope,
                                  const struct shale_checkpoint_options *opt, struct shale_checkpoint *out);

/*
 * Of the newest manifest, or of what a checkpoint holds. A writer's rows that its newest manifest does not know of are
 * not in it, durable or not. a and opt may be NULL.
 */
SHALE_API int shale_checkpoint_create(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                                      const struct shale_checkpoint_options *opt, struct shale_checkpoint *out);
/*
 * Each checkpoint, in the order of their creation. name NULL: all; "": those without one; else those called so (R272).
 * The checkpoint is borrowed during fn, whose value other than 0 ends the listing and is returned.
 */
typedef int (*shale_checkpoint_fn)(void *arg, const struct shale_checkpoint *c);
SHALE_API int shale_checkpoint_list(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                                    const char *name, shale_checkpoint_fn fn, void *arg);
/* It expires lifetime_ms from now; negative: never. -ENOENT when it is gone (R273). */
SHALE_API int shale_checkpoint_refresh(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                                       struct shale_uuid id, int64_t lifetime_ms);
/* 0 also when there is none of that id (R274). */
SHALE_API int shale_checkpoint_delete(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                                      struct shale_uuid id);

/*
 * Make a database at path that begins as parent (in the same store) is, or was at a checkpoint of it, and then goes its
 * own way. SSTs are shared, WAL objects copied (R276). A checkpoint on parent, and one on each database that it
 * borrows from, keeps what is shared; deleting it damages the clone. Interrupted, it is finished by the same call. 0
 * also when it is there already and whole. -EINVAL when path is parent, or holds something else.
 * checkpoint NULL: parent's newest manifest, as for shale_checkpoint_create.
 */
SHALE_API int shale_clone(struct shale_store *store, const char *path, const char *parent,
                          const struct shale_uuid *checkpoint, const struct shale_admin_options *a);

/* What a collector looks at, in the order in which it does. */
enum shale_gc_kind {
    SHALE_GC_MANIFEST,    /* versions of the manifest */
    SHALE_GC_WAL,
    SHALE_GC_COMPACTED,   /* SSTs */
    SHALE_GC_COMPACTIONS, /* versions of the compactor's list */
    SHALE_GC_N_KINDS,
};

/*
 * How garbage is collected once. What is live is never removed, whatever the ages: they protect readers that hold no
 * checkpoint, and writers and compactors that are late.
 */
struct shale_gc_options {
    bool skip[SHALE_GC_N_KINDS];
    int64_t min_age_ms[SHALE_GC_N_KINDS]; /* 300000; only what is older goes */
    int64_t fence_age_ms;                 /* 86400000; empty WAL objects, which fence writers, stay so long (H1) */
    bool dry_run;                         /* remove nothing, only report */
    /* NULL; told of every object that goes, before it does. Anything but 0 ends the run, which returns it. */
    int (*report)(void *arg, enum shale_gc_kind kind, const char *name);
    void *report_arg;
};

struct shale_gc_result {
    uint64_t removed[SHALE_GC_N_KINDS]; /* in a dry run: would go */
    uint64_t expired;                   /* checkpoints removed from the manifest */
};

SHALE_API void shale_gc_options_init(struct shale_gc_options *opt);

/*
 * Collect garbage once, by the rules of SlateDB (R312-R321). A reader without a checkpoint may find SSTs gone that a
 * compaction replaced, however young: for a database that this process has open shale_db_gc is kinder.
 * The first error is returned, after the other kinds had their turn. opt and out may be NULL.
 */
SHALE_API int shale_gc(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                       const struct shale_gc_options *opt, struct shale_gc_result *out);
/*
 * The same for an open database: what its reads, scans and compactions still use stays, and the age of an SST counts
 * from when this handle first saw that nothing refers to it (H22). Waits while the handle's own collector is at work.
 */
SHALE_API int shale_db_gc(struct shale_db *db, const struct shale_gc_options *opt, struct shale_gc_result *out);

#ifdef __cplusplus
}
#endif
#endif
