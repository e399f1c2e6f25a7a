/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/fs_merge.h"

#include "base/buf.h"
#include "base/err.h"
#include "fs/core/extent.h"
#include "fs/core/inode_codec.h"
#include "fs/core/key_codec.h"

#include <errno.h>

void fs_counter_encode(int64_t v, uint8_t out[FS_COUNTER_LEN])
{
    put_u64le(out, (uint64_t)v);
}

int fs_counter_decode(struct shale_slice value, int64_t *out)
{
    if (value.len != FS_COUNTER_LEN)
        return err_set(SHALE_ECORRUPT, "a counter has %zu bytes", value.len);
    *out = (int64_t)get_u64le(value.data);
    return 0;
}

/* A sum of some operands may be folded before it meets the rest, so it may be negative for a while. */
static int merge_counter(const struct shale_slice *existing, const struct shale_slice *operands, size_t n,
                         struct shale_buf *out)
{
    uint8_t bytes[FS_COUNTER_LEN];
    int64_t sum = 0, v = 0;
    int rc = existing ? fs_counter_decode(*existing, &sum) : 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = fs_counter_decode(operands[i], &v);
        if (rc == 0 && __builtin_add_overflow(sum, v, &sum))
            rc = err_set(SHALE_EMERGE, "the sum leaves 64 bits");
    }
    if (rc < 0)
        return rc;
    fs_counter_encode(sum, bytes);
    return shale_buf_append(out, bytes, sizeof(bytes));
}

/* All operands at once, as one. */
static int apply_to_record(struct shale_slice existing, const struct inode_op *op, struct shale_buf *out)
{
    struct inode_rec rec;
    int rc;

    inode_rec_init(&rec);
    rc = inode_rec_decode(existing, &rec);
    if (rc == 0)
        rc = inode_op_apply(&rec, op);
    if (rc == 0)
        rc = inode_rec_encode(&rec, out);
    inode_rec_fini(&rec);
    return rc;
}

/* The operands are summed first: numbers are checked for the whole, not for each step. */
static int merge_inode(const struct shale_slice *existing, const struct shale_slice *operands, size_t n,
                       struct shale_buf *out)
{
    bool on_record = existing && inode_is_record(*existing);
    struct inode_op op, next;
    int rc = 0;

    memset(&op, 0, sizeof(op));
    if (existing && !on_record)
        rc = inode_op_decode(*existing, &op);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = inode_op_decode(operands[i], &next);
        if (rc == 0)
            rc = inode_op_fold(&op, &next);
    }
    if (rc < 0)
        return rc;
    return on_record ? apply_to_record(*existing, &op, out) : inode_op_encode(&op, out);
}

/*
 * Only kinds that writers merge: an operand under another key is damage, and better found now than folded into
 * something. Pure, and so the same in a read, a flush and a compaction, in this process or another.
 */
static int merge(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                 const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    struct fs_key_parts parts;
    char what[512];
    int rc = fs_key_parse(key, &parts);

    (void)ctx;
    out->len = 0;
    if (rc < 0)
        return rc;
    switch (parts.kind) {
    case FS_KEY_COUNTER:
        rc = merge_counter(existing, operands, n, out);
        break;
    case FS_KEY_INODE:
        rc = merge_inode(existing, operands, n, out);
        break;
    case FS_KEY_CHUNK:
        rc = extent_fold(existing, operands, n, out);
        break;
    default:
        rc = err_set(SHALE_EMERGE, "rows of this kind are not merged");
    }
    if (rc == -ENOMEM)
        err_clear(); /* what stands there is of an earlier failure */
    return rc < 0 ? err_add(rc, "cannot merge %s", fs_key_describe(key, what, sizeof(what))) : 0;
}

const struct shale_merge_operator fs_merge_operator = { .name = "shalefs 1", .merge = merge };
