/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOT FS_ROOT_INO

static int rename_to(struct fs_fixture *f, uint64_t from, const char *name, uint64_t to, const char *new_name, unsigned flags)
{
    return fs_rename(f->fs, from, name, to, new_name, flags);
}

static void creating_answers_as_programs_expect(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t file = make_file(f, ROOT, "file"), gone = make_dir(f, ROOT, "gone");
    struct fs_attr a;

    check_err(-EEXIST, fs_mknod(f->fs, &root_cred, ROOT, "file", S_IFREG | 0600, 0, &a));
    check_err(-EEXIST, fs_mkdir(f->fs, &root_cred, ROOT, "file", 0700, &a));
    check_err(-EEXIST, fs_symlink(f->fs, &root_cred, "x", ROOT, "file", &a));
    check_err(-ENOTDIR, fs_mkdir(f->fs, &root_cred, file, "x", 0700, &a));
    check_err(-ENOENT, fs_mkdir(f->fs, &root_cred, 999999, "x", 0700, &a));
    check_err(-EINVAL, fs_mknod(f->fs, &root_cred, ROOT, "x", S_IFDIR | 0700, 0, &a));
    check_err(-EINVAL, fs_mknod(f->fs, &root_cred, ROOT, "x", S_IFLNK | 0700, 0, &a));
    check_err(-EINVAL, fs_mknod(f->fs, &root_cred, ROOT, "x", S_IFMT | 0700, 0, &a));
    check_err(-ENOENT, fs_symlink(f->fs, &root_cred, "", ROOT, "x", &a));
    check_ok(fs_rmdir(f->fs, ROOT, "gone"));
    check_err(-ENOENT, fs_mkdir(f->fs, &root_cred, gone, "x", 0700, &a));
    check_names(f, ROOT, "file");
}

static void kinds_of_nodes(void **state)
{
    static const mode_t modes[] = { S_IFREG | 0640, S_IFCHR | 0600, S_IFBLK | 0660, S_IFIFO | 0622, S_IFSOCK | 0700 };
    struct fs_cred cred = { 12, 34 };
    struct fs_fixture *f = *state;
    struct fs_attr a;
    char name[8];

    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        check_ok(fs_mknod(f->fs, &cred, ROOT, name, modes[i], 0x1234, &a));
    }
    check_ok(fs_mknod(f->fs, &cred, ROOT, "plain", 0604, 0, &a));
    assert_int_equal(a.mode, S_IFREG | 0604);
    fixture_reopen(f);
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        a = attr_of(f, look(f, ROOT, name));
        assert_int_equal(a.mode, modes[i]);
        assert_int_equal(a.rdev, S_ISCHR(a.mode) || S_ISBLK(a.mode) ? 0x1234 : 0);
        assert_int_equal(a.uid, 12);
        assert_int_equal(a.gid, 34);
        assert_int_equal(a.nlink, 1);
    }
}

static void names_may_have_255_bytes(void **state)
{
    struct fs_fixture *f = *state;
    struct fs_attr a;
    char name[300];

    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    check_err(-ENAMETOOLONG, fs_mkdir(f->fs, &root_cred, ROOT, name, 0700, &a));
    check_err(-ENAMETOOLONG, fs_lookup(f->fs, ROOT, name, &a));
    check_err(-ENAMETOOLONG, fs_unlink(f->fs, ROOT, name));
    name[255] = '\0';
    make_dir(f, ROOT, name);
    fixture_reopen(f);
    check_names(f, ROOT, name);
    make_file(f, look(f, ROOT, name), "below");
    name[254] = '\xff'; /* any byte but NUL and slash */
    make_file(f, ROOT, name);
    assert_int_not_equal(look(f, ROOT, name), 0);
    name[256] = '\0';
    name[255] = 'n';
    check_err(-ENAMETOOLONG, rename_to(f, ROOT, name, ROOT, "x", 0));
    check_err(-ENAMETOOLONG, rename_to(f, ROOT, "x", ROOT, name, 0));
    for (unsigned i = 0; i < 4; i++) {
        static const char *const bad[] = { "", ".", "..", "a/b" };

        check_err(-EINVAL, fs_mkdir(f->fs, &root_cred, ROOT, bad[i], 0700, &a));
        check_err(-EINVAL, fs_unlink(f->fs, ROOT, bad[i]));
    }
}

static void symlinks_keep_their_target(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fs_fixture *f = *state;
    char target[4097];
    struct fs_attr a;

    memset(target, 't', sizeof(target));
    target[4096] = '\0';
    check_err(-ENAMETOOLONG, fs_symlink(f->fs, &root_cred, target, ROOT, "l", &a));
    target[4095] = '\0';
    check_ok(fs_symlink(f->fs, &root_cred, target, ROOT, "l", &a));
    assert_int_equal(a.mode, S_IFLNK | 0777);
    assert_int_equal(a.size, 4095);
    fixture_reopen(f);
    check_ok(fs_readlink(f->fs, look(f, ROOT, "l"), &b));
    assert_true(slice_eq(slice_of_buf(&b), slice_str(target)));
    check_err(-EINVAL, fs_readlink(f->fs, ROOT, &b));
    check_err(-ENOENT, fs_readlink(f->fs, 4711, &b));
    shale_buf_fini(&b);
}

static void set_group_id_directories_pass_their_group_on(void **state)
{
    struct fs_cred cred = { 5, 6 };
    struct fs_fixture *f = *state;
    uint64_t dir = make_dir(f, ROOT, "d");
    struct fs_attr set = { .mode = 02775, .gid = 77 }, a;

    check_ok(fs_setattr(f->fs, dir, FS_SET_MODE | FS_SET_GID, &set, &a));
    check_ok(fs_mkdir(f->fs, &cred, dir, "sub", 0755, &a));
    assert_int_equal(a.gid, 77);
    assert_int_equal(a.mode, S_IFDIR | 02755);
    check_ok(fs_mknod(f->fs, &cred, dir, "file", S_IFREG | 0644, 0, &a));
    assert_int_equal(a.gid, 77);
    assert_int_equal(a.uid, 5);
    assert_int_equal(a.mode, S_IFREG | 0644);
    check_ok(fs_mkdir(f->fs, &cred, ROOT, "other", 0755, &a));
    assert_int_equal(a.gid, 6);
}

static void removing(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t d = make_dir(f, ROOT, "d");

    make_file(f, d, "x");
    check_err(-ENOENT, fs_unlink(f->fs, ROOT, "none"));
    check_err(-ENOENT, fs_rmdir(f->fs, ROOT, "none"));
    check_err(-EISDIR, fs_unlink(f->fs, ROOT, "d"));
    check_err(-ENOTDIR, fs_rmdir(f->fs, d, "x"));
    check_err(-ENOTEMPTY, fs_rmdir(f->fs, ROOT, "d"));
    check_err(-ENOTDIR, fs_unlink(f->fs, look(f, d, "x"), "y"));
    check_ok(fs_unlink(f->fs, d, "x"));
    check_ok(fs_rmdir(f->fs, ROOT, "d"));
    check_names(f, ROOT, "");
    check_err(-ENOENT, fs_rmdir(f->fs, ROOT, "d"));
    assert_int_equal(attr_of(f, ROOT).nlink, 2);
}

static void links_of_directories_are_counted(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t a = make_dir(f, ROOT, "a"), b = make_dir(f, ROOT, "b");

    make_dir(f, a, "x");
    make_dir(f, a, "y");
    make_file(f, a, "z");
    assert_int_equal(attr_of(f, ROOT).nlink, 4);
    assert_int_equal(attr_of(f, a).nlink, 4);
    check_ok(rename_to(f, a, "x", b, "x", 0));
    assert_int_equal(attr_of(f, a).nlink, 3);
    assert_int_equal(attr_of(f, b).nlink, 3);
    check_ok(rename_to(f, a, "y", b, "x", 0)); /* onto an empty directory */
    assert_int_equal(attr_of(f, a).nlink, 2);
    assert_int_equal(attr_of(f, b).nlink, 3);
    check_ok(rename_to(f, a, "z", b, "x", RENAME_EXCHANGE));
    assert_int_equal(attr_of(f, a).nlink, 3);
    assert_int_equal(attr_of(f, b).nlink, 2);
    check_ok(fs_rmdir(f->fs, a, "z"));
    assert_int_equal(attr_of(f, a).nlink, 2);
}

static void hard_links(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t file = make_file(f, ROOT, "a"), dir = make_dir(f, ROOT, "d");
    struct fs_attr a;

    check_ok(fs_link(f->fs, file, dir, "b", &a));
    assert_int_equal(a.nlink, 2);
    assert_true(look(f, dir, "b") == file);
    check_err(-EEXIST, fs_link(f->fs, file, dir, "b", &a));
    check_err(-EPERM, fs_link(f->fs, dir, ROOT, "dd", &a));
    check_err(-EPERM, fs_link(f->fs, dir, dir, "dd", &a));
    check_err(-ENOENT, fs_link(f->fs, 4711, ROOT, "c", &a));
    check_err(-ENOTDIR, fs_link(f->fs, file, file, "c", &a));
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    fixture_reopen(f);
    assert_int_equal(attr_of(f, look(f, dir, "b")).nlink, 1);
    check_ok(rename_to(f, dir, "b", ROOT, "b", 0));
    check_ok(fs_link(f->fs, file, ROOT, "c", &a));
    /* Two names of one file: nothing is done. */
    check_ok(rename_to(f, ROOT, "b", ROOT, "c", 0));
    check_ok(rename_to(f, ROOT, "b", ROOT, "c", RENAME_EXCHANGE));
    check_err(-EEXIST, rename_to(f, ROOT, "b", ROOT, "c", RENAME_NOREPLACE));
    check_names(f, ROOT, "b c d");
}

static void links_have_a_limit(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t file = make_file(f, ROOT, "a");
    struct fs_attr a = { 0 };
    char name[16];

    for (unsigned i = 1; i < FS_LINK_MAX; i++) {
        snprintf(name, sizeof(name), "l%u", i);
        check_ok(fs_link(f->fs, file, ROOT, name, &a));
    }
    assert_int_equal(a.nlink, FS_LINK_MAX);
    check_err(-EMLINK, fs_link(f->fs, file, ROOT, "more", &a));
    check_ok(fs_unlink(f->fs, ROOT, "l1"));
    check_ok(fs_link(f->fs, file, ROOT, "more", &a));
}

/* What stands at the new name, what moves, the flags, and the answer. */
static void renaming_onto_everything(void **state)
{
    static const struct {
        const char *from, *to;
        unsigned flags;
        int rc;
    } t[] = {
        { "none", "file", 0, -ENOENT },
        { "none", "new", RENAME_EXCHANGE, -ENOENT },
        { "file", "new", RENAME_EXCHANGE, -ENOENT },
        { "file", "dir", 0, -EISDIR },
        { "file", "full", 0, -EISDIR },
        { "dir", "file", 0, -ENOTDIR },
        { "dir", "link", 0, -ENOTDIR },
        { "dir", "full", 0, -ENOTEMPTY },
        { "file", "link", RENAME_NOREPLACE, -EEXIST },
        { "dir", "full", RENAME_NOREPLACE, -EEXIST },
        { "file", "file", RENAME_NOREPLACE, -EEXIST },
        { "file", "x", RENAME_NOREPLACE | RENAME_EXCHANGE, -EINVAL },
        { "file", "x", 1u << 2, -EINVAL },
        { "file", "file", 0, 0 },
        { "full", "full", 0, 0 },
        { "full", "full", RENAME_EXCHANGE, 0 },
    };
    struct fs_fixture *f = *state;
    struct fs_attr a;

    make_file(f, ROOT, "file");
    make_dir(f, ROOT, "dir");
    make_file(f, make_dir(f, ROOT, "full"), "inside");
    check_ok(fs_symlink(f->fs, &root_cred, "t", ROOT, "link", &a));
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        int rc = rename_to(f, ROOT, t[i].from, ROOT, t[i].to, t[i].flags);

        if (rc != t[i].rc)
            fail_msg("rename %s to %s with flags %u gave %d, not %d", t[i].from, t[i].to, t[i].flags, rc, t[i].rc);
    }
    check_names(f, ROOT, "dir file full link");
    check_ok(rename_to(f, ROOT, "full", ROOT, "dir", 0));
    check_ok(rename_to(f, ROOT, "link", ROOT, "file", 0));
    check_ok(rename_to(f, ROOT, "file", ROOT, "new", RENAME_NOREPLACE));
    check_ok(rename_to(f, ROOT, "dir", ROOT, "new", RENAME_EXCHANGE));
    check_names(f, ROOT, "dir new");
    check_names(f, look(f, ROOT, "new"), "inside");
    assert_int_equal(attr_of(f, look(f, ROOT, "dir")).mode, S_IFLNK | 0777);
}

static void directories_make_no_cycles(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t a = make_dir(f, ROOT, "a"), b = make_dir(f, a, "b"), c = make_dir(f, b, "c");
    struct fs_dirent e;
    struct fs_dir *d;

    make_file(f, c, "file");
    check_err(-EINVAL, rename_to(f, ROOT, "a", a, "x", 0));
    check_err(-EINVAL, rename_to(f, ROOT, "a", b, "x", 0));
    check_err(-EINVAL, rename_to(f, ROOT, "a", b, "c", 0));
    check_err(-EINVAL, rename_to(f, a, "b", c, "b", 0));
    check_err(-EINVAL, rename_to(f, ROOT, "a", a, "b", RENAME_EXCHANGE));
    check_err(-EINVAL, rename_to(f, a, "b", ROOT, "a", RENAME_EXCHANGE));
    check_err(-ENOTEMPTY, rename_to(f, a, "b", ROOT, "a", 0));
    check_err(-EISDIR, rename_to(f, c, "file", a, "b", 0));
    check_ok(rename_to(f, b, "c", ROOT, "c", 0));
    check_ok(rename_to(f, ROOT, "a", c, "a", 0));
    check_ok(fs_dir_open(f->fs, a, &d));
    check_ok(fs_dir_read(d, 1, &e));
    assert_string_equal(e.name, "..");
    assert_true(e.ino == c);
    fs_dir_release(d);
}

static void a_replaced_file_goes(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t a = make_file(f, ROOT, "a"), b = make_file(f, ROOT, "b");
    struct fs_file *file = open_file(f, a, O_RDWR);
    struct fs_statfs before, after;

    write_fill(file, 0, 'a', 100000);
    check_ok(fs_sync(f->fs));
    fs_file_release(file);
    check_ok(fs_statfs(f->fs, &before));
    check_ok(rename_to(f, ROOT, "b", ROOT, "a", 0));
    check_ok(fs_statfs(f->fs, &after));
    assert_true(before.files == after.files + 1);
    assert_true(before.blocks > after.blocks);
    assert_true(look(f, ROOT, "a") == b);
    check_err(-ENOENT, fs_getattr(f->fs, a, &(struct fs_attr){ 0 }));
    check_names(f, ROOT, "a");
}

static void lookups_are_counted(void **state)
{
    struct fs_fixture *f = *state;
    struct fs_attr a, b;

    check_ok(fs_mknod(f->fs, &root_cred, ROOT, "x", S_IFREG | 0600, 0, &a));
    check_ok(fs_lookup(f->fs, ROOT, "x", &b));
    check_ok(fs_unlink(f->fs, ROOT, "x"));
    /* Known to the kernel, so it still answers; once forgotten it is gone. */
    check_ok(fs_getattr(f->fs, a.ino, &b));
    assert_int_equal(b.nlink, 0);
    fs_forget(f->fs, a.ino, 1);
    check_ok(fs_getattr(f->fs, a.ino, &b));
    check_err(-ENOENT, fs_setattr(f->fs, a.ino, FS_SET_MODE, &b, &b));
    check_err(-ENOENT, fs_link(f->fs, a.ino, ROOT, "y", &b));
    fs_forget(f->fs, a.ino, 1);
    check_err(-ENOENT, fs_getattr(f->fs, a.ino, &b));
    fs_forget(f->fs, a.ino, 5); /* of nothing: harmless */
    check_err(-ENOENT, fs_lookup(f->fs, ROOT, "x", &b));
}

static void numbers_are_never_used_again(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t last = 0;
    char name[16];

    for (unsigned i = 0; i < 9000; i++) {
        uint64_t ino;

        snprintf(name, sizeof(name), "f%u", i);
        ino = make_file(f, ROOT, name);
        assert_true(ino > last);
        last = ino;
        check_ok(fs_unlink(f->fs, ROOT, name));
        if (i % 3000 == 1500)
            fixture_reopen(f);
    }
}

static void a_read_only_volume_takes_nothing(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t file = make_file(f, ROOT, "file");
    struct fs_file *h;
    struct fs_attr a;

    fixture_close(f);
    f->opt.read_only = true;
    fixture_open(f);
    check_err(-EROFS, fs_mkdir(f->fs, &root_cred, ROOT, "d", 0700, &a));
    check_err(-EROFS, fs_symlink(f->fs, &root_cred, "t", ROOT, "d", &a));
    check_err(-EROFS, fs_link(f->fs, file, ROOT, "d", &a));
    check_err(-EROFS, fs_unlink(f->fs, ROOT, "file"));
    check_err(-EROFS, fs_rmdir(f->fs, ROOT, "file"));
    check_err(-EROFS, rename_to(f, ROOT, "file", ROOT, "d", 0));
    check_err(-EROFS, fs_setattr(f->fs, file, FS_SET_MODE, &a, &a));
    check_err(-EROFS, fs_setxattr(f->fs, file, "user.a", "v", 1, 0));
    check_err(-EROFS, fs_removexattr(f->fs, file, "user.a"));
    check_err(-EROFS, fs_file_open(f->fs, file, O_RDWR, &h));
    check_err(-EROFS, fs_file_open(f->fs, file, O_TRUNC, &h));
    check_err(-EROFS, fs_file_create(f->fs, &root_cred, ROOT, "n", 0600, O_RDWR, &a, &h));
    h = open_file(f, file, O_RDONLY);
    check_err(-EROFS, fs_file_write(h, 0, "x", 1));
    check_ok(fs_file_fsync(h, false));
    fs_file_release(h);
    check_ok(fs_sync(f->fs));
    check_names(f, ROOT, "file");
    fixture_close(f);
    f->opt.read_only = false;
    fixture_open(f);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(creating_answers_as_programs_expect),
        T(kinds_of_nodes),
        T(names_may_have_255_bytes),
        T(symlinks_keep_their_target),
        T(set_group_id_directories_pass_their_group_on),
        T(removing),
        T(links_of_directories_are_counted),
        T(hard_links),
        T(links_have_a_limit),
        T(renaming_onto_everything),
        T(directories_make_no_cycles),
        T(a_replaced_file_goes),
        T(lookups_are_counted),
        T(numbers_are_never_used_again),
        T(a_read_only_volume_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
