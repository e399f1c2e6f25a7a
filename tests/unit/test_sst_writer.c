/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/sst_fixture.h"

#include <errno.h>
#include <malloc.h>

static const enum shale_codec codecs[] = { SHALE_CODEC_NONE, SHALE_CODEC_SNAPPY, SHALE_CODEC_ZLIB, SHALE_CODEC_LZ4,
                                           SHALE_CODEC_ZSTD };

struct compare {
    const struct model *m;
    size_t n;
};

static int compare_row(void *arg, const struct shale_row *row)
{
    struct compare *c = arg;

    assert_true(c->n < c->m->n);
    assert_true(same_row(row, &c->m->rows[c->n]));
    c->n++;
    return 0;
}

/* What the manifest will know is what the object itself says. */
static void assert_same_info(const struct sst_info *a, const struct sst_info *b)
{
    assert_int_equal(a->has_first, b->has_first);
    assert_int_equal(a->has_last, b->has_last);
    assert_true(slice_eq(slice_of_buf(&a->first), slice_of_buf(&b->first)));
    assert_true(slice_eq(slice_of_buf(&a->last), slice_of_buf(&b->last)));
    assert_int_equal(a->index_offset, b->index_offset);
    assert_int_equal(a->index_len, b->index_len);
    assert_int_equal(a->filter_offset, b->filter_offset);
    assert_int_equal(a->filter_len, b->filter_len);
    assert_int_equal(a->stats_offset, b->stats_offset);
    assert_int_equal(a->stats_len, b->stats_len);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->filter_format, b->filter_format);
}

static void check_index(struct sst_fixture *f, const struct sst_source *src, const struct model *m)
{
    struct table_index *x = NULL;
    struct table_filter *filter = NULL;
    struct sst_stats stats = { 0 };
    uint64_t rows = 0;

    assert_int_equal(table_index_read(&f->ts, src, &x), 0);
    assert_int_equal(x->x.first_keys[0].len, 0);
    assert_int_equal(table_stats_read(&f->ts, src, &stats), 0);
    assert_int_equal(stats.n_blocks, x->x.n);
    for (size_t i = 0; i < stats.n_blocks; i++)
        rows += stats.blocks[i].puts + stats.blocks[i].deletes + stats.blocks[i].merges;
    assert_int_equal(rows, m->n);
    assert_int_equal(stats.puts + stats.deletes + stats.merges, m->n);
    assert_int_equal(table_filter_read(&f->ts, src, &filter), 0);
    assert_int_equal(filter != NULL, m->n >= f->ts.format.min_filter_keys);
    for (size_t i = 0; filter && i < m->n; i++)
        assert_true(filter_may_contain(&filter->f, filter_hash(m->rows[i].key)));
    table_filter_unref(filter);
    table_index_unref(x);
    sst_stats_fini(&stats);
}

static void check_object(struct sst_fixture *f, struct sst_handle *h, const struct model *m)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
    struct sst_source src = sst_source_compacted(h);
    struct compare c = { .m = m };
    struct sst_handle *again = NULL;

    assert_int_equal(table_store_sst_name(&f->ts, h->id, &name), 0);
    object_bytes(f, (char *)name.data, &object);
    assert_int_equal(sst_scan_object(slice_of_buf(&object), "x", NULL, compare_row, &c), 0);
    assert_int_equal(c.n, m->n);
    assert_int_equal(table_open_compacted(&f->ts, h->id, &again), 0);
    assert_int_equal(again->version, 2);
    assert_same_info(&again->info, &h->info);
    assert_true(slice_eq(slice_of_buf(&h->info.first), m->rows[0].key));
    assert_true(slice_eq(slice_of_buf(&h->info.last), m->rows[m->n - 1].key));
    check_index(f, &src, m);
    sst_handle_unref(again);
    shale_buf_fini(&name);
    shale_buf_fini(&object);
}

static void rows_come_back_whatever_codec_and_block_size(void **state)
{
    static const uint32_t sizes[] = { 64, 1024, 4096, 65536 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    for (size_t i = 0; i < ARRAY_SIZE(codecs) * ARRAY_SIZE(sizes); i++) {
        struct sst_format format = { .codec = codecs[i % 5], .block_size = sizes[i / 5], .min_filter_keys = 100,
                                     .filter_bits_per_key = 10 };
        struct sst_fixture f;
        struct model m = { 0 };
        struct sst_handle *h;

        fixture_init(&f, &format, i % 2 ? 1 << 20 : 0);
        model_random(&m, &rng, 1 + rng_below(&rng, 300), 30, 300);
        h = fixture_write(&f, &m, true);
        check_object(&f, h, &m);
        sst_handle_unref(h);
        model_fini(&m);
        fixture_fini(&f);
    }
}

static struct shale_row row_of(const char *key, uint64_t seq)
{
    return (struct shale_row){ .key = slice_str(key), .seq = seq, .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
}

static void a_row_out_of_order_or_out_of_bounds_is_refused(void **state)
{
    struct shale_row first = row_of("m", 5), bad[6], good = row_of("m", 4);
    static uint8_t long_key[SHALE_KEY_MAX + 1];
    struct sst_handle *h = NULL;
    struct sst_writer *w = NULL;
    struct sst_fixture f;
    struct model m = { 0 };

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    assert_int_equal(sst_writer_new(&f.ts, fixture_id(&f), false, &w), 0);
    assert_true(sst_writer_is_empty(w));
    assert_int_equal(sst_writer_finish(w, &h), -EINVAL);
    assert_int_equal(sst_writer_add(w, &first, NULL), 0);
    bad[0] = row_of("l", 9);
    bad[1] = row_of("m", 5);
    bad[2] = row_of("m", 6);
    bad[3] = row_of("", 1);
    bad[4] = row_of("n", 1);
    bad[4].key = slice_of(memset(long_key, 'n', sizeof(long_key)), sizeof(long_key));
    bad[5] = row_of("n", 1);
    bad[5].kind = SHALE_TOMBSTONE;
    bad[5].value = slice_str("x");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(sst_writer_add(w, &bad[i], NULL), -EINVAL);
    assert_int_equal(sst_writer_add(w, &good, NULL), 0); /* it was not harmed */
    assert_false(sst_writer_is_empty(w));
    assert_int_equal(sst_writer_finish(w, &h), 0);
    model_add(&m, first);
    model_add(&m, good);
    check_object(&f, h, &m);
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

static void rows_of_any_size_fit(void **state)
{
    const size_t lens[] = { 0, 1, 127, 128, 65535, 65536, 200000, 6 << 20 };
    uint8_t *value = mem_zalloc(6 << 20), *key = mem_alloc(SHALE_KEY_MAX);

    (void)state;
    memset(key, 'k', SHALE_KEY_MAX);
    for (size_t k = 0; k < ARRAY_SIZE(codecs); k++) {
        struct sst_format format = { .codec = codecs[k], .block_size = 65536, .min_filter_keys = 1,
                                     .filter_bits_per_key = 10 };
        struct model m = { 0 };
        struct sst_fixture f;
        struct sst_handle *h;

        fixture_init(&f, &format, 1 << 20);
        for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
            struct shale_row row = row_of("", i + 1);

            row.key = slice_of(key, i < 4 ? i + 1 : SHALE_KEY_MAX - 10 + i);
            row.value = slice_of(value, lens[i]);
            model_add(&m, row);
        }
        h = fixture_write(&f, &m, true);
        check_object(&f, h, &m);
        sst_handle_unref(h);
        model_fini(&m);
        fixture_fini(&f);
    }
    free(value);
    free(key);
}

/* R194: the row that completes a block belongs to the next. */
static void it_tells_the_size_of_each_completed_block(void **state)
{
    struct sst_writer *w = NULL;
    struct sst_handle *h = NULL;
    struct table_index *x = NULL;
    struct sst_source src;
    struct sst_fixture f;
    uint64_t sum = 0, len;
    size_t n_blocks = 0;
    char key[16];

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    assert_int_equal(sst_writer_new(&f.ts, fixture_id(&f), false, &w), 0);
    for (unsigned i = 0; i < 100; i++) {
        struct shale_row row;

        snprintf(key, sizeof(key), "%04u", i);
        row = row_of(key, 1);
        assert_int_equal(sst_writer_add(w, &row, &len), 0);
        sum += len;
        n_blocks += len > 0;
    }
    assert_int_equal(sst_writer_finish(w, &h), 0);
    src = sst_source_compacted(h);
    assert_int_equal(table_index_read(&f.ts, &src, &x), 0);
    assert_int_equal(x->x.n, n_blocks + 1);
    assert_int_equal(x->x.offsets[n_blocks], sum);
    table_index_unref(x);
    sst_handle_unref(h);
    fixture_fini(&f);
}

static void what_is_written_through_is_not_read_again(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 1 << 20);
    model_random(&m, &rng, 100, 10, 20);
    for (int cache = 0; cache < 2; cache++) {
        struct sst_view view = { 0 };
        struct sst_iter_options opt = { 0 };
        struct key_range r = key_range_point(m.rows[50].key);
        struct iter *it = NULL;
        struct shale_row row;

        view.sst = h = fixture_write(&f, &m, cache);
        store_fault_reset_counts(f.store);
        assert_int_equal(sst_iter_new(&f.ts, &view, &r, &opt, &it), 0);
        assert_int_equal(iter_next(it, &row), 0);
        iter_close(it);
        assert_int_equal(store_fault_count(f.store, FAULT_RANGE), cache ? 0 : 3); /* filter, index, blocks */
        sst_handle_unref(h);
    }
    model_fini(&m);
    fixture_fini(&f);
}

static struct sst_writer *writer_with(struct sst_fixture *f, const struct model *m)
{
    struct sst_writer *w = NULL;

    assert_int_equal(sst_writer_new(&f->ts, fixture_id(f), false, &w), 0);
    for (size_t i = 0; i < m->n; i++)
        assert_int_equal(sst_writer_add(w, &m->rows[i], NULL), 0);
    return w;
}

/* A small object: finish may be called again, whether or not the put that failed had done its work. */
static void a_put_that_failed_can_be_tried_again(void **state)
{
    static const enum fault_action actions[] = { FAULT_FAIL, FAULT_LOSE_REPLY };
    struct sst_handle *h = NULL;
    struct sst_fixture f;
    struct model m = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    model_random(&m, &rng, 100, 10, 20);
    for (size_t i = 0; i < 2; i++) {
        struct fault_rule rule = { .cls = FAULT_PUT, .action = actions[i], .times = 2 };
        struct shale_row late = row_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1);
        struct sst_writer *w;

        fixture_init(&f, &small_blocks, 0);
        (void)store_fault_add(f.store, &rule);
        w = writer_with(&f, &m);
        assert_int_equal(sst_writer_finish(w, &h), SHALE_ETRANSIENT);
        assert_int_equal(sst_writer_add(w, &late, NULL), -EINVAL);
        assert_int_equal(sst_writer_finish(w, &h), SHALE_ETRANSIENT);
        assert_int_equal(sst_writer_finish(w, &h), 0);
        check_object(&f, h, &m);
        sst_handle_unref(h);
        fixture_fini(&f);
    }
    model_fini(&m);
}

static void another_object_of_that_name_is_not_touched(void **state)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
    struct sst_handle *h = NULL;
    struct sst_writer *w;
    struct sst_fixture f;
    struct model m = { 0 };

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    model_add(&m, row_of("a", 1));
    w = writer_with(&f, &m);
    assert_int_equal(table_store_sst_name(&f.ts, (struct shale_ulid){ 0x018bcfe568000000u, 1 }, &name), 0);
    assert_int_equal(shale_store_put(f.mem, (char *)name.data, slice_str("other"), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(sst_writer_finish(w, &h), -EEXIST);
    sst_writer_free(w);
    object_bytes(&f, (char *)name.data, &object);
    assert_true(slice_eq(slice_of_buf(&object), slice_str("other")));
    shale_buf_fini(&name);
    shale_buf_fini(&object);
    model_fini(&m);
    fixture_fini(&f);
}

/* Ten MiB in random values: an upload. */
static int write_large(struct sst_fixture *f, struct sst_handle **out, bool *again)
{
    static uint8_t value[16384];
    struct sst_writer *w = NULL;
    struct rng rng;
    char key[16];
    int rc = 0;

    rng_seed(&rng, 1);
    assert_int_equal(sst_writer_new(&f->ts, fixture_id(f), false, &w), 0);
    for (unsigned i = 0; rc == 0 && i < 640; i++) {
        struct shale_row row;

        for (size_t k = 0; k < sizeof(value); k += 8)
            put_u64be(value + k, rng_next(&rng));
        snprintf(key, sizeof(key), "%06u", i);
        row = row_of(key, 1);
        row.value = slice_of(value, sizeof(value));
        rc = sst_writer_add(w, &row, NULL);
    }
    if (rc == 0)
        rc = sst_writer_finish(w, out);
    if (rc < 0) {
        struct shale_row row = row_of("z", 1);

        /* to go on is of no use, and the codes say so */
        *again = sst_writer_finish(w, out) == SHALE_ETRANSIENT || sst_writer_add(w, &row, NULL) == SHALE_ETRANSIENT;
        sst_writer_free(w);
    }
    return rc;
}

static int count_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)name;
    (void)meta;
    ++*(unsigned *)arg;
    return 0;
}

static void an_upload_that_failed_leaves_nothing(void **state)
{
    static const enum fault_class classes[] = { FAULT_UPLOAD_BEGIN, FAULT_UPLOAD_WRITE, FAULT_UPLOAD_FINISH };
    struct sst_handle *h = NULL;
    struct sst_fixture f;
    bool again = true;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        for (unsigned n = 1;; n++) {
            struct fault_rule rule = { .cls = classes[i], .action = FAULT_FAIL, .nth = n };
            unsigned objects = 0;
            int rc;

            fixture_init(&f, &small_blocks, 0);
            (void)store_fault_add(f.store, &rule);
            rc = write_large(&f, &h, &again);
            assert_int_equal(shale_store_list(f.mem, "", NULL, count_name, &objects), 0);
            assert_int_equal(objects, rc == 0);
            fixture_fini(&f);
            if (rc == 0) {
                assert_true(n > 1);
                sst_handle_unref(h);
                break;
            }
            assert_int_equal(rc, SHALE_ETRANSIENT);
            assert_false(again);
        }
    }
}

static void each_failing_allocation_is_told(void **state)
{
    struct sst_format format = small_blocks;
    struct sst_fixture f;
    struct model m = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    format.codec = SHALE_CODEC_LZ4;
    fixture_init(&f, &format, 100000);
    model_random(&m, &rng, 60, 10, 30);
    for (unsigned n = 1;; n++) {
        struct sst_handle *h = NULL;
        struct sst_writer *w = NULL;
        int rc;

        heap_fault_after(n);
        rc = sst_writer_new(&f.ts, fixture_id(&f), true, &w);
        for (size_t i = 0; rc == 0 && i < m.n; i++)
            rc = sst_writer_add(w, &m.rows[i], NULL);
        if (rc == 0)
            rc = sst_writer_finish(w, &h);
        if (rc < 0)
            sst_writer_free(w);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            check_object(&f, h, &m);
            sst_handle_unref(h);
            break;
        }
        if (rc < 0)
            assert_int_equal(rc, -ENOMEM);
        else
            check_object(&f, h, &m); /* only the cache went without */
        sst_handle_unref(h);
    }
    model_fini(&m);
    fixture_fini(&f);
}

/* A store that only counts what it is given, and looks at how much memory is in use. */
struct counting_store {
    struct shale_store base;
    struct shale_upload upload;
    uint64_t bytes;
    size_t most_memory;
};

static struct counting_store counter;

static size_t memory_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static int counter_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    (void)s;
    (void)name;
    *out = &counter.upload;
    return 0;
}

static int counter_write(struct shale_upload *u, struct shale_slice data)
{
    (void)u;
    counter.bytes += data.len;
    if (memory_in_use() > counter.most_memory)
        counter.most_memory = memory_in_use();
    return 0;
}

static int counter_finish(struct shale_upload *u)
{
    (void)u;
    return 0;
}

static void memory_stays_small_whatever_the_size(void **state)
{
    static const struct shale_store_ops ops = { .scheme = "count", .upload_begin = counter_begin,
                                                .upload_write = counter_write, .upload_finish = counter_finish };
    struct sst_format format = { .block_size = 4096, .min_filter_keys = 1000, .filter_bits_per_key = 10 };
    static uint8_t value[4000];
    struct table_store ts;
    struct sst_writer *w = NULL;
    struct sst_handle *h = NULL;
    size_t before = memory_in_use();
    char key[32];

    (void)state;
    counter = (struct counting_store){ .base = { .ops = &ops } };
    counter.upload.store = &counter.base;
    assert_int_equal(table_store_init(&ts, &counter.base, &counter.base, "db", &format, NULL), 0);
    assert_int_equal(sst_writer_new(&ts, (struct shale_ulid){ 1, 1 }, false, &w), 0);
    for (unsigned i = 0; i < 65536; i++) {
        struct shale_row row;

        snprintf(key, sizeof(key), "a-rather-long-key-%08u", i);
        row = row_of(key, 1);
        row.value = slice_of(value, sizeof(value));
        assert_int_equal(sst_writer_add(w, &row, NULL), 0);
    }
    assert_int_equal(sst_writer_finish(w, &h), 0);
    assert_true(counter.bytes > 256u << 20);
    print_message("%zu bytes of memory\n", counter.most_memory - before);
    assert_true(counter.most_memory - before < 16 << 20);
    sst_handle_unref(h);
    table_store_fini(&ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_whatever_codec_and_block_size),
        cmocka_unit_test(a_row_out_of_order_or_out_of_bounds_is_refused),
        cmocka_unit_test(rows_of_any_size_fit),
        cmocka_unit_test(it_tells_the_size_of_each_completed_block),
        cmocka_unit_test(what_is_written_through_is_not_read_again),
        cmocka_unit_test(a_put_that_failed_can_be_tried_again),
        cmocka_unit_test(another_object_of_that_name_is_not_touched),
        cmocka_unit_test(an_upload_that_failed_leaves_nothing),
        cmocka_unit_test(each_failing_allocation_is_told),
        cmocka_unit_test(memory_stays_small_whatever_the_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
