/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include <fcntl.h>

int ops_init(struct ops *o, struct fs *fs, struct control *control)
{
    *o = (struct ops){ .fs = fs, .control = control };
    mutex_init(&o->mu, OPS_RANK_HANDLES, "open handles");
    list_init(&o->handles);
    return pool_new("syncer", OPS_SYNCERS, &o->syncers);
}

/* A file or a directory, or neither when opening it failed. */
static void handle_close(struct ops_handle *h)
{
    if (h->file)
        fs_file_release(h->file);
    if (h->dir)
        fs_dir_release(h->dir);
    mem_free(h);
}

/*
 * Handles that the kernel did not close: of a lazy unmount, or after a signal. The core wants them back before it is
 * closed.
 */
void ops_fini(struct ops *o)
{
    const struct cancel *mine = cancel_set(fs_token(o->fs));

    fs_cache_detach(o->fs);
    pool_free(o->syncers);
    list_for_each_safe(pos, tmp, &o->handles)
        handle_close(list_entry(pos, struct ops_handle, link));
    list_init(&o->handles);
    (void)cancel_set(mine);
    mutex_fini(&o->mu);
}

struct ops_handle *ops_handle_new(void)
{
    struct ops_handle *h = mem_zalloc(sizeof(*h));

    if (h)
        list_init(&h->link);
    return h;
}

/*
 * Before the reply goes out, since the kernel may use the handle at once. A reply that fails means that it never heard
 * of it.
 */
void ops_handle_publish(struct ops *o, struct ops_handle *h, uint64_t ino, struct fuse_file_info *fi)
{
    h->ino = ino;
    h->writes = h->file && (fi->flags & O_ACCMODE) != O_RDONLY;
    mutex_lock(&o->mu);
    list_append(&o->handles, &h->link);
    mutex_unlock(&o->mu);
    fi->fh = (uint64_t)(uintptr_t)h;
}

void ops_handle_release(struct ops *o, struct ops_handle *h)
{
    mutex_lock(&o->mu);
    list_remove(&h->link);
    mutex_unlock(&o->mu);
    handle_close(h);
}

/* The inodes that are open for writing, each once or more. *out is owned by the caller. */
static int writers(struct ops *o, uint64_t **out, size_t *n)
{
    uint64_t *v = NULL;
    size_t cap = 0;
    int rc = 0;

    *n = 0;
    mutex_lock(&o->mu);
    list_for_each(pos, &o->handles) {
        const struct ops_handle *h = list_entry(pos, struct ops_handle, link);

        if (!h->writes || (*n > 0 && v[*n - 1] == h->ino))
            continue;
        rc = vec_reserve(&v, &cap, *n + 1, sizeof(*v));
        if (rc < 0)
            break;
        v[(*n)++] = h->ino;
    }
    mutex_unlock(&o->mu);
    *out = v;
    return rc;
}

/*
 * A mapping holds its file open, so every inode with dirty pages is among the handles. To invalidate pages the kernel
 * first writes the dirty ones and waits for those under way.
 */
void ops_flush_kernel(struct ops *o)
{
    uint64_t *inodes;
    size_t n;

    /* Out of memory: those that were found. The kernel writes the others within its interval, as always. */
    (void)writers(o, &inodes, &n);
    for (size_t i = 0; i < n && !o->ending; i++)
        (void)fuse_lowlevel_notify_inval_inode(o->se, inodes[i], 0, 0); /* -ENOENT: it was forgotten since */
    mem_free(inodes);
}
