/* SPDX-License-Identifier: Apache-2.0 */
#ifndef READ_VISIBLE_ITER_H
#define READ_VISIBLE_ITER_H

#include "format/iter.h"

/* Drops rows whose sequence number is above max_seq (R135). Takes over child (moved, also on failure). */
int visible_iter_new(struct iter *child, uint64_t max_seq, struct iter **out);
/* And those up to after_seq. */
int visible_iter_new_after(struct iter *child, uint64_t after_seq, uint64_t max_seq, struct iter **out);

#endif
