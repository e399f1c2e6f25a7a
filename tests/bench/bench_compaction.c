/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests/bench/compaction.sh is made of:
 *   bench_compaction load DIR [SSTS [MIB [KEY_LEN [VALUE_LEN [CODEC]]]]]
 *       database "db" in directory DIR with so many L0 SSTs of so many MiB of keys and values, whose keys interleave:
 *       the load of SlateDB's own benchmark of compaction (slatedb 0.12.1, compaction_execute_bench.rs). Every key is
 *       a random prefix that all share, then a 32-bit counter and a 32-bit number of the SST.
 *   bench_compaction measure PROGRAM [ARGUMENT...]
 *       runs a program and prints its seconds, its seconds of CPU (user and system) and its peak memory in MiB.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/rng.h"
#include "manifest/manifest_store.h"
#include "sst/sst_writer.h"

#include <shale/compact.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEY_TAIL = 8, KEY_MAX = 1024, VALUE_MAX = 65536 };

struct load {
    struct table_store ts;
    size_t n_ssts, rows, key_len, value_len;
    uint8_t key[KEY_MAX], value[VALUE_MAX];
    struct rng rng;
    int64_t now_ms;
    struct sst_handle **ssts; /* oldest first */
};

static void must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench_compaction: %s: %s: %s\n", what, shale_strerror(rc), shale_errmsg());
    exit(1);
}

static void random_bytes(struct rng *rng, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x = rng_next(rng);

        memcpy(p + i, &x, n - i < 8 ? n - i : 8);
    }
}

static void write_sst(struct load *l, size_t number)
{
    struct sst_writer *w = NULL;
    struct shale_row row = {
        .key = slice_of(l->key, l->key_len),
        .value = slice_of(l->value, l->value_len),
        .create_ts = l->now_ms,
        .expire_ts = SHALE_NO_TS,
    };

    must(sst_writer_new(&l->ts, ulid_new(l->now_ms + (int64_t)number, NULL), false, &w), "new SST");
    for (size_t i = 0; i < l->rows; i++) {
        put_u32be(l->key + l->key_len - KEY_TAIL, (uint32_t)i);
        put_u32be(l->key + l->key_len - KEY_TAIL / 2, (uint32_t)number);
        random_bytes(&l->rng, l->value, l->value_len);
        row.seq = number * l->rows + i + 1;
        must(sst_writer_add(w, &row, NULL), "row");
    }
    must(sst_writer_finish(w, &l->ssts[number]), "SST");
}

static int add_to_manifest(void *arg, struct manifest *m, uint64_t next_id)
{
    struct load *l = arg;
    int rc = vec_reserve(&m->l0, &m->cap_l0, l->n_ssts, sizeof(*m->l0));

    (void)next_id;
    for (size_t i = l->n_ssts; rc == 0 && i-- > 0;)
        m->l0[m->n_l0++] = (struct sst_view){ .id = l->ssts[i]->id, .sst = sst_handle_ref(l->ssts[i]) };
    m->last_l0_seq = m->recent_snapshot_min_seq = l->n_ssts * l->rows;
    m->last_l0_clock_tick = l->now_ms;
    return rc;
}

/* A database is opened once so that it is there, and its compactor, so that a compaction can be submitted. */
static void create(struct shale_store *store)
{
    const struct shale_compactor_config cfg = { .only_submitted = true };
    struct shale_compactor *compactor = NULL;
    struct shale_db *db = NULL;
    struct shale_options opt;

    shale_options_init(&opt);
    opt.compactor.enabled = false;
    must(shale_db_open(store, "db", &opt, true, &db), "open");
    must(shale_db_close(db, SHALE_CLOSE_FLUSH), "close");
    must(shale_compactor_open(store, "db", &opt, &cfg, &compactor), "compactor");
    shale_compactor_close(compactor);
}

static size_t number(char **argv, int argc, int i, size_t otherwise, size_t max)
{
    size_t n = argc > i ? strtoul(argv[i], NULL, 10) : otherwise;

    if (n >= 1 && n <= max)
        return n;
    fprintf(stderr, "bench_compaction: '%s' is not from 1 to %zu\n", argv[i], max);
    exit(1);
}

static int load(int argc, char **argv)
{
    static struct load l;
    struct sst_format format = { .block_size = 4096, .min_filter_keys = 1, .filter_bits_per_key = 10 };
    struct manifest_store *manifests = NULL;
    struct shale_store *store = NULL;
    int codec = argc > 5 ? shale_codec_parse(argv[5]) : SHALE_CODEC_NONE;

    l.n_ssts = number(argv, argc, 1, 4, 10000);
    l.key_len = number(argv, argc, 3, 32, KEY_MAX);
    l.value_len = number(argv, argc, 4, 224, VALUE_MAX);
    if (l.key_len < KEY_TAIL)
        l.key_len = KEY_TAIL;
    l.rows = (number(argv, argc, 2, 1024, 65536) << 20) / (l.key_len + l.value_len);
    l.now_ms = clock_wall_ms();
    must(codec, "codec");
    format.codec = (enum shale_codec)codec;
    rng_seed(&l.rng, 1);
    random_bytes(&l.rng, l.key, l.key_len);
    l.ssts = calloc(l.n_ssts, sizeof(struct sst_handle *));
    must(l.ssts ? shale_store_directory(argv[0], true, &store) : -ENOMEM, argv[0]);
    create(store);
    must(table_store_init(&l.ts, store, store, "db", &format, NULL), "table store");
    for (size_t i = 0; i < l.n_ssts; i++)
        write_sst(&l, i);
    must(manifest_store_new(store, "db", 1000, &manifests), "manifest");
    must(manifest_store_update(manifests, add_to_manifest, &l, NULL), "manifest");
    manifest_store_free(manifests);
    for (size_t i = 0; i < l.n_ssts; i++)
        sst_handle_unref(l.ssts[i]);
    free(l.ssts);
    table_store_fini(&l.ts);
    shale_store_close(store);
    printf("%zu rows\n", l.n_ssts * l.rows);
    return 0;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int measure(char **argv)
{
    int64_t begin = clock_mono_ns();
    struct rusage use;
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &use) != pid) {
        perror("bench_compaction");
        return 1;
    }
    printf("%.3f %.3f %.1f\n", (double)(clock_mono_ns() - begin) / 1e9, seconds(use.ru_utime) + seconds(use.ru_stime),
           (double)use.ru_maxrss / 1024);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "load") == 0)
        return load(argc - 2, argv + 2);
    if (argc > 2 && strcmp(argv[1], "measure") == 0)
        return measure(argv + 2);
    fputs("usage: bench_compaction load DIR [SSTS [MIB [KEY_LEN [VALUE_LEN [CODEC]]]]]\n"
          "       bench_compaction measure PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
}
