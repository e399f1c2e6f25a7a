/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_COMPACTION_JOB_H
#define COMPACT_COMPACTION_JOB_H

#include "sst/table_store.h"

#include <shale/options.h>
#include <stdatomic.h>

/* Merges inputs into one sorted run (R180-R201). The inputs are borrowed while it runs. */
struct compaction_job {
    struct shale_ulid id;          /* of the compaction; outputs get younger ids */
    uint32_t destination;
    const struct sst_view *l0;     /* newest first */
    size_t n_l0;
    const struct sorted_run *runs; /* id descending */
    size_t n_runs;
    struct sst_handle *const *outputs; /* written by an earlier attempt, in key order */
    size_t n_outputs;
    int64_t clock_tick;
    bool is_last_run;
    uint64_t retention_min_seq;
    uint64_t max_sst_size;
    struct table_store *ts;
    const struct shale_merge_operator *op;         /* may be NULL */
    const struct shale_compaction_filter *filter;  /* may be NULL */
    const struct shale_clock *clock;               /* NULL: the system's */
    const _Atomic bool *cancel;                    /* relaxed; set from any thread to stop: SHALE_ECANCELED */
    /* Called at most each second and at every finished output; outputs so far, borrowed. May be NULL. An error stops. */
    int (*progress)(void *arg, uint64_t bytes_read, struct sst_handle *const *outputs, size_t n_outputs);
    void *progress_arg;
};

/*
 * Run it on this thread. On success *out is the run: id destination, earlier outputs included; no SSTs when every row
 * was dropped. On failure nothing that was newly written is referenced by anybody. SHALE_ECANCELED when stopped.
 */
int compaction_job_run(const struct compaction_job *job, struct sorted_run *out);

#endif
