/* SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_POINT_GET_H
#define READ_POINT_GET_H

#include "mem/memtable.h"
#include "sst/sst_iter.h"

#include <shale/options.h>

/*
 * Everything a read looks at, newest layer first (R142). All borrowed while it is used.
 * No layer may hold an older version of a key than a layer below it (R330): reads stop at the
 * first that settles them.
 */
struct read_layers {
    struct memtable *own; /* the writes of a transaction, above all else; NULL: none */
    uint64_t own_max_seq; /* its rows above are not seen */
    struct memtable *const *tables; /* active, then frozen ones newest first */
    size_t n_tables;
    uint64_t tables_after; /* rows of the tables (not of own) up to here are not seen */
    const struct manifest *manifest; /* its L0 and runs */
    struct table_store *ts;
    const struct shale_merge_operator *op;
    uint64_t max_seq;
    bool fill_cache;
    int64_t expire_now; /* rows expired at this time are not seen (H9); SHALE_NO_TS: all are */
};

/*
 * The row of one key (R142-R147): layers are opened one by one until a value or tombstone is found. 0 and the row,
 * whose value points into value (replaced) and whose key is the caller's; -ENOENT.
 */
int point_get(const struct read_layers *l, struct shale_slice key, struct shale_buf *value, struct shale_row *row);

/*
 * All keys of the range as a reader sees them: folded, no tombstones (R148-R155). The manifest and the range's bytes are
 * borrowed while it lives; of tables and SSTs it has references.
 */
int scan_iter_new(const struct read_layers *l, const struct key_range *range, const struct sst_iter_options *opt,
                  struct iter **out);

#endif
