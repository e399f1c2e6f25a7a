/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/store_aged.h"

#include "base/alloc.h"
#include "object/store.h"

#include <stdlib.h>
#include <string.h>

#define RULES_MAX 64

struct aged_store {
    struct shale_store base;
    struct shale_store *inner;
    int64_t now_ms;
    struct {
        const char *match;
        int64_t age_ms;
    } rules[RULES_MAX];
    size_t n;
};

static struct aged_store *aged_of(struct shale_store *s)
{
    return container_of(s, struct aged_store, base);
}

static int64_t mtime_of(const struct aged_store *a, const char *name)
{
    int64_t mtime = a->now_ms;

    for (size_t i = 0; i < a->n; i++)
        if (strstr(name, a->rules[i].match))
            mtime = a->now_ms - a->rules[i].age_ms;
    return mtime;
}

static int aged_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    return shale_store_get(aged_of(s)->inner, name, out);
}

static int aged_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                          struct shale_buf *out)
{
    return shale_store_get_range(aged_of(s)->inner, name, offset, len, out);
}

static int aged_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    int rc = shale_store_head(aged_of(s)->inner, name, out);

    if (rc == 0)
        out->mtime_ms = mtime_of(aged_of(s), name);
    return rc;
}

static int aged_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                    const char *put_id)
{
    return store_put_with_id(aged_of(s)->inner, name, data, mode, put_id);
}

static int aged_remove(struct shale_store *s, const char *name)
{
    return shale_store_delete(aged_of(s)->inner, name);
}

struct list_arg {
    const struct aged_store *a;
    shale_list_fn fn;
    void *arg;
};

static int list_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    const struct list_arg *l = arg;
    struct shale_object_meta m = *meta;

    m.mtime_ms = mtime_of(l->a, name);
    return l->fn(l->arg, name, &m);
}

static int aged_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct list_arg l = { .a = aged_of(s), .fn = fn, .arg = arg };

    return shale_store_list(l.a->inner, prefix, start_after, list_fn, &l);
}

static void aged_close(struct shale_store *s)
{
    free(aged_of(s));
}

static const struct shale_store_ops ops = {
    .scheme = "aged",
    .get = aged_get,
    .get_range = aged_get_range,
    .head = aged_head,
    .put = aged_put,
    .remove = aged_remove,
    .list = aged_list,
    .close = aged_close,
};

struct shale_store *store_aged_new(struct shale_store *inner, int64_t now_ms)
{
    struct aged_store *a = mem_zalloc(sizeof(*a));

    if (!a)
        abort();
    a->base.ops = &ops;
    a->inner = inner;
    a->now_ms = now_ms;
    return &a->base;
}

void store_aged_set(struct shale_store *s, const char *match, int64_t age_ms)
{
    struct aged_store *a = aged_of(s);

    if (a->n == RULES_MAX)
        abort();
    a->rules[a->n].match = match;
    a->rules[a->n++].age_ms = age_ms;
}
