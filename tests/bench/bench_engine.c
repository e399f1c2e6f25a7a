/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one thread gets out of the engine: the phases, rows, settings and lines of tests/interop/bench, which does the
 * same with the real SlateDB; engine.sh runs both in turn.
 *   bench_engine memory|DIR [ROWS=1000000] [KEY=16] [VALUE=100] [PHASES=wal,mem,lsm]
 * Keys: 8 bytes, big-endian, of a permutation of 0..ROWS (a scattered order, each once) and zeros; values that do not
 * compress. One line a phase: rows, seconds, rows/s, microseconds of CPU (of the whole process) a row, peak RSS in MB.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"

#include <shale/shale.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { KEY_MAX = 1024, VALUE_MAX = 1 << 20, BATCH_ROWS = 100, SHORT_SCANS = 20000, SHORT_ROWS = 20, DURABLE_PUTS = 100 };

/* As much as SlateDB's default caches have for blocks, indexes and filters. */
#define CACHE_BYTES ((uint64_t)640 << 20)

struct bench {
    uint64_t n;
    size_t key_len, value_len;
    struct shale_store *store;
    struct shale_db *db;
};

/* What a phase began with. */
struct timer {
    int64_t wall_ns;
    double cpu_s;
};

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench_engine: %s: %s\n", shale_strerror(rc), shale_errmsg());
        exit(1);
    }
}

static struct rusage usage(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return u;
}

static double cpu_seconds(void)
{
    struct rusage u = usage();

    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct timer timer_start(void)
{
    return (struct timer){ .wall_ns = clock_mono_ns(), .cpu_s = cpu_seconds() };
}

static void timer_end(const struct timer *t, const char *what, uint64_t rows)
{
    double s = (double)(clock_mono_ns() - t->wall_ns) / 1e9, cpu = cpu_seconds() - t->cpu_s;

    printf("%-44s %9llu rows %8.3f s %10.0f rows/s %7.2f us CPU/row  rss %ld MB\n", what, (unsigned long long)rows, s,
           (double)rows / s, cpu * 1e6 / (double)rows, usage().ru_maxrss / 1024);
    fflush(stdout);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;

        a = b;
        b = t;
    }
    return a;
}

/* A permutation of 0..n-1: multiplication by a number coprime to n. */
struct perm {
    uint64_t n, m;
};

static struct perm perm_of(uint64_t n, uint64_t salt)
{
    struct perm p = { .n = n, .m = (0x9E3779B97F4A7C15u + salt * 2654435761u) % n | 1 };

    while (gcd(p.m, n) != 1)
        p.m += 2;
    return p;
}

static uint64_t perm_at(const struct perm *p, uint64_t i)
{
    return (uint64_t)(((unsigned __int128)i * p->m + 12345) % p->n);
}

static struct shale_slice make_key(const struct bench *b, uint8_t *key, uint64_t k)
{
    memset(key, 0, b->key_len);
    put_u64be(key, k);
    return (struct shale_slice){ key, b->key_len };
}

static struct shale_slice make_value(const struct bench *b, uint8_t *value, uint64_t k)
{
    uint64_t x = k * 0x9E3779B97F4A7C15u | 1;

    for (size_t i = 0; i < b->value_len; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        put_u64le(value + i, x); /* the buffer has room behind the value */
    }
    return (struct shale_slice){ value, b->value_len };
}

static void put_rows(struct bench *b, uint64_t n, uint64_t salt)
{
    static uint8_t key[KEY_MAX], value[VALUE_MAX + 8];
    struct perm p = perm_of(b->n, salt);

    for (uint64_t i = 0; i < n; i++) {
        uint64_t k = perm_at(&p, i);

        must(shale_db_put(b->db, make_key(b, key, k), make_value(b, value, k), false));
    }
}

static void put_all(struct bench *b, const char *what)
{
    struct timer t = timer_start();

    put_rows(b, b->n, 1);
    timer_end(&t, what, b->n);
}

static void put_batches(struct bench *b, const char *what)
{
    static uint8_t key[KEY_MAX], value[VALUE_MAX + 8];
    struct perm p = perm_of(b->n, 2);
    struct timer t = timer_start();

    for (uint64_t at = 0; at + BATCH_ROWS <= b->n; at += BATCH_ROWS) {
        struct shale_batch *w;

        must(shale_batch_new(&w));
        for (uint64_t i = at; i < at + BATCH_ROWS; i++) {
            uint64_t k = perm_at(&p, i);

            must(shale_batch_put(w, make_key(b, key, k), make_value(b, value, k), SHALE_TTL_INIT));
        }
        must(shale_db_write(b->db, w, false, NULL));
        shale_batch_free(w);
    }
    timer_end(&t, what, b->n / BATCH_ROWS * BATCH_ROWS);
}

/* Puts that are durable when they return: by waiting for the timer, or by a flush each. */
static void put_durable(struct bench *b, bool flush, const char *what)
{
    static uint8_t key[KEY_MAX], value[VALUE_MAX + 8];
    struct timer t = timer_start();

    for (uint64_t i = 0; i < DURABLE_PUTS; i++) {
        must(shale_db_put(b->db, make_key(b, key, i), make_value(b, value, i), !flush));
        if (flush)
            must(shale_db_flush(b->db, SHALE_FLUSH_WAL));
    }
    timer_end(&t, what, DURABLE_PUTS);
}

static void get_all(struct bench *b, uint64_t salt, const char *what)
{
    struct perm p = perm_of(b->n, salt);
    struct shale_buf value = SHALE_BUF_INIT;
    uint8_t key[KEY_MAX];
    struct timer t = timer_start();

    for (uint64_t i = 0; i < b->n; i++) {
        must(shale_db_get(b->db, make_key(b, key, perm_at(&p, i)), NULL, &value));
        if (value.len != b->value_len)
            must(err_set(-EIO, "a value of %zu bytes", value.len));
    }
    timer_end(&t, what, b->n);
    shale_buf_fini(&value);
}

static void miss_all(struct bench *b, const char *what)
{
    struct perm p = perm_of(b->n, 5);
    struct shale_buf value = SHALE_BUF_INIT;
    uint8_t key[KEY_MAX];
    struct timer t = timer_start();

    for (uint64_t i = 0; i < b->n; i++) {
        struct shale_slice k = make_key(b, key, perm_at(&p, i));

        key[8] = 1; /* between two keys that exist */
        if (shale_db_get(b->db, k, NULL, &value) != -ENOENT)
            must(err_set(-EIO, "an absent key was found"));
    }
    timer_end(&t, what, b->n);
    shale_buf_fini(&value);
}

static void scan_all(struct bench *b, const char *what)
{
    const struct shale_key_range all = { 0 };
    struct timer t = timer_start();
    struct shale_iter *it;
    struct shale_row row;
    uint64_t n = 0;
    int rc;

    must(shale_db_scan(b->db, &all, NULL, &it));
    while ((rc = shale_iter_next(it, &row)) == 0)
        n += row.value.len != 0;
    must(rc);
    shale_iter_close(it);
    if (n != b->n)
        must(err_set(-EIO, "%llu rows instead of %llu", (unsigned long long)n, (unsigned long long)b->n));
    timer_end(&t, what, n);
}

static void short_scans(struct bench *b, const char *what)
{
    struct perm p = perm_of(b->n, 3);
    uint8_t key[KEY_MAX];
    struct timer t = timer_start();

    for (uint64_t i = 0; i < SHORT_SCANS; i++) {
        struct shale_key_range range = { .from = make_key(b, key, perm_at(&p, i * 37 % b->n)) };
        struct shale_iter *it;
        struct shale_row row;
        int rc = 0;

        must(shale_db_scan(b->db, &range, NULL, &it));
        for (int k = 0; k < SHORT_ROWS && rc == 0; k++)
            rc = shale_iter_next(it, &row);
        must(rc);
        shale_iter_close(it);
    }
    timer_end(&t, what, SHORT_SCANS);
}

static void flush(struct bench *b, enum shale_flush_kind kind, const char *what)
{
    struct timer t = timer_start();

    must(shale_db_flush(b->db, kind));
    timer_end(&t, what, b->n);
}

static void open_db(struct bench *b, const char *path, const struct shale_options *opt)
{
    must(shale_db_open(b->store, path, opt, true, &b->db));
}

static void close_db(struct bench *b)
{
    must(shale_db_close(b->db, SHALE_CLOSE_FLUSH));
    b->db = NULL;
}

static struct shale_options default_options(void)
{
    struct shale_options opt;

    shale_options_init(&opt);
    opt.block_cache_bytes = CACHE_BYTES;
    return opt;
}

/* All defaults: WAL each 100 ms, 64 MiB L0 SSTs, compactor on. */
static void run_wal(struct bench *b)
{
    struct shale_options opt = default_options();

    open_db(b, "wal", &opt);
    put_all(b, "wal: put, defaults, not awaited");
    flush(b, SHALE_FLUSH_WAL, "wal: flush of the WAL after it");
    put_batches(b, "wal: the same rows in batches of 100");
    put_durable(b, false, "wal: put awaited durable (100 ms timer)");
    put_durable(b, true, "wal: put + flush(Wal)");
    close_db(b);
}

/* Without WAL, everything in the memtable; then in one SST. */
static void run_mem(struct bench *b)
{
    struct shale_options opt = default_options();
    struct timer t;

    opt.wal_enabled = false;
    opt.l0_sst_size_bytes = (uint64_t)4 << 30;
    opt.max_unflushed_bytes = (uint64_t)16 << 30;
    opt.flush_interval_ms = 0; /* the timer would freeze the memtable before the flush */
    opt.compactor.enabled = false;
    open_db(b, "mem", &opt);
    put_all(b, "mem: put, no WAL, all in the memtable");
    get_all(b, 2, "mem: get, memtable");
    miss_all(b, "mem: get of an absent key, memtable");
    scan_all(b, "mem: full scan, memtable");
    flush(b, SHALE_FLUSH_MEMTABLE, "mem: flush to one L0 SST");
    close_db(b);
    t = timer_start();
    open_db(b, "mem", &opt);
    timer_end(&t, "mem: open again", 1);
    get_all(b, 3, "mem: get, 1 L0 SST, cold block cache");
    get_all(b, 4, "mem: get, 1 L0 SST, warm block cache");
    miss_all(b, "mem: get of an absent key, 1 L0 SST (filter)");
    scan_all(b, "mem: full scan, 1 L0 SST");
    short_scans(b, "mem: scans of 20 rows (per scan)");
    close_db(b);
}

static void run_lsm(struct bench *b)
{
    struct shale_options opt = default_options();
    struct timer t = timer_start();

    opt.wal_enabled = false;
    opt.flush_interval_ms = 0;
    opt.l0_sst_size_bytes = (uint64_t)16 << 20;
    opt.l0_max_ssts = 32;
    opt.compactor.poll_interval_ms = 200;
    opt.compactor.max_sst_size = (uint64_t)32 << 20;
    open_db(b, "lsm", &opt);
    put_all(b, "lsm: put, no WAL, 16 MiB L0, compactor on");
    flush(b, SHALE_FLUSH_MEMTABLE, "lsm: flush after it");
    sleep(8); /* the compactor ends; its CPU counts below */
    close_db(b);
    timer_end(&t, "lsm: put + flush + compaction (8 s idle)", b->n);
    opt.l0_sst_size_bytes = (uint64_t)1 << 30;
    opt.compactor.enabled = false;
    open_db(b, "lsm", &opt);
    for (uint64_t round = 0; round < 3; round++) {
        put_rows(b, b->n / 100, 10 + round);
        must(shale_db_flush(b->db, SHALE_FLUSH_MEMTABLE));
    }
    get_all(b, 3, "lsm: get, 3 L0 + sorted runs, cold cache");
    get_all(b, 4, "lsm: get, 3 L0 + sorted runs, warm cache");
    miss_all(b, "lsm: get of an absent key (filters)");
    scan_all(b, "lsm: full scan, 3 L0 + sorted runs");
    scan_all(b, "lsm: full scan again");
    short_scans(b, "lsm: scans of 20 rows (per scan)");
    close_db(b);
}

static uint64_t argument(int argc, char **argv, int i, uint64_t preset)
{
    return argc > i ? strtoull(argv[i], NULL, 10) : preset;
}

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "memory", *phases = argc > 5 ? argv[5] : "wal,mem,lsm";
    struct bench b = { .n = argument(argc, argv, 2, 1000000), .key_len = argument(argc, argv, 3, 16),
                       .value_len = argument(argc, argv, 4, 100) };

    if (b.n < BATCH_ROWS || b.key_len < 9 || b.key_len > KEY_MAX || b.value_len < 1 || b.value_len > VALUE_MAX) {
        fprintf(stderr, "bench_engine: at least %d rows, keys of 9 to %d bytes, values of 1 to %d\n", BATCH_ROWS,
                KEY_MAX, VALUE_MAX);
        return 1;
    }
    must(strcmp(where, "memory") == 0 ? shale_store_memory(&b.store) : shale_store_directory(where, true, &b.store));
    printf("shale %s, store %s, %llu rows, key %zu, value %zu\n", shale_version(), where, (unsigned long long)b.n,
           b.key_len, b.value_len);
    if (strstr(phases, "wal"))
        run_wal(&b);
    if (strstr(phases, "mem"))
        run_mem(&b);
    if (strstr(phases, "lsm"))
        run_lsm(&b);
    shale_store_close(b.store);
    return 0;
}
