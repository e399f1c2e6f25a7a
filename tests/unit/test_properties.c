/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/hooks.h"
#include "lib/sst_fixture.h"

#include "format/properties.h"
#include "sst/sst_collect.h"

#include <errno.h>

/* Properties as bytes, in SSTs and in WAL objects. */

static void seal(struct shale_buf *b, const char *text)
{
    size_t start = b->len;

    assert_int_equal(buf_append_slice(b, slice_str(text)), 0);
    assert_int_equal(properties_seal(b, start), 0);
}

static void what_is_sealed_is_found(void **state)
{
    static const uint8_t bytes[] = { 'a', 'b', 'c', 0, 0, 0, 3, 0xb2, 0x0a, 0x6a, 0x59,
                                     's', 'h', 'a', 'l', 'e', 'p', 'r', '1' };
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_slice stored;

    (void)state;
    seal(&b, "abc");
    assert_int_equal(b.len, sizeof(bytes));
    assert_int_equal(b.len, 3 + PROPERTIES_TRAILER_LEN);
    assert_memory_equal(b.data, bytes, sizeof(bytes));
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), 1);
    assert_true(slice_eq(stored, slice_str("abc")));
    buf_clear(&b);
    seal(&b, "");
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), 1);
    assert_int_equal(stored.len, 0);
    shale_buf_fini(&b);
}

/* Not one changed bit makes properties look like none. */
static void damage_is_not_taken_for_absence(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_slice stored = { NULL, 77 };

    (void)state;
    seal(&b, "some properties");
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(properties_find(slice_of_buf(&b), &stored), SHALE_ECORRUPT);
        assert_string_not_equal(shale_errmsg(), "");
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(stored.len, 77);
    /* A part of it, from either side. */
    assert_int_equal(properties_find(slice_of(b.data + 1, b.len - 1), &stored), SHALE_ECORRUPT);
    buf_clear(&b);
    assert_int_equal(buf_append_slice(&b, slice_str("in front")), 0);
    seal(&b, "properties");
    /* The trailer's start is that of what was sealed: what lies in front is none of it. */
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), SHALE_ECORRUPT);
    shale_buf_fini(&b);
}

static void what_others_put_there_is_none(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_slice stored;
    uint8_t bytes[200];
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    assert_int_equal(properties_find(slice_of(NULL, 0), &stored), 0);
    for (size_t round = 0; round < 2000; round++) {
        size_t len = rng_below(&rng, sizeof(bytes));

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rng_next(&rng);
        if (len >= PROPERTIES_TRAILER_LEN && rng_below(&rng, 2)) /* the length alone says nothing */
            put_u32be(bytes + len - PROPERTIES_TRAILER_LEN, (uint32_t)(len - PROPERTIES_TRAILER_LEN));
        assert_int_equal(properties_find(slice_of(bytes, len), &stored), 0);
    }
    /* Ours, and then more: a later version of the format, say. */
    seal(&b, "abc");
    assert_int_equal(shale_buf_append(&b, "more", 4), 0);
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), 0);
    memset(b.data, 0, b.len);
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), 0);
    shale_buf_fini(&b);
}

static void the_length_is_bounded(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_slice stored;

    (void)state;
    assert_int_equal(shale_buf_reserve(&b, PROPERTIES_STORED_MAX + 100), 0);
    memset(b.data, 'x', b.cap);
    b.len = PROPERTIES_STORED_MAX + 1;
    assert_int_equal(properties_seal(&b, 0), -E2BIG);
    b.len = PROPERTIES_STORED_MAX;
    assert_int_equal(properties_seal(&b, 0), 0);
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), 1);
    assert_int_equal(shale_buf_append(&b, b.data, 1), 0);
    assert_int_equal(properties_find(slice_of_buf(&b), &stored), 0); /* nothing is looked at that is so long */
    shale_buf_fini(&b);
}

/* ---- in SSTs ---- */

struct rig {
    struct sst_fixture f;
    struct tally_hook tally;
    struct xor_hook xor;
    struct shale_buf blob;
};

static void rig_init(struct rig *r, enum shale_codec codec, bool transforms)
{
    struct sst_format format = small_blocks;

    *r = (struct rig){ 0 };
    tally_hook_init(&r->tally);
    xor_hook_init(&r->xor, 0x5c, true);
    format.codec = codec;
    format.transformer = transforms ? &r->xor.hook : NULL;
    format.collector = &r->tally.hook;
    fixture_init(&r->f, &format, 0);
}

static void rig_fini(struct rig *r)
{
    assert_int_equal(r->tally.alive, 0);
    shale_buf_fini(&r->blob);
    fixture_fini(&r->f);
}

static struct shale_row row_of(const char *key, uint64_t seq)
{
    return (struct shale_row){ .key = slice_str(key), .value = slice_str("v"), .seq = seq, .create_ts = SHALE_NO_TS,
                               .expire_ts = SHALE_NO_TS };
}

/* Rows a1 a2 b1; the writer is freed when something fails. */
static int write_three(struct rig *r, bool collects, struct sst_handle **out)
{
    const struct shale_row rows[] = { row_of("a1", 1), row_of("a2", 2), row_of("b1", 3) };
    struct sst_writer *w = NULL;
    int rc = sst_writer_new(&r->f.ts, fixture_id(&r->f), false, &w);

    if (rc == 0 && collects)
        rc = sst_writer_collect(w, SHALE_SST_RUN);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(rows); i++)
        rc = sst_writer_add(w, &rows[i], NULL);
    if (rc == 0)
        rc = sst_writer_finish(w, out);
    if (rc < 0)
        sst_writer_free(w);
    return rc;
}

static int read_blob(struct rig *r, const struct sst_handle *h)
{
    const struct sst_source src = sst_source_compacted(h);

    return table_properties_read(&r->f.ts, &src, &r->blob);
}

static void check_blob(const struct rig *r, const char *want)
{
    assert_int_equal(r->blob.len, strlen(want));
    assert_memory_equal(r->blob.data, want, r->blob.len);
}

static int count_row(void *arg, const struct shale_row *row)
{
    (void)row;
    ++*(size_t *)arg;
    return 0;
}

static void blobs_come_back_in_every_form(void **state)
{
    (void)state;
    for (int form = 0; form <= 2 * SHALE_CODEC_ZSTD + 1; form++) {
        struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
        struct sst_handle *h = NULL;
        struct rig r;
        size_t n = 0;

        rig_init(&r, (enum shale_codec)(form / 2), form % 2);
        assert_int_equal(write_three(&r, true, &h), 0);
        assert_int_equal(read_blob(&r, h), 1);
        check_blob(&r, "a=2 b=1 ");
        assert_int_equal(table_store_sst_name(&r.f.ts, h->id, &name), 0);
        object_bytes(&r.f, (char *)name.data, &object);
        assert_int_equal(sst_scan_object(slice_of_buf(&object), "x", r.f.ts.format.transformer, count_row, &n), 0);
        assert_int_equal(n, 3);
        sst_handle_unref(h);
        h = NULL;
        r.tally.empty_blob = true;
        assert_int_equal(write_three(&r, true, &h), 0);
        assert_int_equal(read_blob(&r, h), 1);
        assert_int_equal(r.blob.len, 0);
        sst_handle_unref(h);
        shale_buf_fini(&name);
        shale_buf_fini(&object);
        rig_fini(&r);
    }
}

/* No collector, one that makes no blob: not an empty one, and the object is as if there were none. */
static void no_blob_is_not_an_empty_one(void **state)
{
    struct sst_handle *h = NULL, *k = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_NONE, false);
    assert_int_equal(buf_set(&r.blob, slice_str("old")), 0);
    r.tally.without_blob = true;
    assert_int_equal(write_three(&r, true, &h), 0);
    assert_int_equal(read_blob(&r, h), 0);
    assert_int_equal(write_three(&r, false, &k), 0);
    assert_int_equal(read_blob(&r, k), 0);
    check_blob(&r, "old");
    assert_int_equal(r.tally.created[SHALE_SST_RUN], 1);
    sst_handle_unref(h);
    sst_handle_unref(k);
    rig_fini(&r);
}

static void the_longest_blob_is_stored(void **state)
{
    struct sst_handle *h = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_NONE, false);
    r.tally.blob_len = 70000;
    assert_int_equal(write_three(&r, true, &h), 0);
    assert_int_equal(read_blob(&r, h), 1);
    assert_int_equal(r.blob.len, 70000);
    sst_handle_unref(h);
    r.tally.blob_len = SHALE_PROPERTIES_MAX;
    assert_int_equal(write_three(&r, true, &h), 0);
    assert_int_equal(read_blob(&r, h), 1);
    assert_int_equal(r.blob.len, SHALE_PROPERTIES_MAX);
    sst_handle_unref(h);
    r.tally.blob_len++;
    assert_int_equal(write_three(&r, true, &h), SHALE_EHOOK);
    assert_non_null(strstr(shale_errmsg(), "16777217 bytes"));
    rig_fini(&r);
}

/* Whatever it is that fails, and with whatever code: no object, no collector left behind. */
static void a_failing_collector_leaves_no_object(void **state)
{
    const int codes[] = { -EIO, SHALE_ETRANSIENT, SHALE_ECORRUPT };
    struct sst_handle *h = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_NONE, false);
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        hook_fault_set(&r.tally.create_fault, 1, 1, codes[i]);
        assert_int_equal(write_three(&r, true, &h), SHALE_EHOOK);
        hook_fault_set(&r.tally.add_fault, 2, 1, codes[i]);
        assert_int_equal(write_three(&r, true, &h), SHALE_EHOOK);
        assert_non_null(strstr(shale_errmsg(), "collector cannot take a row"));
        hook_fault_set(&r.tally.finish_fault, 1, 1, codes[i]);
        assert_int_equal(write_three(&r, true, &h), SHALE_EHOOK);
        assert_int_equal(r.tally.alive, 0);
    }
    assert_int_equal(store_fault_count(r.f.store, FAULT_PUT), 0);
    assert_int_equal(write_three(&r, true, &h), 0);
    sst_handle_unref(h);
    rig_fini(&r);
}

/* Every bit behind the sections: what is read is right, or an error, and never that there is nothing. */
static void damage_of_an_object_is_told(void **state)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
    struct sst_handle *h = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_LZ4, true);
    assert_int_equal(write_three(&r, true, &h), 0);
    assert_int_equal(table_store_sst_name(&r.f.ts, h->id, &name), 0);
    object_bytes(&r.f, (char *)name.data, &object);
    for (size_t i = (size_t)(h->info.stats_offset + h->info.stats_len); i < object.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            int rc;

            object.data[i] ^= (uint8_t)(1 << bit);
            assert_int_equal(shale_store_put(r.f.mem, (char *)name.data, slice_of_buf(&object), SHALE_PUT_OVERWRITE), 0);
            rc = read_blob(&r, h);
            if (rc != SHALE_ECORRUPT)
                assert_int_equal(rc, SHALE_EVERSION); /* two bytes of the trailer */
            assert_non_null(strstr(shale_errmsg(), ".sst: "));
            object.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    for (size_t len = 0; len < object.len; len++) {
        assert_int_equal(shale_store_put(r.f.mem, (char *)name.data, slice_of(object.data, len), SHALE_PUT_OVERWRITE), 0);
        assert_true(read_blob(&r, h) < 0);
    }
    sst_handle_unref(h);
    shale_buf_fini(&name);
    shale_buf_fini(&object);
    rig_fini(&r);
}

static void a_failing_store_is_told(void **state)
{
    const struct fault_rule rules[] = {
        { .cls = FAULT_HEAD, .action = FAULT_FAIL, .rc = -EACCES },
        { .cls = FAULT_RANGE, .action = FAULT_FAIL, .rc = -EACCES },
    };
    const struct fault_rule lost = { .cls = FAULT_RANGE, .action = FAULT_FAIL, .rc = -ENOENT };
    struct shale_buf name = SHALE_BUF_INIT;
    struct sst_handle *h = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_NONE, false);
    assert_int_equal(write_three(&r, true, &h), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        store_fault_add(r.f.store, &rules[i]);
        assert_int_equal(read_blob(&r, h), -EACCES);
        store_fault_clear(r.f.store);
    }
    store_fault_add(r.f.store, &lost);
    assert_int_equal(read_blob(&r, h), -ESTALE);
    store_fault_clear(r.f.store);
    assert_int_equal(table_store_sst_name(&r.f.ts, h->id, &name), 0);
    assert_int_equal(shale_store_delete(r.f.mem, (char *)name.data), 0);
    assert_int_equal(read_blob(&r, h), -ESTALE);
    assert_int_equal(r.blob.len, 0);
    sst_handle_unref(h);
    shale_buf_fini(&name);
    rig_fini(&r);
}

/* ---- in WAL objects ---- */

static void wal_objects_have_blobs(void **state)
{
    const struct shale_row rows[] = { row_of("b1", 1), row_of("a1", 2), row_of("b2", 2) };
    const struct shale_row *refs[] = { &rows[0], &rows[1], &rows[2] };
    struct sst_source src = { .is_wal = true, .wal_id = 7 };
    struct shale_buf object = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    struct sst_handle *h = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_SNAPPY, true);
    assert_int_equal(wal_sst_encode(&r.f.ts.format, refs, 3, &object), 0);
    assert_int_equal(r.tally.created[SHALE_SST_WAL], 1);
    assert_int_equal(table_store_wal_name(&r.f.ts, 7, &name), 0);
    assert_int_equal(shale_store_put(r.f.mem, (char *)name.data, slice_of_buf(&object), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(table_open_wal(&r.f.ts, 7, &h), 0);
    src.sst = h;
    assert_int_equal(table_properties_read(&r.f.ts, &src, &r.blob), 1);
    check_blob(&r, "a=1 b=2 ");
    sst_handle_unref(h);
    /* A fence has no rows to tell of. */
    buf_clear(&object);
    assert_int_equal(wal_fence_encode(&r.f.ts.format, &object), 0);
    assert_int_equal(shale_store_put(r.f.mem, (char *)name.data, slice_of_buf(&object), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(table_open_wal(&r.f.ts, 7, &h), 0);
    src.sst = h;
    assert_int_equal(table_properties_read(&r.f.ts, &src, &r.blob), 0);
    sst_handle_unref(h);
    /* Nor has an object of no bytes. */
    assert_int_equal(shale_store_put(r.f.mem, (char *)name.data, slice_str(""), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(table_open_wal(&r.f.ts, 7, &h), 0);
    src.sst = h;
    assert_int_equal(table_properties_read(&r.f.ts, &src, &r.blob), 0);
    sst_handle_unref(h);
    buf_clear(&object);
    for (int i = 0; i < 3; i++) {
        struct hook_fault *faults[] = { &r.tally.create_fault, &r.tally.add_fault, &r.tally.finish_fault };

        hook_fault_set(faults[i], 1, 1, SHALE_ETRANSIENT);
        assert_int_equal(wal_sst_encode(&r.f.ts.format, refs, 3, &object), SHALE_EHOOK);
        assert_int_equal(object.len, 0);
    }
    shale_buf_fini(&object);
    shale_buf_fini(&name);
    rig_fini(&r);
}

static void each_failing_allocation_is_told(void **state)
{
    struct sst_handle *h = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, SHALE_CODEC_LZ4, true);
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = write_three(&r, true, &h);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_true(rc == -ENOMEM || rc == SHALE_EHOOK); /* the hooks have memory of their own */
        assert_int_equal(r.tally.alive, 0);
    }
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = read_blob(&r, h);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 1);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
    check_blob(&r, "a=2 b=1 ");
    sst_handle_unref(h);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_is_found),
        cmocka_unit_test(damage_is_not_taken_for_absence),
        cmocka_unit_test(what_others_put_there_is_none),
        cmocka_unit_test(the_length_is_bounded),
        cmocka_unit_test(blobs_come_back_in_every_form),
        cmocka_unit_test(no_blob_is_not_an_empty_one),
        cmocka_unit_test(the_longest_blob_is_stored),
        cmocka_unit_test(a_failing_collector_leaves_no_object),
        cmocka_unit_test(damage_of_an_object_is_told),
        cmocka_unit_test(a_failing_store_is_told),
        cmocka_unit_test(wal_objects_have_blobs),
        cmocka_unit_test(each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
