/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BLOCK_BUILD_H
#define TESTS_BLOCK_BUILD_H

#include "format/block.h"

/* A block builder used row by row, by whom the order of keys does not concern. */

static inline bool block_fits(const struct block_builder *b, const struct shale_row *row)
{
    return block_builder_would_fit(b, row, block_builder_common(b, row->key));
}

static inline int block_add(struct block_builder *b, const struct shale_row *row)
{
    return block_builder_add(b, row, block_builder_common(b, row->key));
}

/* Append the payload to out and begin the next block. 0 or -ENOMEM (nothing changed). */
static inline int block_finish(struct block_builder *b, struct shale_buf *out)
{
    struct shale_slice payload;
    int rc = shale_buf_reserve(out, b->data.len + 2 * b->n_offsets + 2);

    if (rc == 0)
        rc = block_builder_payload(b, &payload);
    if (rc == 0)
        rc = buf_append_slice(out, payload);
    if (rc == 0)
        block_builder_reset(b);
    return rc;
}

#endif
