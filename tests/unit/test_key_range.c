/* SPDX-License-Identifier: Apache-2.0 */
#include "format/key_range.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define U KEY_UNBOUNDED
#define I KEY_INCLUDED
#define X KEY_EXCLUDED

static struct key_range range(enum key_bound_kind fk, const char *from, enum key_bound_kind tk, const char *to)
{
    return (struct key_range){ .from_kind = fk, .to_kind = tk, .from = slice_str(from), .to = slice_str(to) };
}

static void bounds_that_cross_or_touch_are_empty(void **state)
{
    static const struct {
        enum key_bound_kind fk, tk;
        const char *from, *to;
        bool empty;
    } cases[] = {
        { U, U, "", "", false },   { I, U, "a", "", false },  { U, X, "", "a", false },  { I, I, "a", "a", false },
        { I, X, "a", "a", true },  { X, I, "a", "a", true },  { X, X, "a", "a", true },  { I, I, "b", "a", true },
        { I, X, "a", "ab", false }, { X, X, "ab", "a", true }, { X, I, "a", "b", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_range r = range(cases[i].fk, cases[i].from, cases[i].tk, cases[i].to);

        assert_int_equal(key_range_is_empty(&r), cases[i].empty);
    }
}

static struct key_range random_range(struct rng *rng)
{
    static const char *const keys[] = { "a", "ab", "b", "ba", "c" };

    return range((enum key_bound_kind)rng_below(rng, 3), keys[rng_below(rng, 5)],
                 (enum key_bound_kind)rng_below(rng, 3), keys[rng_below(rng, 5)]);
}

static void an_intersection_holds_what_both_hold(void **state)
{
    static const char *const probes[] = { "a", "aa", "ab", "abc", "b", "b0", "ba", "bb", "c", "d", "0" };
    uint64_t seed = random_env(1).first;
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int n = 0; n < 2000; n++) {
        struct key_range a = random_range(&rng), b = random_range(&rng);
        struct key_range both = key_range_intersect(&a, &b);

        for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
            struct shale_slice k = slice_str(probes[i]);

            assert_int_equal(key_in_range(&both, k), key_in_range(&a, k) && key_in_range(&b, k));
            if (key_range_is_empty(&both))
                assert_false(key_in_range(&both, k));
        }
    }
}

static struct shale_buf buf_of(const char *text)
{
    struct shale_buf b = SHALE_BUF_INIT;

    assert_int_equal(buf_set(&b, slice_str(text)), 0);
    return b;
}

static void keys_of_a_range_begin_alike(void **state)
{
    static const struct {
        enum key_bound_kind from_kind;
        const char *from;
        enum key_bound_kind to_kind;
        const char *to;
        size_t want;
    } cases[] = {
        { I, "abcd", I, "abcz", 3 }, { X, "ab", X, "abx", 2 }, { I, "same", I, "same", 4 }, { I, "a", I, "b", 0 },
        { U, "", I, "abc", 0 }, { I, "abc", U, "", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_range r = range(cases[i].from_kind, cases[i].from, cases[i].to_kind, cases[i].to);

        assert_int_equal(key_range_common(&r), cases[i].want);
    }
}

static void a_view_is_bounded_by_its_sst_and_its_range(void **state)
{
    struct sst_info info = { .has_first = true, .has_last = true, .first = buf_of("b"), .last = buf_of("m") };
    struct sst_handle h = { .info = info };
    struct sst_view v = { .sst = &h };
    struct key_range r = sst_view_range(&v);

    (void)state;
    assert_true(r.from_kind == I && slice_eq(r.from, slice_str("b")));
    assert_true(r.to_kind == I && slice_eq(r.to, slice_str("m")));

    v.has_range = true;
    v.start = (struct key_bound){ .kind = X, .key = buf_of("b") };
    v.end = (struct key_bound){ .kind = I, .key = buf_of("z") };
    r = sst_view_range(&v);
    assert_true(r.from_kind == X && slice_eq(r.from, slice_str("b")));
    assert_true(r.to_kind == I && slice_eq(r.to, slice_str("m")));

    h.info.has_last = false; /* written before SlateDB 0.11 */
    r = sst_view_range(&v);
    assert_true(r.to_kind == I && slice_eq(r.to, slice_str("z")));

    h.info.type = SST_WAL; /* first is a sequence number there */
    v.has_range = false;
    r = sst_view_range(&v);
    assert_true(r.from_kind == U && r.to_kind == U);
    shale_buf_fini(&h.info.first);
    shale_buf_fini(&h.info.last);
    shale_buf_fini(&v.start.key);
    shale_buf_fini(&v.end.key);
}

static void a_prefix_ends_at_its_successor(void **state)
{
    static const struct {
        const char *prefix, *end; /* end NULL: unbounded */
    } cases[] = {
        { "", NULL }, { "a", "b" }, { "ab", "ac" }, { "a\xff", "b" }, { "\xff\xff", NULL }, { "a\xfe\xff", "a\xff" },
    };
    struct shale_buf end = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_range r;

        assert_int_equal(key_range_prefix(slice_str(cases[i].prefix), &end, &r), 0);
        assert_int_equal(r.from_kind, *cases[i].prefix ? I : U);
        assert_int_equal(r.to_kind, cases[i].end ? X : U);
        if (cases[i].end)
            assert_true(slice_eq(r.to, slice_str(cases[i].end)));
    }
    shale_buf_fini(&end);
}

static void a_prefix_without_memory_changes_nothing(void **state)
{
    struct shale_buf end = SHALE_BUF_INIT;
    struct key_range r = range(I, "x", I, "y");

    (void)state;
    heap_fault_after(1);
    assert_int_equal(key_range_prefix(slice_str("a"), &end, &r), -ENOMEM);
    assert_true(heap_fault_off());
    assert_true(slice_eq(r.from, slice_str("x")));
    shale_buf_fini(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_that_cross_or_touch_are_empty),
        cmocka_unit_test(an_intersection_holds_what_both_hold),
        cmocka_unit_test(keys_of_a_range_begin_alike),
        cmocka_unit_test(a_view_is_bounded_by_its_sst_and_its_range),
        cmocka_unit_test(a_prefix_ends_at_its_successor),
        cmocka_unit_test(a_prefix_without_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
