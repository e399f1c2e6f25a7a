/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "base/ulid.h"

#include <stdio.h>
#include <stdlib.h>

/* What a single handle promises: reads, batches, scans, options, ids of a new database. */

/* 28.1, open ids; test_db_open_should_write_empty_wal. */
static void a_new_database_has_the_ids_of_the_reference(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db_status s;

    fixture_open(f);
    s = db_status(f->db);
    assert_int_equal(s.next_wal_id, 2);
    assert_int_equal(s.manifest_id, 2);
    assert_int_equal(s.writer_epoch, 1);
    assert_int_equal(s.committed_seq, 0);
    assert_int_equal(count_objects(f->mem, "manifest"), 2);
    assert_int_equal(count_objects(f->mem, "wal"), 1);
}

static void a_missing_database_is_not_made_unasked(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;

    check_err(-ENOENT, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db));
    assert_null(db);
    assert_non_null(strstr(shale_errmsg(), FIXTURE_ROOT));
    assert_int_equal(count_objects(f->mem, "manifest"), 0);
}

static void an_empty_path_is_the_top_of_the_store(void **state)
{
    struct db_fixture *f = *state;
    struct shale_object_meta meta;

    check_ok(shale_db_open(f->store, "", &f->opt, true, &f->db));
    check_ok(put_text(f->db, "k", "v", true));
    fixture_close(f);
    check_ok(shale_store_head(f->mem, "wal/00000000000000000002.sst", &meta));
    check_ok(shale_db_open(f->store, "", &f->opt, false, &f->db));
    check_value(f->db, NULL, "k", "v");
}

/* 28.1, empty value; test_put_get_delete, test_put_empty_value. */
static void put_get_delete(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    check_value(f->db, NULL, "k", NULL);
    check_ok(put_text(f->db, "k", "one", false));
    check_value(f->db, NULL, "k", "one");
    check_ok(put_text(f->db, "k", "two", false));
    check_value(f->db, NULL, "k", "two");
    check_ok(delete_text(f->db, "k", false));
    check_value(f->db, NULL, "k", NULL);
    check_ok(put_text(f->db, "empty", "", false));
    check_value(f->db, NULL, "empty", "");
    check_scan(f->db, NULL, "empty=");
}

/*
 * 28.1, empty key, empty batch; test_write_batch_with_empty_key,
 * test_write_with_options_empty_batch_returns_empty_batch_error.
 */
static void bad_keys_and_batches_are_refused(void **state)
{
    struct db_fixture *f = *state;
    struct shale_slice none = { 0 }, big;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_batch *b = NULL;
    uint8_t *bytes = calloc(1, SHALE_KEY_MAX + 1);

    assert_non_null(bytes);
    big = slice_of(bytes, SHALE_KEY_MAX + 1);
    fixture_open(f);
    check_err(-EINVAL, shale_db_put(f->db, none, slice_str("v"), false));
    check_err(-EINVAL, shale_db_delete(f->db, none, false));
    check_err(-EINVAL, shale_db_get(f->db, none, NULL, &value));
    check_err(-EINVAL, shale_db_put(f->db, big, slice_str("v"), false));
    check_err(-EINVAL, shale_db_get(f->db, big, NULL, &value));
    check_ok(shale_batch_new(&b));
    check_err(-EINVAL, shale_db_write(f->db, b, false, NULL));
    shale_batch_free(b);
    assert_int_equal(db_status(f->db).committed_seq, 0);
    big.len = SHALE_KEY_MAX;
    check_ok(shale_db_put(f->db, big, slice_str("v"), true));
    check_ok(shale_db_get(f->db, big, NULL, &value));
    shale_buf_fini(&value);
    free(bytes);
}

static void a_batch_takes_one_sequence_number(void **state)
{
    struct db_fixture *f = *state;
    struct shale_write_result w = { 0 };
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_batch *b = NULL;
    struct shale_row row;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "old", false));
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_put(b, slice_str("a"), slice_str("1"), SHALE_TTL_INIT));
    check_ok(shale_batch_merge(b, slice_str("a"), slice_str("2"), SHALE_TTL_INIT));
    check_ok(shale_batch_put(b, slice_str("b"), slice_str("x"), SHALE_TTL_INIT));
    check_ok(shale_batch_delete(b, slice_str("c")));
    f->now_ms += 5;
    check_ok(shale_db_write(f->db, b, false, &w));
    assert_int_equal(w.seq, 2);
    assert_int_equal(w.create_ts, f->now_ms);
    check_scan(f->db, NULL, "a=12 b=x");
    check_ok(shale_db_get_row(f->db, slice_str("b"), NULL, &value, &row));
    assert_int_equal(row.seq, 2);
    assert_int_equal(row.create_ts, w.create_ts);
    assert_int_equal(row.expire_ts, SHALE_NO_TS);
    check_ok(shale_db_write(f->db, b, false, &w)); /* it may be used again */
    assert_int_equal(w.seq, 3);
    shale_batch_free(b);
    shale_buf_fini(&value);
}

/* R258, H23; should_error_when_merging_without_merge_operator. */
static void a_merge_needs_an_operator(void **state)
{
    struct db_fixture *f = *state;

    f->opt.merge_operator = NULL;
    fixture_open(f);
    check_err(SHALE_EMERGE, merge_text(f->db, "k", "x", false));
    assert_int_equal(db_status(f->db).committed_seq, 0); /* and leaves no gap (H3) */
    check_ok(put_text(f->db, "k", "v", true));
    assert_int_equal(db_status(f->db).error, 0);
}

/* 28.1, metadata; should_get_key_value_with_expire_at. */
static void times_of_rows_are_kept(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_ttl at = { SHALE_TTL_AT, 500 }, after = { SHALE_TTL_AFTER, 7 };
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_batch *b = NULL;
    struct shale_row row;

    f->now_ms = 100;
    f->opt.read_expired = false;
    fixture_open(f);
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_put(b, slice_str("a"), slice_str("v"), at));
    check_ok(shale_batch_put(b, slice_str("b"), slice_str("v"), after));
    check_ok(shale_db_write(f->db, b, false, NULL));
    check_ok(shale_db_get_row(f->db, slice_str("a"), NULL, &value, &row));
    assert_int_equal(row.create_ts, 100);
    assert_int_equal(row.expire_ts, 500);
    check_ok(shale_db_get_row(f->db, slice_str("b"), NULL, &value, &row));
    assert_int_equal(row.expire_ts, 107);
    f->now_ms = 200;
    check_value(f->db, NULL, "b", NULL); /* expired, as this handle was told to look at it */
    check_scan(f->db, NULL, "a=v");
    check_ok(shale_db_write(f->db, b, false, NULL));
    check_ok(shale_db_get_row(f->db, slice_str("a"), NULL, &value, &row));
    assert_int_equal(row.create_ts, 200);
    assert_int_equal(row.expire_ts, 500);
    shale_batch_free(b);
    shale_buf_fini(&value);
}

static void expired_rows_are_read_by_default(void **state)
{
    struct db_fixture *f = *state;

    f->opt.default_ttl_ms = 10;
    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", false));
    f->now_ms += 1000;
    check_value(f->db, NULL, "k", "v");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_value(f->db, NULL, "k", "v"); /* the flush looks at the time of the newest row (R72) */
}

/* The keys of a range, "" for an open end given as NULL. */
static void check_range(struct db_fixture *f, const char *from, const char *to, bool descending, const char *keys)
{
    struct shale_key_range r = { 0 };
    struct shale_read_options o = { .descending = descending };
    struct shale_iter *it = NULL;
    struct shale_row row;
    char got[64] = "";
    int rc;

    if (from)
        r.from = slice_str(from);
    if (to)
        r.to = slice_str(to);
    check_ok(shale_db_scan(f->db, &r, &o, &it));
    while ((rc = shale_iter_next(it, &row)) == 0)
        strncat(got, (const char *)row.key.data, row.key.len);
    check_err(SHALE_END, rc);
    check_err(SHALE_END, shale_iter_next(it, &row));
    shale_iter_close(it);
    assert_string_equal(got, keys);
}

static void fill_abc(struct db_fixture *f)
{
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(put_text(f->db, "c", "3", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", false));
}

/* 28.1, scan bounds; test_scan_returns_records_in_range, test_scan_descending_*. */
static void scans_keep_to_their_range(void **state)
{
    struct db_fixture *f = *state;
    static const struct {
        const char *from, *to, *ascending, *descending;
    } cases[] = {
        { NULL, NULL, "abc", "cba" }, { "b", NULL, "bc", "cb" }, { NULL, "b", "a", "a" }, { "b", "c", "b", "b" },
        { "b", "b", "", "" },         { "c", "a", "", "" },      { "d", NULL, "", "" },   { "", NULL, "abc", "cba" },
        { NULL, "", "", "" },         { "", "", "", "" },        { "a", "", "", "" },     { "aa", "bb", "b", "b" },
    };

    fill_abc(f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_range(f, cases[i].from, cases[i].to, false, cases[i].ascending);
        check_range(f, cases[i].from, cases[i].to, true, cases[i].descending);
    }
}

/* R151; test_scan_prefix_*. */
static void prefix_scans(void **state)
{
    struct db_fixture *f = *state;
    static const struct {
        const char *prefix;
        const char *keys;
    } cases[] = { { "a", "aab" }, { "b", "b" }, { "", "aabb\xff\xff\xff" }, { "\xff", "\xff\xff\xff" }, { "c", "" } };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "", false));
    check_ok(put_text(f->db, "ab", "", false));
    check_ok(put_text(f->db, "b", "", false));
    check_ok(put_text(f->db, "\xff", "", false));
    check_ok(put_text(f->db, "\xff\xff", "", false));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_iter *it = NULL;
        struct shale_row row;
        char got[64] = "";

        check_ok(shale_db_scan_prefix(f->db, slice_str(cases[i].prefix), NULL, &it));
        while (shale_iter_next(it, &row) == 0)
            strncat(got, (const char *)row.key.data, row.key.len);
        shale_iter_close(it);
        assert_string_equal(got, cases[i].keys);
    }
}

/* 28.1, seek; test_seek_outside_of_range_returns_invalid_argument, test_seek_fast_forwards_iterator. */
static void seek_goes_forward_within_the_range(void **state)
{
    struct db_fixture *f = *state;
    struct shale_key_range r = { .from = slice_str("a"), .to = slice_str("c") };
    struct shale_read_options down = { .descending = true };
    struct shale_iter *it = NULL;
    struct shale_row row;

    fill_abc(f);
    check_ok(shale_db_scan(f->db, &r, NULL, &it));
    check_err(-EINVAL, shale_iter_seek(it, slice_str("c")));
    check_ok(shale_iter_next(it, &row));
    check_err(-EINVAL, shale_iter_seek(it, slice_str("a"))); /* not beyond the last one */
    check_ok(shale_iter_seek(it, slice_str("aa")));
    check_ok(shale_iter_next(it, &row));
    assert_memory_equal(row.key.data, "b", 1);
    check_err(SHALE_END, shale_iter_next(it, &row));
    shale_iter_close(it);

    check_ok(shale_db_scan(f->db, &(struct shale_key_range){ 0 }, &down, &it));
    check_ok(shale_iter_next(it, &row));
    assert_memory_equal(row.key.data, "c", 1);
    check_err(-EINVAL, shale_iter_seek(it, slice_str("d")));
    check_ok(shale_iter_seek(it, slice_str("ab"))); /* SlateDB refuses every seek of a descending scan (R138) */
    check_ok(shale_iter_next(it, &row));
    assert_memory_equal(row.key.data, "a", 1);
    shale_iter_close(it);
}

static void an_error_of_an_iterator_repeats(void **state)
{
    struct db_fixture *f = *state;
    struct fault_rule broken = { .cls = FAULT_RANGE, .match = "compacted/", .times = 1, .rc = -EACCES };
    struct shale_iter *it = NULL;
    struct shale_row row;

    f->opt.block_cache_bytes = 0;
    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_db_scan(f->db, &(struct shale_key_range){ 0 }, NULL, &it));
    store_fault_add(f->store, &broken);
    check_err(-EACCES, shale_iter_next(it, &row));
    check_err(-EACCES, shale_iter_next(it, &row));
    check_err(-EACCES, shale_iter_seek(it, slice_str("k")));
    shale_iter_close(it);
    check_value(f->db, NULL, "k", "v"); /* a failed read does not kill the handle */
    check_ok(put_text(f->db, "k", "w", true));
}

/* test_flush_while_iterating. */
static void an_iterator_shows_one_moment(void **state)
{
    struct db_fixture *f = *state;
    struct shale_iter *it = NULL;
    struct shale_row row;

    fill_abc(f);
    check_ok(shale_db_scan(f->db, &(struct shale_key_range){ 0 }, NULL, &it));
    check_ok(shale_iter_next(it, &row));
    check_ok(put_text(f->db, "bb", "new", false));
    check_ok(put_text(f->db, "b", "new", false));
    check_ok(delete_text(f->db, "c", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_iter_next(it, &row));
    assert_memory_equal(row.value.data, "2", 1);
    check_ok(shale_iter_next(it, &row));
    assert_memory_equal(row.key.data, "c", 1);
    check_err(SHALE_END, shale_iter_next(it, &row));
    shale_iter_close(it);
}

/* Section 19.1; test_snapshot_basic_functionality, test_multiple_snapshots. */
static void snapshots_pin_what_was_committed(void **state)
{
    struct db_fixture *f = *state;
    struct shale_snapshot *s = NULL;
    struct shale_read_options o = { 0 };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(merge_text(f->db, "m", "x", false));
    check_ok(shale_db_snapshot(f->db, &s));
    assert_int_equal(shale_snapshot_seq(s), 2);
    o.snapshot = s;
    check_ok(put_text(f->db, "a", "2", false));
    check_ok(merge_text(f->db, "m", "y", false));
    check_ok(put_text(f->db, "b", "3", false));
    check_scan(f->db, &o, "a=1 m=x");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_scan(f->db, &o, "a=1 m=x");
    o.descending = true;
    check_scan(f->db, &o, "m=x a=1");
    check_value(f->db, &o, "b", NULL);
    check_scan(f->db, NULL, "a=2 b=3 m=xy");
    shale_snapshot_release(f->db, s);
    shale_snapshot_release(f->db, NULL);
}

/* 28.1, status watch, as far as it can be asked; should_notify_seq_watcher_on_wal_flush. */
static void status_tells_the_state(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db_status s;

    fixture_open(f);
    check_ok(put_text(f->db, "k", "v", false));
    s = db_status(f->db);
    assert_int_equal(s.committed_seq, 1);
    assert_int_equal(s.durable_seq, 0);
    assert_int_equal(s.unflushed_bytes, 2 + 8 + 8);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_value(f->db, NULL, "k", "v");
    s = db_status(f->db);
    assert_int_equal(s.error, 0);
    assert_int_equal(s.durable_seq, 1);
    assert_int_equal(s.unflushed_bytes, 0);
    assert_int_equal(s.n_l0, 1);
    assert_int_equal(s.n_memtables, 0);
    assert_int_equal(s.wal_objects, 1);
    assert_int_equal(s.l0_flushes, 1);
    assert_true(s.l0_bytes > 0);
    assert_true(s.cache_bytes > 0);
}

static void closing_keeps_the_sentence_of_what_failed_before(void **state)
{
    struct db_fixture *f = *state;
    char sentence[1024];

    fixture_open(f);
    check_err(-EINVAL, put_text(f->db, "", "v", false));
    snprintf(sentence, sizeof(sentence), "%s", shale_errmsg());
    assert_true(sentence[0]);
    fixture_crash(f);
    assert_string_equal(shale_errmsg(), sentence);
    fixture_open(f); /* which may have left a sentence of its own */
    check_err(-EINVAL, put_text(f->db, "", "v", false));
    fixture_close(f);
    assert_string_equal(shale_errmsg(), sentence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(a_new_database_has_the_ids_of_the_reference),
        T(a_missing_database_is_not_made_unasked),
        T(an_empty_path_is_the_top_of_the_store),
        T(put_get_delete),
        T(bad_keys_and_batches_are_refused),
        T(a_batch_takes_one_sequence_number),
        T(a_merge_needs_an_operator),
        T(times_of_rows_are_kept),
        T(expired_rows_are_read_by_default),
        T(scans_keep_to_their_range),
        T(prefix_scans),
        T(seek_goes_forward_within_the_range),
        T(an_error_of_an_iterator_repeats),
        T(an_iterator_shows_one_moment),
        T(snapshots_pin_what_was_committed),
        T(status_tells_the_state),
        T(closing_keeps_the_sentence_of_what_failed_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
