/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_LOCK_H
#define FS_CORE_LOCK_H

#include "base/sync.h"

/*
 * A logical lock that one operation holds from its first look to its commit, reads and writes of the engine included.
 * It is not a mutex: nothing spins on it and it has no rank. Order: the volume's name lock, then inodes. Only who
 * holds the name lock holds more than one inode, so inodes need no order among themselves.
 */
struct oplock {
    struct mutex mu;
    struct cond idle;
    bool busy;
};

void oplock_init(struct oplock *l, int rank, const char *name);
void oplock_fini(struct oplock *l);
/* For those who cannot fail: what they wait for may take as long as the store does not answer. */
void oplock_lock(struct oplock *l);
/* 0; or SHALE_ECANCELED, and it is not held, for who was asked to give up while waiting (base/cancel.h). */
int oplock_take(struct oplock *l);
void oplock_unlock(struct oplock *l);

#endif
