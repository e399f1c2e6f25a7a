/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/http_server.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cancel.h"
#include "base/io_class.h"
#include "base/requests.h"
#include "object/store_retry.h"

#include <errno.h>
#include <pthread.h>
#include <shale/metrics.h>
#include <stdio.h>
#include <stdlib.h>

/* What is counted and told of requests on the wire: a bucket on a scripted server, every operation of it. */

#define SEEN_MAX 128

struct rig {
    struct http_server *server;
    struct shale_metrics *m;
    struct shale_request_watch watch;
    struct shale_store *store;
    struct shale_request seen[SEEN_MAX];
    char objects[SEEN_MAX][80];
    unsigned n;
};

/* On the client's thread; the test looks when its own request is over. */
static void note(void *ctx, const struct shale_request *r)
{
    struct rig *rig = ctx;

    assert_true(rig->n < SEEN_MAX);
    snprintf(rig->objects[rig->n], sizeof(rig->objects[0]), "%s", r->object ? r->object : "-");
    rig->seen[rig->n++] = *r;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct shale_s3_options s3 = { .access_key = "key", .secret_key = "hush", .region = "us-east-1" };
    struct shale_store_options opt = { .s3 = &s3 };
    char *path = NULL;

    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    setenv("no_proxy", "127.0.0.1", 1);
    r->server = http_server_start();
    s3.endpoint = http_server_url(r->server);
    assert_int_equal(shale_metrics_new(SHALE_METRIC_INFO, NULL, &r->m), 0);
    r->watch = (struct shale_request_watch){ .metrics = r->m, .ended = note, .ctx = r };
    opt.watch = &r->watch;
    assert_int_equal(shale_store_open_with("s3://bucket/root", false, &opt, &r->store, &path), 0);
    free(path);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    shale_store_close(r->store);
    shale_metrics_free(r->m);
    http_server_stop(r->server);
    free(r);
    return 0;
}

static void answer(struct rig *r, const char *method, const char *path, int status, const char *body)
{
    const struct http_rule rule = { .method = method,
                                    .path = path,
                                    .status = status,
                                    .body = body,
                                    .headers = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: \"t\"\r\n"
                                               "x-ms-request-id: 7\r\n" };

    http_server_add(r->server, &rule);
}

static struct shale_metric look(struct rig *r, const char *name, const char *l1, const char *v1, const char *l2,
                                const char *v2)
{
    const struct shale_metric_label l[] = { { l1, v1 }, { l2, v2 } };
    struct shale_metric v = { .count = 0 };
    char full[80];

    snprintf(full, sizeof(full), "shale.object_store.%s", name);
    (void)shale_metrics_get(r->m, full, l, l2 ? 2 : 1, &v); /* what is not there counts nothing */
    return v;
}

static void check_counts(struct rig *r, const char *op, const char *cls, unsigned n, unsigned sent, unsigned received)
{
    unsigned got = (unsigned)look(r, "requests", "op", op, "class", cls).count;
    unsigned out = (unsigned)look(r, "bytes_sent", "op", op, "class", cls).count;
    unsigned in = (unsigned)look(r, "bytes_received", "op", op, "class", cls).count;

    if (got != n || out != sent || in != received)
        fail_msg("%s, %s: %u requests, %u bytes out, %u in; wanted %u, %u, %u", op, cls, got, out, in, n, sent,
                 received);
}

static const struct shale_request *last(struct rig *r)
{
    assert_true(r->n > 0);
    return &r->seen[r->n - 1];
}

static void each_operation_counts_under_its_name(void **state)
{
    static const char page[] = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    static const char done[] = "<DeleteResult></DeleteResult>";
    const char *names[] = { "root/a", "root/b" };
    struct rig *r = *state;
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_object_meta meta;

    answer(r, "GET", "/bucket/", 200, page);
    answer(r, "POST", "/bucket/", 200, done);
    answer(r, "GET", "/bucket/root/a", 200, "hello");
    answer(r, "HEAD", "/bucket/root/a", 200, "hello");
    answer(r, NULL, "/bucket/root/a", 200, NULL);

    assert_int_equal(shale_store_get(r->store, "root/a", &b), 0);
    check_counts(r, "get", "foreground", 1, 0, 5);
    assert_string_equal(r->objects[r->n - 1], "root/a");
    assert_int_equal(last(r)->status, 200);
    assert_int_equal(last(r)->len, 0);
    assert_int_equal(last(r)->attempt, 1);
    assert_true(last(r)->wire_ns > 0 && last(r)->queued_ns >= 0 && last(r)->begun_ms > 0);

    assert_int_equal(shale_store_get_range(r->store, "root/a", 0, 5, &b), 0);
    check_counts(r, "get", "foreground", 2, 0, 10);
    assert_int_equal(last(r)->offset, 0);
    assert_int_equal(last(r)->len, 5);

    assert_int_equal(shale_store_head(r->store, "root/a", &meta), 0);
    check_counts(r, "head", "foreground", 1, 0, 0);

    (void)io_class_set(IO_WAL);
    assert_int_equal(shale_store_put(r->store, "root/a", slice_str("12345678"), SHALE_PUT_OVERWRITE), 0);
    (void)io_class_set(IO_GC);
    assert_int_equal(shale_store_delete(r->store, "root/a"), 0);
    assert_int_equal(shale_store_delete_many(r->store, names, 2), 0);
    assert_int_equal(shale_store_list(r->store, "root/", NULL, NULL, NULL), 0);
    (void)io_class_set(IO_FOREGROUND);
    check_counts(r, "put", "wal", 1, 8, 0);
    check_counts(r, "delete", "gc", 1, 0, 0);
    check_counts(r, "list", "gc", 1, 0, sizeof(page) - 1);
    assert_string_equal(r->objects[r->n - 1], "root/");
    assert_string_equal(last(r)->io_class, "gc");
    assert_int_equal(look(r, "requests", "op", "delete_many", "class", "gc").count, 1);
    assert_true(look(r, "bytes_sent", "op", "delete_many", "class", "gc").count > 0);

    assert_int_equal(look(r, "wire_seconds", "op", "get", NULL, NULL).count, 2);
    assert_int_equal(look(r, "queue_seconds", "class", "gc", NULL, NULL).count, 3);
    assert_int_equal(look(r, "in_flight", "class", "gc", NULL, NULL).value, 0);
    assert_int_equal(look(r, "queued", "class", "gc", NULL, NULL).value, 0);
    assert_int_equal(r->n, 7);
    shale_buf_fini(&b);
}

static void upload(struct rig *r, bool finish)
{
    struct shale_upload *u = NULL;
    uint8_t *data = calloc(1, 9 << 20);

    assert_int_equal(shale_upload_begin(r->store, "root/big", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_of(data, 9 << 20)), 0);
    assert_int_equal(shale_upload_write(u, slice_of(data, 1)), 0); /* sends the first part */
    if (finish)
        assert_int_equal(shale_upload_finish(u), 0);
    else
        shale_upload_abort(u);
    free(data);
}

static void parts_of_an_upload_count_each(void **state)
{
    struct rig *r = *state;

    answer(r, "POST", "/bucket/root/big", 200,
           "<CompleteMultipartUploadResult><UploadId>17</UploadId></CompleteMultipartUploadResult>");
    answer(r, NULL, "/bucket/root/big", 200, NULL);
    (void)io_class_set(IO_UPLOAD);
    upload(r, true);
    upload(r, false);
    (void)io_class_set(IO_FOREGROUND);
    assert_int_equal(look(r, "requests", "op", "upload_begin", "class", "upload").count, 2);
    check_counts(r, "upload_part", "upload", 3, (9 << 20) + 1 + (8 << 20), 0);
    assert_int_equal(look(r, "requests", "op", "upload_complete", "class", "upload").count, 1);
    assert_int_equal(look(r, "requests", "op", "upload_abort", "class", "upload").count, 1);
}

static void errors_count_by_kind(void **state)
{
    static const struct {
        int status;
        const char *kind;
    } of[] = { { 404, "not_found" }, { 412, "exists" },   { 403, "refused" }, { 429, "slow_down" },
               { 503, "slow_down" }, { 400, "client" },   { 500, "server" },  { 200, NULL } };
    const struct http_rule dead = { .path = "/bucket/root/dead", .drop = true };
    struct rig *r = *state;
    struct shale_buf b = SHALE_BUF_INIT;
    char path[80];

    for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
        char *name = path + strlen("/bucket/");
        unsigned before = of[i].kind ? (unsigned)look(r, "errors", "op", "get", "kind", of[i].kind).count : 0;

        snprintf(path, sizeof(path), "/bucket/root/%d", of[i].status);
        answer(r, "GET", path, of[i].status, "x");
        (void)shale_store_get(r->store, name, &b);
        assert_int_equal(last(r)->status, of[i].status);
        if (of[i].kind)
            assert_int_equal(look(r, "errors", "op", "get", "kind", of[i].kind).count, before + 1);
        http_server_clear(r->server); /* path is used again */
    }
    http_server_add(r->server, &dead);
    assert_int_equal(shale_store_get(r->store, "root/dead", &b), SHALE_ETRANSIENT);
    assert_int_equal(last(r)->status, 0);
    assert_int_equal(look(r, "errors", "op", "get", "kind", "network").count, 1);
    assert_int_equal(look(r, "in_flight", "class", "foreground", NULL, NULL).value, 0);
    shale_buf_fini(&b);
}

#define WIRE 64u /* requests of a class that are on it at once */

static void *fill_wire(void *arg)
{
    struct shale_range_get gets[WIRE] = { 0 };
    struct rig *r = arg;

    for (unsigned i = 0; i < WIRE; i++)
        gets[i] = (struct shale_range_get){ .name = "root/a", .len = 1 };
    assert_int_equal(shale_store_get_ranges(r->store, gets, WIRE), 0);
    for (unsigned i = 0; i < WIRE; i++)
        shale_buf_fini(&gets[i].out);
    return NULL;
}

/* Behind others that stay. */
static void what_is_given_up_in_line_counts_no_more(void **state)
{
    const struct http_rule held = { .hold = true, .status = 404 };
    struct cancel given_up = { .wanted = true };
    struct shale_buf b = SHALE_BUF_INIT;
    struct rig *r = *state;
    pthread_t thread;

    http_server_add(r->server, &held);
    assert_int_equal(pthread_create(&thread, NULL, fill_wire, r), 0);
    assert_true(http_server_wait(r->server, WIRE));
    (void)cancel_set(&given_up);
    assert_int_equal(shale_store_get(r->store, "root/a", &b), SHALE_ECANCELED);
    (void)cancel_set(NULL);
    assert_int_equal(look(r, "queued", "class", "foreground", NULL, NULL).value, 0);
    assert_int_equal(look(r, "in_flight", "class", "foreground", NULL, NULL).value, WIRE);
    http_server_clear(r->server);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(look(r, "in_flight", "class", "foreground", NULL, NULL).value, 0);
}

/* The retrying store counts them, and each request says which attempt of its call it is. */
static void attempts_are_told(void **state)
{
    const struct http_rule busy = { .method = "GET", .path = "/bucket/root/a", .times = 2, .status = 503 };
    struct rig *r = *state;
    const struct store_retry_options opt = { .base_ms = 1, .cap_ms = 1, .metrics = r->m };
    struct shale_store *patient = NULL;
    struct shale_buf b = SHALE_BUF_INIT;

    http_server_add(r->server, &busy);
    answer(r, "GET", "/bucket/root/a", 200, "x");
    assert_int_equal(store_retry_new(r->store, &opt, &patient), 0);
    assert_int_equal(shale_store_get(patient, "root/a", &b), 0);
    assert_int_equal(r->n, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(r->seen[i].attempt, i + 1);
    assert_int_equal(look(r, "retries", "class", "foreground", NULL, NULL).count, 2);
    assert_int_equal(look(r, "repeated_requests", "op", "get", "class", "foreground").count, 2);
    assert_int_equal(shale_store_get(patient, "root/a", &b), 0);
    assert_int_equal(last(r)->attempt, 1);
    shale_store_close(patient);
    shale_buf_fini(&b);
}

/* What differs there: pages, and uploads by blocks. */
static void azure_counts_by_the_same_names(void **state)
{
    static const char page[] = "<EnumerationResults></EnumerationResults>";
    struct rig *r = *state;
    char endpoint[80];
    const struct shale_azure_options azure = { .account = "acct", .key = "aHVzaA==", .endpoint = endpoint };
    const struct shale_store_options opt = { .azure = &azure, .watch = &r->watch };
    struct shale_store *s3 = r->store;
    char *path = NULL;

    snprintf(endpoint, sizeof(endpoint), "%s/acct", http_server_url(r->server));
    assert_int_equal(shale_store_open_with("az://bucket/root", false, &opt, &r->store, &path), 0);
    free(path);
    assert_string_equal(shale_store_origin(r->store), http_server_url(r->server));
    answer(r, "GET", "/acct/bucket", 200, page);
    answer(r, "PUT", "/acct/bucket/root/big", 201, NULL);
    if (shale_store_list(r->store, "root/", NULL, NULL, NULL) != 0)
        fail_msg("%s", shale_errmsg());
    assert_string_equal(r->objects[r->n - 1], "root/");
    upload(r, true);
    check_counts(r, "list", "foreground", 1, 0, sizeof(page) - 1);
    check_counts(r, "upload_part", "foreground", 2, (9 << 20) + 1, 0);
    assert_int_equal(look(r, "requests", "op", "upload_complete", "class", "foreground").count, 1);
    assert_string_equal(r->objects[r->n - 1], "root/big");
    shale_store_close(r->store);
    r->store = s3;
}

static void operations_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < SHALE_REQUEST_N_OPS; i++)
        assert_non_null(shale_request_op_name((enum shale_request_op)i));
    assert_null(shale_request_op_name(SHALE_REQUEST_N_OPS));
    assert_string_equal(shale_request_op_name(SHALE_REQUEST_UPLOAD_PART), "upload_part");
}

static void a_store_tells_its_server(void **state)
{
    struct rig *r = *state;
    struct shale_store *mem = NULL;

    assert_string_equal(shale_store_origin(r->store), http_server_url(r->server));
    assert_int_equal(shale_store_memory(&mem), 0);
    assert_null(shale_store_origin(mem));
    shale_store_close(mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_have_names),
        cmocka_unit_test_setup_teardown(each_operation_counts_under_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_of_an_upload_count_each, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_count_by_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_given_up_in_line_counts_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(attempts_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(azure_counts_by_the_same_names, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_tells_its_server, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
