/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds of processor time that calls on a database in memory take, by the public interface alone, so that it can
 * be built against two versions of the library: bench_db [ROUNDS] prints the least and the median of the rounds.
 */
#include <shale/shale.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N 200000u

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(int rc)
{
    if (rc != 0) {
        fprintf(stderr, "bench_db: %s\n", shale_errmsg());
        exit(1);
    }
}

static struct shale_slice key_of(unsigned i, char text[16])
{
    snprintf(text, 16, "key%08u", i);
    return (struct shale_slice){ (const uint8_t *)text, 11 };
}

static void put_all(struct shale_db *db)
{
    static const uint8_t value[100];
    char text[16];

    for (unsigned i = 0; i < N; i++)
        must(shale_db_put(db, key_of(i * 7919u % N, text), (struct shale_slice){ value, sizeof(value) }, false));
}

static void *get_all(void *arg)
{
    struct shale_buf v = SHALE_BUF_INIT;
    char text[16];

    for (unsigned i = 0; i < N; i++)
        must(shale_db_get(arg, key_of(i * 104729u % N, text), NULL, &v));
    shale_buf_fini(&v);
    return NULL;
}

static void get_by_two(struct shale_db *db)
{
    pthread_t t;

    must(pthread_create(&t, NULL, get_all, db));
    (void)get_all(db);
    pthread_join(t, NULL);
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

enum { PUT, GET_MEM, GET_L0, GET_L0_2, N_FIGURES };

static double timed(void (*fn)(struct shale_db *), struct shale_db *db)
{
    double t = now_ns();

    fn(db);
    return (now_ns() - t) / N;
}

static void get_one(struct shale_db *db)
{
    (void)get_all(db);
}

static void run(double out[N_FIGURES])
{
    struct shale_store *store = NULL;
    struct shale_options opt;
    struct shale_db *db = NULL;

    shale_options_init(&opt);
    opt.compactor.enabled = false;
    opt.flush_interval_ms = 0;
    must(shale_store_memory(&store));
    must(shale_db_open(store, "db", &opt, true, &db));
    out[PUT] = timed(put_all, db);
    out[GET_MEM] = timed(get_one, db);
    must(shale_db_flush(db, SHALE_FLUSH_MEMTABLE));
    get_one(db);
    out[GET_L0] = timed(get_one, db);
    out[GET_L0_2] = timed(get_by_two, db) / 2;
    must(shale_db_close(db, SHALE_CLOSE_ABANDON));
    shale_store_close(store);
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "put", "get, memtable", "get, L0 in cache", "the same, two threads" };
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    double (*all)[N_FIGURES] = calloc(rounds, sizeof(*all)), *one = calloc(rounds, sizeof(*one));

    for (unsigned i = 0; i < rounds; i++)
        run(all[i]);
    for (int k = 0; k < N_FIGURES; k++) {
        for (unsigned i = 0; i < rounds; i++)
            one[i] = all[i][k];
        qsort(one, rounds, sizeof(*one), by_size);
        printf("%-22s %8.1f ns, median %8.1f\n", names[k], one[0], one[rounds / 2]);
    }
    free(one);
    free(all);
    return 0;
}
