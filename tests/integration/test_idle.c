/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "base/pace.h"

#include <shale/admin.h>
#include <shale/compact.h>
#include <shale/metrics.h>
#include <unistd.h>

/*
 * What an open database asks of its store while nothing happens, and that it still notices what happens elsewhere. With
 * intervals of some milliseconds that may grow to an hour: whoever does not slow down makes hundreds of requests in the
 * time in which the others make a handful, however slow the machine is.
 */

#define HOUR_MS 3600000
#define QUIET_MS 1500

static void a_pace_slows_down_by_four_and_hurries_again(void **state)
{
    const int64_t want[] = { 4000, 16000, 40000, 40000 };
    struct pace p;

    (void)state;
    pace_init(&p, 1000, 40000);
    assert_int_equal(p.pause_ms, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        assert_int_equal(pace_note(&p, false), want[i]);
    assert_int_equal(pace_note(&p, true), 1000);
    assert_int_equal(pace_note(&p, false), 4000);

    pace_init(&p, 5000, 0); /* none is asked for */
    assert_int_equal(pace_note(&p, false), 5000);
    pace_init(&p, 1, 3);
    assert_int_equal(pace_note(&p, false), 3);
}

static void open_busy(struct db_fixture *f, int64_t idle_ms)
{
    struct shale_options *o = &f->opt;

    o->clock = NULL;
    o->manifest_poll_interval_ms = o->compactor.poll_interval_ms = o->gc.interval_ms = 10;
    o->manifest_idle_poll_ms = o->compactor.idle_poll_ms = o->gc.idle_interval_ms = idle_ms;
    o->compactor.enabled = o->gc.enabled = true;
    o->compactor.min_sources = 2;
    o->gc.manifest_min_age_ms = o->gc.wal_min_age_ms = HOUR_MS;
    o->gc.compacted_min_age_ms = o->gc.compactions_min_age_ms = HOUR_MS;
    fixture_open(f);
}

static void flush_row(struct db_fixture *f, const char *key)
{
    check_ok(put_text(f->db, key, "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    usleep(5000); /* a later one has a later time in its id */
}

static void wait_for_compactions(struct db_fixture *f, uint64_t n)
{
    while (db_status(f->db).compactions < n)
        usleep(1000);
}

static unsigned looks(struct shale_store *s)
{
    return store_fault_count(s, FAULT_GET) + store_fault_count(s, FAULT_RANGE) + store_fault_count(s, FAULT_HEAD) +
           store_fault_count(s, FAULT_LIST);
}

static unsigned writes(struct shale_store *s)
{
    return store_fault_count(s, FAULT_PUT) + store_fault_count(s, FAULT_DELETE) +
           store_fault_count(s, FAULT_UPLOAD_BEGIN);
}

static uint64_t collections(struct db_fixture *f)
{
    struct shale_metric m;

    check_ok(shale_metrics_get(shale_db_metrics(f->db), "slatedb.gc.count", NULL, 0, &m));
    return m.count;
}

/* Until ms have passed in which nothing was written; what was read in them is counted. */
static void settle(struct db_fixture *f, int64_t ms)
{
    do {
        store_fault_reset_counts(f->store);
        usleep((unsigned)ms * 1000);
    } while (writes(f->store) > 0);
}

static void work_and_settle(struct db_fixture *f, int64_t ms)
{
    flush_row(f, "a");
    flush_row(f, "b");
    wait_for_compactions(f, 1);
    settle(f, ms);
}

/* 10, 40, 160, 640 ms: five looks of two kinds in the time, of up to three requests; a run or two of the collector. */
static void an_idle_handle_asks_next_to_nothing(void **state)
{
    struct db_fixture *f = *state;

    open_busy(f, HOUR_MS);
    work_and_settle(f, QUIET_MS);
    if (looks(f->store) > 40)
        fail_msg("%u requests in %d ms", looks(f->store), QUIET_MS);
    store_fault_reset_counts(f->store);
    usleep(QUIET_MS * 1000);
    assert_int_equal(writes(f->store), 0);
    if (looks(f->store) > 6)
        fail_msg("%u requests in the %d ms behind these", looks(f->store), QUIET_MS);
}

/* Without the options it is as SlateDB is. */
static void by_default_nobody_slows_down(void **state)
{
    struct db_fixture *f = *state;
    struct shale_options o;

    shale_options_init(&o);
    assert_int_equal(o.manifest_idle_poll_ms + o.compactor.idle_poll_ms + o.gc.idle_interval_ms, 0);
    open_busy(f, 0);
    work_and_settle(f, 200);
    store_fault_reset_counts(f->store);
    while (looks(f->store) < 100)
        usleep(1000);
}

/* The flush itself tells the compactor, which sleeps for an hour. */
static void work_is_found_at_once_behind_a_pause(void **state)
{
    struct db_fixture *f = *state;

    open_busy(f, HOUR_MS);
    work_and_settle(f, 200);
    flush_row(f, "c");
    flush_row(f, "d");
    wait_for_compactions(f, 2);
}

static void what_another_process_submits_is_found(void **state)
{
    const struct shale_compaction_spec all = { .kind = SHALE_COMPACT_FULL };
    struct db_fixture *f = *state;
    struct shale_ulid id;

    open_busy(f, 300);
    work_and_settle(f, 200);
    flush_row(f, "c"); /* one is not worth a compaction by itself */
    check_ok(shale_compaction_submit(f->store, FIXTURE_ROOT, &all, &id));
    wait_for_compactions(f, 2);
}

/* Overtaken by a compactor that came and went, ours stands by: it asks as little, and is back when there is work. */
static void standing_by_is_idle_too(void **state)
{
    const struct shale_compactor_config cfg = { .report = NULL };
    struct db_fixture *f = *state;
    struct shale_compactor *other = NULL;
    struct shale_options opt;
    uint64_t done;

    open_busy(f, HOUR_MS);
    work_and_settle(f, 200);
    opt = f->opt;
    check_ok(shale_compactor_open(f->store, FIXTURE_ROOT, &opt, &cfg, &other));
    shale_compactor_close(other);
    flush_row(f, "c"); /* so that ours looks, and finds itself overtaken */
    settle(f, QUIET_MS);
    if (looks(f->store) > 40)
        fail_msg("%u requests in %d ms", looks(f->store), QUIET_MS);
    done = db_status(f->db).compactions;
    flush_row(f, "d");
    flush_row(f, "e");
    wait_for_compactions(f, done + 1);
}

/* Found by the poll alone: nothing is written, so no put collides. */
static void another_writer_is_noticed_while_idle(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *other;

    open_busy(f, 300);
    work_and_settle(f, 200);
    f->opt.compactor.enabled = f->opt.gc.enabled = false;
    other = fixture_open_other(f);
    while (put_text(f->db, "a", "1", false) != SHALE_EFENCED)
        usleep(10000);
    check_ok(shale_db_close(other, SHALE_CLOSE_FLUSH));
}

/* The run, and the newest SST that ever was in L0: no collector takes that before there is a newer one (R318). */
#define KEPT 2

/* After the compaction an SST of L0 is garbage that is too young; nothing else happens. */
static void garbage_goes_when_it_is_old_enough(void **state)
{
    struct db_fixture *f = *state;
    uint64_t runs;

    open_busy(f, HOUR_MS);
    fixture_close(f);
    f->opt.gc.compacted_min_age_ms = 1000;
    fixture_open(f);
    flush_row(f, "a");
    flush_row(f, "b");
    wait_for_compactions(f, 1);
    usleep(200000); /* looks that would come too often come now */
    runs = collections(f);
    while (count_objects(f->mem, "compacted") > KEPT)
        usleep(1000);
    if (collections(f) > runs + 4)
        fail_msg("%u runs of the collector for what one could do", (unsigned)(collections(f) - runs));
}

/* A scan keeps SSTs that nothing refers to any more; that it is over makes no new manifest. */
static void garbage_of_a_scan_goes_after_it(void **state)
{
    struct db_fixture *f = *state;
    struct shale_iter *it = NULL;

    open_busy(f, HOUR_MS);
    fixture_close(f);
    f->opt.gc.compacted_min_age_ms = 0;
    fixture_open(f);
    flush_row(f, "a");
    check_ok(shale_db_scan_prefix(f->db, slice_str(""), NULL, &it));
    flush_row(f, "b");
    wait_for_compactions(f, 1);
    for (uint64_t n = collections(f); collections(f) < n + 3;)
        usleep(1000); /* it goes on looking meanwhile */
    assert_true(count_objects(f->mem, "compacted") > KEPT);
    shale_iter_close(it);
    while (count_objects(f->mem, "compacted") > KEPT)
        usleep(1000);
}

static int count_checkpoint(void *arg, const struct shale_checkpoint *c)
{
    (void)c;
    ++*(unsigned *)arg;
    return 0;
}

static unsigned checkpoints(struct db_fixture *f)
{
    unsigned n = 0;

    check_ok(shale_checkpoint_list(f->mem, FIXTURE_ROOT, NULL, NULL, count_checkpoint, &n));
    return n;
}

/* Nothing happens between its making and its end. */
static void a_checkpoint_ends_in_time(void **state)
{
    const struct shale_checkpoint_options second = { .has_lifetime = true, .lifetime_ms = 1000 };
    struct db_fixture *f = *state;
    struct shale_checkpoint c;

    open_busy(f, HOUR_MS);
    work_and_settle(f, 200);
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_DURABLE, &second, &c));
    assert_int_equal(checkpoints(f), 1);
    while (checkpoints(f) > 0)
        usleep(10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pace_slows_down_by_four_and_hurries_again),
        cmocka_unit_test_setup_teardown(an_idle_handle_asks_next_to_nothing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(by_default_nobody_slows_down, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(work_is_found_at_once_behind_a_pause, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_another_process_submits_is_found, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(standing_by_is_idle_too, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(another_writer_is_noticed_while_idle, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(garbage_goes_when_it_is_old_enough, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(garbage_of_a_scan_goes_after_it, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_checkpoint_ends_in_time, fixture_setup, fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
