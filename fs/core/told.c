/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/told.h"

#include "base/buf.h"
#include "fs/core/inode.h"

#include <errno.h>

#define BUCKETS_MIN 1024u

struct name {
    struct list chain;
    struct list link; /* in the list of its owner */
    uint64_t dir;
    uint64_t hash;
    bool absent;
    size_t len;
    char text[];
};

int told_init(struct told *t)
{
    *t = (struct told){ .buckets = mem_alloc(size_mul(BUCKETS_MIN, sizeof(*t->buckets))), .n_buckets = BUCKETS_MIN };
    if (!t->buckets)
        return -ENOMEM;
    for (size_t k = 0; k < t->n_buckets; k++)
        list_init(&t->buckets[k]);
    mutex_init(&t->mu, FS_RANK_TOLD, "told names");
    return 0;
}

static void remove_locked(struct told *t, struct name *n)
{
    list_remove(&n->chain);
    list_remove(&n->link);
    t->n--;
    t->n_absent -= n->absent;
    mem_free(n);
}

void told_fini(struct told *t)
{
    if (!t->buckets)
        return;
    for (size_t k = 0; k < t->n_buckets; k++)
        list_for_each_safe(p, next, &t->buckets[k])
            remove_locked(t, list_entry(p, struct name, chain));
    mem_free(t->buckets);
    t->buckets = NULL;
    mutex_fini(&t->mu);
}

/* FNV-1a. A writer who makes names collide slows his followers down, and nobody else. */
static uint64_t hash_of(uint64_t dir, const char *name, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u ^ dir;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static struct list *bucket(struct told *t, uint64_t hash)
{
    return &t->buckets[hash & (t->n_buckets - 1)];
}

static struct name *find_locked(struct told *t, uint64_t dir, const char *name, size_t len, uint64_t hash)
{
    list_for_each(p, bucket(t, hash)) {
        struct name *n = list_entry(p, struct name, chain);

        if (n->hash == hash && n->dir == dir && n->len == len && memcmp(n->text, name, len) == 0)
            return n;
    }
    return NULL;
}

/* Four times as many buckets, if there is memory for them. */
static void grow_locked(struct told *t)
{
    struct list *old = t->buckets;
    size_t n_old = t->n_buckets;
    struct list *more = mem_alloc(size_mul(n_old * 4, sizeof(*more)));

    if (!more)
        return;
    t->buckets = more;
    t->n_buckets = n_old * 4;
    for (size_t k = 0; k < t->n_buckets; k++)
        list_init(&more[k]);
    for (size_t k = 0; k < n_old; k++) {
        list_for_each_safe(p, next, &old[k]) {
            list_remove(p);
            list_append(bucket(t, list_entry(p, struct name, chain)->hash), p);
        }
    }
    mem_free(old);
}

static struct name *name_new(uint64_t dir, const char *text, size_t len, uint64_t hash)
{
    struct name *n = mem_zalloc(sizeof(*n) + len + 1);

    if (!n)
        return NULL;
    list_init(&n->chain);
    list_init(&n->link);
    n->dir = dir;
    n->hash = hash;
    n->len = len;
    memcpy(n->text, text, len);
    return n;
}

/* A name that was told before, perhaps of another inode, belongs to the owner of now. */
static int add_locked(struct told *t, uint64_t dir, const char *name, bool absent, struct list *owned)
{
    size_t len = strlen(name);
    uint64_t hash = hash_of(dir, name, len);
    struct name *n = find_locked(t, dir, name, len, hash);

    if (absent && !(n && n->absent) && t->n_absent >= TOLD_ABSENT_MAX)
        return -ENOSPC;
    if (!n) {
        n = name_new(dir, name, len, hash);
        if (!n)
            return -ENOMEM;
        if (t->n >= t->n_buckets)
            grow_locked(t);
        list_append(bucket(t, hash), &n->chain);
        t->n++;
    }
    list_remove(&n->link);
    list_append(owned, &n->link);
    t->n_absent += (size_t)absent - (size_t)n->absent;
    n->absent = absent;
    return 0;
}

int told_add(struct told *t, uint64_t dir, const char *name, bool absent, struct list *owned)
{
    int rc;

    mutex_lock(&t->mu);
    rc = add_locked(t, dir, name, absent, owned);
    mutex_unlock(&t->mu);
    return rc;
}

bool told_has(struct told *t, uint64_t dir, const char *name, size_t len)
{
    bool has;

    mutex_lock(&t->mu);
    has = find_locked(t, dir, name, len, hash_of(dir, name, len)) != NULL;
    mutex_unlock(&t->mu);
    return has;
}

void told_drop(struct told *t, struct list *owned)
{
    mutex_lock(&t->mu);
    list_for_each_safe(p, next, owned)
        remove_locked(t, list_entry(p, struct name, link));
    mutex_unlock(&t->mu);
}

/* A copy: directory, name and NUL, one behind the other. */
static int copy_locked(struct told *t, struct shale_buf *out)
{
    int rc = 0;

    for (size_t k = 0; rc == 0 && k < t->n_buckets; k++) {
        list_for_each(p, &t->buckets[k]) {
            const struct name *n = list_entry(p, struct name, chain);

            rc = shale_buf_append(out, &n->dir, sizeof(n->dir));
            if (rc == 0)
                rc = shale_buf_append(out, n->text, n->len + 1);
            if (rc < 0)
                break;
        }
    }
    return rc;
}

int told_each(struct told *t, told_fn fn, void *arg)
{
    struct shale_buf copy = SHALE_BUF_INIT;
    uint64_t dir;
    int rc;

    mutex_lock(&t->mu);
    rc = copy_locked(t, &copy);
    mutex_unlock(&t->mu);
    for (size_t at = 0; rc == 0 && at < copy.len;) {
        const char *name = (const char *)copy.data + at + sizeof(dir);

        memcpy(&dir, copy.data + at, sizeof(dir));
        fn(arg, dir, name);
        at += sizeof(dir) + strlen(name) + 1;
    }
    shale_buf_fini(&copy);
    return rc;
}
