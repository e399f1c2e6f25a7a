/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The mask on the line that begins with name; 0 when there is none. */
static uint64_t mask(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

static uint64_t bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

/*
 * While a thread waits for us its signals stay pending, of the thread or of the process. One that nobody catches and
 * that ends the process has become SIGKILL for each of its threads.
 */
bool interrupt_in_status(const char *text)
{
    uint64_t ends = bit(SIGINT) | bit(SIGTERM) | bit(SIGQUIT) | bit(SIGHUP) | bit(SIGABRT);
    uint64_t pending = mask(text, "\nSigPnd:") | mask(text, "\nShdPnd:");

    if (pending & bit(SIGKILL))
        return true;
    return (pending & ~mask(text, "\nSigBlk:") & ~mask(text, "\nSigIgn:") & ends) != 0;
}

bool interrupt_is_meant(pid_t tid)
{
    char path[40], text[4096];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%ld/status", (long)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return true;
    text[n] = '\0';
    return interrupt_in_status(text);
}
