/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_SHALE_H
#define SHALE_SHALE_H

#include <shale/error.h>
#include <shale/log.h>
#include <shale/object_store.h>
#include <shale/options.h>
#include <shale/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A database: an ordered map from keys to values under a path of an object store, in the format of SlateDB 0.12.1.
 * One handle writes; opening a second one fences the first. All functions may be called from any thread, but for
 * iterators and batches, which one thread uses at a time.
 *
 * Errors of every function that reads or writes: -ENOMEM; what the store returns; SHALE_ECORRUPT (names the object);
 * SHALE_EFENCED, SHALE_ECLOSED or the first background failure once the handle is dead: writes then fail with that
 * error, reads go on while the objects exist. shale_errmsg() has the sentence.
 */
struct shale_db;
struct shale_batch;
struct shale_snapshot;
struct shale_iter;

/*
 * Open for writing; create says whether a missing database is made. store is borrowed until close; path is where in
 * it the database lies ("" for the top). Recovers what was durable, and fences an older writer.
 * -ENOENT when it is missing and create is false; SHALE_EFENCED when yet another writer opened meanwhile;
 * SHALE_EVERSION, SHALE_ECORRUPT, SHALE_EINITIALIZED; -EINVAL for options that do not fit the database.
 */
SHALE_API int shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                            struct shale_db **out);

/*
 * How to close: what is not durable yet is written first, or given up.
 * SHALE_CLOSE_ABANDON leaves what a crash would leave.
 */
enum shale_close_mode { SHALE_CLOSE_FLUSH, SHALE_CLOSE_ABANDON };

/*
 * Ends the handle, whatever it returns: every other call must have returned, every iterator and snapshot be closed.
 * 0 when all that was written is durable; otherwise the error that kept it from being so. NULL is fine.
 */
SHALE_API int shale_db_close(struct shale_db *db, enum shale_close_mode mode);

/*
 * When a row expires.
 *   DEFAULT   default_ttl_ms after the write; a delete never expires
 *   NONE      never
 *   AFTER     ms after the write; a sum that overflows is never
 *   AT        at that time
 */
enum shale_ttl_kind { SHALE_TTL_DEFAULT, SHALE_TTL_NONE, SHALE_TTL_AFTER, SHALE_TTL_AT };

struct shale_ttl {
    enum shale_ttl_kind kind;
    int64_t ms; /* after the write, or Unix time */
};

#ifdef __cplusplus
#define SHALE_TTL_INIT (shale_ttl{ SHALE_TTL_DEFAULT, 0 })
#else
#define SHALE_TTL_INIT ((struct shale_ttl){ SHALE_TTL_DEFAULT, 0 })
#endif

/*
 * Changes that commit together, in one sequence number. A put or delete replaces what the batch said of the key before;
 * a merge is laid over it. Keys and values are copied. Each returns 0, -ENOMEM, or -EINVAL for a key or value size.
 */
SHALE_API int shale_batch_new(struct shale_batch **out);
SHALE_API void shale_batch_free(struct shale_batch *b); /* NULL is fine */
SHALE_API void shale_batch_clear(struct shale_batch *b);
SHALE_API int shale_batch_put(struct shale_batch *b, struct shale_slice key, struct shale_slice value,
                              struct shale_ttl ttl);
SHALE_API int shale_batch_merge(struct shale_batch *b, struct shale_slice key, struct shale_slice operand,
                                struct shale_ttl ttl);
SHALE_API int shale_batch_delete(struct shale_batch *b, struct shale_slice key);
SHALE_API size_t shale_batch_count(const struct shale_batch *b); /* operations */
SHALE_API size_t shale_batch_bytes(const struct shale_batch *b); /* keys and values */

/*
 * The batch's sequence number, greater than that of every batch committed before, and its time in
 * milliseconds since the Unix epoch, not less than theirs.
 */
struct shale_write_result {
    uint64_t seq;
    int64_t create_ts;
};

/*
 * Commit a batch: when it returns 0 every later read sees it, whole; with await_durable it is in the store, too.
 * The batch is unchanged and may be used again. Waits while more than max_unflushed_bytes are in memory.
 * -EINVAL for an empty batch; SHALE_EMERGE for a merge without a merge operator, or operands of one key with
 * different expiry; SHALE_ECLOCK. out may be NULL.
 */
SHALE_API int shale_db_write(struct shale_db *db, struct shale_batch *b, bool await_durable,
                             struct shale_write_result *out);

/*
 * A batch of one.
 * Default expiry. To choose another, use a batch. -EINVAL for the length of a key or value.
 */
SHALE_API int shale_db_put(struct shale_db *db, struct shale_slice key, struct shale_slice value, bool await_durable);
SHALE_API int shale_db_delete(struct shale_db *db, struct shale_slice key, bool await_durable);
SHALE_API int shale_db_merge(struct shale_db *db, struct shale_slice key, struct shale_slice operand,
                             bool await_durable);

enum shale_flush_kind {
    SHALE_FLUSH_WAL,      /* all that was written before the call is durable */
    SHALE_FLUSH_MEMTABLE, /* and is in L0 SSTs that the manifest names; waits for the compactor when L0 is full */
};

/* -EINVAL for a WAL flush of a database opened without WAL. */
SHALE_API int shale_db_flush(struct shale_db *db, enum shale_flush_kind kind);

/* All zero is the default. durable_only and snapshot together: what both allow. */
struct shale_read_options {
    bool durable_only;                   /* only what is in the store */
    bool descending;                     /* scans: greatest key first */
    bool no_cache_fill;                  /* do not put data blocks into the block cache */
    const struct shale_snapshot *snapshot; /* NULL: now */
    uint64_t read_ahead_bytes;           /* scans: 0 is one block at a time */
};

/*
 * The value of key replaces value. -ENOENT when there is none (-EINVAL for an empty key). opt may be NULL.
 * shale_db_get_row also tells sequence number and times: of a merged value the greatest sequence number and creation
 * time and the least expiry. Its key is the caller's and its value points into value.
 */
SHALE_API int shale_db_get(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
                           struct shale_buf *value);
SHALE_API int shale_db_get_row(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
                               struct shale_buf *value, struct shale_row *row);

/* A range of keys: from inclusive, to exclusive; NULL data with len 0 is an open end. */
struct shale_key_range {
    struct shale_slice from;
    struct shale_slice to;
};

/*
 * Keys and values of one moment, in key order (or reverse). The range is copied; a range that cannot hold a key gives
 * nothing. opt may be NULL. The prefix form gives the keys that begin with it.
 * The iterator keeps memtables and the list of SSTs of its moment in memory until it is closed.
 * An object that a collector took meanwhile shows as -ENOENT.
 */
SHALE_API int shale_db_scan(struct shale_db *db, const struct shale_key_range *range,
                            const struct shale_read_options *opt, struct shale_iter **out);
SHALE_API int shale_db_scan_prefix(struct shale_db *db, struct shale_slice prefix,
                                   const struct shale_read_options *opt, struct shale_iter **out);

/* 0 and a row, borrowed until the next call on the iterator; SHALE_END; or an error, which then repeats. */
SHALE_API int shale_iter_next(struct shale_iter *it, struct shale_row *row);
/*
 * Go on with the first key at or after key (descending: at or before). -EINVAL outside the range, or not beyond the
 * last key returned.
 */
SHALE_API int shale_iter_seek(struct shale_iter *it, struct shale_slice key);
SHALE_API void shale_iter_close(struct shale_iter *it); /* NULL is fine */

/*
 * Pins what is committed now; reads with it see nothing else until it is released.
 * In memory only, and only in this process. Keeps old versions from being dropped by flushes and
 * compactions, so it should not be held for long. -ENOMEM.
 */
SHALE_API int shale_db_snapshot(struct shale_db *db, struct shale_snapshot **out);
SHALE_API uint64_t shale_snapshot_seq(const struct shale_snapshot *s);
SHALE_API void shale_snapshot_release(struct shale_db *db, struct shale_snapshot *s); /* NULL is fine */

/*
 * Bytes of L0 and runs are data, filters and indexes. The counters begin at 0 when the handle is
 * opened.
 */
struct shale_db_status {
    int error;               /* 0 while alive; else what the handle died of */
    uint64_t committed_seq;  /* newest that reads see */
    uint64_t durable_seq;    /* newest that is in the store */
    uint64_t manifest_id;
    uint64_t writer_epoch;
    uint64_t next_wal_id;
    uint64_t replay_after_wal_id;
    uint64_t unflushed_bytes; /* in memory only, or not yet in L0 */
    uint32_t n_memtables;     /* frozen ones */
    uint32_t n_l0;
    uint32_t n_runs;
    uint64_t l0_bytes;
    uint64_t run_bytes;
    uint32_t n_compacting;    /* compactions that run now */
    uint64_t wal_objects;     /* written by this handle */
    uint64_t l0_flushes;
    uint64_t compactions;
    uint64_t cache_bytes, cache_hits, cache_misses;
};

/* Any thread, also once the handle is dead. Does no I/O. */
SHALE_API void shale_db_status(struct shale_db *db, struct shale_db_status *out);

/* Library version as "0.1.0". */
SHALE_API const char *shale_version(void);

#ifdef __cplusplus
}
#endif
#endif
