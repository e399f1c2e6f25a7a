/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t fixture_now(void *ctx)
{
    struct db_fixture *f = ctx;

    return atomic_fetch_add(&f->now_ms, f->tick_ms) + f->tick_ms;
}

static void print_line(void *ctx, enum shale_log_level level, const char *line)
{
    (void)ctx, (void)level;
    fprintf(stderr, "%s\n", line);
}

/* Appends; from any thread. */
static int append(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                  const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    int rc = existing ? buf_append_slice(out, *existing) : 0;

    (void)ctx, (void)key;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = buf_append_slice(out, operands[i]);
    return rc;
}

void fixture_init(struct db_fixture *f)
{
    memset(f, 0, sizeof(*f));
    if (getenv("SHALE_LOG"))
        shale_log_set(print_line, NULL, SHALE_LOG_DEBUG);
    check_ok(shale_store_memory(&f->mem));
    f->store = store_fault_new(f->mem);
    f->now_ms = 1700000000000;
    f->clock = (struct shale_clock){ .now_ms = fixture_now, .ctx = f };
    f->op = (struct shale_merge_operator){ .name = "append", .merge = append };
    shale_options_init(&f->opt);
    f->opt.flush_interval_ms = 0;
    f->opt.manifest_poll_interval_ms = 3600000;
    f->opt.block_size = 1024;
    f->opt.compactor.enabled = false;
    f->opt.merge_operator = &f->op;
    f->opt.clock = &f->clock;
    f->opt.seed = 1;
}

void fixture_fini(struct db_fixture *f)
{
    fixture_crash(f);
    shale_store_close(f->store);
    shale_store_close(f->mem);
}

int fixture_setup(void **state)
{
    struct db_fixture *f = malloc(sizeof(*f));

    if (!f)
        return -1;
    fixture_init(f);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

void check_rc(int want, int rc, const char *expr, const char *file, int line)
{
    if (rc == want)
        return;
    print_error("%s gave %d (%s), not %d; sentence: %s\n", expr, rc, shale_strerror(rc), want, shale_errmsg());
    _fail(file, line);
}

void fixture_open(struct db_fixture *f)
{
    assert_null(f->db);
    check_ok(shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &f->db));
}

void fixture_close(struct db_fixture *f)
{
    struct shale_db *db = f->db;

    f->db = NULL;
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
}

void fixture_crash(struct db_fixture *f)
{
    struct shale_db *db = f->db;

    f->db = NULL;
    check_ok(shale_db_close(db, SHALE_CLOSE_ABANDON));
}

struct shale_db *fixture_open_other(struct db_fixture *f)
{
    struct shale_db *db = NULL;

    check_ok(shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db));
    return db;
}

int put_text(struct shale_db *db, const char *key, const char *value, bool durable)
{
    return shale_db_put(db, slice_str(key), slice_str(value), durable);
}

int merge_text(struct shale_db *db, const char *key, const char *operand, bool durable)
{
    return shale_db_merge(db, slice_str(key), slice_str(operand), durable);
}

int delete_text(struct shale_db *db, const char *key, bool durable)
{
    return shale_db_delete(db, slice_str(key), durable);
}

void check_value(struct shale_db *db, const struct shale_read_options *opt, const char *key, const char *value)
{
    struct shale_buf got = SHALE_BUF_INIT;

    check_err(value ? 0 : -ENOENT, shale_db_get(db, slice_str(key), opt, &got));
    if (value && !slice_eq(slice_of_buf(&got), slice_str(value)))
        fail_msg("%s is '%.*s', not '%s'", key, (int)got.len, (const char *)got.data, value);
    shale_buf_fini(&got);
}

void check_scan(struct shale_db *db, const struct shale_read_options *opt, const char *text)
{
    const struct shale_key_range all = { 0 };
    struct shale_buf got = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc;

    check_ok(shale_db_scan(db, &all, opt, &it));
    while ((rc = shale_iter_next(it, &row)) == 0)
        check_ok(buf_printf(&got, "%s%.*s=%.*s", got.len ? " " : "", (int)row.key.len, (const char *)row.key.data,
                            (int)row.value.len, (const char *)row.value.data));
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    assert_string_equal(got.len ? (const char *)got.data : "", text);
    shale_buf_fini(&got);
}

struct shale_db_status db_status(struct shale_db *db)
{
    struct shale_db_status s;

    shale_db_status(db, &s);
    return s;
}

static int count_fn(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)name, (void)meta;
    ++*(unsigned *)arg;
    return 0;
}

unsigned count_objects(struct shale_store *s, const char *dir)
{
    char prefix[128];
    unsigned n = 0;

    snprintf(prefix, sizeof(prefix), FIXTURE_ROOT "/%s/", dir);
    check_ok(shale_store_list(s, prefix, NULL, count_fn, &n));
    return n;
}
