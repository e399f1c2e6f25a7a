/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SST_COLLECT_H
#define SST_SST_COLLECT_H

#include "sst/sst_section.h"

/* A property collector at work on one SST. All zero is one that collects nothing; one thread. */
struct sst_collect {
    const struct shale_property_collector *hook; /* borrowed; NULL: none */
    void *state;                                 /* the application's; owned */
};

/* hook may be NULL. 0 or SHALE_EHOOK. */
int sst_collect_begin(struct sst_collect *c, const struct shale_property_collector *hook, enum shale_sst_kind kind);
int sst_collect_row(struct sst_collect *c, const struct shale_row *row);

static inline int sst_collect_add(struct sst_collect *c, const struct shale_row *row)
{
    return c->hook ? sst_collect_row(c, row) : 0;
}

/* The blob replaces blob, or SHALE_END when there is none; or SHALE_EHOOK. */
int sst_collect_end(struct sst_collect *c, struct shale_buf *blob);
void sst_collect_fini(struct sst_collect *c);

/* Append a blob as it is stored (format/properties.h). scratch is overwritten. As section_encode, and -E2BIG. */
int properties_encode(struct shale_slice blob, const struct section_form *form, struct shale_buf *scratch,
                      struct shale_buf *out);

#endif
