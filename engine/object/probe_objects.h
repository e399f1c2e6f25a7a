/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_PROBE_OBJECTS_H
#define OBJECT_PROBE_OBJECTS_H

#include "object/paths.h"

#include <shale/object_store.h>

/*
 * What a probe of a store writes, under names that nobody else has: PATH/probe-ULID-...; and what those left behind that
 * were killed.
 */

/* In the order of their names. */
enum probe_object { PROBE_RACED, PROBE_LONG_NAMED, PROBE_UPLOADED, PROBE_N_OBJECTS };

#define PROBE_STALE_MS 3600000 /* no probe lasts so long */
#define PROBE_STALE_MAX 32u    /* that are remembered */

struct probe_objects {
    struct shale_store *store; /* borrowed until the last call */
    struct shale_ulid id;
    char prefix[PATH_NAME_MAX]; /* of what any probe makes under the path */
    char names[PROBE_N_OBJECTS][PATH_NAME_MAX];
    char stale[PROBE_STALE_MAX][SHALE_ULID_TEXT_LEN + 1];
    size_t n_stale;
};

/* Chooses the names. -EINVAL with a sentence for a bad path. */
int probe_objects_init(struct probe_objects *o, struct shale_store *store, const char *path);
/* Which one it is; PROBE_N_OBJECTS: none. */
int probe_objects_find(const struct probe_objects *o, const char *name);
/* A name that begins with the prefix and is none of ours: remembered when it was left more than PROBE_STALE_MS ago. */
void probe_objects_note_stranger(struct probe_objects *o, const char *name);
/* All, whatever became of writing them; each once more after a failure. The first error that stays. */
int probe_objects_remove(struct probe_objects *o);
/* What was remembered. What fails, the next probe finds again. */
void probe_objects_remove_stale(struct probe_objects *o);

#endif
