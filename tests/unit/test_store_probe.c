/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of stores that do one thing wrongly each, and of stores whose calls fail; all of them leave nothing behind. */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/slice.h"
#include "base/ulid.h"
#include "lib/cases.h"
#include "lib/store_fault.h"
#include "lib/store_lame.h"
#include "lib/temp_dir.h"
#include "object/store.h"
#include "object/store_retry.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NONE SHALE_PROBE_N_CHECKS

static int count(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    print_message("there is %s\n", name);
    ++*(unsigned *)arg;
    return 0;
}

static unsigned n_objects(struct shale_store *s)
{
    unsigned n = 0;

    assert_int_equal(shale_store_list(s, "", NULL, count, &n), 0);
    return n;
}

static void check_good(const struct shale_probe_report *r)
{
    for (int c = 0; c < SHALE_PROBE_N_CHECKS; c++) {
        if (r->checks[c].state != SHALE_PROBE_GOOD)
            fail_msg("%s: %s", r->checks[c].name, r->checks[c].text);
        assert_int_equal(r->checks[c].rc, 0);
    }
}

/* ---- stores that are as they should be ---- */

static void a_good_store_is_found_good(void **state)
{
    static const char *const paths[] = { "", "db", "a/b/c" };
    struct shale_probe_report r;
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_memory(&s), 0);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        assert_int_equal(shale_store_probe(s, paths[i], &r), 0);
        check_good(&r);
        assert_int_equal(shale_store_probe(s, paths[i], NULL), 0);
    }
    assert_int_equal(n_objects(s), 0);
    shale_store_close(s);
}

static void a_directory_is_good_and_left_empty(void **state)
{
    char *dir = temp_dir_new();
    struct shale_probe_report r;
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_directory(dir, false, &s), 0);
    assert_int_equal(shale_store_probe(s, "db", &r), 0);
    r.checks[SHALE_PROBE_PUT_ID].state = SHALE_PROBE_GOOD; /* file systems without extended attributes keep none */
    check_good(&r);
    assert_int_equal(n_objects(s), 0);
    shale_store_close(s);
    temp_dir_remove(dir);
}

static void a_bad_path_is_refused(void **state)
{
    struct shale_probe_report r;
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_memory(&s), 0);
    assert_int_equal(shale_store_probe(s, "a//b", &r), -EINVAL);
    assert_int_equal(r.checks[SHALE_PROBE_RACE].state, SHALE_PROBE_NOT_TRIED);
    assert_string_equal(r.checks[SHALE_PROBE_RACE].name, "race");
    shale_store_close(s);
}

static void objects_of_others_stay(void **state)
{
    struct shale_object_meta meta;
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_memory(&s), 0);
    assert_int_equal(shale_store_put(s, "db/manifest/1", slice_str("x"), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(shale_store_put(s, "db/probe-x", slice_str("x"), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(shale_store_probe(s, "db", NULL), 0);
    assert_int_equal(shale_store_head(s, "db/manifest/1", &meta), 0);
    assert_int_equal(shale_store_head(s, "db/probe-x", &meta), 0);
    assert_int_equal(n_objects(s), 2);
    shale_store_close(s);
}

static void leave_object(struct shale_store *s, int64_t age_ms, const char *suffix)
{
    char id[SHALE_ULID_TEXT_LEN + 1], name[80];

    ulid_format(ulid_new(clock_wall_ms() - age_ms, NULL), id);
    snprintf(name, sizeof(name), "db/probe-%s%s", id, suffix);
    assert_int_equal(shale_store_put(s, name, slice_str("x"), SHALE_PUT_IF_ABSENT), 0);
}

/* One that was killed leaves objects; one that is under way must keep its own. */
static void what_a_killed_probe_left_goes_with_time(void **state)
{
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_memory(&s), 0);
    leave_object(s, 7200000, "-1");
    leave_object(s, 7200000, "-2-00000000000000000001.probe");
    leave_object(s, 1800000, "-3");
    assert_int_equal(shale_store_probe(s, "db", NULL), 0);
    assert_int_equal(n_objects(s), 1);
    shale_store_close(s);
}

static void *probe_often(void *arg)
{
    intptr_t rc = 0;

    for (int i = 0; i < 20 && rc == 0; i++)
        rc = shale_store_probe(arg, "db", NULL);
    return (void *)rc;
}

static void many_probe_at_once(void **state)
{
    pthread_t t[4];
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_memory(&s), 0);
    for (size_t i = 0; i < ARRAY_SIZE(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, probe_often, s), 0);
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        void *rc;

        assert_int_equal(pthread_join(t[i], &rc), 0);
        assert_ptr_equal(rc, NULL);
    }
    assert_int_equal(n_objects(s), 0);
    shale_store_close(s);
}

/* ---- stores that are not ---- */

static const struct lame_case {
    const char *name;
    enum lame_way way;
    int rc;
    enum shale_probe_check check; /* what is not good, alone */
    enum shale_probe_state state;
    const char *says; /* the check's text and, for an error, the sentence */
    bool leaves;      /* what cannot be deleted */
} lame_cases[] = {
    { "puts overwrite", LAME_OVERWRITES, -EOPNOTSUPP, SHALE_PROBE_CONDITIONAL, SHALE_PROBE_LACKS,
      "two mounts would overwrite each other's work", false },
    { "conditional puts are 501", LAME_501, -EOPNOTSUPP, SHALE_PROBE_CONDITIONAL, SHALE_PROBE_LACKS,
      "501 NotImplemented", false },
    { "conditional puts are 400", LAME_400, -EOPNOTSUPP, SHALE_PROBE_CONDITIONAL, SHALE_PROBE_LACKS,
      "400 InvalidArgument", false },
    { "new names are said to exist", LAME_EXISTS_ALWAYS, -EOPNOTSUPP, SHALE_PROBE_CONDITIONAL, SHALE_PROBE_LACKS,
      "says of a new name", false },
    { "refused puts are done", LAME_REFUSES_AND_WRITES, -EOPNOTSUPP, NONE, SHALE_PROBE_LACKS, "all the same", false },
    { "a race has several winners", LAME_RACY, -EOPNOTSUPP, SHALE_PROBE_RACE, SHALE_PROBE_LACKS,
      "4 of 4 conditional puts of one name succeeded", false },
    { "a race's loser is written", LAME_LOSER_WRITES, -EOPNOTSUPP, NONE, SHALE_PROBE_LACKS,
      "done all the same", false },
    { "other bytes come back", LAME_OTHER_BYTES, -EOPNOTSUPP, NONE, SHALE_PROBE_LACKS, "other bytes", false },
    { "what was written is not found", LAME_NOT_FOUND, -EOPNOTSUPP, NONE, SHALE_PROBE_LACKS, "yet", false },
    { "head tells a wrong size", LAME_WRONG_SIZE, -EOPNOTSUPP, NONE, SHALE_PROBE_LACKS, "513 bytes", false },
    { "ranges are shifted", LAME_SHIFTED_RANGE, -EOPNOTSUPP, SHALE_PROBE_RANGE, SHALE_PROBE_LACKS,
      "other bytes", false },
    { "ranges are refused", LAME_WHOLE_RANGE, -EOPNOTSUPP, SHALE_PROBE_RANGE, SHALE_PROBE_LACKS, "whole", false },
    { "long names are refused", LAME_SHORT_NAMES, -EOPNOTSUPP, SHALE_PROBE_NAMES, SHALE_PROBE_LACKS,
      "shorter path", false },
    { "listings are stale", LAME_STALE_LIST, -EOPNOTSUPP, SHALE_PROBE_LIST, SHALE_PROBE_LACKS, "just written", false },
    { "listings are backwards", LAME_UNORDERED_LIST, -EOPNOTSUPP, SHALE_PROBE_LIST, SHALE_PROBE_LACKS, "order", false },
    { "listings begin anew", LAME_LIST_FROM_START, -EOPNOTSUPP, SHALE_PROBE_LIST, SHALE_PROBE_LACKS,
      "behind a name", false },
    { "uploads are refused", LAME_NO_UPLOAD, -EOPNOTSUPP, SHALE_PROBE_UPLOAD, SHALE_PROBE_LACKS, "in parts", false },
    { "uploads are cut", LAME_CUT_UPLOAD, -EOPNOTSUPP, NONE, SHALE_PROBE_LACKS, "other bytes", false },
    { "deletes do nothing", LAME_KEEPS, -EOPNOTSUPP, SHALE_PROBE_DELETE, SHALE_PROBE_LACKS, "still there", true },
    { "a second delete fails", LAME_DELETE_404, -EOPNOTSUPP, SHALE_PROBE_DELETE, SHALE_PROBE_LACKS,
      "repeated after a lost", false },
    { "nothing can be written", LAME_READ_ONLY, -EACCES, NONE, SHALE_PROBE_NOT_TRIED, "permission refused", false },
    { "nothing can be deleted", LAME_NO_DELETE, -EACCES, SHALE_PROBE_DELETE, SHALE_PROBE_FAILED,
      "db/probe- are left", true },
    { "put ids get lost", LAME_NO_PUT_ID, 0, SHALE_PROBE_PUT_ID, SHALE_PROBE_WARNS, "metadata", false },
    { "its clock is ahead", LAME_CLOCK_AHEAD, 0, SHALE_PROBE_CLOCK, SHALE_PROBE_WARNS, "s ahead of ours", false },
    { "its clock is behind", LAME_CLOCK_BEHIND, 0, SHALE_PROBE_CLOCK, SHALE_PROBE_WARNS, "s behind ours", false },
};

static void check_only(const struct shale_probe_report *r, const struct lame_case *c)
{
    bool conditional = c->check == SHALE_PROBE_CONDITIONAL; /* without it no race is tried */

    for (int i = 0; i < SHALE_PROBE_N_CHECKS; i++) {
        enum shale_probe_state want = SHALE_PROBE_GOOD;

        if (i == (int)c->check)
            want = c->state;
        else if (conditional && i == SHALE_PROBE_RACE)
            want = SHALE_PROBE_NOT_TRIED;
        if (r->checks[i].state != want)
            fail_msg("%s is %d: %s", r->checks[i].name, (int)r->checks[i].state, r->checks[i].text);
    }
    assert_non_null(strstr(r->checks[c->check].text, c->says));
}

static void what_is_wrong_is_named(void **state)
{
    const struct lame_case *c = *state;
    struct shale_probe_report r;
    struct shale_store *inner, *s;
    int rc;

    assert_int_equal(shale_store_memory(&inner), 0);
    s = store_lame_new(inner, c->way);
    rc = shale_store_probe(s, "db", &r);
    if (rc != c->rc)
        fail_msg("%d: %s", rc, shale_errmsg());
    if (rc < 0) {
        print_message("%s\n", shale_errmsg());
        assert_non_null(strstr(shale_errmsg(), c->says));
    }
    if (rc == -EOPNOTSUPP)
        assert_non_null(strstr(shale_errmsg(), "cannot hold a database"));
    if (c->check != NONE)
        check_only(&r, c);
    assert_int_equal(n_objects(inner) > 0, c->leaves);
    shale_store_close(s);
    shale_store_close(inner);
}

/* ---- calls that fail ---- */

/* The nth call of all fails; a probe may say so or have got over it, and leaves nothing. false: there was no nth. */
static bool survives(unsigned n, enum fault_action action, int rc)
{
    const struct fault_rule rule = { .cls = FAULT_ANY, .action = action, .nth = n, .rc = rc };
    struct shale_store *inner, *s;
    unsigned id;
    bool hit;
    int got;

    assert_int_equal(shale_store_memory(&inner), 0);
    s = store_fault_new(inner);
    id = store_fault_add(s, &rule);
    got = shale_store_probe(s, "db", NULL);
    hit = store_fault_hits(s, id) > 0;
    if (got != 0 && got != rc) /* and it is not taken for a lack */
        fail_msg("call %u: %d: %s", n, got, shale_errmsg());
    if (n_objects(inner) != 0)
        fail_msg("call %u leaves something", n);
    shale_store_close(s);
    shale_store_close(inner);
    return hit;
}

static void each_call_fails_once(enum fault_action action, int rc)
{
    unsigned n = 1;

    while (survives(n, action, rc))
        n++;
    print_message("%u calls\n", n - 1);
    assert_true(n > 15);
}

static void each_call_may_fail(void **state)
{
    (void)state;
    each_call_fails_once(FAULT_FAIL, SHALE_ETRANSIENT);
    each_call_fails_once(FAULT_FAIL, -EACCES);
}

static void each_answer_may_be_lost(void **state)
{
    (void)state;
    each_call_fails_once(FAULT_LOSE_REPLY, SHALE_ETRANSIENT);
    each_call_fails_once(FAULT_LOSE_REPLY, -EIO);
}

static void each_read_may_arrive_spoilt(void **state)
{
    (void)state;
    each_call_fails_once(FAULT_FLIP, 0);
}

static void retries_get_over_it(void **state)
{
    static const struct fault_rule rules[] = {
        { .cls = FAULT_ANY, .action = FAULT_FAIL, .nth = 2, .every = 5 },
        { .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .nth = 1, .every = 3 },
    };
    static const struct store_retry_options opt = { .base_ms = 1, .cap_ms = 2 };
    struct shale_store *inner, *fault, *s;
    struct shale_probe_report r;

    (void)state;
    assert_int_equal(shale_store_memory(&inner), 0);
    fault = store_fault_new(inner);
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        store_fault_add(fault, &rules[i]);
    assert_int_equal(store_retry_new(fault, &opt, &s), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(shale_store_probe(s, "db", &r), 0);
        check_good(&r);
    }
    assert_int_equal(n_objects(inner), 0);
    shale_store_close(s);
    shale_store_close(fault);
    shale_store_close(inner);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_store_is_found_good),
        cmocka_unit_test(a_directory_is_good_and_left_empty),
        cmocka_unit_test(a_bad_path_is_refused),
        cmocka_unit_test(objects_of_others_stay),
        cmocka_unit_test(what_a_killed_probe_left_goes_with_time),
        cmocka_unit_test(many_probe_at_once),
        cmocka_unit_test(each_call_may_fail),
        cmocka_unit_test(each_answer_may_be_lost),
        cmocka_unit_test(each_read_may_arrive_spoilt),
        cmocka_unit_test(retries_get_over_it),
    };
    struct cases c = { 0 };

    cases_add_tests(&c, tests, ARRAY_SIZE(tests));
    CASES_ADD_TABLE(&c, "a store that is lame", lame_cases, what_is_wrong_is_named);
    return cases_run(&c, NULL, NULL);
}
