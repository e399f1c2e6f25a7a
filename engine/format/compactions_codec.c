/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes and decodes the list of compactions: u16be version, then a FlatBuffer. Version 1 does not
 * store the destination: it follows from the runs, and for L0 alone is chosen anew by who reads it
 * (compactions_place). Version 2, of later releases, is read as far as a job can be resumed from it.
 */

#include "format/compactions_codec.h"

#include "base/alloc.h"
#include "base/err.h"
#include "format/wire.h"
#include "format/wire_sst.h"

#include <errno.h>

#define COMPACTIONS_V1 1
#define COMPACTIONS_V2 2

enum { LIST_EPOCH, LIST_RECENT };
enum { JOB_ID, JOB_SPEC_TYPE, JOB_SPEC, JOB_STATUS, JOB_OUTPUTS };
enum { SPEC_NONE, SPEC_TIERED };
enum { TIERED_LEGACY_SSTS, TIERED_RUNS, TIERED_L0, TIERED_SEGMENT, TIERED_DESTINATION };
enum { OUTPUT_RANGE = 2 };

void compaction_fini(struct compaction *c)
{
    for (size_t i = 0; i < c->n_outputs; i++)
        sst_handle_unref(c->outputs[i]);
    mem_free(c->outputs);
    mem_free(c->l0);
    mem_free(c->runs);
    *c = (struct compaction){ 0 };
}

int compaction_copy(struct compaction *to, const struct compaction *from)
{
    struct compaction c = *from;

    c.l0 = from->n_l0 ? mem_dup(from->l0, from->n_l0 * sizeof(*from->l0)) : NULL;
    c.runs = from->n_runs ? mem_dup(from->runs, from->n_runs * sizeof(*from->runs)) : NULL;
    c.outputs = from->n_outputs ? mem_dup(from->outputs, from->n_outputs * sizeof(*from->outputs)) : NULL;
    c.cap_outputs = from->n_outputs;
    c.n_outputs = 0;
    for (size_t i = 0; c.outputs && i < from->n_outputs; i++, c.n_outputs++)
        sst_handle_ref(c.outputs[i]);
    if ((!c.l0 && c.n_l0) || (!c.runs && c.n_runs) || c.n_outputs != from->n_outputs) {
        compaction_fini(&c);
        return -ENOMEM;
    }
    *to = c;
    return 0;
}

void compactions_fini(struct compactions *c)
{
    for (size_t i = 0; i < c->n; i++)
        compaction_fini(&c->list[i]);
    mem_free(c->list);
    *c = (struct compactions){ 0 };
}

int compactions_copy(struct compactions *to, const struct compactions *from)
{
    struct compactions c = { .compactor_epoch = from->compactor_epoch };
    int rc = from->n ? vec_reserve(&c.list, &c.cap, from->n, sizeof(*c.list)) : 0;

    for (; rc == 0 && c.n < from->n;) {
        rc = compaction_copy(&c.list[c.n], &from->list[c.n]);
        if (rc == 0)
            c.n++;
    }
    if (rc < 0)
        compactions_fini(&c);
    else
        *to = c;
    return rc;
}

static fb_ref put_spec(struct fb_builder *b, const struct compaction *c)
{
    fb_ref l0 = c->n_l0 ? wire_put_ulids(b, c->l0, c->n_l0) : 0;
    fb_ref runs = c->n_runs ? fb_put_u32s(b, c->runs, c->n_runs) : 0;

    fb_begin(b);
    fb_add_ref(b, TIERED_L0, l0);
    fb_add_ref(b, TIERED_RUNS, runs);
    return fb_end(b);
}

static fb_ref put_outputs(struct fb_builder *b, const struct compaction *c)
{
    fb_ref *refs, out;

    if (c->n_outputs == 0)
        return 0;
    refs = wire_refs(b, c->n_outputs);
    if (!refs)
        return 0;
    for (size_t i = 0; i < c->n_outputs; i++)
        refs[i] = wire_put_sst(b, c->outputs[i], NULL);
    out = fb_put_refs(b, refs, c->n_outputs);
    mem_free(refs);
    return out;
}

static fb_ref put_compaction(struct fb_builder *b, const struct compaction *c)
{
    fb_ref id = wire_put_ulid(b, c->id);
    fb_ref spec = put_spec(b, c);
    fb_ref outputs = put_outputs(b, c);

    fb_begin(b);
    fb_add_ref(b, JOB_OUTPUTS, outputs);
    fb_add_ref(b, JOB_SPEC, spec);
    fb_add_ref(b, JOB_ID, id);
    fb_add_u8(b, JOB_STATUS, (uint8_t)c->status, 0);
    fb_add_u8(b, JOB_SPEC_TYPE, SPEC_TIERED, 0);
    return fb_end(b);
}

static fb_ref put_list(struct fb_builder *b, const struct compactions *c)
{
    fb_ref *refs = wire_refs(b, c->n);
    fb_ref list;

    if (!refs)
        return 0;
    for (size_t i = 0; i < c->n; i++)
        refs[i] = put_compaction(b, &c->list[i]);
    list = fb_put_refs(b, refs, c->n);
    mem_free(refs);
    fb_begin(b);
    fb_add_u64(b, LIST_EPOCH, c->compactor_epoch, 0);
    fb_add_ref(b, LIST_RECENT, list);
    return fb_end(b);
}

int compactions_encode(const struct compactions *c, struct shale_buf *out)
{
    struct fb_builder b;
    size_t len = out->len;
    int rc;

    fb_builder_init(&b);
    rc = buf_put_u16be(out, COMPACTIONS_V1);
    if (rc == 0)
        rc = fb_finish(&b, put_list(&b, c), out);
    if (rc < 0)
        out->len = len;
    fb_builder_fini(&b);
    return rc;
}

/* Run ids, and the destination that follows from them when none is stored. */
static void get_runs(struct fb_reader *r, const struct fb_table *spec, struct compaction *c)
{
    struct fb_vector v;

    if (!fb_vector(r, spec, TIERED_RUNS, 4, &v) || v.n == 0)
        return;
    c->runs = mem_calloc(v.n, sizeof(*c->runs));
    if (!c->runs) {
        fb_nomem(r);
        return;
    }
    c->n_runs = v.n;
    c->destination = UINT32_MAX;
    for (uint32_t i = 0; i < v.n; i++) {
        c->runs[i] = fb_u32_at(r, &v, i);
        if (c->runs[i] < c->destination)
            c->destination = c->runs[i];
    }
}

static void get_spec(struct fb_reader *r, const struct fb_table *spec, uint16_t version, struct compaction *c)
{
    struct fb_vector legacy = { 0 }, l0 = { 0 };
    bool has_legacy = fb_vector(r, spec, TIERED_LEGACY_SSTS, 4, &legacy);

    if (fb_vector(r, spec, TIERED_L0, 4, &l0))
        wire_get_ulids(r, &l0, &c->l0, &c->n_l0);
    else if (has_legacy)
        wire_get_ulids(r, &legacy, &c->l0, &c->n_l0);
    get_runs(r, spec, c);
    if (version < COMPACTIONS_V2)
        return;
    if (fb_has(r, spec, TIERED_SEGMENT))
        fb_fail(r, SHALE_EVERSION, "a job works on a segment, which this version does not know");
    c->destination = fb_u32(r, spec, TIERED_DESTINATION, c->destination);
}

static void get_union(struct fb_reader *r, const struct fb_table *t, uint16_t version, struct compaction *c)
{
    uint8_t type = fb_u8(r, t, JOB_SPEC_TYPE, SPEC_NONE);
    struct fb_table spec;

    if (!fb_has(r, t, JOB_SPEC_TYPE) || !fb_has(r, t, JOB_SPEC))
        fb_fail(r, SHALE_ECORRUPT, "a job has no specification");
    else if (type != SPEC_TIERED)
        fb_fail(r, version < COMPACTIONS_V2 ? SHALE_ECORRUPT : SHALE_EVERSION, "unknown kind of job");
    else if (fb_table(r, t, JOB_SPEC, &spec))
        get_spec(r, &spec, version, c);
}

static void get_outputs(struct fb_reader *r, const struct fb_table *t, struct compaction *c)
{
    struct fb_vector v;

    if (!fb_vector(r, t, JOB_OUTPUTS, 4, &v) || v.n == 0)
        return;
    c->outputs = mem_calloc(v.n, sizeof(*c->outputs));
    if (!c->outputs) {
        fb_nomem(r);
        return;
    }
    c->cap_outputs = v.n;
    for (uint32_t i = 0; i < v.n && r->rc == 0; i++) {
        struct fb_table sst = fb_table_at(r, &v, i);

        if (fb_has(r, &sst, OUTPUT_RANGE))
            fb_fail(r, SHALE_ECORRUPT, "an output has a visible range");
        else if (wire_get_sst(r, &sst, WIRE_SST_SLOT_VERSION, &c->outputs[c->n_outputs]) == 0)
            c->n_outputs++;
    }
}

/* Their objects stay for the collector: nobody knows here whether another worker still writes. */
static void drop_outputs(struct compaction *c)
{
    for (size_t i = 0; i < c->n_outputs; i++)
        sst_handle_unref(c->outputs[i]);
    c->n_outputs = 0;
}

static void get_compaction(struct fb_reader *r, const struct fb_table *t, uint16_t version, struct compaction *c)
{
    struct fb_table id = fb_table_req(r, t, JOB_ID, "id of a job");
    uint8_t status = fb_u8(r, t, JOB_STATUS, COMPACTION_SUBMITTED);

    c->id = wire_get_ulid(r, &id);
    c->status = status <= COMPACTION_FAILED ? (enum compaction_status)status : COMPACTION_SUBMITTED;
    get_union(r, t, version, c);
    get_outputs(r, t, c);
    /* Version 2 may spread a job over workers, so that its outputs are not a prefix from which it could be resumed. */
    if (version >= COMPACTIONS_V2 && (c->status == COMPACTION_SUBMITTED || c->status == COMPACTION_RUNNING))
        drop_outputs(c);
}

static int compaction_cmp(const void *a, const void *b)
{
    const struct compaction *x = a, *y = b;

    return ulid_cmp(x->id, y->id);
}

static void get_list(struct fb_reader *r, const struct fb_vector *v, uint16_t version, struct compactions *c)
{
    if (r->rc < 0 || v->n == 0)
        return;
    c->list = mem_calloc(v->n, sizeof(*c->list));
    if (!c->list) {
        fb_nomem(r);
        return;
    }
    c->cap = v->n;
    for (uint32_t i = 0; i < v->n && r->rc == 0; i++) {
        struct fb_table t = fb_table_at(r, v, i);

        get_compaction(r, &t, version, &c->list[c->n++]);
    }
    qsort(c->list, c->n, sizeof(*c->list), compaction_cmp);
    for (size_t i = 1; i < c->n; i++)
        if (ulid_eq(c->list[i - 1].id, c->list[i].id))
            fb_fail(r, SHALE_ECORRUPT, "two jobs have the same id");
}

int compactions_decode(struct shale_slice in, struct compactions *out)
{
    struct compactions c = { 0 };
    struct fb_reader r;
    struct fb_table root;
    struct fb_vector v;
    uint16_t version;

    if (in.len < 2)
        return err_set(SHALE_ECORRUPT, "compactions object of %zu bytes", in.len);
    version = get_u16be(in.data);
    if (version != COMPACTIONS_V1 && version != COMPACTIONS_V2)
        return err_set(SHALE_EVERSION, "unknown compactions version %u", version);
    fb_reader_init(&r, slice_from(in, 2), "compactions object", FB_MAX_TABLES);
    root = fb_root(&r);
    c.compactor_epoch = fb_u64(&r, &root, LIST_EPOCH, 0);
    v = fb_tables_req(&r, &root, LIST_RECENT, "recent_compactions");
    get_list(&r, &v, version, &c);
    if (r.rc < 0)
        compactions_fini(&c);
    else
        *out = c;
    return r.rc;
}
