/* SPDX-License-Identifier: Apache-2.0 */
#include "db/admin.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/reread.h"
#include "manifest/checkpoint.h"
#include "object/paths.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * How a clone comes to be (R276, storage format section 8.5). Each step is stored before the next begins and is
 * recognised when it is met again, so whoever comes after a crash goes on:
 *
 *   stored                                     what protects the borrowed SSTs and the WAL objects
 *   a checkpoint on the parent (source)        itself, for 300 s when nobody gave one
 *   the clone's manifest, not initialised      the same; it says which final checkpoints are to be
 *   final checkpoints, one on each lender      these, for ever
 *   copies of the WAL objects
 *   the clone's manifest, initialised
 *
 * When the source has gone before the final checkpoints are there, nothing was kept: the clone's manifest is
 * written anew, from the parent of now. SlateDB 0.12.1 stays stuck there.
 */
#define SOURCE_LIFETIME_MS 300000
#define ATTEMPTS_MAX 16
#define AGAIN 1 /* outcome of a step: what it relied on has changed, look from the beginning */

struct clone {
    const char *path, *parent;
    const struct shale_uuid *checkpoint; /* NULL: none given */
    const struct shale_admin_options *a;
    struct shale_store *store; /* that was given */
    struct admin self, from;
    bool begun_anew;
};

static int check_paths(const char *path, const char *parent)
{
    int rc = path_check_root(path);

    if (rc == 0)
        rc = path_check_root(parent);
    if (rc == 0 && strcmp(path, parent) == 0)
        rc = err_set(-EINVAL, "a clone of '%s' needs another path than that", parent);
    return rc;
}

static int lost(const char *path, struct shale_uuid id, const char *what)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    return err_set(-ENOENT, "%s %s of '%s' no longer exists", what, text, path);
}

static int check_wal_store(const struct clone *c, const struct manifest *m)
{
    bool given = c->a && c->a->wal_store;

    if (!m->wal_store_uri == !given)
        return 0;
    return err_set(-EINVAL, "the database '%s' has %s store for WAL objects, and %s was given", c->parent,
                   m->wal_store_uri ? "its own" : "no", given ? "one" : "none");
}

/* ---- what the clone begins with ---- */

static int temporary_source(const struct clone *c, struct manifest_version **base, struct shale_uuid *source)
{
    const struct shale_checkpoint_options lifetime = { .has_lifetime = true, .lifetime_ms = SOURCE_LIFETIME_MS };
    struct manifest_version *v = NULL;
    struct checkpoint_request r;
    uint64_t id;
    int rc;

    checkpoint_request_init(&r, &lifetime, c->from.now_ms);
    *source = r.id;
    rc = checkpoint_store_add(c->from.manifests, EPOCH_NONE, &r, &id, &v);
    if (rc == 0 && v->id == id) {
        *base = v;
        return 0;
    }
    manifest_version_unref(v);
    return rc < 0 ? rc : manifest_store_read(c->from.manifests, id, base); /* a newer one is there already */
}

/* The parent's state to begin with, and the checkpoint that keeps it. */
static int find_base(const struct clone *c, struct manifest_version **base, struct shale_uuid *source)
{
    struct manifest_version *latest = NULL;
    const struct checkpoint *found;
    int rc = manifest_store_load_latest(c->from.manifests, &latest);

    if (rc < 0)
        return rc;
    if (!latest->m.initialized) {
        rc = err_set(SHALE_EINITIALIZED, "the database '%s' is a clone that was never finished", c->parent);
    } else if ((rc = check_wal_store(c, &latest->m)) < 0) {
        ; /* said */
    } else if (c->checkpoint) {
        found = checkpoint_find(&latest->m, *c->checkpoint);
        *source = *c->checkpoint;
        rc = found ? manifest_store_read(c->from.manifests, found->manifest_id, base)
                   : lost(c->parent, *c->checkpoint, "checkpoint");
    } else {
        rc = temporary_source(c, base, source);
    }
    manifest_version_unref(latest);
    return rc;
}

static int add_external(struct manifest *m, const char *path, struct shale_uuid source)
{
    int rc = vec_reserve(&m->externals, &m->cap_externals, m->n_externals + 1, sizeof(m->externals[0]));
    char *copy = rc == 0 ? mem_strdup(path) : NULL;

    if (!copy)
        return -ENOMEM;
    m->externals[m->n_externals++] = (struct external_db){ .path = copy, .source_checkpoint = source, .has_final = true,
                                                           .final_checkpoint = uuid_new(NULL) };
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    return ulid_cmp(*(const struct shale_ulid *)a, *(const struct shale_ulid *)b);
}

/* Whether one of the first n external databases holds it. */
static bool is_external(const struct manifest *m, size_t n, struct shale_ulid id)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m->externals[i].n_ssts; k++)
            if (ulid_eq(m->externals[i].ssts[k], id))
                return true;
    return false;
}

/* The SSTs of m that lie under the parent's own root. */
static void collect_ssts(const struct manifest *m, size_t n_externals, struct shale_ulid *ids, size_t *n)
{
    size_t kept = 0;

    *n = 0;
    for (size_t i = 0; i < m->n_l0; i++)
        ids[(*n)++] = m->l0[i].sst->id;
    for (size_t i = 0; i < m->n_runs; i++)
        for (size_t k = 0; k < m->runs[i].n; k++)
            ids[(*n)++] = m->runs[i].ssts[k].sst->id;
    qsort(ids, *n, sizeof(ids[0]), compare_ids);
    for (size_t i = 0; i < *n; i++)
        if ((kept == 0 || !ulid_eq(ids[kept - 1], ids[i])) && !is_external(m, n_externals, ids[i]))
            ids[kept++] = ids[i];
    *n = kept;
}

static size_t count_views(const struct manifest *m)
{
    size_t n = m->n_l0;

    for (size_t i = 0; i < m->n_runs; i++)
        n = size_add(n, m->runs[i].n);
    return n;
}

/*
 * Lenders of the parent lend to the clone, too. Their source is what keeps the SSTs for the parent now: the
 * checkpoint that it began with, which SlateDB copies here, may have expired long ago.
 */
static int borrow(const struct clone *c, struct manifest *m, struct shale_uuid source)
{
    size_t n = m->n_externals;
    struct external_db *e;
    int rc;

    for (size_t i = 0; i < n; i++) {
        e = &m->externals[i];
        if (e->has_final)
            e->source_checkpoint = e->final_checkpoint;
        e->has_final = true;
        e->final_checkpoint = uuid_new(NULL);
    }
    rc = add_external(m, c->parent, source);
    if (rc < 0)
        return rc;
    e = &m->externals[n];
    e->ssts = mem_calloc(count_views(m), sizeof(e->ssts[0]));
    if (!e->ssts)
        return -ENOMEM;
    collect_ssts(m, n, e->ssts, &e->n_ssts);
    return 0;
}

/* Initialises *out. */
static int build_manifest(const struct clone *c, struct manifest *out)
{
    struct manifest_version *base = NULL;
    struct shale_uuid source = { 0, 0 };
    int rc;

    manifest_init(out);
    rc = find_base(c, &base, &source);
    if (rc == 0)
        rc = manifest_copy(out, &base->m);
    manifest_version_unref(base);
    if (rc < 0)
        return rc;
    out->initialized = false;
    while (out->n_checkpoints)
        mem_free(out->checkpoints[--out->n_checkpoints].name);
    return borrow(c, out, source);
}

static int create(struct clone *c)
{
    struct manifest m;
    int rc = build_manifest(c, &m);

    if (rc == 0)
        rc = manifest_store_create(c->self.manifests, &m);
    manifest_fini(&m);
    return rc == 0 || rc == -EEXIST ? AGAIN : rc;
}

/* ---- final checkpoints ---- */

/* Run fn with the manifests of a lender. */
static int with_lender(const struct clone *c, const char *path, int (*fn)(struct admin *, const struct external_db *),
                       const struct external_db *e)
{
    struct admin ad;
    int rc = admin_open(&ad, c->store, path, c->a, "db");

    if (rc == 0)
        rc = fn(&ad, e);
    admin_close(&ad);
    return rc;
}

static int add_final(struct admin *ad, const struct external_db *e)
{
    const struct shale_checkpoint_options opt = { .has_source = true, .source = e->source_checkpoint };
    struct checkpoint_request r;
    uint64_t id;

    checkpoint_request_init(&r, &opt, ad->now_ms);
    r.id = e->final_checkpoint;
    return checkpoint_store_add(ad->manifests, EPOCH_NONE, &r, &id, NULL);
}

static int check_final(struct admin *ad, const struct external_db *e)
{
    struct manifest_version *v = NULL;
    int rc = manifest_store_load_latest(ad->manifests, &v);

    if (rc == 0 && !checkpoint_find(&v->m, e->final_checkpoint))
        rc = lost(e->path, e->final_checkpoint, "final checkpoint");
    manifest_version_unref(v);
    return rc;
}

static int remove_final(struct admin *ad, const struct external_db *e)
{
    int rc = checkpoint_store_remove(ad->manifests, e->final_checkpoint);

    return rc == -ENOENT ? 0 : rc; /* the lender has gone with it */
}

static int each_final(const struct clone *c, const struct manifest *m,
                      int (*fn)(struct admin *, const struct external_db *))
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < m->n_externals; i++)
        if (m->externals[i].has_final)
            rc = with_lender(c, m->externals[i].path, fn, &m->externals[i]);
    return rc;
}

static bool same_externals(const struct manifest *a, const struct manifest *b)
{
    if (a->n_externals != b->n_externals)
        return false;
    for (size_t i = 0; i < a->n_externals; i++)
        if (!uuid_eq(a->externals[i].final_checkpoint, b->externals[i].final_checkpoint))
            return false;
    return true;
}

struct replace_arg {
    const struct manifest *seen, *fresh;
};

/* Another caller may have got further, or begun anew, meanwhile. */
static int replace_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    const struct replace_arg *a = arg;
    struct manifest copy;
    int rc;

    (void)next_id;
    if (m->initialized || !same_externals(m, a->seen))
        return MANIFEST_UNCHANGED;
    manifest_init(&copy);
    rc = manifest_copy(&copy, a->fresh);
    if (rc < 0)
        return rc;
    manifest_fini(m);
    *m = copy;
    return 0;
}

/* The old final checkpoints go first: after a crash the next attempt comes here again. */
static int begin_anew(struct clone *c, const struct manifest *seen)
{
    struct manifest fresh;
    struct replace_arg arg = { .seen = seen, .fresh = &fresh };
    int rc = build_manifest(c, &fresh);

    c->begun_anew = true;
    if (rc == 0)
        rc = each_final(c, seen, remove_final);
    if (rc == 0)
        rc = manifest_store_update(c->self.manifests, replace_edit, &arg, NULL);
    manifest_fini(&fresh);
    return rc == 0 ? AGAIN : rc;
}

/* ---- WAL objects ---- */

struct beyond_arg {
    const struct clone *c;
    uint64_t id;
    bool found;
};

static int beyond_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct beyond_arg *a = arg;
    uint64_t id;

    (void)meta;
    a->found = a->found || (path_parse_numbered(a->c->parent, PATH_WAL, name, &id) && id > a->id);
    return 0;
}

/* Object id of the parent is missing. The manifest may have counted objects that were never written: the last ones. */
static int check_missing(const struct clone *c, uint64_t id)
{
    struct beyond_arg a = { .c = c, .id = id };
    char prefix[PATH_NAME_MAX], after[PATH_NAME_MAX];
    int rc = path_dir(c->parent, PATH_WAL, prefix);

    if (rc == 0)
        rc = path_wal(c->parent, id, after);
    if (rc == 0)
        rc = shale_store_list(c->from.wal_store, prefix, after, beyond_fn, &a);
    if (rc == 0 && a.found)
        rc = err_set(SHALE_ECORRUPT, "WAL object %" PRIu64 " of '%s' is missing", id, c->parent);
    return rc < 0 ? rc : SHALE_END;
}

/*
 * The bytes are copied by somebody who cannot look into them, since he may lack the block transformer. So what a
 * network has spoilt would be kept for ever, but two reads in a row are not spoilt alike.
 */
static int read_alike(struct shale_store *store, const char *name, struct shale_buf *out)
{
    struct shale_buf second = SHALE_BUF_INIT;
    struct reread again = REREAD_INIT;
    int rc;

    do {
        rc = shale_store_get(store, name, out);
        if (rc == 0)
            rc = shale_store_get(store, name, &second);
        if (rc == 0 && !slice_eq(slice_of_buf(out), slice_of_buf(&second)))
            rc = err_set(SHALE_ECORRUPT, "%s: two reads brought different bytes", name);
    } while (reread_due(&again, rc));
    shale_buf_fini(&second);
    return rc;
}

static int copy_object(const struct clone *c, uint64_t id)
{
    struct shale_buf data = SHALE_BUF_INIT;
    char from[PATH_NAME_MAX], to[PATH_NAME_MAX];
    int rc = path_wal(c->parent, id, from);

    if (rc == 0)
        rc = path_wal(c->path, id, to);
    if (rc == 0)
        rc = read_alike(c->from.wal_store, from, &data);
    if (rc == -ENOENT)
        return check_missing(c, id);
    if (rc == 0)
        rc = shale_store_put(c->self.wal_store, to, (struct shale_slice){ data.data, data.len }, SHALE_PUT_IF_ABSENT);
    shale_buf_fini(&data);
    return rc == -EEXIST ? 0 : rc; /* an earlier attempt's; what an id holds never changes */
}

static int copy_wal(const struct clone *c, const struct manifest *m)
{
    int rc = 0;

    for (uint64_t id = m->replay_after_wal_id; rc == 0 && id < m->wal_id_last_seen; id++)
        rc = copy_object(c, id + 1);
    return rc == SHALE_END ? 0 : rc;
}

/* ---- the whole ---- */

static int finish_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)next_id;
    if (m->initialized || !same_externals(m, arg))
        return MANIFEST_UNCHANGED;
    m->initialized = true;
    return 0;
}

static int go_on(struct clone *c, const struct manifest *m)
{
    struct manifest_version *v = NULL;
    int rc = check_wal_store(c, m);

    if (rc == 0)
        rc = each_final(c, m, add_final);
    if (rc == -ENOENT && !c->begun_anew)
        return begin_anew(c, m);
    if (rc == 0)
        rc = copy_wal(c, m);
    if (rc == 0)
        rc = manifest_store_update(c->self.manifests, finish_edit, (void *)(uintptr_t)m, &v);
    if (rc < 0)
        return rc;
    rc = v->m.initialized && same_externals(&v->m, m) ? 0 : AGAIN;
    manifest_version_unref(v);
    return rc;
}

/* What is at the path is a clone of this parent (and checkpoint). */
static int check_attached(const struct clone *c, const struct manifest *m)
{
    bool attached = false;

    for (size_t i = 0; i < m->n_externals; i++) {
        const struct external_db *e = &m->externals[i];

        if (strcmp(e->path, c->parent) != 0)
            continue;
        attached = true;
        if (!c->checkpoint || uuid_eq(e->source_checkpoint, *c->checkpoint))
            return 0;
    }
    return err_set(-EINVAL, "the database '%s' exists and is no clone of '%s'%s", c->path, c->parent,
                   attached ? " at that checkpoint" : "");
}

static int attempt(struct clone *c)
{
    struct manifest_version *v = NULL;
    int rc = manifest_store_load_latest(c->self.manifests, &v);

    if (rc == -ENOENT)
        return create(c);
    if (rc == 0)
        rc = check_attached(c, &v->m);
    if (rc == 0)
        rc = v->m.initialized ? each_final(c, &v->m, check_final) : go_on(c, &v->m);
    manifest_version_unref(v);
    return rc;
}

int shale_clone(struct shale_store *store, const char *path, const char *parent, const struct shale_uuid *checkpoint,
                const struct shale_admin_options *a)
{
    struct clone c = { .path = path, .parent = parent, .checkpoint = checkpoint, .a = a, .store = store };
    int rc = check_paths(path, parent);

    if (rc == 0)
        rc = admin_open(&c.self, store, path, a, "db");
    if (rc == 0)
        rc = admin_open(&c.from, store, parent, a, "db");
    if (rc == 0)
        rc = AGAIN;
    for (int i = 0; rc == AGAIN && i < ATTEMPTS_MAX; i++)
        rc = attempt(&c);
    if (rc == AGAIN)
        rc = err_set(-ETIMEDOUT, "cannot clone '%s' to '%s': others do it at the same time", parent, path);
    admin_close(&c.from);
    admin_close(&c.self);
    return rc;
}
