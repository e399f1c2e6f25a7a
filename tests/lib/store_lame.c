/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/store_lame.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "object/store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RACED_PUTS 4u
#define NAMES_MAX 64u

struct lame_store {
    struct shale_store base;
    struct shale_store *inner;
    enum lame_way way;
    _Atomic unsigned n_puts; /* conditional ones */
};

struct lame_upload {
    struct shale_upload base;
    struct shale_buf data;
    char name[];
};

static struct lame_store *lame_of(struct shale_store *s)
{
    return container_of(s, struct lame_store, base);
}

static bool is(struct shale_store *s, enum lame_way way)
{
    return lame_of(s)->way == way;
}

static int lame_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    int rc = is(s, LAME_NOT_FOUND) ? err_set(-ENOENT, "there is no %s yet", name)
                                   : shale_store_get(lame_of(s)->inner, name, out);

    if (rc == 0 && is(s, LAME_OTHER_BYTES) && out->len)
        out->data[out->len / 2] ^= 1;
    return rc;
}

static int lame_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                          struct shale_buf *out)
{
    if (is(s, LAME_WHOLE_RANGE))
        return err_set(-EOPNOTSUPP, "%s comes whole or not at all", name);
    return shale_store_get_range(lame_of(s)->inner, name, offset + is(s, LAME_SHIFTED_RANGE), len, out);
}

static void distort(struct shale_store *s, struct shale_object_meta *m)
{
    if (is(s, LAME_NO_PUT_ID))
        m->put_id[0] = '\0';
    if (is(s, LAME_CLOCK_AHEAD))
        m->mtime_ms += 7200000;
    if (is(s, LAME_CLOCK_BEHIND))
        m->mtime_ms -= 7200000;
    m->size += is(s, LAME_WRONG_SIZE);
}

static int lame_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    int rc = shale_store_head(lame_of(s)->inner, name, out);

    if (rc == 0)
        distort(s, out);
    return rc;
}

/* As if the store had looked for the object before any of the first puts was done. */
static int put_racy(struct shale_store *s, const char *name, struct shale_slice data, const char *put_id)
{
    struct lame_store *l = lame_of(s);
    unsigned n = atomic_fetch_add(&l->n_puts, 1);

    if (n >= RACED_PUTS)
        return store_put_with_id(l->inner, name, data, SHALE_PUT_IF_ABSENT, put_id);
    if (l->way == LAME_RACY)
        return store_put_with_id(l->inner, name, data, SHALE_PUT_OVERWRITE, put_id);
    if (n == RACED_PUTS - 1)
        (void)store_put_with_id(l->inner, name, data, SHALE_PUT_OVERWRITE, put_id);
    return n == 0 ? 0 : err_set(-EEXIST, "%s exists", name); /* the winner's bytes are lost */
}

static int put_conditional(struct shale_store *s, const char *name, struct shale_slice data, const char *put_id)
{
    struct lame_store *l = lame_of(s);
    struct shale_object_meta meta;

    switch (l->way) {
    case LAME_OVERWRITES:
        return store_put_with_id(l->inner, name, data, SHALE_PUT_OVERWRITE, put_id);
    case LAME_501:
        return err_set(-EOPNOTSUPP, "cannot write %s: the store cannot do that (501 NotImplemented)", name);
    case LAME_400:
        return err_set(-EIO, "cannot write %s: the store answers 400 InvalidArgument", name);
    case LAME_EXISTS_ALWAYS:
        return err_set(-EEXIST, "%s exists", name);
    case LAME_REFUSES_AND_WRITES:
        if (shale_store_head(l->inner, name, &meta) == -ENOENT)
            break;
        (void)store_put_with_id(l->inner, name, data, SHALE_PUT_OVERWRITE, put_id);
        return err_set(-EEXIST, "%s exists", name);
    case LAME_RACY:
    case LAME_LOSER_WRITES:
        return put_racy(s, name, data, put_id);
    default:
        break;
    }
    return store_put_with_id(l->inner, name, data, SHALE_PUT_IF_ABSENT, put_id);
}

static bool is_too_long(struct shale_store *s, const char *name)
{
    const char *slash = strrchr(name, '/');

    return is(s, LAME_SHORT_NAMES) && strlen(slash ? slash + 1 : name) > 40;
}

static int lame_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                    const char *put_id)
{
    if (is(s, LAME_READ_ONLY))
        return err_set(-EACCES, "cannot write %s: permission refused", name);
    if (is_too_long(s, name))
        return err_set(-ENAMETOOLONG, "cannot write %s: the store answers 400 KeyTooLongError", name);
    if (mode == SHALE_PUT_IF_ABSENT)
        return put_conditional(s, name, data, put_id);
    return store_put_with_id(lame_of(s)->inner, name, data, mode, put_id);
}

static int lame_remove(struct shale_store *s, const char *name)
{
    struct shale_object_meta meta;

    if (is(s, LAME_KEEPS))
        return 0;
    if (is(s, LAME_NO_DELETE))
        return err_set(-EACCES, "cannot delete %s: permission refused", name);
    if (is(s, LAME_DELETE_404) && shale_store_head(lame_of(s)->inner, name, &meta) == -ENOENT)
        return err_set(-ENOENT, "there is no %s", name);
    return shale_store_delete(lame_of(s)->inner, name);
}

struct listed {
    struct shale_store *store;
    struct {
        char name[STORE_NAME_MAX + 1];
        struct shale_object_meta meta;
    } *v;
    size_t n;
};

static int keep(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct listed *l = arg;

    if (l->n == NAMES_MAX)
        abort();
    strcpy(l->v[l->n].name, name);
    l->v[l->n].meta = *meta;
    distort(l->store, &l->v[l->n++].meta);
    return 0;
}

static int lame_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct listed l = { .store = s, .v = calloc(NAMES_MAX, sizeof(*l.v)) };
    int rc;

    if (!l.v)
        abort();
    rc = shale_store_list(lame_of(s)->inner, prefix, is(s, LAME_LIST_FROM_START) ? NULL : start_after, keep, &l);
    if (l.n > 0 && is(s, LAME_STALE_LIST))
        l.n--;
    for (size_t i = 0; rc == 0 && i < l.n; i++) {
        size_t k = is(s, LAME_UNORDERED_LIST) ? l.n - 1 - i : i;

        rc = fn(arg, l.v[k].name, &l.v[k].meta);
    }
    free(l.v);
    return rc;
}

static int lame_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    struct lame_upload *u;

    if (is(s, LAME_NO_UPLOAD))
        return err_set(-EOPNOTSUPP, "cannot begin the upload of %s: the store cannot do that (501)", name);
    u = calloc(1, sizeof(*u) + strlen(name) + 1);
    if (!u)
        abort();
    u->base.store = s;
    strcpy(u->name, name);
    *out = &u->base;
    return 0;
}

static int lame_upload_write(struct shale_upload *u, struct shale_slice data)
{
    return buf_append_slice(&container_of(u, struct lame_upload, base)->data, data);
}

static void lame_upload_abort(struct shale_upload *up)
{
    struct lame_upload *u = container_of(up, struct lame_upload, base);

    shale_buf_fini(&u->data);
    free(u);
}

static int lame_upload_finish(struct shale_upload *up)
{
    struct lame_upload *u = container_of(up, struct lame_upload, base);
    int rc;

    u->data.len -= is(up->store, LAME_CUT_UPLOAD);
    rc = lame_put(up->store, u->name, slice_of_buf(&u->data), SHALE_PUT_OVERWRITE, NULL);
    if (rc != SHALE_ETRANSIENT)
        lame_upload_abort(up);
    return rc;
}

static void lame_close(struct shale_store *s)
{
    free(lame_of(s));
}

static const struct shale_store_ops lame_ops = {
    .scheme = "lame",
    .get = lame_get,
    .get_range = lame_get_range,
    .head = lame_head,
    .put = lame_put,
    .remove = lame_remove,
    .list = lame_list,
    .upload_begin = lame_upload_begin,
    .upload_write = lame_upload_write,
    .upload_finish = lame_upload_finish,
    .upload_abort = lame_upload_abort,
    .close = lame_close,
};

struct shale_store *store_lame_new(struct shale_store *inner, enum lame_way way)
{
    struct lame_store *l = calloc(1, sizeof(*l));

    if (!l)
        abort();
    l->base.ops = &lame_ops;
    l->inner = inner;
    l->way = way;
    return &l->base;
}
