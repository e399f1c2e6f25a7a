/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_TRANSFORM_ITER_H
#define DB_TRANSFORM_ITER_H

#include "format/iter.h"

#include <shale/hooks.h>

/*
 * The application's flush transform as the top of the stack of iterators of a flush. Takes over child (moved, also on
 * failure); SHALE_EHOOK. Creates the transform, which close destroys; its end is called once, before the first SHALE_END.
 * Cannot seek.
 */
int transform_iter_new(struct iter *child, const struct shale_flush_transform *hook, struct iter **out);

#endif
