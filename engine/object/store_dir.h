/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_STORE_DIR_H
#define OBJECT_STORE_DIR_H

#include <shale/object_store.h>

/*
 * A directory as a store: an object is a file, its name the path under the root. How writes get there whole is in
 * dir_stage.h. Compatible with what the object_store crate (LocalFileSystem) reads and writes.
 */

/* A staged file that nobody wrote to for so long belonged to a process that died. */
#define STORE_DIR_STALE_MS (3600 * 1000)

/*
 * Remove staged files that nobody wrote to for age_ms, in the directory of the store where objects called
 * dir/... lie ("" for the top). A store does this by itself with STORE_DIR_STALE_MS when it first writes
 * into a directory. The number removed, or an error; 0 when there is no such directory.
 */
int store_dir_sweep(struct shale_store *s, const char *dir, int64_t age_ms);

/* For tests, before other threads use the store. */
struct store_dir_knobs {
    size_t list_window; /* names of one directory held in memory while listing; 0: as it is */
    bool no_link;       /* behave as where there are no hard links */
};
void store_dir_tune(struct shale_store *s, const struct store_dir_knobs *knobs);

#endif
