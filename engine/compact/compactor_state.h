/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_COMPACTOR_STATE_H
#define COMPACT_COMPACTOR_STATE_H

#include "format/compactions_codec.h"

/*
 * Edits of the manifest and of the list of compactions that compacting makes (R215-R231, storage format section 9).
 * Pure: no I/O, no threads, no time; what the ids and the epoch are is the caller's.
 */

/* Where the sources of a compaction stand in a manifest: two contiguous stretches. */
struct compaction_window {
    size_t l0, n_l0;     /* m->l0[l0..] */
    size_t runs, n_runs; /* m->runs[runs..] */
};

/*
 * Find the sources in m. -EINVAL with a sentence when there are none, one is missing, they are not consecutive
 * (R243), or L0 SSTs older than a source stay behind (H7): the watermark l0_last_compacted would hide those.
 */
int compaction_window_find(const struct manifest *m, const struct compaction *c, struct compaction_window *out);

/* Nothing older lies below what c writes, so that tombstones may go (R228). */
bool compaction_is_last_run(const struct manifest *m, const struct compaction *c);

static inline bool compaction_is_active(const struct compaction *c)
{
    return c->status == COMPACTION_SUBMITTED || c->status == COMPACTION_RUNNING;
}

/*
 * What finishing c changes in the manifest (R229): its sources go, result comes in unless it is empty (H26), and
 * the newest L0 source becomes l0_last_compacted. 0; MANIFEST_UNCHANGED when m has that already (a write whose
 * reply was lost); -EINVAL when a source is gone for another reason; -ENOMEM. m may be half edited after a failure:
 * it is a copy to throw away.
 */
int compaction_publish(struct manifest *m, const struct compaction *c, const struct sorted_run *result);

/* NULL when there is none. Borrowed until the list changes. */
struct compaction *compactions_find(const struct compactions *cs, struct shale_ulid id);
/* Move c (all of it, also on failure) into the list, which stays sorted. 0; -ENOMEM; -EEXIST: its id is there. */
int compactions_add(struct compactions *cs, struct compaction *c);
/* Keep the active ones, and of the finished ones that with the greatest id (R216). */
void compactions_trim(struct compactions *cs);
/* A new owner begins: what ran is submitted again with the outputs it has (R215-R218), and epoch is set. */
void compactions_take_over(struct compactions *cs, uint64_t epoch);
/* Take from another version of the list what somebody else submitted: unknown ids that are Submitted (R222). */
int compactions_merge_submitted(struct compactions *cs, const struct compactions *remote, size_t *n_new);
/*
 * Give active compactions of L0 SSTs alone, whose destination is not stored, the next free run id. A stored list
 * gives 0, which SlateDB 0.12.1 refuses when there are runs; the job's work would be lost.
 */
void compactions_place(struct compactions *cs, const struct manifest *m);
/* Replace the outputs that are recorded by references to these. 0 or -ENOMEM. */
int compaction_set_outputs(struct compaction *c, struct sst_handle *const *outputs, size_t n);

#endif
