/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/crc32.h"
#include "base/sync.h"
#include "compact/compactor.h"
#include "compact/compactor_state.h"
#include "lib/concat_operator.h"
#include "lib/golden.h"
#include "manifest/compactions_store.h"
#include "read/fold_iter.h"
#include "read/merge_iter.h"
#include "read/run_iter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Databases that SlateDB wrote are compacted here; what a reader finds in their SSTs stays the same. */

#define MAX_SOURCES 64

struct golden_db {
    struct shale_store *store;
    struct manifest_store *manifests;
    struct table_store ts;
    struct shale_options opt;
    struct concat concat;
    struct shale_merge_operator op;
    struct mutex mu;
    struct cond changed;
    bool published; /* GUARDED_BY(mu) */
};

static void copy_object(void *ctx, const char *path, struct shale_slice content)
{
    const char *name = strstr(path, "/store/");

    assert_non_null(name);
    assert_int_equal(shale_store_put(ctx, name + strlen("/store/"), content, SHALE_PUT_IF_ABSENT), 0);
}

static void golden_open(struct golden_db *g, const char *name)
{
    struct sst_format format = { .codec = SHALE_CODEC_ZSTD, .block_size = 1024, .min_filter_keys = 10,
                                 .filter_bits_per_key = 10 };
    char path[256];

    *g = (struct golden_db){ .published = false };
    mutex_init(&g->mu, 1000, "golden");
    cond_init(&g->changed);
    g->op = concat_operator(&g->concat);
    g->opt.manifest_update_timeout_ms = 10000;
    g->opt.merge_operator = &g->op;
    g->opt.compactor = (struct shale_compactor_options){ .poll_interval_ms = 3600000, .max_sst_size = 2048,
                                                         .max_concurrent = 1, .min_sources = 1000, .max_sources = 1000,
                                                         .include_size_threshold = 4.0 };
    assert_int_equal(shale_store_memory(&g->store), 0);
    snprintf(path, sizeof(path), "%s/store", name);
    assert_true(golden_each(path, "", copy_object, g->store) > 0);
    assert_int_equal(table_store_init(&g->ts, g->store, g->store, "db", &format, NULL), 0);
    assert_int_equal(manifest_store_new(g->store, "db", 10000, &g->manifests), 0);
}

static void golden_close(struct golden_db *g)
{
    manifest_store_free(g->manifests);
    table_store_fini(&g->ts);
    shale_store_close(g->store);
    cond_fini(&g->changed);
    mutex_fini(&g->mu);
}

/* What a reader of all SSTs sees, folded; values as checksums. */
static struct iter *open_reader(struct golden_db *g, const struct manifest *m)
{
    struct fold_options fold = { .op = &g->op, .finish = true };
    struct sst_iter_options opt = { .order = ITER_ASC };
    struct key_range all = { 0 };
    struct iter *children[MAX_SOURCES], *it = NULL;
    size_t n = 0;

    assert_true(m->n_l0 + m->n_runs <= MAX_SOURCES);
    for (size_t i = 0; i < m->n_l0; i++, n++)
        assert_int_equal(sst_iter_new(&g->ts, &m->l0[i], &all, &opt, &children[n]), 0);
    for (size_t i = 0; i < m->n_runs; i++, n++)
        assert_int_equal(run_iter_new(&g->ts, &m->runs[i], &all, &opt, &children[n]), 0);
    assert_int_equal(merge_iter_new(children, n, ITER_ASC, true, &it), 0);
    assert_int_equal(fold_iter_new(it, &fold, &it), 0);
    return it;
}

static char *read_all(struct golden_db *g, struct manifest_version **version)
{
    struct shale_buf text = SHALE_BUF_INIT;
    struct shale_row row;
    struct iter *it;
    int rc;

    assert_int_equal(manifest_store_refresh(g->manifests, version), 0);
    it = open_reader(g, &(*version)->m);
    assert_int_equal(buf_printf(&text, "%s", ""), 0);
    while ((rc = iter_next(it, &row)) == 0) {
        if (row.kind == SHALE_TOMBSTONE)
            continue;
        assert_int_equal(buf_printf(&text, "%zu:%08x=%zu:%08x@%llu\n", row.key.len, crc32_of(row.key), row.value.len,
                                    crc32_of(row.value), (unsigned long long)row.seq), 0);
    }
    assert_int_equal(rc, SHALE_END);
    iter_close(it);
    return (char *)buf_take(&text);
}

static void note_published(void *arg, struct manifest_version *v)
{
    struct golden_db *g = arg;

    manifest_version_unref(v);
    mutex_lock(&g->mu);
    g->published = true;
    cond_signal(&g->changed);
    mutex_unlock(&g->mu);
}

/* All L0 SSTs and runs into the lowest run. */
static void submit_all(struct golden_db *g, const struct manifest *m)
{
    struct compaction c = { .id = ulid_new(INT64_C(1750000000000), NULL), .n_l0 = m->n_l0, .n_runs = m->n_runs };
    struct compactions_store s;
    struct compactions cs = { 0 };
    int rc;

    c.l0 = mem_calloc(c.n_l0, sizeof(*c.l0));
    c.runs = mem_calloc(c.n_runs, sizeof(*c.runs));
    assert_true(c.l0 && c.runs);
    for (size_t i = 0; i < c.n_l0; i++)
        c.l0[i] = m->l0[i].id;
    for (size_t i = 0; i < c.n_runs; i++)
        c.runs[i] = m->runs[i].id;
    assert_int_equal(compactions_store_init(&s, g->store, "db"), 0);
    rc = compactions_store_load(&s, &cs);
    assert_true(rc == 0 || rc == -ENOENT);
    assert_int_equal(compactions_add(&cs, &c), 0);
    assert_int_equal(compactions_store_write(&s, &cs), 0);
    compactions_fini(&cs);
    compactions_store_fini(&s);
}

static void compact(struct golden_db *g)
{
    struct compactor_config cfg = { .store = g->store, .root = "db", .manifests = g->manifests, .ts = &g->ts,
                                    .opt = &g->opt, .published = note_published, .arg = g };
    struct compactor *c;

    assert_int_equal(compactor_start(&cfg, &c), 0);
    mutex_lock(&g->mu);
    while (!g->published)
        cond_wait(&g->changed, &g->mu);
    mutex_unlock(&g->mu);
    compactor_stop(c);
}

static void every_database_reads_the_same_afterwards(void **state)
{
    static const char *const names[] = { "plain", "codec-snappy", "codec-zlib", "codec-lz4", "codec-zstd",
                                         "mixed-codecs", "blocks-1k", "blocks-64k", "many-blocks", "filter-small",
                                         "no-filter", "merge", "compacted", "tombstones-compacted", "empty-run",
                                         "retention", "checkpointed", "wal-disabled", "large-values", "binary-keys",
                                         "gc", "v1-blocks", "v1-lz4", "composite-filter" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct manifest_version *before, *after;
        struct golden_db g;
        char *want, *got;

        print_message("%s\n", names[i]);
        golden_open(&g, names[i]);
        want = read_all(&g, &before);
        assert_true(before->m.n_l0 + before->m.n_runs > 0);
        submit_all(&g, &before->m);
        compact(&g);
        got = read_all(&g, &after);
        assert_string_equal(got, want);
        assert_int_equal(after->m.n_l0, 0);
        assert_true(after->m.n_runs <= 1);
        free(want);
        free(got);
        manifest_version_unref(before);
        manifest_version_unref(after);
        golden_close(&g);
    }
}

/* Its two recorded outputs, written by SlateDB, become part of the run. */
static void a_compaction_that_slatedb_began_is_resumed(void **state)
{
    struct manifest_version *before, *after;
    struct compactions_store s;
    struct compactions cs = { 0 };
    struct golden_db g;
    char *want, *got;

    (void)state;
    golden_open(&g, "unfinished-compaction");
    want = read_all(&g, &before);
    assert_int_equal(compactions_store_init(&s, g.store, "db"), 0);
    assert_int_equal(compactions_store_load(&s, &cs), 0);
    assert_int_equal(cs.list[cs.n - 1].status, COMPACTION_RUNNING);
    assert_int_equal(cs.list[cs.n - 1].n_outputs, 2);
    compact(&g);
    got = read_all(&g, &after);
    assert_string_equal(got, want);
    assert_int_equal(after->m.n_l0, 0);
    assert_int_equal(after->m.n_runs, 1);
    assert_true(after->m.runs[0].n > 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(ulid_eq(after->m.runs[0].ssts[i].sst->id, cs.list[cs.n - 1].outputs[i]->id));
    free(want);
    free(got);
    compactions_fini(&cs);
    compactions_store_fini(&s);
    manifest_version_unref(before);
    manifest_version_unref(after);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_database_reads_the_same_afterwards),
        cmocka_unit_test(a_compaction_that_slatedb_began_is_resumed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
