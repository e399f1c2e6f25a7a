/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_COUNTED_OPERATOR_H
#define MEM_COUNTED_OPERATOR_H

#include "base/metrics.h"

#include <shale/options.h>

/*
 * A merge operator that counts the operands another one has folded: slatedb.merge_operator_operands with a label that
 * says on which path: "read", "flush" (of a memtable, and within a batch, as SlateDB has it) or "compact". A result of
 * a full batch that goes into another call counts again.
 */
struct counted_operator {
    struct shale_merge_operator op; /* what to use; op.ctx is this struct */
    const struct shale_merge_operator *inner;
    struct metric *operands;
};

/* inner: borrowed; NULL: there is none, and counted_operator_op is NULL, too. path lives for ever. c must not move. */
int counted_operator_init(struct counted_operator *c, const struct shale_merge_operator *inner, struct shale_metrics *m,
                          const char *path);

static inline const struct shale_merge_operator *counted_operator_op(const struct counted_operator *c)
{
    return c->inner ? &c->op : NULL;
}

#endif
