/* SPDX-License-Identifier: Apache-2.0 */
/* However many sources a compaction has and however far their blocks expand, what it holds in memory stays bounded. */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "compact/compaction_job.h"
#include "lib/heap_count.h"
#include "object/store.h"
#include "sst/sst_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is read ahead (16 MiB), a block of each source if they are compressed, and an SST under way. */
#define BOUND ((size_t)32 << 20)

/* Reads are those of a store in memory; what is written is counted and forgotten, so that it takes no memory. */
struct sink_store {
    struct shale_store base;
    struct shale_store *memory;
    uint64_t written;
};

static struct sink_store *sink_of(struct shale_store *s)
{
    return container_of(s, struct sink_store, base);
}

static int sink_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                          struct shale_buf *out)
{
    return shale_store_get_range(sink_of(s)->memory, name, offset, len, out);
}

static int sink_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                    const char *put_id)
{
    (void)name, (void)mode, (void)put_id;
    sink_of(s)->written += data.len;
    return 0;
}

static int sink_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    struct shale_upload *u = mem_zalloc(sizeof(*u));

    (void)name;
    assert_non_null(u);
    u->store = s;
    *out = u;
    return 0;
}

static int sink_upload_write(struct shale_upload *u, struct shale_slice data)
{
    sink_of(u->store)->written += data.len;
    return 0;
}

static void sink_upload_abort(struct shale_upload *u)
{
    mem_free(u);
}

static int sink_upload_finish(struct shale_upload *u)
{
    mem_free(u);
    return 0;
}

static const struct shale_store_ops sink_ops = {
    .scheme = "sink",
    .get_range = sink_get_range,
    .put = sink_put,
    .upload_begin = sink_upload_begin,
    .upload_write = sink_upload_write,
    .upload_finish = sink_upload_finish,
    .upload_abort = sink_upload_abort,
};

struct shape {
    size_t n_sources, rows, value_len; /* rows: of one source */
    enum shale_codec codec;
};

/* Every n-th key; values that compress to nearly nothing when there is a codec. */
static struct sst_handle *write_source(struct table_store *ts, const struct shape *shape, size_t number)
{
    uint8_t key[32] = "the same beginning of all keys";
    uint8_t *value = calloc(1, shape->value_len);
    struct shale_row row = { .key = slice_of(key, sizeof(key)), .value = slice_of(value, shape->value_len),
                             .create_ts = 1, .expire_ts = SHALE_NO_TS };
    struct sst_writer *w = NULL;
    struct sst_handle *h = NULL;

    assert_non_null(value);
    assert_int_equal(sst_writer_new(ts, ulid_new(1000 + (int64_t)number, NULL), false, &w), 0);
    for (size_t i = 0; i < shape->rows; i++) {
        put_u64be(key + sizeof(key) - 8, i * shape->n_sources + number);
        row.seq = number * shape->rows + i + 1;
        assert_int_equal(sst_writer_add(w, &row, NULL), 0);
    }
    assert_int_equal(sst_writer_finish(w, &h), 0);
    free(value);
    return h;
}

/* The memory that a job over l0 takes at most. */
static size_t peak_of_job(struct shale_store *memory, const struct sst_format *format, struct sst_view *l0, size_t n,
                          uint64_t *written)
{
    struct sink_store sink = { .base = { .ops = &sink_ops }, .memory = memory };
    struct table_store ts;
    struct compaction_job job = { .id = { (uint64_t)1000000 << 16, 0 }, .l0 = l0, .n_l0 = n,
                                  .clock_tick = SHALE_NO_TS, .max_sst_size = (uint64_t)64 << 20, .ts = &ts };
    struct sorted_run run = { 0 };
    size_t peak;

    assert_int_equal(table_store_init(&ts, &sink.base, &sink.base, "db", format, NULL), 0);
    heap_count_begin();
    assert_int_equal(compaction_job_run(&job, &run), 0);
    peak = heap_count_peak();
    *written = sink.written;
    sorted_run_fini(&run);
    table_store_fini(&ts);
    return peak;
}

static void check_shape(const struct shape *shape)
{
    struct sst_format in = { .codec = shape->codec, .block_size = 4096, .min_filter_keys = 1000,
                             .filter_bits_per_key = 10 };
    struct sst_format out = in;
    struct shale_store *memory = NULL;
    struct sst_view *l0 = calloc(shape->n_sources, sizeof(*l0));
    uint64_t written = 0, least = (uint64_t)shape->n_sources * shape->rows * shape->value_len;
    struct table_store ts;
    size_t peak;

    assert_non_null(l0);
    out.codec = SHALE_CODEC_NONE;
    assert_int_equal(shale_store_memory(&memory), 0);
    assert_int_equal(table_store_init(&ts, memory, memory, "db", &in, NULL), 0);
    for (size_t i = 0; i < shape->n_sources; i++) {
        l0[i].sst = write_source(&ts, shape, i);
        l0[i].id = l0[i].sst->id;
    }
    peak = peak_of_job(memory, &out, l0, shape->n_sources, &written);
    print_message("%zu sources of %zu rows: at most %zu KiB\n", shape->n_sources, shape->rows, peak >> 10);
    assert_true(written > least);
    assert_true(least > BOUND * 3 / 2); /* or the bound would say nothing */
    assert_in_range(peak, 1, BOUND);
    for (size_t i = 0; i < shape->n_sources; i++)
        sst_view_fini(&l0[i]);
    free(l0);
    table_store_fini(&ts);
    shale_store_close(memory);
}

static void test_few_sources(void **state)
{
    (void)state;
    check_shape(&(struct shape){ 4, 16000, 1000, SHALE_CODEC_NONE });
}

static void test_many_sources(void **state)
{
    (void)state;
    check_shape(&(struct shape){ 64, 1000, 1000, SHALE_CODEC_NONE });
    check_shape(&(struct shape){ 500, 128, 1000, SHALE_CODEC_NONE });
}

/* Blocks that are read as a few hundred bytes become 16 KiB. */
static void test_compressed_sources(void **state)
{
    (void)state;
    check_shape(&(struct shape){ 8, 500, 16000, SHALE_CODEC_ZSTD });
    check_shape(&(struct shape){ 200, 20, 16000, SHALE_CODEC_ZSTD });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_sources),
        cmocka_unit_test(test_many_sources),
        cmocka_unit_test(test_compressed_sources),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
