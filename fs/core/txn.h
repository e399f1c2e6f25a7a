/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_TXN_H
#define FS_CORE_TXN_H

#include "fs/core/dentry.h"
#include "fs/core/key_codec.h"
#include "fs/core/volume_state.h"

/*
 * One change of the file system = one batch of the engine. The calls that add to it note the first failure, which
 * txn_commit then returns, so a caller adds everything and looks once. One thread.
 */
struct txn {
    struct fs *fs;
    struct shale_batch *batch; /* owned */
    int64_t counters[FS_N_COUNTERS];
    struct shale_buf scratch;
    int rc;
};

void txn_init(struct txn *t, struct fs *fs);
void txn_fini(struct txn *t);
/* Forget what was added. */
void txn_reset(struct txn *t);

void txn_put_inode(struct txn *t, uint64_t ino, const struct inode_rec *rec);
void txn_merge_inode(struct txn *t, uint64_t ino, const struct inode_op *op);
void txn_delete_inode(struct txn *t, uint64_t ino);
void txn_put_dentry(struct txn *t, uint64_t dir, const char *name, const struct dentry *d);
void txn_delete_dentry(struct txn *t, uint64_t dir, const char *name);
void txn_put_orphan(struct txn *t, uint64_t ino);
void txn_delete_orphan(struct txn *t, struct shale_ulid session, uint64_t ino);
void txn_count(struct txn *t, enum fs_counter c, int64_t delta);
/* A file goes from so many blocks to so many: live bytes, and what is freed of them as dead ones. */
void txn_count_blocks(struct txn *t, uint64_t before, uint64_t after);
void txn_put(struct txn *t, const struct fs_key *key, struct shale_slice value);
void txn_merge(struct txn *t, const struct fs_key *key, struct shale_slice operand);
void txn_delete(struct txn *t, const struct fs_key *key);
/* Note a failure of the caller's own. */
void txn_fail(struct txn *t, int rc);
size_t txn_bytes(const struct txn *t);

/*
 * Hand it to the engine, whole: later reads see it and later commits hold it; not durable yet. Moves the volume's
 * counters along. 0, or what failed: then nothing was written.
 */
int txn_commit(struct txn *t);

#endif
