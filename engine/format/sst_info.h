/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_SST_INFO_H
#define FORMAT_SST_INFO_H

#include "base/buf.h"

#include <shale/options.h>
#include <stdbool.h>

/* Info, index and stats of an SST, and its trailer (storage format sections 2.4-2.7, 5.3). */

#define SST_TRAILER_LEN 10
#define SST_VERSION_MAX 2

enum sst_type { SST_COMPACTED = 0, SST_WAL = 1 };

/* The info section, of which a manifest keeps a copy. first/last: owned. */
struct sst_info {
    struct shale_buf first;  /* first key (compacted) or first sequence number, 8 bytes (WAL) */
    struct shale_buf last;   /* last key */
    bool has_first, has_last;
    uint64_t index_offset, index_len;
    uint64_t filter_offset, filter_len; /* filter_offset is the end of the data blocks, filter or not */
    uint64_t stats_offset, stats_len;   /* 0 and 0: none */
    enum shale_codec codec;
    enum sst_type type;
    uint8_t filter_format;
};

void sst_info_fini(struct sst_info *i); /* all zero is empty */
int sst_info_copy(struct sst_info *to, const struct sst_info *from);

/* Append the bare FlatBuffer / read one (verified). Unknown codecs: SHALE_EVERSION; malformed: SHALE_ECORRUPT. */
int sst_info_encode(const struct sst_info *i, struct shale_buf *out);
int sst_info_decode(struct shale_slice in, struct sst_info *out);

/* One entry for each data block, in file order. */
struct sst_index {
    size_t n;
    uint64_t *offsets;
    struct shale_slice *first_keys; /* separators, section 2.5; borrowed from the encoded form */
    uint64_t *heads; /* but for the first separator: 8 bytes behind skip, so that a search stays in few cache lines */
    size_t skip;     /* leading bytes that all separators but the first share */
};

void sst_index_fini(struct sst_index *x);
/*
 * Read an index payload, which the result borrows. Checks that offsets ascend strictly from 0 and lie below
 * data_end, that keys do not descend, and that a non-empty index has bytes to point at.
 */
int sst_index_decode(struct shale_slice in, uint64_t data_end, struct sst_index *out);

/*
 * The number of blocks whose separator is below key, or also at it. Separators need not be keys: a separator s of a
 * block says p <= s <= f for the last key p before and the first key f of the block.
 */
size_t sst_index_count_below(const struct sst_index *x, struct shale_slice key, bool or_equal);

struct sst_index_builder {
    uint64_t *offsets;
    size_t *key_ends; /* keys lie one behind the other in keys */
    size_t n, cap_offsets, cap_ends;
    struct shale_buf keys;
};

void sst_index_builder_fini(struct sst_index_builder *b);
int sst_index_builder_add(struct sst_index_builder *b, uint64_t offset, struct shale_slice first_key);
int sst_index_builder_finish(const struct sst_index_builder *b, struct shale_buf *out);

/*
 * The shortest separator between the last key of a block and the first of the next, which share common bytes: the
 * shortest prefix of next (borrowed) that is greater than the last key; next itself when both are the same key, whose
 * versions then span the two blocks.
 */
static inline struct shale_slice sst_index_separator(size_t common, struct shale_slice next)
{
    return slice_of(next.data, common < next.len ? common + 1 : next.len);
}

struct sst_block_stats {
    uint16_t puts, deletes, merges;
};

/*
 * Sums over all rows, old versions and tombstones included; blocks holds the same for each block,
 * in file order.
 */
struct sst_stats {
    uint64_t puts, deletes, merges, raw_key_bytes, raw_value_bytes;
    struct sst_block_stats *blocks;
    size_t n_blocks, cap_blocks;
};

void sst_stats_fini(struct sst_stats *s);
int sst_stats_encode(const struct sst_stats *s, struct shale_buf *out);
int sst_stats_decode(struct shale_slice in, struct sst_stats *out);

struct sst_trailer {
    uint64_t info_offset;
    uint16_t version;
};

void sst_trailer_encode(const struct sst_trailer *t, uint8_t out[SST_TRAILER_LEN]);
/* object_len bounds the info section. SHALE_ECORRUPT; SHALE_EVERSION. */
int sst_trailer_decode(const uint8_t in[SST_TRAILER_LEN], uint64_t object_len, struct sst_trailer *out);

#endif
