/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include "fs/ops/killpriv.h"

#include <fcntl.h>

/*
 * The page cache is right whoever filled it, and what was open for reading has no pages to hand over when it is
 * closed.
 */
static void set_flags(struct fuse_file_info *fi)
{
    fi->keep_cache = 1;
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct ops *o = ops_of(req);
    struct ops_handle *h = ops_handle_new();
    int rc = h ? OPS_CALL(req, fs_file_open(o->fs, ino, fi->flags, &h->file)) : -ENOMEM;

    if (rc < 0) {
        mem_free(h);
        fuse_reply_err(req, -rc);
        return;
    }
    set_flags(fi);
    ops_handle_publish(o, h, ino, fi);
    if (fuse_reply_open(req, fi) < 0)
        ops_handle_release(o, h);
}

/* When the reply does not arrive, its lookup and its handle are taken back; the file stays, as after any create. */
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct ops *o = ops_of(req);
    struct fs_cred cred = ops_cred(req);
    struct ops_handle *h = ops_handle_new();
    struct fs_attr a = { 0 };
    struct fuse_entry_param e;
    int rc = h ? OPS_CALL(req, fs_file_create(o->fs, &cred, parent, name, mode, fi->flags, &a, &h->file)) : -ENOMEM;

    if (rc < 0) {
        mem_free(h);
        fuse_reply_err(req, -rc);
        return;
    }
    set_flags(fi);
    ops_handle_publish(o, h, a.ino, fi);
    ops_entry(&a, OPS_KEEP, &e);
    if (fuse_reply_create(req, &e, fi) < 0) {
        ops_handle_release(o, h);
        fs_forget(o->fs, a.ino, 1);
    }
}

/* The kernel asks for max_read at most, so a buffer for each request is bounded by the number of threads. */
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    char *data = mem_alloc(size);
    struct fs_answer answer;
    ssize_t n;

    (void)ino;
    fs_answer_begin(ops_of(req)->fs, &answer);
    n = data ? OPS_CALL(req, fs_file_read(ops_handle_of(fi)->file, (uint64_t)off, data, size)) : -ENOMEM;
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_buf(req, data, (size_t)n);
    fs_answer_end(&answer);
    mem_free(data);
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
    ssize_t n = OPS_CALL(req, fs_file_write(ops_handle_of(fi)->file, (uint64_t)off, data, size));

    if (n >= 0 && killpriv_write_kills()) {
        int rc = OPS_CALL(req, ops_kill_suidgid(ops_of(req)->fs, ino));

        if (rc < 0) /* the bytes are written, but a set-id program with foreign bytes is no success */
            n = rc;
    }
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_write(req, (size_t)n);
}

void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    ops_reply_rc(req, OPS_CALL(req, fs_file_fsync(ops_handle_of(fi)->file, datasync != 0)));
}

/* Nobody waits for this answer, and close(2) has returned long ago: nothing can be reported here. */
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)OPS_CALL(req, (ops_handle_release(ops_of(req), ops_handle_of(fi)), 0));
    fuse_reply_err(req, 0);
}
