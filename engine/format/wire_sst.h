/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_WIRE_SST_H
#define FORMAT_WIRE_SST_H

#include "format/flatbuf.h"
#include "format/manifest_codec.h"

/* Tables of SSTs, shared by manifest and compactions objects. Errors as in wire.h. */

/*
 * CompactedSsTable and CompactedSsTableV2, which differ in the slot of the block version. The handle is new. Refused,
 * as in SlateDB: no or an empty first key, an empty last key, a descending range; versions other than 1 and 2.
 */
#define WIRE_SST_SLOT_VERSION 3
#define WIRE_SST_V2_SLOT_VERSION 2
int wire_get_sst(struct fb_reader *r, const struct fb_table *t, unsigned version_slot, struct sst_handle **out);
/* CompactedSsTable; range 0: none. */
fb_ref wire_put_sst(struct fb_builder *b, const struct sst_handle *h, const struct sst_view *range);

/* BytesRange of a view whose SST is known: well-formed, not empty, overlapping the keys of the SST. */
int wire_get_range(struct fb_reader *r, const struct fb_table *t, struct sst_view *v);

#endif
