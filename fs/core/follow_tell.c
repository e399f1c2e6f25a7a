/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling caches above what changed. One thread does it, since telling may have to wait for an answer that a worker is
 * about to give: the kernel waits for the pages that are being read before it drops them, and for look-ups in a
 * directory.
 */

#include "fs/core/follow.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>

/* Changes that wait; more of them are told as "everything". */
#define CHANGES_MAX 100000u
/* An answer that a cache keeps is asked for again after so long, though nobody said that it changed. */
#define KEEP_MS 60000
#define AGAIN_MS 1000

enum change_kind { CHANGE_ATTR, CHANGE_DATA, CHANGE_NAME };

struct change {
    enum change_kind kind;
    uint64_t ino; /* or directory */
    uint64_t offset, len;
    size_t name; /* where it begins in names */
};

struct change_set {
    struct list link;
    uint64_t step;
    bool all; /* and nothing else matters */
    struct change *v;
    size_t n, cap;
    struct shale_buf names;
};

struct change_set *change_set_new(void)
{
    struct change_set *s = mem_zalloc(sizeof(*s));

    if (s)
        list_init(&s->link);
    return s;
}

void change_set_free(struct change_set *s)
{
    if (!s)
        return;
    mem_free(s->v);
    shale_buf_fini(&s->names);
    mem_free(s);
}

void change_set_all(struct change_set *s)
{
    s->all = true;
    s->n = 0;
    mem_free(s->v);
    s->v = NULL;
    s->cap = 0;
    shale_buf_fini(&s->names);
}

/* Writers change the same inode again and again: what is said already is not said once more. */
static void add_change(struct change_set *s, const struct change *c)
{
    const struct change *last = s->n ? &s->v[s->n - 1] : NULL;

    if (s->all || (last && c->kind != CHANGE_NAME && last->kind == c->kind && last->ino == c->ino &&
                   last->offset == c->offset && last->len == c->len))
        return;
    if (s->n >= CHANGES_MAX || vec_reserve(&s->v, &s->cap, s->n + 1, sizeof(*s->v)) < 0)
        change_set_all(s);
    else
        s->v[s->n++] = *c;
}

void change_set_attr(struct change_set *s, uint64_t ino)
{
    add_change(s, &(struct change){ .kind = CHANGE_ATTR, .ino = ino });
}

void change_set_data(struct change_set *s, uint64_t ino, uint64_t offset, uint64_t len)
{
    add_change(s, &(struct change){ .kind = CHANGE_DATA, .ino = ino, .offset = offset, .len = len });
}

void change_set_name(struct change_set *s, uint64_t dir, struct shale_slice name)
{
    struct change c = { .kind = CHANGE_NAME, .ino = dir, .name = s->names.len };

    if (s->all)
        return;
    if (buf_append_slice(&s->names, name) < 0 || buf_put_u8(&s->names, 0) < 0)
        change_set_all(s);
    else
        add_change(s, &c);
}

/* ---- the thread ---- */

static void tell_one(const struct fs_cache *cache, const struct change_set *s, const struct change *c)
{
    if (c->kind == CHANGE_NAME)
        cache->name(cache->arg, c->ino, (const char *)s->names.data + c->name);
    else
        cache->inode(cache->arg, c->ino, c->kind == CHANGE_DATA, c->offset, c->len);
}

static void tell_name(void *arg, uint64_t dir, const char *name)
{
    const struct fs_cache *cache = arg;

    cache->name(cache->arg, dir, name);
}

static int tell_all(struct follow *f, struct fs_cache *cache)
{
    uint64_t *inos = NULL;
    size_t n = 0;
    int rc = inode_table_list(&f->fs->inodes, &inos, &n);

    for (size_t k = 0; rc == 0 && k < n; k++)
        cache->inode(cache->arg, inos[k], true, 0, 0);
    mem_free(inos);
    return rc == 0 ? told_each(&f->told, tell_name, cache) : rc;
}

/* 0 or -ENOMEM: not all of it was told. */
static int tell(struct follow *f, const struct change_set *s)
{
    if (s->all)
        return tell_all(f, &f->cache);
    for (size_t k = 0; k < s->n; k++)
        tell_one(&f->cache, s, &s->v[k]);
    return 0;
}

/* Every answer that was begun before the step was marked has been given. They are in the order in which they began. */
static bool is_settled_locked(const struct follow *f, uint64_t step)
{
    return list_empty(&f->answers) || list_entry(f->answers.next, struct fs_answer, link)->step >= step;
}

static struct change_set *first_of(struct list *l)
{
    return list_empty(l) ? NULL : list_entry(l->next, struct change_set, link);
}

static void end_set_locked(struct follow *f, struct change_set *s)
{
    f->n_sets--;
    f->n_changes -= s->n;
    change_set_free(s);
}

static void begin_set_locked(struct follow *f, struct change_set *s, uint64_t step)
{
    s->step = step;
    f->n_sets++;
    f->n_changes += s->n;
    list_append(&f->sets, &s->link);
    cond_signal(&f->work);
}

static void take_lost_locked(struct follow *f)
{
    struct change_set *s = f->lost ? change_set_new() : NULL;

    if (!s)
        return;
    change_set_all(s);
    begin_set_locked(f, s, f->lost_step);
    f->lost = false;
}

/*
 * A set is looked at before it is told: an answer that ends later may bring back what the telling takes away. What is
 * told for the second time is done with.
 */
static int tell_next_locked(struct follow *f, struct change_set *s, bool again)
{
    bool settled = again || is_settled_locked(f, s->step);
    int rc;

    list_remove(&s->link);
    mutex_unlock(&f->mu);
    rc = tell(f, s);
    mutex_lock(&f->mu);
    if (rc < 0) {
        list_insert(again ? &f->sent : &f->sets, &s->link);
    } else if (!settled) {
        list_append(&f->sent, &s->link);
    } else {
        end_set_locked(f, s);
    }
    return rc;
}

static void tell_main(void *arg)
{
    struct follow *f = arg;
    struct change_set *s;
    int rc;

    mutex_lock(&f->mu);
    while (f->attached) {
        take_lost_locked(f);
        rc = 0;
        if ((s = first_of(&f->sets)) != NULL)
            rc = tell_next_locked(f, s, false);
        else if ((s = first_of(&f->sent)) != NULL && is_settled_locked(f, s->step))
            rc = tell_next_locked(f, s, true);
        else if (!f->lost)
            cond_wait(&f->work, &f->mu);
        else
            rc = -ENOMEM;
        if (rc < 0)
            (void)cond_wait_until(&f->work, &f->mu, clock_mono_ms() + AGAIN_MS);
    }
    mutex_unlock(&f->mu);
}

static void drop_sets_locked(struct follow *f)
{
    struct list *lists[] = { &f->sets, &f->sent };

    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        list_for_each_safe(p, next, lists[k]) {
            struct change_set *s = list_entry(p, struct change_set, link);

            list_remove(p);
            end_set_locked(f, s);
        }
    }
    f->lost = false;
}

/* Where nobody is told nobody has kept anything. Of too many changes the newest set says that it was everything. */
void follow_tell(struct follow *f, struct change_set *s, uint64_t step)
{
    mutex_lock(&f->mu);
    if (s && f->attached && (s->all || s->n > 0)) {
        if (f->n_changes + s->n > CHANGES_MAX)
            change_set_all(s);
        if (s->all) /* of now, so it says what those before say */
            drop_sets_locked(f);
        begin_set_locked(f, s, step);
        s = NULL;
    } else if (!s) {
        f->lost = true;
        f->lost_step = step;
        cond_signal(&f->work);
    }
    mutex_unlock(&f->mu);
    change_set_free(s);
}

int fs_cache_attach(struct fs *fs, const struct fs_cache *cache)
{
    struct follow *f = fs->follow;

    if (!f)
        return 0;
    f->cache = *cache;
    mutex_lock(&f->mu);
    f->attached = true; /* nobody has been answered yet, so nobody need be told of what was before */
    mutex_unlock(&f->mu);
    return worker_start(&f->thread, "shale-tell", tell_main, f);
}

void fs_cache_detach(struct fs *fs)
{
    struct follow *f = fs->follow;

    if (!f)
        return;
    mutex_lock(&f->mu);
    f->attached = false;
    cond_broadcast(&f->work);
    mutex_unlock(&f->mu);
    worker_join(&f->thread);
    mutex_lock(&f->mu);
    drop_sets_locked(f);
    mutex_unlock(&f->mu);
}

/* ---- answers ---- */

void fs_answer_begin(struct fs *fs, struct fs_answer *a)
{
    struct follow *f = fs->follow;

    a->fs = fs;
    if (!f)
        return;
    mutex_lock(&f->mu);
    a->step = f->marked;
    list_append(&f->answers, &a->link);
    mutex_unlock(&f->mu);
}

/* What a step has overtaken meanwhile may be true still, but there is no need to find out. */
double fs_answer_keep_seconds(const struct fs_answer *a)
{
    if (!a->fs->follow)
        return FS_KEEP_FOREVER;
    return shale_reader_step(a->fs->reader) == a->step ? KEEP_MS / 1000.0 : 0;
}

void fs_answer_end(struct fs_answer *a)
{
    struct follow *f = a->fs->follow;

    if (!f)
        return;
    mutex_lock(&f->mu);
    list_remove(&a->link);
    if (!list_empty(&f->sent))
        cond_signal(&f->work);
    mutex_unlock(&f->mu);
}

bool fs_may_keep_absent(struct fs *fs, uint64_t parent, const char *name)
{
    struct inode *dir;
    int rc;

    if (!fs->follow)
        return true;
    if (inode_get(fs, parent, &dir) < 0)
        return false;
    rc = told_add(&fs->follow->told, parent, name, true, &dir->told);
    inode_put(fs, dir);
    return rc == 0;
}

static int add_requests(void *arg, const struct shale_metric *m)
{
    if (strcmp(m->desc->name, "slatedb.object_store.request_count") == 0)
        *(uint64_t *)arg += m->count;
    return 0;
}

void fs_follow_status(struct fs *fs, struct fs_follow_status *out)
{
    struct shale_reader_status st;

    *out = (struct fs_follow_status){ .follows = fs->follow != NULL };
    if (!fs->follow)
        return;
    shale_reader_status(fs->reader, &st);
    out->poll_ms = fs->opt.poll_ms;
    out->look_age_ms = st.look_age_ms;
    out->looks = st.looks;
    out->look_error = st.look_error;
    out->steps = st.steps;
    out->seq = st.seq;
    (void)shale_metrics_each(shale_reader_metrics(fs->reader), add_requests, &out->requests);
    mutex_lock(&fs->follow->mu);
    out->untold = fs->follow->n_sets + fs->follow->lost;
    mutex_unlock(&fs->follow->mu);
}
