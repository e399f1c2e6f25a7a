/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_NAMESPACE_H
#define FS_CORE_NAMESPACE_H

#include "fs/core/txn.h"

/* Shared by the files that change names. Called with the name lock held, but for names_find and names_create_file. */

/* Reads an entry. -ENOENT. Needs no lock when the answer may be stale. */
int names_find(struct fs *fs, uint64_t dir, const char *name, struct dentry *out);

/*
 * A node by its number: a reference, its op lock held. -ENOENT; SHALE_ECANCELED for who gave up waiting, as of all that
 * lock.
 */
int names_lock_node(struct fs *fs, uint64_t ino, struct inode **out);
/* The directory an operation works in: a reference, its op lock held. -ENOENT when it was removed; -ENOTDIR. */
int names_lock_dir(struct fs *fs, uint64_t ino, struct inode **out);
/* Make a regular file; *out is a reference. -EEXIST. Takes the name lock itself. */
int names_create_file(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode,
                      struct inode **out);

/* Unlock and put; NULL is fine. */
void names_release(struct fs *fs, struct inode *i);

/* A difference of entries and links of a directory, with its new times. */
struct inode_op names_dir_op(int64_t entries, int64_t links, int64_t now_ns);

/* A batch about a few live inodes, which follow when it is committed. Their op locks are the caller's. */
struct names_change {
    struct inode *inode;
    struct inode_rec rec; /* what the batch makes of it */
    struct inode_op op;   /* the same as an operand, unless whole */
    bool whole;           /* written as a record */
    bool deleted;
};

#define NAMES_CHANGES_MAX 4

struct names_txn {
    struct txn t;
    int64_t now_ns;
    struct names_change changes[NAMES_CHANGES_MAX];
    size_t n;
};

void names_txn_init(struct names_txn *nt, struct fs *fs);
void names_txn_fini(struct names_txn *nt);
/* Change an inode by an operand; several of one inode add up. */
void names_change(struct names_txn *nt, struct inode *i, const struct inode_op *op);
/* The record of i in this batch, to be edited and written whole; NULL after a failure. */
struct inode_rec *names_edit(struct names_txn *nt, struct inode *i);
/*
 * Take one link from i. With the last one its row goes, unless it is a file that is open: then it becomes an orphan.
 */
void names_drop_link(struct names_txn *nt, struct inode *i);
/* Delete the row of i. */
void names_delete(struct names_txn *nt, struct inode *i);
/* Commit the batch, then let the live inodes follow. */
int names_commit(struct names_txn *nt);

#endif
