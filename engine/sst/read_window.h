/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_READ_WINDOW_H
#define SST_READ_WINDOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * How many bytes to read around a block that is missing: one round trip brings many blocks as fast as one, which is
 * worth it where reads come close to each other, and a waste where they do not. So it is counted how many of the
 * blocks that were read along were wanted later, and the window grows and shrinks with that. Safe from any thread.
 */
struct read_window {
    uint64_t max;           /* bytes, a power of two; 0: nothing is read along */
    _Atomic uint32_t along; /* blocks read along of late; relaxed, as the next: estimates */
    _Atomic uint32_t used;  /* those of them that were wanted */
};

/* At most bytes, and no more than a small part of a cache of cache_bytes; 0 for nothing. */
void read_window_init(struct read_window *w, uint64_t bytes, uint64_t cache_bytes);
/*
 * For the next miss. near: a block beside the missing one was wanted not long ago. A power of two; blocks that lie in
 * one aligned window are read together, so that the order in which they are wanted does not matter.
 */
uint64_t read_window_bytes(struct read_window *w, bool near);
void read_window_note_along(struct read_window *w, uint32_t blocks);
void read_window_note_used(struct read_window *w);

#endif
