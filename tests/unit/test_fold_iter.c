/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "lib/concat_operator.h"
#include "lib/heap_fault.h"
#include "lib/list_iter.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "read/fold_iter.h"

#include <errno.h>
#include <stdio.h>

static struct concat concat;
static struct shale_merge_operator concat_op;

static int reset(void **state)
{
    (void)state;
    concat = (struct concat){ 0 };
    concat_op = concat_operator(&concat);
    return 0;
}

static int nothing_open(void **state)
{
    (void)state;
    return list_iter_open_count() ? -1 : 0;
}

static struct iter *fold(const struct row_list *l, enum iter_order order, const struct fold_options *opt)
{
    struct iter *it;

    assert_int_equal(fold_iter_new(list_iter_new(l->rows, l->n, order), opt, &it), 0);
    return it;
}

static void expect_fold(const char *text, const struct fold_options *opt, const char *want)
{
    struct row_list l;
    char *got;

    row_list_parse(&l, text);
    got = iter_text(fold(&l, ITER_ASC, opt));
    assert_string_equal(got, want);
    mem_free(got);
    row_list_fini(&l);
}

/*
 * R256; test_merge_operator_iterator, test_merge_operator_merges_*_expire_ts,
 * should_use_base_expire_ts_when_it_is_the_earliest.
 */
static void operands_are_folded_onto_what_is_below(void **state)
{
    static const struct {
        const char *name, *in, *flush, *read;
    } cases[] = {
        { "no operands", "a=1@1 b=DEL@2", "a=1@1 b=DEL@2", "a=1@1 b=DEL@2" },
        { "onto a value", "a+c@3 a+b@2 a=a@1", "a=abc@3", "a=abc@3" },
        { "onto a tombstone", "a+c@3 a+b@2 a=DEL@1", "a=bc@3", "a=bc@3" },
        { "onto nothing", "a+c@3 a+b@2 b=1@1", "a+bc@3 b=1@1", "a=bc@3 b=1@1" },
        { "one operand", "a+b@2", "a+b@2", "a=b@2" },
        { "one operand onto a value", "a+b@2 a=a@1", "a=ab@2", "a=ab@2" },
        { "older versions behind the base", "a+c@3 a=b@2 a=a@1", "a=bc@3 a=a@1", "a=bc@3 a=a@1" },
        { "newest creation, first expiry", "a+c@3:c5:e9 a+b@2:c7:e9 a=a@1:c6:e9", "a=abc@3:c7:e9", "a=abc@3:c7:e9" },
        { "another expiry", "a+d@4:e9 a+c@3:e9 a+b@2:e5 a=a@1", "a+cd@4:e9 a+b@2:e5 a=a@1", "a=abcd@4:e5" },
        { "a base with expiry", "a+b@2 a=a@1:e3", "a+b@2 a=a@1:e3", "a=ab@2:e3" },
        { "groups of expiry", "a+d@4:e9 a+c@3 a+b@2 a=a@1", "a+d@4:e9 a=abc@3", "a=abcd@4:e9" },
        { "nothing but empty operands", "a+@2 a+@1", "a+@2", "a=@2" },
        { "equal sequence numbers", "a+c@2 a=a@2", "a=ac@2", "a=ac@2" },
    };
    struct fold_options flush = { .op = &concat_op, .same_expiry_only = true };
    struct fold_options read = { .op = &concat_op, .finish = true };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].name);
        expect_fold(cases[i].in, &flush, cases[i].flush);
        expect_fold(cases[i].in, &read, cases[i].read);
    }
}

/* R256, step 2. */
static void operands_above_the_barrier_pass(void **state)
{
    struct fold_options opt = { .op = &concat_op, .same_expiry_only = true, .has_barrier = true, .barrier = 3 };

    (void)state;
    expect_fold("a+e@5 a+d@4 a+c@3 a+b@2 a=a@1", &opt, "a+e@5 a+d@4 a=abc@3");
    expect_fold("a+e@5 a=d@4 a+c@3 a+b@2", &opt, "a+e@5 a=d@4 a+bc@3");
    opt.barrier = 0;
    expect_fold("a+b@2 a+a@1", &opt, "a+b@2 a+a@1");
}

/*
 * R257, test_batched_merge_*, test_merge_batch_with_base_value_call_count: a hundred in one call, and the results in one
 * more.
 */
static void many_operands_are_folded_in_batches(void **state)
{
    static const struct {
        size_t n;
        bool base;
        size_t calls, operands;
    } cases[] = {
        { 250, false, 4, 253 }, { 150, true, 3, 152 }, { 100, true, 1, 100 }, { 101, false, 3, 103 },
        { 200, true, 3, 202 },  { 2, false, 1, 2 },    { 1, true, 1, 1 },     { 1, false, 0, 0 },
        { 2000, true, 21, 2020 },
    };
    static struct shale_row rows[2001];
    static char text[2001][5];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fold_options opt = { .op = &concat_op };
        struct row_list l = { .rows = rows, .n = cases[i].n + cases[i].base };
        struct shale_row row;
        struct iter *it;

        print_message("%zu operands\n", cases[i].n);
        concat = (struct concat){ 0 };
        for (size_t k = 0; k < l.n; k++) {
            snprintf(text[k], sizeof(text[k]), "%04u", (unsigned)k % 10000);
            rows[k] = (struct shale_row){ .key = slice_str("key"), .value = slice_str(text[k]), .seq = k,
                                          .kind = k == 0 && cases[i].base ? SHALE_PUT : SHALE_MERGE };
        }
        it = fold(&l, ITER_ASC, &opt);
        assert_int_equal(iter_next(it, &row), 0);
        assert_int_equal(row.kind, cases[i].base ? SHALE_PUT : SHALE_MERGE);
        assert_int_equal(row.seq, l.n - 1);
        assert_int_equal(row.value.len, 4 * l.n);
        for (size_t k = 0; k < l.n; k++)
            assert_memory_equal(row.value.data + 4 * k, text[k], 4);
        assert_int_equal(iter_next(it, &row), SHALE_END);
        iter_close(it);
        assert_int_equal(concat.calls, cases[i].calls);
        assert_int_equal(concat.operands, cases[i].operands);
        assert_true(concat.largest <= 100);
    }
}

/* An operand needs its value's memory once, and the next key does not find it still taken. */
static void large_operands_are_folded(void **state)
{
    enum { N = 130, LEN = 64 << 10 };
    static uint8_t value[LEN];
    static struct shale_row rows[N + 1];
    struct row_list l = { .rows = rows, .n = N + 1 };
    struct fold_options opt = { .op = &concat_op };
    struct shale_row row;
    struct iter *it;

    (void)state;
    memset(value, 'v', sizeof(value));
    for (size_t k = 0; k < N; k++)
        rows[k] = (struct shale_row){ .key = slice_str("a"), .value = slice_of(value, LEN), .seq = k, .kind = SHALE_MERGE };
    rows[N] = (struct shale_row){ .key = slice_str("b"), .value = slice_str("w"), .seq = 1, .kind = SHALE_MERGE };
    it = fold(&l, ITER_ASC, &opt);
    assert_int_equal(iter_next(it, &row), 0);
    assert_int_equal(row.value.len, N * LEN);
    assert_int_equal(iter_next(it, &row), 0);
    assert_true(slice_eq(row.value, slice_str("w")));
    iter_close(it);
}

/*
 * Section 14.3, step 6; test_err_when_merge_operator_not_set_and_merges_exist,
 * test_no_err_merge_operator_not_set_and_no_merges.
 */
static void without_operator_an_operand_is_an_error(void **state)
{
    struct fold_options opt = { .same_expiry_only = true };
    struct row_list l;
    struct shale_row row;
    struct iter *it;

    (void)state;
    for (int barrier = 0; barrier < 2; barrier++) {
        opt.has_barrier = barrier;
        row_list_parse(&l, "a=1@1 b+2@2");
        it = fold(&l, ITER_ASC, &opt);
        assert_int_equal(iter_next(it, &row), 0);
        assert_int_equal(iter_next(it, &row), SHALE_EMERGE);
        assert_non_null(strstr(shale_errmsg(), "62"));
        iter_close(it);
        row_list_fini(&l);
    }
    expect_fold("a=1@1 b=DEL@2", &opt, "a=1@1 b=DEL@2");
}

/* R256, step 3. */
static void versions_out_of_order_are_corrupt(void **state)
{
    static const char *const cases[] = { "a+1@1 a+2@2", "a+3@3 a+1@1 a=2@2" };
    struct fold_options opt = { .op = &concat_op };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row_list l;
        struct shale_row row;
        struct iter *it;

        row_list_parse(&l, cases[i]);
        assert_int_equal(fold_iter_new(list_iter_new_unsorted(l.rows, l.n), &opt, &it), 0);
        assert_int_equal(iter_next(it, &row), SHALE_ECORRUPT);
        iter_close(it);
        row_list_fini(&l);
    }
}

/* R258. */
static void a_failing_operator_is_named_with_the_key(void **state)
{
    struct fold_options opt = { .op = &concat_op };
    char key[41];
    struct shale_row rows[2];
    struct row_list l = { .rows = rows, .n = 2 };

    (void)state;
    memset(key, 'k', 40);
    key[40] = '\0';
    for (uint64_t i = 0; i < 2; i++)
        rows[i] = (struct shale_row){ .key = slice_str(key), .value = slice_str("v"), .seq = i, .kind = SHALE_MERGE };
    for (int i = 0; i < 2; i++) {
        struct shale_row row;
        struct iter *it;

        concat = (struct concat){ .fail_at = 1, .error = i ? -ENOMEM : -EINVAL };
        it = fold(&l, ITER_ASC, &opt);
        assert_int_equal(iter_next(it, &row), i ? -ENOMEM : SHALE_EMERGE);
        iter_close(it);
        assert_non_null(strstr(shale_errmsg(), "concat"));
        assert_non_null(strstr(shale_errmsg(), "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b..."));
    }
}

/* R259, test_seek_clears_buffered_entry. */
static void seeks_keep_the_row_that_was_looked_at(void **state)
{
    static const struct {
        const char *name;
        enum iter_order order;
        size_t read;
        const char *key, *rest;
    } cases[] = {
        { "to the row ahead", ITER_ASC, 1, "b", "b=12@2 c+3@3:e1 c+4@2 d=5@5" },
        { "before it", ITER_ASC, 1, "aa", "b=12@2 c+3@3:e1 c+4@2 d=5@5" },
        { "past it", ITER_ASC, 1, "c", "c+3@3:e1 c+4@2 d=5@5" },
        { "inside a key", ITER_ASC, 3, "c", "c+4@2 d=5@5" },
        { "out of a key", ITER_ASC, 3, "d", "d=5@5" },
        { "descending, to it", ITER_DESC, 3, "b", "b=12@2 a+xy@9" },
        { "descending, before it", ITER_DESC, 3, "bb", "b=12@2 a+xy@9" },
        { "descending, past it", ITER_DESC, 3, "a", "a+xy@9" },
        { "descending, out of a key", ITER_DESC, 2, "b", "b=12@2 a+xy@9" },
    };
    struct fold_options opt = { .op = &concat_op, .same_expiry_only = true };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row_list l;
        struct iter *it;
        char *got;

        print_message("%s\n", cases[i].name);
        row_list_parse(&l, "a+y@9 a+x@8 b+2@2 b=1@1 c+3@3:e1 c+4@2 d=5@5");
        it = fold(&l, cases[i].order, &opt);
        mem_free(iter_text_n(it, cases[i].read));
        assert_int_equal(iter_seek(it, slice_str(cases[i].key)), 0);
        got = iter_text(it);
        assert_string_equal(got, cases[i].rest);
        mem_free(got);
        row_list_fini(&l);
    }
}

static void a_child_that_fails_fails_the_fold(void **state)
{
    struct fold_options opt = { .op = &concat_op };
    bool reached = true;

    (void)state;
    for (size_t n = 1; reached; n++) {
        struct row_list l;
        struct shale_row row;
        struct iter *child, *it;
        int rc = 0;

        row_list_parse(&l, "a+b@2 a=a@1 b+c@3 b+d@2");
        child = list_iter_new(l.rows, l.n, ITER_ASC);
        list_iter_fail(child, n, -EIO);
        assert_int_equal(fold_iter_new(child, &opt, &it), 0);
        while (rc == 0)
            rc = iter_next(it, &row);
        reached = rc == -EIO;
        assert_true(reached || (rc == SHALE_END && n > 4));
        iter_close(it);
        row_list_fini(&l);
    }
}

static void failed_allocations_leak_nothing(void **state)
{
    struct fold_options opt = { .op = &concat_op };
    static char text[9 * 120 + 20];
    int rc, faults = 0;

    (void)state;
    for (int i = 119, at = 0; i >= 0; i--)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "k+%03d@%d ", i, i);
    for (unsigned n = 1;; n++) {
        struct row_list l;
        struct shale_row row;
        struct iter *child, *it = NULL;

        row_list_parse(&l, text);
        child = list_iter_new(l.rows, l.n, ITER_ASC);
        heap_fault_after(n);
        rc = fold_iter_new(child, &opt, &it);
        while (rc == 0)
            rc = iter_next(it, &row);
        iter_close(it);
        row_list_fini(&l);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
        faults++;
    }
    assert_int_equal(rc, SHALE_END);
    assert_true(faults > 120);
}

/* Folded in one go or in pieces, in either direction, the values are the same. */
static void random_rows_agree_with_a_model(void **state)
{
    uint64_t seed = random_env(1).first;
    struct fold_options read = { .op = &concat_op, .finish = true };
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (size_t round = 0; round < 300; round++) {
        enum iter_order order = rng_below(&rng, 2) ? ITER_DESC : ITER_ASC;
        size_t n = rng_below(&rng, 400);
        static struct shale_row rows[400];
        static char values[400][24];
        static char model[4][1700];
        bool used[4] = { false };
        static const char *const keys[] = { "a", "b", "c", "d" };
        struct row_list l = { .rows = rows, .n = n };
        struct shale_row row;
        struct iter *it;

        memset(model, 0, sizeof(model));
        for (size_t i = 0; i < n; i++) {
            size_t k = rng_below(&rng, 4);

            snprintf(values[i], sizeof(values[i]), "%03zu", i);
            rows[i] = (struct shale_row){ .key = slice_str(keys[k]), .value = slice_str(values[i]), .seq = i,
                                          .kind = rng_below(&rng, 150) ? SHALE_MERGE : SHALE_PUT };
            if (rows[i].kind == SHALE_PUT)
                model[k][0] = '\0';
            strcat(model[k], values[i]);
            used[k] = true;
        }
        it = fold(&l, order, &read);
        for (size_t at = 0; at < 4; at++) {
            size_t k = order == ITER_DESC ? 3 - at : at;

            if (!used[k])
                continue;
            do
                assert_int_equal(iter_next(it, &row), 0);
            while (!slice_eq(row.key, slice_str(keys[k]))); /* older versions below a base of the key before */
            assert_int_equal(row.kind, SHALE_PUT);
            assert_true(slice_eq(row.value, slice_str(model[k])));
        }
        iter_close(it);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(operands_are_folded_onto_what_is_below, reset),
        cmocka_unit_test_setup(operands_above_the_barrier_pass, reset),
        cmocka_unit_test_setup(many_operands_are_folded_in_batches, reset),
        cmocka_unit_test_setup(large_operands_are_folded, reset),
        cmocka_unit_test_setup(without_operator_an_operand_is_an_error, reset),
        cmocka_unit_test_setup(versions_out_of_order_are_corrupt, reset),
        cmocka_unit_test_setup(a_failing_operator_is_named_with_the_key, reset),
        cmocka_unit_test_setup(seeks_keep_the_row_that_was_looked_at, reset),
        cmocka_unit_test_setup(a_child_that_fails_fails_the_fold, reset),
        cmocka_unit_test_setup(failed_allocations_leak_nothing, reset),
        cmocka_unit_test_setup(random_rows_agree_with_a_model, reset),
    };

    return cmocka_run_group_tests(tests, NULL, nothing_open);
}
