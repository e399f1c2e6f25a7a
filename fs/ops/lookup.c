/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

/*
 * That a name is absent is cached too: an entry without an inode. The kernel learns of every new one, as it makes it,
 * or is called back.
 */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = ops_of(req)->fs;
    struct fs_attr a = { 0 };
    struct fs_answer answer;
    int rc;

    fs_answer_begin(fs, &answer);
    rc = OPS_CALL(req, fs_lookup(fs, parent, name, &a));
    if (rc == -ENOENT) {
        bool keep = fs_may_keep_absent(fs, parent, name);
        const struct fuse_entry_param none = { .entry_timeout = keep ? fs_answer_keep_seconds(&answer) : 0 };

        fuse_reply_entry(req, &none);
    } else {
        ops_reply_entry(req, rc, &a, fs_answer_keep_seconds(&answer));
    }
    fs_answer_end(&answer);
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
