/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#define ROOT FS_ROOT_INO

static int set(struct fs_fixture *f, uint64_t ino, const char *name, const char *value, int flags)
{
    return fs_setxattr(f->fs, ino, name, value, strlen(value), flags);
}

static void check_value(struct fs_fixture *f, uint64_t ino, const char *name, const char *value)
{
    struct shale_buf b = SHALE_BUF_INIT;

    check_ok(fs_getxattr(f->fs, ino, name, &b));
    assert_true(slice_eq(slice_of_buf(&b), slice_str(value)));
    shale_buf_fini(&b);
}

static void check_list(struct fs_fixture *f, uint64_t ino, const char *names, size_t len)
{
    struct shale_buf b = SHALE_BUF_INIT;

    check_ok(fs_listxattr(f->fs, ino, &b));
    assert_true(slice_eq(slice_of_buf(&b), slice_of(names, len)));
    shale_buf_fini(&b);
}

static void values_come_back(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a"), dir = make_dir(f, ROOT, "d");

    check_ok(set(f, ino, "user.b", "two", 0));
    check_ok(set(f, ino, "user.a", "one", 0));
    check_ok(set(f, ino, "user.empty", "", 0));
    check_ok(set(f, dir, "trusted.x", "dir", 0));
    check_ok(set(f, ino, "user.b", "three", 0));
    fixture_reopen(f);
    check_value(f, ino, "user.a", "one");
    check_value(f, ino, "user.b", "three");
    check_value(f, ino, "user.empty", "");
    check_value(f, dir, "trusted.x", "dir");
    check_list(f, ino, "user.a\0user.b\0user.empty", 25);
    check_list(f, ROOT, NULL, 0);
    check_ok(fs_removexattr(f->fs, ino, "user.a"));
    check_list(f, ino, "user.b\0user.empty", 18);
}

static void flags_and_errors(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");

    check_err(-ENODATA, fs_getxattr(f->fs, ino, "user.a", &b));
    check_err(-ENODATA, fs_removexattr(f->fs, ino, "user.a"));
    check_err(-ENODATA, set(f, ino, "user.a", "v", XATTR_REPLACE));
    check_ok(set(f, ino, "user.a", "v", XATTR_CREATE));
    check_err(-EEXIST, set(f, ino, "user.a", "w", XATTR_CREATE));
    check_ok(set(f, ino, "user.a", "w", XATTR_REPLACE));
    check_value(f, ino, "user.a", "w");
    check_err(-ENOENT, set(f, 4711, "user.a", "v", 0));
    check_err(-ENOENT, fs_getxattr(f->fs, 4711, "user.a", &b));
    check_err(-ENOENT, fs_listxattr(f->fs, 4711, &b));
    check_err(-ENOENT, fs_removexattr(f->fs, 4711, "user.a"));
    check_err(-EOPNOTSUPP, set(f, ino, "system.posix_acl_access", "v", 0));
    check_err(-EOPNOTSUPP, fs_getxattr(f->fs, ino, "system.posix_acl_default", &b));
    shale_buf_fini(&b);
}

static void sizes_have_limits(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    char *big = calloc(1, FS_XATTR_MAX + 1), name[300];

    assert_non_null(big);
    memset(name, 'n', sizeof(name));
    memcpy(name, "user.", 5);
    name[256] = '\0';
    check_err(-ERANGE, set(f, ino, name, "v", 0));
    check_err(-ERANGE, fs_getxattr(f->fs, ino, name, &b));
    check_err(-ERANGE, fs_removexattr(f->fs, ino, name));
    check_err(-ERANGE, set(f, ino, "", "v", 0));
    name[255] = '\0';
    check_ok(set(f, ino, name, "v", 0));
    check_err(-E2BIG, fs_setxattr(f->fs, ino, "user.big", big, FS_XATTR_MAX + 1, 0));
    check_ok(fs_setxattr(f->fs, ino, "user.big", big, FS_XATTR_MAX, 0));
    fixture_reopen(f);
    check_ok(fs_getxattr(f->fs, ino, "user.big", &b));
    assert_int_equal(b.len, FS_XATTR_MAX);
    check_value(f, ino, name, "v");
    shale_buf_fini(&b);
    free(big);
}

/* What listxattr could not return must not come about. */
static void a_list_has_a_limit(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    char name[256];
    unsigned n = 0;
    int rc;

    memset(name, 'n', sizeof(name));
    do {
        snprintf(name, sizeof(name), "user.%03u", n);
        name[8] = 'n';
        name[255] = '\0';
        rc = set(f, ino, name, "v", 0);
    } while (rc == 0 && ++n < 1000);
    check_err(-ENOSPC, rc);
    assert_int_equal(n, FS_XATTR_MAX / 256);
    check_ok(fs_listxattr(f->fs, ino, &b));
    assert_int_equal(b.len, n * 256);
    memcpy(name, "user.000", 8);
    check_ok(set(f, ino, name, "again", 0)); /* replacing still goes */
    shale_buf_fini(&b);
}

static void changes_move_ctime(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_attr a = attr_of(f, ino), b;

    check_ok(set(f, ino, "user.a", "v", 0));
    b = attr_of(f, ino);
    assert_true(b.ctime_ns > a.ctime_ns && b.mtime_ns == a.mtime_ns);
    check_ok(fs_removexattr(f->fs, ino, "user.a"));
    assert_true(attr_of(f, ino).ctime_ns > b.ctime_ns);
}

/* A directory that is removed while it is known: its row is gone, and nothing may be laid where it was. */
static void what_is_removed_has_none(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fs_fixture *f = *state;
    struct fs_attr a;

    check_ok(fs_mkdir(f->fs, &root_cred, ROOT, "d", 0700, &a));
    check_ok(set(f, a.ino, "user.a", "v", 0));
    check_ok(fs_rmdir(f->fs, ROOT, "d"));
    check_err(-ENOENT, set(f, a.ino, "user.b", "v", 0));
    check_err(-ENOENT, fs_removexattr(f->fs, a.ino, "user.a"));
    check_err(-ENOENT, fs_getxattr(f->fs, a.ino, "user.a", &b));
    check_err(-ENOENT, fs_listxattr(f->fs, a.ino, &b));
    fs_forget(f->fs, a.ino, 1);
    fixture_reopen(f);
    shale_buf_fini(&b);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_come_back),
        T(flags_and_errors),
        T(sizes_have_limits),
        T(a_list_has_a_limit),
        T(changes_move_ctime),
        T(what_is_removed_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
