/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>

/* Existing bytes, then each operand. */
static int append(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                  const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    int rc = 0;

    (void)ctx, (void)key;
    buf_clear(out);
    if (existing)
        rc = buf_append_slice(out, *existing);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = buf_append_slice(out, operands[i]);
    return rc;
}

/* Little-endian; missing high bytes are 0, bytes past the eighth do not count. */
static uint64_t load_u64(struct shale_slice s)
{
    uint8_t b[8] = { 0 };

    if (s.len)
        memcpy(b, s.data, s.len < 8 ? s.len : 8);
    return get_u64le(b);
}

static int sum(void *ctx, struct shale_slice key, const struct shale_slice *existing,
               const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    uint64_t total = existing ? load_u64(*existing) : 0;
    uint8_t b[8];

    (void)ctx, (void)key;
    for (size_t i = 0; i < n; i++)
        total += load_u64(operands[i]);
    put_u64le(b, total);
    return buf_set(out, slice_of(b, sizeof(b)));
}

static const struct shale_merge_operator operators[] = {
    { .name = "append", .merge = append },
    { .name = "sum", .merge = sum },
};

int cli_merge_operator(const char *name, const struct shale_merge_operator **op)
{
    *op = NULL;
    if (strcmp(name, "none") == 0)
        return 0;
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (strcmp(name, operators[i].name) == 0)
            *op = &operators[i];
    return *op ? 0 : err_set(-EINVAL, "--merge-op: '%s' is none of append, sum, none", name);
}
