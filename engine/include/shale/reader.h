/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_READER_H
#define SHALE_READER_H

#include <shale/shale.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Reads of a database that another process, or another handle of this one, writes; it fences nobody. A reader follows:
 * it looks for new versions of the manifest and new WAL objects, by itself and when told to, and then shows what was durable at
 * that time; never less than before, and never a part of a batch. Or it stands at a checkpoint.
 *
 * A following reader keeps a checkpoint of its own in the manifest, so that nothing is collected from under it, and
 * renews it. With no_checkpoint it writes nothing, and read-only credentials do; what a garbage collector then removes from under
 * a read that takes longer than the collector waits is -ESTALE, and such a read is to be begun anew.
 *
 * All functions may be called from any thread, but for iterators, which one thread uses at a time. Errors are those of
 * shale_db_get and so on. When following fails for good (corrupt data, no permission), every later read fails with that error.
 */
struct shale_reader;

/* Start from shale_reader_options_init. Pointers are borrowed until the reader is closed. */
struct shale_reader_options {
    int64_t manifest_poll_interval_ms; /* 10000; between looks for what is new */
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
};

SHALE_API void shale_reader_options_init(struct shale_reader_options *opt);
/* 0, or -EINVAL with a sentence that names the field, what it is and what it may be. */
SHALE_API int shale_reader_options_check(const struct shale_reader_options *opt);

/*
 * Open a database for following, or at a checkpoint. All that was durable when it was called is seen. opt NULL: the defaults.
 * -ENOENT when there is no database, or no such checkpoint; SHALE_EVERSION, SHALE_ECORRUPT, SHALE_EINITIALIZED; -EINVAL for
 * options that do not fit the database.
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

/* As shale_db_get and so on; a snapshot in opt is not looked at. */
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
};

SHALE_API void shale_reader_status(struct shale_reader *r, struct shale_reader_status *out);

#ifdef __cplusplus
}
#endif
#endif
