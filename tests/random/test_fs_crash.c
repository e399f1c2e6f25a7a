/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_driver.h"
#include "lib/fs_fixture.h"
#include "lib/random_env.h"

#include "fs/core/file_data.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A process does random operations and dies: by SIGKILL, or by itself in a random call to the store. It tells through a pipe when an
 * operation begins and when it has returned. Then the volume must show (ARCHITECTURE, "what a crash leaves") the names and
 * attributes after some operation p: not before the last one that synced and had returned, not after the last one that had begun. Each
 * file must have what it had after some operation q: not before what fsync, rename, link or truncation up to p promised, with no
 * truncation behind p. Every byte tells which operation wrote it, so old, foreign or half-done contents are found.
 */
enum { DEFAULT_ROUNDS = 200, OPS_MAX = 2500, BROKEN_ROUNDS_MAX = 100 };

/* A core that forgets to carry data along with a rename or link, to see that this test would notice. */
static bool forget_to_carry;

int __real_file_data_writeback(struct fs *fs, struct inode *i);
int __wrap_file_data_writeback(struct fs *fs, struct inode *i);

int __wrap_file_data_writeback(struct fs *fs, struct inode *i)
{
    return forget_to_carry ? 0 : __real_file_data_writeback(fs, i);
}

struct round {
    uint64_t seed;
    struct rng rng;             /* of how it ends, not of the operations */
    struct fs_fixture f;
    uint64_t n_ops, kill_after; /* notes */
    uint64_t begun, returned;   /* operations, as the process told */
    struct shale_buf names;     /* what is there after the crash */
    struct { uint64_t ino, size, hash; } files[512];
    size_t n_files;
    char why[512];              /* what was wrong with the last p that was tried */
};

/* ---- the process that dies ---- */

struct note {
    uint64_t op;
    bool returned;
};

static void tell(int fd, uint64_t op, bool returned)
{
    struct note note = { .op = op, .returned = returned };

    if (write(fd, &note, sizeof(note)) != sizeof(note))
        _exit(3);
}

static struct fault_rule some_death(struct round *r, unsigned calls)
{
    return (struct fault_rule){ .cls = rng_below(&r->rng, 2) ? FAULT_PUT : FAULT_ANY,
                                .action = rng_below(&r->rng, 2) ? FAULT_CRASH : FAULT_CRASH_DONE,
                                .nth = 1 + (unsigned)rng_below(&r->rng, calls) };
}

static void run_and_die(struct round *r, int fd)
{
    struct fs_driver d;

    driver_init(&d, r->seed, r->f.format.chunk_bytes);
    if (fs_open(r->f.url, &r->f.opt, &r->f.fs) < 0)
        _exit(4);
    if (rng_below(&r->rng, 2)) {
        struct fault_rule rule = some_death(r, 60);

        (void)store_fault_add(fixture_store(), &rule);
    }
    d.fs = r->f.fs;
    for (uint64_t i = 1; i <= r->n_ops; i++) {
        driver_choose(&d);
        tell(fd, i, false);
        driver_apply(&d);
        tell(fd, i, true);
    }
    close(fd);
    for (;;)
        pause();
}

/* ---- the one that watches it ---- */

static void listen_and_kill(struct round *r, int fd, pid_t pid)
{
    struct note note;
    uint64_t n = 0;

    while (read(fd, &note, sizeof(note)) == sizeof(note)) {
        if (note.returned)
            r->returned = note.op;
        else
            r->begun = note.op;
        if (++n == r->kill_after)
            kill(pid, SIGKILL);
    }
    kill(pid, SIGKILL);
}

static void crash(struct round *r)
{
    int fds[2], status;
    pid_t pid;

    r->f.opt.commit_interval_ms = (int64_t)(rng_below(&r->rng, 3) ? 1 + rng_below(&r->rng, 20) : 3600000);
    r->f.opt.dirty_max_bytes = rng_below(&r->rng, 2) ? 64u << 20 : 1 + rng_below(&r->rng, 300000);
    r->n_ops = 1 + rng_below(&r->rng, OPS_MAX);
    r->kill_after = 1 + rng_below(&r->rng, 2 * r->n_ops + 100);
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        run_and_die(r, fds[1]);
    }
    close(fds[1]);
    listen_and_kill(r, fds[0], pid);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) &&
        !(WIFEXITED(status) && WEXITSTATUS(status) == FAULT_EXIT_STATUS))
        fail_msg("the process ended with status %#x before it was to", (unsigned)status);
}

/* Another process mounts what was left and dies while it recovers, or a little later. Nothing comes or goes by that. */
static void crash_again(struct round *r)
{
    struct fault_rule rule = some_death(r, 30);
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        fixture_next_rule(&rule);
        if (fs_open(r->f.url, &r->f.opt, &r->f.fs) < 0)
            _exit(4);
        if (rng_below(&r->rng, 2))
            _exit(fs_close(r->f.fs) < 0 ? 5 : 0);
        _exit(0); /* without a word to the volume */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != FAULT_EXIT_STATUS))
        fail_msg("the second process ended with status %#x", (unsigned)status);
}

/* ---- what is there ---- */

static void put_node(struct shale_buf *out, const char *path, uint64_t ino, mode_t mode, uint32_t nlink)
{
    check_ok(buf_printf(out, "%s inode %" PRIu64 " mode %o links %u", path, ino, mode, nlink));
}

static void load_file(struct round *r, uint64_t ino, uint64_t size)
{
    uint8_t *data = malloc(size + 1);
    struct fs_file *file;

    assert_non_null(data);
    check_ok(fs_file_open(r->f.fs, ino, O_RDONLY, &file));
    check_err((int64_t)size, fs_file_read(file, 0, data, size + 1));
    fs_file_release(file);
    assert_true(r->n_files < sizeof(r->files) / sizeof(r->files[0]));
    r->files[r->n_files].ino = ino;
    r->files[r->n_files].size = size;
    r->files[r->n_files++].hash = model_hash(data, size);
    free(data);
}

static void load_extras(struct round *r, uint64_t ino, mode_t mode)
{
    struct shale_buf value = SHALE_BUF_INIT;
    char name[32];

    for (unsigned i = 0; i < MODEL_XATTRS; i++) {
        snprintf(name, sizeof(name), DRIVER_XATTR, i);
        if (fs_getxattr(r->f.fs, ino, name, &value) == 0)
            check_ok(buf_printf(&r->names, " %u=%.*s", i, (int)value.len, (const char *)value.data));
    }
    if (S_ISLNK(mode)) {
        check_ok(fs_readlink(r->f.fs, ino, &value));
        check_ok(buf_printf(&r->names, " -> %.*s", (int)value.len, (const char *)value.data));
    }
    check_ok(buf_printf(&r->names, "\n"));
    shale_buf_fini(&value);
}

static void load_tree(struct round *r, uint64_t ino, const char *path)
{
    struct fs_attr a = attr_of(&r->f, ino);
    struct fs_dirent e;
    struct fs_dir *dir;
    uint64_t cookie = 2;
    char child[4096];

    put_node(&r->names, path, ino, a.mode, a.nlink);
    load_extras(r, ino, a.mode);
    if (S_ISREG(a.mode))
        load_file(r, ino, a.size);
    if (!S_ISDIR(a.mode))
        return;
    check_ok(fs_dir_open(r->f.fs, ino, &dir));
    for (; fs_dir_read(dir, cookie, &e) == 0; cookie = e.cookie) {
        snprintf(child, sizeof(child), "%s/%s", path, e.name);
        load_tree(r, e.ino, child);
    }
    fs_dir_release(dir);
}

/* ---- what may be there ---- */

static void model_tree(struct shale_buf *out, const struct model_node *n, const char *path)
{
    char child[4096];

    put_node(out, path, n->ino, n->mode, n->nlink);
    for (unsigned i = 0; i < MODEL_XATTRS; i++)
        if (n->xattr[i])
            check_ok(buf_printf(out, " %u=%s", i, n->xattr[i]));
    check_ok(buf_printf(out, "%s%s\n", n->target[0] ? " -> " : "", n->target));
    for (size_t i = 0; i < n->n; i++) {
        snprintf(child, sizeof(child), "%s/%s", path, n->entries[i].name);
        model_tree(out, n->entries[i].node, child);
    }
}

static bool names_match(struct round *r, const struct fs_model *at_p)
{
    struct shale_buf want = SHALE_BUF_INIT;
    bool same;

    model_tree(&want, at_p->root, "");
    same = slice_eq(slice_of_buf(&want), slice_of_buf(&r->names));
    if (!same)
        snprintf(r->why, sizeof(r->why), "after operation %" PRIu64 " the names were others", at_p->op);
    shale_buf_fini(&want);
    return same;
}

static const struct model_node *node_of(const struct fs_model *m, uint64_t ino)
{
    const struct model_node *lists[] = { m->all, m->dead };

    for (int i = 0; i < 2; i++)
        for (const struct model_node *n = lists[i]; n; n = n->next)
            if (n->ino == ino)
                return n;
    return NULL;
}

/* Whether a file has what it had after an operation from carried on. all has the versions up to the last operation. */
static bool file_matches(const struct model_node *all, uint64_t p, uint64_t carried, uint64_t size, uint64_t hash)
{
    size_t k = 0;

    if (!all)
        return false;
    while (k < all->n_versions && all->versions[k].op <= carried)
        k++;
    if (k == 0 && size == 0)
        return true;
    for (k -= k > 0; k < all->n_versions; k++) {
        const struct model_version *v = &all->versions[k];

        if (v->cut && v->op > p)
            return false;
        if (v->size == size && v->hash == hash)
            return true;
    }
    return false;
}

static bool files_match(struct round *r, const struct fs_model *at_p, const struct fs_model *end)
{
    for (size_t i = 0; i < r->n_files; i++) {
        const struct model_node *n = node_of(at_p, r->files[i].ino), *all = node_of(end, r->files[i].ino);

        assert_non_null(n);
        assert_non_null(all);
        if (file_matches(all, at_p->op, n->carried, r->files[i].size, r->files[i].hash))
            continue;
        snprintf(r->why, sizeof(r->why),
                 "the names are those after operation %" PRIu64 ", but inode %" PRIu64 " (%" PRIu64 " bytes) is not as it was after "
                 "any operation from %" PRIu64 " on",
                 at_p->op, n->ino, r->files[i].size, n->carried);
        return false;
    }
    return true;
}

/* The model after operation n, and the last one up to `returned` that synced. */
static uint64_t model_after(struct fs_driver *d, const struct round *r, uint64_t n)
{
    uint64_t last_sync = 0;

    driver_init(d, r->seed, r->f.format.chunk_bytes);
    d->model.keep_dead = true;
    d->fsync_limit = r->returned;
    while (d->model.op < n) {
        driver_step(d);
        if (driver_is_sync(&d->op) && d->model.op <= r->returned)
            last_sync = d->model.op;
    }
    return last_sync;
}

static bool some_moment_matches(struct round *r)
{
    struct fs_driver end, at;
    uint64_t synced = model_after(&end, r, r->begun);
    bool found = false;

    (void)model_after(&at, r, synced);
    snprintf(r->why, sizeof(r->why), "nothing was tried");
    for (;;) {
        char before[sizeof(r->why)];

        memcpy(before, r->why, sizeof(before));
        found = names_match(r, &at.model) && files_match(r, &at.model, &end.model);
        /* The reason that concerns contents is the better one to show. */
        if (strncmp(before, "the names", 9) == 0)
            memcpy(r->why, before, sizeof(before));
        if (found || at.model.op == r->begun)
            break;
        driver_step(&at);
    }
    driver_fini(&at);
    driver_fini(&end);
    return found;
}

/* Crash and look. False: what is there cannot be; why is in r. */
static bool round_run(struct round *r, uint64_t seed)
{
    bool good;

    memset(r, 0, sizeof(*r));
    r->seed = seed;
    rng_seed(&r->rng, ~seed);
    fixture_init_dir(&r->f);
    fixture_tune_small(&r->rng);
    crash(r);
    while (rng_below(&r->rng, 2))
        crash_again(r);
    fixture_check(&r->f);
    r->f.opt.commit_interval_ms = 3600000;
    fixture_open(&r->f);
    load_tree(r, FS_ROOT_INO, "");
    good = some_moment_matches(r);
    fixture_close(&r->f);
    fixture_check(&r->f);
    fixture_fini(&r->f);
    fixture_tune_off();
    shale_buf_fini(&r->names);
    return good;
}

static void what_a_crash_leaves_is_one_moment(void **state)
{
    struct random_env env = random_env(DEFAULT_ROUNDS);
    static struct round r;

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("SHALE_SEED=%" PRIu64 "\n", env.first + i);
        if (!round_run(&r, env.first + i))
            fail_msg("operations %" PRIu64 " returned, %" PRIu64 " begun: %s\n%.*s", r.returned, r.begun, r.why,
                     (int)r.names.len, (const char *)r.names.data);
    }
}

static void a_core_that_forgets_to_carry_data_is_caught(void **state)
{
    static struct round r;
    unsigned n = 0;

    (void)state;
    forget_to_carry = true;
    while (n < BROKEN_ROUNDS_MAX && round_run(&r, 1000 + n))
        n++;
    forget_to_carry = false;
    if (n == BROKEN_ROUNDS_MAX)
        fail_msg("%u rounds found nothing", n);
    print_message("caught in round %u: %s\n", n, r.why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_core_that_forgets_to_carry_data_is_caught),
        cmocka_unit_test(what_a_crash_leaves_is_one_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
