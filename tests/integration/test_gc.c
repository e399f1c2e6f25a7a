/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/gc_fixture.h"

/* The collector on objects made by hand, with ages as the reference's tests have them (section 23.6). */

/* ---- manifests (R315) ---- */

/* test_collect_garbage_manifest, test_collect_garbage_only_recent_manifests, test_collect_garbage_old_active_manifest. */
static void manifests_go_when_they_are_old(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ 0 });
    collect(f);
    check_left(f, PATH_MANIFEST, "1 2"); /* both recent */
    store_aged_set(f->store, "1.manifest", DAY);
    collect(f);
    check_left(f, PATH_MANIFEST, "2");
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 1);
    store_aged_set(f->store, ".manifest", DAY);
    collect(f);
    check_left(f, PATH_MANIFEST, "2"); /* the latest */
}

static void expired_checkpoints_hold_nothing(void **state)
{
    struct fix *f = *state;
    const struct shale_checkpoint_options expired = { .has_lifetime = true }, named = { .name = "n" };

    first_manifest(f);
    (void)checkpoint(f, &expired); /* of 2 */
    (void)checkpoint(f, &named);   /* of 3 */
    next_manifest(f, (struct edit){ 0 });
    store_aged_set(f->store, ".manifest", DAY);
    f->opt.dry_run = true;
    collect(f);
    check_left(f, PATH_MANIFEST, "1 2 3 4");
    assert_int_equal(f->res.expired, 1);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 2);
    f->opt.dry_run = false;
    collect(f);
    check_left(f, PATH_MANIFEST, "3 5"); /* 5 is without the expired one (R313) */
    assert_int_equal(f->res.expired, 1);
    collect(f);
    check_left(f, PATH_MANIFEST, "3 5"); /* nothing to write */
    assert_int_equal(f->res.expired, 0);
}

static void young_manifests_stay_for_who_probes(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ 0 });
    next_manifest(f, (struct edit){ 0 });
    f->opt.min_age_ms[SHALE_GC_MANIFEST] = 0;
    store_aged_set(f->store, "1.manifest", 121 * SECOND);
    store_aged_set(f->store, "2.manifest", 119 * SECOND);
    collect(f);
    check_left(f, PATH_MANIFEST, "2 3");
}

/* ---- WAL (R316, H1) ---- */

static void wal_below_the_replay_point_goes(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 3 });
    for (uint64_t id = 1; id <= 5; id++)
        put_wal(f, id);
    collect(f);
    check_left(f, PATH_WAL, "1 2 3 4 5"); /* recent */
    store_aged_set(f->store, "1.sst", HOUR);
    store_aged_set(f->store, "4.sst", HOUR);
    collect(f);
    check_left(f, PATH_WAL, "2 3 4 5");
    store_aged_set(f->store, ".sst", HOUR);
    collect(f);
    check_left(f, PATH_WAL, "3 4 5"); /* the one at the replay point stays */
}

static void checkpoints_hold_wal(void **state)
{
    struct fix *f = *state;
    struct shale_checkpoint c;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 2, .last_seen = 4 });
    c = checkpoint(f, NULL);
    next_manifest(f, (struct edit){ .replay_after = 9, .last_seen = 9 });
    for (uint64_t id = 1; id <= 9; id++)
        put_wal(f, id);
    store_aged_set(f->store, ".sst", HOUR);
    collect(f);
    check_left(f, PATH_WAL, "3 4 9");
    check_rc(0, shale_checkpoint_delete(f->store, ROOT, &f->admin, c.id));
    collect(f);
    check_left(f, PATH_WAL, "9");
}

static void fences_stay_longer(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 9 });
    put_fence(f, 1);
    put_wal(f, 2);
    put_fence(f, 3);
    put(f, "wal", "00000000000000000004.sst", ""); /* as later versions of SlateDB fence */
    put_wal(f, 5);
    put(f, "wal", "00000000000000000006.sst", "a fence of the far future");
    store_aged_set(f->store, ".sst", HOUR);
    store_aged_set(f->store, "1.sst", DAY + SECOND);
    f->opt.min_age_ms[SHALE_GC_WAL] = 0;
    collect(f);
    check_left(f, PATH_WAL, "3 4 6");
    f->opt.fence_age_ms = 0;
    collect(f);
    check_left(f, PATH_WAL, "");
}

/* ---- compactions (R317) ---- */

/* test_collect_garbage_compactions_keeps_latest, ..._respects_min_age. */
static void lists_of_compactions_go(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    for (int i = 0; i < 3; i++)
        put_compactions(f, HOUR);
    store_aged_set(f->store, ".compactions", 60 * SECOND);
    collect(f);
    check_left(f, PATH_COMPACTIONS, "1 2 3");
    store_aged_set(f->store, ".compactions", DAY);
    collect(f);
    check_left(f, PATH_COMPACTIONS, "3");
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTIONS], 2);
}

/* ---- SSTs (R318-R320) ---- */

/* Referenced or not, in L0 or a run, two hours old or ten seconds. */
static void make_ssts(struct fix *f)
{
    struct shale_ulid l0_old = id_of(2 * HOUR, 1), l0_new = id_of(10 * SECOND, 2);
    struct shale_ulid run_old = id_of(2 * HOUR, 3), run_new = id_of(10 * SECOND, 4);

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0_old });
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0_new });
    next_manifest(f, (struct edit){ .fn = push_run, .arg = &run_old });
    next_manifest(f, (struct edit){ .fn = push_run, .arg = &run_new });
    put_sst(f, l0_old);
    put_sst(f, l0_new);
    put_sst(f, run_old);
    put_sst(f, run_new);
    for (unsigned i = 5; i < 7; i++) {
        put_sst(f, id_of(2 * HOUR, i));
        put_sst(f, id_of(10 * SECOND, i));
    }
    put_compactions(f, 10 * SECOND);
}

#define ALL_SSTS "7200.1 7200.3 7200.5 7200.6 10.2 10.4 10.5 10.6"
#define LIVE_SSTS "7200.1 7200.3 10.2 10.4 10.5 10.6"

/* test_collect_garbage_compacted_ssts, test_compacted_gc_respects_min_age_cutoff. */
static void ssts_without_reference_go(void **state)
{
    struct fix *f = *state;

    make_ssts(f);
    only(f, SHALE_GC_COMPACTED, 3 * HOUR);
    collect(f);
    check_left(f, PATH_COMPACTED, ALL_SSTS);
    only(f, SHALE_GC_COMPACTED, HOUR);
    collect(f);
    check_left(f, PATH_COMPACTED, LIVE_SSTS);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTED], 2);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 0);
}

/* test_compacted_gc_respects_manifest_most_recent_sst, test_compacted_gc_respects_compaction_barrier. */
static void the_oldest_compaction_and_the_newest_l0_bound_it(void **state)
{
    struct fix *f = *state;

    make_ssts(f);
    only(f, SHALE_GC_COMPACTED, 0);
    put_compactions(f, -1);
    collect(f);
    check_left(f, PATH_COMPACTED, ALL_SSTS); /* no record */
    put_compactions(f, 2 * HOUR);
    collect(f);
    check_left(f, PATH_COMPACTED, ALL_SSTS); /* not older than it */
    put_compactions(f, SECOND);
    collect(f);
    check_left(f, PATH_COMPACTED, LIVE_SSTS); /* 10.5 and 10.6 are not older than the newest L0 */
    next_manifest(f, (struct edit){ .fn = drop_l0 });
    collect(f);
    check_left(f, PATH_COMPACTED, "7200.3 10.2 10.4 10.5 10.6"); /* nor than the one last compacted */
}

static void nothing_goes_without_a_list_of_compactions(void **state)
{
    struct fix *f = *state;
    struct shale_ulid l0 = id_of(10 * SECOND, 1);

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0 });
    put_sst(f, id_of(DAY, 2));
    collect(f);
    check_left(f, PATH_COMPACTED, "86400.2"); /* R319 */
    put_compactions(f, 0);
    collect(f);
    check_left(f, PATH_COMPACTED, "");
}

static void nothing_goes_before_there_was_an_l0(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    put_compactions(f, 0);
    put_sst(f, id_of(DAY, 1)); /* perhaps the first, on its way into the manifest */
    collect(f);
    check_left(f, PATH_COMPACTED, "86400.1");
}

static void checkpoints_hold_ssts(void **state)
{
    struct fix *f = *state;
    struct shale_checkpoint c;
    struct shale_ulid newer = id_of(SECOND, 9);

    make_ssts(f);
    c = checkpoint(f, NULL);
    next_manifest(f, (struct edit){ .fn = drop_l0 });
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &newer });
    next_manifest(f, (struct edit){ .fn = drop_runs });
    put_compactions(f, SECOND);
    f->opt.min_age_ms[SHALE_GC_COMPACTED] = 5 * SECOND;
    store_aged_set(f->store, ".manifest", DAY);
    collect(f);
    check_left(f, PATH_COMPACTED, "7200.1 7200.3 10.2 10.4");
    check_left(f, PATH_MANIFEST, "6 9");
    check_rc(0, shale_checkpoint_delete(f->store, ROOT, &f->admin, c.id));
    collect(f);
    check_left(f, PATH_COMPACTED, "");
}

static void a_checkpoint_without_its_manifest_stops_all(void **state)
{
    struct fix *f = *state;
    char name[PATH_NAME_MAX];

    make_ssts(f);
    (void)checkpoint(f, NULL);
    next_manifest(f, (struct edit){ .fn = drop_runs });
    assert_int_equal(path_manifest(ROOT, 6, name), 0);
    check_rc(0, shale_store_delete(f->mem, name));
    check_rc(SHALE_ECORRUPT, shale_gc(f->store, ROOT, &f->admin, NULL, &f->res));
    check_left(f, PATH_COMPACTED, ALL_SSTS);
}

static void names_of_others_stay(void **state)
{
    struct fix *f = *state;
    struct shale_ulid l0 = id_of(0, 1);
    char text[SHALE_ULID_TEXT_LEN + 1], name[64];

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0 });
    put_compactions(f, 0);
    ulid_format(id_of(DAY, 1), text);
    snprintf(name, sizeof(name), "%s.sst.part", text);
    put(f, "compacted", name, "x");
    put(f, "compacted", "README", "x");
    put(f, "manifest", "00000000000000000001.txt", "x");
    store_aged_set(f->store, "/", DAY);
    collect(f);
    check_left(f, PATH_COMPACTED, "86400.1 README");
    check_left(f, PATH_MANIFEST, "00000000000000000001.txt 2");
}

/* ---- what this process holds; memory ---- */

static void run_with(struct fix *f, struct gc_memory *memory, int64_t mono_ms)
{
    const struct gc_config cfg = { .store = f->store, .wal_store = f->store, .root = ROOT, .manifests = f->ms,
                                   .now_ms = NOW, .mono_ms = mono_ms, .memory = memory };

    f->res = (struct shale_gc_result){ 0 };
    check_rc(0, gc_run(&cfg, &f->opt, &f->res));
}

static void versions_in_use_hold_ssts(void **state)
{
    struct fix *f = *state;
    struct manifest_version *reader;

    make_ssts(f);
    reader = manifest_store_current(f->ms);
    next_manifest(f, (struct edit){ .fn = drop_runs });
    only(f, SHALE_GC_COMPACTED, HOUR);
    run_with(f, NULL, 0);
    check_left(f, PATH_COMPACTED, LIVE_SSTS);
    manifest_version_unref(reader);
    run_with(f, NULL, 0);
    check_left(f, PATH_COMPACTED, "7200.1 10.2 10.4 10.5 10.6");
}

static void age_counts_from_when_it_was_seen(void **state)
{
    struct gc_memory memory = { 0 };
    struct fix *f = *state;

    make_ssts(f);
    only(f, SHALE_GC_COMPACTED, HOUR);
    run_with(f, &memory, 5 * SECOND);
    check_left(f, PATH_COMPACTED, ALL_SSTS); /* H22: news */
    next_manifest(f, (struct edit){ .fn = drop_runs });
    run_with(f, &memory, 6 * SECOND);
    check_left(f, PATH_COMPACTED, ALL_SSTS);
    run_with(f, &memory, HOUR + 5 * SECOND);
    check_left(f, PATH_COMPACTED, LIVE_SSTS); /* and 7200.3 is a second younger as garbage */
    run_with(f, &memory, HOUR + 6 * SECOND);
    check_left(f, PATH_COMPACTED, "7200.1 10.2 10.4 10.5 10.6");
    gc_memory_fini(&memory);
}

/* ---- the run as a whole ---- */

static int note_name(void *arg, enum shale_gc_kind kind, const char *name)
{
    struct fix *f = arg;

    return buf_printf(&f->text, "%s%d:%s", f->text.len ? " " : "", (int)kind, strrchr(name, '/') + 1);
}

static int refuse(void *arg, enum shale_gc_kind kind, const char *name)
{
    (void)arg, (void)kind, (void)name;
    return 7;
}

static void make_garbage(struct fix *f)
{
    make_ssts(f);
    next_manifest(f, (struct edit){ .replay_after = 2 });
    put_wal(f, 1);
    put_wal(f, 2);
    put_compactions(f, 0);
    store_aged_set(f->store, ".manifest", DAY);
    store_aged_set(f->store, ".sst", DAY);
    store_aged_set(f->store, ".compactions", DAY);
}

static void a_dry_run_tells_what_would_go(void **state)
{
    struct fix *f = *state;
    unsigned deletes;

    make_garbage(f);
    f->opt.dry_run = true;
    f->opt.report = note_name;
    f->opt.report_arg = f;
    deletes = store_fault_count(f->fault, FAULT_DELETE) + store_fault_count(f->fault, FAULT_PUT);
    buf_clear(&f->text);
    collect(f);
    assert_int_equal(store_fault_count(f->fault, FAULT_DELETE) + store_fault_count(f->fault, FAULT_PUT), deletes);
    assert_non_null(strstr((const char *)f->text.data, "0:00000000000000000001.manifest"));
    assert_non_null(strstr((const char *)f->text.data, " 1:00000000000000000001.sst 2:"));
    assert_non_null(strstr((const char *)f->text.data, " 3:00000000000000000001.compactions"));
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 5);
    assert_int_equal(f->res.removed[SHALE_GC_WAL], 1);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTED], 2);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTIONS], 1);
    f->opt.report = refuse;
    check_rc(7, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
    f->opt.dry_run = false;
    check_rc(7, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
    check_left(f, PATH_COMPACTED, ALL_SSTS);
    check_left(f, PATH_MANIFEST, "1 2 3 4 5 6");
}

static void each_kind_has_its_turn_after_a_failure(void **state)
{
    const struct fault_rule denied = { .cls = FAULT_DELETE, .match = "/manifest/", .times = FAULT_ALWAYS, .rc = -EACCES };
    struct fix *f = *state;

    make_garbage(f);
    store_fault_add(f->fault, &denied);
    check_rc(-EACCES, shale_gc(f->store, ROOT, &f->admin, &f->opt, &f->res));
    check_left(f, PATH_MANIFEST, "1 2 3 4 5 6");
    check_left(f, PATH_WAL, "2");
    check_left(f, PATH_COMPACTED, LIVE_SSTS);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 0);
    store_fault_clear(f->fault);
    collect(f);
    check_left(f, PATH_MANIFEST, "6");
}

static void more_than_a_batch(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 2345 });
    for (uint64_t id = 1; id <= 2345; id++)
        put_wal(f, id);
    store_aged_set(f->store, ".sst", DAY);
    store_aged_set(f->store, "0000001000.sst", 0); /* the last of the first batch would be */
    collect(f);
    check_left(f, PATH_WAL, "1000 2345");
    assert_int_equal(f->res.removed[SHALE_GC_WAL], 2343);
}

static void bad_arguments(void **state)
{
    struct fix *f = *state;

    check_rc(-ENOENT, shale_gc(f->store, ROOT, &f->admin, NULL, NULL));
    f->opt.min_age_ms[SHALE_GC_WAL] = -1;
    check_rc(-EINVAL, shale_gc(f->store, ROOT, &f->admin, &f->opt, NULL));
    shale_gc_options_init(&f->opt);
    f->opt.fence_age_ms = INT64_MAX;
    check_rc(-EINVAL, shale_gc(f->store, ROOT, &f->admin, &f->opt, NULL));
    check_rc(-EINVAL, shale_gc(f->store, "a//b", &f->admin, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(manifests_go_when_they_are_old),
        TEST(expired_checkpoints_hold_nothing),
        TEST(young_manifests_stay_for_who_probes),
        TEST(wal_below_the_replay_point_goes),
        TEST(checkpoints_hold_wal),
        TEST(fences_stay_longer),
        TEST(lists_of_compactions_go),
        TEST(ssts_without_reference_go),
        TEST(the_oldest_compaction_and_the_newest_l0_bound_it),
        TEST(nothing_goes_without_a_list_of_compactions),
        TEST(nothing_goes_before_there_was_an_l0),
        TEST(checkpoints_hold_ssts),
        TEST(a_checkpoint_without_its_manifest_stops_all),
        TEST(names_of_others_stay),
        TEST(versions_in_use_hold_ssts),
        TEST(age_counts_from_when_it_was_seen),
        TEST(a_dry_run_tells_what_would_go),
        TEST(each_kind_has_its_turn_after_a_failure),
        TEST(more_than_a_batch),
        TEST(bad_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
