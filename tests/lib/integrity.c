/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/integrity.h"

#include "lib/check.h"

#include "base/buf.h"
#include "base/ulid.h"
#include "manifest/manifest_store.h"
#include "object/paths.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static void must(int rc, const char *what)
{
    if (rc != 0)
        fail_msg("%s: %d (%s), %s", what, rc, shale_strerror(rc), shale_errmsg());
}

static void check_object(struct shale_store *s, const char *name, const char *root, uint64_t version)
{
    struct shale_object_meta meta;

    if (shale_store_head(s, name, &meta) != 0)
        fail_msg("manifest %" PRIu64 " of '%s' refers to %s, which is missing", version, root, name);
}

static const char *owner_of(const struct manifest *m, const char *root, struct shale_ulid id)
{
    for (size_t i = 0; i < m->n_externals; i++)
        for (size_t k = 0; k < m->externals[i].n_ssts; k++)
            if (ulid_eq(m->externals[i].ssts[k], id))
                return m->externals[i].path;
    return root;
}

static void check_views(struct shale_store *s, const char *root, const struct manifest_version *v,
                        const struct sst_view *views, size_t n)
{
    char name[PATH_NAME_MAX];

    for (size_t i = 0; i < n; i++) {
        must(path_sst(owner_of(&v->m, root, views[i].sst->id), views[i].sst->id, name), "name");
        check_object(s, name, root, v->id);
    }
}

static void check_version(struct shale_store *s, const char *root, const struct manifest_version *v)
{
    char name[PATH_NAME_MAX];

    check_views(s, root, v, v->m.l0, v->m.n_l0);
    for (size_t i = 0; i < v->m.n_runs; i++)
        check_views(s, root, v, v->m.runs[i].ssts, v->m.runs[i].n);
    for (uint64_t id = v->m.replay_after_wal_id; id < v->m.wal_id_last_seen; id++) {
        must(path_wal(root, id + 1, name), "name");
        check_object(s, name, root, v->id);
    }
}

void check_integrity(struct shale_store *s, const char *root)
{
    struct manifest_version *v = NULL, *old = NULL;
    struct manifest_store *ms = NULL;

    must(manifest_store_new(s, root, 1000, &ms), "manifest store");
    must(manifest_store_load_latest(ms, &v), "newest manifest");
    check_version(s, root, v);
    for (size_t i = 0; i < v->m.n_checkpoints; i++) {
        must(manifest_store_read(ms, v->m.checkpoints[i].manifest_id, &old), "manifest of a checkpoint");
        check_version(s, root, old);
        manifest_version_unref(old);
    }
    manifest_version_unref(v);
    manifest_store_free(ms);
}

static int count_fn(void *arg, const struct shale_checkpoint *c)
{
    (void)c;
    ++*(size_t *)arg;
    return 0;
}

size_t count_checkpoints(struct shale_store *s, const char *root)
{
    size_t n = 0;

    must(shale_checkpoint_list(s, root, NULL, NULL, count_fn, &n), "checkpoints");
    return n;
}

static int name_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    return buf_printf(arg, "%s\n", name);
}

char *object_names(struct shale_store *s, const char *prefix)
{
    struct shale_buf b = SHALE_BUF_INIT;

    must(buf_printf(&b, "%s", ""), "memory");
    must(shale_store_list(s, prefix, NULL, name_fn, &b), "listing");
    return (char *)buf_take(&b);
}

struct copy_arg {
    struct shale_store *from, *to;
};

static int copy_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct copy_arg *a = arg;
    struct shale_buf data = SHALE_BUF_INIT;

    (void)meta;
    must(shale_store_get(a->from, name, &data), "copying");
    must(shale_store_put(a->to, name, slice_of_buf(&data), SHALE_PUT_OVERWRITE), "copying");
    shale_buf_fini(&data);
    return 0;
}

struct shale_store *copy_store(struct shale_store *from)
{
    struct copy_arg a = { .from = from };

    must(shale_store_memory(&a.to), "memory store");
    must(shale_store_list(from, "", NULL, copy_fn, &a), "copying");
    return a.to;
}
