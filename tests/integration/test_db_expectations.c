/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "db/db.h"

#include <sched.h>
#include <shale/compact.h>
#include <stdio.h>

/*
 * What section 28.1 of the behaviour of SlateDB 0.12.1 lists of db.rs and no other test has step by step. HACKING.md
 * says where the rest is.
 */

/*
 * Clock from WAL and from the manifest: ticks 10, 11, close, reopen; test_recover_clock_tick_from_wal,
 * ..._from_manifest.
 */
static void the_last_tick_is_recovered(void **state)
{
    (void)state;
    for (int wal = 0; wal < 2; wal++) {
        struct db_fixture f;

        fixture_init(&f);
        f.opt.wal_enabled = wal;
        f.now_ms = 10;
        fixture_open(&f);
        check_ok(put_text(f.db, "k", "1", false));
        f.now_ms = 11;
        check_ok(put_text(f.db, "k", "2", false));
        fixture_close(&f);
        fixture_open(&f);
        assert_int_equal(f.db->last_tick, 11);
        assert_int_equal(f.db->mv->m.last_l0_clock_tick, wal ? INT64_MIN : 11);
        fixture_fini(&f);
    }
}

/*
 * test_invalid_clock_progression_across_db_instances: tick 10, reopen, tick 5. Closer than SlateDB tolerates, ours
 * waits.
 */
static void a_clock_that_was_set_back_is_refused_after_reopening(void **state)
{
    struct db_fixture *f = *state;

    f->now_ms = 20010;
    fixture_open(f);
    check_ok(put_text(f->db, "k", "1", false));
    fixture_close(f);
    fixture_open(f);
    f->db->clock_wait_max_ms = 1;
    f->now_ms = 5;
    check_err(SHALE_ECLOCK, put_text(f->db, "k", "2", false));
    check_value(f->db, NULL, "k", "1");
}

/* test_should_recover_imm_from_wal_after_flush_error. */
static void a_failed_l0_is_made_of_the_wal(void **state)
{
    const struct fault_rule fails = { .cls = FAULT_PUT, .match = "/compacted/", .rc = -EACCES };
    const struct fault_rule paused = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/compacted/",
                                       .times = FAULT_ALWAYS };
    struct db_fixture *f = *state;
    const struct imm *m;
    unsigned id;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    store_fault_add(f->store, &fails);
    check_err(-EACCES, shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    fixture_crash(f);
    store_fault_clear(f->store);
    f->opt.l0_sst_size_bytes = 1;
    id = store_fault_add(f->store, &paused);
    fixture_open(f);
    store_fault_wait(f->store, id, 1);
    mutex_lock(&f->db->mu);
    assert_false(list_empty(&f->db->imms));
    m = list_entry(f->db->imms.next, struct imm, node);
    assert_in_range(m->wal_id, 2, 3); /* SlateDB: 2, here the fence behind it may count in */
    assert_ptr_equal(m->node.next, &f->db->imms);
    assert_int_equal(f->db->mv->m.n_l0, 0);
    mutex_unlock(&f->db->mu);
    assert_int_equal(db_status(f->db).next_wal_id, 4);
    check_value(f->db, NULL, "k", "v");
    store_fault_release(f->store, id);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1);
}

/*
 * test_wal_id_last_seen_should_exist_even_if_wal_write_fails: what the manifest tells of may not be there, and that
 * is no loss.
 */
static void a_wal_object_that_never_came_is_no_hole(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_PUT, .match = "/wal/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct db_fixture *f = *state;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    store_fault_add(f->store, &denied);
    check_err(-EACCES, put_text(f->db, "b", "1", true));
    check_err(-EACCES, put_text(f->db, "c", "1", true));
    check_err(-EACCES, shale_db_close(f->db, SHALE_CLOSE_FLUSH));
    f->db = NULL;
    store_fault_clear(f->store);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
    check_ok(put_text(f->db, "b", "2", true));
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1 b=2");
}

static void wait_compacted(struct db_fixture *f)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct shale_compaction told = { .status = SHALE_COMPACTION_SUBMITTED };
    struct shale_ulid id;

    check_ok(shale_db_compact(f->db, &full, &id));
    while (told.status != SHALE_COMPACTION_COMPLETED) {
        check_ok(shale_db_compaction(f->db, id, &told));
        assert_int_not_equal(told.status, SHALE_COMPACTION_FAILED);
        sched_yield();
    }
}

static void check_newest(struct db_fixture *f, const char *want)
{
    struct shale_read_options descending = { .descending = true };
    char text[512];

    check_value(f->db, NULL, "k", want);
    snprintf(text, sizeof(text), "k=%s", want);
    check_scan(f->db, NULL, text);
    check_scan(f->db, &descending, text);
}

/*
 * reads_succeed_when_compacted_sr_splits_same_key_across_ssts, ..._same_merge_key_...: 17 versions of one key under a
 * snapshot, blocks of 64 bytes, SSTs of 128. Values split the key; operands stay together here (H24), and fold when
 * the snapshot is gone.
 */
static void versions_of_a_key_in_several_ssts(void **state)
{
    (void)state;
    for (int merge = 0; merge < 2; merge++) {
        struct shale_snapshot *s = NULL;
        struct shale_read_options old = { 0 };
        struct db_fixture f;
        char value[64], all[512] = "base";

        fixture_init(&f);
        f.opt.compactor.enabled = true;
        f.opt.compactor.min_sources = f.opt.compactor.max_sources = 1000;
        f.opt.compactor.max_sst_size = 128;
        f.opt.block_size = 1024; /* the least */
        fixture_open(&f);
        check_ok(put_text(f.db, "k", "base", false));
        check_ok(shale_db_snapshot(f.db, &s));
        for (int i = 0; i < 17; i++) {
            snprintf(value, sizeof(value), "value%02d_0123456789", i);
            strcat(all, value);
            check_ok(merge ? merge_text(f.db, "k", value, false) : put_text(f.db, "k", value, false));
            if (i % 4 == 0)
                check_ok(shale_db_flush(f.db, SHALE_FLUSH_MEMTABLE));
        }
        check_ok(shale_db_flush(f.db, SHALE_FLUSH_MEMTABLE));
        wait_compacted(&f);
        check_newest(&f, merge ? all : value);
        old.snapshot = s;
        check_scan(f.db, &old, "k=base");
        shale_snapshot_release(f.db, s);
        fixture_close(&f);
        fixture_open(&f);
        check_newest(&f, merge ? all : value);
        fixture_fini(&f);
    }
}

/*
 * test_flush_with_options_wal, should_notify_seq_watcher_on_l0_flush_when_wal_disabled: what status tells of
 * durability.
 */
static void status_follows_each_kind_of_flush(void **state)
{
    (void)state;
    for (int wal = 0; wal < 2; wal++) {
        struct db_fixture f;

        fixture_init(&f);
        f.opt.wal_enabled = wal;
        fixture_open(&f);
        check_ok(put_text(f.db, "k", "v", false));
        assert_int_equal(db_status(f.db).durable_seq, 0);
        check_ok(shale_db_flush(f.db, wal ? SHALE_FLUSH_WAL : SHALE_FLUSH_MEMTABLE));
        assert_int_equal(db_status(f.db).durable_seq, 1);
        assert_int_equal(db_status(f.db).n_l0, wal ? 0 : 1);
        fixture_fini(&f);
    }
}

/* should_publish_remote_manifest_updates_via_poll: what somebody else stores shows in the status. */
static void status_follows_the_manifest_of_others(void **state)
{
    struct db_fixture *f = *state;
    struct manifest_store *other = NULL;
    struct manifest_version *v = NULL;
    uint64_t epoch;

    f->opt.manifest_poll_interval_ms = 1;
    fixture_open(f);
    check_ok(manifest_store_new(f->mem, FIXTURE_ROOT, 1000, &other));
    check_ok(manifest_store_load_latest(other, &v));
    manifest_version_unref(v);
    check_ok(manifest_store_claim(other, EPOCH_COMPACTOR, &epoch, &v));
    while (db_status(f->db).manifest_id < v->id)
        sched_yield();
    assert_int_equal(db_status(f->db).manifest_id, v->id);
    manifest_version_unref(v);
    manifest_store_free(other);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_tick_is_recovered),
        T(a_clock_that_was_set_back_is_refused_after_reopening),
        T(a_failed_l0_is_made_of_the_wal),
        T(a_wal_object_that_never_came_is_no_hole),
        cmocka_unit_test(versions_of_a_key_in_several_ssts),
        cmocka_unit_test(status_follows_each_kind_of_flush),
        T(status_follows_the_manifest_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
