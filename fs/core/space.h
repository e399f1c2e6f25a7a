/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_SPACE_H
#define FS_CORE_SPACE_H

struct fs;

/*
 * Space that removed files and cut data occupy comes back when a compaction meets their rows. So that this does not
 * wait for chance, a thread watches: when the counter "dead bytes" has passed a tenth of the live bytes and nothing
 * has changed for fs_options.idle_ms, it flushes the memtable and has everything compacted, the last run included.
 *
 * The counter is an estimate that survives remounts: unlink and truncate add what they free, this thread takes off what
 * compactions left out, and after a compaction of everything that it asked for the rest of what was dead by then.
 */
int space_start(struct fs *fs);
/* Ends the thread; a compaction that runs goes on without it. */
void space_stop(struct fs *fs);

#endif
