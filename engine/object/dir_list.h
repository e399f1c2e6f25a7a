/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_DIR_LIST_H
#define OBJECT_DIR_LIST_H

#include <shale/object_store.h>

/*
 * The objects under the directory root, as shale_store_list. At most window names of each directory on the way are in
 * memory; a larger directory is read several times, each time for the next window names in order.
 * Returns what fn returned, or 0, or the -errno of the system; *from_fn says which.
 */
int dir_list(int root, size_t window, const char *prefix, const char *start_after, shale_list_fn fn, void *arg,
             bool *from_fn);

#endif
