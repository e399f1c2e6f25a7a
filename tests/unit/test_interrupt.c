/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "fs/ops/interrupt.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define STATUS(pnd, shd, blk, ign, cgt)                                                                                \
    "Name:\tcat\nState:\tD (disk sleep)\nThreads:\t1\nSigQ:\t1/96150\nSigPnd:\t" pnd "\nShdPnd:\t" shd              \
    "\nSigBlk:\t" blk "\nSigIgn:\t" ign "\nSigCgt:\t" cgt "\nCapInh:\t0000000000000000\n"
#define NONE "0000000000000000"

static void only_signals_that_are_meant_to_end_something_count(void **state)
{
    static const struct {
        const char *name, *text;
        bool want;
    } cases[] = {
        { "none", STATUS(NONE, NONE, NONE, NONE, NONE), false },
        { "SIGKILL of the thread", STATUS("0000000000000100", NONE, NONE, NONE, NONE), true },
        { "SIGKILL is not blocked", STATUS("0000000000000100", NONE, "0000000000000100", NONE, NONE), true },
        { "SIGINT of the process, caught", STATUS(NONE, "0000000000000002", NONE, NONE, "0000000000000002"), true },
        { "SIGTERM", STATUS(NONE, "0000000000004000", NONE, NONE, "0000000000004000"), true },
        { "SIGINT, blocked", STATUS(NONE, "0000000000000002", "0000000000000002", NONE, NONE), false },
        { "SIGHUP, ignored", STATUS(NONE, "0000000000000001", NONE, "0000000000000001", NONE), false },
        { "SIGALRM, caught", STATUS(NONE, "0000000000002000", NONE, NONE, "0000000000002000"), false },
        { "SIGCHLD", STATUS(NONE, "0000000000010000", NONE, NONE, "0000000000010000"), false },
        { "SIGURG of a thread", STATUS("0000000000400000", NONE, NONE, NONE, "0000000000400000"), false },
        { "SIGALRM, then SIGINT", STATUS(NONE, "0000000000002002", NONE, NONE, "0000000000002002"), true },
        { "no such lines", "Name:\tcat\n", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%s\n", cases[i].name);
        assert_int_equal(interrupt_in_status(cases[i].text), cases[i].want);
    }
}

static void ignore_it(int sig)
{
    (void)sig;
}

/* As the kernel says it of this thread: blocked signals wait, too, and do not count. */
static void a_real_thread_is_asked(void **state)
{
    sigset_t set;

    (void)state;
    assert_false(interrupt_is_meant(gettid()));
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGINT, ignore_it);
    raise(SIGINT);
    assert_false(interrupt_is_meant(gettid()));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    assert_true(interrupt_is_meant(0x7ffffff0)); /* who cannot be seen may have been killed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_signals_that_are_meant_to_end_something_count),
        cmocka_unit_test(a_real_thread_is_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
