/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_MEMTABLE_H
#define MEM_MEMTABLE_H

#include "format/key_range.h"

#include <stdatomic.h>

/*
 * Rows in order in memory: a tree of keys, rows in an arena. One thread inserts at a time (the caller's lock); any
 * number read meanwhile without a lock and see every row that was inserted before they began. Rows are never removed.
 */
struct memtable;

int memtable_new(struct memtable **out);
struct memtable *memtable_ref(struct memtable *m);
void memtable_unref(struct memtable *m); /* NULL is fine; the last one frees */

/*
 * Insert a copy of row; *stored (may be NULL) is the copy, which lives as long as the table. A (key, seq) that is there
 * already is an error of the caller: -EEXIST. -ENOMEM leaves the table unchanged.
 */
int memtable_insert(struct memtable *m, const struct shale_row *row, const struct shale_row **stored);

/*
 * Give the (key, seq) of row the kind, value and times of row instead of its own. Nobody else may use the table meanwhile.
 * -ENOENT when it is not there.
 */
int memtable_replace(struct memtable *m, const struct shale_row *row);

/*
 * Allocate beforehand what inserting these n rows needs, so that inserting them cannot fail.
 * Only until the next insertion that was not among the rows. -ENOMEM leaves what was reserved for
 * later ones.
 */
int memtable_reserve(struct memtable *m, const struct shale_row *rows, size_t n);

struct memtable_stats {
    size_t n_rows;
    uint64_t row_bytes;   /* sum of R26 estimates */
    uint64_t alloc_bytes; /* memory taken */
    uint64_t first_seq, last_seq; /* 0 when empty */
    int64_t max_create_ts;        /* SHALE_NO_TS when none */
};

/* Exact for the inserting thread; for others a recent state. */
void memtable_stats(const struct memtable *m, struct memtable_stats *out);

/* An iterator with a reference of its own. The range is copied. Rows stay valid as long as the table. */
int memtable_iter_new(struct memtable *m, const struct key_range *range, enum iter_order order, struct iter **out);

/* The newest version of key with seq <= max_seq, or NULL; *out may be followed with memtable_older. */
const struct shale_row *memtable_find(const struct memtable *m, struct shale_slice key, uint64_t max_seq);
/* The next older version of the same key, or NULL. */
const struct shale_row *memtable_older(const struct shale_row *row);

/* Estimated bytes of n rows of row_bytes (R26) as an encoded SST (R27); key_term is 12 for compacted, 8 for WAL SSTs. */
uint64_t sst_size_estimate(uint64_t n, uint64_t row_bytes, uint32_t block_size, uint32_t key_term,
                           uint32_t min_filter_keys, uint32_t bits_per_key);
/* R26. */
static inline uint64_t row_size_estimate(const struct shale_row *r)
{
    return r->key.len + r->value.len + 8 + (r->create_ts != SHALE_NO_TS ? 8 : 0) + (r->expire_ts != SHALE_NO_TS ? 8 : 0);
}

#endif
