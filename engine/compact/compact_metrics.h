/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_COMPACT_METRICS_H
#define COMPACT_COMPACT_METRICS_H

#include "base/metrics.h"

#include <shale/admin.h>

/* What a compactor counts (section 14.8). All zero: nothing. */
struct compactor_metrics {
    struct metric *bytes_compacted;   /* block bytes of each output */
    struct metric *running;
    struct metric *last_timestamp_s;  /* when the last one was published */
    struct metric *bytes_in_progress; /* of the sources of those that run */
    struct metric *bytes_per_s;       /* that those read on average since they began */
};

int compactor_metrics_init(struct compactor_metrics *c, struct shale_metrics *m);

/* What a collector counts (R323). All zero: nothing. */
struct gc_metrics {
    struct metric *deleted[SHALE_GC_N_KINDS];
    struct metric *runs;
};

int gc_metrics_init(struct gc_metrics *g, struct shale_metrics *m);

#endif
