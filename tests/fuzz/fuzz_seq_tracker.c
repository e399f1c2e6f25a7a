/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "format/seq_tracker.h"

#include <stdlib.h>

/* An encoded sequence tracker. What was read is written back without loss, and answers lookups. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct seq_tracker t, back;
    int64_t time = 0;
    uint64_t seq = 0;

    if (seq_tracker_decode(slice_of(data, size), &t) < 0)
        return 0;
    if (seq_tracker_encode(&t, &b) < 0 || seq_tracker_decode(slice_of_buf(&b), &back) < 0 || back.n != t.n)
        abort();
    if (t.n && (!seq_tracker_time_of(&t, t.points[0].seq, true, &time) || time != t.points[0].time_s ||
                !seq_tracker_seq_at(&t, t.points[t.n - 1].time_s, false, &seq) || seq != t.points[t.n - 1].seq))
        abort();
    (void)seq_tracker_record(&back, seq, time); /* out of memory is no finding */
    (void)seq_tracker_merge(&back, &t);
    seq_tracker_fini(&back);
    seq_tracker_fini(&t);
    shale_buf_fini(&b);
    return 0;
}
