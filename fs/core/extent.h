/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_EXTENT_H
#define FS_CORE_EXTENT_H

#include <shale/options.h>
#include <shale/types.h>
#include <stdbool.h>

/*
 * What a chunk of file data consists of: extents in order of offset that do not overlap, and gaps, which read as zeros.
 * The value of a chunk and an operand laid over it have the same form; only an operand says "hole here", which a value
 * need not, so that a folded operand without anything below reads as a value.
 *
 *   [u8 1] then for each extent [gap since the end of the one before][length][u8 kind] and by kind:
 *     0 inline       length bytes
 *     1 hole         nothing
 *     2 frame        [u64be hi][u64be lo] of the segment, then as 3
 *     3 frame of the same segment as the frame before in this list
 *                    [offset][stored_len][raw_len][skip][u8 codec][u32be crc32]
 * Integers are varints in shortest form (fs/core/wire.h). Neighbours that can be one extent are one.
 */
enum extent_kind { EXTENT_INLINE = 0, EXTENT_HOLE = 1, EXTENT_FRAME = 2 };

#define EXTENT_END_MAX (1u << 30)     /* no chunk is longer */
#define EXTENT_FRAME_RAW_MAX (1u << 20)
#define EXTENT_FRAME_STORED_MAX (EXTENT_FRAME_RAW_MAX + 4096u) /* raw bytes, and what a codec or cipher adds */

/* Where a frame lies and how it is stored. */
struct extent_frame {
    struct shale_ulid segment;
    uint64_t offset;     /* in the segment object */
    uint32_t stored_len; /* bytes there, of which crc32 is */
    uint32_t raw_len;    /* bytes of file data it becomes */
    uint32_t crc32;
    enum shale_codec codec;
};

struct extent {
    uint32_t offset, length; /* in the chunk; length is not 0 */
    enum extent_kind kind;
    uint32_t skip;           /* frames: bytes of the raw frame in front of those meant */
    union {
        const uint8_t *data; /* inline: length bytes, borrowed from where the extent came from */
        struct extent_frame frame;
    } u;
};

/* Start from EXTENT_LIST_INIT. Inline bytes are borrowed by each extent. */
struct extent_list {
    struct extent *v;
    size_t n, cap;
};

#define EXTENT_LIST_INIT { NULL, 0, 0 }

void extent_list_fini(struct extent_list *l);
static inline void extent_list_clear(struct extent_list *l)
{
    l->n = 0;
}

/* Append behind the last extent. 0; -EINVAL when it does not lie behind it or is not valid; -ENOMEM. */
int extent_list_add(struct extent_list *l, const struct extent *e);
int extent_list_add_inline(struct extent_list *l, uint32_t offset, const void *data, uint32_t length);
int extent_list_add_hole(struct extent_list *l, uint32_t offset, uint32_t length);

/* The part of e that lies in from..to-1; false when there is none. The frame stays whole: skip and length change. */
bool extent_trim(struct extent *e, uint32_t from, uint32_t to);

enum extent_form { EXTENT_OPERAND, EXTENT_VALUE /* holes are left out */ };

/* Append the encoding; neighbours are joined, bytes copied once. 0 or -ENOMEM. */
int extent_list_encode(const struct extent_list *l, enum extent_form form, struct shale_buf *out);
/* The extents replace those of l; inline bytes are borrowed from value. SHALE_ECORRUPT (l is then empty) or -ENOMEM. */
int extent_list_decode(struct shale_slice value, struct extent_list *l);

/* out, which is neither of them, becomes upper laid over lower, with the holes of both. 0 or -ENOMEM. */
int extent_overlay(const struct extent_list *lower, const struct extent_list *upper, struct extent_list *out);

/*
 * Append to out the operands (oldest first) laid over existing: a value, or without existing (NULL) an operand. Time is
 * O(e log n) for e extents in n operands, and each byte that remains is copied once. SHALE_ECORRUPT; -ENOMEM.
 */
int extent_fold(const struct shale_slice *existing, const struct shale_slice *operands, size_t n,
                struct shale_buf *out);

/* Told of the part of a frame that a read wants, and where its bytes go. Not 0 ends the read, which returns it. */
typedef int (*extent_frame_fn)(void *arg, const struct extent *part, uint8_t *dst);

/*
 * Fill dst with the len bytes from offset of a chunk: inline bytes and zeros here, the places of frames are left to fn.
 */
int extent_list_read(const struct extent_list *l, uint32_t offset, uint8_t *dst, uint32_t len, extent_frame_fn fn,
                     void *arg);
/* The same from an encoded value. SHALE_ECORRUPT, before fn was called; -ENOMEM. */
int extent_read(struct shale_slice value, uint32_t offset, uint8_t *dst, uint32_t len, extent_frame_fn fn, void *arg);

/* Bytes of data (no holes, no gaps) that lie in from..to-1; 0 and UINT32_MAX for all. */
uint64_t extent_data_bytes(const struct extent_list *l, uint32_t from, uint32_t to);

#endif
