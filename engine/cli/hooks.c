/* SPDX-License-Identifier: Apache-2.0 */
/* Simple hooks (shale/hooks.h), by which databases that have some are made and read. */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/crc32.h"
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

/*
 * Counts: u64be puts, tombstones, operands, bytes of keys, bytes of values; then the CRC-32s of all keys and of all
 * values, each added up, so that those of several SSTs can be, too.
 */
enum { N_COUNTS = 7 };

struct counts {
    uint64_t n[N_COUNTS];
};

static int counts_create(void *ctx, enum shale_sst_kind kind, void **collector)
{
    (void)ctx, (void)kind;
    *collector = mem_zalloc(sizeof(struct counts));
    return *collector ? 0 : -ENOMEM;
}

static int counts_add(void *collector, const struct shale_row *row)
{
    struct counts *c = collector;

    c->n[row->kind]++;
    c->n[3] += row->key.len;
    c->n[4] += row->value.len;
    c->n[5] += crc32_of(row->key);
    c->n[6] += crc32_of(row->value);
    return 0;
}

static int counts_finish(void *collector, struct shale_buf *blob)
{
    const struct counts *c = collector;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < N_COUNTS; i++) {
        uint8_t b[8];

        put_u64be(b, c->n[i]);
        rc = shale_buf_append(blob, b, sizeof(b));
    }
    return rc;
}

static const struct shale_property_collector counts_collector = {
    .create = counts_create,
    .add = counts_add,
    .finish = counts_finish,
    .destroy = mem_free,
};

int cli_property_collector(const char *name, const struct shale_property_collector **out)
{
    *out = strcmp(name, "counts") == 0 ? &counts_collector : NULL;
    return *out || strcmp(name, "none") == 0 ? 0 : err_set(-EINVAL, "--collect: '%s' is neither counts nor none", name);
}
