/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "fs/core/txn.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOT FS_ROOT_INO

#ifdef __SANITIZE_ADDRESS__
#define MANY 50000u
#elif defined(__SANITIZE_THREAD__)
#define MANY 20000u
#else
#define MANY 1000000u
#endif

static const char *number(unsigned i, char name[16])
{
    snprintf(name, 16, "n%08u", i);
    return name;
}

static void make_many(struct fs_fixture *f, uint64_t dir, unsigned n)
{
    char name[16];

    for (unsigned i = 0; i < n; i++)
        make_file(f, dir, number(i, name));
}

/* Read on from cookie to the end; returns how many, and the names ascend. */
static unsigned read_rest(struct fs_dir *d, uint64_t cookie, char last[256])
{
    struct fs_dirent e;
    unsigned n = 0;
    int rc;

    while ((rc = fs_dir_read(d, cookie, &e)) == 0) {
        if (strcmp(last, e.name) >= 0)
            fail_msg("'%s' comes behind '%s'", e.name, last);
        snprintf(last, 256, "%s", e.name);
        assert_true(e.cookie > cookie);
        cookie = e.cookie;
        n++;
    }
    check_err(SHALE_END, rc);
    return n;
}

static void dots_come_first(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t d = make_dir(f, ROOT, "d");
    struct fs_dirent e;
    struct fs_dir *h;

    check_ok(fs_dir_open(f->fs, d, &h));
    check_ok(fs_dir_read(h, 0, &e));
    assert_string_equal(e.name, ".");
    assert_true(e.ino == d && e.type == S_IFDIR);
    check_ok(fs_dir_read(h, e.cookie, &e));
    assert_string_equal(e.name, "..");
    assert_true(e.ino == ROOT);
    check_err(SHALE_END, fs_dir_read(h, e.cookie, &e));
    check_ok(fs_dir_fsync(h));
    fs_dir_release(h);
    check_err(-ENOTDIR, fs_dir_open(f->fs, make_file(f, ROOT, "f"), &h));
    check_err(-ENOENT, fs_dir_open(f->fs, 4711, &h));
}

static void names_come_in_byte_order(void **state)
{
    struct fs_fixture *f = *state;

    make_file(f, ROOT, "b");
    make_dir(f, ROOT, "a");
    make_file(f, ROOT, "\xc3\xa4");
    make_file(f, ROOT, "B");
    make_file(f, ROOT, "ab");
    check_names(f, ROOT, "B a ab b \xc3\xa4");
}

static void any_cookie_can_be_gone_back_to(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t dir = make_dir(f, ROOT, "d"), cookie = 2;
    static uint64_t cookies[5000];
    struct fs_dirent e;
    struct fs_dir *d;
    char name[16];

    make_many(f, dir, 5000);
    check_ok(fs_dir_open(f->fs, dir, &d));
    for (unsigned i = 0; i < 5000; i++) {
        cookies[i] = cookie;
        check_ok(fs_dir_read(d, cookie, &e));
        assert_string_equal(e.name, number(i, name));
        cookie = e.cookie;
    }
    check_err(SHALE_END, fs_dir_read(d, cookie, &e));
    for (unsigned i = 0; i < 5000; i += 137) {
        unsigned k = (i * 7919u) % 5000;

        check_ok(fs_dir_read(d, cookies[k], &e));
        assert_string_equal(e.name, number(k, name));
        check_ok(fs_dir_read(d, cookies[4999 - k], &e));
        assert_string_equal(e.name, number(4999 - k, name));
    }
    check_err(SHALE_END, fs_dir_read(d, cookie, &e));
    check_ok(fs_dir_read(d, 0, &e)); /* rewinddir */
    check_ok(fs_dir_read(d, cookies[0], &e));
    assert_string_equal(e.name, number(0, name));
    fs_dir_release(d);
}

/* rm -r: entries go while the stream runs; new ones come. None of the others is hidden or doubled. */
static void entries_come_and_go(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t dir = make_dir(f, ROOT, "d"), cookie = 2;
    struct fs_dirent e;
    struct fs_dir *d;
    unsigned seen = 0;
    char name[32];
    int rc;

    make_many(f, dir, 4000);
    check_ok(fs_dir_open(f->fs, dir, &d));
    while ((rc = fs_dir_read(d, cookie, &e)) == 0) {
        cookie = e.cookie;
        if (strlen(e.name) > 9)
            continue; /* one that came */
        assert_string_equal(e.name, number(seen++, name));
        snprintf(name, sizeof(name), "%s.new", e.name);
        check_ok(fs_unlink(f->fs, dir, e.name));
        make_file(f, dir, name);
    }
    check_err(SHALE_END, rc);
    assert_int_equal(seen, 4000);
    fs_dir_release(d);
    assert_int_equal(look(f, dir, "n00000001"), 0);
}

/* The kernel may use only a part of a reply and come back with an earlier cookie, over the edge of what was read at once. */
static void a_partly_used_reply_resumes_exactly(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t dir = make_dir(f, ROOT, "d"), cookie = 2, base = 2;
    struct fs_dirent e;
    struct fs_dir *d;
    char name[16];

    make_many(f, dir, 3000);
    check_ok(fs_dir_open(f->fs, dir, &d));
    for (unsigned used = 0; used < 3000; used += 100) {
        /* A reply of 150, of which 100 are used; then those are removed. */
        cookie = base;
        for (unsigned i = 0; i < 150 && used + i < 3000; i++) {
            check_ok(fs_dir_read(d, cookie, &e));
            assert_string_equal(e.name, number(used + i, name));
            cookie = e.cookie;
            if (i == 99)
                base = cookie;
        }
        for (unsigned i = 0; i < 100; i++)
            check_ok(fs_unlink(f->fs, dir, number(used + i, name)));
    }
    fs_dir_release(d);
    check_names(f, dir, "");
}

static void attributes_come_with_entries(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_dirent e;
    struct fs_dir *d;
    struct fs_attr a;

    check_ok(fs_dir_open(f->fs, ROOT, &d));
    check_ok(fs_dir_read(d, 2, &e));
    check_ok(fs_dir_attr(d, &e, &a));
    assert_true(a.ino == ino && a.nlink == 1);
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    check_ok(fs_getattr(f->fs, ino, &a)); /* the lookup was counted */
    fs_forget(f->fs, ino, 1);
    check_err(-ENOENT, fs_dir_attr(d, &e, &a));
    fs_dir_release(d);
}

static void a_removed_directory_is_empty(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t dir = make_dir(f, ROOT, "d");
    struct fs_dirent e;
    struct fs_dir *d;

    check_ok(fs_dir_open(f->fs, dir, &d));
    check_ok(fs_rmdir(f->fs, ROOT, "d"));
    check_ok(fs_dir_read(d, 0, &e));
    check_err(SHALE_END, fs_dir_read(d, 2, &e));
    fs_dir_release(d);
}

/* Entries for one file, put below the core: a million creations would take longer than the stream. */
static void put_many(struct fs_fixture *f, uint64_t dir, uint64_t ino)
{
    struct dentry e = { .ino = ino, .type = S_IFREG };
    struct txn t;
    char name[16];

    txn_init(&t, f->fs);
    for (unsigned i = 0; i < MANY; i++) {
        txn_put_dentry(&t, dir, number(i, name), &e);
        if (i % 10000 == 9999) {
            check_ok(txn_commit(&t));
            txn_reset(&t);
        }
    }
    txn_fini(&t);
}


static void a_million_entries_stream_in_little_memory(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t dir = make_dir(f, ROOT, "d"), cookie;
    char last[256] = "", name[16];
    struct fs_dirent e;
    struct fs_dir *d;
    int64_t before;

    fixture_close(f);
    f->opt.cache_bytes = 0;
    fixture_open(f);
    put_many(f, dir, make_file(f, ROOT, "target"));
    before = (int64_t)mallinfo2().uordblks;
    check_ok(fs_dir_open(f->fs, dir, &d));
    assert_int_equal(read_rest(d, 2, last), MANY);
    assert_true((int64_t)mallinfo2().uordblks - before < 1 << 20); /* sanitizers count nothing */
    cookie = 2 + MANY / 2 + 77;
    check_ok(fs_dir_read(d, cookie, &e));
    assert_string_equal(e.name, number(MANY / 2 + 77, name));
    snprintf(last, sizeof(last), "%s", e.name);
    assert_int_equal(read_rest(d, e.cookie, last), MANY - MANY / 2 - 78);
    fs_dir_release(d);
    /* The entries are not counted anywhere, so this volume is not one to check. */
    (void)fs_close(f->fs);
    f->fs = NULL;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(dots_come_first),
        T(names_come_in_byte_order),
        T(any_cookie_can_be_gone_back_to),
        T(entries_come_and_go),
        T(a_partly_used_reply_resumes_exactly),
        T(attributes_come_with_entries),
        T(a_removed_directory_is_empty),
        T(a_million_entries_stream_in_little_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
