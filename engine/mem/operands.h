/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_OPERANDS_H
#define MEM_OPERANDS_H

#include "base/buf.h"

#include <shale/options.h>

/* At most so many operands go into one call of the merge operator (R257). */
#define OPERANDS_BATCH 100

/*
 * Collects the merge operands of one key, newest first, and folds them. Operands are copied; whenever a batch of
 * them is full it is folded into one, so that memory holds a batch and the results so far.
 * Reused for one key after the other; clear between them. After an error only clear and fini may
 * follow.
 */
struct operands {
    const struct shale_merge_operator *op; /* borrowed; NULL: adding an operand is SHALE_EMERGE */
    size_t n;                  /* added since the last clear */
    struct shale_row sum;      /* seq of the newest, greatest create_ts, least expire_ts; nothing else */
    struct shale_buf bytes;    /* of the current batch, one behind the other */
    size_t *ends;              /* of each operand in bytes */
    size_t n_ends, cap_ends;
    struct shale_buf *results; /* of full batches, newest first; those behind n_results keep their memory */
    size_t n_results, cap_results, n_bufs;
    struct shale_slice *list;  /* what is handed to the operator */
    size_t cap_list;
};

void operands_init(struct operands *o, const struct shale_merge_operator *op);
void operands_fini(struct operands *o);
/* Forget the operands; memory beyond what small ones need is given back. */
void operands_clear(struct operands *o);

/* Add the next older version of key. SHALE_EMERGE without an operator or when it fails; -ENOMEM. */
int operands_add(struct operands *o, struct shale_slice key, const struct shale_row *row);
/* Take the times of a row that the operands lie on into account. */
void operands_add_times(struct operands *o, const struct shale_row *row);
/* A single operand, as it was; borrowed until the next call. */
struct shale_slice operands_only(const struct operands *o);
/*
 * Fold what was added, at least one, onto existing (NULL: nothing) into out, which is replaced. Up to
 * OPERANDS_BATCH are one call of the operator.
 */
int operands_fold(struct operands *o, struct shale_slice key, const struct shale_slice *existing,
                  struct shale_buf *out);

#endif
