/* SPDX-License-Identifier: Apache-2.0 */
#include "sst/table_metrics.h"

#include "base/alloc.h"

#define ACCESS(field, kind_, result_)                                                                                  \
    {                                                                                                                  \
        .at = offsetof(struct table_metrics, field), .desc = {                                                         \
            .kind = SHALE_METRIC_COUNTER,                                                                              \
            .name = "slatedb.db_cache.access_count",                                                                   \
            .help = "Look-ups in the block cache",                                                                     \
            .labels = (const struct shale_metric_label[]){ { "entry_kind", kind_ }, { "result", result_ } },           \
            .n_labels = 2                                                                                              \
        }                                                                                                              \
    }
#define FILTER(field, name_, help_)                                                                                    \
    {                                                                                                                  \
        .at = offsetof(struct table_metrics, field), .desc = {                                                         \
            .kind = SHALE_METRIC_COUNTER, .name = "slatedb.db.sst_filter_" name_ "_count", .help = help_               \
        }                                                                                                              \
    }

static const struct metric_slot slots[] = {
    FILTER(filter_positive, "positive", "Look-ups of a key in an SST whose filter said that it may be there"),
    FILTER(filter_negative, "negative", "Look-ups of a key in an SST whose filter said that it is not there"),
    FILTER(filter_false_positive, "false_positive", "Look-ups for which the filter said yes and the key was not there"),
    ACCESS(hit[TABLE_PART_FILTER], "filter", "hit"),
    ACCESS(miss[TABLE_PART_FILTER], "filter", "miss"),
    ACCESS(hit[TABLE_PART_INDEX], "index", "hit"),
    ACCESS(miss[TABLE_PART_INDEX], "index", "miss"),
    ACCESS(hit[TABLE_PART_BLOCK], "data_block", "hit"),
    ACCESS(miss[TABLE_PART_BLOCK], "data_block", "miss"),
};

int table_metrics_init(struct table_metrics *t, struct shale_metrics *m)
{
    return metrics_add_slots(m, t, slots, ARRAY_SIZE(slots));
}
