/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of objects, made and parsed in one place. Numbers have 20 digits so that the order of names,
 * which is the order of listings, is that of the ids (storage format 1.1). Parsing accepts what SlateDB
 * accepts, which is more than what is written: an object that SlateDB counts must be counted here, or
 * two writers would disagree on which is the newest.
 */

#include "object/paths.h"

#include "base/err.h"
#include "base/ulid.h"
#include "object/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const dir_names[] = {
    [PATH_MANIFEST] = "manifest",
    [PATH_COMPACTIONS] = "compactions",
    [PATH_WAL] = "wal",
    [PATH_COMPACTED] = "compacted",
};

static_assert(PATH_ROOT_MAX + sizeof("/compactions/") + 20 + sizeof(".compactions") <= PATH_NAME_MAX, "longest name");

int path_check_root(const char *root)
{
    size_t len = strlen(root);
    const char *why = len ? store_name_error(root, len) : NULL;

    if (len > PATH_ROOT_MAX)
        why = "is longer than 512 bytes";
    return why ? err_set(-EINVAL, "the path of the database, \"%.100s\", %s", root, why) : 0;
}

int path_dir(const char *root, enum path_kind kind, char out[PATH_NAME_MAX])
{
    int rc = path_check_root(root);

    if (rc == 0)
        snprintf(out, PATH_NAME_MAX, "%s%s%s/", root, *root ? "/" : "", dir_names[kind]);
    return rc;
}

static int path_numbered(const char *root, enum path_kind kind, uint64_t id, const char *suffix,
                         char out[PATH_NAME_MAX])
{
    int rc = path_check_root(root);

    if (rc == 0)
        snprintf(out, PATH_NAME_MAX, "%s%s%s/%020" PRIu64 ".%s", root, *root ? "/" : "", dir_names[kind], id, suffix);
    return rc;
}

int path_manifest(const char *root, uint64_t id, char out[PATH_NAME_MAX])
{
    return path_numbered(root, PATH_MANIFEST, id, "manifest", out);
}

int path_compactions(const char *root, uint64_t id, char out[PATH_NAME_MAX])
{
    return path_numbered(root, PATH_COMPACTIONS, id, "compactions", out);
}

int path_wal(const char *root, uint64_t id, char out[PATH_NAME_MAX])
{
    return path_numbered(root, PATH_WAL, id, "sst", out);
}

int path_sst(const char *root, struct shale_ulid id, char out[PATH_NAME_MAX])
{
    char text[SHALE_ULID_TEXT_LEN + 1];
    int rc = path_check_root(root);

    ulid_format(id, text);
    if (rc == 0)
        snprintf(out, PATH_NAME_MAX, "%s%scompacted/%s.sst", root, *root ? "/" : "", text);
    return rc;
}

/* What stands in name behind root/kind/, or NULL. */
static const char *inside(const char *root, enum path_kind kind, const char *name)
{
    size_t root_len = strlen(root), dir_len = strlen(dir_names[kind]);

    if (root_len > 0) {
        if (strncmp(name, root, root_len) != 0 || name[root_len] != '/')
            return NULL;
        name += root_len + 1;
    }
    if (strncmp(name, dir_names[kind], dir_len) != 0 || name[dir_len] != '/')
        return NULL;
    return name + dir_len + 1;
}

/* As Rust reads a u64: digits, at least one, a plus sign in front allowed, no overflow. */
static bool parse_u64(const char *text, size_t len, uint64_t *out)
{
    uint64_t v = 0;

    if (len > 1 && text[0] == '+') {
        text++;
        len--;
    }
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool path_parse_numbered(const char *root, enum path_kind kind, const char *name, uint64_t *id)
{
    const char *rest = inside(root, kind, name);
    const char *last_dot;

    if (!rest || kind == PATH_COMPACTED)
        return false;
    if (kind != PATH_WAL) {
        last_dot = strrchr(rest, '.');
        if (strchr(rest, '/') || !last_dot || strcmp(last_dot + 1, dir_names[kind]) != 0)
            return false;
    }
    return parse_u64(rest, strcspn(rest, "./"), id);
}

bool path_parse_ulid(const char *root, const char *name, struct shale_ulid *id)
{
    const char *rest = inside(root, PATH_COMPACTED, name);

    return rest && ulid_parse(rest, strcspn(rest, "./"), id) == 0;
}
