/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/integrity.h"

#include "base/clock.h"
#include "base/ulid.h"
#include "manifest/checkpoint.h"
#include "manifest/manifest_store.h"

#include <sched.h>
#include <shale/admin.h>
#include <stdio.h>
#include <stdlib.h>

/* Clones (R276-R279, H28, H36). */

static int make_clone(struct db_fixture *f, const char *path, const char *parent, const struct shale_uuid *checkpoint)
{
    const struct shale_admin_options a = { .clock = &f->clock, .wal_store = f->opt.wal_store };

    return shale_clone(f->store, path, parent, checkpoint, &a);
}

static void check_rows(struct db_fixture *f, const char *path, const char *rows)
{
    struct shale_db *db = NULL;

    check_integrity(f->mem, path);
    check_ok(shale_db_open(f->store, path, &f->opt, false, &db));
    check_scan(db, NULL, rows);
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
}

static void write_to(struct db_fixture *f, const char *path, const char *key, const char *value, bool flush)
{
    struct shale_db *db = NULL;

    check_ok(shale_db_open(f->store, path, &f->opt, true, &db));
    check_ok(put_text(db, key, value, true));
    if (flush)
        check_ok(shale_db_flush(db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
}

/* One row in L0, one in the WAL. The clock is that of the objects, so that they grow old when it moves. */
static void make_parent(struct db_fixture *f)
{
    f->now_ms = clock_wall_ms();
    write_to(f, FIXTURE_ROOT, "a", "1", true);
    write_to(f, FIXTURE_ROOT, "b", "1", false);
}

static struct manifest_version *latest(struct db_fixture *f, const char *path)
{
    struct manifest_version *v = NULL;
    struct manifest_store *s = NULL;

    check_ok(manifest_store_new(f->mem, path, 1000, &s));
    check_ok(manifest_store_load_latest(s, &v));
    manifest_store_free(s);
    return v;
}

/* What a collector that comes an hour later leaves; a compaction bounds the SSTs, so those it takes are few. */
static void collect_later(struct db_fixture *f, const char *path)
{
    const struct shale_admin_options a = { .clock = &f->clock };
    struct shale_gc_options opt;

    f->now_ms += 3600000;
    shale_gc_options_init(&opt);
    opt.fence_age_ms = 0;
    check_ok(shale_gc(f->store, path, &a, &opt, NULL));
}

static void both_go_their_own_way(void **state)
{
    struct db_fixture *f = *state;

    make_parent(f);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    check_rows(f, "c", "a=1 b=1");
    write_to(f, "c", "a", "c", true);
    write_to(f, FIXTURE_ROOT, "b", "p", true);
    check_rows(f, "c", "a=c b=1");
    check_rows(f, FIXTURE_ROOT, "a=1 b=p");
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL)); /* is there (R276.2) */
    check_rows(f, "c", "a=c b=1");
}

static void as_at_a_checkpoint(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_admin_options a = { .clock = &f->clock };
    struct shale_checkpoint c, other;

    make_parent(f);
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, NULL, &c));
    write_to(f, FIXTURE_ROOT, "a", "2", true);
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, NULL, &other));
    check_ok(make_clone(f, "c", FIXTURE_ROOT, &c.id));
    check_rows(f, "c", "a=1 b=1");
    check_ok(make_clone(f, "c", FIXTURE_ROOT, &c.id));
    check_err(-EINVAL, make_clone(f, "c", FIXTURE_ROOT, &other.id));
    check_ok(shale_checkpoint_delete(f->store, FIXTURE_ROOT, &a, other.id));
    check_err(-ENOENT, make_clone(f, "d", FIXTURE_ROOT, &other.id));
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 2); /* c, and the final one */
}

static void a_clone_of_a_clone(void **state)
{
    struct db_fixture *f = *state;
    struct manifest_version *v;

    make_parent(f);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    write_to(f, "c", "c", "1", true);
    collect_later(f, FIXTURE_ROOT); /* the source, which lived 300 s, is gone; the final one stays */
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 1);
    check_ok(make_clone(f, "d", "c", NULL));
    write_to(f, "d", "d", "1", true);
    check_ok(make_clone(f, "e", "d", NULL)); /* R279 */
    check_rows(f, "e", "a=1 b=1 c=1 d=1");
    v = latest(f, "e");
    assert_int_equal(v->m.n_externals, 3);
    assert_string_equal(v->m.externals[0].path, FIXTURE_ROOT);
    assert_string_equal(v->m.externals[1].path, "c");
    assert_string_equal(v->m.externals[2].path, "d");
    manifest_version_unref(v);
    check_rows(f, "d", "a=1 b=1 c=1 d=1");
}

static void a_compactor_reads_what_is_borrowed(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;

    make_parent(f);
    write_to(f, FIXTURE_ROOT, "c", "1", true);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    check_ok(shale_db_open(f->store, "c", &f->opt, false, &db));
    check_ok(put_text(db, "d", "1", true));
    check_ok(shale_db_flush(db, SHALE_FLUSH_MEMTABLE));
    while (db_status(db).compactions == 0 || db_status(db).n_l0 > 1)
        sched_yield(); /* H36 */
    check_scan(db, NULL, "a=1 b=1 c=1 d=1");
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
    f->opt.compactor.enabled = false;
    collect_later(f, "c"); /* R321: only its own */
    check_rows(f, FIXTURE_ROOT, "a=1 b=1 c=1");
    check_rows(f, "c", "a=1 b=1 c=1 d=1");
}

static void refusals(void **state)
{
    struct db_fixture *f = *state;
    struct shale_store *wal = NULL;

    check_err(-EINVAL, make_clone(f, FIXTURE_ROOT, FIXTURE_ROOT, NULL));
    check_err(-EINVAL, make_clone(f, "/", FIXTURE_ROOT, NULL));
    check_err(-ENOENT, make_clone(f, "c", FIXTURE_ROOT, NULL));
    make_parent(f);
    write_to(f, "other", "x", "1", true);
    check_err(-EINVAL, make_clone(f, "other", FIXTURE_ROOT, NULL)); /* not attached */
    check_err(-ENOENT, make_clone(f, "c", FIXTURE_ROOT, &(struct shale_uuid){ 1, 2 }));
    check_ok(shale_store_memory(&wal));
    f->opt.wal_store = wal;
    check_err(-EINVAL, make_clone(f, "c", FIXTURE_ROOT, NULL));
    f->opt.wal_store = NULL;
    shale_store_close(wal);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    check_rows(f, "other", "x=1");
}

static void a_final_checkpoint_that_is_gone(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_admin_options a = { .clock = &f->clock };
    struct manifest_version *v;

    make_parent(f);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    v = latest(f, "c");
    check_ok(shale_checkpoint_delete(f->store, FIXTURE_ROOT, &a, v->m.externals[0].final_checkpoint));
    manifest_version_unref(v);
    check_err(-ENOENT, make_clone(f, "c", FIXTURE_ROOT, NULL));
}

static void with_a_wal_store(void **state)
{
    struct db_fixture *f = *state;
    struct shale_store *wal = NULL;
    struct shale_db *db = NULL;

    check_ok(shale_store_memory(&wal));
    f->opt.wal_store = wal;
    make_parent(f);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    check_ok(shale_db_open(f->store, "c", &f->opt, false, &db));
    check_scan(db, NULL, "a=1 b=1");
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
    assert_int_equal(count_objects(f->mem, "wal"), 0);
    shale_store_close(wal);
    f->opt.wal_store = NULL;
}

static void an_unfinished_clone_is_no_database(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_PUT, .match = "c/wal/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct db_fixture *f = *state;
    const struct shale_admin_options a = { .clock = &f->clock };
    struct shale_checkpoint cp;
    struct shale_db *db = NULL;

    make_parent(f);
    store_fault_add(f->store, &denied);
    check_err(-EACCES, make_clone(f, "c", FIXTURE_ROOT, NULL)); /* R277: copy-wal-ssts-io-error */
    store_fault_clear(f->store);
    check_err(SHALE_EINITIALIZED, shale_db_open(f->store, "c", &f->opt, false, &db)); /* H28 */
    check_err(SHALE_EINITIALIZED, make_clone(f, "d", "c", NULL));
    check_err(SHALE_EINITIALIZED, shale_checkpoint_create(f->store, "c", &a, NULL, &cp));
    check_err(-EINVAL, make_clone(f, "c", "e", NULL));
    write_to(f, FIXTURE_ROOT, "a", "2", true);
    collect_later(f, FIXTURE_ROOT);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    check_rows(f, "c", "a=1 b=1"); /* of the time when it was begun */
}

static void a_clone_whose_source_expired_begins_anew(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_PUT, .match = FIXTURE_ROOT "/manifest", .nth = 2,
                                       .times = FAULT_ALWAYS, .rc = -EACCES };
    struct db_fixture *f = *state;
    struct manifest_version *v;

    make_parent(f);
    store_fault_add(f->store, &denied); /* of the final checkpoint */
    check_err(-EACCES, make_clone(f, "c", FIXTURE_ROOT, NULL));
    store_fault_clear(f->store);
    v = latest(f, "c");
    assert_false(v->m.initialized);
    manifest_version_unref(v);
    write_to(f, FIXTURE_ROOT, "a", "2", true);
    collect_later(f, FIXTURE_ROOT);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 0);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    check_rows(f, "c", "a=2 b=1");
    collect_later(f, FIXTURE_ROOT);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 1);
    check_rows(f, "c", "a=2 b=1");
}

static void wal_objects_that_are_not_there(void **state)
{
    struct db_fixture *f = *state;
    struct manifest_version *v;
    char name[64];

    make_parent(f);
    write_to(f, FIXTURE_ROOT, "c", "1", false);
    v = latest(f, FIXTURE_ROOT);
    snprintf(name, sizeof(name), FIXTURE_ROOT "/wal/%020llu.sst", (unsigned long long)v->m.wal_id_last_seen);
    check_ok(shale_store_delete(f->mem, name)); /* counted, never written */
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    snprintf(name, sizeof(name), FIXTURE_ROOT "/wal/%020llu.sst", (unsigned long long)v->m.replay_after_wal_id + 1);
    check_ok(shale_store_delete(f->mem, name)); /* lost */
    check_err(SHALE_ECORRUPT, make_clone(f, "d", FIXTURE_ROOT, NULL));
    manifest_version_unref(v);
}

/* ---- crashes ---- */

/* The n-th call fails, and with dead all after it; once whole, everything is as if nothing had happened. */
static void loop(const struct fault_rule *rule, bool dead)
{
    struct db_fixture base;
    bool clean = false;
    unsigned n = 0;

    fixture_init(&base);
    make_parent(&base);
    check_ok(make_clone(&base, "c", FIXTURE_ROOT, NULL));
    write_to(&base, "c", "c", "1", true);
    write_to(&base, "c", "d", "1", false);
    while (!clean) {
        struct fault_rule r = *rule, after = { .nth = ++n + 1, .times = FAULT_ALWAYS, .rc = -EIO };
        struct db_fixture f;
        unsigned id;
        int rc;

        assert_true(n < 200);
        fixture_init(&f);
        shale_store_close(f.store);
        shale_store_close(f.mem);
        f.mem = copy_store(base.mem);
        f.store = store_fault_new(f.mem);
        f.now_ms = clock_wall_ms();
        r.nth = n;
        id = store_fault_add(f.store, &r);
        if (dead)
            store_fault_add(f.store, &after);
        rc = make_clone(&f, "d", "c", NULL);
        clean = store_fault_hits(f.store, id) == 0;
        if (clean)
            check_ok(rc);
        store_fault_clear(f.store);
        check_integrity(f.mem, FIXTURE_ROOT);
        check_integrity(f.mem, "c");
        if (n % 2)
            collect_later(&f, n % 4 == 1 ? "c" : FIXTURE_ROOT); /* before it is finished */
        check_ok(make_clone(&f, "d", "c", NULL));
        collect_later(&f, FIXTURE_ROOT);
        collect_later(&f, "c");
        collect_later(&f, "d");
        check_rows(&f, "d", "a=1 b=1 c=1 d=1");
        check_rows(&f, "c", "a=1 b=1 c=1 d=1");
        assert_int_equal(count_checkpoints(f.mem, FIXTURE_ROOT), 2); /* of c and of d */
        assert_int_equal(count_checkpoints(f.mem, "c"), 1);
        fixture_fini(&f);
    }
    print_message("%u calls\n", n);
    assert_true(n > 15);
    fixture_fini(&base);
}

static void every_call_fails_once(void **state)
{
    const struct fault_rule fails = { .cls = FAULT_ANY, .rc = -EIO };
    const struct fault_rule lost = { .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO };

    (void)state;
    loop(&fails, false);
    loop(&lost, false);
}

static void a_crash_at_every_call(void **state)
{
    const struct fault_rule fails = { .cls = FAULT_ANY, .rc = -EIO };
    const struct fault_rule lost = { .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO };

    (void)state;
    loop(&fails, true);
    loop(&lost, true);
}

static void a_reply_to_a_put_is_lost(void **state)
{
    const struct fault_rule lost = { .cls = FAULT_PUT, .action = FAULT_LOSE_REPLY, .every = 2 };
    struct db_fixture *f = *state;

    make_parent(f);
    store_fault_add(f->store, &lost);
    check_ok(make_clone(f, "c", FIXTURE_ROOT, NULL));
    store_fault_clear(f->store);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 2);
    check_rows(f, "c", "a=1 b=1");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_go_their_own_way),
        TEST(as_at_a_checkpoint),
        TEST(a_clone_of_a_clone),
        TEST(a_compactor_reads_what_is_borrowed),
        TEST(refusals),
        TEST(a_final_checkpoint_that_is_gone),
        TEST(with_a_wal_store),
        TEST(an_unfinished_clone_is_no_database),
        TEST(a_clone_whose_source_expired_begins_anew),
        TEST(wal_objects_that_are_not_there),
        TEST(every_call_fails_once),
        TEST(a_crash_at_every_call),
        TEST(a_reply_to_a_put_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
