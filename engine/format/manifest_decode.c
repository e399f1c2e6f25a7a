/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes versions 1 and 2 of the manifest. This is the first object that is read of a database and the
 * root of all others, so everything that later code relies on is checked here, once: ids of runs
 * descend, SSTs of a run ascend, first keys are there, visible ranges are sane. A database that breaks
 * one of these is refused as a whole, since a read that bisects an unsorted run would silently miss
 * rows.
 *   version 1   l0 and runs hold whole SSTs; a view has the id of its SST
 *   version 2   a list of SSTs; views name them by id, and several may name one
 */

#include "format/manifest_codec.h"

#include "base/alloc.h"
#include "base/err.h"
#include "format/manifest_wire.h"
#include "format/wire.h"
#include "format/wire_sst.h"

#include <errno.h>

enum { METADATA_NONE, METADATA_WRITER };

/* The SSTs of a version 2 manifest, by id. */
struct sst_set {
    struct sst_handle **ssts;
    size_t n;
};

/* One decoding: lists are filled in out element by element, so that manifest_fini frees what a failure leaves. */
struct decoder {
    struct fb_reader r;
    struct fb_table root;
    uint16_t version;
    struct sst_set set;
    struct manifest out;
};

/* Room for exactly the elements of v; NULL and an error when memory is out. */
static void *list_alloc(struct fb_reader *r, const struct fb_vector *v, size_t size)
{
    void *p = mem_calloc(v->n, size);

    if (!p)
        fb_nomem(r);
    return p;
}

static int handle_cmp(const void *a, const void *b)
{
    const struct sst_handle *const *x = a, *const *y = b;

    return ulid_cmp((*x)->id, (*y)->id);
}

static void set_fini(struct sst_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        sst_handle_unref(s->ssts[i]);
    mem_free(s->ssts);
}

/* Sorted for look-up; an id that occurs twice would make views ambiguous. */
static void get_set(struct decoder *d)
{
    struct fb_vector v = fb_tables_req(&d->r, &d->root, MF2_SSTS, "ssts");
    struct sst_set *s = &d->set;

    if (d->r.rc == 0)
        s->ssts = list_alloc(&d->r, &v, sizeof(*s->ssts));
    for (uint32_t i = 0; i < v.n && d->r.rc == 0; i++) {
        struct fb_table t = fb_table_at(&d->r, &v, i);

        if (wire_get_sst(&d->r, &t, WIRE_SST_V2_SLOT_VERSION, &s->ssts[s->n]) == 0)
            s->n++;
    }
    if (d->r.rc < 0)
        return;
    if (s->n)
        qsort(s->ssts, s->n, sizeof(*s->ssts), handle_cmp);
    for (size_t i = 1; i < s->n; i++)
        if (ulid_eq(s->ssts[i - 1]->id, s->ssts[i]->id))
            fb_fail(&d->r, SHALE_ECORRUPT, "an SST is listed twice");
}

static struct sst_handle *set_find(const struct sst_set *s, struct shale_ulid id)
{
    struct sst_handle want = { .id = id };
    struct sst_handle *key = &want;
    struct sst_handle **found = s->n ? bsearch(&key, s->ssts, s->n, sizeof(*s->ssts), handle_cmp) : NULL;

    return found ? *found : NULL;
}

static void get_view_v1(struct decoder *d, const struct fb_table *t, struct sst_view *v)
{
    if (wire_get_sst(&d->r, t, WIRE_SST_SLOT_VERSION, &v->sst) == 0)
        v->id = v->sst->id;
}

static void get_view_v2(struct decoder *d, const struct fb_table *t, struct sst_view *v)
{
    struct fb_table id = fb_table_req(&d->r, t, VIEW_ID, "id of a view");
    struct fb_table sst_id = fb_table_req(&d->r, t, VIEW_SST_ID, "sst_id of a view");
    struct sst_handle *h;

    v->id = wire_get_ulid(&d->r, &id);
    h = set_find(&d->set, wire_get_ulid(&d->r, &sst_id));
    if (h && d->r.rc == 0)
        v->sst = sst_handle_ref(h);
    else
        fb_fail(&d->r, SHALE_ECORRUPT, "a view names an SST that is not listed");
}

/* The visible range has the same slot in both versions. */
static void get_views(struct decoder *d, const struct fb_vector *v, struct sst_view **views, size_t *n)
{
    if (d->r.rc < 0 || v->n == 0)
        return;
    *views = list_alloc(&d->r, v, sizeof(**views));
    for (uint32_t i = 0; i < v->n && d->r.rc == 0; i++) {
        struct fb_table t = fb_table_at(&d->r, v, i);
        struct sst_view *view = &(*views)[i];
        struct fb_table range;

        *n = i + 1;
        if (d->version == MANIFEST_V1)
            get_view_v1(d, &t, view);
        else
            get_view_v2(d, &t, view);
        if (fb_table(&d->r, &t, VIEW_RANGE, &range))
            wire_get_range(&d->r, &range, view);
    }
}

/* The first key that the view can show, and a bound of the last (false: unknown). */
static struct shale_slice view_start(const struct sst_view *v)
{
    struct shale_slice first = slice_of_buf(&v->sst->info.first), start = slice_of_buf(&v->start.key);

    return v->has_range && v->start.kind != KEY_UNBOUNDED && slice_cmp(start, first) > 0 ? start : first;
}

/* An upper bound of what the view can show: the lower of the last key and the end of the visible range. */
static bool view_end(const struct sst_view *v, struct shale_slice *out)
{
    const struct sst_info *i = &v->sst->info;
    bool bounded = v->has_range && v->end.kind != KEY_UNBOUNDED;

    if (!i->has_last && !bounded)
        return false;
    *out = slice_of_buf(i->has_last ? &i->last : &v->end.key);
    if (bounded && slice_cmp(slice_of_buf(&v->end.key), *out) < 0)
        *out = slice_of_buf(&v->end.key);
    return true;
}

/*
 * Reads bisect a run, so its SSTs must ascend; neighbours may share a key whose versions are split between them.
 * Equal neighbours are allowed: versions of one key may be split over two SSTs (R197).
 */
static void check_run(struct fb_reader *r, const struct sorted_run *run)
{
    for (size_t i = 1; i < run->n && r->rc == 0; i++) {
        const struct sst_view *a = &run->ssts[i - 1], *b = &run->ssts[i];
        struct shale_slice end;

        if (slice_cmp(view_start(a), view_start(b)) > 0 || (view_end(a, &end) && slice_cmp(end, view_start(b)) > 0))
            fb_fail(r, SHALE_ECORRUPT, "the SSTs of a sorted run overlap or descend");
    }
}

static void get_runs(struct decoder *d, unsigned slot)
{
    struct fb_vector v = fb_tables_req(&d->r, &d->root, slot, "compacted");
    struct manifest *m = &d->out;

    if (d->r.rc < 0 || v.n == 0)
        return;
    m->runs = list_alloc(&d->r, &v, sizeof(*m->runs));
    m->cap_runs = m->runs ? v.n : 0;
    for (uint32_t i = 0; i < v.n && d->r.rc == 0; i++) {
        struct fb_table t = fb_table_at(&d->r, &v, i);
        struct fb_vector ssts = fb_tables_req(&d->r, &t, RUN_SSTS, "ssts of a sorted run");
        struct sorted_run *run = &m->runs[m->n_runs++];

        run->id = fb_u32(&d->r, &t, RUN_ID, 0);
        get_views(d, &ssts, &run->ssts, &run->n);
        run->cap = run->n;
        if (d->r.rc == 0)
            check_run(&d->r, run);
        if (i > 0 && run->id >= m->runs[i - 1].id)
            fb_fail(&d->r, SHALE_ECORRUPT, "the ids of sorted runs do not descend");
    }
}

static char *get_text(struct fb_reader *r, struct shale_slice s)
{
    char *text = r->rc == 0 ? mem_dup(s.data, s.len) : NULL;

    if (!text)
        fb_nomem(r);
    return text;
}

/* Metadata is ignored, but must be well-formed for SlateDB to read the manifest. */
static void check_metadata(struct fb_reader *r, const struct fb_table *t)
{
    uint8_t type = fb_u8(r, t, CP_METADATA_TYPE, METADATA_NONE);
    struct fb_table metadata;

    if (fb_has(r, t, CP_METADATA_TYPE) != fb_has(r, t, CP_METADATA))
        fb_fail(r, SHALE_ECORRUPT, "a union has a tag without a value or a value without a tag");
    else if (type == METADATA_WRITER && fb_table(r, t, CP_METADATA, &metadata))
        (void)fb_u64(r, &metadata, 0, 0);
}

static void get_checkpoints(struct decoder *d, unsigned slot)
{
    struct fb_vector v = fb_tables_req(&d->r, &d->root, slot, "checkpoints");
    struct manifest *m = &d->out;

    if (d->r.rc < 0 || v.n == 0)
        return;
    m->checkpoints = list_alloc(&d->r, &v, sizeof(*m->checkpoints));
    m->cap_checkpoints = m->checkpoints ? v.n : 0;
    for (uint32_t i = 0; i < v.n && d->r.rc == 0; i++) {
        struct fb_table t = fb_table_at(&d->r, &v, i);
        struct fb_table id = fb_table_req(&d->r, &t, CP_ID, "id of a checkpoint");
        struct checkpoint *c = &m->checkpoints[m->n_checkpoints++];
        struct shale_slice name;

        c->id = wire_get_uuid(&d->r, &id);
        c->manifest_id = fb_u64(&d->r, &t, CP_MANIFEST_ID, 0);
        c->expire_s = fb_u32(&d->r, &t, CP_EXPIRE, 0);
        c->create_s = fb_u32(&d->r, &t, CP_CREATE, 0);
        check_metadata(&d->r, &t);
        if (fb_string(&d->r, &t, CP_NAME, &name))
            c->name = get_text(&d->r, name);
    }
}

static void get_external(struct fb_reader *r, const struct fb_table *t, struct external_db *x)
{
    struct shale_slice path = fb_string_req(r, t, EXT_PATH, "path of an external database");
    struct fb_table source = fb_table_req(r, t, EXT_SOURCE, "source_checkpoint_id");
    struct fb_vector ssts = fb_tables_req(r, t, EXT_SSTS, "sst_ids");
    struct fb_table final;

    x->path = get_text(r, path);
    x->source_checkpoint = wire_get_uuid(r, &source);
    x->has_final = fb_table(r, t, EXT_FINAL, &final);
    if (x->has_final)
        x->final_checkpoint = wire_get_uuid(r, &final);
    wire_get_ulids(r, &ssts, &x->ssts, &x->n_ssts);
}

static void get_externals(struct decoder *d)
{
    struct manifest *m = &d->out;
    struct fb_vector v;

    if (!fb_vector(&d->r, &d->root, MF_EXTERNALS, 4, &v) || v.n == 0)
        return;
    m->externals = list_alloc(&d->r, &v, sizeof(*m->externals));
    m->cap_externals = m->externals ? v.n : 0;
    for (uint32_t i = 0; i < v.n && d->r.rc == 0; i++) {
        struct fb_table t = fb_table_at(&d->r, &v, i);

        get_external(&d->r, &t, &m->externals[m->n_externals++]);
    }
}

static void get_tracker(struct decoder *d, unsigned slot)
{
    struct shale_slice bytes;

    if (fb_bytes(&d->r, &d->root, slot, &bytes))
        d->r.rc = seq_tracker_decode(bytes, &d->out.tracker);
}

static void get_l0(struct decoder *d, unsigned slot)
{
    struct fb_vector v = fb_tables_req(&d->r, &d->root, slot, "l0");
    struct fb_table last;

    get_views(d, &v, &d->out.l0, &d->out.n_l0);
    d->out.cap_l0 = d->out.n_l0;
    d->out.has_l0_last_compacted = fb_table(&d->r, &d->root, MF_L0_LAST_COMPACTED, &last);
    if (d->out.has_l0_last_compacted)
        d->out.l0_last_compacted = wire_get_ulid(&d->r, &last);
}

static void get_common(struct decoder *d)
{
    struct fb_reader *r = &d->r;
    struct manifest *m = &d->out;

    m->initialized = fb_u8(r, &d->root, MF_INITIALIZED, 0) != 0;
    m->writer_epoch = fb_u64(r, &d->root, MF_WRITER_EPOCH, 0);
    m->compactor_epoch = fb_u64(r, &d->root, MF_COMPACTOR_EPOCH, 0);
    m->replay_after_wal_id = fb_u64(r, &d->root, MF_REPLAY_AFTER, 0);
    m->wal_id_last_seen = fb_u64(r, &d->root, MF_WAL_LAST_SEEN, 0);
    (void)fb_u64(r, &d->root, MF_MANIFEST_ID, 0); /* verified only */
    get_externals(d);
}

static void get_v1(struct decoder *d)
{
    struct manifest *m = &d->out;
    struct shale_slice uri;

    get_common(d);
    get_l0(d, MF1_L0);
    get_runs(d, MF1_RUNS);
    get_checkpoints(d, MF1_CHECKPOINTS);
    m->last_l0_clock_tick = (int64_t)fb_u64(&d->r, &d->root, MF1_CLOCK_TICK, 0);
    m->last_l0_seq = fb_u64(&d->r, &d->root, MF1_LAST_SEQ, 0);
    m->recent_snapshot_min_seq = fb_u64(&d->r, &d->root, MF1_SNAPSHOT_MIN, 0);
    if (fb_string(&d->r, &d->root, MF1_WAL_URI, &uri))
        m->wal_store_uri = get_text(&d->r, uri);
    get_tracker(d, MF1_TRACKER);
}

static void get_v2(struct decoder *d)
{
    struct manifest *m = &d->out;
    struct fb_vector segments = { 0 };

    (void)fb_vector(&d->r, &d->root, MF2_SEGMENTS, 4, &segments); /* absent: none */
    if (segments.n > 0 || fb_has(&d->r, &d->root, MF2_EXTRACTOR)) {
        fb_fail(&d->r, SHALE_EVERSION, "it is divided into segments, which this version does not know");
        return;
    }
    get_common(d);
    get_set(d);
    get_l0(d, MF2_L0);
    get_runs(d, MF2_RUNS);
    get_checkpoints(d, MF2_CHECKPOINTS);
    m->last_l0_clock_tick = (int64_t)fb_u64(&d->r, &d->root, MF2_CLOCK_TICK, 0);
    m->last_l0_seq = fb_u64(&d->r, &d->root, MF2_LAST_SEQ, 0);
    m->recent_snapshot_min_seq = fb_u64(&d->r, &d->root, MF2_SNAPSHOT_MIN, 0);
    get_tracker(d, MF2_TRACKER);
}

int manifest_decode(struct shale_slice in, struct manifest *out)
{
    struct decoder d = { 0 };

    if (in.len < MANIFEST_VERSION_LEN)
        return err_set(SHALE_ECORRUPT, "manifest of %zu bytes", in.len);
    d.version = get_u16be(in.data);
    if (d.version != MANIFEST_V1 && d.version != MANIFEST_V2)
        return err_set(SHALE_EVERSION, "unknown manifest version %u", d.version);
    manifest_init(&d.out);
    fb_reader_init(&d.r, slice_from(in, MANIFEST_VERSION_LEN), "manifest", FB_MAX_TABLES);
    d.root = fb_root(&d.r);
    if (d.version == MANIFEST_V1)
        get_v1(&d);
    else
        get_v2(&d);
    set_fini(&d.set);
    if (d.r.rc < 0)
        manifest_fini(&d.out);
    else
        *out = d.out;
    return d.r.rc;
}
