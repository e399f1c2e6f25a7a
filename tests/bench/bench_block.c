/* SPDX-License-Identifier: Apache-2.0 */
/* Rows per second of encoding and decoding blocks, and hashes of keys. Not a test: bench_block [rounds]. */
#include "base/alloc.h"
#include "format/filter.h"
#include "lib/block_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N_ROWS 100000

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void report(const char *what, size_t n, double since)
{
    printf("%-28s %8.2f million/s\n", what, (double)n / (now_s() - since) / 1e6);
}

static void make_rows(struct shale_row *rows, uint8_t (*keys)[24])
{
    static const uint8_t value[100];

    for (size_t i = 0; i < N_ROWS; i++) {
        int n = snprintf((char *)keys[i], sizeof(keys[i]), "I%08zu:d:name%05zu", i / 50, i % 50);

        rows[i] = (struct shale_row){ .key = slice_of(keys[i], (size_t)n), .value = slice_of(value, sizeof(value) / 2),
                                      .seq = i, .create_ts = 1700000000000, .expire_ts = SHALE_NO_TS };
    }
}

/* Blocks one behind the other in out; where each ends in ends. Returns how many. */
static size_t encode(const struct shale_row *rows, struct shale_buf *out, size_t *ends)
{
    struct block_builder b;
    size_t n = 0;

    block_builder_init(&b, BLOCK_V2, 4096);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (!block_fits(&b, &rows[i])) {
            if (block_finish(&b, out) < 0)
                exit(1);
            ends[n++] = out->len;
        }
        if (block_add(&b, &rows[i]) < 0)
            exit(1);
    }
    if (block_finish(&b, out) < 0)
        exit(1);
    ends[n++] = out->len;
    block_builder_fini(&b);
    return n;
}

static size_t decode(const struct shale_buf *in, const size_t *ends, size_t n, enum iter_order order)
{
    struct block_iter it = { 0 };
    struct shale_row row;
    size_t n_rows = 0, sum = 0;

    for (size_t i = 0; i < n; i++) {
        size_t begin = i ? ends[i - 1] : 0;

        if (block_iter_reset(&it, slice_of(in->data + begin, ends[i] - begin), BLOCK_V2, order) < 0)
            exit(1);
        while (block_iter_next(&it, &row) == 0) {
            sum += row.key.data[row.key.len - 1];
            n_rows++;
        }
    }
    block_iter_fini(&it);
    return sum ? n_rows : 0;
}

static size_t seek_all(const struct shale_buf *in, const size_t *ends, size_t n, const struct shale_row *rows)
{
    struct block_iter it = { 0 };
    struct shale_row row;
    size_t done = 0, r = 0;

    for (size_t i = 0; i < n; i++) {
        size_t begin = i ? ends[i - 1] : 0;

        if (block_iter_reset(&it, slice_of(in->data + begin, ends[i] - begin), BLOCK_V2, ITER_ASC) < 0)
            exit(1);
        for (; r < N_ROWS && block_iter_seek(&it, rows[r].key) == 0 && block_iter_next(&it, &row) == 0; r++)
            done++;
    }
    block_iter_fini(&it);
    return done;
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 20;
    struct shale_row *rows = mem_calloc(N_ROWS, sizeof(*rows));
    uint8_t (*keys)[24] = mem_calloc(N_ROWS, sizeof(*keys));
    size_t *ends = mem_calloc(N_ROWS, sizeof(*ends));
    struct shale_buf out = SHALE_BUF_INIT;
    size_t n = 0, total = 0;
    uint64_t sum = 0;
    double t;

    if (!rows || !keys || !ends)
        return 1;
    make_rows(rows, keys);
    (void)encode(rows, &out, ends); /* touches the memory */
    t = now_s();
    for (size_t i = 0; i < rounds; i++) {
        buf_clear(&out);
        n = encode(rows, &out, ends);
    }
    report("encode", rounds * N_ROWS, t);
    t = now_s();
    for (size_t i = 0; i < rounds; i++)
        total += decode(&out, ends, n, ITER_ASC);
    report("decode ascending", total, t);
    t = now_s();
    total = 0;
    for (size_t i = 0; i < rounds; i++)
        total += decode(&out, ends, n, ITER_DESC);
    report("decode descending", total, t);
    t = now_s();
    total = seek_all(&out, ends, n, rows);
    report("seek and next", total, t);
    t = now_s();
    for (size_t i = 0; i < rounds * N_ROWS; i++)
        sum += filter_hash(rows[i % N_ROWS].key);
    report("filter hash", rounds * N_ROWS, t);
    printf("%zu rows in %zu blocks, %zu bytes (%llx)\n", (size_t)N_ROWS, n, out.len, (unsigned long long)sum);
    mem_free(rows);
    mem_free(keys);
    mem_free(ends);
    shale_buf_fini(&out);
    return 0;
}
