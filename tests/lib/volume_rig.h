/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_VOLUME_RIG_H
#define TESTS_VOLUME_RIG_H

#include "compact/compactor_state.h"
#include "db/db.h"
#include "fs/core/volume_state.h"

/*
 * A volume in memory whose chunks are tiny and whose runs are compacted when and as the test says. The program that
 * uses it is linked with --wrap=shale_db_open: no compactor of its own starts.
 */
#define RIG_CHUNK 64u

struct volume_rig {
    char url[64];
    struct shale_store *keep; /* the store lives as long as somebody has it open */
    char *keep_path;
    struct fs *fs;
    const struct shale_compaction_filter *filter; /* of the jobs; NULL: that of the volume */
};

void volume_rig_open(struct volume_rig *r, unsigned number);
/* Also closes the volume; url stays valid in keep until volume_rig_fini. */
void volume_rig_close(struct volume_rig *r);
void volume_rig_fini(struct volume_rig *r);

/* A compaction under way: what of it would be recorded. */
struct rig_compaction {
    struct compaction spec; /* with the outputs so far */
    unsigned n_progress;    /* reports until the job is cut; 0: never */
};

/* A window of the tree from L0 SST number first_l0 (n_l0: none) through n_runs runs from first_run on. */
void rig_compaction_init(struct rig_compaction *c, const struct manifest *m, size_t first_l0, size_t first_run,
                         size_t n_runs);
void rig_compaction_fini(struct rig_compaction *c);
/* One attempt, split at max_sst bytes. 0 and published, or -EIO when it was cut: go on with another call. */
int rig_compaction_run(struct volume_rig *r, struct rig_compaction *c, uint64_t max_sst);

/* Everything into one run. */
void rig_compact_all(struct volume_rig *r);

/*
 * What a reader of the snapshot (NULL: now) can see of all inodes, as text, and how many rows belong to nothing.
 * Owned by the caller. Fails the test when rows cannot be read.
 */
char *rig_dump(struct volume_rig *r, const struct shale_snapshot *snap, size_t *garbage);

#endif
