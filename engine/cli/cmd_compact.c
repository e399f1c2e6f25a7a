/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/sync.h"
#include "base/ulid.h"
#include "cli/cli.h"
#include "cli/metadata.h"
#include "cli/spec_json.h"
#include "cli/stall_store.h"
#include "compact/compactor_state.h"
#include "manifest/compactions_store.h"

#include <shale/compact.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 50     /* of compactors that are started for one compaction */
#define LOOK_MS 20     /* between looks at the stored list */
#define EVENTS_MAX 64u /* results that are printed */

/* What has become known. */
struct follow {
    struct cli *c;
    struct mutex mu;
    struct cond changed;
    struct shale_compaction done[EVENTS_MAX]; /* GUARDED_BY(mu), as the rest */
    size_t n_done;
    int ended;       /* the compactor ended by itself: why */
    bool on_line;    /* progress stands on the terminal's line */
    char why[256];   /* the last failure */
};

static const char *status_name(enum shale_compaction_status s)
{
    static const char *const names[] = { "Submitted", "Running", "Completed", "Failed" };

    return names[s];
}

static void follow_init(struct follow *f, struct cli *c)
{
    *f = (struct follow){ .c = c };
    mutex_init(&f->mu, 1000, "compaction followed");
    cond_init(&f->changed);
}

static void follow_fini(struct follow *f)
{
    if (f->on_line)
        fputc('\n', stderr);
    cond_fini(&f->changed);
    mutex_fini(&f->mu);
}

/* On a terminal: one line that moves along. */
static void show_progress(struct follow *f, const struct shale_compaction *c)
{
    double done = c->bytes_total ? 100.0 * (double)c->bytes_read / (double)c->bytes_total : 0.0;

    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\rinto run %" PRIu32 ": %3.0f %% of %.1f MiB read, %" PRIu32 " SSTs written ", c->destination,
            done < 100.0 ? done : 100.0, (double)c->bytes_total / 1048576.0, c->n_outputs);
    f->on_line = true;
}

static void note(void *arg, const struct shale_compaction *c, int rc)
{
    struct follow *f = arg;

    mutex_lock(&f->mu);
    if (!c) {
        f->ended = rc;
    } else if (c->status == SHALE_COMPACTION_RUNNING) {
        show_progress(f, c);
    } else {
        if (f->n_done < EVENTS_MAX)
            f->done[f->n_done++] = *c;
        if (c->why)
            snprintf(f->why, sizeof(f->why), "%s", c->why);
        if (f->c->compact.watch)
            printf("%s into run %" PRIu32 "\n", status_name(c->status), c->destination);
    }
    cond_broadcast(&f->changed);
    mutex_unlock(&f->mu);
}

/* ---- the stored list ---- */

struct ids {
    struct shale_compaction v[EVENTS_MAX];
    size_t n;
};

static int collect(void *arg, const struct shale_compaction *c)
{
    struct ids *ids = arg;

    if (ids->n < EVENTS_MAX)
        ids->v[ids->n++] = *c;
    return 0;
}

static int load_list(struct cli *c, struct ids *out)
{
    int rc;

    out->n = 0;
    rc = shale_compaction_list(c->store, c->path, collect, out);
    return rc == -ENOENT ? 0 : rc;
}

static bool is_active(const struct shale_compaction *c)
{
    return c->status == SHALE_COMPACTION_SUBMITTED || c->status == SHALE_COMPACTION_RUNNING;
}

static const struct shale_compaction *find(const struct shale_compaction *v, size_t n, struct shale_ulid id)
{
    for (size_t i = 0; i < n; i++)
        if (ulid_eq(v[i].id, id))
            return &v[i];
    return NULL;
}

/* --kill-after: end as a crash would once so many outputs are recorded. */
static void die_when_due(const struct cli *c, const struct ids *list)
{
    for (size_t i = 0; c->compact.has_kill && i < list->n; i++) {
        if (list->v[i].status == SHALE_COMPACTION_RUNNING && list->v[i].n_outputs >= c->compact.kill_after) {
            printf("[Running]\n");
            fflush(stdout);
            _exit(CLI_OK);
        }
    }
}

/* How many of want are not over, by what the compactor told, or by the list when it tells nothing. */
static int count_open(struct follow *f, const struct ids *want, bool by_list, size_t *out)
{
    struct ids list = { .n = 0 };
    int rc = by_list || f->c->compact.has_kill ? load_list(f->c, &list) : 0;

    if (rc < 0)
        return rc;
    die_when_due(f->c, &list);
    *out = 0;
    mutex_lock(&f->mu);
    for (size_t i = 0; i < want->n; i++) {
        const struct shale_compaction *c = find(list.v, list.n, want->v[i].id);

        if (by_list && c && !is_active(c) && !find(f->done, f->n_done, c->id) && f->n_done < EVENTS_MAX)
            f->done[f->n_done++] = *c;
        /* What the list no longer has is over; how it ended only newer ones would hide. */
        if (by_list ? c != NULL && is_active(c) : !find(f->done, f->n_done, want->v[i].id))
            ++*out;
    }
    mutex_unlock(&f->mu);
    return 0;
}

static int wait_for(struct follow *f, const struct ids *want, bool by_list)
{
    size_t n_open = 0;
    int rc;

    while ((rc = count_open(f, want, by_list, &n_open)) == 0 && n_open > 0) {
        mutex_lock(&f->mu);
        if (f->ended < 0)
            rc = err_set(f->ended, "another compactor took over the database");
        else
            (void)cond_wait_until(&f->changed, &f->mu, clock_mono_ms() + LOOK_MS);
        mutex_unlock(&f->mu);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* The outcomes, as the real program prints them. */
static int print_done(struct follow *f)
{
    int status = CLI_OK;

    if (f->on_line)
        fputc('\n', stderr);
    f->on_line = false;
    if (!f->c->compact.embedded)
        putchar('[');
    for (size_t i = 0; i < f->n_done; i++) {
        printf("%s%s", i ? ", " : "", status_name(f->done[i].status));
        if (f->done[i].status == SHALE_COMPACTION_FAILED)
            status = CLI_ERROR;
    }
    puts(f->c->compact.embedded ? "" : "]");
    if (status != CLI_OK)
        fprintf(stderr, "shale: compact: %s\n",
                f->why[0] ? f->why : "a compaction failed; the log of who ran it says why");
    return status;
}

/* ---- what is asked for ---- */

static int find_volume(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)arg, (void)name, (void)meta;
    return SHALE_END;
}

/* Its rows mean nothing to the merge operators here, and a wrong one would spoil them. */
static int refuse_volume(struct cli *c)
{
    struct shale_buf prefix = SHALE_BUF_INIT;
    int rc = buf_printf(&prefix, "%s%svolume/", c->path, c->path[0] ? "/" : "");

    if (rc == 0)
        rc = shale_store_list(c->patient, (const char *)prefix.data, NULL, find_volume, NULL);
    shale_buf_fini(&prefix);
    return rc == SHALE_END ? err_set(-EINVAL, "%s is a volume: 'shalefs compact' compacts it", c->url) : rc;
}

static int make_spec(struct cli *c, struct spec_json *json, struct shale_compaction_spec *out)
{
    struct cli_compact *a = &c->compact;

    if (a->spec)
        return spec_json_parse(a->spec, json, out);
    *out = (struct shale_compaction_spec){ .kind = a->n_runs ? SHALE_COMPACT_RUNS
                                                   : a->l0   ? SHALE_COMPACT_L0
                                                             : SHALE_COMPACT_FULL,
                                           .n_l0_oldest = a->l0_oldest,
                                           .runs = a->runs,
                                           .n_runs = a->n_runs };
    return 0;
}

static int submit_only(struct cli *c, const struct shale_compaction_spec *spec)
{
    struct compactions_store s = { 0 };
    struct compactions list = { 0 };
    struct shale_ulid id;
    struct json j;
    int rc = shale_compaction_submit(c->store, c->path, spec, &id);

    if (rc == 0)
        rc = compactions_store_init(&s, c->patient, c->path);
    if (rc == 0)
        rc = compactions_store_load(&s, &list);
    if (rc == 0) {
        const struct compaction *rec = compactions_find(&list, id);

        json_init(&j, stdout);
        if (rec)
            metadata_print_compaction(&j, rec);
    }
    compactions_fini(&list);
    compactions_store_fini(&s);
    return rc;
}

/* What is to be worked off: what is recorded, or spec. SHALE_END: nothing. */
static int choose_work(struct cli *c, struct shale_db *db, const struct shale_compaction_spec *spec, struct ids *want)
{
    struct ids list = { .n = 0 };
    int rc;

    want->n = 0;
    if (!c->compact.resume) {
        rc = db ? shale_db_compact(db, spec, &want->v[0].id)
                : shale_compaction_submit(c->store, c->path, spec, &want->v[0].id);
        want->n = rc == 0;
        return rc;
    }
    rc = load_list(c, &list);
    for (size_t i = 0; rc == 0 && i < list.n; i++)
        if (is_active(&list.v[i]))
            want->v[want->n++] = list.v[i];
    return rc < 0 ? rc : want->n ? 0 : SHALE_END;
}

/* In an open database, whose compactor chooses nothing. */
static int run_embedded(struct cli *c, struct shale_store *store, const struct shale_compaction_spec *spec,
                        struct follow *f)
{
    struct shale_db *db = NULL;
    struct ids want;
    int rc, close_rc;

    c->opt.compactor.enabled = true;
    c->opt.compactor.min_sources = c->opt.compactor.max_sources = UINT32_MAX;
    rc = c->compact.resume ? choose_work(c, NULL, spec, &want) : 0; /* before the compactor begins with it */
    if (rc == 0)
        rc = shale_db_open(store, c->path, &c->opt, false, &db);
    if (rc == 0 && !c->compact.resume)
        rc = choose_work(c, db, spec, &want);
    if (rc == 0)
        rc = wait_for(f, &want, true);
    close_rc = shale_db_close(db, SHALE_CLOSE_FLUSH);
    return rc ? rc : close_rc;
}

static int run_standalone(struct cli *c, struct shale_store *store, const struct shale_compaction_spec *spec,
                          struct follow *f)
{
    const struct shale_compactor_config cfg = { .only_submitted = true, .report = note, .arg = f };
    struct shale_compactor *compactor = NULL;
    struct ids want;
    int rc = c->compact.resume ? choose_work(c, NULL, spec, &want) : 0;

    if (rc == 0)
        rc = shale_compactor_open(store, c->path, &c->opt, &cfg, &compactor);
    if (rc == 0 && !c->compact.resume)
        rc = choose_work(c, NULL, spec, &want);
    if (rc == 0) {
        shale_compactor_wake(compactor);
        rc = wait_for(f, &want, false);
    }
    shale_compactor_close(compactor);
    return rc;
}

/* Until a signal or another compactor ends it. The signals were blocked before any thread began. */
static int run_watch(struct cli *c, const sigset_t *signals, struct follow *f)
{
    const struct shale_compactor_config cfg = { .report = note, .arg = f };
    const struct timespec second = { .tv_sec = 1 };
    struct shale_compactor *compactor = NULL;
    int rc = shale_compactor_open(c->store, c->path, &c->opt, &cfg, &compactor);

    while (rc == 0 && sigtimedwait(signals, NULL, &second) < 0) {
        fflush(stdout);
        mutex_lock(&f->mu);
        if (f->ended < 0)
            rc = err_set(f->ended, "another compactor took over the database");
        mutex_unlock(&f->mu);
    }
    shale_compactor_close(compactor);
    return rc;
}

static int watch(struct cli *c, struct follow *f)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return run_watch(c, &signals, f);
}

/* One compaction, or what is recorded. 0 when the outcomes are known; SHALE_END: there was nothing to do. */
static int run(struct cli *c, const struct shale_compaction_spec *spec, struct follow *f)
{
    struct shale_store *stalling = NULL;
    int rc = c->compact.has_kill ? stall_store_new(c->store, c->compact.kill_after, &stalling) : 0;

    c->opt.compactor.poll_interval_ms = POLL_MS;
    if (rc == 0)
        rc = (c->compact.embedded ? run_embedded : run_standalone)(c, stalling ? stalling : c->store, spec, f);
    shale_store_close(stalling);
    return rc;
}

int cmd_compact(struct cli *c)
{
    struct shale_compaction_spec spec = { .kind = SHALE_COMPACT_FULL };
    struct spec_json json = { .l0 = NULL };
    struct follow f;
    int rc, status = CLI_OK;

    follow_init(&f, c);
    rc = make_spec(c, &json, &spec);
    if (rc == 0)
        rc = cli_open_store(c, false);
    if (rc == 0)
        rc = refuse_volume(c);
    if (rc == 0 && c->compact.submit_only)
        rc = submit_only(c, &spec);
    else if (rc == 0 && c->compact.watch)
        rc = watch(c, &f);
    else if (rc == 0 && (rc = run(c, &spec, &f)) == 0)
        status = print_done(&f);
    if (rc == SHALE_END)
        puts(c->compact.resume ? "nothing to resume" : "nothing to compact");
    else if (rc < 0)
        status = cli_fail(c, rc);
    follow_fini(&f);
    spec_json_fini(&json);
    mem_free(c->compact.runs);
    return status;
}
