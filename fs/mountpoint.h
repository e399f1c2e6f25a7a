/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_MOUNTPOINT_H
#define FS_MOUNTPOINT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * May the directory be mounted on? *out is its absolute path, owned by the caller. Refused, with a sentence: missing,
 * not a directory, not empty (unless nonempty), a mount point already, or what is left of a mount whose process has
 * gone.
 */
int mountpoint_check(const char *dir, bool nonempty, char **out);

/* A mounted volume. Strings are owned. */
struct mountpoint {
    char *dir;
    char *source;
    bool dead; /* its process has gone */
};

/*
 * The shalefs mount on dir, or (inside) the one that dir lies in. -ENOENT with a sentence when there is none.
 */
int mountpoint_find(const char *dir, bool inside, struct mountpoint *out);
void mountpoint_fini(struct mountpoint *m);

/*
 * Up to three processes that keep the mount busy, as "bash (1234), vim (1300)"; "" when none can be seen.
 */
void mountpoint_users(const char *dir, char *out, size_t size);

#endif
