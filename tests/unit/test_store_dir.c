/* SPDX-License-Identifier: Apache-2.0 */
/* What only a directory can get wrong: processes that race or die, files that are no objects, full disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/rng.h"
#include "lib/temp_dir.h"
#include "object/store.h"
#include "object/store_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 99 /* exit status of a child that could not set up what it should test */

struct fixture {
    char *dir;
    struct shale_store *s;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->dir = temp_dir_new();
    assert_int_equal(shale_store_directory(f->dir, false, &f->s), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shale_store_close(f->s);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static void path_in(const struct fixture *f, const char *name, char out[512])
{
    assert_in_range(snprintf(out, 512, "%s/%s", f->dir, name), 1, 511);
}

static void put(struct shale_store *s, const char *name, const char *text)
{
    assert_int_equal(shale_store_put(s, name, slice_str(text), SHALE_PUT_OVERWRITE), 0);
}

/* A file that no store made, last written age_s seconds ago. */
static void make_file(const struct fixture *f, const char *name, int64_t age_s)
{
    struct timespec times[2];
    char path[512];
    FILE *file;

    path_in(f, name, path);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("foreign", file);
    fclose(file);
    times[0].tv_sec = times[1].tv_sec = (time_t)(clock_wall_ms() / 1000 - age_s);
    times[0].tv_nsec = times[1].tv_nsec = 0;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool file_exists(const struct fixture *f, const char *name)
{
    char path[512];

    path_in(f, name, path);
    return access(path, F_OK) == 0;
}

static size_t count_entries(const struct fixture *f, const char *name)
{
    char path[512];
    size_t n = 0;
    DIR *d;

    path_in(f, name, path);
    d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int gather(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    assert_int_equal(buf_printf(arg, "%s,", name), 0);
    return 0;
}

static void assert_listing(struct shale_store *s, const char *prefix, const char *want)
{
    struct shale_buf names = SHALE_BUF_INIT;

    assert_int_equal(shale_store_list(s, prefix, NULL, gather, &names), 0);
    assert_string_equal(names.data ? (char *)names.data : "", want);
    shale_buf_fini(&names);
}

static int exit_status(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define RACERS 8
#define ROUNDS 40

/* Each process has a store of its own, as mounts have. The status is the number of rounds won. */
static int race(const char *dir, int number, int start)
{
    struct shale_store *s;
    int won = 0;
    char c;

    if (shale_store_directory(dir, false, &s) < 0 || read(start, &c, 1) < 0)
        return 200;
    for (int i = 0; i < ROUNDS; i++) {
        char name[32], text[32];
        int rc;

        snprintf(name, sizeof(name), "race/%02d", i);
        snprintf(text, sizeof(text), "racer %d", number);
        rc = shale_store_put(s, name, slice_str(text), SHALE_PUT_IF_ABSENT);
        if (rc < 0 && rc != -EEXIST)
            return 201;
        won += rc == 0;
    }
    shale_store_close(s);
    return won;
}

static void one_of_eight_racing_processes_wins_each_round(void **state)
{
    struct fixture *f = *state;
    int won[RACERS], counted[RACERS] = { 0 }, total = 0;
    pid_t pids[RACERS];
    int start[2];

    assert_int_equal(pipe(start), 0);
    for (int i = 0; i < RACERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            close(start[1]);
            _exit(race(f->dir, i, start[0]));
        }
    }
    close(start[1]); /* end of file for all of them: go */
    close(start[0]);
    for (int i = 0; i < RACERS; i++) {
        won[i] = exit_status(pids[i]);
        total += won[i];
    }
    assert_int_equal(total, ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        struct shale_buf b = SHALE_BUF_INIT;
        char name[32];

        snprintf(name, sizeof(name), "race/%02d", i);
        assert_int_equal(shale_store_get(f->s, name, &b), 0);
        assert_int_equal(b.len, strlen("racer 0"));
        counted[b.data[6] - '0']++;
        shale_buf_fini(&b);
    }
    assert_memory_equal(counted, won, sizeof(won));
    assert_int_equal(count_entries(f, "race"), ROUNDS);
}

/* The content of an object follows from its number, length included. */
static void content_of(unsigned number, struct shale_buf *out)
{
    struct rng r;
    size_t len;

    rng_seed(&r, number);
    len = rng_below(&r, 300000);
    out->len = 0;
    assert_int_equal(shale_buf_reserve(out, len), 0);
    for (out->len = 0; out->len < len; out->len++)
        out->data[out->len] = (uint8_t)rng_next(&r);
}

/* Puts and uploads for ever, telling about each one that is done. */
static void write_until_killed(const char *dir, unsigned from, int tell)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_store *s;
    struct shale_upload *u;

    if (shale_store_directory(dir, false, &s) < 0)
        _exit(1);
    for (unsigned i = from;; i++) {
        char name[32];
        int rc;

        content_of(i, &b);
        snprintf(name, sizeof(name), "d/%u", i);
        if (i % 3 == 0) {
            rc = shale_upload_begin(s, name, &u);
            for (size_t at = 0; rc == 0 && at < b.len; at += 10000)
                rc = shale_upload_write(u, slice_of(b.data + at, b.len - at < 10000 ? b.len - at : 10000));
            rc = rc ? rc : shale_upload_finish(u);
        } else {
            rc = shale_store_put(s, name, slice_of_buf(&b), i % 3 == 1 ? SHALE_PUT_IF_ABSENT : SHALE_PUT_OVERWRITE);
        }
        if (rc < 0 || write(tell, &i, sizeof(i)) != sizeof(i))
            _exit(1);
    }
}

static int check_whole(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct shale_buf want = SHALE_BUF_INIT, got = SHALE_BUF_INIT;

    content_of((unsigned)strtoul(name + 2, NULL, 10), &want);
    assert_int_equal(shale_store_get(((struct fixture *)arg)->s, name, &got), 0);
    assert_int_equal(meta->size, want.len);
    assert_true(slice_eq(slice_of_buf(&got), slice_of_buf(&want)));
    shale_buf_fini(&want);
    shale_buf_fini(&got);
    return 0;
}

static void a_killed_writer_leaves_no_half_object(void **state)
{
    struct fixture *f = *state;
    unsigned next = 0;

    for (int round = 0; round < 12; round++) {
        struct shale_object_meta meta;
        unsigned done, last = next;
        char name[32];
        int tell[2];
        pid_t pid;

        assert_int_equal(pipe(tell), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            write_until_killed(f->dir, next, tell[1]);
        close(tell[1]);
        for (int i = 0; i < 3 + round % 4; i++) /* it goes on while we read, and dies wherever it is */
            assert_int_equal(read(tell[0], &last, sizeof(last)), sizeof(last));
        kill(pid, SIGKILL);
        assert_int_equal(exit_status(pid), -SIGKILL);
        while (read(tell[0], &done, sizeof(done)) == sizeof(done))
            last = done;
        close(tell[0]);
        snprintf(name, sizeof(name), "d/%u", last);
        assert_int_equal(shale_store_head(f->s, name, &meta), 0);
        next = last + 2; /* the one under way may be there, or not */
    }
    assert_int_equal(shale_store_list(f->s, "", NULL, check_whole, f), 0);
    assert_true(store_dir_sweep(f->s, "d", 0) >= 0);
    assert_int_equal(shale_store_list(f->s, "", NULL, check_whole, f), 0);
}

static void nothing_is_left_beside_finished_and_failed_writes(void **state)
{
    struct fixture *f = *state;
    struct shale_upload *u;

    put(f->s, "d/a", "1");
    put(f->s, "d/a", "2");
    assert_int_equal(shale_store_put(f->s, "d/a", slice_str("3"), SHALE_PUT_IF_ABSENT), -EEXIST);
    assert_int_equal(shale_upload_begin(f->s, "d/u", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("part")), 0);
    assert_int_equal(count_entries(f, "d"), 2);
    shale_upload_abort(u);
    assert_int_equal(count_entries(f, "d"), 1);
}

static void staged_files_are_no_objects(void **state)
{
    struct fixture *f = *state;

    put(f->s, "d/a", "x");
    make_file(f, "d/a#12", 0);
    make_file(f, "d/0#7", 0);
    assert_listing(f->s, "", "d/a,");
    assert_listing(f->s, "d/a", "d/a,");
    assert_listing(f->s, "d/a#", "");
}

static void the_first_write_sweeps_what_is_stale(void **state)
{
    struct fixture *f = *state;
    struct shale_store *late;

    put(f->s, "d/a", "x");
    make_file(f, "d/old#1", 2 * 3600);
    make_file(f, "d/young#1", 60);
    make_file(f, "d/#1", 2 * 3600);
    make_file(f, "d/mark#", 2 * 3600);
    make_file(f, "d/mark#1x", 2 * 3600);
    make_file(f, "d/object", 2 * 3600);
    put(f->s, "d/b", "x");
    assert_true(file_exists(f, "d/old#1")); /* this store has swept here already */
    assert_int_equal(shale_store_directory(f->dir, false, &late), 0);
    put(late, "d/c", "x");
    shale_store_close(late);
    assert_false(file_exists(f, "d/old#1"));
    assert_true(file_exists(f, "d/young#1"));
    assert_true(file_exists(f, "d/#1"));
    assert_true(file_exists(f, "d/mark#"));
    assert_true(file_exists(f, "d/mark#1x"));
    assert_listing(f->s, "", "d/a,d/b,d/c,d/object,");
}

static void sweeping_by_hand(void **state)
{
    struct fixture *f = *state;

    put(f->s, "d/a", "x");
    make_file(f, "d/s#1", 100);
    make_file(f, "top#1", 100);
    assert_int_equal(store_dir_sweep(f->s, "d", 200 * 1000), 0);
    assert_int_equal(store_dir_sweep(f->s, "d", 50 * 1000), 1);
    assert_int_equal(store_dir_sweep(f->s, "", 50 * 1000), 1);
    assert_int_equal(store_dir_sweep(f->s, "none", 0), 0);
    assert_int_equal(store_dir_sweep(f->s, "../x", 0), -EINVAL);
    assert_int_equal(store_dir_sweep(f->s, "d/a", 0), -EIO);
    assert_listing(f->s, "", "d/a,");
}

/* A staged file that is swept too early costs the upload, not the truth. */
static void an_upload_whose_file_was_swept_fails(void **state)
{
    struct fixture *f = *state;
    struct shale_object_meta meta;
    struct shale_upload *u;

    assert_int_equal(shale_upload_begin(f->s, "d/u", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("part")), 0);
    assert_int_equal(store_dir_sweep(f->s, "d", -1000), 1);
    assert_int_equal(shale_upload_finish(u), -EIO);
    assert_int_equal(shale_store_head(f->s, "d/u", &meta), -ENOENT);
}

static void what_is_no_file_is_no_object(void **state)
{
    struct fixture *f = *state;
    struct shale_object_meta meta;
    struct shale_buf b = SHALE_BUF_INIT;
    char path[512];

    put(f->s, "d/sub/a", "x");
    path_in(f, "d/fifo", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    path_in(f, "d/loop", path);
    assert_int_equal(symlink("loop", path), 0);
    path_in(f, "d/gone", path);
    assert_int_equal(symlink("nowhere", path), 0);
    path_in(f, "d/link", path);
    assert_int_equal(symlink("sub", path), 0);
    make_file(f, "d/with space", 0);
    assert_listing(f->s, "", "d/link/a,d/sub/a,");
    assert_int_equal(shale_store_get(f->s, "d", &b), -ENOENT);
    assert_int_equal(shale_store_get(f->s, "d/fifo", &b), -ENOENT);
    assert_int_equal(shale_store_get(f->s, "d/gone", &b), -ENOENT);
    assert_int_equal(shale_store_get(f->s, "d/sub/a/b", &b), -ENOENT);
    assert_int_equal(shale_store_head(f->s, "d/sub", &meta), -ENOENT);
    assert_int_equal(shale_store_get(f->s, "d/link/a", &b), 0);
    shale_buf_fini(&b);
}

static void what_stands_in_the_way_is_an_error_and_no_lost_race(void **state)
{
    struct fixture *f = *state;
    struct shale_upload *u;

    put(f->s, "d/a", "x");
    assert_int_equal(shale_store_put(f->s, "d", slice_str("y"), SHALE_PUT_IF_ABSENT), -EIO);
    assert_non_null(strstr(shale_errmsg(), f->dir));
    assert_int_equal(shale_store_put(f->s, "d", slice_str("y"), SHALE_PUT_OVERWRITE), -EIO);
    assert_int_equal(shale_store_put(f->s, "d/a/b", slice_str("y"), SHALE_PUT_IF_ABSENT), -EIO);
    assert_int_equal(shale_upload_begin(f->s, "d/a/b", &u), -EIO);
    assert_int_equal(shale_upload_begin(f->s, "d", &u), 0);
    assert_int_equal(shale_upload_finish(u), -EIO);
    assert_int_equal(count_entries(f, ""), 1);
    assert_int_equal(count_entries(f, "d"), 1);
}

static void a_removed_directory_is_made_again(void **state)
{
    struct fixture *f = *state;
    char path[512];

    put(f->s, "d/e/a", "x");
    assert_int_equal(shale_store_delete(f->s, "d/e/a"), 0);
    path_in(f, "d/e", path);
    assert_int_equal(rmdir(path), 0);
    path_in(f, "d", path);
    assert_int_equal(rmdir(path), 0);
    put(f->s, "d/e/a", "y");
    assert_listing(f->s, "", "d/e/a,");
    assert_int_equal(shale_store_delete(f->s, "d/e/a"), 0);
    path_in(f, "d/e", path);
    assert_int_equal(rmdir(path), 0);
    path_in(f, "d", path);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(f->dir), 0);
    assert_int_equal(shale_store_put(f->s, "d/e/a", slice_str("z"), SHALE_PUT_IF_ABSENT), -EIO);
    assert_listing(f->s, "", "");
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

/* More directories than the store remembers. */
static void many_directories(void **state)
{
    struct fixture *f = *state;
    char name[32];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++) {
            snprintf(name, sizeof(name), "%d/x", i);
            put(f->s, name, "x");
        }
    }
    assert_int_equal(count_entries(f, ""), 100);
}

static void opening(void **state)
{
    struct fixture *f = *state;
    struct shale_store *s = NULL;
    char path[512];

    path_in(f, "x/y//z/", path);
    assert_int_equal(shale_store_directory(path, false, &s), -ENOENT);
    assert_non_null(strstr(shale_errmsg(), path));
    assert_null(s);
    assert_int_equal(shale_store_directory(path, true, &s), 0);
    put(s, "a", "x");
    shale_store_close(s);
    assert_listing(f->s, "", "x/y/z/a,");
    path_in(f, "x/y/z/a", path);
    assert_int_equal(shale_store_directory(path, true, &s), -ENOTDIR);
    path_in(f, "x/y/z/a/b", path);
    assert_int_equal(shale_store_directory(path, true, &s), -ENOTDIR);
}

/* No descriptor left is a state that passes. */
static void a_lack_of_descriptors_is_transient(void **state)
{
    struct fixture *f = *state;
    struct shale_range_get r = { .name = "a", .len = 1 };
    struct shale_upload *u;
    struct shale_buf b = SHALE_BUF_INIT;
    struct rlimit old, none;
    int get, range, write, list, begin;

    put(f->s, "a", "x");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    get = shale_store_get(f->s, "a", &b);
    range = shale_store_get_ranges(f->s, &r, 1);
    write = shale_store_put(f->s, "b", slice_str("x"), SHALE_PUT_IF_ABSENT);
    list = shale_store_list(f->s, "", NULL, gather, &b);
    begin = shale_upload_begin(f->s, "b", &u);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(get, SHALE_ETRANSIENT);
    assert_int_equal(range, 0);
    assert_int_equal(r.rc, SHALE_ETRANSIENT);
    assert_int_equal(write, SHALE_ETRANSIENT);
    assert_int_equal(list, SHALE_ETRANSIENT);
    assert_int_equal(begin, SHALE_ETRANSIENT);
    assert_listing(f->s, "", "a,");
}

/* In a mount namespace of its own: 0, or the line that failed. */
#define CHECK(cond)                                                                                                 \
    do {                                                                                                            \
        if (!(cond)) {                                                                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                                                      \
            return 1;                                                                                               \
        }                                                                                                           \
    } while (0)

static int in_read_only_mount(const struct fixture *f)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_upload *u;
    struct shale_store *s;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(f->dir, f->dir, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, f->dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
        return SKIPPED;
    CHECK(shale_store_directory(f->dir, true, &s) == 0);
    CHECK(shale_store_put(s, "d/a", slice_str("x"), SHALE_PUT_IF_ABSENT) == -EROFS);
    CHECK(shale_store_put(s, "d/b", slice_str("x"), SHALE_PUT_OVERWRITE) == -EROFS);
    CHECK(shale_store_put(s, "new/b", slice_str("x"), SHALE_PUT_OVERWRITE) == -EROFS);
    CHECK(shale_upload_begin(s, "d/b", &u) == -EROFS);
    CHECK(shale_store_delete(s, "d/a") == -EROFS);
    CHECK(strstr(shale_errmsg(), "d/a") != NULL);
    CHECK(shale_store_get(s, "d/a", &b) == 0);
    shale_buf_fini(&b);
    shale_store_close(s);
    return 0;
}

static int in_full_file_system(const struct fixture *f)
{
    static uint8_t big[2 << 20];
    struct shale_upload *u;
    struct shale_store *s;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", f->dir, "tmpfs", 0, "size=1m") < 0)
        return SKIPPED;
    CHECK(shale_store_directory(f->dir, false, &s) == 0);
    CHECK(shale_store_put(s, "d/a", slice_of(big, sizeof(big)), SHALE_PUT_IF_ABSENT) == -ENOSPC);
    CHECK(count_entries(f, "d") == 0);
    CHECK(shale_upload_begin(s, "d/u", &u) == 0);
    CHECK(shale_upload_write(u, slice_of(big, sizeof(big))) == -ENOSPC);
    shale_upload_abort(u);
    CHECK(count_entries(f, "d") == 0);
    CHECK(shale_store_put(s, "d/a", slice_of(big, 1000), SHALE_PUT_IF_ABSENT) == 0);
    shale_store_close(s);
    return 0;
}

static int without_permission(const struct fixture *f)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_store *s;
    char path[512];

    path_in(f, "d/a", path);
    CHECK(chmod(path, 0) == 0);
    CHECK(chmod(f->dir, 0755) == 0);
    if (setresuid(65534, 65534, 65534) < 0 && geteuid() == 0)
        return SKIPPED;
    if (shale_store_directory(f->dir, false, &s) < 0)
        return SKIPPED; /* the temporary directory is hidden from others */
    CHECK(shale_store_get(s, "d/a", &b) == -EACCES);
    CHECK(geteuid() != 65534 || shale_store_put(s, "d/b", slice_str("x"), SHALE_PUT_IF_ABSENT) == -EACCES);
    CHECK(geteuid() != 65534 || shale_store_delete(s, "d/a") == -EACCES);
    shale_store_close(s);
    return 0;
}

static void run_in_child(struct fixture *f, int (*fn)(const struct fixture *f))
{
    pid_t pid;
    int status;

    put(f->s, "d/a", "x");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(f));
    status = exit_status(pid);
    if (status == SKIPPED) {
        print_message("skipped: not permitted to set this up here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void a_read_only_directory_is_read(void **state)
{
    run_in_child(*state, in_read_only_mount);
}

static void a_full_disk_leaves_nothing(void **state)
{
    run_in_child(*state, in_full_file_system);
}

static void a_lack_of_permission_is_told(void **state)
{
    run_in_child(*state, without_permission);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_of_eight_racing_processes_wins_each_round),
        T(a_killed_writer_leaves_no_half_object),
        T(nothing_is_left_beside_finished_and_failed_writes),
        T(staged_files_are_no_objects),
        T(the_first_write_sweeps_what_is_stale),
        T(sweeping_by_hand),
        T(an_upload_whose_file_was_swept_fails),
        T(what_is_no_file_is_no_object),
        T(what_stands_in_the_way_is_an_error_and_no_lost_race),
        T(a_removed_directory_is_made_again),
        T(many_directories),
        T(opening),
        T(a_lack_of_descriptors_is_transient),
        T(a_read_only_directory_is_read),
        T(a_full_disk_leaves_nothing),
        T(a_lack_of_permission_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
