/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_WIRE_H
#define FORMAT_WIRE_H

#include "base/ulid.h"
#include "format/flatbuf.h"
#include "format/sst_info.h"

/*
 * Tables that several objects share (storage format section 5.3). Readers leave their error in the reader as well as
 * returning it; what they filled is the caller's to free either way. Writers leave it in the builder.
 */

struct shale_ulid wire_get_ulid(struct fb_reader *r, const struct fb_table *t);
fb_ref wire_put_ulid(struct fb_builder *b, struct shale_ulid id);
/* Uuid has the same shape. */
struct shale_uuid wire_get_uuid(struct fb_reader *r, const struct fb_table *t);
fb_ref wire_put_uuid(struct fb_builder *b, struct shale_uuid id);

/* [Ulid]. Reading gives an owned array, NULL when empty. scratch holds n references. */
int wire_get_ulids(struct fb_reader *r, const struct fb_vector *v, struct shale_ulid **out, size_t *n);
fb_ref wire_put_ulids(struct fb_builder *b, const struct shale_ulid *ids, size_t n);

int wire_get_info(struct fb_reader *r, const struct fb_table *t, struct sst_info *out);
fb_ref wire_put_info(struct fb_builder *b, const struct sst_info *i);

/* An array of n references, freed with mem_free; NULL and the builder's error when out of memory. */
fb_ref *wire_refs(struct fb_builder *b, size_t n);

#endif
