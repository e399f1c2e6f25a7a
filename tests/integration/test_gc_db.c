/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/integrity.h"

#include "base/clock.h"
#include "base/pool.h"
#include "db/db.h"

#include <sched.h>
#include <shale/admin.h>
#include <shale/compact.h>
#include <stdio.h>
#include <stdlib.h>

/* The collector beside what a database does: faults, crashes, readers, other threads. */

static struct shale_gc_options no_age(void)
{
    struct shale_gc_options opt;

    shale_gc_options_init(&opt);
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        opt.min_age_ms[k] = 0;
    return opt;
}

static int collect(struct db_fixture *f, int64_t later_ms, struct shale_gc_result *res)
{
    const struct shale_admin_options a = { .clock = &f->clock };
    const struct shale_gc_options opt = no_age();

    f->now_ms += later_ms;
    return shale_gc(f->store, FIXTURE_ROOT, &a, &opt, res);
}

static void wait_for_compactions(struct db_fixture *f, uint64_t n)
{
    while (db_status(f->db).compactions < n)
        sched_yield();
}

static void flush_row(struct db_fixture *f, const char *key, const char *value)
{
    check_ok(put_text(f->db, key, value, true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
}

/* Two L0s for each compaction, and a look for work only when one is there. */
static void with_compactor(struct db_fixture *f)
{
    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.compactor.poll_interval_ms = 3600000;
    f->now_ms = clock_wall_ms();
}

static void compact_once(struct db_fixture *f, const char *value)
{
    uint64_t n = db_status(f->db).compactions;

    flush_row(f, "a", value);
    f->now_ms += 10;
    flush_row(f, "b", value);
    f->now_ms += 10;
    wait_for_compactions(f, n + 1);
}

#define ROWS "a=3 b=3 c=1 d=1"

/* Garbage of every kind, an expired checkpoint and one that is live. */
static void make_garbage(struct db_fixture *f)
{
    const struct shale_checkpoint_options hour = { .has_lifetime = true, .lifetime_ms = 3600000 };
    struct shale_checkpoint c;

    with_compactor(f);
    fixture_open(f);
    compact_once(f, "1");
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, &hour, &c));
    compact_once(f, "2");
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, NULL, &c));
    compact_once(f, "3");
    flush_row(f, "c", "1");
    check_ok(put_text(f->db, "d", "1", true));
    fixture_close(f);
    f->opt.compactor.enabled = false;
}

static void check_rows(struct db_fixture *f)
{
    check_integrity(f->mem, FIXTURE_ROOT);
    fixture_open(f);
    check_scan(f->db, NULL, ROWS);
    fixture_close(f);
}

/* What a run that nothing disturbs leaves. The version without the expired checkpoint may have another number. */
static char *reference(struct shale_store *base, int64_t now_ms)
{
    struct shale_gc_result res;
    struct db_fixture f;
    char *names;

    fixture_init(&f);
    shale_store_close(f.store);
    shale_store_close(f.mem);
    f.mem = copy_store(base);
    f.store = store_fault_new(f.mem);
    f.now_ms = now_ms;
    check_ok(collect(&f, 7200000, &res));
    assert_int_equal(res.expired, 1);
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        assert_true(res.removed[k] > 0);
    names = object_names(f.mem, "");
    check_rows(&f);
    fixture_fini(&f);
    return names;
}

static void loop(const struct fault_rule *rule, bool dead)
{
    struct db_fixture base;
    bool clean = false;
    char *want, *got;
    unsigned n = 0;

    fixture_init(&base);
    make_garbage(&base);
    want = reference(base.mem, base.now_ms);
    while (!clean) {
        struct fault_rule r = *rule, after = { .nth = ++n + 1, .times = FAULT_ALWAYS, .rc = -EIO };
        struct db_fixture f;
        unsigned id;
        int rc;

        assert_true(n < 400);
        fixture_init(&f);
        shale_store_close(f.store);
        shale_store_close(f.mem);
        f.mem = copy_store(base.mem);
        f.store = store_fault_new(f.mem);
        f.now_ms = base.now_ms;
        r.nth = n;
        id = store_fault_add(f.store, &r);
        if (dead)
            store_fault_add(f.store, &after);
        rc = collect(&f, 7200000, NULL);
        clean = store_fault_hits(f.store, id) == 0;
        if (clean)
            check_ok(rc);
        store_fault_clear(f.store);
        check_integrity(f.mem, FIXTURE_ROOT);
        check_ok(collect(&f, 0, NULL));
        got = object_names(f.mem, "");
        assert_string_equal(got, want); /* nothing is left behind */
        free(got);
        check_rows(&f);
        fixture_fini(&f);
    }
    print_message("%u calls\n", n);
    assert_true(n > 20);
    free(want);
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

/* ---- checkpoints under faults ---- */

/* With a fault at call n. *clean: there were fewer. */
static int checkpoint_under(const struct fault_rule *rule, bool dead, unsigned n, bool *clean)
{
    struct fault_rule r = *rule, after = { .nth = n + 1, .times = FAULT_ALWAYS, .rc = -EIO };
    const struct shale_checkpoint_options named = { .name = "n" };
    struct shale_checkpoint c;
    struct db_fixture f;
    unsigned id;
    size_t left;
    int rc;

    fixture_init(&f);
    fixture_open(&f);
    check_ok(put_text(f.db, "a", "1", true));
    r.nth = n;
    id = store_fault_add(f.store, &r);
    if (dead)
        store_fault_add(f.store, &after);
    rc = shale_db_checkpoint(f.db, SHALE_CHECKPOINT_ALL, &named, &c);
    if (rc == 0)
        rc = shale_checkpoint_create(f.store, FIXTURE_ROOT, NULL, &named, &c);
    *clean = store_fault_hits(f.store, id) == 0;
    store_fault_clear(f.store);
    fixture_crash(&f);
    check_integrity(f.mem, FIXTURE_ROOT);
    left = count_checkpoints(f.mem, FIXTURE_ROOT);
    assert_true(rc == 0 ? left == 2 : left <= 2);
    fixture_open(&f);
    check_ok(shale_db_checkpoint(f.db, SHALE_CHECKPOINT_ALL, &named, &c));
    check_scan(f.db, NULL, "a=1");
    fixture_close(&f);
    check_integrity(f.mem, FIXTURE_ROOT);
    fixture_fini(&f);
    return rc;
}

static void checkpoints_with_a_fault_at_every_call(void **state)
{
    const struct fault_rule rules[] = { { .cls = FAULT_ANY, .rc = -EIO },
                                        { .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO } };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        bool clean = false;
        unsigned n = 0;
        int rc = 0;

        while (!clean)
            rc = checkpoint_under(&rules[i / 2], i % 2, ++n, &clean);
        check_ok(rc);
        assert_true(n > 4);
    }
}

static void a_lost_reply_makes_no_second_checkpoint(void **state)
{
    /* Each is asked for again, and found done. */
    const struct fault_rule lost = { .cls = FAULT_PUT, .action = FAULT_LOSE_REPLY, .every = 2 };
    struct db_fixture *f = *state;
    struct shale_checkpoint c;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    store_fault_add(f->store, &lost);
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_ALL, NULL, &c));
    check_ok(shale_db_checkpoint(f->db, SHALE_CHECKPOINT_DURABLE, NULL, &c));
    store_fault_clear(f->store);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 2);
}

/* ---- beside an open database ---- */

static void an_iterator_keeps_what_it_reads(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_gc_options opt = no_age();
    struct shale_gc_result res;
    struct shale_iter *it = NULL;
    struct shale_row row;

    with_compactor(f);
    f->opt.block_cache_bytes = 0;
    fixture_open(f);
    compact_once(f, "1");
    check_ok(shale_db_scan(f->db, &(struct shale_key_range){ 0 }, NULL, &it));
    compact_once(f, "2");
    compact_once(f, "3");
    check_ok(shale_db_gc(f->db, &opt, &res));
    check_ok(shale_iter_next(it, &row));
    assert_int_equal(row.value.data[0], '1');
    check_ok(shale_iter_next(it, &row));
    assert_int_equal(row.value.data[0], '1');
    check_err(SHALE_END, shale_iter_next(it, &row));
    shale_iter_close(it);
    check_integrity(f->mem, FIXTURE_ROOT);
    check_scan(f->db, NULL, "a=3 b=3");
    check_ok(shale_db_gc(f->db, &opt, &res));
    assert_true(res.removed[SHALE_GC_COMPACTED] > 0); /* what only the iterator held */
    check_scan(f->db, NULL, "a=3 b=3");
}

static void count_over(void *arg, const struct shale_compaction *c, int rc)
{
    _Atomic unsigned *n_over = arg;

    (void)rc;
    if (c && c->status == SHALE_COMPACTION_COMPLETED)
        atomic_fetch_add(n_over, 1);
}

static int delete_one(void *arg, const struct shale_checkpoint *c)
{
    struct db_fixture *f = arg;

    return shale_checkpoint_delete(f->store, FIXTURE_ROOT, NULL, c->id);
}

/*
 * Everything, by a compactor that this handle knows nothing of; and then what it has replaced goes, although it has kept
 * that with a checkpoint, which others need not do.
 */
static void compact_and_collect_elsewhere(struct db_fixture *f)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    _Atomic unsigned n_over = 0;
    const struct shale_compactor_config cfg = { .only_submitted = true, .report = count_over, .arg = &n_over };
    struct shale_compactor *c = NULL;
    struct shale_gc_result res = { 0 };
    struct shale_ulid id;

    check_ok(shale_compactor_open(f->store, FIXTURE_ROOT, &f->opt, &cfg, &c));
    check_ok(shale_compaction_submit(f->store, FIXTURE_ROOT, &full, &id));
    shale_compactor_wake(c);
    while (n_over == 0)
        sched_yield();
    shale_compactor_close(c);
    check_ok(shale_checkpoint_list(f->store, FIXTURE_ROOT, NULL, NULL, delete_one, f));
    check_ok(collect(f, 1000, &res));
    assert_true(res.removed[SHALE_GC_COMPACTED] > 0);
}

/* Their collector does not know what this handle reads, and this handle has not looked at the manifest since. */
static void a_read_looks_again_when_its_objects_are_gone(void **state)
{
    struct db_fixture *f = *state;
    struct shale_iter *it = NULL;
    struct shale_row row;

    f->now_ms = clock_wall_ms() - 100000; /* what asks for compactions takes the system's clock */
    f->opt.block_cache_bytes = 0;
    fixture_open(f);
    for (int i = 0; i < 3; i++) {
        flush_row(f, (const char *[]){ "a", "b", "c" }[i], "1");
        f->now_ms += 10;
    }
    compact_and_collect_elsewhere(f);
    check_value(f->db, NULL, "a", "1");
    check_value(f->db, NULL, "none", NULL);
    flush_row(f, "a", "2");
    f->now_ms += 10;
    flush_row(f, "d", "2");
    compact_and_collect_elsewhere(f);
    /* A scan cannot; the next one does. */
    check_ok(shale_db_scan(f->db, &(struct shale_key_range){ 0 }, NULL, &it));
    check_err(-ESTALE, shale_iter_next(it, &row));
    check_err(-ESTALE, shale_iter_next(it, &row));
    shale_iter_close(it);
    check_scan(f->db, NULL, "a=2 b=1 c=1 d=2");
}

/* 28.1, "GC race": an L0 is uploaded, the manifest that is to name it is not yet written. */
static void an_l0_on_its_way_stays(void **state)
{
    const struct fault_rule gate = { .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/manifest/" };
    struct db_fixture *f = *state;
    unsigned id;

    with_compactor(f);
    fixture_open(f);
    compact_once(f, "1");
    id = store_fault_add(f->store, &gate);
    check_ok(put_text(f->db, "c", "1", true));
    mutex_lock(&f->db->wmu);
    mutex_lock(&f->db->mu);
    check_ok(db_freeze_locked(f->db, f->db->wal.last_id));
    mutex_unlock(&f->db->mu);
    mutex_unlock(&f->db->wmu);
    store_fault_wait(f->store, id, 1);
    for (int i = 0; i < 5; i++) {
        const struct shale_admin_options a = { .clock = &f->clock };
        const struct shale_gc_options opt = no_age();

        f->now_ms += 3600000;
        check_ok(shale_gc(f->mem, FIXTURE_ROOT, &a, &opt, NULL));
    }
    store_fault_release(f->store, id);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_integrity(f->mem, FIXTURE_ROOT);
    check_scan(f->db, NULL, "a=1 b=1 c=1");
    fixture_close(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=1 b=1 c=1");
}

/* The fence of a newer writer was collected while this one slept: its quick put finds the place free (H1). */
static void a_writer_that_slept_is_fenced(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *sleeper;
    char name[64];

    fixture_open(f);
    sleeper = f->db;
    check_ok(put_text(sleeper, "a", "1", true));
    snprintf(name, sizeof(name), FIXTURE_ROOT "/wal/%020llu.sst",
             (unsigned long long)db_status(sleeper).next_wal_id);
    f->db = fixture_open_other(f);
    flush_row(f, "a", "2");
    check_ok(shale_store_delete(f->mem, name));
    mutex_lock(&sleeper->mu);
    sleeper->wal.sure_mono_ms -= 61000;
    mutex_unlock(&sleeper->mu);
    check_err(SHALE_EFENCED, put_text(sleeper, "a", "lost", true));
    check_ok(shale_db_close(sleeper, SHALE_CLOSE_ABANDON));
    check_value(f->db, NULL, "a", "2");
}

static void fences_outlive_a_collection(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *old;

    f->now_ms = clock_wall_ms();
    fixture_open(f);
    old = f->db;
    f->db = fixture_open_other(f);
    for (int i = 0; i < 3; i++)
        flush_row(f, "a", "2");
    check_ok(collect(f, 3600000, NULL));
    check_err(SHALE_EFENCED, put_text(old, "a", "lost", true)); /* without a look: the fence is there */
    check_ok(shale_db_close(old, SHALE_CLOSE_ABANDON));
}

static void a_handle_that_is_closed_or_reads_collects_nothing(void **state)
{
    struct db_fixture *f = *state;
    struct shale_gc_options opt = no_age();
    struct shale_db *old;

    fixture_open(f);
    opt.min_age_ms[0] = -1;
    check_err(-EINVAL, shale_db_gc(f->db, &opt, NULL));
    check_ok(shale_db_gc(f->db, NULL, NULL));
    old = f->db;
    f->db = fixture_open_other(f);
    check_err(SHALE_EFENCED, put_text(old, "a", "1", true));
    check_err(SHALE_EFENCED, shale_db_gc(old, NULL, NULL));
    check_ok(shale_db_close(old, SHALE_CLOSE_ABANDON));
}

/* ---- the thread ---- */

/* R312; test_gc_shutdown; an interval of 0 is test_tickers_should_skip_disabled_gc_tasks. */
static void the_thread_collects(void **state)
{
    struct db_fixture *f = *state;

    with_compactor(f);
    f->tick_ms = 1; /* an SST as old as the newest compaction is kept, for it may be an output: no two are as old */
    f->opt.gc = (struct shale_collector_options){ .enabled = true, .interval_ms = 1 };
    fixture_open(f);
    compact_once(f, "1");
    compact_once(f, "2");
    flush_row(f, "c", "1");
    while (count_objects(f->mem, "compacted") > 3 || count_objects(f->mem, "wal") > 4)
        sched_yield();
    check_integrity(f->mem, FIXTURE_ROOT);
    check_scan(f->db, NULL, "a=2 b=2 c=1");
    fixture_close(f);
    f->opt.gc.interval_ms = 0; /* never (H8) */
    fixture_open(f);
    assert_false(f->db->gc.thread.running);
    fixture_close(f);
    f->opt.compactor.enabled = false;
    f->opt.gc.interval_ms = 3600000;
    fixture_open(f);
    fixture_close(f); /* does not wait for the next run */
}

static void failures_are_not_fatal(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_LIST, .match = "/compacted/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct db_fixture *f = *state;
    unsigned id = store_fault_add(f->store, &denied);

    f->opt.gc = (struct shale_collector_options){ .enabled = true, .interval_ms = 1 };
    fixture_open(f);
    while (store_fault_hits(f->store, id) < 3)
        sched_yield();
    check_ok(put_text(f->db, "a", "1", true)); /* R312 */
    assert_int_equal(db_status(f->db).error, 0);
    fixture_close(f);
}

/* ---- everything at once ---- */

struct race {
    struct db_fixture *f;
    _Atomic bool stop;
    _Atomic unsigned scans, clones;
};

enum { ROUNDS = 200, KEYS = 8, CLONES = 4 };

/* Until what an iterator began with has been compacted, and collected if nothing held it. */
static void linger(struct race *r)
{
    const struct shale_gc_options opt = no_age();
    uint64_t n = db_status(r->f->db).compactions;

    while (!r->stop && db_status(r->f->db).compactions < n + 3)
        sched_yield();
    check_ok(shale_db_gc(r->f->db, &opt, NULL)); /* beside the thread's */
}

/* Every key has the value of the same round: a round is one batch, and a scan sees whole ones. r: slowly. */
static int check_round(struct shale_db *db, struct race *r)
{
    struct shale_iter *it = NULL;
    struct shale_row row;
    int first = -1, n = 0, rc;

    check_ok(shale_db_scan(db, &(struct shale_key_range){ 0 }, NULL, &it));
    while ((rc = shale_iter_next(it, &row)) == 0) {
        int value = atoi((const char *)row.value.data);

        if (first < 0)
            first = value;
        assert_int_equal(value, first);
        if (n++ == 0 && r)
            linger(r);
    }
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    assert_true(n == 0 || n == KEYS);
    return first;
}

static void scan_main(void *arg)
{
    struct race *r = arg;
    int last = -1;

    while (!r->stop) {
        int round = check_round(r->f->db, r);

        assert_true(round >= last);
        last = round;
        r->scans++;
    }
}

static void checkpoint_main(void *arg)
{
    struct race *r = arg;
    struct shale_checkpoint c;

    while (!r->stop) {
        check_ok(shale_db_checkpoint(r->f->db, SHALE_CHECKPOINT_DURABLE, NULL, &c));
        sched_yield();
        check_ok(shale_checkpoint_delete(r->f->store, FIXTURE_ROOT, NULL, c.id));
    }
}

static void clone_main(void *arg)
{
    struct race *r = arg;
    struct shale_options opt = r->f->opt;

    opt.gc.enabled = false;
    opt.seed = 0;
    while (r->clones < CLONES) {
        struct shale_db *db = NULL;
        char path[32];

        snprintf(path, sizeof(path), "c%u", r->clones);
        check_ok(shale_clone(r->f->store, path, FIXTURE_ROOT, NULL, NULL));
        check_ok(shale_db_open(r->f->store, path, &opt, false, &db));
        (void)check_round(db, NULL);
        check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
        r->clones++;
    }
}

static void write_round(struct shale_db *db, int round)
{
    struct shale_batch *b = NULL;
    char key[16], value[16];

    check_ok(shale_batch_new(&b));
    snprintf(value, sizeof(value), "%d", round);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        check_ok(shale_batch_put(b, slice_str(key), slice_of((const uint8_t *)value, strlen(value) + 1), SHALE_TTL_INIT));
    }
    check_ok(shale_db_write(db, b, true, NULL));
    shale_batch_free(b);
}

static void a_collector_races_with_all(void **state)
{
    struct db_fixture *f = *state;
    struct race r = { .f = f };
    struct worker w[3] = { 0 };

    f->opt.clock = NULL;
    f->opt.seed = 0;
    f->opt.block_cache_bytes = 0;
    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.compactor.max_sst_size = 1;
    f->opt.gc = (struct shale_collector_options){ .enabled = true, .interval_ms = 1 };
    fixture_open(f);
    write_round(f->db, 0);
    assert_int_equal(worker_start(&w[0], "scan", scan_main, &r), 0);
    assert_int_equal(worker_start(&w[1], "checkpoint", checkpoint_main, &r), 0);
    assert_int_equal(worker_start(&w[2], "clone", clone_main, &r), 0);
    for (int round = 1; round <= ROUNDS || r.scans < 10 || r.clones < CLONES; round++) {
        write_round(f->db, round);
        if (round % 2)
            check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    }
    r.stop = true;
    for (size_t i = 0; i < ARRAY_SIZE(w); i++)
        worker_join(&w[i]);
    fixture_close(f);
    check_integrity(f->mem, FIXTURE_ROOT);
    for (unsigned i = 0; i < r.clones; i++) {
        char path[32];

        snprintf(path, sizeof(path), "c%u", i);
        check_integrity(f->mem, path);
    }
    f->opt.gc.enabled = f->opt.compactor.enabled = false;
    fixture_open(f);
    (void)check_round(f->db, NULL);
    print_message("%u scans, %u clones, %u SSTs left\n", r.scans, r.clones, count_objects(f->mem, "compacted"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_call_fails_once),
        TEST(a_crash_at_every_call),
        TEST(checkpoints_with_a_fault_at_every_call),
        TEST(a_lost_reply_makes_no_second_checkpoint),
        TEST(an_iterator_keeps_what_it_reads),
        TEST(a_read_looks_again_when_its_objects_are_gone),
        TEST(an_l0_on_its_way_stays),
        TEST(a_writer_that_slept_is_fenced),
        TEST(fences_outlive_a_collection),
        TEST(a_handle_that_is_closed_or_reads_collects_nothing),
        TEST(the_thread_collects),
        TEST(failures_are_not_fatal),
        TEST(a_collector_races_with_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
