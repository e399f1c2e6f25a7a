/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "fs/core/text.h"
#include "lib/heap_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

struct thing {
    char name[8];
    uint64_t n;
    int64_t at_ms;
};

static int get_name(void *obj, struct shale_slice value)
{
    struct thing *t = obj;

    return text_get_string(value, t->name, sizeof(t->name));
}

static int get_n(void *obj, struct shale_slice value)
{
    return text_get_u64(value, &((struct thing *)obj)->n);
}

static int get_at(void *obj, struct shale_slice value)
{
    return text_get_time(value, &((struct thing *)obj)->at_ms);
}

static const struct text_field fields[] = { { "name", get_name }, { "n", get_n }, { "at", get_at } };

static int parse(struct shale_slice text, struct thing *t, size_t *n_unknown)
{
    struct shale_slice lines;
    int rc = text_open(text, "magic", "object x", &lines);

    return rc < 0 ? rc : text_parse(lines, fields, ARRAY_SIZE(fields), "object x", t, n_unknown);
}

static int write_thing(struct shale_buf *b)
{
    struct text_out t;

    text_begin(&t, b, "magic");
    text_add(&t, "name", "a%\n\x7f=");
    text_add_u64(&t, "n", UINT64_MAX);
    text_add_time(&t, "at", 1795442405123);
    return text_end(&t);
}

static void what_was_written_is_read_and_readable(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct thing t;

    (void)state;
    assert_int_equal(write_thing(&b), 0);
    assert_non_null(strstr((char *)b.data, "magic\nname=a%25%0A%7F=\nn=18446744073709551615\nat=2026-11-23T"));
    assert_int_equal(parse(slice_of_buf(&b), &t, NULL), 0);
    assert_string_equal(t.name, "a%\n\x7f=");
    assert_true(t.n == UINT64_MAX && t.at_ms == 1795442405123);
    shale_buf_fini(&b);
}

static void a_time_without_a_form_leaves_nothing_behind(void **state)
{
    static const int64_t times[] = { -1, INT64_MIN, INT64_MAX, 253402300800000 };
    struct shale_buf b = SHALE_BUF_INIT;
    struct text_out t;

    (void)state;
    assert_int_equal(buf_put_u8(&b, 'x'), 0);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        text_begin(&t, &b, "magic");
        text_add_time(&t, "t", times[i]);
        text_add_u64(&t, "n", 1);
        assert_int_equal(text_end(&t), -EINVAL);
        assert_int_equal(b.len, 1);
    }
    text_begin(&t, &b, "magic");
    assert_int_equal(text_end(&t), 0);
    assert_int_equal(b.len, 1 + 6 + 15); /* the checksum is of this text alone */
    assert_int_equal(parse(slice_from(slice_of_buf(&b), 1), NULL, NULL), SHALE_ECORRUPT);
    assert_string_equal(shale_errmsg(), "object x has no line name");
    shale_buf_fini(&b);
}

/* lines between magic and checksum line */
static void seal(struct shale_buf *b, const char *lines)
{
    struct text_out t;

    buf_clear(b);
    text_begin(&t, b, "magic");
    assert_int_equal(shale_buf_append(b, lines, strlen(lines)), 0);
    assert_int_equal(text_end(&t), 0);
}

static void each_fault_has_its_sentence(void **state)
{
    static const struct {
        const char *lines, *sentence;
    } cases[] = {
        { "name=a\nn=1\n", "object x has no line at" },
        { "name=a\nn=1\nat=1970-01-01T00:00:00.000Z\nn=1\n", "object x has two lines n" },
        { "name=a\nn=1\nat=1970-01-01T00:00:00.000Z\nm=1\n", "object x has a line with the unknown key m" },
        { "name=a\nn\n", "object x has a line that is not of the form key=value" },
        { "=a\n", "object x has a line that is not of the form key=value" },
        { "name=a\nn=-1\n", "object x has the line n with a value that cannot be" },
        { "name=12345678\n", "object x has the line name with a value that cannot be" },
    };
    struct shale_buf b = SHALE_BUF_INIT;
    struct thing t;
    size_t n_unknown;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].sentence);
        seal(&b, cases[i].lines);
        assert_int_equal(parse(slice_of_buf(&b), &t, NULL), SHALE_ECORRUPT);
        assert_string_equal(shale_errmsg(), cases[i].sentence);
    }
    seal(&b, "x=1\nname=a\ny=2\nn=1\nat=1970-01-01T00:00:00.000Z\n");
    assert_int_equal(parse(slice_of_buf(&b), &t, &n_unknown), 0);
    assert_int_equal(n_unknown, 2);
    shale_buf_fini(&b);
}

static void every_cut_and_every_changed_bit_is_noticed(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_slice lines;
    struct thing t;

    (void)state;
    assert_int_equal(write_thing(&b), 0);
    for (size_t n = 0; n < b.len; n++) {
        char *cut = mem_dup(b.data, n);

        assert_int_equal(parse(slice_of(cut, n), &t, NULL), SHALE_ECORRUPT);
        mem_free(cut);
    }
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(text_open(slice_of_buf(&b), "magic", "object x", &lines), SHALE_ECORRUPT);
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(text_open(slice_of_buf(&b), "magi", "object x", &lines), SHALE_ECORRUPT);
    assert_string_equal(shale_errmsg(), "object x does not begin with the line \"magi\"");
    shale_buf_fini(&b);
}

static void values_have_one_form(void **state)
{
    static const char *const numbers[] = { "", "01", "+1", " 1", "1 ", "18446744073709551616", "1a" };
    static const char *const hex[] = { "", "0x", "1", "0x01", "0x10000000000000000", "0xg" };
    static const char *const times[] = { "",
                                         "2026-11-23T14:00:05Z",
                                         "2026-02-30T00:00:00.000Z",
                                         "2026-11-23 14:00:05.123Z",
                                         "2026-11-23T24:00:00.000Z",
                                         "1969-12-31T23:59:59.999Z",
                                         "2026-11-23T14:00:05.12aZ" };
    static const char *const strings[] = { "%", "%4", "%00", "%41", "%0a", "\x01", "12345678" };
    char out[8];
    uint64_t v;
    int64_t t;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        assert_int_equal(text_get_u64(slice_str(numbers[i]), &v), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(hex); i++)
        assert_int_equal(text_get_hex(slice_str(hex[i]), &v), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(times); i++)
        assert_int_equal(text_get_time(slice_str(times[i]), &t), -EINVAL);
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        assert_int_equal(text_get_string(slice_str(strings[i]), out, sizeof(out)), -EINVAL);
    assert_int_equal(text_get_hex(slice_str("0xffffffffffffffff"), &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(text_get_time(slice_str("9999-12-31T23:59:59.999Z"), &t), 0);
    assert_int_equal(text_get_string(slice_str("%1F\xc3\xa4"), out, sizeof(out)), 0);
    assert_string_equal(out, "\x1f\xc3\xa4");
}

static void running_out_of_memory_is_reported(void **state)
{
    unsigned n;
    int rc = -1;

    (void)state;
    for (n = 1; rc < 0; n++) {
        struct shale_buf b = SHALE_BUF_INIT;

        heap_fault_after(n);
        rc = write_thing(&b);
        assert_int_equal(heap_fault_off() ? -ENOMEM : 0, rc);
        shale_buf_fini(&b);
    }
    assert_true(n > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_and_readable),
        cmocka_unit_test(a_time_without_a_form_leaves_nothing_behind),
        cmocka_unit_test(each_fault_has_its_sentence),
        cmocka_unit_test(every_cut_and_every_changed_bit_is_noticed),
        cmocka_unit_test(values_have_one_form),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
