/* SPDX-License-Identifier: Apache-2.0 */
#include "format/flatbuf.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "lib/check.h"
#include "lib/heap_fault.h"
#include "lib/hex.h"
#include "lib/mutate.h"

#include <errno.h>

/* A table with one field of each kind; slot numbers as in build_sample. */
static int build_sample(struct shale_buf *out)
{
    const uint32_t numbers[] = { 7, 0, UINT32_MAX };
    struct fb_builder b;
    fb_ref text, bytes, u32s, leaf[2], tables;
    int rc;

    fb_builder_init(&b);
    text = fb_put_string(&b, "caf\xc3\xa9");
    bytes = fb_put_bytes(&b, slice_str("raw"));
    u32s = fb_put_u32s(&b, numbers, 3);
    for (unsigned i = 0; i < 2; i++) {
        fb_begin(&b);
        fb_add_u16(&b, 0, (uint16_t)(i + 1), 0);
        leaf[i] = fb_end(&b);
    }
    tables = fb_put_refs(&b, leaf, 2);
    fb_begin(&b);
    fb_add_u64(&b, 0, 0x0102030405060708, 0);
    fb_add_u32(&b, 1, 0xfffffffe, 0);
    fb_add_ref(&b, 4, text);
    fb_add_ref(&b, 5, bytes);
    fb_add_ref(&b, 6, u32s);
    fb_add_ref(&b, 7, tables);
    fb_add_ref(&b, 8, leaf[1]);
    fb_add_u16_always(&b, 2, 0);
    fb_add_u8(&b, 3, 0, 0);
    rc = fb_finish(&b, fb_end(&b), out);
    fb_builder_fini(&b);
    return rc;
}

static int read_sample(struct shale_slice in)
{
    struct fb_reader r;
    struct fb_table root, leaf;
    struct shale_slice s;
    struct fb_vector v;
    unsigned sum = 0;

    fb_reader_init(&r, in, "sample", 100);
    root = fb_root(&r);
    (void)fb_u64(&r, &root, 0, 0);
    (void)fb_u32(&r, &root, 1, 0);
    (void)fb_u16(&r, &root, 2, 0);
    (void)fb_u8(&r, &root, 3, 0);
    if (fb_string(&r, &root, 4, &s) && s.len)
        sum += s.data[s.len - 1];
    if (fb_bytes(&r, &root, 5, &s) && s.len)
        sum += s.data[s.len - 1];
    if (fb_vector(&r, &root, 6, 4, &v) && v.n)
        sum += fb_u32_at(&r, &v, v.n - 1);
    v = fb_tables_req(&r, &root, 7, "tables");
    for (uint32_t i = 0; i < v.n && r.rc == 0; i++) {
        leaf = fb_table_at(&r, &v, i);
        sum += fb_u16(&r, &leaf, 0, 0);
    }
    leaf = fb_table_req(&r, &root, 8, "leaf");
    sum += fb_u16(&r, &leaf, 0, 0);
    return r.rc < 0 ? r.rc : sum ? 0 : -EINVAL;
}

static void every_kind_of_field_survives(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fb_reader r;
    struct fb_table root, leaf;
    struct shale_slice s;
    struct fb_vector v;

    (void)state;
    assert_int_equal(build_sample(&b), 0);
    assert_int_equal(b.len % 8, 0);
    fb_reader_init(&r, slice_of_buf(&b), "sample", 4);
    root = fb_root(&r);
    assert_true(fb_u64(&r, &root, 0, 9) == 0x0102030405060708);
    assert_true(fb_u32(&r, &root, 1, 9) == 0xfffffffe);
    assert_true(fb_has(&r, &root, 2) && fb_u16(&r, &root, 2, 9) == 0);
    assert_true(!fb_has(&r, &root, 3) && fb_u8(&r, &root, 3, 9) == 9);
    assert_true(fb_string(&r, &root, 4, &s) && slice_eq(s, slice_str("caf\xc3\xa9")));
    assert_true(fb_bytes(&r, &root, 5, &s) && slice_eq(s, slice_str("raw")));
    assert_true(fb_vector(&r, &root, 6, 4, &v) && v.n == 3);
    assert_true(fb_u32_at(&r, &v, 0) == 7 && fb_u32_at(&r, &v, 2) == UINT32_MAX);
    assert_true(fb_vector(&r, &root, 7, 4, &v) && v.n == 2);
    leaf = fb_table_at(&r, &v, 0);
    assert_int_equal(fb_u16(&r, &leaf, 0, 0), 1);
    leaf = fb_table_at(&r, &v, 1);
    assert_int_equal(fb_u16(&r, &leaf, 0, 0), 2);
    assert_true(fb_table(&r, &root, 8, &leaf) && fb_u16(&r, &leaf, 0, 0) == 2);
    assert_false(fb_table(&r, &root, 9, &leaf));
    assert_false(fb_table(&r, &root, 500, &leaf));
    assert_int_equal(r.rc, 0);
    /* The fifth table is one too many. */
    assert_false(fb_table(&r, &root, 8, &leaf));
    assert_int_equal(r.rc, SHALE_ECORRUPT);
    shale_buf_fini(&b);
}

/* Mostly: root table at 12, vtable at 4. */
static void what_the_verifier_refuses(void **state)
{
    static const struct {
        const char *name, *hex;
        int want;
    } cases[] = {
        { "one u64 field", "0c000000 0600 0c00 0400 0000 08000000 0100000000000000", 0 },
        { "vtable behind its table", "04000000 f8ffffff 00000000 0400 0400", 0 },
        { "empty", "", SHALE_ECORRUPT },
        { "root alone, pointing past the end", "10000000", SHALE_ECORRUPT },
        { "root with a huge offset", "fcffffff", SHALE_ECORRUPT },
        { "root misaligned", "05000000 00000000 00000000 00000000", SHALE_ECORRUPT },
        { "vtable before the buffer", "04000000 08000000 00000000", SHALE_ECORRUPT },
        { "vtable behind the buffer", "04000000 f0ffffff 00000000", SHALE_ECORRUPT },
        { "vtable at an odd place", "08000000 04000400 03000000", SHALE_ECORRUPT },
        { "vtable of odd length", "0c000000 0500 0400 0000 0000 08000000", SHALE_ECORRUPT },
        { "vtable shorter than its head", "0c000000 0200 0400 0000 0000 08000000", SHALE_ECORRUPT },
        { "vtable that passes the end", "0c000000 4000 0400 0000 0000 08000000", SHALE_ECORRUPT },
        { "u64 misaligned", "0c000000 0600 0c00 0800 0000 08000000 00000000 0100000000000000", SHALE_ECORRUPT },
        { "u64 that passes the end", "0c000000 0600 0c00 0400 0000 08000000 01000000", SHALE_ECORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_buf b = SHALE_BUF_INIT;
        struct fb_reader r;
        struct fb_table root;

        print_message("%s\n", cases[i].name);
        hex_append(&b, cases[i].hex);
        fb_reader_init(&r, slice_of_buf(&b), "test", 10);
        root = fb_root(&r);
        (void)fb_u64(&r, &root, 0, 0);
        assert_int_equal(r.rc, cases[i].want);
        shale_buf_fini(&b);
    }
}

/* Whether a string of these bytes is accepted; spoil_nul overwrites what follows it. */
static int string_of(const char *bytes, size_t len, bool spoil_nul)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_slice s;
    struct fb_builder b;
    struct fb_reader r;
    struct fb_table root;
    char text[64] = { 0 };
    fb_ref ref;

    memset(text, 'x', len);
    fb_builder_init(&b);
    ref = fb_put_string(&b, text);
    fb_begin(&b);
    fb_add_ref(&b, 0, ref);
    assert_int_equal(fb_finish(&b, fb_end(&b), &out), 0);
    fb_builder_fini(&b);
    fb_reader_init(&r, slice_of_buf(&out), "test", 10);
    root = fb_root(&r);
    assert_true(fb_bytes(&r, &root, 0, &s) && s.len == len);
    memcpy(out.data + (s.data - out.data), bytes, len);
    if (spoil_nul)
        out.data[(size_t)(s.data - out.data) + len] = 1;
    (void)fb_string(&r, &root, 0, &s);
    shale_buf_fini(&out);
    return r.rc;
}

static void strings_are_utf_8(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int want;
    } cases[] = {
        { "", 0, 0 }, { "a", 1, 0 }, { "\x7f", 1, 0 }, { "\xc2\x80", 2, 0 }, { "\xdf\xbf", 2, 0 },
        { "\xe0\xa0\x80", 3, 0 }, { "\xed\x9f\xbf", 3, 0 }, { "\xee\x80\x80", 3, 0 }, { "\xef\xbf\xbf", 3, 0 },
        { "\xf0\x90\x80\x80", 4, 0 }, { "\xf4\x8f\xbf\xbf", 4, 0 }, { "\x80", 1, SHALE_ECORRUPT },
        { "\xc0\x80", 2, SHALE_ECORRUPT }, { "\xc1\xbf", 2, SHALE_ECORRUPT }, { "\xc2", 1, SHALE_ECORRUPT },
        { "\xc2\x41", 2, SHALE_ECORRUPT }, { "\xe0\x9f\xbf", 3, SHALE_ECORRUPT }, { "\xed\xa0\x80", 3, SHALE_ECORRUPT },
        { "\xe1\x80", 2, SHALE_ECORRUPT }, { "\xe1\x80\x41", 3, SHALE_ECORRUPT },
        { "\xf0\x8f\xbf\xbf", 4, SHALE_ECORRUPT }, { "\xf4\x90\x80\x80", 4, SHALE_ECORRUPT },
        { "\xf5\x80\x80\x80", 4, SHALE_ECORRUPT }, { "\xff", 1, SHALE_ECORRUPT }, { "a\0b", 3, SHALE_ECORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("case %zu\n", i);
        assert_int_equal(string_of(cases[i].bytes, cases[i].len, false), cases[i].want);
        assert_int_equal(string_of(cases[i].bytes, cases[i].len, true), SHALE_ECORRUPT);
    }
}

static fb_ref put_chain(struct fb_builder *b, unsigned depth)
{
    fb_ref ref = 0;

    for (unsigned i = 0; i < depth; i++) {
        fb_begin(b);
        fb_add_ref(b, 0, ref);
        ref = fb_end(b);
    }
    return ref;
}

static void tables_nest_at_most_64_deep(void **state)
{
    (void)state;
    for (unsigned depth = 63; depth <= 66; depth++) {
        struct shale_buf out = SHALE_BUF_INIT;
        struct fb_builder b;
        struct fb_reader r;
        struct fb_table t;
        unsigned n = 1;

        fb_builder_init(&b);
        assert_int_equal(fb_finish(&b, put_chain(&b, depth), &out), 0);
        fb_builder_fini(&b);
        fb_reader_init(&r, slice_of_buf(&out), "test", 1000);
        for (t = fb_root(&r); fb_table(&r, &t, 0, &t);)
            n++;
        assert_int_equal(r.rc, depth > FB_MAX_DEPTH ? SHALE_ECORRUPT : 0);
        assert_int_equal(n, depth > FB_MAX_DEPTH ? FB_MAX_DEPTH : depth);
        shale_buf_fini(&out);
    }
}

/* Without a limit, n references to one long vector would decode into n copies of it. */
static void references_to_the_same_bytes_are_limited(void **state)
{
    static uint8_t long_key[30000];
    fb_ref refs[2000], key, list;
    struct shale_buf out = SHALE_BUF_INIT;
    struct fb_builder b;
    struct fb_reader r;
    struct fb_table t;
    struct fb_vector v;
    struct shale_slice s;

    (void)state;
    fb_builder_init(&b);
    key = fb_put_bytes(&b, slice_of(long_key, sizeof(long_key)));
    fb_begin(&b);
    fb_add_ref(&b, 0, key);
    refs[0] = fb_end(&b);
    for (size_t i = 1; i < ARRAY_SIZE(refs); i++)
        refs[i] = refs[0];
    list = fb_put_refs(&b, refs, ARRAY_SIZE(refs));
    fb_begin(&b);
    fb_add_ref(&b, 0, list);
    assert_int_equal(fb_finish(&b, fb_end(&b), &out), 0);
    fb_builder_fini(&b);
    fb_reader_init(&r, slice_of_buf(&out), "test", FB_MAX_TABLES);
    t = fb_root(&r);
    v = fb_tables_req(&r, &t, 0, "list");
    for (uint32_t i = 0; i < v.n && r.rc == 0; i++) {
        t = fb_table_at(&r, &v, i);
        (void)fb_bytes(&r, &t, 0, &s);
    }
    assert_int_equal(r.rc, SHALE_ECORRUPT);
    shale_buf_fini(&out);
}

static void the_first_error_stays_and_names_the_field(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fb_reader r;
    struct fb_table root, t;

    (void)state;
    assert_int_equal(build_sample(&b), 0);
    fb_reader_init(&r, slice_of_buf(&b), "sample", 100);
    root = fb_root(&r);
    t = fb_table_req(&r, &root, 11, "eleven");
    assert_int_equal(r.rc, SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "sample"));
    assert_non_null(strstr(shale_errmsg(), "eleven"));
    (void)fb_bytes_req(&r, &t, 0, "twelve");
    (void)fb_string_req(&r, &t, 0, "twelve");
    assert_int_equal(fb_fail(&r, -EINVAL, "twelve"), SHALE_ECORRUPT);
    assert_null(strstr(shale_errmsg(), "twelve"));
    assert_int_equal(fb_u64(&r, &root, 0, 5), 5);
    shale_buf_fini(&b);
}

static void equal_vtables_are_shared(void **state)
{
    struct fb_builder b;
    size_t used;

    (void)state;
    fb_builder_init(&b);
    for (unsigned i = 0; i < 100; i++) {
        used = b.used;
        fb_begin(&b);
        fb_add_u32(&b, 0, i + 1, 0);
        assert_true(fb_end(&b) > 0);
        /* Before that, padding behind the first vtables makes the tables different. */
        assert_true(i < 3 || b.used - used == 8);
    }
    fb_builder_fini(&b);
}

/* More different vtables than the builder remembers: sharing ends, nothing else. */
static void many_different_vtables_are_fine(void **state)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct fb_builder b;
    struct fb_reader r;
    struct fb_table t;
    fb_ref ref = 0;
    unsigned n = 0;

    (void)state;
    fb_builder_init(&b);
    for (unsigned i = 0; i < 60; i++) {
        fb_begin(&b);
        fb_add_ref(&b, 0, ref);
        for (unsigned slot = 1; slot < 7; slot++)
            fb_add_u32(&b, slot, 9, i >> (slot - 1) & 1 ? 0 : 9);
        ref = fb_end(&b);
    }
    assert_int_equal(fb_finish(&b, ref, &out), 0);
    fb_builder_fini(&b);
    fb_reader_init(&r, slice_of_buf(&out), "test", 1000);
    t = fb_root(&r);
    do {
        for (unsigned slot = 1; slot < 7; slot++)
            assert_int_equal(fb_u32(&r, &t, slot, 0), (59 - n) >> (slot - 1) & 1 ? 9 : 0);
        n++;
    } while (fb_table(&r, &t, 0, &t));
    assert_int_equal(r.rc, 0);
    assert_int_equal(n, 60);
    shale_buf_fini(&out);
}

static void no_truncation_or_flipped_bit_reads_outside(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(build_sample(&b), 0);
    assert_int_equal(read_sample(slice_of_buf(&b)), 0);
    assert_true(mutate_all(slice_of_buf(&b), read_sample) > b.len);
    shale_buf_fini(&b);
}

static void running_out_of_memory_is_reported(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    unsigned n = 1;
    int rc;

    (void)state;
    for (;; n++) {
        heap_fault_after(n);
        rc = build_sample(&b);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(b.len, 0);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 1);
    shale_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_field_survives),
        cmocka_unit_test(what_the_verifier_refuses),
        cmocka_unit_test(strings_are_utf_8),
        cmocka_unit_test(tables_nest_at_most_64_deep),
        cmocka_unit_test(references_to_the_same_bytes_are_limited),
        cmocka_unit_test(the_first_error_stays_and_names_the_field),
        cmocka_unit_test(equal_vtables_are_shared),
        cmocka_unit_test(many_different_vtables_are_fine),
        cmocka_unit_test(no_truncation_or_flipped_bit_reads_outside),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests_name("flatbuf", tests, NULL, NULL);
}
