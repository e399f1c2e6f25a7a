/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_TXN_H
#define DB_TXN_H

#include "db/db.h"
#include "db/key_set.h"

#include <shale/transaction.h>

/*
 * Inside of a transaction. Its own writes are versions in a memtable of its own, numbered in the order of the calls above all
 * sequence numbers of the database; a read looks at it first, a scan up to the number that was the last when it was begun, so that
 * nothing is ever copied (H33).
 */
#define TXN_OWN_SEQ ((uint64_t)1 << 63)

struct shale_txn {
    struct shale_db *db;
    struct list node;           /* of db->txns */
    struct shale_snapshot snap; /* its seq is where reads stand; keeps what they need */
    enum shale_isolation isolation;
    struct shale_batch *batch;  /* the writes in call order */
    struct memtable *own;       /* the same, for reads; NULL: none yet */
    uint64_t own_seq;           /* of the last one */
    struct key_set writes, reads;
    struct list scans;          /* of struct txn_scan */
};

/* A stretch of keys that a scan went over. */
struct txn_stretch {
    struct shale_buf from, to;
    struct key_range range; /* of them */
    bool is_read;           /* false: begun, and nothing read yet */
};

/*
 * How far a scan was read: the whole range that was asked for, not only the keys that were found, up to where it stands (H5).
 * Shared by the transaction and the iterator, whichever lives longer.
 */
struct txn_scan {
    struct list node; /* of the transaction; alone: that one has ended */
    int refs;
    bool descending;
    struct txn_stretch *stretches; /* the last one grows; a seek begins another */
    size_t n, cap;
    struct shale_buf end; /* where the range ends, in the direction of the scan */
    enum key_bound_kind end_kind;
};

int txn_scan_new(const struct key_range *range, bool descending, struct txn_scan **out);
struct txn_scan *txn_scan_ref(struct txn_scan *s);
void txn_scan_unref(struct txn_scan *s); /* NULL is fine */
/* The scan gave key / gave no more / goes on at key. 0 or -ENOMEM. */
int txn_scan_note_row(struct txn_scan *s, struct shale_slice key);
int txn_scan_note_end(struct txn_scan *s);
int txn_scan_note_seek(struct txn_scan *s, struct shale_slice key);

/*
 * txn_check.c. Whether a commit since t began is in its way: 0, SHALE_ECONFLICT or -ENOMEM (R289). The sets are
 * settled. REQUIRES(wmu)
 */
int txn_check(const struct shale_db *db, const struct shale_txn *t);
/*
 * What a commit asks and tells, in this order; all REQUIRES(wmu). txn NULL: plain writes. The first is 0, SHALE_ECONFLICT or
 * -ENOMEM, and *logged says that the other has to be called.
 */
int txn_before_commit(struct shale_db *db, struct shale_txn *txn, const struct batch_rows *rows, bool *logged);
void txn_after_commit(struct shale_db *db, struct shale_txn *txn, const struct batch_rows *rows, uint64_t seq);

/* Transactions that were never ended; for the end of the handle. */
void txn_free_all(struct shale_db *db);

#endif
