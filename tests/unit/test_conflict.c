/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/cases.h"
#include "lib/heap_fault.h"

#include "db/conflict.h"
#include "db/key_set.h"
#include "db/txn.h"

#include <errno.h>
#include <stdio.h>

/* A commit of keys, of which key is one letter each. */
static void commit(struct conflict_log *l, uint64_t seq, const char *keys)
{
    struct shale_row rows[8] = { 0 };
    size_t n = strlen(keys);

    for (size_t i = 0; i < n; i++)
        rows[i].key = slice_of(keys + i, 1);
    assert_int_equal(conflict_log_reserve(l, rows, n), 0);
    for (size_t i = 0; i < n; i++)
        conflict_log_add(l, rows[i].key, seq);
}

static bool any(const struct conflict_log *l, const char *keys, uint64_t started)
{
    for (; *keys; keys++)
        if (conflict_log_has(l, slice_of(keys, 1), started))
            return true;
    return false;
}

/* R289, R291 and the second table of section 20.5: only commits that are strictly later count. */
static const struct conflict_case {
    const char *name;
    struct {
        uint64_t seq;
        const char *keys;
    } commits[2];
    const char *own;
    uint64_t started;
    bool conflict;
} conflict_cases[] = {
    { "no_recent_committed_txns", { { 0, NULL } }, "ab", 100, false },
    { "no_overlapping_keys", { { 80, "ab" } }, "cd", 100, false },
    { "concurrent_write_same_key", { { 150, "a" } }, "a", 100, true },
    { "multiple_committed_mixed_conflict", { { 50, "a" }, { 150, "b" } }, "ab", 100, true },
    { "committed_before_current_started", { { 50, "a" } }, "a", 100, false },
    { "exact_seq_boundary", { { 100, "a" } }, "a", 100, false },
    { "partial_key_overlap_conflict", { { 150, "abc" } }, "cde", 100, true },
    { "max_seq_values", { { UINT64_MAX, "a" } }, "a", UINT64_MAX - 1, true },
};

static void test_conflict_case(void **state)
{
    const struct conflict_case *c = *state;
    struct conflict_log l;

    conflict_log_init(&l);
    for (size_t k = 0; k < 2 && c->commits[k].keys; k++)
        commit(&l, c->commits[k].seq, c->commits[k].keys);
    assert_int_equal(any(&l, c->own, c->started), c->conflict);
    conflict_log_clear(&l);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *from, *to;
        uint64_t started;
        int want;
    } cases[] = {
        { "a", "z", 10, 1 }, { "a", "b", 10, 0 }, { "b", "c", 10, 0 },  { "c", "d", 10, 1 },  { "f", "z", 10, 0 },
        { "e", "z", 29, 1 }, { "a", "z", 30, 0 }, { "a", "d", 20, 0 }, { "z", "a", 10, 0 },
    };
    struct conflict_log l;

    (void)state;
    conflict_log_init(&l);
    commit(&l, 5, "b");
    commit(&l, 20, "c");
    commit(&l, 30, "e");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_range r = { .from_kind = KEY_INCLUDED, .to_kind = KEY_EXCLUDED, .from = slice_str(cases[i].from),
                               .to = slice_str(cases[i].to) };

        assert_int_equal(conflict_log_has_range(&l, &r, cases[i].started), cases[i].want);
    }
    assert_int_equal(conflict_log_has_range(&l, &(struct key_range){ 0 }, 29), 1);
    conflict_log_clear(&l);
}

/* R290: what lies before the oldest transaction goes; with many parts, the rest is found as before. */
static void test_trim(void **state)
{
    struct conflict_log l;
    char key[16];

    (void)state;
    conflict_log_init(&l);
    for (unsigned i = 1; i <= 20000; i++) {
        struct shale_row row = { 0 };

        snprintf(key, sizeof(key), "%05u", i);
        row.key = slice_str(key);
        assert_int_equal(conflict_log_reserve(&l, &row, 1), 0);
        conflict_log_add(&l, row.key, i);
    }
    assert_int_equal(l.n_keys, 20000);
    conflict_log_trim(&l, 10000);
    assert_true(l.n_keys >= 10000 && l.n_keys < 17000);
    for (unsigned i = 10001; i <= 20000; i += 7) {
        snprintf(key, sizeof(key), "%05u", i);
        assert_true(conflict_log_has(&l, slice_str(key), 10000));
        assert_false(conflict_log_has(&l, slice_str(key), i));
        assert_true(conflict_log_has(&l, slice_str(key), i - 1));
    }
    conflict_log_trim(&l, 20000);
    assert_int_equal(l.n_keys, 0);
    assert_true(list_empty(&l.parts));
    conflict_log_clear(&l);
}

/* A commit that failed between reserving and adding leaves nothing that hides older ones. */
static void test_reserved_only(void **state)
{
    struct shale_row row = { .key = slice_str("k") };
    struct conflict_log l;

    (void)state;
    conflict_log_init(&l);
    for (unsigned i = 1; i <= 2000; i++) {
        char key[16];
        struct shale_row r = { 0 };

        snprintf(key, sizeof(key), "%u", i);
        r.key = slice_str(key);
        assert_int_equal(conflict_log_reserve(&l, &r, 1), 0);
        if (i <= 1024)
            conflict_log_add(&l, r.key, i);
    }
    assert_int_equal(conflict_log_reserve(&l, &row, 1), 0);
    assert_true(conflict_log_has(&l, slice_str("1000"), 999));
    assert_int_equal(conflict_log_has_range(&l, &(struct key_range){ 0 }, 1023), 1);
    conflict_log_clear(&l);
}

static void test_log_without_memory(void **state)
{
    struct shale_row row = { .key = slice_str("k") };
    struct conflict_log l;

    (void)state;
    for (unsigned n = 1;; n++) {
        int rc;

        conflict_log_init(&l);
        heap_fault_after(n);
        rc = conflict_log_reserve(&l, &row, 1);
        if (heap_fault_off()) {
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(l.n_keys, 0);
            conflict_log_clear(&l);
            continue;
        }
        heap_fault_after(1);
        conflict_log_add(&l, row.key, 7);
        assert_false(heap_fault_off());
        heap_fault_after(1);
        assert_int_equal(conflict_log_has_range(&l, &(struct key_range){ 0 }, 1), -ENOMEM);
        assert_true(heap_fault_off());
        conflict_log_clear(&l);
        break;
    }
}

static void check_set(struct key_set *s, const char *want)
{
    char got[64] = "";

    assert_int_equal(key_set_settle(s), 0);
    for (size_t i = 0; i < s->n; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ", (int)key_set_at(s, i).len,
                 (const char *)key_set_at(s, i).data);
    assert_string_equal(got, want);
}

static void test_key_set(void **state)
{
    struct key_set s = { 0 };

    (void)state;
    check_set(&s, "");
    assert_int_equal(key_set_add(&s, slice_str("b")), 0);
    assert_int_equal(key_set_add(&s, slice_str("a")), 0);
    assert_int_equal(key_set_add(&s, slice_str("b")), 0);
    check_set(&s, "a b ");
    assert_true(key_set_has(&s, slice_str("a")) && key_set_has(&s, slice_str("b")));
    assert_false(key_set_has(&s, slice_str("")) || key_set_has(&s, slice_str("aa")) || key_set_has(&s, slice_str("c")));
    assert_int_equal(key_set_remove(&s, slice_str("a")), 0);
    assert_int_equal(key_set_remove(&s, slice_str("z")), 0);
    assert_int_equal(key_set_add(&s, slice_str("c")), 0);
    check_set(&s, "b c ");
    assert_int_equal(key_set_remove(&s, slice_str("c")), 0);
    assert_int_equal(key_set_add(&s, slice_str("c")), 0);
    check_set(&s, "b c ");
    assert_int_equal(key_set_remove(&s, slice_str("b")), 0);
    assert_int_equal(key_set_remove(&s, slice_str("c")), 0);
    check_set(&s, "");
    key_set_fini(&s);
}

/* The same keys noted for ever take no more memory than the keys. */
static void test_key_set_is_bounded(void **state)
{
    struct key_set s = { 0 };
    char key[8];

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "%u", i % 50);
        assert_int_equal(key_set_add(&s, slice_str(key)), 0);
        assert_true(s.cap <= 256 && s.bytes.cap <= 4096);
    }
    assert_int_equal(key_set_settle(&s), 0);
    assert_int_equal(s.n, 50);
    key_set_fini(&s);
}

static void test_key_set_without_memory(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        struct key_set s = { 0 };
        int rc;

        heap_fault_after(n);
        rc = key_set_add(&s, slice_str("a"));
        if (rc == 0)
            rc = key_set_settle(&s);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            key_set_fini(&s);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(key_set_add(&s, slice_str("a")), 0);
        check_set(&s, "a ");
        key_set_fini(&s);
    }
}

/* "b c" for [b, c], with ( and ) for bounds that are left out and - for none; all stretches that were read. */
static void check_scan_notes(const struct txn_scan *s, const char *want)
{
    char got[128] = "";

    for (size_t i = 0; i < s->n; i++) {
        const struct key_range *r = &s->stretches[i].range;
        size_t n = strlen(got);

        if (!s->stretches[i].is_read)
            continue;
        snprintf(got + n, sizeof(got) - n, "%s%.*s %.*s%s", r->from_kind == KEY_UNBOUNDED ? "-" : r->from_kind == KEY_INCLUDED ? "[" : "(",
                 (int)r->from.len, (const char *)r->from.data, (int)r->to.len, (const char *)r->to.data,
                 r->to_kind == KEY_UNBOUNDED ? "-" : r->to_kind == KEY_INCLUDED ? "]" : ")");
    }
    assert_string_equal(got, want);
}

static void test_scan_notes(void **state)
{
    const struct key_range r = { .from_kind = KEY_INCLUDED, .to_kind = KEY_EXCLUDED, .from = slice_str("b"),
                                 .to = slice_str("m") };
    struct txn_scan *s;

    (void)state;
    assert_int_equal(txn_scan_new(&r, false, &s), 0);
    check_scan_notes(s, "");
    assert_int_equal(txn_scan_note_row(s, slice_str("d")), 0);
    check_scan_notes(s, "[b d]");
    assert_int_equal(txn_scan_note_row(s, slice_str("e")), 0);
    check_scan_notes(s, "[b e]");
    assert_int_equal(txn_scan_note_seek(s, slice_str("g")), 0);
    check_scan_notes(s, "[b e]");
    assert_int_equal(txn_scan_note_end(s), 0);
    check_scan_notes(s, "[b e][g m)");
    assert_int_equal(txn_scan_note_end(s), 0);
    check_scan_notes(s, "[b e][g m)");
    txn_scan_unref(s);

    assert_int_equal(txn_scan_new(&r, true, &s), 0);
    assert_int_equal(txn_scan_note_row(s, slice_str("k")), 0);
    check_scan_notes(s, "[k m)");
    assert_int_equal(txn_scan_note_seek(s, slice_str("f")), 0);
    assert_int_equal(txn_scan_note_row(s, slice_str("d")), 0);
    check_scan_notes(s, "[k m)[d f]");
    assert_int_equal(txn_scan_note_end(s), 0);
    check_scan_notes(s, "[k m)[b f]");
    txn_scan_unref(s);

    assert_int_equal(txn_scan_new(&(struct key_range){ 0 }, false, &s), 0);
    assert_int_equal(txn_scan_note_end(s), 0);
    check_scan_notes(s, "- -");
    txn_scan_unref(s);
}

static void test_scan_notes_without_memory(void **state)
{
    const struct key_range r = { .from_kind = KEY_INCLUDED, .from = slice_str("b") };

    (void)state;
    for (unsigned n = 1;; n++) {
        struct txn_scan *s = NULL;
        int rc;

        heap_fault_after(n);
        rc = txn_scan_new(&r, false, &s);
        if (rc == 0)
            rc = txn_scan_note_row(s, slice_str("c"));
        if (rc == 0)
            rc = txn_scan_note_seek(s, slice_str("d"));
        if (rc == 0)
            rc = txn_scan_note_end(s);
        txn_scan_unref(s);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_reserved_only),
        cmocka_unit_test(test_log_without_memory),
        cmocka_unit_test(test_key_set),
        cmocka_unit_test(test_key_set_is_bounded),
        cmocka_unit_test(test_key_set_without_memory),
        cmocka_unit_test(test_scan_notes),
        cmocka_unit_test(test_scan_notes_without_memory),
    };
    struct cases c = { 0 };

    CASES_ADD_TABLE(&c, "20.5 check_conflict", conflict_cases, test_conflict_case);
    cases_add_tests(&c, tests, sizeof(tests) / sizeof(tests[0]));
    return cases_run(&c, NULL, NULL);
}
