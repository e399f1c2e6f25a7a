/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_TRANSACTION_H
#define SHALE_TRANSACTION_H

#include <shale/shale.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Transactions: reads of one moment and writes that commit together, unless a commit that came in between is in their way.
 *
 * A transaction reads what was committed when it began, under its own writes. It never waits for another one and never
 * stops one: conflicts show when it commits, and the first to commit wins. What counts as being in the way, of a commit
 * (of a transaction or of plain writes) that took place since the transaction began:
 *
 *   SHALE_TXN_SNAPSHOT      it wrote a key that this transaction writes, or has marked as read
 *   SHALE_TXN_SERIALIZABLE  also: a key that this transaction got, found or not, or a key in a range that it scanned, as
 *                           far as the scan was read. What commits could have run one after the other, in the order of
 *                           the commits; also a transaction without writes that commits
 *
 * Reads and writes past the transaction (shale_db_get, snapshots) are not part of it. A transaction and its iterators are
 * used by one thread at a time; different ones by any threads. Every transaction must have ended before its database is closed.
 * It keeps versions that it may read from being compacted away, and its own writes in memory, twice.
 */
enum shale_isolation {
    SHALE_TXN_SNAPSHOT,
    SHALE_TXN_SERIALIZABLE,
};

struct shale_txn;

/* 0; -EINVAL for an unknown isolation; -ENOMEM; the error that the handle died of. */
SHALE_API int shale_txn_begin(struct shale_db *db, enum shale_isolation isolation, struct shale_txn **out);
/* The sequence number up to which it reads. */
SHALE_API uint64_t shale_txn_seq(const struct shale_txn *txn);

/*
 * As shale_db_put and so on, and as shale_batch_put as to errors and times to live; the expiry is reckoned when the
 * transaction commits. Other threads see nothing of it before. SHALE_EMERGE for a merge without merge operator.
 */
SHALE_API int shale_txn_put(struct shale_txn *txn, struct shale_slice key, struct shale_slice value,
                            struct shale_ttl ttl);
SHALE_API int shale_txn_merge(struct shale_txn *txn, struct shale_slice key, struct shale_slice operand,
                              struct shale_ttl ttl);
SHALE_API int shale_txn_delete(struct shale_txn *txn, struct shale_slice key);

/*
 * As shale_db_get and so on. The snapshot of opt is not looked at; durable_only hides what was not durable when the
 * transaction reads, but never its own writes. Own writes, and what they are merged into, have sequence number
 * UINT64_MAX; operands of them alone no times.
 */
SHALE_API int shale_txn_get(struct shale_txn *txn, struct shale_slice key, const struct shale_read_options *opt,
                            struct shale_buf *value);
SHALE_API int shale_txn_get_row(struct shale_txn *txn, struct shale_slice key, const struct shale_read_options *opt,
                                struct shale_buf *value, struct shale_row *row);
/*
 * The iterator shows the transaction's writes up to this call and none that come later. It may outlive the transaction;
 * what is read then is no longer part of it.
 */
SHALE_API int shale_txn_scan(struct shale_txn *txn, const struct shale_key_range *range,
                             const struct shale_read_options *opt, struct shale_iter **out);
SHALE_API int shale_txn_scan_prefix(struct shale_txn *txn, struct shale_slice prefix,
                                    const struct shale_read_options *opt, struct shale_iter **out);

/* Let a key count as read, in either isolation, whether or not it was. 0, -ENOMEM, or -EINVAL for a key size. */
SHALE_API int shale_txn_mark_read(struct shale_txn *txn, struct shale_slice key);
/*
 * Let a key that was written count as not written: this transaction has no conflict over it, nor has any other because of
 * this one. The write still happens; a later write of the key counts again. For operands that may go in any order.
 * 0 or -ENOMEM.
 */
SHALE_API int shale_txn_unmark_write(struct shale_txn *txn, struct shale_slice key);

/*
 * Commit, as shale_db_write does, and end the transaction, whatever this returns. SHALE_ECONFLICT: a commit was in the way,
 * nothing was written; begin anew. Without writes only reads are checked, and those only when serializable; out is then left
 * as it is. out may be NULL.
 */
SHALE_API int shale_txn_commit(struct shale_txn *txn, bool await_durable, struct shale_write_result *out);
/* End it; nothing is written. NULL is fine. */
SHALE_API void shale_txn_rollback(struct shale_txn *txn);

#ifdef __cplusplus
}
#endif
#endif
