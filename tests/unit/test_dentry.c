/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/slice.h"
#include "fs/core/dentry.h"

#include <errno.h>
#include <shale/error.h>
#include <string.h>
#include <sys/stat.h>

static void the_bytes_are_the_documented_ones(void **state)
{
    static const uint8_t want[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x08 };
    struct dentry d = { .ino = 0x0102030405060708, .type = S_IFREG | 0644 }, back;
    uint8_t bytes[DENTRY_VALUE_LEN];

    (void)state;
    dentry_encode(&d, bytes);
    assert_memory_equal(bytes, want, sizeof(want));
    assert_int_equal(dentry_decode(slice_of(bytes, sizeof(bytes)), &back), 0);
    assert_true(back.ino == d.ino && back.type == S_IFREG);
}

static void every_type_and_no_other(void **state)
{
    static const mode_t known[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
    uint8_t bytes[DENTRY_VALUE_LEN] = { 0, 0, 0, 0, 0, 0, 0, 1, 0 };

    (void)state;
    for (unsigned t = 0; t < 256; t++) {
        struct dentry d = { .ino = 99 };
        bool valid = false;

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            valid |= known[i] == (mode_t)t << 12;
        bytes[8] = (uint8_t)t;
        assert_int_equal(dentry_decode(slice_of(bytes, sizeof(bytes)), &d), valid ? 0 : SHALE_ECORRUPT);
        if (valid)
            assert_true(d.ino == 1 && d.type == (mode_t)t << 12);
    }
}

static void other_values_are_corrupt(void **state)
{
    uint8_t bytes[DENTRY_VALUE_LEN + 1] = { 0, 0, 0, 0, 0, 0, 0, 1, 8 };
    struct dentry d;

    (void)state;
    for (size_t len = 0; len <= sizeof(bytes); len++)
        assert_int_equal(dentry_decode(slice_of(bytes, len), &d), len == DENTRY_VALUE_LEN ? 0 : SHALE_ECORRUPT);
    bytes[7] = 0;
    assert_int_equal(dentry_decode(slice_of(bytes, DENTRY_VALUE_LEN), &d), SHALE_ECORRUPT);
}

static void names(void **state)
{
    char name[300];

    (void)state;
    assert_int_equal(dentry_check_name("a"), 0);
    assert_int_equal(dentry_check_name("..."), 0);
    assert_int_equal(dentry_check_name(".a"), 0);
    assert_int_equal(dentry_check_name(" \n\xff"), 0);
    assert_int_equal(dentry_check_name(""), -EINVAL);
    assert_int_equal(dentry_check_name("."), -EINVAL);
    assert_int_equal(dentry_check_name(".."), -EINVAL);
    assert_int_equal(dentry_check_name("/"), -EINVAL);
    assert_int_equal(dentry_check_name("a/"), -EINVAL);
    memset(name, 'x', sizeof(name));
    name[255] = '\0';
    assert_int_equal(dentry_check_name(name), 0);
    name[255] = 'x';
    name[256] = '\0';
    assert_int_equal(dentry_check_name(name), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_the_documented_ones),
        cmocka_unit_test(every_type_and_no_other),
        cmocka_unit_test(other_values_are_corrupt),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
