/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/stall_store.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/sync.h"
#include "object/store.h"

#include <errno.h>
#include <string.h>

struct stall_store {
    struct shale_store base;
    struct shale_store *inner;
    struct mutex mu;
    struct cond never;
    uint64_t left; /* GUARDED_BY(mu) */
};

static struct shale_store *inner_of(struct shale_store *s)
{
    return container_of(s, struct stall_store, base)->inner;
}

static int stall_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    return shale_store_get(inner_of(s), name, out);
}

static int stall_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                           struct shale_buf *out)
{
    return shale_store_get_range(inner_of(s), name, offset, len, out);
}

static int stall_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    return shale_store_head(inner_of(s), name, out);
}

/* Uploads come by here, too: without functions of their own they are gathered and put. */
static int stall_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                     const char *put_id)
{
    struct stall_store *st = container_of(s, struct stall_store, base);

    if (strstr(name, "compacted/")) {
        mutex_lock(&st->mu);
        while (st->left == 0)
            cond_wait(&st->never, &st->mu);
        st->left--;
        mutex_unlock(&st->mu);
    }
    return store_put_with_id(st->inner, name, data, mode, put_id);
}

static int stall_remove(struct shale_store *s, const char *name)
{
    return shale_store_delete(inner_of(s), name);
}

static int stall_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    return shale_store_list(inner_of(s), prefix, start_after, fn, arg);
}

static void stall_close(struct shale_store *s)
{
    struct stall_store *st = container_of(s, struct stall_store, base);

    cond_fini(&st->never);
    mutex_fini(&st->mu);
    mem_free(st);
}

static const struct shale_store_ops stall_ops = {
    .scheme = "stalling",
    .get = stall_get,
    .get_range = stall_get_range,
    .head = stall_head,
    .put = stall_put,
    .remove = stall_remove,
    .list = stall_list,
    .close = stall_close,
};

int stall_store_new(struct shale_store *inner, uint64_t n, struct shale_store **out)
{
    struct stall_store *st = mem_zalloc(sizeof(*st));

    if (!st)
        return -ENOMEM;
    st->base.ops = &stall_ops;
    st->inner = inner;
    st->left = n;
    mutex_init(&st->mu, STORE_RANK_SPACES, "stalling store");
    cond_init(&st->never);
    *out = &st->base;
    return 0;
}
