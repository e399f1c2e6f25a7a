/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/integrity.h"

#include "lib/check.h"

#include "base/buf.h"
#include "base/ulid.h"
#include "manifest/manifest_store.h"
#include "object/paths.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Names that are needed, one a line. */
static void need(struct shale_buf *needed, const char *name)
{
    must(buf_printf(needed, "\n%s\n", name), "memory");
}

static void need_views(struct shale_buf *needed, const char *root, const struct sst_view *views, size_t n)
{
    char name[PATH_NAME_MAX];

    for (size_t i = 0; i < n; i++) {
        must(path_sst(root, views[i].sst->id, name), "name");
        need(needed, name);
    }
}

static void need_version(struct shale_buf *needed, const char *root, const struct manifest_version *v)
{
    char name[PATH_NAME_MAX];

    must(path_manifest(root, v->id, name), "name");
    need(needed, name);
    need_views(needed, root, v->m.l0, v->m.n_l0);
    for (size_t i = 0; i < v->m.n_runs; i++)
        need_views(needed, root, v->m.runs[i].ssts, v->m.runs[i].n);
    for (uint64_t id = v->m.replay_after_wal_id + 1; id <= v->m.wal_id_last_seen; id++) {
        must(path_wal(root, id, name), "name");
        need(needed, name);
    }
}

struct orphans {
    const char *root;
    const struct shale_buf *needed;
    uint64_t replay_after, last_list;
};

static int orphan_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    const struct orphans *o = arg;
    char line[PATH_NAME_MAX + 2];
    uint64_t id;

    (void)meta;
    snprintf(line, sizeof(line), "\n%s\n", name);
    if (strstr((const char *)o->needed->data, line))
        return 0;
    /* The object at the replay point stays (R316), and what is behind it, whether the manifest knows of it or not. */
    if (path_parse_numbered(o->root, PATH_WAL, name, &id) && id >= o->replay_after)
        return 0;
    if (path_parse_numbered(o->root, PATH_COMPACTIONS, name, &id) && id == o->last_list)
        return 0;
    fail_msg("nothing needs %s", name);
    return 0;
}

static int newest_list_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct orphans *o = arg;
    uint64_t id;

    (void)meta;
    if (path_parse_numbered(o->root, PATH_COMPACTIONS, name, &id) && id > o->last_list)
        o->last_list = id;
    return 0;
}

void check_no_orphans(struct shale_store *s, const char *root)
{
    struct manifest_version *v = NULL, *old = NULL;
    struct shale_buf needed = SHALE_BUF_INIT;
    struct manifest_store *ms = NULL;
    struct orphans o = { .root = root, .needed = &needed };
    char prefix[PATH_NAME_MAX];

    must(manifest_store_new(s, root, 1000, &ms), "manifest store");
    must(manifest_store_load_latest(ms, &v), "newest manifest");
    need_version(&needed, root, v);
    for (size_t i = 0; i < v->m.n_checkpoints; i++) {
        must(manifest_store_read(ms, v->m.checkpoints[i].manifest_id, &old), "manifest of a checkpoint");
        need_version(&needed, root, old);
        manifest_version_unref(old);
    }
    o.replay_after = v->m.replay_after_wal_id;
    snprintf(prefix, sizeof(prefix), "%s/", root);
    must(shale_store_list(s, prefix, NULL, newest_list_fn, &o), "listing");
    must(shale_store_list(s, prefix, NULL, orphan_fn, &o), "listing");
    shale_buf_fini(&needed);
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
