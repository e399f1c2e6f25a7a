/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_PATHS_H
#define OBJECT_PATHS_H

#include <shale/types.h>
#include <stdbool.h>

/*
 * Names of a database's objects, made and read nowhere else. root is the path of the database in its store: "" or a
 * name (shale/object_store.h), at most PATH_ROOT_MAX bytes. Source: SlateDB 0.12.1, storage format section 1.
 *   <root>/manifest/<20 digits>.manifest           <root>/wal/<20 digits>.sst
 *   <root>/compactions/<20 digits>.compactions     <root>/compacted/<ULID>.sst
 */
#define PATH_ROOT_MAX 512
#define PATH_NAME_MAX 640

/* Directories of a database. */
enum path_kind {
    PATH_MANIFEST,
    PATH_COMPACTIONS,
    PATH_WAL,
    PATH_COMPACTED, /* the only one whose ids are ULIDs */
};

/*
 * 0 or -EINVAL with a sentence: root is no path of a database.
 * A root that passed once is known to fit into PATH_NAME_MAX with everything behind it.
 */
int path_check_root(const char *root);

/* Each: 0, or -EINVAL for a bad root. */
int path_manifest(const char *root, uint64_t id, char out[PATH_NAME_MAX]);
int path_compactions(const char *root, uint64_t id, char out[PATH_NAME_MAX]);
int path_wal(const char *root, uint64_t id, char out[PATH_NAME_MAX]);
int path_sst(const char *root, struct shale_ulid id, char out[PATH_NAME_MAX]);

/* "root/manifest/" and the like: the prefix to list. */
int path_dir(const char *root, enum path_kind kind, char out[PATH_NAME_MAX]);

/*
 * The id in a name as a listing gives it; false when the name is none of that kind. Accepted is what SlateDB accepts:
 *   manifest, compactions: a name right in the directory, the directory's name behind the last dot, a decimal u64
 *     before the first;
 *   wal, compacted: the first component in the directory, a decimal u64 or a ULID before the first dot.
 */
bool path_parse_numbered(const char *root, enum path_kind kind, const char *name, uint64_t *id);
bool path_parse_ulid(const char *root, const char *name, struct shale_ulid *id);

#endif
