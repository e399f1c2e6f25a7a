/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CONCAT_OPERATOR_H
#define TESTS_CONCAT_OPERATOR_H

#include "base/buf.h"

#include <shale/options.h>

/* A merge operator that concatenates, counts what it is asked, and can fail. */
struct concat {
    size_t calls, operands; /* so far */
    size_t largest;         /* most operands of one call */
    size_t fail_at;         /* the call that fails, counting from 1; 0: none */
    int error;
};

static inline int concat_merge(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                               const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    struct concat *c = ctx;
    int rc = 0;

    (void)key;
    c->operands += n;
    if (n > c->largest)
        c->largest = n;
    if (++c->calls == c->fail_at)
        return c->error;
    if (existing)
        rc = buf_append_slice(out, *existing);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = buf_append_slice(out, operands[i]);
    return rc;
}

static inline struct shale_merge_operator concat_operator(struct concat *c)
{
    return (struct shale_merge_operator){ .name = "concat", .ctx = c, .merge = concat_merge };
}

#endif
