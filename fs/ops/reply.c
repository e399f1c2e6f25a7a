/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include "fs/ops/interrupt.h"

/* The kernel says once that there was a signal, perhaps one that means nothing, and nothing of those that follow. */
static bool is_interrupted(void *arg)
{
    return fuse_req_interrupted(arg) && interrupt_is_meant(fuse_req_ctx(arg)->pid);
}

void ops_wait_begin(fuse_req_t req, struct cancel *token)
{
    *token = (struct cancel){ .asked = is_interrupted, .arg = req, .also = fs_token(ops_of(req)->fs) };
    (void)cancel_set(token);
}

void ops_wait_end(void)
{
    (void)cancel_set(NULL);
}

struct fs_cred ops_cred(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    return (struct fs_cred){ .uid = ctx->uid, .gid = ctx->gid };
}

static struct timespec timespec_of(int64_t ns)
{
    int64_t sec = ns / 1000000000, rest = ns % 1000000000;

    if (rest < 0) { /* before 1970 */
        sec--;
        rest += 1000000000;
    }
    return (struct timespec){ .tv_sec = sec, .tv_nsec = rest };
}

void ops_stat(const struct fs_attr *a, struct stat *st)
{
    *st = (struct stat){
        .st_ino = a->ino,
        .st_mode = a->mode,
        .st_nlink = a->nlink,
        .st_uid = a->uid,
        .st_gid = a->gid,
        .st_rdev = a->rdev,
        .st_size = (off_t)a->size,
        .st_blocks = (blkcnt_t)a->blocks,
        .st_blksize = (blksize_t)a->block_bytes,
        .st_atim = timespec_of(a->atime_ns),
        .st_mtim = timespec_of(a->mtime_ns),
        .st_ctim = timespec_of(a->ctime_ns),
    };
}

/* Inode numbers never repeat, so the generation stays 0. */
void ops_entry(const struct fs_attr *a, double keep, struct fuse_entry_param *e)
{
    *e = (struct fuse_entry_param){ .ino = a->ino, .attr_timeout = keep, .entry_timeout = keep };
    ops_stat(a, &e->attr);
}

/*
 * The kernel counts a lookup for each entry that it gets. One whose reply was lost, since the request was interrupted
 * for instance, is taken back at once, or the inode would stay in memory until the end.
 */
void ops_reply_entry(fuse_req_t req, int rc, const struct fs_attr *a, double keep)
{
    struct fs *fs = ops_of(req)->fs; /* req is gone after the reply */
    struct fuse_entry_param e;

    if (rc < 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    ops_entry(a, keep, &e);
    if (fuse_reply_entry(req, &e) < 0)
        fs_forget(fs, a->ino, 1);
}

void ops_reply_attr(fuse_req_t req, int rc, const struct fs_attr *a, double keep)
{
    struct stat st;

    if (rc < 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    ops_stat(a, &st);
    fuse_reply_attr(req, &st, keep);
}
