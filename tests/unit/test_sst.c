/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/sst_fixture.h"

#include "base/crc32.h"

#include <errno.h>

/* Three rows in one block, with a composite filter (storage format appendix A). */
static const uint8_t appendix_a[] =
    "\x00\x05\x03\x61\x70\x70\x6c\x65\x72\x65\x64\x00\x00\x00\x00\x00\x00\x00\x09\x04\x00\x00\x01\x8b\xcf\xe5\x68\x00"
    "\x05\x00\x02\x2b\x31\x00\x00\x00\x00\x00\x00\x00\x07\x0e\x00\x00\x01\x8b\xcf\xee\x8f\xc0\x00\x00\x01\x8b\xcf\xe5"
    "\x64\x18\x02\x05\x00\x72\x69\x63\x6f\x74\x00\x00\x00\x00\x00\x00\x00\x08\x05\x00\x00\x01\x8b\xcf\xe5\x66\x0c\x00"
    "\x00\x00\x01\x5e\xce\x07\xfb\x00\x01\x00\x03\x5f\x62\x66\x00\x00\x00\x00\x00\x00\x00\x06\x00\x06\x11\x78\x22\x20"
    "\x5e\x5e\x7a\x66\x0c\x00\x00\x00\x00\x00\x06\x00\x08\x00\x04\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00"
    "\x0c\x00\x00\x00\x08\x00\x08\x00\x00\x00\x04\x00\x08\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x70\x91\x37\x9d"
    "\x14\x00\x00\x00\x10\x00\x34\x00\x04\x00\x0c\x00\x14\x00\x1c\x00\x24\x00\x30\x00\x10\x00\x00\x00\x01\x00\x00\x00"
    "\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x11\x00\x00\x00\x00\x00\x00\x00"
    "\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00\x00\x00\x0a\x00"
    "\x0c\x00\x06\x00\x08\x00\x0a\x00\x0a\x00\x00\x00\x00\x00\x01\x00\x01\x00\x01\x00\xc6\xd0\xb1\xe2\x24\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x1a\x00\x44\x00\x38\x00\x04\x00\x0c\x00\x14\x00\x1c\x00\x00\x00\x00\x00\x3c\x00\x24\x00"
    "\x2c\x00\x43\x00\x1a\x00\x00\x00\x74\x00\x00\x00\x00\x00\x00\x00\x34\x00\x00\x00\x00\x00\x00\x00\x5b\x00\x00\x00"
    "\x00\x00\x00\x00\x19\x00\x00\x00\x00\x00\x00\x00\xa8\x00\x00\x00\x00\x00\x00\x00\x6c\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x18\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x01\x07\x00\x00\x00\x61\x70\x72\x69\x63\x6f\x74\x00"
    "\x05\x00\x00\x00\x61\x70\x70\x6c\x65\x00\x00\x00\x3e\xc9\x17\xd8\x00\x00\x00\x00\x00\x00\x01\x14\x00\x02";

#define APPENDIX_A slice_of(appendix_a, sizeof(appendix_a) - 1)

static void put_object(struct sst_fixture *f, struct shale_ulid id, struct shale_slice bytes)
{
    struct shale_buf name = SHALE_BUF_INIT;

    assert_int_equal(table_store_sst_name(&f->ts, id, &name), 0);
    assert_int_equal(shale_store_put(f->mem, (char *)name.data, bytes, SHALE_PUT_OVERWRITE), 0);
    shale_buf_fini(&name);
}

static void get_object(struct sst_fixture *f, struct shale_ulid id, struct shale_buf *out)
{
    struct shale_buf name = SHALE_BUF_INIT;

    assert_int_equal(table_store_sst_name(&f->ts, id, &name), 0);
    object_bytes(f, (char *)name.data, out);
    shale_buf_fini(&name);
}

static void the_annotated_object_reads_as_told(void **state)
{
    static const struct shale_row want[] = {
        { .key = { (const uint8_t *)"apple", 5 }, .value = { (const uint8_t *)"red", 3 }, .seq = 9,
          .create_ts = 1700000000000, .expire_ts = SHALE_NO_TS, .kind = SHALE_PUT },
        { .key = { (const uint8_t *)"apple", 5 }, .value = { (const uint8_t *)"+1", 2 }, .seq = 7,
          .create_ts = 1699999999000, .expire_ts = 1700000600000, .kind = SHALE_MERGE },
        { .key = { (const uint8_t *)"apricot", 7 }, .seq = 8, .create_ts = 1699999999500, .expire_ts = SHALE_NO_TS,
          .kind = SHALE_TOMBSTONE },
    };
    struct shale_ulid id = { 1, 2 };
    struct sst_iter_options opt = { 0 };
    struct key_range all = { 0 };
    struct table_filter *filter = NULL;
    struct sst_stats stats = { 0 };
    struct sst_view view = { 0 };
    struct iter *it = NULL;
    struct sst_source src;
    struct sst_fixture f;
    struct shale_row row;

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    put_object(&f, id, APPENDIX_A);
    assert_int_equal(table_open_compacted(&f.ts, id, &view.sst), 0);
    src = sst_source_compacted(view.sst);
    assert_int_equal(view.sst->info.filter_format, FILTER_COMPOSITE);
    assert_int_equal(sst_iter_new(&f.ts, &view, &all, &opt, &it), 0);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(iter_next(it, &row), 0);
        print_message("row %zu\n", i);
        assert_int_equal(row.create_ts / 1000000, want[i].create_ts / 1000000);
        assert_true(slice_eq(row.key, want[i].key) && slice_eq(row.value, want[i].value));
        assert_int_equal(row.seq, want[i].seq);
        assert_int_equal(row.kind, want[i].kind);
    }
    assert_int_equal(iter_next(it, &row), SHALE_END);
    iter_close(it);
    assert_int_equal(table_filter_read(&f.ts, &src, &filter), 0);
    assert_int_equal(filter->f.n_bits, 32);
    assert_true(filter_may_contain(&filter->f, filter_hash(slice_str("apricot"))));
    assert_int_equal(table_stats_read(&f.ts, &src, &stats), 0);
    assert_int_equal(stats.puts + 10 * stats.deletes + 100 * stats.merges, 111);
    assert_int_equal(stats.raw_key_bytes, 17);
    assert_int_equal(stats.raw_value_bytes, 5);
    sst_stats_fini(&stats);
    table_filter_unref(filter);
    sst_handle_unref(view.sst);
    fixture_fini(&f);
}

/* Reads every part of an object as different callers do. */
static int read_part(struct sst_fixture *f, const struct sst_handle *h, const char *part)
{
    struct sst_source src = sst_source_compacted(h);
    struct table_index *x = NULL;
    struct table_filter *filter = NULL;
    struct sst_stats stats = { 0 };
    struct sst_handle *opened = NULL;
    struct block *blocks[3] = { NULL };
    int rc;

    if (strcmp(part, "index") == 0) {
        rc = table_index_read(&f->ts, &src, &x);
    } else if (strcmp(part, "filter") == 0) {
        rc = table_filter_read(&f->ts, &src, &filter);
    } else if (strcmp(part, "stats") == 0) {
        rc = table_stats_read(&f->ts, &src, &stats);
    } else if (strcmp(part, "info") == 0 || strcmp(part, "trailer") == 0) {
        rc = table_open_compacted(&f->ts, h->id, &opened);
    } else {
        rc = table_index_read(&f->ts, &src, &x);
        if (rc == 0)
            rc = table_blocks_read(&f->ts, &src, x, 1, 3, true, blocks);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(blocks[i] != NULL, rc == 0);
            block_unref(blocks[i]);
        }
    }
    table_index_unref(x);
    table_filter_unref(filter);
    sst_handle_unref(opened);
    sst_stats_fini(&stats);
    return rc;
}

/* Where a part lies; block 2 for a block. */
static void part_place(struct sst_fixture *f, const struct sst_handle *h, const char *part, size_t object_len,
                       uint64_t *offset, uint64_t *len)
{
    const struct sst_info *i = &h->info;
    struct sst_source src = sst_source_compacted(h);
    struct table_index *x = NULL;

    assert_int_equal(table_index_read(&f->ts, &src, &x), 0);
    if (strcmp(part, "index") == 0)
        *offset = i->index_offset, *len = i->index_len;
    else if (strcmp(part, "filter") == 0)
        *offset = i->filter_offset, *len = i->filter_len;
    else if (strcmp(part, "stats") == 0)
        *offset = i->stats_offset, *len = i->stats_len;
    else if (strcmp(part, "info") == 0)
        *offset = i->stats_offset + i->stats_len, *len = object_len - SST_TRAILER_LEN - *offset;
    else if (strcmp(part, "trailer") == 0)
        *offset = object_len - SST_TRAILER_LEN, *len = 2; /* a change there points behind the end */
    else
        *offset = x->x.offsets[2], *len = x->x.offsets[3] - x->x.offsets[2];
    table_index_unref(x);
}

static const char *const parts[] = { "block", "index", "filter", "stats", "info", "trailer" };

static void damage_is_found_and_named(void **state)
{
    struct sst_format format = small_blocks;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    for (int codec = 0; codec <= SHALE_CODEC_ZSTD; codec++) {
        struct shale_buf object = SHALE_BUF_INIT;
        struct model m = { 0 };
        struct sst_handle *h;
        struct sst_fixture f;

        format.codec = (enum shale_codec)codec;
        fixture_init(&f, &format, 0);
        model_random(&m, &rng, 100, 10, 30);
        h = fixture_write(&f, &m, false);
        get_object(&f, h->id, &object);
        for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
            uint64_t offset, len;
            char want[64];

            part_place(&f, h, parts[p], object.len, &offset, &len);
            assert_int_equal(read_part(&f, h, parts[p]), 0);
            for (int i = 0; i < 20; i++) {
                uint64_t at = offset + rng_below(&rng, len);
                uint8_t change = (uint8_t)(1 + rng_below(&rng, 255));

                object.data[at] ^= change;
                put_object(&f, h->id, slice_of_buf(&object));
                object.data[at] ^= change;
                assert_int_equal(read_part(&f, h, parts[p]), SHALE_ECORRUPT);
                if (strcmp(parts[p], "block") == 0)
                    snprintf(want, sizeof(want), ".sst: block 2 at %llu: checksum", (unsigned long long)offset);
                else if (strcmp(parts[p], "trailer") == 0)
                    snprintf(want, sizeof(want), ".sst: trailer");
                else
                    snprintf(want, sizeof(want), ".sst: %s at %llu", parts[p], (unsigned long long)offset);
                if (!strstr(shale_errmsg(), want) || !strstr(shale_errmsg(), "db/compacted/"))
                    fail_msg("\"%s\" does not say \"%s\"", shale_errmsg(), want);
            }
            put_object(&f, h->id, slice_of_buf(&object));
        }
        sst_handle_unref(h);
        shale_buf_fini(&object);
        model_fini(&m);
        fixture_fini(&f);
    }
}

struct scan_result {
    uint32_t crc;
    size_t n;
};

static int scan_row(void *arg, const struct shale_row *row)
{
    struct scan_result *r = arg;

    r->crc = crc32_extend(r->crc, row->key);
    r->crc = crc32_extend(r->crc, row->value);
    r->n++;
    return 0;
}

/* One changed byte, or a lost end: an error, or (in a part that a scan does not read) the same rows. */
static void a_scan_of_a_damaged_object_never_lies(void **state)
{
    struct scan_result right = { 0 }, got;
    struct shale_buf object = SHALE_BUF_INIT;
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h;
    struct rng rng;
    int rc;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    model_random(&m, &rng, 40, 10, 30);
    h = fixture_write(&f, &m, false);
    get_object(&f, h->id, &object);
    assert_int_equal(sst_scan_object(slice_of_buf(&object), "x", NULL, scan_row, &right), 0);
    for (size_t at = 0; at < object.len; at++) {
        uint8_t *copy = mem_dup(object.data, object.len); /* exactly as long, for the address sanitizer */

        copy[at] ^= (uint8_t)(1 + rng_below(&rng, 255));
        got = (struct scan_result){ 0 };
        rc = sst_scan_object(slice_of(copy, object.len), "x", NULL, scan_row, &got);
        if (rc == 0)
            assert_true(got.crc == right.crc && got.n == right.n);
        else
            assert_true(rc == SHALE_ECORRUPT || rc == SHALE_EVERSION);
        free(copy);
        copy = mem_alloc(at);
        memcpy(copy, object.data, at);
        assert_int_not_equal(sst_scan_object(slice_of(copy, at), "x", NULL, scan_row, &got), 0);
        free(copy);
    }
    sst_handle_unref(h);
    shale_buf_fini(&object);
    model_fini(&m);
    fixture_fini(&f);
}

static int stop_at(void *arg, const struct shale_row *row)
{
    (void)row;
    return --*(int *)arg == 0 ? 42 : 0;
}

static void a_scan_stops_when_told(void **state)
{
    int left = 2;

    (void)state;
    assert_int_equal(sst_scan_object(APPENDIX_A, "x", NULL, stop_at, &left), 42);
}

/* The manifest and the object disagree, or lie together. */
static void lengths_that_lie_are_refused_without_much_memory(void **state)
{
    /* a zstd frame that says it holds 3 GiB, and ends */
    static const uint8_t bomb[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0xc0, 1, 0, 0 };
    struct sst_part part = { .object = "x", .kind = "index" };
    struct shale_buf stored = SHALE_BUF_INIT, scratch = SHALE_BUF_INIT;
    struct shale_slice payload;
    const struct section_form form = { .codec = SHALE_CODEC_ZSTD };
    struct sst_handle *h, *lie = NULL;
    struct sst_info info = { 0 };
    struct sst_fixture f;
    struct model m = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    assert_int_equal(shale_buf_append(&stored, bomb, sizeof(bomb)), 0);
    assert_int_equal(section_seal(&stored, 0), 0);
    assert_int_equal(section_decode(&part, slice_of_buf(&stored), &form, &scratch, &payload), SHALE_ECORRUPT);
    assert_true(scratch.cap < 10 << 20);

    fixture_init(&f, &small_blocks, 0);
    model_random(&m, &rng, 40, 10, 30);
    h = fixture_write(&f, &m, false);
    assert_int_equal(sst_info_copy(&info, &h->info), 0);
    info.index_len = info.filter_len = info.stats_len = (uint64_t)1 << 60;
    assert_int_equal(sst_handle_new(h->id, 2, &info, &lie), 0);
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(read_part(&f, lie, parts[i]), SHALE_ECORRUPT);
        assert_non_null(strstr(shale_errmsg(), parts[i]));
    }
    sst_handle_unref(lie);
    info.index_len = info.filter_len = info.stats_len = UINT64_MAX;
    assert_int_equal(sst_handle_new(h->id, 2, &info, &lie), 0);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(read_part(&f, lie, parts[i]), SHALE_ECORRUPT);
    sst_handle_unref(lie);
    sst_info_fini(&info);
    sst_handle_unref(h);
    shale_buf_fini(&stored);
    shale_buf_fini(&scratch);
    model_fini(&m);
    fixture_fini(&f);
}

/* Blocks 2 and 5 are there: the other three runs are read at once. */
static void holes_between_cached_blocks_are_read_together(void **state)
{
    struct block *blocks[9], *again[9];
    struct table_index *x = NULL;
    struct sst_source src;
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 1 << 20);
    model_random(&m, &rng, 300, 10, 30);
    h = fixture_write(&f, &m, false);
    src = sst_source_compacted(h);
    assert_int_equal(table_index_read(&f.ts, &src, &x), 0);
    assert_int_equal(table_blocks_read(&f.ts, &src, x, 2, 1, true, blocks), 0);
    block_unref(blocks[0]);
    assert_int_equal(table_blocks_read(&f.ts, &src, x, 5, 1, true, blocks), 0);
    block_unref(blocks[0]);
    assert_int_equal(table_blocks_read(&f.ts, &src, x, 7, 1, false, blocks), 0);
    block_unref(blocks[0]);
    store_fault_reset_counts(f.store);
    assert_int_equal(table_blocks_read(&f.ts, &src, x, 0, 9, true, blocks), 0);
    assert_int_equal(store_fault_count(f.store, FAULT_RANGE), 3);
    assert_int_equal(table_blocks_read(&f.ts, &src, x, 0, 9, false, again), 0);
    assert_int_equal(store_fault_count(f.store, FAULT_RANGE), 3);
    for (size_t i = 0; i < 9; i++) {
        assert_ptr_equal(blocks[i], again[i]);
        block_unref(blocks[i]);
        block_unref(again[i]);
    }
    /* a failing one of several leaves nothing behind */
    for (unsigned n = 1; n <= 2; n++) {
        struct fault_rule rule = { .cls = FAULT_RANGE, .nth = n, .keep = 9 };

        rule.action = n == 1 ? FAULT_FAIL : FAULT_SHORT;
        assert_int_equal(table_blocks_read(&f.ts, &src, x, 10, 1, true, blocks), 0);
        block_unref(blocks[0]);
        (void)store_fault_add(f.store, &rule);
        assert_true(table_blocks_read(&f.ts, &src, x, 9, 9, true, blocks) < 0);
        for (size_t i = 0; i < 9; i++)
            assert_null(blocks[i]);
        store_fault_clear(f.store);
    }
    table_index_unref(x);
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

static void a_short_body_is_not_taken_for_the_whole(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    model_random(&m, &rng, 100, 10, 30);
    h = fixture_write(&f, &m, false);
    for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
        struct fault_rule rule = { .cls = FAULT_RANGE, .action = FAULT_SHORT, .nth = p == 0 ? 2 : 1, .keep = 5 };

        (void)store_fault_add(f.store, &rule);
        assert_true(read_part(&f, h, parts[p]) < 0);
        assert_non_null(strstr(shale_errmsg(), ".sst"));
        store_fault_clear(f.store);
        assert_int_equal(read_part(&f, h, parts[p]), 0);
    }
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

static void a_missing_object_is_not_corrupt(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h;
    struct shale_buf name = SHALE_BUF_INIT;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    model_random(&m, &rng, 100, 10, 30);
    h = fixture_write(&f, &m, false);
    assert_int_equal(table_store_sst_name(&f.ts, h->id, &name), 0);
    assert_int_equal(shale_store_delete(f.mem, (char *)name.data), 0);
    for (size_t p = 0; p < ARRAY_SIZE(parts); p++)
        assert_int_equal(read_part(&f, h, parts[p]),
                         strcmp(parts[p], "info") == 0 || strcmp(parts[p], "trailer") == 0 ? -ENOENT : -ESTALE);
    shale_buf_fini(&name);
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

/* Equal keys of different types in the cache, as a manifest that lies could have it. */
static void a_part_is_not_taken_for_another(void **state)
{
    struct sst_info info = { 0 };
    struct sst_handle *h, *lie = NULL;
    struct table_index *x = NULL;
    struct sst_source src;
    struct sst_fixture f;
    struct model m = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 1 << 20);
    model_random(&m, &rng, 100, 10, 30);
    h = fixture_write(&f, &m, true);
    assert_int_equal(sst_info_copy(&info, &h->info), 0);
    info.index_offset = 0; /* where block 0 lies in the cache */
    assert_int_equal(sst_handle_new(h->id, 2, &info, &lie), 0);
    src = sst_source_compacted(lie);
    assert_int_equal(table_index_read(&f.ts, &src, &x), SHALE_ECORRUPT);
    sst_handle_unref(lie);
    sst_info_fini(&info);
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

static void expect_name(struct sst_fixture *f, struct shale_ulid id, const char *root)
{
    struct shale_buf name = SHALE_BUF_INIT;
    char text[SHALE_ULID_TEXT_LEN + 1], want[64];

    ulid_format(id, text);
    snprintf(want, sizeof(want), "%s/compacted/%s.sst", root, text);
    assert_int_equal(table_store_sst_name(&f->ts, id, &name), 0);
    assert_string_equal((char *)name.data, want);
    shale_buf_fini(&name);
}

static void external_ssts_lie_under_their_own_path(void **state)
{
    struct shale_ulid own = { 1, 1 }, ids_a[] = { { 3, 3 }, { 1, 2 } }, ids_b[] = { { 3, 3 } };
    char path_a[] = "other/a", path_b[] = "b";
    struct external_db dbs[] = { { .path = path_a, .ssts = ids_a, .n_ssts = 2 },
                                 { .path = path_b, .ssts = ids_b, .n_ssts = 1 } };
    struct manifest m = { .externals = dbs, .n_externals = 2 }, none = { 0 };
    struct shale_buf name = SHALE_BUF_INIT;
    struct sst_fixture f;

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    for (int round = 0; round < 3; round++) {
        bool known = round > 0;

        expect_name(&f, own, "db");
        expect_name(&f, ids_a[1], known ? "other/a" : "db");
        expect_name(&f, ids_b[0], known ? "b" : "db"); /* the later of two wins */
        for (unsigned n = 1; round == 0; n++) {
            int rc;

            heap_fault_after(n);
            rc = table_store_set_externals(&f.ts, &m);
            if (!heap_fault_off()) {
                assert_int_equal(rc, 0);
                break;
            }
            assert_int_equal(rc, -ENOMEM);
        }
        assert_int_equal(table_store_set_externals(&f.ts, round == 1 ? &none : &m), 0);
    }
    m.n_externals = 1;
    ids_a[0] = ids_a[1];
    heap_fault_after(1);
    assert_int_equal(table_store_set_externals(&f.ts, &m), 0); /* nothing new: nothing is allocated */
    assert_false(heap_fault_off());
    assert_int_equal(table_store_wal_name(&f.ts, 7, &name), 0);
    assert_string_equal((char *)name.data, "db/wal/00000000000000000007.sst");
    shale_buf_fini(&name);
    fixture_fini(&f);
}

static void each_failing_allocation_of_a_read_is_told(void **state)
{
    struct sst_format format = small_blocks;
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    format.codec = SHALE_CODEC_LZ4;
    fixture_init(&f, &format, 0);
    model_random(&m, &rng, 100, 10, 30);
    h = fixture_write(&f, &m, false);
    for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
        for (unsigned n = 1;; n++) {
            int rc;

            heap_fault_after(n);
            rc = read_part(&f, h, parts[p]);
            if (!heap_fault_off()) {
                assert_int_equal(rc, 0);
                break;
            }
            assert_int_equal(rc, -ENOMEM);
        }
    }
    for (unsigned n = 1;; n++) {
        struct scan_result r = { 0 };
        int rc;

        heap_fault_after(n);
        rc = sst_scan_object(APPENDIX_A, "x", NULL, scan_row, &r);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_annotated_object_reads_as_told),
        cmocka_unit_test(damage_is_found_and_named),
        cmocka_unit_test(a_scan_of_a_damaged_object_never_lies),
        cmocka_unit_test(a_scan_stops_when_told),
        cmocka_unit_test(lengths_that_lie_are_refused_without_much_memory),
        cmocka_unit_test(holes_between_cached_blocks_are_read_together),
        cmocka_unit_test(a_short_body_is_not_taken_for_the_whole),
        cmocka_unit_test(a_missing_object_is_not_corrupt),
        cmocka_unit_test(a_part_is_not_taken_for_another),
        cmocka_unit_test(external_ssts_lie_under_their_own_path),
        cmocka_unit_test(each_failing_allocation_of_a_read_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
