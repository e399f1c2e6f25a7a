/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes the manifest: u16be version 1, then a FlatBuffer. Version 1 is what SlateDB 0.12.1 reads; it
 * has no ids for views and repeats the info of an SST wherever it is used. Nothing here decides
 * anything: what may be in a manifest is checked when one is read (manifest_decode.c), and by who edits
 * it.
 */

#include "format/manifest_codec.h"

#include "base/alloc.h"
#include "format/manifest_wire.h"
#include "format/wire.h"
#include "format/wire_sst.h"

#include <errno.h>

/* Children are written in the order SlateDB uses, so that the same model gives the same bytes. */

static fb_ref put_views(struct fb_builder *b, const struct sst_view *v, size_t n)
{
    fb_ref *refs = wire_refs(b, n);
    fb_ref out;

    if (!refs)
        return 0;
    for (size_t i = 0; i < n; i++)
        refs[i] = wire_put_sst(b, v[i].sst, &v[i]);
    out = fb_put_refs(b, refs, n);
    mem_free(refs);
    return out;
}

static fb_ref put_run(struct fb_builder *b, const struct sorted_run *r)
{
    fb_ref ssts = put_views(b, r->ssts, r->n);

    fb_begin(b);
    fb_add_ref(b, RUN_SSTS, ssts);
    fb_add_u32(b, RUN_ID, r->id, 0);
    return fb_end(b);
}

static fb_ref put_runs(struct fb_builder *b, const struct manifest *m)
{
    fb_ref *refs = wire_refs(b, m->n_runs);
    fb_ref out;

    if (!refs)
        return 0;
    for (size_t i = 0; i < m->n_runs; i++)
        refs[i] = put_run(b, &m->runs[i]);
    out = fb_put_refs(b, refs, m->n_runs);
    mem_free(refs);
    return out;
}

static fb_ref put_checkpoint(struct fb_builder *b, const struct checkpoint *c)
{
    fb_ref id = wire_put_uuid(b, c->id);
    fb_ref name = c->name ? fb_put_string(b, c->name) : 0;

    fb_begin(b);
    fb_add_u64(b, CP_MANIFEST_ID, c->manifest_id, 0);
    fb_add_ref(b, CP_NAME, name);
    fb_add_u32(b, CP_CREATE, c->create_s, 0);
    fb_add_u32(b, CP_EXPIRE, c->expire_s, 0);
    fb_add_ref(b, CP_ID, id);
    return fb_end(b);
}

static fb_ref put_checkpoints(struct fb_builder *b, const struct manifest *m)
{
    fb_ref *refs = wire_refs(b, m->n_checkpoints);
    fb_ref out;

    if (!refs)
        return 0;
    for (size_t i = 0; i < m->n_checkpoints; i++)
        refs[i] = put_checkpoint(b, &m->checkpoints[i]);
    out = fb_put_refs(b, refs, m->n_checkpoints);
    mem_free(refs);
    return out;
}

static fb_ref put_external(struct fb_builder *b, const struct external_db *x)
{
    fb_ref path = fb_put_string(b, x->path);
    fb_ref source = wire_put_uuid(b, x->source_checkpoint);
    fb_ref final = x->has_final ? wire_put_uuid(b, x->final_checkpoint) : 0;
    fb_ref ssts = wire_put_ulids(b, x->ssts, x->n_ssts);

    fb_begin(b);
    fb_add_ref(b, EXT_SSTS, ssts);
    fb_add_ref(b, EXT_FINAL, final);
    fb_add_ref(b, EXT_SOURCE, source);
    fb_add_ref(b, EXT_PATH, path);
    return fb_end(b);
}

static fb_ref put_externals(struct fb_builder *b, const struct manifest *m)
{
    fb_ref *refs, out;

    if (m->n_externals == 0)
        return 0;
    refs = wire_refs(b, m->n_externals);
    if (!refs)
        return 0;
    for (size_t i = 0; i < m->n_externals; i++)
        refs[i] = put_external(b, &m->externals[i]);
    out = fb_put_refs(b, refs, m->n_externals);
    mem_free(refs);
    return out;
}

static fb_ref put_tracker(struct fb_builder *b, const struct seq_tracker *t)
{
    struct shale_buf bytes = SHALE_BUF_INIT;
    fb_ref out = 0;
    int rc = seq_tracker_encode(t, &bytes);

    if (rc == 0)
        out = fb_put_bytes(b, slice_of_buf(&bytes));
    else if (b->rc == 0)
        b->rc = rc;
    shale_buf_fini(&bytes);
    return out;
}

static fb_ref put_manifest(struct fb_builder *b, const struct manifest *m)
{
    fb_ref l0 = put_views(b, m->l0, m->n_l0);
    fb_ref last_compacted = m->has_l0_last_compacted ? wire_put_ulid(b, m->l0_last_compacted) : 0;
    fb_ref runs = put_runs(b, m);
    fb_ref checkpoints = put_checkpoints(b, m);
    fb_ref externals = put_externals(b, m);
    fb_ref uri = m->wal_store_uri ? fb_put_string(b, m->wal_store_uri) : 0;
    fb_ref tracker = put_tracker(b, &m->tracker);

    fb_begin(b);
    fb_add_u64(b, MF1_SNAPSHOT_MIN, m->recent_snapshot_min_seq, 0);
    fb_add_u64(b, MF1_LAST_SEQ, m->last_l0_seq, 0);
    fb_add_u64(b, MF1_CLOCK_TICK, (uint64_t)m->last_l0_clock_tick, 0);
    fb_add_u64(b, MF_WAL_LAST_SEEN, m->wal_id_last_seen, 0);
    fb_add_u64(b, MF_REPLAY_AFTER, m->replay_after_wal_id, 0);
    fb_add_u64(b, MF_COMPACTOR_EPOCH, m->compactor_epoch, 0);
    fb_add_u64(b, MF_WRITER_EPOCH, m->writer_epoch, 0);
    fb_add_ref(b, MF1_TRACKER, tracker);
    fb_add_ref(b, MF1_WAL_URI, uri);
    fb_add_ref(b, MF1_CHECKPOINTS, checkpoints);
    fb_add_ref(b, MF1_RUNS, runs);
    fb_add_ref(b, MF1_L0, l0);
    fb_add_ref(b, MF_L0_LAST_COMPACTED, last_compacted);
    fb_add_ref(b, MF_EXTERNALS, externals);
    fb_add_u8(b, MF_INITIALIZED, m->initialized, 0);
    return fb_end(b);
}

int manifest_encode(const struct manifest *m, struct shale_buf *out)
{
    struct fb_builder b;
    size_t len = out->len;
    int rc;

    fb_builder_init(&b);
    rc = buf_put_u16be(out, MANIFEST_V1);
    if (rc == 0)
        rc = fb_finish(&b, put_manifest(&b, m), out);
    if (rc < 0)
        out->len = len;
    fb_builder_fini(&b);
    return rc;
}
