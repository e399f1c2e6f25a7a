/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

void ops_init(struct ops *o, struct fs *fs, struct control *control)
{
    *o = (struct ops){ .fs = fs, .control = control };
    mutex_init(&o->mu, OPS_RANK_HANDLES, "open handles");
    list_init(&o->handles);
}

static void handle_close(struct ops_handle *h)
{
    if (h->file)
        fs_file_release(h->file);
    if (h->dir)
        fs_dir_release(h->dir);
    mem_free(h);
}

void ops_fini(struct ops *o)
{
    list_for_each_safe(pos, tmp, &o->handles)
        handle_close(list_entry(pos, struct ops_handle, link));
    list_init(&o->handles);
    mutex_fini(&o->mu);
}

struct ops_handle *ops_handle_new(void)
{
    struct ops_handle *h = mem_zalloc(sizeof(*h));

    if (h)
        list_init(&h->link);
    return h;
}

void ops_handle_publish(struct ops *o, struct ops_handle *h, struct fuse_file_info *fi)
{
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
