/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_READ_PATH_H
#define DB_READ_PATH_H

#include "db/db.h"

struct txn_scan;

/* What a transaction adds to its reads. */
struct own_writes {
    struct memtable *table; /* borrowed; NULL: none */
    uint64_t max_seq;       /* rows of it above are not seen yet */
    struct txn_scan *scan;  /* takes note of how far a scan goes; NULL: nobody wants to know */
};

/*
 * What a read of view v up to max_seq looks at; borrows v.
 * The time for expiry is taken here, once for the whole read.
 */
void db_read_layers(struct shale_db *db, const struct db_view *v, uint64_t max_seq,
                    const struct shale_read_options *opt, struct read_layers *out);

/* shale_db_get_row and shale_db_scan over the writes of a transaction, which own (NULL: none) tells of. */
int db_get_row(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
               const struct own_writes *own, struct shale_buf *value, struct shale_row *row);
int db_scan(struct shale_db *db, const struct key_range *range, const struct shale_read_options *opt,
            const struct own_writes *own, struct shale_iter **out);
/*
 * A read of view v found an object gone (-ESTALE): another process compacted and collected before this one has looked
 * at the manifest again. Look now; whether there is a newer view, so that the read may be done once more. Never for a
 * handle that only reads, which stays where it was opened, unless it is that of a reader.
 */
bool db_read_is_stale(struct shale_db *db, const struct db_view *v, int rc);
/* A range of the public form. */
struct key_range db_key_range(const struct shale_key_range *range);

#endif
