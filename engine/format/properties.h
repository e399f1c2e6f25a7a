/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_PROPERTIES_H
#define FORMAT_PROPERTIES_H

#include "base/buf.h"

/*
 * Properties of an SST: bytes of the application, stored where SlateDB 0.12.1 never looks, between the last section and
 * the info section. No offset points at them; they are found from the info's offset backwards:
 *
 *   ... stats | stored form | u32be its length | u32be CRC-32 of both | magic, 8 bytes | info | trailer
 *
 * The stored form is compressed and transformed as the sections of the SST are.
 */
#define PROPERTIES_TRAILER_LEN 16
/* Longest stored form; a gap that is longer is none of ours. Leaves room for what codecs and transformers add. */
#define PROPERTIES_STORED_MAX ((size_t)17 << 20)

/* Append the trailer of the stored form that begins at start. 0, -ENOMEM, or -E2BIG. */
int properties_seal(struct shale_buf *out, size_t start);

/*
 * gap: all that lies between sections and info. 1 and *stored, which borrows from it; 0 when there are no properties,
 * whatever else lies there; SHALE_ECORRUPT with a sentence when there were some. Length, checksum and magic tell: if all
 * agree these are properties, if only one or two the rest is damaged (chance has the magic, or length and checksum, agree
 * once in 2^64).
 */
int properties_find(struct shale_slice gap, struct shale_slice *stored);

#endif
