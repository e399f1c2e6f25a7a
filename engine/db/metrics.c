/* SPDX-License-Identifier: Apache-2.0 */
/* The names and texts of what a handle counts: those of SlateDB 0.12.1, db_stats.rs. */
#include "db/reader.h"

#include "base/alloc.h"

#define OF_DB(field, kind_, name_, help_)                                                                              \
    {                                                                                                                  \
        .at = offsetof(struct db_metrics, field), .desc = {                                                            \
            .kind = kind_, .name = "slatedb.db." name_, .help = help_                                                  \
        }                                                                                                              \
    }
#define REQUESTS(field, op_)                                                                                           \
    {                                                                                                                  \
        .at = offsetof(struct db_metrics, field), .desc = {                                                            \
            .kind = SHALE_METRIC_COUNTER,                                                                              \
            .name = "slatedb.db.request_count",                                                                        \
            .help = "Calls",                                                                                           \
            .labels = (const struct shale_metric_label[]){ { "op", op_ } },                                            \
            .n_labels = 1                                                                                              \
        }                                                                                                              \
    }

static const struct metric_slot reading_slots[] = {
    REQUESTS(gets, "get"),
    REQUESTS(scans, "scan"),
    OF_DB(l0_ssts, SHALE_METRIC_GAUGE, "l0_sst_count", "SSTs in L0"),
};

static const struct metric_slot writing_slots[] = {
    REQUESTS(flushes, "flush"),
    OF_DB(write_ops, SHALE_METRIC_COUNTER, "write_ops", "Operations in batches that were to be written"),
    OF_DB(write_batches, SHALE_METRIC_COUNTER, "write_batch_count", "Batches that were to be written"),
    OF_DB(backpressure, SHALE_METRIC_COUNTER, "backpressure_count", "Times that a writer waited for room in memory"),
    OF_DB(memtable_flushes, SHALE_METRIC_COUNTER, "immutable_memtable_flushes", "Frozen memtables that are in L0"),
    OF_DB(wal_flushes, SHALE_METRIC_COUNTER, "wal_buffer_flushes", "WAL objects written"),
    OF_DB(wal_flush_requests, SHALE_METRIC_COUNTER, "wal_buffer_flush_requests", "Requests to write a WAL object"),
    OF_DB(wal_bytes, SHALE_METRIC_GAUGE, "wal_buffer_estimated_bytes", "Bytes of rows that are in no WAL object yet"),
    OF_DB(mem_bytes, SHALE_METRIC_GAUGE, "total_mem_size_bytes",
          "Bytes of rows in memory that count against max_unflushed_bytes"),
    OF_DB(l0_flush_bytes, SHALE_METRIC_COUNTER, "l0_flush_bytes", "Bytes of the L0 SSTs written"),
};

static int add_writing(struct db_metrics *m, const struct shale_options *opt)
{
    int rc = metrics_add_slots(m->registry, m, writing_slots, ARRAY_SIZE(writing_slots));

    if (rc == 0)
        rc = gc_metrics_init(&m->gc, m->registry);
    if (rc == 0 && opt->compactor.enabled)
        rc = compactor_metrics_init(&m->compactor, m->registry);
    return rc;
}

int db_metrics_init(struct db_metrics *m, const struct shale_options *opt)
{
    int rc = 0;

    m->registry = opt->metrics;
    if (!m->registry) {
        rc = shale_metrics_new(SHALE_METRIC_INFO, NULL, &m->registry);
        m->owns_registry = rc == 0;
    }
    if (rc == 0)
        rc = metrics_add_slots(m->registry, m, reading_slots, ARRAY_SIZE(reading_slots));
    if (rc == 0)
        rc = table_metrics_init(&m->tables, m->registry);
    if (rc == 0)
        rc = counted_operator_init(&m->read_op, opt->merge_operator, m->registry, "read");
    if (rc == 0 && !opt->read_only)
        rc = counted_operator_init(&m->flush_op, opt->merge_operator, m->registry, "flush");
    if (rc == 0 && !opt->read_only)
        rc = add_writing(m, opt);
    return rc;
}

void db_metrics_fini(struct db_metrics *m)
{
    if (m->owns_registry)
        shale_metrics_free(m->registry);
    *m = (struct db_metrics){ 0 };
}

struct shale_metrics *shale_db_metrics(struct shale_db *db)
{
    return db->metrics.registry;
}

struct shale_metrics *shale_reader_metrics(struct shale_reader *r)
{
    return r->db->metrics.registry;
}
