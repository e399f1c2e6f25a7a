/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"
#include "manifest/manifest_store.h"
#include "sst/table_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* What is wrong with the database, as against a failure to look. */
#define FOUND_DIFFERENT 1

#define DIGEST_DEFAULT 1024

struct totals {
    size_t ssts, rows;
};

/* Rows of one SST against its manifest record and its own stats. */
struct sst_check {
    const struct sst_handle *h;
    struct shale_buf first, last;
    uint64_t last_seq, puts, deletes, merges, key_bytes, value_bytes;
    size_t n;
};

static int check_row(void *arg, const struct shale_row *row)
{
    struct sst_check *k = arg;
    int order = k->n ? slice_cmp(slice_of_buf(&k->last), row->key) : -1;
    int rc = k->n == 0 ? buf_set(&k->first, row->key) : 0;

    if (order > 0 || (order == 0 && row->seq >= k->last_seq))
        return err_set(SHALE_ECORRUPT, "rows out of order at row %zu", k->n);
    if (rc == 0)
        rc = buf_set(&k->last, row->key);
    k->last_seq = row->seq;
    k->puts += row->kind == SHALE_PUT;
    k->deletes += row->kind == SHALE_TOMBSTONE;
    k->merges += row->kind == SHALE_MERGE;
    k->key_bytes += row->key.len;
    k->value_bytes += row->value.len;
    k->n++;
    return rc;
}

static bool same_info(const struct sst_info *a, const struct sst_info *b)
{
    return a->has_first == b->has_first && a->has_last == b->has_last &&
           slice_eq(slice_of_buf(&a->first), slice_of_buf(&b->first)) &&
           slice_eq(slice_of_buf(&a->last), slice_of_buf(&b->last)) && a->index_offset == b->index_offset &&
           a->index_len == b->index_len && a->filter_offset == b->filter_offset && a->filter_len == b->filter_len &&
           a->stats_offset == b->stats_offset && a->stats_len == b->stats_len && a->codec == b->codec &&
           a->type == b->type;
}

static int check_stats(struct table_store *ts, const struct sst_check *k)
{
    struct sst_source src = sst_source_compacted(k->h);
    struct table_index *index = NULL;
    struct sst_stats s = { 0 };
    int rc = 0;

    if (k->h->info.stats_len == 0)
        return 0;
    rc = table_stats_read(ts, &src, &s);
    if (rc == 0)
        rc = table_index_read(ts, &src, &index);
    if (rc == 0 && (s.puts != k->puts || s.deletes != k->deletes || s.merges != k->merges ||
                    s.raw_key_bytes != k->key_bytes || s.raw_value_bytes != k->value_bytes))
        rc = err_set(SHALE_ECORRUPT, "its stats do not fit its rows");
    if (rc == 0 && s.n_blocks != index->x.n)
        rc = err_set(SHALE_ECORRUPT, "stats of %zu blocks, and %zu blocks", s.n_blocks, index->x.n);
    table_index_unref(index);
    sst_stats_fini(&s);
    return rc;
}

static int check_rows(const struct sst_check *k)
{
    const struct sst_info *i = &k->h->info;

    if (k->n == 0)
        return err_set(SHALE_ECORRUPT, "no rows");
    if (!i->has_first || !slice_eq(slice_of_buf(&i->first), slice_of_buf(&k->first)))
        return err_set(SHALE_ECORRUPT, "first_entry is not the first key");
    if (i->has_last && !slice_eq(slice_of_buf(&i->last), slice_of_buf(&k->last)))
        return err_set(SHALE_ECORRUPT, "last_entry is not the last key");
    return 0;
}

static int check_sst(struct table_store *ts, const struct sst_handle *h, struct totals *t)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
    struct sst_check k = { .h = h };
    struct sst_handle *own = NULL;
    int rc = table_store_sst_name(ts, h->id, &name);

    if (rc == 0)
        rc = sst_get_object(ts->store, (const char *)name.data, ts->format.transformer, &object);
    if (rc == 0)
        rc = table_open_compacted(ts, h->id, &own);
    if (rc == 0 && (!same_info(&own->info, &h->info) || own->version != h->version))
        rc = err_set(SHALE_ECORRUPT, "its info section differs from the manifest's copy");
    if (rc == 0)
        rc = sst_scan_object(slice_of_buf(&object), (const char *)name.data, ts->format.transformer, check_row, &k);
    if (rc == 0)
        rc = check_rows(&k);
    if (rc == 0)
        rc = check_stats(ts, &k);
    if (rc < 0)
        err_add(rc, "%s", name.data ? (const char *)name.data : "?");
    t->ssts++;
    t->rows += k.n;
    sst_handle_unref(own);
    shale_buf_fini(&k.first);
    shale_buf_fini(&k.last);
    shale_buf_fini(&name);
    shale_buf_fini(&object);
    return rc;
}

static int check_manifest(struct table_store *ts, const struct manifest *m, struct totals *t)
{
    int rc = table_store_set_externals(ts, m);

    for (size_t i = 0; rc == 0 && i < m->n_l0; i++)
        rc = check_sst(ts, m->l0[i].sst, t);
    for (size_t r = 0; rc == 0 && r < m->n_runs; r++)
        for (size_t i = 0; rc == 0 && i < m->runs[r].n; i++)
            rc = check_sst(ts, m->runs[r].ssts[i].sst, t);
    return rc;
}

static int check_ssts(struct cli *c, struct totals *t)
{
    const struct sst_format format = { .block_size = c->opt.block_size,
                                       .transformer = c->opt.block_transformer };
    struct manifest_version *v = NULL;
    struct manifest_store *s = NULL;
    struct table_store ts;
    int rc = table_store_init(&ts, c->patient, c->patient_wal, c->path, &format, NULL);

    if (rc < 0)
        return rc;
    rc = manifest_store_new(c->patient, c->path, c->opt.manifest_update_timeout_ms, &s);
    if (rc == 0)
        rc = manifest_store_load_latest(s, &v);
    if (rc == 0)
        rc = check_manifest(&ts, &v->m, t);
    manifest_version_unref(v);
    manifest_store_free(s);
    table_store_fini(&ts);
    return rc;
}

static int nothing_to_say(void *arg, const struct shale_properties *p)
{
    (void)arg, (void)p;
    return 0;
}

/* What the property collector left of the newest state can be read. */
static int check_properties(struct cli *c)
{
    struct shale_inspect *in = NULL;
    int rc = cli_open_inspect(c, &in);

    if (rc == 0)
        rc = shale_inspect_properties(in, NULL, nothing_to_say, NULL);
    shale_inspect_close(in);
    return rc;
}

/* ---- comparing a scan with a file of rows ---- */

#define COLUMNS_MAX 5

struct rows_file {
    FILE *in;
    char *line;
    size_t cap;
    char *cell[COLUMNS_MAX];
    int n;
};

/* The next line that holds a row; false at the end. */
static bool next_expected(struct rows_file *f)
{
    while (getline(&f->line, &f->cap, f->in) >= 0) {
        char *p = f->line, *cell;

        f->line[strcspn(f->line, "\n")] = '\0';
        if (f->line[0] == '\0' || f->line[0] == '#')
            continue;
        f->n = 0;
        while (f->n < COLUMNS_MAX && (cell = strsep(&p, "\t")) != NULL)
            f->cell[f->n++] = cell;
        return true;
    }
    return false;
}

static bool same_number(const char *cell, int64_t v, bool absent)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, v);
    return absent ? strcmp(cell, "-") == 0 : strcmp(cell, text) == 0;
}

static bool same_row(const struct rows_file *f, const struct shale_row *row)
{
    if (f->n < 2 || !text_cell_is(f->cell[0], row->key) || !text_cell_is(f->cell[1], row->value))
        return false;
    return f->n < 5 ||
           (same_number(f->cell[2], (int64_t)row->seq, false) &&
            same_number(f->cell[3], row->create_ts == SHALE_NO_TS ? 0 : row->create_ts, false) &&
            same_number(f->cell[4], row->expire_ts, row->expire_ts == SHALE_NO_TS));
}

/* What the file says of row n, or what the scan found, and not the other. */
static int different(size_t n, const char *what, const struct rows_file *f, const struct shale_row *row)
{
    printf("DIFFERENT row %zu: %s", n, what);
    for (int i = 0; f && i < f->n; i++)
        printf("%c%s", i ? '\t' : ' ', f->cell[i]);
    if (f)
        putchar('\n');
    if (f && row)
        printf("row %zu: found   ", n);
    if (row) {
        putchar(' ');
        text_scan_line(stdout, row, f && f->n == 2, DIGEST_DEFAULT);
    }
    return FOUND_DIFFERENT;
}

/* A key found by the scan must be found singly, too. */
static int check_get(struct shale_db *db, const struct shale_row *row, size_t n)
{
    struct shale_buf value = SHALE_BUF_INIT;
    int rc = shale_db_get(db, row->key, NULL, &value);

    if (rc == -ENOENT || (rc == 0 && !slice_eq(slice_of_buf(&value), row->value)))
        rc = different(n, "a get of its key differs from the scan:", NULL, row);
    shale_buf_fini(&value);
    return rc;
}

static int compare_rows(const struct cli *c, struct shale_db *db, struct rows_file *f, size_t step,
                        struct shale_iter *it)
{
    struct shale_row row;
    int rc = 0;

    for (size_t n = 0; rc == 0; n++) {
        bool want = next_expected(f);
        int next = shale_iter_next(it, &row);

        if (next < 0)
            return next;
        if (next == SHALE_END)
            return want ? different(n, "missing:", f, NULL) : 0;
        if (!want)
            return different(n, "unexpected:", NULL, &row);
        if (!same_row(f, &row))
            return different(n, "expected", f, &row);
        if (c->gets && n % step == 0)
            rc = check_get(db, &row, n);
    }
    return rc;
}

static int compare(struct cli *c, struct shale_db *db, struct rows_file *f, size_t n_expected)
{
    size_t step = c->gets && n_expected > c->gets ? n_expected / c->gets : 1;
    const struct shale_key_range all = { { NULL, 0 }, { NULL, 0 } };
    struct shale_iter *it;
    int rc = shale_db_scan(db, &all, NULL, &it);

    if (rc < 0)
        return rc;
    rc = compare_rows(c, db, f, step, it);
    shale_iter_close(it);
    return rc;
}

static int compare_file(struct cli *c, size_t *n_rows)
{
    struct rows_file f = { .in = fopen(c->expected, "re") };
    struct shale_db *db = NULL;
    int rc = f.in ? 0 : err_set(-errno, "cannot read %s: %s", c->expected, strerror(errno));

    *n_rows = 0;
    while (rc == 0 && next_expected(&f))
        ++*n_rows;
    if (rc == 0) {
        rewind(f.in);
        c->opt.read_only = true;
        rc = shale_db_open(c->store, c->path, &c->opt, false, &db);
    }
    if (rc == 0)
        rc = compare(c, db, &f, *n_rows);
    (void)shale_db_close(db, SHALE_CLOSE_ABANDON); /* a reader has nothing to write */
    free(f.line);
    if (f.in)
        fclose(f.in);
    return rc;
}

int cmd_check(struct cli *c)
{
    struct totals t = { 0 };
    size_t n_rows = 0;
    int rc = cli_open_store(c, false);

    if (rc == 0)
        rc = check_ssts(c, &t);
    if (rc == 0)
        rc = cli_print_objects(c, NULL);
    if (rc == 0)
        rc = check_properties(c);
    if (rc == 0 && c->expected)
        rc = compare_file(c, &n_rows);
    if (rc == SHALE_ECORRUPT)
        printf("DIFFERENT %s\n", shale_errmsg());
    if (rc == FOUND_DIFFERENT || rc == SHALE_ECORRUPT)
        return CLI_NOT_FOUND;
    if (rc < 0)
        return cli_fail(c, rc);
    fputs("OK", stdout);
    if (c->expected)
        printf(" rows=%zu", n_rows);
    printf(" ssts=%zu sst_rows=%zu\n", t.ssts, t.rows);
    return CLI_OK;
}
