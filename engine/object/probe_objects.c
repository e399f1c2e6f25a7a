/* SPDX-License-Identifier: Apache-2.0 */
#include "object/probe_objects.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/ulid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const suffixes[PROBE_N_OBJECTS] = {
    [PROBE_RACED] = "-1",
    [PROBE_LONG_NAMED] = "-2-00000000000000000001.probe", /* in all longer than compactions/<20 digits>.compactions */
    [PROBE_UPLOADED] = "-3",
};

static int name_objects(const struct probe_objects *o, const char *id, char names[PROBE_N_OBJECTS][PATH_NAME_MAX])
{
    for (int i = 0; i < PROBE_N_OBJECTS; i++)
        if (snprintf(names[i], PATH_NAME_MAX, "%s%s%s", o->prefix, id, suffixes[i]) >= PATH_NAME_MAX)
            return err_set(-EINVAL, "the path of the database is too long");
    return 0;
}

int probe_objects_init(struct probe_objects *o, struct shale_store *store, const char *path)
{
    char id[SHALE_ULID_TEXT_LEN + 1];
    int rc = path_check_root(path);

    if (rc < 0)
        return rc;
    o->store = store;
    o->id = ulid_new(clock_wall_ms(), NULL);
    o->n_stale = 0;
    ulid_format(o->id, id);
    snprintf(o->prefix, sizeof(o->prefix), "%s%sprobe-", path, path[0] ? "/" : "");
    return name_objects(o, id, o->names);
}

int probe_objects_find(const struct probe_objects *o, const char *name)
{
    int i = 0;

    while (i < PROBE_N_OBJECTS && strcmp(name, o->names[i]) != 0)
        i++;
    return i;
}

void probe_objects_note_stranger(struct probe_objects *o, const char *name)
{
    const char *text = name + strlen(o->prefix);
    struct shale_ulid id;

    if (strlen(text) < SHALE_ULID_TEXT_LEN || ulid_parse(text, SHALE_ULID_TEXT_LEN, &id) < 0 ||
        ulid_time_ms(id) > ulid_time_ms(o->id) - PROBE_STALE_MS || o->n_stale == PROBE_STALE_MAX)
        return;
    ulid_format(id, o->stale[o->n_stale]);
    if (o->n_stale == 0 || strcmp(o->stale[o->n_stale - 1], o->stale[o->n_stale]) != 0)
        o->n_stale++;
}

static int remove_named(struct shale_store *store, char names[PROBE_N_OBJECTS][PATH_NAME_MAX])
{
    const char *list[PROBE_N_OBJECTS];
    int rc;

    for (int i = 0; i < PROBE_N_OBJECTS; i++)
        list[i] = names[i];
    rc = shale_store_delete_many(store, list, PROBE_N_OBJECTS);
    if (rc == 0)
        return 0;
    rc = 0;
    for (int i = 0; i < PROBE_N_OBJECTS; i++) {
        int one = shale_store_delete(store, list[i]);

        rc = rc ? rc : one;
    }
    return rc;
}

int probe_objects_remove(struct probe_objects *o)
{
    return remove_named(o->store, o->names);
}

void probe_objects_remove_stale(struct probe_objects *o)
{
    char names[PROBE_N_OBJECTS][PATH_NAME_MAX];

    for (size_t i = 0; i < o->n_stale; i++)
        if (name_objects(o, o->stale[i], names) == 0)
            (void)remove_named(o->store, names);
}
