/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the WAL back (R97-R102): objects first..last in order, several on their way at once,
 * since each costs a round trip. Reader threads of a pool fetch whole objects into slots; the
 * calling thread takes them in id order and decodes.
 *   ids      done ... next ........ asked - 1 | asked ...
 *                     [ in slots, id % 32     ]
 * Slots are never shared by two ids, as at most MAX_AHEAD are between next and asked. A slot is
 * the reader's from ask to ready, the caller's before and after; ready is set under mu, which
 * hands the rest of it over. Any missing id is an error: the writer leaves no gap, so a hole
 * means lost commits.
 */

#include "wal/wal_replay.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "object/paths.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define REPLAY_RANK 610
#define FIRST_AHEAD 2u
#define MAX_AHEAD 32u /* objects that are read or waited for at once */
/* Objects in memory, unless one alone is larger. */
#define AHEAD_BYTES ((size_t)64 << 20)

struct find {
    const struct table_store *ts;
    uint64_t from, last, largest;
};

/* Names that are not WAL ids are skipped, as SlateDB does. */
static int find_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct find *f = arg;
    uint64_t id;

    if (!path_parse_numbered(f->ts->root, PATH_WAL, name, &id) || id < f->from)
        return 0;
    if (id > f->last)
        f->last = id;
    if (meta->size > f->largest)
        f->largest = meta->size;
    return 0;
}

/*
 * A listing from from on, not of the whole log: objects below may be many and are about to be
 * collected.
 */
int wal_find_last(struct table_store *ts, uint64_t from, uint64_t *last, uint64_t *largest)
{
    struct find f = { .ts = ts, .from = from };
    char prefix[PATH_NAME_MAX], after[PATH_NAME_MAX];
    int rc;

    rc = path_dir(ts->root, PATH_WAL, prefix);
    if (rc == 0 && from > 0)
        rc = path_wal(ts->root, from - 1, after);
    if (rc == 0)
        rc = shale_store_list(ts->wal_store, prefix, from > 0 ? after : NULL, find_name, &f);
    if (rc < 0)
        return rc;
    if (f.last >= WAL_ID_END)
        return err_set(SHALE_ECORRUPT, "WAL object %" PRIu64 " of '%s': no id comes after it", f.last, ts->root);
    *last = f.last;
    if (largest)
        *largest = f.largest;
    return 0;
}

/* One object on its way. A reader thread fills it in; ready is set last, under the lock. */
struct slot {
    struct replay *replay;
    uint64_t id;
    struct shale_buf name, object;
    int rc;
    char *why;  /* the sentence of a failure, which the reader's thread would keep to itself; NULL: no memory for it */
    bool ready; /* GUARDED_BY(replay->mu) */
};

struct replay {
    struct table_store *ts;
    uint64_t first, last;
    struct mutex mu;      /* rank 610 */
    struct cond some_ready;
    bool stop;            /* GUARDED_BY(mu): what waits in the pool need not be read any more */
    struct pool *pool;    /* NULL: one object, read by the caller */
    uint64_t asked;       /* ids below are asked for */
    size_t held;          /* bytes of the objects that have come and are not done with */
    size_t n_ahead;       /* objects asked for that have not come */
    bool ended;           /* the next object is not there */
    uint64_t largest;     /* that is known of: what one that is not there yet may take */
    struct slot slots[MAX_AHEAD];
};

static struct slot *slot_of(struct replay *r, uint64_t id)
{
    return &r->slots[id % MAX_AHEAD];
}

static bool stopped(struct replay *r)
{
    bool stop;

    mutex_lock(&r->mu);
    stop = r->stop;
    mutex_unlock(&r->mu);
    return stop;
}

/*
 * Once stopped, queued jobs return at once, so that pool_free need not wait for reads nobody
 * wants.
 */
static void read_object(void *arg)
{
    struct slot *s = arg;
    struct replay *r = s->replay;

    if (stopped(r)) {
        s->rc = SHALE_ECANCELED;
    } else {
        s->rc = sst_get_object(r->ts->wal_store, (const char *)s->name.data, r->ts->format.transformer, &s->object);
        if (s->rc < 0)
            s->why = mem_strdup(shale_errmsg());
    }
    mutex_lock(&r->mu);
    s->ready = true;
    cond_signal(&r->some_ready);
    mutex_unlock(&r->mu);
}

static void slot_clear(struct slot *s)
{
    mem_free(s->why);
    s->why = NULL;
    s->rc = 0;
    s->ready = false;
    shale_buf_fini(&s->object);
}

/*
 * Whether one more fits into the bounds; one at least is always on its way, and not many before the first has told how
 * large they are. An object is taken to be as large as the largest so far, for asking would cost a round trip each.
 */
static bool may_ask(const struct replay *r, uint64_t next)
{
    if (r->asked > r->last || r->asked - next >= (r->largest > 0 ? MAX_AHEAD : FIRST_AHEAD))
        return false;
    return r->asked == next || r->held + (r->n_ahead + 1) * r->largest <= AHEAD_BYTES;
}

/* Without a pool (a single object) the read happens here, on the caller's thread. */
static int ask(struct replay *r, uint64_t id)
{
    struct slot *s = slot_of(r, id);
    int rc;

    s->replay = r;
    s->id = id;
    rc = table_store_wal_name(r->ts, id, &s->name);
    if (rc < 0)
        return rc;
    if (r->pool)
        rc = pool_submit(r->pool, read_object, s);
    else
        read_object(s);
    if (rc == 0)
        r->n_ahead++;
    return rc;
}

/* Always for a slot that was asked for: may_ask lets at least one through. */
static void wait_ready(struct replay *r, struct slot *s)
{
    mutex_lock(&r->mu);
    while (!s->ready)
        cond_wait(&r->some_ready, &r->mu);
    mutex_unlock(&r->mu);
    r->n_ahead--;
    r->held += s->object.len;
    if (s->object.len >= r->largest)
        r->largest = s->object.len + 1; /* not 0, even if it is empty */
}

static int read_failed(const struct replay *r, const struct slot *s)
{
    if (s->rc == -ENOENT)
        return err_set(SHALE_ECORRUPT, "%s: missing from the log, which goes from %" PRIu64 " to %" PRIu64,
                       (const char *)s->name.data, r->first, r->last);
    if (s->why && strstr(s->why, (const char *)s->name.data))
        return err_set(s->rc, "%s", s->why);
    return err_set(s->rc, "%s: %s", (const char *)s->name.data, s->why ? s->why : shale_strerror(s->rc));
}

/* The memory is given back before end is called, which may do much (freezing a table). */
static int replay_object(struct replay *r, uint64_t id, const struct wal_replay_fns *fns)
{
    struct slot *s = slot_of(r, id);
    size_t len;
    int rc = 0;

    wait_ready(r, s);
    len = s->object.len;
    r->ended = s->rc == -ENOENT && fns->tail;
    if (r->ended)
        return 0;
    if (s->rc < 0)
        rc = read_failed(r, s);
    else if (len > 0) /* later versions of SlateDB fence with an object of no bytes */
        rc = sst_scan_object(slice_of_buf(&s->object), (const char *)s->name.data, r->ts->format.transformer, fns->row,
                             fns->arg);
    r->held -= len;
    slot_clear(s);
    if (rc == 0 && fns->end)
        rc = fns->end(fns->arg, id);
    return rc;
}

static int replay_all(struct replay *r, const struct wal_replay_fns *fns)
{
    int rc = 0;

    r->asked = r->first;
    for (uint64_t id = r->first; rc == 0 && id <= r->last && !r->ended; id++) {
        while (rc == 0 && may_ask(r, id)) {
            rc = ask(r, r->asked);
            r->asked++;
        }
        if (rc == 0)
            rc = replay_object(r, id, fns);
    }
    return rc;
}

/* Reads that nobody waits for any more end, as soon as the store lets them. */
static void stop_readers(struct replay *r)
{
    mutex_lock(&r->mu);
    r->stop = true;
    mutex_unlock(&r->mu);
    pool_free(r->pool);
}

int wal_replay(struct table_store *ts, uint64_t first, uint64_t last, const struct wal_replay_fns *fns)
{
    struct replay r = { .ts = ts, .first = first, .last = last };
    uint64_t n = last - first + 1;
    int rc = 0;

    assert(last < UINT64_MAX);
    if (first > last)
        return 0;
    r.largest = fns->largest < AHEAD_BYTES ? fns->largest : AHEAD_BYTES;
    mutex_init(&r.mu, REPLAY_RANK, "wal replay");
    cond_init(&r.some_ready);
    if (n > 1)
        rc = pool_new("wal-replay", n < MAX_AHEAD ? (size_t)n : MAX_AHEAD, &r.pool);
    if (rc == 0)
        rc = replay_all(&r, fns);
    stop_readers(&r);
    for (size_t i = 0; i < MAX_AHEAD; i++) {
        slot_clear(&r.slots[i]);
        shale_buf_fini(&r.slots[i].name);
    }
    cond_fini(&r.some_ready);
    mutex_fini(&r.mu);
    return rc;
}
