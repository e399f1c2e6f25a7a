/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where SSTs lie. Most are under the database's own root; those of a clone's parents are under
 * theirs, as the manifest's external databases say (storage format 8.4). The map is small and
 * searched by bisection under mu, which is held for moments only.
 */

#include "sst/table_store.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "object/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_STORE_RANK 600

struct external_sst {
    struct shale_ulid id;
    size_t order; /* of two with the same id the greater wins */
    char *path;   /* owned */
};

int table_store_init(struct table_store *ts, struct shale_store *store, struct shale_store *wal_store,
                     const char *root, const struct sst_format *format, struct block_cache *cache)
{
    *ts = (struct table_store){ .store = store, .wal_store = wal_store, .cache = cache, .format = *format };
    ts->root = mem_strdup(root);
    if (!ts->root)
        return -ENOMEM;
    mutex_init(&ts->mu, TABLE_STORE_RANK, "table store");
    flights_init(&ts->flights);
    return 0;
}

static void externals_free(struct external_sst *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free(list[i].path);
    mem_free(list);
}

void table_store_fini(struct table_store *ts)
{
    if (!ts->root)
        return;
    externals_free(ts->externals, ts->n_externals);
    flights_fini(&ts->flights);
    mutex_fini(&ts->mu);
    mem_free(ts->root);
    *ts = (struct table_store){ 0 };
}

/*
 * By id, and the one that wins first.
 * A later entry of the list wins, as in the map that SlateDB fills from it.
 */
static int external_cmp(const void *pa, const void *pb)
{
    const struct external_sst *a = pa, *b = pb;
    int c = ulid_cmp(a->id, b->id);

    return c != 0 ? c : (a->order < b->order) - (a->order > b->order);
}

static size_t count_externals(const struct manifest *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_externals; i++)
        n = size_add(n, m->externals[i].n_ssts);
    return n;
}

static int external_add(struct external_sst *list, size_t *n, struct shale_ulid id, const char *path)
{
    char *copy = mem_strdup(path);

    if (!copy)
        return -ENOMEM;
    list[*n] = (struct external_sst){ .id = id, .order = *n, .path = copy };
    (*n)++;
    return 0;
}

static int externals_collect(const struct manifest *m, struct external_sst *list, size_t *n)
{
    int rc = 0;

    for (size_t i = 0; i < m->n_externals; i++) {
        const struct external_db *db = &m->externals[i];

        for (size_t k = 0; rc == 0 && k < db->n_ssts; k++)
            rc = external_add(list, n, db->ssts[k], db->path);
    }
    return rc;
}

/* Sort, and of equal ids keep the one that wins. */
static size_t externals_settle(struct external_sst *list, size_t n)
{
    size_t kept = 0;

    qsort(list, n, sizeof(*list), external_cmp);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && ulid_eq(list[kept - 1].id, list[i].id))
            mem_free(list[i].path);
        else
            list[kept++] = list[i];
    }
    return kept;
}

static const char *root_of_locked(const struct table_store *ts, struct shale_ulid id)
{
    size_t lo = 0, hi = ts->n_externals;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = ulid_cmp(ts->externals[mid].id, id);

        if (c == 0)
            return ts->externals[mid].path;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return ts->root;
}

/* Whether the map says all that m says already. An id that m has twice does not count as known. */
static bool knows_externals_locked(const struct table_store *ts, const struct manifest *m)
{
    for (size_t i = 0; i < m->n_externals; i++)
        for (size_t k = 0; k < m->externals[i].n_ssts; k++)
            if (strcmp(root_of_locked(ts, m->externals[i].ssts[k]), m->externals[i].path) != 0)
                return false;
    return true;
}

/*
 * Built anew and swapped in, unless nothing is new, as with nearly every manifest. Old entries are
 * kept, since a reader may still hold an older manifest.
 */
int table_store_set_externals(struct table_store *ts, const struct manifest *m)
{
    size_t n_new = count_externals(m), n = 0;
    struct external_sst *list = NULL;
    int rc = 0;

    if (n_new == 0)
        return 0;
    mutex_lock(&ts->mu);
    if (knows_externals_locked(ts, m))
        goto out;
    list = mem_calloc(size_add(ts->n_externals, n_new), sizeof(*list));
    if (!list)
        rc = -ENOMEM;
    for (size_t i = 0; rc == 0 && i < ts->n_externals; i++)
        rc = external_add(list, &n, ts->externals[i].id, ts->externals[i].path);
    if (rc == 0)
        rc = externals_collect(m, list, &n);
    if (rc == 0) {
        externals_free(ts->externals, ts->n_externals);
        ts->n_externals = externals_settle(list, n);
        ts->externals = list;
        list = NULL;
        n = 0;
    }
out:
    mutex_unlock(&ts->mu);
    externals_free(list, n);
    return rc;
}

int table_store_sst_name(struct table_store *ts, struct shale_ulid id, struct shale_buf *out)
{
    char name[PATH_NAME_MAX];
    int rc;

    mutex_lock(&ts->mu);
    rc = path_sst(root_of_locked(ts, id), id, name);
    mutex_unlock(&ts->mu);
    buf_clear(out);
    return rc < 0 ? rc : buf_printf(out, "%s", name);
}

int table_store_wal_name(struct table_store *ts, uint64_t wal_id, struct shale_buf *out)
{
    char name[PATH_NAME_MAX];
    int rc = path_wal(ts->root, wal_id, name);

    buf_clear(out);
    return rc < 0 ? rc : buf_printf(out, "%s", name);
}
