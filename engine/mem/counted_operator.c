/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/counted_operator.h"

static int counted_merge(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                         const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    const struct counted_operator *c = ctx;
    int rc = c->inner->merge(c->inner->ctx, key, existing, operands, n, out);

    if (rc == 0)
        metric_count(c->operands, n);
    return rc;
}

/* The metric is there without an operator, too: what a page shows does not depend on it. */
int counted_operator_init(struct counted_operator *c, const struct shale_merge_operator *inner, struct shale_metrics *m,
                          const char *path)
{
    const struct shale_metric_label label = { "path", path };
    const struct shale_metric_desc desc = { .kind = SHALE_METRIC_COUNTER,
                                            .name = "slatedb.merge_operator_operands",
                                            .help = "Merge operands given to the merge operator",
                                            .labels = &label,
                                            .n_labels = 1 };

    *c = (struct counted_operator){ .inner = inner };
    if (inner)
        c->op = (struct shale_merge_operator){ .name = inner->name, .ctx = c, .merge = counted_merge };
    return m ? metrics_add(m, SHALE_METRIC_INFO, &desc, &c->operands) : 0;
}
