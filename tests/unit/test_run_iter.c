/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "lib/fake_sst.h"
#include "lib/heap_fault.h"
#include "lib/list_iter.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "read/run_iter.h"

#include <errno.h>
#include <stdio.h>

enum { MAX_CUTS = 16 };

static const struct key_range everything;

/* A run written as rows in order, the SSTs separated by " | ". */
struct fixture {
    struct row_list l;
    struct sorted_run run;
};

static void fixture_init(struct fixture *f, const char *text, bool has_last)
{
    char flat[400] = "", *copy = mem_strdup(text), *rest = copy, *one;
    size_t cuts[MAX_CUTS], n_cuts = 0, n = 0;

    fake_sst_reset();
    while ((one = strsep(&rest, "|"))) {
        struct row_list part;

        strcat(strcat(flat, one), " ");
        row_list_parse(&part, one);
        n += part.n;
        cuts[n_cuts++] = n;
        row_list_fini(&part);
    }
    row_list_parse(&f->l, flat);
    fake_run(&f->run, f->l.rows, f->l.n, cuts, n_cuts, has_last);
    mem_free(copy);
}

static void fixture_fini(struct fixture *f)
{
    sorted_run_fini(&f->run);
    row_list_fini(&f->l);
    assert_int_equal(list_iter_open_count(), 0);
}

static struct iter *run_iter(struct fixture *f, const struct key_range *range, enum iter_order order)
{
    struct sst_iter_options opt = { .order = order };
    struct iter *it;

    assert_int_equal(run_iter_new(NULL, &f->run, range, &opt, &it), 0);
    return it;
}

#define RANGE(fk, f, tk, t) { .from_kind = fk, .to_kind = tk, .from = { (const uint8_t *)(f), sizeof(f) - 1 }, \
                              .to = { (const uint8_t *)(t), sizeof(t) - 1 } }

static void ssts_follow_each_other_in_both_orders(void **state)
{
    static const struct {
        const char *name, *in;
        struct key_range range;
        const char *asc, *desc;
    } cases[] = {
        { "one SST", "a=1@1 b=2@2", { 0 }, "a=1@1 b=2@2", "b=2@2 a=1@1" },
        { "disjoint", "a=1@1 | b=2@2 | c=3@3", { 0 }, "a=1@1 b=2@2 c=3@3", "c=3@3 b=2@2 a=1@1" },
        { "a shared key", "a=1@1 b=9@9 | b=8@8 b=7@7 c=3@3", { 0 }, "a=1@1 b=9@9 b=8@8 b=7@7 c=3@3",
          "c=3@3 b=9@9 b=8@8 b=7@7 a=1@1" },
        { "a key in four", "a=1@1 b=9@9 | b=8@8 | b=7@7 | b=6@6 c=3@3", { 0 },
          "a=1@1 b=9@9 b=8@8 b=7@7 b=6@6 c=3@3", "c=3@3 b=9@9 b=8@8 b=7@7 b=6@6 a=1@1" },
        { "nothing but one key", "b=9@9 | b=8@8 | b=7@7", { 0 }, "b=9@9 b=8@8 b=7@7", "b=9@9 b=8@8 b=7@7" },
        { "two shared keys", "a=9@9 a=8@8 | a=7@7 b=6@6 | b=5@5 c=1@1", { 0 },
          "a=9@9 a=8@8 a=7@7 b=6@6 b=5@5 c=1@1", "c=1@1 b=6@6 b=5@5 a=9@9 a=8@8 a=7@7" },
        { "exactly a shared key", "a=1@1 b=9@9 | b=8@8 | b=7@7 c=3@3", RANGE(KEY_INCLUDED, "b", KEY_INCLUDED, "b"),
          "b=9@9 b=8@8 b=7@7", "b=9@9 b=8@8 b=7@7" },
        { "from behind a shared key", "a=1@1 b=9@9 | b=8@8 c=7@7 | d=3@3", RANGE(KEY_EXCLUDED, "b", KEY_UNBOUNDED, ""),
          "c=7@7 d=3@3", "d=3@3 c=7@7" },
        { "up to before a shared key", "a=1@1 b=9@9 | b=8@8 c=7@7", RANGE(KEY_UNBOUNDED, "", KEY_EXCLUDED, "b"), "a=1@1",
          "a=1@1" },
        { "up to a shared key", "a=1@1 b=9@9 | b=8@8 c=7@7", RANGE(KEY_UNBOUNDED, "", KEY_INCLUDED, "b"),
          "a=1@1 b=9@9 b=8@8", "b=9@9 b=8@8 a=1@1" },
        { "between SSTs", "a=1@1 | d=2@2", RANGE(KEY_INCLUDED, "b", KEY_INCLUDED, "c"), "", "" },
        { "before all", "b=1@1 | d=2@2", RANGE(KEY_INCLUDED, "A", KEY_INCLUDED, "a"), "", "" },
        { "behind all", "b=1@1 | d=2@2", RANGE(KEY_INCLUDED, "e", KEY_UNBOUNDED, ""), "", "" },
        { "crossed", "b=1@1 | d=2@2", RANGE(KEY_INCLUDED, "d", KEY_INCLUDED, "b"), "", "" },
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        size_t c = i / 2;
        struct fixture f;
        char *got;

        print_message("%s%s\n", cases[c].name, i % 2 ? "" : ", last keys unknown");
        fixture_init(&f, cases[c].in, i % 2);
        got = iter_text(run_iter(&f, &cases[c].range, ITER_ASC));
        assert_string_equal(got, cases[c].asc);
        mem_free(got);
        got = iter_text(run_iter(&f, &cases[c].range, ITER_DESC));
        assert_string_equal(got, cases[c].desc);
        mem_free(got);
        fixture_fini(&f);
    }
}

static void an_empty_run_gives_nothing(void **state)
{
    struct fixture f = { 0 };
    char *got;

    (void)state;
    for (int desc = 0; desc < 2; desc++) {
        got = iter_text(run_iter(&f, &everything, desc ? ITER_DESC : ITER_ASC));
        assert_string_equal(got, "");
        mem_free(got);
    }
}

static void seeks_pass_over_ssts(void **state)
{
    static const struct {
        const char *name;
        enum iter_order order;
        size_t read;
        const char *key, *rest;
        size_t opened;
    } cases[] = {
        { "at once to the last", ITER_ASC, 0, "f", "f=6@6", 1 },
        { "over several", ITER_ASC, 1, "f", "f=6@6", 2 },
        { "inside one", ITER_ASC, 1, "b", "b=9@9 b=8@8 b=7@7 d=4@4 e=5@5 f=6@6", 5 },
        { "among shared versions", ITER_ASC, 3, "b", "b=7@7 d=4@4 e=5@5 f=6@6", 5 },
        { "behind shared versions", ITER_ASC, 2, "c", "d=4@4 e=5@5 f=6@6", 4 },
        { "back", ITER_ASC, 5, "a", "e=5@5 f=6@6", 5 },
        { "behind all", ITER_ASC, 1, "g", "", 2 },
        { "descending, at once to the first", ITER_DESC, 0, "a", "a=1@1", 1 },
        { "descending, over several", ITER_DESC, 1, "a", "a=1@1", 2 },
        { "descending, to the shared key", ITER_DESC, 1, "b", "b=9@9 b=8@8 b=7@7 a=1@1", 6 },
        { "descending, among shared versions", ITER_DESC, 5, "b", "b=7@7 a=1@1", 7 },
        { "descending, out of shared versions", ITER_DESC, 4, "a", "a=1@1", 5 },
        { "descending, back", ITER_DESC, 2, "z", "d=4@4 b=9@9 b=8@8 b=7@7 a=1@1", 7 },
        { "descending, before all", ITER_DESC, 1, "A", "", 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f;
        struct iter *it;
        char *got;

        print_message("%s\n", cases[i].name);
        fixture_init(&f, "a=1@1 b=9@9 | b=8@8 | b=7@7 d=4@4 | e=5@5 | f=6@6", true);
        it = run_iter(&f, &everything, cases[i].order);
        mem_free(iter_text_n(it, cases[i].read));
        assert_int_equal(iter_seek(it, slice_str(cases[i].key)), 0);
        got = iter_text(it);
        assert_string_equal(got, cases[i].rest);
        mem_free(got);
        assert_in_range(fake_sst_opened(), 0, cases[i].opened);
        fixture_fini(&f);
    }
}

static void an_sst_is_opened_when_the_one_before_has_ended(void **state)
{
    struct fixture f;
    struct iter *it;
    struct shale_row row;

    (void)state;
    for (int desc = 0; desc < 2; desc++) {
        fixture_init(&f, "a=1@1 b=2@2 | c=3@3 d=4@4 | e=5@5", true);
        it = run_iter(&f, &everything, desc ? ITER_DESC : ITER_ASC);
        assert_int_equal(fake_sst_opened(), 0);
        assert_int_equal(iter_next(it, &row), 0);
        assert_int_equal(fake_sst_opened(), 1);
        assert_int_equal(iter_next(it, &row), 0);
        assert_int_equal(fake_sst_opened(), desc ? 2 : 1);
        iter_close(it);
        fixture_fini(&f);
    }
}

static void visible_ranges_are_honoured(void **state)
{
    struct fixture f;
    char *got;

    (void)state;
    fixture_init(&f, "a=1@1 b=2@2 c=3@3 | c=2@2 d=4@4 e=5@5", true);
    f.run.ssts[0].has_range = true;
    f.run.ssts[0].start.kind = KEY_EXCLUDED;
    assert_int_equal(buf_set(&f.run.ssts[0].start.key, slice_str("a")), 0);
    f.run.ssts[0].end.kind = KEY_UNBOUNDED;
    f.run.ssts[1].has_range = true;
    f.run.ssts[1].end.kind = KEY_EXCLUDED;
    assert_int_equal(buf_set(&f.run.ssts[1].end.key, slice_str("e")), 0);
    got = iter_text(run_iter(&f, &everything, ITER_ASC));
    assert_string_equal(got, "b=2@2 c=3@3 c=2@2 d=4@4");
    mem_free(got);
    got = iter_text(run_iter(&f, &everything, ITER_DESC));
    assert_string_equal(got, "d=4@4 c=3@3 c=2@2 b=2@2");
    mem_free(got);
    fixture_fini(&f);
}

static void a_failing_sst_fails_the_run(void **state)
{
    (void)state;
    for (int desc = 0; desc < 2; desc++) {
        bool reached = true;

        for (size_t k = 1; reached; k++) {
            for (size_t n = 0; n < 2; n++) {
                struct fixture f;
                struct shale_row row;
                struct iter *it;
                int rc = 0;

                fixture_init(&f, "a=1@1 b=9@9 | b=8@8 | b=7@7 c=1@1", true);
                fake_sst_fail(k, n, -EIO);
                it = run_iter(&f, &everything, desc ? ITER_DESC : ITER_ASC);
                while (rc == 0)
                    rc = iter_next(it, &row);
                reached = rc == -EIO;
                assert_true(reached || (rc == SHALE_END && k > 3));
                iter_close(it);
                fixture_fini(&f);
            }
        }
    }
}

static void failed_allocations_leak_nothing(void **state)
{
    (void)state;
    for (int desc = 0; desc < 2; desc++) {
        for (unsigned n = 1;; n++) {
            struct sst_iter_options opt = { .order = desc ? ITER_DESC : ITER_ASC };
            struct key_range range = RANGE(KEY_INCLUDED, "a", KEY_INCLUDED, "y");
            struct fixture f;
            struct shale_row row;
            struct iter *it = NULL;
            int rc;

            fixture_init(&f, "a=1@1 b=9@9 | b=8@8 | b=7@7 c=1@1", true);
            heap_fault_after(n);
            rc = run_iter_new(NULL, &f.run, &range, &opt, &it);
            if (rc == 0)
                rc = iter_seek(it, slice_str("b"));
            while (rc == 0)
                rc = iter_next(it, &row);
            iter_close(it);
            fixture_fini(&f);
            if (!heap_fault_off()) {
                assert_int_equal(rc, SHALE_END);
                break;
            }
            assert_int_equal(rc, -ENOMEM);
        }
    }
}

enum { N_ROWS = 60 };

static struct shale_row rows[N_ROWS];
static char keys[N_ROWS][4];

static size_t random_rows(struct rng *rng)
{
    size_t n = 1 + rng_below(rng, N_ROWS), key = 0;

    for (size_t i = 0; i < n; i++) {
        key += i && rng_below(rng, 3) ? 1 + rng_below(rng, 2) : 0;
        snprintf(keys[i], sizeof(keys[i]), "%03zu", key % 1000);
        rows[i] = (struct shale_row){ .key = slice_str(keys[i]), .seq = 1000 - i };
    }
    return n;
}

static struct key_range random_range(struct rng *rng, char from[4], char to[4])
{
    snprintf(from, 4, "%03u", (unsigned)rng_below(rng, 60));
    snprintf(to, 4, "%03u", (unsigned)rng_below(rng, 80));
    return (struct key_range){ .from_kind = (enum key_bound_kind)rng_below(rng, 3),
                               .to_kind = (enum key_bound_kind)rng_below(rng, 3),
                               .from = slice_str(from),
                               .to = slice_str(to) };
}

/* The rows that are left, in iteration order. */
struct expected {
    const struct shale_row *rows[N_ROWS];
    size_t n, at;
};

static void expect_all(struct expected *e, size_t n, const struct key_range *range, enum iter_order order)
{
    e->n = e->at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = e->n;

        if (!key_in_range(range, rows[i].key))
            continue;
        if (order == ITER_DESC) /* in front of all greater keys, behind the newer versions */
            for (; at > 0 && !slice_eq(e->rows[at - 1]->key, rows[i].key); at--)
                ;
        memmove(e->rows + at + 1, e->rows + at, (e->n - at) * sizeof(e->rows[0]));
        e->rows[at] = &rows[i];
        e->n++;
    }
}

static void random_runs_agree_with_an_array(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (size_t round = 0; round < 3000; round++) {
        size_t n = random_rows(&rng), cuts[N_ROWS], n_cuts = 0;
        enum iter_order order = rng_below(&rng, 2) ? ITER_DESC : ITER_ASC;
        char from[4], to[4], target[4];
        struct key_range range = random_range(&rng, from, to);
        struct fixture f = { 0 };
        struct expected e;
        struct shale_row row;
        struct iter *it;
        int rc;

        fake_sst_reset();
        for (size_t i = 1; i < n; i++)
            if (rng_below(&rng, 3) == 0)
                cuts[n_cuts++] = i;
        fake_run(&f.run, rows, n, cuts, n_cuts, rng_below(&rng, 4));
        expect_all(&e, n, &range, order);
        it = run_iter(&f, &range, order);
        do {
            if (rng_below(&rng, 4) == 0) {
                snprintf(target, sizeof(target), "%03u", (unsigned)rng_below(&rng, 60));
                assert_int_equal(iter_seek(it, slice_str(target)), 0);
                for (; e.at < e.n; e.at++) {
                    int c = slice_cmp(e.rows[e.at]->key, slice_str(target));

                    if (order == ITER_DESC ? c <= 0 : c >= 0)
                        break;
                }
            }
            rc = iter_next(it, &row);
            if (rc == 0) {
                assert_true(e.at < e.n);
                assert_int_equal(row.seq, e.rows[e.at]->seq);
                e.at++;
            }
        } while (rc == 0);
        assert_int_equal(rc, SHALE_END);
        assert_int_equal(e.at, e.n);
        iter_close(it);
        sorted_run_fini(&f.run);
    }
    assert_int_equal(list_iter_open_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ssts_follow_each_other_in_both_orders),
        cmocka_unit_test(an_empty_run_gives_nothing),
        cmocka_unit_test(seeks_pass_over_ssts),
        cmocka_unit_test(an_sst_is_opened_when_the_one_before_has_ended),
        cmocka_unit_test(visible_ranges_are_honoured),
        cmocka_unit_test(a_failing_sst_fails_the_run),
        cmocka_unit_test(failed_allocations_leak_nothing),
        cmocka_unit_test(random_runs_agree_with_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
