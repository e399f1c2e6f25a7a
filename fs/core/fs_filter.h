/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_FS_FILTER_H
#define FS_CORE_FS_FILTER_H

#include <shale/options.h>
#include <stdatomic.h>

/*
 * The compaction filter of a volume: it leaves out what removing and cutting files left behind. It decides from the
 * rows that a job merges, without look-ups; key order shows it an inode's own row before the rows that belong to it
 * (chunks, entries, extended attributes).
 *
 * S is the job's retention_min_seq: every reader, now or later, sees the state at some sequence number at or above S.
 *
 *   1. A row above S stays. So does an inode's own row, a tombstone, and every row that belongs to no inode.
 *   2. The newest version of the inode at or below S decides about the others, if the job has one:
 *      - a tombstone (or an operand that was folded onto one): the row goes;
 *      - a record that gives the row's chunk a greater generation than the row has: the row goes;
 *      - anything else, an operand alone above all, decides nothing: the row stays.
 *   3. When the job has no version of the inode at all, and nothing lies below its destination, the row goes.
 *
 * Why no reader misses anything. The sources of a job are neighbouring levels, each level (memtable, L0 SST, run)
 * holds only rows that are newer than all of those below it, and inode numbers and generations are given out once.
 *   - To 2, tombstone: every reader is at or above S, hence behind the removal, and the number does not come back.
 *   - To 2, generation: that of one chunk only ever grows (inode_truncate_gens keeps the entries before the cut and
 *     gives the rest a number above all others). A reader sees that record or a later state, and asks under that
 *     generation or a greater one. A row of a greater generation than the record knows is newer than it and stays:
 *     its inode's newer row may lie in a level above, or above S.
 *   - To 3: an inode is written in the batch of its first row or before it. So when the row is in a source, a version
 *     of its inode at or before the row's number is in this level or below; it can have disappeared only under a
 *     newer version, which stands in the place of both, or under a tombstone that retention took away since nothing
 *     lay below. That was in a job which reached down to the last run, as this one does. No level above has older
 *     rows, so none has the inode's record either, and what it may have of later operands makes no inode.
 * Rule 3 also takes what rule 2 could not, when retention removed the tombstone in front of the filter. A job that
 * was interrupted reads again from the inode's first row, so that it decides as if it had not been; that S may have
 * risen since only makes it drop more.
 */
struct fs_filter {
    struct shale_compaction_filter filter; /* for shale_options; filter.ctx is this struct */
    _Atomic uint64_t rows, bytes;          /* relaxed: left out by jobs that went through; of data or values */
};

/* Stays where it is as long as the database is open. Needs no end. */
void fs_filter_init(struct fs_filter *f);

#endif
