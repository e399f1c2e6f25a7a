/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/temp_dir.h"

#include "base/request_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "# time class op object range status sent received attempt queued_ms wire_ms\n"

#define RANGE_LINE "2023-11-14T22:13:20.123Z foreground get vol/compacted/01.sst 4096+100 206 0 100 1 1.5 25.0\n"

static const struct shale_request range = { .op = SHALE_REQUEST_GET,
                                            .io_class = "foreground",
                                            .object = "vol/compacted/01.sst",
                                            .offset = 4096,
                                            .len = 100,
                                            .begun_ms = 1700000000123,
                                            .queued_ns = 1500000,
                                            .wire_ns = 25000000,
                                            .bytes_received = 100,
                                            .attempt = 1,
                                            .status = 206 };

struct rig {
    char *dir, path[300], moved[310];
};

static int setup(void **state)
{
    static struct rig r;

    r.dir = temp_dir_new();
    snprintf(r.path, sizeof(r.path), "%s/requests", r.dir);
    snprintf(r.moved, sizeof(r.moved), "%s.1", r.path);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    temp_dir_remove(r->dir);
    return 0;
}

static struct request_log *open_log(const char *path)
{
    struct request_log *l = NULL;

    assert_int_equal(request_log_open(path, &l), 0);
    assert_int_equal(request_log_start(l), 0);
    return l;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = calloc(1, 4 << 20);

    assert_non_null(f);
    (void)!fread(text, 1, (4 << 20) - 1, f);
    fclose(f);
    return text;
}

static void check_file(const char *path, const char *want)
{
    char *text = read_file(path);

    assert_string_equal(text, want);
    free(text);
}

static void each_request_is_a_line(void **state)
{
    const struct shale_request dead = { .op = SHALE_REQUEST_DELETE_MANY, .io_class = "gc", .attempt = 3,
                                        .bytes_sent = 55 };
    struct rig *r = *state;
    struct request_log *l = open_log(r->path);

    request_log_note(l, &range);
    request_log_note(l, &dead);
    request_log_close(l);
    check_file(r->path, HEADER RANGE_LINE "1970-01-01T00:00:00.000Z gc delete_many - - - 55 0 3 0.0 0.0\n");
    l = open_log(r->path); /* what is there stays */
    request_log_note(l, &dead);
    request_log_close(l);
    check_file(r->path, HEADER RANGE_LINE "1970-01-01T00:00:00.000Z gc delete_many - - - 55 0 3 0.0 0.0\n"
                               "1970-01-01T00:00:00.000Z gc delete_many - - - 55 0 3 0.0 0.0\n");
}

static void it_goes_on_in_a_new_file(void **state)
{
    struct rig *r = *state;
    struct request_log *l = open_log(r->path);
    struct stat st;

    request_log_note(l, &range);
    while (stat(r->path, &st) < 0 || st.st_size <= (off_t)sizeof(HEADER))
        usleep(1000);
    assert_int_equal(rename(r->path, r->moved), 0);
    request_log_reopen(l);
    while (stat(r->path, &st) < 0 || st.st_size == 0)
        usleep(1000);
    check_file(r->path, HEADER);
    request_log_close(l);
    request_log_reopen(NULL);
    request_log_close(NULL);
}

static void a_wrong_place_is_told(void **state)
{
    struct request_log *l = NULL;

    (void)state;
    assert_int_equal(request_log_open("/proc/none/log", &l), -ENOENT);
    assert_non_null(strstr(shale_errmsg(), "/proc/none/log"));
    assert_null(l);
}

/* Nobody reads the pipe, so that the thread hangs in its write: whoever notes a request must not. */
static void a_file_that_takes_nothing_holds_nobody_up(void **state)
{
    struct rig *r = *state;
    struct request_log *l;
    unsigned long missing = 0, lines = 0;
    char line[2000];
    FILE *in;

    assert_int_equal(mkfifo(r->path, 0600), 0);
    in = fopen(r->path, "r+"); /* both ends, so that opening does not wait either */
    assert_non_null(in);
    l = open_log(r->path);
    for (unsigned i = 0; i < 100000; i++)
        request_log_note(l, &range);
    /* Read all: what fitted, then that the rest is missing, which the next line brings. */
    while (missing == 0) {
        assert_non_null(fgets(line, sizeof(line), in));
        if (line[0] != '#')
            lines++;
        else
            (void)sscanf(line, "# %lu requests are missing here", &missing);
        request_log_note(l, &range);
    }
    assert_true(lines > 1000 && lines < 100000);
    assert_true(missing > 50000);
    fclose(in); /* writes fail from here on: EPIPE, or nothing at all */
    request_log_close(l);
}

static void a_full_disk_is_survived(void **state)
{
    struct request_log *l;

    (void)state;
    l = open_log("/dev/full");
    for (unsigned i = 0; i < 100000; i++)
        request_log_note(l, &range);
    request_log_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_request_is_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(it_goes_on_in_a_new_file, setup, teardown),
        cmocka_unit_test(a_wrong_place_is_told),
        cmocka_unit_test_setup_teardown(a_file_that_takes_nothing_holds_nobody_up, setup, teardown),
        cmocka_unit_test(a_full_disk_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
