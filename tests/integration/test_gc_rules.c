/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/gc_fixture.h"
#include "lib/integrity.h"

/*
 * Section 23.6 of the behaviour of SlateDB 0.12.1 where test_gc has not the very same: garbage_collector.rs, by the
 * names of its tests. After each no reference leads nowhere (R334).
 */

struct held {
    unsigned n; /* of the id */
    uint64_t manifest_id;
    int64_t lifetime_ms;
};

static struct shale_uuid uuid_of(unsigned n)
{
    return (struct shale_uuid){ .hi = n };
}

static void hold(struct manifest *m, void *arg)
{
    const struct held *h = arg;
    const struct shale_checkpoint_options opt = { .has_lifetime = true, .lifetime_ms = h->lifetime_ms };
    struct checkpoint_request r;

    checkpoint_request_init(&r, &opt, NOW);
    r.id = uuid_of(h->n);
    assert_int_equal(checkpoint_add(m, &r, h->manifest_id), 0);
}

/* A checkpoint of a version that is there, which is how SlateDB's tests put them. */
static void next_with_checkpoint(struct fix *f, unsigned n, uint64_t manifest_id, int64_t lifetime_ms)
{
    struct held h = { .n = n, .manifest_id = manifest_id, .lifetime_ms = lifetime_ms };

    next_manifest(f, (struct edit){ .fn = hold, .arg = &h });
}

static void let_go(struct manifest *m, void *arg)
{
    assert_true(checkpoint_remove(m, uuid_of(*(unsigned *)arg)));
}

static void collect_and_check(struct fix *f)
{
    collect(f);
    check_integrity(f->mem, ROOT);
}

/* test_remove_expired_checkpoints: a new version is without the expired one, and what only that held goes. */
static void expired_checkpoints_are_removed(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_with_checkpoint(f, 1, 1, -SECOND);
    next_with_checkpoint(f, 2, 2, DAY);
    store_aged_set(f->store, ".manifest", DAY);
    collect_and_check(f);
    check_left(f, PATH_MANIFEST, "2 4");
    assert_int_equal(f->res.expired, 1);
}

/* test_collector_should_not_clean_manifests_referenced_by_checkpoints. */
static void checkpoints_hold_their_manifest_alone(void **state)
{
    unsigned second = 2;
    struct fix *f = *state;

    first_manifest(f);
    next_with_checkpoint(f, 1, 1, DAY);
    next_with_checkpoint(f, 2, 2, DAY);
    next_manifest(f, (struct edit){ .fn = let_go, .arg = &second });
    store_aged_set(f->store, ".manifest", DAY);
    collect_and_check(f);
    check_left(f, PATH_MANIFEST, "1 4");
}

/* test_collect_garbage_wal_ssts; test_collect_garbage_wal_ssts_and_keep_expired_last_compacted. */
static void wal_goes_below_the_replay_point_alone(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 2 });
    put_wal(f, 1);
    put_wal(f, 2);
    store_aged_set(f->store, "1.sst", DAY);
    collect_and_check(f);
    check_left(f, PATH_WAL, "2");
    assert_int_equal(f->res.removed[SHALE_GC_WAL], 1);
    put_wal(f, 1);
    store_aged_set(f->store, ".sst", DAY);
    collect_and_check(f);
    check_left(f, PATH_WAL, "2");
}

/* test_do_not_remove_wals_referenced_by_active_checkpoints. */
static void wal_of_checkpoints_stays(void **state)
{
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 1, .last_seen = 3 });
    next_with_checkpoint(f, 1, 2, DAY);
    next_manifest(f, (struct edit){ .replay_after = 3, .last_seen = 3 });
    for (uint64_t id = 1; id <= 3; id++)
        put_wal(f, id);
    store_aged_set(f->store, ".sst", DAY);
    collect_and_check(f);
    check_left(f, PATH_WAL, "2 3");
}

static void drop_oldest_of_each(struct manifest *m, void *arg)
{
    (void)arg;
    sst_view_fini(&m->l0[--m->n_l0]);
    sorted_run_fini(&m->runs[--m->n_runs]);
}

/* test_collect_garbage_compacted_ssts_respects_checkpoint_references: six SSTs, four of them held, then two. */
static void ssts_of_checkpoints_stay(void **state)
{
    struct shale_ulid l0_held = id_of(2 * HOUR, 1), l0_live = id_of(2 * HOUR - SECOND, 2);
    struct shale_ulid run_held = id_of(2 * HOUR, 3), run_live = id_of(2 * HOUR, 4);
    unsigned first = 1;
    struct fix *f = *state;

    first_manifest(f);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0_held });
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0_live });
    next_manifest(f, (struct edit){ .fn = push_run, .arg = &run_held });
    next_manifest(f, (struct edit){ .fn = push_run, .arg = &run_live });
    put_sst(f, l0_held);
    put_sst(f, l0_live);
    put_sst(f, run_held);
    put_sst(f, run_live);
    put_sst(f, id_of(2 * HOUR, 5));
    put_sst(f, id_of(2 * HOUR, 6));
    put_compactions(f, SECOND);
    next_with_checkpoint(f, first, 5, DAY);
    next_manifest(f, (struct edit){ .fn = drop_oldest_of_each });
    only(f, SHALE_GC_COMPACTED, 0);
    collect_and_check(f);
    check_left(f, PATH_COMPACTED, "7200.1 7200.3 7200.4 7199.2");
    next_manifest(f, (struct edit){ .fn = let_go, .arg = &first });
    collect_and_check(f);
    check_left(f, PATH_COMPACTED, "7200.4 7199.2");
}

/*
 * test_compacted_gc_skips_running_compaction_output_without_watermark: with no record there is no bound, so all stay.
 */
static void an_output_without_a_record_stays(void **state)
{
    struct shale_ulid l0 = id_of(SECOND, 1);
    struct fix *f = *state;

    first_manifest(f);
    put_compactions(f, -1);
    next_manifest(f, (struct edit){ .fn = push_l0, .arg = &l0 });
    put_sst(f, l0);
    put_sst(f, id_of(4 * SECOND, 2));
    f->opt.min_age_ms[SHALE_GC_COMPACTED] = 2 * SECOND;
    collect_and_check(f);
    check_left(f, PATH_COMPACTED, "4.2 1.1");
}

static void make_one_of_each(struct fix *f)
{
    struct shale_ulid l0 = id_of(10 * SECOND, 1);

    first_manifest(f);
    next_manifest(f, (struct edit){ .replay_after = 2, .fn = push_l0, .arg = &l0 });
    put_sst(f, l0);
    put_sst(f, id_of(HOUR, 2));
    put_wal(f, 1);
    put_wal(f, 2);
    for (int i = 0; i < 3; i++)
        put_compactions(f, 0);
    store_aged_set(f->store, ".manifest", DAY);
    store_aged_set(f->store, ".sst", DAY);
    store_aged_set(f->store, ".compactions", DAY);
}

/* test_should_record_gc_{manifest,wal,compacted,compactions}_deleted_count. */
static void what_went_is_counted(void **state)
{
    struct fix *f = *state;

    make_one_of_each(f);
    collect_and_check(f);
    assert_int_equal(f->res.removed[SHALE_GC_MANIFEST], 1);
    assert_int_equal(f->res.removed[SHALE_GC_WAL], 1);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTED], 1);
    assert_int_equal(f->res.removed[SHALE_GC_COMPACTIONS], 2);
}

/* test_handle_should_only_run_one_task_per_message, test_run_gc_once_skips_disabled_manifest_gc. */
static void what_is_skipped_stays(void **state)
{
    static const char *const all[] = { "1 2", "1 2", "3600.2 10.1", "1 2 3" };
    static const char *const live[] = { "2", "2", "10.1", "3" };
    static const enum path_kind paths[] = { PATH_MANIFEST, PATH_WAL, PATH_COMPACTED, PATH_COMPACTIONS };
    struct fix *f = *state;

    make_one_of_each(f);
    for (int kind = 0; kind < SHALE_GC_N_KINDS; kind++) {
        only(f, (enum shale_gc_kind)kind, 0);
        collect_and_check(f);
        for (int k = 0; k < SHALE_GC_N_KINDS; k++)
            check_left(f, paths[k], k <= kind ? live[k] : all[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(expired_checkpoints_are_removed),
        TEST(checkpoints_hold_their_manifest_alone),
        TEST(wal_goes_below_the_replay_point_alone),
        TEST(wal_of_checkpoints_stays),
        TEST(ssts_of_checkpoints_stay),
        TEST(an_output_without_a_record_stays),
        TEST(what_went_is_counted),
        TEST(what_is_skipped_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
