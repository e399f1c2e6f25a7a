/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads in parts: what goes over the wire, what is sent again, and what is left behind, which is nothing.
 */

#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "lib/heap_count.h"
#include "lib/http_server.h"
#include "object/store.h"
#include "object/store_retry.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define PART (8 * MIB)
#define XML(code) "<Error><Code>" code "</Code></Error>"

static struct http_server *server;
static struct shale_store *store;
static uint8_t block[MIB];

static void open_at(const char *endpoint, int64_t stall_ms)
{
    const struct shale_s3_options opt = { .endpoint = endpoint, .region = "eu-west-3", .access_key = "AKTEST",
                                          .secret_key = "secret", .stall_ms = stall_ms };

    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    assert_int_equal(shale_store_s3("bucket", &opt, &store), 0);
}

static int setup(void **state)
{
    (void)state;
    server = http_server_start();
    open_at(http_server_url(server), 0);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)(i * 31 + i / 251);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shale_store_close(store);
    http_server_stop(server);
    return 0;
}

static const struct http_rule begins = { .method = "POST", .path = "/bucket/a", .times = 1,
                                         .body = "<InitiateMultipartUploadResult><UploadId>the-id</UploadId>"
                                                 "</InitiateMultipartUploadResult>" };
static const struct http_rule takes_parts = { .method = "PUT", .headers = "ETag: \"tag<&>\"\r\n" };
static const struct http_rule completes = { .method = "POST", .path = "/bucket/a",
                                            .body = "<CompleteMultipartUploadResult/>" };
static const struct http_rule aborts = { .method = "DELETE", .status = 204 };

static void add_rules(struct http_server *s)
{
    http_server_add(s, &begins);
    http_server_add(s, &takes_parts);
    http_server_add(s, &completes);
    http_server_add(s, &aborts);
}

static int write_blocks(struct shale_upload *u, unsigned n)
{
    int rc = 0;

    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = shale_upload_write(u, slice_of(block, sizeof(block)));
    return rc;
}

/* An upload that has begun at the store: one part and a bit are written. */
static struct shale_upload *begin(struct shale_store *s)
{
    struct shale_upload *u;

    assert_int_equal(shale_upload_begin(s, "a", &u), 0);
    assert_int_equal(write_blocks(u, 10), 0);
    assert_true(http_server_wait(server, 2));
    return u;
}

/* Requests whose method and query are these; the last one in *last. */
static unsigned count(const char *method, const char *query, const struct http_request **last)
{
    unsigned found = 0;

    for (unsigned i = 0; i < http_server_count(server); i++) {
        const struct http_request *r = http_server_request(server, i);
        const char *q = strchr(r->target, '?');

        if (strcmp(r->method, method) != 0 || strcmp(q ? q + 1 : "", query) != 0)
            continue;
        found++;
        if (last)
            *last = r;
    }
    return found;
}

static void parts_go_out_and_are_put_together(void **state)
{
    const struct http_request *r = NULL;
    struct shale_upload *u;

    (void)state;
    add_rules(server);
    u = begin(store);
    assert_int_equal(write_blocks(u, 9), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    assert_int_equal(count("PUT", "partNumber=1&uploadId=the-id", &r), 1);
    assert_int_equal(r->body_len, PART);
    assert_memory_equal(r->body + MIB, block, MIB);
    assert_int_equal(count("PUT", "partNumber=2&uploadId=the-id", &r), 1);
    assert_int_equal(r->body_len, PART);
    assert_int_equal(count("PUT", "partNumber=3&uploadId=the-id", &r), 1);
    assert_int_equal(r->body_len, 3 * MIB);
    assert_int_equal(count("POST", "uploadId=the-id", &r), 1);
    assert_non_null(strstr(r->body, "<Part><PartNumber>3</PartNumber>"
                                    "<ETag>&quot;tag&lt;&amp;&gt;&quot;</ETag></Part></Comp"));
    assert_int_equal(count("DELETE", "uploadId=the-id", NULL), 0);
    assert_int_equal(http_server_count(server), 5);
}

static void what_fits_into_a_part_is_one_put(void **state)
{
    const struct http_request *r = NULL;
    struct shale_upload *u;

    (void)state;
    add_rules(server);
    assert_int_equal(shale_upload_begin(store, "a", &u), 0);
    assert_int_equal(write_blocks(u, 3), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    assert_int_equal(http_server_count(server), 1);
    assert_int_equal(count("PUT", "", &r), 1);
    assert_int_equal(r->body_len, 3 * MIB);
    assert_int_equal(shale_upload_begin(store, "a", &u), 0);
    assert_int_equal(write_blocks(u, 8), 0); /* signed in chunks, or, as this server does not tell, once more as a whole */
    assert_int_equal(shale_upload_finish(u), 0);
    assert_int_equal(count("POST", "", NULL), 0);
    assert_int_equal(count("PUT", "", &r), 3);
    assert_int_equal(r->body_len, PART);
}

/* Each part once more, and only that. */
static void parts_that_fail_are_sent_again(void **state)
{
    const struct store_retry_options quick = { .base_ms = 1, .cap_ms = 4 };
    const struct http_rule busy = { .method = "PUT", .times = 3, .status = 503, .body = XML("SlowDown") };
    const struct http_rule lost = { .method = "PUT", .times = 1, .drop = true };
    const struct http_request *r = NULL;
    struct shale_upload *u;
    struct shale_store *s;

    (void)state;
    assert_int_equal(store_retry_new(store, &quick, &s), 0);
    http_server_add(server, &lost);
    http_server_add(server, &busy);
    add_rules(server);
    u = begin(s);
    assert_int_equal(write_blocks(u, 38), 0); /* more than are in flight at once */
    assert_int_equal(shale_upload_finish(u), 0);
    for (unsigned i = 1; i <= 6; i++) {
        char query[60];

        snprintf(query, sizeof(query), "partNumber=%u&uploadId=the-id", i);
        assert_true(count("PUT", query, &r) >= 1);
        assert_int_equal(r->body_len, PART);
        assert_memory_equal(r->body + 7 * MIB, block, MIB);
    }
    assert_int_equal(count("POST", "uploads=", NULL), 1);
    assert_int_equal(count("POST", "uploadId=the-id", &r), 1);
    assert_non_null(strstr(r->body, "<PartNumber>6</PartNumber>"));
    assert_int_equal(http_server_count(server), 2 + 6 + 4);
    shale_store_close(s);
}

static void a_failed_upload_leaves_nothing(void **state)
{
    const struct http_rule forbidden = { .method = "PUT", .status = 403, .body = XML("AccessDenied") };
    struct shale_upload *u;

    (void)state;
    http_server_add(server, &begins);
    http_server_add(server, &forbidden);
    http_server_add(server, &completes);
    http_server_add(server, &aborts);
    u = begin(store);
    assert_int_equal(shale_upload_finish(u), -EACCES);
    assert_int_equal(count("DELETE", "uploadId=the-id", NULL), 1);
    assert_int_equal(count("POST", "uploadId=the-id", NULL), 0);
}

/* The sentence is about what went wrong first, not about the parts that cannot be removed either. */
static void what_failed_is_told_though_the_abort_fails(void **state)
{
    const struct http_rule forbidden = { .method = "PUT", .status = 403, .body = XML("AccessDenied") };
    const struct http_rule keeps = { .method = "DELETE", .status = 403, .body = XML("AccessDenied") };

    (void)state;
    http_server_add(server, &begins);
    http_server_add(server, &forbidden);
    http_server_add(server, &keeps);
    assert_int_equal(shale_upload_finish(begin(store)), -EACCES);
    assert_int_equal(count("DELETE", "uploadId=the-id", NULL), 1);
    assert_non_null(strstr(shale_errmsg(), "cannot write a part of s3://bucket/a"));
}

static void an_aborted_upload_leaves_nothing(void **state)
{
    struct shale_upload *u;

    (void)state;
    add_rules(server);
    u = begin(store);
    shale_upload_abort(u);
    assert_int_equal(count("DELETE", "uploadId=the-id", NULL), 1);
    /* after the part */
    assert_string_equal(http_server_request(server, http_server_count(server) - 1)->method, "DELETE");
}

/* The keys are asked for anew, and the parts go on; the upload stays what it is. */
static void keys_may_expire_on_the_way(void **state)
{
    static const char first[] = "{\"AccessKeyId\":\"ONE\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
                                "\"Expiration\":\"2999-01-01T00:00:00Z\"}";
    static const char second[] = "{\"AccessKeyId\":\"TWO\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
                                 "\"Expiration\":\"2999-01-01T00:00:00Z\"}";
    const struct http_rule keys[] = { { .path = "/creds", .times = 1, .body = first },
                                      { .path = "/creds", .body = second } };
    const struct http_rule part = { .method = "PUT", .times = 1, .headers = "ETag: \"e\"\r\n" };
    const struct http_rule expired = { .method = "PUT", .times = 1, .status = 400, .body = XML("ExpiredToken") };
    const struct shale_s3_options opt = { .endpoint = http_server_url(server), .region = "eu-west-3" };
    const struct http_request *r = NULL;
    struct shale_upload *u;
    char url[100], value[300];

    (void)state;
    snprintf(url, sizeof(url), "%s/creds", http_server_url(server));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    shale_store_close(store);
    assert_int_equal(shale_store_s3("bucket", &opt, &store), 0);
    http_server_add(server, &keys[0]);
    http_server_add(server, &keys[1]);
    http_server_add(server, &part);
    http_server_add(server, &expired);
    add_rules(server);
    u = begin(store);
    assert_int_equal(write_blocks(u, 9), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    assert_int_equal(count("GET", "", NULL), 2);
    assert_int_equal(count("POST", "uploads=", NULL), 1);
    assert_int_equal(count("POST", "uploadId=the-id", &r), 1);
    assert_true(http_request_value(r, "authorization", value, sizeof(value)));
    assert_non_null(strstr(value, "Credential=TWO/"));
}

/* ---- putting together ---- */

/* Begins, with the answers to "complete" that the test wants; then the object is as the store has it. */
static struct shale_upload *begin_with(const struct http_rule *complete, size_t n)
{
    struct shale_upload *u;

    http_server_add(server, &begins);
    http_server_add(server, &takes_parts);
    u = begin(store);
    for (size_t i = 0; i < n; i++)
        http_server_add(server, &complete[i]);
    http_server_add(server, &aborts);
    return u;
}

/* It has been put together by the request whose answer was lost: the put id tells. */
static void check_lost_reply(bool ours)
{
    const struct http_rule answers[] = { { .method = "POST", .times = 1, .drop = true },
                                         { .method = "POST", .status = 404, .body = XML("NoSuchUpload") } };
    const struct http_rule down = { .method = "HEAD", .times = 1, .status = 503 };
    static char body[10 * MIB];
    struct shale_upload *u = begin_with(answers, 2);
    char id[40], headers[200];
    int rc, passed = 0;
    struct http_rule head = { .method = "HEAD", .headers = headers, .body = body, .body_len = sizeof(body) };

    assert_true(http_request_value(http_server_request(server, 0), "x-amz-meta-slatedbputid", id, sizeof(id)));
    assert_int_equal(strlen(id), SHALE_PUT_ID_LEN);
    snprintf(headers, sizeof(headers),
             "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nx-amz-meta-slatedbputid: %s\r\n",
             ours ? id : "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    http_server_add(server, &down);
    http_server_add(server, &head);
    do /* lost, unless libcurl has sent it again; then gone, but whether the object is there is not told */
        rc = store_upload_try_finish(u);
    while (rc == SHALE_ETRANSIENT && ++passed < 10);
    assert_in_range(passed, 1, 2);
    assert_int_equal(rc, ours ? 0 : -EIO);
    assert_int_equal(count("DELETE", "uploadId=the-id", NULL), ours ? 0 : 1);
    if (!ours)
        assert_non_null(strstr(shale_errmsg(), "the store has lost the parts that were uploaded"));
}

static void a_lost_reply_is_looked_for(void **state)
{
    (void)state;
    check_lost_reply(true);
}

static void the_object_of_another_is_not_ours(void **state)
{
    (void)state;
    check_lost_reply(false);
}

/* The status says success before the store knows. */
static void an_error_may_follow_a_success(void **state)
{
    const struct http_rule answers[] = {
        { .method = "POST", .times = 1, .body = XML("InternalError") },
        { .method = "POST", .times = 1, .body = "<CompleteMultipart" },
        { .method = "POST", .times = 1, .body = "<CompleteMultipartUploadResult/>" },
    };
    const struct http_rule denied = { .method = "POST", .body = XML("AccessDenied") };
    struct shale_upload *u;

    (void)state;
    u = begin_with(answers, 3);
    assert_int_equal(store_upload_try_finish(u), SHALE_ETRANSIENT);
    assert_non_null(strstr(shale_errmsg(), "the store answers 200 InternalError"));
    assert_int_equal(store_upload_try_finish(u), SHALE_ETRANSIENT);
    assert_int_equal(store_upload_try_finish(u), 0);
    http_server_clear(server);
    u = begin_with(&denied, 1);
    assert_int_equal(shale_upload_finish(u), -EIO);
    assert_non_null(strstr(shale_errmsg(), "the store answers 200 AccessDenied"));
    assert_int_equal(count("DELETE", "uploadId=the-id", NULL), 1);
}

/* Blanks keep the connection alive while the store works; at the rate that counts elsewhere it would be given up. */
static void a_store_may_take_its_time(void **state)
{
    const struct http_rule slow = { .method = "POST", .drip_ms = 40,
                                    .body = "<?xml version=\"1.0\"?>     <CompleteMultipartUploadResult/>" };

    (void)state;
    shale_store_close(store);
    open_at(http_server_url(server), 1000);
    assert_int_equal(shale_upload_finish(begin_with(&slow, 1)), 0);
}

/* ---- memory ---- */

/* The server is another process, so that its memory does not count. */
static pid_t fork_server(char *url, size_t size)
{
    int fds[2];
    pid_t pid;
    ssize_t n;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct http_server *s;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        s = http_server_start();
        add_rules(s);
        (void)!write(fds[1], http_server_url(s), strlen(http_server_url(s)) + 1);
        for (;;)
            pause();
    }
    close(fds[1]);
    n = read(fds[0], url, size);
    close(fds[0]);
    assert_true(n > 0);
    return pid;
}

static void memory_is_bounded(void **state)
{
    char url[80];
    pid_t pid = fork_server(url, sizeof(url));
    struct shale_upload *u;

    (void)state;
    open_at(url, 0);
    heap_count_begin();
    assert_int_equal(shale_upload_begin(store, "a", &u), 0);
    assert_int_equal(write_blocks(u, 200), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    print_message("peak %zu MiB\n", heap_count_peak() / MIB);
    assert_true(heap_count_peak() < 64 * MIB); /* four parts in flight, one that gathers, and how buffers grow */
    shale_store_close(store);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The one that forks first: there are no threads yet. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_bounded),
        T(parts_go_out_and_are_put_together),
        T(what_fits_into_a_part_is_one_put),
        T(parts_that_fail_are_sent_again),
        T(keys_may_expire_on_the_way),
        T(a_failed_upload_leaves_nothing),
        T(what_failed_is_told_though_the_abort_fails),
        T(an_aborted_upload_leaves_nothing),
        T(a_lost_reply_is_looked_for),
        T(the_object_of_another_is_not_ours),
        T(an_error_may_follow_a_success),
        T(a_store_may_take_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
