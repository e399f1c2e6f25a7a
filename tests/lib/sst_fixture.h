/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SST_FIXTURE_H
#define TESTS_SST_FIXTURE_H

#include "base/err.h"
#include "format/block.h"
#include "lib/block_build.h"
#include "lib/block_model.h"
#include "lib/random_env.h"
#include "lib/store_fault.h"
#include "sst/sst_iter.h"
#include "sst/sst_section.h"
#include "sst/sst_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* SSTs in a memory store behind one that fails by script; the database lies at "db". Included once in a program. */
struct sst_fixture {
    struct shale_store *mem, *store;
    struct block_cache *cache; /* NULL for cache_bytes 0 */
    struct table_store ts;
    uint64_t next_id;
};

static const struct sst_format small_blocks = {
    .codec = SHALE_CODEC_NONE, .block_size = 128, .min_filter_keys = 1, .filter_bits_per_key = 10,
};

static inline void fixture_init(struct sst_fixture *f, const struct sst_format *format, size_t cache_bytes)
{
    *f = (struct sst_fixture){ .next_id = 1 };
    assert_int_equal(shale_store_memory(&f->mem), 0);
    f->store = store_fault_new(f->mem);
    if (cache_bytes)
        assert_int_equal(block_cache_new(cache_bytes, &f->cache), 0);
    assert_int_equal(table_store_init(&f->ts, f->store, f->store, "db", format, f->cache), 0);
}

static inline void fixture_fini(struct sst_fixture *f)
{
    table_store_fini(&f->ts);
    block_cache_free(f->cache);
    shale_store_close(f->store);
    shale_store_close(f->mem);
}

static inline struct shale_ulid fixture_id(struct sst_fixture *f)
{
    return (struct shale_ulid){ .hi = 0x018bcfe568000000u, .lo = f->next_id++ };
}

/* An SST of the model's rows. */
static inline struct sst_handle *fixture_write(struct sst_fixture *f, const struct model *m, bool cache)
{
    struct sst_writer *w = NULL;
    struct sst_handle *h = NULL;

    assert_int_equal(sst_writer_new(&f->ts, fixture_id(f), cache, &w), 0);
    for (size_t i = 0; i < m->n; i++)
        assert_int_equal(sst_writer_add(w, &m->rows[i], NULL), 0);
    assert_int_equal(sst_writer_finish(w, &h), 0);
    return h;
}

static inline void put_part(struct shale_buf *out, const struct shale_buf *raw, const struct sst_info *info,
                            uint64_t *len)
{
    const struct section_form form = { .codec = info->codec };
    struct shale_buf scratch = SHALE_BUF_INIT;
    size_t start = out->len;

    assert_int_equal(section_encode(slice_of_buf(raw), &form, &scratch, out), 0);
    *len = out->len - start;
    shale_buf_fini(&scratch);
}

/*
 * The same with blocks of version 1 and without filter and stats, as SlateDB before 0.11 wrote them; separators are
 * whole first keys, and so is that of the first block.
 */
static inline struct sst_handle *fixture_write_v1(struct sst_fixture *f, const struct model *m)
{
    struct sst_info info = { .codec = f->ts.format.codec, .has_first = true, .has_last = true };
    struct shale_buf out = SHALE_BUF_INIT, raw = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    struct sst_trailer t = { .version = BLOCK_V1 };
    struct sst_index_builder index = { 0 };
    uint8_t trailer[SST_TRAILER_LEN];
    struct shale_ulid id = fixture_id(f);
    struct block_builder b;
    struct sst_handle *h = NULL;
    uint64_t len;

    block_builder_init(&b, BLOCK_V1, f->ts.format.block_size);
    for (size_t i = 0; i <= m->n; i++) {
        if (i == m->n || (i > 0 && !block_fits(&b, &m->rows[i]))) {
            buf_clear(&raw);
            assert_int_equal(block_finish(&b, &raw), 0);
            put_part(&out, &raw, &info, &len);
        }
        if (i == m->n)
            break;
        if (b.n_rows == 0)
            assert_int_equal(sst_index_builder_add(&index, out.len, m->rows[i].key), 0);
        assert_int_equal(block_add(&b, &m->rows[i]), 0);
    }
    info.filter_offset = info.index_offset = out.len;
    buf_clear(&raw);
    assert_int_equal(sst_index_builder_finish(&index, &raw), 0);
    put_part(&out, &raw, &info, &info.index_len);
    assert_int_equal(buf_set(&info.first, m->rows[0].key), 0);
    assert_int_equal(buf_set(&info.last, m->rows[m->n - 1].key), 0);
    t.info_offset = out.len;
    buf_clear(&raw);
    assert_int_equal(sst_info_encode(&info, &raw), 0);
    assert_int_equal(buf_append_slice(&out, slice_of_buf(&raw)), 0);
    assert_int_equal(section_seal(&out, (size_t)t.info_offset), 0);
    sst_trailer_encode(&t, trailer);
    assert_int_equal(shale_buf_append(&out, trailer, sizeof(trailer)), 0);
    assert_int_equal(table_store_sst_name(&f->ts, id, &name), 0);
    assert_int_equal(shale_store_put(f->mem, (char *)name.data, slice_of_buf(&out), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(sst_handle_new(id, BLOCK_V1, &info, &h), 0);
    block_builder_fini(&b);
    sst_index_builder_fini(&index);
    sst_info_fini(&info);
    shale_buf_fini(&out);
    shale_buf_fini(&raw);
    shale_buf_fini(&name);
    return h;
}

static inline bool same_row(const struct shale_row *a, const struct shale_row *b)
{
    return slice_eq(a->key, b->key) && slice_eq(a->value, b->value) && a->seq == b->seq && a->kind == b->kind &&
           a->create_ts == b->create_ts && (a->expire_ts == b->expire_ts || a->kind == SHALE_TOMBSTONE);
}

/* Keys from few letters, so that they repeat, are prefixes of each other and have several versions. */
static inline void model_random(struct model *m, struct rng *rng, size_t n, size_t max_key, size_t max_value)
{
    uint8_t key[64], value[4096];

    assert_true(max_key <= sizeof(key) && max_value <= sizeof(value));
    for (size_t i = 0; i < n; i++) {
        struct shale_row row = { .seq = 1 + rng_below(rng, 3 * n), .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };

        row.key = slice_of(key, 1 + rng_below(rng, max_key));
        row.value = slice_of(value, rng_below(rng, max_value + 1));
        row.kind = (enum shale_kind)rng_below(rng, 3);
        if (row.kind == SHALE_TOMBSTONE)
            row.value.len = 0;
        if (rng_below(rng, 2))
            row.create_ts = (int64_t)rng_below(rng, 1000000);
        for (size_t k = 0; k < row.key.len; k++)
            key[k] = (uint8_t)("ab\0\xff"[rng_below(rng, 4)]);
        for (size_t k = 0; k < row.value.len; k++)
            value[k] = (uint8_t)(rng_below(rng, 4) ? 'v' : rng_next(rng));
        model_add(m, row);
    }
    model_sort(m);
}

static inline uint64_t seed_of_test(struct rng *rng)
{
    uint64_t seed = random_env(1).first;

    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(rng, seed);
    return seed;
}

/* The whole of an object. */
static inline void object_bytes(struct sst_fixture *f, const char *name, struct shale_buf *out)
{
    assert_int_equal(shale_store_get(f->mem, name, out), 0);
}

#endif
