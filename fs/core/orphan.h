/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_ORPHAN_H
#define FS_CORE_ORPHAN_H

#include "fs/core/volume_state.h"

/*
 * Files without a name that are still open: a row 'O' session ino names each. It goes with the file at the last close,
 * or when a later mount finds its session gone.
 */

/* The last handle of i was closed (op lock held): remove the file when it has no name. */
int orphan_reclaim(struct fs *fs, struct inode *i);

/*
 * Remove the files that other sessions left, and the sessions' objects. For the mount that has just taken the volume.
 */
int orphan_sweep(struct fs *fs);

#endif
