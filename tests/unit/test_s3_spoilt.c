/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/http_server.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <errno.h>
#include <shale/object_store.h>
#include <stdlib.h>
#include <string.h>

/* Answers of an S3 store that were spoilt on the way, by a scripted server. */

static struct http_server *server;
static struct shale_store *store;

#define MD5_OF_DATA "8d777f385d3dfec8815d20f7496026dc"
#define ETAG(s) "ETag: \"" s "\"\r\n"

static int setup(void **state)
{
    const struct shale_s3_options opt = { .access_key = "key", .secret_key = "secret", .region = "r" };

    (void)state;
    server = http_server_start();
    setenv("AWS_ENDPOINT_URL_S3", http_server_url(server), 1);
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    assert_int_equal(shale_store_s3("bucket", &opt, &store), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shale_store_close(store);
    http_server_stop(server);
    return 0;
}

static void answer(unsigned times, const char *etag, const char *body)
{
    const struct http_rule r = { .times = times, .headers = etag, .body = body };

    http_server_add(server, &r);
}

/* The object, with an answer of n requests from now on; NULL: an error, which is rc. */
static void check_get(int rc, const char *body, unsigned n)
{
    struct shale_buf out = SHALE_BUF_INIT;
    unsigned before = http_server_count(server);

    assert_int_equal(shale_store_get(store, "a", &out), rc);
    if (body)
        assert_true(slice_eq(slice_of_buf(&out), slice_str(body)));
    assert_int_equal(http_server_count(server) - before, n);
    shale_buf_fini(&out);
}

static void a_body_that_fits_its_etag(void **state)
{
    (void)state;
    answer(1, ETAG(MD5_OF_DATA), "data");
    check_get(0, "data", 1);
    answer(1, "ETag: 8D777F385D3DFEC8815D20F7496026DC\r\n", "data");
    check_get(0, "data", 1);
    answer(1, ETAG("d41d8cd98f00b204e9800998ecf8427e"), "");
    check_get(0, "", 1);
}

static void a_body_that_does_not_is_read_again(void **state)
{
    static const char *const spoilt[] = { "dada", "dat", "" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(spoilt); i++) {
        answer(1, ETAG(MD5_OF_DATA), spoilt[i]);
        answer(1, ETAG(MD5_OF_DATA), "data");
        check_get(0, "data", 2);
    }
}

static void each_time_in_another_way(void **state)
{
    (void)state;
    answer(1, ETAG(MD5_OF_DATA), "dada");
    answer(1, ETAG(MD5_OF_DATA), "dete");
    check_get(SHALE_ETRANSIENT, NULL, 2);
    assert_non_null(strstr(shale_errmsg(), "arrives spoilt, each time in another way"));
    answer(0, ETAG(MD5_OF_DATA), "data");
    check_get(0, "data", 1);
}

/* A store may have ETags that look like an MD5 and are none. It is found out once. */
static void etags_of_another_kind(void **state)
{
    (void)state;
    answer(0, ETAG("00000000000000000000000000000000"), "data");
    check_get(0, "data", 2);
    check_get(0, "data", 1);
}

static void etags_that_cannot_be_compared(void **state)
{
    static const char *const headers[] = {
        ETAG(MD5_OF_DATA "-2"),
        "ETag: W/\"" MD5_OF_DATA "\"\r\n",
        ETAG(MD5_OF_DATA) "x-amz-server-side-encryption: aws:kms\r\n",
        ETAG(MD5_OF_DATA) "x-amz-server-side-encryption: aws:kms:dsse\r\n",
        ETAG(MD5_OF_DATA) "x-amz-server-side-encryption-customer-algorithm: AES256\r\n",
        ETAG("abc"),
        NULL,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        answer(1, headers[i], "other");
        check_get(0, "other", 1);
    }
    answer(2, ETAG(MD5_OF_DATA) "x-amz-server-side-encryption: AES256\r\n", "other"); /* the store's own keys: an MD5 */
    check_get(0, "other", 2);
}

static int count(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)name, (void)meta;
    ++*(unsigned *)arg;
    return 0;
}

#define TIME "<LastModified>2024-05-01T12:34:56.000Z</LastModified>"
#define ENTRY(k) "<Contents><Key>" k "</Key><Size>1</Size>" TIME "</Contents>"
#define LISTING(entries, more) "<ListBucketResult>" entries "<IsTruncated>" more "</IsTruncated></ListBucketResult>"

/* None of these may pass for the whole, and no name of one is told; the third time is the last. */
static void a_listing_that_cannot_be(void **state)
{
    static const struct {
        const char *body;
        int rc;
    } spoilt[] = {
        { LISTING(ENTRY("b") ENTRY("a"), "false"), -EIO },
        { LISTING(ENTRY("a"), "t2ue"), SHALE_ETRANSIENT },
        { LISTING(ENTRY("a"), "true"), SHALE_ETRANSIENT },
        { "<ListBucketResult>" ENTRY("a") "</ListBucketResult>", SHALE_ETRANSIENT },
        { "<ListBucketResult>" ENTRY("a") "<IsTruncated>false</IsTsuncated></ListBucketResult>", SHALE_ETRANSIENT },
        { LISTING("<Contents><Key>a</Key><Size>1x</Size></Contents>", "false"), SHALE_ETRANSIENT },
        { "", SHALE_ETRANSIENT },
    };
    unsigned n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(spoilt); i++) {
        answer(3, NULL, spoilt[i].body);
        assert_int_equal(shale_store_list(store, "", NULL, count, &n), spoilt[i].rc);
        assert_int_equal(n, 0);
        answer(2, NULL, spoilt[i].body);
        answer(1, NULL, LISTING(ENTRY("a") ENTRY("b"), "false"));
        assert_int_equal(shale_store_list(store, "", NULL, count, &n), 0);
        assert_int_equal(n, 2);
        n = 0;
    }
}

static void a_token_that_was_spoilt(void **state)
{
    const struct http_rule refusal = { .times = 1, .status = 400,
                                       .body = "<Error><Code>InvalidArgument</Code></Error>" };
    unsigned n = 0;

    (void)state;
    answer(1, NULL, "<ListBucketResult>" ENTRY("a") "<IsTruncated>true</IsTruncated>"
                    "<NextContinuationToken>x</NextContinuationToken></ListBucketResult>");
    http_server_add(server, &refusal);
    http_server_add(server, &refusal);
    assert_int_equal(shale_store_list(store, "", NULL, count, &n), SHALE_ETRANSIENT);
    assert_int_equal(n, 1);
    assert_int_equal(shale_store_list(store, "", NULL, count, &n), -EIO); /* it was given none */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_body_that_fits_its_etag, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_that_does_not_is_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(each_time_in_another_way, setup, teardown),
        cmocka_unit_test_setup_teardown(etags_of_another_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(etags_that_cannot_be_compared, setup, teardown),
        cmocka_unit_test_setup_teardown(a_listing_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_that_was_spoilt, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
