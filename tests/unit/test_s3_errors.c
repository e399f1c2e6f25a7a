/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stores, proxies and login pages answer, as AWS, Ceph's radosgw, MinIO and others do, and the one sentence that
 * comes of it. No secret is in any.
 */

#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "lib/http_server.h"
#include "lib/temp_dir.h"
#include "object/store.h"
#include "object/store_retry.h"

#include <errno.h>
#include <shale/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SECRET "HUSH-secret"
#define TOKEN "HUSH-token"
#define XML(code, rest) "<?xml version=\"1.0\"?><Error><Code>" code "</Code>" rest "</Error>"
#define PAGE "Content-Type: text/html; charset=utf-8\r\nServer: squid\r\n"
#define MESSAGE(text) "<Message>" text "</Message>"

enum op { GET, HEAD, PUT, CREATE, LIST, REMOVE, REMOVE_TWO };

static struct http_server *server;
static struct shale_store *store;

static int open_at(const char *endpoint, const char *ca_file, const char *token, bool anonymous)
{
    const struct shale_s3_options opt = { .endpoint = endpoint, .region = "eu-west-3", .ca_file = ca_file,
                                          .access_key = anonymous ? NULL : "AKTEST",
                                          .secret_key = anonymous ? NULL : SECRET,
                                          .session_token = anonymous ? NULL : token, .anonymous = anonymous,
                                          .connect_ms = 20000 };

    return shale_store_s3("bucket", &opt, &store);
}

static int setup(void **state)
{
    (void)state;
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    server = http_server_start();
    return open_at(http_server_url(server), NULL, NULL, false);
}

static int teardown(void **state)
{
    (void)state;
    unsetenv("http_proxy");
    shale_store_close(store);
    http_server_stop(server);
    store = NULL;
    server = NULL;
    return 0;
}

static int take(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)arg, (void)name, (void)meta;
    return 0;
}

static int run(struct shale_store *s, enum op op)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_object_meta meta;
    int rc = -1;

    switch (op) {
    case GET:
        rc = shale_store_get(s, "p/a", &out);
        break;
    case HEAD:
        rc = shale_store_head(s, "p/a", &meta);
        break;
    case PUT:
    case CREATE:
        rc = shale_store_put(s, "p/a", slice_str("x"), op == PUT ? SHALE_PUT_OVERWRITE : SHALE_PUT_IF_ABSENT);
        break;
    case LIST:
        rc = shale_store_list(s, "p/", NULL, take, NULL);
        break;
    case REMOVE:
        rc = shale_store_delete(s, "p/a");
        break;
    case REMOVE_TWO:
        rc = shale_store_delete_many(s, (const char *const[]){ "p/a", "p/b" }, 2);
        break;
    }
    shale_buf_fini(&out);
    return rc;
}

static void check_sentence(const char *want)
{
    char text[700], *at;

    print_message("  %s\n", shale_errmsg());
    assert_null(strstr(shale_errmsg(), "HUSH"));
    assert_null(strpbrk(shale_errmsg(), "\r\n"));
    /* @ stands for the address of the server */
    at = strchr(want, '@');
    if (at && strncmp(at, "@HOST", 5) != 0)
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - want), want, http_server_url(server), at + 1);
    else
        snprintf(text, sizeof(text), "%s", want);
    assert_string_equal(shale_errmsg(), text);
}

/* ---- the table ---- */

#define READ "cannot read s3://bucket/p/a: "
#define FROM "the options"
#define NOT_A_STORE ", not as an S3 store does; check the endpoint, and whether a proxy or a login page is in between"

static const struct {
    enum op op;
    int status;
    const char *headers, *body;
    int rc;
    const char *sentence;
} table[] = {
    /* keys */
    { GET, 403, NULL, XML("SignatureDoesNotMatch", MESSAGE("The signature we calculated does not match.")), -EACCES,
      READ "the secret key is not the one of access key AKTEST; both are from " FROM ": correct them there" },
    { HEAD, 403, NULL, XML("SignatureDoesNotMatch", ""), -EACCES,
      "cannot look at s3://bucket/p/a: the secret key is not the one of access key AKTEST; both are from " FROM
      ": correct them there" },
    { HEAD, 403, "x-minio-error-code: InvalidAccessKeyId\r\n", NULL, -EACCES,
      "cannot look at s3://bucket/p/a: the store does not know access key AKTEST, which is from " FROM
      "; correct it there, or check the endpoint @" },
    { LIST, 403, NULL, XML("InvalidAccessKeyId", ""), -EACCES,
      "cannot list s3://bucket: the store does not know access key AKTEST, which is from " FROM
      "; correct it there, or check the endpoint @" },
    { GET, 400, NULL, XML("ExpiredToken", MESSAGE("The provided token has expired.")), -EACCES,
      READ "the session token from " FROM " has expired; get a new one" },
    { GET, 403, NULL, XML("ExpiredToken", ""), -EACCES,
      READ "the session token from " FROM " has expired; get a new one" },
    { PUT, 400, NULL, XML("InvalidToken", "<Token-0>" TOKEN "</Token-0>"), -EACCES,
      "cannot write s3://bucket/p/a: the store does not accept the session token from " FROM
      "; get new keys with their token, or keys that need none" },
    /* permission */
    { GET, 403, NULL, XML("AccessDenied", MESSAGE("Access Denied.")), -EACCES,
      READ "permission refused (403 AccessDenied) to access key AKTEST from " FROM
      ": Access Denied; it needs s3:GetObject on it and s3:ListBucket on the bucket" },
    { PUT, 403, NULL, XML("AccessDenied", ""), -EACCES,
      "cannot write s3://bucket/p/a: permission refused (403 AccessDenied) to access key AKTEST from " FROM
      "; it needs s3:PutObject on it" },
    { LIST, 403, NULL, XML("AccessDenied", ""), -EACCES,
      "cannot list s3://bucket: permission refused (403 AccessDenied) to access key AKTEST from " FROM
      "; it needs s3:ListBucket on the bucket" },
    { REMOVE, 403, NULL, XML("AccessDenied", ""), -EACCES,
      "cannot delete s3://bucket/p/a: permission refused (403 AccessDenied) to access key AKTEST from " FROM
      "; it needs s3:DeleteObject on it" },
    { HEAD, 403, NULL, NULL, -EACCES,
      "cannot look at s3://bucket/p/a: permission refused (403 Forbidden) to access key AKTEST from " FROM
      "; it needs s3:GetObject on it and s3:ListBucket on the bucket" },
    { GET, 401, NULL, XML("Unauthorized", ""), -EACCES,
      READ "permission refused (401 Unauthorized) to access key AKTEST from " FROM
      "; it needs s3:GetObject on it and s3:ListBucket on the bucket" },
    /* place */
    { GET, 404, NULL, XML("NoSuchBucket", ""), -EIO,
      READ "there is no such bucket at @; create it, or check the name and the region" },
    { GET, 400, NULL, XML("AuthorizationHeaderMalformed", "<Region>us-west-2</Region>"), -EINVAL,
      READ "the bucket is in region us-west-2, not eu-west-3; set AWS_REGION=us-west-2 or the option region" },
    { HEAD, 400, "x-amz-bucket-region: us-west-2\r\n", NULL, -EINVAL,
      "cannot look at s3://bucket/p/a: the bucket is in region us-west-2, not eu-west-3; set AWS_REGION=us-west-2 or "
      "the option region" },
    { HEAD, 301, "x-amz-bucket-region: us-west-2\r\n", NULL, -EINVAL,
      "cannot look at s3://bucket/p/a: the bucket is in region us-west-2, not eu-west-3; set AWS_REGION=us-west-2 or "
      "the option region" },
    { GET, 301, NULL, XML("PermanentRedirect", "<Endpoint>bucket.s3.test</Endpoint>"), -EINVAL,
      READ "the bucket is at bucket.s3.test, not at @ (301 PermanentRedirect); set the endpoint, or the region to that "
      "of the bucket" },
    { GET, 307, "Location: https://bucket.s3.test/p/a\r\n",
      XML("TemporaryRedirect", "<Endpoint>bucket.s3.test</Endpoint>"), -EINVAL,
      READ "the bucket is at bucket.s3.test, not at @ (307 TemporaryRedirect); set the endpoint, or the region to that "
      "of the bucket" },
    { GET, 400, NULL, XML("IllegalLocationConstraintException", ""), -EINVAL,
      READ "the bucket is not at @ in region eu-west-3 (400 IllegalLocationConstraintException); check the endpoint "
      "and the region" },
    /* room */
    { PUT, 403, NULL, XML("QuotaExceeded", ""), -ENOSPC,
      "cannot write s3://bucket/p/a: the quota is used up (403 QuotaExceeded); raise it, or delete something" },
    { PUT, 400, NULL, XML("XMinioAdminBucketQuotaExceeded", ""), -ENOSPC,
      "cannot write s3://bucket/p/a: the quota is used up (400 XMinioAdminBucketQuotaExceeded); raise it, or delete "
      "something" },
    { PUT, 507, NULL, XML("XMinioStorageFull", ""), -ENOSPC,
      "cannot write s3://bucket/p/a: the store is full (507); make room there" },
    { GET, 403, NULL, XML("InvalidObjectState", ""), -EIO,
      READ "the object is in an archive (403 InvalidObjectState); restore it there, and take the volume out of the "
      "bucket's life-cycle rules" },
    { CREATE, 501, NULL, XML("NotImplemented", ""), -EOPNOTSUPP,
      "cannot write s3://bucket/p/a: the store cannot do that (501 NotImplemented); without conditional puts it cannot "
      "hold a database" },
    /* no store at all */
    { GET, 200, PAGE, "<html>log in</html>", -EIO,
      READ "@ answers 200 with a web page, by squid" NOT_A_STORE },
    { HEAD, 403, PAGE, NULL, -EIO,
      "cannot look at s3://bucket/p/a: @ answers 403 with a web page, by squid" NOT_A_STORE },
    { PUT, 403, PAGE, "<html>no, " TOKEN "</html>", -EIO,
      "cannot write s3://bucket/p/a: @ answers 403 with a web page, by squid" NOT_A_STORE },
    { GET, 302, "Location: https://login.test/?from=" TOKEN "\r\n", NULL, -EIO,
      READ "@ answers 302, which sends us to https://login.test" NOT_A_STORE },
    { GET, 302, PAGE "Location: https://login.test?" TOKEN "\r\n", "<html>moved</html>", -EIO,
      READ "@ answers 302 with a web page, by squid, which sends us to https://login.test" NOT_A_STORE },
    { PUT, 200, "Content-Type: text/plain\r\n", "ok", -EIO, "cannot write s3://bucket/p/a: @ answers 200" NOT_A_STORE },
    { LIST, 200, "Content-Type: text/xml\r\n", "<html xmlns=\"http://www.w3.org/1999/xhtml\"/>", -EIO,
      "cannot list s3://bucket: @ answers 200" NOT_A_STORE },
    { REMOVE_TWO, 200, NULL, "<DeleteResult><Error><Key>p/b</Key><Code>AccessDenied</Code></Error></DeleteResult>",
      -EACCES,
      "cannot delete objects of s3://bucket: permission refused (AccessDenied) for p/b; it needs s3:DeleteObject" },
    { REMOVE_TWO, 200, NULL, "<DeleteResult><Error><Key>p/b</Key><Code>SlowDown</Code></Error></DeleteResult>",
      SHALE_ETRANSIENT, "cannot delete objects of s3://bucket: the store did not delete p/b: SlowDown" },
    { REMOVE_TWO, 200, NULL, "<ok/>", SHALE_ETRANSIENT,
      "cannot delete objects of s3://bucket: the store's answer is not understood" },
    { GET, 511, NULL, NULL, -EIO, READ "@ answers 511" NOT_A_STORE },
    { GET, 400, "Content-Type: text/plain\r\n", "Client sent an HTTP request to an HTTPS server.\n", -EIO,
      READ "@ answers 400" NOT_A_STORE },
    { GET, 404, "Content-Type: text/plain\r\n", "not here", -EIO, READ "@ answers 404" NOT_A_STORE },
    { GET, 407, PAGE, "<html>log in</html>", -EACCES,
      READ "a proxy wants a login (407); give its URL one, as in http_proxy=http://USER:PASSWORD@HOST:PORT, or set "
      "no_proxy" },
    { PUT, 413, PAGE, "<html>too large</html>", -EFBIG,
      "cannot write s3://bucket/p/a: @ answers 413, by squid, to a body of 1 bytes; raise the limit of what is in "
      "front of the store, as client_max_body_size of nginx" },
    { GET, 502, PAGE, "<html>bad gateway</html>", SHALE_ETRANSIENT,
      READ "@ answers 502 with a web page, by squid" NOT_A_STORE },
    /* what passes */
    { PUT, 503, NULL, XML("SlowDown", MESSAGE("Please reduce your request rate.")), SHALE_ETRANSIENT,
      "cannot write s3://bucket/p/a: the store answers 503 SlowDown: Please reduce your request rate" },
    { GET, 429, NULL, NULL, SHALE_ETRANSIENT, READ "the store answers 429" },
    { GET, 400, NULL, XML("RequestTimeout", ""), SHALE_ETRANSIENT, READ "the store answers 400 RequestTimeout" },
    { PUT, 409, NULL, XML("ConditionalRequestConflict", ""), SHALE_ETRANSIENT,
      "cannot write s3://bucket/p/a: the store answers 409 ConditionalRequestConflict" },
    { GET, 500, NULL, XML("InternalError", MESSAGE("two\nlines")), SHALE_ETRANSIENT,
      READ "the store answers 500 InternalError: two lines" },
    { GET, 504, NULL, NULL, SHALE_ETRANSIENT, READ "the store answers 504" },
    /* and the rest */
    { GET, 404, NULL, XML("NoSuchKey", ""), -ENOENT, READ "there is no such object" },
    { GET, 404, NULL, NULL, -ENOENT, READ "there is no such object" },
    { PUT, 404, NULL, XML("NoSuchUpload", ""), -ENOENT,
      "cannot write s3://bucket/p/a: the store does not know the upload any more; a life-cycle rule of the bucket that "
      "ends uploads has to leave them more time" },
    /* Swift's XML is text/html */
    { GET, 404, PAGE, XML("NoSuchKey", ""), -ENOENT, READ "there is no such object" },
    { HEAD, 404, PAGE, XML("NoSuchKey", ""), -ENOENT, "cannot look at s3://bucket/p/a: there is no such object" },
    { GET, 404, PAGE, NULL, -ENOENT, READ "there is no such object" },
    { HEAD, 404, PAGE, "<html>not here</html>", -EIO,
      "cannot look at s3://bucket/p/a: @ answers 404 with a web page, by squid" NOT_A_STORE },
    { GET, 405, NULL, XML("MethodNotAllowed", ""), -EIO, READ "the store answers 405 MethodNotAllowed" },
    { GET, 418, NULL, NULL, -EIO, READ "the store answers 418" },
};

static void each_answer_has_its_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct http_rule rule = { .status = table[i].status, .headers = table[i].headers, .body = table[i].body };

        http_server_add(server, &rule);
        print_message("%d %s\n", table[i].status, table[i].body ? table[i].body : "(no body)");
        assert_int_equal(run(store, table[i].op), table[i].rc);
        check_sentence(table[i].sentence);
        http_server_clear(server);
        /* as if each were the first that is heard of the store */
        shale_store_close(store);
        assert_int_equal(open_at(http_server_url(server), NULL, TOKEN, false), 0);
    }
}

static void anonymous_access_may_be_refused(void **state)
{
    const struct http_rule rule = { .status = 403, .body = XML("AccessDenied", "") };

    (void)state;
    shale_store_close(store);
    assert_int_equal(open_at(http_server_url(server), NULL, NULL, true), 0);
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), -EACCES);
    check_sentence(READ "the store refuses anonymous access (403 AccessDenied); give keys, as by AWS_ACCESS_KEY_ID and "
                   "AWS_SECRET_ACCESS_KEY");
}

/* ---- clocks ---- */

/* A header "NAME: date" of so many seconds from now. */
static const char *date_header(const char *name, int64_t seconds)
{
    static char text[80];
    time_t t = (time_t)(clock_wall_ms() / 1000 + seconds);
    struct tm tm;
    size_t n = (size_t)snprintf(text, sizeof(text), "%s: ", name);

    strftime(text + n, sizeof(text) - n, "%a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&t, &tm));
    return text;
}

/* Of the sentence about a clock that is `seconds` off; it may have ticked meanwhile. */
static void check_clock(int64_t seconds, const char *word)
{
    const char *at = strstr(shale_errmsg(), "this host's clock is ");
    char says[100];
    long told;

    print_message("  %s\n", shale_errmsg());
    assert_non_null(at);
    told = strtol(at + strlen("this host's clock is "), NULL, 10);
    assert_in_range(told, seconds - 60, seconds + 60);
    snprintf(says, sizeof(says), " s %s the store's, which accepts 15 minutes; set the clock", word);
    assert_non_null(strstr(at, says));
}

static void a_wrong_clock_is_told(void **state)
{
    struct http_rule rule = { .status = 403, .body = XML("RequestTimeTooSkewed", ""),
                              .headers = date_header("Date", 1200) };

    (void)state;
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), -EACCES);
    check_clock(1200, "behind");
    assert_int_equal(run(store, HEAD), -EACCES); /* its answer has no body */
    check_clock(1200, "behind");
    http_server_clear(server);
    rule.headers = date_header("Date", -1200);
    http_server_add(server, &rule);
    assert_int_equal(run(store, PUT), -EACCES);
    check_clock(1200, "ahead of");
}

/* Signed before this host slept, sent afterwards: the clocks agree, and another attempt is signed anew. */
static void a_request_that_slept_is_made_again(void **state)
{
    const struct http_rule skewed = { .status = 403, .body = XML("RequestTimeTooSkewed", ""), .times = 2,
                                      .headers = date_header("Date", 0) };
    const struct http_rule rule = { .body = "hello" };
    const struct store_retry_options quick = { .base_ms = 1, .cap_ms = 4 };
    struct shale_store *s;
    char first[40], last[40];

    (void)state;
    http_server_add(server, &skewed);
    http_server_add(server, &rule);
    assert_int_equal(store_retry_new(store, &quick, &s), 0);
    assert_int_equal(run(s, GET), 0);
    assert_int_equal(http_server_count(server), 3);
    assert_true(http_request_value(http_server_request(server, 0), "x-amz-date", first, sizeof(first)));
    assert_true(http_request_value(http_server_request(server, 2), "x-amz-date", last, sizeof(last)));
    assert_true(strcmp(first, last) <= 0);
    shale_store_close(s);
}

/* ---- a store that is known ---- */

/* What would be a mistake at first is an outage then: a login page, another's certificate, a clock not yet set. */
static void what_comes_between_later_passes(void **state)
{
    static const struct {
        int status;
        const char *headers, *body;
    } between[] = {
        { 200, PAGE, "<html>log in</html>" }, { 302, "Location: https://login.test/\r\n", NULL },
        { 403, PAGE, "<html>no</html>" },     { 407, PAGE, "<html>log in</html>" },
        { 307, NULL, XML("TemporaryRedirect", "<Endpoint>bucket.s3.test</Endpoint>") },
        { 511, NULL, NULL },                  { 413, PAGE, "<html>too large</html>" },
        { 403, "x-skewed: 1\r\n", XML("RequestTimeTooSkewed", "") },
    };
    const struct http_rule rule = { .body = "hello", .headers = "ETag: \"e\"\r\n" };

    (void)state;
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), 0);
    for (size_t i = 0; i < ARRAY_SIZE(between); i++) {
        const struct http_rule bad = { .status = between[i].status, .headers = between[i].headers,
                                       .body = between[i].body };

        http_server_clear(server);
        http_server_add(server, &bad);
        assert_int_equal(run(store, GET), SHALE_ETRANSIENT);
        print_message("  %s\n", shale_errmsg());
    }
    http_server_clear(server);
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), 0);
}

/* Pages know no bounds, and the answers of a store do: one that is too long is its own only when it says so. */
static void a_long_page_is_a_page_too(void **state)
{
    static char page[200000];
    const struct http_rule rule = { .body = "hello", .headers = "ETag: \"e\"\r\n" };
    const struct http_rule at_first = { .headers = PAGE, .body = page, .times = 1 };
    const struct http_rule busy = { .status = 503, .headers = PAGE "Retry-After: 7\r\n", .body = page, .times = 1 };
    const struct http_rule whole = { .headers = "ETag: \"e\"\r\n", .body = page, .times = 1 };
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    memset(page, 'x', sizeof(page) - 1);
    http_server_add(server, &at_first);
    http_server_add(server, &busy);
    assert_int_equal(run(store, PUT), -EIO);
    check_sentence("cannot write s3://bucket/p/a: @ answers 200 with a web page, by squid" NOT_A_STORE);
    assert_int_equal(run(store, PUT), SHALE_ETRANSIENT);
    assert_int_equal(store_retry_after_taken(), 7000);
    http_server_add(server, &rule);
    assert_int_equal(run(store, PUT), 0);
    http_server_clear(server);
    http_server_add(server, &at_first);
    assert_int_equal(run(store, PUT), SHALE_ETRANSIENT);
    http_server_clear(server);
    http_server_add(server, &whole);
    assert_int_equal(shale_store_get_range(store, "p/a", 3, 5, &out), -EIO);
}

/* Whoever it is that will not have it: what stands in front of a store, perhaps, and by no error of S3's. */
static void many_are_deleted_singly_where_that_is_refused(void **state)
{
    static const int statuses[] = { 405, 501 };
    const struct http_rule rule = { .body = "hello", .headers = "ETag: \"e\"\r\n", .times = 1 };
    const struct http_rule one = { .method = "DELETE", .status = 204 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        const struct http_rule many = { .method = "POST", .status = statuses[i], .headers = PAGE, .body = "<html>no" };
        unsigned before;

        teardown(NULL);
        setup(NULL);
        http_server_add(server, &rule);
        http_server_add(server, &many);
        http_server_add(server, &one);
        assert_int_equal(run(store, GET), 0);
        assert_int_equal(run(store, REMOVE_TWO), 0);
        before = http_server_count(server);
        assert_int_equal(run(store, REMOVE_TWO), 0);
        assert_int_equal(http_server_count(server) - before, 2);
    }
}

/* The source of keys that were good is waited for; where there cannot be others, it is told. */
static void keys_that_were_good_may_be_replaced(void **state)
{
    static const char keys[] = "{\"AccessKeyId\":\"ONE\",\"SecretAccessKey\":\"s\",\"Token\":\"" TOKEN "\","
                               "\"Expiration\":\"2999-01-01T00:00:00Z\"}";
    static const char *const codes[] = { XML("InvalidAccessKeyId", ""), XML("SignatureDoesNotMatch", ""),
                                         XML("ExpiredToken", ""), XML("InvalidToken", "") };
    const struct shale_s3_options opt = { .endpoint = http_server_url(server), .region = "eu-west-3" };
    const struct http_rule creds = { .path = "/creds", .body = keys };
    const struct http_rule rule = { .body = "hello", .headers = "ETag: \"e\"\r\n" };
    struct shale_store *renewed;
    char url[100];

    (void)state;
    snprintf(url, sizeof(url), "%s/creds", http_server_url(server));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
    assert_int_equal(shale_store_s3("bucket", &opt, &renewed), 0);
    http_server_add(server, &creds);
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), 0);
    assert_int_equal(run(renewed, GET), 0);
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        const struct http_rule bad = { .status = 403, .body = codes[i] };

        http_server_clear(server);
        http_server_add(server, &creds);
        http_server_add(server, &bad);
        assert_int_equal(run(store, GET), -EACCES);
        assert_int_equal(run(renewed, PUT), SHALE_ETRANSIENT);
        print_message("  %s\n", shale_errmsg());
    }
    unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    shale_store_close(renewed);
}

/* ---- how often, and when again ---- */

static void each_that_passes_is_tried_again(void **state)
{
    static const struct {
        int status;
        const char *body;
    } passing[] = {
        { 429, NULL }, { 500, XML("InternalError", "") }, { 502, NULL }, { 503, XML("SlowDown", "") },
        { 503, XML("ServiceUnavailable", "") }, { 504, NULL }, { 408, NULL }, { 400, XML("RequestTimeout", "") },
        { 400, XML("BadDigest", "") }, { 400, XML("IncompleteBody", "") }, { 400, XML("Throttling", "") },
        { 409, XML("OperationAborted", "") },
    };
    const struct store_retry_options quick = { .base_ms = 1, .cap_ms = 4 };
    const struct http_rule rule = { .body = "hello", .headers = "ETag: \"e\"\r\n" };
    struct shale_store *s;

    (void)state;
    assert_int_equal(store_retry_new(store, &quick, &s), 0);
    for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
        const struct http_rule bad = { .status = passing[i].status, .body = passing[i].body, .times = 3 };
        unsigned before = http_server_count(server);

        http_server_add(server, &bad);
        http_server_add(server, &rule);
        assert_int_equal(run(s, i % 2 ? PUT : GET), 0);
        assert_int_equal(http_server_count(server) - before, 4);
        http_server_clear(server);
    }
    shale_store_close(s);
}

static void permanent_errors_are_asked_once(void **state)
{
    static const char *const codes[] = { XML("AccessDenied", ""), XML("SignatureDoesNotMatch", ""),
                                         XML("NoSuchBucket", ""), XML("ExpiredToken", ""), XML("QuotaExceeded", "") };
    const struct store_retry_options quick = { .base_ms = 1, .cap_ms = 4 };
    struct shale_store *s;

    (void)state;
    assert_int_equal(store_retry_new(store, &quick, &s), 0);
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        const struct http_rule bad = { .status = 403, .body = codes[i] };
        unsigned before = http_server_count(server);

        http_server_add(server, &bad);
        assert_true(run(s, GET) < 0);
        assert_int_equal(http_server_count(server) - before, 1);
        http_server_clear(server);
    }
    shale_store_close(s);
}

/* What the store asks for, in milliseconds. */
static int64_t asked_for(const char *headers)
{
    const struct http_rule rule = { .status = 503, .headers = headers, .body = XML("SlowDown", "") };

    http_server_clear(server);
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), SHALE_ETRANSIENT);
    return store_retry_after_taken();
}

static void the_store_says_when(void **state)
{
    char both[200];

    (void)state;
    assert_int_equal(asked_for("Retry-After: 7\r\n"), 7000);
    assert_int_equal(asked_for("Retry-After: 3600\r\n"), 60000);
    assert_int_equal(asked_for("Retry-After: 99999999999999999999\r\n"), 60000);
    assert_int_equal(asked_for("Retry-After: 0\r\n"), 0);
    assert_int_equal(asked_for("Retry-After: -5\r\n"), 0);
    assert_int_equal(asked_for("Retry-After: soon\r\n"), 0);
    assert_int_equal(asked_for(NULL), 0);
    assert_in_range(asked_for(date_header("Retry-After", 30)), 15000, 31000);
    assert_int_equal(asked_for(date_header("Retry-After", -30)), 0);
    /* a date is by the store's clock, which is an hour ahead */
    snprintf(both, sizeof(both), "%s", date_header("Date", 3600));
    snprintf(both + strlen(both), sizeof(both) - strlen(both), "%s", date_header("Retry-After", 3630));
    assert_in_range(asked_for(both), 15000, 31000);
}

/* Of many requests for one call, the longest counts. */
static void the_longest_wait_counts(void **state)
{
    const struct http_rule a = { .path = "/bucket/a", .status = 503, .headers = "Retry-After: 9\r\n" };
    const struct http_rule b = { .path = "/bucket/b", .status = 503 };
    struct shale_range_get r[2] = { { .name = "a", .len = 3 }, { .name = "b", .len = 3 } };

    (void)state;
    http_server_add(server, &a);
    http_server_add(server, &b);
    assert_int_equal(shale_store_get_ranges(store, r, 2), 0);
    assert_int_equal(r[0].rc, SHALE_ETRANSIENT);
    assert_int_equal(r[1].rc, SHALE_ETRANSIENT);
    assert_int_equal(store_retry_after_taken(), 9000);
}

/* ---- through the layers ---- */

static void a_server_that_is_another_by_tls_is_told(void **state)
{
    struct http_tls tls;
    char *dir = temp_dir_new(), ca_file[200];

    (void)state;
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
    http_tls_init(&tls, "DNS:other.test", 100, ca_file);
    http_server_stop(server);
    shale_store_close(store);
    server = http_server_start_tls(&tls);
    assert_int_equal(open_at(http_server_url(server), ca_file, TOKEN, false), 0);
    assert_int_equal(run(store, GET), -EIO);
    check_sentence(READ "SSL: no alternative certificate subject name matches target host name '127.0.0.1'; the "
                   "certificate is another host's: check the endpoint's name");
    teardown(state);
    http_tls_fini(&tls);
    temp_dir_remove(dir);
}

/* A network that ends TLS by itself for a while, as login pages do. Each proxy is also the server behind it. */
static void a_foreign_certificate_later_passes(void **state)
{
    const struct http_rule connect = { .method = "CONNECT" };
    const struct http_rule rule = { .body = "hello", .headers = "ETag: \"e\"\r\n" };
    struct http_tls ours, foreign;
    char *dir = temp_dir_new(), ca_file[200];
    struct http_server *other;

    (void)state;
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
    http_tls_init(&ours, "DNS:store.invalid", 100, ca_file);
    http_tls_init(&foreign, "DNS:store.invalid", 100, NULL);
    http_server_stop(server);
    shale_store_close(store);
    server = http_server_start_proxy(&ours);
    other = http_server_start_proxy(&foreign);
    http_server_add(server, &connect);
    http_server_add(server, &rule);
    http_server_add(other, &connect);
    setenv("https_proxy", http_server_url(server), 1);
    assert_int_equal(open_at("https://store.invalid", ca_file, TOKEN, false), 0);
    assert_int_equal(run(store, GET), 0);
    setenv("https_proxy", http_server_url(other), 1);
    assert_int_equal(run(store, GET), SHALE_ETRANSIENT);
    print_message("  %s\n", shale_errmsg());
    shale_store_close(store);
    assert_int_equal(open_at("https://store.invalid", ca_file, TOKEN, false), 0);
    assert_int_equal(run(store, GET), -EIO);
    unsetenv("https_proxy");
    http_server_stop(other);
    teardown(state);
    http_tls_fini(&ours);
    http_tls_fini(&foreign);
    temp_dir_remove(dir);
}

/* The proxy of the environment answers in the store's place. */
static void a_proxy_may_answer_for_the_store(void **state)
{
    const struct http_rule rule = { .status = 403, .headers = PAGE, .body = "<html>blocked</html>" };

    (void)state;
    shale_store_close(store);
    setenv("http_proxy", http_server_url(server), 1);
    assert_int_equal(open_at("http://store.invalid", NULL, TOKEN, false), 0);
    http_server_add(server, &rule);
    assert_int_equal(run(store, GET), -EIO);
    check_sentence(READ "http://store.invalid answers 403 with a web page, by squid" NOT_A_STORE);
    assert_string_equal(http_server_request(server, 0)->target, "http://store.invalid/bucket/p/a");
}

static unsigned hushed, lines;

static void listen_for_secrets(void *ctx, enum shale_log_level level, const char *line)
{
    (void)ctx, (void)level;
    lines++;
    hushed += strstr(line, "HUSH") != NULL;
}

static void no_secret_was_logged(void **state)
{
    (void)state;
    assert_true(lines > 0);
    assert_int_equal(hushed, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_answer_has_its_sentence),
        T(anonymous_access_may_be_refused),
        T(a_wrong_clock_is_told),
        T(a_request_that_slept_is_made_again),
        T(what_comes_between_later_passes),
        T(a_long_page_is_a_page_too),
        T(many_are_deleted_singly_where_that_is_refused),
        T(keys_that_were_good_may_be_replaced),
        T(each_that_passes_is_tried_again),
        T(permanent_errors_are_asked_once),
        T(the_store_says_when),
        T(the_longest_wait_counts),
        cmocka_unit_test_setup(a_server_that_is_another_by_tls_is_told, setup),
        cmocka_unit_test_setup(a_foreign_certificate_later_passes, setup),
        T(a_proxy_may_answer_for_the_store),
        cmocka_unit_test(no_secret_was_logged),
    };

    shale_log_set(listen_for_secrets, NULL, SHALE_LOG_DEBUG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
