/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/options.h"

#include "base/alloc.h"
#include "base/err.h"
#include "fs/cmd.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMIT_MIN_MS 100
#define COMMIT_MAX_MS 60000
#define DIRTY_MIN (UINT64_C(1) << 20)
#define CACHE_MIN (UINT64_C(1) << 20)
#define SIZE_TOP (UINT64_C(1) << 40)

/* 0, or -EINVAL with a sentence. value is NULL when there is none. */
typedef int (*take_fn)(struct mount_options *o, const char *name, const char *value);

struct option {
    const char *name;
    take_fn take;
    const char *argument; /* NULL: takes none */
    const char *help;     /* NULL: not shown */
};

static int wrong(const char *name, const char *value, const char *wanted)
{
    return err_set(-EINVAL, "mount option %s=%s is wrong: %s", name, value, wanted);
}

static int take_ro(struct mount_options *o, const char *name, const char *value)
{
    (void)value;
    o->fs.read_only = strcmp(name, "ro") == 0;
    return 0;
}

static int take_atime(struct mount_options *o, const char *name, const char *value)
{
    (void)value;
    o->fs.atime = strcmp(name, "relatime") == 0 ? FS_RELATIME : FS_NOATIME;
    return 0;
}

static int take_flag(struct mount_options *o, const char *name, const char *value)
{
    (void)value;
    if (strcmp(name, "takeover") == 0)
        o->fs.takeover = true;
    else if (strcmp(name, "nonempty") == 0)
        o->nonempty = true;
    else if (strcmp(name, "debug") == 0)
        o->debug = true;
    else
        o->allow_other = strcmp(name, "allow_other") == 0;
    return 0;
}

static int take_commit(struct mount_options *o, const char *name, const char *value)
{
    char *end;
    double seconds = strtod(value, &end);

    if (end == value || *end || !(seconds * 1000 >= COMMIT_MIN_MS && seconds * 1000 <= COMMIT_MAX_MS))
        return wrong(name, value, "seconds from 0.1 to 60");
    o->fs.commit_interval_ms = (int64_t)lround(seconds * 1000);
    return 0;
}

static int take_size(struct mount_options *o, const char *name, const char *value)
{
    bool dirty = strcmp(name, "dirty") == 0;
    uint64_t n;

    if (cmd_parse_size(value, &n) < 0 || n < (dirty ? DIRTY_MIN : CACHE_MIN) || n > SIZE_TOP)
        return wrong(name, value, "a size from 1M to 1T");
    if (dirty)
        o->fs.dirty_max_bytes = n;
    else
        o->fs.cache_bytes = n;
    return 0;
}

static int take_threads(struct mount_options *o, const char *name, const char *value)
{
    unsigned n;

    if (cmd_parse_uint(value, &n) < 0 || n < 1 || n > 256)
        return wrong(name, value, "a number from 1 to 256");
    o->threads = n;
    return 0;
}

/* The process leaves the directory that it was started in. */
static int take_log(struct mount_options *o, const char *name, const char *value)
{
    char *cwd = NULL, *path = NULL;

    if (value[0] == '\0')
        return wrong(name, value, "the name of a file");
    if (value[0] == '/') {
        path = mem_strdup(value);
    } else {
        cwd = getcwd(NULL, 0);
        if (!cwd || asprintf(&path, "%s/%s", cwd, value) < 0)
            path = NULL;
        free(cwd);
    }
    if (!path)
        return -ENOMEM;
    mem_free(o->log);
    o->log = path;
    return 0;
}

static int take_kernel(struct mount_options *o, const char *name, const char *value)
{
    size_t used = strlen(o->kernel);
    int n = snprintf(o->kernel + used, sizeof(o->kernel) - used, "%s%s", used ? "," : "", name);

    (void)value;
    return n > 0 && (size_t)n < sizeof(o->kernel) - used ? 0 : err_set(-EINVAL, "too many mount options");
}

static int take_nothing(struct mount_options *o, const char *name, const char *value)
{
    (void)o;
    (void)name;
    (void)value;
    return 0;
}

static const struct option options[] = {
    { "ro", take_ro, NULL, "read-only" },
    { "rw", take_ro, NULL, "read and write (the default)" },
    { "allow_other", take_flag, NULL, "every user may use the mount (the default for root)" },
    { "noallow_other", take_flag, NULL, "only the user who mounts" },
    { "noatime", take_atime, NULL, "reading does not change access times (the default)" },
    { "relatime", take_atime, NULL, "access times follow reads when they are older than a change or a day" },
    { "commit", take_commit, "SECONDS", "what was done is in the store after so long: 0.1 to 60, default 1" },
    { "dirty", take_size, "SIZE", "file data that may wait in memory: 1M to 1T, default 64M" },
    { "cache", take_size, "SIZE", "memory for blocks of the volume: 1M to 1T, default 64M" },
    { "threads", take_threads, "N", "requests served at once: 1 to 256, default 32" },
    { "takeover", take_flag, NULL, "take the volume from another mount, which then stops writing" },
    { "log", take_log, "FILE", "where the mount logs" },
    { "debug", take_flag, NULL, "log in detail" },
    { "nonempty", take_flag, NULL, "DIR need not be empty" },
    { "suid", take_kernel, NULL, "honour set-id bits (default: nosuid)" },
    { "dev", take_kernel, NULL, "honour device nodes (default: nodev)" },
    { "noexec", take_kernel, NULL, "run no programs from the mount" },
    { "nosuid", take_kernel, NULL, NULL },
    { "nodev", take_kernel, NULL, NULL },
    { "exec", take_kernel, NULL, NULL },
    { "strictatime", take_atime, NULL, NULL },
    { "norelatime", take_atime, NULL, NULL },
    { "atime", take_atime, NULL, NULL },
    { "default_permissions", take_nothing, NULL, NULL },
    { "defaults", take_nothing, NULL, NULL },
    { "auto", take_nothing, NULL, NULL },
    { "noauto", take_nothing, NULL, NULL },
    { "nofail", take_nothing, NULL, NULL },
    { "_netdev", take_nothing, NULL, NULL },
    { "user", take_nothing, NULL, NULL },
    { "nouser", take_nothing, NULL, NULL },
    { "users", take_nothing, NULL, NULL },
    { "owner", take_nothing, NULL, NULL },
    { "group", take_nothing, NULL, NULL },
    { "async", take_nothing, NULL, NULL },
};

void mount_options_init(struct mount_options *o)
{
    *o = (struct mount_options){ .allow_other = geteuid() == 0, .threads = 32 };
    fs_options_init(&o->fs);
}

void mount_options_fini(struct mount_options *o)
{
    mem_free(o->log);
    o->log = NULL;
}

static bool is_for_others(const char *name)
{
    return strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0 || strcmp(name, "comment") == 0;
}

static int take(struct mount_options *o, char *name)
{
    char *value = strchr(name, '=');

    if (value)
        *value++ = '\0';
    if (is_for_others(name))
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct option *opt = &options[i];

        if (strcmp(opt->name, name) != 0)
            continue;
        if (opt->argument && !value)
            return err_set(-EINVAL, "mount option %s needs a value: %s=%s", name, name, opt->argument);
        if (!opt->argument && value && opt->take != take_nothing)
            return err_set(-EINVAL, "mount option %s takes no value", name);
        return opt->take(o, name, value);
    }
    return err_set(-EINVAL, "unknown mount option %s", name);
}

int mount_options_parse(struct mount_options *o, const char *text)
{
    char *copy = mem_strdup(text), *rest = copy, *one;
    int rc = copy ? 0 : -ENOMEM;

    while (rc == 0 && (one = strsep(&rest, ",")) != NULL)
        if (one[0])
            rc = take(o, one);
    mem_free(copy);
    return rc;
}

void mount_options_help(FILE *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct option *opt = &options[i];
        char left[40];

        if (!opt->help)
            continue;
        snprintf(left, sizeof(left), "%s%s%s", opt->name, opt->argument ? "=" : "", opt->argument ? opt->argument : "");
        fprintf(out, "  %-16s %s\n", left, opt->help);
    }
}
