/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "fs/core/file_data.h"
#include "fs/core/follow.h"
#include "fs/core/fserr.h"
#include "fs/core/namespace.h"
#include "fs/core/orphan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

/* An open file. The reference to the inode and its n_open last until release. */
struct fs_file {
    struct fs *fs;
    struct inode *i;
    int flags; /* of open */
    atomic_bool unsynced; /* relaxed: written to since its last fsync */
    struct read_run run;
};

/* Without an inode yet: file_attach gives it one. */
static struct fs_file *file_new(struct fs *fs, int flags)
{
    struct fs_file *f = mem_alloc(sizeof(*f));

    if (f)
        *f = (struct fs_file){ .fs = fs, .flags = flags };
    return f;
}

/* The handle takes over a reference, when this succeeds. */
static int file_attach(struct fs_file *f, struct inode *i)
{
    int rc = inode_take(i);

    if (rc < 0)
        return rc;
    if (i->gone)
        rc = -ENOENT;
    else if (!S_ISREG(i->rec.mode))
        rc = inode_is_dir(i) ? -EISDIR : -EINVAL;
    if (rc == 0) {
        f->i = i;
        mutex_lock(&i->mu);
        i->n_open++;
        mutex_unlock(&i->mu);
    }
    inode_unlock(i);
    return rc;
}

/* The truncation of O_TRUNC comes after the open has succeeded: a file that may not be opened keeps its data. */
int fs_file_open(struct fs *fs, uint64_t ino, int flags, struct fs_file **out)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
    struct fs_attr attr = { .size = 0 };
    struct fs_file *f;
    struct inode *i;
    int rc = fs->opt.read_only && writes ? -EROFS : inode_get(fs, ino, &i);

    if (rc < 0)
        return fserr(follow_gone(fs, rc));
    f = file_new(fs, flags);
    rc = f ? file_attach(f, i) : -ENOMEM;
    if (rc < 0) {
        inode_put(fs, i);
        mem_free(f);
        return fserr(follow_gone(fs, rc));
    }
    if (flags & O_TRUNC)
        rc = fs_setattr(fs, ino, FS_SET_SIZE, &attr, &attr);
    if (rc < 0)
        fs_file_release(f);
    else
        *out = f;
    return rc;
}

int fs_file_create(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode, int flags,
                   struct fs_attr *attr, struct fs_file **out)
{
    struct fs_file *f = file_new(fs, flags); /* before there is a file that could not be opened */
    struct inode *i = NULL;
    int rc = f ? names_create_file(fs, cred, parent, name, mode, &i) : -ENOMEM;

    if (rc == 0)
        rc = file_attach(f, i);
    if (rc < 0) {
        inode_put(fs, i);
        mem_free(f);
        return fserr(rc);
    }
    inode_add_lookup(fs, i);
    inode_attr(i, fs->volume.block_bytes, attr);
    *out = f;
    return 0;
}

/* relatime: a read moves atime when it is not newer than a change, or older than a day. */
static void touch_atime(struct fs_file *f)
{
    const int64_t day_ns = 86400ll * 1000000000;
    struct inode *i = f->i;
    bool touched;

    if (f->fs->opt.atime == FS_NOATIME || f->fs->opt.read_only || (f->flags & O_NOATIME))
        return;
    mutex_lock(&i->mu);
    touched = i->atime_ns <= i->mtime_ns || i->atime_ns <= i->ctime_ns || clock_wall_ns() - i->atime_ns > day_ns;
    if (touched) {
        i->atime_ns = clock_wall_ns();
        i->atime_ahead = true;
    }
    mutex_unlock(&i->mu);
    if (touched)
        file_data_list(f->fs, i);
}

/* Size, generations and chunks of one state. A file that the writer removed while it is open here has no data. */
static ssize_t read_state(struct fs_file *f, uint64_t offset, void *data, size_t len)
{
    struct follow_read r;
    ssize_t n;

    follow_read_begin(f->fs, &r);
    do {
        n = inode_freshen(f->fs, f->i);
        if (n == 0)
            n = file_data_read(f->fs, f->i, offset, data, len);
    } while (follow_read_again(f->fs, &r));
    return n;
}

/*
 * The caller gets an errno without a reason, and nothing at all when the kernel read ahead or has a part of what was
 * asked for; so the log says why.
 */
ssize_t fs_file_read(struct fs_file *f, uint64_t offset, void *data, size_t len)
{
    ssize_t n;

    read_run_note(f->fs, f->i, &f->run, offset, len);
    n = read_state(f, offset, data, len);
    if (n > 0)
        touch_atime(f);
    if (n == -ENOENT)
        return -ESTALE;
    if (n < 0 && n != -ENOMEM && n != SHALE_ECANCELED)
        log_error("inode %llu: cannot read from %llu: %s", (unsigned long long)f->i->ino, (unsigned long long)offset,
                  shale_errmsg());
    return n < 0 ? fserr((int)n) : n;
}

ssize_t fs_file_write(struct fs_file *f, uint64_t offset, const void *data, size_t len)
{
    ssize_t n = f->fs->opt.read_only ? -EROFS : file_data_write(f->fs, f->i, offset, data, len);

    if (n > 0)
        atomic_store_explicit(&f->unsynced, true, memory_order_relaxed);
    return n < 0 ? fserr((int)n) : n;
}

/* An early word to a program that never calls fsync; the store is not waited for. */
int fs_file_flush(struct fs_file *f)
{
    return atomic_load_explicit(&f->unsynced, memory_order_relaxed) ? volume_alive(f->fs) : 0;
}

/* Marked as synced first: a write that comes during the commit may not be in it, and then marks the handle again. */
int fs_file_fsync(struct fs_file *f, bool data_only)
{
    int rc;

    (void)data_only; /* size and times travel with the data anyway */
    if (f->fs->opt.read_only)
        return 0;
    atomic_store_explicit(&f->unsynced, false, memory_order_relaxed); /* a write meanwhile sets it again */
    rc = file_data_writeback_unlocked(f->fs, f->i);
    if (rc == 0)
        rc = volume_commit(f->fs);
    if (rc < 0)
        atomic_store_explicit(&f->unsynced, true, memory_order_relaxed);
    return fserr(rc);
}

/* Unwritten data stays with the inode, and the dirty list keeps that. Only what nobody can open again is removed. */
void fs_file_release(struct fs_file *f)
{
    struct inode *i = f->i;
    bool last;

    inode_lock(i);
    mutex_lock(&i->mu);
    assert(i->n_open > 0);
    last = --i->n_open == 0;
    if (last)
        chunk_cache_drop_locked(f->fs, i);
    mutex_unlock(&i->mu);
    if (last && i->rec.nlink == 0 && !i->gone && !f->fs->opt.read_only)
        (void)orphan_reclaim(f->fs, i); /* what fails here, the next mount does */
    inode_unlock(i);
    inode_put(f->fs, i);
    mem_free(f);
}
