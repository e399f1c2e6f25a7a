/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sst_fixture.h"

#include "lib/golden.h"

#include <inttypes.h>
#include <openssl/sha.h>

/* Text as tests/golden/README.md describes it: key, seq, kind, create_ts, expire_ts, value. */
struct listing {
    const char *path;   /* of the .rows file */
    char scenario[64];
    char db[16];        /* directory of the database in the store */
    size_t n_objects;
};

#define DIGEST_ABOVE 1024 /* what is longer is told by length and SHA-256 */

static void put_digits(struct shale_buf *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buf_printf(out, "%02x", p[i]), 0);
}

static void put_hex(struct shale_buf *out, struct shale_slice s)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (s.len <= DIGEST_ABOVE) {
        put_digits(out, s.data, s.len);
        return;
    }
    assert_non_null(SHA256(s.data, s.len, digest));
    assert_int_equal(buf_printf(out, "@%zu:", s.len), 0);
    put_digits(out, digest, sizeof(digest));
}

static void put_time(struct shale_buf *out, int64_t t)
{
    if (t == SHALE_NO_TS)
        assert_int_equal(buf_printf(out, "-\t"), 0);
    else
        assert_int_equal(buf_printf(out, "%" PRId64 "\t", t), 0);
}

static void put_row(struct shale_buf *out, const struct shale_row *row)
{
    put_hex(out, row->key);
    assert_int_equal(buf_printf(out, "\t%" PRIu64 "\t%c\t", row->seq, "PDM"[row->kind]), 0);
    put_time(out, row->create_ts);
    put_time(out, row->expire_ts);
    if (row->value.len == 0)
        assert_int_equal(buf_put_u8(out, '-'), 0);
    put_hex(out, row->value);
    assert_int_equal(buf_put_u8(out, '\n'), 0);
}

struct collect {
    struct shale_buf text;
    struct model m;
};

static int collect_row(void *arg, const struct shale_row *row)
{
    struct collect *c = arg;

    put_row(&c->text, row);
    model_add(&c->m, *row);
    return 0;
}

static void walk(struct sst_fixture *f, struct sst_view *view, const struct model *m, enum iter_order order)
{
    struct sst_iter_options opt = { .order = order, .read_ahead_bytes = 10000 };
    const struct shale_row **want = mem_calloc(m->n, sizeof(*want));
    struct key_range all = { 0 };
    struct iter *it = NULL;
    struct shale_row row;

    for (size_t i = 0; i < m->n; i++)
        want[i] = &m->rows[i];
    if (order == ITER_DESC)
        model_descending(m, want);
    assert_int_equal(sst_iter_new(&f->ts, view, &all, &opt, &it), 0);
    for (size_t i = 0; i < m->n; i++) {
        assert_int_equal(iter_next(it, &row), 0);
        assert_true(same_row(&row, want[i]));
    }
    assert_int_equal(iter_next(it, &row), SHALE_END);
    iter_close(it);
    free(want);
}

/* Every key is found as a single one, through the filter if there is one. */
static void look_up(struct sst_fixture *f, struct sst_view *view, const struct model *m)
{
    struct sst_iter_options opt = { .fill_cache = true };

    for (size_t i = 0; i < m->n; i++) {
        struct key_range r = key_range_point(m->rows[i].key);
        struct iter *it = NULL;
        struct shale_row row;

        if (i > 0 && slice_eq(m->rows[i].key, m->rows[i - 1].key))
            continue;
        assert_int_equal(sst_iter_new(&f->ts, view, &r, &opt, &it), 0);
        assert_int_equal(iter_next(it, &row), 0);
        assert_true(same_row(&row, &m->rows[i]));
        iter_close(it);
    }
}

/* The same rows by way of the parts. */
static void check_parts(const char *id_text, struct shale_slice object, const struct model *m)
{
    struct shale_buf name = SHALE_BUF_INIT;
    struct sst_view view = { 0 };
    struct sst_stats stats = { 0 };
    struct sst_source src;
    struct sst_fixture f;
    struct shale_ulid id;

    fixture_init(&f, &small_blocks, 1 << 20); /* for each: the databases use the same ids */
    assert_int_equal(ulid_parse(id_text, SHALE_ULID_TEXT_LEN, &id), 0);
    assert_int_equal(table_store_sst_name(&f.ts, id, &name), 0);
    assert_int_equal(shale_store_put(f.mem, (char *)name.data, object, SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(table_open_compacted(&f.ts, id, &view.sst), 0);
    src = sst_source_compacted(view.sst);
    walk(&f, &view, m, ITER_ASC);
    walk(&f, &view, m, ITER_DESC);
    look_up(&f, &view, m);
    assert_int_equal(table_stats_read(&f.ts, &src, &stats), 0);
    if (view.sst->info.stats_len > 0)
        assert_int_equal(stats.puts + stats.deletes + stats.merges, m->n);
    sst_stats_fini(&stats);
    sst_handle_unref(view.sst);
    shale_buf_fini(&name);
    fixture_fini(&f);
}

/* head: "wal/ID bytes=N rows=N"; rows: what follows up to the next head. */
static void check_object(struct listing *l, const char *head, struct shale_slice rows)
{
    bool is_wal = strncmp(head, "wal/", 4) == 0;
    bool own_store = is_wal && strcmp(l->scenario, "separate-wal-store") == 0;
    struct shale_buf object = SHALE_BUF_INIT;
    struct collect c = { .text = SHALE_BUF_INIT };
    char path[256];

    snprintf(path, sizeof(path), "%s/%s/%s/%.*s.sst", l->scenario, own_store ? "wal-store" : "store", l->db,
             (int)strcspn(head, " "), head);
    golden_read(path, &object);
    if (object.len > 0 && sst_scan_object(slice_of_buf(&object), path, NULL, collect_row, &c) != 0)
        fail_msg("%s", shale_errmsg());
    if (!slice_eq(slice_of_buf(&c.text), rows)) {
        size_t same = slice_common(slice_of_buf(&c.text), rows);

        fail_msg("%s and %s differ: ...%.200s", path, l->path, c.text.data + (same < 60 ? 0 : same - 60));
    }
    if (!is_wal)
        check_parts(head + strlen("compacted/"), slice_of_buf(&object), &c.m);
    l->n_objects++;
    model_fini(&c.m);
    shale_buf_fini(&c.text);
    shale_buf_fini(&object);
}

/* raw.rows is the database db, raw.NAME.rows the database NAME. */
static bool parse_path(struct listing *l)
{
    const char *file = strrchr(l->path, '/');

    if (!file || strncmp(file, "/raw.", 5) != 0)
        return false;
    snprintf(l->scenario, sizeof(l->scenario), "%.*s", (int)(file - l->path), l->path);
    snprintf(l->db, sizeof(l->db), "db");
    if (strcmp(file, "/raw.rows") != 0)
        snprintf(l->db, sizeof(l->db), "%.*s", (int)strcspn(file + 5, "."), file + 5);
    return true;
}

static void check_listing(void *ctx, const char *path, struct shale_slice content)
{
    struct listing *l = ctx;
    char *text = mem_dup(content.data, content.len);
    char *at = text;

    l->path = path;
    assert_non_null(text);
    while (parse_path(l) && *at) {
        char *head = at + 2, *rows, *end;

        assert_memory_equal(at, "# ", 2);
        rows = strchr(at, '\n');
        assert_non_null(rows);
        rows++;
        end = *rows == '#' ? rows : strstr(rows, "\n#");
        end = !end ? rows + strlen(rows) : end == rows ? end : end + 1;
        check_object(l, head, slice_of(rows, (size_t)(end - rows)));
        at = end;
    }
    free(text);
}

static void every_sst_that_slatedb_wrote_reads_as_slatedb_reads_it(void **state)
{
    struct listing l = { 0 };

    (void)state;
    assert_true(golden_each("", ".rows", check_listing, &l) > 30);
    print_message("%zu objects\n", l.n_objects);
    assert_true(l.n_objects > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sst_that_slatedb_wrote_reads_as_slatedb_reads_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
