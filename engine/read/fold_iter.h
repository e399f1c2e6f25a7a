/* SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_FOLD_ITER_H
#define READ_FOLD_ITER_H

#include "format/iter.h"

#include <shale/options.h>
#include <stdbool.h>

/*
 * Folds merge operands with the merge operator (R255-R260, SlateDB's merge-operator iterator). Without operator
 * any operand is SHALE_EMERGE. Takes over child (moved, also on failure). The child must not be deduplicated below
 * the newest value.
 */
struct fold_options {
    const struct shale_merge_operator *op; /* borrowed; may be NULL */
    bool same_expiry_only;                 /* flush and compaction; a read folds across different expiry */
    bool has_barrier;
    uint64_t barrier; /* operands above it pass as they are */
    bool finish;      /* a read: operands without a base become a value row (kind SHALE_PUT) */
};

int fold_iter_new(struct iter *child, const struct fold_options *opt, struct iter **out);

#endif
