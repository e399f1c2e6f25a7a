/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct fs_cred cred = ops_cred(req);
    struct fs_attr a = { 0 };
    int rc = OPS_CALL(req, fs_mknod(ops_of(req)->fs, &cred, parent, name, mode, (uint32_t)rdev, &a));

    ops_reply_entry(req, rc, &a, OPS_KEEP);
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fs_cred cred = ops_cred(req);
    struct fs_attr a = { 0 };
    int rc = OPS_CALL(req, fs_mkdir(ops_of(req)->fs, &cred, parent, name, mode, &a));

    ops_reply_entry(req, rc, &a, OPS_KEEP);
}

void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct fs_cred cred = ops_cred(req);
    struct fs_attr a = { 0 };
    int rc = OPS_CALL(req, fs_symlink(ops_of(req)->fs, &cred, target, parent, name, &a));

    ops_reply_entry(req, rc, &a, OPS_KEEP);
}
