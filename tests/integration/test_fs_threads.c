/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"
#include "lib/random_env.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Threads that do anything to the same few directories and files. What each is answered depends on the others; that no answer is one
 * of breakage, that nothing deadlocks, and what fs_check says afterwards, does not. ThreadSanitizer watches.
 */
#ifdef __SANITIZE_THREAD__
#define OPS 1500u
#else
#define OPS 6000u
#endif
enum { THREADS = 4, DIRS = 3, NAMES = 6, DEFAULT_CASES = 4 };

struct crowd {
    struct fs_fixture f;
    uint64_t dirs[DIRS];
};

struct member {
    struct crowd *crowd;
    struct rng rng;
    pthread_t thread;
};

static unsigned below(struct member *m, unsigned n)
{
    return (unsigned)rng_below(&m->rng, n);
}

static uint64_t some_dir(struct member *m)
{
    return m->crowd->dirs[below(m, DIRS)];
}

static const char *some_name(struct member *m, char name[8])
{
    snprintf(name, 8, "n%u", below(m, NAMES));
    return name;
}

/* Only what the others can have brought about. */
static void allow(int64_t rc, const char *what)
{
    static const int allowed[] = { ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL, EPERM, ENODATA };

    if (rc >= 0)
        return;
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        if (rc == -allowed[i])
            return;
    fprintf(stderr, "%s gave %lld: %s\n", what, (long long)rc, shale_errmsg());
    abort();
}

static void use_file(struct member *m, struct fs_file *h)
{
    uint8_t data[3000];
    unsigned n = 1 + below(m, 5);

    memset(data, (int)below(m, 256), sizeof(data));
    while (n-- > 0) {
        if (below(m, 2))
            allow(fs_file_write(h, below(m, 200000), data, 1 + below(m, sizeof(data))), "write");
        else
            allow(fs_file_read(h, below(m, 200000), data, sizeof(data)), "read");
    }
    if (below(m, 6) == 0)
        allow(fs_file_fsync(h, false), "fsync");
    allow(fs_file_flush(h), "flush");
    fs_file_release(h);
}

static void create_or_open(struct member *m)
{
    struct fs *fs = m->crowd->f.fs;
    uint64_t dir = some_dir(m);
    struct fs_file *h;
    struct fs_attr a;
    char name[8];
    int rc = fs_file_create(fs, &root_cred, dir, some_name(m, name), 0644, O_RDWR, &a, &h);

    allow(rc, "create");
    if (rc == -EEXIST) {
        rc = fs_lookup(fs, dir, name, &a);
        allow(rc, "lookup");
        if (rc < 0)
            return;
        rc = fs_file_open(fs, a.ino, O_RDWR | (below(m, 5) ? 0 : O_TRUNC), &h);
        allow(rc, "open");
        if (rc < 0)
            fs_forget(fs, a.ino, 1);
    }
    if (rc < 0)
        return;
    use_file(m, h);
    fs_forget(fs, a.ino, 1);
}

static void list(struct member *m)
{
    struct fs *fs = m->crowd->f.fs;
    struct fs_dirent e = { .cookie = 0 };
    struct fs_dir *d;
    struct fs_attr a;
    char last[300] = "";

    allow(fs_dir_open(fs, some_dir(m), &d), "opendir");
    while (fs_dir_read(d, e.cookie, &e) == 0) {
        int rc;

        if (e.name[0] == '.')
            continue;
        if (strcmp(last, e.name) >= 0)
            abort();
        snprintf(last, sizeof(last), "%s", e.name);
        rc = fs_dir_attr(d, &e, &a);
        allow(rc, "attributes of an entry");
        if (rc == 0)
            fs_forget(fs, a.ino, 1);
    }
    if (below(m, 10) == 0)
        allow(fs_dir_fsync(d), "fsync of a directory");
    fs_dir_release(d);
}

static void look_and_change(struct member *m)
{
    struct fs_attr a, set = { .mode = 0600, .size = below(m, 150000), .mtime_ns = 5 };
    static const unsigned what[] = { FS_SET_MODE, FS_SET_SIZE, FS_SET_MTIME, FS_SET_ATIME_NOW };
    struct fs *fs = m->crowd->f.fs;
    struct shale_buf b = SHALE_BUF_INIT;
    char name[8];
    int rc = fs_lookup(fs, some_dir(m), some_name(m, name), &a);

    allow(rc, "lookup");
    if (rc < 0)
        return;
    allow(fs_getattr(fs, a.ino, &set), "getattr");
    set.size = below(m, 150000);
    allow(fs_setattr(fs, a.ino, what[below(m, 4)], &set, &set), "setattr");
    allow(fs_setxattr(fs, a.ino, "user.a", "v", 1, 0), "setxattr");
    allow(fs_listxattr(fs, a.ino, &b), "listxattr");
    if (below(m, 2))
        allow(fs_removexattr(fs, a.ino, "user.a"), "removexattr");
    shale_buf_fini(&b);
    fs_forget(fs, a.ino, 1);
}

static void move(struct member *m)
{
    static const unsigned flags[] = { 0, 0, RENAME_EXCHANGE, RENAME_NOREPLACE };
    char name[8], new_name[8];

    allow(fs_rename(m->crowd->f.fs, some_dir(m), some_name(m, name), some_dir(m), some_name(m, new_name), flags[below(m, 4)]),
          "rename");
}

static void link_or_remove(struct member *m)
{
    struct fs *fs = m->crowd->f.fs;
    char name[8], new_name[8];
    struct fs_attr a, b;
    int rc;

    if (below(m, 2)) {
        allow(fs_unlink(fs, some_dir(m), some_name(m, name)), "unlink");
        return;
    }
    rc = fs_lookup(fs, some_dir(m), some_name(m, name), &a);
    if (rc < 0)
        return;
    rc = fs_link(fs, a.ino, some_dir(m), some_name(m, new_name), &b);
    allow(rc, "link");
    fs_forget(fs, a.ino, rc == 0 ? 2 : 1);
}

static void directories(struct member *m)
{
    struct fs *fs = m->crowd->f.fs;
    char name[8];
    struct fs_attr a;
    int rc;

    if (below(m, 2)) {
        allow(fs_rmdir(fs, some_dir(m), some_name(m, name)), "rmdir");
        return;
    }
    rc = fs_mkdir(fs, &root_cred, some_dir(m), some_name(m, name), 0755, &a);
    allow(rc, "mkdir");
    if (rc == 0) {
        allow(fs_mknod(fs, &root_cred, a.ino, "inside", S_IFREG | 0600, 0, &(struct fs_attr){ 0 }), "mknod");
        allow(fs_unlink(fs, a.ino, "inside"), "unlink");
        fs_forget(fs, a.ino, 1);
    }
}

static void *member_run(void *arg)
{
    static void (*const doings[])(struct member *m) = { create_or_open, create_or_open, list, look_and_change, move,
                                                        link_or_remove, directories };
    struct member *m = arg;

    for (unsigned i = 0; i < OPS; i++) {
        doings[below(m, sizeof(doings) / sizeof(doings[0]))](m);
        if (below(m, 200) == 0)
            allow(fs_sync(m->crowd->f.fs), "sync");
    }
    return NULL;
}

static void one_case(uint64_t seed)
{
    struct member members[THREADS];
    struct crowd *c = calloc(1, sizeof(*c));
    struct rng rng;
    char name[8];

    assert_non_null(c);
    rng_seed(&rng, seed);
    fixture_init_closed(&c->f);
    c->f.opt.commit_interval_ms = 5;
    c->f.opt.dirty_max_bytes = 1u << 20;
    c->f.opt.atime = FS_RELATIME;
    fixture_tune_small(&rng);
    fixture_open(&c->f);
    for (unsigned i = 0; i < DIRS; i++) {
        snprintf(name, sizeof(name), "dir%u", i);
        c->dirs[i] = make_dir(&c->f, FS_ROOT_INO, name);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        members[i].crowd = c;
        rng_seed(&members[i].rng, seed * THREADS + i);
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_run, &members[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(members[i].thread, NULL);
    fixture_close(&c->f);
    fixture_check(&c->f);
    fixture_tune_off();
    fixture_fini(&c->f);
    free(c);
}

static void a_crowd_leaves_a_sound_volume(void **state)
{
    struct random_env env = random_env(DEFAULT_CASES);

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("SHALE_SEED=%llu\n", (unsigned long long)(env.first + i));
        one_case(env.first + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_crowd_leaves_a_sound_volume) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
