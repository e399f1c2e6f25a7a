/* SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_RETENTION_ITER_H
#define READ_RETENTION_ITER_H

#include "format/seq_tracker.h"
#include "format/iter.h"

/* Decides which versions of a key are kept, key by key (R246-R254). Takes over child (moved, also on failure). */
struct retention_options {
    bool has_min_seq;
    uint64_t min_seq;     /* versions above it are kept, and the newest at or below it */
    bool has_timeout;     /* not used by flush and compaction */
    int64_t timeout_ms;
    int64_t now_ms;       /* for the timeout */
    const struct seq_tracker *tracker; /* borrowed; for the timeout */
    int64_t clock_tick;   /* rows whose expiry is at or before it have expired */
    bool drop_tombstones; /* the oldest ones of each key, when nothing lies below */
};

int retention_iter_new(struct iter *child, const struct retention_options *opt, struct iter **out);

#endif
