/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_OPTIONS_H
#define SHALE_OPTIONS_H

#include <shale/hooks.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shale_metrics;
struct shale_store;

/*
 * Codes are stored in SSTs; each SST says which it uses, so that a database may mix them. A codec
 * is applied to every section but the info.
 */
enum shale_codec {
    SHALE_CODEC_NONE = 0,
    SHALE_CODEC_SNAPPY = 1,
    SHALE_CODEC_ZLIB = 2,
    SHALE_CODEC_LZ4 = 3,
    SHALE_CODEC_ZSTD = 4,
};

/* The code of "none", "snappy", "zlib", "lz4" or "zstd", or -EINVAL; and back (NULL for an unknown code). */
SHALE_API int shale_codec_parse(const char *name);
SHALE_API const char *shale_codec_name(enum shale_codec codec);

/*
 * Folds merge operands of one key. existing is the value below them, or NULL when there is none; operands are in the
 * order in which they were written, n is at least 1. The result replaces out. With existing it is a value; without,
 * it is again an operand (or, when a read asked for it, what the reader gets). Must be associative, and the same
 * wherever the database is opened. Called from several threads, with no lock held.
 * Returns 0 or a negative error; an error fails the read, flush or compaction with SHALE_EMERGE.
 * Operands arrive in batches of at most 100, so that for longer lists results are merged again:
 * associativity is not optional. key and operands are borrowed for the call; out is empty on
 * entry.
 */
struct shale_merge_operator {
    const char *name;
    void *ctx;
    int (*merge)(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                 const struct shale_slice *operands, size_t n, struct shale_buf *out);
};

enum shale_filter_decision {
    SHALE_FILTER_KEEP = 0,
    SHALE_FILTER_DROP = 1,      /* leave the row out */
    SHALE_FILTER_MODIFY = 2,    /* replace its value with new_value; sequence number and times stay */
    SHALE_FILTER_TOMBSTONE = 3, /* make it a tombstone, without expiry */
};

/*
 * Fixed for the whole job, also when it is resumed by another process; then with the values of
 * that moment.
 */
struct shale_filter_context {
    uint32_t destination;       /* id of the run that is written */
    bool is_last_run;           /* nothing older lies below it */
    int64_t clock_tick;         /* now, for expiry */
    uint64_t retention_min_seq; /* versions above it may still be needed by a reader */
};

/*
 * Sees every row that a compaction is about to write: retained, merged, in key order, newest version first. One filter
 * is created for each job and used by one thread. An error of any call fails the job before its result is published.
 * Dropping or changing a row whose sequence number is above retention_min_seq changes what open
 * snapshots see. A dropped row uncovers older versions of its key that lie in runs outside of the
 * job; SHALE_FILTER_TOMBSTONE does not.
 */
struct shale_compaction_filter {
    void *ctx;
    int (*create)(void *ctx, const struct shale_filter_context *job, void **filter);
    /* An enum shale_filter_decision, or a negative error. new_value is empty on entry. */
    int (*decide)(void *filter, const struct shale_row *row, struct shale_buf *new_value);
    int (*end)(void *filter);      /* after the last row of a job that went well so far */
    void (*destroy)(void *filter); /* always */
    /*
     * Optional, for a filter that decides by rows before: a job that was interrupted goes on behind key after. Replace
     * from (empty on entry) with the key from which decide has to see rows again; what it answers up to after is not
     * used.
     */
    int (*resume_from)(void *filter, struct shale_slice after, struct shale_buf *from);
};

/*
 * Milliseconds since the Unix epoch. Called from any thread.
 * May go back: the engine holds its own time at the newest it has seen, and refuses writes when
 * the clock is more than ten seconds behind (SHALE_ECLOCK).
 */
struct shale_clock {
    int64_t (*now_ms)(void *ctx);
    void *ctx;
};

/*
 * Ranges: poll_interval_ms from 1; max_sst_size from 1; max_concurrent 1 to 1024, each with a
 * thread; min_sources from 1; max_sources from min_sources; include_size_threshold above 0.
 */
struct shale_compactor_options {
    bool enabled;                    /* true; run one in this process */
    int64_t poll_interval_ms;        /* 5000; between looks for something to do, beside being woken by a flush */
    int64_t idle_poll_ms;            /* 0; above poll_interval_ms: looks that find nothing new come ever more rarely, up
                                        to so long after each other; what another process submits waits for the next */
    uint64_t max_sst_size;           /* 256 MiB of block bytes; a larger output is split */
    uint32_t max_concurrent;         /* 4; compactions at once */
    uint32_t min_sources;            /* 4; L0 SSTs or runs that make a compaction worthwhile */
    uint32_t max_sources;            /* 8; at most this many in one */
    double include_size_threshold;   /* 4.0; a next older run joins when at most this many times the smallest */
};

/* The collector of garbage of an open database; one-time collections are in shale/admin.h. */
struct shale_collector_options {
    bool enabled;                 /* false; run one in this process */
    int64_t interval_ms;          /* 60000; between runs, the first of which is at once; 0: never (H8) */
    int64_t idle_interval_ms;     /* 0; above interval_ms: while the manifest stays the same, the next run is when what
                                     the last one found too young has come of age, or, if it left nothing, after so long */
    int64_t manifest_min_age_ms;  /* 300000; what is younger stays, though nothing refers to it */
    int64_t wal_min_age_ms;       /* 300000 */
    int64_t compacted_min_age_ms; /* 300000; of an SST from when it was first seen without a reference (H22) */
    int64_t compactions_min_age_ms; /* 300000 */
    int64_t fence_age_ms;         /* 86400000; empty WAL objects, which fence writers, stay so long (H1) */
};

/*
 * Settings of a database handle. Start from shale_options_init; sizes are bytes. Pointers are borrowed until the
 * handle is closed.
 * Memory is about: max_unflushed_bytes, one more memtable of l0_sst_size_bytes,
 * block_cache_bytes, and for each compaction that runs some tens of MiB of read-ahead. Ranges,
 * where not said: times 0 (polls and timeouts 1) to 2^52; counts and sizes from 1;
 * filter_bits_per_key 1 to 1000; l0_sst_size_bytes to 64 GiB.
 */
struct shale_options {
    int64_t flush_interval_ms;          /* 100; longest time a row waits for its WAL object; 0: only when asked */
    int64_t commit_gather_us;           /* 0; a durable write waits so long for others to join when commits are busy */
    int64_t manifest_poll_interval_ms;  /* 1000; between looks at the manifest for another process's changes */
    int64_t manifest_idle_poll_ms;      /* 0; above that: looks that find nothing new come ever more rarely, up to so
                                           long after each other (below 60000, or each needs a listing) */
    int64_t manifest_update_timeout_ms; /* 300000; longest time an update contends for the next version */
    uint32_t min_filter_keys;           /* 1000; an SST with fewer rows gets no filter */
    uint32_t filter_bits_per_key;       /* 10 */
    uint64_t l0_sst_size_bytes;         /* 64 MiB; a memtable is frozen when it would make so large an SST */
    uint32_t l0_max_ssts;               /* 8; flushing waits for the compactor above this; a close does not */
    uint32_t freeze_wal_count;          /* 4096; a memtable is frozen after this many WAL objects */
    uint64_t wal_max_bytes;             /* 0 (as l0_sst_size_bytes); a WAL object is begun when so much waits */
    int64_t store_limit_ms;             /* 0: a store that does not answer is waited for; else give up after so long:
                                           reads fail, and a WAL object that is given up on ends the handle, since
                                           nobody knows whether it is there. Memtable flushes, compactions and the
                                           collector go on trying. Opening gives up after 30 s on a store that has
                                           not answered at all */
    uint64_t max_unflushed_bytes;       /* 1 GiB; writers wait while more is in memory only */
    uint64_t block_cache_bytes;         /* 64 MiB; decoded blocks, indexes and filters; 0: none */
    uint64_t read_window_bytes;         /* 0, as SlateDB: a block that is missing is read alone. Else to 64 MiB: with
                                           what lies so near to it, while that proves to be wanted as well, and the
                                           index of an SST with its filter; at most 1/32 of the cache at a time */
    uint32_t block_size;                /* 4096; 1, 2, 4, 8, 16, 32 or 64 KiB */
    enum shale_codec codec;             /* none; of SSTs that this handle writes */
    int64_t default_ttl_ms;             /* 0; time to live of rows written without one; 0: for ever */
    bool wal_enabled;                   /* true; without it only a memtable flush makes rows durable */
    bool read_only;                     /* false; claim nothing and write nothing: what was durable at the open is seen */
    const struct shale_uuid *checkpoint; /* NULL; with read_only: see what this checkpoint holds, -ENOENT if there is none */
    bool read_expired;                  /* true, as SlateDB: reads show expired rows until they are compacted away */
    struct shale_compactor_options compactor;
    struct shale_collector_options gc;
    struct shale_store *wal_store;      /* NULL; a store of its own for WAL objects */
    const struct shale_merge_operator *merge_operator;
    const struct shale_compaction_filter *compaction_filter;
    const struct shale_flush_transform *flush_transform; /* shale/hooks.h, as the next two */
    const struct shale_property_collector *property_collector;
    const struct shale_block_transformer *block_transformer;
    const struct shale_clock *clock;    /* NULL: the system's */
    struct shale_metrics *metrics;      /* NULL; count here (shale/metrics.h) and not in a registry of the handle's own */
    /*
     * NULL; asked by shale_db_open of a writer, without a lock, when it has read who owns the database (fresh: there is
     * none yet), and before it takes it over. An error is that of the open. After 0 the database is taken over from
     * just that owner, or made: when somebody else is quicker he keeps it, and the open fails with -EBUSY. Without it
     * who comes last has the database.
     */
    int (*before_claim)(void *arg, bool fresh);
    void *before_claim_arg;
    uint64_t seed;                      /* 0: random ids from the kernel; else ids follow from the seed (tests) */
};

/* Sets every field to the default named above. An all-zero struct is not valid. */
SHALE_API void shale_options_init(struct shale_options *opt);
/* 0, or -EINVAL with a sentence that names the field, what it is and what it may be. */
SHALE_API int shale_options_check(const struct shale_options *opt);

#ifdef __cplusplus
}
#endif
#endif
