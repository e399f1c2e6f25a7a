/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/integrity.h"

#include "base/pool.h"
#include "base/ulid.h"
#include "db/db.h"

#include <sched.h>
#include <shale/admin.h>
#include <stdio.h>

/* Checkpoints (R269-R275). What one holds is looked at through a clone, and by a reader (R303). */

static struct shale_admin_options admin_of(struct db_fixture *f)
{
    return (struct shale_admin_options){ .clock = &f->clock };
}

static void check_held(struct db_fixture *f, const struct shale_checkpoint *c, const char *rows)
{
    struct shale_admin_options a = admin_of(f);
    char path[64] = "t/clone-", *end = path + strlen(path);
    struct shale_options opt = f->opt;
    struct shale_db *db = NULL;

    uuid_format(c->id, end);
    check_ok(shale_clone(f->store, path, FIXTURE_ROOT, &c->id, &a));
    check_integrity(f->mem, path);
    check_ok(shale_db_open(f->store, path, &f->opt, false, &db));
    check_scan(db, NULL, rows);
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
    opt.read_only = true;
    opt.checkpoint = &c->id;
    check_ok(shale_db_open(f->store, FIXTURE_ROOT, &opt, false, &db));
    check_scan(db, NULL, rows);
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
}

struct listing {
    struct shale_buf text;
};

static int list_fn(void *arg, const struct shale_checkpoint *c)
{
    struct listing *l = arg;

    return buf_printf(&l->text, "%s%s@%llu-%lld", l->text.len ? " " : "", c->name ? c->name : "?",
                      (unsigned long long)c->manifest_id, (long long)(c->expire_s ? c->expire_s - c->create_s : 0));
}

static void check_list(struct db_fixture *f, const char *name, const char *want)
{
    struct shale_admin_options a = admin_of(f);
    struct listing l = { .text = SHALE_BUF_INIT };

    check_ok(shale_checkpoint_list(f->store, FIXTURE_ROOT, &a, name, list_fn, &l));
    assert_string_equal(l.text.len ? (const char *)l.text.data : "", want);
    shale_buf_fini(&l.text);
}

static void all_that_is_committed(void **state)
{
    struct db_fixture *f = *state;
    struct shale_checkpoint c, again;
    uint64_t before;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    before = db_status(f->db).manifest_id;
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, NULL, &c));
    assert_int_equal(c.manifest_id, before + 1); /* it came with the flush */
    assert_int_equal(db_status(f->db).manifest_id, before + 1);
    assert_int_equal(db_status(f->db).n_l0, 1);
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, NULL, &again)); /* nothing to flush */
    assert_int_equal(again.manifest_id, before + 2);
    check_ok(put_text(f->db, "a", "2", true));
    fixture_close(f);
    check_held(f, &c, "a=1");
    check_held(f, &again, "a=1");
}

static void what_is_durable(void **state)
{
    struct db_fixture *f = *state;
    struct shale_checkpoint c;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "1", false));
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_DURABLE, NULL, &c));
    assert_int_equal(db_status(f->db).n_l0, 0);
    check_ok(put_text(f->db, "c", "1", true));
    check_held(f, &c, "a=1"); /* of a database that is open: nobody is fenced */
    check_ok(put_text(f->db, "d", "1", true));
}

struct waiter {
    struct worker worker;
    struct shale_db *db;
    struct shale_checkpoint c;
    int rc;
};

static void wait_main(void *arg)
{
    struct waiter *w = arg;

    w->rc = shale_db_checkpoint(w->db, SHALE_CHECKPOINT_ALL, NULL, &w->c);
}

static size_t count_waiting(struct shale_db *db)
{
    size_t n = 0;

    mutex_lock(&db->mu);
    list_for_each(p, &db->checkpoints)
        n++;
    mutex_unlock(&db->mu);
    return n;
}

static void those_who_wait_share_a_manifest(void **state)
{
    const struct fault_rule gate = { .cls = FAULT_UPLOAD_BEGIN, .action = FAULT_GATE };
    const struct fault_rule gate_put = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/compacted/" };
    struct db_fixture *f = *state;
    struct waiter w[3] = { 0 };
    unsigned a, b;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    a = store_fault_add(f->store, &gate);
    b = store_fault_add(f->store, &gate_put);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        w[i].db = f->db;
        assert_int_equal(worker_start(&w[i].worker, "waiter", wait_main, &w[i]), 0);
    }
    while (count_waiting(f->db) < ARRAY_SIZE(w))
        sched_yield();
    store_fault_release(f->store, a);
    store_fault_release(f->store, b);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        worker_join(&w[i].worker);
        check_ok(w[i].rc);
        assert_int_equal(w[i].c.manifest_id, w[0].c.manifest_id); /* R271 */
    }
    assert_false(uuid_eq(w[0].c.id, w[1].c.id));
    fixture_close(f);
    check_held(f, &w[2].c, "a=1");
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 4); /* and the final one of the clone */
}

static void those_who_wait_hear_of_the_death(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_ANY, .match = "/compacted/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct db_fixture *f = *state;
    struct shale_checkpoint c;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    store_fault_add(f->store, &denied);
    check_err(-EACCES, shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, NULL, &c));
    check_err(-EACCES, shale_db_checkpoint(f->db, SHALE_CHECKPOINT_DURABLE, NULL, &c));
    store_fault_clear(f->store);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 0);
}

static void a_fenced_writer_makes_none(void **state)
{
    struct db_fixture *f = *state;
    struct shale_checkpoint c;
    struct shale_db *old;

    fixture_open(f);
    old = f->db;
    f->db = fixture_open_other(f);
    check_err(SHALE_EFENCED, shale_db_checkpoint(old, SHALE_CHECKPOINT_DURABLE, NULL, &c));
    check_ok(shale_db_close(old, SHALE_CLOSE_ABANDON));
}

static void names_and_lifetimes(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_checkpoint_options named = { .name = "n" }, empty = { .name = "" },
                                          hour = { .name = "h", .has_lifetime = true, .lifetime_ms = 3600000 },
                                          gone = { .has_lifetime = true };
    struct shale_admin_options a = admin_of(f);
    struct shale_checkpoint c, h;

    fixture_open(f); /* manifest 3 is the newest: created, claimed twice */
    fixture_close(f);
    check_list(f, NULL, "");
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, NULL, &c));
    assert_int_equal(c.create_s, 1700000000);
    assert_int_equal(c.expire_s, 0);
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &named, &c));
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &named, &c));
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &empty, &c));
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &hour, &h));
    assert_int_equal(h.expire_s, 1700003600);
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &gone, &c));
    assert_int_equal(c.expire_s, 1700000000);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 6); /* R275: also the expired one */
    c.manifest_id -= 5;
    check_list(f, "n", c.manifest_id == 3 ? "n@4-0 n@5-0" : "n@5-0 n@6-0"); /* R272 */
    check_list(f, "h", c.manifest_id == 3 ? "h@7-3600" : "h@8-3600");
    check_list(f, "x", "");
    check_list(f, "", c.manifest_id == 3 ? "?@3-0 @6-0 ?@8-0" : "?@4-0 @7-0 ?@9-0");
}

static void refreshing_and_deleting(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_checkpoint_options hour = { .has_lifetime = true, .lifetime_ms = 3600000 };
    struct shale_admin_options a = admin_of(f);
    struct shale_checkpoint c;
    char want[64];

    fixture_open(f);
    fixture_close(f);
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &hour, &c));
    f->now_ms += 1000000;
    check_ok(shale_checkpoint_refresh(f->store, FIXTURE_ROOT, &a, c.id, 5000)); /* R273 */
    snprintf(want, sizeof(want), "?@%llu-1005", (unsigned long long)c.manifest_id);
    check_list(f, NULL, want);
    check_ok(shale_checkpoint_refresh(f->store, FIXTURE_ROOT, &a, c.id, -1));
    snprintf(want, sizeof(want), "?@%llu-0", (unsigned long long)c.manifest_id);
    check_list(f, NULL, want);
    check_ok(shale_checkpoint_refresh(f->store, FIXTURE_ROOT, &a, c.id, INT64_MAX));
    check_ok(shale_checkpoint_delete(f->store, FIXTURE_ROOT, &a, c.id));
    check_list(f, NULL, "");
    check_ok(shale_checkpoint_delete(f->store, FIXTURE_ROOT, &a, c.id)); /* R274 */
    check_err(-ENOENT, shale_checkpoint_refresh(f->store, FIXTURE_ROOT, &a, c.id, 5000));
}

static void of_the_same_state_as_another(void **state)
{
    struct db_fixture *f = *state;
    struct shale_checkpoint_options from = { .has_source = true };
    struct shale_admin_options a = admin_of(f);
    struct shale_checkpoint c, copy, third;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, NULL, &c));
    check_ok(put_text(f->db, "a", "2", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    from.source = c.id;
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, &from, &third));
    fixture_close(f);
    check_ok(shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &from, &copy));
    assert_int_equal(copy.manifest_id, c.manifest_id);
    assert_int_equal(third.manifest_id, c.manifest_id);
    check_ok(shale_checkpoint_delete(f->store, FIXTURE_ROOT, &a, c.id));
    check_err(-ENOENT, shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, &from, &third)); /* R116 */
    check_held(f, &copy, "a=1");
}

static void none_of_nothing(void **state)
{
    struct db_fixture *f = *state;
    struct shale_admin_options a = admin_of(f);
    struct shale_checkpoint c;

    check_err(-ENOENT, shale_checkpoint_create(f->store, FIXTURE_ROOT, &a, NULL, &c));
    check_err(-ENOENT, shale_checkpoint_list(f->store, FIXTURE_ROOT, &a, NULL, list_fn, NULL));
    check_err(-ENOENT, shale_checkpoint_delete(f->store, FIXTURE_ROOT, &a, (struct shale_uuid){ 1, 2 }));
    check_err(-EINVAL, shale_checkpoint_create(f->store, "/x", &a, NULL, &c));
    f->opt.checkpoint = &(struct shale_uuid){ 1, 2 };
    check_err(-EINVAL, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &f->db));
    f->opt.checkpoint = NULL;
    fixture_open(f);
    fixture_close(f);
    f->opt.checkpoint = &(struct shale_uuid){ 1, 2 };
    f->opt.read_only = true;
    check_err(-ENOENT, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &f->db));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_that_is_committed),
        TEST(what_is_durable),
        TEST(those_who_wait_share_a_manifest),
        TEST(those_who_wait_hear_of_the_death),
        TEST(a_fenced_writer_makes_none),
        TEST(names_and_lifetimes),
        TEST(refreshing_and_deleting),
        TEST(of_the_same_state_as_another),
        TEST(none_of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
