/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include <string.h>

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct ops *o = ops_of(req);
    struct ops_handle *h = ops_handle_new();
    int rc = h ? OPS_CALL(req, fs_dir_open(o->fs, ino, &h->dir)) : -ENOMEM;

    if (rc < 0) {
        mem_free(h);
        fuse_reply_err(req, -rc);
        return;
    }
    /* Cookies belong to this handle, so the kernel must not cache the listing for others. */
    ops_handle_publish(o, h, ino, fi);
    if (fuse_reply_open(req, fi) < 0)
        ops_handle_release(o, h);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    ops_handle_release(ops_of(req), ops_handle_of(fi));
    fuse_reply_err(req, 0);
}

struct sync_job {
    struct ops *ops;
    fuse_req_t req;
};

/*
 * On a thread of its own: the kernel writes its pages by requests to us, and the worker that took the fsync must not
 * be the one that they wait for.
 */
static void run_sync(void *arg)
{
    struct sync_job *job = arg;

    ops_flush_kernel(job->ops);
    ops_reply_rc(job->req, OPS_CALL(job->req, fs_sync(job->ops->fs)));
    mem_free(job);
}

/* fsync of the root directory means everything, what only the kernel has included: this is `shalefs sync`. */
static void sync_all(struct ops *o, fuse_req_t req)
{
    struct sync_job *job = mem_alloc(sizeof(*job));
    int rc = -ENOMEM;

    if (job) {
        *job = (struct sync_job){ .ops = o, .req = req };
        rc = pool_submit(o->syncers, run_sync, job);
    }
    if (rc < 0) {
        mem_free(job);
        fuse_reply_err(req, -rc);
    }
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    if (ino == FS_ROOT_INO)
        sync_all(ops_of(req), req);
    else
        ops_reply_rc(req, OPS_CALL(req, fs_dir_fsync(ops_handle_of(fi)->dir)));
}

/* One reply of READDIR or READDIRPLUS in the making. */
struct listing {
    struct fs *fs;
    fuse_req_t req;
    struct fs_dir *dir;
    struct fs_answer answer;
    bool plus;
    char *data;
    size_t size, used;
    uint64_t *given; /* inodes whose lookup count grew by what is in data */
    size_t n_given;
};

static bool is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* What the entry takes; nothing was added when that is more than what is left. */
static size_t listing_put(struct listing *l, const struct fs_dirent *e, const struct fuse_entry_param *p)
{
    char *at = l->data + l->used;
    size_t left = l->size - l->used;

    if (l->plus)
        return fuse_add_direntry_plus(l->req, at, left, e->name, p, (off_t)e->cookie);
    return fuse_add_direntry(l->req, at, left, e->name, &p->attr, (off_t)e->cookie);
}

/* 1 when it did not fit, 0, or a negative errno. */
static int listing_add(struct listing *l, const struct fs_dirent *e)
{
    struct fuse_entry_param p = { .attr = { .st_ino = e->ino, .st_mode = e->type } };
    struct fs_attr a = { 0 };
    bool counted = false;
    size_t n;
    int rc;

    if (l->plus && !is_dot(e->name)) {
        rc = fs_dir_attr(l->dir, e, &a);
        if (rc == 0) {
            ops_entry(&a, fs_answer_keep_seconds(&l->answer), &p);
            counted = true;
        } else if (rc != -ENOENT) { /* removed since: a name without an inode, as in a plain listing */
            return rc;
        }
    }
    n = listing_put(l, e, &p);
    if (n > l->size - l->used) {
        if (counted)
            fs_forget(l->fs, a.ino, 1);
        return 1;
    }
    l->used += n;
    if (counted)
        l->given[l->n_given++] = a.ino;
    return 0;
}

/* As many entries as fit; the kernel comes again with the cookie of the last one. */
static int listing_fill(struct listing *l, uint64_t cookie)
{
    struct fs_dirent e;
    int rc;

    for (;;) {
        rc = fs_dir_read(l->dir, cookie, &e);
        if (rc != 0)
            break;
        cookie = e.cookie;
        rc = listing_add(l, &e);
        if (rc != 0)
            break;
    }
    /* An error waits for the next call when there is something to show. */
    return rc > 0 || l->used > 0 ? 0 : rc;
}

/*
 * Each entry with attributes counts as a lookup, which the kernel will forget one day, but only if it has got the
 * reply.
 */
static void list_dir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
    struct listing l = {
        .fs = ops_of(req)->fs, .req = req, .dir = ops_handle_of(fi)->dir, .plus = plus, .size = size
    };
    int rc = -ENOMEM;

    l.data = mem_alloc(size);
    /* An entry with attributes takes more than a hundred bytes. */
    l.given = mem_calloc(size / 100 + 1, sizeof(*l.given));
    fs_answer_begin(l.fs, &l.answer);
    if (l.data && l.given)
        rc = OPS_CALL(req, listing_fill(&l, (uint64_t)off));
    if (rc < 0)
        fuse_reply_err(req, -rc);
    if (rc < 0 || fuse_reply_buf(req, l.data, l.used) < 0)
        for (size_t i = 0; i < l.n_given; i++)
            fs_forget(l.fs, l.given[i], 1);
    fs_answer_end(&l.answer);
    mem_free(l.given);
    mem_free(l.data);
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    list_dir(req, size, off, fi, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)ino;
    list_dir(req, size, off, fi, true);
}
