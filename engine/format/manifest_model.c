/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest in memory: making, copying, freeing. A manifest that is published is immutable and
 * shared (manifest_store.h); to change one it is copied, edited and stored as the next version. Copies
 * share the SSTs by reference, so that a copy costs as much as its lists, not as the keys of thousands
 * of SSTs.
 */

#include "format/manifest_codec.h"

#include "base/alloc.h"

#include <assert.h>
#include <errno.h>

int sst_handle_new(struct shale_ulid id, uint16_t version, const struct sst_info *info, struct sst_handle **out)
{
    struct sst_handle *h = mem_zalloc(sizeof(*h));

    if (!h)
        return -ENOMEM;
    atomic_init(&h->refs, 1);
    h->id = id;
    h->version = version;
    if (sst_info_copy(&h->info, info) < 0) {
        mem_free(h);
        return -ENOMEM;
    }
    *out = h;
    return 0;
}

struct sst_handle *sst_handle_ref(struct sst_handle *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void sst_handle_unref(struct sst_handle *h)
{
    int refs;

    if (!h)
        return;
    refs = atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel);
    assert(refs > 0);
    if (refs > 1)
        return;
    sst_info_fini(&h->info);
    mem_free(h);
}

/*
 * Data, filter and index: what a compaction has to read, roughly. Cannot overflow (check_section in
 * wire.c).
 */
uint64_t sst_handle_size(const struct sst_handle *h)
{
    return h->info.index_offset + h->info.index_len;
}

void sst_view_fini(struct sst_view *v)
{
    sst_handle_unref(v->sst);
    shale_buf_fini(&v->start.key);
    shale_buf_fini(&v->end.key);
    *v = (struct sst_view){ 0 };
}

int sst_view_copy(struct sst_view *to, const struct sst_view *from)
{
    struct sst_view copy = *from;

    copy.start.key = copy.end.key = (struct shale_buf)SHALE_BUF_INIT;
    copy.sst = sst_handle_ref(from->sst);
    if (buf_set(&copy.start.key, slice_of_buf(&from->start.key)) < 0 ||
        buf_set(&copy.end.key, slice_of_buf(&from->end.key)) < 0) {
        sst_view_fini(&copy);
        return -ENOMEM;
    }
    *to = copy;
    return 0;
}

static void views_free(struct sst_view *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sst_view_fini(&v[i]);
    mem_free(v);
}

/* NULL when there are none or memory is out, which only the caller can tell apart. */
static struct sst_view *views_copy(const struct sst_view *from, size_t n)
{
    struct sst_view *v = n ? mem_calloc(n, sizeof(*v)) : NULL;

    for (size_t i = 0; v && i < n; i++) {
        if (sst_view_copy(&v[i], &from[i]) < 0) {
            views_free(v, i);
            return NULL;
        }
    }
    return v;
}

void sorted_run_fini(struct sorted_run *r)
{
    views_free(r->ssts, r->n);
    *r = (struct sorted_run){ 0 };
}

int sorted_run_copy(struct sorted_run *to, const struct sorted_run *from)
{
    struct sst_view *v = views_copy(from->ssts, from->n);

    if (!v && from->n)
        return -ENOMEM;
    *to = (struct sorted_run){ .id = from->id, .ssts = v, .n = from->n, .cap = from->n };
    return 0;
}

uint64_t sorted_run_size(const struct sorted_run *r)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < r->n; i++)
        sum += sst_handle_size(r->ssts[i].sst);
    return sum;
}

void manifest_init(struct manifest *m)
{
    *m = (struct manifest){ .initialized = true, .last_l0_clock_tick = SHALE_NO_TS };
    seq_tracker_init(&m->tracker);
}

void manifest_fini(struct manifest *m)
{
    views_free(m->l0, m->n_l0);
    for (size_t i = 0; i < m->n_runs; i++)
        sorted_run_fini(&m->runs[i]);
    mem_free(m->runs);
    for (size_t i = 0; i < m->n_checkpoints; i++)
        mem_free(m->checkpoints[i].name);
    mem_free(m->checkpoints);
    for (size_t i = 0; i < m->n_externals; i++) {
        mem_free(m->externals[i].path);
        mem_free(m->externals[i].ssts);
    }
    mem_free(m->externals);
    mem_free(m->wal_store_uri);
    seq_tracker_fini(&m->tracker);
    manifest_init(m);
}

/*
 * The copies below fill the lists of to one element after the other and count what is there, so that manifest_fini
 * frees a half-made copy.
 */
static int copy_runs(struct manifest *to, const struct manifest *from)
{
    if (from->n_runs && vec_reserve(&to->runs, &to->cap_runs, from->n_runs, sizeof(*to->runs)) < 0)
        return -ENOMEM;
    for (; to->n_runs < from->n_runs; to->n_runs++)
        if (sorted_run_copy(&to->runs[to->n_runs], &from->runs[to->n_runs]) < 0)
            return -ENOMEM;
    return 0;
}

static int copy_checkpoints(struct manifest *to, const struct manifest *from)
{
    size_t n = from->n_checkpoints;

    if (n && vec_reserve(&to->checkpoints, &to->cap_checkpoints, n, sizeof(*to->checkpoints)) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct checkpoint c = from->checkpoints[i];

        c.name = c.name ? mem_strdup(c.name) : NULL;
        if (!c.name && from->checkpoints[i].name)
            return -ENOMEM;
        to->checkpoints[to->n_checkpoints++] = c;
    }
    return 0;
}

/* Counted before the check, so that manifest_fini frees what there is of it. */
static int copy_externals(struct manifest *to, const struct manifest *from)
{
    size_t n = from->n_externals;

    if (n && vec_reserve(&to->externals, &to->cap_externals, n, sizeof(*to->externals)) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct external_db *x = &from->externals[i];
        struct external_db copy = *x;

        copy.path = mem_strdup(x->path);
        copy.ssts = x->n_ssts ? mem_dup(x->ssts, x->n_ssts * sizeof(*x->ssts)) : NULL;
        to->externals[to->n_externals++] = copy;
        if (!copy.path || (x->n_ssts && !copy.ssts))
            return -ENOMEM;
    }
    return 0;
}

int manifest_copy(struct manifest *to, const struct manifest *from)
{
    struct manifest m = *from;

    m.l0 = views_copy(from->l0, from->n_l0);
    m.cap_l0 = m.n_l0 = m.l0 ? from->n_l0 : 0;
    m.runs = NULL;
    m.n_runs = m.cap_runs = 0;
    m.checkpoints = NULL;
    m.n_checkpoints = m.cap_checkpoints = 0;
    m.externals = NULL;
    m.n_externals = m.cap_externals = 0;
    m.wal_store_uri = from->wal_store_uri ? mem_strdup(from->wal_store_uri) : NULL;
    seq_tracker_init(&m.tracker);
    if (m.n_l0 != from->n_l0 || (from->wal_store_uri && !m.wal_store_uri) || copy_runs(&m, from) < 0 ||
        copy_checkpoints(&m, from) < 0 || copy_externals(&m, from) < 0 ||
        seq_tracker_copy(&m.tracker, &from->tracker) < 0) {
        manifest_fini(&m);
        return -ENOMEM;
    }
    *to = m;
    return 0;
}
