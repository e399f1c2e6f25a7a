/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_FOLLOW_H
#define FS_CORE_FOLLOW_H

#include "fs/core/told.h"
#include "fs/core/volume_state.h"

#include <shale/reader.h>

/*
 * A read-only mount beside a writer. Its reader (fs->reader) goes on in steps, each of which shows one WAL object more.
 * For each:
 *
 *   shown   reads of rows see it
 *   marked  the live inodes that it changed know it (inode_note_change): their records are read again when they are
 *           next used. Between shown and marked lie moments and no I/O
 *   told    caches above have forgotten what changed, first at once, and once more when all answers that were begun
 *           before it was marked have been given: one of those may have brought back what the first telling took away
 *
 * ARCHITECTURE.md says why no cache keeps for ever what is out of date.
 */
struct change_set;

struct follow {
    struct fs *fs;
    struct told told;
    struct mutex mu;      /* rank FS_RANK_FOLLOW; guards the rest */
    struct cond moved;    /* marked moved, or a holder let go */
    uint64_t marked;      /* number of the last step that is marked */
    uint32_t n_holders;   /* reads that would not end before the next step, again and again, and hold it up */
    bool stop;

    /* follow_tell.c */
    struct fs_cache cache; /* whom to tell; set before the thread runs */
    bool attached;
    struct cond work;
    struct list sets;     /* of changes to tell, oldest first */
    struct list sent;     /* told once, oldest first */
    size_t n_sets, n_changes; /* that are not done with, and the changes in them */
    bool lost;            /* a set that there was no memory for */
    uint64_t lost_step;
    struct list answers;  /* under way, in the order in which they began */
    struct worker thread;
};

/* Open the volume's rows for following: sets fs->reader and fs->follow. */
int follow_open(struct fs *fs);
/* NULL is fine. Ends the reader, too. */
void follow_close(struct fs *fs);

/*
 * Reads that belong together. Of a volume that follows the writer they must show one state:
 *     follow_read_begin(fs, &r);
 *     do { ... } while (follow_read_again(fs, &r));
 * The body is done anew when a step came in between; what it did before counts for nothing. It may not itself contain
 * such a loop. Volumes that do not follow go through once.
 */
struct follow_read {
    uint64_t step; /* the state that is read */
    unsigned n;
    bool holds;
};

void follow_read_begin(struct fs *fs, struct follow_read *r);
bool follow_read_again(struct fs *fs, struct follow_read *r);

/* The state that reads which begin now see at least; 0 where nobody follows. */
uint64_t follow_step(struct fs *fs);

/* Caches will be told that this name leads to i; before the answer that says so. 0 or -ENOMEM. */
int follow_tell_name(struct fs *fs, uint64_t dir, const char *name, struct inode *i);

/* An inode that the caller knows by its number is not there: the writer removed it. -ENOENT becomes -ESTALE. */
int follow_gone(struct fs *fs, int rc);

/* ---- follow_tell.c ---- */

/* What one step changed. The calls that add note when memory ran out: then all is told. */
struct change_set *change_set_new(void);
void change_set_free(struct change_set *s); /* NULL is fine */
void change_set_all(struct change_set *s);
void change_set_attr(struct change_set *s, uint64_t ino);
/* And attributes. len 0: to the end of the file. */
void change_set_data(struct change_set *s, uint64_t ino, uint64_t offset, uint64_t len);
void change_set_name(struct change_set *s, uint64_t dir, struct shale_slice name);

/* Have it told (moved). NULL, for want of memory: everything, as soon as there is some. */
void follow_tell(struct follow *f, struct change_set *s, uint64_t step);

#endif
