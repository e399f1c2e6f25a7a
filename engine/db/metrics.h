/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_METRICS_H
#define DB_METRICS_H

#include "compact/compact_metrics.h"
#include "mem/counted_operator.h"
#include "object/store_metered.h"
#include "sst/table_metrics.h"

struct shale_options;

/* Stores of a handle by who asks: the same two objects underneath. */
enum db_store {
    DB_STORE_MAIN,
    DB_STORE_WAL, /* of these four those of the WAL only where there is a store for it */
    DB_STORE_COMPACTOR,
    DB_STORE_GC,
    DB_STORE_GC_WAL,
    DB_N_STORES
};

/*
 * What a handle counts. Pointers into a registry; a metric that is NULL is not counted. A reader has no writer's
 * metrics, and what only reads has none of the compactor and the collector.
 */
struct db_metrics {
    struct shale_metrics *registry;
    bool owns_registry;
    struct metric *gets, *scans, *flushes, *write_ops, *write_batches, *backpressure, *memtable_flushes, *wal_flushes,
        *wal_flush_requests, *wal_bytes, *mem_bytes, *l0_ssts, *l0_flush_bytes;
    struct table_metrics tables;
    struct compactor_metrics compactor;
    struct gc_metrics gc;
    struct counted_operator read_op, flush_op; /* the handle's merge operator on these paths */
};

/* For a handle with these options. Also after a failure db_metrics_fini is to be called. m must not move afterwards. */
int db_metrics_init(struct db_metrics *m, const struct shale_options *opt);
void db_metrics_fini(struct db_metrics *m);

#endif
