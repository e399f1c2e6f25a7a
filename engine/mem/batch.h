/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_BATCH_H
#define MEM_BATCH_H

#include "format/iter.h"

#include <shale/shale.h>

/* Rows made from a batch: key ascending, one per key; their bytes lie in the batch or in mem. */
struct batch_rows {
    struct shale_row *rows;
    size_t n, cap;
    struct shale_buf mem;
};

void batch_rows_fini(struct batch_rows *r); /* all zero is empty */

/*
 * Turn a batch into the rows that are written (R40-R43): later put or delete replaces, merges of one key are
 * folded by the operator onto what the batch has below them. seq is left 0. Errors: SHALE_EMERGE without an
 * operator or when the operator fails or when operands of one key differ in expiry (H4, H23); -ENOMEM.
 */
int batch_to_rows(const struct shale_batch *b, int64_t now_ms, int64_t default_ttl_ms,
                  const struct shale_merge_operator *op, struct batch_rows *out);

#endif
