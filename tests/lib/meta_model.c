/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/meta_model.h"

#include "base/alloc.h"
#include "lib/check.h"

#include <stdio.h>

static bool buf_equal(const struct shale_buf *a, const struct shale_buf *b)
{
    return slice_eq(slice_of_buf(a), slice_of_buf(b));
}

static bool text_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool info_equal(const struct sst_info *a, const struct sst_info *b)
{
    return a->has_first == b->has_first && a->has_last == b->has_last && buf_equal(&a->first, &b->first) &&
           buf_equal(&a->last, &b->last) && a->index_offset == b->index_offset && a->index_len == b->index_len &&
           a->filter_offset == b->filter_offset && a->filter_len == b->filter_len &&
           a->stats_offset == b->stats_offset && a->stats_len == b->stats_len && a->codec == b->codec &&
           a->type == b->type && a->filter_format == b->filter_format;
}

static bool handle_equal(const struct sst_handle *a, const struct sst_handle *b)
{
    return ulid_eq(a->id, b->id) && a->version == b->version && info_equal(&a->info, &b->info);
}

static bool bound_equal(const struct key_bound *a, const struct key_bound *b)
{
    return a->kind == b->kind && buf_equal(&a->key, &b->key);
}

static bool views_equal(const struct sst_view *a, size_t n, const struct sst_view *b, size_t m)
{
    if (n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!ulid_eq(a[i].id, b[i].id) || !handle_equal(a[i].sst, b[i].sst) || a[i].has_range != b[i].has_range ||
            !bound_equal(&a[i].start, &b[i].start) || !bound_equal(&a[i].end, &b[i].end))
            return false;
    return true;
}

bool tracker_equal(const struct seq_tracker *a, const struct seq_tracker *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->points[i].seq != b->points[i].seq || a->points[i].time_s != b->points[i].time_s)
            return false;
    return true;
}

static bool checkpoints_equal(const struct manifest *a, const struct manifest *b)
{
    if (a->n_checkpoints != b->n_checkpoints)
        return false;
    for (size_t i = 0; i < a->n_checkpoints; i++) {
        const struct checkpoint *x = &a->checkpoints[i], *y = &b->checkpoints[i];

        if (!uuid_eq(x->id, y->id) || x->manifest_id != y->manifest_id || x->expire_s != y->expire_s ||
            x->create_s != y->create_s || !text_equal(x->name, y->name))
            return false;
    }
    return true;
}

static bool externals_equal(const struct manifest *a, const struct manifest *b)
{
    if (a->n_externals != b->n_externals)
        return false;
    for (size_t i = 0; i < a->n_externals; i++) {
        const struct external_db *x = &a->externals[i], *y = &b->externals[i];

        if (!text_equal(x->path, y->path) || !uuid_eq(x->source_checkpoint, y->source_checkpoint) ||
            x->has_final != y->has_final || !uuid_eq(x->final_checkpoint, y->final_checkpoint) ||
            x->n_ssts != y->n_ssts || (x->n_ssts && memcmp(x->ssts, y->ssts, x->n_ssts * sizeof(*x->ssts)) != 0))
            return false;
    }
    return true;
}

static bool runs_equal(const struct manifest *a, const struct manifest *b)
{
    if (a->n_runs != b->n_runs)
        return false;
    for (size_t i = 0; i < a->n_runs; i++)
        if (a->runs[i].id != b->runs[i].id ||
            !views_equal(a->runs[i].ssts, a->runs[i].n, b->runs[i].ssts, b->runs[i].n))
            return false;
    return true;
}

bool manifest_equal(const struct manifest *a, const struct manifest *b)
{
    return a->initialized == b->initialized && a->writer_epoch == b->writer_epoch &&
           a->compactor_epoch == b->compactor_epoch && a->replay_after_wal_id == b->replay_after_wal_id &&
           a->wal_id_last_seen == b->wal_id_last_seen && a->has_l0_last_compacted == b->has_l0_last_compacted &&
           ulid_eq(a->l0_last_compacted, b->l0_last_compacted) && a->last_l0_clock_tick == b->last_l0_clock_tick &&
           a->last_l0_seq == b->last_l0_seq && a->recent_snapshot_min_seq == b->recent_snapshot_min_seq &&
           views_equal(a->l0, a->n_l0, b->l0, b->n_l0) && runs_equal(a, b) && checkpoints_equal(a, b) &&
           externals_equal(a, b) && text_equal(a->wal_store_uri, b->wal_store_uri) &&
           tracker_equal(&a->tracker, &b->tracker);
}

static bool compaction_equal(const struct compaction *a, const struct compaction *b)
{
    if (!ulid_eq(a->id, b->id) || a->status != b->status || a->n_l0 != b->n_l0 || a->n_runs != b->n_runs ||
        a->destination != b->destination || a->n_outputs != b->n_outputs)
        return false;
    for (size_t i = 0; i < a->n_l0; i++)
        if (!ulid_eq(a->l0[i], b->l0[i]))
            return false;
    for (size_t i = 0; i < a->n_runs; i++)
        if (a->runs[i] != b->runs[i])
            return false;
    for (size_t i = 0; i < a->n_outputs; i++)
        if (!handle_equal(a->outputs[i], b->outputs[i]))
            return false;
    return true;
}

bool compactions_equal(const struct compactions *a, const struct compactions *b)
{
    if (a->compactor_epoch != b->compactor_epoch || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!compaction_equal(&a->list[i], &b->list[i]))
            return false;
    return true;
}

/* Often zero, so that absent fields are met. */
static uint64_t random_number(struct rng *r)
{
    return rng_below(r, 3) == 0 ? 0 : rng_next(r) >> rng_below(r, 64);
}

static struct shale_ulid random_ulid(struct rng *r)
{
    return (struct shale_ulid){ .hi = rng_next(r), .lo = rng_next(r) };
}

static struct shale_uuid random_uuid(struct rng *r)
{
    return (struct shale_uuid){ .hi = rng_next(r), .lo = rng_next(r) };
}

/* A key whose order is that of number, with a tail of random length. */
static void set_key(struct rng *r, struct shale_buf *key, uint32_t number)
{
    size_t tail = rng_below(r, 8) == 0 ? rng_below(r, 300) : rng_below(r, 4);

    buf_clear(key);
    assert_int_equal(buf_put_u32be(key, number), 0);
    for (size_t i = 0; i < tail; i++)
        assert_int_equal(buf_put_u8(key, (uint8_t)rng_next(r)), 0);
}

/* Keys from number to number + 9. */
static struct sst_handle *random_sst(struct rng *r, uint32_t number)
{
    struct sst_info info = {
        .has_first = true,
        .has_last = rng_below(r, 8) != 0,
        .index_offset = random_number(r) >> 1,
        .index_len = random_number(r) >> 1,
        .filter_offset = random_number(r) >> 1,
        .filter_len = random_number(r) >> 1,
        .stats_offset = random_number(r) >> 1,
        .stats_len = random_number(r) >> 1,
        .codec = (enum shale_codec)rng_below(r, 5),
        .type = rng_below(r, 9) == 0 ? SST_WAL : SST_COMPACTED,
        .filter_format = (uint8_t)(rng_below(r, 4) == 0),
    };
    struct sst_handle *h;

    set_key(r, &info.first, number);
    if (info.has_last)
        set_key(r, &info.last, number + 9);
    assert_int_equal(sst_handle_new(random_ulid(r), (uint16_t)(1 + rng_below(r, 2)), &info, &h), 0);
    sst_info_fini(&info);
    return h;
}

static void random_view(struct rng *r, uint32_t number, struct sst_view *v)
{
    v->sst = random_sst(r, number);
    v->id = v->sst->id;
    v->has_range = rng_below(r, 5) == 0;
    if (!v->has_range)
        return;
    v->start.kind = rng_below(r, 2) ? KEY_INCLUDED : KEY_UNBOUNDED;
    v->end.kind = (enum key_bound_kind)rng_below(r, 3);
    if (v->start.kind != KEY_UNBOUNDED)
        set_key(r, &v->start.key, number + 2);
    if (v->end.kind != KEY_UNBOUNDED)
        set_key(r, &v->end.key, number + 4);
}

static struct sst_view *random_views(struct rng *r, size_t n)
{
    struct sst_view *v = mem_calloc(n, sizeof(*v));

    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        random_view(r, (uint32_t)(20 * i + 1), &v[i]);
    return v;
}

static char *random_name(struct rng *r)
{
    static const char *const names[] = {
        "", "a", "before the upgrade", "d\xc3\xa9j\xc3\xa0 vu \xe2\x82\xac \xf0\x9f\x90\x98",
    };

    return rng_below(r, 2) ? mem_strdup(names[rng_below(r, ARRAY_SIZE(names))]) : NULL;
}

static void random_tracker(struct rng *r, size_t n, struct seq_tracker *t)
{
    struct seq_point p = { .seq = rng_below(r, 1000), .time_s = (int64_t)rng_below(r, 2000000000) - 1000 };

    if (n == 0)
        return;
    assert_int_equal(vec_reserve(&t->points, &t->cap, n, sizeof(*t->points)), 0);
    while (t->n < n) {
        t->points[t->n++] = p;
        p.seq += rng_next(r) >> (33 + rng_below(r, 31));
        p.time_s += (int64_t)rng_below(r, 4) == 0 ? (int64_t)rng_below(r, 5000) : 60;
    }
}

static void random_lists(struct rng *r, size_t size, struct manifest *m)
{
    m->n_runs = rng_below(r, 4);
    m->runs = mem_calloc(m->n_runs, sizeof(*m->runs));
    m->n_checkpoints = rng_below(r, 4);
    m->checkpoints = mem_calloc(m->n_checkpoints, sizeof(*m->checkpoints));
    m->n_externals = rng_below(r, 3);
    m->externals = mem_calloc(m->n_externals, sizeof(*m->externals));
    for (size_t i = 0; i < m->n_runs; i++) {
        size_t n = rng_below(r, size + 1);

        m->runs[i] = (struct sorted_run){ .id = (uint32_t)(m->n_runs - 1 - i), .ssts = random_views(r, n), .n = n };
    }
    for (size_t i = 0; i < m->n_checkpoints; i++)
        m->checkpoints[i] = (struct checkpoint){ .id = random_uuid(r), .manifest_id = random_number(r),
            .expire_s = (uint32_t)random_number(r), .create_s = (uint32_t)random_number(r), .name = random_name(r) };
    for (size_t i = 0; i < m->n_externals; i++) {
        struct external_db *x = &m->externals[i];

        *x = (struct external_db){ .path = mem_strdup("volumes/a"), .source_checkpoint = random_uuid(r),
            .has_final = rng_below(r, 2) != 0, .n_ssts = rng_below(r, size + 1) };
        x->ssts = mem_calloc(x->n_ssts, sizeof(*x->ssts));
        for (size_t k = 0; k < x->n_ssts; k++)
            x->ssts[k] = random_ulid(r);
        if (x->has_final)
            x->final_checkpoint = random_uuid(r);
    }
}

void manifest_random(struct rng *r, size_t size, struct manifest *out)
{
    manifest_init(out);
    out->initialized = rng_below(r, 2) != 0;
    out->writer_epoch = random_number(r);
    out->compactor_epoch = random_number(r);
    out->replay_after_wal_id = random_number(r);
    out->wal_id_last_seen = random_number(r);
    out->has_l0_last_compacted = rng_below(r, 2) != 0;
    if (out->has_l0_last_compacted)
        out->l0_last_compacted = random_ulid(r);
    out->n_l0 = rng_below(r, size + 1);
    out->l0 = random_views(r, out->n_l0);
    out->last_l0_clock_tick = rng_below(r, 2) ? (int64_t)random_number(r) : SHALE_NO_TS;
    out->last_l0_seq = random_number(r);
    out->recent_snapshot_min_seq = random_number(r);
    out->wal_store_uri = random_name(r);
    random_lists(r, size, out);
    random_tracker(r, rng_below(r, 4 * size), &out->tracker);
}

static void random_compaction(struct rng *r, size_t size, struct compaction *c)
{
    *c = (struct compaction){ .id = random_ulid(r), .status = (enum compaction_status)rng_below(r, 4),
        .n_l0 = rng_below(r, size + 1), .n_runs = rng_below(r, 3), .n_outputs = rng_below(r, size + 1) };
    c->l0 = mem_calloc(c->n_l0, sizeof(*c->l0));
    c->runs = mem_calloc(c->n_runs, sizeof(*c->runs));
    c->outputs = mem_calloc(c->n_outputs, sizeof(struct sst_handle *));
    for (size_t i = 0; i < c->n_l0; i++)
        c->l0[i] = random_ulid(r);
    for (size_t i = 0; i < c->n_runs; i++)
        c->destination = c->runs[i] = (uint32_t)(7 - i);
    for (size_t i = 0; i < c->n_outputs; i++)
        c->outputs[i] = random_sst(r, (uint32_t)(20 * i));
}

void compactions_random(struct rng *r, size_t size, struct compactions *out)
{
    *out = (struct compactions){ .compactor_epoch = random_number(r), .n = rng_below(r, 4) };
    out->list = mem_calloc(out->n, sizeof(*out->list));
    assert_non_null(out->list);
    for (size_t i = 0; i < out->n; i++) {
        random_compaction(r, size, &out->list[i]);
        out->list[i].id.hi = out->list[i].id.hi >> 8 | (uint64_t)i << 56;
    }
}
