/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/session.h"

#include "base/err.h"
#include "base/log.h"
#include "fs/ops/killpriv.h"
#include "fs/ops/ops.h"

#include <stdio.h>
#include <string.h>

#define IDLE_THREADS 32

struct session_state {
    const struct session_options *opt;
    struct fuse_session *se;
    struct ops ops;
};

/* libfuse's last words, which say why a mount failed. */
static char last_line[256];

__attribute__((format(printf, 2, 0))) static void on_fuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char line[sizeof(last_line)];
    size_t n;

    if (level > FUSE_LOG_WARNING)
        return;
    vsnprintf(line, sizeof(line), fmt, ap);
    n = strlen(line);
    while (n > 0 && line[n - 1] == '\n')
        line[--n] = '\0';
    memcpy(last_line, line, n + 1);
    log_at(level <= FUSE_LOG_ERR ? SHALE_LOG_ERROR : SHALE_LOG_WARN, "%s", line);
}

static int add_option(struct fuse_args *args, const char *option)
{
    if (fuse_opt_add_arg(args, "-o") < 0 || fuse_opt_add_arg(args, option) < 0)
        return -ENOMEM;
    return 0;
}

/* The URL may hold a comma, which separates options. */
static int add_source(struct fuse_args *args, const char *url)
{
    struct shale_buf b = SHALE_BUF_INIT;
    int rc = shale_buf_append(&b, "fsname=", 7);

    for (const char *p = url; rc == 0 && *p; p++) {
        if (*p == ',' || *p == '\\')
            rc = shale_buf_append(&b, "\\", 1);
        if (rc == 0)
            rc = shale_buf_append(&b, p, 1);
    }
    if (rc == 0)
        rc = shale_buf_append(&b, "", 1);
    if (rc == 0)
        rc = add_option(args, (const char *)b.data);
    shale_buf_fini(&b);
    return rc;
}

/*
 * default_permissions: the kernel checks modes and owners, so the core need not. nosuid and nodev are added by libfuse
 * where they are not taken back by kernel_options.
 */
static int make_args(const struct session_options *opt, struct fuse_args *args)
{
    char limits[64];
    int rc;

    snprintf(limits, sizeof(limits), "max_read=%u", OPS_MAX_IO);
    if (fuse_opt_add_arg(args, "shalefs") < 0)
        return -ENOMEM;
    rc = add_source(args, opt->volume);
    if (rc == 0)
        rc = add_option(args, "subtype=shalefs,default_permissions");
    if (rc == 0)
        rc = add_option(args, limits);
    if (rc == 0 && opt->allow_other)
        rc = add_option(args, "allow_other");
    if (rc == 0 && opt->read_only)
        rc = add_option(args, "ro");
    if (rc == 0 && opt->kernel_options && opt->kernel_options[0])
        rc = add_option(args, opt->kernel_options);
    return rc;
}

/*
 * The directory becomes a mount here, but nobody is served before the loop runs. libfuse tells why it failed only in
 * its log.
 */
static int attach(struct session_state *s)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int rc = make_args(s->opt, &args);

    last_line[0] = '\0';
    fuse_set_log_func(on_fuse_log);
    if (rc < 0)
        goto out;
    s->se = fuse_session_new(&args, &ops_table, sizeof(ops_table), &s->ops);
    if (!s->se) {
        rc = err_set(-EINVAL, "cannot start FUSE: %s", last_line[0] ? last_line : "out of memory");
        goto out;
    }
    if (fuse_session_mount(s->se, s->opt->mount_point) < 0) {
        rc = err_set(-EIO, "cannot mount on %s: %s", s->opt->mount_point,
                     last_line[0] ? last_line : "fusermount3 refused, see above");
        goto out;
    }
    rc = killpriv_attach(s->se);
    if (rc < 0)
        fuse_session_unmount(s->se);
out:
    fuse_opt_free_args(&args);
    return rc;
}

/* The loop sees it when it is woken (signals.c), and its workers when they have answered what they are at. */
static void end_session(void *arg)
{
    struct session_state *s = arg;

    ops_flush_kernel(&s->ops);
    fuse_session_exit(s->se);
}

/*
 * A descriptor of its own for each worker (clone_fd) spares them the lock of a common one. While a store does not
 * answer, workers wait; the more of them there may be, the longer one is left that hears of an interrupt. So there may
 * be many, and few stay when they have nothing to do.
 */
static int serve(struct session_state *s)
{
    struct fuse_loop_config *cfg = fuse_loop_cfg_create();
    unsigned max = s->opt->max_threads;
    int rc;

    if (!cfg)
        return -ENOMEM;
    fuse_loop_cfg_set_clone_fd(cfg, 1);
    fuse_loop_cfg_set_max_threads(cfg, max);
    fuse_loop_cfg_set_idle_threads(cfg, max < IDLE_THREADS ? max : IDLE_THREADS);
    rc = fuse_session_loop_mt(s->se, cfg);
    fuse_loop_cfg_destroy(cfg);
    if (rc < 0)
        err_set(rc, "serving %s failed: %s", s->opt->mount_point, strerror(-rc));
    return rc < 0 ? rc : 0;
}

/*
 *   attach -> loop ... unmounted, or a signal -> its thread ended -> unmounted -> handles
 * The order at the end matters: the syncers may wait for the kernel, which waits for answers that nobody gives any
 * more, until the unmount fails them.
 */
int session_run(struct fs *fs, struct control *control, const struct session_options *opt)
{
    struct session_state s = { .opt = opt };
    int rc;

    rc = ops_init(&s.ops, fs, control);
    if (rc < 0)
        goto out;
    s.ops.on_ready = opt->on_ready;
    s.ops.ready_arg = opt->ready_arg;
    rc = attach(&s);
    if (rc < 0)
        goto out;
    s.ops.se = s.se;
    rc = ops_cache_attach(&s.ops);
    if (rc < 0) {
        fuse_session_unmount(s.se);
        goto out;
    }
    signals_serving(opt->signals, end_session, &s);
    rc = serve(&s);
    s.ops.ending = true;
    signals_served(opt->signals);
    fuse_session_unmount(s.se); /* requests that nobody serves end, and with them what the syncers wait for */
out:
    ops_fini(&s.ops);
    if (s.se)
        fuse_session_destroy(s.se);
    return rc;
}
