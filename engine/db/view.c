/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views: what a read looks at, as one immutable object. A reader takes a reference under mu and
 * then needs no lock, whatever is frozen, flushed or compacted meanwhile; the memtables and SSTs
 * of its view stay until it lets go.
 *   memtable:   active --db_freeze_locked--> frozen (imms) --db_install--> dropped, its rows are in an L0 SST
 *               one, takes rows              oldest first, immutable        gone with the last view that has it
 * A new view replaces the old one on each freeze and each new manifest version, in the same
 * critical section as the change, so that no read finds a row in both or in neither.
 */

#include "db/db.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>

/* REQUIRES(mu), or a reference already held: otherwise the last one might go at the same time. */
struct db_view *db_view_ref(struct db_view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void db_view_unref(struct db_view *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < v->n_tables; i++)
        memtable_unref(v->tables[i]);
    manifest_version_unref(v->mv);
    mem_free(v);
}

/* The view of what the fields say now. */
static struct db_view *view_build_locked(const struct shale_db *db)
{
    size_t n = 1 + (size_t)db->n_imms;
    struct db_view *v = mem_zalloc(size_add(sizeof(*v), size_mul(n, sizeof(v->tables[0]))));

    if (!v)
        return NULL;
    atomic_init(&v->refs, 1);
    v->mv = manifest_version_ref(db->mv);
    v->tables[v->n_tables++] = memtable_ref(db->active);
    for (struct list *p = db->imms.prev; p != &db->imms; p = p->prev)
        v->tables[v->n_tables++] = memtable_ref(list_entry(p, struct imm, node)->table);
    return v;
}

int db_view_init(struct shale_db *db)
{
    struct db_view *v = view_build_locked(db);

    if (!v)
        return -ENOMEM;
    db_view_unref(db->view);
    db->view = v;
    return 0;
}

/*
 * max_seq is read together with the view: a view older than max_seq could lack rows below it.
 * Rows above it that are inserted later into the same table are filtered out by the read (R135,
 * R140).
 */
struct db_view *db_view_get(struct shale_db *db, const struct shale_read_options *opt, uint64_t *max_seq)
{
    struct db_view *v;
    uint64_t max;

    mutex_lock(&db->mu);
    v = db_view_ref(db->view);
    max = db->committed_seq;
    if (opt && opt->durable_only && db->durable_seq < max)
        max = db->durable_seq;
    mutex_unlock(&db->mu);
    if (opt && opt->snapshot && opt->snapshot->seq < max)
        max = opt->snapshot->seq;
    *max_seq = max;
    return v;
}

void imm_unref_locked(struct imm *m, struct list *dead)
{
    if (--m->refs == 0)
        list_append(dead, &m->node);
}

void imm_free_list(struct list *dead)
{
    list_for_each_safe(p, next, dead) {
        struct imm *m = list_entry(p, struct imm, node);

        memtable_unref(m->table);
        seq_tracker_fini(&m->tracker);
        mem_free(m);
    }
    list_init(dead);
}

/*
 * The second reason bounds recovery: as long as a table is active its rows keep every WAL object
 * since the last freeze from being done with (R64).
 */
bool db_freeze_is_due_locked(const struct shale_db *db, uint64_t wal_id)
{
    const struct shale_options *o = &db->opt;
    struct memtable_stats st;

    memtable_stats(db->active, &st);
    if (st.n_rows == 0)
        return false;
    if (wal_id - db->last_freeze_id >= o->freeze_wal_count)
        return true;
    return sst_size_estimate(st.n_rows, st.row_bytes, o->block_size, 12, o->min_filter_keys,
                             o->filter_bits_per_key) >= o->l0_sst_size_bytes;
}

/* Takes the statistics of this moment. The writer holds wmu, so no row is added in between. */
static struct imm *imm_new(struct shale_db *db, const struct memtable_stats *st, uint64_t wal_id)
{
    struct imm *m = mem_zalloc(sizeof(*m));

    if (!m)
        return NULL;
    m->refs = 1;
    m->table = memtable_ref(db->active);
    m->wal_id = wal_id;
    m->last_seq = st->last_seq;
    m->row_bytes = st->row_bytes;
    m->tick = st->max_create_ts;
    seq_tracker_init(&m->tracker);
    return m;
}

/*
 * The points taken so far go with the table whose rows they are about. The next table begins with a point of its own, as
 * SlateDB's tables do; what is closer than 60 s to the manifest's last one is left out when it gets there.
 */
static void hand_over_tracker(struct seq_tracker *from, struct seq_tracker *to)
{
    *to = *from;
    seq_tracker_init(from);
}

/*
 * The order matters for the way back: the fields are changed first, as view_build_locked reads
 * them, and put back when there is no memory for a view. Freezing only under wmu is what makes
 * wal_id true: every row of WAL objects up to it was inserted before (R67, H2).
 */
int db_freeze_locked(struct shale_db *db, uint64_t wal_id)
{
    struct memtable *fresh = NULL;
    struct memtable_stats st;
    struct db_view *v = NULL;
    struct imm *m;

    memtable_stats(db->active, &st);
    if (st.n_rows == 0)
        return 0;
    m = imm_new(db, &st, wal_id);
    if (!m)
        return -ENOMEM;
    if (memtable_new(&fresh) == 0) {
        db->active = fresh;
        list_append(&db->imms, &m->node);
        db->n_imms++;
        v = view_build_locked(db);
    }
    if (!v) {
        if (fresh) {
            db->n_imms--;
            list_remove(&m->node);
            db->active = m->table;
        }
        memtable_unref(fresh);
        memtable_unref(m->table);
        mem_free(m);
        return -ENOMEM;
    }
    memtable_unref(m->table); /* what the active field held */
    hand_over_tracker(&db->tracker, &m->tracker);
    db->imm_bytes += m->row_bytes;
    db->active_wal_bytes = 0;
    db->last_freeze_id = wal_id;
    db_view_unref(db->view);
    db->view = v;
    cond_broadcast(&db->flush_work);
    return 0;
}

/*
 * Take the tables that the manifest covers off the list.
 * Tables are flushed in order, so the covered ones are at the front. Also right when the manifest
 * came from polling after a reply was lost.
 */
static void drop_covered_locked(struct shale_db *db, struct list *dead)
{
    while (!list_empty(&db->imms)) {
        struct imm *m = list_entry(db->imms.next, struct imm, node);

        if (m->last_seq > db->mv->m.last_l0_seq)
            break;
        list_remove(&m->node);
        db->n_imms--;
        db->imm_bytes -= m->row_bytes;
        db->l0_flushes++;
        metric_count(db->metrics.memtable_flushes, 1);
        imm_unref_locked(m, dead);
    }
}

/*
 * Called by whoever stored or found a version: the memtable flusher, the compactor, the WAL
 * flusher after a slow put. They race, so the greater id wins and a late one is dropped. What is
 * freed is freed after mu, since the last reference to a table may be a gigabyte to walk through.
 */
void db_install(struct shale_db *db, struct manifest_version *v)
{
    struct manifest_version *old = v;
    struct db_view *old_view = NULL, *fresh;
    struct list dead;

    list_init(&dead);
    if (v->m.n_externals && table_store_set_externals(&db->ts, &v->m) < 0)
        log_warn("database '%s': no memory for the list of external SSTs", db->root);
    mutex_lock(&db->mu);
    if (v->id > db->mv->id) {
        old = db->mv;
        db->mv = v;
        drop_covered_locked(db, &dead);
        db_note_memory_locked(db);
        metric_set(db->metrics.l0_ssts, (int64_t)v->m.n_l0);
        fresh = view_build_locked(db);
        if (fresh) { /* otherwise the old view goes on: it shows the same rows */
            old_view = db->view;
            db->view = fresh;
        }
        if (!db->opt.wal_enabled && v->m.last_l0_seq > db->durable_seq)
            db->durable_seq = v->m.last_l0_seq;
        cond_broadcast(&db->flush_work);
        cond_broadcast(&db->durable);
        cond_broadcast(&db->flushed);
        /*
         * Everybody, as each waits for something else: a slot in L0, durability without WAL, a
         * flush, room to write.
         */
        cond_broadcast(&db->room);
    }
    mutex_unlock(&db->mu);
    imm_free_list(&dead);
    db_view_unref(old_view);
    manifest_version_unref(old);
}
