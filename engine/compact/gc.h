/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_GC_H
#define COMPACT_GC_H

#include "compact/compact_metrics.h"
#include "compact/gc_live.h"
#include "manifest/manifest_store.h"

#include <shale/admin.h>

/* The collector of garbage (R312-R321, storage format sections 7.3, 8.2 and 9.7). */
struct gc_config {
    struct shale_store *store, *wal_store; /* borrowed, as all below */
    const char *root;
    const struct shale_block_transformer *transformer; /* of WAL objects; may be NULL */
    struct manifest_store *manifests; /* versions that this process holds of it are live */
    enum epoch_role role;             /* whose epoch must still be ours, to remove expired checkpoints */
    int64_t now_ms;                   /* wall time */
    int64_t mono_ms;                  /* time that memory counts in */
    struct gc_memory *memory;         /* NULL: the age of an SST is that of its id alone */
    int64_t *ripe_ms;                 /* NULL, or is set to how long it takes until all of a kind that this run left
                                         for a while can go; 0: it left nothing */
    const struct gc_metrics *metrics; /* NULL: not counted; a dry run never is */
    bool (*stopped)(void *arg);       /* NULL: never; asked between steps */
    void *arg;
};

/* One run. res is added to. SHALE_ECANCELED when stopped; else the first error, once every kind had its turn. */
int gc_run(const struct gc_config *cfg, const struct shale_gc_options *opt, struct shale_gc_result *res);

/* 0, or -EINVAL with a sentence. */
int gc_options_check(const struct shale_gc_options *opt);

#endif
