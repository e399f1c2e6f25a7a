/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/daemon.h"

#include "base/buf.h"
#include "base/err.h"
#include "fs/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child sends: one of these and a text. */
enum { SAYS_READY = 'R', SAYS_FAILED = 'F' };

/* Until the child closes its end: by speaking, which it does once, or by dying. */
static int read_all(int fd, struct shale_buf *out)
{
    for (;;) {
        char part[512];
        ssize_t n = read(fd, part, sizeof(part));

        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (shale_buf_append(out, part, (size_t)n) < 0)
            return -ENOMEM;
    }
}

/* It crashed or was killed before it could say why. The log may tell more. */
static int ended_silently(pid_t pid)
{
    int st = 0;

    while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(st))
        return cmd_say(CMD_FAILED, "the mount ended before it was ready: killed by signal %d", WTERMSIG(st));
    return cmd_say(CMD_FAILED, "the mount ended before it was ready: status %d", WEXITSTATUS(st));
}

static int wait_for_child(pid_t pid, int fd)
{
    struct shale_buf said = SHALE_BUF_INIT;
    int status;

    if (read_all(fd, &said) < 0 || said.len == 0 || shale_buf_append(&said, "", 1) < 0) {
        status = ended_silently(pid);
    } else if (said.data[0] == SAYS_READY) {
        printf("%s\n", (const char *)said.data + 1);
        fflush(stdout);
        status = CMD_OK;
    } else {
        status = cmd_say(CMD_FAILED, "%s", (const char *)said.data + 1);
        (void)waitpid(pid, NULL, 0); /* so that nothing of it is left when we return */
    }
    shale_buf_fini(&said);
    return status;
}

/*
 * Buffers are flushed before the fork, or both processes would print what is in them. There are no threads yet: after
 * a fork only the one that called it goes on.
 */
int daemon_start(struct daemon *d, bool foreground, int *status)
{
    int fds[2];
    pid_t pid;

    d->fd = -1;
    if (foreground)
        return 0;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(-errno, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        int rc = -errno;

        close(fds[0]);
        close(fds[1]);
        return err_set(rc, "cannot start a process: %s", strerror(-rc));
    }
    if (pid == 0) {
        close(fds[0]);
        d->fd = fds[1];
        return 0;
    }
    close(fds[1]);
    *status = wait_for_child(pid, fds[0]);
    close(fds[0]);
    return 1;
}

static void say(struct daemon *d, char what, const char *text)
{
    struct shale_buf b = SHALE_BUF_INIT;

    if (shale_buf_append(&b, &what, 1) == 0 && shale_buf_append(&b, text, strlen(text)) == 0)
        /* A pipe takes so little at once; when the parent is gone there is nobody to tell. */
        (void)!write(d->fd, b.data, b.len);
    shale_buf_fini(&b);
    close(d->fd);
    d->fd = -1;
}

/*
 * Out of the terminal's session, so that closing it does not end the mount, and out of its directory, which would keep
 * another mount busy. Errors leave things as they were, which harms little.
 */
static void detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)setsid();
    (void)!chdir("/");
    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        close(null);
}

/* Detached first: once the parent has spoken, whoever reads its output to the end must not wait for us to close it. */
void daemon_ready(struct daemon *d, const char *text)
{
    if (d->fd < 0) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    detach();
    say(d, SAYS_READY, text);
}

bool daemon_fail(struct daemon *d, const char *sentence)
{
    if (d->fd < 0)
        return false;
    say(d, SAYS_FAILED, sentence);
    return true;
}
