/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "db/reader.h"
#include "object/paths.h"

#include <sched.h>
#include <stdio.h>

/* What a reader tells of its steps, and what it asks of the store for that. */

struct told {
    struct shale_buf text; /* "1:a,b 2:* ": step and keys, or a star */
    struct shale_reader *r;
    bool reads; /* each row that is told is also read */
};

static void on_change(void *arg, const struct shale_reader_change *c)
{
    struct told *t = arg;
    struct shale_buf value = SHALE_BUF_INIT;

    check_ok(buf_printf(&t->text, "%llu:%s", (unsigned long long)c->step, c->all ? "*" : ""));
    for (size_t i = 0; i < c->n_rows; i++) {
        check_ok(buf_printf(&t->text, "%s%.*s", i ? "," : "", (int)c->rows[i].key.len,
                            (const char *)c->rows[i].key.data));
        if (t->reads) { /* reads see it before it is told */
            struct shale_row row;

            assert_int_equal(shale_reader_step(t->r), c->step);
            check_ok(shale_reader_get_row(t->r, c->rows[i].key, NULL, &value, &row));
            assert_true(row.seq >= c->rows[i].seq && row.seq <= c->seq);
        }
    }
    check_ok(buf_printf(&t->text, " "));
    shale_buf_fini(&value);
}

static void check_told(struct told *t, const char *text)
{
    assert_string_equal(t->text.len ? (const char *)t->text.data : "", text);
    buf_clear(&t->text);
}

static void open_told(struct db_fixture *f, struct shale_reader_options *o, struct told *t)
{
    *t = (struct told){ .text = SHALE_BUF_INIT };
    o->merge_operator = f->opt.merge_operator;
    o->clock = f->opt.clock;
    o->on_change = on_change;
    o->on_change_arg = t;
    check_ok(shale_reader_open(f->store, FIXTURE_ROOT, o, &t->r));
}

static struct shale_reader_options quiet_options(void)
{
    struct shale_reader_options o;

    shale_reader_options_init(&o);
    o.manifest_poll_interval_ms = 3600000; /* looks only when told to */
    o.no_checkpoint = true;
    return o;
}

static void close_told(struct told *t)
{
    check_ok(shale_reader_close(t->r));
    shale_buf_fini(&t->text);
}

static void test_rows(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct told t;

    fixture_open(f);
    check_ok(put_text(f->db, "old", "1", true));
    open_told(f, &o, &t);
    t.reads = true;
    assert_int_equal(shale_reader_step(t.r), 0);
    check_ok(shale_reader_refresh(t.r));
    check_told(&t, "");
    check_ok(put_text(f->db, "b", "1", false));
    check_ok(put_text(f->db, "a", "1", true)); /* one object */
    check_ok(merge_text(f->db, "m", "1", true));
    check_ok(shale_reader_refresh(t.r));
    check_told(&t, "1:b,a 2:m ");
    check_ok(shale_reader_refresh(t.r));
    check_told(&t, "");
    t.reads = false;
    check_ok(delete_text(f->db, "a", true));
    check_ok(put_text(f->db, "c", "1", true));
    check_ok(put_text(f->db, "c", "2", true));
    check_ok(put_text(f->db, "d", "2", true));
    check_ok(shale_reader_refresh(t.r)); /* more than two: a listing */
    check_told(&t, "3:a 4:c 5:c 6:d ");
    assert_int_equal(shale_reader_step(t.r), 6);
    close_told(&t);
}

/* A flush shows nothing new; one that the reader has not followed is told by the WAL, as long as that is there. */
static void test_flushed(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct told t;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    open_told(f, &o, &t);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_reader_refresh(t.r));
    check_told(&t, "");
    check_ok(put_text(f->db, "b", "1", true));
    check_ok(put_text(f->db, "c", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "d", "1", true));
    check_ok(shale_reader_refresh(t.r));
    check_told(&t, "1:b 2:c 3:d ");
    close_told(&t);
}

static void collect_wal(struct db_fixture *f, uint64_t first, uint64_t end)
{
    char name[PATH_NAME_MAX];

    for (uint64_t id = first; id < end; id++) {
        check_ok(path_wal(FIXTURE_ROOT, id, name));
        check_ok(shale_store_delete(f->mem, name));
    }
}

/* Left behind, it tells that anything may have changed, once, and goes on from there. */
static void test_overtaken(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_reader_status st;
    struct told t;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    open_told(f, &o, &t);
    shale_reader_status(t.r, &st);
    check_ok(put_text(f->db, "b", "1", true));
    check_ok(put_text(f->db, "c", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    collect_wal(f, st.next_wal_id, db_status(f->db).next_wal_id);
    check_ok(put_text(f->db, "d", "1", true));
    check_ok(shale_reader_refresh(t.r));
    check_told(&t, "1:* 2:d ");
    check_ok(shale_reader_get(t.r, slice_str("b"), NULL, &value));
    check_ok(shale_reader_get(t.r, slice_str("d"), NULL, &value));
    close_told(&t);
    shale_buf_fini(&value);
}

/* One that is far behind does not keep in memory what the tree has: it jumps, though the WAL is there. */
static void test_far_behind(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct shale_reader_status st;
    struct told t;
    char key[16];

    o.max_memtable_bytes = 1;
    fixture_open(f);
    open_told(f, &o, &t);
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "k%02d", i);
        check_ok(put_text(f->db, key, "1", true));
    }
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "last", "1", true));
    check_ok(shale_reader_refresh(t.r));
    assert_non_null(strstr((const char *)t.text.data, ":* "));
    assert_non_null(strstr((const char *)t.text.data, ":last "));
    shale_reader_status(t.r, &st);
    assert_true(st.n_tables <= 1 && st.seq == db_status(f->db).durable_seq);
    close_told(&t);
}

/* Between looks at the manifest a look that finds nothing is one request; what is new is seen all the same. */
static void test_requests(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct shale_reader_status st;
    struct told t;
    uint64_t looks;
    unsigned gets;

    o.manifest_poll_interval_ms = 1;
    o.looks_per_manifest = 50;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    open_told(f, &o, &t);
    store_fault_reset_counts(f->store);
    do {
        sched_yield();
        shale_reader_status(t.r, &st);
    } while (st.looks < 200);
    gets = store_fault_count(f->store, FAULT_ANY);
    shale_reader_status(t.r, &st);
    assert_true(gets <= st.looks + st.looks / 50 + 2); /* and the look under way */
    assert_int_equal(store_fault_count(f->store, FAULT_LIST) + store_fault_count(f->store, FAULT_PUT) +
                         store_fault_count(f->store, FAULT_DELETE), 0);
    looks = st.looks;
    check_ok(put_text(f->db, "b", "1", true));
    while (shale_reader_step(t.r) == 0)
        sched_yield();
    shale_reader_status(t.r, &st);
    assert_true(st.looks >= looks && st.look_error == 0 && st.look_age_ms < 60000);
    close_told(&t);
}

struct sees {
    struct shale_reader *r;
    int rc;
};

static void read_in_call(void *arg, const struct shale_reader_change *c)
{
    struct sees *s = arg;
    struct shale_buf value = SHALE_BUF_INIT;

    (void)c;
    s->rc = shale_reader_get(s->r, slice_str("a"), NULL, &value);
    shale_buf_fini(&value);
}

static int add_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    return shale_buf_append(arg, name, strlen(name) + 1);
}

/* Who reads while he is told, and finds an object gone, is told so: nobody could look for a newer tree meanwhile. */
static void test_gone_while_told(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct shale_buf names = SHALE_BUF_INIT;
    struct sees s = { .rc = 0 };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    o.block_cache_bytes = 0;
    o.on_change = read_in_call;
    o.on_change_arg = &s;
    check_ok(shale_reader_open(f->store, FIXTURE_ROOT, &o, &s.r));
    check_ok(shale_store_list(f->mem, FIXTURE_ROOT "/compacted/", NULL, add_name, &names));
    check_ok(shale_store_delete(f->mem, (const char *)names.data));
    check_ok(put_text(f->db, "b", "1", true));
    check_ok(shale_reader_refresh(s.r));
    assert_int_equal(s.rc, -ESTALE);
    check_ok(shale_reader_close(s.r));
    shale_buf_fini(&names);
}

/* Another database in the place of the one that is read: its rows are not mixed in. */
static void test_replaced(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = quiet_options();
    struct shale_buf names = SHALE_BUF_INIT, value = SHALE_BUF_INIT;
    struct shale_reader_status st;
    struct told t;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    open_told(f, &o, &t);
    fixture_close(f);
    check_ok(shale_store_list(f->mem, FIXTURE_ROOT "/", NULL, add_name, &names));
    for (size_t at = 0; at < names.len; at += strlen((const char *)names.data + at) + 1)
        check_ok(shale_store_delete(f->mem, (const char *)names.data + at));
    check_ok(shale_reader_refresh(t.r)); /* nothing new */
    shale_reader_status(t.r, &st);
    fixture_open(f);
    while (db_status(f->db).manifest_id <= st.manifest_id) {
        fixture_close(f);
        fixture_open(f); /* each makes a version */
    }
    check_err(SHALE_ECORRUPT, shale_reader_refresh(t.r));
    assert_non_null(strstr(shale_errmsg(), "replaced by another"));
    check_err(SHALE_ECORRUPT, shale_reader_get(t.r, slice_str("a"), NULL, &value));
    check_told(&t, "");
    close_told(&t);
    shale_buf_fini(&names);
    shale_buf_fini(&value);
}

static void test_options(void **state)
{
    struct shale_reader_options o;

    (void)state;
    shale_reader_options_init(&o);
    assert_int_equal(o.looks_per_manifest, 1);
    o.looks_per_manifest = 0;
    check_err(-EINVAL, shale_reader_options_check(&o));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = { TEST(test_rows),       TEST(test_flushed),  TEST(test_overtaken),
                                        TEST(test_far_behind), TEST(test_requests), TEST(test_replaced),
                                        TEST(test_gone_while_told), TEST(test_options) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
