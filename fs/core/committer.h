/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_COMMITTER_H
#define FS_CORE_COMMITTER_H

struct fs;

/*
 * The committer thread: each interval, when anything changed, writes back everything and makes it durable. Errors are
 * left with the inodes and the engine, for fsync to report.
 */
int committer_start(struct fs *fs);
/* Ends the thread; what is not yet durable is the caller's. */
void committer_stop(struct fs *fs);

#endif
