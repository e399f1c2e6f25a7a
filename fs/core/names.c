/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/namespace.h"

#include "base/buf.h"
#include "base/log.h"
#include "fs/core/file_data.h"
#include "fs/core/follow.h"
#include "fs/core/fserr.h"

#include <errno.h>
#include <stdio.h>

/* Inode numbers are reserved in blocks of this many; those left over at a crash are never used. */
#define INO_BLOCK 4096u

/* The inode an entry names, without a lock: the entry may be replaced between the two looks. */
static int find_inode(struct fs *fs, uint64_t parent, const char *name, struct inode **out)
{
    struct dentry d, again;
    int rc = names_find(fs, parent, name, &d);

    while (rc == 0) {
        rc = inode_get(fs, d.ino, out);
        if (rc != -ENOENT)
            return rc;
        rc = names_find(fs, parent, name, &again);
        if (rc == 0 && again.ino == d.ino) {
            log_error("inode %llu has an entry in directory %llu but no row", (unsigned long long)d.ino,
                      (unsigned long long)parent);
            return -EIO;
        }
        d = again;
    }
    return rc;
}

/*
 * Without the name lock: a lookup sees the directory before or after a change that is under way, and waits for
 * neither.
 */
int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_attr *out)
{
    struct inode *i = NULL;
    struct follow_read r;
    int rc = dentry_check_name(name);

    if (rc < 0)
        return fserr(rc);
    follow_read_begin(fs, &r);
    do {
        inode_put(fs, i);
        i = NULL;
        rc = find_inode(fs, parent, name, &i);
        if (rc == 0)
            rc = follow_tell_name(fs, parent, name, i);
    } while (follow_read_again(fs, &r));
    if (rc < 0) {
        inode_put(fs, i);
        return fserr(rc);
    }
    inode_add_lookup(fs, i);
    attr_settled(fs, i, out);
    inode_put(fs, i);
    return 0;
}

void fs_forget(struct fs *fs, uint64_t ino, uint64_t n)
{
    inode_forget(fs, ino, n);
}

/* Give out an inode number, in the batch that uses it. Under the name lock. */
static uint64_t take_ino(struct fs *fs, struct txn *t)
{
    uint8_t value[8];
    struct fs_key key;

    if (fs->next_ino == fs->end_ino) {
        put_u64le(value, fs->end_ino + INO_BLOCK);
        txn_fail(t, fs_key_counter(&key, "ino"));
        txn_put(t, &key, slice_of(value, sizeof(value)));
    }
    return fs->next_ino;
}

/* The batch that took the number is committed. */
static void ino_taken(struct fs *fs)
{
    if (fs->next_ino == fs->end_ino)
        fs->end_ino += INO_BLOCK;
    fs->next_ino++;
}

struct new_node {
    const struct fs_cred *cred;
    mode_t mode;
    uint32_t rdev;
    const char *target; /* symlinks */
};

/*
 * The record of a new node in directory p. What POSIX leaves to the file system follows Linux: a directory with the
 * set-group-id bit gives its group to what is made in it, and the bit to directories. The kernel has applied the umask.
 */
static int new_rec(const struct new_node *node, const struct inode *p, int64_t now_ns, struct inode_rec *rec)
{
    bool is_dir = S_ISDIR(node->mode);

    rec->mode = node->mode;
    rec->uid = node->cred->uid;
    rec->gid = node->cred->gid;
    rec->rdev = S_ISCHR(node->mode) || S_ISBLK(node->mode) ? node->rdev : 0;
    rec->nlink = is_dir ? 2 : 1;
    rec->atime_ns = rec->mtime_ns = rec->ctime_ns = rec->btime_ns = now_ns;
    rec->project = p->rec.project;
    if (p->rec.mode & S_ISGID) {
        rec->gid = p->rec.gid;
        if (is_dir)
            rec->mode |= S_ISGID;
    }
    if (is_dir)
        rec->parent = p->ino;
    if (node->target) {
        rec->size = strlen(node->target);
        rec->target = mem_strdup(node->target);
        if (!rec->target)
            return -ENOMEM;
    }
    return 0;
}

/*
 * Make a node named name in directory p (op held). *out is a reference. The inode stands in the table before the batch
 * is committed and is published after it: who finds the entry in between waits, and finds an inode whose record is the
 * one that was written.
 */
static int make_node(struct fs *fs, const struct new_node *node, struct inode *p, const char *name, struct inode **out)
{
    struct inode *i = NULL;
    struct names_txn nt;
    struct inode_rec rec;
    struct inode_op op;
    struct dentry d;
    int rc;

    inode_rec_init(&rec);
    names_txn_init(&nt, fs);
    d = (struct dentry){ .ino = take_ino(fs, &nt.t), .type = node->mode & S_IFMT };
    rc = inode_begin(fs, d.ino, &i);
    if (rc == 0)
        rc = new_rec(node, p, nt.now_ns, &rec);
    if (rc < 0)
        goto out;
    op = names_dir_op(1, S_ISDIR(node->mode) ? 1 : 0, nt.now_ns);
    txn_put_inode(&nt.t, d.ino, &rec);
    txn_put_dentry(&nt.t, p->ino, name, &d);
    names_change(&nt, p, &op);
    txn_count(&nt.t, FS_COUNT_INODES, 1);
    rc = names_commit(&nt);
    if (rc < 0)
        goto out;
    ino_taken(fs);
    inode_publish(fs, i, &rec);
    *out = i;
    i = NULL;
out:
    inode_discard(fs, i);
    inode_rec_fini(&rec);
    names_txn_fini(&nt);
    return rc;
}

/* The look for the name and the batch are under one lock, so of two that make the same name one gets EEXIST. */
static int create(struct fs *fs, const struct new_node *node, uint64_t parent, const char *name, struct inode **out)
{
    struct inode *p = NULL;
    struct dentry d;
    int rc = fs->opt.read_only ? -EROFS : dentry_check_name(name);

    if (rc < 0)
        return rc;
    rc = oplock_take(&fs->names);
    if (rc < 0)
        return rc;
    rc = names_lock_dir(fs, parent, &p);
    if (rc == 0) {
        rc = names_find(fs, parent, name, &d);
        rc = rc == 0 ? -EEXIST : rc == -ENOENT ? make_node(fs, node, p, name, out) : rc;
    }
    names_release(fs, p);
    oplock_unlock(&fs->names);
    return rc;
}

/* create, and the answer to the kernel. */
static int create_entry(struct fs *fs, const struct new_node *node, uint64_t parent, const char *name,
                        struct fs_attr *out)
{
    struct inode *i;
    int rc = create(fs, node, parent, name, &i);

    if (rc < 0)
        return fserr(rc);
    inode_add_lookup(fs, i);
    inode_attr(i, fs->volume.block_bytes, out);
    inode_put(fs, i);
    return 0;
}

/* mknod(2) without a type means a regular file. */
int fs_mknod(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode, uint32_t rdev,
             struct fs_attr *out)
{
    struct new_node node = { .cred = cred, .mode = mode, .rdev = rdev };

    if ((mode & S_IFMT) == 0)
        node.mode |= S_IFREG;
    if (!S_ISREG(node.mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
        return -EINVAL;
    return create_entry(fs, &node, parent, name, out);
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode,
             struct fs_attr *out)
{
    struct new_node node = { .cred = cred, .mode = (mode & ~(mode_t)S_IFMT) | S_IFDIR };

    return create_entry(fs, &node, parent, name, out);
}

/* The target lies in the record, so that one read fetches both; modes of symlinks mean nothing. */
int fs_symlink(struct fs *fs, const struct fs_cred *cred, const char *target, uint64_t parent, const char *name,
               struct fs_attr *out)
{
    struct new_node node = { .cred = cred, .mode = S_IFLNK | 0777, .target = target };

    if (target[0] == '\0')
        return -ENOENT;
    if (strlen(target) > FS_SYMLINK_MAX)
        return -ENAMETOOLONG;
    return create_entry(fs, &node, parent, name, out);
}

int names_create_file(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode,
                      struct inode **out)
{
    struct new_node node = { .cred = cred, .mode = (mode & ~(mode_t)S_IFMT) | S_IFREG };

    return create(fs, &node, parent, name, out);
}

/* i and p are locked. What is dirty goes first, so that the new name never shows less than what was written. */
static int link_locked(struct fs *fs, struct inode *i, struct inode *p, const char *name)
{
    struct names_txn nt;
    struct inode_op links, entries;
    struct dentry d = { .ino = i->ino, .type = i->rec.mode & S_IFMT };
    int rc;

    if (i->gone || i->rec.nlink == 0)
        return -ENOENT;
    if (S_ISDIR(i->rec.mode))
        return -EPERM;
    if (i->rec.nlink >= FS_LINK_MAX)
        return -EMLINK;
    rc = names_find(fs, p->ino, name, &(struct dentry){ 0 });
    if (rc != -ENOENT)
        return rc == 0 ? -EEXIST : rc;
    rc = file_data_writeback(fs, i);
    if (rc < 0)
        return rc;
    names_txn_init(&nt, fs);
    links = (struct inode_op){ .set = INODE_OP_CTIME, .nlink = 1, .ctime_ns = nt.now_ns };
    entries = names_dir_op(1, 0, nt.now_ns);
    names_change(&nt, i, &links);
    names_change(&nt, p, &entries);
    txn_put_dentry(&nt.t, p->ino, name, &d);
    rc = names_commit(&nt);
    names_txn_fini(&nt);
    return rc;
}

/* A directory is no candidate, and one that is linked into itself would be locked twice: hence the early answer. */
int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct fs_attr *out)
{
    struct inode *i = NULL, *p = NULL;
    int rc = fs->opt.read_only ? -EROFS : dentry_check_name(name);

    if (rc < 0)
        return rc;
    rc = oplock_take(&fs->names);
    if (rc < 0)
        return fserr(rc);
    rc = names_lock_dir(fs, parent, &p);
    if (rc == 0 && ino == parent)
        rc = -EPERM;
    if (rc == 0)
        rc = names_lock_node(fs, ino, &i);
    if (rc == 0) {
        rc = link_locked(fs, i, p, name);
        if (rc == 0) {
            inode_add_lookup(fs, i);
            inode_attr(i, fs->volume.block_bytes, out);
        }
    }
    names_release(fs, i);
    names_release(fs, p);
    oplock_unlock(&fs->names);
    return fserr(rc);
}

/* The entry name of p and its inode, locked. */
static int lock_child(struct fs *fs, struct inode *p, const char *name, struct inode **out)
{
    struct dentry d;
    int rc = names_find(fs, p->ino, name, &d);

    return rc == 0 ? names_lock_node(fs, d.ino, out) : rc;
}

/* Unwritten data of a file that goes is dropped when the batch is committed (names_commit), and needs no writing. */
static int remove_locked(struct fs *fs, struct inode *p, const char *name, struct inode *i)
{
    struct names_txn nt;
    struct inode_op op;
    int rc;

    names_txn_init(&nt, fs);
    op = names_dir_op(-1, inode_is_dir(i) ? -1 : 0, nt.now_ns);
    txn_delete_dentry(&nt.t, p->ino, name);
    names_change(&nt, p, &op);
    if (inode_is_dir(i))
        names_delete(&nt, i);
    else
        names_drop_link(&nt, i);
    rc = names_commit(&nt);
    names_txn_fini(&nt);
    return rc;
}

/*
 * Whether a directory is empty stands in its record, so no scan is needed; entries are counted in the batches that
 * make them.
 */
static int remove_entry(struct fs *fs, uint64_t parent, const char *name, bool dir)
{
    struct inode *i = NULL, *p = NULL;
    int rc = fs->opt.read_only ? -EROFS : dentry_check_name(name);

    if (rc < 0)
        return rc;
    rc = oplock_take(&fs->names);
    if (rc < 0)
        return fserr(rc);
    rc = names_lock_dir(fs, parent, &p);
    if (rc == 0)
        rc = lock_child(fs, p, name, &i);
    if (rc == 0 && dir && !inode_is_dir(i))
        rc = -ENOTDIR;
    if (rc == 0 && !dir && inode_is_dir(i))
        rc = -EISDIR;
    if (rc == 0 && dir && i->rec.n_entries > 0)
        rc = -ENOTEMPTY;
    if (rc == 0)
        rc = remove_locked(fs, p, name, i);
    names_release(fs, i);
    names_release(fs, p);
    oplock_unlock(&fs->names);
    return fserr(rc);
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
    return remove_entry(fs, parent, name, false);
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
    return remove_entry(fs, parent, name, true);
}

int fs_readlink(struct fs *fs, uint64_t ino, struct shale_buf *out)
{
    struct inode *i;
    int rc = inode_get(fs, ino, &i);

    if (rc < 0)
        return fserr(follow_gone(fs, rc));
    /* A target never changes, so it needs no lock but for the record being replaced. */
    mutex_lock(&i->mu);
    rc = S_ISLNK(i->rec.mode) ? buf_set(out, slice_str(i->rec.target)) : -EINVAL;
    mutex_unlock(&i->mu);
    inode_put(fs, i);
    return fserr(rc);
}
