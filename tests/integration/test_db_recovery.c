/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "db/db.h"
#include "sst/sst_writer.h"
#include "wal/wal_replay.h"

#include <stdio.h>

/* Open after close, after a crash, and on what other programs leave behind. */

/* 28.1, reopen ids. */
static void reopening_goes_on_where_it_was(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    fixture_crash(f);
    fixture_open(f);
    assert_int_equal(db_status(f->db).next_wal_id, 4);
    assert_int_equal(db_status(f->db).writer_epoch, 2);
    check_scan(f->db, NULL, "k=v");
    assert_int_equal(db_status(f->db).durable_seq, 1);
}

/* 28.1, seq restore; test_restore_seq_number, test_all_kv_seq_num_are_greater_than_0. */
static void sequence_numbers_are_restored(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_write_result w;
    struct shale_batch *b = NULL;
    struct shale_row row;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(put_text(f->db, "b", "1", false));
    check_ok(put_text(f->db, "c", "1", false));
    fixture_close(f);
    fixture_open(f);
    check_ok(shale_db_get_row(f->db, slice_str("c"), NULL, &value, &row));
    assert_int_equal(row.seq, 3);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    fixture_crash(f);
    fixture_open(f); /* now from the manifest alone */
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_delete(b, slice_str("a")));
    check_ok(shale_db_write(f->db, b, true, &w));
    assert_int_equal(w.seq, 4);
    shale_batch_free(b);
    shale_buf_fini(&value);
}

/* 28.1, clean close; test_clean_close_flushes_pending_wal, test_close_triggers_flush_when_open. */
static void a_clean_close_writes_one_wal_object_and_tells_the_manifest(void **state)
{
    struct db_fixture *f = *state;
    struct manifest_store *ms = NULL;
    struct manifest_version *v = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(put_text(f->db, "b", "2", false));
    fixture_close(f);
    assert_int_equal(count_objects(f->mem, "wal"), 2);
    check_ok(manifest_store_new(f->store, FIXTURE_ROOT, 1000, &ms));
    check_ok(manifest_store_load_latest(ms, &v));
    assert_int_equal(v->id, 3);
    assert_int_equal(v->m.wal_id_last_seen, 2);
    assert_int_equal(v->m.replay_after_wal_id, 0);
    manifest_version_unref(v);
    manifest_store_free(ms);
}

static void abandoning_writes_nothing(void **state)
{
    struct db_fixture *f = *state;
    unsigned before;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "2", false));
    store_fault_reset_counts(f->store);
    fixture_crash(f);
    before = store_fault_count(f->store, FAULT_ANY);
    assert_int_equal(before, 0);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
}

/* should_flush_all_memtables_when_wal_disabled. */
static void without_wal_a_close_flushes_memtables(void **state)
{
    struct db_fixture *f = *state;

    f->opt.wal_enabled = false;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    fixture_close(f);
    assert_int_equal(count_objects(f->mem, "compacted"), 1);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
    check_ok(put_text(f->db, "b", "1", false));
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
}

/* L0 is full and nobody compacts, which SlateDB waits for for ever. */
static void without_wal_a_close_needs_no_room_in_l0(void **state)
{
    struct db_fixture *f = *state;

    f->opt.wal_enabled = false;
    f->opt.l0_max_ssts = 1;
    f->opt.l0_sst_size_bytes = 1; /* every row a table */
    f->opt.flush_interval_ms = 0;
    fixture_open(f);
    for (int i = 0; i < 3; i++) {
        const char key[] = { (char)('a' + i), '\0' };

        check_ok(put_text(f->db, key, "1", false));
    }
    fixture_close(f);
    assert_int_equal(count_objects(f->mem, "compacted"), 3);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1 b=1 c=1");
    assert_int_equal(db_status(f->db).n_l0, 3);
}

/* 28.1, WAL turned off later (test_disable_wal_after_wal_enabled). */
static void the_wal_may_be_turned_off_later(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "1", true));
    fixture_crash(f);
    f->opt.wal_enabled = false;
    fixture_open(f);
    check_scan(f->db, NULL, "a=1 b=1");
    check_ok(delete_text(f->db, "a", false));
    check_ok(put_text(f->db, "b", "2", false));
    fixture_close(f);
    for (int i = 0; i < 2; i++) {
        f->opt.wal_enabled = i == 1;
        fixture_open(f);
        check_scan(f->db, NULL, "b=2");
        fixture_close(f);
    }
}

static void replayed_tables_end_with_wal_objects(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule stuck = {
        .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/compacted/", .times = FAULT_ALWAYS
    };
    const struct imm *m;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    fixture_crash(f);
    f->opt.l0_sst_size_bytes = 1;
    store_fault_add(f->store, &stuck);
    fixture_open(f);
    mutex_lock(&f->db->mu);
    assert_int_equal(f->db->n_imms, 1);
    m = list_entry(f->db->imms.next, struct imm, node);
    assert_int_equal(m->wal_id, 2);
    mutex_unlock(&f->db->mu);
    assert_int_equal(db_status(f->db).n_l0, 0);
    assert_int_equal(db_status(f->db).next_wal_id, 4);
    check_value(f->db, NULL, "a", "1");
    store_fault_clear(f->store);
}

static void replay_skips_what_is_in_l0(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    for (int i = 0; i < 3; i++)
        check_ok(merge_text(f->db, "k", "x", false)); /* counted twice if it were replayed */
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(merge_text(f->db, "k", "y", true));
    assert_int_equal(db_status(f->db).replay_after_wal_id, 1); /* object 2 was not there when the table was frozen */
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "k=xxxy");
}

/* What SlateDB writes of two operands of one batch whose expiry differs. */
static void of_rows_with_one_key_and_number_the_last_counts(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_row rows[] = {
        { .key = slice_str("k"), .value = slice_str("first"), .seq = 1, .create_ts = 5, .expire_ts = SHALE_NO_TS },
        { .key = slice_str("k"), .value = slice_str("the last"), .seq = 1, .create_ts = 5, .expire_ts = 90 },
        { .key = slice_str("l"), .value = slice_str("1"), .seq = 1, .create_ts = 5, .expire_ts = SHALE_NO_TS },
        { .key = slice_str("l"), .kind = SHALE_TOMBSTONE, .seq = 1, .create_ts = 5, .expire_ts = SHALE_NO_TS },
    };
    const struct shale_row *const refs[] = { &rows[0], &rows[1], &rows[2], &rows[3] };
    const struct sst_format format = { .block_size = 1024, .min_filter_keys = 1000, .filter_bits_per_key = 10 };
    struct shale_buf object = SHALE_BUF_INIT, value = SHALE_BUF_INIT;
    struct shale_row row;

    fixture_open(f);
    fixture_crash(f);
    check_ok(wal_sst_encode(&format, refs, 4, &object));
    check_ok(shale_store_put(f->mem, FIXTURE_ROOT "/wal/00000000000000000002.sst", slice_of_buf(&object),
                             SHALE_PUT_IF_ABSENT));
    for (int i = 0; i < 2; i++) {
        fixture_open(f);
        check_scan(f->db, NULL, "k=the last");
        check_ok(shale_db_get_row(f->db, slice_str("k"), NULL, &value, &row));
        assert_int_equal(row.expire_ts, 90);
        if (i == 0)
            check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
        fixture_close(f);
    }
    shale_buf_fini(&object);
    shale_buf_fini(&value);
}

static void a_missing_wal_object_is_corruption(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "1", true));
    fixture_crash(f);
    check_ok(shale_store_delete(f->mem, FIXTURE_ROOT "/wal/00000000000000000002.sst"));
    check_err(SHALE_ECORRUPT, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &db));
    assert_non_null(strstr(shale_errmsg(), "00000000000000000002"));
}

struct counters {
    uint64_t last_l0_seq, replay_after_wal_id;
};

static int set_counters(void *arg, struct manifest *m, uint64_t next_id)
{
    const struct counters *c = arg;

    (void)next_id;
    m->last_l0_seq = c->last_l0_seq;
    m->replay_after_wal_id = c->replay_after_wal_id;
    return 0;
}

/* Neither kind of open takes the database; the sentence names what is wrong. */
static void check_refused(struct db_fixture *f, const char *what)
{
    struct shale_options opt = f->opt;

    for (int i = 0; i < 2; i++) {
        struct shale_db *db = NULL;

        opt.read_only = i == 1;
        check_err(SHALE_ECORRUPT, shale_db_open(f->store, FIXTURE_ROOT, &opt, false, &db));
        if (!strstr(shale_errmsg(), what))
            fail_msg("'%s' is not in: %s", what, shale_errmsg());
    }
}

static void counters_at_their_end_in_the_manifest_are_corruption(void **state)
{
    struct counters cases[] = { { UINT64_MAX, 0 }, { DB_SEQ_END, 0 }, { 0, UINT64_MAX }, { 0, WAL_ID_END } };
    struct db_fixture *f = *state;
    struct manifest_store *ms = NULL;
    struct manifest_version *v = NULL;

    fixture_open(f);
    fixture_close(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_ok(manifest_store_new(f->store, FIXTURE_ROOT, 1000, &ms));
        check_ok(manifest_store_load_latest(ms, &v));
        manifest_version_unref(v);
        check_ok(manifest_store_update(ms, set_counters, &cases[i], NULL));
        manifest_store_free(ms);
        check_refused(f, cases[i].last_l0_seq ? "no sequence number comes after" : "no WAL object comes after");
    }
}

static void a_sequence_number_at_its_end_in_the_wal_is_corruption(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_row row = {
        .key = slice_str("k"), .value = slice_str("v"), .seq = UINT64_MAX, .create_ts = 5, .expire_ts = SHALE_NO_TS
    };
    const struct shale_row *const refs[] = { &row };
    const struct sst_format format = { .block_size = 1024, .min_filter_keys = 1000, .filter_bits_per_key = 10 };
    struct shale_buf object = SHALE_BUF_INIT;

    fixture_open(f);
    fixture_crash(f);
    check_ok(wal_sst_encode(&format, refs, 1, &object));
    check_ok(shale_store_put(f->mem, FIXTURE_ROOT "/wal/00000000000000000002.sst", slice_of_buf(&object),
                             SHALE_PUT_IF_ABSENT));
    check_refused(f, "WAL object 2 of");
    shale_buf_fini(&object);
}

static void a_wal_id_at_its_end_is_corruption(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    fixture_crash(f);
    check_ok(shale_store_put(f->mem, FIXTURE_ROOT "/wal/18446744073709551615.sst", slice_str("x"),
                             SHALE_PUT_IF_ABSENT));
    check_refused(f, "WAL object 18446744073709551615 of");
}

static int uninitialize(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)arg, (void)next_id;
    m->initialized = false;
    return 0;
}

static void an_unfinished_clone_is_refused(void **state)
{
    struct db_fixture *f = *state;
    struct manifest_store *ms = NULL;
    struct manifest_version *v = NULL;
    struct shale_db *db = NULL;
    unsigned n;

    fixture_open(f);
    fixture_close(f);
    check_ok(manifest_store_new(f->store, FIXTURE_ROOT, 1000, &ms));
    check_ok(manifest_store_load_latest(ms, &v));
    manifest_version_unref(v);
    check_ok(manifest_store_update(ms, uninitialize, NULL, NULL));
    manifest_store_free(ms);
    n = count_objects(f->mem, "manifest");
    check_err(SHALE_EINITIALIZED, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &db));
    assert_int_equal(count_objects(f->mem, "manifest"), n); /* and was not touched */
}

/* 28.1, separate WAL store; test_put_get_reopen_delete_with_separate_wal_store. */
static void a_store_of_its_own_for_the_wal(void **state)
{
    struct db_fixture *f = *state;
    struct shale_store *wal = NULL;
    struct shale_db *db = NULL;

    check_ok(shale_store_memory(&wal));
    f->opt.wal_store = wal;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    fixture_close(f);
    assert_int_equal(count_objects(f->mem, "wal"), 0);
    assert_int_equal(count_objects(wal, "wal"), 2);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
    check_ok(delete_text(f->db, "a", true));
    fixture_close(f);
    f->opt.wal_store = NULL;
    check_err(-EINVAL, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db));
    f->opt.wal_store = wal;
    fixture_open(f);
    check_scan(f->db, NULL, "");
    fixture_close(f);
    shale_store_close(wal);
}

/* 28.1; test_wal_store_reconfiguration_fails. */
static void a_wal_store_is_not_added_later(void **state)
{
    struct db_fixture *f = *state;
    struct shale_store *wal = NULL;
    struct shale_db *db = NULL;

    fixture_open(f);
    fixture_close(f);
    check_ok(shale_store_memory(&wal));
    f->opt.wal_store = wal;
    check_err(-EINVAL, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db));
    shale_store_close(wal);
}

static void wrong_options_are_refused(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;

    f->opt.block_size = 1000;
    check_err(-EINVAL, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &db));
    assert_non_null(strstr(shale_errmsg(), "block_size"));
    f->opt.block_size = 4096;
    check_err(-EINVAL, shale_db_open(f->store, "a//b", &f->opt, true, &db));
    assert_int_equal(count_objects(f->mem, "manifest"), 0);
}

/* A writer that stalls between listing the WAL and claiming the epoch finds its fence's place taken. */
static void the_fence_finds_its_place(void **state)
{
    struct db_fixture *f = *state;
    struct sst_format format = { .block_size = 4096, .min_filter_keys = 1000, .filter_bits_per_key = 10 };
    struct shale_buf fence = SHALE_BUF_INIT;
    char name[80];

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    fixture_crash(f);
    check_ok(wal_fence_encode(&format, &fence));
    for (int id = 3; id <= 4; id++) { /* they do not show in the listing */
        struct fault_rule hide = { .cls = FAULT_LIST, .action = FAULT_SHORT, .match = "/wal/", .keep = 0 };

        snprintf(name, sizeof(name), FIXTURE_ROOT "/wal/%020d.sst", id);
        check_ok(shale_store_put(f->mem, name, slice_of_buf(&fence), SHALE_PUT_IF_ABSENT));
        if (id == 4)
            store_fault_add(f->store, &hide);
    }
    fixture_open(f);
    assert_int_equal(db_status(f->db).next_wal_id, 6);
    check_scan(f->db, NULL, "a=1");
    shale_buf_fini(&fence);
}

static void both_ends_of_a_large_database_are_there(void **state)
{
    struct db_fixture *f = *state;
    char key[16], value[64];

    f->opt.l0_sst_size_bytes = 4096;
    f->opt.l0_max_ssts = 100;
    fixture_open(f);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%06d", i);
        snprintf(value, sizeof(value), "value of %06d", i);
        check_ok(put_text(f->db, key, value, false));
    }
    fixture_close(f);
    for (int round = 0; round < 2; round++) {
        fixture_open(f);
        for (int i = 0; i < 1000; i += 37) {
            snprintf(key, sizeof(key), "%06d", i);
            snprintf(value, sizeof(value), "value of %06d", i);
            check_value(f->db, NULL, key, value);
        }
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
        fixture_crash(f);
    }
}

/* ---- who may take a database over ---- */

struct claim {
    struct db_fixture *f;
    struct shale_db *other; /* that somebody else opens meanwhile */
    bool open_other, flush_other;
    int rc;
    unsigned n_asked, n_fresh;
};

static int ask(void *arg, bool fresh)
{
    struct claim *c = arg;
    struct shale_options opt = c->f->opt;

    c->n_asked++;
    c->n_fresh += fresh;
    opt.before_claim = NULL;
    if (c->open_other)
        check_ok(shale_db_open(c->f->store, FIXTURE_ROOT, &opt, true, &c->other));
    if (c->flush_other) { /* the manifest is another then, by the same owner */
        check_ok(put_text(c->other, "a", "1", true));
        check_ok(shale_db_flush(c->other, SHALE_FLUSH_MEMTABLE));
    }
    return c->rc;
}

static int claim(struct claim *c)
{
    c->f->opt.before_claim = ask;
    c->f->opt.before_claim_arg = c;
    return shale_db_open(c->f->store, FIXTURE_ROOT, &c->f->opt, true, &c->f->db);
}

static void who_asks_first_may_be_refused(void **state)
{
    struct db_fixture *f = *state;
    struct claim c = { .f = f, .rc = -EPERM };

    check_err(-EPERM, claim(&c));
    c.rc = 0;
    check_ok(claim(&c));
    assert_int_equal(c.n_asked, 2);
    assert_int_equal(c.n_fresh, 2); /* who was refused made nothing */
    fixture_close(f);
    check_ok(claim(&c));
    assert_int_equal(c.n_fresh, 2);
    fixture_close(f);
    f->opt.read_only = true;
    check_ok(claim(&c));
    assert_int_equal(c.n_asked, 3); /* a reader claims nothing */
}

static void who_asked_first_comes_too_late(void **state)
{
    struct db_fixture *f = *state;
    struct claim c = { .f = f, .open_other = true };

    for (int i = 0; i < 2; i++) { /* when there is no database yet, and when there is one */
        check_err(-EBUSY, claim(&c));
        assert_non_null(strstr(shale_errmsg(), FIXTURE_ROOT));
        check_ok(put_text(c.other, "a", "2", true)); /* nobody has fenced it */
        check_ok(shale_db_close(c.other, SHALE_CLOSE_FLUSH));
    }
}

static void an_owner_that_went_on_is_taken_over_from(void **state)
{
    struct db_fixture *f = *state;
    struct claim c = { .f = f, .flush_other = true };

    fixture_open(f);
    c.other = f->db;
    f->db = NULL;
    check_ok(claim(&c));
    check_err(SHALE_EFENCED, put_text(c.other, "a", "2", true));
    check_value(f->db, NULL, "a", "1");
    check_ok(shale_db_close(c.other, SHALE_CLOSE_ABANDON));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(reopening_goes_on_where_it_was),
        T(sequence_numbers_are_restored),
        T(a_clean_close_writes_one_wal_object_and_tells_the_manifest),
        T(abandoning_writes_nothing),
        T(without_wal_a_close_flushes_memtables),
        T(without_wal_a_close_needs_no_room_in_l0),
        T(the_wal_may_be_turned_off_later),
        T(replayed_tables_end_with_wal_objects),
        T(replay_skips_what_is_in_l0),
        T(of_rows_with_one_key_and_number_the_last_counts),
        T(a_missing_wal_object_is_corruption),
        T(counters_at_their_end_in_the_manifest_are_corruption),
        T(a_sequence_number_at_its_end_in_the_wal_is_corruption),
        T(a_wal_id_at_its_end_is_corruption),
        T(an_unfinished_clone_is_refused),
        T(a_store_of_its_own_for_the_wal),
        T(a_wal_store_is_not_added_later),
        T(wrong_options_are_refused),
        T(the_fence_finds_its_place),
        T(both_ends_of_a_large_database_are_there),
        T(who_asks_first_may_be_refused),
        T(who_asked_first_comes_too_late),
        T(an_owner_that_went_on_is_taken_over_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
