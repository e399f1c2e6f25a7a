/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/integrity.h"
#include "lib/random_env.h"

#include "base/clock.h"

#include <sched.h>
#include <shale/admin.h>
#include <shale/compact.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * The life of a database: writes, flushes, a compaction by the writer, a checkpoint, one by a compactor of its own, a
 * clone, collections. The n-th call to the store fails, loses its reply, brings other bytes or is the last one, for
 * every n until the life passes without it. Then, on the bare store: what was acknowledged is there, nothing is there
 * twice (operands would show it), every object that is referred to exists; work goes on, what was interrupted is
 * finished, and after one collection of garbage of any age there is no object that nothing needs.
 */

#define CLONE_ROOT "t/clone"
#define POLL_MS 1
#define HOUR_MS (3600 * INT64_C(1000))

/* After each step. The keys p* and their long values, which fill several SSTs, count as one letter. */
static const char *const states[] = {
    "", "a=1 b=1 m=a P", "a=2 b=1 c=1 m=ab P", "a=2 c=1 d=1 m=abc P", "a=2 c=1 d=1 e=1 m=abcd P",
    "a=2 c=1 d=1 e=1 f=1 m=abcde P",
};
enum { CLONED_STATE = 4, N_LONG = 6 };

struct life {
    struct db_fixture f;
    unsigned dead;       /* rule: nothing gets through any more; 0 and not has_dead: there is none */
    bool has_dead;
    size_t acked;        /* state */
    bool cloned;         /* acknowledged */
    struct shale_checkpoint cp;
    _Atomic unsigned n_completed; /* of the standalone compactor */
};

static bool is_dead(struct life *l)
{
    return l->has_dead && store_fault_hits(l->f.store, l->dead) > 0;
}

static int put(struct shale_batch *b, const char *key, const char *value)
{
    return shale_batch_put(b, slice_str(key), slice_str(value), SHALE_TTL_INIT);
}

static int add_long(struct shale_batch *b)
{
    char key[8], value[1001];
    int rc = 0;

    for (int i = 0; i < N_LONG && rc == 0; i++) {
        snprintf(key, sizeof(key), "p%d", i);
        snprintf(value, sizeof(value), "%01000d", i);
        rc = put(b, key, value);
    }
    return rc;
}

/* The batch that makes this state of the one before. */
static int fill_batch(struct shale_batch *b, size_t state)
{
    static const char *const puts[][3] = {
        { NULL }, { "a", "b", NULL }, { "c", NULL }, { "d", NULL }, { "e", NULL }, { "f", NULL },
    };
    char operand[] = { (char)('a' + state - 1), '\0' };
    int rc = shale_batch_merge(b, slice_str("m"), slice_str(operand), SHALE_TTL_INIT);

    for (size_t i = 0; rc == 0 && puts[state][i]; i++)
        rc = put(b, puts[state][i], "1");
    if (rc == 0 && state == 1)
        rc = add_long(b);
    if (rc == 0 && state == 2)
        rc = put(b, "a", "2");
    if (rc == 0 && state == 3)
        rc = shale_batch_delete(b, slice_str("b"));
    return rc;
}

/* Written, durable, and in L0. */
static int reach(struct life *l, size_t state, bool flush)
{
    struct shale_batch *b = NULL;
    int rc;

    check_ok(shale_batch_new(&b));
    check_ok(fill_batch(b, state));
    rc = shale_db_write(l->f.db, b, true, NULL);
    shale_batch_free(b);
    if (rc == 0)
        l->acked = state;
    l->f.now_ms += 10;
    return rc == 0 && flush ? shale_db_flush(l->f.db, SHALE_FLUSH_MEMTABLE) : rc;
}

static int open_db(struct life *l)
{
    return shale_db_open(l->f.store, FIXTURE_ROOT, &l->f.opt, true, &l->f.db);
}

static int close_db(struct life *l, int rc)
{
    struct shale_db *db = l->f.db;
    int close_rc;

    l->f.db = NULL;
    close_rc = shale_db_close(db, rc == 0 ? SHALE_CLOSE_FLUSH : SHALE_CLOSE_ABANDON);
    return rc < 0 ? rc : close_rc;
}

/* The compactor of the writer chooses by itself and tries again after a failure. */
static int wait_for_run(struct life *l)
{
    while (db_status(l->f.db).n_l0 > 1) {
        if (is_dead(l))
            return -EIO;
        if (db_status(l->f.db).error)
            return db_status(l->f.db).error;
        sched_yield();
    }
    return 0;
}

static struct shale_gc_options any_age(void)
{
    struct shale_gc_options opt;

    shale_gc_options_init(&opt);
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        opt.min_age_ms[k] = 0;
    opt.fence_age_ms = 0;
    return opt;
}

static int youth(struct life *l)
{
    int rc;

    l->f.opt.compactor.enabled = true;
    rc = open_db(l);
    if (rc < 0)
        return rc;
    rc = reach(l, 1, true);
    if (rc == 0)
        rc = reach(l, 2, true);
    if (rc == 0)
        rc = wait_for_run(l);
    if (rc == 0)
        rc = shale_db_checkpoint(l->f.db, SHALE_CHECKPOINT_ALL, NULL, &l->cp);
    return close_db(l, rc);
}

static int middle_age(struct life *l)
{
    int rc;

    l->f.opt.compactor.enabled = false;
    rc = open_db(l);
    if (rc < 0)
        return rc;
    rc = reach(l, 3, true);
    if (rc == 0)
        rc = reach(l, 4, true);
    return close_db(l, rc);
}

static void tell(void *arg, const struct shale_compaction *c, int rc)
{
    struct life *l = arg;

    (void)rc;
    if (c && c->status == SHALE_COMPACTION_COMPLETED)
        l->n_completed++;
}

static int compact_elsewhere(struct life *l)
{
    const struct shale_compactor_config cfg = { .report = tell, .arg = l };
    struct shale_compactor *c = NULL;
    int rc = shale_compactor_open(l->f.store, FIXTURE_ROOT, &l->f.opt, &cfg, &c);

    if (rc < 0)
        return rc;
    while (l->n_completed == 0 && !is_dead(l))
        sched_yield();
    shale_compactor_close(c);
    return l->n_completed ? 0 : -EIO;
}

static int old_age(struct life *l)
{
    const struct shale_admin_options a = { .clock = &l->f.clock };
    const struct shale_gc_options opt = any_age();
    int rc;

    rc = open_db(l);
    if (rc < 0)
        return rc;
    rc = reach(l, 5, false);
    if (rc == 0)
        rc = shale_db_gc(l->f.db, &opt, NULL);
    rc = close_db(l, rc);
    return rc < 0 ? rc : shale_checkpoint_delete(l->f.store, FIXTURE_ROOT, &a, l->cp.id);
}

/* Until the first failure. */
static int live(struct life *l)
{
    const struct shale_admin_options a = { .clock = &l->f.clock };
    const struct shale_gc_options opt = any_age();
    int rc = youth(l);

    if (rc == 0)
        rc = middle_age(l);
    if (rc == 0)
        rc = compact_elsewhere(l);
    if (rc == 0)
        rc = shale_clone(l->f.store, CLONE_ROOT, FIXTURE_ROOT, NULL, &a);
    l->cloned = rc == 0;
    l->f.now_ms += 2 * HOUR_MS;
    if (rc == 0)
        rc = shale_gc(l->f.store, FIXTURE_ROOT, &a, &opt, NULL);
    return rc == 0 ? old_age(l) : rc;
}

static void life_init(struct life *l)
{
    *l = (struct life){ .dead = 0 };
    fixture_init(&l->f);
    l->f.now_ms = clock_wall_ms();
    l->f.tick_ms = 1; /* no two objects are as old */
    l->f.opt.block_cache_bytes = 0;
    l->f.opt.manifest_poll_interval_ms = POLL_MS;
    l->f.opt.compactor.min_sources = 2;
    l->f.opt.compactor.max_sst_size = 1;
    l->f.opt.compactor.poll_interval_ms = POLL_MS;
}

/* All rows as in states, into got. */
static void read_state(struct shale_db *db, char *got, size_t size)
{
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc, n_long = 0;

    *got = '\0';
    check_ok(shale_db_scan(db, &(struct shale_key_range){ 0 }, NULL, &it));
    while ((rc = shale_iter_next(it, &row)) == 0) {
        size_t n = strlen(got);

        if (row.key.data[0] == 'p')
            n_long++;
        else
            snprintf(got + n, size - n, "%s%.*s=%.*s", n ? " " : "", (int)row.key.len, (const char *)row.key.data,
                     (int)row.value.len, (const char *)row.value.data);
    }
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    assert_true(n_long == 0 || n_long == N_LONG);
    if (n_long)
        strcat(got, " P");
}

/* Which state is there; least: it must not be an earlier one. */
static size_t check_state(struct shale_db *db, size_t least)
{
    char got[128];

    read_state(db, got, sizeof(got) - 2);
    for (size_t i = least; i < ARRAY_SIZE(states); i++)
        if (strcmp(got, states[i]) == 0)
            return i;
    fail_msg("found '%s', which is not '%s' or later", got, states[least]);
    return 0;
}

static void flush_z(struct life *l)
{
    struct shale_db *db = l->f.db;

    l->f.now_ms += HOUR_MS;
    check_ok(put_text(db, "z", "end", true));
    check_ok(shale_db_flush(db, SHALE_FLUSH_MEMTABLE));
    while (db_status(db).n_l0 > 1 || db_status(db).n_compacting)
        sched_yield();
}

/*
 * Enough happens after the fault that nothing which it left is as young as what bounds a collection (R318): what was
 * interrupted is finished, there is a later compaction, and an L0 SST that is younger still.
 */
static void go_on(struct life *l)
{
    uint64_t n;

    l->f.now_ms += 2 * HOUR_MS;
    l->f.opt.compactor.enabled = true;
    fixture_open(&l->f);
    n = db_status(l->f.db).compactions;
    while (db_status(l->f.db).compactions < n + 2 || db_status(l->f.db).n_l0 == 0)
        flush_z(l);
    check_ok(delete_text(l->f.db, "z", true));
    fixture_close(&l->f);
}

static void check_clone(struct life *l)
{
    struct shale_db *db = NULL;

    l->f.opt.compactor.enabled = false;
    check_ok(shale_db_open(l->f.store, CLONE_ROOT, &l->f.opt, false, &db));
    assert_int_equal(check_state(db, CLONED_STATE), CLONED_STATE);
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
    check_integrity(l->f.mem, CLONE_ROOT);
}

static void collect(struct life *l, const char *root)
{
    const struct shale_admin_options a = { .clock = &l->f.clock };
    const struct shale_gc_options opt = any_age();

    l->f.now_ms += HOUR_MS;
    check_ok(shale_gc(l->f.store, root, &a, &opt, NULL));
    check_integrity(l->f.mem, root);
    check_no_orphans(l->f.mem, root);
}

static void check_after(struct life *l)
{
    size_t found;

    store_fault_clear(l->f.store);
    l->has_dead = false;
    fixture_crash(&l->f);
    l->f.opt.compactor.enabled = false;
    fixture_open(&l->f); /* makes the database when not even that had been done */
    found = check_state(l->f.db, l->acked);
    fixture_crash(&l->f);
    check_integrity(l->f.mem, FIXTURE_ROOT);
    if (l->cloned)
        check_clone(l);
    go_on(l);
    collect(l, FIXTURE_ROOT);
    l->f.opt.compactor.enabled = false;
    fixture_open(&l->f);
    assert_int_equal(check_state(l->f.db, found), found);
    fixture_close(&l->f);
    if (l->cloned)
        check_clone(l);
}

enum { MAX_CALLS = 3000 };

/* want: 0 when the fault must not be noticed. dead: nothing gets through after it. least: how many calls there are. */
static void loop(const struct fault_rule *rule, bool dead, int want, unsigned least)
{
    uint64_t scale = random_env(100).n; /* fewer of them where each takes long */
    unsigned step = scale >= 100 ? 1 : scale < 5 ? 20 : (unsigned)(100 / scale), n, tried = 0;
    bool clean = false;

    for (n = 1; !clean; n += step, tried++) {
        struct fault_rule r = *rule, after = { .nth = n + 1, .times = FAULT_ALWAYS, .rc = -EIO };
        struct life l;
        unsigned id;
        int rc;

        assert_true(n < MAX_CALLS);
        life_init(&l);
        r.nth = n;
        id = store_fault_add(l.f.store, &r);
        if (dead) {
            l.dead = store_fault_add(l.f.store, &after);
            l.has_dead = true;
        }
        rc = live(&l);
        clean = store_fault_hits(l.f.store, id) == 0;
        if (clean || want == 0)
            check_ok(rc);
        if (rc == 0)
            assert_int_equal(l.acked, ARRAY_SIZE(states) - 1);
        check_after(&l);
        fixture_fini(&l.f);
    }
    print_message("%u of %u calls\n", tried, n);
    assert_true(n > least);
}

static void a_call_fails(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_ANY, .rc = -EIO }, false, -EIO, 100);
}

static void a_reply_is_an_error_though_it_was_done(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO }, false, -EIO, 100);
}

static void a_reply_is_lost_and_made_good(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY }, false, 0, 100);
}

static void the_process_dies_before_a_call(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_ANY, .rc = -EIO }, true, -EIO, 100);
}

static void the_process_dies_after_a_call(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .rc = -EIO }, true, -EIO, 100);
}

static void a_section_arrives_spoilt(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_RANGE, .action = FAULT_FLIP, .keep = 77 }, false, 0, 5);
}

static void a_section_arrives_cut(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_RANGE, .action = FAULT_SHORT, .keep = 7 }, false, 0, 5);
}

/* Manifests and lists of compactions have no checksum, but show that much. */
static void an_object_arrives_empty(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_GET, .action = FAULT_SHORT, .keep = 0 }, false, 0, 10);
}

static void a_log_object_arrives_spoilt(void **state)
{
    (void)state;
    loop(&(struct fault_rule){ .cls = FAULT_GET, .action = FAULT_FLIP, .match = "/wal/", .keep = 40 }, false, 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_fails),
        cmocka_unit_test(a_reply_is_an_error_though_it_was_done),
        cmocka_unit_test(a_reply_is_lost_and_made_good),
        cmocka_unit_test(the_process_dies_before_a_call),
        cmocka_unit_test(the_process_dies_after_a_call),
        cmocka_unit_test(a_section_arrives_spoilt),
        cmocka_unit_test(a_section_arrives_cut),
        cmocka_unit_test(an_object_arrives_empty),
        cmocka_unit_test(a_log_object_arrives_spoilt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
