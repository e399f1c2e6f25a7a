/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/golden.h"

#include "db/reader.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

/* Databases that the reference implementation wrote, opened for writing, compared with what it read from them. */

static const struct {
    const char *name, *path, *expected;
} cases[] = {
    { "binary-keys", "db", "expected.rows" },      { "blocks-1k", "db", "expected.rows" },
    { "blocks-64k", "db", "expected.rows" },       { "checkpointed", "db", "expected.rows" },
    { "clone", "db", "expected.rows" },            { "clone", "clone", "expected.clone.rows" },
    { "clone", "clone2", "expected.clone2.rows" }, { "codec-lz4", "db", "expected.rows" },
    { "codec-snappy", "db", "expected.rows" },     { "codec-zlib", "db", "expected.rows" },
    { "codec-zstd", "db", "expected.rows" },       { "compacted", "db", "expected.rows" },
    { "compactor-epoch", "db", "expected.rows" },  { "composite-filter", "db", "expected.rows" },
    { "empty", "db", "expected.rows" },            { "empty-run", "db", "expected.rows" },
    { "fenced", "db", "expected.rows" },           { "filter-small", "db", "expected.rows" },
    { "gc", "db", "expected.rows" },               { "large-values", "db", "expected.rows" },
    { "many-blocks", "db", "expected.rows" },      { "merge", "db", "expected.rows" },
    { "merge-sum", "db", "expected.rows" },        { "mixed-codecs", "db", "expected.rows" },
    { "no-filter", "db", "expected.rows" },        { "plain", "db", "expected.rows" },
    { "retention", "db", "expected.rows" },        { "separate-wal-store", "db", "expected.rows" },
    { "seq-tracker", "db", "expected.rows" },      { "tombstones-compacted", "db", "expected.rows" },
    { "ttl", "db", "expected.rows" },              { "unfinished-compaction", "db", "expected.rows" },
    { "v1-blocks", "db", "expected.rows" },        { "v1-lz4", "db", "expected.rows" },
    { "wal-crash", "db", "expected.rows" },        { "wal-disabled", "db", "expected.rows" },
    { "wal-only", "db", "expected.rows" },
};

static uint64_t number_of(struct shale_slice s)
{
    uint64_t v = 0;

    for (size_t i = 0; i < s.len && i < 8; i++)
        v |= (uint64_t)s.data[i] << (8 * i);
    return v;
}

/* The reference program's operator of this name: 64-bit little-endian numbers, wrapping. */
static int sum(void *ctx, struct shale_slice key, const struct shale_slice *existing,
               const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    uint64_t v = existing ? number_of(*existing) : 0;
    uint8_t bytes[8];

    (void)ctx, (void)key;
    for (size_t i = 0; i < n; i++)
        v += number_of(operands[i]);
    put_u64le(bytes, v);
    return shale_buf_append(out, bytes, sizeof(bytes));
}

struct copy {
    struct shale_store *to;
    const char *prefix; /* of the path, left out of the name */
};

static void copy_object(void *ctx, const char *path, struct shale_slice content)
{
    struct copy *c = ctx;

    assert_memory_equal(path, c->prefix, strlen(c->prefix));
    check_ok(shale_store_put(c->to, path + strlen(c->prefix) + 1, content, SHALE_PUT_OVERWRITE));
}

static void copy_store(const char *name, const char *dir, struct shale_store *to)
{
    char prefix[128];
    struct copy c = { .to = to, .prefix = prefix };

    snprintf(prefix, sizeof(prefix), "%s/%s", name, dir);
    (void)golden_each(prefix, "", copy_object, &c);
}

static void put_hex(struct shale_buf *out, const uint8_t *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        const char two[2] = { hex[data[i] >> 4], hex[data[i] & 15] };

        check_ok(shale_buf_append(out, two, 2));
    }
}

/* As the reference program prints one: long ones as length and digest. */
static void put_cell(struct shale_buf *out, struct shale_slice s)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (s.len == 0) {
        check_ok(buf_printf(out, "-"));
    } else if (s.len > 1024) {
        assert_non_null(SHA256(s.data, s.len, digest));
        check_ok(buf_printf(out, "@%zu:", s.len));
        put_hex(out, digest, sizeof(digest));
    } else {
        put_hex(out, s.data, s.len);
    }
}

static void put_time(struct shale_buf *out, int64_t t, char end)
{
    if (t == SHALE_NO_TS)
        check_ok(buf_printf(out, "-%c", end));
    else
        check_ok(buf_printf(out, "%" PRId64 "%c", t, end));
}

static void put_row(struct shale_buf *out, const struct shale_row *r)
{
    put_cell(out, r->key);
    check_ok(buf_printf(out, "\t"));
    put_cell(out, r->value);
    check_ok(buf_printf(out, "\t%" PRIu64 "\t", r->seq));
    put_time(out, r->create_ts, '\t');
    put_time(out, r->expire_ts, '\n');
}

/* The whole database by scan, and each key of it singly. */
static void dump(struct shale_db *db, struct shale_buf *out)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    struct shale_row row, single;
    int rc;

    check_ok(shale_db_scan(db, &(struct shale_key_range){ 0 }, NULL, &it));
    while ((rc = shale_iter_next(it, &row)) == 0) {
        put_row(out, &row);
        check_ok(shale_db_get_row(db, row.key, NULL, &value, &single));
        assert_true(slice_eq(row.value, single.value));
        assert_int_equal(row.seq, single.seq);
    }
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    shale_buf_fini(&value);
}

static void check_dump(struct shale_db *db, struct shale_slice want)
{
    struct shale_buf got = SHALE_BUF_INIT;
    size_t same;

    dump(db, &got);
    same = slice_common(slice_of_buf(&got), want);
    if (same < got.len || same < want.len)
        fail_msg("different at byte %zu: '%.80s'", same, got.len > same ? (const char *)got.data + same : "the end");
    shale_buf_fini(&got);
}

/* A reader sees the same, SSTs of a clone's parents included (H15, H36), and writes nothing. */
static void check_reader(const struct db_fixture *f, const char *path, struct shale_slice want)
{
    struct shale_reader_options o;
    struct shale_reader *r = NULL;

    shale_reader_options_init(&o);
    o.no_checkpoint = true;
    o.wal_store = f->opt.wal_store;
    o.merge_operator = f->opt.merge_operator;
    store_fault_reset_counts(f->store);
    check_ok(shale_reader_open(f->store, path, &o, &r));
    check_dump(r->db, want);
    check_ok(shale_reader_close(r));
    assert_int_equal(store_fault_count(f->store, FAULT_PUT), 0);
}

static void one_case(const char *name, const char *path, const char *expected)
{
    struct shale_merge_operator sum_op = { .name = "sum", .merge = sum };
    struct shale_buf want = SHALE_BUF_INIT;
    struct shale_store *wal = NULL;
    struct db_fixture f;
    char file[128];

    print_message("%s %s\n", name, path);
    fixture_init(&f);
    copy_store(name, "store", f.mem);
    if (strcmp(name, "separate-wal-store") == 0) {
        check_ok(shale_store_memory(&wal));
        copy_store(name, "wal-store", wal);
        f.opt.wal_store = wal;
    }
    if (strcmp(name, "merge-sum") == 0)
        f.opt.merge_operator = &sum_op;
    f.opt.clock = NULL;
    f.opt.seed = 0;
    snprintf(file, sizeof(file), "%s/%s", name, expected);
    golden_read(file, &want);
    check_reader(&f, path, slice_of_buf(&want));
    for (int round = 0; round < 2; round++) {
        check_ok(shale_db_open(f.store, path, &f.opt, false, &f.db));
        check_dump(f.db, slice_of_buf(&want));
        fixture_close(&f);
    }
    check_ok(shale_db_open(f.store, path, &f.opt, false, &f.db));
    check_ok(shale_db_put(f.db, slice_str("\xff\xff\xff one more"), slice_str("v"), true));
    check_ok(shale_db_flush(f.db, SHALE_FLUSH_MEMTABLE));
    check_value(f.db, NULL, "\xff\xff\xff one more", "v");
    fixture_fini(&f);
    shale_store_close(wal);
    shale_buf_fini(&want);
}

static void databases_of_the_reference_read_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        one_case(cases[i].name, cases[i].path, cases[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(databases_of_the_reference_read_the_same) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
