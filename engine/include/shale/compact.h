/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_COMPACT_H
#define SHALE_COMPACT_H

#include <shale/shale.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Compactions that a caller wants, and a compactor that runs by itself.
 *
 * A database has a list of compactions in its store. Its compactor, which is a part of the writing handle
 * (shale_compactor_options) or a process of its own (below), works it off: one at a time holds the compactor epoch.
 * Whoever starts later takes it over, and goes on with what the other left unfinished. The compactor of a writing
 * handle that was overtaken stands by: it takes the epoch back when work stays undone, so that a process which
 * compacted and is gone leaves nobody waiting.
 */

/* What to compact; always a stretch of neighbours, with every L0 SST that is older than one of them. */
enum shale_compaction_kind {
    SHALE_COMPACT_FULL,    /* every L0 SST and run, into the lowest run */
    SHALE_COMPACT_L0,      /* the n_l0_oldest oldest L0 SSTs (0: all) into a new run */
    SHALE_COMPACT_RUNS,    /* runs, in any order, and the n_l0_oldest oldest L0 SSTs (0: none), into the lowest */
    SHALE_COMPACT_SOURCES, /* l0, newest first, and runs, highest first, into destination */
};

struct shale_compaction_spec {
    enum shale_compaction_kind kind;
    uint32_t n_l0_oldest;
    const struct shale_ulid *l0; /* ids of the views in the manifest */
    size_t n_l0;
    const uint32_t *runs;
    size_t n_runs;
    uint32_t destination;
};

enum shale_compaction_status {
    SHALE_COMPACTION_SUBMITTED = 0, /* wanted */
    SHALE_COMPACTION_RUNNING = 1,
    SHALE_COMPACTION_COMPLETED = 2,
    SHALE_COMPACTION_FAILED = 3,    /* it was not possible, or an attempt failed; nothing changed */
};

/* A compaction of the list. */
struct shale_compaction {
    struct shale_ulid id;
    enum shale_compaction_status status;
    uint32_t destination;
    uint32_t n_l0, n_runs; /* sources */
    uint32_t n_outputs;    /* SSTs that are written and recorded */
    uint64_t bytes_read, bytes_total; /* of the sources; known only to who runs it, else 0 */
    const char *why;       /* failed here: the reason; borrowed until the callee returns. Else NULL */
};

/*
 * Want a compaction: it enters the list as submitted, for the compactor to find at its next look (R233). path as in
 * shale_db_open. 0 and its id; SHALE_END when there is nothing to compact; -EINVAL with a sentence for sources that are
 * not in the manifest or may not be compacted alone; -ENOENT when the database never had a compactor.
 */
SHALE_API int shale_compaction_submit(struct shale_store *store, const char *path,
                                      const struct shale_compaction_spec *spec, struct shale_ulid *id);
/*
 * The stored list, in order of ids. It has what is wanted or runs, and of what is over the newest. A return of fn
 * other than 0 ends it and is returned. -ENOENT when there never was a compactor.
 */
SHALE_API int shale_compaction_list(struct shale_store *store, const char *path,
                                    int (*fn)(void *arg, const struct shale_compaction *c), void *arg);

/* The same for an open database; its own compactor, if it has one, looks at once. */
SHALE_API int shale_db_compact(struct shale_db *db, const struct shale_compaction_spec *spec, struct shale_ulid *id);
/* What the list says of one; -ENOENT when it is over and a newer one is, too. */
SHALE_API int shale_db_compaction(struct shale_db *db, struct shale_ulid id, struct shale_compaction *out);

/* A compactor without a database handle. */
struct shale_compactor;

struct shale_compactor_config {
    bool only_submitted; /* choose nothing: work off what is in the list */
    /*
     * Called at every change of a compaction and while it proceeds, and once with NULL when the compactor ends by
     * itself, because another one took over (rc SHALE_EFENCED). From a thread of the compactor, no lock held. May be
     * NULL.
     */
    void (*report)(void *arg, const struct shale_compaction *c, int rc);
    void *arg;
};

/*
 * Take over the compactor epoch of the database and compact until closed. Of opt count merge_operator,
 * compaction_filter, the form of SSTs (codec, block_size, min_filter_keys, filter_bits_per_key), clock,
 * manifest_update_timeout_ms, metrics and compactor (but enabled): whoever writes the database has to use the same merge
 * operator and filter (H18). -ENOENT when there is no database.
 * Each compaction leaves a checkpoint of the state before it, for 15 minutes: until then a collector spares its
 * sources, which scans and the writer may still read (R230).
 */
SHALE_API int shale_compactor_open(struct shale_store *store, const char *path, const struct shale_options *opt,
                                   const struct shale_compactor_config *cfg, struct shale_compactor **out);
/* Look at the list and the manifest now. */
SHALE_API void shale_compactor_wake(struct shale_compactor *c);
/* What runs stops and is resumed by whoever comes next. NULL is fine. */
SHALE_API void shale_compactor_close(struct shale_compactor *c);

#ifdef __cplusplus
}
#endif
#endif
