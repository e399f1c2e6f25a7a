/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public iterator over a scan: it owns the view, checks seeks against the range and what was
 * returned, and makes an error permanent (R136-R138). Used by one thread at a time.
 */

#include "db/read_path.h"
#include "db/txn.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>

#define ITER_ERROR_TEXT_MAX 256

struct shale_iter {
    struct shale_db *db;
    struct db_view *view; /* keeps what the rows come from */
    struct iter *rows;    /* NULL: the range cannot hold a key */
    struct txn_scan *scan; /* a reference; NULL: nobody wants to know how far it goes */
    bool descending;
    struct shale_buf from, to;
    struct key_range range; /* of them */
    struct shale_buf last;  /* key of the last row */
    bool has_last;
    int error; /* repeats (R137) */
    char error_text[ITER_ERROR_TEXT_MAX];
};

void shale_iter_close(struct shale_iter *it)
{
    if (!it)
        return;
    iter_close(it->rows);
    db_view_unref(it->view);
    txn_scan_unref(it->scan);
    shale_buf_fini(&it->from);
    shale_buf_fini(&it->to);
    shale_buf_fini(&it->last);
    mem_free(it);
}

/*
 * A scan that lost an object cannot go on in a newer view, which may lack versions that it has to see; but the next
 * scan begins in that view.
 */
static int fail(struct shale_iter *it, int rc)
{
    it->error = rc;
    snprintf(it->error_text, sizeof(it->error_text), "%s", shale_errmsg());
    if (it->view && db_read_is_stale(it->db, it->view, rc))
        (void)err_set(rc, "%s", it->error_text);
    return rc;
}

static int copy_range(struct shale_iter *it, const struct key_range *r)
{
    int rc = buf_set(&it->from, r->from);

    if (rc == 0)
        rc = buf_set(&it->to, r->to);
    it->range = *r;
    it->range.from = slice_of_buf(&it->from);
    it->range.to = slice_of_buf(&it->to);
    return rc;
}

/*
 * The range is copied, since the caller's bytes need not outlive the call; an impossible range
 * gives an iterator without rows.
 */
int db_scan(struct shale_db *db, const struct key_range *range, const struct shale_read_options *opt,
            const struct own_writes *own, struct shale_iter **out)
{
    struct sst_iter_options so = { .order = opt && opt->descending ? ITER_DESC : ITER_ASC,
                                   .fill_cache = !opt || !opt->no_cache_fill,
                                   .read_ahead_bytes = opt ? opt->read_ahead_bytes : 0 };
    struct shale_iter *it = mem_zalloc(sizeof(*it));
    struct read_layers layers;
    uint64_t max_seq;
    int rc;

    metric_count(db->metrics.scans, 1);
    if (!it)
        return -ENOMEM;
    it->db = db;
    it->descending = opt && opt->descending;
    rc = copy_range(it, range);
    if (rc < 0)
        goto out;
    if (!key_range_is_empty(&it->range)) {
        it->view = db_view_get(db, opt, &max_seq);
        db_read_layers(db, it->view, max_seq, opt, &layers);
        if (own) {
            layers.own = own->table;
            layers.own_max_seq = own->max_seq;
            it->scan = own->scan ? txn_scan_ref(own->scan) : NULL;
        }
        rc = scan_iter_new(&layers, &it->range, &so, &it->rows);
        if (rc < 0) {
            (void)fail(it, rc);
            goto out;
        }
    }
    *out = it;
    it = NULL;
out:
    shale_iter_close(it);
    return rc;
}

struct key_range db_key_range(const struct shale_key_range *range)
{
    struct key_range r = { 0 };

    /* An empty key as a bound lies below all others (R150): as a start it is no bound, as an end it leaves nothing. */
    if (range->from.len)
        r = (struct key_range){ .from_kind = KEY_INCLUDED, .from = range->from };
    if (range->to.data) {
        r.to_kind = KEY_EXCLUDED;
        r.to = range->to;
    }
    if (range->to.data && range->to.len == 0)
        r.from_kind = KEY_INCLUDED; /* of "": crossed or equal, so no key */
    return r;
}

int shale_db_scan(struct shale_db *db, const struct shale_key_range *range, const struct shale_read_options *opt,
                  struct shale_iter **out)
{
    struct key_range r = db_key_range(range);

    return db_scan(db, &r, opt, NULL, out);
}

int shale_db_scan_prefix(struct shale_db *db, struct shale_slice prefix, const struct shale_read_options *opt,
                         struct shale_iter **out)
{
    struct shale_buf end = SHALE_BUF_INIT;
    struct key_range r = { 0 };
    int rc = prefix.len ? key_range_prefix(prefix, &end, &r) : 0;

    if (rc == 0)
        rc = db_scan(db, &r, opt, NULL, out);
    shale_buf_fini(&end);
    return rc;
}

/*
 * The key is copied for seek, which has to refuse going back; the row itself is borrowed from
 * below.
 */
int shale_iter_next(struct shale_iter *it, struct shale_row *row)
{
    struct shale_row r;
    int rc;

    if (it->error)
        return err_set(it->error, "%s", it->error_text);
    if (!it->rows)
        return SHALE_END;
    rc = iter_next(it->rows, &r);
    if (rc == 0)
        rc = buf_set(&it->last, r.key);
    if (it->scan && rc >= 0) {
        int noted = rc == 0 ? txn_scan_note_row(it->scan, r.key) : txn_scan_note_end(it->scan);

        rc = noted < 0 ? noted : rc;
    }
    if (rc < 0)
        return fail(it, rc);
    if (rc == SHALE_END)
        return rc;
    it->has_last = true;
    if (r.seq >= TXN_OWN_SEQ)
        r.seq = UINT64_MAX; /* R44 */
    *row = r;
    return 0;
}

/* The comparison follows the direction of the scan (H6). */
int shale_iter_seek(struct shale_iter *it, struct shale_slice key)
{
    int rc;

    if (it->error)
        return err_set(it->error, "%s", it->error_text);
    if (key_range_is_empty(&it->range) || !key_in_range(&it->range, key))
        return err_set(-EINVAL, "cannot seek to a key outside the range of the scan");
    if (it->has_last) {
        int c = slice_cmp(key, slice_of_buf(&it->last));

        if (it->descending ? c >= 0 : c <= 0)
            return err_set(-EINVAL, "cannot seek to a key that is not beyond the last one returned");
    }
    rc = it->scan ? txn_scan_note_seek(it->scan, key) : 0;
    if (rc == 0)
        rc = iter_seek(it->rows, key);
    return rc < 0 ? fail(it, rc) : 0;
}
