/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/heap_fault.h"

#include "db/db.h"

#include <inttypes.h>
#include <shale/inspect.h>

/* Objects one by one (section 22 of the behaviour of SlateDB 0.12.1), and sequence numbers and times (R34 to R36). */

static struct shale_inspect *inspect(struct db_fixture *f)
{
    struct shale_inspect *in = NULL;

    check_ok(shale_inspect_open(f->store, FIXTURE_ROOT, NULL, &in));
    return in;
}

static int text_of_row(void *arg, const struct shale_row *row)
{
    static const char kinds[] = "=-+";

    return buf_printf(arg, "%.*s%c%.*s@%" PRIu64 " ", (int)row->key.len, (const char *)row->key.data, kinds[row->kind],
                      (int)row->value.len, (const char *)row->value.data, row->seq);
}

static void check_text(struct shale_buf *b, const char *want)
{
    assert_string_equal(b->len ? (const char *)b->data : "", want);
    buf_clear(b);
}

static int note_wal(void *arg, uint64_t id, const struct shale_object_meta *meta)
{
    assert_true(meta->size > 0);
    return buf_printf(arg, "%" PRIu64 " ", id);
}

static int stop_at_three(void *arg, uint64_t id, const struct shale_object_meta *meta)
{
    (void)arg, (void)meta;
    return id == 3 ? 33 : 0;
}

static int stop(void *arg, const struct shale_row *row)
{
    (void)arg, (void)row;
    return 44;
}

/* R308 to R310: objects in order of ids, rows in the order of their writing, fences, and the end of the log. */
static void test_wal(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf text = SHALE_BUF_INIT;
    struct shale_object_meta meta;
    struct shale_inspect *in;

    fixture_open(f); /* object 1 fences */
    check_ok(put_text(f->db, "b", "1", false));
    check_ok(put_text(f->db, "a", "2", true));
    check_ok(delete_text(f->db, "b", false));
    check_ok(merge_text(f->db, "a", "x", true));
    check_ok(put_text(f->db, "c", "3", true));
    in = inspect(f);
    check_ok(shale_inspect_wal_list(in, 0, UINT64_MAX, note_wal, &text));
    check_text(&text, "1 2 3 4 ");
    check_ok(shale_inspect_wal_list(in, 2, 4, note_wal, &text));
    check_text(&text, "2 3 ");
    check_ok(shale_inspect_wal_list(in, 5, UINT64_MAX, note_wal, &text));
    check_text(&text, "");
    check_err(33, shale_inspect_wal_list(in, 0, UINT64_MAX, stop_at_three, NULL));
    check_ok(shale_inspect_wal_rows(in, 1, text_of_row, &text));
    check_text(&text, "");
    check_ok(shale_inspect_wal_rows(in, 2, text_of_row, &text));
    check_text(&text, "b=1@1 a=2@2 ");
    check_ok(shale_inspect_wal_rows(in, 3, text_of_row, &text));
    check_text(&text, "b-@3 a+x@4 ");
    check_err(44, shale_inspect_wal_rows(in, 3, stop, NULL));
    check_ok(shale_inspect_wal_meta(in, 4, &meta));
    assert_true(meta.size > 0 && meta.mtime_ms > 0);
    /* Tailing: what is not there yet is no failure of another kind. */
    check_err(-ENOENT, shale_inspect_wal_meta(in, 5, &meta));
    check_err(-ENOENT, shale_inspect_wal_rows(in, 5, text_of_row, &text));
    check_ok(put_text(f->db, "d", "4", true));
    check_ok(shale_inspect_wal_rows(in, 5, text_of_row, &text));
    check_text(&text, "d=4@6 ");
    check_ok(shale_store_put(f->mem, FIXTURE_ROOT "/wal/00000000000000000006.sst", slice_str(""), SHALE_PUT_IF_ABSENT));
    check_ok(shale_inspect_wal_rows(in, 6, text_of_row, &text)); /* a fence of later versions */
    check_text(&text, "");
    check_ok(shale_store_put(f->mem, FIXTURE_ROOT "/wal/00000000000000000007.sst", slice_str("garbage"),
                             SHALE_PUT_IF_ABSENT));
    check_err(SHALE_ECORRUPT, shale_inspect_wal_rows(in, 7, text_of_row, &text));
    shale_inspect_close(in);
    shale_inspect_close(NULL);
    shale_buf_fini(&text);
}

/* A separate store for WAL objects. */
static void test_wal_store(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf text = SHALE_BUF_INIT;
    struct shale_inspect *in = NULL;
    struct shale_store *wal = NULL;

    check_ok(shale_store_memory(&wal));
    f->opt.wal_store = wal;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_inspect_open(f->store, FIXTURE_ROOT, &(struct shale_inspect_options){ .wal_store = wal }, &in));
    check_ok(shale_inspect_wal_list(in, 0, UINT64_MAX, note_wal, &text));
    check_text(&text, "1 2 ");
    check_ok(shale_inspect_wal_rows(in, 2, text_of_row, &text));
    check_text(&text, "a=1@1 ");
    shale_inspect_close(in);
    fixture_crash(f);
    shale_store_close(wal);
    shale_buf_fini(&text);
}

struct found {
    struct shale_ulid id[4];
    size_t n;
};

static int note_sst(void *arg, struct shale_ulid id, const struct shale_object_meta *meta)
{
    struct found *s = arg;

    assert_true(s->n < ARRAY_SIZE(s->id) && meta->size > 0);
    s->id[s->n++] = id;
    return 0;
}

/* R311: what an SST says of itself. */
static void test_sst(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf text = SHALE_BUF_INIT;
    struct shale_sst_counts counts;
    struct found found = { .n = 0 };
    struct shale_sst_block block;
    struct shale_sst_info info;
    struct shale_inspect *in;
    struct shale_sst *sst = NULL;
    uint64_t end = 0;

    f->opt.min_filter_keys = 1;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(delete_text(f->db, "b", false));
    check_ok(merge_text(f->db, "c", "x", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    in = inspect(f);
    check_ok(shale_inspect_sst_list(in, note_sst, &found));
    assert_int_equal(found.n, 1);
    check_ok(shale_inspect_sst(in, found.id[0], &sst));
    shale_sst_info(sst, &info);
    assert_true(slice_eq(info.first_key, slice_str("a")) && slice_eq(info.last_key, slice_str("c")));
    assert_true(info.codec == SHALE_CODEC_NONE && info.n_blocks == 1 && info.version >= 1);
    assert_true(info.filter_bytes > 0 && info.index_bytes > 0 && info.stats_bytes > 0);
    check_ok(shale_sst_counts(sst, &counts));
    assert_true(counts.puts == 1 && counts.deletes == 1 && counts.merges == 1);
    assert_true(counts.raw_key_bytes == 3 && counts.raw_value_bytes == 2);
    for (size_t i = 0; i < info.n_blocks; i++) {
        check_ok(shale_sst_block(sst, i, &block));
        assert_int_equal(block.offset, end);
        end += block.len;
    }
    assert_int_equal(end, info.data_bytes);
    check_err(-EINVAL, shale_sst_block(sst, info.n_blocks, &block));
    check_ok(shale_sst_rows(sst, text_of_row, &text));
    check_text(&text, "a=1@1 b-@2 c+x@3 ");
    check_err(44, shale_sst_rows(sst, stop, NULL));
    shale_sst_close(sst);
    shale_sst_close(NULL);
    sst = NULL;
    check_err(-ENOENT, shale_inspect_sst(in, (struct shale_ulid){ 1, 2 }, &sst));
    assert_null(sst);
    shale_inspect_close(in);
    shale_buf_fini(&text);
}

/* A WAL object under the name of a compacted SST is refused. */
static void test_wal_as_sst(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf data = SHALE_BUF_INIT;
    struct shale_inspect *in;
    struct shale_sst *sst = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_store_get(f->mem, FIXTURE_ROOT "/wal/00000000000000000002.sst", &data));
    check_ok(shale_store_put(f->mem, FIXTURE_ROOT "/compacted/00000000000000000000000001.sst", slice_of_buf(&data),
                             SHALE_PUT_IF_ABSENT));
    in = inspect(f);
    check_err(SHALE_ECORRUPT, shale_inspect_sst(in, (struct shale_ulid){ 0, 1 }, &sst));
    shale_inspect_close(in);
    shale_buf_fini(&data);
}

/* R35: rounding, exact hits and the ends, of a handle (with what is not flushed) and of the manifest. */
static void test_seq_and_time(void **state)
{
    struct db_fixture *f = *state;
    const int64_t t0 = f->now_ms / 1000;
    struct shale_inspect *in = inspect(f);
    uint64_t seq = 0;
    int64_t t = 0;

    check_err(-ENOENT, shale_inspect_time_of_seq(in, 1, false, &t)); /* no database */
    fixture_open(f);
    check_err(-ERANGE, shale_db_time_of_seq(f->db, 1, true, &t));
    check_ok(put_text(f->db, "a", "1", true)); /* 1 at t0 */
    f->now_ms += 100000;
    check_ok(put_text(f->db, "b", "1", true)); /* 2 at t0 + 100 */
    check_ok(put_text(f->db, "c", "1", true)); /* 3: too close to be noted */
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    f->now_ms += 100000;
    check_ok(put_text(f->db, "d", "1", true)); /* 4 at t0 + 200, in memory */
    check_ok(shale_db_time_of_seq(f->db, 1, false, &t));
    assert_int_equal(t, t0);
    check_ok(shale_db_time_of_seq(f->db, 3, false, &t));
    assert_int_equal(t, t0 + 100);
    check_ok(shale_db_time_of_seq(f->db, 3, true, &t));
    assert_int_equal(t, t0 + 200);
    check_err(-ERANGE, shale_db_time_of_seq(f->db, 5, true, &t));
    check_err(-ERANGE, shale_db_time_of_seq(f->db, 0, false, &t));
    check_ok(shale_db_seq_at_time(f->db, t0 + 150, false, &seq));
    assert_int_equal(seq, 2);
    check_ok(shale_db_seq_at_time(f->db, t0 + 150, true, &seq));
    assert_int_equal(seq, 4);
    check_err(-ERANGE, shale_db_seq_at_time(f->db, t0 - 1, false, &seq));
    check_ok(shale_inspect_time_of_seq(in, 2, true, &t));
    assert_int_equal(t, t0 + 100);
    check_err(-ERANGE, shale_inspect_time_of_seq(in, 4, true, &t)); /* the manifest does not know of it */
    check_ok(shale_inspect_seq_at_time(in, t0 + 1000, false, &seq));
    assert_int_equal(seq, 2);
    check_err(-ERANGE, shale_inspect_seq_at_time(in, t0 + 1000, true, &seq));
    shale_inspect_close(in);
}

static void test_without_memory(void **state)
{
    struct db_fixture *f = *state;
    struct found found = { .n = 0 };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    fixture_close(f);
    for (unsigned n = 1;; n++) {
        struct shale_inspect *in = NULL;
        struct shale_sst *sst = NULL;
        struct shale_sst_counts counts;
        int64_t t;
        int rc;

        found.n = 0;
        heap_fault_after(n);
        rc = shale_inspect_open(f->store, FIXTURE_ROOT, NULL, &in);
        if (rc == 0)
            rc = shale_inspect_sst_list(in, note_sst, &found);
        if (rc == 0)
            rc = shale_inspect_sst(in, found.id[0], &sst);
        if (rc == 0)
            rc = shale_sst_counts(sst, &counts);
        if (rc == 0)
            rc = shale_inspect_time_of_seq(in, 1, true, &t);
        shale_sst_close(sst);
        shale_inspect_close(in);
        if (!heap_fault_off()) {
            check_ok(rc);
            break;
        }
        check_err(-ENOMEM, rc);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = { TEST(test_wal),        TEST(test_wal_store),    TEST(test_sst),
                                        TEST(test_wal_as_sst), TEST(test_seq_and_time), TEST(test_without_memory) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
