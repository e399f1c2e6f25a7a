/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_DIR_STAGE_H
#define OBJECT_DIR_STAGE_H

#include <shale/types.h>
#include <stdbool.h>

/*
 * How an object comes into a directory whole or not at all: it is written to a staged file beside its place, made
 * durable, and then given its name. A staged file is named NAME#DIGITS, the form of the object_store crate that SlateDB
 * uses, whose listing leaves such names out; ours does because '#' is in no object's name.
 *
 * Everything here returns 0 or the -errno of the system, without a sentence: the caller knows the object.
 */
struct staged {
    int dir; /* borrowed until the staged file ends */
    int fd;
    char name[256];
};

/* base: the name of the object in dir, at most STORE_SEGMENT_MAX bytes. */
int staged_create(int dir, const char *base, struct staged *out);
int staged_write(struct staged *st, struct shale_slice data);
/* Best effort: a file system without extended attributes keeps no put id. */
void staged_set_put_id(struct staged *st, const char *put_id);
/*
 * Make the staged file durable under its final name and end it, also when this fails. With if_absent exactly one of
 * several succeeds and the others get -EEXIST. A failure to make the directory durable leaves the object visible.
 * Which of the names is in the directory after a crash at each step is drawn in dir_stage.c.
 */
int staged_publish(struct staged *st, const char *base, bool if_absent, bool no_link);
void staged_abandon(struct staged *st);

/* Remove the staged files of dir that nobody wrote to for age_ms. The number removed. */
int staged_sweep(int dir, int64_t age_ms);

/*
 * Open the directory at path (len bytes, of plain segments) under root, making what is missing, and make each entry on
 * the way durable. Returns a descriptor.
 */
int dir_make(int root, const char *path, size_t len);

/* fsync of a directory, on file systems that know such a thing. */
int dir_sync(int fd);

#endif
