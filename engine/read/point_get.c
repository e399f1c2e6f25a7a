/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A point read goes down through the layers, newest first, and stops at the first value or
 * tombstone (R142-R147): most reads never touch an object. Operands met on the way are gathered
 * and folded at the end. Each version is judged by the same rules in every layer (take): visible,
 * not a repetition, not expired.
 *   GO_ON     look further down
 *   SETTLED   *row and *value are the result
 *   -ENOENT   settled too: a tombstone, or nothing
 */

#include "read/point_get.h"

#include "base/buf.h"
#include "mem/operands.h"
#include "read/run_iter.h"
#include "sst/sst_lookup.h"

#include <errno.h>

/* A read under way: the operands met so far on the way down. */
struct getter {
    const struct read_layers *l;
    struct shale_slice key;
    struct operands operands;
    uint64_t oldest_seq; /* of the operands */
    uint64_t max_seq;    /* rows above it are not seen in the layer at hand */
    struct shale_buf *value;
    struct shale_row *row;
};

/* What a step says; otherwise an error. */
enum { GO_ON = 0, SETTLED = 2 };

/*
 * The result is what was collected on top of base (NULL: nothing). SETTLED, -ENOENT or an error.
 * value is replaced only on success. Folding needs a buffer of its own, as a base in a memtable
 * or block is borrowed until then.
 */
static int settle(struct getter *g, const struct shale_row *base)
{
    bool on_value = base && base->kind == SHALE_PUT;
    struct shale_buf folded = SHALE_BUF_INIT;
    struct shale_row row;
    int rc;

    if (g->operands.n == 0) {
        if (!on_value)
            return -ENOENT;
        row = *base;
        rc = buf_set(g->value, base->value);
        if (rc < 0)
            return rc;
    } else {
        if (base)
            operands_add_times(&g->operands, base);
        rc = operands_fold(&g->operands, g->key, on_value ? &base->value : NULL, &folded);
        if (rc < 0) {
            shale_buf_fini(&folded);
            return rc;
        }
        shale_buf_fini(g->value);
        *g->value = folded;
        row = g->operands.sum;
    }
    row.kind = SHALE_PUT;
    row.key = g->key;
    row.value = slice_of_buf(g->value);
    *g->row = row;
    return SETTLED;
}

/* Take the next older version in. */
static int take(struct getter *g, const struct shale_row *version)
{
    struct shale_row row = *version;
    int rc;

    if (row.seq > g->max_seq)
        return GO_ON;
    /* A WAL that was replayed over an L0 has the same rows once more. */
    if (g->operands.n && row.seq >= g->oldest_seq)
        return GO_ON;
    if (g->l->expire_now != SHALE_NO_TS && row.expire_ts != SHALE_NO_TS && row.expire_ts <= g->l->expire_now) {
        if (row.kind == SHALE_MERGE)
            return GO_ON;
        row.kind = SHALE_TOMBSTONE;
        row.expire_ts = SHALE_NO_TS; /* the operands above it do not expire with it, as in a scan */
    }
    if (row.kind != SHALE_MERGE)
        return settle(g, &row);
    rc = operands_add(&g->operands, g->key, &row);
    g->oldest_seq = row.seq;
    return rc;
}

static int get_from_table(struct getter *g, const struct memtable *m)
{
    int rc = GO_ON;

    for (const struct shale_row *row = memtable_find(m, g->key, g->max_seq); row && rc == GO_ON;
         row = memtable_older(row)) {
        if (g->l->tables_after && row->seq <= g->l->tables_after)
            break;
        rc = take(g, row);
    }
    return rc;
}

static int take_version(void *g, const struct shale_row *version)
{
    return take(g, version);
}

/*
 * In L0 any SST may have the key, so all are asked in order; of a run only the one or two views
 * that cover it.
 */
static int get_from_ssts(struct getter *g)
{
    const struct manifest *m = g->l->manifest;
    struct sst_lookup lookup;
    int rc = GO_ON;

    sst_lookup_init(&lookup, g->l->ts, g->key, g->l->fill_cache);
    for (size_t i = 0; i < m->n_l0 && rc == GO_ON; i++)
        rc = sst_lookup_in(&lookup, &m->l0[i], take_version, g);
    for (size_t i = 0; i < m->n_runs && rc == GO_ON; i++) {
        size_t k, end;

        for (run_find(&m->runs[i], g->key, &k, &end); k < end && rc == GO_ON; k++)
            rc = sst_lookup_in(&lookup, &m->runs[i].ssts[k], take_version, g);
    }
    sst_lookup_fini(&lookup);
    return rc;
}

int point_get(const struct read_layers *l, struct shale_slice key, struct shale_buf *value, struct shale_row *row)
{
    struct getter g = { .l = l, .key = key, .value = value, .row = row, .max_seq = l->own_max_seq };
    int rc = GO_ON;

    operands_init(&g.operands, l->op);
    if (l->own)
        rc = get_from_table(&g, l->own);
    g.max_seq = l->max_seq;
    for (size_t i = 0; i < l->n_tables && rc == GO_ON; i++)
        rc = get_from_table(&g, l->tables[i]);
    if (rc == GO_ON && l->manifest)
        rc = get_from_ssts(&g);
    if (rc == GO_ON)
        rc = settle(&g, NULL);
    operands_fini(&g.operands);
    return rc == SETTLED ? 0 : rc;
}
