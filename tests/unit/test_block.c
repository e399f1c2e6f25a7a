/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/crc32.h"
#include "lib/block_build.h"
#include "lib/block_model.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <errno.h>

#define ROW(k, v, s, create, expire, what)                                                                             \
    {                                                                                                                  \
        .key = { (const uint8_t *)(k), sizeof(k) - 1 }, .value = { (const uint8_t *)(v), sizeof(v) - 1 }, .seq = (s),  \
        .create_ts = (create), .expire_ts = (expire), .kind = (what),                                                  \
    }

/* Storage format sections 3.8 and 3.9. */
static const struct shale_row example_rows[] = {
    ROW("apple", "red", 9, 1700000000000, SHALE_NO_TS, SHALE_PUT),
    ROW("apple", "+1", 7, 1699999999000, 1700000600000, SHALE_MERGE),
    ROW("apricot", "", 8, 1699999999500, SHALE_NO_TS, SHALE_TOMBSTONE),
};

static const char example_v2[] =
    "00050361 70706c65 72656400 00000000 00000904 0000018b cfe56800 0500022b"
    "31000000 00000000 070e0000 018bcfee 8fc00000 018bcfe5 64180205 00726963"
    "6f740000 00000000 00080500 00018bcf e5660c00 000001";

static const char example_v1[] =
    "00000005 6170706c 65000000 00000000 09040000 018bcfe5 68000000 00037265"
    "64000500 00000000 00000000 070e0000 018bcfee 8fc00000 018bcfe5 64180000"
    "00022b31 00020005 7269636f 74000000 00000000 08050000 018bcfe5 660c0000"
    "00210044 0003";

static void unhex(const char *hex, struct shale_buf *out)
{
    unsigned v;

    for (const char *p = hex; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        assert_int_equal(sscanf(p, "%2x", &v), 1);
        assert_int_equal(buf_put_u8(out, (uint8_t)v), 0);
        p += 2;
    }
}

static void assert_row_equal(const struct shale_row *got, const struct shale_row *want)
{
    assert_true(slice_eq(got->key, want->key));
    assert_true(slice_eq(got->value, want->value));
    assert_int_equal(got->seq, want->seq);
    assert_int_equal(got->create_ts, want->create_ts);
    assert_int_equal(got->expire_ts, want->expire_ts);
    assert_int_equal(got->kind, want->kind);
}

static void build(int version, const struct shale_row *rows, size_t n, struct shale_buf *out)
{
    struct block_builder b;

    block_builder_init(&b, version, 4096);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(block_add(&b, &rows[i]), 0);
    assert_int_equal(block_finish(&b, out), 0);
    block_builder_fini(&b);
}

/* Read everything and compare it with n rows. */
static void assert_gives(struct block_iter *it, const struct shale_row *const *want, size_t n)
{
    struct shale_row row;

    for (size_t i = 0; i < n; i++) {
        assert_int_equal(block_iter_next(it, &row), 0);
        assert_row_equal(&row, want[i]);
    }
    assert_int_equal(block_iter_next(it, &row), SHALE_END);
    assert_int_equal(block_iter_next(it, &row), SHALE_END);
}

static void check_example(int version, const char *hex, uint32_t crc)
{
    const struct shale_row *asc[] = { &example_rows[0], &example_rows[1], &example_rows[2] };
    const struct shale_row *desc[] = { &example_rows[2], &example_rows[0], &example_rows[1] };
    struct shale_buf want = SHALE_BUF_INIT, got = SHALE_BUF_INIT;
    struct block_iter it;

    unhex(hex, &want);
    build(version, example_rows, ARRAY_SIZE(example_rows), &got);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.data, want.data, want.len);
    assert_int_equal(crc32_of(slice_of_buf(&got)), crc);
    assert_int_equal(block_iter_init(&it, slice_of_buf(&want), version, ITER_ASC), 0);
    assert_gives(&it, asc, 3);
    assert_int_equal(block_iter_reset(&it, slice_of_buf(&want), version, ITER_DESC), 0);
    assert_gives(&it, desc, 3);
    block_iter_fini(&it);
    shale_buf_fini(&want);
    shale_buf_fini(&got);
}

static void version_2_bytes_are_those_of_the_example(void **state)
{
    (void)state;
    check_example(BLOCK_V2, example_v2, 0x5ece07fb);
}

static void version_1_bytes_are_those_of_the_example(void **state)
{
    (void)state;
    check_example(BLOCK_V1, example_v1, 0xe0136d71);
}

static void eighteen_rows_have_two_restarts(void **state)
{
    struct shale_row rows[18];
    struct shale_buf b = SHALE_BUF_INIT;
    char keys[18][4];

    (void)state;
    for (size_t i = 0; i < 18; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%02u", (unsigned)i % 100);
        rows[i] = (struct shale_row){ .key = slice_str(keys[i]), .seq = i + 1, .create_ts = SHALE_NO_TS,
                                      .expire_ts = SHALE_NO_TS };
    }
    build(BLOCK_V2, rows, 18, &b);
    assert_int_equal(b.len, 245);
    assert_memory_equal(b.data + 239, "\x00\x00\x00\xd3\x00\x02", 6);
    shale_buf_fini(&b);
}

/* The expiry of a tombstone is never written; version 2 still reads one, version 1 drops it. */
static void expiry_of_a_tombstone(void **state)
{
    struct shale_row row = ROW("k", "", 1, 5, 77, SHALE_TOMBSTONE);
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_row got;
    struct block_iter it;

    (void)state;
    for (int version = BLOCK_V1; version <= BLOCK_V2; version++) {
        buf_clear(&b);
        build(version, &row, 1, &b);
        assert_int_equal(block_iter_init(&it, slice_of_buf(&b), version, ITER_ASC), 0);
        assert_int_equal(block_iter_next(&it, &got), 0);
        assert_int_equal(got.expire_ts, SHALE_NO_TS);
        block_iter_fini(&it);
    }
    buf_clear(&b);
    unhex("000102 6b 7878 0000000000000001 03 000000000000004d 0000 0001", &b);
    assert_int_equal(block_iter_init(&it, slice_of_buf(&b), BLOCK_V2, ITER_ASC), 0);
    assert_int_equal(block_iter_next(&it, &got), 0);
    assert_int_equal(got.kind, SHALE_TOMBSTONE);
    assert_int_equal(got.value.len, 0); /* its bytes are skipped */
    assert_int_equal(got.expire_ts, 77);
    block_iter_fini(&it);
    buf_clear(&b);
    unhex("0000 0001 6b 0000000000000001 03 000000000000004d 0000 0001", &b);
    assert_int_equal(block_iter_init(&it, slice_of_buf(&b), BLOCK_V1, ITER_ASC), 0);
    assert_int_equal(block_iter_next(&it, &got), 0);
    assert_int_equal(got.expire_ts, SHALE_NO_TS);
    block_iter_fini(&it);
    shale_buf_fini(&b);
}

/* For each number of rows already there: the row fits exactly at the size of section 2.8, and not below. */
static void would_fit_is_exact(void **state)
{
    struct shale_row row = { .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
    char key[32];
    struct block_builder b;

    (void)state;
    for (int version = BLOCK_V1; version <= BLOCK_V2; version++) {
        block_builder_init(&b, version, 0);
        for (unsigned i = 0; i < 40; i++) {
            size_t before = b.data.len, n_offsets = b.n_offsets, need;

            snprintf(key, sizeof(key), "some-key-%04u", i);
            row.key = slice_str(key);
            row.value = slice_of(key, i % 7);
            row.create_ts = i % 2 ? 17 : SHALE_NO_TS;
            if (i == 0)
                assert_true(block_fits(&b, &row)); /* whatever the size */
            b.block_size = SIZE_MAX;
            assert_true(block_fits(&b, &row));
            assert_int_equal(block_add(&b, &row), 0);
            need = b.data.len + 2 * b.n_offsets + 2 - (version == BLOCK_V1 ? 2 : 0);
            /* back to before the row, to ask again */
            b.data.len = before;
            b.n_offsets = n_offsets;
            b.n_rows--;
            if (i > 0) {
                snprintf(key, sizeof(key), "some-key-%04u", i - 1);
                if (version == BLOCK_V2)
                    assert_int_equal(buf_set(&b.prev_key, slice_str(key)), 0);
                snprintf(key, sizeof(key), "some-key-%04u", i);
                b.block_size = need;
                assert_true(block_fits(&b, &row));
                b.block_size = need - 1;
                assert_false(block_fits(&b, &row));
            }
            assert_int_equal(block_add(&b, &row), 0);
        }
        block_builder_fini(&b);
    }
}

static void offsets_beyond_16_bits_do_not_fit(void **state)
{
    static const uint8_t big[70000];
    struct shale_row row = { .key = slice_str("k"), .value = slice_of(big, sizeof(big)), .create_ts = SHALE_NO_TS,
                             .expire_ts = SHALE_NO_TS };
    struct block_builder b;

    (void)state;
    block_builder_init(&b, BLOCK_V2, 1 << 20);
    assert_int_equal(block_add(&b, &row), 0);
    row.value.len = 0;
    for (unsigned i = 1; i < BLOCK_RESTART_INTERVAL; i++) {
        assert_true(block_fits(&b, &row));
        assert_int_equal(block_add(&b, &row), 0);
    }
    assert_false(block_fits(&b, &row));
    block_builder_fini(&b);
}

/*
 * A key over few letters, so that prefixes are shared; now and then a long one. small: also blocks of many rows and no
 * long keys.
 */
static struct shale_slice random_key(struct rng *r, uint8_t *to, bool small)
{
    uint64_t what = small ? 0 : rng_below(r, 100);
    size_t len = what < 90 ? 1 + rng_below(r, 12) : what < 98 ? 1 + rng_below(r, 700) : 60000 + rng_below(r, 5536);

    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(len > 100 && i < len - 3 ? 'x' : "ab\x00\xff"[rng_below(r, 4)]);
    return slice_of(to, len);
}

static int64_t random_ts(struct rng *r)
{
    return rng_below(r, 3) ? (int64_t)rng_below(r, 1u << 30) - 1000 : SHALE_NO_TS;
}

static void random_rows(struct rng *r, struct model *m)
{
    static uint8_t key[65536], value[300];
    bool small = rng_below(r, 4) != 0;
    size_t n_keys = 1 + rng_below(r, 30);

    for (size_t k = 0; k < n_keys; k++) {
        struct shale_row row = { .key = random_key(r, key, small) };
        size_t versions = rng_below(r, 4) ? 1 + rng_below(r, 3) : 1 + rng_below(r, 60);

        for (size_t i = 0; i < versions; i++) {
            row.kind = (enum shale_kind)rng_below(r, 3);
            row.value = slice_of(value, row.kind == SHALE_TOMBSTONE ? 0 : rng_below(r, rng_below(r, 8) ? 9 : 300));
            row.seq = rng_below(r, 8) ? rng_below(r, 1000) : rng_next(r);
            row.create_ts = random_ts(r);
            row.expire_ts = row.kind == SHALE_TOMBSTONE ? SHALE_NO_TS : random_ts(r);
            model_add(m, row);
        }
    }
    model_sort(m);
}

/* As many of the rows as fit; the others are forgotten. */
static void build_model(struct model *m, int version, size_t block_size, struct shale_buf *out)
{
    struct block_builder b;
    size_t n = 0;

    block_builder_init(&b, version, block_size);
    while (n < m->n && block_fits(&b, &m->rows[n]))
        assert_int_equal(block_add(&b, &m->rows[n++]), 0);
    assert_int_equal(block_finish(&b, out), 0);
    block_builder_fini(&b);
    if (n > 1)
        assert_true(out->len <= block_size + 2); /* version 1 does not count its last offset */
    for (size_t i = n; i < m->n; i++) {
        free((void *)(uintptr_t)m->rows[i].key.data);
        free((void *)(uintptr_t)m->rows[i].value.data);
    }
    m->n = n;
}

/* What another writer may do: restarts anywhere, and less shared than there is in common. */
static void build_foreign(const struct model *m, struct rng *r, struct shale_buf *out)
{
    uint16_t *offsets = mem_calloc(m->n, sizeof(*offsets));
    size_t n_offsets = 0;

    assert_non_null(offsets);
    for (size_t i = 0; i < m->n; i++) {
        size_t shared = i ? row_key_common(m->rows[i - 1].key, m->rows[i].key) : 0;
        size_t at = out->len;

        if (i == 0 || (rng_below(r, 5) == 0 && at <= UINT16_MAX)) {
            shared = 0;
            offsets[n_offsets++] = (uint16_t)at;
        } else if (rng_below(r, 2)) {
            shared = rng_below(r, shared + 1);
        }
        assert_non_null(buf_extend(out, row_v2_len(&m->rows[i], shared)));
        assert_ptr_equal(row_v2_write(out->data + at, &m->rows[i], shared), out->data + out->len);
    }
    for (size_t i = 0; i < n_offsets; i++)
        assert_int_equal(buf_put_u16be(out, offsets[i]), 0);
    assert_int_equal(buf_put_u16be(out, (uint16_t)n_offsets), 0);
    free(offsets);
}

/* Seek and compare what follows, the whole or the first rows. */
static void check_seek(struct block_iter *it, const struct shale_row *const *order, size_t n, struct shale_slice key)
{
    size_t i = 0;
    struct shale_row row;

    while (i < n && (it->order == ITER_ASC ? slice_cmp(order[i]->key, key) < 0 : slice_cmp(order[i]->key, key) > 0))
        i++;
    assert_int_equal(block_iter_seek(it, key), 0);
    for (size_t k = 0; k < 70; k++, i++) {
        int rc = block_iter_next(it, &row);

        assert_int_equal(rc, i < n ? 0 : SHALE_END);
        if (rc == SHALE_END)
            return;
        assert_row_equal(&row, order[i]);
    }
}

/* Seek to every key, and to its neighbours on both sides. */
static void check_seeks(struct block_iter *it, const struct shale_row *const *order, size_t n)
{
    static uint8_t key[65537];

    check_seek(it, order, n, slice_of(key, 0));
    for (size_t i = 0; i < n; i++) {
        size_t len = order[i]->key.len;

        if (len > 1000 && i % 8)
            continue;
        memcpy(key, order[i]->key.data, len);
        key[len] = 0;
        check_seek(it, order, n, slice_of(key, len));
        check_seek(it, order, n, slice_of(key, len + 1));
        check_seek(it, order, n, slice_of(key, len - 1));
        key[len - 1]++;
        check_seek(it, order, n, slice_of(key, len));
    }
    memset(key, 0xff, 20);
    check_seek(it, order, n, slice_of(key, 20));
}

static void check_block(struct shale_slice payload, int version, const struct model *m)
{
    const struct shale_row **order = mem_calloc(m->n, sizeof(*order));
    struct block_iter it;

    assert_non_null(order);
    for (size_t i = 0; i < m->n; i++)
        order[i] = &m->rows[i];
    assert_int_equal(block_iter_init(&it, payload, version, ITER_ASC), 0);
    assert_gives(&it, order, m->n);
    check_seeks(&it, order, m->n);
    model_descending(m, order);
    assert_int_equal(block_iter_reset(&it, payload, version, ITER_DESC), 0);
    assert_gives(&it, order, m->n);
    check_seeks(&it, order, m->n);
    block_iter_fini(&it);
    free(order);
}

static void blocks_agree_with_a_sorted_array(void **state)
{
    static const size_t sizes[] = { 1024, 4096, 65536, 1 << 20 };
    uint64_t seed = random_env(1).first;

    (void)state;
    for (unsigned i = 0; i < 150; i++, seed++) {
        struct shale_buf payload = SHALE_BUF_INIT;
        struct model m = { 0 };
        int version = i % 3 == 0 ? BLOCK_V1 : BLOCK_V2;
        struct rng r;

        print_message("seed %llu\r", (unsigned long long)seed);
        rng_seed(&r, seed);
        random_rows(&r, &m);
        build_model(&m, version, sizes[rng_below(&r, version == BLOCK_V1 ? 3 : 4)], &payload);
        check_block(slice_of_buf(&payload), version, &m);
        if (version == BLOCK_V2) {
            buf_clear(&payload);
            build_foreign(&m, &r, &payload);
            check_block(slice_of_buf(&payload), version, &m);
        }
        shale_buf_fini(&payload);
        model_fini(&m);
    }
    print_message("\n");
}

/* One key with versions over many restarts, with neighbours, so that groups begin and end at restarts and inside. */
static void versions_of_one_key_over_restarts(void **state)
{
    (void)state;
    for (size_t before = 0; before < 34; before += before < 18 ? 1 : 5) {
        for (size_t versions = 1; versions < 70; versions += versions < 34 ? 1 : 7) {
            struct shale_buf payload = SHALE_BUF_INIT;
            struct model m = { 0 };
            struct shale_row row = { .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
            char key[16];

            for (size_t i = 0; i < before; i++) {
                snprintf(key, sizeof(key), "a%02u", (unsigned)i % 100);
                row.key = slice_str(key);
                model_add(&m, row);
            }
            row.key = slice_str("key");
            for (size_t i = versions; i > 0; i--) {
                row.seq = i;
                model_add(&m, row);
            }
            row.key = slice_str("keyz");
            model_add(&m, row);
            build_model(&m, BLOCK_V2, 65536, &payload);
            check_block(slice_of_buf(&payload), BLOCK_V2, &m);
            shale_buf_fini(&payload);
            model_fini(&m);
        }
    }
}

/* Rows in order of arrival, as a WAL has them. */
static void keys_need_not_ascend_when_read_forwards(void **state)
{
    static const struct shale_row rows[] = {
        ROW("zebra", "1", 1, 0, SHALE_NO_TS, SHALE_PUT),
        ROW("ant", "2", 2, 0, SHALE_NO_TS, SHALE_PUT),
        ROW("antler", "", 2, 0, SHALE_NO_TS, SHALE_TOMBSTONE),
        ROW("ant", "4", 3, 0, SHALE_NO_TS, SHALE_PUT),
    };
    const struct shale_row *order[ARRAY_SIZE(rows)];
    struct shale_buf b = SHALE_BUF_INIT;
    struct block_iter it;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        order[i] = &rows[i];
    build(BLOCK_V2, rows, ARRAY_SIZE(rows), &b);
    assert_int_equal(block_iter_init(&it, slice_of_buf(&b), BLOCK_V2, ITER_ASC), 0);
    assert_gives(&it, order, ARRAY_SIZE(rows));
    block_iter_fini(&it);
    shale_buf_fini(&b);
}

static void malformed_blocks_are_refused(void **state)
{
    static const struct {
        const char *name;
        const char *hex;
        int version;
        int rc;
    } cases[] = {
        { "nothing", "", 2, SHALE_ECORRUPT },
        { "one byte", "00", 2, SHALE_ECORRUPT },
        { "no offsets", "0000", 2, SHALE_ECORRUPT },
        { "no rows", "00000001", 2, SHALE_ECORRUPT },
        { "more offsets than bytes", "0001006b 00000000 00000001 00 0000 ffff", 2, SHALE_ECORRUPT },
        { "first offset is not 0", "0001006b 00000000 00000001 00 0001 0001", 2, SHALE_ECORRUPT },
        { "offset past the rows", "0001006b 00000000 00000001 00 0000 000d 0002", 2, SHALE_ECORRUPT },
        { "version 3", "0001006b 00000000 00000001 00 0000 0001", 3, SHALE_EVERSION },
        { "version 0", "0001006b 00000000 00000001 00 0000 0001", 0, SHALE_EVERSION },
        { "fine", "0001006b 00000000 00000001 00 0000 0001", 2, 0 },
        { "unknown flag", "0001006b 00000000 00000001 10 0000 0001", 2, SHALE_ECORRUPT },
        { "tombstone and operand", "0001006b 00000000 00000001 09 0000 0001", 2, SHALE_ECORRUPT },
        { "empty key", "000001 6b 00000000 00000001 00 0000 0001", 2, SHALE_ECORRUPT },
        { "restart shares", "0101006b 00000000 00000001 00 0000 0001", 2, SHALE_ECORRUPT },
        { "varint of six bytes", "00 818080808000 00 6b 00000000 00000001 00 0000 0001", 2, SHALE_ECORRUPT },
        { "varint past 32 bits", "00 8180808010 00 6b 00000000 00000001 00 0000 0001", 2, SHALE_ECORRUPT },
        { "long varints are fine", "8000 818000 8000 6b 00000000 00000001 00 0000 0001", 2, 0 },
        { "value past the end", "0001ff01 6b 00000000 00000001 00 0000 0001", 2, SHALE_ECORRUPT },
        { "key past the end", "00ff0100 6b 00000000 00000001 00 0000 0001", 2, SHALE_ECORRUPT },
        { "expiry cut short", "0001006b 00000000 00000001 02 01020304050607 0000 0001", 2, SHALE_ECORRUPT },
        { "creation cut short", "0001006b 00000000 00000001 04 01020304050607 0000 0001", 2, SHALE_ECORRUPT },
        { "bytes behind the last row", "0001006b 00000000 00000001 00 00 0000 0001", 2, SHALE_ECORRUPT },
        { "version 1 is fine", "00000001 6b 00000000 00000001 00 00000000 0000 0001", 1, 0 },
        { "version 1 first row shares", "00010001 6b 00000000 00000001 00 00000000 0000 0001", 1, SHALE_ECORRUPT },
        { "version 1 no value length", "00000001 6b 00000000 00000001 00 0000 0001", 1, SHALE_ECORRUPT },
        { "version 1 value past the end", "00000001 6b 00000000 00000001 00 00000001 0000 0001", 1, SHALE_ECORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int order = ITER_ASC; order <= ITER_DESC; order++) {
            struct shale_buf b = SHALE_BUF_INIT;
            struct block_iter it;
            struct shale_row row;
            int rc;

            print_message("%s\n", cases[i].name);
            unhex(cases[i].hex, &b);
            rc = block_iter_init(&it, slice_of_buf(&b), cases[i].version, (enum iter_order)order);
            while (rc == 0)
                rc = block_iter_next(&it, &row);
            assert_int_equal(rc, cases[i].rc ? cases[i].rc : SHALE_END);
            block_iter_fini(&it);
            shale_buf_fini(&b);
        }
    }
}

/* Whatever the bytes: an error or an end after no more rows than there are bytes. All bytes of rows are read. */
static void walk(const uint8_t *bytes, size_t len, int version, enum iter_order order, struct shale_slice target)
{
    uint8_t *exact = malloc(len ? len : 1); /* so that the sanitizer sees a byte too many */
    struct block_iter it;
    struct shale_row row;
    volatile uint8_t sum = 0;
    size_t n = 0;
    int rc;

    assert_non_null(exact);
    if (len)
        memcpy(exact, bytes, len);
    rc = block_iter_init(&it, slice_of(exact, len), version, order);
    if (rc == 0 && target.len)
        rc = block_iter_seek(&it, target);
    while (rc == 0) {
        rc = block_iter_next(&it, &row);
        if (rc != 0)
            break;
        for (size_t i = 0; i < row.key.len; i++)
            sum = (uint8_t)(sum + row.key.data[i]);
        for (size_t i = 0; i < row.value.len; i++)
            sum = (uint8_t)(sum + row.value.data[i]);
        assert_true(n++ < len);
    }
    assert_true(rc == SHALE_END || rc == SHALE_ECORRUPT);
    block_iter_fini(&it);
    free(exact);
}

static void walk_all_ways(const uint8_t *bytes, size_t len, int version)
{
    for (int order = ITER_ASC; order <= ITER_DESC; order++) {
        walk(bytes, len, version, (enum iter_order)order, slice_of(NULL, 0));
        walk(bytes, len, version, (enum iter_order)order, slice_str("k17"));
    }
}

static void damaged_blocks_never_break_the_reader(void **state)
{
    struct model m = { 0 };
    char key[16];

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        struct shale_row row = { .value = slice_of("value", i % 6), .seq = 100 - i, .kind = SHALE_PUT };

        snprintf(key, sizeof(key), "k%02u", i / 3);
        row.key = slice_str(key);
        row.create_ts = i % 2 ? (int64_t)i : SHALE_NO_TS;
        row.expire_ts = i % 5 ? SHALE_NO_TS : (int64_t)i;
        model_add(&m, row);
    }
    for (int version = BLOCK_V1; version <= BLOCK_V2; version++) {
        struct shale_buf b = SHALE_BUF_INIT;

        build_model(&m, version, 4096, &b);
        assert_int_equal(m.n, 40);
        for (size_t len = 0; len <= b.len; len++)
            walk_all_ways(b.data, len, version);
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            walk_all_ways(b.data, b.len, version);
            b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        shale_buf_fini(&b);
    }
    model_fini(&m);
}

/* 0, or -ENOMEM with the builder as it was. */
static int build_failing(const struct model *m, struct shale_buf *out, size_t *n_failed)
{
    struct block_builder b;
    int rc = 0;

    block_builder_init(&b, BLOCK_V2, 65536);
    for (size_t i = 0; i < m->n; i++) {
        rc = block_add(&b, &m->rows[i]);
        if (rc < 0) { /* nothing was added: the same again succeeds */
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(b.n_rows, i);
            ++*n_failed;
            assert_int_equal(block_add(&b, &m->rows[i]), 0);
        }
    }
    rc = block_finish(&b, out);
    if (rc < 0) {
        assert_int_equal(rc, -ENOMEM);
        ++*n_failed;
        assert_int_equal(block_finish(&b, out), 0);
    }
    block_builder_fini(&b);
    return rc;
}

static int read_all(struct shale_slice payload, int version, enum iter_order order, struct shale_slice target, size_t n)
{
    struct block_iter it;
    struct shale_row row;
    size_t got = 0;
    int rc = block_iter_init(&it, payload, version, order);

    if (rc == 0)
        rc = block_iter_seek(&it, target);
    while (rc == 0) {
        rc = block_iter_next(&it, &row);
        got += rc == 0;
    }
    block_iter_fini(&it);
    if (rc == SHALE_END)
        assert_int_equal(got, n);
    return rc == SHALE_END ? 0 : rc;
}

static void allocation_failures_are_reported(void **state)
{
    static const uint8_t long_key[300] = { 'x' };
    struct shale_buf want = SHALE_BUF_INIT;
    struct model m = { 0 };
    size_t unused = 0;

    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        struct shale_row row = { .key = slice_of(long_key, 1 + i * 4), .create_ts = SHALE_NO_TS,
                                 .expire_ts = SHALE_NO_TS };

        model_add(&m, row);
    }
    assert_int_equal(build_failing(&m, &want, &unused), 0);
    for (unsigned n = 1;; n++) {
        struct shale_buf got = SHALE_BUF_INIT;
        size_t n_failed = 0;
        bool failed;

        heap_fault_after(n);
        (void)build_failing(&m, &got, &n_failed); /* its checks are inside */
        failed = heap_fault_off();
        assert_int_equal(n_failed, failed);
        assert_true(slice_eq(slice_of_buf(&got), slice_of_buf(&want)));
        shale_buf_fini(&got);
        if (!failed)
            break;
        assert_true(n < 100);
    }
    for (int order = ITER_ASC; order <= ITER_DESC; order++) {
        struct shale_slice all = slice_of(long_key, order == ITER_ASC ? 0 : sizeof(long_key));
        bool failed = true;

        for (unsigned n = 1; failed; n++) {
            int rc;

            heap_fault_after(n);
            rc = read_all(slice_of_buf(&want), BLOCK_V2, (enum iter_order)order, all, m.n);
            failed = heap_fault_off();
            assert_int_equal(rc, failed ? -ENOMEM : 0);
            assert_true(n < 100);
        }
    }
    shale_buf_fini(&want);
    model_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_2_bytes_are_those_of_the_example),
        cmocka_unit_test(version_1_bytes_are_those_of_the_example),
        cmocka_unit_test(eighteen_rows_have_two_restarts),
        cmocka_unit_test(expiry_of_a_tombstone),
        cmocka_unit_test(would_fit_is_exact),
        cmocka_unit_test(offsets_beyond_16_bits_do_not_fit),
        cmocka_unit_test(blocks_agree_with_a_sorted_array),
        cmocka_unit_test(versions_of_one_key_over_restarts),
        cmocka_unit_test(keys_need_not_ascend_when_read_forwards),
        cmocka_unit_test(malformed_blocks_are_refused),
        cmocka_unit_test(damaged_blocks_never_break_the_reader),
        cmocka_unit_test(allocation_failures_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
