/* SPDX-License-Identifier: Apache-2.0 */
#include "sst/read_window.h"

/* Blocks read along before their use says anything. */
#define KNOWN_MIN 32u
/* When so many were counted both counts are halved: what was long ago matters less. */
#define FORGET_AT 512u
/* A window takes at most this part of the cache, so that what was read along is not thrown out by what comes next. */
#define CACHE_PART 32u

void read_window_init(struct read_window *w, uint64_t bytes, uint64_t cache_bytes)
{
    uint64_t max = bytes < cache_bytes / CACHE_PART ? bytes : cache_bytes / CACHE_PART;

    while (max & (max - 1))
        max &= max - 1;
    w->max = max;
    atomic_init(&w->along, 0);
    atomic_init(&w->used, 0);
}

/*
 * In the beginning a quarter. After that the whole, while at least half of it is wanted, and less and less below that.
 * Once nothing is read along nothing is counted either: blocks that are wanted side by side begin it again.
 */
uint64_t read_window_bytes(struct read_window *w, bool near)
{
    uint32_t along = atomic_load_explicit(&w->along, memory_order_relaxed);
    uint32_t used = atomic_load_explicit(&w->used, memory_order_relaxed);
    uint64_t bytes = near ? w->max / 8 : 0;

    if (near)
        read_window_note_used(w);
    if (along < KNOWN_MIN)
        bytes = w->max / 4;
    else if (used >= along / 2)
        bytes = w->max;
    else if (used >= along / 4)
        bytes = w->max / 2;
    else if (used >= along / 8)
        bytes = w->max / 4;
    return bytes;
}

/* Races lose a count now and then, which an estimate bears. */
void read_window_note_along(struct read_window *w, uint32_t blocks)
{
    uint32_t along = atomic_fetch_add_explicit(&w->along, blocks, memory_order_relaxed) + blocks;

    if (along < FORGET_AT)
        return;
    atomic_store_explicit(&w->along, along / 2, memory_order_relaxed);
    atomic_store_explicit(&w->used, atomic_load_explicit(&w->used, memory_order_relaxed) / 2, memory_order_relaxed);
}

void read_window_note_used(struct read_window *w)
{
    atomic_fetch_add_explicit(&w->used, 1, memory_order_relaxed);
}
