/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/options.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/ulid.h"
#include "fs/cmd.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMIT_MIN_MS 100
#define COMMIT_MAX_MS 60000
#define POLL_MIN_MS 100
#define POLL_MAX_MS 3600000
#define SOFT_MIN_MS 1000
#define SOFT_MAX_MS 86400000
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

/* One function for words that exclude each other; the last one holds, as with mount(8). */
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

/* Implies ro; a later rw is refused by the engine. */
static int take_checkpoint(struct mount_options *o, const char *name, const char *value)
{
    if (uuid_parse(value, &o->fs.checkpoint) < 0)
        return wrong(name, value, "the id of a checkpoint");
    o->fs.has_checkpoint = o->fs.read_only = true;
    return 0;
}

/* Seconds as milliseconds. The comparison is written so that NaN fails it. */
static int parse_seconds(const char *value, int64_t min_ms, int64_t max_ms, int64_t *out)
{
    char *end;
    double ms = strtod(value, &end) * 1000;

    if (end == value || *end || !(ms >= (double)min_ms && ms <= (double)max_ms))
        return -EINVAL;
    *out = (int64_t)lround(ms);
    return 0;
}

/* 0, or off: it stands still. */
static int take_poll(struct mount_options *o, const char *name, const char *value)
{
    if (strcmp(value, "off") == 0)
        o->fs.poll_ms = 0;
    else if (parse_seconds(value, 0, 0, &o->fs.poll_ms) < 0 &&
             parse_seconds(value, POLL_MIN_MS, POLL_MAX_MS, &o->fs.poll_ms) < 0)
        return wrong(name, value, "seconds from 0.1 to 3600, or 0 or off");
    return 0;
}

static int take_commit(struct mount_options *o, const char *name, const char *value)
{
    if (parse_seconds(value, COMMIT_MIN_MS, COMMIT_MAX_MS, &o->fs.commit_interval_ms) < 0)
        return wrong(name, value, "seconds from 0.1 to 60");
    return 0;
}

static int take_soft(struct mount_options *o, const char *name, const char *value)
{
    if (parse_seconds(value, SOFT_MIN_MS, SOFT_MAX_MS, &o->fs.soft_ms) < 0)
        return wrong(name, value, "seconds from 1 to 86400");
    return 0;
}

/* What is wrong with a value only the engine knows. */
static int take_store(struct mount_options *o, const char *name, const char *value)
{
    int rc = shale_store_config_set(o->store, name, value);

    if (rc == 0 || rc == -ENOMEM)
        return rc;
    if (!value || strchr(value, '@')) /* perhaps a password */
        value = "";
    return err_add(rc, "mount option %s=%s is wrong", name, value);
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

/* One of fs_tuning; sizes take a unit. */
struct tunable {
    const char *name;
    size_t offset;
    uint64_t min, max;
    bool is_size;
    const char *help;
};

#define TUNE(field) offsetof(struct fs_tuning, field)

static const struct tunable tunables[] = {
    { "l0_sst_size_bytes", TUNE(l0_sst_size_bytes), 64 << 10, SIZE_TOP >> 8, true,
      "memory in one L0 SST: 64K to 4G, default 64M" },
    { "l0_max_ssts", TUNE(l0_max_ssts), 1, 1000, false, "L0 SSTs above which writing waits: 1 to 1000, default 8" },
    { "max_unflushed_bytes", TUNE(max_unflushed_bytes), 1 << 20, SIZE_TOP, true,
      "memory of what is in no SST yet: 1M to 1T, default 160M" },
    { "freeze_wal_count", TUNE(freeze_wal_count), 1, 100000, false, "WAL objects to replay: 1 to 100000, default 256" },
    { "manifest_idle_poll_ms", TUNE(manifest_idle_poll_ms), 0, 3600000, false,
      "between looks of an idle mount: 0 to 3600000, default 40000" },
    { "compactor.idle_poll_ms", TUNE(compactor_idle_poll_ms), 0, 3600000, false,
      "the same of its compactor: 0 to 3600000, default 60000" },
    { "gc.idle_interval_ms", TUNE(gc_idle_interval_ms), 0, 86400000, false,
      "the same of its collector: 0 to 86400000, default 3600000" },
    { "compactor.poll_interval_ms", TUNE(compactor_poll_interval_ms), 10, 3600000, false,
      "10 to 3600000, default 5000" },
    { "compactor.max_sst_size", TUNE(compactor_max_sst_size), 64 << 10, SIZE_TOP, true, "64K to 1T, default 256M" },
    { "compactor.min_sources", TUNE(compactor_min_sources), 2, 1000, false, "2 to 1000, default 4" },
    { "compactor.max_sources", TUNE(compactor_max_sources), 2, 1000, false, "2 to 1000, default 8" },
    { "gc.interval_ms", TUNE(gc_interval_ms), 10, 86400000, false, "10 to 86400000, default 60000" },
    { "gc.min_age_ms", TUNE(gc_min_age_ms), 0, 604800000, false,
      "of all that is collected: 0 to 604800000, default 300000" },
};

/* The name is one of the table: find has seen it there. */
static int take_tunable(struct mount_options *o, const char *name, const char *value)
{
    const struct tunable *t = tunables;
    char wanted[80];
    uint64_t n = 0;
    unsigned count;
    int rc;

    while (strcmp(t->name, name) != 0)
        t++;
    if (t->is_size) {
        rc = cmd_parse_size(value, &n);
    } else {
        rc = cmd_parse_uint(value, &count);
        n = rc < 0 ? 0 : count;
    }
    if (rc < 0 || n < t->min || n > t->max) {
        snprintf(wanted, sizeof(wanted), "%s from %llu to %llu", t->is_size ? "bytes" : "a number",
                 (unsigned long long)t->min, (unsigned long long)t->max);
        return wrong(name, value, wanted);
    }
    *(uint64_t *)((char *)&o->fs.tuning + t->offset) = n;
    return 0;
}

static int take_read_ahead(struct mount_options *o, const char *name, const char *value)
{
    uint64_t n;

    if (cmd_parse_size(value, &n) < 0 || n > SIZE_TOP)
        return wrong(name, value, "a size from 0 to 1T");
    o->fs.read_ahead_bytes = n;
    return 0;
}

static int take_threads(struct mount_options *o, const char *name, const char *value)
{
    unsigned n;

    if (cmd_parse_uint(value, &n) < 0 || n < 1 || n > 1024)
        return wrong(name, value, "a number from 1 to 1024");
    o->threads = n;
    return 0;
}

/* The process leaves the directory that it was started in. */
static int take_log(struct mount_options *o, const char *name, const char *value)
{
    char *cwd = NULL, *path = NULL, **at = &o->log;

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
    if (strcmp(name, "request_log") == 0)
        at = &o->request_log;
    mem_free(*at);
    *at = path;
    return 0;
}

/* Handed on as it is: mount(2) and fusermount3 know what to do with it. */
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
    { "ro", take_ro, NULL, "read-only; follows what another mount writes" },
    { "rw", take_ro, NULL, "read and write (the default)" },
    { "allow_other", take_flag, NULL, "every user may use the mount (the default for root)" },
    { "noallow_other", take_flag, NULL, "only the user who mounts" },
    { "checkpoint", take_checkpoint, "ID", "what this checkpoint of the volume holds; read-only" },
    { "poll", take_poll, "SECONDS", "with ro: look so often for what was written: 0.1 to 3600, default 1; 0: stand still" },
    { "noatime", take_atime, NULL, "reading does not change access times (the default)" },
    { "relatime", take_atime, NULL, "access times follow reads when they are older than a change or a day" },
    { "commit", take_commit, "SECONDS", "what was done is in the store after so long: 0.1 to 60, default 1" },
    { "soft", take_soft, "SECONDS",
      "fail with EIO when the store does not answer for so long: 1 to 86400 (default: wait)" },
    { "dirty", take_size, "SIZE", "file data that may wait in memory: 1M to 1T, default 64M" },
    { "cache", take_size, "SIZE", "memory for blocks of the volume: 1M to 1T, default 64M" },
    { "read_ahead", take_read_ahead, "SIZE", "memory for file data ahead of its readers: 0 to 1T, default 32M" },
    { "threads", take_threads, "N",
      "requests served at once, those that wait for the store included: 1 to 1024, default 256" },
    { "takeover", take_flag, NULL, "take the volume from another mount, which then stops writing" },
    { "log", take_log, "FILE", "where the mount logs" },
    { "request_log", take_log, "FILE", "a line for each request to a bucket; SIGHUP opens it again" },
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

int mount_options_init(struct mount_options *o)
{
    *o = (struct mount_options){ .allow_other = geteuid() == 0, .threads = 256 };
    fs_options_init(&o->fs);
    return shale_store_config_new(&o->store);
}

/* Requests that nobody answers end in time for the operation to fail in time. */
void mount_options_settle(struct mount_options *o)
{
    shale_store_config_limit(o->store, o->fs.soft_ms);
    o->fs.store = shale_store_config_options(o->store);
}

void mount_options_fini(struct mount_options *o)
{
    mem_free(o->log);
    mem_free(o->request_log);
    o->log = o->request_log = NULL;
    shale_store_config_free(o->store);
    o->store = NULL;
}

/* mount(8) gives all of a line of fstab to the helper, what is for systemd included. */
static bool is_for_others(const char *name)
{
    return strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0 || strcmp(name, "comment") == 0;
}

static const struct option *find(const char *name)
{
    static const struct option tunable = { "", take_tunable, "VALUE", NULL };
    static const struct option store_value = { "", take_store, "VALUE", NULL };
    static const struct option store_flag = { "", take_store, NULL, NULL };
    const struct shale_store_setting *setting = shale_store_setting_find(name);

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    for (size_t i = 0; i < ARRAY_SIZE(tunables); i++)
        if (strcmp(tunables[i].name, name) == 0)
            return &tunable;
    if (setting)
        return setting->argument ? &store_value : &store_flag;
    return NULL;
}

static int take(struct mount_options *o, char *name)
{
    char *value = strchr(name, '=');
    const struct option *opt;

    if (value)
        *value++ = '\0';
    if (is_for_others(name))
        return 0;
    opt = find(name);
    if (!opt)
        return err_set(-EINVAL, "unknown mount option %s", name);
    if (opt->argument && !value)
        return err_set(-EINVAL, "mount option %s needs a value: %s=%s", name, name, opt->argument);
    if (!opt->argument && value && opt->take != take_nothing)
        return err_set(-EINVAL, "mount option %s takes no value", name);
    return opt->take(o, name, value);
}

/*
 * One word at a time, as often as -o is given. What was taken before a wrong word stays taken: the caller gives up
 * then.
 */
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

static void print_option(FILE *out, const char *name, const char *argument, const char *text)
{
    char left[40];

    snprintf(left, sizeof(left), "%s%s%s", name, argument ? "=" : "", argument ? argument : "");
    fprintf(out, "  %-16s %s\n", left, text);
}

/* Words that mount(8) may send and that mean nothing here are not shown. */
void mount_options_help(FILE *out)
{
    const struct shale_store_setting *s;

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (options[i].help)
            print_option(out, options[i].name, options[i].argument, options[i].help);
    fputs("\nOf a volume in a bucket (keys come from the environment, files and roles):\n\n", out);
    for (size_t i = 0; (s = shale_store_setting_at(i)) != NULL; i++)
        print_option(out, s->name, s->argument, s->help);
    fputs("\nSettings of the engine, for trials; the defaults fit:\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(tunables); i++)
        fprintf(out, "  %-27s %s\n", tunables[i].name, tunables[i].help);
}
