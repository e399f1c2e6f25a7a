/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                unsigned flags)
{
    ops_reply_rc(req, OPS_CALL(req, fs_rename(ops_of(req)->fs, parent, name, new_parent, new_name, flags)));
}
