/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_SIZE_TIERED_H
#define COMPACT_SIZE_TIERED_H

#include "format/compactions_codec.h"

#include <shale/options.h>

/*
 * Which L0 SSTs and runs to merge next: pure choice (R237-R245). active: compactions of which the submitted and
 * running ones' sources and destinations are taken. Appends proposals (id zero, status Submitted, destination set)
 * to out, as many as max_concurrent allows with the active ones. 0 or -ENOMEM.
 */
int size_tiered_propose(const struct manifest *m, const struct compaction *active, size_t n_active,
                        const struct shale_compactor_options *opt, struct compactions *out);

/*
 * Whether a spec may start on this manifest (R225, R227, R243, and not R244's hole): 0 or -EINVAL with a sentence.
 * Of active only those that run count, and not spec itself: no source and no destination may be theirs.
 */
int compaction_spec_check(const struct manifest *m, const struct compaction *spec, const struct compaction *active,
                          size_t n_active);

#endif
