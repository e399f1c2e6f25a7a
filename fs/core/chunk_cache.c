/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/chunk_cache.h"

#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "fs/core/chunks.h"

#include <assert.h>
#include <errno.h>

/* Chunks on their way at once: fewer than a store serves at once for readers, so that other reads find room. */
#define THREADS 16u
/* A store that brings a chunk faster than this needs no read-ahead: it costs more than it saves. */
#define SLOW_NS 5000000
/* Bytes of a run before anything is loaded ahead of it: the head of a file is often all that is read. */
#define RUN_MIN ((uint64_t)256 << 10)
/* A run is loaded so many times its length ahead, up to AHEAD_MAX. */
#define RUN_FACTOR 8u
#define AHEAD_MAX ((uint64_t)24 << 20)
/* What was loaded ahead and has waited so long gives way to what another reader is about to want. */
#define STALE_MS 2000
/* The kernel sends the reads of one run side by side: they come somewhat out of order. */
#define RUN_SLACK ((uint64_t)1 << 20)

/*
 *   QUEUED   waits for a thread of the pool; a reader that wants it takes it over
 *   LOADING  by the thread that set this, which alone touches value
 *   READY    value does not change any more
 *   FAILED   in no list; whoever waits reads for himself
 * inode is set while it stands in the inode's list: it is what the data of the file is, and new readers may have it.
 */
enum chunk_state { QUEUED, LOADING, READY, FAILED };

struct file_chunk {
    struct list in_inode, lru; /* GUARDED_BY(mu of the cache), as all but value of a READY one */
    struct fs *fs;
    struct inode *inode;
    uint64_t ino, number;
    uint32_t gen;
    enum chunk_state state;
    bool ahead;                /* no reader has asked for it yet */
    uint32_t refs;
    int64_t since_ms;          /* when it came */
    uint64_t charge;           /* counted in bytes of the cache */
    struct shale_buf value;
};

void chunk_cache_init(struct chunk_cache *cc, const struct cancel *give_up)
{
    *cc = (struct chunk_cache){ .slow_ns = SLOW_NS, .give_up = { .also = give_up } };
    mutex_init(&cc->mu, FS_RANK_CHUNKS, "chunks");
    cond_init(&cc->loaded);
    list_init(&cc->used);
    list_init(&cc->unused);
}

/* Also without any read-ahead a chunk is read in pieces, and by more than one reader. */
void chunk_cache_set_limit(struct chunk_cache *cc, uint64_t read_ahead_bytes, uint32_t chunk_bytes)
{
    uint64_t least = 4 * (uint64_t)chunk_bytes;

    cc->limit = read_ahead_bytes > least ? read_ahead_bytes : least;
}

static void unref_locked(struct chunk_cache *cc, struct file_chunk *c)
{
    assert(c->refs > 0);
    if (--c->refs > 0)
        return;
    cc->bytes -= c->charge;
    shale_buf_fini(&c->value);
    mem_free(c);
}

static void set_ahead_locked(struct chunk_cache *cc, struct file_chunk *c, bool ahead)
{
    cc->n_ahead += ahead;
    cc->n_ahead -= c->ahead;
    c->ahead = ahead;
}

/* Out of its inode, and of memory when nobody is at it. */
static void detach_locked(struct chunk_cache *cc, struct file_chunk *c)
{
    if (!c->inode)
        return;
    c->inode = NULL;
    set_ahead_locked(cc, c, false);
    list_remove(&c->in_inode);
    list_remove(&c->lru);
    unref_locked(cc, c);
}

static struct file_chunk *oldest(struct list *l)
{
    return list_empty(l) ? NULL : list_entry(l->next, struct file_chunk, lru);
}

/*
 * Make room for so much more. What was read goes first, then what came ahead and nobody wanted; unless force, not
 * before it has waited for a while. False when that is not enough.
 */
static bool make_room_locked(struct chunk_cache *cc, uint64_t more, bool force)
{
    while (cc->bytes + more > cc->limit) {
        struct file_chunk *c = oldest(&cc->used);

        if (!c)
            c = oldest(&cc->unused);
        if (!c || (c->ahead && !force && clock_mono_ms() - c->since_ms < STALE_MS))
            return false;
        detach_locked(cc, c);
    }
    return true;
}

/*
 * Room for one more chunk that nobody waits for. A quarter is left to what is being read: its readers come again for
 * the next piece.
 */
static bool make_room_ahead_locked(struct chunk_cache *cc, uint32_t chunk_bytes)
{
    struct file_chunk *c;

    while ((cc->n_ahead + 1) * (uint64_t)chunk_bytes > cc->limit / 4 * 3) {
        c = oldest(&cc->unused);
        if (!c || clock_mono_ms() - c->since_ms < STALE_MS)
            return false;
        detach_locked(cc, c);
    }
    return make_room_locked(cc, chunk_bytes, false);
}

/* In an outage what is on its way may never come, and nobody is left who wants it. */
void chunk_cache_stop(struct chunk_cache *cc)
{
    struct pool *pool;

    cancel_request(&cc->give_up);
    mutex_lock(&cc->mu);
    cc->stopping = true;
    pool = cc->pool;
    cc->pool = NULL;
    mutex_unlock(&cc->mu);
    pool_free(pool);
}

void chunk_cache_fini(struct chunk_cache *cc)
{
    chunk_cache_stop(cc);
    mutex_lock(&cc->mu);
    for (struct file_chunk *c; (c = oldest(&cc->used)) || (c = oldest(&cc->unused));)
        detach_locked(cc, c);
    mutex_unlock(&cc->mu);
    assert(cc->bytes == 0);
    cond_fini(&cc->loaded);
    mutex_fini(&cc->mu);
}

struct shale_slice file_chunk_value(const struct file_chunk *c)
{
    return slice_of_buf(&c->value);
}

static struct file_chunk *find_locked(struct inode *i, uint64_t chunk)
{
    list_for_each(p, &i->chunks) {
        struct file_chunk *c = list_entry(p, struct file_chunk, in_inode);

        if (c->number == chunk)
            return c;
    }
    return NULL;
}

/* In the inode's list, and one reference more for the caller. REQUIRES(i->mu). Until it has come it counts as full. */
static struct file_chunk *add_locked(struct fs *fs, struct inode *i, uint64_t chunk, enum chunk_state state)
{
    struct file_chunk *c = mem_alloc(sizeof(*c));

    if (!c)
        return NULL;
    *c = (struct file_chunk){ .fs = fs, .inode = i, .ino = i->ino, .number = chunk, .state = state, .refs = 2 };
    c->gen = inode_gen_for_chunk(&i->rec, chunk);
    c->charge = fs->volume.chunk_bytes;
    fs->chunks.bytes += c->charge;
    list_init(&c->lru);
    list_append(&i->chunks, &c->in_inode);
    return c;
}

/* Buffers grow by doubling; what is kept shall not take twice what it holds. Without memory it does. */
static void trim(struct shale_buf *b)
{
    uint8_t *p = b->cap - b->len > b->len / 8 ? mem_realloc(b->data, b->len ? b->len : 1) : NULL;

    if (!p)
        return;
    b->data = p;
    b->cap = b->len ? b->len : 1;
}

/*
 * The shortest time of late: a machine with much to do makes single loads slow, wherever the data is, but rarely many
 * in a row. What was slower than that counts little by little.
 */
static void note_time_locked(struct chunk_cache *cc, int64_t took_ns)
{
    int64_t most = cc->load_ns + cc->load_ns / 2;

    cc->load_ns = cc->load_ns == 0 || took_ns < most ? took_ns : most;
}

/* By whoever set LOADING. */
static int load(struct chunk_cache *cc, struct file_chunk *c)
{
    int64_t start = clock_mono_ns();
    int rc = chunk_load(c->fs, c->ino, c->gen, c->number, &c->value);

    trim(&c->value);
    mutex_lock(&cc->mu);
    note_time_locked(cc, clock_mono_ns() - start);
    c->state = rc < 0 ? FAILED : READY;
    cc->bytes -= c->charge;
    c->charge = sizeof(*c) + c->value.cap;
    c->since_ms = clock_mono_ms();
    cc->bytes += c->charge;
    if (rc < 0)
        detach_locked(cc, c);
    else if (c->inode)
        list_append(c->ahead ? &cc->unused : &cc->used, &c->lru);
    (void)make_room_locked(cc, 0, true);
    cond_broadcast(&cc->loaded);
    mutex_unlock(&cc->mu);
    return rc;
}

/* Take one that was found over, or wait for it. It may have failed when this returns 0. SHALE_ECANCELED: gave up. */
static int join(struct chunk_cache *cc, struct file_chunk *c)
{
    bool loading;

    mutex_lock(&cc->mu);
    set_ahead_locked(cc, c, false);
    if (c->state == QUEUED) {
        c->state = LOADING;
        mutex_unlock(&cc->mu);
        return load(cc, c);
    }
    while (c->state == LOADING && !cancel_wanted())
        (void)cancel_cond_wait(&cc->loaded, &cc->mu, 0); /* there is no deadline */
    loading = c->state == LOADING;
    if (c->inode && c->state == READY) {
        list_remove(&c->lru);
        list_append(&cc->used, &c->lru);
    }
    mutex_unlock(&cc->mu);
    return loading ? cancel_error("a chunk that another reader loads") : 0;
}

/*
 * For a reader alone: another one's attempt has failed. So nobody fails for another, and of many that wait for a chunk
 * which cannot be read each waits for two attempts, and not one after the other.
 */
static int load_alone(struct fs *fs, struct inode *i, uint64_t chunk, struct file_chunk **out)
{
    struct file_chunk *c = NULL;
    int rc;

    mutex_lock(&i->mu);
    mutex_lock(&fs->chunks.mu);
    c = add_locked(fs, i, chunk, LOADING);
    if (c)
        detach_locked(&fs->chunks, c);
    mutex_unlock(&fs->chunks.mu);
    mutex_unlock(&i->mu);
    rc = c ? load(&fs->chunks, c) : -ENOMEM;
    if (rc < 0)
        chunk_cache_put(fs, c);
    else
        *out = c;
    return rc;
}

int chunk_cache_get(struct fs *fs, struct inode *i, uint64_t chunk, struct file_chunk **out)
{
    struct chunk_cache *cc = &fs->chunks;
    struct file_chunk *c;
    bool mine;
    int rc;

    mutex_lock(&i->mu);
    mutex_lock(&cc->mu);
    c = find_locked(i, chunk);
    mine = !c;
    if (c)
        c->refs++;
    else
        c = add_locked(fs, i, chunk, LOADING);
    mutex_unlock(&cc->mu);
    mutex_unlock(&i->mu);
    if (!c)
        return -ENOMEM;
    rc = mine ? load(cc, c) : join(cc, c);
    if (rc == 0 && c->state == READY) { /* it stays so */
        *out = c;
        return 0;
    }
    chunk_cache_put(fs, c);
    return rc < 0 ? rc : load_alone(fs, i, chunk, out);
}

void chunk_cache_put(struct fs *fs, struct file_chunk *c)
{
    if (!c)
        return;
    mutex_lock(&fs->chunks.mu);
    unref_locked(&fs->chunks, c);
    mutex_unlock(&fs->chunks.mu);
}

/* A thread of the pool. */
static void run_load(void *arg)
{
    struct file_chunk *c = arg;
    struct chunk_cache *cc = &c->fs->chunks;
    const struct cancel *mine = cancel_set(&cc->give_up);
    bool wanted;

    mutex_lock(&cc->mu);
    wanted = c->state == QUEUED && c->inode && !cc->stopping;
    if (wanted)
        c->state = LOADING;
    else if (c->inode && c->state == QUEUED)
        detach_locked(cc, c);
    mutex_unlock(&cc->mu);
    if (wanted)
        (void)load(cc, c); /* whoever wants it tries again */
    chunk_cache_put(c->fs, c);
    (void)cancel_set(mine);
}

/* False when there is no memory for it. REQUIRES(i->mu), and the cache's. */
static bool queue_locked(struct fs *fs, struct inode *i, uint64_t chunk)
{
    struct chunk_cache *cc = &fs->chunks;
    struct file_chunk *c;

    if (find_locked(i, chunk))
        return true;
    if (!make_room_ahead_locked(cc, fs->volume.chunk_bytes))
        return false;
    c = add_locked(fs, i, chunk, QUEUED);
    if (!c)
        return false;
    set_ahead_locked(cc, c, true);
    if (pool_submit(cc->pool, run_load, c) == 0)
        return true;
    detach_locked(cc, c);
    unref_locked(cc, c);
    return false;
}

/*
 * How many chunks are worth having ahead: what a reader who takes a byte each nanosecond gets through while one comes.
 * So the farther away the data is, the more memory it takes, and from nearby none.
 */
static uint64_t far_enough_locked(const struct chunk_cache *cc, uint32_t chunk_bytes)
{
    if (cc->slow_ns == 0)
        return UINT64_MAX;
    return cc->load_ns < cc->slow_ns ? 0 : (uint64_t)cc->load_ns / chunk_bytes;
}

/* Nobody opens or closes the file meanwhile but others that have it open, too. */
void chunk_cache_ahead(struct fs *fs, struct inode *i, uint64_t first, uint64_t end)
{
    struct chunk_cache *cc = &fs->chunks;
    uint64_t file_end, most;

    mutex_lock(&i->mu);
    file_end = i->rec.size / fs->volume.chunk_bytes + (i->rec.size % fs->volume.chunk_bytes != 0);
    if (end > file_end)
        end = file_end;
    mutex_lock(&cc->mu);
    most = far_enough_locked(cc, fs->volume.chunk_bytes);
    if (first < end && end - first > most)
        end = first + most;
    if (first < end && !cc->pool && !cc->stopping)
        (void)pool_new("shalefs-ahead", THREADS, &cc->pool); /* without threads nothing is read ahead */
    while (cc->pool && first < end && queue_locked(fs, i, first))
        first++;
    mutex_unlock(&cc->mu);
    mutex_unlock(&i->mu);
}

void chunk_cache_drop_locked(struct fs *fs, struct inode *i)
{
    assert(mutex_held(&i->mu));
    mutex_lock(&fs->chunks.mu);
    list_for_each_safe(p, tmp, &i->chunks)
        detach_locked(&fs->chunks, list_entry(p, struct file_chunk, in_inode));
    mutex_unlock(&fs->chunks.mu);
}

/* The reader went somewhere else: what waits for him does so in vain. */
static void drop_ahead_locked(struct fs *fs, struct inode *i)
{
    mutex_lock(&fs->chunks.mu);
    list_for_each_safe(p, tmp, &i->chunks) {
        struct file_chunk *c = list_entry(p, struct file_chunk, in_inode);

        if (c->ahead)
            detach_locked(&fs->chunks, c);
    }
    mutex_unlock(&fs->chunks.mu);
}

/* What the reader has passed is hardly read again: its memory is used for what comes. */
static void drop_behind_locked(struct fs *fs, struct inode *i, uint64_t chunk)
{
    struct file_chunk *c;

    mutex_lock(&fs->chunks.mu);
    c = find_locked(i, chunk);
    if (c && c->state == READY && !c->ahead)
        detach_locked(&fs->chunks, c);
    mutex_unlock(&fs->chunks.mu);
}

static bool goes_on(const struct read_run *r, uint64_t offset)
{
    return offset + RUN_SLACK >= r->next && offset <= r->next + RUN_SLACK;
}

/* The chunk up to which to load. */
static uint64_t run_target(const struct read_run *r, uint32_t chunk_bytes)
{
    uint64_t ahead = r->bytes < AHEAD_MAX / RUN_FACTOR ? r->bytes * RUN_FACTOR : AHEAD_MAX;

    return (r->next + ahead) / chunk_bytes;
}

/*
 * Planned anew from the reader on whenever the target moves: what was dropped meanwhile is asked for again. Offsets are
 * at most FS_SIZE_MAX, so no sum wraps.
 */
void read_run_note(struct fs *fs, struct inode *i, struct read_run *r, uint64_t offset, size_t len)
{
    uint64_t first, last, target = 0;
    bool move;

    mutex_lock(&i->mu);
    if (!goes_on(r, offset)) {
        if (r->target > 0)
            drop_ahead_locked(fs, i);
        *r = (struct read_run){ .next = offset };
    }
    first = offset / fs->volume.chunk_bytes;
    last = r->next > 0 ? (r->next - 1) / fs->volume.chunk_bytes : 0;
    r->bytes += len;
    if (r->next < offset + len)
        r->next = offset + len;
    if (first > last && first > 1)
        drop_behind_locked(fs, i, first - 2);
    if (r->bytes >= RUN_MIN && fs->opt.read_ahead_bytes > 0)
        target = run_target(r, fs->volume.chunk_bytes) + 1;
    move = target > r->target;
    if (move)
        r->target = target;
    mutex_unlock(&i->mu);
    if (move)
        chunk_cache_ahead(fs, i, first + 1, target);
}
