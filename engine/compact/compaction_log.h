/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_COMPACTION_LOG_H
#define COMPACT_COMPACTION_LOG_H

#include "manifest/compactions_store.h"

#include <stdbool.h>

/*
 * The list of compactions as its owner has it, and the only place that stores it. One thread. state is edited
 * freely; what has to survive is stored by compaction_log_save when dirty is set.
 */
struct compaction_log {
    struct compactions_store store;
    int64_t timeout_ms; /* longest time a save contends for the next id */
    struct compactions state;
    bool dirty;
};

/*
 * Take the list over with the epoch that was claimed in the manifest (R215-R218), in one write. SHALE_EFENCED when
 * its epoch is not lower. fini also after a failure.
 */
int compaction_log_init(struct compaction_log *log, struct shale_store *store, const char *root, uint64_t epoch,
                        int64_t timeout_ms);
void compaction_log_fini(struct compaction_log *log);
/*
 * Take in what others have submitted. SHALE_EFENCED.
 * Other errors leave state as it was.
 */
int compaction_log_refresh(struct compaction_log *log);
/*
 * Store state when it is dirty, without old finished records (R216). Whoever was first with the next id is merged. On
 * failure it stays dirty. SHALE_EFENCED; -ETIMEDOUT.
 */
int compaction_log_save(struct compaction_log *log);

#endif
