/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_READER_H
#define SHALE_READER_H

#include <shale/shale.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Reads of a database that another process, or another handle of this one, writes; it fences nobody. A reader follows:
 * it looks for new versions of the manifest and new WAL objects, by itself and when told to, and then shows what was
 * durable at that time; never less than before, and never a part of a batch. Or it stands at a checkpoint.
 *
 * A following reader keeps a checkpoint of its own in the manifest, so that nothing is collected from under it, and
 * renews it. With no_checkpoint it writes nothing, and read-only credentials do; what a garbage collector then removes
 * from under a read that takes longer than the collector waits is -ESTALE, and such a read is to be begun anew.
 *
 * Following goes in steps, each of which makes one WAL object visible, whole, or more than one when the reader was left
 * behind. A reader may be told of each step, and of the keys that it changed: see shale_reader_change.
 *
 * All functions may be called from any thread, but for iterators, which one thread uses at a time. Errors are those of
 * shale_db_get and so on. When following fails for good (corrupt data, no permission, another database in the place of
 * this one), every later read fails with that error.
 */
struct shale_reader;

/*
 * One step. What a compaction filter or expiry takes away is no step, and is not told.
 *   rows      those that the WAL object has and that were not seen before, in the order of the object; borrowed for
 *             the call. A key may come more than once
 *   all       instead: the reader was left behind, objects that it did not see are gone, and any key may have changed
 * step counts them, from 1. The call comes when reads see it already, from the reader's thread, with no lock held, and
 * in order; the next step is not taken before it returns. It may read, but neither refresh nor close the reader.
 */
struct shale_reader_change {
    uint64_t step;
    uint64_t seq; /* newest that reads see */
    bool all;
    const struct shale_row *rows;
    size_t n_rows;
};

/* Start from shale_reader_options_init. Pointers are borrowed until the reader is closed. */
struct shale_reader_options {
    int64_t manifest_poll_interval_ms; /* 10000; between looks for what is new */
    /*
     * 1; of so many looks one is at the manifest, too. The others ask for the next WAL object alone, which is one
     * request when there is nothing new; after more than max_memtable_bytes of the WAL every look is at both, as is
     * each refresh. A database that is written without WAL shows what is new only at the manifest.
     */
    uint32_t looks_per_manifest;
    int64_t checkpoint_lifetime_ms;    /* 600000; of its own checkpoint: at least 1000 and twice the interval */
    uint64_t max_memtable_bytes;       /* 64 MiB; rows of the WAL gather in tables of about this size */
    uint64_t block_cache_bytes;        /* 64 MiB; decoded blocks, indexes and filters; 0: none */
    bool skip_wal_replay;              /* false; only what is in SSTs is seen, and no WAL object is looked at */
    bool no_checkpoint;                /* false; write nothing, not even a checkpoint */
    bool read_expired;                 /* true; as in shale_options */
    const struct shale_uuid *checkpoint; /* NULL; else stand at this checkpoint of the manifest, and follow nothing */
    struct shale_store *wal_store;     /* as in shale_options, as is the rest */
    const struct shale_merge_operator *merge_operator;
    const struct shale_block_transformer *block_transformer;
    const struct shale_clock *clock;
    struct shale_metrics *metrics;
    void (*on_change)(void *arg, const struct shale_reader_change *change); /* NULL; for each step after the open */
    void *on_change_arg;
};

SHALE_API void shale_reader_options_init(struct shale_reader_options *opt);
/* 0, or -EINVAL with a sentence that names the field, what it is and what it may be. */
SHALE_API int shale_reader_options_check(const struct shale_reader_options *opt);

/*
 * Open a database for following, or at a checkpoint. All that was durable when it was called is seen. opt NULL: the
 * defaults. -ENOENT when there is no database, or no such checkpoint; SHALE_EVERSION, SHALE_ECORRUPT,
 * SHALE_EINITIALIZED; -EINVAL for options that do not fit the database.
 */
SHALE_API int shale_reader_open(struct shale_store *store, const char *path, const struct shale_reader_options *opt,
                                struct shale_reader **out);
/*
 * Ends the reader, whatever it returns: every other call must have returned, every iterator be closed. 0, or why its
 * checkpoint could not be removed; it then expires. NULL is fine.
 */
SHALE_API int shale_reader_close(struct shale_reader *r);

/*
 * Look for what is new now: when it returns 0, all that was durable when it was called is seen. An error that may pass
 * (SHALE_ETRANSIENT, -ENOMEM) leaves the reader as it was. Does nothing at a checkpoint.
 */
SHALE_API int shale_reader_refresh(struct shale_reader *r);

/*
 * The number of the last step that reads see, 0 before the first. It is moved together with what they see: reads
 * between two calls that return the same number saw one state.
 */
SHALE_API uint64_t shale_reader_step(struct shale_reader *r);

/*
 * As shale_db_get and so on; a snapshot in opt is not looked at. A scan that fails with -ESTALE has looked for what is
 * new, so that one begun anew goes by the tree of now.
 */
SHALE_API int shale_reader_get(struct shale_reader *r, struct shale_slice key, const struct shale_read_options *opt,
                               struct shale_buf *value);
SHALE_API int shale_reader_get_row(struct shale_reader *r, struct shale_slice key,
                                   const struct shale_read_options *opt, struct shale_buf *value,
                                   struct shale_row *row);
SHALE_API int shale_reader_scan(struct shale_reader *r, const struct shale_key_range *range,
                                const struct shale_read_options *opt, struct shale_iter **out);
SHALE_API int shale_reader_scan_prefix(struct shale_reader *r, struct shale_slice prefix,
                                       const struct shale_read_options *opt, struct shale_iter **out);

struct shale_reader_status {
    int error;            /* 0 while alive; else why following ended */
    uint64_t seq;         /* newest that reads see */
    uint64_t manifest_id; /* of the version that reads go by */
    uint64_t next_wal_id; /* the WAL object that is looked for next */
    uint32_t n_tables;    /* rows of the WAL in memory */
    uint64_t table_bytes;
    bool has_checkpoint;  /* of its own, in the manifest */
    struct shale_uuid checkpoint;
    uint64_t cache_bytes, cache_hits, cache_misses;
    uint64_t steps;       /* since the open */
    uint64_t looks;       /* likewise, those that failed included */
    int64_t look_age_ms;  /* since the last look that found the store answering; all that was durable then is seen */
    int look_error;       /* of the last look, 0: it went well */
};

SHALE_API void shale_reader_status(struct shale_reader *r, struct shale_reader_status *out);

#ifdef __cplusplus
}
#endif
#endif
