/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/hooks.h"
#include "lib/sst_fixture.h"

#include "base/crc32.h"
#include "format/filter.h"

#include <errno.h>

/*
 * SSTs and WAL objects through a block transformer. Names that are those of tests of SlateDB 0.12.1 (sst_builder.rs,
 * wal/wal_sst_builder.rs) check what these check, and more.
 */

static struct shale_row row_of(const char *key, const char *value, int64_t create_ts, uint64_t seq)
{
    return (struct shale_row){ .key = slice_str(key), .value = slice_str(value), .seq = seq, .create_ts = create_ts,
                               .expire_ts = SHALE_NO_TS };
}

static void fixture_with(struct sst_fixture *f, const struct xor_hook *x, enum shale_codec codec)
{
    const struct sst_format format = { .codec = codec, .block_size = 4096, .min_filter_keys = 1,
                                       .filter_bits_per_key = 10, .transformer = x ? &x->hook : NULL };

    fixture_init(f, &format, 0);
}

/* key1 and key2, as SlateDB's tests have them. */
static struct sst_handle *write_two(struct sst_fixture *f)
{
    struct shale_row rows[] = { row_of("key1", "value1", 1, 1), row_of("key2", "value2", 2, 2) };
    struct model m = { .rows = rows, .n = 2 };

    return fixture_write(f, &m, false);
}

/* A reader that has only the object: info, index and filter are what was written. */
static void check_two(struct sst_fixture *f, struct sst_handle *h)
{
    struct table_filter *filter = NULL;
    struct table_index *index = NULL;
    struct sst_handle *own = NULL;
    struct sst_stats stats = { 0 };
    struct sst_source src;

    assert_int_equal(table_open_compacted(&f->ts, h->id, &own), 0);
    src = sst_source_compacted(own);
    assert_true(slice_eq(slice_of_buf(&own->info.first), slice_str("key1")));
    assert_true(slice_eq(slice_of_buf(&own->info.last), slice_str("key2")));
    assert_int_equal(own->info.index_offset, h->info.index_offset);
    assert_int_equal(own->info.stats_len, h->info.stats_len);
    assert_int_equal(table_index_read(&f->ts, &src, &index), 0);
    assert_int_equal(index->x.n, 1);
    assert_int_equal(table_filter_read(&f->ts, &src, &filter), 0);
    assert_true(filter_may_contain(&filter->f, filter_hash(slice_str("key1"))));
    assert_true(filter_may_contain(&filter->f, filter_hash(slice_str("key2"))));
    assert_int_equal(table_stats_read(&f->ts, &src, &stats), 0);
    assert_int_equal(stats.puts, 2);
    assert_int_equal(stats.deletes, 0);
    assert_int_equal(stats.merges, 0);
    assert_int_equal(stats.raw_key_bytes, 8);
    assert_int_equal(stats.raw_value_bytes, 12);
    sst_stats_fini(&stats);
    table_filter_unref(filter);
    table_index_unref(index);
    sst_handle_unref(own);
}

/* Each section is the plain one with every byte changed, under its own checksum; the info is as it was. */
static void test_sstable_with_block_transformer(void **state)
{
    struct shale_buf name = SHALE_BUF_INIT, plain = SHALE_BUF_INIT, changed = SHALE_BUF_INIT;
    struct sst_fixture f, g;
    struct sst_handle *h, *k;
    struct xor_hook x;
    size_t end;

    (void)state;
    xor_hook_init(&x, 0x42, false);
    fixture_with(&f, &x, SHALE_CODEC_NONE);
    fixture_with(&g, NULL, SHALE_CODEC_NONE);
    h = write_two(&f);
    k = write_two(&g);
    assert_int_equal(x.encoded, 4); /* block, filter, index, stats */
    check_two(&f, h);
    assert_int_equal(table_store_sst_name(&f.ts, h->id, &name), 0);
    object_bytes(&f, (char *)name.data, &changed);
    object_bytes(&g, (char *)name.data, &plain);
    assert_int_equal(plain.len, changed.len);
    end = (size_t)h->info.filter_offset;
    for (size_t i = 0; i < end - SECTION_CRC_LEN; i++)
        assert_int_equal(changed.data[i], plain.data[i] ^ 0x42);
    assert_int_equal(get_u32be(changed.data + end - 4), crc32_of(slice_of(changed.data, end - 4)));
    end = (size_t)(h->info.stats_offset + h->info.stats_len);
    assert_memory_equal(changed.data + end, plain.data + end, plain.len - end);
    sst_handle_unref(h);
    sst_handle_unref(k);
    fixture_fini(&f);
    fixture_fini(&g);
    shale_buf_fini(&name);
    shale_buf_fini(&plain);
    shale_buf_fini(&changed);
}

/* With each codec, and with a transformer whose output is longer. */
static void test_block_transformer_with_compression(void **state)
{
    (void)state;
    for (int codec = SHALE_CODEC_NONE; codec <= SHALE_CODEC_ZSTD; codec++) {
        for (int seals = 0; seals < 2; seals++) {
            struct sst_handle *h;
            struct sst_fixture f;
            struct xor_hook x;

            xor_hook_init(&x, 0xab, seals);
            fixture_with(&f, &x, (enum shale_codec)codec);
            h = write_two(&f);
            check_two(&f, h);
            assert_int_equal(x.decoded, 3);
            sst_handle_unref(h);
            fixture_fini(&f);
        }
    }
}

static void test_stats_block_with_block_transformer(void **state)
{
    struct sst_stats stats = { 0 };
    struct sst_handle *h;
    struct sst_source src;
    struct sst_fixture f;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 0x42, false);
    fixture_with(&f, &x, SHALE_CODEC_NONE);
    h = write_two(&f);
    check_two(&f, h);
    f.ts.format.transformer = NULL; /* not configured alike */
    src = sst_source_compacted(h);
    assert_int_equal(table_stats_read(&f.ts, &src, &stats), SHALE_ECORRUPT);
    sst_handle_unref(h);
    fixture_fini(&f);
}

/* ---- WAL objects ---- */

struct wal_object {
    struct shale_buf bytes;
    struct sst_format format;
};

static void wal_encode(struct wal_object *w, const struct xor_hook *x, enum shale_codec codec, uint32_t block_size,
                       const struct shale_row *rows, size_t n)
{
    const struct shale_row *refs[8];

    *w = (struct wal_object){ .format = { .codec = codec, .block_size = block_size, .transformer = &x->hook } };
    for (size_t i = 0; i < n; i++)
        refs[i] = &rows[i];
    assert_int_equal(wal_sst_encode(&w->format, refs, n, &w->bytes), 0);
}

static int count_row(void *arg, const struct shale_row *row)
{
    (void)row;
    ++*(size_t *)arg;
    return 0;
}

static void should_call_encode_for_data_block(void **state)
{
    const struct shale_row row = row_of("key1", "value1", 100, 1);
    struct wal_object w;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 0, false);
    wal_encode(&w, &x, SHALE_CODEC_NONE, 1024, &row, 1);
    assert_int_equal(x.encoded, 2); /* and the index */
    shale_buf_fini(&w.bytes);
}

static void should_call_encode_for_each_data_block(void **state)
{
    const struct shale_row rows[] = { row_of("aaaaaaaa", "11111111", 1, 1), row_of("bbbbbbbb", "22222222", 2, 2),
                                      row_of("cccccccc", "33333333", 3, 3) };
    struct wal_object w;
    struct xor_hook x;
    size_t n = 0;

    (void)state;
    xor_hook_init(&x, 7, true);
    wal_encode(&w, &x, SHALE_CODEC_NONE, 32, rows, 3);
    assert_int_equal(x.encoded, 3 + 1); /* each row fills its block */
    assert_int_equal(sst_scan_object(slice_of_buf(&w.bytes), "w", &x.hook, count_row, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(x.decoded, 3 + 1);
    shale_buf_fini(&w.bytes);
}

static int compare_next(void *arg, const struct shale_row *row)
{
    const struct shale_row **next = arg;

    assert_true(same_row(*next, row));
    ++*next;
    return 0;
}

static void should_preserve_block_data_with_transformer(void **state)
{
    const struct shale_row rows[] = { row_of("key1", "value1", 100, 1), row_of("key2", "value2", 200, 2) };
    const struct shale_row *next = rows;
    struct wal_object w;
    struct xor_hook x;
    size_t n = 0;

    (void)state;
    xor_hook_init(&x, 0x42, true);
    wal_encode(&w, &x, SHALE_CODEC_NONE, 1024, rows, 2);
    assert_int_equal(sst_scan_object(slice_of_buf(&w.bytes), "w", &x.hook, compare_next, &next), 0);
    assert_ptr_equal(next, rows + 2);
    assert_int_equal(sst_scan_object(slice_of_buf(&w.bytes), "w", NULL, count_row, &n), SHALE_ECORRUPT);
    shale_buf_fini(&w.bytes);
}

static void should_call_encode_with_compression(void **state)
{
    const struct shale_row row = row_of("key1", "value1", 100, 1);
    struct wal_object w;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 0, false);
    wal_encode(&w, &x, SHALE_CODEC_LZ4, 1024, &row, 1);
    assert_int_equal(x.encoded, 2);
    shale_buf_fini(&w.bytes);
}

/* A fence has index and stats. */
static void fences_are_transformed(void **state)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct sst_format format = small_blocks;
    struct xor_hook x;
    size_t n = 0;

    (void)state;
    xor_hook_init(&x, 9, true);
    format.transformer = &x.hook;
    assert_int_equal(wal_fence_encode(&format, &out), 0);
    assert_int_equal(x.encoded, 2);
    assert_int_equal(sst_scan_object(slice_of_buf(&out), "w", &x.hook, count_row, &n), 0);
    assert_int_equal(n, 0);
    shale_buf_fini(&out);
}

/* ---- failures ---- */

/* The checksum is of what is stored: damage is found before the application sees the bytes. */
static void damage_does_not_reach_the_transformer(void **state)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
    struct table_index *index = NULL;
    struct sst_handle *h;
    struct sst_source src;
    struct sst_fixture f;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 1, true);
    fixture_with(&f, &x, SHALE_CODEC_NONE);
    h = write_two(&f);
    src = sst_source_compacted(h);
    assert_int_equal(table_store_sst_name(&f.ts, h->id, &name), 0);
    object_bytes(&f, (char *)name.data, &object);
    object.data[h->info.index_offset + 5] ^= 1;
    assert_int_equal(shale_store_put(f.mem, (char *)name.data, slice_of_buf(&object), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(table_index_read(&f.ts, &src, &index), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "checksum"));
    assert_int_equal(x.decoded, 0);
    sst_handle_unref(h);
    fixture_fini(&f);
    shale_buf_fini(&name);
    shale_buf_fini(&object);
}

/* What decode says becomes one code, unless it means the same everywhere; the sentence names object and part. */
static void a_failing_decode_is_told(void **state)
{
    const int codes[][2] = { { -EKEYREJECTED, SHALE_EHOOK }, { SHALE_ECORRUPT, SHALE_EHOOK }, { -ENOENT, SHALE_EHOOK },
                             { SHALE_END, SHALE_EHOOK }, { -ENOMEM, -ENOMEM }, { SHALE_ETRANSIENT, SHALE_ETRANSIENT } };
    struct table_index *index = NULL;
    struct block *block = NULL;
    struct sst_handle *h;
    struct sst_source src;
    struct sst_fixture f;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 1, true);
    fixture_with(&f, &x, SHALE_CODEC_SNAPPY);
    h = write_two(&f);
    src = sst_source_compacted(h);
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        hook_fault_set(&x.decode_fault, 1, 1, codes[i][0]);
        assert_int_equal(table_index_read(&f.ts, &src, &index), codes[i][1]);
        assert_null(index);
        assert_non_null(strstr(shale_errmsg(), ".sst: index at "));
        assert_non_null(strstr(shale_errmsg(), codes[i][0] == -ENOMEM ? "memory" : "transformer"));
    }
    assert_int_equal(table_index_read(&f.ts, &src, &index), 0);
    x.key = 2; /* the wrong one */
    assert_int_equal(table_blocks_read(&f.ts, &src, index, 0, 1, false, &block), SHALE_EHOOK);
    assert_null(block);
    assert_non_null(strstr(shale_errmsg(), ".sst: block 0 at 0: the block transformer cannot decode it"));
    table_index_unref(index);
    sst_handle_unref(h);
    fixture_fini(&f);
}

/* Whichever section it is: no object appears, and nobody is told to go on with the same writer. */
static void a_failing_encode_leaves_no_object(void **state)
{
    const int codes[] = { -EIO, SHALE_ETRANSIENT, SHALE_END, -ENOMEM };
    struct shale_row rows[] = { row_of("key1", "value1", 1, 1), row_of("key2", "value2", 2, 2) };
    struct sst_handle *h = NULL;
    struct sst_fixture f;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 1, true);
    fixture_with(&f, &x, SHALE_CODEC_NONE);
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct sst_writer *w = NULL;

        hook_fault_set(&x.encode_fault, nth, 1, codes[nth - 1]);
        assert_int_equal(sst_writer_new(&f.ts, fixture_id(&f), false, &w), 0);
        assert_int_equal(sst_writer_add(w, &rows[0], NULL), 0);
        assert_int_equal(sst_writer_add(w, &rows[1], NULL), 0);
        assert_int_equal(sst_writer_finish(w, &h), SHALE_EHOOK);
        assert_non_null(strstr(shale_errmsg(), "transformer cannot encode"));
        assert_int_equal(sst_writer_finish(w, &h), SHALE_EHOOK);
        sst_writer_free(w);
    }
    assert_int_equal(store_fault_count(f.store, FAULT_PUT), 0);
    for (unsigned nth = 1; nth <= 2; nth++) {
        const struct shale_row *ref = &rows[0];
        struct shale_buf out = SHALE_BUF_INIT;

        hook_fault_set(&x.encode_fault, nth, 1, -EIO);
        assert_int_equal(wal_sst_encode(&f.ts.format, &ref, 1, &out), SHALE_EHOOK);
        assert_int_equal(out.len, 0);
        shale_buf_fini(&out);
    }
    fixture_fini(&f);
}

static void each_failing_allocation_is_told(void **state)
{
    struct table_index *index = NULL;
    struct sst_handle *h;
    struct sst_source src;
    struct sst_fixture f;
    struct xor_hook x;

    (void)state;
    xor_hook_init(&x, 3, true);
    fixture_with(&f, &x, SHALE_CODEC_LZ4);
    h = write_two(&f);
    src = sst_source_compacted(h);
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = table_index_read(&f.ts, &src, &index);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
    table_index_unref(index);
    sst_handle_unref(h);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sstable_with_block_transformer),
        cmocka_unit_test(test_block_transformer_with_compression),
        cmocka_unit_test(test_stats_block_with_block_transformer),
        cmocka_unit_test(should_call_encode_for_data_block),
        cmocka_unit_test(should_call_encode_for_each_data_block),
        cmocka_unit_test(should_preserve_block_data_with_transformer),
        cmocka_unit_test(should_call_encode_with_compression),
        cmocka_unit_test(fences_are_transformed),
        cmocka_unit_test(damage_does_not_reach_the_transformer),
        cmocka_unit_test(a_failing_decode_is_told),
        cmocka_unit_test(a_failing_encode_leaves_no_object),
        cmocka_unit_test(each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
