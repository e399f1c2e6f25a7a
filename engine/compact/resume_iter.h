/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_RESUME_ITER_H
#define COMPACT_RESUME_ITER_H

#include "base/buf.h"
#include "format/iter.h"
#include "sst/table_store.h"

/* The last row that an earlier attempt wrote (R182 step 1). All zero: nothing was written. */
struct resume_cursor {
    bool set;
    struct shale_buf key; /* owned */
    uint64_t seq;
    enum shale_kind kind;
};

void resume_cursor_fini(struct resume_cursor *c);
/* Read it from the last block of sst. An SST without blocks gives an unset cursor. */
int resume_cursor_read(struct table_store *ts, const struct sst_handle *sst, struct resume_cursor *out);

/*
 * The rows of child behind the cursor: child is moved to from (at or before the cursor's key), and rows are left
 * out up to the cursor's key and sequence number inclusive (R185-R189). Takes over child (moved, also on failure);
 * cursor and from are borrowed while it is used. An unset cursor passes everything.
 */
int resume_iter_new(struct iter *child, const struct resume_cursor *cursor, struct shale_slice from,
                    struct iter **out);

#endif
