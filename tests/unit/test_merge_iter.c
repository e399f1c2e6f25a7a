/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "lib/heap_fault.h"
#include "lib/list_iter.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "read/merge_iter.h"
#include "read/visible_iter.h"

#include <errno.h>
#include <stdio.h>

enum { MAX_CHILDREN = 8 };

/* Children written one behind the other, separated by " | ". */
struct input {
    struct row_list lists[MAX_CHILDREN];
    struct iter *children[MAX_CHILDREN];
    size_t n;
};

static void input_init(struct input *in, const char *text, enum iter_order order)
{
    char *copy = mem_strdup(text), *rest = copy, *one;

    in->n = 0;
    while ((one = strsep(&rest, "|"))) {
        row_list_parse(&in->lists[in->n], one);
        in->children[in->n] = list_iter_new(in->lists[in->n].rows, in->lists[in->n].n, order);
        assert_non_null(in->children[in->n]);
        in->n++;
    }
    mem_free(copy);
}

static void input_fini(struct input *in)
{
    for (size_t i = 0; i < in->n; i++)
        row_list_fini(&in->lists[i]);
    assert_int_equal(list_iter_open_count(), 0);
}

static struct iter *merge(struct input *in, enum iter_order order, bool dedup)
{
    struct iter *it;

    assert_int_equal(merge_iter_new(in->children, in->n, order, dedup, &it), 0);
    return it;
}

static void expect_merge(const char *text, enum iter_order order, bool dedup, const char *want)
{
    struct input in;
    char *got;

    input_init(&in, text, order);
    got = iter_text(merge(&in, order, dedup));
    assert_string_equal(got, want);
    mem_free(got);
    input_fini(&in);
}

static void children_are_merged(void **state)
{
    static const struct {
        const char *name, *in, *all, *dedup, *desc, *desc_dedup;
    } cases[] = {
        { "one child", "a=1@1 b=2@2", "a=1@1 b=2@2", "a=1@1 b=2@2", "b=2@2 a=1@1", "b=2@2 a=1@1" },
        { "empty children", " | | ", "", "", "", "" },
        { "distinct keys", "a=1@1 d=4@4 | b=2@2 | c=3@3", "a=1@1 b=2@2 c=3@3 d=4@4", "a=1@1 b=2@2 c=3@3 d=4@4",
          "d=4@4 c=3@3 b=2@2 a=1@1", "d=4@4 c=3@3 b=2@2 a=1@1" },
        { "versions", "a=1@1 b=9@9 | b=8@8 a=2@2 | a=3@3", "a=3@3 a=2@2 a=1@1 b=9@9 b=8@8", "a=3@3 b=9@9",
          "b=9@9 b=8@8 a=3@3 a=2@2 a=1@1", "b=9@9 a=3@3" },
        { "versions of one child", "a=1@1 a=2@2 b=1@1", "a=2@2 a=1@1 b=1@1", "a=2@2 b=1@1", "b=1@1 a=2@2 a=1@1",
          "b=1@1 a=2@2" },
        { "tombstones", "a=DEL@5 | a=1@1 | a+2@7", "a+2@7 a=DEL@5 a=1@1", "a+2@7 a=DEL@5", "a+2@7 a=DEL@5 a=1@1",
          "a+2@7 a=DEL@5" },
        { "operands", "a+5@5 a=1@1 | a+4@4 a=0@0 | b+1@1", "a+5@5 a+4@4 a=1@1 a=0@0 b+1@1", "a+5@5 a+4@4 a=1@1 b+1@1",
          "b+1@1 a+5@5 a+4@4 a=1@1 a=0@0", "b+1@1 a+5@5 a+4@4 a=1@1" },
        { "the same row twice", "a=x@1 b+x@2 | a=y@1 b+y@2 b+z@1 | b+w@1", "a=x@1 b+x@2 b+z@1", "a=x@1 b+x@2 b+z@1",
          "b+x@2 b+z@1 a=x@1", "b+x@2 b+z@1 a=x@1" },
        { "prefixes of keys", "abcdefgh=1@1 abcdefghi=2@2 ab=3@3 | abcdefgh=0@0 abc=4@4",
          "ab=3@3 abc=4@4 abcdefgh=1@1 abcdefgh=0@0 abcdefghi=2@2", "ab=3@3 abc=4@4 abcdefgh=1@1 abcdefghi=2@2",
          "abcdefghi=2@2 abcdefgh=1@1 abcdefgh=0@0 abc=4@4 ab=3@3", "abcdefghi=2@2 abcdefgh=1@1 abc=4@4 ab=3@3" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].name);
        expect_merge(cases[i].in, ITER_ASC, false, cases[i].all);
        expect_merge(cases[i].in, ITER_ASC, true, cases[i].dedup);
        expect_merge(cases[i].in, ITER_DESC, false, cases[i].desc);
        expect_merge(cases[i].in, ITER_DESC, true, cases[i].desc_dedup);
    }
}

static void no_children_give_nothing(void **state)
{
    struct iter *it;
    struct shale_row row;

    (void)state;
    assert_int_equal(merge_iter_new(NULL, 0, ITER_ASC, true, &it), 0);
    assert_int_equal(iter_seek(it, slice_str("a")), 0);
    assert_int_equal(iter_next(it, &row), SHALE_END);
    assert_int_equal(iter_next(it, &row), SHALE_END);
    iter_close(it);
}

static void seeks_move_children_that_lie_before(void **state)
{
    static const struct {
        const char *name;
        enum iter_order order;
        size_t read;
        const char *key, *rest;
    } cases[] = {
        { "at once", ITER_ASC, 0, "c", "c=3@3 d=4@4 e=5@5" },
        { "after one", ITER_ASC, 1, "c", "c=3@3 d=4@4 e=5@5" },
        { "older versions stay hidden", ITER_ASC, 1, "a", "b=2@2 c=3@3 d=4@4 e=5@5" },
        { "back", ITER_ASC, 3, "a", "d=4@4 e=5@5" },
        { "behind the end", ITER_ASC, 1, "x", "" },
        { "between", ITER_ASC, 2, "cc", "d=4@4 e=5@5" },
        { "descending", ITER_DESC, 1, "c", "c=3@3 b=2@2 a=1@9" },
        { "descending, between", ITER_DESC, 0, "cc", "c=3@3 b=2@2 a=1@9" },
        { "descending, back", ITER_DESC, 3, "e", "b=2@2 a=1@9" },
        { "descending, behind the end", ITER_DESC, 3, "A", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct input in;
        struct iter *it;
        char *got;

        print_message("%s\n", cases[i].name);
        input_init(&in, "a=1@9 d=4@4 | a=0@8 b=2@2 c=3@3 | a=00@7 e=5@5", cases[i].order);
        it = merge(&in, cases[i].order, true);
        mem_free(iter_text_n(it, cases[i].read));
        assert_int_equal(iter_seek(it, slice_str(cases[i].key)), 0);
        got = iter_text(it);
        assert_string_equal(got, cases[i].rest);
        mem_free(got);
        input_fini(&in);
    }
}

static void bytes_count_rows_taken_and_passed_over(void **state)
{
    struct input in;
    struct iter *it;
    struct shale_row row;

    (void)state;
    input_init(&in, "a=111@3 c=1@1 | a=22@2", ITER_ASC);
    it = merge(&in, ITER_ASC, true);
    assert_int_equal(merge_iter_bytes(it), 0);
    assert_int_equal(iter_next(it, &row), 0);
    assert_int_equal(merge_iter_bytes(it), 4);
    assert_int_equal(iter_next(it, &row), 0);
    assert_int_equal(merge_iter_bytes(it), 4 + 3 + 2);
    iter_close(it);
    input_fini(&in);
}

/* A child may give its row's bytes back as soon as it is asked for the next. */
static void a_child_is_not_moved_before_its_row_is_done_with(void **state)
{
    struct input in;
    struct iter *it;
    struct shale_row row;

    (void)state;
    input_init(&in, "a=1@1 b=2@2 | c=3@3", ITER_ASC);
    it = merge(&in, ITER_ASC, true);
    assert_int_equal(iter_next(it, &row), 0);
    assert_int_equal(list_iter_calls(in.children[0]), 1);
    assert_int_equal(iter_next(it, &row), 0);
    assert_int_equal(list_iter_calls(in.children[0]), 2);
    assert_int_equal(list_iter_calls(in.children[1]), 1);
    iter_close(it);
    input_fini(&in);
}

static void a_child_that_fails_fails_the_merge(void **state)
{
    (void)state;
    for (size_t child = 0; child < 3; child++) {
        bool reached = true;

        for (size_t n = 1; reached; n++) {
            struct input in;
            struct shale_row row;
            struct iter *it;
            int rc;

            input_init(&in, "a=1@1 b=2@2 c=3@3 | b=1@1 | a=0@0 d=5@5", ITER_ASC);
            list_iter_fail(in.children[child], n, -EIO);
            it = merge(&in, ITER_ASC, true);
            rc = iter_next(it, &row);
            if (rc == 0)
                rc = iter_seek(it, slice_str("b"));
            while (rc == 0)
                rc = iter_next(it, &row);
            reached = rc == -EIO;
            assert_true(reached || rc == SHALE_END);
            assert_true(n > 1 || reached);
            iter_close(it);
            input_fini(&in);
        }
    }
}

struct model {
    struct shale_row rows[300];
    char keys[300][20];
    size_t n;
};

static int in_order(const struct shale_row *a, const struct shale_row *b, enum iter_order order)
{
    int c = slice_cmp(a->key, b->key);

    if (order == ITER_DESC)
        c = -c;
    return c ? c : (a->seq < b->seq) - (a->seq > b->seq);
}

static void model_sort(struct model *m, enum iter_order order)
{
    for (size_t i = 1; i < m->n; i++) {
        struct shale_row row = m->rows[i];
        size_t j = i;

        for (; j > 0 && in_order(&row, &m->rows[j - 1], order) < 0; j--)
            m->rows[j] = m->rows[j - 1];
        m->rows[j] = row;
    }
}

static void model_dedup(struct model *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++) {
        const struct shale_row *last = n ? &m->rows[n - 1] : NULL;

        if (!last || !slice_eq(last->key, m->rows[i].key) || last->kind == SHALE_MERGE)
            m->rows[n++] = m->rows[i];
    }
    m->n = n;
}

static void random_merges_agree_with_sorting(void **state)
{
    uint64_t seed = random_env(1).first;
    static struct model all;
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (size_t round = 0; round < 500; round++) {
        enum iter_order order = rng_below(&rng, 2) ? ITER_DESC : ITER_ASC;
        bool dedup = rng_below(&rng, 2);
        struct shale_row parts[MAX_CHILDREN][300];
        size_t n_part[MAX_CHILDREN] = { 0 }, n_children = 1 + rng_below(&rng, MAX_CHILDREN), at = 0;
        size_t n_rows = rng_below(&rng, 300);
        uint64_t max_seq = rng_below(&rng, 2) ? UINT64_MAX : 150;
        const char *begin = rng_below(&rng, 2) ? "same-" : ""; /* of all keys */
        struct iter *children[MAX_CHILDREN], *it;
        struct shale_row row;
        int rc;

        all.n = 0;
        for (size_t i = 0; i < n_rows; i++) {
            size_t copies = rng_below(&rng, 10) ? 1 : 2, first = rng_below(&rng, n_children);

            snprintf(all.keys[i], sizeof(all.keys[i]), "%s%0*llu", begin, (int)(1 + rng_below(&rng, 10)),
                     (unsigned long long)rng_below(&rng, 30));
            row = (struct shale_row){ .key = slice_str(all.keys[i]), .seq = i, .kind = (enum shale_kind)rng_below(&rng, 3) };
            for (size_t c = first; c < n_children && c < first + copies; c++)
                parts[c][n_part[c]++] = row;
            if (row.seq <= max_seq)
                all.rows[all.n++] = row;
        }
        model_sort(&all, order);
        if (dedup)
            model_dedup(&all);
        for (size_t c = 0; c < n_children; c++)
            assert_int_equal(visible_iter_new(list_iter_new(parts[c], n_part[c], order), max_seq, &children[c]), 0);
        assert_int_equal(merge_iter_new(children, n_children, order, dedup, &it), 0);
        merge_iter_share(it, rng_below(&rng, strlen(begin) + 1));
        while ((rc = iter_next(it, &row)) == 0) {
            assert_true(at < all.n && in_order(&row, &all.rows[at], order) == 0);
            assert_int_equal(row.kind, all.rows[at].kind);
            at++;
            if (rng_below(&rng, 10) == 0) {
                size_t to = at + rng_below(&rng, all.n - at + 1);

                if (to == all.n)
                    continue;
                while (to > at && slice_eq(all.rows[to - 1].key, all.rows[to].key))
                    to--;
                assert_int_equal(iter_seek(it, all.rows[to].key), 0);
                at = to;
            }
        }
        assert_int_equal(rc, SHALE_END);
        assert_int_equal(at, all.n);
        iter_close(it);
    }
    assert_int_equal(list_iter_open_count(), 0);
}

static void rows_above_the_limit_are_invisible(void **state)
{
    struct row_list l;
    struct iter *it;
    char *got;

    (void)state;
    row_list_parse(&l, "a=3@3 a=1@1 b=DEL@4 b=2@2 c=5@5");
    assert_int_equal(visible_iter_new(list_iter_new(l.rows, l.n, ITER_ASC), 3, &it), 0);
    assert_int_equal(iter_seek(it, slice_str("a")), 0);
    got = iter_text(it);
    assert_string_equal(got, "a=3@3 a=1@1 b=2@2");
    mem_free(got);
    row_list_fini(&l);
    assert_int_equal(list_iter_open_count(), 0);
}

/* Children are closed whatever happens. */
static void failed_allocations_leak_nothing(void **state)
{
    int rc;

    (void)state;
    for (unsigned n = 1;; n++) {
        struct input in;
        struct iter *it = NULL;
        struct shale_row row;

        input_init(&in, "a=1@1 c=3@3 | b=2@2", ITER_ASC);
        heap_fault_after(n);
        rc = visible_iter_new(in.children[1], 5, &in.children[1]);
        if (rc < 0)
            iter_close(in.children[0]);
        else
            rc = merge_iter_new(in.children, in.n, ITER_ASC, true, &it);
        while (rc == 0)
            rc = iter_next(it, &row);
        iter_close(it);
        input_fini(&in);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, SHALE_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_are_merged),
        cmocka_unit_test(no_children_give_nothing),
        cmocka_unit_test(seeks_move_children_that_lie_before),
        cmocka_unit_test(bytes_count_rows_taken_and_passed_over),
        cmocka_unit_test(a_child_is_not_moved_before_its_row_is_done_with),
        cmocka_unit_test(a_child_that_fails_fails_the_merge),
        cmocka_unit_test(random_merges_agree_with_sorting),
        cmocka_unit_test(rows_above_the_limit_are_invisible),
        cmocka_unit_test(failed_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
