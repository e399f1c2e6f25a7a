/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_BLOCK_H
#define FORMAT_BLOCK_H

#include "base/buf.h"
#include "format/iter.h"
#include "format/row.h"

#include <stdbool.h>

/*
 * Data blocks (storage format section 3), uncompressed payloads without checksum.
 *   rows | u16be offset[n] | u16be n
 * Version 1: an offset for each row, row codec V0. Version 2: an offset for each restart (every 16 rows), row codec V2.
 * Source: SlateDB 0.12.1, format/block.rs, block_v2.rs, row.rs, row_codec_v2.rs.
 */
#define BLOCK_V1 1
#define BLOCK_V2 2
#define BLOCK_RESTART_INTERVAL 16

/*
 * Builds version 2 blocks; version 1 exists for tests and is chosen with block_builder_init. Owned memory.
 * Memory is kept from block to block. Offsets have 16 bits, so a block takes no restart behind
 * its first 64 KiB.
 */
struct block_builder {
    struct shale_buf data;      /* encoded rows so far */
    struct shale_buf prev_key;  /* V2: key of the last row, also of the block before; V1: first key of the block */
    uint16_t *offsets;
    size_t n_offsets, cap_offsets;
    size_t n_rows;
    size_t block_size;
    int version;
};

void block_builder_init(struct block_builder *b, int version, size_t block_size);
void block_builder_fini(struct block_builder *b);
/* V2: key of the last row, of this block or the one before; no bytes when there was none. */
static inline struct shale_slice block_builder_last_key(const struct block_builder *b)
{
    return slice_of_buf(&b->prev_key);
}
/*
 * How many leading bytes key shares with prev_key, which the functions below are told: who keeps the order of rows has
 * to compare with the last key anyway.
 */
static inline size_t block_builder_common(const struct block_builder *b, struct shale_slice key)
{
    return row_key_common(slice_of_buf(&b->prev_key), key);
}
/* Whether row may join (storage format section 2.8); an empty block takes any row. common: block_builder_common. */
bool block_builder_would_fit(const struct block_builder *b, const struct shale_row *row, size_t common);
/* 0 or -ENOMEM (nothing added). The caller has asked would_fit, checked sizes and keeps the order. */
int block_builder_add(struct block_builder *b, const struct shale_row *row, size_t common);
/* The payload, borrowed until reset, before which no row can be added. At least one row. 0 or -ENOMEM (no change). */
int block_builder_payload(struct block_builder *b, struct shale_slice *out);
/* Become empty. */
void block_builder_reset(struct block_builder *b);

/*
 * Walks one block. The payload is borrowed while the iterator is used; row keys point into the iterator and values
 * into the payload, both until the next call. Every length is checked: SHALE_ECORRUPT, never a bad access.
 * Not a struct iter: the SST iterator embeds it. Nothing checks that keys ascend: those of a WAL do not.
 */
struct block_iter {
    struct shale_slice payload;
    int version;
    enum iter_order order;
    size_t data_len;         /* bytes of rows */
    size_t n_offsets;
    size_t pos;              /* ascending: where the next row begins */
    struct shale_buf key;    /* key of the current row, or of the current group */
    struct shale_slice first; /* V1: first key of the block, in payload */
    struct shale_row ahead;  /* ascending: the row that a seek stopped at */
    bool has_ahead;
    /*
     * Descending: rows[lo, hi) are decoded and not done with, in the order of the block and at the end of the array, so
     * that an earlier stretch fits in front. [group, hi) has one key, given out from next_row on when group_ready.
     */
    struct row_parts *rows;
    size_t cap_rows, lo, hi, group, next_row;
    size_t next_offset;      /* stretches below this offset are still to come */
    bool group_ready;
    struct row_parts *stretch; /* one stretch while it is decoded */
    size_t cap_stretch;
};

/* Parses the envelope. it is filled in whatever the outcome, so that block_iter_fini may follow. 0; SHALE_ECORRUPT;
 * SHALE_EVERSION for a version that is not 1 or 2. */
int block_iter_init(struct block_iter *it, struct shale_slice payload, int version, enum iter_order order);
/* Use an initialised iterator for another block, keeping its memory. */
int block_iter_reset(struct block_iter *it, struct shale_slice payload, int version, enum iter_order order);
void block_iter_fini(struct block_iter *it);
/* 0 and a row; SHALE_END; SHALE_ECORRUPT; -ENOMEM. */
int block_iter_next(struct block_iter *it, struct shale_row *out);
/* Position so that next gives the first row at or after key (descending: the newest version of the first key at or
 * before it). May go anywhere in the block. */
int block_iter_seek(struct block_iter *it, struct shale_slice key);

#endif
