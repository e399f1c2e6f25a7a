/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "lib/temp_dir.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct fs_cred root_cred = { 0, 0 };

/* Stores that were opened by URL, each behind a store_fault, which does not close it. */
static struct {
    pthread_mutex_t mu;
    struct shale_store *inner[4096];
    size_t n;
    struct shale_store *last;
    bool plain, has_rule;
    struct fault_rule rule; /* of the next one */
} stores = { .mu = PTHREAD_MUTEX_INITIALIZER };

int __real_shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                                 struct shale_store **out, char **path);
int __wrap_shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                                 struct shale_store **out, char **path);

int __wrap_shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                                 struct shale_store **out, char **path)
{
    struct shale_store *inner;
    int rc;

    if (stores.plain)
        return __real_shale_store_open_with(url, create, opt, out, path);
    rc = __real_shale_store_open_with(url, create, opt, &inner, path);
    if (rc < 0)
        return rc;
    *out = store_fault_new(inner);
    if (stores.has_rule)
        store_fault_add(*out, &stores.rule);
    stores.has_rule = false;
    pthread_mutex_lock(&stores.mu);
    assert_true(stores.n < sizeof(stores.inner) / sizeof(stores.inner[0]));
    stores.inner[stores.n++] = inner;
    stores.last = *out;
    pthread_mutex_unlock(&stores.mu);
    return 0;
}

static struct {
    bool on;
    uint64_t l0_bytes, wal_bytes, sst_bytes;
    uint32_t freeze;
} tuned;

int __real_shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                         struct shale_db **out);
int __wrap_shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                         struct shale_db **out);

int __wrap_shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                         struct shale_db **out)
{
    struct shale_options o = *opt;

    if (tuned.on) {
        o.l0_sst_size_bytes = tuned.l0_bytes;
        o.wal_max_bytes = tuned.wal_bytes;
        o.freeze_wal_count = tuned.freeze;
        o.compactor.min_sources = 2;
        o.compactor.poll_interval_ms = 10;
        o.compactor.max_sst_size = tuned.sst_bytes;
    }
    return __real_shale_db_open(store, path, &o, create, out);
}

void fixture_tune_small(struct rng *rng)
{
    tuned.on = true;
    tuned.l0_bytes = 4000 + rng_below(rng, 150000);
    tuned.wal_bytes = rng_below(rng, 2) ? 0 : 1 + rng_below(rng, 50000);
    tuned.sst_bytes = 20000 + rng_below(rng, 1000000);
    tuned.freeze = 1 + (uint32_t)rng_below(rng, 8);
}

void fixture_tune_off(void)
{
    tuned.on = false;
}

struct shale_store *fixture_store(void)
{
    return stores.last;
}

void fixture_next_rule(const struct fault_rule *rule)
{
    stores.rule = *rule;
    stores.has_rule = true;
}

void fixture_plain_stores(bool plain)
{
    stores.plain = plain;
}

void check_rc(int64_t want, int64_t rc, const char *expr, const char *file, int line)
{
    if (rc == want)
        return;
    print_error("%s gave %lld (%s), not %lld; sentence: %s\n", expr, (long long)rc, rc < 0 ? shale_strerror((int)rc) : "",
                (long long)want, shale_errmsg());
    _fail(file, line);
}

static void init(struct fs_fixture *f)
{
    memset(f, 0, sizeof(*f));
    fs_options_init(&f->opt);
    fs_format_options_init(&f->format);
    f->opt.commit_interval_ms = 3600000;
    f->format.chunk_bytes = 64u << 10;
}

void fixture_init_closed(struct fs_fixture *f)
{
    static unsigned n;
    char *path;

    init(f);
    snprintf(f->url, sizeof(f->url), "memory://fixture-%u/volume", n++);
    check_ok(shale_store_open(f->url, true, &f->keep, &path));
    free(path);
    check_ok(fs_format(f->url, &f->format));
}

void fixture_init(struct fs_fixture *f)
{
    fixture_init_closed(f);
    fixture_open(f);
}

void fixture_init_dir(struct fs_fixture *f)
{
    init(f);
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    f->dir = temp_dir_new();
    snprintf(f->url, sizeof(f->url), "file://%s/volume", f->dir);
    check_ok(fs_format(f->url, &f->format));
}

void fixture_fini(struct fs_fixture *f)
{
    if (f->fs)
        (void)fs_close(f->fs);
    for (size_t i = 0; i < stores.n; i++)
        shale_store_close(stores.inner[i]);
    stores.n = 0;
    shale_store_close(f->keep);
    temp_dir_remove(f->dir);
}

int fixture_setup(void **state)
{
    struct fs_fixture *f = malloc(sizeof(*f));

    if (!f)
        return -1;
    fixture_init(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fs_fixture *f = *state;

    if (f->fs) {
        fixture_close(f);
        fixture_check(f);
    }
    fixture_fini(f);
    free(f);
    return 0;
}

void fixture_open(struct fs_fixture *f)
{
    assert_null(f->fs);
    check_ok(fs_open(f->url, &f->opt, &f->fs));
}

void fixture_close(struct fs_fixture *f)
{
    struct fs *fs = f->fs;

    f->fs = NULL;
    check_ok(fs_close(fs));
}

void fixture_reopen(struct fs_fixture *f)
{
    fixture_close(f);
    fixture_check(f);
    fixture_open(f);
}

static void show(void *arg, const char *line)
{
    (void)arg;
    print_error("check: %s\n", line);
}

void fixture_check(struct fs_fixture *f)
{
    struct fs_check_options opt = { 0 };
    struct fs_check_result res;

    check_ok(fs_check(f->url, &opt, show, NULL, &res));
    assert_int_equal(res.problems, 0);
}

uint64_t make_dir(struct fs_fixture *f, uint64_t parent, const char *name)
{
    struct fs_attr a;

    check_ok(fs_mkdir(f->fs, &root_cred, parent, name, 0755, &a));
    fs_forget(f->fs, a.ino, 1);
    return a.ino;
}

uint64_t make_file(struct fs_fixture *f, uint64_t parent, const char *name)
{
    struct fs_attr a;

    check_ok(fs_mknod(f->fs, &root_cred, parent, name, S_IFREG | 0644, 0, &a));
    fs_forget(f->fs, a.ino, 1);
    return a.ino;
}

uint64_t look(struct fs_fixture *f, uint64_t parent, const char *name)
{
    struct fs_attr a;
    int rc = fs_lookup(f->fs, parent, name, &a);

    if (rc == -ENOENT)
        return 0;
    check_ok(rc);
    fs_forget(f->fs, a.ino, 1);
    return a.ino;
}

struct fs_attr attr_of(struct fs_fixture *f, uint64_t ino)
{
    struct fs_attr a;

    check_ok(fs_getattr(f->fs, ino, &a));
    assert_true(a.ino == ino);
    return a;
}

int set_size(struct fs_fixture *f, uint64_t ino, uint64_t size)
{
    struct fs_attr a = { .size = size };

    return fs_setattr(f->fs, ino, FS_SET_SIZE, &a, &a);
}

struct fs_file *open_file(struct fs_fixture *f, uint64_t ino, int flags)
{
    struct fs_file *file;

    check_ok(fs_file_open(f->fs, ino, flags, &file));
    return file;
}

void write_text(struct fs_file *file, uint64_t offset, const char *text)
{
    check_err((int64_t)strlen(text), fs_file_write(file, offset, text, strlen(text)));
}

void write_fill(struct fs_file *file, uint64_t offset, uint8_t byte, size_t len)
{
    uint8_t *p = malloc(len);

    assert_non_null(p);
    memset(p, byte, len);
    check_err((int64_t)len, fs_file_write(file, offset, p, len));
    free(p);
}

void check_text(struct fs_fixture *f, uint64_t ino, const char *text)
{
    struct fs_file *file = open_file(f, ino, O_RDONLY);
    size_t len = strlen(text);
    char *got = calloc(1, len + 2);

    assert_non_null(got);
    check_err((int64_t)len, fs_file_read(file, 0, got, len + 1));
    assert_string_equal(got, text);
    free(got);
    fs_file_release(file);
    assert_true(attr_of(f, ino).size == len);
}

void check_fill(struct fs_file *file, uint64_t offset, uint8_t byte, size_t len)
{
    uint8_t *p = malloc(len);

    assert_non_null(p);
    memset(p, ~byte, len);
    check_err((int64_t)len, fs_file_read(file, offset, p, len));
    for (size_t i = 0; i < len; i++)
        if (p[i] != byte)
            fail_msg("byte %llu is %02x, not %02x", (unsigned long long)(offset + i), p[i], byte);
    free(p);
}

void check_names(struct fs_fixture *f, uint64_t dir, const char *names)
{
    struct shale_buf got = SHALE_BUF_INIT;
    struct fs_dirent e;
    struct fs_dir *d;
    uint64_t cookie = 2;
    int rc;

    check_ok(fs_dir_open(f->fs, dir, &d));
    while ((rc = fs_dir_read(d, cookie, &e)) == 0) {
        check_ok(buf_printf(&got, "%s%s", got.len ? " " : "", e.name));
        cookie = e.cookie;
    }
    check_err(SHALE_END, rc);
    fs_dir_release(d);
    assert_string_equal(got.len ? (char *)got.data : "", names);
    shale_buf_fini(&got);
}
