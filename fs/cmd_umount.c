/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "fs/control_client.h"
#include "fs/mountpoint.h"

#include <shale/error.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
    "usage: shalefs umount [-l | --force] DIR\n"
    "\n"
    "Unmount, and return when everything is in the store. Fails when programs use the mount.\n"
    "\n"
    "  -l, --lazy   take it out of the tree at once, and wait until the last program has let go of it\n"
    "  --force      end it although programs use it: everything written is stored first, then they get errors. A store\n"
    "               that does not answer is given half a minute; what is not stored then is lost, and that is said\n";

enum how { PLAIN, LAZY, FORCE };

/* As an ordinary user. Its complaint goes to standard error only when there is no sentence of ours for it. */
static int run_fusermount(const char *dir, bool lazy)
{
    pid_t pid = fork();
    int st;

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        const char *const argv[] = { "fusermount3", "-u", "-q", lazy ? "-z" : "--", lazy ? "--" : dir,
                                     lazy ? dir : NULL, NULL };

        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (waitpid(pid, &st, 0) < 0)
        if (errno != EINTR)
            return -errno;
    if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
        return 0;
    return WIFEXITED(st) && WEXITSTATUS(st) == 127 ? -ENOEXEC : -EBUSY;
}

/* root unmounts by itself; others need the set-uid program of libfuse. */
static int detach(const char *dir, bool lazy)
{
    if (umount2(dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    return errno == EPERM ? run_fusermount(dir, lazy) : -errno;
}

/* "Busy" is what a person can do something about, so it is told who. */
static int say_failed(const struct mountpoint *m, int rc)
{
    char users[256];

    if (rc == -ENOEXEC)
        return cmd_say(CMD_FAILED, "cannot unmount %s: fusermount3 is not installed", m->dir);
    if (rc != -EBUSY)
        return cmd_say(CMD_FAILED, "cannot unmount %s: %s", m->dir, strerror(-rc));
    mountpoint_users(m->dir, users, sizeof(users));
    return cmd_say(CMD_FAILED, "cannot unmount %s: it is in use%s%s (see --lazy and --force)", m->dir,
                   users[0] ? " by " : "", users);
}

/*
 * umount(2) returns when the kernel has let go of the mount. What was written is in the store only when the process
 * says so, and that is what a person has waited for.
 */
static int wait_for_end(const struct mountpoint *m, struct control_watch *w)
{
    struct shale_buf said = SHALE_BUF_INIT;
    int rc = control_watch_wait(w, &said), status = CMD_OK;

    if (rc < 0)
        status = cmd_say(CMD_FAILED, "lost sight of the process of %s: %s", m->dir, strerror(-rc));
    else if (said.len == 0)
        status = cmd_say(CMD_FAILED, "the process of %s died before it had written everything; see its log", m->dir);
    else if (strcmp((const char *)said.data, "ok") != 0)
        status = cmd_say(CMD_FAILED, "%s is unmounted, but not everything is in the store: %s", m->dir,
                         (const char *)said.data);
    shale_buf_fini(&said);
    return status;
}

/* The watch comes first: once it is unmounted, nobody could be asked any more. */
static int unmount(const struct mountpoint *m, enum how how)
{
    struct control_watch w;
    int rc, status;

    if (m->dead) { /* nobody is left to wait for */
        rc = detach(m->dir, true);
        return rc < 0 ? say_failed(m, rc) : CMD_OK;
    }
    rc = control_watch_begin(m->dir, &w);
    if (rc == -EPERM || rc == -EACCES)
        return cmd_say(CMD_FAILED, "cannot unmount %s: it belongs to another user", m->dir);
    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot talk to the process of %s: %s", m->dir, strerror(-rc));
    if (how == FORCE)
        rc = kill(w.pid, SIGTERM) < 0 ? -errno : 0;
    else
        rc = detach(m->dir, how == LAZY);
    status = rc < 0 ? say_failed(m, rc) : wait_for_end(m, &w);
    control_watch_end(&w);
    return status;
}

int cmd_umount(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "lazy", no_argument, NULL, 'l' },
        { "force", no_argument, NULL, 'F' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct mountpoint m = { 0 };
    enum how how = PLAIN;
    int c, status;

    while ((c = getopt_long(argc, argv, "lh", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CMD_OK;
        }
        if (c == '?')
            return cmd_usage("umount", "unknown option: %s", argv[optind - 1]);
        how = c == 'l' ? LAZY : FORCE;
    }
    if (argc - optind != 1)
        return cmd_usage("umount", "give one DIR");
    if (mountpoint_find(argv[optind], false, &m) < 0)
        return cmd_say(CMD_FAILED, "%s", shale_errmsg());
    status = unmount(&m, how);
    mountpoint_fini(&m);
    return status;
}
