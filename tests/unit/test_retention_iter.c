/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "lib/cases.h"
#include "lib/concat_operator.h"
#include "lib/heap_fault.h"
#include "lib/list_iter.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "read/fold_iter.h"
#include "read/retention_iter.h"

#include <errno.h>
#include <stdio.h>

enum { NOW = 1000 };

static struct iter *retain(struct iter *child, const struct retention_options *opt)
{
    struct iter *it;

    assert_int_equal(retention_iter_new(child, opt, &it), 0);
    return it;
}

static void expect_rows(const char *text, const struct retention_options *opt, const char *want)
{
    struct row_list l;
    char *got;

    row_list_parse(&l, text);
    got = iter_text(retain(list_iter_new(l.rows, l.n, ITER_ASC), opt));
    assert_string_equal(got, want);
    mem_free(got);
    row_list_fini(&l);
    assert_int_equal(list_iter_open_count(), 0);
}

/* R252; NULL: the output is the input. Time-outs are in seconds, -1: none; no tracker, so that every version is of now. */
static const struct version_case {
    const char *name, *in;
    int64_t timeout, min_seq;
    bool drop;
    const char *out;
} version_cases[] = {
    { "empty_iterator", "", 3600, -1, false, "" },
    { "single_entry_within_retention", "k=v@1:c950", 3600, -1, false, NULL },
    { "single_entry_outside_retention", "k=v@1:c500", 3600, -1, false, NULL },
    { "multiple_versions_same_key_within_retention", "k=v@3 k=v@2 k=v@1", 3600, -1, false, NULL },
    { "multiple_versions_same_key_mixed_retention", "k=v@3:c950 k=v@2:c500 k=v@1:c850", 3600, -1, false, NULL },
    { "tombstone_entries", "k=DEL@3 k=v@2 k=v@1", 3600, -1, false, NULL },
    { "merge_entries", "k+v@3 k+v@2 k=v@1", 3600, -1, false, NULL },
    { "zero_retention_time", "k=v@3 k=v@2 k=v@1", 0, -1, false, "k=v@3" },
    { "very_long_retention_time", "k=v@3 k=v@2 k=v@1", 1000, -1, false, NULL },
    { "expired_entry_converted_to_tombstone", "k=v@1:c950:e900", 3600, -1, false, "k=DEL@1:c950" },
    { "not_expired_entry_kept_as_is", "k=v@1:e1100", 3600, -1, false, NULL },
    { "mixed_expired_and_not_expired_entries", "k=v@3:e1100 k=v@2:c900:e950 k=v@1:e1200", 3600, -1, false,
      "k=v@3:e1100 k=DEL@2:c900 k=v@1:e1200" },
    { "expire_ts_equals_compaction_start_ts", "k=v@1:c950:e1000", 3600, -1, false, "k=DEL@1:c950" },
    { "retention_min_seq_basic", "k=v@30 k=v@20 k=v@10", -1, 25, false, "k=v@30 k=v@20" },
    { "retention_min_seq_with_timeout", "k=v@30 k=v@20 k=v@10", 3600, 25, false, NULL },
    { "expired_entry_converted_to_tombstone_filter_tombstone_true", "k=v@1:e900", 3600, -1, true, "" },
    { "tombstone_tail_filtered_out", "k=v@3 k=v@2 k=DEL@1", 3600, -1, true, "k=v@3 k=v@2" },
    { "all_tombstones_filtered_out", "k=DEL@3 k=DEL@2 k=DEL@1", 3600, -1, true, "" },
    { "mixed_expired_and_not_expired_entries_filter_tombstone_true", "k=v@3:e1100 k=v@2:c900:e950 k=v@1:e1200", 3600, -1, true,
      "k=v@3:e1100 k=DEL@2:c900 k=v@1:e1200" },
    { "filter_out_expired_merge_entries", "k+v@3:e1100 k+v@2:e950 k+v@1:e1200", 0, -1, false, "k+v@3:e1100 k+v@1:e1200" },
    { "retain_up_to_first_non_merge_entry", "k+v@5 k+v@4 k+v@3 k=v@2 k=v@1", 0, -1, false, "k+v@5 k+v@4 k+v@3 k=v@2" },
    { "retain_up_to_first_non_merge_entry_when_seq_num_provided", "k=v@5 k+v@4 k+v@3 k=v@2 k=v@1", 0, 4, false, "k=v@5 k+v@4 k+v@3 k=v@2" },
    /* Not in the table. */
    { "no limits", "k=v@3 k=v@2 l+v@9 l=v@8 l=v@7", -1, -1, false, "k=v@3 l+v@9 l=v@8" },
    { "keys apart", "a=v@3 a=v@2 b=v@3 c=DEL@3 c=v@2", -1, 2, false, "a=v@3 a=v@2 b=v@3 c=DEL@3 c=v@2" },
    { "tombstones of many keys", "a=DEL@3 b=DEL@2 b=DEL@1 c=v@1 d=DEL@1", -1, 0, true, "c=v@1" },
    { "tombstones among operands", "a+v@4 a=DEL@3 a+v@2 a=DEL@1", -1, 0, true, "a+v@4 a=DEL@3 a+v@2" },
    { "expired tombstone", "a=DEL@3:e5 a=v@2", -1, -1, false, "a=DEL@3:e5" },
    { "expired base", "a+v@3 a=v@2:e900 a=v@1", -1, -1, true, "a+v@3" },
};

static void versions_are_kept_as_listed(void **state)
{
    const struct version_case *c = *state;
    struct retention_options opt = {
        .has_min_seq = c->min_seq >= 0,
        .min_seq = (uint64_t)c->min_seq,
        .has_timeout = c->timeout >= 0,
        .timeout_ms = c->timeout * 1000,
        .now_ms = NOW,
        .clock_tick = NOW,
        .drop_tombstones = c->drop,
    };

    expect_rows(c->in, &opt, c->out ? c->out : c->in);
}

/* R253: a version of sequence number s below a newer one; points of the tracker are whole seconds. */
static struct seq_point five[] = { { 5, 1 } }, ten[] = { { 10, 2 } }, two[] = { { 5, 1 }, { 15, 2 } };
static const struct tracker_case {
    const char *name;
    struct seq_point *points;
    size_t n;
    uint64_t seq;
    int64_t now, timeout;
    bool kept;
} tracker_cases[] = {
    { "exact", five, 1, 5, 1500, 700, true },
    { "rounded up", ten, 1, 7, 2100, 400, true },
    { "between two points", two, 2, 11, 2400, 500, true },
    { "unknown is now", five, 1, 20, 1500, 100, true },
    { "without points", NULL, 0, 8, 2000, 0, false },
    { "at the limit", five, 1, 5, 1500, 500, false },
    { "between, at the limit", two, 2, 11, 2500, 500, false },
    { "unknown, no time-out", two, 2, 16, 2500, 0, false },
};

static void the_tracker_tells_the_age(void **state)
{
    const struct tracker_case *c = *state;
    struct seq_tracker tracker = { .points = c->points, .n = c->n, .last_recorded_s = SHALE_NO_TS };
    struct retention_options opt = {
        .has_timeout = true,
        .timeout_ms = c->timeout,
        .now_ms = c->now,
        .tracker = &tracker,
        .clock_tick = INT64_MIN,
    };
    char in[64], old[32];

    /* The version in question decides about the one below it. */
    snprintf(old, sizeof(old), "k=v@%llu", (unsigned long long)c->seq);
    snprintf(in, sizeof(in), "%s k=v@1", old);
    expect_rows(in, &opt, c->kept ? in : old);
}

/*
 * R254, the states of SlateDB's buffer, as they show from outside: how many rows were read
 * from the child when the n-th row comes out (the end counts as one), and that what comes is as it should be.
 */
static const struct buffer_case {
    const char *name, *in;
    size_t n_out;         /* rows taken */
    size_t n_in[4];       /* read from the child by then, at most */
} buffer_cases[] = {
    { "empty_buffer", "", 0, { 0 } },
    { "single_entry, end_of_input_processed", "k=v@1", 1, { 2 } },
    { "multiple_versions_same_key, pop_operation", "k=v@3 k=v@2 k=v@1", 3, { 4, 4, 4 } },
    { "key_transition, processed_state", "a=v@2 a=v@1 b=v@9 c=v@3 d=v@4", 3, { 3, 3, 4 } },
    { "tombstone_entries", "a=DEL@2 a=DEL@1 b=v@9 c=v@3", 3, { 3, 3, 4 } },
    { "merge_entries", "a+x@2 a+y@1 b=v@9 c=v@3", 3, { 3, 3, 4 } },
};

static void the_buffer_holds_one_key(void **state)
{
    const struct buffer_case *c = *state;
    const struct retention_options opt = { .has_min_seq = true, .clock_tick = INT64_MIN, .drop_tombstones = false };

    /* A child that fails at read n + 1 is not noticed before it is needed. */
    for (size_t i = 0; i < c->n_out; i++) {
        struct row_list l;
        struct shale_row row;
        struct iter *child, *it;

        row_list_parse(&l, c->in);
        child = list_iter_new(l.rows, l.n, ITER_ASC);
        list_iter_fail(child, c->n_in[i] + 1, -EIO);
        it = retain(child, &opt);
        for (size_t k = 0; k <= i; k++) {
            assert_int_equal(iter_next(it, &row), 0);
            assert_true(slice_eq(row.key, l.rows[k].key) && row.seq == l.rows[k].seq && row.kind == l.rows[k].kind);
        }
        iter_close(it);
        row_list_fini(&l);
    }
    expect_rows(c->in, &opt, c->in);
}

static void extreme_times_do_not_overflow(void **state)
{
    static struct seq_point far[] = { { 5, INT64_MAX / 1000 } };
    struct seq_tracker tracker = { .points = far, .n = 1, .last_recorded_s = SHALE_NO_TS };
    struct retention_options opt = { .has_timeout = true, .timeout_ms = INT64_MAX, .now_ms = INT64_MAX - 1,
                                     .tracker = &tracker, .clock_tick = INT64_MIN };

    (void)state;
    expect_rows("k=v@5 k=v@4", &opt, "k=v@5 k=v@4");
    opt.timeout_ms = INT64_MIN;
    expect_rows("k=v@5 k=v@4", &opt, "k=v@5");
    far[0].time_s = INT64_MAX;
    opt.timeout_ms = 1;
    expect_rows("k=v@5 k=v@4", &opt, "k=v@5 k=v@4");
}

/* What a flush does: R72, R74. */
static void a_flush_keeps_what_readers_need(void **state)
{
    static const struct {
        const char *name;
        uint64_t min;
        const char *in, *out;
    } cases[] = {
        { "empty", 0, "", NULL },
        { "single", 0, "key1=value1@1", NULL },
        { "unique keys", 0, "key1=v@1 key2=v@2 key3=v@3", NULL },
        { "all versions", 0, "key=value3@3 key=value2@2 key=value1@1", NULL },
        { "boundary", 2, "key=value3@3 key=value2@2 key=value1@1", "key=value3@3 key=value2@2" },
        { "only newest", 3, "key=value3@3 key=value2@2 key=value1@1", "key=value3@3" },
        { "several keys", 6, "key1=value1@1 key1=value2@2 key1=value5@5 key2=value3@3 key2=value6@6 key3=value4@4",
          "key1=value5@5 key2=value6@6 key3=value4@4" },
        { "tombstones", 5, "key1=value1@1 key1=DEL@2 key2=DEL@3 key2=DEL@6 key3=DEL@4 key3=value3@5",
          "key1=DEL@2 key2=DEL@6 key2=DEL@3 key3=value3@5" },
        { "merges, old reader", 0, "key1+value3@3 key1+value1@1 key2+value5@5 key2=value2@2 key3=value6@6 key3+value4@4",
          NULL },
        { "merges and tombstones", 0,
          "key1=DEL@4 key1+value3@3 key1+value1@1 key2+value5@6 key2=value2@2 key3=DEL@8 key3=value6@7 key3+value4@5",
          NULL },
        { "merges, recent reader", 6,
          "key1+value1@1 key1+value3@3 key2=value2@2 key2+value5@5 key3+value4@4 key3=value6@6",
          "key1+value1value3@3 key2=value2value5@5 key3=value6@6" },
    };
    struct concat concat = { 0 };
    struct shale_merge_operator op = concat_operator(&concat);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fold_options fold = { .op = &op, .same_expiry_only = true, .has_barrier = true, .barrier = cases[i].min };
        struct retention_options keep = { .has_min_seq = true, .min_seq = cases[i].min, .clock_tick = INT64_MIN };
        struct row_list l;
        struct iter *it;
        char *got;

        print_message("%s\n", cases[i].name);
        row_list_parse(&l, cases[i].in);
        assert_int_equal(fold_iter_new(list_iter_new(l.rows, l.n, ITER_ASC), &fold, &it), 0);
        got = iter_text(retain(it, &keep));
        assert_string_equal(got, cases[i].out ? cases[i].out : cases[i].in);
        mem_free(got);
        row_list_fini(&l);
    }
}

/* R75, where min is the least of the durable, snapshot and transaction numbers. */
static void the_least_needed_number_is_the_boundary(void **state)
{
    static const struct {
        uint64_t min;
        const char *kept;
    } cases[] = {
        { 1, "key=value4@4 key=value3@3 key=value2@2 key=value1@1" },
        { 2, "key=value4@4 key=value3@3 key=value2@2" },
        { 3, "key=value4@4 key=value3@3" },
        { 4, "key=value4@4" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct retention_options keep = { .has_min_seq = true, .min_seq = cases[i].min, .clock_tick = INT64_MIN };

        expect_rows("key=value1@1 key=value2@2 key=value3@3 key=value4@4", &keep, cases[i].kept);
    }
}

/* R251; R254, clear_operation. */
static void seeks_forget_what_waits(void **state)
{
    static const struct {
        const char *name;
        size_t read;
        const char *key, *rest;
    } cases[] = {
        { "at once", 0, "b", "b=DEL@9 b=DEL@8 b=v@7 c=v@1" },
        { "inside released tombstones", 2, "b", "b=DEL@8 b=v@7 c=v@1" },
        { "past them", 2, "c", "c=v@1" },
        { "dropped versions stay dropped", 4, "b", "c=v@1" },
    };
    struct retention_options opt = { .has_min_seq = true, .min_seq = 7, .clock_tick = INT64_MIN, .drop_tombstones = true };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct row_list l;
        struct iter *it;
        char *got;

        print_message("%s\n", cases[i].name);
        row_list_parse(&l, "a=v@1 b=DEL@9 b=DEL@8 b=v@7 b=v@6 c=v@1");
        it = retain(list_iter_new(l.rows, l.n, ITER_ASC), &opt);
        mem_free(iter_text_n(it, cases[i].read));
        assert_int_equal(iter_seek(it, slice_str(cases[i].key)), 0);
        got = iter_text(it);
        assert_string_equal(got, cases[i].rest);
        mem_free(got);
        row_list_fini(&l);
    }
}

/* The rules as written, with all versions of a key at hand. */
static size_t model_retain(struct shale_row *rows, size_t n, const struct retention_options *opt)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct shale_row row = rows[i];
        bool goes_on = row.kind == SHALE_MERGE || (opt->has_min_seq && row.seq > opt->min_seq);

        if (row.expire_ts != SHALE_NO_TS && row.expire_ts <= opt->clock_tick && row.kind == SHALE_PUT) {
            row.kind = SHALE_TOMBSTONE;
            row.expire_ts = SHALE_NO_TS;
            rows[kept++] = row;
        } else if (row.kind != SHALE_MERGE || row.expire_ts == SHALE_NO_TS || row.expire_ts > opt->clock_tick) {
            rows[kept++] = row;
        }
        if (!goes_on)
            break;
    }
    while (opt->drop_tombstones && kept > 0 && rows[kept - 1].kind == SHALE_TOMBSTONE)
        kept--;
    return kept;
}

static void random_versions_agree_with_the_rules(void **state)
{
    enum { N = 60, KEYS = 6 };
    uint64_t seed = random_env(1).first;
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (size_t round = 0; round < 2000; round++) {
        struct retention_options opt = { .has_min_seq = rng_below(&rng, 2), .min_seq = rng_below(&rng, N),
                                         .clock_tick = NOW, .drop_tombstones = rng_below(&rng, 2) };
        enum iter_order order = rng_below(&rng, 2) ? ITER_DESC : ITER_ASC;
        static const char *const keys[KEYS] = { "a", "b", "c", "d", "e", "f" };
        struct shale_row by_key[KEYS][N], all[N], row;
        size_t n_key[KEYS] = { 0 };
        struct iter *it;

        for (size_t i = N; i-- > 0;) {
            size_t k = rng_below(&rng, KEYS);

            row = (struct shale_row){ .key = slice_str(keys[k]), .seq = i, .kind = (enum shale_kind)rng_below(&rng, 3),
                                      .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
            if (rng_below(&rng, 3) == 0)
                row.expire_ts = (int64_t)(NOW - 5 + rng_below(&rng, 10));
            all[i] = by_key[k][n_key[k]++] = row;
        }
        it = retain(list_iter_new(all, N, order), &opt);
        for (size_t i = 0; i < KEYS; i++) {
            size_t k = order == ITER_DESC ? KEYS - 1 - i : i, n = model_retain(by_key[k], n_key[k], &opt);

            for (size_t j = 0; j < n; j++) {
                assert_int_equal(iter_next(it, &row), 0);
                assert_true(slice_eq(row.key, by_key[k][j].key));
                assert_int_equal(row.seq, by_key[k][j].seq);
                assert_int_equal(row.kind, by_key[k][j].kind);
                assert_true(row.expire_ts == by_key[k][j].expire_ts);
            }
        }
        assert_int_equal(iter_next(it, &row), SHALE_END);
        iter_close(it);
    }
}

static void failures_of_the_child_and_of_memory_come_through(void **state)
{
    struct retention_options opt = { .has_min_seq = true, .clock_tick = INT64_MIN, .drop_tombstones = true };
    int rc = -1;

    (void)state;
    for (size_t n = 1; rc != SHALE_END; n++) {
        for (int heap = 0; heap < 2; heap++) {
            struct row_list l;
            struct shale_row row;
            struct iter *child, *it = NULL;

            row_list_parse(&l, "a=DEL@3 a=DEL@2 a=v@1 b=DEL@4");
            child = list_iter_new(l.rows, l.n, ITER_ASC);
            if (heap)
                heap_fault_after((unsigned)n);
            else
                list_iter_fail(child, n, -EIO);
            rc = retention_iter_new(child, &opt, &it);
            while (rc == 0)
                rc = iter_next(it, &row);
            if (heap)
                assert_int_equal(rc, heap_fault_off() ? -ENOMEM : SHALE_END);
            else
                assert_int_equal(rc, n <= 5 ? -EIO : SHALE_END);
            iter_close(it);
            row_list_fini(&l);
            assert_int_equal(list_iter_open_count(), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extreme_times_do_not_overflow),
        cmocka_unit_test(a_flush_keeps_what_readers_need),
        cmocka_unit_test(the_least_needed_number_is_the_boundary),
        cmocka_unit_test(seeks_forget_what_waits),
        cmocka_unit_test(random_versions_agree_with_the_rules),
        cmocka_unit_test(failures_of_the_child_and_of_memory_come_through),
    };
    struct cases c = { 0 };

    CASES_ADD_TABLE(&c, "R252 test_retention_iterator_table_driven", version_cases, versions_are_kept_as_listed);
    CASES_ADD_TABLE(&c, "R253 test_retention_uses_sequence_tracker_timestamp", tracker_cases, the_tracker_tells_the_age);
    CASES_ADD_TABLE(&c, "R254 test_retention_buffer_table_driven", buffer_cases, the_buffer_holds_one_key);
    cases_add_tests(&c, tests, ARRAY_SIZE(tests));
    return cases_run(&c, NULL, NULL);
}
