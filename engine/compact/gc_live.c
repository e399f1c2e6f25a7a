/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/gc_live.h"

#include "base/alloc.h"
#include "compact/compactor_state.h"

#include <errno.h>
#include <stdlib.h>

void live_set_fini(struct live_set *s)
{
    mem_free(s->ids);
    *s = (struct live_set){ 0 };
}

static int add_views(struct live_set *s, const struct sst_view *v, size_t n)
{
    int rc = vec_reserve(&s->ids, &s->cap, size_add(s->n, n), sizeof(s->ids[0]));

    for (size_t i = 0; rc == 0 && i < n; i++)
        s->ids[s->n++] = v[i].sst->id;
    return rc;
}

int live_set_add_manifest(struct live_set *s, const struct manifest *m)
{
    int rc = add_views(s, m->l0, m->n_l0);

    for (size_t i = 0; rc == 0 && i < m->n_runs; i++)
        rc = add_views(s, m->runs[i].ssts, m->runs[i].n);
    return rc;
}

int live_set_add_outputs(struct live_set *s, const struct compactions *c)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < c->n; i++) {
        const struct compaction *rec = &c->list[i];

        if (!compaction_is_active(rec))
            continue;
        rc = vec_reserve(&s->ids, &s->cap, size_add(s->n, rec->n_outputs), sizeof(s->ids[0]));
        for (size_t k = 0; rc == 0 && k < rec->n_outputs; k++)
            s->ids[s->n++] = rec->outputs[k]->id;
    }
    return rc;
}

static int compare(const void *a, const void *b)
{
    return ulid_cmp(*(const struct shale_ulid *)a, *(const struct shale_ulid *)b);
}

void live_set_settle(struct live_set *s)
{
    size_t n = 0;

    if (s->n == 0)
        return;
    qsort(s->ids, s->n, sizeof(s->ids[0]), compare);
    for (size_t i = 0; i < s->n; i++)
        if (n == 0 || !ulid_eq(s->ids[n - 1], s->ids[i]))
            s->ids[n++] = s->ids[i];
    s->n = n;
}

bool live_set_has(const struct live_set *s, struct shale_ulid id)
{
    return s->n > 0 && bsearch(&id, s->ids, s->n, sizeof(s->ids[0]), compare) != NULL;
}

void gc_memory_fini(struct gc_memory *m)
{
    mem_free(m->list);
    *m = (struct gc_memory){ 0 };
}

static const struct gc_seen *find_seen(const struct gc_memory *m, struct shale_ulid id)
{
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = ulid_cmp(m->list[mid].id, id);

        if (c == 0)
            return &m->list[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

int gc_memory_carry(const struct gc_memory *old, struct gc_memory *next, struct shale_ulid id, int64_t now_ms,
                    int64_t *since_ms)
{
    const struct gc_seen *seen = find_seen(old, id);
    int rc = vec_reserve(&next->list, &next->cap, next->n + 1, sizeof(next->list[0]));

    if (rc < 0)
        return rc;
    *since_ms = seen ? seen->since_ms : now_ms;
    next->list[next->n++] = (struct gc_seen){ .id = id, .since_ms = *since_ms };
    return 0;
}
