/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/compact_metrics.h"

#include "base/alloc.h"

#define COMPACTOR(field, kind_, name_, help_)                                                                          \
    {                                                                                                                  \
        .at = offsetof(struct compactor_metrics, field), .desc = {                                                     \
            .kind = kind_, .name = "slatedb.compactor." name_, .help = help_                                           \
        }                                                                                                              \
    }

static const struct metric_slot compactor_slots[] = {
    COMPACTOR(bytes_compacted, SHALE_METRIC_COUNTER, "bytes_compacted", "Bytes of data that compactions have written"),
    COMPACTOR(running, SHALE_METRIC_UP_DOWN_COUNTER, "running_compactions", "Compactions that run now"),
    COMPACTOR(last_timestamp_s, SHALE_METRIC_GAUGE, "last_compaction_timestamp_sec",
              "When the last compaction was completed, in seconds of Unix time"),
    COMPACTOR(bytes_in_progress, SHALE_METRIC_GAUGE, "total_bytes_being_compacted",
              "Bytes of the sources of the compactions that run now"),
    COMPACTOR(bytes_per_s, SHALE_METRIC_GAUGE, "total_throughput_bytes_per_sec",
              "Bytes read per second by the compactions that run now"),
};

#define DELETED(kind_, resource_)                                                                                      \
    {                                                                                                                  \
        .at = offsetof(struct gc_metrics, deleted[kind_]), .desc = {                                                   \
            .kind = SHALE_METRIC_COUNTER,                                                                              \
            .name = "slatedb.gc.deleted_count",                                                                        \
            .help = "Objects that were removed as garbage",                                                            \
            .labels = (const struct shale_metric_label[]){ { "resource", resource_ } },                                \
            .n_labels = 1                                                                                              \
        }                                                                                                              \
    }

static const struct metric_slot gc_slots[] = {
    DELETED(SHALE_GC_MANIFEST, "manifest"),
    DELETED(SHALE_GC_WAL, "wal"),
    DELETED(SHALE_GC_COMPACTED, "compacted"),
    DELETED(SHALE_GC_COMPACTIONS, "compactions"),
    { .at = offsetof(struct gc_metrics, runs),
      .desc = { .kind = SHALE_METRIC_COUNTER, .name = "slatedb.gc.count", .help = "Runs of the garbage collector" } },
};

int compactor_metrics_init(struct compactor_metrics *c, struct shale_metrics *m)
{
    return metrics_add_slots(m, c, compactor_slots, ARRAY_SIZE(compactor_slots));
}

int gc_metrics_init(struct gc_metrics *g, struct shale_metrics *m)
{
    return metrics_add_slots(m, g, gc_slots, ARRAY_SIZE(gc_slots));
}
