/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/damage.h"
#include "lib/random_env.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/crc32.h"
#include "fs/core/check.h"
#include "fs/core/fs.h"
#include "fs/core/fs_merge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * A volume that a mount of this process holds open: a few files, in an L0 SST and in the log. One of its objects is
 * damaged; then it is taken over, each name and byte is read, and it is checked. test_corruption has the engine's side.
 */

#define URL "memory://corrupt/vol"

enum { SECONDS = 60, DEPTH_MAX = 8, READ_MAX = 1 << 20 };

struct scene {
    struct shale_store *store;
    struct stored_set objects;
    struct shale_buf tree; /* what a walk finds in the sound volume */
};

static const struct fs_cred root = { 0, 0 };

/* ---- reading all of it ---- */

struct walk {
    struct fs *fs;
    struct shale_buf text;
    unsigned errors;
    int rc; /* the first */
};

static bool failed(struct walk *w, int64_t rc)
{
    if (rc >= 0)
        return false;
    if (w->errors++ == 0)
        w->rc = (int)rc;
    return true;
}

static void note(struct walk *w, const char *what, struct shale_slice bytes)
{
    assert_int_equal(buf_printf(&w->text, " %s %zu %08" PRIx32, what, bytes.len, crc32_of(bytes)), 0);
}

static void walk_file(struct walk *w, uint64_t ino)
{
    static uint8_t data[READ_MAX];
    struct fs_file *f = NULL;
    ssize_t n;

    if (failed(w, fs_file_open(w->fs, ino, O_RDONLY, &f)))
        return;
    n = fs_file_read(f, 0, data, sizeof(data));
    if (!failed(w, n))
        note(w, "data", slice_of(data, (size_t)n));
    fs_file_release(f);
}

static void walk_xattrs(struct walk *w, uint64_t ino)
{
    struct shale_buf names = SHALE_BUF_INIT, value = SHALE_BUF_INIT;

    if (!failed(w, fs_listxattr(w->fs, ino, &names))) {
        for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1)
            if (!failed(w, fs_getxattr(w->fs, ino, (char *)names.data + at, &value)))
                note(w, (char *)names.data + at, slice_of_buf(&value));
    }
    shale_buf_fini(&names);
    shale_buf_fini(&value);
}

static void walk_dir(struct walk *w, uint64_t ino, unsigned depth);

static void walk_entry(struct walk *w, uint64_t parent, const char *name, unsigned depth)
{
    struct shale_buf target = SHALE_BUF_INIT;
    struct fs_attr a;

    if (failed(w, fs_lookup(w->fs, parent, name, &a)))
        return;
    assert_int_equal(buf_printf(&w->text, "\n%u %s %o %u %" PRIu64, depth, name, a.mode, a.nlink, a.size), 0);
    walk_xattrs(w, a.ino);
    if (S_ISREG(a.mode))
        walk_file(w, a.ino);
    else if (S_ISLNK(a.mode) && !failed(w, fs_readlink(w->fs, a.ino, &target)))
        note(w, "target", slice_of_buf(&target));
    else if (S_ISDIR(a.mode) && depth < DEPTH_MAX)
        walk_dir(w, a.ino, depth + 1);
    shale_buf_fini(&target);
    fs_forget(w->fs, a.ino, 1);
}

static void walk_dir(struct walk *w, uint64_t ino, unsigned depth)
{
    char name[FS_NAME_MAX + 1];
    struct fs_dir *d = NULL;
    struct fs_dirent e;
    uint64_t cookie = 0;
    int rc;

    if (failed(w, fs_dir_open(w->fs, ino, &d)))
        return;
    while ((rc = fs_dir_read(d, cookie, &e)) == 0) {
        cookie = e.cookie;
        snprintf(name, sizeof(name), "%s", e.name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            walk_entry(w, ino, name, depth);
    }
    (void)failed(w, rc);
    fs_dir_release(d);
}

/* ---- the volume ---- */

static struct fs *open_volume(void)
{
    struct fs_options opt;
    struct fs *fs = NULL;

    fs_options_init(&opt);
    assert_int_equal(fs_open(URL, &opt, &fs), 0);
    return fs;
}

static void make_file(struct fs *fs, uint64_t dir, const char *name, size_t len)
{
    uint8_t *data = mem_alloc(len);
    struct fs_file *f = NULL;
    struct fs_attr a;
    struct rng r;

    assert_non_null(data);
    rng_seed(&r, len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)("abcdefgh"[rng_below(&r, 8)]);
    assert_int_equal(fs_file_create(fs, &root, dir, name, 0644, O_WRONLY, &a, &f), 0);
    assert_int_equal(fs_file_write(f, 0, data, len), len);
    fs_file_release(f);
    assert_int_equal(fs_setxattr(fs, a.ino, "user.len", &len, sizeof(len), 0), 0);
    fs_forget(fs, a.ino, 1);
    mem_free(data);
}

static void fill(struct fs *fs, const char *dir)
{
    struct fs_attr d, a;

    assert_int_equal(fs_mkdir(fs, &root, FS_ROOT_INO, dir, 0750, &d), 0);
    make_file(fs, d.ino, "small", 100);
    make_file(fs, d.ino, "large", 20000);
    assert_int_equal(fs_symlink(fs, &root, "where/it/leads", d.ino, "link", &a), 0);
    fs_forget(fs, a.ino, 1);
    assert_int_equal(fs_lookup(fs, d.ino, "small", &a), 0);
    assert_int_equal(fs_link(fs, a.ino, FS_ROOT_INO, dir[0] == 'a' ? "hard-a" : "hard-b", &a), 0);
    fs_forget(fs, a.ino, 2);
    fs_forget(fs, d.ino, 1);
}

/* What the log has goes into an L0 SST. */
static void flush_tables(struct shale_store *store)
{
    struct shale_options opt;
    struct shale_db *db = NULL;

    shale_options_init(&opt);
    opt.merge_operator = &fs_merge_operator;
    opt.compactor.enabled = false;
    opt.min_filter_keys = 1;
    opt.block_size = 1024;
    assert_int_equal(shale_db_open(store, "vol", &opt, false, &db), 0);
    assert_int_equal(shale_db_flush(db, SHALE_FLUSH_MEMTABLE), 0);
    assert_int_equal(shale_db_close(db, SHALE_CLOSE_FLUSH), 0);
}

static void scene_init(struct scene *s)
{
    struct fs_format_options format;
    struct walk w = { .rc = 0 };
    char *path = NULL;

    memset(s, 0, sizeof(*s));
    assert_int_equal(shale_store_open(URL, true, &s->store, &path), 0);
    free(path);
    fs_format_options_init(&format);
    format.block_bytes = 1024;
    assert_int_equal(fs_format(URL, &format), 0);
    w.fs = open_volume();
    fill(w.fs, "above");
    assert_int_equal(fs_close(w.fs), 0);
    flush_tables(s->store);
    w.fs = open_volume();
    fill(w.fs, "below");
    assert_int_equal(fs_sync(w.fs), 0);
    stored_load(&s->objects, s->store); /* now: with the session */
    walk_dir(&w, FS_ROOT_INO, 0);
    assert_int_equal(w.errors, 0);
    assert_int_equal(fs_close(w.fs), 0);
    s->tree = w.text;
}

static void scene_fini(struct scene *s)
{
    stored_fini(&s->objects);
    shale_buf_fini(&s->tree);
    shale_store_close(s->store);
}

/* ---- one case ---- */

static bool is_in(const struct scene *s, size_t object, const char *dir)
{
    return strstr(s->objects.v[object].name, dir) != NULL;
}

/* See test_corruption: what has no checksum, and what another object's bytes may stand for. */
static bool is_strict(const struct scene *s, const struct damage *d)
{
    if (is_in(s, d->victim, "/manifest/") || is_in(s, d->victim, "/compactions/"))
        return false;
    return d->kind != DAMAGE_SWAP && !(d->kind == DAMAGE_CUT && d->at == 0 && is_in(s, d->victim, "/wal/"));
}

static void complain(const struct scene *s, const struct damage *d, const char *what, int rc)
{
    fail_msg("%s: %s (%d, '%s')", damage_text(&s->objects, d), what, rc, shale_errmsg());
}

static int remove_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    return shale_store_delete(arg, name);
}

static void lay_out(struct scene *s, const struct damage *d)
{
    assert_int_equal(shale_store_list(s->store, "", NULL, remove_name, s->store), 0);
    damage_apply(&s->objects, d, s->store);
}

static void check_sentence(const struct scene *s, const struct damage *d, int rc)
{
    if (rc >= 0 || rc == -ENOMEM || !*shale_errmsg())
        complain(s, d, "no proper error", rc);
    if (is_strict(s, d) && !damage_named(&s->objects, d, shale_errmsg()))
        complain(s, d, "a sentence that does not name it", rc);
}

/* Read and write it. Whether anything was refused. */
static bool try_mount(struct scene *s, const struct damage *d, bool read_only)
{
    struct fs_options opt;
    struct walk w = { .rc = 0 };
    struct fs_attr a;
    int rc;

    lay_out(s, d);
    fs_options_init(&opt);
    opt.takeover = true;
    opt.read_only = read_only;
    rc = fs_open(URL, &opt, &w.fs);
    if (rc < 0) {
        check_sentence(s, d, rc);
        return true;
    }
    walk_dir(&w, FS_ROOT_INO, 0);
    if (is_strict(s, d)) {
        if (w.errors > 0 && w.rc != -EIO)
            complain(s, d, "not EIO", w.rc);
        if (w.errors == 0 && !slice_eq(slice_of_buf(&w.text), slice_of_buf(&s->tree)))
            complain(s, d, "another tree", 0);
    }
    if (!read_only && fs_mkdir(w.fs, &root, FS_ROOT_INO, "new", 0755, &a) == 0)
        fs_forget(w.fs, a.ino, 1);
    (void)fs_close(w.fs); /* may well fail by what it finds now */
    shale_buf_fini(&w.text);
    return w.errors > 0;
}

static void see_problem(void *arg, const char *line)
{
    (void)line;
    ++*(unsigned *)arg;
}

static bool try_check(struct scene *s, const struct damage *d)
{
    struct fs_check_options opt = { .quiet = false };
    struct fs_check_result result;
    unsigned problems = 0;
    int rc;

    lay_out(s, d);
    rc = fs_check(URL, &opt, see_problem, &problems, &result);
    if (rc < 0)
        check_sentence(s, d, rc);
    else if (is_strict(s, d) && problems > 0)
        complain(s, d, "a check found problems in what can be read", 0);
    return rc < 0 || problems > 0;
}

static bool try_case(struct scene *s, const struct damage *d, unsigned how)
{
    bool refused;

    damage_watch(damage_text(&s->objects, d), SECONDS);
    refused = how == 0 ? try_check(s, d) : try_mount(s, d, how == 1);
    damage_watch("", 0);
    return refused;
}

/* ---- which cases ---- */

static size_t find_object(const struct scene *s, const char *dir)
{
    for (size_t i = 0; i < s->objects.n; i++)
        if (is_in(s, i, dir))
            return i;
    fail_msg("no object in %s", dir);
    return 0;
}

static void a_sound_volume_is_right(void **state)
{
    struct scene *s = *state;
    size_t any = find_object(s, "/session/");
    struct damage none = { .kind = DAMAGE_SWAP, .victim = any, .other = any };

    find_object(s, "/compacted/");
    find_object(s, "/wal/");
    for (unsigned how = 0; how < 3; how++)
        assert_false(try_case(s, &none, how));
    assert_int_equal(slice_eq(slice_of_buf(&s->tree), slice_str("")), false);
}

/* Whatever happens to the volume's description is noticed before anything is opened. */
static void each_byte_of_the_description_counts(void **state)
{
    struct scene *s = *state;
    size_t victim = find_object(s, "/volume/");
    uint64_t len = s->objects.v[victim].data.len;
    unsigned refused = 0;

    for (uint64_t at = 0; at < len * 8; at += 3)
        refused += try_case(s, &(struct damage){ .kind = DAMAGE_FLIP, .victim = victim, .at = at }, 2);
    assert_int_equal(refused, (len * 8 + 2) / 3);
    for (uint64_t at = 0; at < len; at += 7)
        assert_true(try_case(s, &(struct damage){ .kind = DAMAGE_CUT, .victim = victim, .at = at }, 1));
    assert_true(try_case(s, &(struct damage){ .kind = DAMAGE_ZEROS, .victim = victim }, 1));
    assert_true(try_case(s, &(struct damage){ .kind = DAMAGE_GARBAGE, .victim = victim, .at = 1 }, 1));
    assert_true(try_case(s, &(struct damage){ .kind = DAMAGE_CUT, .victim = victim, .at = 0 }, 0));
}

static int open_without_force(struct scene *s, const struct damage *d)
{
    struct fs_options opt;
    struct fs *fs = NULL;

    lay_out(s, d);
    fs_options_init(&opt);
    return fs_open(URL, &opt, &fs);
}

/* A session that cannot be read is somebody's all the same: only takeover gets past it. */
static void a_damaged_session_still_holds_the_volume(void **state)
{
    struct scene *s = *state;
    size_t victim = find_object(s, "/session/");
    uint64_t len = s->objects.v[victim].data.len;
    struct damage d = { .victim = victim };

    for (d.at = 0; d.at < len * 8; d.at += 3)
        assert_int_equal(open_without_force(s, &d), -EBUSY);
    d.kind = DAMAGE_CUT;
    for (d.at = 0; d.at < len; d.at += 7) {
        assert_int_equal(open_without_force(s, &d), -EBUSY);
        assert_false(try_case(s, &d, 2));
    }
    d.kind = DAMAGE_ZEROS;
    assert_int_equal(open_without_force(s, &d), -EBUSY);
    assert_false(try_case(s, &d, 2));
}

static struct damage random_damage(const struct scene *s, struct rng *r)
{
    struct damage d = { .kind = rng_below(r, 3) ? DAMAGE_FLIP : (enum damage_kind)rng_below(r, DAMAGE_SWAP + 1) };
    uint64_t len;

    do {
        d.victim = rng_below(r, s->objects.n);
        d.other = rng_below(r, s->objects.n);
    } while (d.victim == d.other);
    len = s->objects.v[d.victim].data.len;
    d.at = rng_below(r, d.kind == DAMAGE_FLIP ? len * 8 : len);
    return d;
}

static void random_damages(void **state)
{
    struct random_env env = random_env(5000);
    struct scene *s = *state;
    unsigned refused = 0;
    struct damage d;
    struct rng r;

    print_message("SHALE_SEED=%llu SHALE_RANDOM_CASES=%llu\n", (unsigned long long)env.first,
                  (unsigned long long)env.n);
    for (uint64_t i = 0; i < env.n; i++) {
        rng_seed(&r, env.first + i);
        d = random_damage(s, &r);
        refused += try_case(s, &d, (unsigned)rng_below(&r, 3));
    }
    print_message("%u refused\n", refused);
}

static int setup(void **state)
{
    static struct scene s;

    scene_init(&s);
    *state = &s;
    return 0;
}

static int teardown(void **state)
{
    scene_fini(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_volume_is_right),
        cmocka_unit_test(each_byte_of_the_description_counts),
        cmocka_unit_test(a_damaged_session_still_holds_the_volume),
        cmocka_unit_test(random_damages),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
