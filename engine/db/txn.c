/* SPDX-License-Identifier: Apache-2.0 */
#include "db/txn.h"

#include "base/err.h"
#include "db/read_path.h"

#include <assert.h>
#include <errno.h>

/* All of it but its place in the lists of the database. */
static void txn_free(struct shale_txn *t)
{
    list_for_each_safe(p, next, &t->scans) {
        list_remove(p);
        txn_scan_unref(list_entry(p, struct txn_scan, node));
    }
    shale_batch_free(t->batch);
    memtable_unref(t->own);
    key_set_fini(&t->writes);
    key_set_fini(&t->reads);
    mem_free(t);
}

int shale_txn_begin(struct shale_db *db, enum shale_isolation isolation, struct shale_txn **out)
{
    struct shale_txn *t;
    int rc;

    if (isolation != SHALE_TXN_SNAPSHOT && isolation != SHALE_TXN_SERIALIZABLE)
        return err_set(-EINVAL, "there is no isolation %d", (int)isolation);
    t = mem_zalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->db = db;
    t->isolation = isolation;
    t->own_seq = TXN_OWN_SEQ - 1;
    list_init(&t->node);
    list_init(&t->snap.node);
    list_init(&t->scans);
    rc = shale_batch_new(&t->batch);
    if (rc < 0) {
        txn_free(t);
        return rc;
    }
    mutex_lock(&db->wmu); /* no commit is under way: it either is seen, or finds this transaction */
    mutex_lock(&db->mu);
    rc = db_alive_locked(db);
    t->snap.seq = db->committed_seq;
    if (rc == 0) {
        list_append(&db->snapshots, &t->snap.node);
        list_append(&db->txns, &t->node);
    }
    mutex_unlock(&db->mu);
    mutex_unlock(&db->wmu);
    if (rc < 0) {
        txn_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

uint64_t shale_txn_seq(const struct shale_txn *t)
{
    return t->snap.seq;
}

/* It takes no part in anything any more; what was remembered for it alone is forgotten (R290). */
static void txn_end(struct shale_txn *t)
{
    struct shale_db *db = t->db;

    mutex_lock(&db->wmu);
    list_remove(&t->node);
    if (list_empty(&db->txns))
        conflict_log_clear(&db->conflicts);
    else
        conflict_log_trim(&db->conflicts, list_entry(db->txns.next, struct shale_txn, node)->snap.seq);
    mutex_lock(&db->mu);
    list_remove(&t->snap.node);
    mutex_unlock(&db->mu);
    mutex_unlock(&db->wmu);
    txn_free(t);
}

void shale_txn_rollback(struct shale_txn *t)
{
    if (t)
        txn_end(t);
}

void txn_free_all(struct shale_db *db)
{
    list_for_each_safe(p, next, &db->txns) {
        struct shale_txn *t = list_entry(p, struct shale_txn, node);

        list_remove(&t->node);
        list_remove(&t->snap.node);
        txn_free(t);
    }
    conflict_log_clear(&db->conflicts);
}

static int check_key(struct shale_slice key)
{
    if (key.len == 0 || key.len > SHALE_KEY_MAX)
        return err_set(-EINVAL, "a key has 1 to %u bytes, not %zu", SHALE_KEY_MAX, key.len);
    return 0;
}

/* Make sure that what follows in add_write cannot fail but for the batch, which comes first. */
static int make_room(struct shale_txn *t, const struct shale_row *row)
{
    int rc = t->own ? 0 : memtable_new(&t->own);

    if (rc == 0)
        rc = memtable_reserve(t->own, row, 1);
    if (rc == 0)
        rc = key_set_add(&t->writes, row->key);
    return rc < 0 ? err_set(rc, "out of memory for a write of %zu bytes in a transaction", row->value.len) : 0;
}

static int add_write(struct shale_txn *t, enum shale_kind kind, struct shale_slice key, struct shale_slice value,
                     struct shale_ttl ttl)
{
    const struct shale_row row = { .key = key, .value = value, .seq = t->own_seq + 1, .create_ts = SHALE_NO_TS,
                                   .expire_ts = SHALE_NO_TS, .kind = kind };
    int rc = check_key(key);

    if (rc == 0 && value.len > SHALE_VALUE_MAX)
        rc = err_set(-EINVAL, "a value has at most %u bytes, not %zu", SHALE_VALUE_MAX, value.len);
    if (rc == 0)
        rc = make_room(t, &row);
    if (rc < 0)
        return rc;
    if (kind == SHALE_PUT)
        rc = shale_batch_put(t->batch, key, value, ttl);
    else if (kind == SHALE_MERGE)
        rc = shale_batch_merge(t->batch, key, value, ttl);
    else
        rc = shale_batch_delete(t->batch, key);
    if (rc < 0)
        return rc; /* the key counts as written all the same, which only makes a conflict likelier */
    rc = memtable_insert(t->own, &row, NULL);
    assert(rc == 0);
    t->own_seq++;
    return rc;
}

int shale_txn_put(struct shale_txn *t, struct shale_slice key, struct shale_slice value, struct shale_ttl ttl)
{
    return add_write(t, SHALE_PUT, key, value, ttl);
}

int shale_txn_merge(struct shale_txn *t, struct shale_slice key, struct shale_slice operand, struct shale_ttl ttl)
{
    if (!t->db->opt.merge_operator)
        return err_set(SHALE_EMERGE, "the database '%s' was opened without a merge operator", t->db->root);
    return add_write(t, SHALE_MERGE, key, operand, ttl);
}

int shale_txn_delete(struct shale_txn *t, struct shale_slice key)
{
    return add_write(t, SHALE_TOMBSTONE, key, slice_of(NULL, 0), SHALE_TTL_INIT);
}

int shale_txn_mark_read(struct shale_txn *t, struct shale_slice key)
{
    int rc = check_key(key);

    return rc < 0 ? rc : key_set_add(&t->reads, key);
}

int shale_txn_unmark_write(struct shale_txn *t, struct shale_slice key)
{
    int rc = check_key(key);

    return rc < 0 ? rc : key_set_remove(&t->writes, key);
}

/* How the transaction reads. */
static struct shale_read_options read_options(const struct shale_txn *t, const struct shale_read_options *opt)
{
    struct shale_read_options o = opt ? *opt : (struct shale_read_options){ 0 };

    o.snapshot = &t->snap;
    return o;
}

static struct own_writes own_writes(const struct shale_txn *t)
{
    return (struct own_writes){ .table = t->own, .max_seq = t->own_seq };
}

int shale_txn_get_row(struct shale_txn *t, struct shale_slice key, const struct shale_read_options *opt,
                      struct shale_buf *value, struct shale_row *row)
{
    struct shale_read_options o = read_options(t, opt);
    struct own_writes own = own_writes(t);
    int rc = check_key(key);

    if (rc == 0 && t->isolation == SHALE_TXN_SERIALIZABLE)
        rc = key_set_add(&t->reads, key);
    return rc < 0 ? rc : db_get_row(t->db, key, &o, &own, value, row);
}

int shale_txn_get(struct shale_txn *t, struct shale_slice key, const struct shale_read_options *opt,
                  struct shale_buf *value)
{
    struct shale_row row;

    return shale_txn_get_row(t, key, opt, value, &row);
}

static int scan(struct shale_txn *t, const struct key_range *range, const struct shale_read_options *opt,
                struct shale_iter **out)
{
    struct shale_read_options o = read_options(t, opt);
    struct own_writes own = own_writes(t);
    struct txn_scan *s = NULL;
    int rc = 0;

    if (t->isolation == SHALE_TXN_SERIALIZABLE)
        rc = txn_scan_new(range, o.descending, &s);
    own.scan = s;
    if (rc == 0)
        rc = db_scan(t->db, range, &o, &own, out);
    if (rc == 0 && s)
        list_append(&t->scans, &txn_scan_ref(s)->node);
    txn_scan_unref(s);
    return rc;
}

int shale_txn_scan(struct shale_txn *t, const struct shale_key_range *range, const struct shale_read_options *opt,
                   struct shale_iter **out)
{
    struct key_range r = db_key_range(range);

    return scan(t, &r, opt, out);
}

int shale_txn_scan_prefix(struct shale_txn *t, struct shale_slice prefix, const struct shale_read_options *opt,
                          struct shale_iter **out)
{
    struct shale_buf end = SHALE_BUF_INIT;
    struct key_range r = { 0 };
    int rc = key_range_prefix(prefix, &end, &r);

    if (rc == 0)
        rc = scan(t, &r, opt, out);
    shale_buf_fini(&end);
    return rc;
}

/* A transaction without writes has something to check when it is serializable (R284). */
static int commit_reads(struct shale_txn *t)
{
    int rc = 0;

    if (t->isolation != SHALE_TXN_SERIALIZABLE)
        return 0;
    mutex_lock(&t->db->wmu);
    rc = txn_check(t->db, t);
    mutex_unlock(&t->db->wmu);
    return rc;
}

int shale_txn_commit(struct shale_txn *t, bool await_durable, struct shale_write_result *out)
{
    struct shale_write_result w = { 0 };
    bool writes = shale_batch_count(t->batch) > 0;
    struct shale_db *db = t->db;
    int rc = key_set_settle(&t->writes);

    if (rc == 0)
        rc = key_set_settle(&t->reads);
    if (rc == 0)
        rc = writes ? db_write(db, t->batch, t, &w) : commit_reads(t);
    txn_end(t);
    if (rc == 0 && writes && await_durable)
        rc = db_wait_durable(db, w.seq);
    if (rc == 0 && writes && out)
        *out = w;
    return rc;
}
