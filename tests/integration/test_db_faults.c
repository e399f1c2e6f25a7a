/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

/*
 * The n-th call to the store fails, loses its reply, or is the last one that gets through, for every n. After each, a clean
 * store must show a moment of the history that is not before the last acknowledged one, with no batch half there.
 */

/* The workload: each step makes the next state true. */
static const char *const states[] = { "", "a=1 b=1", "a=1 b=1 c=1", "a=2 b=2 c=1", "a=2 b=2 c=1 d=1" };

static int write_pair(struct shale_db *db, const char *value)
{
    struct shale_batch *b = NULL;
    int rc;

    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_put(b, slice_str("a"), slice_str(value), SHALE_TTL_INIT));
    check_ok(shale_batch_put(b, slice_str("b"), slice_str(value), SHALE_TTL_INIT));
    rc = shale_db_write(db, b, true, NULL);
    shale_batch_free(b);
    return rc;
}

/* *acked: the last state that was acknowledged as durable. Stops at the first failure, and closes in any case. */
static int work(struct db_fixture *f, size_t *acked)
{
    int rc = shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &f->db), close_rc;

    *acked = 0;
    if (rc < 0) {
        assert_null(f->db);
        assert_true(shale_errmsg()[0] != '\0');
        return rc;
    }
    rc = write_pair(f->db, "1");
    if (rc == 0) {
        *acked = 1;
        rc = put_text(f->db, "c", "1", false);
    }
    if (rc == 0)
        rc = shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE);
    if (rc == 0) {
        *acked = 2;
        rc = write_pair(f->db, "2");
    }
    if (rc == 0) {
        *acked = 3;
        rc = put_text(f->db, "d", "1", false);
    }
    close_rc = shale_db_close(f->db, SHALE_CLOSE_FLUSH);
    f->db = NULL;
    if (rc == 0 && close_rc == 0)
        *acked = 4;
    return rc < 0 ? rc : close_rc;
}

static void check_state(struct db_fixture *f, size_t acked)
{
    struct shale_buf got = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    struct shale_row row;
    bool found = false;

    store_fault_clear(f->store);
    fixture_open(f);
    check_ok(shale_db_scan(f->db, &(struct shale_key_range){ 0 }, NULL, &it));
    while (shale_iter_next(it, &row) == 0)
        check_ok(buf_printf(&got, "%s%c=%c", got.len ? " " : "", row.key.data[0], row.value.data[0]));
    shale_iter_close(it);
    for (size_t i = acked; i < ARRAY_SIZE(states); i++)
        found = found || strcmp(got.len ? (const char *)got.data : "", states[i]) == 0;
    if (!found)
        fail_msg("found '%.*s', which is not '%s' or later", (int)got.len, (const char *)got.data, states[acked]);
    shale_buf_fini(&got);
    /* It goes on from there, without a gap in the sequence numbers. */
    check_ok(put_text(f->db, "e", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    fixture_close(f);
    fixture_open(f);
    check_value(f->db, NULL, "e", "1");
    fixture_crash(f);
}

enum { MAX_CALLS = 400 };

/* One run for each n; prepare may set options. Returns how many n there were. */
static unsigned loop(const struct fault_rule *rule, void (*prepare)(struct shale_options *opt), int want)
{
    bool clean = false;
    unsigned n = 0;

    while (!clean) {
        struct fault_rule r = *rule;
        struct db_fixture f;
        unsigned id;
        size_t acked;
        int rc;

        assert_true(++n < MAX_CALLS);
        r.nth = n;
        fixture_init(&f);
        if (prepare)
            prepare(&f.opt);
        id = store_fault_add(f.store, &r);
        rc = work(&f, &acked);
        clean = store_fault_hits(f.store, id) == 0;
        if (clean || want == 0)
            check_ok(rc);
        check_state(&f, acked);
        fixture_fini(&f);
    }
    return n;
}

/* Every memtable goes to L0 by itself, and a compactor works on them. */
static void busy(struct shale_options *opt)
{
    opt->l0_sst_size_bytes = 1;
    opt->compactor.enabled = true;
    opt->compactor.min_sources = 2;
    opt->block_cache_bytes = 0;
}

static void without_wal(struct shale_options *opt)
{
    opt->wal_enabled = false;
}

static void a_failing_call(void **state)
{
    const struct fault_rule r = { .cls = FAULT_ANY, .rc = -EIO };

    (void)state;
    assert_true(loop(&r, NULL, -EIO) > 10);
    assert_true(loop(&r, busy, -EIO) > 10);
    assert_true(loop(&r, without_wal, -EIO) > 10);
}

static void a_call_whose_answer_is_an_error_though_it_was_done(void **state)
{
    const struct fault_rule r = { .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO };

    (void)state;
    assert_true(loop(&r, NULL, -EIO) > 10);
    assert_true(loop(&r, busy, -EIO) > 10);
    assert_true(loop(&r, without_wal, -EIO) > 10);
}

static void a_store_that_is_cut_off(void **state)
{
    const struct fault_rule before = { .cls = FAULT_ANY, .rc = -EIO, .times = FAULT_ALWAYS };
    const struct fault_rule after = {
        .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO, .times = 1
    };

    (void)state;
    assert_true(loop(&before, NULL, -EIO) > 10);
    assert_true(loop(&before, busy, -EIO) > 10);
    assert_true(loop(&before, without_wal, -EIO) > 10);
    assert_true(loop(&after, busy, -EIO) > 10);
}

static void a_lost_reply_is_made_good(void **state)
{
    const struct fault_rule put = { .cls = FAULT_PUT, .action = FAULT_LOSE_REPLY };
    const struct fault_rule upload = { .cls = FAULT_UPLOAD_FINISH, .action = FAULT_LOSE_REPLY };

    (void)state;
    assert_true(loop(&put, NULL, 0) > 5);
    loop(&upload, busy, 0);
}

static void a_store_that_often_fails_is_asked_again(void **state)
{
    const struct fault_rule r = { .cls = FAULT_ANY, .nth = 3, .every = 5 };
    struct db_fixture f;
    size_t acked;

    (void)state;
    fixture_init(&f);
    store_fault_add(f.store, &r);
    check_ok(work(&f, &acked));
    assert_int_equal(acked, 4);
    check_state(&f, acked);
    fixture_fini(&f);
}

/* The second open of a database with rows in the WAL and in L0 fails at each call; nothing of it is lost by that. */
static void a_failing_reopen(void **state)
{
    bool clean = false;

    (void)state;
    for (unsigned n = 1; !clean; n++) {
        struct fault_rule r = { .cls = FAULT_ANY, .rc = -EIO, .nth = n };
        struct db_fixture f;
        size_t acked;
        unsigned id;
        int rc;

        assert_true(n < MAX_CALLS);
        fixture_init(&f);
        check_ok(work(&f, &acked));
        id = store_fault_add(f.store, &r);
        rc = shale_db_open(f.store, FIXTURE_ROOT, &f.opt, true, &f.db);
        clean = store_fault_hits(f.store, id) == 0;
        check_err(clean ? 0 : -EIO, rc);
        check_ok(shale_db_close(f.db, SHALE_CLOSE_ABANDON));
        f.db = NULL;
        check_state(&f, acked);
        fixture_fini(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_call),
        cmocka_unit_test(a_call_whose_answer_is_an_error_though_it_was_done),
        cmocka_unit_test(a_store_that_is_cut_off),
        cmocka_unit_test(a_lost_reply_is_made_good),
        cmocka_unit_test(a_store_that_often_fails_is_asked_again),
        cmocka_unit_test(a_failing_reopen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
