/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains of numbered objects, the greatest of which counts: manifests and lists of compactions
 * (storage format 1.5). Creating the next number if absent is the only compare-and-swap there is.
 * Names that do not parse are not part of the chain.
 */

#include "manifest/numbered.h"

static int name_of(const struct numbered *n, uint64_t id, char out[PATH_NAME_MAX])
{
    return n->kind == PATH_MANIFEST ? path_manifest(n->root, id, out) : path_compactions(n->root, id, out);
}

struct last_arg {
    const struct numbered *n;
    uint64_t id;
    int64_t mtime_ms;
};

static int last_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct last_arg *a = arg;
    uint64_t id;

    if (path_parse_numbered(a->n->root, a->n->kind, name, &id) && id > a->id) {
        a->id = id;
        a->mtime_ms = meta->mtime_ms;
    }
    return 0;
}

/*
 * A listing of the whole directory, which the collector keeps short. mtime is the store's, so two
 * of them may be compared. A listing has no checksum: the name of the only object may have been spoilt, so that there
 * is none has to be said twice. Where there are several, the chain is followed from the one found.
 */
int numbered_last(const struct numbered *n, uint64_t *id, int64_t *mtime_ms)
{
    struct last_arg a = { .n = n };
    char prefix[PATH_NAME_MAX];
    int rc = path_dir(n->root, n->kind, prefix);

    for (int i = 0; rc == 0 && a.id == 0 && i < 2; i++)
        rc = shale_store_list(n->store, prefix, NULL, last_fn, &a);
    if (rc < 0)
        return rc;
    *id = a.id;
    if (mtime_ms)
        *mtime_ms = a.mtime_ms;
    return 0;
}

int numbered_get(const struct numbered *n, uint64_t id, struct shale_buf *out)
{
    char name[PATH_NAME_MAX];
    int rc = name_of(n, id, name);

    return rc < 0 ? rc : shale_store_get(n->store, name, out);
}

int numbered_head(const struct numbered *n, uint64_t id, struct shale_object_meta *out)
{
    char name[PATH_NAME_MAX];
    int rc = name_of(n, id, name);

    return rc < 0 ? rc : shale_store_head(n->store, name, out);
}

int numbered_put(const struct numbered *n, uint64_t id, struct shale_slice data)
{
    char name[PATH_NAME_MAX];
    int rc = name_of(n, id, name);

    return rc < 0 ? rc : shale_store_put(n->store, name, data, SHALE_PUT_IF_ABSENT);
}
