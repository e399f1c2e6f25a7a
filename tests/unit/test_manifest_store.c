/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/store_fault.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "base/slice.h"
#include "manifest/compactions_store.h"
#include "manifest/manifest_store.h"
#include "object/store_retry.h"

#include <errno.h>
#include <stdlib.h>

/* The chains of manifests and compactions on a memory store behind one that fails. */
struct fix {
    struct shale_store *mem, *fault, *retry;
    struct manifest_store *a, *b; /* two processes */
};

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));
    struct store_retry_options fast = { .base_ms = 1, .cap_ms = 1 };

    assert_non_null(f);
    assert_int_equal(shale_store_memory(&f->mem), 0);
    f->fault = store_fault_new(f->mem);
    assert_int_equal(store_retry_new(f->fault, &fast, &f->retry), 0);
    assert_int_equal(manifest_store_new(f->retry, "r", 10000, &f->a), 0);
    assert_int_equal(manifest_store_new(f->retry, "r", 10000, &f->b), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    manifest_store_free(f->a);
    manifest_store_free(f->b);
    shale_store_close(f->retry);
    shale_store_close(f->fault);
    shale_store_close(f->mem);
    free(f);
    return 0;
}

static void create(struct manifest_store *s)
{
    struct manifest m;

    manifest_init(&m);
    assert_int_equal(manifest_store_create(s, &m), 0);
    manifest_fini(&m);
}

static int count_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)next_id;
    m->last_l0_seq++;
    if (arg)
        ++*(int *)arg;
    return 0;
}

static int no_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)arg, (void)m, (void)next_id;
    return MANIFEST_UNCHANGED;
}

static int bad_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)arg, (void)next_id;
    m->last_l0_seq = 99;
    return -ENOSPC;
}

static uint64_t latest(struct manifest_store *s, uint64_t *seq)
{
    struct manifest_version *v = NULL;
    uint64_t id;

    assert_int_equal(manifest_store_refresh_as(s, EPOCH_NONE, &v), 0);
    id = v->id;
    if (seq)
        *seq = v->m.last_l0_seq;
    manifest_version_unref(v);
    return id;
}

static void there_is_none_at_first(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;

    assert_null(manifest_store_current(f->a));
    assert_int_equal(manifest_store_load_latest(f->a, &v), -ENOENT);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), -ENOENT);
    assert_int_equal(manifest_store_read(f->a, 1, &v), -ENOENT);
}

static void one_of_two_creators_wins(void **state)
{
    struct fix *f = *state;
    struct manifest m;

    create(f->a);
    manifest_init(&m);
    assert_int_equal(manifest_store_create(f->b, &m), -EEXIST);
    manifest_fini(&m);
    assert_int_equal(latest(f->b, NULL), 1);
}

static void updates_follow_each_other(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;
    uint64_t seq = 0;

    create(f->a);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, &v), 0);
    assert_int_equal(v->id, 2);
    assert_int_equal(v->m.last_l0_seq, 1);
    manifest_version_unref(v);
    assert_int_equal(latest(f->b, NULL), 2);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), 0);
    assert_int_equal(manifest_store_update(f->b, count_edit, NULL, NULL), 0); /* b knew version 2 */
    assert_int_equal(latest(f->a, &seq), 4);
    assert_int_equal(seq, 3);
}

static void an_edit_may_decline_or_fail(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;
    uint64_t seq = 1;

    create(f->a);
    assert_int_equal(manifest_store_update(f->a, no_edit, NULL, &v), 0);
    assert_int_equal(v->id, 1);
    manifest_version_unref(v);
    v = NULL;
    assert_int_equal(manifest_store_update(f->a, bad_edit, NULL, &v), -ENOSPC);
    assert_null(v);
    assert_int_equal(latest(f->a, &seq), 1);
    assert_int_equal(seq, 0);
}

struct racer {
    struct worker w;
    struct manifest_store *s;
    int edits, failures;
};

enum { RACERS = 4, ROUNDS = 25 };

static void race(void *arg)
{
    struct racer *r = arg;

    for (int i = 0; i < ROUNDS; i++)
        if (manifest_store_update(r->s, count_edit, &r->edits, NULL) != 0)
            r->failures++;
}

static void racing_updates_lose_nothing(void **state)
{
    struct fix *f = *state;
    struct racer r[RACERS];
    uint64_t seq = 0;

    create(f->a);
    for (int i = 0; i < RACERS; i++) {
        r[i] = (struct racer){ .s = i % 2 ? f->a : f->b };
        assert_int_equal(worker_start(&r[i].w, "race", race, &r[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        worker_join(&r[i].w);
        assert_int_equal(r[i].failures, 0);
        assert_true(r[i].edits >= ROUNDS);
    }
    assert_int_equal(latest(f->a, &seq), 1 + RACERS * ROUNDS);
    assert_int_equal(seq, RACERS * ROUNDS);
}

static void a_lost_reply_counts_once(void **state)
{
    struct fix *f = *state;
    const struct fault_rule lost = { .cls = FAULT_PUT, .action = FAULT_LOSE_REPLY, .times = 1 };
    uint64_t seq = 0;

    store_fault_add(f->fault, &lost);
    create(f->a);
    store_fault_add(f->fault, &lost);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), 0);
    assert_int_equal(latest(f->b, &seq), 2);
    assert_int_equal(seq, 1);
}

static void claims_fence_the_older_owner(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;
    uint64_t epoch = 0;

    create(f->a);
    assert_int_equal(manifest_store_claim(f->a, EPOCH_WRITER, &epoch, NULL), 0);
    assert_int_equal(epoch, 1);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), 0);
    assert_int_equal(manifest_store_claim(f->b, EPOCH_WRITER, &epoch, NULL), 0);
    assert_int_equal(epoch, 2);
    assert_int_equal(manifest_store_refresh(f->a, &v), SHALE_EFENCED);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), SHALE_EFENCED);
    assert_int_equal(manifest_store_update(f->b, count_edit, NULL, NULL), 0);
    assert_int_equal(manifest_store_claim(f->a, EPOCH_COMPACTOR, &epoch, NULL), SHALE_EFENCED);
}

/* The collision itself tells, without a look before. */
static void a_stale_owner_is_fenced_by_its_update(void **state)
{
    struct fix *f = *state;
    uint64_t epoch = 0;
    int edits = 0;

    create(f->a);
    assert_int_equal(manifest_store_claim(f->a, EPOCH_WRITER, &epoch, NULL), 0);
    assert_int_equal(manifest_store_claim(f->b, EPOCH_WRITER, &epoch, NULL), 0);
    assert_int_equal(manifest_store_update(f->a, count_edit, &edits, NULL), SHALE_EFENCED);
    assert_int_equal(edits, 1);
}

static void an_overtaken_compactor_leaves_the_writer_alone(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;
    uint64_t epoch = 0;

    create(f->a);
    assert_int_equal(manifest_store_claim(f->a, EPOCH_WRITER, &epoch, NULL), 0);
    assert_int_equal(manifest_store_claim(f->a, EPOCH_COMPACTOR, &epoch, NULL), 0);
    assert_int_equal(manifest_store_claim(f->b, EPOCH_COMPACTOR, &epoch, NULL), 0);
    assert_int_equal(epoch, 2);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), SHALE_EFENCED);
    assert_int_equal(manifest_store_update_as(f->a, EPOCH_WRITER, count_edit, NULL, NULL), 0);
    assert_int_equal(manifest_store_refresh_as(f->a, EPOCH_WRITER, &v), 0);
    manifest_version_unref(v);
}

static void a_latest_that_vanishes_is_listed_again(void **state)
{
    struct fix *f = *state;
    const struct fault_rule gone = { .cls = FAULT_GET, .rc = -ENOENT, .times = 2 };
    struct manifest_version *v = NULL;

    create(f->a);
    store_fault_add(f->fault, &gone);
    store_fault_reset_counts(f->fault);
    assert_int_equal(manifest_store_load_latest(f->b, &v), 0);
    assert_int_equal(v->id, 1);
    assert_int_equal(store_fault_count(f->fault, FAULT_LIST), 3);
    manifest_version_unref(v);
}

static void refreshing_lists_nothing(void **state)
{
    struct fix *f = *state;

    create(f->a);
    assert_int_equal(latest(f->b, NULL), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), 0);
    store_fault_reset_counts(f->fault);
    assert_int_equal(latest(f->b, NULL), 4);
    assert_int_equal(store_fault_count(f->fault, FAULT_LIST), 0);
}

static void a_recent_look_is_enough(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;

    create(f->a);
    assert_int_equal(latest(f->b, NULL), 1);
    assert_int_equal(manifest_store_update(f->a, count_edit, NULL, NULL), 0);
    store_fault_reset_counts(f->fault);
    assert_int_equal(manifest_store_recent_as(f->b, EPOCH_COMPACTOR, 3600000, &v), 0);
    assert_int_equal(v->id, 1);
    assert_int_equal(store_fault_count(f->fault, FAULT_ANY), 0);
    manifest_version_unref(v);
    assert_int_equal(manifest_store_recent_as(f->b, EPOCH_COMPACTOR, 0, &v), 0);
    assert_int_equal(v->id, 2);
    assert_int_equal(store_fault_count(f->fault, FAULT_GET), 2);
    manifest_version_unref(v);
}

/* What was seen of a takeover counts, whoever has looked. */
static void a_recent_look_may_fence(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;
    uint64_t epoch;

    create(f->a);
    assert_int_equal(manifest_store_claim(f->a, EPOCH_COMPACTOR, &epoch, &v), 0);
    manifest_version_unref(v);
    assert_int_equal(manifest_store_claim(f->b, EPOCH_COMPACTOR, &epoch, &v), 0);
    manifest_version_unref(v);
    assert_int_equal(manifest_store_recent_as(f->a, EPOCH_COMPACTOR, 3600000, &v), 0);
    manifest_version_unref(v);
    assert_int_equal(manifest_store_newest(f->a, &v), 0); /* checks nothing */
    assert_int_equal(v->id, 3);
    manifest_version_unref(v);
    assert_int_equal(manifest_store_recent_as(f->a, EPOCH_COMPACTOR, 3600000, &v), SHALE_EFENCED);
}

static void contention_ends(void **state)
{
    struct fix *f = *state;
    const struct fault_rule taken = { .cls = FAULT_PUT, .rc = -EEXIST, .times = FAULT_ALWAYS };
    struct manifest_store *s = NULL;

    create(f->a);
    assert_int_equal(manifest_store_new(f->retry, "r", 5, &s), 0);
    store_fault_add(f->fault, &taken);
    assert_int_equal(manifest_store_update(s, count_edit, NULL, NULL), -ETIMEDOUT);
    manifest_store_free(s);
}

static void other_names_are_ignored(void **state)
{
    struct fix *f = *state;
    static const char *const names[] = { "r/manifest/00000000000000000009.tmp", "r/manifest/x.manifest",
                                         "r/manifest/sub/00000000000000000009.manifest",
                                         "r2/manifest/00000000000000000009.manifest" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(shale_store_put(f->mem, names[i], slice_str("x"), SHALE_PUT_OVERWRITE), 0);
    create(f->a);
    assert_int_equal(latest(f->b, NULL), 1);
}

static void damage_names_the_manifest(void **state)
{
    struct fix *f = *state;
    struct manifest_version *v = NULL;

    assert_int_equal(shale_store_put(f->mem, "r/manifest/00000000000000000007.manifest", slice_str("nonsense"),
                                     SHALE_PUT_OVERWRITE), 0);
    assert_true(manifest_store_load_latest(f->a, &v) < 0);
    assert_non_null(strstr(shale_errmsg(), "manifest 7"));
}

static void an_unchanged_list_is_not_read_again(void **state)
{
    struct fix *f = *state;
    struct compactions_store s, t;
    struct compactions c = { 0 }, d = { 0 };

    assert_int_equal(compactions_store_init(&s, f->retry, "r"), 0);
    assert_int_equal(compactions_store_init(&t, f->retry, "r"), 0);
    assert_int_equal(compactions_store_load_newer(&t, &d), -ENOENT);
    assert_int_equal(compactions_store_write(&s, &c), 0);
    assert_int_equal(compactions_store_load_newer(&t, &d), 0);
    compactions_fini(&d);
    store_fault_reset_counts(f->fault);
    assert_int_equal(compactions_store_load_newer(&t, &d), SHALE_END);
    assert_int_equal(compactions_store_load_newer(&s, &d), SHALE_END); /* its own */
    assert_int_equal(store_fault_count(f->fault, FAULT_LIST), 2);
    assert_int_equal(store_fault_count(f->fault, FAULT_GET), 0);
    assert_int_equal(compactions_store_write(&s, &c), 0);
    assert_int_equal(compactions_store_load_newer(&t, &d), 0);
    assert_int_equal(t.id, 2);
    compactions_fini(&d);
    compactions_store_fini(&s);
    compactions_store_fini(&t);
}

static void compactions_are_a_chain_too(void **state)
{
    struct fix *f = *state;
    struct compactions_store s, t;
    struct compactions c = { 0 }, d = { 0 };

    assert_int_equal(compactions_store_init(&s, f->retry, "r"), 0);
    assert_int_equal(compactions_store_init(&t, f->retry, "r"), 0);
    assert_int_equal(compactions_store_load(&s, &d), -ENOENT);
    assert_int_equal(compactions_store_write(&s, &c), 0);
    assert_int_equal(s.id, 1);
    assert_int_equal(compactions_store_write(&t, &c), -EEXIST);
    assert_int_equal(t.id, 0);
    assert_int_equal(compactions_store_load(&t, &d), 0);
    compactions_fini(&d);
    c.compactor_epoch = 3;
    assert_int_equal(compactions_store_write(&t, &c), 0);
    assert_int_equal(t.id, 2);
    s.epoch = 2;
    assert_int_equal(compactions_store_load(&s, &d), SHALE_EFENCED);
    s.epoch = 3;
    assert_int_equal(compactions_store_load(&s, &d), 0);
    assert_int_equal(d.compactor_epoch, 3);
    compactions_fini(&d);
    assert_int_equal(compactions_store_read(&s, 1, &d), 0);
    assert_int_equal(d.compactor_epoch, 0);
    compactions_fini(&d);
    assert_int_equal(compactions_store_read(&s, 9, &d), -ENOENT);
    compactions_store_fini(&s);
    compactions_store_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(there_is_none_at_first),
        T(one_of_two_creators_wins),
        T(updates_follow_each_other),
        T(an_edit_may_decline_or_fail),
        T(racing_updates_lose_nothing),
        T(a_lost_reply_counts_once),
        T(claims_fence_the_older_owner),
        T(a_stale_owner_is_fenced_by_its_update),
        T(an_overtaken_compactor_leaves_the_writer_alone),
        T(a_latest_that_vanishes_is_listed_again),
        T(refreshing_lists_nothing),
        T(a_recent_look_is_enough),
        T(a_recent_look_may_fence),
        T(contention_ends),
        T(other_names_are_ignored),
        T(damage_names_the_manifest),
        T(compactions_are_a_chain_too),
        T(an_unchanged_list_is_not_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
