/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "db/db.h"

#include <sched.h>
#include <stdio.h>

/* Memtables on their way to L0, what the manifest then says, and what a reopen makes of it. */

static void put_sized(struct db_fixture *f, int i)
{
    char key[17], value[51];

    snprintf(key, sizeof(key), "key%013d", i);
    snprintf(value, sizeof(value), "%050d", i);
    check_ok(put_text(f->db, key, value, true));
}

/* 28.1, size freeze; test_put_flushes_memtable. */
static void tables_are_frozen_by_size(void **state)
{
    struct db_fixture *f = *state;

    f->opt.l0_sst_size_bytes = 256;
    fixture_open(f);
    for (int round = 1; round <= 3; round++) {
        put_sized(f, 2 * round);
        put_sized(f, 2 * round + 1);
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
        assert_int_equal(db_status(f->db).n_l0, round);
        assert_int_equal(db_status(f->db).replay_after_wal_id, 2 * round);
    }
    assert_int_equal(db_status(f->db).l0_flushes, 3);
    for (size_t i = 0; i < 3; i++) {
        struct sst_view *v = &f->db->mv->m.l0[i];
        char first[17];

        snprintf(first, sizeof(first), "key%013d", 6 - 2 * (int)i); /* newest first */
        assert_int_equal(v->sst->info.first.len, 16);
        assert_memory_equal(v->sst->info.first.data, first, 16);
    }
}

/* 28.1, WAL-count freeze; test_put_flushes_memtable_after_max_wal_flushes. */
static void tables_are_frozen_by_number_of_wal_objects(void **state)
{
    struct db_fixture *f = *state;

    f->opt.freeze_wal_count = 8; /* 4096 in the reference; the same steps */
    fixture_open(f);
    for (int i = 1; i < 8; i++)
        check_ok(put_text(f->db, "k", "v", true));
    assert_int_equal(db_status(f->db).next_wal_id, 9); /* the fence was one */
    assert_int_equal(db_status(f->db).n_memtables + db_status(f->db).n_l0, 0);
    check_ok(put_text(f->db, "k", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1);
    assert_int_equal(db_status(f->db).replay_after_wal_id, 8);
    for (int i = 0; i < 8; i++)
        check_ok(put_text(f->db, "k", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 2);
    assert_int_equal(db_status(f->db).replay_after_wal_id, 16);
}

/* 28.1; test_memtable_flush_also_flushes_wal. */
static void a_memtable_flush_writes_the_wal_too(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(count_objects(f->mem, "wal"), 2);
    assert_int_equal(db_status(f->db).n_l0, 1);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1); /* an empty table is no SST */
}

static void l0_waits_for_the_wal(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule hold = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/wal/", .times = FAULT_ALWAYS };
    unsigned g;

    f->opt.l0_sst_size_bytes = 1;
    fixture_open(f);
    g = store_fault_add(f->store, &hold);
    check_ok(put_text(f->db, "k", "v", false)); /* frozen at once; its flush asks for the WAL */
    store_fault_wait(f->store, g, 1);
    assert_int_equal(db_status(f->db).n_l0, 0);
    assert_int_equal(db_status(f->db).manifest_id, 2);
    store_fault_release(f->store, g);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1);
}

static uint64_t min_seq(struct db_fixture *f)
{
    return f->db->mv->m.recent_snapshot_min_seq;
}

/* 28.1, snapshot minimum; test_recent_snapshot_min_seq_monotonic. */
static void the_snapshot_minimum_is_stored(void **state)
{
    struct db_fixture *f = *state;
    struct shale_snapshot *s = NULL;

    fixture_open(f);
    assert_int_equal(min_seq(f), 0);
    check_ok(put_text(f->db, "k", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(min_seq(f), 1);
    check_ok(shale_db_snapshot(f->db, &s));
    for (int i = 0; i < 3; i++)
        check_ok(put_text(f->db, "k", "2", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(min_seq(f), shale_snapshot_seq(s));
    shale_snapshot_release(f->db, s);
    check_ok(put_text(f->db, "k", "3", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(min_seq(f), 5);
    assert_int_equal(f->db->mv->m.last_l0_seq, 5);
}

static void a_table_of_which_nothing_is_left_is_no_sst(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_ttl soon = { SHALE_TTL_AFTER, 1 };
    struct shale_batch *b = NULL;

    fixture_open(f);
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_merge(b, slice_str("k"), slice_str("x"), soon));
    check_ok(shale_db_write(f->db, b, true, NULL));
    f->now_ms += 1000;
    shale_batch_clear(b);
    check_ok(shale_batch_merge(b, slice_str("k"), slice_str("y"), (struct shale_ttl){ SHALE_TTL_AT, 1 }));
    check_ok(shale_db_write(f->db, b, true, NULL));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(f->db->mv->m.last_l0_seq, 2);
    assert_int_equal(f->db->mv->m.last_l0_clock_tick, f->now_ms);
    if (db_status(f->db).n_l0 == 0)
        assert_int_equal(count_objects(f->mem, "compacted"), 0);
    fixture_close(f);
    shale_batch_free(b);
    fixture_open(f);
    check_ok(put_text(f->db, "l", "v", true));
    assert_int_equal(db_status(f->db).committed_seq, 3);
}

static int refuse(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                  const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    (void)ctx, (void)key, (void)existing, (void)operands, (void)n, (void)out;
    return -EIO;
}

static void a_failing_operator_poisons_the_handle(void **state)
{
    struct db_fixture *f = *state;
    struct shale_merge_operator op = { .name = "refuse", .merge = refuse };

    f->opt.merge_operator = &op;
    fixture_open(f);
    check_ok(merge_text(f->db, "k", "1", true));
    check_ok(merge_text(f->db, "k", "2", true));
    check_err(SHALE_EMERGE, shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_err(SHALE_EMERGE, put_text(f->db, "a", "1", false));
    assert_int_equal(count_objects(f->mem, "manifest"), 2); /* nothing was published */
    fixture_crash(f);
    f->opt.merge_operator = &f->op;
    fixture_open(f);
    check_scan(f->db, NULL, "k=12");
}

static void an_l0_id_is_not_older_than_its_predecessor(void **state)
{
    struct db_fixture *f = *state;
    int64_t first;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    first = ulid_time_ms(f->db->mv->m.l0[0].id);
    assert_int_equal(first, f->now_ms);
    f->now_ms -= 5000;
    check_ok(put_text(f->db, "k", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_true(ulid_time_ms(f->db->mv->m.l0[0].id) >= first);
}

/* test_sequence_tracker_persisted_across_flush_and_reload_*. */
static void the_tracker_goes_with_its_rows(void **state)
{
    struct db_fixture *f = *state;
    const struct seq_tracker *t;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    f->now_ms += 61000;
    check_ok(put_text(f->db, "k", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    f->now_ms += 30000;
    check_ok(put_text(f->db, "k", "v", true)); /* the table's first point, too close to the manifest's last one */
    f->now_ms += 31000;
    check_ok(put_text(f->db, "k", "v", true)); /* too close to that: so it is with SlateDB */
    f->now_ms += 29000;
    check_ok(put_text(f->db, "k", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    t = &f->db->mv->m.tracker;
    assert_int_equal(t->n, 3);
    assert_int_equal(t->points[0].seq, 1);
    assert_int_equal(t->points[1].seq, 2);
    assert_int_equal(t->points[2].seq, 5);
}

/*
 * 28.1, clock from WAL, from the manifest, backwards; test_recover_clock_tick_from_wal,
 * test_recover_clock_tick_from_manifest, test_invalid_clock_progression*.
 */
static void clocks_that_go_back(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_row row;
    int64_t top;

    fixture_open(f);
    f->db->clock_wait_max_ms = 1;
    top = f->now_ms;
    check_ok(put_text(f->db, "a", "1", false));
    f->now_ms = top - 10000; /* within what is tolerated: time stands still */
    check_ok(put_text(f->db, "b", "1", false));
    check_ok(shale_db_get_row(f->db, slice_str("b"), NULL, &value, &row));
    assert_int_equal(row.create_ts, top);
    f->now_ms = top - 10001;
    check_err(SHALE_ECLOCK, put_text(f->db, "c", "1", false));
    assert_int_equal(db_status(f->db).error, 0);
    assert_int_equal(db_status(f->db).committed_seq, 2);
    fixture_close(f);
    fixture_open(f);
    f->db->clock_wait_max_ms = 1;
    assert_int_equal(f->db->last_tick, top); /* from the WAL */
    check_err(SHALE_ECLOCK, put_text(f->db, "c", "1", false));
    f->now_ms = top + 1;
    check_ok(put_text(f->db, "c", "1", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    fixture_crash(f);
    fixture_open(f);
    assert_int_equal(f->db->last_tick, top + 1); /* from the manifest */
    shale_buf_fini(&value);
}

/* What a compaction of the only L0 SST publishes, without rewriting it. */
static int move_l0_into_a_run(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)arg, (void)next_id;
    assert_int_equal(m->n_l0, 1);
    check_ok(vec_reserve(&m->runs, &m->cap_runs, 1, sizeof(m->runs[0])));
    m->runs[0] = (struct sorted_run){ .id = 0 };
    check_ok(vec_reserve(&m->runs[0].ssts, &m->runs[0].cap, 1, sizeof(m->l0[0])));
    m->runs[0].ssts[0] = m->l0[0];
    m->runs[0].n = 1;
    m->n_runs = 1;
    m->has_l0_last_compacted = true;
    m->l0_last_compacted = m->l0[0].id;
    m->n_l0 = 0;
    return 0;
}

static void the_writer_sees_what_another_process_compacts(void **state)
{
    struct db_fixture *f = *state;
    struct manifest_store *other = NULL;
    struct manifest_version *v = NULL;

    f->opt.l0_max_ssts = 1;
    f->opt.l0_sst_size_bytes = 1;
    f->opt.manifest_poll_interval_ms = 1;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", true)); /* no slot until the run is made */
    check_ok(manifest_store_new(f->store, FIXTURE_ROOT, 1000, &other));
    check_ok(manifest_store_load_latest(other, &v));
    manifest_version_unref(v);
    check_ok(manifest_store_update(other, move_l0_into_a_run, NULL, NULL));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1);
    assert_int_equal(db_status(f->db).n_runs, 1);
    check_scan(f->db, NULL, "a=1 b=2");
    manifest_store_free(other);
}

static void the_compactor_of_the_process_makes_room(void **state)
{
    struct db_fixture *f = *state;
    char key[16];

    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.l0_max_ssts = 4;
    f->opt.l0_sst_size_bytes = 200;
    fixture_open(f);
    assert_int_equal(count_objects(f->mem, "manifest"), 3);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key%03d", i % 50);
        check_ok(put_text(f->db, key, "some value", false));
    }
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_true(db_status(f->db).compactions > 0);
    assert_true(db_status(f->db).n_runs > 0);
    check_value(f->db, NULL, "key049", "some value");
    fixture_close(f);
    fixture_open(f);
    check_value(f->db, NULL, "key000", "some value");
}

/* 17 versions of one key under a snapshot, in a run whose SSTs hold two of them. */
static void one_key_may_fill_several_ssts_of_a_run(void **state)
{
    struct db_fixture *f = *state;
    struct shale_snapshot *s = NULL;
    struct shale_read_options o = { .descending = true };
    struct shale_buf value = SHALE_BUF_INIT;
    char text[1001];

    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.compactor.max_sst_size = 2000;
    fixture_open(f);
    check_ok(put_text(f->db, "k", "first", true));
    check_ok(shale_db_snapshot(f->db, &s));
    for (int i = 0; i < 17; i++) {
        snprintf(text, sizeof(text), "%01000d", i);
        check_ok(i == 16 ? merge_text(f->db, "k", text, true) : put_text(f->db, "k", text, true));
        if (i % 9 == 0)
            check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    }
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    while (db_status(f->db).n_l0 > 1 || db_status(f->db).n_runs == 0)
        sched_yield();
    check_ok(shale_db_get(f->db, slice_str("k"), NULL, &value));
    assert_int_equal(value.len, 2000);
    assert_memory_equal(value.data + 990, "0000000015", 10);
    assert_memory_equal(value.data + 1990, "0000000016", 10);
    o.snapshot = s;
    check_scan(f->db, &o, "k=first");
    o.descending = false;
    check_scan(f->db, &o, "k=first");
    assert_true(f->db->mv->m.runs[0].n > 1);
    shale_snapshot_release(f->db, s);
    shale_buf_fini(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(tables_are_frozen_by_size),
        T(tables_are_frozen_by_number_of_wal_objects),
        T(a_memtable_flush_writes_the_wal_too),
        T(l0_waits_for_the_wal),
        T(the_snapshot_minimum_is_stored),
        T(a_table_of_which_nothing_is_left_is_no_sst),
        T(a_failing_operator_poisons_the_handle),
        T(an_l0_id_is_not_older_than_its_predecessor),
        T(the_tracker_goes_with_its_rows),
        T(clocks_that_go_back),
        T(the_writer_sees_what_another_process_compacts),
        T(the_compactor_of_the_process_makes_room),
        T(one_key_may_fill_several_ssts_of_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
