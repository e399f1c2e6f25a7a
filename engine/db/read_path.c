/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Point reads and what all reads are made of. No lock is held while reading: the view keeps
 * tables and SSTs alive.
 */

#include "db/read_path.h"
#include "db/txn.h"

#include "base/err.h"

#include <errno.h>

void db_read_layers(struct shale_db *db, const struct db_view *v, uint64_t max_seq,
                    const struct shale_read_options *opt, struct read_layers *out)
{
    *out = (struct read_layers){
        .tables = v->tables,
        .n_tables = v->n_tables,
        .tables_after = v->tables_after,
        .manifest = &v->mv->m,
        .ts = &db->ts,
        .op = counted_operator_op(&db->metrics.read_op),
        .max_seq = max_seq,
        .fill_cache = !opt || !opt->no_cache_fill,
        .expire_now = db->opt.read_expired ? SHALE_NO_TS : db_now_ms(db),
    };
}

/* Views are replaced by newer ones only, each of which stands for a newer manifest or other memtables. */
bool db_read_is_stale(struct shale_db *db, const struct db_view *v, int rc)
{
    bool newer;

    if (rc != -ESTALE || (db->opt.read_only && !db->look_for_newer))
        return false;
    if (db->look_for_newer)
        db->look_for_newer(db->look_arg);
    else
        db_poll_manifest(db);
    mutex_lock(&db->mu);
    newer = db->view->mv->id > v->mv->id;
    mutex_unlock(&db->mu);
    return newer;
}

static int get_row_once(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
                        const struct own_writes *own, struct shale_buf *value, struct shale_row *row, bool *again)
{
    struct read_layers layers;
    uint64_t max_seq;
    struct db_view *v = db_view_get(db, opt, &max_seq);
    int rc;

    db_read_layers(db, v, max_seq, opt, &layers);
    if (own) {
        layers.own = own->table;
        layers.own_max_seq = own->max_seq;
    }
    rc = point_get(&layers, key, value, row);
    *again = db_read_is_stale(db, v, rc);
    db_view_unref(v);
    return rc;
}

int db_get_row(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
               const struct own_writes *own, struct shale_buf *value, struct shale_row *row)
{
    bool again;
    int rc;

    metric_count(db->metrics.gets, 1);
    if (key.len == 0 || key.len > SHALE_KEY_MAX)
        return err_set(-EINVAL, "a key has 1 to %u bytes, not %zu", SHALE_KEY_MAX, key.len);
    do {
        rc = get_row_once(db, key, opt, own, value, row, &again);
    } while (again);
    if (rc == 0 && row->seq >= TXN_OWN_SEQ)
        row->seq = UINT64_MAX; /* R44: its own number is nobody else's business */
    return rc;
}

int shale_db_get_row(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
                     struct shale_buf *value, struct shale_row *row)
{
    return db_get_row(db, key, opt, NULL, value, row);
}

int shale_db_get(struct shale_db *db, struct shale_slice key, const struct shale_read_options *opt,
                 struct shale_buf *value)
{
    struct shale_row row;

    return shale_db_get_row(db, key, opt, value, &row);
}
