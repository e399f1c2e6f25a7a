/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/ulid.h"
#include "fs/core/session.h"
#include "lib/heap_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SINCE INT64_C(1795442405123)

static struct session some_session(uint64_t id)
{
    return (struct session){
        .id = { .hi = 1, .lo = id },
        .host = "h",
        .machine_id = "0123456789abcdef",
        .boot_id = "b1",
        .pid = 123,
        .pid_namespace = 4026531836,
        .start_time = 8472,
        .mount_point = "/mnt",
        .since_ms = SINCE,
    };
}

static void assert_same(const struct session *a, const struct session *b)
{
    assert_true(ulid_eq(a->id, b->id));
    assert_string_equal(a->host, b->host);
    assert_string_equal(a->machine_id, b->machine_id);
    assert_string_equal(a->boot_id, b->boot_id);
    assert_int_equal(a->pid, b->pid);
    assert_true(a->pid_namespace == b->pid_namespace && a->start_time == b->start_time);
    assert_string_equal(a->mount_point, b->mount_point);
    assert_true(a->since_ms == b->since_ms);
    assert_int_equal(a->unreadable, b->unreadable);
}

static void the_text_is_the_documented_one(void **state)
{
    struct session s = some_session(1), back = { .id = s.id };
    struct shale_buf b = SHALE_BUF_INIT;
    static const char want[] = "shalefs session\n"
                               "host=h\n"
                               "machine-id=0123456789abcdef\n"
                               "boot-id=b1\n"
                               "pid=123\n"
                               "pid-namespace=4026531836\n"
                               "start-time=8472\n"
                               "mount-point=/mnt\n"
                               "since=2026-11-23T14:00:05.123Z\n"
                               "crc32=";

    (void)state;
    assert_int_equal(session_encode(&s, &b), 0);
    assert_int_equal(b.len, strlen(want) + 9);
    assert_memory_equal(b.data, want, strlen(want));
    assert_int_equal(session_parse(slice_of_buf(&b), "s", &back), 0);
    assert_same(&s, &back);
    for (size_t n = 0; n < b.len; n++)
        assert_int_equal(session_parse(slice_of(b.data, n), "s", &back), SHALE_ECORRUPT);
    assert_same(&s, &back);
    shale_buf_fini(&b);
}

static void a_mount_point_may_hold_any_bytes(void **state)
{
    struct session s = some_session(1), back = { .id = s.id };
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    for (int i = 1; i < 256; i++)
        s.mount_point[i - 1] = (char)i;
    assert_int_equal(session_encode(&s, &b), 0);
    assert_int_equal(session_parse(slice_of_buf(&b), "s", &back), 0);
    assert_same(&s, &back);
    shale_buf_fini(&b);
}

static void sessions_are_listed_until_they_are_removed(void **state)
{
    struct session a = some_session(1), b = some_session(2);
    struct session_list l = SESSION_LIST_INIT;
    struct shale_store *store;

    (void)state;
    assert_int_equal(shale_store_memory(&store), 0);
    assert_int_equal(session_list_load(store, "v", &l), 0);
    assert_int_equal(l.n, 0);
    assert_int_equal(session_create(store, "v", &b), 0);
    assert_int_equal(session_create(store, "v", &a), 0);
    assert_int_equal(session_create(store, "v", &a), -EEXIST);
    assert_int_equal(session_create(store, "other", &a), 0);
    assert_int_equal(shale_store_put(store, "v/session/README", slice_str("x"), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(session_list_load(store, "v", &l), 0);
    assert_int_equal(l.n, 2);
    assert_same(&l.v[0], &a);
    assert_same(&l.v[1], &b);
    assert_int_equal(session_remove(store, "v", a.id), 0);
    assert_int_equal(session_remove(store, "v", a.id), 0);
    assert_int_equal(session_list_load(store, "v", &l), 0);
    assert_int_equal(l.n, 1);
    assert_same(&l.v[0], &b);
    session_list_fini(&l);
    shale_store_close(store);
}

static void a_damaged_object_is_a_session_that_nobody_can_judge(void **state)
{
    struct session_list l = SESSION_LIST_INIT;
    struct session a = some_session(2);
    struct shale_store *store;
    char text[128];

    (void)state;
    assert_int_equal(shale_store_memory(&store), 0);
    assert_int_equal(shale_store_put(store, "session/00000000000000000000000001", slice_str("x"), SHALE_PUT_IF_ABSENT),
                     0);
    a.id.hi = 0;
    assert_int_equal(session_create(store, "", &a), 0);
    assert_int_equal(session_list_load(store, "", &l), 0);
    assert_int_equal(l.n, 2);
    assert_true(l.v[0].unreadable);
    assert_true(l.v[0].id.lo == 1);
    assert_false(session_is_provably_dead(&l.v[0]));
    assert_string_equal(session_describe(&l.v[0], text, sizeof(text)),
                        "somebody unknown (the object session/00000000000000000000000001 cannot be read)");
    assert_same(&l.v[1], &a);
    session_list_fini(&l);
    shale_store_close(store);
}

struct fake_process {
    int rc;
    uint64_t start_time;
};

static int fake_start(void *ctx, uint32_t pid, uint64_t *start_time)
{
    const struct fake_process *p = ctx;

    assert_int_equal(pid, 123);
    *start_time = p->start_time;
    return p->rc;
}

static void only_a_process_that_is_certain_to_be_gone_is_dead(void **state)
{
    static const struct {
        const char *name, *machine, *boot;
        uint64_t ns;
        struct fake_process process;
        bool dead;
    } cases[] = {
        { "the process runs", "0123456789abcdef", "b1", 4026531836, { 0, 8472 }, false },
        { "no such process", "0123456789abcdef", "b1", 4026531836, { -ESRCH, 0 }, true },
        { "its pid is another's now", "0123456789abcdef", "b1", 4026531836, { 0, 9000 }, true },
        { "it cannot be told", "0123456789abcdef", "b1", 4026531836, { -EACCES, 0 }, false },
        { "another pid namespace", "0123456789abcdef", "b1", 4026531837, { -ESRCH, 0 }, false },
        { "our namespace is unknown", "0123456789abcdef", "b1", 0, { -ESRCH, 0 }, false },
        { "we have booted since", "0123456789abcdef", "b2", 4026531837, { 0, 8472 }, true },
        { "our boot is unknown", "0123456789abcdef", "", 4026531836, { -ESRCH, 0 }, false },
        { "another machine", "fedcba9876543210", "b2", 4026531836, { -ESRCH, 0 }, false },
        { "our machine is unknown", "", "b2", 4026531836, { -ESRCH, 0 }, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fake_process p = cases[i].process;
        struct session_here here = { .pid_namespace = cases[i].ns, .process_start = fake_start, .ctx = &p };
        struct session s = some_session(1);

        print_message("%s\n", cases[i].name);
        strcpy(here.machine_id, cases[i].machine);
        strcpy(here.boot_id, cases[i].boot);
        assert_int_equal(session_is_dead_here(&s, &here), cases[i].dead);
        s.machine_id[0] = '\0';
        assert_false(session_is_dead_here(&s, &here));
    }
}

static void what_a_session_does_not_say_proves_nothing(void **state)
{
    struct fake_process p = { 0, 9000 };
    struct session_here here = { .machine_id = "0123456789abcdef", .boot_id = "b1", .pid_namespace = 4026531836,
                                 .process_start = fake_start, .ctx = &p };
    struct session s = some_session(1);

    (void)state;
    s.start_time = 0;
    assert_false(session_is_dead_here(&s, &here));
    s = some_session(1);
    s.boot_id[0] = '\0';
    assert_false(session_is_dead_here(&s, &here));
    s = some_session(1);
    s.pid = 0;
    assert_false(session_is_dead_here(&s, &here));
    s = some_session(1);
    s.pid_namespace = here.pid_namespace = 0;
    assert_false(session_is_dead_here(&s, &here));
}

static void a_real_process_is_alive_until_it_has_ended(void **state)
{
    struct session_here here;
    struct session s;
    int status, ends[2];
    pid_t pid;

    (void)state;
    session_here_init(&here);
    /* A container may have no machine id; here it is the process that matters. */
    strcpy(here.machine_id, "m");
    strcpy(here.boot_id, "b");
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (session_init(&s, (struct shale_ulid){ 1, 1 }, "/mnt", SINCE) < 0 ||
            write(ends[1], &s, sizeof(s)) != (ssize_t)sizeof(s))
            _exit(1);
        pause();
        _exit(0);
    }
    for (size_t got = 0; got < sizeof(s);) {
        ssize_t n = read(ends[0], (char *)&s + got, sizeof(s) - got);

        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_int_equal(s.pid, pid);
    assert_true(s.start_time != 0 && s.pid_namespace != 0);
    strcpy(s.machine_id, "m");
    strcpy(s.boot_id, "b");
    assert_false(session_is_dead_here(&s, &here));
    s.start_time++;
    assert_true(session_is_dead_here(&s, &here));
    s.start_time--;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(session_is_dead_here(&s, &here));
    close(ends[0]);
    close(ends[1]);
}

static void this_process_is_not_dead(void **state)
{
    static char path[SESSION_MOUNT_POINT_MAX + 2];
    struct session s;

    (void)state;
    assert_int_equal(session_init(&s, (struct shale_ulid){ 1, 1 }, NULL, SINCE), 0);
    assert_false(session_is_provably_dead(&s));
    assert_string_equal(s.mount_point, "");
    memset(path, 'x', sizeof(path) - 1);
    assert_int_equal(session_init(&s, (struct shale_ulid){ 1, 1 }, path, SINCE), -ENAMETOOLONG);
}

static void a_description_names_host_process_time_and_place(void **state)
{
    struct session s = some_session(1);
    char text[128], little[8];

    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    tzset();
    assert_string_equal(session_describe(&s, text, sizeof(text)),
                        "host h, process 123, since 2026-11-23 14:00:05, mounted at /mnt");
    strcpy(s.mount_point, "/a\x1b[2J\n");
    assert_string_equal(session_describe(&s, text, sizeof(text)),
                        "host h, process 123, since 2026-11-23 14:00:05, mounted at /a?[2J?");
    s.mount_point[0] = s.host[0] = '\0';
    assert_string_equal(session_describe(&s, text, sizeof(text)),
                        "host unknown, process 123, since 2026-11-23 14:00:05");
    assert_string_equal(session_describe(&s, little, sizeof(little)), "host un");
}

static void running_out_of_memory_is_reported(void **state)
{
    struct session_list l = SESSION_LIST_INIT;
    struct session s = some_session(1);
    struct shale_store *store;
    unsigned n;
    int rc = -1;

    (void)state;
    assert_int_equal(shale_store_memory(&store), 0);
    for (n = 1; rc < 0; n++) {
        heap_fault_after(n);
        rc = session_create(store, "r", &s);
        assert_int_equal(heap_fault_off() ? -ENOMEM : 0, rc);
    }
    assert_true(n > 3);
    rc = -1;
    for (n = 1; rc < 0; n++) {
        session_list_fini(&l);
        heap_fault_after(n);
        rc = session_list_load(store, "r", &l);
        assert_int_equal(heap_fault_off() ? -ENOMEM : 0, rc);
        assert_int_equal(l.n, rc == 0);
    }
    assert_true(n > 3);
    assert_same(&l.v[0], &s);
    session_list_fini(&l);
    shale_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_the_documented_one),
        cmocka_unit_test(a_mount_point_may_hold_any_bytes),
        cmocka_unit_test(sessions_are_listed_until_they_are_removed),
        cmocka_unit_test(a_damaged_object_is_a_session_that_nobody_can_judge),
        cmocka_unit_test(only_a_process_that_is_certain_to_be_gone_is_dead),
        cmocka_unit_test(what_a_session_does_not_say_proves_nothing),
        cmocka_unit_test(a_real_process_is_alive_until_it_has_ended),
        cmocka_unit_test(this_process_is_not_dead),
        cmocka_unit_test(a_description_names_host_process_time_and_place),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
