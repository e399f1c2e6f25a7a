/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/rng.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "mem/memtable.h"

#include <errno.h>
#include <stdio.h>

static const struct key_range everything;

static struct shale_row row_of(const char *key, const char *value, uint64_t seq)
{
    return (struct shale_row){
        .key = slice_str(key),
        .value = slice_str(value),
        .seq = seq,
        .create_ts = SHALE_NO_TS,
        .expire_ts = SHALE_NO_TS,
    };
}

static struct memtable *table_of(const char *text)
{
    struct memtable *m;
    struct row_list l;

    row_list_parse(&l, text);
    assert_int_equal(memtable_new(&m), 0);
    for (size_t i = 0; i < l.n; i++)
        assert_int_equal(memtable_insert(m, &l.rows[i], NULL), 0);
    row_list_fini(&l);
    return m;
}

static struct iter *iter_of(struct memtable *m, const struct key_range *range, enum iter_order order)
{
    struct iter *it;

    assert_int_equal(memtable_iter_new(m, range, order, &it), 0);
    return it;
}

static void expect(struct iter *it, const char *want)
{
    char *got = iter_text(it);

    assert_string_equal(got, want);
    mem_free(got);
}

static void rows_come_in_order_whatever_the_order_of_insertion(void **state)
{
    struct memtable *m = table_of("b=2@2 a=1@1 b=4@4 c=DEL@3 b+3@3:c7:e9");

    (void)state;
    expect(iter_of(m, &everything, ITER_ASC), "a=1@1 b=4@4 b+3@3:c7:e9 b=2@2 c=DEL@3");
    expect(iter_of(m, &everything, ITER_DESC), "c=DEL@3 b=4@4 b+3@3:c7:e9 b=2@2 a=1@1");
    memtable_unref(m);
}

static void a_row_that_is_there_is_refused(void **state)
{
    struct memtable *m = table_of("b=2@2 d=4@4");
    struct shale_row row = row_of("b", "other", 2);
    struct memtable_stats before, after;

    (void)state;
    memtable_stats(m, &before);
    assert_int_equal(memtable_insert(m, &row, NULL), -EEXIST);
    memtable_stats(m, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    /* What was refused must not mislead the place of the next ones. */
    row = row_of("c", "3", 3);
    assert_int_equal(memtable_insert(m, &row, NULL), 0);
    row = row_of("a", "1", 1);
    assert_int_equal(memtable_insert(m, &row, NULL), 0);
    expect(iter_of(m, &everything, ITER_ASC), "a=1@1 b=2@2 c=3@3 d=4@4");
    memtable_unref(m);
}

static void a_row_is_replaced(void **state)
{
    struct memtable *m = table_of("b=2@2 b=1@1 d=4@4");
    struct shale_row row = row_of("b", "a longer value", 2);
    struct memtable_stats before, after;

    (void)state;
    memtable_stats(m, &before);
    assert_int_equal(memtable_replace(m, &row), 0);
    memtable_stats(m, &after);
    assert_int_equal(after.n_rows, 3);
    assert_int_equal(after.row_bytes, before.row_bytes + strlen("a longer value") - 1);
    row = row_of("b", "", 1);
    row.kind = SHALE_TOMBSTONE;
    assert_int_equal(memtable_replace(m, &row), 0);
    row = row_of("b", "3", 3);
    assert_int_equal(memtable_replace(m, &row), -ENOENT);
    row = row_of("x", "3", 3);
    assert_int_equal(memtable_replace(m, &row), -ENOENT);
    row = row_of("c", "3", 3);
    assert_int_equal(memtable_insert(m, &row, NULL), 0);
    expect(iter_of(m, &everything, ITER_ASC), "b=a longer value@2 b=DEL@1 c=3@3 d=4@4");
    heap_fault_after(1);
    row = (struct shale_row){ .key = slice_str("b"), .value = slice_of((const uint8_t[100000]){ 0 }, 100000), .seq = 2 };
    assert_int_equal(memtable_replace(m, &row), -ENOMEM);
    assert_true(heap_fault_off());
    expect(iter_of(m, &everything, ITER_ASC), "b=a longer value@2 b=DEL@1 c=3@3 d=4@4");
    memtable_unref(m);
}

static void find_gives_the_newest_visible_version(void **state)
{
    struct memtable *m = table_of("b=2@2 b=4@4 b=9@9 bb=5@5 a=1@1");
    const struct shale_row *row;

    (void)state;
    row = memtable_find(m, slice_str("b"), UINT64_MAX);
    assert_int_equal(row->seq, 9);
    row = memtable_find(m, slice_str("b"), 8);
    assert_int_equal(row->seq, 4);
    row = memtable_older(row);
    assert_int_equal(row->seq, 2);
    assert_null(memtable_older(row));
    assert_null(memtable_find(m, slice_str("b"), 1));
    assert_null(memtable_find(m, slice_str("ba"), 9));
    assert_null(memtable_find(m, slice_str(""), 9));
    assert_null(memtable_find(m, slice_str("c"), 9));
    memtable_unref(m);
}

/* Keys that are equal in their first eight bytes, or in them but for padding. */
static void long_and_short_keys_are_told_apart(void **state)
{
    static const struct {
        const char *key;
        size_t len;
    } keys[] = { { "\0", 1 }, { "\0\0", 2 }, { "a", 1 }, { "a\0", 2 }, { "a\0\0\0\0\0\0\0", 8 },
                 { "a\0\0\0\0\0\0\0\0", 9 }, { "abcdefgh", 8 }, { "abcdefgh\0", 9 }, { "abcdefghi", 9 },
                 { "abcdefghj", 9 }, { "\xff\xff\xff\xff\xff\xff\xff\xff", 8 },
                 { "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9 } };
    struct memtable *m;
    struct iter *it;
    struct shale_row row;

    (void)state;
    assert_int_equal(memtable_new(&m), 0);
    for (size_t i = ARRAY_SIZE(keys); i-- > 0;) {
        row = row_of("", "v", 1);
        row.key = slice_of(keys[i].key, keys[i].len);
        assert_int_equal(memtable_insert(m, &row, NULL), 0);
    }
    it = iter_of(m, &everything, ITER_ASC);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        assert_int_equal(iter_next(it, &row), 0);
        assert_true(slice_eq(row.key, slice_of(keys[i].key, keys[i].len)));
        assert_non_null(memtable_find(m, row.key, 1));
    }
    assert_int_equal(iter_next(it, &row), SHALE_END);
    assert_int_equal(iter_next(it, &row), SHALE_END);
    iter_close(it);
    memtable_unref(m);
}

static void stored_rows_are_copies_that_stay(void **state)
{
    char key[] = "key", value[] = "value";
    struct shale_row row = row_of(key, value, 1);
    const struct shale_row *stored;
    struct memtable *m;

    (void)state;
    assert_int_equal(memtable_new(&m), 0);
    assert_int_equal(memtable_insert(m, &row, &stored), 0);
    memset(key, 'x', 3);
    memset(value, 'x', 5);
    for (uint64_t i = 0; i < 1000; i++) {
        row = row_of("other", "value", i);
        assert_int_equal(memtable_insert(m, &row, NULL), 0);
    }
    assert_true(slice_eq(stored->key, slice_str("key")));
    assert_true(slice_eq(stored->value, slice_str("value")));
    assert_ptr_equal(memtable_find(m, slice_str("key"), 1), stored);
    memtable_unref(m);
}

static void stats_count_what_was_inserted(void **state)
{
    struct memtable *m;
    struct memtable_stats s;
    struct shale_row row;

    (void)state;
    assert_int_equal(memtable_new(&m), 0);
    memtable_stats(m, &s);
    assert_int_equal(s.n_rows, 0);
    assert_int_equal(s.row_bytes, 0);
    assert_int_equal(s.first_seq, 0);
    assert_int_equal(s.last_seq, 0);
    assert_true(s.max_create_ts == SHALE_NO_TS);
    row = row_of("key", "value", 7);
    assert_int_equal(memtable_insert(m, &row, NULL), 0);
    row.seq = 9;
    row.create_ts = -5;
    assert_int_equal(memtable_insert(m, &row, NULL), 0);
    row.seq = 8;
    row.expire_ts = 1;
    row.create_ts = -6;
    assert_int_equal(memtable_insert(m, &row, NULL), 0);
    memtable_stats(m, &s);
    assert_int_equal(s.n_rows, 3);
    assert_int_equal(s.row_bytes, 16 + 24 + 32);
    assert_int_equal(s.first_seq, 7);
    assert_int_equal(s.last_seq, 9);
    assert_true(s.max_create_ts == -5);
    assert_true(s.alloc_bytes > 4096 && s.alloc_bytes < 8192);
    memtable_unref(m);
}

/* Small rows waste little, and a row as large as many blocks costs its size. */
static void memory_taken_is_near_what_rows_need(void **state)
{
    static char value[3 << 20];
    struct memtable *m;
    struct memtable_stats s;
    uint64_t before;

    (void)state;
    assert_int_equal(memtable_new(&m), 0);
    for (uint64_t i = 0; i < 40000; i++) {
        struct shale_row row = row_of("a key of 16 byte", "", i);

        row.value = slice_of(value, 100);
        assert_int_equal(memtable_insert(m, &row, NULL), 0);
    }
    memtable_stats(m, &s);
    assert_true(s.alloc_bytes < 40000 * 205 + (1 << 20));
    before = s.alloc_bytes;
    for (uint64_t i = 0; i < 10; i++) {
        struct shale_row row = row_of("large", "", i);

        row.value = slice_of(value, sizeof(value));
        assert_int_equal(memtable_insert(m, &row, NULL), 0);
    }
    memtable_stats(m, &s);
    assert_true(s.alloc_bytes - before < 10 * (sizeof(value) + 512));
    memtable_unref(m);
}

struct span {
    const char *name;
    struct key_range range;
    const char *asc, *desc;
};

#define RANGE(fk, f, tk, t) { .from_kind = fk, .to_kind = tk, .from = { (const uint8_t *)(f), sizeof(f) - 1 }, \
                              .to = { (const uint8_t *)(t), sizeof(t) - 1 } }

static void ranges_bound_both_directions(void **state)
{
    static const struct span spans[] = {
        { "[b, d)", RANGE(KEY_INCLUDED, "b", KEY_EXCLUDED, "d"), "b=3@3 b=2@2 c=4@4", "c=4@4 b=3@3 b=2@2" },
        { "(b, d]", RANGE(KEY_EXCLUDED, "b", KEY_INCLUDED, "d"), "c=4@4 d=6@6 d=5@0", "d=6@6 d=5@0 c=4@4" },
        { "(.., b]", RANGE(KEY_UNBOUNDED, "", KEY_INCLUDED, "b"), "a=1@1 b=3@3 b=2@2", "b=3@3 b=2@2 a=1@1" },
        { "(c, ..)", RANGE(KEY_EXCLUDED, "c", KEY_UNBOUNDED, ""), "d=6@6 d=5@0", "d=6@6 d=5@0" },
        { "[b, b]", RANGE(KEY_INCLUDED, "b", KEY_INCLUDED, "b"), "b=3@3 b=2@2", "b=3@3 b=2@2" },
        { "(b, b)", RANGE(KEY_EXCLUDED, "b", KEY_EXCLUDED, "b"), "", "" },
        { "[d, b]", RANGE(KEY_INCLUDED, "d", KEY_INCLUDED, "b"), "", "" },
        { "between keys", RANGE(KEY_INCLUDED, "bb", KEY_INCLUDED, "bz"), "", "" },
        { "behind all", RANGE(KEY_INCLUDED, "x", KEY_UNBOUNDED, ""), "", "" },
        { "before all", RANGE(KEY_UNBOUNDED, "", KEY_EXCLUDED, "a"), "", "" },
    };
    struct memtable *m = table_of("a=1@1 b=2@2 b=3@3 c=4@4 d=5@0 d=6@6");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
        print_message("%s\n", spans[i].name);
        expect(iter_of(m, &spans[i].range, ITER_ASC), spans[i].asc);
        expect(iter_of(m, &spans[i].range, ITER_DESC), spans[i].desc);
    }
    memtable_unref(m);
}

static void seeks_go_forward_only(void **state)
{
    static const struct {
        const char *name;
        enum iter_order order;
        size_t read; /* rows before the seek */
        const char *key, *rest;
    } cases[] = {
        { "asc, at once", ITER_ASC, 0, "b", "b=3@3 b=2@2 d=4@4" },
        { "asc, between", ITER_ASC, 0, "c", "d=4@4" },
        { "asc, inside the versions", ITER_ASC, 2, "b", "b=2@2 d=4@4" },
        { "asc, back", ITER_ASC, 3, "a", "d=4@4" },
        { "asc, behind the end", ITER_ASC, 1, "z", "" },
        { "asc, after the end", ITER_ASC, 9, "a", "" },
        { "desc, at once", ITER_DESC, 0, "b", "b=3@3 b=2@2 a=1@1" },
        { "desc, between", ITER_DESC, 0, "c", "b=3@3 b=2@2 a=1@1" },
        { "desc, inside the versions", ITER_DESC, 2, "b", "b=2@2 a=1@1" },
        { "desc, past the versions", ITER_DESC, 2, "aa", "a=1@1" },
        { "desc, back", ITER_DESC, 3, "d", "a=1@1" },
        { "desc, before the first", ITER_DESC, 1, "A", "" },
        { "desc, after the end", ITER_DESC, 9, "a", "" },
    };
    struct memtable *m = table_of("a=1@1 b=2@2 b=3@3 d=4@4");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct iter *it = iter_of(m, &everything, cases[i].order);

        print_message("%s\n", cases[i].name);
        mem_free(iter_text_n(it, cases[i].read));
        assert_int_equal(iter_seek(it, slice_str(cases[i].key)), 0);
        expect(it, cases[i].rest);
    }
    memtable_unref(m);
}

static void an_iterator_keeps_the_table(void **state)
{
    struct memtable *m = table_of("a=1@1");
    struct iter *it = iter_of(m, &everything, ITER_ASC);

    (void)state;
    memtable_unref(m);
    expect(it, "a=1@1");
    memtable_unref(NULL);
}

static int by_order(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

/* Whole and partial iteration against a sorted array. */
static void random_rows_agree_with_a_sorted_array(void **state)
{
    enum { N = 3000 };
    static char keys[N][12];
    static struct shale_row rows[N];
    uint64_t seed = random_env(1).first;
    struct memtable *m;
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    assert_int_equal(memtable_new(&m), 0);
    for (size_t i = 0; i < N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%08llu", (unsigned long long)rng_below(&rng, N / 3));
        rows[i] = row_of(keys[i], "v", i);
        /* Rows in runs, as batches bring them. */
        if (i % 7 && rng_below(&rng, 2))
            snprintf(keys[i], sizeof(keys[i]), "%.9sx", keys[i - 1]);
        rows[i].key = slice_str(keys[i]);
        assert_int_equal(memtable_insert(m, &rows[i], NULL), 0);
    }
    qsort(rows, N, sizeof(rows[0]), by_order);
    for (size_t round = 0; round < 200; round++) {
        enum iter_order order = rng_below(&rng, 2) ? ITER_DESC : ITER_ASC;
        struct shale_slice at = rows[rng_below(&rng, N)].key;
        struct iter *it = iter_of(m, &everything, order);
        struct shale_row row;
        size_t i = 0, n_left = 50;

        assert_int_equal(iter_seek(it, at), 0);
        if (order == ITER_ASC) {
            while (slice_cmp(rows[i].key, at) < 0)
                i++;
            for (; i < N && n_left--; i++) {
                assert_int_equal(iter_next(it, &row), 0);
                assert_int_equal(by_order(&row, &rows[i]), 0);
            }
        } else {
            size_t end = N;

            while (end > 0 && slice_cmp(rows[end - 1].key, at) > 0)
                end--;
            for (; end > 0 && n_left; end = i) {
                for (i = end - 1; i > 0 && slice_eq(rows[i - 1].key, rows[end - 1].key); i--)
                    ;
                for (size_t j = i; j < end && n_left; j++, n_left--) {
                    assert_int_equal(iter_next(it, &row), 0);
                    assert_int_equal(by_order(&row, &rows[j]), 0);
                }
            }
        }
        iter_close(it);
    }
    memtable_unref(m);
}

/* Keys that need a tree of several levels, in orders that fill its nodes differently. */
enum key_order { IN_ORDER, REVERSED, SCATTERED, TWO_RUNS, N_KEY_ORDERS };

/* The i-th key of n that comes; with a prefix longer than what nodes keep of a key, and one key another's prefix. */
static void ordered_key(enum key_order order, size_t i, size_t n, char out[40])
{
    size_t k = i;

    if (order == REVERSED)
        k = n - 1 - i;
    else if (order == SCATTERED)
        k = i * 7919 % n; /* n is no multiple of that prime */
    else if (order == TWO_RUNS)
        k = i % 2 ? n / 2 + i / 2 : i / 2;
    snprintf(out, 40, k % 3 ? "a long shared prefix/%06zu" : "a long shared prefix/%06zu/a", k / 3 * 3 + (k % 3 ? k % 3 : 1));
}

static void check_whole(struct memtable *m, size_t n)
{
    for (int order = 0; order < 2; order++) {
        struct iter *it = iter_of(m, &everything, order ? ITER_DESC : ITER_ASC);
        char last[40] = "";
        struct shale_row row;
        size_t seen = 0;

        for (; iter_next(it, &row) == 0; seen++) {
            int c = slice_cmp(row.key, slice_str(last));

            assert_true(seen == 0 || (order ? c < 0 : c > 0));
            memcpy(last, row.key.data, row.key.len);
            last[row.key.len] = 0;
        }
        assert_int_equal(seen, n);
        iter_close(it);
    }
}

static void many_keys_are_found_whatever_their_order(void **state)
{
    enum { N = 20000 };
    char key[40];

    (void)state;
    for (enum key_order order = 0; order < N_KEY_ORDERS; order++) {
        struct memtable *m;

        print_message("order %d\n", (int)order);
        assert_int_equal(memtable_new(&m), 0);
        for (size_t i = 0; i < N; i++) {
            struct shale_row row;

            ordered_key(order, i, N, key);
            row = row_of(key, key, i);
            assert_int_equal(memtable_insert(m, &row, NULL), 0);
        }
        for (size_t i = 0; i < N; i++) {
            const struct shale_row *row;

            ordered_key(order, i, N, key);
            row = memtable_find(m, slice_str(key), UINT64_MAX);
            assert_true(row && row->seq == i && slice_eq(row->value, slice_str(key)));
            strcat(key, "!");
            assert_null(memtable_find(m, slice_str(key), UINT64_MAX));
        }
        check_whole(m, N);
        memtable_unref(m);
    }
}

/* Whole batches, so large that they need new levels, into tables of many sizes. */
static void room_for_many_keys_can_be_reserved(void **state)
{
    enum { N = 6000 };
    static struct shale_row rows[N];
    static char keys[N][40];

    (void)state;
    for (enum key_order order = 0; order < N_KEY_ORDERS; order++) {
        struct memtable *m;

        assert_int_equal(memtable_new(&m), 0);
        for (size_t i = 0; i < N; i++) {
            ordered_key(order, i, N, keys[i]);
            rows[i] = row_of(keys[i], "", i);
        }
        for (size_t at = 0, n = 1; at < N; at += n, n = n * 3 / 2 + 1) {
            if (n > N - at)
                n = N - at;
            assert_int_equal(memtable_reserve(m, rows + at, n), 0);
            heap_fault_after(1);
            for (size_t i = at; i < at + n; i++)
                assert_int_equal(memtable_insert(m, &rows[i], NULL), 0);
            assert_false(heap_fault_off());
        }
        check_whole(m, N);
        memtable_unref(m);
    }
}

/* Versions of one key, also such as come late, are found by their sequence number. */
static void any_of_many_versions_is_found(void **state)
{
    enum { N = 3000 };
    struct memtable *m = table_of("a=1@1 c=1@1");
    const struct shale_row *row;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        struct shale_row r = row_of("b", "", i % 10 == 9 ? i - 5 : i % 10 == 4 ? i + 5 : i);

        assert_int_equal(memtable_insert(m, &r, NULL), 0);
        assert_int_equal(memtable_insert(m, &r, NULL), -EEXIST);
    }
    for (uint64_t i = 0; i < N; i++) {
        row = memtable_find(m, slice_str("b"), i);
        assert_int_equal(row->seq, i);
    }
    row = memtable_find(m, slice_str("b"), UINT64_MAX);
    for (uint64_t i = N; i-- > 0; row = memtable_older(row))
        assert_true(row && row->seq == i);
    assert_null(row);
    memtable_unref(m);
}

static void a_failed_allocation_leaves_the_table_unchanged(void **state)
{
    static char value[600 << 10];
    struct memtable *m = NULL;
    struct shale_row row = row_of("key", "", 0);
    struct iter *it;
    struct memtable_stats s;
    uint64_t seq = 0;
    int rc;

    (void)state;
    for (unsigned n = 1;; n++) {
        heap_fault_after(n);
        rc = memtable_new(&m);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, 0);
    for (size_t i = 0; i < 100; i++) {
        row.seq = seq + 1;
        row.value = slice_of(value, i % 9 == 8 ? sizeof(value) : i * 100);
        heap_fault_after(1);
        rc = memtable_insert(m, &row, NULL);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            seq++;
            continue;
        }
        assert_int_equal(rc, -ENOMEM);
        memtable_stats(m, &s);
        assert_int_equal(s.n_rows, seq);
        assert_null(memtable_find(m, slice_str("zzz"), UINT64_MAX));
        assert_int_equal(memtable_insert(m, &row, NULL), 0);
        seq++;
    }
    for (unsigned n = 1;; n++) {
        struct key_range point = key_range_point(slice_str("key"));

        heap_fault_after(n);
        rc = memtable_iter_new(m, &point, ITER_ASC, &it);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    iter_close(it);
    memtable_unref(m);
}

/* After a reservation no insert allocates. */
static void reserved_rows_cannot_fail(void **state)
{
    enum { N = 300 };
    static char value[700 << 10];
    static struct shale_row rows[N];
    static char keys[N][24];
    uint64_t seed = random_env(1).first;
    struct memtable *m;
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    assert_int_equal(memtable_new(&m), 0);
    for (unsigned round = 0; round < 20; round++) {
        size_t n = 1 + rng_below(&rng, N);
        unsigned faults = 0;
        int rc;

        for (size_t i = 0; i < n; i++) {
            snprintf(keys[i], sizeof(keys[i]), "%zu", i);
            rows[i] = row_of(keys[i], "", round);
            rows[i].value = slice_of(value, rng_below(&rng, 500));
            if (rng_below(&rng, 60) == 0) /* around the size from which a row has a block of its own */
                rows[i].value.len = (256 << 10) - 200 + rng_below(&rng, 200);
            else if (rng_below(&rng, 100) == 0)
                rows[i].value.len = rng_below(&rng, sizeof(value));
        }
        do {
            heap_fault_after(++faults);
            rc = memtable_reserve(m, rows, n);
            assert_int_equal(rc, heap_fault_off() ? -ENOMEM : 0);
        } while (rc < 0);
        heap_fault_after(1);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(memtable_insert(m, &rows[i], NULL), 0);
        assert_false(heap_fault_off());
    }
    memtable_unref(m);
}

/* Readers that run while rows come in: they see what was there before they began, in order. */
enum { SHARED_ROWS = 20000 };
static struct memtable *shared;
static _Atomic uint64_t inserted; /* release by the inserter, acquire by readers */
static _Atomic int failures;

static void shared_key(uint64_t i, char key[20])
{
    snprintf(key, 20, "key%08llx", (unsigned long long)((i / 2 * 2654435761u) & 0xffffffff));
}

/* cmocka's assertions are for its own thread. */
static void check_at(bool ok, int line)
{
    if (ok)
        return;
    fprintf(stderr, "line %d: failed\n", line);
    atomic_fetch_add(&failures, 1);
}

#define check(ok) check_at(ok, __LINE__)

static void scan_all(enum iter_order order)
{
    uint64_t seen = 0, before = atomic_load_explicit(&inserted, memory_order_acquire);
    uint8_t last[20] = { 0 };
    struct shale_slice last_key = { last, 0 };
    uint64_t last_seq = 0;
    struct shale_row row;
    struct iter *it;

    if (memtable_iter_new(shared, &everything, order, &it) < 0) {
        check(false);
        return;
    }
    while (iter_next(it, &row) == 0) {
        int c = last_key.len ? slice_cmp(row.key, last_key) : 1;

        if (last_key.len && order == ITER_DESC)
            c = -c;
        check(c > 0 || (c == 0 && row.seq < last_seq));
        memcpy(last, row.key.data, row.key.len);
        last_key.len = row.key.len;
        last_seq = row.seq;
        if (row.seq < before)
            seen++;
    }
    iter_close(it);
    check(seen == before);
}

/* The versions of one key, whose neighbours come and go in front of it. */
static void scan_key(struct shale_slice key, uint64_t newest, enum iter_order order)
{
    struct key_range point = key_range_point(key);
    struct shale_row row;
    struct iter *it;

    if (memtable_iter_new(shared, &point, order, &it) < 0) {
        check(false);
        return;
    }
    check(iter_next(it, &row) == 0 && slice_eq(row.key, key) && row.seq >= newest);
    iter_close(it);
}

static void read_along(void *arg)
{
    struct rng rng;

    rng_seed(&rng, (uintptr_t)arg);
    for (;;) {
        uint64_t before = atomic_load_explicit(&inserted, memory_order_acquire);

        for (size_t n = 0; n < 1000 && before > 0; n++) {
            uint64_t now = atomic_load_explicit(&inserted, memory_order_acquire);
            uint64_t i = now - 1 - rng_below(&rng, n % 2 && now > 30 ? 30 : now); /* old ones and the newest */
            const struct shale_row *row;
            char key[20];

            shared_key(i, key);
            row = memtable_find(shared, slice_str(key), i);
            check(row && row->seq == i && row->value.len == 8 && memcmp(row->value.data, &i, 8) == 0);
            if (row && i % 2)
                check((row = memtable_older(row)) && row->seq == i - 1);
            scan_key(slice_str(key), i, i % 3 ? ITER_ASC : ITER_DESC);
        }
        scan_all(rng_below(&rng, 2) ? ITER_DESC : ITER_ASC);
        if (before == SHARED_ROWS)
            return;
    }
}

static void readers_run_beside_the_inserter(void **state)
{
    struct worker readers[2];
    struct memtable_stats s;

    (void)state;
    assert_int_equal(memtable_new(&shared), 0);
    for (uintptr_t i = 0; i < ARRAY_SIZE(readers); i++)
        assert_int_equal(worker_start(&readers[i], "reader", read_along, (void *)(i + 1)), 0);
    for (uint64_t i = 0; i < SHARED_ROWS; i++) {
        char key[20];
        struct shale_row row;

        shared_key(i, key);
        row = row_of(key, "", i);
        row.value = slice_of(&i, 8);
        assert_int_equal(memtable_insert(shared, &row, NULL), 0);
        atomic_store_explicit(&inserted, i + 1, memory_order_release);
    }
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
        worker_join(&readers[i]);
    assert_int_equal(failures, 0);
    memtable_stats(shared, &s);
    assert_int_equal(s.n_rows, SHARED_ROWS);
    memtable_unref(shared);
}

/* R27, worked out by hand. */
static void an_sst_is_estimated(void **state)
{
    (void)state;
    assert_int_equal(sst_size_estimate(0, 0, 4096, 12, 1000, 10), 0);
    /* 10 rows of 100: 1090 encoded, 1 block; 1114 + 18 + 46 + 10 + 44 */
    assert_int_equal(sst_size_estimate(10, 1000, 4096, 12, 1000, 10), 1232);
    /* with a filter of 13 + 6 */
    assert_int_equal(sst_size_estimate(10, 1000, 4096, 12, 10, 10), 1251);
    /* WAL: 1114 + 14 + 42 + 10 */
    assert_int_equal(sst_size_estimate(10, 1000, 4096, 8, 10, 10), 1180);
    /* 2 blocks: 1090 + 20 + 8 + 30 + 46 + 10 + 44 */
    assert_int_equal(sst_size_estimate(10, 1000, 1024, 12, 1000, 10), 1248);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_in_order_whatever_the_order_of_insertion),
        cmocka_unit_test(a_row_that_is_there_is_refused),
        cmocka_unit_test(a_row_is_replaced),
        cmocka_unit_test(find_gives_the_newest_visible_version),
        cmocka_unit_test(long_and_short_keys_are_told_apart),
        cmocka_unit_test(stored_rows_are_copies_that_stay),
        cmocka_unit_test(stats_count_what_was_inserted),
        cmocka_unit_test(memory_taken_is_near_what_rows_need),
        cmocka_unit_test(ranges_bound_both_directions),
        cmocka_unit_test(seeks_go_forward_only),
        cmocka_unit_test(an_iterator_keeps_the_table),
        cmocka_unit_test(random_rows_agree_with_a_sorted_array),
        cmocka_unit_test(many_keys_are_found_whatever_their_order),
        cmocka_unit_test(room_for_many_keys_can_be_reserved),
        cmocka_unit_test(any_of_many_versions_is_found),
        cmocka_unit_test(a_failed_allocation_leaves_the_table_unchanged),
        cmocka_unit_test(reserved_rows_cannot_fail),
        cmocka_unit_test(readers_run_beside_the_inserter),
        cmocka_unit_test(an_sst_is_estimated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
