/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "base/clock.h"
#include "base/sync.h"
#include "base/ulid.h"
#include "fs/cmd_place.h"
#include "fs/core/volume_compact.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: shalefs compact [--watch|--submit] VOLUME|DIR\n"
    "\n"
    "Merge everything that the volume's tree holds into one sorted run, which takes away what removed files and cut\n"
    "data left behind. What a mount has only in memory is not part of it.\n"
    "\n"
    "It runs in this process, on the volume's store, whether the volume is mounted or not. The compactor of the mount\n"
    "that has the volume stops meanwhile and its writing goes on; it takes over again when there is work that nobody\n"
    "does for half a minute.\n"
    "\n"
    "  --watch   go on and compact as a mount would, until a signal ends it or another compactor takes over\n"
    "  --submit  leave it to whoever compacts the volume now, such as the mount, and return at once\n";

#define OTHERS_MAX 32 /* that were left unfinished and end before ours is known by its id */
#define ATTEMPTS_MAX 8

struct follow {
    bool terminal, watch; /* set before the compactor starts */
    struct mutex mu;
    struct cond changed;
    struct shale_compaction over[OTHERS_MAX]; /* GUARDED_BY(mu), as the rest */
    size_t n_over;
    struct shale_ulid running[OTHERS_MAX];
    size_t n_running;
    int ended;
    bool on_line;
    char why[256];
};

/* For a person who waits; a file would fill with it. */
static void show_progress(struct follow *f, const struct shale_compaction *c)
{
    double part = c->bytes_total ? 100.0 * (double)c->bytes_read / (double)c->bytes_total : 0.0;

    if (!f->terminal)
        return;
    fprintf(stderr, "\r%3.0f %% of %.1f MiB ", part < 100.0 ? part : 100.0, (double)c->bytes_total / 1048576.0);
    f->on_line = true;
}

static void note_running_locked(struct follow *f, struct shale_ulid id, bool is_running)
{
    size_t i = 0;

    while (i < f->n_running && !ulid_eq(f->running[i], id))
        i++;
    if (is_running && i == f->n_running && i < OTHERS_MAX)
        f->running[f->n_running++] = id;
    else if (!is_running && i < f->n_running)
        f->running[i] = f->running[--f->n_running];
}

/* From threads of the compactor. What is over is kept, as ours may be over before its id is known to us. */
static void note(void *arg, const struct shale_compaction *c, int rc)
{
    struct follow *f = arg;

    mutex_lock(&f->mu);
    if (!c) {
        f->ended = rc;
    } else if (c->status == SHALE_COMPACTION_RUNNING) {
        show_progress(f, c);
    } else if (f->n_over < OTHERS_MAX) {
        f->over[f->n_over++] = *c;
        if (c->why)
            snprintf(f->why, sizeof(f->why), "%s", c->why);
    }
    if (c && f->watch && c->status > SHALE_COMPACTION_RUNNING) {
        printf("%s %" PRIu32 " sources into run %" PRIu32 "\n",
               c->status == SHALE_COMPACTION_FAILED ? "failed: compacting" : "compacted", c->n_l0 + c->n_runs,
               c->destination);
        fflush(stdout);
    }
    if (c)
        note_running_locked(f, c->id, c->status == SHALE_COMPACTION_RUNNING);
    cond_broadcast(&f->changed);
    mutex_unlock(&f->mu);
}

static int say_dropped(const struct volume_compactor *c, const char *volume)
{
    uint64_t rows, bytes;

    volume_compactor_dropped(c, &rows, &bytes);
    printf("compacted %s: %" PRIu64 " rows of removed data left out, %" PRIu64 " bytes\n", volume, rows, bytes);
    return CMD_OK;
}

static const struct shale_compaction *find_over_locked(const struct follow *f, struct shale_ulid id)
{
    for (size_t i = 0; i < f->n_over; i++)
        if (ulid_eq(f->over[i].id, id))
            return &f->over[i];
    return NULL;
}

/* Ask for one and wait for its end; *over changes only when rc is 0 and it came to one. */
static int attempt(struct volume_compactor *c, struct follow *f, struct shale_compaction *over)
{
    const struct shale_compaction *found = NULL;
    struct shale_ulid id;
    int rc;

    mutex_lock(&f->mu);
    f->n_over = 0;
    mutex_unlock(&f->mu);
    rc = volume_compactor_submit(c, &id);
    if (rc != 0)
        return rc;
    mutex_lock(&f->mu);
    while ((found = find_over_locked(f, id)) == NULL && f->ended == 0)
        cond_wait(&f->changed, &f->mu);
    if (found)
        *over = *found;
    mutex_unlock(&f->mu);
    return 0;
}

/*
 * Whether a failure may be that of two that want the same sources: what was left unfinished, or was asked for earlier,
 * is worked off, too, and comes first. Then waits until nothing runs.
 */
static bool has_collided(struct follow *f)
{
    bool others;

    mutex_lock(&f->mu);
    others = f->n_over > 1 || f->n_running > 0;
    while (f->n_running > 0 && f->ended == 0)
        cond_wait(&f->changed, &f->mu);
    mutex_unlock(&f->mu);
    return others;
}

static int compact_once(struct volume_compactor *c, struct follow *f, const char *volume)
{
    struct shale_compaction over;
    int n = 0, rc;

    do {
        over = (struct shale_compaction){ .status = SHALE_COMPACTION_RUNNING };
        rc = attempt(c, f, &over);
    } while (rc == 0 && over.status == SHALE_COMPACTION_FAILED && has_collided(f) && ++n < ATTEMPTS_MAX);
    if (f->on_line)
        fputc('\n', stderr);
    if (rc == SHALE_END) {
        printf("%s holds nothing that could be compacted\n", volume);
        return CMD_OK;
    }
    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot compact %s: %s", volume, cmd_reason(rc));
    if (over.status == SHALE_COMPACTION_RUNNING)
        return cmd_say(CMD_FAILED, "another compactor took %s over", volume);
    if (over.status == SHALE_COMPACTION_FAILED)
        return cmd_say(CMD_FAILED, "cannot compact %s: %s", volume, f->why);
    return say_dropped(c, volume);
}

/* Until a signal or another compactor ends it. A compaction under way is recorded and resumed by whoever comes next. */
static int compact_on(struct volume_compactor *c, struct follow *f, const sigset_t *signals, const char *volume)
{
    const struct timespec second = { .tv_sec = 1 };
    int ended = 0;

    while (ended == 0 && sigtimedwait(signals, NULL, &second) < 0) {
        mutex_lock(&f->mu);
        ended = f->ended;
        mutex_unlock(&f->mu);
    }
    if (ended < 0)
        return cmd_say(CMD_FAILED, "another compactor took %s over", volume);
    return say_dropped(c, volume);
}

/*
 * Signals are blocked before there are threads, and then waited for; a compaction that runs once is simply killed, and
 * resumed later.
 */
static int run(const struct cmd_place *place, const char *volume, bool watch)
{
    struct follow f = { .watch = watch, .terminal = isatty(STDERR_FILENO) };
    struct shale_compactor_config cfg = { .only_submitted = !watch, .report = note, .arg = &f };
    struct volume_compactor *c = NULL;
    sigset_t signals;
    int rc, status;

    mutex_init(&f.mu, 0, "compaction followed");
    cond_init(&f.changed);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (watch)
        pthread_sigmask(SIG_BLOCK, &signals, NULL);
    rc = volume_compactor_open(place->url, shale_store_config_options(place->store), &cfg, &c);
    if (rc < 0)
        status = cmd_say(CMD_FAILED, "cannot compact %s: %s", volume, cmd_reason(rc));
    else
        status = watch ? compact_on(c, &f, &signals, volume) : compact_once(c, &f, volume);
    volume_compactor_close(c);
    cond_fini(&f.changed);
    mutex_fini(&f.mu);
    return status;
}

static int submit(const struct cmd_place *place, const char *volume)
{
    char text[SHALE_ULID_TEXT_LEN + 1];
    struct shale_ulid id;
    int rc = volume_compact_submit(place->url, shale_store_config_options(place->store), &id);

    if (rc == SHALE_END) {
        printf("%s holds nothing that could be compacted\n", volume);
        return CMD_OK;
    }
    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot compact %s: %s", volume, cmd_reason(rc));
    ulid_format(id, text);
    printf("asked for compaction %s\n", text);
    return CMD_OK;
}

static int parse_and_compact(struct cmd_place *place, int argc, char **argv)
{
    static const struct option long_options[] = { { "watch", no_argument, NULL, 'w' },
                                                  { "submit", no_argument, NULL, 's' },
                                                  { "help", no_argument, NULL, 'h' },
                                                  { NULL, 0, NULL, 0 } };
    bool watch = false, only_submit = false;
    int c, rc;

    while ((c = cmd_place_getopt(place, argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            cmd_place_help(stdout);
            return CMD_OK;
        }
        if (c == CMD_OPTION_WRONG)
            return cmd_usage("compact", "%s", shale_errmsg());
        if (c == '?')
            return cmd_usage("compact", "unknown option or missing value: %s", argv[optind - 1]);
        watch = watch || c == 'w';
        only_submit = only_submit || c == 's';
    }
    if (argc - optind != 1 || (watch && only_submit))
        return cmd_usage("compact", "give one VOLUME, and one of --watch and --submit at most");
    rc = cmd_place_mounted(place, argv[optind]);
    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot compact %s: %s", argv[optind], cmd_reason(rc));
    return only_submit ? submit(place, argv[optind]) : run(place, argv[optind], watch);
}

int cmd_compact(int argc, char **argv)
{
    struct cmd_place place;
    int status;

    if (cmd_place_init(&place) < 0)
        return cmd_say(CMD_FAILED, "out of memory");
    status = parse_and_compact(&place, argc, argv);
    cmd_place_fini(&place);
    return status;
}
