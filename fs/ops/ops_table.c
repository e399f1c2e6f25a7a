/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include "fs/ops/killpriv.h"

static void want(struct fuse_conn_info *conn, unsigned cap, bool on)
{
    if (on)
        conn->want |= conn->capable & cap;
    else
        conn->want &= ~cap;
}

/*
 * Data pages and attributes change by nobody else, so nothing is revalidated. Splicing is left off: our bytes lie in
 * memory on both ways, where a pipe only adds calls, and killpriv.c must see the requests. Opening with O_TRUNC comes
 * as a truncation first, which the core has anyway.
 */
static void ops_on_init(void *userdata, struct fuse_conn_info *conn)
{
    struct ops *o = userdata;

    want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS, true);
    want(conn, FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS, true);
    want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
    want(conn, FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_ATOMIC_O_TRUNC, false);
    want(conn, FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE, false);
    want(conn, FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_IOCTL_DIR | FUSE_CAP_HANDLE_KILLPRIV, false);
    conn->max_write = OPS_MAX_IO;
    conn->max_read = OPS_MAX_IO;
    conn->max_readahead = OPS_MAX_IO;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
    conn->time_gran = 1;
    o->kill_suidgid = killpriv_offered();
    if (o->on_ready)
        o->on_ready(o->ready_arg);
}

/*
 * Missing on purpose, answered ENOSYS by libfuse, which the kernel remembers: flush (close still hands over the pages
 * of mappings, and has nothing else to report: what cannot be kept fails in write, or in fsync), access
 * (default_permissions), lseek (no holes to find), fallocate and O_TMPFILE (EOPNOTSUPP), copy_file_range (copied by
 * reads and writes), locks (the kernel's own), ioctl.
 */
const struct fuse_lowlevel_ops ops_table = {
    .init = ops_on_init,
    .lookup = ops_lookup,
    .forget = ops_forget,
    .forget_multi = ops_forget_multi,
    .getattr = ops_getattr,
    .setattr = ops_setattr,
    .readlink = ops_readlink,
    .getxattr = ops_getxattr,
    .setxattr = ops_setxattr,
    .listxattr = ops_listxattr,
    .removexattr = ops_removexattr,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .readdirplus = ops_readdirplus,
    .releasedir = ops_releasedir,
    .fsyncdir = ops_fsyncdir,
    .open = ops_open,
    .create = ops_create,
    .read = ops_read,
    .write = ops_write,
    .fsync = ops_fsync,
    .release = ops_release,
    .mknod = ops_mknod,
    .mkdir = ops_mkdir,
    .symlink = ops_symlink,
    .link = ops_link,
    .unlink = ops_unlink,
    .rmdir = ops_rmdir,
    .rename = ops_rename,
    .statfs = ops_statfs,
};
