/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_COMPACTOR_H
#define COMPACT_COMPACTOR_H

#include "compact/compact_metrics.h"
#include "manifest/manifest_store.h"
#include "sst/table_store.h"

#include <shale/compact.h>

/*
 * The compactor of a database: one orchestrator thread that chooses and publishes, and workers that run the jobs.
 * Starting claims the compactor epoch. Being fenced stops the compactor alone, not the writer (H19); with stands_by it
 * goes on looking, and takes the epoch back when there is work that nobody does: who compacts once and is gone must not
 * leave a writer waiting for room in L0.
 */
struct compactor;

struct compactor_config {
    struct shale_store *store;         /* borrowed, as all below */
    const char *root;
    struct manifest_store *manifests;  /* shared with the writer of the same process */
    struct table_store *ts;            /* writes outputs in its format */
    const struct shale_options *opt;
    struct shale_metrics *registry;    /* where operands are counted; NULL: nowhere */
    const struct compactor_metrics *metrics; /* NULL: nothing else is counted */
    /* A new version was published (from the orchestrator's thread, no lock held); moved reference. May be NULL. */
    void (*published)(void *arg, struct manifest_version *v);
    void *arg;
    /* As that of struct shale_compactor_config, with the same arg. May be NULL. */
    void (*report)(void *arg, const struct shale_compaction *c, int rc);
    /* A checkpoint of what was there before keeps the sources of each compaction so long (R230); 0: none is made. */
    int64_t keep_sources_ms;
    bool only_submitted; /* chooses nothing */
    bool stands_by;      /* see above */
};

/*
 * Claims, reads and writes the list on this thread, so that a failure is the caller's: SHALE_EFENCED, what the
 * store says, -ENOMEM. The callback may come before this returns.
 */
int compactor_start(const struct compactor_config *cfg, struct compactor **out);
/* There may be something to do: look now instead of at the next poll. Any thread. */
void compactor_wake(struct compactor *c);
/*
 * Stop running jobs and wait for them, then free. NULL is fine.
 * Results that are done are still published, unless another compactor has taken over. Takes as
 * long as the read or upload that a job is in; stopping the retrying store first makes that
 * short.
 */
void compactor_stop(struct compactor *c);
/* Compactions that run now, and how many have been published. Any thread. */
void compactor_counts(struct compactor *c, uint32_t *running, uint64_t *completed);

#endif
