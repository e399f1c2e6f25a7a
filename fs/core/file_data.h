/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_FILE_DATA_H
#define FS_CORE_FILE_DATA_H

#include "fs/core/volume_state.h"

/*
 * The bytes of a file: written ones gather in the inode (dirty) and go to the engine as merge operands of their chunks,
 * one batch with the size and times that they bring (writeback). Reads lay what is dirty over what the engine has.
 */

/*
 * Take written bytes. The caller holds a handle. Hands data over first when too much is dirty. Returns the count,
 * fewer than len only when memory ran out on the way; or -EFBIG, -ENOMEM, or what the engine returns, and nothing was
 * taken.
 */
ssize_t file_data_write(struct fs *fs, struct inode *i, uint64_t offset, const void *data, size_t len);

/* Up to len bytes into out; returns the count, fewer only at the end of the file. */
ssize_t file_data_read(struct fs *fs, struct inode *i, uint64_t offset, uint8_t *out, size_t len);

/*
 * Hand everything dirty to the engine, in batches of ascending offsets, each with the size up to which it has the data.
 * The caller holds op. After a failure the data stays and is tried again by the next.
 */
int file_data_writeback(struct fs *fs, struct inode *i);

/* The same, taking op. */
int file_data_writeback_unlocked(struct fs *fs, struct inode *i);

/*
 * Set the size (op held), after handing over what is dirty: cut or extend, with the new times. One batch; rec is the
 * record to start from (moved), which may have other changes of the same operation.
 */
int file_data_set_size(struct fs *fs, struct inode *i, struct inode_rec *rec, uint64_t size);

/* The inode was deleted: forget its unwritten data and mark it gone. */
void file_data_drop(struct fs *fs, struct inode *i);

/*
 * Write back every inode that has something when this is called, oldest first, one caller after the other. Stops at
 * the first failure; what is left stays listed.
 */
int file_data_writeback_all(struct fs *fs);

/* What a program sees of i, blocks included. Takes op when what is dirty has to be handed over for that. */
void attr_settled(struct fs *fs, struct inode *i, struct fs_attr *out);

/* Note that i has something to write back, a time for instance. */
void file_data_list(struct fs *fs, struct inode *i);

#endif
