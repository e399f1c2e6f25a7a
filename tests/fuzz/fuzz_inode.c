/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "base/buf.h"
#include "fs/core/fs_merge.h"
#include "fs/core/inode_codec.h"
#include "fs/core/key_codec.h"

#include <stdlib.h>

/* A value that was read is written back as the same bytes. */
static void record(struct shale_slice value)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct inode_rec rec;

    inode_rec_init(&rec);
    if (inode_rec_decode(value, &rec) == 0) {
        if (inode_rec_encode(&rec, &b) < 0 || !slice_eq(slice_of_buf(&b), value) || !inode_is_record(value))
            abort();
        if (inode_gen_for_chunk(&rec, UINT64_MAX) >= rec.next_gen)
            abort();
    }
    inode_rec_fini(&rec);
    shale_buf_fini(&b);
}

static void operand(struct shale_slice value)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct inode_op op;

    if (inode_op_decode(value, &op) == 0 && (inode_op_encode(&op, &b) < 0 || !slice_eq(slice_of_buf(&b), value)))
        abort();
    shale_buf_fini(&b);
}

/* A value and an operand; what the merge gives can be read. */
static void merge(struct shale_slice value, struct shale_slice op)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct inode_rec rec;
    struct inode_op got;
    struct fs_key key;

    inode_rec_init(&rec);
    fs_key_inode(&key, 1);
    if (fs_merge_operator.merge(NULL, fs_key_slice(&key), &value, &op, 1, &out) == 0 &&
        inode_rec_decode(slice_of_buf(&out), &rec) < 0 && inode_op_decode(slice_of_buf(&out), &got) < 0)
        abort();
    inode_rec_fini(&rec);
    shale_buf_fini(&out);
}

/* The first byte says where the rest is cut in two. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_slice rest;
    size_t cut;

    if (size == 0)
        return 0;
    rest = slice_of(data + 1, size - 1);
    cut = data[0] < rest.len ? data[0] : rest.len;
    record(rest);
    operand(rest);
    merge(slice_of(rest.data, cut), slice_from(rest, cut));
    return 0;
}
