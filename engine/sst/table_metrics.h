/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_TABLE_METRICS_H
#define SST_TABLE_METRICS_H

#include "base/metrics.h"

#include <stdbool.h>

/* Parts of an SST that have a place in the block cache. */
enum table_part { TABLE_PART_FILTER, TABLE_PART_INDEX, TABLE_PART_BLOCK, TABLE_N_PARTS };

/* What reads of SSTs count. A table store without cache counts no accesses to it. */
struct table_metrics {
    struct metric *filter_positive, *filter_negative, *filter_false_positive; /* of look-ups of one key */
    struct metric *hit[TABLE_N_PARTS], *miss[TABLE_N_PARTS];
};

int table_metrics_init(struct table_metrics *t, struct shale_metrics *m);

/* t may be NULL, as in all that follow. */
static inline void table_metrics_access(const struct table_metrics *t, enum table_part part, bool hit)
{
    if (t)
        metric_count(hit ? t->hit[part] : t->miss[part], 1);
}

static inline void table_metrics_filter(const struct table_metrics *t, bool positive)
{
    if (t)
        metric_count(positive ? t->filter_positive : t->filter_negative, 1);
}

static inline void table_metrics_false_positive(const struct table_metrics *t)
{
    if (t)
        metric_count(t->filter_false_positive, 1);
}

#endif
