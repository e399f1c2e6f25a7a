/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of the memtable and of the merging iterator: bench_mem [MiB] */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"
#include "mem/memtable.h"
#include "read/merge_iter.h"

#include <stdio.h>

enum { KEY_LEN = 16, VALUE_LEN = 100 };

static const struct key_range everything;

static void report(const char *what, size_t n, int64_t since_ns)
{
    double s = (double)(clock_mono_ns() - since_ns) / 1e9;

    printf("%-44s %10zu in %6.3f s  %8.2f M/s\n", what, n, s, (double)n / s / 1e6);
}

static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "bench_mem: error %d\n", rc);
        exit(1);
    }
}

/* Rows with random or ascending keys up to so many R26 bytes. */
static struct memtable *fill(const char *what, size_t bytes, bool ascending, size_t *n)
{
    uint8_t key[KEY_LEN] = { 0 }, value[VALUE_LEN] = { 0 };
    struct shale_row row = {
        .key = slice_of(key, sizeof(key)),
        .value = slice_of(value, sizeof(value)),
        .create_ts = 1,
        .expire_ts = SHALE_NO_TS,
    };
    size_t count = bytes / row_size_estimate(&row);
    struct memtable *m;
    struct memtable_stats s;
    struct rng rng;
    int64_t t;

    rng_seed(&rng, 1);
    must(memtable_new(&m));
    t = clock_mono_ns();
    for (size_t i = 0; i < count; i++) {
        put_u64be(key, ascending ? i : rng_next(&rng));
        row.seq = i;
        must(memtable_insert(m, &row, NULL));
    }
    report(what, count, t);
    memtable_stats(m, &s);
    printf("%-44s %10.1f bytes a row\n", "", (double)s.alloc_bytes / (double)count);
    *n = count;
    return m;
}

static void find(const char *what, const struct memtable *m, size_t n_rows, size_t n)
{
    uint8_t(*keys)[KEY_LEN] = mem_calloc(n_rows, KEY_LEN);
    struct rng rng;
    size_t hits = 0;
    int64_t t;

    if (!keys)
        must(-1);
    rng_seed(&rng, 1);
    for (size_t i = 0; i < n_rows; i++)
        put_u64be(keys[i], rng_next(&rng));
    t = clock_mono_ns();
    for (size_t i = 0; i < n; i++)
        hits += memtable_find(m, slice_of(keys[rng_below(&rng, n_rows)], KEY_LEN), UINT64_MAX) != NULL;
    report(what, hits, t);
    mem_free(keys);
}

static void scan(const char *what, struct iter *it)
{
    struct shale_row row;
    size_t n = 0;
    int64_t t = clock_mono_ns();

    while (iter_next(it, &row) == 0)
        n++;
    report(what, n, t);
    iter_close(it);
}

static void merge(const char *what, struct memtable *m, size_t n_children)
{
    struct iter *children[16], *it;
    struct memtable *parts[16];
    struct shale_row row;
    size_t i = 0;

    for (size_t k = 0; k < n_children; k++)
        must(memtable_new(&parts[k]));
    must(memtable_iter_new(m, &everything, ITER_ASC, &it));
    for (; iter_next(it, &row) == 0; i++)
        must(memtable_insert(parts[i * 2654435761u % n_children], &row, NULL));
    iter_close(it);
    for (size_t k = 0; k < n_children; k++) {
        must(memtable_iter_new(parts[k], &everything, ITER_ASC, &children[k]));
        memtable_unref(parts[k]);
    }
    must(merge_iter_new(children, n_children, ITER_ASC, true, &it));
    scan(what, it);
}

int main(int argc, char **argv)
{
    size_t bytes = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20;
    struct memtable *m, *small;
    struct iter *it;
    size_t n, n_small;

    m = fill("insert, random keys", bytes, false, &n);
    find("find, random keys", m, n, 1000000);
    must(memtable_iter_new(m, &everything, ITER_ASC, &it));
    scan("scan, ascending", it);
    must(memtable_iter_new(m, &everything, ITER_DESC, &it));
    scan("scan, descending", it);
    merge("merge of 1", m, 1);
    merge("merge of 2", m, 2);
    merge("merge of 8", m, 8);
    memtable_unref(m);
    m = fill("insert, ascending keys", bytes, true, &n);
    memtable_unref(m);
    small = fill("insert, random keys, 1 MiB", 1 << 20, false, &n_small);
    find("find, random keys, 1 MiB", small, n_small, 3000000);
    memtable_unref(small);
    return 0;
}
