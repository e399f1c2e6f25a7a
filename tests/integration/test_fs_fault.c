/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "fs/core/volume_state.h"
#include "lib/heap_fault.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#define ROOT FS_ROOT_INO

/* ---- the store fails for good ---- */

enum { STEPS = 12, CONTENT = 3000 };

/* What a careful program does: write, fsync, rename, fsync of the directory. Returns how many were acknowledged. */
static unsigned careful_steps(struct fs_fixture *f)
{
    char name[16], final[16];

    for (unsigned k = 0; k < STEPS; k++) {
        struct fs_file *h;
        struct fs_attr a;
        uint8_t bytes[CONTENT];
        int rc;

        snprintf(name, sizeof(name), "tmp%u", k);
        snprintf(final, sizeof(final), "final%02u", k);
        memset(bytes, (int)k + 1, sizeof(bytes));
        if (fs_file_create(f->fs, &root_cred, ROOT, name, 0600, O_RDWR, &a, &h) < 0)
            return k;
        fs_forget(f->fs, a.ino, 1);
        rc = fs_file_write(h, 0, bytes, sizeof(bytes)) < 0 ? -EIO : fs_file_fsync(h, false);
        fs_file_release(h);
        if (rc == 0)
            rc = fs_rename(f->fs, ROOT, name, ROOT, final, 0);
        if (rc == 0)
            rc = fs_sync(f->fs);
        if (rc < 0)
            return k;
    }
    return STEPS;
}

static void expect_dead(struct fs_fixture *f)
{
    struct fs_attr a = { 0 };
    struct fs_dirent e;
    struct fs_dir *d;

    check_err(-EIO, fs_mkdir(f->fs, &root_cred, ROOT, "late", 0700, &a));
    check_err(-EIO, fs_rename(f->fs, ROOT, "file", ROOT, "late", 0));
    check_err(-EIO, fs_setattr(f->fs, ROOT, FS_SET_MODE, &a, &a));
    check_err(-EIO, fs_sync(f->fs));
    check_ok(fs_dir_open(f->fs, ROOT, &d));
    check_err(-EIO, fs_dir_fsync(d));
    check_ok(fs_dir_read(d, 2, &e)); /* reads go on */
    fs_dir_release(d);
    assert_int_not_equal(look(f, ROOT, "file"), 0);
}

/* A name that is there has all of its contents, and every acknowledged one is there. */
static void expect_promises(struct fs_fixture *f, unsigned acknowledged)
{
    char final[16];

    for (unsigned k = 0; k < STEPS; k++) {
        uint64_t ino;
        struct fs_file *h;

        snprintf(final, sizeof(final), "final%02u", k);
        ino = look(f, ROOT, final);
        if (k < acknowledged)
            assert_int_not_equal(ino, 0);
        if (ino == 0)
            continue;
        h = open_file(f, ino, O_RDONLY);
        check_fill(h, 0, (uint8_t)(k + 1), CONTENT);
        assert_true(attr_of(f, ino).size == CONTENT);
        fs_file_release(h);
    }
}

/* One round: the n-th call of the class fails. False when there were not so many. */
static bool store_round(enum fault_class cls, enum fault_action action, int error, unsigned n)
{
    struct fault_rule rule = { .cls = cls, .action = action, .nth = n, .rc = error };
    struct fs_fixture f;
    unsigned acknowledged, id;
    bool hit, dead;

    fixture_init(&f);
    make_file(&f, ROOT, "file");
    check_ok(fs_sync(f.fs));
    id = store_fault_add(fixture_store(), &rule);
    acknowledged = careful_steps(&f);
    hit = store_fault_hits(fixture_store(), id) > 0;
    dead = fs_error(f.fs) < 0;
    if (dead)
        expect_dead(&f);
    if (hit && !dead && cls == FAULT_PUT)
        assert_int_equal(acknowledged, STEPS);
    /* dead with everything in the store is no failure; and what was not hit yet may be hit by the close itself */
    if (fs_close(f.fs) < 0 && !dead && hit)
        fail_msg("close failed: %s", shale_errmsg());
    f.fs = NULL;
    fixture_check(&f);
    f.opt.takeover = true;
    fixture_open(&f);
    expect_promises(&f, acknowledged);
    fixture_close(&f);
    fixture_check(&f);
    fixture_fini(&f);
    return hit;
}

static void a_dead_store_poisons_the_volume(void **state)
{
    static const int errors[] = { -EIO, -ENOSPC, -EACCES, -EROFS, SHALE_ECORRUPT };
    struct rng rng;

    (void)state;
    rng_seed(&rng, 5);
    for (unsigned e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        unsigned n = 1;

        while (store_round(FAULT_PUT, e % 2 ? FAULT_LOSE_REPLY : FAULT_FAIL, errors[e], n))
            n++;
        assert_true(n > STEPS);
    }
    fixture_tune_small(&rng);
    for (unsigned n = 1; n < 60 && store_round(FAULT_ANY, FAULT_FAIL, -EIO, n); n++)
        ;
    fixture_tune_off();
}

/* ---- allocations fail ---- */

struct scene {
    struct fs_fixture f;
    uint64_t file, dir, full;
    struct fs_file *h;
    bool done; /* when an answer does not tell */
};

static void scene_set(struct scene *s)
{
    struct fs_attr a;

    memset(s, 0, sizeof(*s));
    fixture_init(&s->f);
    s->file = make_file(&s->f, ROOT, "file");
    make_file(&s->f, ROOT, "other");
    s->dir = make_dir(&s->f, ROOT, "dir");
    s->full = make_dir(&s->f, ROOT, "full");
    for (char c = 'a'; c < 'g'; c++)
        make_file(&s->f, s->full, (char[]){ c, 0 });
    check_ok(fs_symlink(s->f.fs, &root_cred, "target", ROOT, "link", &a));
    fs_forget(s->f.fs, a.ino, 1);
    check_ok(fs_setxattr(s->f.fs, s->file, "user.a", "value", 5, 0));
    s->h = open_file(&s->f, s->file, O_RDWR);
    write_fill(s->h, 100, 'o', 70000);
    check_ok(fs_sync(s->f.fs));
    write_fill(s->h, 200000, 'd', 300);
    write_fill(s->h, 10, 'd', 300);
}

static int do_mkdir(struct scene *s)
{
    struct fs_attr a;

    return fs_mkdir(s->f.fs, &root_cred, s->dir, "new", 0700, &a);
}

static int do_symlink(struct scene *s)
{
    struct fs_attr a;

    return fs_symlink(s->f.fs, &root_cred, "somewhere", s->dir, "new", &a);
}

static int do_create(struct scene *s)
{
    struct fs_file *h;
    struct fs_attr a;
    int rc = fs_file_create(s->f.fs, &root_cred, s->dir, "new", 0600, O_RDWR, &a, &h);

    if (rc == 0)
        fs_file_release(h);
    return rc;
}

static int do_link(struct scene *s)
{
    struct fs_attr a;

    return fs_link(s->f.fs, s->file, s->dir, "new", &a);
}

static int do_unlink(struct scene *s)
{
    return fs_unlink(s->f.fs, ROOT, "other");
}

static int do_unlink_open(struct scene *s)
{
    return fs_unlink(s->f.fs, ROOT, "file");
}

static int do_rmdir(struct scene *s)
{
    return fs_rmdir(s->f.fs, ROOT, "dir");
}

static int do_rename(struct scene *s)
{
    return fs_rename(s->f.fs, ROOT, "file", s->full, "a", 0);
}

static int do_rename_dir(struct scene *s)
{
    return fs_rename(s->f.fs, ROOT, "full", ROOT, "dir", 0);
}

static int do_exchange(struct scene *s)
{
    return fs_rename(s->f.fs, ROOT, "file", s->full, "b", RENAME_EXCHANGE);
}

static int do_chmod(struct scene *s)
{
    struct fs_attr a = { .mode = 0400 };

    return fs_setattr(s->f.fs, s->file, FS_SET_MODE, &a, &a);
}

static int do_cut(struct scene *s)
{
    return set_size(&s->f, s->file, 65536 + 100);
}

static int do_extend(struct scene *s)
{
    return set_size(&s->f, s->file, 1u << 30);
}

static int do_setxattr(struct scene *s)
{
    return fs_setxattr(s->f.fs, s->file, "user.b", "value", 5, 0);
}

static int do_removexattr(struct scene *s)
{
    return fs_removexattr(s->f.fs, s->file, "user.a");
}

static int do_xattr_reads(struct scene *s)
{
    struct shale_buf b = SHALE_BUF_INIT;
    int rc = fs_getxattr(s->f.fs, s->file, "user.a", &b);

    if (rc == 0)
        rc = fs_listxattr(s->f.fs, s->file, &b);
    shale_buf_fini(&b);
    return rc;
}

static int do_readlink(struct scene *s)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct fs_attr a;
    int rc = fs_lookup(s->f.fs, ROOT, "link", &a);

    if (rc == 0) {
        rc = fs_readlink(s->f.fs, a.ino, &b);
        fs_forget(s->f.fs, a.ino, 1);
    }
    shale_buf_fini(&b);
    return rc;
}

static int do_list(struct scene *s)
{
    struct fs_dirent e = { .cookie = 0 };
    struct fs_dir *d;
    struct fs_attr a;
    int rc = fs_dir_open(s->f.fs, s->full, &d);

    if (rc < 0)
        return rc;
    while ((rc = fs_dir_read(d, e.cookie, &e)) == 0) {
        if (e.name[0] == '.')
            continue;
        rc = fs_dir_attr(d, &e, &a);
        if (rc < 0)
            break;
        fs_forget(s->f.fs, a.ino, 1);
    }
    fs_dir_release(d);
    return rc == SHALE_END ? 0 : rc;
}

static int do_open(struct scene *s)
{
    struct fs_file *h;
    int rc = fs_file_open(s->f.fs, s->file, O_RDWR | O_TRUNC, &h);

    if (rc == 0)
        fs_file_release(h);
    return rc;
}

static int do_write(struct scene *s)
{
    static uint8_t data[200000];
    ssize_t n = fs_file_write(s->h, 30000, data, sizeof(data));

    return n < 0 ? (int)n : n < (ssize_t)sizeof(data) ? -ENOMEM : 0;
}

static int do_read(struct scene *s)
{
    static uint8_t data[210000];
    ssize_t n = fs_file_read(s->h, 0, data, sizeof(data));

    if (n < 0)
        return (int)n;
    assert_int_equal(n, 200300);
    assert_true(data[9] == 0 && data[10] == 'd' && data[309] == 'd' && data[310] == 'o' && data[70099] == 'o' &&
                data[70100] == 0 && data[200000] == 'd');
    return 0;
}

static int do_fsync(struct scene *s)
{
    return fs_file_fsync(s->h, false);
}

static int do_sync(struct scene *s)
{
    return fs_sync(s->f.fs);
}

/* The last close of a file without a name answers nothing. */
static int do_last_close(struct scene *s)
{
    int rc = s->done ? 0 : fs_unlink(s->f.fs, ROOT, "file");

    if (rc < 0)
        return rc;
    if (s->h)
        fs_file_release(s->h);
    s->h = NULL;
    s->done = true;
    return 0;
}

static const struct {
    const char *name;
    int (*fn)(struct scene *s);
} ops[] = {
    { "mkdir", do_mkdir },
    { "symlink", do_symlink },
    { "create", do_create },
    { "link", do_link },
    { "unlink", do_unlink },
    { "unlink of an open file", do_unlink_open },
    { "rmdir", do_rmdir },
    { "rename", do_rename },
    { "rename of a directory", do_rename_dir },
    { "exchange", do_exchange },
    { "chmod", do_chmod },
    { "cut", do_cut },
    { "extend", do_extend },
    { "setxattr", do_setxattr },
    { "removexattr", do_removexattr },
    { "reads of attributes", do_xattr_reads },
    { "readlink", do_readlink },
    { "list", do_list },
    { "open", do_open },
    { "write", do_write },
    { "read", do_read },
    { "fsync", do_fsync },
    { "sync", do_sync },
    { "last close", do_last_close },
};

/* The n-th allocation of the operation fails. False when it had fewer. */
static bool heap_round(size_t k, unsigned n)
{
    struct scene s;
    bool hit, dead;
    int rc;

    scene_set(&s);
    heap_fault_after(n);
    rc = ops[k].fn(&s);
    hit = heap_fault_off();
    dead = fs_error(s.f.fs) < 0;
    if (rc != 0 && !(hit && (rc == -ENOMEM || (dead && rc == -EIO))))
        fail_msg("%s, allocation %u: %d (%s)", ops[k].name, n, rc, shale_errmsg());
    /* A failure is one that did nothing: trying again succeeds. */
    if (rc < 0 && !dead) {
        rc = ops[k].fn(&s);
        if (rc != 0)
            fail_msg("%s after allocation %u had failed: %d (%s)", ops[k].name, n, rc, shale_errmsg());
    }
    if (s.h)
        fs_file_release(s.h);
    if (fs_close(s.f.fs) < 0)
        assert_true(dead);
    s.f.fs = NULL;
    fixture_check(&s.f);
    s.f.opt.takeover = true;
    fixture_open(&s.f);
    fixture_close(&s.f);
    fixture_check(&s.f);
    fixture_fini(&s.f);
    return hit;
}

static void no_operation_minds_failing_allocations(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(ops) / sizeof(ops[0]); k++)
        for (unsigned n = 1; heap_round(k, n); n++)
            ;
}

/* Closing writes what is dirty. False when nothing failed. */
static bool close_round(unsigned n)
{
    struct scene s;
    bool hit;
    int rc;

    scene_set(&s);
    fs_file_release(s.h);
    heap_fault_after(n);
    rc = fs_close(s.f.fs);
    hit = heap_fault_off();
    assert_true(rc == 0 || hit);
    s.f.fs = NULL;
    fixture_check(&s.f);
    s.f.opt.takeover = true;
    fixture_open(&s.f);
    s.h = open_file(&s.f, s.file, O_RDONLY);
    check_fill(s.h, 310, 'o', 70100 - 310);
    if (rc == 0)
        check_fill(s.h, 200000, 'd', 300);
    fs_file_release(s.h);
    fixture_close(&s.f);
    fixture_check(&s.f);
    fixture_fini(&s.f);
    return hit;
}

static bool open_round(unsigned n)
{
    struct scene s;
    bool hit;
    int rc;

    scene_set(&s);
    fs_file_release(s.h);
    fixture_close(&s.f);
    s.f.opt.takeover = true;
    heap_fault_after(n);
    rc = fs_open(s.f.url, &s.f.opt, &s.f.fs);
    hit = heap_fault_off();
    assert_true(rc == 0 || hit);
    if (rc < 0) {
        s.f.fs = NULL;
        fixture_open(&s.f);
    }
    (void)fs_close(s.f.fs); /* a thread may have met the failure later */
    s.f.fs = NULL;
    fixture_check(&s.f);
    fixture_fini(&s.f);
    return hit;
}

static void closing_minds_no_failing_allocation(void **state)
{
    (void)state;
    fixture_plain_stores(true);
    for (unsigned n = 1; close_round(n); n++)
        ;
}

static void opening_minds_no_failing_allocation(void **state)
{
    (void)state;
    fixture_plain_stores(true);
    for (unsigned n = 1; open_round(n); n++)
        ;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_store_poisons_the_volume),
        cmocka_unit_test(no_operation_minds_failing_allocations),
        cmocka_unit_test(closing_minds_no_failing_allocation),
        cmocka_unit_test(opening_minds_no_failing_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
