/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/inode.h"

#include "base/buf.h"
#include "base/cancel.h"
#include "base/err.h"
#include "fs/core/chunk_cache.h"
#include "fs/core/fserr.h"
#include "fs/core/rows.h"
#include "fs/core/told.h"

#include <assert.h>
#include <errno.h>

void inode_table_init(struct inode_table *t)
{
    mutex_init(&t->mu, FS_RANK_TABLE, "inode table");
    cond_init(&t->loaded);
    t->buckets = t->first_buckets;
    t->n_buckets = INODE_BUCKETS_MIN;
    for (size_t i = 0; i < t->n_buckets; i++)
        list_init(&t->buckets[i]);
    t->n = 0;
}

static void inode_free(struct inode_table *t, struct inode *i)
{
    if (t->told)
        told_drop(t->told, &i->told);
    dirty_fini(&i->dirty);
    dirty_fini(&i->flushing);
    inode_rec_fini(&i->rec);
    assert(list_empty(&i->chunks));
    mutex_fini(&i->mu);
    oplock_fini(&i->op);
    mem_free(i);
}

void inode_table_fini(struct inode_table *t)
{
    for (size_t b = 0; b < t->n_buckets; b++) {
        list_for_each_safe(n, tmp, &t->buckets[b]) {
            list_remove(n);
            inode_free(t, list_entry(n, struct inode, link));
        }
    }
    if (t->buckets != t->first_buckets)
        mem_free(t->buckets);
    cond_fini(&t->loaded);
    mutex_fini(&t->mu);
}

/* Numbers are given out one after the other; the multiplication spreads them over the buckets. */
static struct list *bucket(struct inode_table *t, uint64_t ino)
{
    return &t->buckets[(ino * 0x9e3779b97f4a7c15u) >> 32 & (t->n_buckets - 1)];
}

static struct inode *find_locked(struct inode_table *t, uint64_t ino)
{
    list_for_each(n, bucket(t, ino)) {
        struct inode *i = list_entry(n, struct inode, link);

        if (i->ino == ino)
            return i;
    }
    return NULL;
}

/* Not yet in the table, and no reference is counted. */
static struct inode *inode_new(struct fs *fs, uint64_t ino)
{
    struct inode *i = mem_zalloc(sizeof(*i));

    if (!i)
        return NULL;
    list_init(&i->link);
    list_init(&i->told);
    list_init(&i->dirty_link);
    list_init(&i->chunks);
    oplock_init(&i->op, FS_RANK_OP, "inode operation");
    mutex_init(&i->mu, FS_RANK_INODE, "inode");
    dirty_init(&i->dirty, fs->volume.chunk_bytes);
    dirty_init(&i->flushing, fs->volume.chunk_bytes);
    inode_rec_init(&i->rec);
    i->ino = ino;
    return i;
}

/* Read the row of an inode. */
static int load_rec(struct fs *fs, uint64_t ino, struct inode_rec *rec)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct fs_key key;
    int rc;

    fs_key_inode(&key, ino);
    rc = rows_get(fs, &key, NULL, &value);
    if (rc == 0)
        rc = inode_rec_decode(slice_of_buf(&value), rec);
    shale_buf_fini(&value);
    return rc;
}

/* The inode when it is there, once whoever loads it is done; *out NULL when it is not. SHALE_ECANCELED. */
static int find_loaded_locked(struct inode_table *t, uint64_t ino, struct inode **out)
{
    while ((*out = find_locked(t, ino)) != NULL && (*out)->loading) {
        if (cancel_wanted()) {
            *out = NULL;
            return cancel_error("an inode to be read");
        }
        (void)cancel_cond_wait(&t->loaded, &t->mu, 0);
    }
    return 0;
}

/* Four times as many buckets, if there is memory for them. */
static void grow_locked(struct inode_table *t)
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
        list_for_each_safe(n, tmp, &old[k]) {
            list_remove(n);
            list_append(bucket(t, list_entry(n, struct inode, link)->ino), n);
        }
    }
    if (old != t->first_buckets)
        mem_free(old);
}

static void insert_locked(struct inode_table *t, struct inode *i)
{
    if (t->n >= t->n_buckets)
        grow_locked(t);
    list_append(bucket(t, i->ino), &i->link);
    t->n++;
}

/* Put an inode into the table that nobody may use yet. */
static void insert_loading_locked(struct inode_table *t, struct inode *i)
{
    i->loading = true;
    i->n_ref = 1;
    insert_locked(t, i);
}

/* Let the others have i, or find it missing. */
static void end_loading(struct inode_table *t, struct inode *i, bool there)
{
    mutex_lock(&t->mu);
    i->loading = false;
    if (!there) {
        list_remove(&i->link);
        t->n--;
    }
    cond_broadcast(&t->loaded);
    mutex_unlock(&t->mu);
    if (!there)
        inode_free(t, i);
}

/* Its record becomes what the rows say; what is heard of while they are read counts as not yet read. */
static int read_rec(struct fs *fs, struct inode *i)
{
    struct inode_rec rec;
    uint64_t heard;
    int rc;

    mutex_lock(&i->mu);
    heard = i->n_heard;
    mutex_unlock(&i->mu);
    inode_rec_init(&rec);
    rc = load_rec(fs, i->ino, &rec);
    if (rc == 0)
        inode_follow_rec(i, &rec);
    mutex_lock(&i->mu);
    chunk_cache_drop_locked(fs, i); /* some may be of generations of the old record */
    if (rc == 0)
        i->n_read = heard;
    i->gone = i->gone || rc == -ENOENT;
    mutex_unlock(&i->mu);
    inode_rec_fini(&rec);
    return rc;
}

/* Fill an inode that stands in the table as loading. */
static int load(struct fs *fs, struct inode *i)
{
    int rc = read_rec(fs, i);

    end_loading(&fs->inodes, i, rc == 0);
    return rc;
}

/* 0: up to date, 1: not, or -ENOENT: gone, for ever, since numbers do not repeat. */
static int look_fresh(struct inode *i)
{
    int rc;

    mutex_lock(&i->mu);
    rc = i->gone ? -ENOENT : i->n_read != i->n_heard;
    mutex_unlock(&i->mu);
    return rc;
}

/* One after the other: whoever comes while another reads waits for him, and then need not read himself. */
int inode_freshen(struct fs *fs, struct inode *i)
{
    int rc = fs->follow ? look_fresh(i) : 0;

    if (rc <= 0)
        return rc;
    inode_lock(i);
    rc = look_fresh(i);
    if (rc > 0)
        rc = read_rec(fs, i);
    inode_unlock(i);
    return rc;
}

/* The caller's reference, once the inode is up to date. */
static int get_fresh(struct fs *fs, struct inode *i, struct inode **out)
{
    int rc = inode_freshen(fs, i);

    if (rc < 0)
        inode_put(fs, i);
    else
        *out = i;
    return rc;
}

/*
 * The life of an inode in the table:
 *   inode_get -> loading -> there -> (last reference and last lookup gone) -> freed
 *                   \-> no such row: out of the table again
 * While it is loading it stands in the table, so that of two that want it one reads the row and the other waits; none
 * of them holds the table's lock across the read. The second look under the lock is for whoever was faster since the
 * first.
 */
int inode_get(struct fs *fs, uint64_t ino, struct inode **out)
{
    struct inode_table *t = &fs->inodes;
    struct inode *i, *fresh;
    int rc;

    mutex_lock(&t->mu);
    rc = find_loaded_locked(t, ino, &i);
    if (i)
        i->n_ref++;
    mutex_unlock(&t->mu);
    if (rc < 0)
        return rc;
    if (i)
        return get_fresh(fs, i, out);
    fresh = inode_new(fs, ino);
    if (!fresh)
        return -ENOMEM;
    mutex_lock(&t->mu);
    rc = find_loaded_locked(t, ino, &i);
    if (i)
        i->n_ref++;
    else if (rc == 0)
        insert_loading_locked(t, fresh);
    mutex_unlock(&t->mu);
    if (i || rc < 0) {
        inode_free(t, fresh);
        return rc < 0 ? rc : get_fresh(fs, i, out);
    }
    rc = load(fs, fresh);
    if (rc == 0)
        *out = fresh;
    return rc;
}

/* The least chunk that a and b have under different generations; UINT64_MAX: none. 0, or where a list has an entry. */
static uint64_t first_difference(const struct inode_rec *a, const struct inode_rec *b)
{
    const struct inode_rec *of[] = { a, b };
    uint64_t first = UINT64_MAX;

    if (inode_gen_for_chunk(a, 0) != inode_gen_for_chunk(b, 0))
        return 0;
    for (int r = 0; r < 2; r++) {
        for (uint32_t k = 0; k < of[r]->n_gens; k++) {
            uint64_t chunk = of[r]->gens[k].first_chunk;

            if (chunk < first && inode_gen_for_chunk(a, chunk) != inode_gen_for_chunk(b, chunk))
                first = chunk;
        }
    }
    return first;
}

static void note_locked(struct fs *fs, struct inode *i)
{
    i->n_heard++;
    chunk_cache_drop_locked(fs, i);
}

/*
 * The record that is there may be older than the one before the change. That does no harm: generations do not come
 * back, so what differs from the one before differs from it, too.
 */
bool inode_note_change(struct fs *fs, uint64_t ino, const struct inode_rec *rec, uint64_t *cut)
{
    struct inode *i;

    mutex_lock(&fs->inodes.mu);
    i = find_locked(&fs->inodes, ino);
    if (i) {
        mutex_lock(&i->mu);
        note_locked(fs, i);
        if (rec)
            *cut = first_difference(&i->rec, rec);
        mutex_unlock(&i->mu);
    }
    mutex_unlock(&fs->inodes.mu);
    return i != NULL;
}

void inode_note_all(struct fs *fs)
{
    struct inode_table *t = &fs->inodes;

    mutex_lock(&t->mu);
    for (size_t b = 0; b < t->n_buckets; b++) {
        list_for_each(n, &t->buckets[b]) {
            struct inode *i = list_entry(n, struct inode, link);

            mutex_lock(&i->mu);
            note_locked(fs, i);
            mutex_unlock(&i->mu);
        }
    }
    mutex_unlock(&t->mu);
}

int inode_table_list(struct inode_table *t, uint64_t **out, size_t *n)
{
    int rc = 0;

    *n = 0;
    mutex_lock(&t->mu);
    *out = mem_calloc(t->n ? t->n : 1, sizeof(**out));
    if (!*out)
        rc = -ENOMEM;
    for (size_t b = 0; rc == 0 && b < t->n_buckets; b++)
        list_for_each(p, &t->buckets[b])
            (*out)[(*n)++] = list_entry(p, struct inode, link)->ino;
    mutex_unlock(&t->mu);
    return rc;
}

/* A number that is taken means that the counter of numbers went back: rather no new file than two with one number. */
int inode_begin(struct fs *fs, uint64_t ino, struct inode **out)
{
    struct inode *i = inode_new(fs, ino), *taken;
    int rc;

    if (!i)
        return -ENOMEM;
    mutex_lock(&fs->inodes.mu);
    rc = find_loaded_locked(&fs->inodes, ino, &taken);
    if (rc == 0 && !taken)
        insert_loading_locked(&fs->inodes, i);
    mutex_unlock(&fs->inodes.mu);
    if (taken || rc < 0) {
        inode_free(&fs->inodes, i);
        if (rc == 0)
            rc = err_set(SHALE_ECORRUPT, "inode number %llu is in use and was given out again", (unsigned long long)ino);
        return rc;
    }
    *out = i;
    return 0;
}

void inode_publish(struct fs *fs, struct inode *i, struct inode_rec *rec)
{
    inode_follow_rec(i, rec);
    end_loading(&fs->inodes, i, true);
}

void inode_discard(struct fs *fs, struct inode *i)
{
    if (i)
        end_loading(&fs->inodes, i, false);
}

struct inode *inode_ref(struct fs *fs, struct inode *i)
{
    mutex_lock(&fs->inodes.mu);
    i->n_ref++;
    mutex_unlock(&fs->inodes.mu);
    return i;
}

/* Take an unused inode out of the table; the caller frees it without the lock. */
static struct inode *detach_unused_locked(struct inode_table *t, struct inode *i)
{
    if (i->n_ref > 0 || i->n_lookup > 0)
        return NULL;
    list_remove(&i->link);
    t->n--;
    return i;
}

/* An inode with unwritten data is never unused: the dirty list holds a reference. */
void inode_put(struct fs *fs, struct inode *i)
{
    struct inode *unused;

    if (!i)
        return;
    mutex_lock(&fs->inodes.mu);
    assert(i->n_ref > 0);
    i->n_ref--;
    unused = detach_unused_locked(&fs->inodes, i);
    mutex_unlock(&fs->inodes.mu);
    if (unused)
        inode_free(&fs->inodes, unused);
}

void inode_add_lookup(struct fs *fs, struct inode *i)
{
    mutex_lock(&fs->inodes.mu);
    i->n_lookup++;
    mutex_unlock(&fs->inodes.mu);
}

/* The kernel forgets what it was told of; more than that would be its error, and must not make the count wrap. */
void inode_forget(struct fs *fs, uint64_t ino, uint64_t n)
{
    struct inode *i, *unused = NULL;

    mutex_lock(&fs->inodes.mu);
    i = find_locked(&fs->inodes, ino);
    if (i) {
        i->n_lookup -= n < i->n_lookup ? n : i->n_lookup;
        unused = detach_unused_locked(&fs->inodes, i);
    }
    mutex_unlock(&fs->inodes.mu);
    if (unused)
        inode_free(&fs->inodes, unused);
}

/* All of one moment. The record is as committed; size and times are those that a program has caused. */
void inode_attr(struct inode *i, uint32_t block_bytes, struct fs_attr *out)
{
    mutex_lock(&i->mu);
    *out = (struct fs_attr){
        .ino = i->ino,
        .mode = i->rec.mode,
        .nlink = i->rec.nlink,
        .uid = i->rec.uid,
        .gid = i->rec.gid,
        .rdev = i->rec.rdev,
        .size = i->size,
        .blocks = i->rec.blocks,
        .block_bytes = block_bytes,
        .atime_ns = i->atime_ns,
        .mtime_ns = i->mtime_ns,
        .ctime_ns = i->ctime_ns,
        .btime_ns = i->rec.btime_ns,
    };
    /* A file without holes has the blocks of its size, also of what is not written back yet. */
    if (S_ISREG(i->rec.mode) && !(i->rec.flags & INODE_HAS_HOLES))
        out->blocks = (i->size + 511) / 512;
    mutex_unlock(&i->mu);
}

/* The old record goes, and rec is empty afterwards: there is one owner at any time. */
void inode_take_rec(struct inode *i, struct inode_rec *rec)
{
    mutex_lock(&i->mu);
    inode_rec_fini(&i->rec);
    i->rec = *rec;
    inode_rec_init(rec);
    mutex_unlock(&i->mu);
}

/*
 * Only what the batch changed is taken over: size and times may be ahead of the record by what was written meanwhile,
 * and a change of the mode must not take that back.
 */
void inode_follow_rec(struct inode *i, struct inode_rec *rec)
{
    mutex_lock(&i->mu);
    if (rec->size != i->rec.size)
        i->size = rec->size;
    if (rec->atime_ns != i->rec.atime_ns)
        i->atime_ns = rec->atime_ns;
    if (rec->mtime_ns != i->rec.mtime_ns)
        i->mtime_ns = rec->mtime_ns;
    if (rec->ctime_ns != i->rec.ctime_ns)
        i->ctime_ns = rec->ctime_ns;
    mutex_unlock(&i->mu);
    inode_take_rec(i, rec);
}
