/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "format/filter.h"
#include "lib/heap_fault.h"

#include <errno.h>
#include <shale/error.h>

static void hashes_are_those_of_the_vectors(void **state)
{
    static const struct {
        const char *key;
        uint64_t hash;
    } cases[] = {
        { "", 0xd1fba762150c532c },         { "key1", 0x1d69258c06d49bf7 },    { "01234567", 0xda3dcedf84ea6cc6 },
        { "slatedb", 0x9d2dcdafdccdb2f9 },  { "apple", 0xe4305d08716d0e44 },   { "apricot", 0xcd18796a05949d8b },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(filter_hash(slice_str(cases[i].key)), cases[i].hash);
}

/* The plain algorithm, a byte at a time. */
static uint64_t slow_sip13(const uint8_t *p, size_t len)
{
    uint64_t v[4] = { 0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573 };
    size_t n_words = len / 8 + 1;

    for (size_t i = 0; i < n_words + 3; i++) {
        uint64_t m = 0;

        for (size_t k = i * 8; i < n_words && k < i * 8 + 8; k++)
            m |= (uint64_t)(k < len ? p[k] : k % 8 == 7 ? len & 0xff : 0) << (8 * (k % 8));
        if (i == n_words)
            v[2] ^= 0xff;
        v[3] ^= m;
        v[0] += v[1];
        v[1] = (v[1] << 13 | v[1] >> 51) ^ v[0];
        v[0] = v[0] << 32 | v[0] >> 32;
        v[2] += v[3];
        v[3] = (v[3] << 16 | v[3] >> 48) ^ v[2];
        v[0] += v[3];
        v[3] = (v[3] << 21 | v[3] >> 43) ^ v[0];
        v[2] += v[1];
        v[1] = (v[1] << 17 | v[1] >> 47) ^ v[2];
        v[2] = v[2] << 32 | v[2] >> 32;
        v[0] ^= m;
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void hashes_of_every_length_agree_with_the_plain_algorithm(void **state)
{
    struct rng r;

    (void)state;
    rng_seed(&r, 1);
    for (size_t len = 0; len < 300; len++) {
        uint8_t *p = malloc(len ? len : 1); /* exact, for the sanitizer */

        assert_non_null(p);
        for (size_t i = 0; i < len; i++)
            p[i] = (uint8_t)rng_next(&r);
        assert_int_equal(filter_hash(slice_of(p, len)), slow_sip13(p, len));
        free(p);
    }
}

static void bytes_are_those_of_the_example(void **state)
{
    struct filter_builder f = { 0 };
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(filter_builder_add(&f, slice_str("apple")), 0);
    assert_int_equal(filter_builder_add(&f, slice_str("apple")), 0);
    assert_int_equal(filter_builder_add(&f, slice_str("apricot")), 0);
    assert_int_equal(filter_builder_finish(&f, 10, &out), 0);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "\x00\x06\x11\x78\x22\x20", 6);
    shale_buf_fini(&out);
    filter_builder_fini(&f);
}

static void number_of_probes(void **state)
{
    static const uint32_t bits[] = { 1, 5, 10, 16, 20 };
    static const unsigned want[] = { 0, 3, 6, 11, 13 };
    struct filter_builder f = { 0 };

    (void)state;
    assert_int_equal(filter_builder_add(&f, slice_str("k")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        struct shale_buf out = SHALE_BUF_INIT;

        assert_int_equal(filter_builder_finish(&f, bits[i], &out), 0);
        assert_int_equal(get_u16be(out.data), want[i]);
        assert_int_equal(out.len, 2 + (bits[i] + 7) / 8);
        shale_buf_fini(&out);
    }
    filter_builder_fini(&f);
}

/* Also with so few bits that the step number passes their number. */
static void no_false_negatives_and_few_false_positives(void **state)
{
    static const struct {
        uint32_t n, bits_per_key, percent;
    } cases[] = { { 1, 1, 100 }, { 1, 100, 100 }, { 3, 20, 100 }, { 10000, 10, 2 }, { 10000, 20, 1 }, { 7777, 5, 12 } };
    char key[32];

    (void)state;
    for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
        struct filter_builder b = { 0 };
        struct shale_buf out = SHALE_BUF_INIT;
        struct filter f;
        unsigned wrong = 0;

        for (uint32_t i = 0; i < cases[c].n; i++) {
            snprintf(key, sizeof(key), "in%u", i);
            assert_int_equal(filter_builder_add(&b, slice_str(key)), 0);
        }
        assert_int_equal(filter_builder_finish(&b, cases[c].bits_per_key, &out), 0);
        assert_int_equal(filter_parse(slice_of_buf(&out), FILTER_BARE, &f), 0);
        for (uint32_t i = 0; i < cases[c].n; i++) {
            snprintf(key, sizeof(key), "in%u", i);
            assert_true(filter_may_contain(&f, filter_hash(slice_str(key))));
        }
        for (unsigned i = 0; i < 10000; i++) {
            snprintf(key, sizeof(key), "out%u", i);
            wrong += filter_may_contain(&f, filter_hash(slice_str(key)));
        }
        assert_true(wrong <= cases[c].percent * 100);
        shale_buf_fini(&out);
        filter_builder_fini(&b);
    }
}

/* The formula of storage format section 4.4 word for word, against the one without divisions. */
static void probes_follow_the_formula(void **state)
{
    static const size_t lens[] = { 1, 2, 3, 100, 4097 };
    struct rng r;

    (void)state;
    rng_seed(&r, 2);
    for (size_t l = 0; l < ARRAY_SIZE(lens); l++) {
        uint64_t n_bits = lens[l] * 8;
        uint8_t *bits = mem_alloc(lens[l]);

        assert_non_null(bits);
        for (unsigned round = 0; round < 50; round++) {
            uint64_t h = rng_next(&r), x = (h & UINT32_MAX) % n_bits, d = (h >> 32) % n_bits;
            struct filter f = { .bits = bits, .n_bits = n_bits, .n_probes = 200 };

            memset(bits, 0, lens[l]);
            for (uint64_t i = 0; i < 200; i++) {
                assert_false(i < 3 && n_bits > 30000 && filter_may_contain(&f, h));
                d = (d + i) % n_bits;
                bits[x / 8] |= (uint8_t)(1u << (x % 8));
                x = (x + d) % n_bits;
            }
            assert_true(filter_may_contain(&f, h));
        }
        mem_free(bits);
    }
}

static const uint8_t composite[] = {
    0, 2, 0, 5, 'o', 't', 'h', 'e', 'r', 0, 0, 0, 0, 0, 0, 0, 1, 0xaa,
    0, 3, '_', 'b', 'f', 0, 0, 0, 0, 0, 0, 0, 6, 0, 6, 0x11, 0x78, 0x22, 0x20,
};

static void composite_filters_are_found_by_name(void **state)
{
    struct filter f;

    (void)state;
    assert_int_equal(filter_parse(slice_of(composite, sizeof(composite)), FILTER_COMPOSITE, &f), 0);
    assert_int_equal(f.n_probes, 6);
    assert_int_equal(f.n_bits, 32);
    assert_ptr_equal(f.bits, composite + sizeof(composite) - 4);
    assert_true(filter_may_contain(&f, filter_hash(slice_str("apple"))));
    assert_false(filter_may_contain(&f, filter_hash(slice_str("slatedb"))));
    /* only others: says nothing */
    assert_int_equal(filter_parse(slice_of("\0\1\0\1x\0\0\0\0\0\0\0\0", 13), FILTER_COMPOSITE, &f), 0);
    assert_true(filter_may_contain(&f, 0));
    assert_int_equal(filter_parse(slice_of("\0\0", 2), FILTER_COMPOSITE, &f), 0);
    assert_true(filter_may_contain(&f, 1));
}

static void malformed_filters_are_refused(void **state)
{
    struct filter f = { .n_probes = 77 };

    (void)state;
    for (size_t len = 0; len < sizeof(composite); len++) {
        uint8_t *exact = malloc(len ? len : 1);

        assert_non_null(exact);
        memcpy(exact, composite, len);
        assert_int_equal(filter_parse(slice_of(exact, len), FILTER_COMPOSITE, &f), SHALE_ECORRUPT);
        free(exact);
    }
    assert_int_equal(filter_parse(slice_of("\0\1\0\3_bf\0\0\0\0\0\0\0\1x", 16), FILTER_COMPOSITE, &f), SHALE_ECORRUPT);
    assert_int_equal(filter_parse(slice_of("\0\1\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12), FILTER_COMPOSITE, &f),
                     SHALE_ECORRUPT);
    assert_int_equal(filter_parse(slice_of("x", 1), FILTER_BARE, &f), SHALE_ECORRUPT);
    assert_int_equal(filter_parse(slice_of(NULL, 0), FILTER_BARE, &f), SHALE_ECORRUPT);
    assert_int_equal(filter_parse(slice_of("\0\6x", 3), (enum filter_format)2, &f), SHALE_EVERSION);
    assert_int_equal(f.n_probes, 77); /* outputs change only on success */
    /* no bits: says nothing */
    assert_int_equal(filter_parse(slice_of("\0\6", 2), FILTER_BARE, &f), 0);
    assert_true(filter_may_contain(&f, 5));
}

static void allocation_failures_are_reported(void **state)
{
    struct filter_builder f = { 0 };
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    heap_fault_after(1);
    assert_int_equal(filter_builder_add(&f, slice_str("k")), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(f.n, 0);
    assert_int_equal(filter_builder_add(&f, slice_str("k")), 0);
    heap_fault_after(1);
    assert_int_equal(filter_builder_finish(&f, 10, &out), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(filter_builder_finish(&f, 10, &out), 0);
    assert_int_equal(out.len, 4);
    shale_buf_fini(&out);
    filter_builder_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_the_vectors),
        cmocka_unit_test(hashes_of_every_length_agree_with_the_plain_algorithm),
        cmocka_unit_test(bytes_are_those_of_the_example),
        cmocka_unit_test(number_of_probes),
        cmocka_unit_test(no_false_negatives_and_few_false_positives),
        cmocka_unit_test(probes_follow_the_formula),
        cmocka_unit_test(composite_filters_are_found_by_name),
        cmocka_unit_test(malformed_filters_are_refused),
        cmocka_unit_test(allocation_failures_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
