/* SPDX-License-Identifier: Apache-2.0 */
#include "db/reader.h"

#include "base/err.h"
#include "base/log.h"
#include "manifest/checkpoint.h"
#include "wal/wal_replay.h"

#include <errno.h>
#include <inttypes.h>

static void object_clear(struct object_rows *o)
{
    buf_clear(&o->bytes);
    o->n = 0;
}

void reader_free_tables(struct shale_reader *r)
{
    for (size_t i = 0; i < r->n_tables; i++)
        memtable_unref(r->tables[i]);
    mem_free(r->tables);
    shale_buf_fini(&r->object.bytes);
    mem_free(r->object.rows);
}

/* A view of v and the tables from first on, newest first. */
static struct db_view *build_view(const struct shale_reader *r, struct manifest_version *v, size_t first)
{
    size_t n = r->n_tables - first;
    struct db_view *view = mem_zalloc(size_add(sizeof(*view), size_mul(n, sizeof(view->tables[0]))));

    if (!view)
        return NULL;
    atomic_init(&view->refs, 1);
    view->mv = manifest_version_ref(v);
    view->tables_after = v->m.last_l0_seq;
    for (size_t i = r->n_tables; i > first; i--)
        view->tables[view->n_tables++] = memtable_ref(r->tables[i - 1]);
    return view;
}

/* Reads see view (moved; NULL: the one they see) up to seq, all at once. Whether that makes a difference. */
static bool show(struct shale_reader *r, struct db_view *view, uint64_t seq)
{
    struct shale_db *db = r->db;
    struct manifest_version *old_mv = NULL;
    struct db_view *old = NULL;
    bool is_step;

    mutex_lock(&db->mu);
    is_step = seq > db->committed_seq;
    if (view) {
        old = db->view;
        db->view = view;
        if (db->mv != view->mv) {
            old_mv = db->mv;
            db->mv = manifest_version_ref(view->mv);
        }
    }
    if (is_step) {
        db->committed_seq = db->durable_seq = db->last_seq = seq;
        r->n_steps += r->tells;
    }
    metric_set(db->metrics.l0_ssts, (int64_t)db->mv->m.n_l0);
    db->wal.last_id = r->after_wal_id;
    db->wal.next_id = r->after_wal_id + 1;
    mutex_unlock(&db->mu);
    db_view_unref(old);
    manifest_version_unref(old_mv);
    return is_step;
}

/* The reader that this thread calls on_change for. */
static _Thread_local const struct shale_reader *telling;

bool reader_is_telling(const struct shale_reader *r)
{
    return telling == r;
}

/* rows NULL: they are not known. */
static void tell(struct shale_reader *r, const struct shale_row *rows, size_t n)
{
    struct shale_reader_change c = { .all = !rows, .rows = rows, .n_rows = n };

    if (!r->tells || !r->opt.on_change)
        return;
    c.step = r->n_steps; /* this thread alone moves both */
    c.seq = r->db->committed_seq;
    telling = r;
    r->opt.on_change(r->opt.on_change_arg, &c);
    telling = NULL;
}

int reader_install(struct shale_reader *r, struct manifest_version *v)
{
    struct db_view *view;
    size_t drop = 0;
    int rc = table_store_set_externals(&r->db->ts, &v->m); /* H15 */

    if (rc < 0)
        return rc;
    while (drop < r->n_tables) {
        struct memtable_stats st;

        memtable_stats(r->tables[drop], &st);
        if (st.last_seq > v->m.last_l0_seq)
            break;
        drop++;
    }
    view = build_view(r, v, drop);
    if (!view)
        return -ENOMEM;
    if (r->after_wal_id < v->m.replay_after_wal_id)
        r->after_wal_id = v->m.replay_after_wal_id;
    for (size_t i = 0; i < drop; i++)
        memtable_unref(r->tables[i]);
    r->n_tables -= drop;
    if (r->n_tables)
        memmove(r->tables, r->tables + drop, r->n_tables * sizeof(r->tables[0]));
    if (show(r, view, v->m.last_l0_seq))
        tell(r, NULL, 0);
    log_debug("reader of '%s': manifest %" PRIu64, r->db->root, v->id);
    return 0;
}

/* A row of an object, unless it is in a table or an SST (R99). */
static int take_row(void *arg, const struct shale_row *row)
{
    struct shale_reader *r = arg;
    struct object_rows *o = &r->object;
    struct shale_row *last = o->n ? &o->rows[o->n - 1] : NULL;
    size_t at = o->bytes.len;

    if (row->seq <= r->db->committed_seq)
        return 0;
    /* Operands of one batch, as SlateDB wrote them: a table there holds the last one (H4). They are neighbours. */
    if (last && last->seq == row->seq &&
        slice_eq(row->key, slice_of(o->bytes.data + at - last->key.len - last->value.len, last->key.len))) {
        o->bytes.len = at - last->key.len - last->value.len;
        o->n--;
    }
    if (vec_reserve(&o->rows, &o->cap, o->n + 1, sizeof(o->rows[0])) < 0 ||
        shale_buf_reserve(&o->bytes, size_add(row->key.len, row->value.len)) < 0)
        return -ENOMEM;
    (void)buf_append_slice(&o->bytes, row->key); /* there is room */
    (void)buf_append_slice(&o->bytes, row->value);
    o->rows[o->n++] = *row;
    return 0;
}

/* Where the bytes of the rows lie; the greatest sequence number. */
static uint64_t place_rows(struct object_rows *o)
{
    const uint8_t *p = o->bytes.data;
    uint64_t seq = 0;

    for (size_t i = 0; i < o->n; i++) {
        struct shale_row *row = &o->rows[i];

        row->key.data = p;
        row->value.data = p + row->key.len;
        p += row->key.len + row->value.len;
        if (row->seq > seq)
            seq = row->seq;
    }
    return seq;
}

/* Begin a table when there is none with room; *view is then one with it. */
static int table_for_more(struct shale_reader *r, struct db_view **view)
{
    struct memtable_stats st = { .row_bytes = UINT64_MAX };
    int rc;

    if (r->n_tables)
        memtable_stats(r->tables[r->n_tables - 1], &st);
    if (st.row_bytes < r->opt.max_memtable_bytes)
        return 0;
    rc = vec_reserve(&r->tables, &r->cap_tables, r->n_tables + 1, sizeof(r->tables[0]));
    if (rc == 0)
        rc = memtable_new(&r->tables[r->n_tables]);
    if (rc < 0)
        return rc;
    r->n_tables++;
    *view = build_view(r, r->db->mv, 0);
    if (*view)
        return 0;
    memtable_unref(r->tables[--r->n_tables]);
    return -ENOMEM;
}

/* An object is read whole: its rows appear together, or, without memory, not at all. */
static int end_object(void *arg, uint64_t id)
{
    struct shale_reader *r = arg;
    struct object_rows *o = &r->object;
    struct db_view *view = NULL;
    uint64_t seq = place_rows(o);
    int rc = 0;

    if (o->n) {
        rc = table_for_more(r, &view);
        if (rc == 0)
            rc = memtable_reserve(r->tables[r->n_tables - 1], o->rows, o->n);
    }
    if (rc < 0) {
        if (view)
            memtable_unref(r->tables[--r->n_tables]);
        db_view_unref(view);
        object_clear(o);
        return rc;
    }
    for (size_t i = 0; i < o->n; i++)
        (void)memtable_insert(r->tables[r->n_tables - 1], &o->rows[i], NULL); /* there is room; readers do not look yet */
    r->after_wal_id = id;
    if (show(r, view, seq))
        tell(r, o->rows, o->n);
    object_clear(o);
    return 0;
}

int reader_replay(struct shale_reader *r, uint64_t last)
{
    const struct wal_replay_fns fns = { .row = take_row, .end = end_object, .arg = r, .tail = true };
    uint64_t first = r->after_wal_id + 1;
    int rc = 0;

    object_clear(&r->object);
    if (first <= last)
        rc = wal_replay(&r->db->ts, first, last, &fns);
    object_clear(&r->object);
    return rc;
}

static bool has_much(const struct shale_reader *r)
{
    return r->n_tables > 1;
}

/* Objects that are read side by side before there is another look at how much they are. */
#define REPLAY_AT_ONCE 8u

/*
 * The next object is asked for by its name, which costs less than a listing (H21), and so is the one after it: a reader
 * that keeps up finds one at a time. A second one is followed by a listing, which tells how many more there are, so
 * that they are read side by side. With all false it stops short of the end (is_behind) rather than fill many tables: a
 * look at the manifest may make them unnecessary.
 */
static int follow_wal(struct shale_reader *r, bool all)
{
    uint64_t before = r->after_wal_id, last = before + 1;
    int rc = 0;

    r->is_behind = false;
    for (int i = 0; rc == 0 && i < 2 && r->after_wal_id == before + (uint64_t)i; i++, last++)
        rc = reader_replay(r, last);
    if (rc < 0 || r->after_wal_id < before + 2)
        return rc;
    rc = wal_find_last(&r->db->ts, r->after_wal_id + 1, &last, NULL);
    while (rc == 0 && r->after_wal_id < last) {
        before = r->after_wal_id;
        r->is_behind = !all && has_much(r);
        if (r->is_behind)
            break;
        rc = reader_replay(r, last - before > REPLAY_AT_ONCE ? before + REPLAY_AT_ONCE : last);
        if (r->after_wal_id == before)
            break; /* collected since */
    }
    return rc;
}

static bool same_views(const struct sst_view *a, const struct sst_view *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ulid_eq(a[i].id, b[i].id) || !ulid_eq(a[i].sst->id, b[i].sst->id))
            return false;
    return true;
}

/* Whether b is another tree than a, and not only another version of what is said beside it (R301). */
static bool same_tree(const struct manifest *a, const struct manifest *b)
{
    if (a->last_l0_seq != b->last_l0_seq || a->replay_after_wal_id != b->replay_after_wal_id || a->n_l0 != b->n_l0 ||
        a->n_runs != b->n_runs || !same_views(a->l0, b->l0, a->n_l0))
        return false;
    for (size_t i = 0; i < a->n_runs; i++)
        if (a->runs[i].id != b->runs[i].id || a->runs[i].n != b->runs[i].n ||
            !same_views(a->runs[i].ssts, b->runs[i].ssts, a->runs[i].n))
            return false;
    return true;
}

/* What no manifest does that follows another. Rows of two databases must not be mixed. */
static int check_descent(const struct shale_reader *r, const struct manifest_version *v)
{
    const struct manifest *old = &r->db->mv->m, *m = &v->m;

    if (m->writer_epoch >= old->writer_epoch && m->last_l0_seq >= old->last_l0_seq &&
        m->replay_after_wal_id >= old->replay_after_wal_id)
        return 0;
    return err_set(SHALE_ECORRUPT, "manifest %" PRIu64 " of '%s' is no successor of number %" PRIu64
                   ": the database was replaced by another", v->id, r->db->root, r->db->mv->id);
}

/* Go by manifest v, the newest, if that makes a difference. */
static int follow_manifest(struct shale_reader *r, struct manifest_version *v)
{
    struct manifest_version *own = NULL;
    int rc = check_descent(r, v);

    if (rc < 0)
        return rc;
    if (r->opt.no_checkpoint)
        return v->id > r->db->mv->id ? reader_install(r, v) : 0;
    if (r->has_checkpoint && checkpoint_find(&v->m, r->checkpoint) && same_tree(&r->db->mv->m, &v->m)) {
        rc = reader_checkpoint_renew(r);
        if (rc != -ENOENT)
            return rc;
    }
    /* Also when somebody removed it, since it had expired: then begin with a new one (H14). */
    rc = reader_checkpoint_replace(r, &own);
    if (rc == 0)
        rc = reader_install(r, own);
    manifest_version_unref(own);
    return rc;
}

/* A tree may lead behind objects that are gone before they are read: then the next one is looked at, at once. */
#define ATTEMPTS_MAX 16

/*
 * Rows that the manifest has and reads have not seen are taken from the WAL, as long as it has them: so what changes is
 * known. When it does not the tree has overtaken the reader, who goes on behind it.
 */
static int look_at_manifest_once(struct shale_reader *r, bool *overtaken)
{
    bool wal = !r->opt.skip_wal_replay;
    struct manifest_version *v = NULL;
    uint64_t before;
    int rc = manifest_store_refresh(r->db->manifests, &v);

    if (rc == 0 && wal && r->tells && v->m.last_l0_seq > r->db->committed_seq && !has_much(r))
        rc = follow_wal(r, false);
    before = r->after_wal_id;
    if (rc == 0)
        rc = follow_manifest(r, v);
    manifest_version_unref(v);
    *overtaken = r->after_wal_id > before;
    return rc == 0 && wal && *overtaken ? follow_wal(r, true) : rc;
}

int reader_look_at_manifest(struct shale_reader *r)
{
    bool overtaken = true;
    int rc = 0;

    r->n_wal_looks = 0;
    for (int i = 0; rc == 0 && overtaken && i < ATTEMPTS_MAX; i++) {
        rc = look_at_manifest_once(r, &overtaken);
        overtaken = overtaken && r->opt.no_checkpoint; /* a checkpoint keeps the objects */
    }
    return rc;
}

/*
 * The WAL first, and then the manifest: an object that was missing because it had been collected is behind the replay
 * point of a manifest that is found after it. In the other order it might be taken for one that is not there yet.
 */
int reader_look(struct shale_reader *r, bool manifest)
{
    bool wal = !r->opt.skip_wal_replay, again = false;
    int rc;

    do {
        rc = wal ? follow_wal(r, again) : 0;
        again = r->is_behind;
        if (rc == 0 && (manifest || again || !wal || has_much(r) || ++r->n_wal_looks >= r->opt.looks_per_manifest))
            rc = reader_look_at_manifest(r);
        again = again || r->is_behind;
    } while (rc == 0 && again);
    return rc;
}
