/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/follow.h"

#include "base/clock.h"
#include "base/err.h"
#include "fs/core/dentry.h"
#include "fs/core/fs_merge.h"
#include "fs/core/fserr.h"
#include "fs/core/key_codec.h"

#include <errno.h>

/* Of so many looks one is at the manifest, too: it tells what a follower that fell behind has missed. */
#define LOOKS_PER_MANIFEST 10u
/* A read that was overtaken so often holds up the next step; but not for longer than this. */
#define TRIES_FREE 3u
#define HOLD_MS 2000

/* ---- steps, on the reader's thread ---- */

/* Chunks that no file can have are in no cache either. */
static void note_data(struct follow *f, struct change_set *s, uint64_t ino, uint64_t chunk, bool to_end)
{
    uint32_t chunk_bytes = f->fs->volume.chunk_bytes;

    if (chunk > FS_SIZE_MAX / chunk_bytes)
        change_set_attr(s, ino);
    else
        change_set_data(s, ino, chunk * chunk_bytes, to_end ? 0 : chunk_bytes);
}

/* A record that was written whole may say that data moved to another generation; an operand never does. */
static void take_inode_row(struct follow *f, struct change_set *s, uint64_t ino, const struct shale_row *row)
{
    struct inode_rec rec;
    uint64_t cut = row->kind == SHALE_MERGE ? UINT64_MAX : 0;
    bool whole;

    inode_rec_init(&rec);
    whole = row->kind == SHALE_PUT && inode_rec_decode(row->value, &rec) == 0;
    if (inode_note_change(f->fs, ino, whole ? &rec : NULL, &cut))
        note_data(f, s, ino, cut, true);
    inode_rec_fini(&rec);
}

/* What no cache was told of, and nobody uses, need not be told now: who asks for it reads the new state. */
static void mark_row(struct follow *f, struct change_set *s, const struct shale_row *row)
{
    struct fs_key_parts k;
    uint64_t cut = 0;

    if (fs_key_parse(row->key, &k) < 0)
        return; /* of another program, or damage, which whoever reads it will meet */
    switch (k.kind) {
    case FS_KEY_COUNTER:
        atomic_store_explicit(&f->fs->counters_stale, true, memory_order_release);
        break;
    case FS_KEY_INODE:
        take_inode_row(f, s, k.ino, row);
        break;
    case FS_KEY_CHUNK:
        if (inode_note_change(f->fs, k.ino, NULL, &cut))
            note_data(f, s, k.ino, k.chunk, false);
        break;
    case FS_KEY_DENTRY:
        if (told_has(&f->told, k.ino, (const char *)k.name.data, k.name.len))
            change_set_name(s, k.ino, k.name);
        break;
    case FS_KEY_XATTR:  /* kept nowhere; its batch changes the inode's times, too */
    case FS_KEY_ORPHAN:
        break;
    }
}

static void mark(struct follow *f, uint64_t step)
{
    mutex_lock(&f->mu);
    f->marked = step;
    cond_broadcast(&f->moved);
    mutex_unlock(&f->mu);
}

static void wait_for_holders(struct follow *f)
{
    int64_t deadline = clock_mono_ms() + HOLD_MS;

    mutex_lock(&f->mu);
    while (f->n_holders > 0 && !f->stop && cond_wait_until(&f->moved, &f->mu, deadline))
        ;
    mutex_unlock(&f->mu);
}

/* Told last: a cache that forgets may ask at once, and must then get what is new. */
static void take_step(void *arg, const struct shale_reader_change *c)
{
    struct follow *f = arg;
    struct change_set *s = change_set_new();

    if (c->all || !s) {
        inode_note_all(f->fs);
        atomic_store_explicit(&f->fs->counters_stale, true, memory_order_release);
        if (s)
            change_set_all(s);
    } else {
        for (size_t i = 0; i < c->n_rows; i++)
            mark_row(f, s, &c->rows[i]);
    }
    mark(f, c->step);
    follow_tell(f, s, c->step);
    wait_for_holders(f);
}

/* ---- reads of one state ---- */

/* Holding goes on until the read is through, so that the step after the next cannot come. */
static void try_locked(struct follow *f, struct follow_read *r)
{
    uint64_t shown = shale_reader_step(f->fs->reader);

    if (r->n >= TRIES_FREE && !r->holds) {
        r->holds = true;
        f->n_holders++;
    }
    while (f->marked < shown)
        cond_wait(&f->moved, &f->mu);
    r->step = f->marked;
}

void follow_read_begin(struct fs *fs, struct follow_read *r)
{
    *r = (struct follow_read){ .step = 0 };
    if (!fs->follow)
        return;
    mutex_lock(&fs->follow->mu);
    try_locked(fs->follow, r);
    mutex_unlock(&fs->follow->mu);
}

/* The step that is shown moves together with what reads see, and marked after it: equal means that neither moved. */
bool follow_read_again(struct fs *fs, struct follow_read *r)
{
    struct follow *f = fs->follow;
    bool again;

    if (!f)
        return false;
    again = shale_reader_step(fs->reader) != r->step;
    mutex_lock(&f->mu);
    r->n++;
    if (again) {
        try_locked(f, r);
    } else if (r->holds) {
        f->n_holders--;
        cond_broadcast(&f->moved);
    }
    mutex_unlock(&f->mu);
    return again;
}

uint64_t follow_step(struct fs *fs)
{
    uint64_t step;

    if (!fs->follow)
        return 0;
    mutex_lock(&fs->follow->mu);
    step = fs->follow->marked;
    mutex_unlock(&fs->follow->mu);
    return step;
}

int follow_tell_name(struct fs *fs, uint64_t dir, const char *name, struct inode *i)
{
    return fs->follow ? told_add(&fs->follow->told, dir, name, false, &i->told) : 0;
}

int follow_gone(struct fs *fs, int rc)
{
    return rc == -ENOENT && fs->follow ? -ESTALE : rc;
}

/* ---- opening and closing ---- */

static int open_reader(struct fs *fs)
{
    struct shale_reader_options opt;

    shale_reader_options_init(&opt);
    opt.manifest_poll_interval_ms = fs->opt.poll_ms;
    opt.looks_per_manifest = LOOKS_PER_MANIFEST;
    opt.no_checkpoint = true; /* credentials that only read will do */
    opt.block_cache_bytes = fs->opt.cache_bytes;
    opt.merge_operator = &fs_merge_operator;
    opt.on_change = take_step;
    opt.on_change_arg = fs->follow;
    return shale_reader_open(fs->store, fs->path, &opt, &fs->reader);
}

int fs_refresh(struct fs *fs)
{
    return fs->follow ? fserr(shale_reader_refresh(fs->reader)) : 0;
}

int follow_open(struct fs *fs)
{
    struct follow *f = mem_zalloc(sizeof(*f));
    int rc;

    if (!f)
        return -ENOMEM;
    rc = told_init(&f->told);
    if (rc < 0) {
        mem_free(f);
        return rc;
    }
    f->fs = fs;
    mutex_init(&f->mu, FS_RANK_FOLLOW, "follower");
    cond_init(&f->moved);
    cond_init(&f->work);
    list_init(&f->sets);
    list_init(&f->sent);
    list_init(&f->answers);
    fs->follow = f;
    fs->inodes.told = &f->told;
    return open_reader(fs); /* after a failure follow_close frees the rest */
}

void follow_close(struct fs *fs)
{
    struct follow *f = fs->follow;

    if (!f)
        return;
    fs_cache_detach(fs);
    mutex_lock(&f->mu);
    f->stop = true;
    cond_broadcast(&f->moved);
    mutex_unlock(&f->mu);
    (void)shale_reader_close(fs->reader); /* it has no checkpoint, so nothing to remove */
    fs->reader = NULL;
    fs->inodes.told = NULL;
    told_fini(&f->told);
    cond_fini(&f->work);
    cond_fini(&f->moved);
    mutex_fini(&f->mu);
    fs->follow = NULL;
    mem_free(f);
}
