/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/requests.h"
#include "fs/core/requests.h"
#include "fs/cost.h"

#include <math.h>
#include <shale/metrics.h>

/* What a mount counts, as text; and from fixed counters to prices, lines and JSON. */

#define MINUTE 60000
#define HOUR (60 * MINUTE)

static const char counters[] = "elapsed_ms 7200000\n"
                               "window_ms 3600000\n"
                               "recent get 10000\n"
                               "recent put 1000\n"
                               "recent list 100\n"
                               "requests get foreground 25000\n"
                               "requests get compaction 5000\n"
                               "requests put wal 2000\n"
                               "requests list gc 200\n"
                               "requests delete_many gc 4\n"
                               "requests upload_part upload 10\n"
                               "requests credentials foreground 3\n"
                               "errors not_found 400\n"
                               "errors exists 3\n"
                               "errors slow_down 5\n"
                               "errors network 2\n"
                               "bytes_sent 123456789\n"
                               "bytes_received 1000\n"
                               "repeated 7\n"
                               "something new 5\n";

static void check_near(double got, double want)
{
    if (fabs(got - want) > 1e-9 * fabs(want))
        fail_msg("%.12g, not %.12g", got, want);
}

static void counters_are_read(void **state)
{
    struct cost_requests r;

    (void)state;
    cost_requests_parse(counters, &r);
    assert_int_equal(r.elapsed_ms, 2 * HOUR);
    assert_int_equal(r.window_ms, HOUR);
    assert_int_equal(r.n[SHALE_REQUEST_GET][IO_FOREGROUND], 25000);
    assert_int_equal(r.n[SHALE_REQUEST_GET][IO_COMPACTION], 5000);
    assert_int_equal(r.recent[SHALE_REQUEST_PUT], 1000);
    assert_int_equal(r.bytes_sent, 123456789);
    assert_int_equal(r.repeated, 7);
    assert_int_equal(r.failed, 7);
    cost_requests_parse("requests fly dreams 4\nrequests get\nrecent\n\nbytes_sent many\n", &r);
    assert_int_equal(r.n[SHALE_REQUEST_UNKNOWN][IO_CLASSES], 4);
    assert_int_equal(r.bytes_sent, 0);
    cost_requests_parse("", &r);
    assert_int_equal(r.elapsed_ms, 0);
}

/* By hand: 30,000 reads, 2010 writes, 200 listings; then 720 hours of 10,000, 1000 and 100. */
static void requests_cost_what_the_list_says(void **state)
{
    const struct price *s3 = price_find("s3"), *b2 = price_find("b2"), *own = price_find("own");
    struct cost_requests r;
    struct cost c;

    (void)state;
    cost_requests_parse(counters, &r);
    c = cost_of_requests(s3, &r);
    check_near(c.so_far, 30 * 0.0004 + 2.010 * 0.005 + 0.2 * 0.005);
    check_near(c.monthly, 720 * (10 * 0.0004 + 1 * 0.005 + 0.1 * 0.005));
    c = cost_of_requests(b2, &r); /* writes are free there */
    check_near(c.so_far, 30 * 0.0004 + 0.2 * 0.004);
    c = cost_of_requests(own, &r);
    assert_true(c.so_far == 0 && c.monthly == 0);
    check_near(cost_of_storage(s3, (uint64_t)10 << 30), 0.23);
}

static void every_operation_has_its_price(void **state)
{
    const struct price *s3 = price_find("s3");

    (void)state;
    for (int op = 0; op < SHALE_REQUEST_N_OPS; op++) {
        double got = price_requests(s3, (enum shale_request_op)op, 1000);

        switch (op) {
        case SHALE_REQUEST_GET:
        case SHALE_REQUEST_HEAD:
            check_near(got, 0.0004);
            break;
        case SHALE_REQUEST_DELETE:
        case SHALE_REQUEST_DELETE_MANY:
        case SHALE_REQUEST_UPLOAD_ABORT:
        case SHALE_REQUEST_CREDENTIALS:
            assert_true(got == 0);
            break;
        default:
            check_near(got, 0.005);
        }
    }
}

static void the_server_decides_the_row(void **state)
{
    static const struct {
        const char *origin, *name;
    } of[] = {
        { "https://bucket.s3.eu-central-1.amazonaws.com", "s3" },
        { "https://s3.us-east-1.amazonaws.com:443", "s3" },
        { "https://bucket.s3.cn-north-1.amazonaws.com.cn", NULL },
        { "https://storage.googleapis.com", "gcs" },
        { "https://bucket.storage.googleapis.com", "gcs" },
        { "https://account.blob.core.windows.net/", "azure" },
        { "https://id.r2.cloudflarestorage.com", "r2" },
        { "https://s3.us-west-004.backblazeb2.com", "b2" },
        { "http://127.0.0.1:7480", NULL },
        { "https://amazonaws.com.example.org", NULL },
        { "https://com", NULL },
        { "nothing", NULL },
        { NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
        const struct price *p = price_of(of[i].origin);

        if (!of[i].name ? p != NULL : p != price_find(of[i].name))
            fail_msg("%s has the prices of %s", of[i].origin, p ? p->name : "nobody");
    }
    assert_null(price_find("nobody"));
    for (size_t i = 0; price_at(i); i++)
        assert_ptr_equal(price_find(price_at(i)->name), price_at(i));
}

static void check_text(int (*fn)(const struct price *, const struct cost_requests *, struct shale_buf *),
                       const struct price *p, const char *from, const char *want)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct cost_requests r;

    cost_requests_parse(from, &r);
    assert_int_equal(fn(p, &r, &out), 0);
    assert_int_equal(buf_put_u8(&out, 0), 0);
    assert_string_equal((const char *)out.data, want);
    shale_buf_fini(&out);
}

static void status_shows_lines(void **state)
{
    (void)state;
    check_text(cost_text, price_find("s3"), counters,
               "requests  in 2.0 hours: 123456789 bytes sent, 1000 received, 7 repeated, 7 failed\n"
               "  get                  30000: foreground 25000, compaction 5000; 10000 an hour lately\n"
               "  put                  2000: wal 2000; 1000 an hour lately\n"
               "  list                 200: gc 200; 100 an hour lately\n"
               "  delete_many          4: gc 4; 0 an hour lately\n"
               "  upload_part          10: upload 10; 0 an hour lately\n"
               "  credentials          3: foreground 3; 0 an hour lately\n"
               "cost      $0.0231 for these requests; $6.84 a month at the rate of the last 60.0 minutes\n");
    check_text(cost_text, NULL, "elapsed_ms 60000\nwindow_ms 60000\nrequests head wal 1\nrecent head 1\n",
               "requests  in 1.0 minutes: 0 bytes sent, 0 received, 0 repeated, 0 failed\n"
               "  head                 1: wal 1; 60 an hour lately\n");
    check_text(cost_text, price_find("s3"), "elapsed_ms 60000\nwindow_ms 60000\n", "");
}

static void status_shows_json(void **state)
{
    (void)state;
    check_text(cost_json, price_find("s3"),
               "elapsed_ms 60000\nwindow_ms 60000\nrequests get foreground 2000\nrecent get 2000\nbytes_received 5\n",
               "{\"elapsed_ms\":60000,\"window_ms\":60000,\"bytes_sent\":0,\"bytes_received\":5,"
               "\"repeated\":0,\"failed\":0,"
               "\"get\":{\"count\":2000,\"per_hour\":120000.0,\"foreground\":2000},"
               "\"dollars\":0.000800,\"dollars_a_month\":34.560000}");
    check_text(cost_json, NULL, "",
               "{\"elapsed_ms\":0,\"window_ms\":0,\"bytes_sent\":0,\"bytes_received\":0,\"repeated\":0,\"failed\":0}");
}

/* ---- what a mount counts ---- */

static void told(void *arg, const struct shale_request *r)
{
    (void)r;
    ++*(unsigned *)arg;
}

static struct cost_requests read_back(struct fs_requests *r, int64_t now)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct cost_requests c;

    assert_int_equal(fs_requests_text(r, now, &out), 0);
    assert_int_equal(buf_put_u8(&out, 0), 0);
    cost_requests_parse((const char *)out.data, &c);
    shale_buf_fini(&out);
    return c;
}

static void the_last_hour_is_remembered(void **state)
{
    const struct shale_request get = { .op = SHALE_REQUEST_GET }, put = { .op = SHALE_REQUEST_PUT };
    const int64_t start = 1000 * (int64_t)HOUR + 12345;
    struct fs_requests *r = NULL;
    struct cost_requests c;

    (void)state;
    assert_int_equal(fs_requests_new(start, NULL, NULL, &r), 0);
    for (int i = 0; i < 90; i++) { /* one a minute, and in the first minute 9 puts */
        fs_requests_note(r, &get, start + i * MINUTE);
        for (int k = 0; i == 0 && k < 9; k++)
            fs_requests_note(r, &put, start);
    }
    c = read_back(r, start + 30 * MINUTE);
    assert_int_equal(c.elapsed_ms, 30 * MINUTE);
    assert_int_equal(c.window_ms, 30 * MINUTE);
    c = read_back(r, start + 89 * MINUTE);
    assert_int_equal(c.elapsed_ms, 89 * MINUTE);
    assert_int_equal(c.window_ms, 59 * MINUTE + 12345);
    assert_int_equal(c.recent[SHALE_REQUEST_GET], 60);
    assert_int_equal(c.recent[SHALE_REQUEST_PUT], 0);
    c = read_back(r, start + 100 * MINUTE);
    assert_int_equal(c.recent[SHALE_REQUEST_GET], 49);
    c = read_back(r, start + 1000 * MINUTE);
    assert_int_equal(c.recent[SHALE_REQUEST_GET], 0);
    fs_requests_free(r);
}

static void totals_come_from_the_registry(void **state)
{
    struct fs_requests *r = NULL;
    const struct shale_request_watch *w;
    const struct shale_request put = { .op = SHALE_REQUEST_PUT, .io_class = "wal", .status = 200, .bytes_sent = 70 };
    const struct shale_request bad = { .op = SHALE_REQUEST_GET, .io_class = "gc", .status = 503, .attempt = 2 };
    struct requests *counting = NULL;
    struct cost_requests c;
    unsigned n = 0;

    (void)state;
    assert_int_equal(fs_requests_new(0, told, &n, &r), 0);
    w = fs_requests_watch(r);
    assert_ptr_equal(w->metrics, fs_requests_metrics(r));
    assert_int_equal(requests_new(w, &counting), 0);
    requests_ended(counting, IO_WAL, &put);
    requests_ended(counting, IO_WAL, &put);
    requests_ended(counting, IO_GC, &bad);
    assert_int_equal(n, 3);
    c = read_back(r, HOUR);
    assert_int_equal(c.n[SHALE_REQUEST_PUT][IO_WAL], 2);
    assert_int_equal(c.n[SHALE_REQUEST_GET][IO_GC], 1);
    assert_int_equal(c.bytes_sent, 140);
    assert_int_equal(c.failed, 1);
    assert_int_equal(c.repeated, 1);
    requests_free(counting);
    fs_requests_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_read),
        cmocka_unit_test(requests_cost_what_the_list_says),
        cmocka_unit_test(every_operation_has_its_price),
        cmocka_unit_test(the_server_decides_the_row),
        cmocka_unit_test(status_shows_lines),
        cmocka_unit_test(status_shows_json),
        cmocka_unit_test(the_last_hour_is_remembered),
        cmocka_unit_test(totals_come_from_the_registry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
