/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include "base/log.h"

#include <string.h>

/*
 * What a follower's core calls back the kernel is told to forget. Both calls wait: for pages that are being read, and
 * for whoever looks something up in the directory; workers answer those meanwhile. -ENOENT: the kernel had forgotten it
 * already.
 */
static void note(const char *what, uint64_t ino, int rc)
{
    if (rc < 0 && rc != -ENOENT)
        log_warn("cannot call back %s inode %llu: %s", what, (unsigned long long)ino, strerror(-rc));
}

/* A negative offset leaves the pages alone. */
static void forget_inode(void *arg, uint64_t ino, bool data, uint64_t offset, uint64_t len)
{
    struct ops *o = arg;

    if (o->ending)
        return;
    if (data && offset > (uint64_t)FS_SIZE_MAX)
        data = false; /* no page lies there */
    note("what is kept of", ino,
         fuse_lowlevel_notify_inval_inode(o->se, ino, data ? (off_t)offset : -1, (off_t)len));
}

static void forget_name(void *arg, uint64_t parent, const char *name)
{
    struct ops *o = arg;

    if (!o->ending)
        note("a name in", parent, fuse_lowlevel_notify_inval_entry(o->se, parent, name, strlen(name)));
}

int ops_cache_attach(struct ops *o)
{
    const struct fs_cache cache = { .arg = o, .inode = forget_inode, .name = forget_name };

    return fs_cache_attach(o->fs, &cache);
}
