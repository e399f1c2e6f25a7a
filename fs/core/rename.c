/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/file_data.h"
#include "fs/core/fserr.h"
#include "fs/core/namespace.h"

#include <errno.h>
#include <stdio.h>

/* Everything a rename is about, locked. */
struct rename {
    struct fs *fs;
    const char *name, *new_name;
    struct inode *from, *to;  /* the directories; may be the same */
    struct inode *src;        /* what moves */
    struct inode *dst;        /* what stands in its place, NULL when nothing does */
    bool exchange;
};

/* Whether dir is src or lies below it. */
static int is_below(struct fs *fs, const struct inode *src, const struct inode *dir, bool *below)
{
    uint64_t ino = dir->ino, parent = dir->rec.parent;

    *below = true;
    while (ino != src->ino) {
        struct inode *i;
        int rc;

        if (ino == FS_ROOT_INO) {
            *below = false;
            return 0;
        }
        ino = parent;
        rc = inode_get(fs, ino, &i);
        if (rc < 0)
            return rc;
        /* Parents change only under the name lock, which we hold; the rest of the record does not wait for it. */
        mutex_lock(&i->mu);
        parent = i->rec.parent;
        mutex_unlock(&i->mu);
        inode_put(fs, i);
    }
    return 0;
}

/* A directory that is to stand in dir must not contain it. */
static int check_no_cycle(struct fs *fs, const struct inode *moved, const struct inode *dir)
{
    bool below;
    int rc;

    if (!inode_is_dir(moved))
        return 0;
    rc = is_below(fs, moved, dir, &below);
    return rc < 0 ? rc : below ? -EINVAL : 0;
}

/*
 * In the order in which Linux file systems answer, where two errors would fit. The kernel has looked at permissions
 * and at names that it knows; what it knows may be older than what we hold locked.
 */
static int check(const struct rename *r, unsigned flags)
{
    int rc;

    /* Two names of one node: POSIX wants both to stay. */
    if (r->src == r->dst)
        return flags & RENAME_NOREPLACE ? -EEXIST : 0;
    rc = check_no_cycle(r->fs, r->src, r->to);

    if (rc < 0)
        return rc;
    if (!r->dst)
        return r->exchange ? -ENOENT : 0;
    if (flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (r->exchange)
        return check_no_cycle(r->fs, r->dst, r->from);
    if (inode_is_dir(r->dst) && !inode_is_dir(r->src))
        return -EISDIR;
    if (!inode_is_dir(r->dst) && inode_is_dir(r->src))
        return -ENOTDIR;
    return inode_is_dir(r->dst) && r->dst->rec.n_entries > 0 ? -ENOTEMPTY : 0;
}

/* Node i goes from one directory to another: its parent, and the link that ".." is. */
static void move_node(struct names_txn *nt, struct inode *i, struct inode *from, struct inode *to)
{
    struct inode_op ctime = { .set = INODE_OP_CTIME, .ctime_ns = nt->now_ns };
    struct inode_op less = names_dir_op(0, -1, nt->now_ns), more = names_dir_op(0, 1, nt->now_ns);
    struct inode_rec *rec;

    names_change(nt, i, &ctime);
    if (!inode_is_dir(i) || from == to)
        return;
    rec = names_edit(nt, i);
    if (rec)
        rec->parent = to->ino;
    names_change(nt, from, &less);
    names_change(nt, to, &more);
}

/* A put, which also replaces: the entry of dst is never missing, not even for a moment. */
static void put_entry(struct names_txn *nt, const struct inode *dir, const char *name, const struct inode *i)
{
    struct dentry d = { .ino = i->ino, .type = i->rec.mode & S_IFMT };

    txn_put_dentry(&nt->t, dir->ino, name, &d);
}

/* dst gives way: its entry is written over, its link goes. */
static void replace(struct names_txn *nt, const struct rename *r)
{
    struct inode_op op = names_dir_op(-1, inode_is_dir(r->dst) ? -1 : 0, nt->now_ns);

    names_change(nt, r->to, &op);
    if (inode_is_dir(r->dst))
        names_delete(nt, r->dst);
    else
        names_drop_link(nt, r->dst);
}

/*
 * Everything in one batch, so that a crash shows one name or the other and never both or none: entries, counts and
 * times of the directories, the parent of a directory that moves, and the link that dst loses.
 */
static int commit(const struct rename *r)
{
    struct names_txn nt;
    struct inode_op less, more;
    int rc;

    names_txn_init(&nt, r->fs);
    less = names_dir_op(r->exchange ? 0 : -1, 0, nt.now_ns);
    more = names_dir_op(r->exchange ? 0 : 1, 0, nt.now_ns);
    if (r->dst && !r->exchange)
        replace(&nt, r);
    names_change(&nt, r->from, &less);
    names_change(&nt, r->to, &more);
    move_node(&nt, r->src, r->from, r->to);
    put_entry(&nt, r->to, r->new_name, r->src);
    if (r->exchange) {
        move_node(&nt, r->dst, r->to, r->from);
        put_entry(&nt, r->from, r->name, r->dst);
    } else {
        txn_delete_dentry(&nt.t, r->from->ino, r->name);
    }
    rc = names_commit(&nt);
    names_txn_fini(&nt);
    return rc;
}

/* What is dirty goes first: whoever finds the new name after a crash finds what was written to it. */
static int carry_data(const struct rename *r)
{
    int rc = file_data_writeback(r->fs, r->src);

    if (rc == 0 && r->exchange)
        rc = file_data_writeback(r->fs, r->dst);
    return rc;
}

/* Find and lock one end; *out stays NULL when there is no such entry. */
static int find_node(struct fs *fs, const struct inode *dir, const char *name, struct inode **out)
{
    struct dentry d;
    int rc = names_find(fs, dir->ino, name, &d);

    return rc < 0 ? rc : inode_get(fs, d.ino, out);
}

/* Not one of the directories, so locked by itself. */
static bool is_own(const struct rename *r, const struct inode *i)
{
    return i != r->from && i != r->to;
}

/*
 * The directories are locked. A node may be one of them: a rename of a/b to a, or of a to a/b. It is then locked
 * already; the first fails with ENOTEMPTY and the second with EINVAL.
 */
static int lock_nodes(struct rename *r)
{
    int rc = find_node(r->fs, r->from, r->name, &r->src);

    if (rc < 0)
        return rc;
    rc = find_node(r->fs, r->to, r->new_name, &r->dst);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = is_own(r, r->src) ? inode_take(r->src) : 0;
    if (rc < 0)
        return rc;
    if (r->dst && r->dst != r->src && is_own(r, r->dst))
        rc = inode_take(r->dst);
    if (rc < 0 && is_own(r, r->src))
        inode_unlock(r->src);
    return rc;
}

/* What is a directory of the operation, too, is unlocked with that. */
static void unlock_nodes(struct rename *r)
{
    if (r->dst && r->dst != r->src && is_own(r, r->dst))
        inode_unlock(r->dst);
    if (r->src && is_own(r, r->src))
        inode_unlock(r->src);
    inode_put(r->fs, r->dst);
    inode_put(r->fs, r->src);
}

/* Two names of one file, or one name twice: nothing is done, and that is right (POSIX). */
static int rename_locked(struct rename *r, unsigned flags)
{
    int rc = lock_nodes(r);

    if (rc < 0) {
        inode_put(r->fs, r->dst);
        inode_put(r->fs, r->src);
        return rc;
    }
    rc = check(r, flags);
    if (rc == 0 && r->src != r->dst) {
        rc = carry_data(r);
        if (rc == 0)
            rc = commit(r);
    }
    unlock_nodes(r);
    return rc;
}

/*
 * Under the name lock from the first look to the commit: parents do not change meanwhile, so the look for cycles
 * holds, and nobody else has more than one inode locked, so no order among inodes is needed.
 */
int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
              unsigned flags)
{
    struct rename r = { .fs = fs, .name = name, .new_name = new_name, .exchange = flags & RENAME_EXCHANGE };
    int rc = fs->opt.read_only ? -EROFS : 0;

    if (rc == 0 && (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE)))
        rc = -EINVAL;
    if (rc == 0)
        rc = dentry_check_name(name);
    if (rc == 0)
        rc = dentry_check_name(new_name);
    if (rc < 0)
        return rc;
    rc = oplock_take(&fs->names);
    if (rc < 0)
        return fserr(rc);
    rc = names_lock_dir(fs, parent, &r.from);
    if (rc == 0 && parent == new_parent)
        r.to = r.from;
    else if (rc == 0)
        rc = names_lock_dir(fs, new_parent, &r.to);
    if (rc == 0)
        rc = rename_locked(&r, flags);
    if (r.to != r.from)
        names_release(fs, r.to);
    names_release(fs, r.from);
    oplock_unlock(&fs->names);
    return fserr(rc);
}
