/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "compact/compactor_state.h"
#include "compact/size_tiered.h"
#include "lib/cases.h"
#include "lib/tree_text.h"
#include "manifest/manifest_store.h"

#include <errno.h>
#include <string.h>

static const struct shale_compactor_options defaults = {
    .max_concurrent = 4, .min_sources = 4, .max_sources = 8, .include_size_threshold = 4.0,
};

#define TWELVE "11:2 10:2 9:2 8:2 7:2 6:2 5:2 4:2 3:2 2:2 1:2 0:2"

/* R245, with the names of SlateDB's tests, and what lies between its cases. */
static const struct choice_case {
    const char *name, *tree, *active;
    uint32_t min, max, concurrent; /* 0: default */
    const char *want;
} choices[] = {
    { "L0 to the first run, test_should_compact_l0s_to_first_sr", "d:1 c:1 b:1 a:1", "", 0, 0, 0, "-d c b a > 0" },
    { "other limits, test_supplier_overrides_scheduler_options", "b:1 a:1", "", 2, 2, 0, "-b a > 0" },
    { "the oldest L0 SSTs when there are too many", "c:1 b:1 a:1", "", 2, 2, 0, "-b a > 0" },
    { "L0 to a new run, test_should_compact_l0s_to_new_sr", "d:1 c:1 b:1 a:1 10:2 0:2", "", 0, 0, 0, "-d c b a > 11" },
    { "too few L0 SSTs, test_should_not_compact_l0s_if_fewer_than_min_threshold", "c:1 b:1 a:1", "", 0, 0, 0, "" },
    { "similar runs, test_should_compact_srs_if_enough_with_similar_size",
      "4:2 3:2 2:2 1:2 0:2", "", 0, 0, 0, "-4 3 2 1 0 > 0" },
    { "only similar runs, test_should_only_include_srs_if_with_similar_size",
      "4:2 3:2 2:2 1:2 0:10", "", 0, 0, 0, "-4 3 2 1 > 1" },
    { "threshold times the smallest is included", "4:2 3:2 2:2 1:2 0:8", "", 0, 0, 0, "-4 3 2 1 0 > 0" },
    { "the smallest so far counts", "4:4 3:1 2:1 1:1 0:5", "", 0, 0, 0, "-4 3 2 1 > 1" },
    { "a start further down", "5:1 4:9 3:9 2:9 1:9", "", 0, 0, 0, "-4 3 2 1 > 1" },
    { "already compacting, test_should_not_schedule_compaction_for_source_that_is_already_compacting",
      "4:2 3:2 2:2 1:2 0:2", "*3 2 1 0 > 0", 0, 0, 0, "" },
    { "submitted counts as active", "4:2 3:2 2:2 1:2 0:2", "-3 2 1 0 > 0", 0, 0, 0, "" },
    { "completed does not", "4:2 3:2 2:2 1:2 0:2", "!3 2 1 0 > 0", 0, 0, 0, "-4 3 2 1 0 > 0" },
    { "failed does not", "4:2 3:2 2:2 1:2 0:2", "x3 2 1 0 > 0", 0, 0, 0, "-4 3 2 1 0 > 0" },
    { "too few runs, test_should_not_compact_srs_if_fewer_than_min_threshold", "2:2 1:2 0:2", "", 0, 0, 0, "" },
    { "clamped to the oldest, test_should_clamp_compaction_size", TWELVE, "", 0, 0, 0, "-7 6 5 4 3 2 1 0 > 0" },
    { "backpressure of runs, test_should_apply_backpressure", TWELVE, "*7 6 5 4 3 2 1 0 > 0", 0, 0, 0, "" },
    { "backpressure of L0, test_should_apply_backpressure_for_l0s",
      "d:1 c:1 b:1 a:1 7:2 6:2 5:2 4:2 3:2 2:2 1:2 0:2", "*7 6 5 4 3 2 1 0 > 0", 0, 0, 0, "" },
    { "several at once, test_should_return_multiple_compactions",
      "d:1 c:1 b:1 a:1 10:2 9:2 8:2 7:2 3:16 2:16 1:16 0:16", "", 0, 0, 0,
      "-d c b a > 11; -10 9 8 7 > 7; -3 2 1 0 > 0" },
    { "as many as may run", "d:1 c:1 b:1 a:1 10:2 9:2 8:2 7:2 3:16 2:16 1:16 0:16", "", 0, 0, 2,
      "-d c b a > 11; -10 9 8 7 > 7" },
    { "active ones use up places", "d:1 c:1 b:1 a:1 10:2 9:2 8:2 7:2 3:16 2:16 1:16 0:16", "*3 2 1 0 > 0", 0, 0, 2,
      "-d c b a > 11" },
    { "the destination is taken", "d:1 c:1 b:1 a:1 10:2", "*z > 11", 0, 0, 0, "" },
    { "L0 SSTs under way", "f:1 e:1 d:1 c:1 b:1 a:1", "*d c b a > 0", 2, 0, 0, "" },
    { "no run id is left", "d:1 c:1 b:1 a:1 4294967295:2", "", 0, 0, 0, "" },
    { "nothing", "", "", 0, 0, 0, "" },
    { "no sources allowed", "b:1 a:1 1:1 0:1", "", 1, 0, 0, "" },
    { "runs without bytes", "3:0 2:0 1:0 0:0", "", 0, 0, 0, "-3 2 1 0 > 0" },
};

static void choices_follow_the_table(void **state)
{
    const struct choice_case *c = *state;
    struct shale_compactor_options opt = defaults;
    struct compactions active, found = { 0 };
    struct manifest m;
    char *text;

    opt.min_sources = c->min ? c->min : opt.min_sources;
    opt.max_sources = c->max ? c->max : c->min == 1 ? 0 : opt.max_sources;
    opt.max_concurrent = c->concurrent ? c->concurrent : opt.max_concurrent;
    tree_parse(&m, c->tree);
    compactions_parse(&active, c->active);
    assert_int_equal(size_tiered_propose(&m, active.list, active.n, &opt, &found), 0);
    text = compactions_text(&found);
    assert_string_equal(text, c->want);
    free(text);
    compactions_fini(&found);
    compactions_fini(&active);
    manifest_fini(&m);
}

static void every_proposal_passes_the_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        struct compactions active, found = { 0 };
        struct manifest m;

        tree_parse(&m, choices[i].tree);
        compactions_parse(&active, choices[i].active);
        assert_int_equal(size_tiered_propose(&m, active.list, active.n, &defaults, &found), 0);
        for (size_t k = 0; k < found.n; k++)
            assert_int_equal(compaction_spec_check(&m, &found.list[k], active.list, active.n), 0);
        compactions_fini(&found);
        compactions_fini(&active);
        manifest_fini(&m);
    }
}

/* R227, R243, R244 and the last four of R245: what is refused. */
static const struct spec_case {
    const char *name, *tree, *spec, *active;
    bool ok;
} specs[] = {
    { "all L0", "c:1 b:1 a:1", "c b a > 0", "", true },
    { "L0 rotated, test_should_submit_invalid_compaction_wrong_order", "c:1 b:1 a:1", "a c b > 0", "", false },
    { "L0 reversed", "c:1 b:1 a:1", "a b c > 0", "", false },
    { "a gap, test_should_submit_invalid_compaction_skipped_sst", "c:1 b:1 a:1", "c a > 0", "", false },
    { "the oldest stays behind", "c:1 b:1 a:1", "c b > 0", "", false },
    { "the newest may stay", "c:1 b:1 a:1", "b a > 0", "", true },
    { "unknown L0, test_validate_compaction_rejects_missing_l0_source", "c:1 b:1 a:1", "z > 0", "", false },
    { "unknown run, test_should_submit_invalid_compaction_with_sr, test_validate_compaction_rejects_missing_sr_source",
      "0:1", "5 > 5", "", false },
    { "runs ascending, test_should_submit_valid_compaction_with_srs", "1:1 0:1", "0 1 > 1", "", false },
    { "runs", "2:1 1:1 0:1", "2 1 > 1", "", true },
    { "runs, destination not the lowest", "2:1 1:1 0:1", "2 1 > 2", "", false },
    { "runs with a gap", "2:1 1:1 0:1", "2 0 > 0", "", false },
    { "L0 and the newest run, test_validate_compaction_mixed_l0_and_sr_deferred_to_scheduler",
      "b:1 a:1 5:1 0:1", "b a 5 > 5", "", true },
    { "L0 and not the newest run", "b:1 a:1 5:1 0:1", "b a 0 > 0", "", false },
    { "L0 and runs to a new run", "b:1 a:1 5:1 0:1", "b a 5 > 6", "", false },
    { "L0 to an existing run", "b:1 a:1 5:1 0:1", "b a > 5", "", false },
    { "L0 below an existing run, test_validate_compaction_l0_only_rejects_when_dest_below_highest_sr",
      "b:1 a:1 5:1", "b a > 4", "", false },
    { "L0 above all, test_validate_compaction_l0_only_ok_when_no_sr", "b:1 a:1 5:1 0:1", "b a > 9", "", true },
    { "no sources, test_validate_compaction_empty_sources_rejected", "b:1 a:1", "> 0", "", false },
    { "L0 while L0 runs, test_validate_compaction_rejects_parallel_l0", "c:1 b:1 a:1", "c b a > 1", "*b a > 0", false },
    { "L0 while L0 waits", "c:1 b:1 a:1", "c b a > 1", "-b a > 0", true },
    { "a source that is in use", "3:1 2:1 1:1 0:1", "3 2 > 2", "*2 1 > 1", false },
    { "another window", "3:1 2:1 1:1 0:1", "3 2 > 2", "*1 0 > 0", true },
    { "a destination in use", "b:1 a:1 1:1 0:1", "b a > 2", "*1 0 > 2", false },
};

static void specs_are_checked(void **state)
{
    const struct spec_case *c = *state;
    struct compactions spec, active;
    struct manifest m;
    int rc;

    tree_parse(&m, c->tree);
    compactions_parse(&spec, c->spec);
    compactions_parse(&active, c->active);
    rc = compaction_spec_check(&m, &spec.list[0], active.list, active.n);
    assert_int_equal(rc, c->ok ? 0 : -EINVAL);
    if (rc < 0)
        assert_non_null(strstr(shale_errmsg(), "invalid compaction"));
    compactions_fini(&active);
    compactions_fini(&spec);
    manifest_fini(&m);
}

static void a_compaction_does_not_conflict_with_itself(void **state)
{
    struct compactions cs;
    struct manifest m;

    (void)state;
    tree_parse(&m, "b:1 a:1");
    compactions_parse(&cs, "*b a > 0");
    assert_int_equal(compaction_spec_check(&m, &cs.list[0], cs.list, cs.n), 0);
    compactions_fini(&cs);
    manifest_fini(&m);
}

/* The result of a compaction: a run of as many SSTs, with ids that nobody else has. */
static struct sorted_run result_of(uint32_t id, size_t n_ssts)
{
    struct sorted_run run = { .id = id };

    for (size_t i = 0; i < n_ssts; i++) {
        struct sst_info info = { .has_first = true };
        struct sst_view v = { .id = { 7, i } };

        assert_int_equal(shale_buf_append(&info.first, "k", 1), 0);
        assert_int_equal(sst_handle_new(v.id, 2, &info, &v.sst), 0);
        sst_info_fini(&info);
        assert_int_equal(vec_reserve(&run.ssts, &run.cap, run.n + 1, sizeof(*run.ssts)), 0);
        run.ssts[run.n++] = v;
    }
    return run;
}

static const struct {
    const char *name, *tree, *spec;
    size_t n_ssts;
    const char *want;
    char last_compacted; /* 0: none */
} publications[] = {
    { "L0 to the first run", "c:1 b:1 a:1", "b a > 0", 1, "c 0", 'b' },
    { "L0 to a new run", "b:1 a:1 4:1 2:1", "b a > 5", 2, "5 4 2", 'b' },
    { "L0 and runs", "b:1 a:1 4:1 2:1 1:1", "b a 4 2 > 2", 1, "2 1", 'b' },
    { "runs", "b:1 4:1 2:1 1:1", "4 2 > 2", 1, "b 2 1", 0 },
    { "the lowest runs", "4:1 2:1 1:1", "2 1 > 1", 3, "4 1", 0 },
    { "an empty result of L0", "b:1 a:1 4:1", "b a > 5", 0, "4", 'b' },
    { "an empty result of runs", "4:1 2:1 1:1", "2 1 > 1", 0, "4", 0 },
};

/* R229; test_should_update_dbstate_when_compaction_finished, test_should_remove_compaction_when_compaction_finished. */
static void publishing_edits_the_manifest(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(publications); i++) {
        struct compactions spec;
        struct sorted_run result;
        struct manifest m;
        char *text;

        print_message("%s\n", publications[i].name);
        tree_parse(&m, publications[i].tree);
        compactions_parse(&spec, publications[i].spec);
        result = result_of(spec.list[0].destination, publications[i].n_ssts);
        assert_int_equal(compaction_publish(&m, &spec.list[0], &result), 0);
        text = tree_text(&m);
        assert_string_equal(text, publications[i].want);
        free(text);
        assert_int_equal(m.has_l0_last_compacted, publications[i].last_compacted != 0);
        if (m.has_l0_last_compacted)
            assert_true(ulid_eq(m.l0_last_compacted, letter_id(publications[i].last_compacted)));
        /* A second time, after a reply that was lost. */
        assert_int_equal(compaction_publish(&m, &spec.list[0], &result), MANIFEST_UNCHANGED);
        sorted_run_fini(&result);
        compactions_fini(&spec);
        manifest_fini(&m);
    }
}

static void publishing_refuses_what_lost_a_source(void **state)
{
    static const char *const trees[] = { "b:1 3:1", "a:1 3:1", "c:1 2:1", "c:1 b:1 a:1 3:1 0:1" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
        struct sorted_run result = result_of(2, 1);
        struct compactions spec;
        struct manifest m;

        tree_parse(&m, trees[i]);
        compactions_parse(&spec, "b a 3 2 > 2");
        assert_int_equal(compaction_publish(&m, &spec.list[0], &result), -EINVAL);
        sorted_run_fini(&result);
        compactions_fini(&spec);
        manifest_fini(&m);
    }
}

/* R228. */
static void tombstones_go_in_the_lowest_run_only(void **state)
{
    static const struct {
        const char *tree, *spec;
        bool last;
    } cases[] = {
        { "a:1", "a > 0", true },
        { "a:1 3:1", "a > 4", false },
        { "a:1 3:1", "a 3 > 3", true },
        { "4:1 3:1 2:1", "4 3 > 3", false },
        { "4:1 3:1 2:1", "3 2 > 2", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct compactions spec;
        struct manifest m;

        tree_parse(&m, cases[i].tree);
        compactions_parse(&spec, cases[i].spec);
        assert_int_equal(compaction_is_last_run(&m, &spec.list[0]), cases[i].last);
        compactions_fini(&spec);
        manifest_fini(&m);
    }
}

static void assert_list(const struct compactions *cs, const char *want)
{
    char *text = compactions_text(cs);

    assert_string_equal(text, want);
    free(text);
}

/* R216; test_trim_keeps_latest_finished_and_active_compactions and the other two of its kind. */
static void the_list_keeps_active_ones_and_the_latest_finished(void **state)
{
    struct compactions cs;

    (void)state;
    compactions_parse(&cs, "!4 3 > 3; *6 5 > 5; x9 8 > 8; -2 1 > 1");
    compactions_trim(&cs);
    assert_list(&cs, "*6 5 > 5; x9 8 > 8; -2 1 > 1");
    compactions_fini(&cs);
}

/* Section 15.2; test_new_resets_running_to_submitted_and_preserves_submitted. */
static void a_new_owner_submits_again_what_ran(void **state)
{
    struct compactions cs;

    (void)state;
    compactions_parse(&cs, "!4 3 > 3; *6 5 > 5; x9 8 > 8; -2 1 > 1");
    compactions_take_over(&cs, 7);
    assert_list(&cs, "-6 5 > 5; x9 8 > 8; -2 1 > 1");
    assert_int_equal(cs.compactor_epoch, 7);
    compactions_fini(&cs);
}

/* R222; test_merge_remote_compactions_preserves_local_and_adds_remote, ..._drops_non_submitted_remote. */
static void others_may_only_submit(void **state)
{
    struct compactions mine, stored;
    size_t n_new;

    (void)state;
    compactions_parse(&mine, "!4 3 > 3; *6 5 > 5");
    compactions_parse(&stored, "-4 3 > 3; -6 5 > 5; *8 7 > 7; -10 9 > 9; !12 11 > 11");
    assert_int_equal(compactions_merge_submitted(&mine, &stored, &n_new), 0);
    assert_int_equal(n_new, 1);
    assert_list(&mine, "!4 3 > 3; *6 5 > 5; -10 9 > 9");
    compactions_fini(&stored);
    compactions_fini(&mine);
}

static void ids_stay_in_order_and_unique(void **state)
{
    struct compactions cs, more;

    (void)state;
    compactions_parse(&cs, "-2 1 > 1; -4 3 > 3; -6 5 > 5");
    compactions_parse(&more, "-8 7 > 7; -10 9 > 9");
    cs.list[2].id.lo = 9;
    more.list[0].id.lo = 5;
    assert_int_equal(compactions_add(&cs, &more.list[0]), 0);
    assert_list(&cs, "-2 1 > 1; -4 3 > 3; -8 7 > 7; -6 5 > 5");
    assert_int_equal(compactions_add(&cs, &more.list[1]), -EEXIST);
    assert_int_equal(cs.n, 4);
    assert_ptr_equal(compactions_find(&cs, (struct shale_ulid){ 0, 9 }), &cs.list[3]);
    assert_null(compactions_find(&cs, (struct shale_ulid){ 0, 8 }));
    compactions_fini(&more);
    compactions_fini(&cs);
}

static void a_stored_list_gives_back_the_destination_of_L0(void **state)
{
    struct compactions cs;
    struct manifest m;

    (void)state;
    tree_parse(&m, "b:1 a:1 7:1");
    compactions_parse(&cs, "-b a > 0; *b a > 0; -b a 7 > 7");
    compactions_place(&cs, &m);
    assert_list(&cs, "-b a > 8; *b a > 0; -b a 7 > 7");
    compactions_fini(&cs);
    manifest_fini(&m);
}

static void outputs_are_replaced(void **state)
{
    struct sorted_run r = result_of(0, 3);
    struct sst_handle *h[3] = { r.ssts[0].sst, r.ssts[1].sst, r.ssts[2].sst };
    struct compaction c = { 0 };

    (void)state;
    assert_int_equal(compaction_set_outputs(&c, h, 2), 0);
    assert_int_equal(c.n_outputs, 2);
    assert_int_equal(compaction_set_outputs(&c, &h[1], 2), 0);
    assert_int_equal(c.n_outputs, 2);
    assert_ptr_equal(c.outputs[0], h[1]);
    assert_ptr_equal(c.outputs[1], h[2]);
    assert_int_equal(compaction_set_outputs(&c, NULL, 0), 0);
    assert_int_equal(c.n_outputs, 0);
    compaction_fini(&c);
    sorted_run_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_proposal_passes_the_check),
        cmocka_unit_test(a_compaction_does_not_conflict_with_itself),
        cmocka_unit_test(publishing_edits_the_manifest),
        cmocka_unit_test(publishing_refuses_what_lost_a_source),
        cmocka_unit_test(tombstones_go_in_the_lowest_run_only),
        cmocka_unit_test(the_list_keeps_active_ones_and_the_latest_finished),
        cmocka_unit_test(a_new_owner_submits_again_what_ran),
        cmocka_unit_test(others_may_only_submit),
        cmocka_unit_test(ids_stay_in_order_and_unique),
        cmocka_unit_test(a_stored_list_gives_back_the_destination_of_L0),
        cmocka_unit_test(outputs_are_replaced),
    };
    struct cases c = { 0 };

    CASES_ADD_TABLE(&c, "R245", choices, choices_follow_the_table);
    CASES_ADD_TABLE(&c, "R227, R243, R245", specs, specs_are_checked);
    cases_add_tests(&c, tests, ARRAY_SIZE(tests));
    return cases_run(&c, NULL, NULL);
}
