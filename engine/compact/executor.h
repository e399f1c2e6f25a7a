/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_EXECUTOR_H
#define COMPACT_EXECUTOR_H

#include "compact/compact_metrics.h"
#include "compact/compaction_job.h"
#include "manifest/manifest_store.h"

/*
 * Runs compaction jobs on threads of its own and keeps what they report until it is asked for (R202-R207). The
 * functions may be called from any thread; they never wait for a job but for executor_stop.
 */
struct executor;

struct executor_config {
    size_t max_jobs;                               /* threads; more jobs queue */
    struct table_store *ts;                        /* borrowed, as all below */
    const struct shale_merge_operator *op;
    const struct shale_compaction_filter *filter;
    const struct shale_clock *clock;
    const struct compactor_metrics *metrics;       /* NULL: nothing is counted */
    uint64_t max_sst_size;
    void (*notify)(void *arg); /* executor_next has something; called without a lock, on any thread */
    void *arg;
};

/* What has become known of a job since the last time. */
struct executor_event {
    struct shale_ulid id;
    struct sst_handle **outputs; /* finished so far, as last reported, in key order; shared */
    size_t n_outputs;
    uint64_t bytes_read;
    bool finished;
    int rc;                      /* finished: outcome */
    char sentence[256];          /* of a failure */
    struct sorted_run run;       /* finished with 0: the result */
};

void executor_event_fini(struct executor_event *e);

int executor_new(const struct executor_config *cfg, struct executor **out);
/*
 * Begin the job of c, whose sources are in base, which is kept by a reference. 0; -EINVAL when they are not; -ENOMEM;
 * SHALE_ECANCELED after executor_stop. Exactly one event with finished follows a 0.
 */
int executor_start(struct executor *x, const struct compaction *c, struct manifest_version *base);
bool executor_has(struct executor *x, struct shale_ulid id); /* started, and its last event not yet taken */
size_t executor_running(struct executor *x);
/* Of all that run: bytes of their sources, what was read of them as last reported, the sum of their times so far. */
struct executor_totals {
    uint64_t bytes_total, bytes_read;
    int64_t ms;
};

void executor_totals(struct executor *x, struct executor_totals *out);
/*
 * true and an event (owned by the caller), or false when there is none.
 * Events of one job come in order, and the one with finished last; between jobs there is no
 * order.
 */
bool executor_next(struct executor *x, struct executor_event *out);
/* Refuse new jobs, stop those that run and wait for them; their events can be taken. */
void executor_stop(struct executor *x);
void executor_free(struct executor *x); /* stops; NULL is fine */

#endif
