/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of all that a state of the database consists of. The state is a manifest: its SSTs, and the WAL objects
 * behind its replay point. Rows only move from the WAL into SSTs, so that reading the manifest first misses none; that
 * WAL objects which it needs were collected meanwhile shows as a gap in their ids.
 */

#include "db/inspect.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "manifest/checkpoint.h"

#include <errno.h>
#include <inttypes.h>

int shale_sst_properties(struct shale_sst *s, bool *has_blob, struct shale_buf *blob)
{
    struct sst_source src = sst_source_compacted(s->handle);
    int rc = table_properties_read(&s->in->ts, &src, blob);

    if (rc < 0)
        return rc;
    *has_blob = rc == 1;
    return 0;
}

int shale_inspect_wal_properties(struct shale_inspect *in, uint64_t id, bool *has_blob, struct shale_buf *blob)
{
    struct sst_source src = { .is_wal = true, .wal_id = id };
    struct sst_handle *h = NULL;
    int rc = table_open_wal(&in->ts, id, &h);

    if (rc < 0)
        return rc;
    src.sst = h;
    rc = table_properties_read(&in->ts, &src, blob);
    sst_handle_unref(h);
    if (rc < 0)
        return rc;
    *has_blob = rc == 1;
    return 0;
}

/* A walk over one state. */
struct walk {
    struct shale_inspect *in;
    const struct manifest *m;
    uint64_t next_wal_id; /* that must be there, if a later one is */
    uint64_t end_wal_id;
    uint64_t *wal_ids;    /* owned */
    size_t n_wal, cap_wal;
    struct shale_buf blob;
    shale_properties_fn fn;
    void *arg;
};

static void walk_fini(struct walk *w)
{
    mem_free(w->wal_ids);
    shale_buf_fini(&w->blob);
}

static int tell(struct walk *w, struct shale_properties *p)
{
    if (p->has_blob)
        p->blob = slice_of_buf(&w->blob);
    return w->fn(w->arg, p);
}

static int tell_view(struct walk *w, const struct sst_view *v, enum shale_sst_kind kind, uint32_t run)
{
    struct shale_properties p = { .kind = kind, .id = v->sst->id, .run = run, .is_partial = v->has_range };
    struct sst_source src = sst_source_compacted(v->sst);
    int rc = table_properties_read(&w->in->ts, &src, &w->blob);

    if (rc < 0)
        return rc;
    p.has_blob = rc == 1;
    return tell(w, &p);
}

static int tell_tree(struct walk *w)
{
    const struct manifest *m = w->m;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < m->n_l0; i++)
        rc = tell_view(w, &m->l0[i], SHALE_SST_L0, 0);
    for (size_t i = 0; rc == 0 && i < m->n_runs; i++)
        for (size_t k = 0; rc == 0 && k < m->runs[i].n; k++)
            rc = tell_view(w, &m->runs[i].ssts[k], SHALE_SST_RUN, m->runs[i].id);
    return rc;
}

static int note_wal(void *arg, uint64_t id, const struct shale_object_meta *meta)
{
    struct walk *w = arg;

    (void)meta;
    if (id != w->next_wal_id + w->n_wal)
        return err_set(-ESTALE, "WAL object %" PRIu64 " of '%s' is gone", w->next_wal_id + w->n_wal, w->in->ts.root);
    if (vec_reserve(&w->wal_ids, &w->cap_wal, w->n_wal + 1, sizeof(*w->wal_ids)) < 0)
        return -ENOMEM;
    w->wal_ids[w->n_wal++] = id;
    return 0;
}

/* No call of the store is made from within its listing. */
static int tell_wal(struct walk *w)
{
    int rc = shale_inspect_wal_list(w->in, w->next_wal_id, w->end_wal_id, note_wal, w);

    for (size_t i = 0; rc == 0 && i < w->n_wal; i++) {
        struct shale_properties p = { .kind = SHALE_SST_WAL, .wal_id = w->wal_ids[i] };

        rc = shale_inspect_wal_properties(w->in, p.wal_id, &p.has_blob, &w->blob);
        if (rc == -ENOENT)
            return err_set(-ESTALE, "WAL object %" PRIu64 " of '%s' is gone", p.wal_id, w->in->ts.root);
        if (rc == 0)
            rc = tell(w, &p);
    }
    return rc;
}

/* Whether the WAL that v needs may have been collected without a trace, all of it: a newer manifest needs none of it. */
static int check_moved(struct shale_inspect *in, const struct manifest_version *v, bool *moved)
{
    struct manifest_version *newest = NULL;
    int rc = manifest_store_refresh(in->manifests, &newest);

    if (rc == 0)
        *moved = newest->m.replay_after_wal_id > v->m.replay_after_wal_id;
    manifest_version_unref(newest);
    return rc;
}

static int find_state(struct shale_inspect *in, const struct shale_uuid *checkpoint, struct manifest_version **out)
{
    struct manifest_version *v = NULL;
    const struct checkpoint *c;
    int rc = manifest_store_refresh(in->manifests, &v);

    if (rc < 0 || !checkpoint) {
        *out = v;
        return rc;
    }
    c = checkpoint_find(&v->m, *checkpoint);
    if (c) {
        rc = manifest_store_read(in->manifests, c->manifest_id, out);
    } else {
        char text[UUID_TEXT_LEN + 1];

        uuid_format(*checkpoint, text);
        rc = err_set(-ENOENT, "the database '%s' has no checkpoint %s", in->ts.root, text);
    }
    manifest_version_unref(v);
    return rc;
}

int shale_inspect_properties(struct shale_inspect *in, const struct shale_uuid *checkpoint, shale_properties_fn fn,
                             void *arg)
{
    struct walk w = { .in = in, .end_wal_id = UINT64_MAX, .fn = fn, .arg = arg };
    struct manifest_version *v = NULL;
    bool moved = false;
    int rc = find_state(in, checkpoint, &v);

    if (rc < 0)
        return rc;
    w.m = &v->m;
    w.next_wal_id = v->m.replay_after_wal_id + 1;
    if (checkpoint) /* what a checkpoint keeps of the WAL ends there (R303) */
        w.end_wal_id = v->m.wal_id_last_seen + 1;
    rc = table_store_set_externals(&in->ts, &v->m);
    if (rc == 0 && w.next_wal_id < w.end_wal_id)
        rc = tell_wal(&w);
    if (rc == 0 && w.n_wal == 0 && !checkpoint)
        rc = check_moved(in, v, &moved);
    if (rc == 0 && moved)
        rc = err_set(-ESTALE, "the WAL of '%s' moved on", in->ts.root);
    if (rc == 0)
        rc = tell_tree(&w);
    walk_fini(&w);
    manifest_version_unref(v);
    return rc;
}
