/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "base/clock.h"

#include <fcntl.h>

#define ROOT FS_ROOT_INO
#define NS 1000000000ll

static struct fs_attr set(struct fs_fixture *f, uint64_t ino, unsigned what, struct fs_attr a)
{
    check_ok(fs_setattr(f->fs, ino, what, &a, &a));
    return a;
}

static void the_root(void **state)
{
    struct fs_fixture *f = *state;
    struct fs_attr a = attr_of(f, ROOT);

    assert_int_equal(a.mode, S_IFDIR | 0755);
    assert_int_equal(a.nlink, 2);
    assert_int_equal(a.block_bytes, 16u << 10);
    assert_true(a.mtime_ns > 0 && a.mtime_ns <= clock_wall_ns());
}

static void mode_and_owner(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_attr before = attr_of(f, ino), a;

    a = set(f, ino, FS_SET_MODE, (struct fs_attr){ .mode = S_IFDIR | 06751 });
    assert_int_equal(a.mode, S_IFREG | 06751); /* the type stays */
    assert_true(a.ctime_ns > before.ctime_ns);
    assert_true(a.mtime_ns == before.mtime_ns);
    a = set(f, ino, FS_SET_UID, (struct fs_attr){ .uid = 7, .gid = 8 });
    assert_int_equal(a.uid, 7);
    assert_int_equal(a.gid, 0);
    set(f, ino, FS_SET_GID | FS_SET_UID, (struct fs_attr){ .uid = UINT32_MAX - 1, .gid = 9 });
    fixture_reopen(f);
    a = attr_of(f, ino);
    assert_true(a.uid == UINT32_MAX - 1);
    assert_int_equal(a.gid, 9);
    assert_int_equal(a.mode, S_IFREG | 06751);
    before = a;
    a = set(f, ino, 0, (struct fs_attr){ .uid = 1 });
    assert_true(a.uid == before.uid && a.ctime_ns == before.ctime_ns); /* nothing asked, nothing done */
}

static void times_are_what_was_set(void **state)
{
    static const int64_t times[] = { 0, -1, 1, -62135596800ll, INT64_MAX, INT64_MIN, 1700000000 * NS + 123456789 };
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");

    for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        int64_t t = times[i];

        set(f, ino, FS_SET_ATIME | FS_SET_MTIME, (struct fs_attr){ .atime_ns = t, .mtime_ns = t });
        fixture_reopen(f);
        assert_true(attr_of(f, ino).atime_ns == t);
        assert_true(attr_of(f, ino).mtime_ns == t);
        assert_true(attr_of(f, ino).ctime_ns > 1700000000 * NS);
    }
    set(f, ino, FS_SET_CTIME, (struct fs_attr){ .ctime_ns = 5 });
    assert_true(attr_of(f, ino).ctime_ns == 5);
    set(f, ino, FS_SET_ATIME_NOW | FS_SET_MTIME_NOW, (struct fs_attr){ 0 });
    assert_true(attr_of(f, ino).mtime_ns > 1700000000 * NS);
    assert_true(attr_of(f, ino).atime_ns > 1700000000 * NS);
}

static void times_set_after_a_write_stay(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    write_text(h, 0, "data"); /* cp -p: write, utimens, close */
    set(f, ino, FS_SET_ATIME | FS_SET_MTIME, (struct fs_attr){ .atime_ns = 11, .mtime_ns = 12 });
    assert_true(attr_of(f, ino).mtime_ns == 12);
    check_ok(fs_file_fsync(h, false));
    assert_true(attr_of(f, ino).mtime_ns == 12);
    fs_file_release(h);
    fixture_reopen(f);
    assert_true(attr_of(f, ino).mtime_ns == 12);
    assert_true(attr_of(f, ino).atime_ns == 11);
    h = open_file(f, ino, O_RDWR);
    write_text(h, 0, "more"); /* and a write moves it on */
    assert_true(attr_of(f, ino).mtime_ns > 12);
    fs_file_release(h);
    fixture_reopen(f);
    assert_true(attr_of(f, ino).mtime_ns > 12);
}

static void a_mode_set_after_a_write_keeps_the_writes_times(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);
    struct fs_attr a, b;

    write_text(h, 0, "data");
    a = attr_of(f, ino);
    b = set(f, ino, FS_SET_MODE, (struct fs_attr){ .mode = 0600 });
    assert_true(b.mtime_ns == a.mtime_ns);
    assert_true(b.ctime_ns >= a.ctime_ns);
    fs_file_release(h);
    fixture_reopen(f);
    assert_true(attr_of(f, ino).mtime_ns == a.mtime_ns);
    assert_true(attr_of(f, ino).ctime_ns == b.ctime_ns);
    assert_true(attr_of(f, ino).size == 4);
}

static void truncation_moves_times(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_attr a;

    set(f, ino, FS_SET_MTIME, (struct fs_attr){ .mtime_ns = 3 });
    check_ok(set_size(f, ino, 10));
    assert_true(attr_of(f, ino).mtime_ns > 3);
    a = set(f, ino, FS_SET_SIZE | FS_SET_MTIME | FS_SET_MODE, (struct fs_attr){ .size = 5, .mtime_ns = 4, .mode = 0400 });
    assert_true(a.mtime_ns == 4 && a.size == 5 && a.mode == (S_IFREG | 0400));
    fixture_reopen(f);
    assert_true(attr_of(f, ino).mtime_ns == 4);
    assert_true(attr_of(f, ino).size == 5);
}

static void names_move_the_times_of_their_directory(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t d = make_dir(f, ROOT, "d"), e = make_dir(f, ROOT, "e"), ino;
    struct fs_attr a;

    set(f, d, FS_SET_MTIME, (struct fs_attr){ .mtime_ns = 1 });
    ino = make_file(f, d, "x");
    assert_true(attr_of(f, d).mtime_ns > 1);
    set(f, d, FS_SET_MTIME, (struct fs_attr){ .mtime_ns = 1 });
    set(f, e, FS_SET_MTIME, (struct fs_attr){ .mtime_ns = 1 });
    a = attr_of(f, ino);
    check_ok(fs_rename(f->fs, d, "x", e, "y", 0));
    assert_true(attr_of(f, d).mtime_ns > 1);
    assert_true(attr_of(f, e).mtime_ns > 1);
    assert_true(attr_of(f, ino).ctime_ns > a.ctime_ns);
    assert_true(attr_of(f, ino).mtime_ns == a.mtime_ns);
    a = attr_of(f, ino);
    check_ok(fs_link(f->fs, ino, d, "z", &a));
    check_ok(fs_unlink(f->fs, e, "y"));
    assert_true(attr_of(f, ino).ctime_ns > a.ctime_ns);
}

static void relatime(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino;
    struct fs_file *h;
    struct fs_attr a;
    char c;

    fixture_close(f);
    f->opt.atime = FS_RELATIME;
    fixture_open(f);
    ino = make_file(f, ROOT, "a");
    h = open_file(f, ino, O_RDWR);
    write_text(h, 0, "x");
    a = attr_of(f, ino);
    check_err(1, fs_file_read(h, 0, &c, 1));
    assert_true(attr_of(f, ino).atime_ns > a.mtime_ns);
    a = attr_of(f, ino);
    check_err(1, fs_file_read(h, 0, &c, 1));
    assert_true(attr_of(f, ino).atime_ns == a.atime_ns); /* newer than the change and not a day old */
    fs_file_release(h);
    fixture_reopen(f);
    assert_true(attr_of(f, ino).atime_ns == a.atime_ns);
    set(f, ino, FS_SET_ATIME, (struct fs_attr){ .atime_ns = clock_wall_ns() - 90000 * NS });
    h = open_file(f, ino, O_RDONLY | O_NOATIME);
    a = attr_of(f, ino);
    check_err(1, fs_file_read(h, 0, &c, 1));
    assert_true(attr_of(f, ino).atime_ns == a.atime_ns);
    fs_file_release(h);
    h = open_file(f, ino, O_RDONLY);
    check_err(1, fs_file_read(h, 0, &c, 1));
    assert_true(attr_of(f, ino).atime_ns > a.atime_ns);
    fs_file_release(h);
}

static void the_whole_is_counted(void **state)
{
    struct fs_fixture *f = *state;
    struct fs_statfs before, after;
    struct fs_file *h;

    check_ok(fs_statfs(f->fs, &before));
    h = open_file(f, make_file(f, ROOT, "a"), O_RDWR);
    write_fill(h, 0, 'x', 1u << 20);
    fs_file_release(h);
    check_ok(fs_sync(f->fs));
    check_ok(fs_statfs(f->fs, &after));
    assert_true(after.files - after.files_free == before.files - before.files_free + 1);
    assert_true((after.blocks - before.blocks) * after.block_bytes == 1u << 20);
    fixture_reopen(f);
    check_ok(fs_statfs(f->fs, &before));
    assert_memory_equal(&before, &after, sizeof(before));
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    check_ok(fs_statfs(f->fs, &after));
    assert_true((before.blocks - after.blocks) * after.block_bytes == 1u << 20);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_root),
        T(mode_and_owner),
        T(times_are_what_was_set),
        T(times_set_after_a_write_stay),
        T(a_mode_set_after_a_write_keeps_the_writes_times),
        T(truncation_moves_times),
        T(names_move_the_times_of_their_directory),
        T(relatime),
        T(the_whole_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
