/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "fs/core/file_data.h"
#include "fs/core/follow.h"
#include "fs/core/fserr.h"
#include "fs/core/namespace.h"

#include <errno.h>

/* How many blocks a sparse file has is known when its data is handed over. */
static bool must_settle(struct inode *i)
{
    bool must;

    mutex_lock(&i->mu);
    must = ((i->rec.flags & INODE_HAS_HOLES) || i->hole_ahead) && i->dirty.bytes + i->flushing.bytes > 0;
    mutex_unlock(&i->mu);
    return must;
}

/* What stat shows is exact. For most files that costs nothing: their blocks follow from the size (inode_attr). */
void attr_settled(struct fs *fs, struct inode *i, struct fs_attr *out)
{
    if (must_settle(i))
        (void)file_data_writeback_unlocked(fs, i); /* fsync reports a failure */
    inode_attr(i, fs->volume.block_bytes, out);
}

int fs_getattr(struct fs *fs, uint64_t ino, struct fs_attr *out)
{
    struct inode *i;
    int rc = inode_get(fs, ino, &i);

    if (rc < 0)
        return fserr(follow_gone(fs, rc));
    attr_settled(fs, i, out);
    inode_put(fs, i);
    return 0;
}

/* Every change moves ctime. The size is none of this function's: file_data_set_size has to see old and new. */
static void edit_rec(struct inode_rec *rec, unsigned set, const struct fs_attr *attr, int64_t now_ns)
{
    if (set & FS_SET_MODE)
        rec->mode = (rec->mode & S_IFMT) | (attr->mode & ~(mode_t)S_IFMT);
    if (set & FS_SET_UID)
        rec->uid = attr->uid;
    if (set & FS_SET_GID)
        rec->gid = attr->gid;
    if (set & (FS_SET_ATIME | FS_SET_ATIME_NOW))
        rec->atime_ns = set & FS_SET_ATIME_NOW ? now_ns : attr->atime_ns;
    if (set & (FS_SET_MTIME | FS_SET_MTIME_NOW))
        rec->mtime_ns = set & FS_SET_MTIME_NOW ? now_ns : attr->mtime_ns;
    rec->ctime_ns = set & FS_SET_CTIME ? attr->ctime_ns : now_ns;
}

/* The new times are what a program sees from now on, whatever was written before. */
static void settle_times(struct inode *i, unsigned set, const struct inode_rec *rec)
{
    mutex_lock(&i->mu);
    if (set & (FS_SET_ATIME | FS_SET_ATIME_NOW)) {
        i->atime_ns = rec->atime_ns;
        i->atime_ahead = false;
    }
    if (set & (FS_SET_MTIME | FS_SET_MTIME_NOW)) {
        i->mtime_ns = rec->mtime_ns;
        i->mtime_ahead = false;
    }
    i->ctime_ns = rec->ctime_ns;
    i->ctime_ahead = false;
    mutex_unlock(&i->mu);
}

/*
 * A record is written whole, since owner and mode have no operands; one that sets the size is a batch of its own,
 * which also cuts the data. All of a request is one batch.
 */
static int set_locked(struct fs *fs, struct inode *i, unsigned set, const struct fs_attr *attr)
{
    struct names_txn nt;
    struct inode_rec *rec;
    int rc;

    if (i->gone)
        return -ENOENT;
    if ((set & FS_SET_SIZE) && !S_ISREG(i->rec.mode))
        return inode_is_dir(i) ? -EISDIR : -EINVAL;
    if ((set & FS_SET_SIZE) && attr->size > FS_SIZE_MAX)
        return -EFBIG;
    if (set & FS_SET_SIZE) {
        struct inode_rec copy;

        /* What was written before the cut is handed over first: the record below holds its size and times. */
        rc = file_data_writeback(fs, i);
        if (rc < 0)
            return rc;
        inode_rec_init(&copy);
        rc = inode_rec_copy(&copy, &i->rec);
        if (rc == 0) {
            edit_rec(&copy, set | FS_SET_MTIME_NOW * !(set & FS_SET_MTIME), attr, clock_wall_ns());
            rc = file_data_set_size(fs, i, &copy, attr->size);
        }
        inode_rec_fini(&copy);
        if (rc == 0)
            settle_times(i, set | FS_SET_MTIME, &i->rec);
        return rc;
    }
    names_txn_init(&nt, fs);
    rec = names_edit(&nt, i);
    if (rec)
        edit_rec(rec, set, attr, nt.now_ns);
    rc = names_commit(&nt);
    names_txn_fini(&nt);
    if (rc == 0)
        settle_times(i, set, &i->rec);
    return rc;
}

int fs_setattr(struct fs *fs, uint64_t ino, unsigned set, const struct fs_attr *attr, struct fs_attr *out)
{
    struct inode *i;
    int rc = fs->opt.read_only ? -EROFS : inode_get(fs, ino, &i);

    if (rc < 0)
        return fserr(rc);
    rc = inode_take(i);
    if (rc == 0) {
        if (set)
            rc = set_locked(fs, i, set, attr);
        inode_unlock(i);
    }
    if (rc == 0)
        attr_settled(fs, i, out);
    inode_put(fs, i);
    return fserr(rc);
}
