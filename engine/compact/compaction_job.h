/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_COMPACTION_JOB_H
#define COMPACT_COMPACTION_JOB_H

#include "sst/table_store.h"

#include <shale/options.h>
#include <stdatomic.h>

/*
 * Merges inputs into one sorted run (R180-R201). The inputs are borrowed while it runs. Rows pass, in this order:
 * merge of all inputs, fold of merge operands, retention, filter, resume, output (R183). How outputs are split:
 * compact/output_set.h.
 */
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
    uint64_t retention_min_seq;    /* UINT64_MAX: no reader needs an old version */
    uint64_t max_sst_size;
    struct table_store *ts;
    const struct shale_merge_operator *op;         /* may be NULL */
    const struct shale_compaction_filter *filter;  /* may be NULL */
    const struct shale_clock *clock;               /* NULL: the system's */
    struct metric *written;                        /* block bytes of outputs; NULL: not counted */
    const _Atomic bool *cancel;                    /* relaxed; any thread sets it to stop the job; may be NULL */
    /*
     * Called when a second has passed since the last call and at every output that is finished before the last.
     * bytes_read counts keys and values, estimated for what an earlier attempt had read. outputs: so far, in key
     * order, borrowed. Those shown here belong to the receiver from then on, who deletes them when the job does not
     * succeed. An error stops the job. May be NULL.
     */
    int (*progress)(void *arg, uint64_t bytes_read, struct sst_handle *const *outputs, size_t n_outputs);
    void *progress_arg;
};

/*
 * Run it on this thread. On success *out is the run: id destination, earlier outputs included; no SSTs when every
 * row was dropped. On failure the outputs that were not shown to progress are deleted, and nobody refers to them.
 * SHALE_ECANCELED when stopped.
 *
 * Resuming: earlier outputs are kept, and the row that ends the last one says where to go on. When that row is a
 * merge operand above older rows of its key, SlateDB may have closed the output between operands which a fold would
 * now make one row with the newest sequence number, taken for written: the older ones would be lost (R191). Such an
 * output is left out and written again.
 */
int compaction_job_run(const struct compaction_job *job, struct sorted_run *out);

#endif
