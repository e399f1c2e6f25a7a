/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

/*
 * That a name is absent is cached too: an entry without an inode. The kernel learns of every new one, as it makes it.
 */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs_attr a = { 0 };
    int rc = OPS_CALL(req, fs_lookup(ops_of(req)->fs, parent, name, &a));

    if (rc == -ENOENT) {
        const struct fuse_entry_param none = { .entry_timeout = OPS_TIMEOUT };

        fuse_reply_entry(req, &none);
        return;
    }
    ops_reply_entry(req, rc, &a);
}

void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    fs_forget(ops_of(req)->fs, ino, n);
    fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct fs *fs = ops_of(req)->fs;

    for (size_t i = 0; i < count; i++)
        fs_forget(fs, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}
