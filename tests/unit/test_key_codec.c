/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "fs/core/key_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

static const struct shale_ulid session = { .hi = 0x0102030405060708, .lo = 0x090a0b0c0d0e0f10 };

static void assert_key(const struct fs_key *k, const char *bytes, size_t len)
{
    assert_int_equal(k->len, len);
    assert_memory_equal(k->bytes, bytes, len);
}

static void keys_have_the_documented_bytes(void **state)
{
    struct fs_key k;

    (void)state;
    fs_key_inode(&k, 0x1122);
    assert_key(&k, "I\0\0\0\0\0\0\x11\x22" "a", 10);
    assert_int_equal(fs_key_dentry(&k, 1, slice_str("a b")), 0);
    assert_key(&k, "I\0\0\0\0\0\0\0\1" "da b", 13);
    assert_int_equal(fs_key_xattr(&k, 1, slice_str("user./")), 0);
    assert_key(&k, "I\0\0\0\0\0\0\0\1" "xuser./", 16);
    fs_key_chunk(&k, 2, 3, 4);
    assert_key(&k, "I\0\0\0\0\0\0\0\2" "e\0\0\0\3\0\0\0\0\0\0\0\4", 22);
    fs_key_orphan(&k, session, 5);
    assert_key(&k, "O\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf\x10\0\0\0\0\0\0\0\5", 25);
    assert_int_equal(fs_key_counter(&k, "inodes"), 0);
    assert_key(&k, "Cinodes", 7);
}

static void each_key_is_parsed_back(void **state)
{
    struct fs_key_parts p;
    struct fs_key k;

    (void)state;
    fs_key_inode(&k, UINT64_MAX);
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.kind, FS_KEY_INODE);
    assert_true(p.ino == UINT64_MAX);
    assert_int_equal(fs_key_dentry(&k, 7, slice_str("name")), 0);
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.kind, FS_KEY_DENTRY);
    assert_true(p.ino == 7 && slice_eq(p.name, slice_str("name")));
    assert_int_equal(fs_key_xattr(&k, 8, slice_str("user.x")), 0);
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.kind, FS_KEY_XATTR);
    assert_true(p.ino == 8 && slice_eq(p.name, slice_str("user.x")));
    fs_key_chunk(&k, 9, UINT32_MAX, 1ull << 43);
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.kind, FS_KEY_CHUNK);
    assert_true(p.ino == 9 && p.gen == UINT32_MAX && p.chunk == 1ull << 43);
    fs_key_orphan(&k, session, 10);
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.kind, FS_KEY_ORPHAN);
    assert_true(p.ino == 10 && p.session.hi == session.hi && p.session.lo == session.lo);
    assert_int_equal(fs_key_counter(&k, "ino"), 0);
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.kind, FS_KEY_COUNTER);
    assert_true(slice_eq(p.name, slice_str("ino")));
}

static void a_name_of_255_bytes_fits_and_a_longer_one_does_not(void **state)
{
    struct fs_key_parts p;
    struct fs_key k;
    char name[257];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    assert_int_equal(fs_key_dentry(&k, 1, slice_of(name, 255)), 0);
    fs_key_after(&k);
    assert_int_equal(k.len, FS_KEY_MAX);
    k.len--;
    assert_int_equal(fs_key_parse(fs_key_slice(&k), &p), 0);
    assert_int_equal(p.name.len, 255);
    assert_int_equal(fs_key_dentry(&k, 1, slice_of(name, 256)), -ENAMETOOLONG);
    assert_int_equal(fs_key_xattr(&k, 1, slice_of(name, 256)), -ENAMETOOLONG);
    assert_int_equal(fs_key_counter(&k, name), -ENAMETOOLONG);
}

static void names_that_cannot_be_are_refused(void **state)
{
    static const struct {
        struct shale_slice name;
        int dentry, xattr;
    } cases[] = {
        { { (const uint8_t *)"", 0 }, -EINVAL, -EINVAL },      { { (const uint8_t *)".", 1 }, -EINVAL, 0 },
        { { (const uint8_t *)"..", 2 }, -EINVAL, 0 },          { { (const uint8_t *)"...", 3 }, 0, 0 },
        { { (const uint8_t *)"a/b", 3 }, -EINVAL, 0 },         { { (const uint8_t *)"a\0b", 3 }, -EINVAL, -EINVAL },
        { { (const uint8_t *)"\xff\x01\n", 3 }, 0, 0 },
    };
    struct fs_key k;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("case %zu\n", i);
        assert_int_equal(fs_key_dentry(&k, 1, cases[i].name), cases[i].dentry);
        assert_int_equal(fs_key_xattr(&k, 1, cases[i].name), cases[i].xattr);
    }
}

static void foreign_keys_are_corrupt(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
    } cases[] = {
        { "empty", "", 0 },
        { "unknown letter", "Z", 1 },
        { "counter without name", "C", 1 },
        { "cut inode number", "I\0\0\0\0\0\0\1a", 9 },
        { "unknown row of an inode", "I\0\0\0\0\0\0\0\1z", 10 },
        { "inode row with more", "I\0\0\0\0\0\0\0\1az", 11 },
        { "entry without name", "I\0\0\0\0\0\0\0\1d", 10 },
        { "entry named ..", "I\0\0\0\0\0\0\0\1d..", 12 },
        { "cut chunk", "I\0\0\0\0\0\0\0\1e\0\0\0\1\0\0\0\0\0\0\0", 21 },
        { "long chunk", "I\0\0\0\0\0\0\0\1e\0\0\0\1\0\0\0\0\0\0\0\0\0", 23 },
        { "cut orphan", "O\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24 },
    };
    struct fs_key_parts p = { .ino = 42 };
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].name);
        assert_int_equal(fs_key_parse(slice_of(cases[i].bytes, cases[i].len), &p), SHALE_ECORRUPT);
        assert_non_null(strstr(shale_errmsg(), "key"));
        assert_int_equal(p.ino, 42);
        assert_string_equal(fs_key_describe(slice_of(cases[i].bytes, cases[i].len), text, sizeof(text)),
                            "row of an unknown kind");
    }
}

static void key_order_is_scan_order(void **state)
{
    struct fs_key k[9], after;

    (void)state;
    fs_key_inode(&k[0], 255);
    assert_int_equal(fs_key_dentry(&k[1], 255, slice_str("a")), 0);
    assert_int_equal(fs_key_dentry(&k[2], 255, slice_str("a\x01")), 0);
    assert_int_equal(fs_key_dentry(&k[3], 255, slice_str("b")), 0);
    fs_key_chunk(&k[4], 255, 1, 256);
    fs_key_chunk(&k[5], 255, 2, 1);
    assert_int_equal(fs_key_xattr(&k[6], 255, slice_str("a")), 0);
    fs_key_inode(&k[7], 256);
    fs_key_orphan(&k[8], session, 1);
    for (size_t i = 0; i + 1 < ARRAY_SIZE(k); i++)
        assert_true(slice_cmp(fs_key_slice(&k[i]), fs_key_slice(&k[i + 1])) < 0);
    after = k[1];
    fs_key_after(&after);
    assert_true(slice_cmp(fs_key_slice(&k[1]), fs_key_slice(&after)) < 0);
    assert_true(slice_cmp(fs_key_slice(&after), fs_key_slice(&k[2])) < 0);
}

static void assert_prefix(const struct fs_key *p, const struct fs_key *k, bool want)
{
    assert_int_equal(slice_has_prefix(fs_key_slice(k), fs_key_slice(p)), want);
}

static void prefixes_cover_their_rows_and_no_others(void **state)
{
    struct fs_key p, k, other;

    (void)state;
    fs_key_chunk(&k, 5, 1, 9);
    fs_key_chunk(&other, 6, 1, 9);
    fs_key_inodes(&p);
    assert_prefix(&p, &k, true);
    fs_key_inode_rows(&p, 5);
    assert_prefix(&p, &k, true);
    assert_prefix(&p, &other, false);
    fs_key_chunks(&p, 5);
    assert_prefix(&p, &k, true);
    assert_prefix(&p, &other, false);
    fs_key_gen_chunks(&p, 5, 1);
    assert_prefix(&p, &k, true);
    fs_key_gen_chunks(&p, 5, 2);
    assert_prefix(&p, &k, false);
    assert_int_equal(fs_key_dentry(&k, 5, slice_str("n")), 0);
    assert_int_equal(fs_key_xattr(&other, 5, slice_str("n")), 0);
    fs_key_dentries(&p, 5);
    assert_prefix(&p, &k, true);
    assert_prefix(&p, &other, false);
    fs_key_xattrs(&p, 5);
    assert_prefix(&p, &k, false);
    assert_prefix(&p, &other, true);
    fs_key_orphan(&k, session, 5);
    fs_key_orphans(&p);
    assert_prefix(&p, &k, true);
    fs_key_session_orphans(&p, session);
    assert_prefix(&p, &k, true);
    fs_key_session_orphans(&p, (struct shale_ulid){ 1, 2 });
    assert_prefix(&p, &k, false);
    assert_int_equal(fs_key_counter(&k, "bytes"), 0);
    fs_key_counters(&p);
    assert_prefix(&p, &k, true);
}

static void messages_name_the_row_and_not_the_file(void **state)
{
    struct fs_key k;
    char text[80];

    (void)state;
    fs_key_chunk(&k, 5, 1, 9);
    assert_string_equal(fs_key_describe(fs_key_slice(&k), text, sizeof(text)), "chunk 9 (generation 1) of inode 5");
    fs_key_inode(&k, 5);
    assert_string_equal(fs_key_describe(fs_key_slice(&k), text, sizeof(text)), "inode 5");
    assert_int_equal(fs_key_dentry(&k, 5, slice_str("secret")), 0);
    assert_string_equal(fs_key_describe(fs_key_slice(&k), text, sizeof(text)), "directory entry of inode 5");
    assert_int_equal(fs_key_counter(&k, "bytes"), 0);
    assert_string_equal(fs_key_describe(fs_key_slice(&k), text, sizeof(text)), "counter bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_the_documented_bytes),
        cmocka_unit_test(each_key_is_parsed_back),
        cmocka_unit_test(a_name_of_255_bytes_fits_and_a_longer_one_does_not),
        cmocka_unit_test(names_that_cannot_be_are_refused),
        cmocka_unit_test(foreign_keys_are_corrupt),
        cmocka_unit_test(key_order_is_scan_order),
        cmocka_unit_test(prefixes_cover_their_rows_and_no_others),
        cmocka_unit_test(messages_name_the_row_and_not_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
