/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "base/reread.h"

#include <sched.h>
#include <shale/admin.h>
#include <stdio.h>

/*
 * What a store sends may have been spoilt on the way: a bit is another, the end is missing, or all of it. It is read
 * again, and the reader does not notice; only what is spoilt each time is called damaged, and then what is read
 * elsewhere, or later, is as it was.
 */

enum { KEYS = 60 };

static void key_text(int i, char out[8])
{
    snprintf(out, 8, "k%03d", i);
}

static const char *value_text(int i, char out[512])
{
    memset(out, 'a' + i % 26, 400);
    snprintf(out + 400, 112, "%d", i);
    return out;
}

/* Some twenty blocks in an L0, or in the log alone; nothing is kept in memory. */
static void fill(struct db_fixture *f, bool flush)
{
    char key[8], value[512];

    f->opt.block_cache_bytes = 0;
    fixture_open(f);
    for (int i = 0; i < KEYS; i++) {
        key_text(i, key);
        check_ok(put_text(f->db, key, value_text(i, value), i % 20 == 19));
    }
    if (flush)
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
}

static void check_all(struct shale_db *db)
{
    char key[8], value[512];

    for (int i = 0; i < KEYS; i++) {
        key_text(i, key);
        check_value(db, NULL, key, value_text(i, value));
    }
}

static int scan(struct shale_db *db, int *n)
{
    struct shale_iter *it = NULL;
    struct shale_row row;
    char value[512];
    int rc;

    check_ok(shale_db_scan(db, &(struct shale_key_range){ 0 }, NULL, &it));
    for (*n = 0; (rc = shale_iter_next(it, &row)) == 0; ++*n)
        assert_true(slice_eq(row.value, slice_str(value_text(*n, value))));
    shale_iter_close(it);
    return rc;
}

static unsigned spoil(struct db_fixture *f, const struct fault_rule *rule, enum fault_class cls, unsigned times)
{
    struct fault_rule r = *rule;

    r.cls = cls;
    r.times = times;
    return store_fault_add(f->store, &r);
}

static const struct fault_rule ways[] = {
    { .action = FAULT_FLIP, .keep = 0 },
    { .action = FAULT_FLIP, .keep = 41 },
    { .action = FAULT_FLIP, .keep = SIZE_MAX - 1 },
    { .action = FAULT_SHORT, .keep = 50 },
    { .action = FAULT_SHORT, .keep = 0 },
};

static void a_get_reads_again(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf got = SHALE_BUF_INIT;

    fill(f, true);
    for (size_t i = 0; ways[i].action == FAULT_FLIP; i++) { /* a range that is cut is not what a store may send */
        unsigned rule = spoil(f, &ways[i], FAULT_RANGE, REREAD_MAX - 1);

        check_all(f->db);
        assert_int_equal(store_fault_hits(f->store, rule), REREAD_MAX - 1);
        rule = spoil(f, &ways[i], FAULT_RANGE, FAULT_ALWAYS);
        check_err(SHALE_ECORRUPT, shale_db_get(f->db, slice_str("k007"), NULL, &got));
        assert_non_null(strstr(shale_errmsg(), "/compacted/"));
        assert_non_null(strstr(shale_errmsg(), "(read 3 times)"));
        assert_int_equal(store_fault_hits(f->store, rule), REREAD_MAX);
        check_ok(db_status(f->db).error); /* a read that failed is nobody else's concern */
        store_fault_clear(f->store);
        check_all(f->db);
    }
    shale_buf_fini(&got);
    check_ok(put_text(f->db, "z", "1", true));
}

static void a_scan_reads_again_at_each_of_its_reads(void **state)
{
    struct db_fixture *f = *state;
    unsigned nth = 1, hits = 1, rule;
    int n;

    fill(f, true);
    for (; hits > 0; nth++) {
        rule = store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_RANGE, .action = FAULT_FLIP, .nth = nth,
                                                               .keep = 1500 });
        check_err(SHALE_END, scan(f->db, &n));
        assert_int_equal(n, KEYS);
        hits = store_fault_hits(f->store, rule);
        store_fault_clear(f->store);
    }
    assert_true(nth > 3);
}

/* What the object is good for is whole, wherever the bit lies: filter and stats are not read here. */
static void the_log_is_read_again(void **state)
{
    struct db_fixture *f = *state;

    fill(f, false);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
        for (unsigned times = REREAD_MAX - 1; times <= REREAD_MAX; times++) {
            struct fault_rule r = ways[i];
            unsigned rule;
            int rc;

            fixture_crash(f);
            r.match = "/wal/00000000000000000002"; /* the first with rows */
            rule = spoil(f, &r, FAULT_GET, times);
            rc = shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &f->db);
            if (times < REREAD_MAX) {
                check_ok(rc);
                check_all(f->db);
            } else {
                assert_true(rc == SHALE_ECORRUPT || rc == SHALE_EVERSION); /* half a trailer is one of any version */
                assert_non_null(strstr(shale_errmsg(), r.match));
                assert_non_null(strstr(shale_errmsg(), "(read 3 times)"));
            }
            assert_int_equal(store_fault_hits(f->store, rule), times);
            store_fault_clear(f->store);
        }
}

/* A manifest has no checksum; this is what its form shows. */
static void a_manifest_is_read_again(void **state)
{
    static const struct fault_rule shows[] = {
        { .action = FAULT_SHORT, .keep = 0 },
        { .action = FAULT_SHORT, .keep = 33 },
        { .action = FAULT_FLIP, .keep = 1 }, /* of the version */
    };
    struct db_fixture *f = *state;

    fill(f, true);
    for (size_t i = 0; i < ARRAY_SIZE(shows); i++) {
        struct fault_rule r = shows[i];

        fixture_crash(f);
        r.match = "/manifest/";
        (void)spoil(f, &r, FAULT_GET, REREAD_MAX - 1);
        fixture_open(f);
        check_all(f->db);
    }
}

/* The n-th read of a compaction, for each; once, so that no chunk and no block of it is let through unchecked. */
static void a_compaction_reads_again(void **state)
{
    struct db_fixture *f = *state;
    unsigned hits = 0, rule;
    uint64_t done;

    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.compactor.poll_interval_ms = 1;
    fill(f, true);
    for (unsigned nth = 1; nth <= 12; nth++) {
        rule = store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_RANGE, .action = FAULT_FLIP, .nth = nth,
                                                               .match = "/compacted/", .keep = 2500 });
        done = db_status(f->db).compactions;
        while (db_status(f->db).compactions == done) {
            check_ok(put_text(f->db, "k000", value_text(0, (char[512]){ 0 }), true));
            check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
            sched_yield();
        }
        while (db_status(f->db).n_compacting > 0)
            sched_yield();
        hits += store_fault_hits(f->store, rule);
        store_fault_clear(f->store);
        check_ok(db_status(f->db).error);
    }
    assert_true(hits > 3);
    check_all(f->db);
}

/* Otherwise what was spoilt once would be so for ever. */
static void a_clone_never_keeps_what_was_spoilt(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_admin_options a = { .clock = &f->clock };
    struct shale_db *db = NULL;
    char path[16];
    int n;

    fill(f, false);
    fixture_close(f); /* the manifest knows of the log now */
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct fault_rule r = ways[i];
        unsigned rule;

        r.match = "/wal/";
        snprintf(path, sizeof(path), "c%zu", i);
        rule = spoil(f, &r, FAULT_GET, 1);
        check_ok(shale_clone(f->store, path, FIXTURE_ROOT, NULL, &a));
        assert_int_equal(store_fault_hits(f->store, rule), 1);
        store_fault_clear(f->store);
        check_ok(shale_db_open(f->store, path, &f->opt, false, &db));
        check_err(SHALE_END, scan(db, &n));
        assert_int_equal(n, KEYS);
        check_ok(shale_db_close(db, SHALE_CLOSE_ABANDON));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_get_reads_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_scan_reads_again_at_each_of_its_reads, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_log_is_read_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_manifest_is_read_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_compaction_reads_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_clone_never_keeps_what_was_spoilt, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
