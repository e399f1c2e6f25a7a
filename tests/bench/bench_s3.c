/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers of the S3 store, by the public interface alone: tests/bench/s3.sh runs them beside curl.
 *   bench_s3 BUCKET put NAME BYTES COUNT THREADS          objects NAME.0, NAME.1, ...
 *   bench_s3 BUCKET get NAME BYTES COUNT THREADS          the same objects, whole
 *   bench_s3 BUCKET range NAME BYTES COUNT THREADS        COUNT ranges of BYTES of one object of 1 GiB, one behind the
 *                                                         other, and from its start again
 * Where the bucket is, and the keys, come from the environment; with UNSIGNED set there, what is put is not signed. The
 * bytes of put are those of standard input, a file, so that they can be what others send.
 */
#include <shale/object_store.h>

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OBJECT ((uint64_t)1 << 30)

struct run {
    struct shale_store *store;
    const char *what, *name;
    const uint8_t *data;
    uint64_t bytes;
    unsigned count;
    _Atomic unsigned next; /* relaxed: only who does what */
};

static void must(int rc, const char *doing)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench_s3: %s: %s\n", doing, shale_errmsg());
    exit(1);
}

static void one(struct run *r, unsigned i, struct shale_buf *out)
{
    char name[256];

    snprintf(name, sizeof(name), "%s.%u", r->name, i);
    if (strcmp(r->what, "put") == 0)
        must(shale_store_put(r->store, name, (struct shale_slice){ r->data, r->bytes }, SHALE_PUT_OVERWRITE), name);
    else if (strcmp(r->what, "get") == 0)
        must(shale_store_get(r->store, name, out), name);
    else
        must(shale_store_get_range(r->store, r->name, i % (OBJECT / r->bytes) * r->bytes, r->bytes, out), r->name);
    if (r->what[0] != 'p' && out->len != r->bytes) {
        fprintf(stderr, "bench_s3: %s: %zu bytes came\n", name, out->len);
        exit(1);
    }
}

static void *work(void *arg)
{
    struct run *r = arg;
    struct shale_buf out = SHALE_BUF_INIT;
    unsigned i;

    while ((i = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed)) < r->count)
        one(r, i, &out);
    shale_buf_fini(&out);
    return NULL;
}

/* Not read: others send it from the page cache, too. */
static int map_input(struct run *r)
{
    struct stat st;
    void *p = MAP_FAILED;

    if (fstat(STDIN_FILENO, &st) == 0 && (uint64_t)st.st_size >= r->bytes)
        p = mmap(NULL, r->bytes, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
    if (p == MAP_FAILED)
        return -1;
    r->data = p;
    return 0;
}

int main(int argc, char **argv)
{
    struct run r = { 0 };
    struct shale_s3_options s3 = { 0 };
    pthread_t threads[256];
    unsigned n_threads;

    if (argc != 7 || (n_threads = (unsigned)atoi(argv[6])) < 1 || n_threads > 256) {
        fputs("usage: bench_s3 BUCKET put|get|range NAME BYTES COUNT THREADS\n", stderr);
        return 2;
    }
    /* As shalefs does: memory that was freed is not given back to be zeroed by the kernel once more. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    r.what = argv[2];
    r.name = argv[3];
    r.bytes = strtoull(argv[4], NULL, 10);
    r.count = (unsigned)atoi(argv[5]);
    if (r.bytes == 0 || r.bytes > OBJECT)
        return 2;
    s3.unsigned_payload = getenv("UNSIGNED") && getenv("UNSIGNED")[0];
    must(shale_store_s3(argv[1], &s3, &r.store), argv[1]);
    if (strcmp(r.what, "put") == 0 && map_input(&r) < 0) {
        fputs("bench_s3: standard input is no file, or too short\n", stderr);
        return 1;
    }
    for (unsigned i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, work, &r) != 0)
            return 1;
    for (unsigned i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    shale_store_close(r.store);
    return 0;
}
