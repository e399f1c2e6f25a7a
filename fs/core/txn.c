/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/txn.h"

#include "base/buf.h"

#include <errno.h>

/*
 * A batch is used again and again: one that hands file data over has grown to megabytes, step by step, each of which
 * copies what is there and is memory that the kernel has to clear. Whoever comes while it is in use makes one of his
 * own.
 */
void txn_init(struct txn *t, struct fs *fs)
{
    *t = (struct txn){ .fs = fs };
    t->batch = atomic_exchange_explicit(&fs->spare_batch, NULL, memory_order_acquire);
    if (!t->batch)
        t->rc = shale_batch_new(&t->batch);
}

void txn_fini(struct txn *t)
{
    if (t->batch)
        shale_batch_clear(t->batch);
    shale_batch_free(atomic_exchange_explicit(&t->fs->spare_batch, t->batch, memory_order_acq_rel));
    shale_buf_fini(&t->scratch);
}

/*
 * Between the batches of one long change: the failure is forgotten with what failed, since each batch is committed, or
 * not, for itself. Without memory for a batch there is nothing to forget, and the failure stays.
 */
void txn_reset(struct txn *t)
{
    if (!t->batch)
        return;
    shale_batch_clear(t->batch);
    for (int i = 0; i < FS_N_COUNTERS; i++)
        t->counters[i] = 0;
    t->rc = 0;
}

/* The first failure is the cause; those after it follow from it. */
void txn_fail(struct txn *t, int rc)
{
    if (t->rc == 0 && rc < 0)
        t->rc = rc;
}

size_t txn_bytes(const struct txn *t)
{
    return t->batch ? shale_batch_bytes(t->batch) : 0;
}

void txn_put(struct txn *t, const struct fs_key *key, struct shale_slice value)
{
    if (t->rc == 0)
        t->rc = shale_batch_put(t->batch, fs_key_slice(key), value, SHALE_TTL_INIT);
}

void txn_merge(struct txn *t, const struct fs_key *key, struct shale_slice operand)
{
    if (t->rc == 0)
        t->rc = shale_batch_merge(t->batch, fs_key_slice(key), operand, SHALE_TTL_INIT);
}

void txn_delete(struct txn *t, const struct fs_key *key)
{
    if (t->rc == 0)
        t->rc = shale_batch_delete(t->batch, fs_key_slice(key));
}

/*
 * The record and the operand go through scratch, since the batch copies what it is given. A whole record hides
 * operands below it, so its writer must know all of them: he holds the op lock of the inode.
 */
void txn_put_inode(struct txn *t, uint64_t ino, const struct inode_rec *rec)
{
    struct fs_key key;

    fs_key_inode(&key, ino);
    buf_clear(&t->scratch);
    txn_fail(t, inode_rec_encode(rec, &t->scratch));
    txn_put(t, &key, slice_of_buf(&t->scratch));
}

void txn_merge_inode(struct txn *t, uint64_t ino, const struct inode_op *op)
{
    struct fs_key key;

    fs_key_inode(&key, ino);
    buf_clear(&t->scratch);
    txn_fail(t, inode_op_encode(op, &t->scratch));
    txn_merge(t, &key, slice_of_buf(&t->scratch));
}

void txn_delete_inode(struct txn *t, uint64_t ino)
{
    struct fs_key key;

    fs_key_inode(&key, ino);
    txn_delete(t, &key);
}

void txn_put_dentry(struct txn *t, uint64_t dir, const char *name, const struct dentry *d)
{
    uint8_t value[DENTRY_VALUE_LEN];
    struct fs_key key;
    int rc = fs_key_dentry(&key, dir, slice_str(name));

    txn_fail(t, rc);
    dentry_encode(d, value);
    if (rc == 0)
        txn_put(t, &key, slice_of(value, sizeof(value)));
}

void txn_delete_dentry(struct txn *t, uint64_t dir, const char *name)
{
    struct fs_key key;
    int rc = fs_key_dentry(&key, dir, slice_str(name));

    txn_fail(t, rc);
    if (rc == 0)
        txn_delete(t, &key);
}

/*
 * The key says all: whose session keeps the file open. The value is empty, but a row must be there for a scan to find.
 */
void txn_put_orphan(struct txn *t, uint64_t ino)
{
    struct fs_key key;

    fs_key_orphan(&key, t->fs->session.id, ino);
    txn_put(t, &key, slice_of(NULL, 0));
}

/* session: our own at the last close, and that of a mount that is over when its files are swept. */
void txn_delete_orphan(struct txn *t, struct shale_ulid session, uint64_t ino)
{
    struct fs_key key;

    fs_key_orphan(&key, session, ino);
    txn_delete(t, &key);
}

void txn_count(struct txn *t, enum fs_counter c, int64_t delta)
{
    t->counters[c] += delta;
}

/*
 * Dead bytes are an estimate of what compaction would win, for space.c. Data that is written over is dead as well, but
 * nobody could tell how much without reading it, and compaction folds it away on its ordinary course.
 */
void txn_count_blocks(struct txn *t, uint64_t before, uint64_t after)
{
    txn_count(t, FS_COUNT_BYTES, ((int64_t)after - (int64_t)before) * 512);
    if (after < before)
        txn_count(t, FS_COUNT_DEAD, (int64_t)(before - after) * 512);
}

/* Sums are kept by merge operands: batches that count need neither read the counter nor wait for each other. */
static void add_counters(struct txn *t)
{
    for (int i = 0; i < FS_N_COUNTERS; i++) {
        uint8_t delta[8];
        struct fs_key key;

        if (t->counters[i] == 0)
            continue;
        put_u64le(delta, (uint64_t)t->counters[i]);
        txn_fail(t, fs_key_counter(&key, fs_counter_name((enum fs_counter)i)));
        txn_merge(t, &key, slice_of(delta, sizeof(delta)));
    }
}

/*
 * The counters of the volume follow only when the engine has taken the batch, so that statfs never shows what is not
 * there. A change that is counted by n_changes after its batch may be seen late by the committer, but never lost: it
 * looks again.
 */
int txn_commit(struct txn *t)
{
    struct fs *fs = t->fs;
    int rc;

    add_counters(t);
    if (t->rc < 0)
        return t->rc;
    if (shale_batch_count(t->batch) == 0)
        return 0;
    rc = volume_note_error(fs, shale_db_write(fs->db, t->batch, false, NULL));
    if (rc < 0)
        return rc;
    mutex_lock(&fs->counters_mu);
    for (int i = 0; i < FS_N_COUNTERS; i++)
        fs->counters[i] += t->counters[i];
    mutex_unlock(&fs->counters_mu);
    mutex_lock(&fs->dirty_mu);
    fs->n_changes++;
    mutex_unlock(&fs->dirty_mu);
    return 0;
}
