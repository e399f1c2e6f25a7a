/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store can do, found out by doing it. Some servers say 501 to a conditional put, some ignore the condition and
 * say 200, some check first and write later; only the last step of reading back what is there tells. The steps that do
 * not depend on each other run at once, each in a thread of its own, so that a bucket far away takes seconds:
 *   1  racing conditional puts, an object with a long name, an upload in parts
 *   2  one more conditional put of the name that exists; head; listings
 *   3  read everything back, and a range
 *   4  delete; delete again, head
 */

#include "object/probe_objects.h"
#include "object/probe_report.h"
#include "object/store.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/reread.h"
#include "base/ulid.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define RACERS 4u
#define JOBS_MAX 8u
#define BODY_LEN 512u
#define RANGE_OFFSET 129u
#define RANGE_LEN 64u
#define CLOCK_BOUND_MS 60000

/* Bodies and put ids by who wrote them: the racers, then these. */
enum { LATECOMER = RACERS, OTHER, N_WRITERS };

struct probe {
    struct shale_store *store;
    struct shale_probe_result *checks;
    struct probe_objects objects;
    uint8_t bodies[N_WRITERS][BODY_LEN];
    char put_ids[N_WRITERS][SHALE_PUT_ID_LEN + 1];
    unsigned winner;                        /* of the race */
    int64_t began_ms, done_ms;              /* around the race, by our clock */
    struct shale_object_meta meta;          /* of PROBE_RACED; set by its job */
    struct shale_buf read[PROBE_N_OBJECTS]; /* set each by its job */
    struct shale_buf range;                 /* set by its job */
    bool listed[PROBE_N_OBJECTS], behind[PROBE_N_OBJECTS];
    bool disordered, wrong_size;
};

/* A step that runs beside others. */
struct job {
    int (*run)(struct probe *p, unsigned i);
    struct probe *p;
    unsigned i;
    int rc;
    char why[400]; /* its sentence, which is the thread's */
};

/* ---- steps at once ---- */

static void run_job(void *arg)
{
    struct job *j = arg;

    err_clear();
    j->rc = j->run(j->p, j->i);
    if (j->rc < 0)
        snprintf(j->why, sizeof(j->why), "%s", shale_errmsg()[0] ? shale_errmsg() : shale_strerror(j->rc));
}

/* All of them, also when no thread can be had. */
static void run_together(struct probe *p, struct job *jobs, size_t n)
{
    struct worker workers[JOBS_MAX] = { 0 };

    assert(n <= JOBS_MAX);
    for (size_t i = 0; i < n; i++) {
        jobs[i].p = p;
        if (worker_start(&workers[i], "probe", run_job, &jobs[i]) < 0)
            run_job(&jobs[i]);
    }
    for (size_t i = 0; i < n; i++)
        worker_join(&workers[i]);
}

/* ---- 1: writing ---- */

static struct shale_slice body_of(const struct probe *p, unsigned writer)
{
    return slice_of(p->bodies[writer], BODY_LEN);
}

static int put(struct probe *p, enum probe_object o, unsigned writer, enum shale_put_mode mode)
{
    return store_put_with_id(p->store, p->objects.names[o], body_of(p, writer), mode, p->put_ids[writer]);
}

static int job_race(struct probe *p, unsigned i)
{
    return put(p, PROBE_RACED, i, SHALE_PUT_IF_ABSENT);
}

static int job_long_name(struct probe *p, unsigned i)
{
    (void)i;
    return put(p, PROBE_LONG_NAMED, OTHER, SHALE_PUT_OVERWRITE);
}

static int job_upload(struct probe *p, unsigned i)
{
    struct shale_upload *u = NULL;
    int rc = shale_upload_begin(p->store, p->objects.names[PROBE_UPLOADED], &u);

    (void)i;
    if (rc < 0)
        return rc;
    store_upload_in_parts(u);
    rc = shale_upload_write(u, body_of(p, OTHER));
    if (rc == 0)
        return shale_upload_finish(u);
    shale_upload_abort(u);
    return rc;
}

#define NEED_CONDITIONAL \
    "two mounts would overwrite each other's work; use a store with conditional writes (Amazon S3, Google Cloud " \
    "Storage, Azure, Ceph's gateway, MinIO), or a newer version of this one"

#define ANOTHER "see what is in between (a proxy, a cache), or use another store"

/*
 * Nobody won. An unconditional put tells whether the condition is at fault, and leaves something for the other checks;
 * when that fails, too, the store is not writable at all, and its sentence says why. Where others were told that the
 * object exists the condition works, and the winner's answer got lost.
 */
static int explain_no_winner(struct probe *p, const struct job *refused, bool some_exist)
{
    int rc = put(p, PROBE_RACED, 0, SHALE_PUT_OVERWRITE);

    if (rc < 0)
        return rc;
    if (!refused)
        probe_lacks(p->checks, SHALE_PROBE_CONDITIONAL,
                    "it says of a new name that there is an object; " NEED_CONDITIONAL);
    else if (some_exist || refused->rc == SHALE_ETRANSIENT || refused->rc == -ENOMEM)
        probe_note(p->checks, SHALE_PROBE_RACE, SHALE_PROBE_FAILED, refused->rc, "%s", refused->why);
    else
        probe_lacks(p->checks, SHALE_PROBE_CONDITIONAL, "%s; " NEED_CONDITIONAL, refused->why);
    return 0;
}

static int judge_race(struct probe *p, const struct job *jobs)
{
    const struct job *refused = NULL;
    bool some_exist = false;
    unsigned wins = 0;

    for (unsigned i = 0; i < RACERS; i++) {
        if (jobs[i].rc == 0) {
            wins++;
            p->winner = i;
        } else if (jobs[i].rc == -EEXIST) {
            some_exist = true;
        } else {
            refused = &jobs[i];
        }
    }
    if (wins == 0)
        return explain_no_winner(p, refused, some_exist);
    if (wins > 1)
        probe_lacks(p->checks, SHALE_PROBE_RACE,
                    "%u of %u conditional puts of one name succeeded; " NEED_CONDITIONAL, wins, RACERS);
    else if (refused)
        probe_failed(p->checks, SHALE_PROBE_RACE, refused->rc, refused->why, "");
    else
        probe_good(p->checks, SHALE_PROBE_RACE);
    return 0;
}

static int write_objects(struct probe *p)
{
    struct job jobs[RACERS + 2] = { [RACERS] = { .run = job_long_name }, [RACERS + 1] = { .run = job_upload } };
    const struct job *named = &jobs[RACERS], *uploaded = &jobs[RACERS + 1];
    int rc;

    for (unsigned i = 0; i < RACERS; i++)
        jobs[i] = (struct job){ .run = job_race, .i = i };
    p->began_ms = clock_wall_ms();
    run_together(p, jobs, ARRAY_SIZE(jobs));
    p->done_ms = clock_wall_ms();
    rc = judge_race(p, jobs);
    if (rc < 0)
        return rc;
    if (named->rc < 0)
        probe_failed(p->checks, SHALE_PROBE_NAMES, named->rc, named->why, "choose a shorter path for the database");
    if (uploaded->rc < 0)
        probe_failed(p->checks, SHALE_PROBE_UPLOAD, uploaded->rc, uploaded->why,
                     "large objects of a database go up in parts; use another store");
    return 0;
}

/* ---- 2: looking ---- */

static int job_put_again(struct probe *p, unsigned i)
{
    (void)i;
    return put(p, PROBE_RACED, LATECOMER, SHALE_PUT_IF_ABSENT);
}

static int job_head(struct probe *p, unsigned i)
{
    (void)i;
    return shale_store_head(p->store, p->objects.names[PROBE_RACED], &p->meta);
}

static int see(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct probe *p = arg;
    int o = probe_objects_find(&p->objects, name);

    if (o == PROBE_N_OBJECTS) {
        probe_objects_note_stranger(&p->objects, name);
        return 0;
    }
    for (int later = o; later < PROBE_N_OBJECTS; later++)
        p->disordered |= p->listed[later];
    p->wrong_size |= meta->size != BODY_LEN;
    p->listed[o] = true;
    return 0;
}

static int job_list(struct probe *p, unsigned i)
{
    (void)i;
    return shale_store_list(p->store, p->objects.prefix, NULL, see, p);
}

static int see_behind(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct probe *p = arg;
    int o = probe_objects_find(&p->objects, name);

    (void)meta;
    if (o < PROBE_N_OBJECTS)
        p->behind[o] = true;
    return 0;
}

static int job_list_behind(struct probe *p, unsigned i)
{
    (void)i;
    return shale_store_list(p->store, p->objects.prefix, p->objects.names[PROBE_RACED], see_behind, p);
}

static void judge_list(struct probe *p, const struct job *list, const struct job *behind)
{
    bool named = !probe_wants(p->checks, SHALE_PROBE_NAMES), uploaded = !probe_wants(p->checks, SHALE_PROBE_UPLOAD);

    if (list->rc < 0)
        probe_failed(p->checks, SHALE_PROBE_LIST, list->rc, list->why, "");
    else if (behind->rc < 0)
        probe_failed(p->checks, SHALE_PROBE_LIST, behind->rc, behind->why, "");
    else if (!p->listed[PROBE_RACED] || (named && !p->listed[PROBE_LONG_NAMED]) ||
             (uploaded && !p->listed[PROBE_UPLOADED]))
        probe_lacks(p->checks, SHALE_PROBE_LIST,
                    "a listing does not show an object that was just written; what a crash left would be missed; use a "
                    "store whose listings are up to date");
    else if (p->disordered || p->wrong_size)
        probe_lacks(p->checks, SHALE_PROBE_LIST,
                    "a listing is not in the order of names, or tells wrong sizes; " ANOTHER);
    else if (p->behind[PROBE_RACED] || (named && !p->behind[PROBE_LONG_NAMED]))
        probe_lacks(p->checks, SHALE_PROBE_LIST,
                    "a listing that is to begin behind a name (start-after) does not; use another store");
    else
        probe_good(p->checks, SHALE_PROBE_LIST);
}

/* When a put was done that should have been refused, whose id is there is anybody's guess. */
static void judge_put_id(struct probe *p)
{
    bool known = !probe_wants(p->checks, SHALE_PROBE_CONDITIONAL) && !probe_wants(p->checks, SHALE_PROBE_RACE);

    if (known ? strcmp(p->meta.put_id, p->put_ids[p->winner]) == 0 : p->meta.put_id[0] != '\0')
        probe_good(p->checks, SHALE_PROBE_PUT_ID);
    else
        probe_warns(p->checks, SHALE_PROBE_PUT_ID,
                    "the store does not keep what a put says of itself (metadata); when an answer is lost, a mount may "
                    "take its own write for another's, and stop with an error");
}

/* A store may tell whole seconds. */
static void judge_clock(struct probe *p)
{
    int64_t ahead = 0;

    if (p->meta.mtime_ms > p->done_ms + 1000)
        ahead = p->meta.mtime_ms - p->done_ms;
    else if (p->meta.mtime_ms < p->began_ms - 1000)
        ahead = p->meta.mtime_ms - p->began_ms;
    if (ahead > CLOCK_BOUND_MS || ahead < -CLOCK_BOUND_MS)
        probe_warns(p->checks, SHALE_PROBE_CLOCK,
                    "the store's clock is %" PRId64 " s %s ours; the ages by which garbage is collected would be "
                    "wrong; set this host's clock, or the store's",
                    (ahead < 0 ? -ahead : ahead) / 1000, ahead < 0 ? "behind" : "ahead of");
    else
        probe_good(p->checks, SHALE_PROBE_CLOCK);
}

static void judge_head(struct probe *p, const struct job *head)
{
    if (head->rc < 0) {
        probe_failed(p->checks, SHALE_PROBE_READ, head->rc, head->why, ANOTHER);
        return;
    }
    if (p->meta.size != BODY_LEN)
        probe_lacks(p->checks, SHALE_PROBE_READ, "it tells %" PRIu64 " bytes of an object of %u; " ANOTHER,
                    p->meta.size, BODY_LEN);
    judge_put_id(p);
    judge_clock(p);
}

static void judge_again(struct probe *p, const struct job *again)
{
    if (again->rc == 0)
        probe_lacks(p->checks, SHALE_PROBE_CONDITIONAL,
                    "it overwrites an object that it was told to create only if there is none; " NEED_CONDITIONAL);
    else if (again->rc != -EEXIST)
        probe_failed(p->checks, SHALE_PROBE_CONDITIONAL, again->rc, again->why, NEED_CONDITIONAL);
}

static void look(struct probe *p)
{
    struct job jobs[] = {
        { .run = job_head }, { .run = job_list }, { .run = job_list_behind }, { .run = job_put_again },
    };
    bool refused = probe_wants(p->checks, SHALE_PROBE_CONDITIONAL);

    run_together(p, jobs, refused ? 3 : 4);
    if (!refused)
        judge_again(p, &jobs[3]);
    judge_head(p, &jobs[0]);
    judge_list(p, &jobs[1], &jobs[2]);
}

/* ---- 3: reading ---- */

/* Who wrote what was read; N_WRITERS: nobody. */
static unsigned writer_of(const struct probe *p, const struct shale_buf *b)
{
    unsigned w = 0;

    while (w < N_WRITERS && !slice_eq(slice_of_buf(b), body_of(p, w)))
        w++;
    return w;
}

static unsigned writer_of_range(const struct probe *p)
{
    unsigned w = 0;

    while (w < N_WRITERS && !slice_eq(slice_of_buf(&p->range), slice_of(p->bodies[w] + RANGE_OFFSET, RANGE_LEN)))
        w++;
    return w;
}

/* What nobody wrote may have been spoilt on the way; only what comes so each time is the store's doing. */
static int foreign(const struct probe *p, enum probe_object o, unsigned writer)
{
    return writer < N_WRITERS ? 0 : err_set(SHALE_ECORRUPT, "%s comes back changed", p->objects.names[o]);
}

static int job_read(struct probe *p, unsigned o)
{
    struct reread again = REREAD_INIT;
    int rc;

    do {
        rc = shale_store_get(p->store, p->objects.names[o], &p->read[o]);
        if (rc == 0)
            rc = foreign(p, o, writer_of(p, &p->read[o]));
    } while (reread_due(&again, rc));
    return rc == SHALE_ECORRUPT ? 0 : rc; /* the judge compares, too */
}

static int job_range(struct probe *p, unsigned i)
{
    struct reread again = REREAD_INIT;
    int rc;

    (void)i;
    do {
        rc = shale_store_get_range(p->store, p->objects.names[PROBE_RACED], RANGE_OFFSET, RANGE_LEN, &p->range);
        if (rc == 0)
            rc = foreign(p, PROBE_RACED, writer_of_range(p));
    } while (reread_due(&again, rc));
    return rc == SHALE_ECORRUPT ? 0 : rc;
}

static void judge_raced(struct probe *p, const struct job *read, const struct job *range)
{
    unsigned w = read->rc < 0 ? N_WRITERS : writer_of(p, &p->read[PROBE_RACED]);

    if (read->rc < 0)
        probe_failed(p->checks, SHALE_PROBE_READ, read->rc, read->why, ANOTHER);
    else if (w == N_WRITERS)
        probe_lacks(p->checks, SHALE_PROBE_READ, "it gives back other bytes than were written; " ANOTHER);
    else if (w == LATECOMER)
        probe_lacks(p->checks, SHALE_PROBE_CONDITIONAL,
                    "it says that an object exists, and overwrites it all the same; " NEED_CONDITIONAL);
    else if (w != p->winner)
        probe_lacks(p->checks, SHALE_PROBE_RACE,
                    "a conditional put that was refused was done all the same; " NEED_CONDITIONAL);
    if (range->rc < 0)
        probe_failed(p->checks, SHALE_PROBE_RANGE, range->rc, range->why, ANOTHER);
    else if (w < N_WRITERS && !slice_eq(slice_of_buf(&p->range), slice_of(p->bodies[w] + RANGE_OFFSET, RANGE_LEN)))
        probe_lacks(p->checks, SHALE_PROBE_RANGE,
                    "it sends other bytes than those of the range that was asked for; " ANOTHER);
}

static void judge_other(struct probe *p, enum probe_object o, enum shale_probe_check c, const struct job *read)
{
    if (read->rc < 0)
        probe_failed(p->checks, c, read->rc, read->why, ANOTHER);
    else if (writer_of(p, &p->read[o]) != OTHER)
        probe_lacks(p->checks, c, "it gives back other bytes than were written; " ANOTHER);
}

static void read_back(struct probe *p)
{
    struct job jobs[] = { { .run = job_read, .i = PROBE_RACED },
                          { .run = job_range },
                          { .run = job_read, .i = PROBE_LONG_NAMED },
                          { .run = job_read, .i = PROBE_UPLOADED } };

    run_together(p, jobs, ARRAY_SIZE(jobs));
    judge_raced(p, &jobs[0], &jobs[1]);
    judge_other(p, PROBE_LONG_NAMED, SHALE_PROBE_NAMES, &jobs[2]);
    judge_other(p, PROBE_UPLOADED, SHALE_PROBE_UPLOAD, &jobs[3]);
    probe_good(p->checks, SHALE_PROBE_CONDITIONAL);
    probe_good(p->checks, SHALE_PROBE_READ);
    probe_good(p->checks, SHALE_PROBE_RANGE);
    probe_good(p->checks, SHALE_PROBE_NAMES);
    probe_good(p->checks, SHALE_PROBE_UPLOAD);
}

/* ---- 4: removing ---- */

static int job_delete(struct probe *p, unsigned o)
{
    return shale_store_delete(p->store, p->objects.names[o]);
}

static int job_is_gone(struct probe *p, unsigned o)
{
    struct shale_object_meta meta;
    int rc = shale_store_head(p->store, p->objects.names[o], &meta);

    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    return err_set(-EOPNOTSUPP,
                   "a deleted object is still there; see whether a retention rule keeps it, or use another store");
}

static void try_delete(struct probe *p)
{
    struct job jobs[] = { { .run = job_is_gone, .i = PROBE_RACED },
                          { .run = job_is_gone, .i = PROBE_LONG_NAMED },
                          { .run = job_is_gone, .i = PROBE_UPLOADED },
                          { .run = job_delete, .i = PROBE_UPLOADED } };
    int rc = probe_objects_remove(&p->objects);

    if (rc < 0) {
        probe_note(p->checks, SHALE_PROBE_DELETE, SHALE_PROBE_FAILED, rc,
                   "%s; objects that begin with %s are left behind", shale_errmsg(), p->objects.prefix);
        return;
    }
    run_together(p, jobs, ARRAY_SIZE(jobs));
    if (jobs[3].rc == -ENOENT)
        probe_lacks(p->checks, SHALE_PROBE_DELETE,
                    "deleting what is gone fails, as a delete that is repeated after a lost answer would; use another "
                    "store");
    for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
        if (jobs[i].rc < 0)
            probe_failed(p->checks, SHALE_PROBE_DELETE, jobs[i].rc, jobs[i].why, "");
    probe_good(p->checks, SHALE_PROBE_DELETE);
}

/* ---- the whole ---- */

static void fill(struct probe *p)
{
    for (unsigned w = 0; w < N_WRITERS; w++) {
        ulid_format(ulid_new(clock_wall_ms(), NULL), p->put_ids[w]);
        for (unsigned k = 0; k < BODY_LEN; k++)
            p->bodies[w][k] = (uint8_t)(k * 31 + (k >> 8) + 61 * w);
    }
}

static int run(struct probe *p)
{
    int rc = write_objects(p);

    if (rc < 0) {
        struct shale_buf why = SHALE_BUF_INIT;

        /* Something may have got through, in spite of what we were told. */
        (void)buf_printf(&why, "%s", shale_errmsg());
        (void)probe_objects_remove(&p->objects);
        rc = err_set(rc, "%s", why.len ? (const char *)why.data : shale_strerror(rc));
        shale_buf_fini(&why);
        return rc;
    }
    look(p);
    read_back(p);
    try_delete(p);
    probe_objects_remove_stale(&p->objects);
    return 0;
}

int shale_store_probe(struct shale_store *s, const char *path, struct shale_probe_report *report)
{
    struct shale_probe_report own;
    struct probe *p = mem_zalloc(sizeof(*p));
    int rc;

    if (!p)
        return err_set(-ENOMEM, "out of memory for a probe of the store");
    p->store = s;
    p->checks = report ? report->checks : own.checks;
    probe_report_init(p->checks);
    fill(p);
    rc = probe_objects_init(&p->objects, s, path);
    if (rc == 0)
        rc = run(p);
    if (rc == 0)
        rc = probe_verdict(p->checks);
    for (int o = 0; o < PROBE_N_OBJECTS; o++)
        shale_buf_fini(&p->read[o]);
    shale_buf_fini(&p->range);
    mem_free(p);
    return rc;
}
