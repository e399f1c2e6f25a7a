/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/namespace.h"

#include "base/buf.h"
#include "base/clock.h"
#include "fs/core/file_data.h"
#include "fs/core/rows.h"

#include <assert.h>
#include <errno.h>

/*
 * Batches about names, as all files that change names make them:
 *   lock names and inodes -> look -> names_txn_init -> names_change, names_edit, ... -> names_commit -> unlock
 * The live inodes show the change only after the engine has taken the batch. Until then a reader sees the old state in
 * both, and after a failure nothing has to be taken back.
 */
int names_find(struct fs *fs, uint64_t dir, const char *name, struct dentry *out)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct fs_key key;
    int rc = fs_key_dentry(&key, dir, slice_str(name));

    if (rc == 0)
        rc = rows_get(fs, &key, NULL, &value);
    if (rc == 0)
        rc = dentry_decode(slice_of_buf(&value), out);
    shale_buf_fini(&value);
    return rc;
}

int names_lock_node(struct fs *fs, uint64_t ino, struct inode **out)
{
    struct inode *i;
    int rc = inode_get(fs, ino, &i);

    if (rc < 0)
        return rc;
    rc = inode_take(i);
    if (rc < 0)
        inode_put(fs, i);
    else
        *out = i;
    return rc;
}

/*
 * A directory that is gone may live on in the table while the kernel still knows it; nothing may be made in it any
 * more.
 */
int names_lock_dir(struct fs *fs, uint64_t ino, struct inode **out)
{
    struct inode *i;
    int rc = names_lock_node(fs, ino, &i);

    if (rc < 0)
        return rc;
    rc = !inode_is_dir(i) ? -ENOTDIR : i->gone ? -ENOENT : 0;
    if (rc < 0)
        names_release(fs, i);
    else
        *out = i;
    return rc;
}

void names_release(struct fs *fs, struct inode *i)
{
    if (!i)
        return;
    inode_unlock(i);
    inode_put(fs, i);
}

struct inode_op names_dir_op(int64_t entries, int64_t links, int64_t now_ns)
{
    return (struct inode_op){
        .set = INODE_OP_MTIME | INODE_OP_CTIME,
        .entries = entries,
        .nlink = links,
        .mtime_ns = now_ns,
        .ctime_ns = now_ns,
    };
}

void names_txn_init(struct names_txn *nt, struct fs *fs)
{
    txn_init(&nt->t, fs);
    nt->now_ns = clock_wall_ns();
    nt->n = 0;
}

void names_txn_fini(struct names_txn *nt)
{
    for (size_t k = 0; k < nt->n; k++)
        inode_rec_fini(&nt->changes[k].rec);
    txn_fini(&nt->t);
}

/*
 * The change of an inode in this batch, begun from its record as it is committed. No operation is about more than four
 * inodes: a rename has two directories, what moves and what gives way.
 */
static struct names_change *change_of(struct names_txn *nt, struct inode *i)
{
    struct names_change *c;

    for (size_t k = 0; k < nt->n; k++)
        if (nt->changes[k].inode == i)
            return &nt->changes[k];
    assert(nt->n < NAMES_CHANGES_MAX);
    c = &nt->changes[nt->n];
    *c = (struct names_change){ .inode = i };
    inode_rec_init(&c->rec);
    if (inode_rec_copy(&c->rec, &i->rec) < 0) {
        txn_fail(&nt->t, -ENOMEM);
        return NULL;
    }
    nt->n++;
    return c;
}

/*
 * Applied to the copy of the record and added to the operand: names_commit writes the operand, which is shorter and
 * does not read, or the record, when somebody edited that. Both say the same.
 */
void names_change(struct names_txn *nt, struct inode *i, const struct inode_op *op)
{
    struct names_change *c = change_of(nt, i);
    int rc;

    if (!c)
        return;
    rc = inode_op_apply(&c->rec, op);
    if (rc == 0)
        rc = inode_op_fold(&c->op, op);
    txn_fail(&nt->t, rc);
}

struct inode_rec *names_edit(struct names_txn *nt, struct inode *i)
{
    struct names_change *c = change_of(nt, i);

    if (!c)
        return NULL;
    c->whole = true;
    return &c->rec;
}

/*
 * One row goes, however large the file: chunks and attributes behind it become invisible with it and are left to
 * compaction.
 */
void names_delete(struct names_txn *nt, struct inode *i)
{
    struct names_change *c = change_of(nt, i);

    if (!c)
        return;
    c->deleted = true;
    c->rec.nlink = 0;
    c->rec.ctime_ns = nt->now_ns;
    txn_count(&nt->t, FS_COUNT_INODES, -1);
    txn_count_blocks(&nt->t, i->rec.blocks, 0);
}

/*
 * Whether a file is open cannot change meanwhile: opening and the last close hold the op lock, as our caller does. The
 * orphan row comes in the batch that takes the last name, so that a crash at any time leaves either.
 */
void names_drop_link(struct names_txn *nt, struct inode *i)
{
    struct inode_op op = { .set = INODE_OP_CTIME, .nlink = -1, .ctime_ns = nt->now_ns };
    bool is_open;

    mutex_lock(&i->mu);
    is_open = i->n_open > 0;
    mutex_unlock(&i->mu);
    if (i->rec.nlink <= 1 && !is_open) {
        names_delete(nt, i);
        return;
    }
    if (i->rec.nlink <= 1)
        txn_put_orphan(&nt->t, i->ino);
    names_change(nt, i, &op);
}

int names_commit(struct names_txn *nt)
{
    int rc;

    for (size_t k = 0; k < nt->n; k++) {
        struct names_change *c = &nt->changes[k];

        if (c->deleted)
            txn_delete_inode(&nt->t, c->inode->ino);
        else if (c->whole)
            txn_put_inode(&nt->t, c->inode->ino, &c->rec);
        else
            txn_merge_inode(&nt->t, c->inode->ino, &c->op);
    }
    rc = txn_commit(&nt->t);
    if (rc < 0)
        return rc;
    /* The engine has it; nothing from here on can fail. */
    for (size_t k = 0; k < nt->n; k++) {
        struct names_change *c = &nt->changes[k];

        inode_follow_rec(c->inode, &c->rec);
        if (c->deleted)
            file_data_drop(nt->t.fs, c->inode);
    }
    return 0;
}
