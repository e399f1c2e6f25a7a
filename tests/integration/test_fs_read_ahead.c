/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"
#include "lib/random_env.h"

#include "base/cancel.h"
#include "fs/core/chunks.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What readers load of a file's chunks: how often, when, and that it is never old. Chunks are small here. */
#define CHUNK (64u << 10)
#define CHUNKS 64u
#define PIECE 16384u
enum { THREADS = 8 };

/* Every load of a chunk comes by here. */
static struct {
    pthread_mutex_t mu;
    pthread_cond_t moved;
    unsigned loads[CHUNKS];
    unsigned total;
    uint64_t gate;     /* loads of this chunk wait when they are done; CHUNKS: none */
    unsigned at_gate;
    unsigned fail;     /* so many loads fail */
    bool fail_others;  /* those of other threads than main's */
    bool down;         /* loads do not end until they are given up; stuck: so many are at that */
    unsigned stuck;
    pthread_t main;
} spy = { .mu = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER, .gate = CHUNKS };

int __real_chunk_load(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t chunk, struct shale_buf *out);
int __wrap_chunk_load(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t chunk, struct shale_buf *out);

int __wrap_chunk_load(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t chunk, struct shale_buf *out)
{
    int rc = __real_chunk_load(fs, ino, gen, chunk, out);
    bool fail;

    pthread_mutex_lock(&spy.mu);
    if (chunk < CHUNKS)
        spy.loads[chunk]++;
    spy.total++;
    fail = spy.fail > 0 || (spy.fail_others && !pthread_equal(pthread_self(), spy.main));
    if (spy.fail > 0)
        spy.fail--;
    if (spy.down) {
        spy.stuck++;
        pthread_cond_broadcast(&spy.moved);
        pthread_mutex_unlock(&spy.mu);
        while (!cancel_wanted())
            sched_yield();
        return SHALE_ECANCELED;
    }
    if (chunk == spy.gate) {
        spy.at_gate++;
        pthread_cond_broadcast(&spy.moved);
        while (chunk == spy.gate)
            pthread_cond_wait(&spy.moved, &spy.mu);
    }
    pthread_cond_broadcast(&spy.moved);
    pthread_mutex_unlock(&spy.mu);
    return fail ? -EIO : rc;
}

static void spy_reset(void)
{
    pthread_mutex_lock(&spy.mu);
    memset(spy.loads, 0, sizeof(spy.loads));
    spy.total = spy.at_gate = spy.fail = spy.stuck = 0;
    spy.fail_others = spy.down = false;
    spy.gate = CHUNKS;
    spy.main = pthread_self();
    pthread_cond_broadcast(&spy.moved);
    pthread_mutex_unlock(&spy.mu);
}

static void gate(uint64_t chunk)
{
    pthread_mutex_lock(&spy.mu);
    spy.gate = chunk;
    pthread_cond_broadcast(&spy.moved);
    pthread_mutex_unlock(&spy.mu);
}

static void wait_at_gate(void)
{
    pthread_mutex_lock(&spy.mu);
    while (spy.at_gate == 0)
        pthread_cond_wait(&spy.moved, &spy.mu);
    pthread_mutex_unlock(&spy.mu);
}

static void wait_loaded(uint64_t chunk)
{
    pthread_mutex_lock(&spy.mu);
    while (spy.loads[chunk] == 0)
        pthread_cond_wait(&spy.moved, &spy.mu);
    pthread_mutex_unlock(&spy.mu);
}

static unsigned total(void)
{
    unsigned n;

    pthread_mutex_lock(&spy.mu);
    n = spy.total;
    pthread_mutex_unlock(&spy.mu);
    return n;
}

/* ---- a file, each chunk of which is full of one byte ---- */

static uint8_t byte_of(uint64_t chunk)
{
    return (uint8_t)(chunk + 1);
}

/* Every store counts as a slow one. */
static void open_it(struct fs_fixture *f)
{
    fixture_open(f);
    f->fs->chunks.slow_ns = 0;
}

/* A volume with small chunks, and in it a file whose every chunk is full of its byte. */
static uint64_t begin(struct fs_fixture *f)
{
    char *last;
    struct fs_file *h;
    uint64_t ino;

    fixture_init_closed(f);
    last = strrchr(f->url, '/');
    snprintf(last, 16, "/small");
    f->format.chunk_bytes = CHUNK;
    check_ok(fs_format(f->url, &f->format));
    open_it(f);
    ino = make_file(f, FS_ROOT_INO, "file");
    h = open_file(f, ino, O_RDWR);
    for (uint64_t c = 0; c < CHUNKS; c++)
        write_fill(h, c * CHUNK, byte_of(c), CHUNK);
    check_ok(fs_file_fsync(h, false));
    fs_file_release(h);
    spy_reset();
    return ino;
}

static void end(struct fs_fixture *f)
{
    gate(CHUNKS);
    fixture_close(f);
    fixture_check(f);
    fixture_fini(f);
}

/* Chunks first..end-1, in pieces. */
static void read_chunks(struct fs_file *h, uint64_t first, uint64_t last)
{
    for (uint64_t at = first * CHUNK; at < last * CHUNK; at += PIECE)
        check_fill(h, at, byte_of(at / CHUNK), PIECE);
}

static void a_run_is_loaded_ahead_and_each_chunk_once(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    read_chunks(h, 0, 8);
    wait_loaded(20); /* by somebody else */
    read_chunks(h, 8, CHUNKS);
    for (uint64_t c = 0; c < CHUNKS; c++)
        assert_int_equal(spy.loads[c], 1);
    fs_file_release(h);
    end(&f);
}

static void the_head_of_a_file_is_read_alone(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    read_chunks(h, 0, 3);
    assert_null(f.fs->chunks.pool);
    assert_int_equal(total(), 3);
    fs_file_release(h);
    end(&f);
}

/* Here and there in a gigabyte, nearly all of which is a hole. */
static void reads_here_and_there_load_nothing_ahead(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    struct rng rng;
    uint64_t ino = begin(&f);

    (void)state;
    rng_seed(&rng, 7);
    assert_int_equal(set_size(&f, ino, 1u << 30), 0);
    h = open_file(&f, ino, O_RDONLY);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t at = (128 + rng_below(&rng, (1u << 18) - 256)) * 4096;

        check_fill(h, at, at < CHUNKS * CHUNK ? byte_of(at / CHUNK) : 0, 4096);
    }
    assert_null(f.fs->chunks.pool);
    fs_file_release(h);
    end(&f);
}

static void a_fast_store_is_not_read_ahead(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    f.fs->chunks.slow_ns = INT64_MAX;
    h = open_file(&f, ino, O_RDONLY);
    read_chunks(h, 0, CHUNKS);
    assert_null(f.fs->chunks.pool);
    fs_file_release(h);
    end(&f);
}

static void none_means_none(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    fixture_close(&f);
    f.opt.read_ahead_bytes = 0;
    open_it(&f);
    h = open_file(&f, ino, O_RDONLY);
    read_chunks(h, 0, CHUNKS);
    assert_null(f.fs->chunks.pool);
    for (uint64_t c = 0; c < CHUNKS; c++)
        assert_int_equal(spy.loads[c], 1);
    fs_file_release(h);
    end(&f);
}

/* ---- several readers ---- */

struct reader {
    struct fs_file *h;
    uint64_t offset;
    uint8_t data[PIECE];
    int64_t got;
    pthread_t thread;
};

static void *read_once(void *arg)
{
    struct reader *r = arg;

    r->got = fs_file_read(r->h, r->offset, r->data, PIECE);
    return NULL;
}

/* All read pieces of one chunk while the first load of it is held up; how many failed. */
static unsigned read_one_chunk(struct fs_file *h, uint64_t chunk)
{
    struct reader *r = calloc(THREADS, sizeof(*r));
    unsigned failed = 0;

    assert_non_null(r);
    gate(chunk);
    for (unsigned i = 0; i < THREADS; i++) {
        r[i].h = h;
        r[i].offset = chunk * CHUNK + i % (CHUNK / PIECE) * PIECE;
        assert_int_equal(pthread_create(&r[i].thread, NULL, read_once, &r[i]), 0);
    }
    wait_at_gate();
    gate(CHUNKS);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(r[i].thread, NULL);
        if (r[i].got < 0) {
            failed++;
            continue;
        }
        assert_int_equal(r[i].got, PIECE);
        for (unsigned k = 0; k < PIECE; k++)
            assert_int_equal(r[i].data[k], byte_of(chunk));
    }
    free(r);
    return failed;
}

static void readers_of_one_chunk_load_it_once(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    assert_int_equal(read_one_chunk(h, 30), 0);
    assert_int_equal(spy.loads[30], 1);
    fs_file_release(h);
    end(&f);
}

static void a_reader_that_fails_does_not_fail_the_others(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    spy.fail = 1;
    assert_int_equal(read_one_chunk(h, 30), 1);
    read_chunks(h, 30, 31);
    fs_file_release(h);
    end(&f);
}

static void what_fails_ahead_is_read_again(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    spy.fail_others = true;
    read_chunks(h, 0, CHUNKS);
    fs_file_release(h);
    end(&f);
}

/* ---- outages ---- */

static void set_down(bool down)
{
    pthread_mutex_lock(&spy.mu);
    spy.down = down;
    pthread_mutex_unlock(&spy.mu);
}

/* A reader's signal counts, too, when what he waits for is loaded by others. */
static void a_reader_that_gives_up_waits_for_no_other(void **state)
{
    struct cancel token = { .also = NULL };
    struct reader other = { .offset = 30 * CHUNK };
    struct fs_fixture f;
    uint8_t data[16];
    uint64_t ino = begin(&f);

    (void)state;
    other.h = open_file(&f, ino, O_RDONLY);
    gate(30);
    assert_int_equal(pthread_create(&other.thread, NULL, read_once, &other), 0);
    wait_at_gate();
    cancel_request(&token);
    (void)cancel_set(&token);
    (void)alarm(120);
    assert_int_equal(fs_file_read(other.h, 30 * CHUNK, data, sizeof(data)), -EINTR);
    (void)alarm(0);
    (void)cancel_set(NULL);
    gate(CHUNKS);
    pthread_join(other.thread, NULL);
    assert_int_equal(other.got, PIECE);
    read_chunks(other.h, 30, 31);
    fs_file_release(other.h);
    end(&f);
}

/* What nobody wants any more does not keep a volume from being closed. */
static void closing_gives_up_what_is_loaded_ahead(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    read_chunks(h, 0, 3);
    check_fill(h, 3 * CHUNK, byte_of(3), PIECE);
    set_down(true);
    read_chunks(h, 3, 4); /* is there; so much of a run loads what comes behind */
    pthread_mutex_lock(&spy.mu);
    while (spy.stuck == 0)
        pthread_cond_wait(&spy.moved, &spy.mu);
    pthread_mutex_unlock(&spy.mu);
    fs_file_release(h);
    (void)alarm(120);
    fixture_close(&f);
    (void)alarm(0);
    set_down(false);
    open_it(&f);
    end(&f);
}

/* ---- data that changes ---- */

/* Chunks up to 40 are in memory. */
static struct fs_file *prime(struct fs_fixture *f, uint64_t ino)
{
    struct fs_file *h = open_file(f, ino, O_RDWR);

    read_chunks(h, 0, 10);
    for (uint64_t c = 10; c < 40; c++)
        wait_loaded(c);
    return h;
}

static void a_write_is_seen_in_what_was_loaded_ahead(void **state)
{
    struct fs_fixture f;
    uint64_t ino = begin(&f);
    struct fs_file *h = prime(&f, ino);

    (void)state;
    write_fill(h, 20 * CHUNK + 100, 0xee, 200);
    check_fill(h, 20 * CHUNK + 100, 0xee, 200);
    check_ok(fs_file_fsync(h, false));
    check_fill(h, 20 * CHUNK + 100, 0xee, 200);
    check_fill(h, 20 * CHUNK, byte_of(20), 100);
    check_fill(h, 20 * CHUNK + 300, byte_of(20), CHUNK - 300);
    read_chunks(h, 10, 20);
    read_chunks(h, 21, CHUNKS);
    fs_file_release(h);
    end(&f);
}

/* The load has the old bytes in its hands when they change. */
static void a_load_under_way_when_data_changes_is_for_nobody_else(void **state)
{
    struct fs_fixture f;
    uint64_t ino = begin(&f);
    struct fs_file *h = open_file(&f, ino, O_RDWR);

    (void)state;
    gate(20);
    read_chunks(h, 0, 10);
    wait_at_gate();
    write_fill(h, 20 * CHUNK, 0xee, CHUNK);
    check_ok(fs_file_fsync(h, false));
    gate(CHUNKS);
    check_fill(h, 20 * CHUNK, 0xee, CHUNK);
    fs_file_release(h);
    end(&f);
}

static void what_is_cut_reads_as_zeros_when_it_comes_back(void **state)
{
    struct fs_fixture f;
    uint64_t ino = begin(&f);
    struct fs_file *h = prime(&f, ino);

    (void)state;
    assert_int_equal(set_size(&f, ino, 20 * CHUNK + 1000), 0);
    assert_int_equal(set_size(&f, ino, CHUNKS * CHUNK), 0);
    read_chunks(h, 10, 20);
    check_fill(h, 20 * CHUNK, byte_of(20), 1000);
    for (uint64_t c = 21; c < CHUNKS; c++)
        check_fill(h, c * CHUNK, 0, CHUNK);
    check_fill(h, 20 * CHUNK + 1000, 0, CHUNK - 1000);
    assert_int_equal(set_size(&f, ino, 0), 0);
    assert_int_equal(set_size(&f, ino, CHUNKS * CHUNK), 0);
    for (uint64_t c = 0; c < CHUNKS; c++)
        check_fill(h, c * CHUNK, 0, CHUNK);
    fs_file_release(h);
    end(&f);
}

static void another_file_under_the_name_has_its_own_data(void **state)
{
    struct fs_fixture f;
    uint64_t ino = begin(&f), other = make_file(&f, FS_ROOT_INO, "other");
    struct fs_file *h, *o = open_file(&f, other, O_RDWR);

    (void)state;
    write_fill(o, 0, 0x77, 8 * CHUNK);
    h = prime(&f, ino);
    check_ok(fs_rename(f.fs, FS_ROOT_INO, "other", FS_ROOT_INO, "file", 0));
    assert_int_equal(look(&f, FS_ROOT_INO, "file"), other);
    check_fill(o, 0, 0x77, 8 * CHUNK);
    read_chunks(h, 10, CHUNKS); /* open still, though without a name */
    fs_file_release(h);
    fs_file_release(o);
    h = open_file(&f, other, O_RDONLY);
    check_fill(h, 0, 0x77, 8 * CHUNK);
    check_ok(fs_unlink(f.fs, FS_ROOT_INO, "file"));
    check_fill(h, 0, 0x77, 8 * CHUNK);
    fs_file_release(h);
    end(&f);
}

/* ---- memory ---- */

static uint64_t held_bytes(struct fs_fixture *f)
{
    uint64_t n;

    mutex_lock(&f->fs->chunks.mu);
    n = f->fs->chunks.bytes;
    mutex_unlock(&f->fs->chunks.mu);
    return n;
}

static void memory_is_bounded_over_all_files(void **state)
{
    const uint64_t limit = 16 * CHUNK, one = CHUNK + 4096;
    struct fs_file *h[6];
    struct fs_fixture f;
    uint64_t ino = begin(&f);

    (void)state;
    fixture_close(&f);
    f.opt.read_ahead_bytes = limit;
    open_it(&f);
    for (unsigned i = 0; i < 6; i++) {
        char name[8];
        uint64_t copy;

        snprintf(name, sizeof(name), "copy%u", i);
        copy = i ? make_file(&f, FS_ROOT_INO, name) : ino;
        h[i] = open_file(&f, copy, O_RDWR);
        for (uint64_t c = 0; i && c < CHUNKS; c++)
            write_fill(h[i], c * CHUNK, byte_of(c), CHUNK);
        check_ok(fs_file_fsync(h[i], false));
    }
    for (uint64_t c = 0; c < CHUNKS; c++) {
        for (unsigned i = 0; i < 6; i++) {
            read_chunks(h[i], c, c + 1);
            assert_true(held_bytes(&f) <= limit + 2 * one);
        }
    }
    for (unsigned i = 0; i < 6; i++)
        fs_file_release(h[i]);
    while (held_bytes(&f) > 0) /* what was on its way */
        sched_yield();
    end(&f);
}

static void closing_waits_for_what_is_on_its_way(void **state)
{
    struct fs_fixture f;
    struct fs_file *h;
    uint64_t ino = begin(&f);

    (void)state;
    h = open_file(&f, ino, O_RDONLY);
    read_chunks(h, 0, 6);
    fs_file_release(h);
    end(&f);
}

/* ---- everything at once ---- */

/*
 * Blocks of a file, each full of a version that only goes up. Writers own blocks, one also cuts the tail off; readers
 * see no version that is older than what was written when they began, or newer than what was begun when they ended.
 */
#define BLOCK 4096u
#define BLOCKS 640u
#define TAIL 600u /* blocks from here on are cut off and come back as zeros */

struct world {
    struct fs_fixture f;
    uint64_t ino;
    atomic_uint begun[BLOCKS], done[BLOCKS]; /* done: the least version that may be seen; of the tail, or zeros */
    atomic_bool stop;
    unsigned ops;
};

struct actor {
    struct world *w;
    struct rng rng;
    unsigned k;
    pthread_t thread;
};

static void write_block(struct world *w, struct fs_file *h, unsigned b)
{
    unsigned v = atomic_load(&w->begun[b]) + 1, data[BLOCK / sizeof(unsigned)];

    for (unsigned i = 0; i < BLOCK / sizeof(unsigned); i++)
        data[i] = v;
    atomic_store(&w->begun[b], v);
    if (fs_file_write(h, (uint64_t)b * BLOCK, data, BLOCK) != BLOCK)
        abort();
    atomic_store(&w->done[b], v);
}

static void *writer(void *arg)
{
    struct actor *a = arg;
    struct fs_file *h = open_file(&a->w->f, a->w->ino, O_RDWR);

    for (unsigned i = 0; i < a->w->ops; i++) {
        write_block(a->w, h, (unsigned)rng_below(&a->rng, TAIL / 2) * 2 + a->k);
        if (rng_below(&a->rng, 20) == 0 && fs_file_fsync(h, false) < 0)
            abort();
    }
    fs_file_release(h);
    return NULL;
}

static void *cutter(void *arg)
{
    struct actor *a = arg;
    struct world *w = a->w;
    struct fs_file *h = open_file(&w->f, w->ino, O_RDWR);

    for (unsigned i = 0; i < w->ops / 8; i++) {
        for (unsigned n = 0; n < 12; n++)
            write_block(w, h, TAIL + (unsigned)rng_below(&a->rng, BLOCKS - TAIL));
        if (set_size(&w->f, w->ino, (uint64_t)TAIL * BLOCK) < 0)
            abort();
        for (unsigned b = TAIL; b < BLOCKS; b++)
            atomic_store(&w->done[b], atomic_load(&w->begun[b]) + 1);
        if (set_size(&w->f, w->ino, (uint64_t)BLOCKS * BLOCK) < 0)
            abort();
    }
    fs_file_release(h);
    return NULL;
}

static void check_block(const unsigned *data, unsigned b, unsigned least, unsigned most)
{
    for (unsigned i = 1; i < BLOCK / sizeof(unsigned); i++)
        if (data[i] != data[0])
            fail_msg("block %u is torn: %u and %u", b, data[0], data[i]);
    if ((data[0] < least && !(b >= TAIL && data[0] == 0)) || data[0] > most)
        fail_msg("block %u has version %u, not %u to %u", b, data[0], least, most);
}

static void read_some(struct world *w, struct fs_file *h, unsigned first, unsigned n)
{
    unsigned least[16], data[16][BLOCK / sizeof(unsigned)];
    int64_t got;

    for (unsigned k = 0; k < n; k++)
        least[k] = atomic_load(&w->done[first + k]);
    got = fs_file_read(h, (uint64_t)first * BLOCK, data, n * BLOCK);
    if (got < 0 || (got < n * BLOCK && first + n <= TAIL))
        fail_msg("read of %u blocks from %u gave %lld", n, first, (long long)got);
    for (unsigned k = 0; k < n && (k + 1) * BLOCK <= got; k++)
        check_block(data[k], first + k, least[k], atomic_load(&w->begun[first + k]));
}

static void *runner(void *arg)
{
    struct actor *a = arg;
    struct fs_file *h = open_file(&a->w->f, a->w->ino, O_RDONLY);

    while (!atomic_load(&a->w->stop)) {
        unsigned first = rng_below(&a->rng, 3) ? 0 : (unsigned)rng_below(&a->rng, BLOCKS / 8) * 8;

        for (; first < BLOCKS && rng_below(&a->rng, 200); first += 8)
            read_some(a->w, h, first, 8);
        if (rng_below(&a->rng, 4) == 0) {
            fs_file_release(h);
            h = open_file(&a->w->f, a->w->ino, O_RDONLY);
        }
    }
    fs_file_release(h);
    return NULL;
}

static void one_case(uint64_t seed, unsigned ops)
{
    struct world *w = calloc(1, sizeof(*w));
    struct actor actors[6];
    void *(*const doing[6])(void *) = { writer, writer, cutter, runner, runner, runner };
    struct fs_file *h;

    assert_non_null(w);
    w->ops = ops;
    w->ino = begin(&w->f);
    w->f.fs->chunks.limit = (4 + seed % 40) * CHUNK;
    assert_int_equal(set_size(&w->f, w->ino, 0), 0);
    assert_int_equal(set_size(&w->f, w->ino, (uint64_t)BLOCKS * BLOCK), 0);
    for (unsigned i = 0; i < 6; i++) {
        actors[i] = (struct actor){ .w = w, .k = i };
        rng_seed(&actors[i].rng, seed * 6 + i);
        assert_int_equal(pthread_create(&actors[i].thread, NULL, doing[i], &actors[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(actors[i].thread, NULL);
    atomic_store(&w->stop, true);
    for (unsigned i = 3; i < 6; i++)
        pthread_join(actors[i].thread, NULL);
    for (int again = 0; again < 2; again++) {
        h = open_file(&w->f, w->ino, O_RDONLY);
        for (unsigned b = 0; b < BLOCKS; b += 8)
            read_some(w, h, b, 8);
        fs_file_release(h);
        fixture_close(&w->f);
        open_it(&w->f);
    }
    end(&w->f);
    free(w);
}

static void readers_and_writers_of_one_file(void **state)
{
    struct random_env env = random_env(3);

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("SHALE_SEED=%llu\n", (unsigned long long)(env.first + i));
        one_case(env.first + i, 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_loaded_ahead_and_each_chunk_once),
        cmocka_unit_test(the_head_of_a_file_is_read_alone),
        cmocka_unit_test(reads_here_and_there_load_nothing_ahead),
        cmocka_unit_test(a_fast_store_is_not_read_ahead),
        cmocka_unit_test(none_means_none),
        cmocka_unit_test(readers_of_one_chunk_load_it_once),
        cmocka_unit_test(a_reader_that_fails_does_not_fail_the_others),
        cmocka_unit_test(what_fails_ahead_is_read_again),
        cmocka_unit_test(a_reader_that_gives_up_waits_for_no_other),
        cmocka_unit_test(closing_gives_up_what_is_loaded_ahead),
        cmocka_unit_test(a_write_is_seen_in_what_was_loaded_ahead),
        cmocka_unit_test(a_load_under_way_when_data_changes_is_for_nobody_else),
        cmocka_unit_test(what_is_cut_reads_as_zeros_when_it_comes_back),
        cmocka_unit_test(another_file_under_the_name_has_its_own_data),
        cmocka_unit_test(memory_is_bounded_over_all_files),
        cmocka_unit_test(closing_waits_for_what_is_on_its_way),
        cmocka_unit_test(readers_and_writers_of_one_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
