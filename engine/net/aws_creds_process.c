/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credential_process: a program of the user's prints keys. Its line is split as Python's shlex does for botocore, and
 * no shell sees it, so nothing in it is expanded. What it writes to its error output goes where ours goes, not into
 * our sentences, as nobody knows what it tells there.
 */

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/aws_creds.h"
#include "net/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 65536u
#define PATIENCE_MS 60000
#define WORDS_MAX 64

/* ---- the line ---- */

/* One word, unquoted in place, from *text on, which moves behind it. NULL: a quote is not closed. */
static char *take_word(char **text)
{
    char *from = *text, *to = *text, *word = *text;
    char quote = 0;

    for (; *from && (quote || !strchr(" \t\r\n", *from)); from++) {
        if (quote && *from == quote)
            quote = 0;
        else if (!quote && (*from == '"' || *from == '\''))
            quote = *from;
        else if (*from == '\\' && quote != '\'' && from[1] && (!quote || strchr("\"\\", from[1])))
            *to++ = *++from;
        else
            *to++ = *from;
    }
    if (quote)
        return NULL;
    *text = from + (*from != '\0');
    *to = '\0';
    return word;
}

static int split(char *line, char *words[WORDS_MAX + 1])
{
    size_t n = 0;

    for (;;) {
        line += strspn(line, " \t\r\n");
        if (!*line)
            break;
        if (n == WORDS_MAX)
            return err_set(-EINVAL, "it has more than %d words", WORDS_MAX);
        words[n] = take_word(&line);
        if (!words[n++])
            return err_set(-EINVAL, "it has a quote that is not closed");
    }
    words[n] = NULL;
    return n ? 0 : err_set(-EINVAL, "it is empty");
}

/* ---- the process ---- */

/* With the signals that a program expects, in a group of its own, so that all of it can be ended. */
static int set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, usual;
    int rc;

    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGCHLD);
    sigaddset(&usual, SIGTERM);
    sigaddset(&usual, SIGINT);
    rc = posix_spawnattr_setsigmask(attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attr, &usual);
    if (rc == 0)
        rc = posix_spawnattr_setpgroup(attr, 0);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return -rc;
}

static int spawn(char *const words[], int out, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&files);

    if (rc != 0)
        return -rc;
    rc = posix_spawnattr_init(&attr);
    if (rc != 0)
        goto out;
    rc = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1); /* libcurl's sockets, too */
    if (rc == 0)
        rc = -set_attributes(&attr);
    if (rc == 0)
        rc = posix_spawnp(pid, words[0], &files, &attr, words, environ);
    posix_spawnattr_destroy(&attr);
out:
    posix_spawn_file_actions_destroy(&files);
    return -rc;
}

/* What there is to read now. 1: more may come; 0: the end. */
static int read_some(int fd, struct shale_buf *text)
{
    ssize_t n = read(fd, text->data + text->len, OUTPUT_MAX - text->len);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 1 : -errno;
    text->len += (size_t)n;
    if (text->len == OUTPUT_MAX)
        return err_set(-EBADMSG, "it prints more than %u bytes", OUTPUT_MAX);
    return n > 0;
}

/* What has been written so far. 0 or negative. */
static int drain(struct pollfd *p, struct shale_buf *text)
{
    int rc = 0;

    while (p->fd >= 0 && poll(p, 1, 0) > 0) {
        rc = read_some(p->fd, text);
        if (rc <= 0)
            p->fd = -1;
    }
    return rc < 0 ? rc : 0;
}

/* Until it has ended, whoever else may hold its output open then. fd does not block. */
static int listen_to(int fd, int process, struct shale_buf *text)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = process, .events = POLLIN } };
    int64_t deadline = clock_mono_ms() + PATIENCE_MS, left;

    while ((left = deadline - clock_mono_ms()) > 0) {
        int rc;

        if (poll(p, 2, (int)left) < 0 && errno != EINTR)
            return err_set(-EIO, "cannot wait for it: %s", shale_strerror(-errno));
        rc = drain(&p[0], text);
        if (rc < 0 || p[1].revents)
            return rc;
    }
    return err_set(SHALE_ETRANSIENT, "it has not ended within %d s", PATIENCE_MS / 1000);
}

/* rc: how listening went. Nothing of it is left behind, unless it has left its group. */
static int reap(pid_t pid, int rc)
{
    int status = 0;

    if (rc < 0)
        (void)kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) {
            status = 0; /* somebody ignores SIGCHLD: what it printed has to do */
            break;
        }
    if (rc < 0)
        return rc;
    if (WIFSIGNALED(status))
        return err_set(-EACCES, "it was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status) ? err_set(-EACCES, "it ended with status %d", WEXITSTATUS(status)) : 0;
}

static int run(char *const words[], struct shale_buf *text)
{
    int ends[2], process, rc;
    pid_t pid;

    if (shale_buf_reserve(text, OUTPUT_MAX) < 0)
        return -ENOMEM;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set(-EIO, "cannot make a pipe: %s", shale_strerror(-errno));
    rc = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : spawn(words, ends[1], &pid);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc == -ENOMEM ? rc : err_set(-EINVAL, "cannot run %.200s: %s", words[0], shale_strerror(rc));
    }
    process = pidfd_open(pid, 0);
    rc = process < 0 ? err_set(-EIO, "cannot watch it: %s", shale_strerror(-errno)) : listen_to(ends[0], process, text);
    close(ends[0]);
    rc = reap(pid, rc);
    if (process >= 0)
        close(process);
    return rc;
}

int aws_creds_process(const char *command, const char *source, struct aws_keys **out)
{
    struct shale_buf text = SHALE_BUF_INIT;
    char *words[WORDS_MAX + 1];
    char *line = mem_strdup(command);
    int rc = line ? split(line, words) : -ENOMEM;

    if (rc == 0)
        rc = run(words, &text);
    if (rc == 0)
        rc = aws_keys_from_json(slice_of_buf(&text), "SessionToken", 1, source, out);
    if (rc < 0 && rc != -ENOMEM)
        err_add(rc, "the command of %s gives no keys", source);
    secret_free(line); /* people write keys even there */
    secret_buf_fini(&text);
    return rc;
}
