/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_OUTPUT_SET_H
#define COMPACT_OUTPUT_SET_H

#include "sst/sst_writer.h"

/*
 * Writes rows into one SST after the other, splitting where an SST has grown past a size (R194-R198).
 *
 * An SST is closed between two keys, when the blocks completed in it hold more than max_sst_size bytes. Unlike
 * SlateDB it is not closed between the versions of a key, so that a job that resumes behind it cannot lose merge
 * operands (R191, H24). Only when it holds more than twice max_sst_size is it closed inside a key, and there only
 * behind a value or tombstone: whatever retention has become since, no fold reaches across such a row. Keys of many
 * operands that may not be folded stay whole.
 */
struct output_set {
    struct table_store *ts;
    uint64_t max_sst_size;
    struct shale_ulid last_id; /* every id is greater than the one before, the first greater than the job's */
    const struct shale_clock *clock; /* borrowed; NULL: the system's */
    struct metric *written;    /* block bytes of what is finished; NULL, as after init: not counted */
    struct sst_writer *writer; /* NULL: the next row opens one */
    bool closing;              /* a finish was tried: the object of last_id may exist */
    uint64_t block_bytes;      /* of completed blocks of this writer */
    struct shale_buf key;      /* of the last row, kept when block_bytes is over the limit */
    enum shale_kind kind;      /* of the last row */
    struct sst_handle **list;  /* shared; those taken over first */
    size_t n, cap;
    size_t n_kept;             /* the first n_kept are somebody else's: abandon leaves them alone */
};

/*
 * Begin behind earlier outputs, which are referenced, but for those without rows: a run has no such SST. fini at any
 * time, also after a failure.
 * job: the id of the compaction, below every id given out here, so that the collector spares the
 * outputs as long as the compaction is recorded (R201, R318).
 */
int output_set_init(struct output_set *o, struct table_store *ts, uint64_t max_sst_size, struct shale_ulid job,
                    const struct shale_clock *clock, struct sst_handle *const *earlier, size_t n_earlier);
void output_set_fini(struct output_set *o);
/* 1 when an SST was finished before row was taken, else 0, or an error. */
int output_set_add(struct output_set *o, const struct shale_row *row);
/* Finish the open SST, if a row was added to one. */
int output_set_finish(struct output_set *o);
/* After a failure: delete the objects behind the first n_kept, as far as the store lets us. */
void output_set_abandon(struct output_set *o);

/* Delete the object of an SST that nobody refers to; a failure is only logged. */
void output_delete(struct table_store *ts, struct shale_ulid id);

#endif
