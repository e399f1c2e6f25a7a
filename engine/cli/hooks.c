/* SPDX-License-Identifier: Apache-2.0 */
/* A simple block transformer (shale/hooks.h), by which databases that have one are made and read. */
#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>

#define XOR_BYTE 0xa5

static int xor_bytes(void *ctx, struct shale_slice in, struct shale_buf *out)
{
    int rc = buf_append_slice(out, in);

    (void)ctx;
    for (size_t i = 0; rc == 0 && i < in.len; i++)
        out->data[i] ^= XOR_BYTE;
    return rc;
}

static const struct shale_block_transformer xor_transformer = { .encode = xor_bytes, .decode = xor_bytes };

int cli_block_transformer(const char *name, const struct shale_block_transformer **out)
{
    *out = strcmp(name, "xor") == 0 ? &xor_transformer : NULL;
    return *out || strcmp(name, "none") == 0 ? 0
                                             : err_set(-EINVAL, "--block-transformer: '%s' is neither xor nor none", name);
}
