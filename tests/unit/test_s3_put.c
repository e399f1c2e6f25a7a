/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/heap_fault.h"
#include "lib/http_server.h"

#include "base/buf.h"
#include "object/store.h"

#include <errno.h>
#include <shale/object_store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In which form a large put goes out, by a scripted server that takes chunks, refuses them, or keeps them as they are. */

#define LEN ((size_t)5 << 20)
#define STREAMING "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
#define MODIFIED "Last-Modified: Wed, 01 May 2024 12:34:56 GMT\r\n"
#define ETAG "ETag: \"x\"\r\n"
#define PUT_ID "01HXXXXXXXXXXXXXXXXXXXXXX1"

static struct http_server *server;
static struct shale_store *store;
static uint8_t body[LEN];
static char size_of_body[64], size_of_chunks[64];

static int open_store(const struct shale_s3_options *opt)
{
    server = http_server_start();
    setenv("AWS_ENDPOINT_URL_S3", http_server_url(server), 1);
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    for (size_t i = 0; i < LEN; i++)
        body[i] = (uint8_t)(i * 7 + i / 4096);
    snprintf(size_of_body, sizeof(size_of_body), "%zu", LEN);
    snprintf(size_of_chunks, sizeof(size_of_chunks), "%zu", LEN + 700);
    return shale_store_s3("bucket", opt, &store);
}

static int setup(void **state)
{
    const struct shale_s3_options opt = { .access_key = "key", .secret_key = "secret", .region = "r" };

    (void)state;
    assert_int_equal(open_store(&opt), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shale_store_close(store);
    http_server_stop(server);
    return 0;
}

static void put_is_answered(int status, const char *text)
{
    const struct http_rule r = { .method = "PUT", .times = 1, .status = status, .headers = ETAG, .body = text };

    http_server_add(server, &r);
}

/* len NULL: it does not know. The body of the answer to a HEAD is never sent. */
static void head_is_answered(const char *len)
{
    const struct http_rule r = { .method = "HEAD", .times = 1, .status = len ? 200 : 503, .headers = ETAG MODIFIED,
                                 .body = (const char *)body, .body_len = len ? (size_t)atoll(len) : 1 };

    http_server_add(server, &r);
}

static int put(enum shale_put_mode mode)
{
    return shale_store_put(store, "a", slice_of(body, LEN), mode);
}

/* The i-th request, as "PUT chunks", "PUT whole if", "HEAD" and the like. */
static void check_request(unsigned i, const char *want)
{
    const struct http_request *r = http_server_request(server, i);
    char sha[80], decoded[32], value[32], got[64];
    bool chunks, put = strcmp(r->method, "PUT") == 0;

    assert_true(http_request_value(r, "x-amz-content-sha256", sha, sizeof(sha)));
    chunks = strcmp(sha, STREAMING) == 0;
    snprintf(got, sizeof(got), "%s%s%s", r->method, !put ? "" : chunks ? " chunks" : " whole",
             http_request_value(r, "if-none-match", value, sizeof(value)) ? " if" : "");
    if (strcmp(got, want) != 0)
        fail_msg("request %u is %s, not %s", i, got, want);
    assert_int_equal(http_request_value(r, "x-amz-decoded-content-length", decoded, sizeof(decoded)), put && chunks);
    if (put && chunks)
        assert_string_equal(decoded, size_of_body);
    if (put && !chunks)
        assert_memory_equal(r->body, body, LEN);
    if (put)
        assert_int_equal(r->body_len, chunks ? LEN + 5 * (89 + 2) + 84 + 2 : LEN);
}

static void check_requests(unsigned from, const char *const *want)
{
    unsigned n = 0;

    for (; want[n]; n++)
        check_request(from + n, want[n]);
    assert_int_equal(http_server_count(server), from + n);
}

#define REQUESTS(from, ...) check_requests(from, (const char *const[]){ __VA_ARGS__, NULL })

static void chunks_are_taken(void **state)
{
    (void)state;
    put_is_answered(200, "");
    head_is_answered(size_of_body);
    put_is_answered(200, "");
    assert_int_equal(put(SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(put(SHALE_PUT_OVERWRITE), 0);
    REQUESTS(0, "PUT chunks if", "HEAD", "PUT chunks");
}

/* What it stored is ours, whatever it is: it is overwritten, and the object is never taken for somebody else's. */
static void chunks_are_stored_as_they_are(void **state)
{
    static const char *const sizes[] = { size_of_chunks, NULL };

    for (size_t i = 0; i < 2; i++) {
        put_is_answered(200, "");
        head_is_answered(sizes[i]);
        put_is_answered(200, "");
        put_is_answered(200, "");
        assert_int_equal(put(SHALE_PUT_IF_ABSENT), 0);
        assert_int_equal(put(SHALE_PUT_IF_ABSENT), 0);
        REQUESTS(0, "PUT chunks if", "HEAD", "PUT whole", "PUT whole if");
        teardown(state);
        setup(state);
    }
}

static void chunks_are_refused(void **state)
{
    static const int statuses[] = { 400, 403, 411, 501 };

    for (size_t i = 0; i < 4; i++) {
        put_is_answered(statuses[i], "<Error><Code>NotImplemented</Code></Error>");
        put_is_answered(200, "");
        put_is_answered(200, "");
        assert_int_equal(put(SHALE_PUT_IF_ABSENT), 0);
        assert_int_equal(put(SHALE_PUT_OVERWRITE), 0);
        REQUESTS(0, "PUT chunks if", "PUT whole if", "PUT whole");
        teardown(state);
        setup(state);
    }
}

/* As by a bit that fell over on the way. The form stays. */
static void chunks_that_worked_are_refused(void **state)
{
    (void)state;
    put_is_answered(200, "");
    head_is_answered(size_of_body);
    put_is_answered(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    put_is_answered(200, "");
    put_is_answered(200, "");
    for (int i = 0; i < 3; i++)
        assert_int_equal(put(SHALE_PUT_IF_ABSENT), 0);
    REQUESTS(0, "PUT chunks if", "HEAD", "PUT chunks if", "PUT whole if", "PUT chunks if");
}

/* The error is that of the form that every store takes. */
static void a_refusal_of_both_forms_is_told(void **state)
{
    (void)state;
    put_is_answered(403, "<Error><Code>AccessDenied</Code></Error>");
    put_is_answered(403, "<Error><Code>AccessDenied</Code></Error>");
    assert_int_equal(put(SHALE_PUT_OVERWRITE), -EACCES);
    assert_non_null(strstr(shale_errmsg(), "cannot write s3://bucket/a: permission refused"));
    REQUESTS(0, "PUT chunks", "PUT whole");
}

/* What may pass says nothing of the form, and is not answered by another request. */
static void what_may_pass_is_left_to_others(void **state)
{
    (void)state;
    put_is_answered(503, "<Error><Code>SlowDown</Code></Error>");
    put_is_answered(412, "<Error><Code>PreconditionFailed</Code></Error>");
    assert_int_equal(put(SHALE_PUT_OVERWRITE), SHALE_ETRANSIENT);
    REQUESTS(0, "PUT chunks");
    head_is_answered(size_of_body); /* whose it is: not ours */
    assert_int_equal(put(SHALE_PUT_IF_ABSENT), -EEXIST);
    REQUESTS(1, "PUT chunks if", "HEAD");
}

/* The answer of the first put is lost, so nobody has looked at what it stored; the second finds it there. */
static void what_a_lost_answer_left_is_looked_at(void **state)
{
    static const char *const sizes[] = { size_of_body, size_of_chunks };
    const struct http_rule lost = { .method = "PUT", .times = 1, .drop = true };

    for (size_t i = 0; i < 2; i++) {
        const struct http_rule ours = { .method = "HEAD", .times = 1, .body = (const char *)body,
                                        .body_len = (size_t)atoll(sizes[i]),
                                        .headers = ETAG MODIFIED "x-amz-meta-slatedbputid: " PUT_ID "\r\n" };

        http_server_add(server, &lost);
        put_is_answered(412, "<Error><Code>PreconditionFailed</Code></Error>");
        http_server_add(server, &ours);
        assert_int_equal(store_put_with_id(store, "a", slice_of(body, LEN), SHALE_PUT_IF_ABSENT, PUT_ID), SHALE_ETRANSIENT);
        if (i == 1) {
            put_is_answered(200, "");
            head_is_answered(size_of_chunks);
            put_is_answered(200, "");
        }
        assert_int_equal(store_put_with_id(store, "a", slice_of(body, LEN), SHALE_PUT_IF_ABSENT, PUT_ID), 0);
        if (i == 0)
            REQUESTS(0, "PUT chunks if", "PUT chunks if", "HEAD");
        else
            REQUESTS(0, "PUT chunks if", "PUT chunks if", "HEAD", "PUT chunks", "HEAD", "PUT whole");
        teardown(state);
        setup(state);
    }
}

static void small_ones_and_unsigned_ones_go_out_whole(void **state)
{
    const struct shale_s3_options anonymous = { .anonymous = true, .region = "r" };
    const struct shale_s3_options unsigned_payload = { .access_key = "key", .secret_key = "secret", .region = "r",
                                                       .unsigned_payload = true };
    const struct http_rule ok = { .method = "PUT", .headers = ETAG };
    char sha[80];

    http_server_add(server, &ok);
    assert_int_equal(shale_store_put(store, "a", slice_of(body, (4 << 20) - 1), SHALE_PUT_OVERWRITE), 0);
    assert_true(http_request_value(http_server_request(server, 0), "x-amz-content-sha256", sha, sizeof(sha)));
    assert_int_equal(strlen(sha), 64);
    teardown(state);
    assert_int_equal(open_store(&anonymous), 0);
    http_server_add(server, &ok);
    assert_int_equal(put(SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(http_server_request(server, 0)->body_len, LEN);
    assert_int_equal(http_server_count(server), 1);
    teardown(state);
    assert_int_equal(open_store(&unsigned_payload), 0);
    http_server_add(server, &ok);
    assert_int_equal(put(SHALE_PUT_OVERWRITE), 0);
    assert_true(http_request_value(http_server_request(server, 0), "x-amz-content-sha256", sha, sizeof(sha)));
    assert_string_equal(sha, "UNSIGNED-PAYLOAD");
    assert_int_equal(http_server_request(server, 0)->body_len, LEN);
}

/* Without memory at any place: an error, or the other form; never an object that is not the body. */
static void each_allocation_fails(void **state)
{
    const struct http_rule ok = { .method = "PUT", .headers = ETAG };
    const struct http_rule head = { .method = "HEAD", .headers = ETAG MODIFIED, .body = (const char *)body, .body_len = LEN };
    unsigned n = 0;
    bool failed;

    (void)state;
    http_server_add(server, &ok);
    http_server_add(server, &head);
    do {
        int rc;

        heap_fault_after(++n);
        rc = put(SHALE_PUT_OVERWRITE);
        failed = heap_fault_off();
        if (rc < 0)
            print_message("%u: %d, %s\n", n, rc, shale_errmsg());
        assert_true(rc == 0 || (failed && (rc == -ENOMEM || rc == SHALE_ETRANSIENT)));
    } while (failed && n < 500);
    assert_in_range(n, 5, 499);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(chunks_are_taken),
        T(chunks_are_stored_as_they_are),
        T(chunks_are_refused),
        T(chunks_that_worked_are_refused),
        T(a_refusal_of_both_forms_is_told),
        T(what_may_pass_is_left_to_others),
        T(what_a_lost_answer_left_is_looked_at),
        T(small_ones_and_unsigned_ones_go_out_whole),
        T(each_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
