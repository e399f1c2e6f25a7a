/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    struct fs_attr a = { 0 };
    int rc = OPS_CALL(req, fs_link(ops_of(req)->fs, ino, parent, name, &a));

    ops_reply_entry(req, rc, &a, OPS_KEEP);
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    ops_reply_rc(req, OPS_CALL(req, fs_unlink(ops_of(req)->fs, parent, name)));
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    ops_reply_rc(req, OPS_CALL(req, fs_rmdir(ops_of(req)->fs, parent, name)));
}
