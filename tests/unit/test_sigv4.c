/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures: the vectors that AWS publishes (in the S3 API reference and its test suite), and Google's dialect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "net/sigv4.h"
#include "net/uri.h"

#include <errno.h>

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct vector {
    const char *name;
    struct sigv4_request r;
    const char *const *headers;
    const char *want; /* signature */
};

#define S3_HOST "Host: examplebucket.s3.amazonaws.com"
#define S3_DATE "x-amz-date: 20130524T000000Z"

static const char *const get_object[] = { S3_HOST, "Range: bytes=0-9", "x-amz-content-sha256: " EMPTY, S3_DATE, NULL };
static const char *const put_object[] = {
    "Date: Fri, 24 May 2013 00:00:00 GMT", S3_HOST, S3_DATE, "x-amz-storage-class:  REDUCED_REDUNDANCY ",
    "x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", NULL
};
static const char *const get_bucket[] = { S3_DATE, "x-amz-content-sha256: " EMPTY, S3_HOST, NULL };
static const char *const vanilla[] = { "Host:example.amazonaws.com", "X-Amz-Date:20150830T123600Z", NULL };

#define S3_REQUEST(m, p, q, h) { .method = m, .path = p, .query = q, .payload = h, .region = "us-east-1", .service = "s3", \
                                 .time = "20130524T000000Z" }
#define SUITE_REQUEST(m, p, q) { .method = m, .path = p, .query = q, .payload = EMPTY, .region = "us-east-1",              \
                                 .service = "service", .time = "20150830T123600Z" }

static const struct vector vectors[] = {
    { "GET object", S3_REQUEST("GET", "/test.txt", "", EMPTY), get_object,
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
    { "PUT object", S3_REQUEST("PUT", "/test%24file.text", "",
                               "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"), put_object,
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
    { "GET bucket lifecycle", S3_REQUEST("GET", "/", "lifecycle=", EMPTY), get_bucket,
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
    { "GET bucket", S3_REQUEST("GET", "/", "max-keys=2&prefix=J", EMPTY), get_bucket,
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
    { "get-vanilla", SUITE_REQUEST("GET", "/", ""), vanilla,
      "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "post-vanilla", SUITE_REQUEST("POST", "/", ""), vanilla,
      "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "get-vanilla-query-order-key-case", SUITE_REQUEST("GET", "/", "Param1=value1&Param2=value2"), vanilla,
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
};

static void published_vectors_come_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct sigv4_request r = v->r;
        struct shale_buf out = SHALE_BUF_INIT;
        bool suite = strcmp(r.service, "service") == 0;
        const char *signature;

        r.headers = v->headers;
        while (r.headers[r.n_headers])
            r.n_headers++;
        assert_int_equal(sigv4_authorize(&r, suite ? "AKIDEXAMPLE" : "AKIAIOSFODNN7EXAMPLE",
                                         suite ? "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
                                               : "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &out), 0);
        signature = strstr((char *)out.data, "Signature=");
        assert_non_null(signature);
        if (strcmp(signature + 10, v->want) != 0)
            fail_msg("%s: %s", v->name, (char *)out.data);
        shale_buf_fini(&out);
    }
}

/* "Transferring Payload in Multiple Chunks": 65 KiB of 'a' in two chunks, and the empty one. */
static void chunks_are_signed_as_published(void **state)
{
    static const char *const headers[] = {
        "Host: s3.amazonaws.com", S3_DATE, "x-amz-storage-class: REDUCED_REDUNDANCY",
        "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "Content-Encoding: aws-chunked",
        "x-amz-decoded-content-length: 66560",
        "Content-Length: 66824"
    };
    static const struct {
        size_t len;
        const char *want;
    } chunks[] = {
        { 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648" },
        { 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497" },
        { 0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9" },
    };
    static const char secret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    struct sigv4_request r = S3_REQUEST("PUT", "/examplebucket/chunkObject.txt", "", SIGV4_STREAMING);
    struct shale_buf out = SHALE_BUF_INIT;
    struct sigv4_chunks c = { .last = "" };
    char hash[SIGV4_HASH_LEN + 1], signature[SIGV4_HASH_LEN + 1];
    static uint8_t body[65536];

    (void)state;
    memset(body, 'a', sizeof(body));
    r.headers = headers;
    r.n_headers = ARRAY_SIZE(headers);
    assert_int_equal(sigv4_authorize(&r, "AKIAIOSFODNN7EXAMPLE", secret, &out), 0);
    assert_string_equal((char *)out.data + out.len - SIGV4_HASH_LEN,
                        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    for (int round = 0; round < 2; round++) { /* the second time from the start again */
        assert_int_equal(sigv4_chunks_begin(&c, &r, secret, (struct shale_slice){ out.data, out.len }), 0);
        for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
            assert_int_equal(sigv4_hash((struct shale_slice){ body, chunks[i].len }, hash), 0);
            assert_int_equal(sigv4_chunk(&c, hash, signature), 0);
            assert_string_equal(signature, chunks[i].want);
        }
    }
    sigv4_chunks_fini(&c);
    shale_buf_fini(&out);
}

static void the_header_names_key_scope_and_headers(void **state)
{
    struct sigv4_request r = S3_REQUEST("GET", "/test.txt", "", EMPTY);
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    r.headers = get_object;
    r.n_headers = 4;
    assert_int_equal(sigv4_authorize(&r, "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &out), 0);
    assert_string_equal((char *)out.data,
                        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    shale_buf_fini(&out);
}

/*
 * Google publishes no signature by an HMAC key. This one was computed by a few lines of Python from the rules of its
 * documentation, which give the published ones of AWS under the names of AWS.
 */
static void google_signs_under_names_of_its_own(void **state)
{
    static const char *const headers[] = { "Host: storage.googleapis.com", "x-goog-if-generation-match: 0",
                                           "x-goog-meta-slatedbputid: 01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                           "x-goog-date: 20191201T190859Z", "x-goog-content-sha256: UNSIGNED-PAYLOAD" };
    const struct sigv4_request r = { .family = SIGV4_GOOG, .method = "PUT", .query = "", .region = "auto",
                                     .path = "/example-bucket/cat-pics/tabby.jpeg", .service = "storage",
                                     .headers = headers, .n_headers = ARRAY_SIZE(headers), .payload = SIGV4_UNSIGNED,
                                     .time = "20191201T190859Z" };
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(sigv4_authorize(&r, "GOOGTS7C7FUP3AIRVJTE2BCDKINBTES3HC2GY5CBFJDCQ2SYHV6A6XXVTJFSA",
                                     "bGoa+V7g/yqDXvKRqq+JTFn4uQZbPiQJo4pf9RzJ", &out), 0);
    assert_string_equal((char *)out.data,
                        "GOOG4-HMAC-SHA256 Credential=GOOGTS7C7FUP3AIRVJTE2BCDKINBTES3HC2GY5CBFJDCQ2SYHV6A6XXVTJFSA/"
                        "20191201/auto/storage/goog4_request, SignedHeaders=host;x-goog-content-sha256;x-goog-date;"
                        "x-goog-if-generation-match;x-goog-meta-slatedbputid, "
                        "Signature=c9b891c575f093c4a3b058ce61210e527f662cc5ae19f2adb6a3d0496edd0078");
    shale_buf_fini(&out);
}

static void times_and_hashes(void **state)
{
    char time[SIGV4_TIME_LEN + 1], hash[SIGV4_HASH_LEN + 1];

    (void)state;
    sigv4_time(1369353600, time);
    assert_string_equal(time, "20130524T000000Z");
    sigv4_time(INT64_MAX, time);
    assert_int_equal(strlen(time), SIGV4_TIME_LEN);
    assert_int_equal(sigv4_hash((struct shale_slice){ NULL, 0 }, hash), 0);
    assert_string_equal(hash, EMPTY);
    assert_int_equal(sigv4_hash((struct shale_slice){ (const uint8_t *)"Welcome to Amazon S3.", 21 }, hash), 0);
    assert_string_equal(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
}

static void names_are_encoded(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(uri_encode(&b, "a/b c~d=e+f@g:h.i_j-\xc3\xa4", true), 0);
    assert_string_equal((char *)b.data, "a/b%20c~d%3De%2Bf%40g%3Ah.i_j-%C3%A4");
    b.len = 0;
    assert_int_equal(uri_encode(&b, "a/b", false), 0);
    assert_string_equal((char *)b.data, "a%2Fb");
    b.len = 0;
    assert_int_equal(uri_decode(&b, "a%2Fb%c3%A4+", 12), 0);
    assert_string_equal((char *)b.data, "a/b\xc3\xa4+");
    assert_int_equal(uri_decode(&b, "%2", 2), -EINVAL);
    assert_int_equal(uri_decode(&b, "%zz", 3), -EINVAL);
    assert_int_equal(uri_decode(&b, "%00", 3), -EINVAL);
    shale_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_come_out),
        cmocka_unit_test(chunks_are_signed_as_published),
        cmocka_unit_test(the_header_names_key_scope_and_headers),
        cmocka_unit_test(google_signs_under_names_of_its_own),
        cmocka_unit_test(times_and_hashes),
        cmocka_unit_test(names_are_encoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
