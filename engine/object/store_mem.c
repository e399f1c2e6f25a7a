/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in memory, for tests and memory:// URLs: a sorted array of reference-counted objects under
 * one lock per space. Bodies are copied outside the lock, on a reference of the reader's own, so that a
 * put or delete meanwhile does no harm.
 */

#include "object/store.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sync.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Immutable once published. shared: the space and each call under way hold one reference. */
struct mem_object {
    _Atomic unsigned refs; /* the last one frees; acquire and release pair in object_unref */
    struct shale_object_meta meta;
    uint8_t *data;
    char name[];
};

/* shared: each store opened on it holds one reference. */
struct mem_space {
    struct mem_space *next;      /* GUARDED_BY(spaces_mu) */
    unsigned refs;               /* GUARDED_BY(spaces_mu) */
    char *name;                  /* NULL: nobody else finds it */
    struct mutex mu;             /* rank STORE_RANK_SPACE */
    struct mem_object **objects; /* GUARDED_BY(mu), in name order */
    size_t n_objects, cap;       /* GUARDED_BY(mu) */
};

struct mem_store {
    struct shale_store base;
    struct mem_space *space;
};

static struct mutex spaces_mu = { .m = PTHREAD_MUTEX_INITIALIZER, .rank = STORE_RANK_SPACES, .name = "memory stores" };
static struct mem_space *spaces; /* GUARDED_BY(spaces_mu); those with a name */

static struct mem_space *space_of(struct shale_store *s)
{
    return container_of(s, struct mem_store, base)->space;
}

static struct mem_object *object_ref(struct mem_object *o)
{
    atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

static void object_unref(struct mem_object *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) > 1)
        return;
    mem_free(o->data);
    mem_free(o);
}

static struct mem_object *object_new(const char *name, struct shale_slice data, const char *put_id)
{
    size_t name_len = strlen(name);
    struct mem_object *o = mem_zalloc(sizeof(*o) + name_len + 1);

    if (!o)
        return NULL;
    o->refs = 1;
    o->data = mem_dup(data.len ? data.data : (const uint8_t *)"", data.len);
    if (!o->data) {
        mem_free(o);
        return NULL;
    }
    o->meta.size = data.len;
    o->meta.mtime_ms = clock_wall_ms();
    if (put_id)
        memcpy(o->meta.put_id, put_id, SHALE_PUT_ID_LEN);
    memcpy(o->name, name, name_len + 1);
    return o;
}

/* Where the first object is whose name is not less than name. */
static size_t lower_bound_locked(const struct mem_space *sp, const char *name)
{
    size_t lo = 0, hi = sp->n_objects;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strcmp(sp->objects[mid]->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_at_locked(const struct mem_space *sp, size_t i, const char *name)
{
    return i < sp->n_objects && strcmp(sp->objects[i]->name, name) == 0;
}

/* A reference to the object, or NULL with a sentence. */
static struct mem_object *lookup(struct mem_space *sp, const char *name)
{
    struct mem_object *o = NULL;
    size_t i;

    mutex_lock(&sp->mu);
    i = lower_bound_locked(sp, name);
    if (is_at_locked(sp, i, name))
        o = object_ref(sp->objects[i]);
    mutex_unlock(&sp->mu);
    if (!o)
        err_set(-ENOENT, "no object %s in the memory store", name);
    return o;
}

static int mem_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    struct mem_object *o = lookup(space_of(s), name);
    int rc;

    if (!o)
        return -ENOENT;
    rc = shale_buf_append(out, o->data, o->meta.size);
    if (rc < 0)
        err_set(rc, "out of memory for %llu bytes of %s", (unsigned long long)o->meta.size, name);
    object_unref(o);
    return rc;
}

static int mem_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len, struct shale_buf *out)
{
    struct mem_object *o = lookup(space_of(s), name);
    int rc;

    if (!o)
        return -ENOENT;
    if (offset + len > o->meta.size)
        rc = err_set(-ERANGE, "%s has %llu bytes, less than offset %llu + length %llu", name,
                     (unsigned long long)o->meta.size, (unsigned long long)offset, (unsigned long long)len);
    else if (shale_buf_append(out, o->data + offset, len) < 0)
        rc = err_set(-ENOMEM, "out of memory for %llu bytes of %s", (unsigned long long)len, name);
    else
        rc = 0;
    object_unref(o);
    return rc;
}

static int mem_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    struct mem_object *o = lookup(space_of(s), name);

    if (!o)
        return -ENOENT;
    *out = o->meta;
    object_unref(o);
    return 0;
}

/*
 * Takes over the reference of *o on success, and leaves one to what it replaced there (or NULL).
 * The array moves by one place for each new name: fine for the thousands of objects that tests make.
 */
static int insert_locked(struct mem_space *sp, struct mem_object **o, enum shale_put_mode mode)
{
    size_t i = lower_bound_locked(sp, (*o)->name);
    struct mem_object *old = NULL;

    if (is_at_locked(sp, i, (*o)->name)) {
        if (mode == SHALE_PUT_IF_ABSENT)
            return -EEXIST;
        old = sp->objects[i];
    } else {
        if (vec_reserve(&sp->objects, &sp->cap, sp->n_objects + 1, sizeof(struct mem_object *)) < 0)
            return -ENOMEM;
        memmove(&sp->objects[i + 1], &sp->objects[i], (sp->n_objects - i) * sizeof(struct mem_object *));
        sp->n_objects++;
    }
    sp->objects[i] = *o;
    *o = old;
    return 0;
}

static int mem_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                   const char *put_id)
{
    struct mem_space *sp = space_of(s);
    struct mem_object *o = object_new(name, data, put_id);
    int rc;

    if (!o)
        return err_set(-ENOMEM, "out of memory for %zu bytes of %s", data.len, name);
    mutex_lock(&sp->mu);
    rc = insert_locked(sp, &o, mode);
    mutex_unlock(&sp->mu);
    object_unref(o);
    if (rc == -EEXIST)
        return err_set(rc, "object %s exists already in the memory store", name);
    return rc < 0 ? err_set(rc, "out of memory for object %s", name) : 0;
}

static int mem_remove(struct shale_store *s, const char *name)
{
    struct mem_space *sp = space_of(s);
    struct mem_object *o = NULL;
    size_t i;

    mutex_lock(&sp->mu);
    i = lower_bound_locked(sp, name);
    if (is_at_locked(sp, i, name)) {
        o = sp->objects[i];
        memmove(&sp->objects[i], &sp->objects[i + 1], (sp->n_objects - i - 1) * sizeof(struct mem_object *));
        sp->n_objects--;
    }
    mutex_unlock(&sp->mu);
    object_unref(o);
    return 0;
}

/* The first object at or above from (above after when that is not NULL) with the prefix; NULL at the end. */
static struct mem_object *next_listed(struct mem_space *sp, const char *prefix, const char *after)
{
    const char *from = after && strcmp(after, prefix) >= 0 ? after : prefix;
    struct mem_object *o = NULL;
    size_t i;

    mutex_lock(&sp->mu);
    i = lower_bound_locked(sp, from);
    if (from == after && is_at_locked(sp, i, after))
        i++;
    if (i < sp->n_objects && strncmp(sp->objects[i]->name, prefix, strlen(prefix)) == 0)
        o = object_ref(sp->objects[i]);
    mutex_unlock(&sp->mu);
    return o;
}

/* The lock is not held across fn, so the place is found again by name each time. */
static int mem_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct mem_space *sp = space_of(s);
    struct mem_object *o = next_listed(sp, prefix, start_after);
    int rc = 0;

    while (o && rc == 0) {
        struct shale_object_meta meta = { .size = o->meta.size, .mtime_ms = o->meta.mtime_ms };
        struct mem_object *next;

        rc = fn(arg, o->name, &meta);
        next = rc ? NULL : next_listed(sp, prefix, o->name);
        object_unref(o);
        o = next;
    }
    return rc;
}

static void space_free(struct mem_space *sp)
{
    if (!sp)
        return;
    for (size_t i = 0; i < sp->n_objects; i++)
        object_unref(sp->objects[i]);
    mem_free(sp->objects);
    mutex_fini(&sp->mu);
    mem_free(sp->name);
    mem_free(sp);
}

static struct mem_space *space_new(const char *name, size_t len)
{
    struct mem_space *sp = mem_zalloc(sizeof(*sp));

    if (!sp)
        return NULL;
    mutex_init(&sp->mu, STORE_RANK_SPACE, "memory store");
    sp->refs = 1;
    sp->name = name ? mem_dup(name, len) : NULL;
    if (name && !sp->name) {
        space_free(sp);
        return NULL;
    }
    return sp;
}

static void space_unref(struct mem_space *sp)
{
    mutex_lock(&spaces_mu);
    if (--sp->refs > 0) {
        sp = NULL;
    } else if (sp->name) {
        struct mem_space **at = &spaces;

        while (*at != sp)
            at = &(*at)->next;
        *at = sp->next;
    }
    mutex_unlock(&spaces_mu);
    space_free(sp);
}

static struct mem_space *space_find_or_new_locked(const char *name, size_t len)
{
    struct mem_space *sp = spaces;

    while (sp && !(strlen(sp->name) == len && memcmp(sp->name, name, len) == 0))
        sp = sp->next;
    if (sp) {
        sp->refs++;
        return sp;
    }
    sp = space_new(name, len);
    if (sp) {
        sp->next = spaces;
        spaces = sp;
    }
    return sp;
}

static void mem_close(struct shale_store *s)
{
    struct mem_store *m = container_of(s, struct mem_store, base);

    space_unref(m->space);
    mem_free(m);
}

/* Uploads are gathered and put by the dispatcher. */
static const struct shale_store_ops mem_ops = {
    .scheme = "memory",
    .get = mem_get,
    .get_range = mem_get_range,
    .head = mem_head,
    .put = mem_put,
    .remove = mem_remove,
    .list = mem_list,
    .close = mem_close,
};

/* Takes over the reference to sp, also when it fails; sp NULL is out of memory. */
static int open_space(struct mem_space *sp, struct shale_store **out)
{
    struct mem_store *m = sp ? mem_zalloc(sizeof(*m)) : NULL;

    if (!m) {
        if (sp)
            space_unref(sp);
        return err_set(-ENOMEM, "out of memory for a memory store");
    }
    m->base.ops = &mem_ops;
    m->space = sp;
    *out = &m->base;
    return 0;
}

int shale_store_memory(struct shale_store **out)
{
    return open_space(space_new(NULL, 0), out);
}

int store_memory_shared(const char *name, size_t len, struct shale_store **out)
{
    struct mem_space *sp;

    mutex_lock(&spaces_mu);
    sp = space_find_or_new_locked(name, len);
    mutex_unlock(&spaces_mu);
    return open_space(sp, out);
}
