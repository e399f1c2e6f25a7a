/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/integrity.h"

#include "base/clock.h"
#include "base/sync.h"
#include "base/ulid.h"
#include "db/db.h"
#include "object/paths.h"

#include <shale/compact.h>
#include <sched.h>

/* Compactions that a caller asks for, compactors of their own, and who owns the list. */

#define DEADLINE_MS 60000

/* What a standalone compactor told. */
struct teller {
    struct mutex mu;
    struct cond changed;
    struct shale_compaction last; /* GUARDED_BY(mu), as the next two */
    unsigned n_finished, n_running;
    int ended;
};

static void teller_init(struct teller *t)
{
    *t = (struct teller){ .n_finished = 0 };
    mutex_init(&t->mu, 1000, "teller");
    cond_init(&t->changed);
}

static void teller_fini(struct teller *t)
{
    cond_fini(&t->changed);
    mutex_fini(&t->mu);
}

static void tell(void *arg, const struct shale_compaction *c, int rc)
{
    struct teller *t = arg;

    mutex_lock(&t->mu);
    if (c) {
        t->last = *c;
        t->last.why = c->why ? "told" : NULL;
        t->n_running += c->status == SHALE_COMPACTION_RUNNING;
        t->n_finished += c->status > SHALE_COMPACTION_RUNNING;
    } else {
        t->ended = rc;
    }
    cond_broadcast(&t->changed);
    mutex_unlock(&t->mu);
}

static struct shale_compaction wait_finished(struct teller *t, unsigned n)
{
    struct shale_compaction last;

    mutex_lock(&t->mu);
    while (t->n_finished < n)
        cond_wait(&t->changed, &t->mu);
    last = t->last;
    mutex_unlock(&t->mu);
    return last;
}

static struct shale_compactor *open_compactor(struct db_fixture *f, struct teller *t)
{
    const struct shale_compactor_config cfg = { .only_submitted = true, .report = tell, .arg = t };
    struct shale_compactor *c = NULL;

    check_ok(shale_compactor_open(f->store, FIXTURE_ROOT, &f->opt, &cfg, &c));
    return c;
}

/* n L0 SSTs of a key each and a common one. */
static void write_l0(struct db_fixture *f, char first, int n)
{
    for (int i = 0; i < n; i++) {
        char key[] = { (char)(first + i), '\0' };

        check_ok(put_text(f->db, key, key, false));
        check_ok(merge_text(f->db, "all", key, false));
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    }
}

static int submit(struct db_fixture *f, const struct shale_compaction_spec *spec, struct shale_ulid *id)
{
    return shale_compaction_submit(f->store, FIXTURE_ROOT, spec, id);
}

/* Ask for it, wait for it, and let the writer see it. */
static struct shale_compaction compact(struct db_fixture *f, struct shale_compactor *c, struct teller *t,
                                       const struct shale_compaction_spec *spec)
{
    struct shale_compaction told;
    struct shale_ulid id;
    unsigned before;

    mutex_lock(&t->mu);
    before = t->n_finished;
    mutex_unlock(&t->mu);
    check_ok(submit(f, spec, &id));
    shale_compactor_wake(c);
    told = wait_finished(t, before + 1);
    assert_true(ulid_eq(told.id, id));
    fixture_close(f);
    fixture_open(f);
    return told;
}

/* R233, R234. */
static void without_a_compactor_nothing_is_taken(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    const struct shale_compactor_config cfg = { .only_submitted = true };
    struct db_fixture *f = *state;
    struct shale_compactor *c = NULL;
    struct shale_ulid id;

    check_err(-ENOENT, submit(f, &full, &id));
    check_err(-ENOENT, shale_compactor_open(f->store, FIXTURE_ROOT, &f->opt, &cfg, &c));
    fixture_open(f);
    check_err(SHALE_END, submit(f, &full, &id));
    write_l0(f, 'a', 1);
    check_err(-ENOENT, submit(f, &full, &id));
    check_err(-ENOENT, shale_db_compact(f->db, &full, &id));
    check_err(-EINVAL, shale_compaction_submit(f->store, "/bad", &full, &id));
}

/*
 * R233, R234; test_submit_persists_compaction, test_submit_full_compaction_uses_sorted_run_sources_only, test_plan_*.
 */
static void a_caller_says_what_is_compacted(void **state)
{
    static const uint32_t two[] = { 1, 2 }, missing[] = { 9 };
    struct db_fixture *f = *state;
    struct shale_compaction told;
    struct shale_compactor *c;
    struct teller t;

    teller_init(&t);
    fixture_open(f);
    write_l0(f, 'a', 3);
    c = open_compactor(f, &t);
    told = compact(f, c, &t, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_L0, .n_l0_oldest = 2 });
    assert_int_equal(told.status, SHALE_COMPACTION_COMPLETED);
    assert_int_equal(told.n_l0, 2);
    assert_int_equal(told.destination, 0);
    assert_int_equal(db_status(f->db).n_l0, 1);
    told = compact(f, c, &t, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_L0 });
    assert_int_equal(told.destination, 1);
    write_l0(f, 'd', 2);
    told = compact(f, c, &t, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_L0, .n_l0_oldest = 99 });
    assert_int_equal(told.destination, 2);
    assert_int_equal(db_status(f->db).n_runs, 3);
    told = compact(f, c, &t, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_RUNS, .runs = two, .n_runs = 2 });
    assert_int_equal(told.destination, 1);
    assert_int_equal(told.n_runs, 2);
    check_err(-EINVAL, submit(f, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_RUNS, .runs = missing,
                                                                 .n_runs = 1 },
                              &told.id));
    check_err(-EINVAL, submit(f, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_SOURCES, .runs = &two[0],
                                                                 .n_runs = 1, .destination = 7 },
                              &told.id));
    check_err(-EINVAL, submit(f, &(struct shale_compaction_spec){ .kind = 99 }, &told.id));
    told = compact(f, c, &t, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_SOURCES, .runs = &two[0],
                                                              .n_runs = 1, .destination = 1 });
    assert_int_equal(told.status, SHALE_COMPACTION_COMPLETED);
    write_l0(f, 'f', 1);
    told = compact(f, c, &t, &(struct shale_compaction_spec){ .kind = SHALE_COMPACT_FULL });
    assert_int_equal(told.destination, 0);
    assert_int_equal(db_status(f->db).n_l0, 0);
    assert_int_equal(db_status(f->db).n_runs, 1);
    check_scan(f->db, NULL, "a=a all=abcdef b=b c=c d=d e=e f=f");
    assert_true(t.n_running >= 6);
    shale_compactor_close(c);
    teller_fini(&t);
}

static int count_record(void *arg, const struct shale_compaction *c)
{
    unsigned *by_status = arg;

    by_status[c->status]++;
    return 0;
}

/* Each next one ends the one before, which says so. */
static void the_later_compactor_owns_the_list(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct shale_compactor *first, *second;
    unsigned by_status[4] = { 0 };
    struct db_fixture *f = *state;
    struct teller t1, t2;

    teller_init(&t1);
    teller_init(&t2);
    fixture_open(f);
    write_l0(f, 'a', 2);
    first = open_compactor(f, &t1);
    second = open_compactor(f, &t2);
    shale_compactor_wake(first);
    mutex_lock(&t1.mu);
    while (t1.ended == 0)
        cond_wait(&t1.changed, &t1.mu);
    mutex_unlock(&t1.mu);
    assert_int_equal(t1.ended, SHALE_EFENCED);
    (void)compact(f, second, &t2, &full);
    shale_compactor_close(first);
    shale_compactor_close(second);
    check_ok(shale_compaction_list(f->store, FIXTURE_ROOT, count_record, by_status));
    assert_int_equal(by_status[SHALE_COMPACTION_COMPLETED], 1);
    assert_int_equal(by_status[SHALE_COMPACTION_RUNNING] + by_status[SHALE_COMPACTION_SUBMITTED], 0);
    teller_fini(&t1);
    teller_fini(&t2);
}

static void check_sources_kept(struct db_fixture *f, const struct shale_ulid *sources, size_t n)
{
    struct manifest_store *ms = NULL;
    struct manifest_version *v = NULL, *old = NULL;

    check_ok(manifest_store_new(f->mem, FIXTURE_ROOT, 1000, &ms));
    check_ok(manifest_store_load_latest(ms, &v));
    assert_int_equal(v->m.n_checkpoints, 1);
    assert_int_equal(v->m.checkpoints[0].create_s, f->now_ms / 1000);
    assert_int_equal(v->m.checkpoints[0].expire_s, f->now_ms / 1000 + 900);
    assert_int_equal(v->m.checkpoints[0].manifest_id, v->id - 1);
    check_ok(manifest_store_read(ms, v->id - 1, &old));
    assert_int_equal(old->m.n_l0, n);
    for (size_t i = 0; i < n; i++)
        assert_true(ulid_eq(old->m.l0[i].id, sources[i]));
    manifest_version_unref(old);
    manifest_version_unref(v);
    manifest_store_free(ms);
}

static void collect(struct db_fixture *f)
{
    const struct shale_admin_options a = { .clock = &f->clock };
    struct shale_gc_options opt;

    shale_gc_options_init(&opt);
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        opt.min_age_ms[k] = 0;
    check_ok(shale_gc(f->store, FIXTURE_ROOT, &a, &opt, NULL));
    check_integrity(f->mem, FIXTURE_ROOT);
}

static bool is_there(struct db_fixture *f, struct shale_ulid id)
{
    struct shale_object_meta meta;
    char name[PATH_NAME_MAX];

    check_ok(path_sst(FIXTURE_ROOT, id, name));
    return shale_store_head(f->mem, name, &meta) == 0;
}

/* Every L0 SST into a new run, by a compactor that is there for that alone. */
static void compact_l0_elsewhere(struct db_fixture *f, struct teller *t, unsigned n_finished)
{
    const struct shale_compaction_spec l0 = { .kind = SHALE_COMPACT_L0 };
    struct shale_compactor *c = open_compactor(f, t);
    struct shale_ulid id;

    check_ok(submit(f, &l0, &id));
    shale_compactor_wake(c);
    assert_int_equal(wait_finished(t, n_finished).status, SHALE_COMPACTION_COMPLETED);
    shale_compactor_close(c);
}

/*
 * R230, test_should_leave_checkpoint_when_removing_ssts_after_compaction: a collector leaves the sources to a writer
 * that has not yet seen that they were compacted, for a quarter of an hour.
 */
static void a_standalone_compactor_keeps_its_sources_a_while(void **state)
{
    struct db_fixture *f = *state;
    struct shale_ulid sources[2];
    struct teller t;

    teller_init(&t);
    f->now_ms = clock_wall_ms() - 1000; /* sources are older than the compaction, whose id is of the wall clock */
    f->opt.block_cache_bytes = 0;
    fixture_open(f);
    write_l0(f, 'a', 2);
    for (size_t i = 0; i < 2; i++)
        sources[i] = f->db->mv->m.l0[i].id;
    f->now_ms += 1000;
    compact_l0_elsewhere(f, &t, 1);
    check_sources_kept(f, sources, 2);
    f->now_ms += 899000;
    collect(f);
    assert_true(is_there(f, sources[0]) && is_there(f, sources[1]));
    check_scan(f->db, NULL, "a=a all=ab b=b"); /* from L0, which the writer takes to be there */
    assert_int_equal(db_status(f->db).n_l0, 2);
    fixture_close(f);
    fixture_open(f);
    write_l0(f, 'c', 1); /* what is younger than the newest L0 stays in any case (R318) */
    compact_l0_elsewhere(f, &t, 2);
    f->now_ms += 900000;
    collect(f);
    assert_int_equal(count_checkpoints(f->mem, FIXTURE_ROOT), 0);
    for (size_t i = 0; i < 2; i++)
        assert_false(is_there(f, sources[i]));
    fixture_close(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=a all=abc b=b c=c");
    teller_fini(&t);
}

static void wait_compactions(struct shale_db *db, uint64_t n)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    while (db_status(db).compactions < n && clock_mono_ms() < deadline)
        sched_yield();
    assert_true(db_status(db).compactions >= n);
}

static void an_open_database_compacts_what_it_is_asked_to(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct shale_compaction told = { .status = SHALE_COMPACTION_SUBMITTED };
    struct db_fixture *f = *state;
    struct shale_ulid id;

    f->opt.compactor.enabled = true;
    fixture_open(f);
    check_err(SHALE_END, shale_db_compact(f->db, &full, &id));
    write_l0(f, 'a', 2);
    check_ok(shale_db_compact(f->db, &full, &id));
    wait_compactions(f->db, 1);
    while (told.status != SHALE_COMPACTION_COMPLETED)
        check_ok(shale_db_compaction(f->db, id, &told));
    assert_int_equal(told.n_l0, 2);
    assert_int_equal(db_status(f->db).n_l0, 0);
    id.lo++;
    check_err(-ENOENT, shale_db_compaction(f->db, id, &told));
    check_scan(f->db, NULL, "a=a all=ab b=b");
}

/* Somebody compacts elsewhere and is gone; the database's own compactor takes over again once there is work. */
static void who_was_overtaken_takes_back_what_nobody_does(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct db_fixture *f = *state;
    struct shale_compactor *c;
    struct shale_ulid id;
    struct teller t;

    teller_init(&t);
    f->opt.compactor.enabled = true;
    f->opt.compactor.poll_interval_ms = 20;
    f->opt.manifest_poll_interval_ms = 5;
    fixture_open(f);
    write_l0(f, 'a', 2);
    c = open_compactor(f, &t);
    check_ok(submit(f, &full, &id));
    shale_compactor_wake(c);
    assert_int_equal(wait_finished(&t, 1).status, SHALE_COMPACTION_COMPLETED);
    shale_compactor_close(c);
    assert_int_equal(db_status(f->db).compactions, 0);
    write_l0(f, 'c', 6);
    wait_compactions(f->db, 1);
    /* Also what was only asked for. */
    check_ok(shale_db_compact(f->db, &full, &id));
    wait_compactions(f->db, 2);
    check_scan(f->db, NULL, "a=a all=abcdefgh b=b c=c d=d e=e f=f g=g h=h");
    teller_fini(&t);
}

/* The n-th call of the store fails for good, for each n until all goes well. */
static void a_failing_store_leaves_the_list_as_it_was(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct db_fixture *f = *state;
    unsigned by_status[4] = { 0 };
    struct shale_ulid id;
    struct teller t;
    unsigned n = 0;
    int rc;

    teller_init(&t);
    fixture_open(f);
    write_l0(f, 'a', 2);
    shale_compactor_close(open_compactor(f, &t));
    do {
        struct fault_rule rule = { .cls = FAULT_ANY, .action = FAULT_FAIL, .nth = ++n, .times = FAULT_ALWAYS,
                                   .rc = -EIO };

        store_fault_add(f->store, &rule);
        rc = submit(f, &full, &id);
        store_fault_clear(f->store);
        assert_true(rc == 0 || rc == -EIO);
    } while (rc < 0);
    assert_true(n > 3);
    check_ok(shale_compaction_list(f->store, FIXTURE_ROOT, count_record, by_status));
    assert_int_equal(by_status[SHALE_COMPACTION_SUBMITTED], 1);
    teller_fini(&t);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(without_a_compactor_nothing_is_taken),
        T(a_caller_says_what_is_compacted),
        T(the_later_compactor_owns_the_list),
        T(a_standalone_compactor_keeps_its_sources_a_while),
        T(an_open_database_compacts_what_it_is_asked_to),
        T(who_was_overtaken_takes_back_what_nobody_does),
        T(a_failing_store_leaves_the_list_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
