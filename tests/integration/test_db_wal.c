/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "db/db.h"

#include <sched.h>

/* Durability, group commit, fencing, backpressure. */

/* A call on another thread, whose outcome is looked at after joining. */
struct call {
    struct worker w;
    struct shale_db *db;
    const char *key;
    bool durable;
    int times;
    enum shale_flush_kind kind;
    int rc;
    _Atomic bool done;
};

static void call_put(void *arg)
{
    struct call *c = arg;

    c->rc = put_text(c->db, c->key, "v", c->durable);
    c->done = true;
}

static void call_flush(void *arg)
{
    struct call *c = arg;

    c->rc = shale_db_flush(c->db, c->kind);
    c->done = true;
}

static void call_start(struct call *c, void (*fn)(void *arg))
{
    c->done = false;
    check_ok(worker_start(&c->w, "call", fn, c));
}

/* Calls that wait inside the handle. */
static uint32_t n_waiting(struct shale_db *db)
{
    uint32_t n;

    mutex_lock(&db->mu);
    n = db->n_waiting;
    mutex_unlock(&db->mu);
    return n;
}

static unsigned gate(struct db_fixture *f, enum fault_class cls, const char *match)
{
    const struct fault_rule r = { .cls = cls, .action = FAULT_GATE, .times = FAULT_ALWAYS, .match = match };

    return store_fault_add(f->store, &r);
}

/* 28.1, no timer; test_no_flush_interval. */
static void nothing_is_written_before_it_is_asked_for(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_read_options remote = { .durable_only = true };

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", false));
    assert_int_equal(count_objects(f->mem, "wal"), 1);
    check_value(f->db, &remote, "k", NULL);
    check_scan(f->db, &remote, "");
    check_value(f->db, NULL, "k", "v");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    assert_int_equal(count_objects(f->mem, "wal"), 2);
    check_value(f->db, &remote, "k", "v");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    assert_int_equal(count_objects(f->mem, "wal"), 2); /* nothing to write, no object */
}

static void the_timer_flushes(void **state)
{
    struct db_fixture *f = *state;
    unsigned g;

    f->opt.flush_interval_ms = 1;
    fixture_open(f);
    g = gate(f, FAULT_PUT, "/wal/");
    check_ok(put_text(f->db, "k", "v", false));
    store_fault_wait(f->store, g, 1);
    store_fault_release(f->store, g);
}

/* The flusher may be looking still, or be asleep, when the next row comes: no row waits for ever. */
static void the_timer_flushes_whatever_was_written_before(void **state)
{
    const struct fault_rule rule = { .cls = FAULT_PUT, .action = FAULT_GATE, .times = FAULT_ALWAYS, .match = "/wal/" };
    struct db_fixture *f = *state;
    unsigned g;

    f->opt.flush_interval_ms = 2;
    fixture_open(f);
    g = store_fault_add(f->store, &rule);
    store_fault_release(f->store, g);
    for (unsigned n = 1; n <= 40; n += 2) {
        check_ok(put_text(f->db, "k", "v", true));
        if (n % 4 == 1 && n < 20) /* L0 takes eight */
            check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE)); /* takes a while, and its flusher waits, too */
        check_ok(put_text(f->db, "l", "w", false));
        store_fault_wait(f->store, g, n + 1);
    }
}

static void a_large_wal_is_begun_by_size(void **state)
{
    struct db_fixture *f = *state;
    unsigned g;

    f->opt.wal_max_bytes = 200;
    fixture_open(f);
    g = gate(f, FAULT_PUT, "/wal/");
    check_ok(put_text(f->db, "k1", "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv", false));
    check_ok(put_text(f->db, "k2", "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv", false));
    check_ok(put_text(f->db, "k3", "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv", false));
    store_fault_wait(f->store, g, 1);
    store_fault_release(f->store, g);
}

static void durable_writes_share_objects(void **state)
{
    enum { N = 8 };
    static const char *const keys[N] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    struct db_fixture *f = *state;
    struct call first = { .key = "first", .durable = true }, calls[N];
    unsigned g;

    fixture_open(f);
    g = gate(f, FAULT_PUT, "/wal/");
    first.db = f->db;
    call_start(&first, call_put);
    store_fault_wait(f->store, g, 1);
    for (int i = 0; i < N; i++) {
        calls[i] = (struct call){ .db = f->db, .key = keys[i], .durable = true };
        call_start(&calls[i], call_put);
    }
    while (db_status(f->db).committed_seq < 1 + N)
        sched_yield();
    assert_false(first.done);
    store_fault_release(f->store, g);
    worker_join(&first.w);
    check_ok(first.rc);
    for (int i = 0; i < N; i++) {
        worker_join(&calls[i].w);
        check_ok(calls[i].rc);
    }
    assert_int_equal(db_status(f->db).wal_objects, 2); /* one that was in flight, one for all that gathered */
    assert_int_equal(db_status(f->db).durable_seq, 1 + N);
}

static void gathered_commits_end_when_nobody_joins(void **state)
{
    struct db_fixture *f = *state;

    f->opt.commit_gather_us = 2000;
    fixture_open(f);
    for (int i = 0; i < 5; i++)
        check_ok(put_text(f->db, "k", "v", true));
    assert_int_equal(db_status(f->db).wal_objects, 5);
}

static void call_put_often(void *arg)
{
    struct call *c = arg;

    for (int i = 0; i < c->times && c->rc == 0; i++)
        c->rc = put_text(c->db, c->key, "v", true);
}

static uint32_t waiters(struct shale_db *db)
{
    uint32_t n;

    mutex_lock(&db->mu);
    n = db->wal.n_waiters;
    mutex_unlock(&db->mu);
    return n;
}

/* Two that write at once do not end up in two groups that take turns: once they have met, each object is of both. */
static void gathered_commits_wait_for_each_other(void **state)
{
    struct db_fixture *f = *state;
    struct call a = { .key = "a", .times = 51 }, b = { .key = "b", .times = 50 };
    unsigned g;

    f->opt.commit_gather_us = 600000000;
    fixture_open(f);
    a.db = b.db = f->db;
    g = gate(f, FAULT_PUT, "/wal/");
    call_start(&a, call_put_often);
    store_fault_wait(f->store, g, 1);
    call_start(&b, call_put_often);
    while (waiters(f->db) < 2)
        sched_yield();
    store_fault_release(f->store, g);
    worker_join(&a.w);
    worker_join(&b.w);
    check_ok(a.rc);
    check_ok(b.rc);
    assert_int_equal(db_status(f->db).wal_objects, 51);
}

/* 28.1, fence; test_empty_wal_should_fence_old_writer, should_report_close_reason_fenced_on_fenced_error. */
static void an_older_writer_is_fenced(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db2;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "lost", "x", false));
    db2 = fixture_open_other(f);
    check_err(SHALE_EFENCED, put_text(f->db, "a", "2", true));
    assert_non_null(strstr(shale_errmsg(), "newer writer"));
    check_err(SHALE_EFENCED, put_text(f->db, "a", "2", false));
    check_err(SHALE_EFENCED, shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_err(SHALE_EFENCED, shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).error, SHALE_EFENCED);
    check_value(f->db, NULL, "lost", "x"); /* reads go on */
    check_ok(put_text(db2, "b", "2", true));
    assert_int_equal(db_status(db2).next_wal_id, 5);
    check_scan(db2, NULL, "a=1 b=2");
    check_err(SHALE_EFENCED, shale_db_close(f->db, SHALE_CLOSE_FLUSH)); /* rows were given up */
    f->db = db2;
    fixture_close(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1 b=2");
}

static void an_older_writer_is_fenced_at_its_manifest(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db1, *db2;

    f->opt.wal_enabled = false;
    fixture_open(f);
    db1 = f->db;
    check_ok(put_text(db1, "a", "1", false));
    db2 = fixture_open_other(f);
    check_err(SHALE_EFENCED, shale_db_flush(db1, SHALE_FLUSH_MEMTABLE));
    check_err(SHALE_EFENCED, put_text(db1, "a", "2", false));
    check_err(SHALE_EFENCED, shale_db_close(db1, SHALE_CLOSE_FLUSH));
    check_scan(db2, NULL, "");
    f->db = db2;
}

/* 28.1, close after failure; test_close_failed_state_does_not_flush. */
static void a_fenced_handle_without_losses_closes_well(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db1;
    unsigned n_manifests;

    fixture_open(f);
    db1 = f->db;
    check_ok(put_text(db1, "a", "1", true));
    f->db = fixture_open_other(f);
    check_ok(put_text(f->db, "b", "1", true));
    n_manifests = count_objects(f->mem, "manifest");
    check_ok(shale_db_close(db1, SHALE_CLOSE_FLUSH));
    assert_int_equal(count_objects(f->mem, "manifest"), n_manifests);
    check_scan(f->db, NULL, "a=1 b=1");
}

static void many_openers_leave_one_writer(void **state)
{
    enum { N = 5 };
    struct db_fixture *f = *state;
    struct shale_db *db[N];

    fixture_open(f);
    db[0] = f->db;
    for (int i = 1; i < N; i++)
        db[i] = fixture_open_other(f);
    for (int i = 0; i < N; i++)
        check_err(i == N - 1 ? 0 : SHALE_EFENCED, put_text(db[i], "k", "v", true));
    for (int i = 0; i < N - 1; i++)
        check_ok(shale_db_close(db[i], SHALE_CLOSE_ABANDON));
    f->db = db[N - 1];
    assert_int_equal(db_status(f->db).writer_epoch, N);
}

static void a_slow_put_counts_only_in_our_epoch(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db1;

    fixture_open(f);
    db1 = f->db;
    db1->put_trust_ms = -1; /* every put is slow */
    check_ok(put_text(db1, "a", "1", true));
    f->db = fixture_open_other(f);
    check_ok(shale_store_delete(f->mem, FIXTURE_ROOT "/wal/00000000000000000003.sst")); /* its fence is collected */
    check_err(SHALE_EFENCED, put_text(db1, "a", "2", true));
    check_ok(shale_db_close(db1, SHALE_CLOSE_ABANDON));
    check_value(f->db, NULL, "a", "1");
}

static void a_writer_without_wal_fences_one_with_it(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db1;

    fixture_open(f);
    db1 = f->db;
    check_ok(put_text(db1, "a", "1", true));
    f->opt.wal_enabled = false;
    f->db = fixture_open_other(f);
    check_err(SHALE_EFENCED, put_text(db1, "a", "2", true));
    check_ok(shale_db_close(db1, SHALE_CLOSE_ABANDON));
    check_ok(put_text(f->db, "b", "1", true));
    check_scan(f->db, NULL, "a=1 b=1");
}

static void a_slow_put_is_not_repeated(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule no_memory = { .cls = FAULT_ANY, .match = "/manifest/", .times = 2, .rc = -ENOMEM };
    unsigned r;

    fixture_open(f);
    f->db->put_trust_ms = -1; /* every put is slow */
    r = store_fault_add(f->store, &no_memory);
    store_fault_reset_counts(f->store);
    check_ok(put_text(f->db, "a", "1", true));
    assert_int_equal(store_fault_hits(f->store, r), 2);
    assert_int_equal(store_fault_count(f->store, FAULT_PUT), 1);
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
}

static void a_lost_reply_is_not_a_fence(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule lost = { .cls = FAULT_PUT, .action = FAULT_LOSE_REPLY, .match = "/wal/" };

    fixture_open(f);
    store_fault_add(f->store, &lost);
    check_ok(put_text(f->db, "k", "v", true));
    check_ok(put_text(f->db, "l", "w", true));
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "k=v l=w");
}

/* 28.1, the WAL task dies; test_should_fail_write_if_wal_flush_task_panics. */
static void a_permanent_error_poisons_the_handle(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule denied = { .cls = FAULT_PUT, .match = "/wal/", .rc = -EACCES };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    store_fault_add(f->store, &denied);
    check_err(-EACCES, put_text(f->db, "b", "2", true));
    check_err(-EACCES, put_text(f->db, "c", "3", false));
    assert_true(shale_errmsg()[0] != '\0');
    check_err(-EACCES, shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_scan(f->db, NULL, "a=1 b=2");
    check_err(-EACCES, shale_db_close(f->db, SHALE_CLOSE_FLUSH));
    f->db = NULL;
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
}

struct watch {
    struct db_fixture *f;
    _Atomic unsigned lines;
};

static void try_lock(void *arg)
{
    struct shale_db *db = arg;

    mutex_lock(&db->mu);
    mutex_unlock(&db->mu);
}

/* Another thread gets the lock while the line is written, or this never ends. */
static void watch_line(void *ctx, enum shale_log_level level, const char *line)
{
    struct watch *w = ctx;
    struct worker other = { 0 };

    if (level != SHALE_LOG_ERROR || !strstr(line, FIXTURE_ROOT))
        return;
    w->lines++;
    check_ok(worker_start(&other, "other", try_lock, w->f->db));
    worker_join(&other);
}

static void death_is_logged_without_the_lock(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule denied = { .cls = FAULT_PUT, .rc = -EACCES, .times = FAULT_ALWAYS };
    struct watch w = { .f = f };

    fixture_open(f);
    store_fault_add(f->store, &denied);
    shale_log_set(watch_line, &w, SHALE_LOG_ERROR);
    check_err(-EACCES, put_text(f->db, "a", "1", true));
    worker_join(&f->db->wal_thread);
    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
    assert_int_equal(w.lines, 1);
}

static void a_store_that_is_given_up_on_ends_the_handle(void **state)
{
    const struct fault_rule down = { .cls = FAULT_PUT, .match = "/wal/", .times = FAULT_ALWAYS };
    struct db_fixture *f = *state;

    f->opt.store_limit_ms = 50;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    store_fault_add(f->store, &down);
    check_err(SHALE_ETRANSIENT, put_text(f->db, "b", "2", true));
    assert_non_null(strstr(shale_errmsg(), "gave up after"));
    store_fault_clear(f->store);
    check_err(SHALE_ETRANSIENT, put_text(f->db, "c", "3", true)); /* nothing is written any more */
    check_value(f->db, NULL, "a", "1");
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1");
}

/* 28.1, WAL backpressure; test_apply_wal_memory_backpressure. */
static void writers_wait_for_room(void **state)
{
    struct db_fixture *f = *state;
    struct call second = { .key = "b" };
    unsigned g;

    f->opt.max_unflushed_bytes = 1;
    fixture_open(f);
    g = gate(f, FAULT_PUT, "/wal/");
    check_ok(put_text(f->db, "a", "a batch larger than the limit passes when nothing is pending", false));
    second.db = f->db;
    call_start(&second, call_put);
    store_fault_wait(f->store, g, 1); /* the one that waits asks for the object */
    assert_false(second.done);
    assert_int_equal(db_status(f->db).committed_seq, 1);
    store_fault_release(f->store, g);
    worker_join(&second.w);
    check_ok(second.rc);
    assert_int_equal(db_status(f->db).committed_seq, 2);
}

static void failure_wakes_writers_that_wait(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule denied = { .cls = FAULT_PUT, .match = "/wal/", .rc = -EACCES };
    struct call second = { .key = "b" }, third = { .key = "c" };

    f->opt.max_unflushed_bytes = 1;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    store_fault_add(f->store, &denied);
    second.db = third.db = f->db;
    call_start(&second, call_put);
    call_start(&third, call_put);
    worker_join(&second.w);
    worker_join(&third.w);
    check_err(-EACCES, second.rc);
    check_err(-EACCES, third.rc);
}

/* 28.1, L0 limit; test_apply_backpressure_to_memtable_flush. */
static void l0_limit_holds_back_memtables(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db_status s;
    struct call flush = { .kind = SHALE_FLUSH_MEMTABLE };

    f->opt.l0_max_ssts = 4;
    f->opt.l0_sst_size_bytes = 1;
    fixture_open(f);
    for (int i = 0; i < 4; i++) {
        check_ok(put_text(f->db, "k", "v", true));
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    }
    check_ok(put_text(f->db, "k", "v", true));
    s = db_status(f->db);
    assert_int_equal(s.n_l0, 4);
    assert_int_equal(s.n_memtables, 1);
    flush.db = f->db;
    call_start(&flush, call_flush);
    while (n_waiting(f->db) == 0)
        sched_yield();
    check_ok(shale_db_close(f->db, SHALE_CLOSE_ABANDON)); /* wakes the flush that waits (H11) */
    f->db = NULL;
    worker_join(&flush.w);
    check_err(SHALE_ECLOSED, flush.rc);
    assert_int_equal(count_objects(f->mem, "compacted"), 4);
}

static void close_ends_attempts_to_flush(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule no_memory = {
        .cls = FAULT_ANY, .match = "/compacted/", .times = FAULT_ALWAYS, .rc = -ENOMEM
    };
    struct call flush = { .kind = SHALE_FLUSH_MEMTABLE };
    unsigned r;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    r = store_fault_add(f->store, &no_memory);
    flush.db = f->db;
    call_start(&flush, call_flush);
    while (store_fault_hits(f->store, r) == 0)
        sched_yield();
    fixture_close(f);
    worker_join(&flush.w);
    check_err(SHALE_ECLOSED, flush.rc);
    store_fault_clear(f->store);
    fixture_open(f);
    check_scan(f->db, NULL, "k=v");
}

static void backpressure_counts_frozen_tables(void **state)
{
    struct db_fixture *f = *state;
    struct call last = { .key = "z" };
    unsigned g;

    f->opt.l0_sst_size_bytes = 1;
    f->opt.max_unflushed_bytes = 100;
    fixture_open(f);
    g = gate(f, FAULT_PUT, "/manifest/");
    for (int i = 0; i < 6; i++)
        check_ok(put_text(f->db, "k", "v", true)); /* 18 bytes each */
    last.db = f->db;
    call_start(&last, call_put);
    store_fault_wait(f->store, g, 1);
    assert_int_equal(db_status(f->db).committed_seq, 6);
    store_fault_release(f->store, g);
    worker_join(&last.w);
    check_ok(last.rc);
}

/*
 * 28.1, WAL disabled reads, WAL flush without WAL; test_get_with_durability_level_when_wal_disabled,
 * test_flush_with_options_wal_disabled_error.
 */
static void a_wal_flush_without_wal_is_refused(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_read_options remote = { .durable_only = true };

    f->opt.wal_enabled = false;
    fixture_open(f);
    assert_int_equal(count_objects(f->mem, "wal"), 0);
    check_err(-EINVAL, shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_ok(put_text(f->db, "k", "v", false));
    check_value(f->db, &remote, "k", NULL);
    check_value(f->db, NULL, "k", "v");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_value(f->db, &remote, "k", "v");
    check_ok(put_text(f->db, "l", "w", true)); /* without a timer the write itself has the table flushed */
    check_scan(f->db, &remote, "k=v l=w");
    assert_int_equal(count_objects(f->mem, "wal"), 0);
}

static void without_wal_the_timer_flushes_memtables(void **state)
{
    struct db_fixture *f = *state;

    f->opt.wal_enabled = false;
    f->opt.flush_interval_ms = 1;
    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", true));
    assert_int_equal(db_status(f->db).n_l0, 1);
    check_ok(put_text(f->db, "k", "v", true));
    assert_int_equal(db_status(f->db).n_l0, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(nothing_is_written_before_it_is_asked_for),
        T(the_timer_flushes),
        T(the_timer_flushes_whatever_was_written_before),
        T(a_large_wal_is_begun_by_size),
        T(durable_writes_share_objects),
        T(gathered_commits_end_when_nobody_joins),
        T(gathered_commits_wait_for_each_other),
        T(an_older_writer_is_fenced),
        T(an_older_writer_is_fenced_at_its_manifest),
        T(a_fenced_handle_without_losses_closes_well),
        T(many_openers_leave_one_writer),
        T(a_slow_put_counts_only_in_our_epoch),
        T(a_writer_without_wal_fences_one_with_it),
        T(a_slow_put_is_not_repeated),
        T(a_lost_reply_is_not_a_fence),
        T(a_permanent_error_poisons_the_handle),
        T(death_is_logged_without_the_lock),
        T(a_store_that_is_given_up_on_ends_the_handle),
        T(writers_wait_for_room),
        T(failure_wakes_writers_that_wait),
        T(l0_limit_holds_back_memtables),
        T(close_ends_attempts_to_flush),
        T(backpressure_counts_frozen_tables),
        T(a_wal_flush_without_wal_is_refused),
        T(without_wal_the_timer_flushes_memtables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
