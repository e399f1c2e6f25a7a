/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_SEQ_TRACKER_H
#define FORMAT_SEQ_TRACKER_H

#include "base/buf.h"

#include <stdbool.h>

/* Sequence number to time, coarsely (storage format section 6.6, R34-R36). Source: SlateDB 0.12.1, seq_tracker.rs. */
#define SEQ_TRACKER_MAX 8192
#define SEQ_TRACKER_STEP_S 60

struct seq_point {
    uint64_t seq;
    int64_t time_s; /* Unix seconds */
};

struct seq_tracker {
    struct seq_point *points; /* both columns non-decreasing */
    size_t n, cap;
    int64_t last_recorded_s;  /* of the last point taken by this process; SHALE_NO_TS: none yet */
};

void seq_tracker_init(struct seq_tracker *t);
void seq_tracker_fini(struct seq_tracker *t);
int seq_tracker_copy(struct seq_tracker *to, const struct seq_tracker *from);
/*
 * Take a point when 60 s passed since the last taken; thins out when full. A point that would descend is left out.
 * -ENOMEM loses the point and nothing else. time_ms is rounded down to seconds, also before 1970.
 */
int seq_tracker_record(struct seq_tracker *t, uint64_t seq, int64_t time_ms);
/* Record each point of from, so that those below the last of t, and closer than 60 s, are left out. 0 or -ENOMEM. */
int seq_tracker_merge(struct seq_tracker *t, const struct seq_tracker *from);
/* false when there is no such point. */
bool seq_tracker_time_of(const struct seq_tracker *t, uint64_t seq, bool round_up, int64_t *time_s);
bool seq_tracker_seq_at(const struct seq_tracker *t, int64_t time_s, bool round_up, uint64_t *seq);
/* Append the encoded form: of the newest points only, should a difference not fit its 32 bits. */
int seq_tracker_encode(const struct seq_tracker *t, struct shale_buf *out);
/* SHALE_EVERSION; SHALE_ECORRUPT: cut short, counts that differ, a column that descends. */
int seq_tracker_decode(struct shale_slice in, struct seq_tracker *out);

#endif
