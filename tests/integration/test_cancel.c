/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits that are given up, and a store that is given up on: by whom, by whom not, and what is there afterwards.
 */

#include "lib/db_fixture.h"
#include "lib/http_server.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/io_class.h"
#include "db/db.h"
#include "net/http.h"
#include "object/store_retry.h"

#include <sched.h>
#include <shale/log.h>

/* A call on another thread, which has a token. */
struct call {
    struct worker w;
    struct cancel token;
    struct shale_db *db;
    struct shale_store *store;
    const char *key;
    int (*fn)(struct call *c);
    int rc;
    _Atomic bool done;
};

static void call_main(void *arg)
{
    struct call *c = arg;

    (void)cancel_set(&c->token);
    c->rc = c->fn(c);
    c->done = true;
}

static void call_start(struct call *c, int (*fn)(struct call *c))
{
    c->fn = fn;
    check_ok(worker_start(&c->w, "call", call_main, c));
}

/* Ask it to give up; how it ended. */
static int call_cancel(struct call *c)
{
    cancel_request(&c->token);
    worker_join(&c->w);
    return c->rc;
}

static int durable_put(struct call *c)
{
    return put_text(c->db, c->key, "v", true);
}

static int put(struct call *c)
{
    return put_text(c->db, c->key, "v", false);
}

static int flush_memtables(struct call *c)
{
    return shale_db_flush(c->db, SHALE_FLUSH_MEMTABLE);
}

static int get(struct call *c)
{
    struct shale_buf value = SHALE_BUF_INIT;
    int rc = shale_db_get(c->db, slice_str(c->key), NULL, &value);

    shale_buf_fini(&value);
    return rc;
}

static int store_get(struct call *c)
{
    struct shale_buf out = SHALE_BUF_INIT;
    int rc = shale_store_get(c->store, "object", &out);

    shale_buf_fini(&out);
    return rc;
}

static void wait_for_waiters(struct shale_db *db, uint32_t want)
{
    uint32_t n;

    do {
        sched_yield();
        mutex_lock(&db->mu);
        n = db->n_waiting;
        mutex_unlock(&db->mu);
    } while (n < want);
}

static unsigned gate(struct db_fixture *f, enum fault_class cls, const char *match)
{
    const struct fault_rule r = { .cls = cls, .action = FAULT_GATE, .times = FAULT_ALWAYS, .match = match };

    return store_fault_add(f->store, &r);
}

static void outage(struct db_fixture *f, enum fault_class cls, const char *match)
{
    const struct fault_rule r = { .cls = cls, .times = FAULT_ALWAYS, .match = match };

    store_fault_add(f->store, &r);
}

static void wait_for_calls(struct db_fixture *f, enum fault_class cls, unsigned n)
{
    while (store_fault_count(f->store, cls) < n)
        sched_yield();
}

/* ---- the token ---- */

static bool say(void *arg)
{
    return *(bool *)arg;
}

static void a_token_is_wanted_by_anybody_who_may_ask(void **state)
{
    bool yes = false;
    struct cancel outer = { .also = NULL }, inner = { .asked = say, .arg = &yes, .also = &outer };

    (void)state;
    assert_false(cancel_wanted());
    assert_null(cancel_set(&inner));
    assert_false(cancel_wanted());
    yes = true;
    assert_true(cancel_wanted());
    yes = false;
    assert_false(cancel_wanted());
    cancel_request(&outer);
    assert_true(cancel_wanted());
    check_err(SHALE_ECANCELED, cancel_error("a test"));
    assert_non_null(strstr(shale_errmsg(), "gave up waiting for a test"));
    assert_ptr_equal(cancel_set(NULL), &inner);
    assert_false(cancel_wanted());
}

static void a_wait_with_a_token_looks_up_now_and_then(void **state)
{
    struct cancel token = { .also = NULL };
    struct mutex mu;
    struct cond cv;
    int64_t begin;

    (void)state;
    mutex_init(&mu, 1, "test");
    cond_init(&cv);
    mutex_lock(&mu);
    (void)cancel_set(&token);
    assert_true(cancel_cond_wait(&cv, &mu, 0)); /* nobody signals, and yet it returns */
    begin = clock_mono_ms();
    assert_true(cancel_cond_wait(&cv, &mu, begin + 3600000));
    assert_true(clock_mono_ms() - begin >= CANCEL_LOOK_MS - 10);
    assert_false(cancel_cond_wait(&cv, &mu, clock_mono_ms() + 1));
    (void)cancel_set(NULL);
    assert_false(cancel_cond_wait(&cv, &mu, clock_mono_ms() + 1));
    mutex_unlock(&mu);
    cond_fini(&cv);
    mutex_fini(&mu);
}

/* ---- waits of a database ---- */

/* The other one who waits for the same object gets it, and so does the row of who gave up. */
static void a_commit_is_given_up_by_one_and_comes_for_the_others(void **state)
{
    struct db_fixture *f = *state;
    struct call one = { .key = "a" }, other = { .key = "b" };
    unsigned g;

    fixture_open(f);
    one.db = other.db = f->db;
    g = gate(f, FAULT_PUT, "/wal/");
    call_start(&one, durable_put);
    store_fault_wait(f->store, g, 1);
    call_start(&other, durable_put);
    wait_for_waiters(f->db, 2);
    check_err(SHALE_ECANCELED, call_cancel(&one));
    assert_false(other.done);
    check_value(f->db, NULL, "a", "v"); /* applied, and it stays so */
    store_fault_clear(f->store);
    worker_join(&other.w);
    check_ok(other.rc);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    fixture_crash(f);
    fixture_open(f);
    check_scan(f->db, NULL, "a=v b=v");
}

static void a_writer_that_gives_up_waiting_for_room_has_written_nothing(void **state)
{
    struct db_fixture *f = *state;
    struct call second = { .key = "b" };
    unsigned g;

    f->opt.max_unflushed_bytes = 1;
    fixture_open(f);
    g = gate(f, FAULT_PUT, "/wal/");
    check_ok(put_text(f->db, "a", "v", false));
    second.db = f->db;
    call_start(&second, put);
    store_fault_wait(f->store, g, 1);
    wait_for_waiters(f->db, 1);
    check_err(SHALE_ECANCELED, call_cancel(&second));
    store_fault_clear(f->store);
    check_ok(put_text(f->db, "c", "v", true));
    check_scan(f->db, NULL, "a=v c=v");
}

static void a_flush_of_memtables_is_given_up_and_goes_on(void **state)
{
    struct db_fixture *f = *state;
    struct call c = { .key = NULL };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "v", true));
    outage(f, FAULT_ANY, "/compacted/");
    c.db = f->db;
    call_start(&c, flush_memtables);
    wait_for_waiters(f->db, 1);
    check_err(SHALE_ECANCELED, call_cancel(&c));
    store_fault_clear(f->store);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_int_equal(db_status(f->db).n_l0, 1);
    check_scan(f->db, NULL, "a=v");
}

/* With a cold cache, and once for each request that a read makes. */
static void a_read_that_is_given_up_leaves_nothing_half_done(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    for (unsigned nth = 1; nth < 100; nth++) {
        const struct fault_rule down = { .nth = nth, .times = FAULT_ALWAYS, .match = "/compacted/" };
        struct call c = { .key = "a" };
        unsigned rule;

        fixture_close(f);
        fixture_open(f);
        rule = store_fault_add(f->store, &down);
        c.db = f->db;
        call_start(&c, get);
        while (!c.done && store_fault_hits(f->store, rule) == 0)
            sched_yield();
        if (c.done) {
            worker_join(&c.w);
            check_ok(c.rc);
            assert_true(nth > 1);
            store_fault_clear(f->store);
            return;
        }
        check_err(SHALE_ECANCELED, call_cancel(&c));
        store_fault_clear(f->store);
        check_value(f->db, NULL, "a", "v");
    }
    fail_msg("a read of one row makes a hundred requests");
}

/* ---- the retrying store ---- */

static _Atomic int lines_of_answers;

static void count_answers(void *ctx, enum shale_log_level level, const char *line)
{
    (void)ctx, (void)level;
    lines_of_answers += strstr(line, "answers again") != NULL;
}

static void giving_up_says_nothing_of_the_store(void **state)
{
    const struct store_retry_options slow = { .base_ms = 600000, .cap_ms = 600000 };
    struct db_fixture *f = *state;
    struct call c = { .key = NULL };

    check_ok(store_retry_new(f->store, &slow, &c.store));
    outage(f, FAULT_GET, "object");
    lines_of_answers = 0;
    shale_log_set(count_answers, NULL, SHALE_LOG_DEBUG);
    call_start(&c, store_get);
    wait_for_calls(f, FAULT_GET, 1);
    check_err(SHALE_ECANCELED, call_cancel(&c));
    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
    assert_int_equal(lines_of_answers, 0);
    shale_store_close(c.store);
}

static int store_get_as_upload(struct call *c)
{
    (void)io_class_set(IO_UPLOAD);
    return store_get(c);
}

static void work_in_the_background_has_no_limit(void **state)
{
    const struct store_retry_options limited = { .base_ms = 1, .cap_ms = 4, .limit_ms = 20 };
    struct db_fixture *f = *state;
    struct call c = { .key = NULL };
    int64_t begin;

    check_ok(store_retry_new(f->store, &limited, &c.store));
    outage(f, FAULT_GET, "object");
    begin = clock_mono_ms();
    call_start(&c, store_get_as_upload);
    check_err(SHALE_ETRANSIENT, store_get(&c)); /* this thread: somebody waits */
    while (clock_mono_ms() < begin + 100)
        wait_for_calls(f, FAULT_GET, store_fault_count(f->store, FAULT_GET) + 1);
    assert_false(c.done);
    store_fault_clear(f->store);
    worker_join(&c.w);
    check_err(-ENOENT, c.rc);
    shale_store_close(c.store);
}

/* ---- a handle with a limit ---- */

static void a_memtable_flush_outlasts_the_limit(void **state)
{
    struct db_fixture *f = *state;
    struct call c = { .key = NULL };
    int64_t begin;

    f->opt.store_limit_ms = 20;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "v", true));
    outage(f, FAULT_ANY, "/compacted/");
    c.db = f->db;
    begin = clock_mono_ms();
    call_start(&c, flush_memtables);
    while (clock_mono_ms() < begin + 200)
        sched_yield();
    assert_false(c.done);
    check_ok(db_status(f->db).error);
    check_ok(put_text(f->db, "b", "v", true)); /* the WAL answers */
    store_fault_clear(f->store);
    worker_join(&c.w);
    check_ok(c.rc);
    assert_int_equal(db_status(f->db).n_l0, 1);
    check_scan(f->db, NULL, "a=v b=v");
}

static void a_manifest_update_outlasts_the_limit(void **state)
{
    struct db_fixture *f = *state;
    struct call c = { .key = NULL };
    int64_t begin;

    f->opt.store_limit_ms = 20;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "v", true));
    outage(f, FAULT_PUT, "/manifest/");
    c.db = f->db;
    begin = clock_mono_ms();
    call_start(&c, flush_memtables);
    while (clock_mono_ms() < begin + 200)
        sched_yield();
    assert_false(c.done);
    store_fault_clear(f->store);
    worker_join(&c.w);
    check_ok(c.rc);
    check_ok(db_status(f->db).error);
    assert_int_equal(db_status(f->db).n_l0, 1);
}

static void a_read_fails_after_the_limit_and_later_ones_do_not(void **state)
{
    struct db_fixture *f = *state;
    struct call c = { .key = "a" };

    fixture_open(f);
    check_ok(put_text(f->db, "a", "v", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    fixture_close(f);
    f->opt.store_limit_ms = 20;
    fixture_open(f);
    outage(f, FAULT_ANY, "/compacted/");
    c.db = f->db;
    check_err(SHALE_ETRANSIENT, get(&c));
    assert_non_null(strstr(shale_errmsg(), "gave up after"));
    check_ok(db_status(f->db).error);
    store_fault_clear(f->store);
    check_value(f->db, NULL, "a", "v");
    check_ok(put_text(f->db, "b", "v", true));
}

/* ---- requests ---- */

struct request {
    struct call c;
    struct http_client *client;
    struct http_exchange x;
};

static int request(struct call *c)
{
    struct request *r = container_of(c, struct request, c);

    return http_run(r->client, &r->x);
}

static void request_start(struct request *r, const struct http_server *s, enum http_method method)
{
    r->x = (struct http_exchange){ .method = method };
    check_ok(buf_printf(&r->x.url, "%s/object", http_server_url(s)));
    call_start(&r->c, request);
}

/* On the wire, and in line behind it; what may change something is waited for. */
static void a_request_that_only_reads_is_given_up(void **state)
{
    const struct http_options opt = { .limit = { [IO_FOREGROUND] = 2 } };
    const struct http_rule hold = { .hold = true };
    struct http_server *s = http_server_start();
    struct request get_it = { .client = NULL }, put_it = { .client = NULL }, in_line = { .client = NULL };

    (void)state;
    http_server_add(s, &hold);
    check_ok(http_client_new(&opt, &get_it.client));
    put_it.client = in_line.client = get_it.client;
    request_start(&put_it, s, HTTP_PUT);
    request_start(&get_it, s, HTTP_GET);
    assert_true(http_server_wait(s, 2));
    request_start(&in_line, s, HTTP_HEAD);
    cancel_request(&put_it.c.token);
    check_err(SHALE_ECANCELED, call_cancel(&in_line.c));
    check_err(SHALE_ECANCELED, call_cancel(&get_it.c));
    assert_false(put_it.c.done);
    http_server_clear(s);
    worker_join(&put_it.c.w);
    check_ok(put_it.c.rc);
    http_exchange_fini(&get_it.x);
    http_exchange_fini(&put_it.x);
    http_exchange_fini(&in_line.x);
    http_client_free(get_it.client);
    http_server_stop(s);
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_wanted_by_anybody_who_may_ask),
        cmocka_unit_test(a_wait_with_a_token_looks_up_now_and_then),
        with_fixture(a_commit_is_given_up_by_one_and_comes_for_the_others),
        with_fixture(a_writer_that_gives_up_waiting_for_room_has_written_nothing),
        with_fixture(a_flush_of_memtables_is_given_up_and_goes_on),
        with_fixture(a_read_that_is_given_up_leaves_nothing_half_done),
        with_fixture(giving_up_says_nothing_of_the_store),
        with_fixture(work_in_the_background_has_no_limit),
        with_fixture(a_memtable_flush_outlasts_the_limit),
        with_fixture(a_manifest_update_outlasts_the_limit),
        with_fixture(a_read_fails_after_the_limit_and_later_ones_do_not),
        cmocka_unit_test(a_request_that_only_reads_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
