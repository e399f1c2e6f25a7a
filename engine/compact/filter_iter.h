/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_FILTER_ITER_H
#define COMPACT_FILTER_ITER_H

#include "format/iter.h"

#include <shale/options.h>

/*
 * Applies a compaction filter to every row of child (R261-R264). Takes over child (moved, also on failure). Creates
 * the filter at once and destroys it at close; its end is called once, before SHALE_END is first returned. An error
 * of any of its calls is returned as it is, under a sentence that names the filter. A value for a tombstone makes
 * it a value.
 */
int filter_iter_new(struct iter *child, const struct shale_compaction_filter *filter,
                    const struct shale_filter_context *context, struct iter **out);
/*
 * From where rows have to be read again when everything up to key after was written before; replaces from. Never
 * beyond after; after itself when the filter does not say.
 */
int filter_iter_resume_from(struct iter *it, struct shale_slice after, struct shale_buf *from);

#endif
