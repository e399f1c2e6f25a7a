/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "fs/core/session.h"

#include <fcntl.h>
#include <sched.h>
#include <shale/shale.h>
#include <stdlib.h>

#define ROOT FS_ROOT_INO

static struct fs_check_result counts(struct fs_fixture *f)
{
    struct fs_check_options opt = { .quiet = true };
    struct fs_check_result res;

    check_ok(fs_check(f->url, &opt, NULL, NULL, &res));
    assert_int_equal(res.problems, 0);
    return res;
}

/* The process is gone: what it had not made durable with it. The handle itself is freed, and writes nothing. */
static void crash(struct fs_fixture *f)
{
    struct fault_rule rule = { .cls = FAULT_ANY, .action = FAULT_FAIL, .times = FAULT_ALWAYS, .rc = -EIO };

    store_fault_add(fixture_store(), &rule);
    (void)fs_close(f->fs);
    f->fs = NULL;
    f->opt.takeover = true; /* this process lives */
}

static void an_open_file_outlives_its_name(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR), *h2;

    write_text(h, 0, "still here");
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    assert_int_equal(attr_of(f, ino).nlink, 0);
    assert_int_equal(look(f, ROOT, "a"), 0);
    write_text(h, 5, " there");
    check_ok(fs_file_fsync(h, false));
    check_text(f, ino, "still there");
    h2 = open_file(f, ino, O_RDWR); /* by /proc/self/fd */
    check_ok(set_size(f, ino, 5));
    check_ok(fs_setxattr(f->fs, ino, "user.a", "v", 1, 0));
    check_err(-ENOENT, fs_link(f->fs, ino, ROOT, "b", &(struct fs_attr){ 0 }));
    fs_file_release(h);
    check_text(f, ino, "still");
    fs_file_release(h2);
    check_ok(fs_sync(f->fs)); /* the list of what is to be written back lets go of it */
    check_err(-ENOENT, fs_getattr(f->fs, ino, &(struct fs_attr){ 0 }));
    fixture_close(f);
    assert_int_equal(counts(f).inodes, 1);
    assert_int_equal(counts(f).orphans, 0);
    fixture_open(f);
}

static void a_replaced_open_file_outlives_its_name(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t a = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, a, O_RDWR);

    make_file(f, ROOT, "b");
    write_text(h, 0, "old");
    check_ok(fs_rename(f->fs, ROOT, "b", ROOT, "a", 0));
    check_text(f, a, "old");
    fs_file_release(h);
    check_ok(fs_sync(f->fs));
    check_err(-ENOENT, fs_getattr(f->fs, a, &(struct fs_attr){ 0 }));
}

static void closing_the_volume_ends_open_files(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t a = make_file(f, ROOT, "a"), b = make_file(f, ROOT, "b");
    struct fs_file *h = open_file(f, a, O_RDWR), *kept = open_file(f, b, O_RDWR);

    write_text(h, 0, "x");
    write_text(kept, 0, "kept");
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    fixture_close(f); /* with both handles; their memory is the caller's */
    free(h);
    free(kept);
    assert_int_equal(counts(f).inodes, 2);
    fixture_open(f);
    check_text(f, b, "kept");
}

static void a_crash_leaves_an_orphan_for_the_next_mount(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t a = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, a, O_RDWR);
    struct fs_statfs before, after;

    check_ok(fs_statfs(f->fs, &before));
    write_fill(h, 0, 'x', 50000);
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    check_ok(fs_file_fsync(h, false));
    crash(f);
    free(h);
    assert_int_equal(counts(f).orphans, 1);
    assert_int_equal(counts(f).inodes, 2);
    fixture_open(f);
    check_err(-ENOENT, fs_getattr(f->fs, a, &(struct fs_attr){ 0 }));
    check_ok(fs_statfs(f->fs, &after));
    assert_true(after.files == before.files - 1);
    fixture_close(f);
    assert_int_equal(counts(f).orphans, 0);
    assert_int_equal(counts(f).inodes, 1);
    fixture_open(f);
}

static void what_was_not_synced_may_go_what_was_stays(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    write_text(h, 0, "safe");
    check_ok(fs_file_fsync(h, false));
    write_text(h, 0, "lost");
    make_file(f, ROOT, "lost");
    crash(f);
    free(h);
    fixture_open(f);
    check_text(f, ino, "safe");
    check_names(f, ROOT, "a");
}

/* ---- sessions ---- */

static size_t n_sessions(struct fs_fixture *f)
{
    struct session_list l = SESSION_LIST_INIT;
    size_t n;

    check_ok(session_list_load(f->keep, "volume", &l));
    n = l.n;
    session_list_fini(&l);
    return n;
}

static void a_second_mount_is_refused(void **state)
{
    struct fs_fixture *f = *state;
    struct fs_options opt = f->opt;
    struct fs *other;

    assert_int_equal(n_sessions(f), 1);
    check_err(-EBUSY, fs_open(f->url, &opt, &other));
    assert_non_null(strstr(shale_errmsg(), "takeover"));
    assert_int_equal(n_sessions(f), 1);
    make_file(f, ROOT, "a"); /* the first is none the worse for it */
    check_ok(fs_sync(f->fs));
    opt.read_only = true; /* a reader disturbs nobody */
    check_ok(fs_open(f->url, &opt, &other));
    check_ok(fs_close(other));
    fixture_close(f);
    assert_int_equal(n_sessions(f), 0);
    fixture_open(f);
}

static void a_mount_that_was_taken_over_writes_no_more(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR), *h2 = open_file(f, make_file(f, ROOT, "b"), O_RDWR);
    struct fs_options opt = f->opt;
    struct fs_attr a = { 0 };
    struct fs *other;

    write_text(h, 0, "before");
    check_ok(fs_file_fsync(h, false));
    opt.takeover = true;
    check_ok(fs_open(f->url, &opt, &other));
    assert_int_equal(n_sessions(f), 1);
    write_text(h, 0, "behind"); /* nobody knows yet */
    check_err(-EIO, fs_file_fsync(h, false));
    check_err(SHALE_EFENCED, fs_error(f->fs));
    check_err(-EIO, fs_file_fsync(h, false));
    check_err(-EIO, fs_file_fsync(h2, false));
    check_err(-EIO, fs_file_write(h2, 0, "x", 1));
    check_err(-EIO, fs_file_flush(h));
    check_err(-EIO, fs_mkdir(f->fs, &root_cred, ROOT, "d", 0700, &a));
    check_err(-EIO, fs_unlink(f->fs, ROOT, "b"));
    check_err(-EIO, fs_rename(f->fs, ROOT, "b", ROOT, "c", 0));
    check_err(-EIO, fs_setattr(f->fs, ino, FS_SET_MODE, &a, &a));
    check_err(-EIO, fs_setxattr(f->fs, ino, "user.a", "v", 1, 0));
    check_err(-EIO, fs_sync(f->fs));
    /* Reads go on. */
    check_names(f, ROOT, "a b");
    check_text(f, ino, "behind");
    fs_file_release(h);
    fs_file_release(h2);
    check_err(SHALE_EFENCED, fs_close(f->fs));
    f->fs = other;
    assert_int_equal(n_sessions(f), 1);
    check_text(f, ino, "before");
    make_file(f, ROOT, "of the other");
}

static void there_may_be_no_volume(void **state)
{
    struct fs_fixture *f = *state;
    struct fs *other;

    check_err(-ENOENT, fs_open("memory://nothing/volume", &f->opt, &other));
    assert_non_null(strstr(shale_errmsg(), "format"));
    check_err(-EEXIST, fs_format(f->url, &f->format));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

static void count_one(void *arg)
{
    ++*(unsigned *)arg;
}

/* One that had nothing to write learns of it by looking, and ends without a word to the store. */
static void an_idle_mount_that_was_taken_over_ends_quietly(void **state)
{
    static const enum fault_class changes[] = { FAULT_PUT, FAULT_DELETE, FAULT_UPLOAD_BEGIN };
    struct fs_fixture *f = *state;
    struct shale_store *store = fixture_store();
    struct fs_options opt = f->opt;
    struct shale_db_status st;
    unsigned n = 0;
    struct fs *other;

    opt.takeover = true;
    check_ok(fs_open(f->url, &opt, &other));
    do {
        sched_yield();
        fs_engine_status(f->fs, &st);
    } while (st.error == 0);
    check_err(SHALE_EFENCED, st.error);
    for (size_t i = 0; i < 3; i++)
        store_fault_add(store, &(struct fault_rule){ .cls = changes[i], .action = FAULT_CRASH, .times = FAULT_ALWAYS,
                                                     .fn = count_one, .arg = &n });
    check_ok(fs_close(f->fs)); /* all is in the store that was ever said to be there */
    assert_int_equal(n, 0);
    assert_int_equal(n_sessions(f), 1);
    f->fs = other;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_open_file_outlives_its_name),
        T(a_replaced_open_file_outlives_its_name),
        T(closing_the_volume_ends_open_files),
        T(a_crash_leaves_an_orphan_for_the_next_mount),
        T(what_was_not_synced_may_go_what_was_stays),
        T(a_second_mount_is_refused),
        T(a_mount_that_was_taken_over_writes_no_more),
        T(an_idle_mount_that_was_taken_over_ends_quietly),
        T(there_may_be_no_volume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
