/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/request_log.h"
#include "fs/core/requests.h"
#include "fs/daemon.h"
#include "fs/log_sink.h"
#include "fs/mountpoint.h"
#include "fs/options.h"
#include "fs/ops/session.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: shalefs mount [-f] [-o OPTIONS] VOLUME DIR\n"
    "\n"
    "Mount a volume on an empty directory. Returns when the mount can be used; it then runs in the background.\n"
    "\n"
    "  -f, --foreground  stay in the foreground and log to standard error\n"
    "  -o OPTIONS        comma separated, may be repeated:\n"
    "\n";

/* One mount, from the command line to its end. */
struct mount_run {
    struct mount_options opt;
    bool foreground, fake;
    const char *volume_arg, *dir_arg;
    char *url, *dir; /* owned */
    struct shale_buf place; /* lines that say where the store is, for control.h; a string */
    struct daemon daemon;
    struct request_log *request_log; /* owned; NULL: none is wanted */
    struct signals signals;
    bool ready;
};

static void on_ready(void *arg)
{
    struct mount_run *m = arg;
    char *text = NULL;
    const char *log = m->opt.log ? m->opt.log : "standard error";

    if (asprintf(&text, "%s is mounted on %s (log: %s)", m->url, m->dir, log) < 0)
        text = NULL;
    m->ready = true;
    log_info("mounted %s on %s%s", m->url, m->dir, m->opt.fs.read_only ? ", read-only" : "");
    daemon_ready(&m->daemon, text ? text : "mounted");
    free(text);
}

static void on_hangup(void *arg)
{
    struct mount_run *m = arg;

    if (!m->foreground)
        log_sink_reopen();
    request_log_reopen(m->request_log);
}

/* Log, and let the person know: the parent, or standard error. */
static int fail(struct mount_run *m, int rc, const char *doing)
{
    char *text = NULL;

    /* cmd_reason() is overwritten by nothing here. */
    if (asprintf(&text, "%s %s on %s: %s", doing, m->volume_arg, m->dir_arg, cmd_reason(rc)) < 0)
        text = NULL;
    log_error("%s", text ? text : "out of memory");
    if (!daemon_fail(&m->daemon, text ? text : "out of memory") && m->foreground)
        cmd_say(CMD_FAILED, "%s", text ? text : "out of memory");
    free(text);
    return rc;
}

/* Ends the volume: what is left is written. first is what went wrong before, and remains the result. */
static int finish(struct mount_run *m, struct fs *fs, struct control *control, int first)
{
    int rc = fs_close(fs);

    if (rc < 0) {
        fail(m, rc, "not everything could be written when unmounting");
        control_tell(control, cmd_reason(rc));
    } else if (first < 0) {
        control_tell(control, "the mount failed; see its log");
    } else {
        log_info("unmounted %s from %s", m->url, m->dir);
        control_tell(control, NULL);
    }
    return first < 0 ? first : rc;
}

static int serve_requests(struct mount_run *m, struct fs *fs, struct control *control,
                          const struct session_options *so)
{
    int rc;

    m->signals.mount_point = m->dir;
    m->signals.on_hangup = m->foreground && !m->request_log ? NULL : on_hangup;
    m->signals.hangup_arg = m;
    rc = signals_start(&m->signals);
    if (rc < 0)
        err_set(rc, "cannot start a thread: %s", strerror(-rc));
    else
        rc = session_run(fs, control, so);
    if (rc < 0)
        fail(m, rc, m->ready ? "error while serving" : "cannot mount");
    return rc;
}

/*
 * From here on the process is the one that stays: sessions name it, and threads may start. What is built up is taken
 * down in the other order; the volume is closed in any case, since that writes what is left, and its result outlives
 * the mount.
 */
static int serve(struct mount_run *m)
{
    struct session_options so = {
        .volume = m->url,
        .mount_point = m->dir,
        .kernel_options = m->opt.kernel,
        .read_only = m->opt.fs.read_only,
        .allow_other = m->opt.allow_other,
        .max_threads = m->opt.threads,
        .on_ready = on_ready,
        .ready_arg = m,
        .signals = &m->signals,
    };
    struct control *control = NULL;
    struct fs *fs = NULL;
    int rc;

    m->opt.fs.mount_point = m->dir;
    m->opt.fs.give_up = &m->signals.give_up;
    rc = fs_open(m->url, &m->opt.fs, &fs);
    if (rc < 0)
        return fail(m, rc, "cannot mount");
    rc = control_new(fs, m->url, (const char *)m->place.data, m->opt.log, &control);
    if (rc < 0) {
        fail(m, err_set(rc, "out of memory"), "cannot mount");
        (void)fs_close(fs); /* nothing was changed */
        return rc;
    }
    rc = serve_requests(m, fs, control, &so);
    rc = finish(m, fs, control, rc);
    signals_stop(&m->signals);
    control_free(control);
    return rc;
}

/* What is counted and logged of requests outlives the volume, whose last requests it hears of, too. */
static int run(struct mount_run *m)
{
    int rc = m->request_log ? request_log_start(m->request_log) : 0;

    if (rc == 0 && fs_requests_new(clock_mono_ms(), m->request_log ? request_log_note : NULL, m->request_log,
                                   &m->opt.fs.requests) < 0)
        rc = err_set(-ENOMEM, "out of memory");
    rc = rc < 0 ? fail(m, rc, "cannot mount") : serve(m);
    fs_requests_free(m->opt.fs.requests);
    return rc;
}

/* What the environment says is pinned down as well: a command that asks the mount has another one. */
static int describe_place(struct mount_run *m)
{
    int rc = shale_store_config_describe(m->opt.store, m->url, &m->place);

    if (rc == 0)
        rc = shale_buf_append(&m->place, "", 1);
    mount_options_settle(&m->opt);
    return rc;
}

/* Everything that can be refused before there is a process in the background. */
static int prepare(struct mount_run *m)
{
    int rc = mountpoint_check(m->dir_arg, m->opt.nonempty, &m->dir);

    if (rc == 0)
        rc = cmd_volume_url(m->volume_arg, &m->url);
    if (rc == 0)
        rc = describe_place(m);
    if (rc == 0 && !m->opt.log && !m->foreground) {
        m->opt.log = log_sink_default_path(m->url);
        if (!m->opt.log)
            rc = err_set(-ENOENT, "no place for the log: set HOME or XDG_STATE_HOME, or give -o log=FILE");
    }
    return rc;
}

/*
 * glibc gives each thread an arena, and keeps in all of them what memtables and SSTs in the making once took: several
 * times what is in use. Two arenas are enough, since most allocations are small and come from the threads' own caches.
 */
static void tune_heap(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

/* Logs are opened before the fork, so that one that cannot be written fails in front of the person. */
static int mount_it(struct mount_run *m)
{
    int status = CMD_OK, rc = prepare(m);

    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot mount %s on %s: %s", m->volume_arg, m->dir_arg, cmd_reason(rc));
    if (m->fake)
        return CMD_OK;
    rc = log_sink_open(m->opt.log, m->opt.debug ? SHALE_LOG_DEBUG : SHALE_LOG_INFO);
    if (rc == 0 && m->opt.request_log)
        rc = request_log_open(m->opt.request_log, &m->request_log);
    if (rc == 0)
        rc = daemon_start(&m->daemon, m->foreground, &status);
    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot mount %s on %s: %s", m->volume_arg, m->dir_arg, cmd_reason(rc));
    if (rc > 0)
        return status;
    tune_heap();
    return run(m) < 0 ? CMD_FAILED : CMD_OK;
}

static int mount_and_free(struct mount_run *m)
{
    int status = mount_it(m);

    request_log_close(m->request_log);
    mem_free(m->url);
    mem_free(m->dir);
    shale_buf_fini(&m->place);
    return status;
}

int cmd_mount(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "foreground", no_argument, NULL, 'f' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }
    };
    struct mount_run m = { 0 };
    int c, status = -1;

    if (mount_options_init(&m.opt) < 0)
        return cmd_say(CMD_FAILED, "out of memory");
    while (status < 0 && (c = getopt_long(argc, argv, "fo:h", long_options, NULL)) != -1) {
        if (c == 'f') {
            m.foreground = true;
        } else if (c == 'o') {
            if (mount_options_parse(&m.opt, optarg) < 0)
                status = cmd_usage("mount", "%s", shale_errmsg());
        } else if (c == 'h') {
            fputs(help, stdout);
            mount_options_help(stdout);
            status = CMD_OK;
        } else {
            status = cmd_usage("mount", "unknown option or missing value: %s", argv[optind - 1]);
        }
    }
    if (status < 0 && argc - optind != 2)
        status = cmd_usage("mount", "give VOLUME and DIR");
    if (status < 0) {
        m.volume_arg = argv[optind];
        m.dir_arg = argv[optind + 1];
        status = mount_and_free(&m);
    }
    mount_options_fini(&m.opt);
    return status;
}

int cmd_mount_helper(int argc, char **argv, bool f_is_fake)
{
    struct mount_run m = { 0 };
    int c, status = -1;

    if (mount_options_init(&m.opt) < 0)
        return cmd_say(CMD_FAILED, "out of memory");
    /* -n, -s, -v, -t TYPE and -N NAMESPACE are for mount(8) itself */
    while (status < 0 && (c = getopt(argc, argv, "fnsvo:t:N:")) != -1) {
        if (c == 'f' && f_is_fake)
            m.fake = true;
        else if (c == 'f')
            m.foreground = true;
        else if (c == 'o' && mount_options_parse(&m.opt, optarg) < 0)
            status = cmd_usage("mount", "%s", shale_errmsg());
        else if (c == '?')
            status = cmd_usage("mount", "unknown option or missing value: %s", argv[optind - 1]);
    }
    if (status < 0 && argc - optind != 2)
        status = cmd_usage("mount", "give VOLUME and DIR");
    if (status < 0) {
        m.volume_arg = argv[optind];
        m.dir_arg = argv[optind + 1];
        status = mount_and_free(&m);
    }
    mount_options_fini(&m.opt);
    return status;
}
