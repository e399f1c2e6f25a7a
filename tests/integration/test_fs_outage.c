/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that does not answer, as programs on the volume meet it: what waits, what can be interrupted, what fails in a
 * mount that is soft, and what the end of a mount does that must not wait.
 */

#include "lib/fs_fixture.h"

#include "base/cancel.h"
#include "base/pool.h"
#include "fs/core/volume_state.h"

#include <fcntl.h>
#include <sched.h>
#include <shale/log.h>
#include <stdio.h>

#define FAR (1u << 20)

/* One operation on another thread, which has a token. */
struct call {
    struct worker w;
    struct cancel token;
    struct fs_fixture *f;
    struct fs_file *file;
    const char *name;
    int (*fn)(struct call *c);
    int rc;
    _Atomic bool done;
};

static void call_main(void *arg)
{
    struct call *c = arg;

    (void)cancel_set(&c->token);
    c->rc = c->fn(c);
    c->done = true;
}

static void call_start(struct call *c, int (*fn)(struct call *c))
{
    c->fn = fn;
    check_ok(worker_start(&c->w, "call", call_main, c));
}

static int call_end(struct call *c)
{
    worker_join(&c->w);
    return c->rc;
}

static int call_cancel(struct call *c)
{
    cancel_request(&c->token);
    return call_end(c);
}

static int do_fsync(struct call *c)
{
    return fs_file_fsync(c->file, false);
}

static int do_sync(struct call *c)
{
    return fs_sync(c->f->fs);
}

static int do_mkdir(struct call *c)
{
    struct fs_attr a;
    int rc = fs_mkdir(c->f->fs, &root_cred, FS_ROOT_INO, c->name, 0755, &a);

    if (rc == 0)
        fs_forget(c->f->fs, a.ino, 1);
    return rc;
}

static int do_lookup(struct call *c)
{
    struct fs_attr a;
    int rc = fs_lookup(c->f->fs, FS_ROOT_INO, c->name, &a);

    if (rc == 0)
        fs_forget(c->f->fs, a.ino, 1);
    return rc;
}

/* Far behind the beginning, in a block that opening the file does not read. */
static int do_read(struct call *c)
{
    char data[16];

    return (int)fs_file_read(c->file, FAR, data, sizeof(data));
}

/* From now on; the rule. Reads of SSTs are ranges, and nothing in the background makes any. */
static unsigned outage(enum fault_class cls)
{
    const struct fault_rule down = { .cls = cls, .times = FAULT_ALWAYS };

    return store_fault_add(fixture_store(), &down);
}

static void outage_over(void)
{
    store_fault_clear(fixture_store());
}

static void wait_for_failures(unsigned rule, unsigned n)
{
    while (store_fault_hits(fixture_store(), rule) < n)
        sched_yield();
}

/*
 * Files and a directory whose rows lie in SSTs alone. Opening the volume reads what lies at the beginning of the root
 * directory, so that is filled with other names.
 */
static void make_cold(struct fs_fixture *f)
{
    struct fs_file *file;
    char name[256];

    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "a%d-%0200d", i, 0); /* keys of a block share no prefix that is long */
        (void)make_file(f, FS_ROOT_INO, name);
    }
    file = open_file(f, make_file(f, FS_ROOT_INO, "cold"), O_RDWR);
    make_dir(f, FS_ROOT_INO, "dir");
    write_text(file, 0, "cold data");
    check_ok(fs_file_fsync(file, false));
    fs_file_release(file);
    file = open_file(f, make_file(f, FS_ROOT_INO, "large"), O_RDWR);
    for (unsigned i = 0; i < FAR; i += 65536)
        write_fill(file, i, (uint8_t)i, 65536);
    write_text(file, FAR, "far data");
    check_ok(fs_file_fsync(file, false));
    fs_file_release(file);
    check_ok(shale_db_flush(f->fs->db, SHALE_FLUSH_MEMTABLE));
    f->opt.cache_bytes = 64u << 10; /* so small that no neighbours are read along */
    fixture_reopen(f);
}

/* ---- interrupted ---- */

static void an_fsync_is_interrupted_and_a_later_one_succeeds(void **state)
{
    struct fs_fixture *f = *state;
    struct call c = { .f = f }, other = { .f = f };
    struct fs_file *file = open_file(f, make_file(f, FS_ROOT_INO, "a"), O_RDWR);
    unsigned rule = outage(FAULT_PUT);

    write_text(file, 0, "text");
    c.file = file;
    call_start(&c, do_fsync);
    call_start(&other, do_sync);
    wait_for_failures(rule, 1);
    check_err(-EINTR, call_cancel(&c));
    assert_false(other.done);
    outage_over();
    check_ok(call_end(&other));
    check_ok(fs_file_fsync(file, false));
    fs_file_release(file);
    check_text(f, look(f, FS_ROOT_INO, "a"), "text");
}

static void a_lookup_is_interrupted_and_another_of_the_same_goes_on(void **state)
{
    struct fs_fixture *f = *state;
    struct call c = { .f = f, .name = "cold" }, other = { .f = f, .name = "cold" }, last = { .f = f, .name = "cold" };
    unsigned rule;

    make_cold(f);
    rule = outage(FAULT_RANGE);
    call_start(&c, do_lookup);
    wait_for_failures(rule, 1);
    call_start(&other, do_lookup); /* it and the next wait for what the first reads */
    call_start(&last, do_lookup);
    wait_for_failures(rule, 3);
    check_err(-EINTR, call_cancel(&last));
    assert_false(c.done);
    check_err(-EINTR, call_cancel(&c));
    assert_false(other.done);
    outage_over();
    check_ok(call_end(&other));
    check_text(f, look(f, FS_ROOT_INO, "cold"), "cold data");
}

/* The first has the name lock and waits for the store, the second waits for the first. */
static void who_waits_behind_another_is_interrupted_too(void **state)
{
    struct fs_fixture *f = *state;
    struct call first = { .f = f, .name = "dir" }, second = { .f = f, .name = "second" };
    unsigned rule;

    make_cold(f);
    rule = outage(FAULT_RANGE);
    call_start(&first, do_mkdir);
    wait_for_failures(rule, 1);
    call_start(&second, do_mkdir);
    check_err(-EINTR, call_cancel(&second));
    assert_false(first.done);
    outage_over();
    check_err(-EEXIST, call_end(&first));
    assert_int_equal(look(f, FS_ROOT_INO, "second"), 0);
    second = (struct call){ .f = f, .name = "second" };
    check_ok(do_mkdir(&second));
}

static void a_read_is_interrupted(void **state)
{
    struct fs_fixture *f = *state;
    struct call c = { .f = f };
    unsigned rule;

    make_cold(f);
    c.file = open_file(f, look(f, FS_ROOT_INO, "large"), O_RDONLY);
    rule = outage(FAULT_RANGE);
    call_start(&c, do_read);
    wait_for_failures(rule, 1);
    check_err(-EINTR, call_cancel(&c));
    outage_over();
    check_err(8, do_read(&c));
    fs_file_release(c.file);
}

static void who_waits_for_a_chunk_that_another_reads_is_interrupted(void **state)
{
    struct fs_fixture *f = *state;
    struct call first = { .f = f }, second = { .f = f };
    unsigned rule;

    make_cold(f);
    first.file = second.file = open_file(f, look(f, FS_ROOT_INO, "large"), O_RDONLY);
    rule = outage(FAULT_RANGE);
    call_start(&first, do_read);
    wait_for_failures(rule, 1);
    call_start(&second, do_read);
    wait_for_failures(rule, 3);
    check_err(-EINTR, call_cancel(&second));
    assert_false(first.done);
    outage_over();
    check_err(8, call_end(&first));
    fs_file_release(first.file);
}

/* ---- soft ---- */

static _Atomic int advice;

static void see_line(void *ctx, enum shale_log_level level, const char *line)
{
    (void)ctx, (void)level;
    advice += strstr(line, "can no longer be written until it is unmounted and mounted again") != NULL;
}

static void a_soft_read_fails_and_later_ones_work(void **state)
{
    struct fs_fixture *f = *state;
    struct call c = { .f = f, .name = "cold" };

    make_cold(f);
    fixture_close(f);
    f->opt.soft_ms = 100;
    fixture_open(f);
    (void)outage(FAULT_RANGE);
    check_err(-EIO, do_lookup(&c));
    check_err(-EIO, do_lookup(&c));
    outage_over();
    check_text(f, look(f, FS_ROOT_INO, "cold"), "cold data");
    check_ok(fs_sync(f->fs));
}

/* Nobody knows whether the commit is in the store, so nothing may follow it. */
static void a_soft_fsync_that_fails_ends_writing_until_the_next_mount(void **state)
{
    struct fs_fixture *f = *state;
    struct fs_file *file;
    struct call c = { .f = f, .name = "late" };

    make_cold(f);
    fixture_close(f);
    f->opt.soft_ms = 100;
    fixture_open(f);
    file = open_file(f, look(f, FS_ROOT_INO, "cold"), O_RDWR);
    write_text(file, 0, "COLD");
    advice = 0;
    shale_log_set(see_line, NULL, SHALE_LOG_ERROR);
    (void)outage(FAULT_PUT);
    check_err(-EIO, fs_file_fsync(file, false));
    outage_over();
    check_err(-EIO, fs_file_fsync(file, false));
    check_err(-EIO, fs_file_write(file, 0, "x", 1));
    check_err(-EIO, do_mkdir(&c));
    check_err(-EIO, fs_sync(f->fs));
    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
    assert_int_equal(advice, 1);
    check_fill(file, 8, 'a', 1); /* reads go on */
    fs_file_release(file);
    assert_true(fs_close(f->fs) < 0);
    f->fs = NULL;
    f->opt.takeover = true; /* the session is of this process, which lives */
    fixture_open(f);
    f->opt.takeover = false;
    file = open_file(f, look(f, FS_ROOT_INO, "cold"), O_RDWR);
    check_fill(file, 8, 'a', 1);
    write_text(file, 0, "cold");
    check_ok(fs_file_fsync(file, false));
    fs_file_release(file);
}

/* ---- an end that must not wait ---- */

static void a_close_that_is_given_up_ends_and_says_so(void **state)
{
    struct fs_fixture *f = *state;
    struct cancel give_up = { .also = NULL };
    struct call c = { .f = f };
    struct fs_file *file;
    unsigned rule;

    make_cold(f);
    fixture_close(f);
    f->opt.give_up = &give_up;
    fixture_open(f);
    file = open_file(f, make_file(f, FS_ROOT_INO, "kept"), O_RDWR);
    check_ok(fs_file_fsync(file, false));
    rule = outage(FAULT_ANY);
    write_text(file, 0, "lost");
    c.file = file;
    c.token.also = &give_up; /* as the token of a request has it */
    call_start(&c, do_fsync);
    wait_for_failures(rule, 1);
    cancel_request(&give_up);
    check_err(-EINTR, call_end(&c));
    fs_file_release(file);
    check_err(SHALE_ECANCELED, fs_close(f->fs)); /* the next store has no rule */
    f->fs = NULL;
    f->opt.give_up = NULL;
    f->opt.takeover = true;
    fixture_open(f);
    f->opt.takeover = false;
    assert_true(look(f, FS_ROOT_INO, "kept") != 0);
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(an_fsync_is_interrupted_and_a_later_one_succeeds),
        with_fixture(a_lookup_is_interrupted_and_another_of_the_same_goes_on),
        with_fixture(who_waits_behind_another_is_interrupted_too),
        with_fixture(a_read_is_interrupted),
        with_fixture(who_waits_for_a_chunk_that_another_reads_is_interrupted),
        with_fixture(a_soft_read_fails_and_later_ones_work),
        with_fixture(a_soft_fsync_that_fails_ends_writing_until_the_next_mount),
        with_fixture(a_close_that_is_given_up_ends_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
