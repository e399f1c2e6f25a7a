/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_COMPACT_FIXTURE_H
#define TESTS_COMPACT_FIXTURE_H

#include "base/rng.h"
#include "compact/compaction_job.h"
#include "lib/concat_operator.h"
#include "lib/row_text.h"
#include "manifest/manifest_store.h"
#include "sst/table_store.h"

/* A database without a writer: SSTs made of text, a store that can be told to fail, and jobs over them. */
struct compact_fixture {
    struct shale_store *memory; /* below the faults */
    struct shale_store *store;  /* store_fault over memory */
    struct table_store ts;
    struct shale_clock clock;
    int64_t now_ms, step_ms;    /* the clock, and how far each look moves it */
    uint64_t n_ssts;
    struct concat concat;
    struct shale_merge_operator op;
};

void compact_fixture_init(struct compact_fixture *f, uint32_t block_size);
void compact_fixture_fini(struct compact_fixture *f);

/* Rows (sorted here) as one SST; its id is older than FIXTURE_JOB. At least one row. */
struct sst_handle *fixture_sst(struct compact_fixture *f, const struct shale_row *rows, size_t n);
struct sst_handle *fixture_sst_text(struct compact_fixture *f, const char *rows);
void rows_sort(struct shale_row *rows, size_t n);

/* Views over SSTs; the handles are moved. */
void views_add(struct sst_view **views, size_t *n, size_t *cap, struct sst_handle *h);
/* A run of one SST for each text. */
struct sorted_run fixture_run(struct compact_fixture *f, uint32_t id, const char *const *ssts, size_t n);

#define FIXTURE_JOB ((struct shale_ulid){ (uint64_t)1000000 << 16, 0 })
/* A job without inputs that keeps every version and writes large SSTs. */
struct compaction_job fixture_job(struct compact_fixture *f);

/* Rows of an SST, of a run from its SST number first on; malloced text. */
char *handle_text(struct compact_fixture *f, struct sst_handle *h);
char *run_text(struct compact_fixture *f, const struct sorted_run *run, size_t first);

/* Names of all objects whose name contains part, sorted, separated by spaces; malloced. And how many they are. */
char *objects_text(struct shale_store *store, const char *part);
size_t objects_count(struct shale_store *store, const char *part);

#endif
