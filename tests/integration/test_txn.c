/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/cases.h"
#include "lib/db_fixture.h"
#include "lib/heap_fault.h"

#include "db/txn.h"

#include <stdio.h>

/* Transactions, by the rules of section 20 of the behaviour of SlateDB 0.12.1; each test names its rule. */

static struct shale_txn *begin(struct db_fixture *f, enum shale_isolation isolation)
{
    struct shale_txn *t = NULL;

    check_ok(shale_txn_begin(f->db, isolation, &t));
    return t;
}

static int txn_put(struct shale_txn *t, const char *key, const char *value)
{
    return shale_txn_put(t, slice_str(key), slice_str(value), SHALE_TTL_INIT);
}

static int txn_merge(struct shale_txn *t, const char *key, const char *value)
{
    return shale_txn_merge(t, slice_str(key), slice_str(value), SHALE_TTL_INIT);
}

static void check_txn_value(struct shale_txn *t, const char *key, const char *value)
{
    struct shale_buf got = SHALE_BUF_INIT;

    check_err(value ? 0 : -ENOENT, shale_txn_get(t, slice_str(key), NULL, &got));
    if (value && !slice_eq(slice_of_buf(&got), slice_str(value)))
        fail_msg("%s is '%.*s', not '%s'", key, (int)got.len, (const char *)got.data, value);
    shale_buf_fini(&got);
}

/* Read what is left of an iterator, and close it. */
static void check_rest(struct shale_iter *it, const char *text)
{
    struct shale_buf got = SHALE_BUF_INIT;
    struct shale_row row;
    int rc;

    while ((rc = shale_iter_next(it, &row)) == 0)
        check_ok(buf_printf(&got, "%s%.*s=%.*s", got.len ? " " : "", (int)row.key.len, (const char *)row.key.data,
                            (int)row.value.len, (const char *)row.value.data));
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    assert_string_equal(got.len ? (const char *)got.data : "", text);
    shale_buf_fini(&got);
}

static struct shale_iter *txn_scan(struct shale_txn *t, const char *from, const char *to, bool descending)
{
    const struct shale_key_range r = { from ? slice_str(from) : slice_of(NULL, 0), to ? slice_str(to) : slice_of(NULL, 0) };
    const struct shale_read_options o = { .descending = descending };
    struct shale_iter *it = NULL;

    check_ok(shale_txn_scan(t, &r, &o, &it));
    return it;
}

/*
 * Steps are words. Of the transaction: get:K=V (- for none), put:K=V, merge:K=V, del:K, mark:K, unmark:K,
 * scan:FROM-TO, which reads all of it. Of the database: db:K=V puts, dbget:K=V. Ends: ok, conflict, rollback.
 */
static void do_step(struct db_fixture *f, struct shale_txn **t, const char *verb, char *arg)
{
    char *second = arg ? strpbrk(arg, "=-") : NULL;

    if (second)
        *second++ = '\0';
    if (strcmp(verb, "get") == 0)
        check_txn_value(*t, arg, *second == '-' ? NULL : second);
    else if (strcmp(verb, "put") == 0)
        check_ok(txn_put(*t, arg, second));
    else if (strcmp(verb, "merge") == 0)
        check_ok(txn_merge(*t, arg, second));
    else if (strcmp(verb, "del") == 0)
        check_ok(shale_txn_delete(*t, slice_str(arg)));
    else if (strcmp(verb, "mark") == 0)
        check_ok(shale_txn_mark_read(*t, slice_str(arg)));
    else if (strcmp(verb, "unmark") == 0)
        check_ok(shale_txn_unmark_write(*t, slice_str(arg)));
    else if (strcmp(verb, "db") == 0)
        check_ok(put_text(f->db, arg, second, false));
    else if (strcmp(verb, "dbget") == 0)
        check_value(f->db, NULL, arg, second);
    else if (strcmp(verb, "rollback") == 0)
        shale_txn_rollback(*t), *t = NULL;
    else if (strcmp(verb, "ok") == 0)
        check_ok(shale_txn_commit(*t, false, NULL)), *t = NULL;
    else if (strcmp(verb, "conflict") == 0)
        check_err(SHALE_ECONFLICT, shale_txn_commit(*t, false, NULL)), *t = NULL;
    else if (strcmp(verb, "scan") == 0) {
        struct shale_iter *it = txn_scan(*t, *arg ? arg : NULL, *second ? second : NULL, false);
        struct shale_row row;
        int rc;

        while ((rc = shale_iter_next(it, &row)) == 0)
            ;
        check_err(SHALE_END, rc);
        shale_iter_close(it);
    } else {
        fail_msg("no step '%s'", verb);
    }
}

static void run_steps(struct db_fixture *f, enum shale_isolation isolation, const char *steps)
{
    struct shale_txn *t = begin(f, isolation);
    char text[256], *save = NULL;

    snprintf(text, sizeof(text), "%s", steps);
    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *arg = strchr(word, ':');

        if (arg)
            *arg++ = '\0';
        do_step(f, &t, word, arg);
    }
    assert_null(t);
}

/* Section 20.5, the first table, by the names of its cases; and more of the kind, among them what H5 lets through. */
static const struct step_case {
    const char *name;
    enum shale_isolation isolation;
    const char *steps;
} step_cases[] = {
    { "ssi_basic_visibility", SHALE_TXN_SERIALIZABLE, "get:k1=v1 ok" },
    { "ssi_write_visibility_in_txn", SHALE_TXN_SERIALIZABLE, "put:k1=v2 get:k1=v2 ok dbget:k1=v2" },
    { "ssi_delete_visibility_in_txn", SHALE_TXN_SERIALIZABLE, "del:k1 get:k1=- ok" },
    { "ssi_rollback_visibility", SHALE_TXN_SERIALIZABLE, "put:k1=v2 rollback dbget:k1=v1" },
    { "si_concurrent_read_snapshot", SHALE_TXN_SNAPSHOT, "db:k1=v2 get:k1=v1 ok" },
    { "ssi_write_write_conflict", SHALE_TXN_SERIALIZABLE, "put:k1=v2 db:k1=v3 conflict dbget:k1=v3" },
    { "test_txn_si_commit_conflict_with_db_writes", SHALE_TXN_SNAPSHOT, "put:k1=v2 db:k1=v3 conflict dbget:k1=v3" },
    { "ssi_read_write_conflict", SHALE_TXN_SERIALIZABLE, "get:k1=v1 db:k1=v2 put:k2=v2 conflict" },
    { "si_read_write_no_conflict", SHALE_TXN_SNAPSHOT, "get:k1=v1 db:k1=v2 put:k2=v2 ok" },
    { "ssi_write_read_conflict", SHALE_TXN_SERIALIZABLE, "db:k1=v2 get:k1=v1 put:k3=v3 conflict" },
    { "si_write_read_no_conflict", SHALE_TXN_SNAPSHOT, "db:k1=v2 get:k1=v1 put:k3=v3 ok" },
    { "ssi_range_write_conflict", SHALE_TXN_SERIALIZABLE, "scan:k1-k5 db:k3=x put:k100=y conflict" },
    { "si_range_write_no_conflict", SHALE_TXN_SNAPSHOT, "scan:k1-k5 db:k3=x put:k100=y ok" },
    { "ssi_mark_read_conflict", SHALE_TXN_SERIALIZABLE, "mark:k1 db:k1=v2 put:k2=v2 conflict" },
    { "ssi_mark_read_multiple_keys_conflict", SHALE_TXN_SERIALIZABLE, "mark:k1 mark:k2 db:k2=x put:k4=y conflict" },
    { "ssi_mark_read_no_conflict_on_different_key", SHALE_TXN_SERIALIZABLE, "mark:k1 db:k2=x put:k3=y ok" },
    { "ssi_mark_read_conflict_without_write", SHALE_TXN_SERIALIZABLE, "mark:k1 db:k1=v2 conflict" },
    { "ssi_get_conflict_without_write", SHALE_TXN_SERIALIZABLE, "get:k1=v1 db:k1=v2 conflict" },
    { "ssi_scan_conflict_without_write", SHALE_TXN_SERIALIZABLE, "scan:k1-k3 db:k2=x conflict" },
    { "si_mark_read_conflict", SHALE_TXN_SNAPSHOT, "mark:k1 db:k1=v2 put:k2=v2 conflict" },
    { "si_mark_read_write_write_conflict", SHALE_TXN_SNAPSHOT, "mark:k1 put:k2=a db:k2=x conflict" },
    { "R284: SI without writes has nothing to check", SHALE_TXN_SNAPSHOT, "mark:k1 get:k1=v1 db:k1=v2 ok" },
    { "a key that was not found was read", SHALE_TXN_SERIALIZABLE, "get:k9=- db:k9=x put:z=y conflict" },
    { "H5: a phantom at the edge", SHALE_TXN_SERIALIZABLE, "scan:a-k1 db:b=x put:z=y conflict" },
    { "H5: a phantom in an empty range", SHALE_TXN_SERIALIZABLE, "scan:x-z db:y=x put:a=y conflict" },
    { "H5: a phantom behind the last row", SHALE_TXN_SERIALIZABLE, "scan:k4-z db:m=x put:a=y conflict" },
    { "beside the range", SHALE_TXN_SERIALIZABLE, "scan:k1-k3 db:k3=x put:z=y ok" },
    { "an open range", SHALE_TXN_SERIALIZABLE, "scan:k2- db:zzz=x put:a=y conflict" },
    { "before an open range", SHALE_TXN_SERIALIZABLE, "scan:k2- db:a=x put:b=y ok" },
    { "R287, test_unmark_write_ignores_write_write_conflicts", SHALE_TXN_SERIALIZABLE,
      "put:k1=a unmark:k1 db:k1=x ok dbget:k1=a" },
    { "R287, test_unmark_write_only_excludes_selected_keys", SHALE_TXN_SERIALIZABLE,
      "put:k1=a put:k2=b unmark:k1 db:k2=x conflict" },
    { "written again it counts again", SHALE_TXN_SERIALIZABLE, "put:k1=a unmark:k1 put:k1=b db:k1=x conflict" },
    { "unmarking a write does not unmark a read", SHALE_TXN_SERIALIZABLE,
      "get:k1=v1 put:k1=a unmark:k1 db:k1=x conflict" },
    { "a commit before the beginning", SHALE_TXN_SERIALIZABLE, "get:k1=v1 put:k1=a ok dbget:k1=a" },
};

static void test_step_case(void **state)
{
    const struct step_case *c = *state;
    struct db_fixture f;

    fixture_init(&f);
    fixture_open(&f);
    for (int k = 1; k <= 5; k++) {
        char key[16], value[16];

        snprintf(key, sizeof(key), "k%d", k);
        snprintf(value, sizeof(value), "v%d", k);
        check_ok(put_text(f.db, key, value, false));
    }
    run_steps(&f, c->isolation, c->steps);
    assert_true(list_empty(&f.db->txns) && list_empty(&f.db->snapshots));
    fixture_fini(&f);
}

/* R282, R44: a transaction reads at its beginning, under its own writes, in both directions. */
static void test_reads(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_row row;
    struct shale_txn *t;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "2", true));
    check_ok(put_text(f->db, "d", "4", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    t = begin(f, SHALE_TXN_SNAPSHOT);
    assert_int_equal(shale_txn_seq(t), 3);
    check_ok(put_text(f->db, "d", "late", false));
    check_ok(delete_text(f->db, "a", false));
    check_ok(txn_put(t, "c", "3"));
    check_ok(shale_txn_delete(t, slice_str("b")));
    check_ok(txn_merge(t, "d", "+x"));
    check_ok(txn_merge(t, "d", "+y"));
    check_ok(txn_merge(t, "e", "+z"));
    check_rest(txn_scan(t, NULL, NULL, false), "a=1 c=3 d=4+x+y e=+z");
    check_rest(txn_scan(t, NULL, NULL, true), "e=+z d=4+x+y c=3 a=1");
    check_rest(txn_scan(t, "b", "d", false), "c=3");
    check_txn_value(t, "d", "4+x+y");
    check_txn_value(t, "b", NULL);
    check_ok(shale_txn_get_row(t, slice_str("c"), NULL, &value, &row));
    assert_true(row.seq == UINT64_MAX && row.kind == SHALE_PUT);
    check_ok(shale_txn_get_row(t, slice_str("a"), NULL, &value, &row));
    assert_int_equal(row.seq, 1);
    check_value(f->db, NULL, "c", NULL); /* nobody else sees it */
    shale_txn_rollback(t);
    shale_buf_fini(&value);
}

/* S21 to S26 of R153: own merges over what is in the database. */
static void test_own_merges(void **state)
{
    struct db_fixture *f = *state;
    struct shale_txn *t;

    fixture_open(f);
    check_ok(put_text(f->db, "key1", "base", false));
    check_ok(put_text(f->db, "key2", "normal", false));
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    check_ok(txn_merge(t, "key1", "old_merge"));
    check_rest(txn_scan(t, NULL, NULL, false), "key1=baseold_merge key2=normal");
    check_ok(shale_txn_delete(t, slice_str("key1")));
    check_rest(txn_scan(t, NULL, NULL, false), "key2=normal");
    check_ok(txn_merge(t, "key1", "new_merge"));
    check_rest(txn_scan(t, NULL, NULL, false), "key1=new_merge key2=normal");
    check_ok(txn_put(t, "key1", "new_base"));
    check_ok(txn_merge(t, "key1", "final_merge"));
    check_rest(txn_scan(t, NULL, NULL, true), "key2=normal key1=new_basefinal_merge");
    check_ok(shale_txn_commit(t, true, NULL));
    check_scan(f->db, NULL, "key1=new_basefinal_merge key2=normal");
}

/*
 * R283, R297, test_txn_scan_sees_concurrent_put_in_same_txn: a scan does not see what the transaction writes after it
 * was begun.
 */
static void test_scan_stands_still(void **state)
{
    struct db_fixture *f = *state;
    struct shale_iter *before;
    struct shale_txn *t;

    fixture_open(f);
    check_ok(put_text(f->db, "k1", "v1", false));
    check_ok(put_text(f->db, "k3", "v3", false));
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    before = txn_scan(t, NULL, NULL, false);
    check_ok(txn_put(t, "k2", "v2"));
    check_ok(txn_put(t, "k3", "updated"));
    check_rest(before, "k1=v1 k3=v3");
    check_rest(txn_scan(t, NULL, NULL, false), "k1=v1 k2=v2 k3=updated");
    /* R151 */
    {
        struct shale_iter *it = NULL;

        check_ok(shale_txn_scan_prefix(t, slice_str("k"), NULL, &it));
        check_rest(it, "k1=v1 k2=v2 k3=updated");
        check_ok(shale_txn_scan_prefix(t, slice_str("x"), NULL, &it));
        check_rest(it, "");
    }
    shale_txn_rollback(t);
}

/* H5: only as far as the scan was read; and a seek leaves out what it jumps over. */
static void test_partial_scans(void **state)
{
    static const struct {
        bool descending;
        int rows;         /* to read first */
        const char *seek; /* then; and one row */
        const char *write;
        bool conflict;
    } cases[] = {
        { false, 0, NULL, "a", false },  { false, 1, NULL, "a", true },   { false, 1, NULL, "b", true },
        { false, 1, NULL, "bb", false }, { false, 2, NULL, "bb", true },  { false, 1, "f", "e", false },
        { false, 1, "f", "f", true },    { false, 1, "f", "a", true },    { false, 1, "f", "ff", true },
        { false, 1, "f", "hh", false },  { true, 1, NULL, "z", true },    { true, 1, NULL, "h", true },
        { true, 1, NULL, "gg", false },  { true, 1, "e", "f", false },    { true, 1, "e", "dd", true },
        { true, 1, "e", "a", false },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct db_fixture *f = *state;
        struct shale_iter *it;
        struct shale_txn *t;
        struct shale_row row;

        print_message("case %zu\n", i);
        fixture_open(f);
        check_ok(put_text(f->db, "b", "1", false));
        check_ok(put_text(f->db, "d", "1", false));
        check_ok(put_text(f->db, "h", "1", false));
        t = begin(f, SHALE_TXN_SERIALIZABLE);
        it = txn_scan(t, NULL, NULL, cases[i].descending);
        for (int n = 0; n < cases[i].rows; n++)
            check_ok(shale_iter_next(it, &row));
        if (cases[i].seek) {
            check_ok(shale_iter_seek(it, slice_str(cases[i].seek)));
            check_ok(shale_iter_next(it, &row));
        }
        check_ok(put_text(f->db, cases[i].write, "x", false));
        check_err(cases[i].conflict ? SHALE_ECONFLICT : 0, shale_txn_commit(t, false, NULL));
        /* An iterator may outlive its transaction. */
        while (shale_iter_next(it, &row) == 0)
            ;
        shale_iter_close(it);
        fixture_crash(f);
    }
}

/* R285, R290, test_txn_si_commit_conflict: two transactions; the first wins, and both are gone afterwards. */
static void test_first_wins(void **state)
{
    struct db_fixture *f = *state;
    struct shale_write_result w = { 0 };
    struct shale_txn *a, *b;

    fixture_open(f);
    a = begin(f, SHALE_TXN_SNAPSHOT);
    b = begin(f, SHALE_TXN_SNAPSHOT);
    check_ok(txn_put(a, "k", "a"));
    check_ok(txn_put(b, "k", "b"));
    check_ok(shale_txn_commit(b, true, &w));
    assert_int_equal(w.seq, 1);
    assert_int_equal(f->db->conflicts.n_keys, 1);
    check_err(SHALE_ECONFLICT, shale_txn_commit(a, true, &w));
    assert_int_equal(w.seq, 1); /* as it was */
    assert_int_equal(f->db->conflicts.n_keys, 0);
    check_value(f->db, NULL, "k", "b");
}

/* R287, test_unmark_write_avoids_read_write_conflicts_for_others: an unmarked write conflicts with nobody's reads. */
static void test_unmarked_for_others(void **state)
{
    struct db_fixture *f = *state;
    struct shale_txn *reader, *writer;

    for (int unmark = 0; unmark < 2; unmark++) {
        fixture_open(f);
        check_ok(put_text(f->db, "k1", "v1", false));
        reader = begin(f, SHALE_TXN_SERIALIZABLE);
        check_txn_value(reader, "k1", "v1");
        writer = begin(f, SHALE_TXN_SNAPSHOT);
        check_ok(txn_put(writer, "k1", "v2"));
        if (unmark)
            check_ok(shale_txn_unmark_write(writer, slice_str("k1")));
        check_ok(shale_txn_commit(writer, false, NULL));
        check_ok(txn_put(reader, "k2", "v2"));
        check_err(unmark ? 0 : SHALE_ECONFLICT, shale_txn_commit(reader, false, NULL));
        fixture_crash(f);
    }
}

/* test_txn_commit_returns_write_handle, test_txn_commit_with_options_empty_batch_returns_none. */
static void test_commit_tells_number_and_time(void **state)
{
    struct db_fixture *f = *state;
    struct shale_write_result w = { 0 };
    struct shale_txn *t;

    fixture_open(f);
    for (uint64_t i = 1; i <= 3; i++) {
        f->now_ms = (int64_t)(100 * i);
        t = begin(f, SHALE_TXN_SNAPSHOT);
        check_ok(i == 3 ? shale_txn_delete(t, slice_str("k")) : txn_put(t, "k", "v"));
        check_ok(shale_txn_commit(t, false, &w));
        assert_int_equal(w.seq, i);
        assert_int_equal(w.create_ts, 100 * i);
    }
    t = begin(f, SHALE_TXN_SNAPSHOT);
    w = (struct shale_write_result){ .seq = 77 };
    check_ok(shale_txn_commit(t, false, &w));
    assert_int_equal(db_status(f->db).committed_seq, 3);
    assert_true(w.seq == 77 || w.seq == 0); /* nothing was written, and nothing is told of */
}

/* H3: a transaction that failed leaves no gap in the sequence numbers. */
static void test_no_gap(void **state)
{
    struct db_fixture *f = *state;
    struct shale_write_result w = { 0 };
    struct shale_txn *t;

    fixture_open(f);
    t = begin(f, SHALE_TXN_SNAPSHOT);
    check_ok(txn_put(t, "k", "a"));
    check_ok(put_text(f->db, "k", "x", false));
    check_err(SHALE_ECONFLICT, shale_txn_commit(t, false, NULL));
    t = begin(f, SHALE_TXN_SNAPSHOT);
    check_ok(txn_put(t, "k", "b"));
    check_ok(shale_txn_commit(t, false, &w));
    assert_int_equal(w.seq, 2);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1);
}

/*
 * R288, R296, test_non_transactional_writes_do_not_accumulate_without_active_writers: plain writes are remembered
 * only while a transaction is under way; R290: and no longer.
 */
static void test_tracking(void **state)
{
    struct db_fixture *f = *state;
    struct shale_txn *a, *b;

    fixture_open(f);
    check_ok(put_text(f->db, "k1", "x", false));
    assert_int_equal(f->db->conflicts.n_keys, 0);
    assert_int_equal(db_status(f->db).committed_seq, 1);
    a = begin(f, SHALE_TXN_SNAPSHOT);
    check_ok(put_text(f->db, "k2", "x", false));
    assert_int_equal(f->db->conflicts.n_keys, 1);
    b = begin(f, SHALE_TXN_SNAPSHOT);
    assert_int_equal(shale_txn_seq(b), 2);
    shale_txn_rollback(a);
    assert_int_equal(f->db->conflicts.n_keys, 0); /* b began after it */
    check_ok(txn_put(b, "k3", "x"));
    check_ok(shale_txn_commit(b, false, NULL));
    assert_int_equal(f->db->conflicts.n_keys, 0); /* nobody is left */
    shale_txn_rollback(NULL);
}

static uint64_t minimum(struct db_fixture *f, uint64_t otherwise)
{
    uint64_t n;

    mutex_lock(&f->db->mu);
    n = db_snapshot_min_locked(f->db, otherwise);
    mutex_unlock(&f->db->mu);
    return n;
}

/* R295, min_active_seq: none; one; the least of several, in whatever order they end. */
static void test_minimum_active(void **state)
{
    struct db_fixture *f = *state;
    struct shale_txn *t[3];
    uint64_t none = 77;

    fixture_open(f);
    for (int i = 0; i < 3; i++) {
        check_ok(put_text(f->db, "k", "v", false));
        assert_int_equal(minimum(f, none + (uint64_t)i), i == 0 ? none : 1);
        t[i] = begin(f, i % 2 ? SHALE_TXN_SNAPSHOT : SHALE_TXN_SERIALIZABLE);
        assert_int_equal(shale_txn_seq(t[i]), i + 1);
    }
    assert_int_equal(minimum(f, none), 1);
    shale_txn_rollback(t[1]);
    assert_int_equal(minimum(f, none), 1);
    shale_txn_rollback(t[0]);
    assert_int_equal(minimum(f, none), 3);
    check_ok(shale_txn_commit(t[2], false, NULL));
    assert_int_equal(minimum(f, none), none);
}

/*
 * 28.1, recent_snapshot_min_seq (R72, R266, R75; test_recent_snapshot_min_seq_uses_transaction_seq, ..._prefers_*):
 * what a transaction may read survives a flush, and counts in the manifest.
 */
static void test_minimum(void **state)
{
    struct db_fixture *f = *state;
    struct shale_snapshot *snap = NULL;
    struct manifest_version *v;
    struct shale_txn *t;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "1", false));
    t = begin(f, SHALE_TXN_SNAPSHOT);
    check_ok(put_text(f->db, "k", "2", false));
    check_ok(shale_db_snapshot(f->db, &snap));
    check_ok(put_text(f->db, "k", "3", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    v = manifest_store_current(f->db->manifests);
    assert_int_equal(v->m.recent_snapshot_min_seq, 1);
    manifest_version_unref(v);
    check_txn_value(t, "k", "1");
    check_value(f->db, &(struct shale_read_options){ .snapshot = snap }, "k", "2");
    shale_txn_rollback(t);
    check_ok(put_text(f->db, "k", "4", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    v = manifest_store_current(f->db->manifests);
    assert_int_equal(v->m.recent_snapshot_min_seq, 2);
    manifest_version_unref(v);
    shale_snapshot_release(f->db, snap);
    check_value(f->db, NULL, "k", "4");
}

/* R298: committed and not durable; and durable_only within a transaction never hides own writes. */
static void test_durability(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_read_options durable = { .durable_only = true };
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_txn *t;

    fixture_open(f);
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    check_ok(txn_put(t, "k", "v"));
    check_ok(shale_txn_get(t, slice_str("k"), &durable, &value));
    check_ok(shale_txn_commit(t, false, NULL));
    check_value(f->db, NULL, "k", "v");
    check_value(f->db, &durable, "k", NULL);
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    check_err(-ENOENT, shale_txn_get(t, slice_str("k"), &durable, &value));
    check_ok(txn_put(t, "j", "v"));
    check_ok(shale_txn_commit(t, true, NULL));
    check_value(f->db, &durable, "k", "v");
    check_value(f->db, &durable, "j", "v");
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "j=v k=v");
    shale_buf_fini(&value);
}

/*
 * R298, test_txn_commit_await_durable_false, with the WAL held back; and 28.1, the pause behind a commit
 * (test_txn_conflict_when_first_commit_paused_post_commit): who begins then reads what was committed, and no conflict.
 */
static void test_visible_before_durable(void **state)
{
    const struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/wal/" };
    const struct shale_read_options durable = { .durable_only = true };
    struct db_fixture *f = *state;
    struct shale_write_result w = { 0 };
    struct shale_txn *first, *second;
    unsigned id;

    f->opt.flush_interval_ms = 1;
    fixture_open(f);
    check_ok(put_text(f->db, "k1", "v1", true));
    id = store_fault_add(f->store, &gate);
    first = begin(f, SHALE_TXN_SERIALIZABLE);
    check_ok(txn_put(first, "k1", "first"));
    check_ok(shale_txn_commit(first, false, &w));
    store_fault_wait(f->store, id, 1); /* committed, and on its way */
    check_value(f->db, NULL, "k1", "first");
    check_value(f->db, &durable, "k1", "v1");
    second = begin(f, SHALE_TXN_SERIALIZABLE);
    assert_int_equal(shale_txn_seq(second), w.seq);
    check_txn_value(second, "k1", "first");
    check_ok(txn_put(second, "k1", "second"));
    check_ok(shale_txn_commit(second, false, NULL));
    store_fault_release(f->store, id);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_value(f->db, &durable, "k1", "second");
}

/* Times to live are reckoned at the commit. */
static void test_ttl(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_row row;
    struct shale_txn *t;

    fixture_open(f);
    t = begin(f, SHALE_TXN_SNAPSHOT);
    check_ok(shale_txn_put(t, slice_str("k"), slice_str("v"), (struct shale_ttl){ SHALE_TTL_AFTER, 500 }));
    f->now_ms += 1000;
    check_ok(shale_txn_commit(t, false, NULL));
    check_ok(shale_db_get_row(f->db, slice_str("k"), NULL, &value, &row));
    assert_true(row.create_ts == f->now_ms && row.expire_ts == f->now_ms + 500);
    shale_buf_fini(&value);
}

static void test_arguments(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_txn *t = NULL;
    uint8_t *big = calloc(1, SHALE_KEY_MAX + 1);

    fixture_open(f);
    check_err(-EINVAL, shale_txn_begin(f->db, (enum shale_isolation)7, &t));
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    check_err(-EINVAL, txn_put(t, "", "v"));
    check_err(-EINVAL, shale_txn_put(t, slice_of(big, SHALE_KEY_MAX + 1), slice_str("v"), SHALE_TTL_INIT));
    check_err(-EINVAL, shale_txn_put(t, slice_str("k"), slice_of("", (size_t)SHALE_VALUE_MAX + 1), SHALE_TTL_INIT));
    check_err(-EINVAL, shale_txn_delete(t, slice_str("")));
    check_err(-EINVAL, shale_txn_get(t, slice_str(""), NULL, &value));
    check_err(-EINVAL, shale_txn_mark_read(t, slice_str("")));
    check_err(-EINVAL, shale_txn_unmark_write(t, slice_str("")));
    check_ok(shale_txn_commit(t, true, NULL)); /* nothing was written */
    free(big);
    fixture_close(f);
    f->opt.merge_operator = NULL;
    fixture_open(f);
    t = begin(f, SHALE_TXN_SNAPSHOT);
    check_err(SHALE_EMERGE, txn_merge(t, "k", "v")); /* H23 */
    shale_txn_rollback(t);
    assert_string_equal(shale_strerror(SHALE_ECONFLICT), "transaction conflict");
}

/* A handle that is dead commits nothing; what is begun can be ended. */
static void test_dead_handle(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *other;
    struct shale_txn *t, *none = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    check_ok(txn_put(t, "k", "w"));
    other = fixture_open_other(f);
    check_err(SHALE_EFENCED, shale_txn_commit(t, true, NULL));
    check_err(SHALE_EFENCED, shale_txn_begin(f->db, SHALE_TXN_SNAPSHOT, &none));
    check_value(other, NULL, "k", "v");
    check_ok(shale_db_close(other, SHALE_CLOSE_FLUSH));
}

/* Ended by nobody: the handle's end frees it. */
static void test_left_behind(void **state)
{
    struct db_fixture *f = *state;
    struct shale_txn *t;

    fixture_open(f);
    t = begin(f, SHALE_TXN_SERIALIZABLE);
    check_ok(txn_put(t, "k", "v"));
    check_rest(txn_scan(t, NULL, NULL, false), "k=v");
    fixture_close(f);
}

/* One transaction of everything; 0, or what failed. */
static int whole_life(struct db_fixture *f)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    struct shale_txn *t = NULL;
    struct shale_row row;
    int rc = shale_txn_begin(f->db, SHALE_TXN_SERIALIZABLE, &t);

    if (rc == 0)
        rc = txn_put(t, "k1", "new");
    if (rc == 0)
        rc = txn_merge(t, "k2", "+new");
    if (rc == 0)
        rc = shale_txn_get(t, slice_str("k2"), NULL, &value);
    if (rc == 0)
        rc = shale_txn_scan(t, &(struct shale_key_range){ 0 }, NULL, &it);
    while (rc == 0)
        rc = shale_iter_next(it, &row);
    shale_iter_close(it);
    if (rc == SHALE_END)
        rc = shale_txn_unmark_write(t, slice_str("k2"));
    if (rc == 0)
        rc = shale_txn_commit(t, false, NULL);
    else
        shale_txn_rollback(t);
    shale_buf_fini(&value);
    return rc;
}

/* Without memory a transaction fails whole, and the database goes on. */
static void test_without_memory(void **state)
{
    struct db_fixture *f = *state;
    struct shale_txn *other;

    fixture_open(f);
    for (unsigned n = 1;; n++) {
        bool failed;
        int rc;

        check_ok(put_text(f->db, "k1", "old", false));
        check_ok(put_text(f->db, "k2", "old", false));
        other = begin(f, SHALE_TXN_SERIALIZABLE); /* so that the commit has to be remembered */
        check_ok(shale_txn_mark_read(other, slice_str("k1")));
        heap_fault_after(n);
        rc = whole_life(f);
        failed = heap_fault_off();
        check_scan(f->db, NULL, rc == 0 ? "k1=new k2=old+new" : "k1=old k2=old");
        check_err(rc == 0 ? SHALE_ECONFLICT : 0, shale_txn_commit(other, false, NULL));
        if (!failed) {
            check_ok(rc);
            assert_true(n > 15);
            break;
        }
        assert_true(rc == 0 || rc == -ENOMEM); /* some do without */
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reads),     TEST(test_own_merges), TEST(test_scan_stands_still), TEST(test_partial_scans),
        TEST(test_first_wins), TEST(test_unmarked_for_others), TEST(test_commit_tells_number_and_time),
        TEST(test_no_gap),     TEST(test_tracking),  TEST(test_minimum_active),
        TEST(test_minimum),   TEST(test_durability), TEST(test_visible_before_durable), TEST(test_ttl),
        TEST(test_arguments), TEST(test_dead_handle), TEST(test_left_behind),      TEST(test_without_memory),
    };
    struct cases c = { 0 };

    CASES_ADD_TABLE(&c, "20.5 test_txn_table_driven", step_cases, test_step_case);
    cases_add_tests(&c, tests, ARRAY_SIZE(tests));
    return cases_run(&c, NULL, NULL);
}
