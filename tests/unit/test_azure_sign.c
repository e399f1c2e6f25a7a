/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared Key against the examples of Microsoft's REST reference ("Authorize with Shared Key"). That has the strings
 * that are signed, but no key for them; the signatures here are those of Python's hmac with the emulator's public key.
 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "net/azure_sign.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define KEY "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define DATE "x-ms-date: Fri, 26 Jun 2015 23:39:12 GMT"
#define VERSION "x-ms-version: 2015-02-21"
#define CANONICAL "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"

static const struct vector {
    const char *name, *account, *method, *path, *query;
    size_t body_len;
    const char *headers[9];
    const char *string;
    const char *signature; /* NULL: only the string is looked at */
} vectors[] = {
    { "Get Container Metadata", "myaccount", "GET", "/mycontainer", "comp=metadata&restype=container&timeout=20", 0,
      { DATE, VERSION },
      "GET\n\n\n\n\n\n\n\n\n\n\n\n" CANONICAL "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20",
      "1u9lui2jDxj0+fpbHjQ5m5NnastJRSYM+PSmfi8TXx4=" },
    { "List Blobs", "myaccount", "GET", "/mycontainer",
      "comp=list&include=metadata%2Csnapshots%2Cuncommittedblobs&restype=container", 0, { VERSION, DATE },
      "GET\n\n\n\n\n\n\n\n\n\n\n\n" CANONICAL
      "/myaccount/mycontainer\ncomp:list\ninclude:metadata,snapshots,uncommittedblobs\nrestype:container", NULL },
    { "Put Blob, created if absent, at an emulator", "devstoreaccount1", "PUT",
      "/devstoreaccount1/mycontainer/hello.txt", "timeout=30", 11,
      { "X-Ms-Meta-M2:v2", "x-ms-meta-m1:  v1 ", DATE, "Content-Type: text/plain; charset=UTF-8", VERSION,
        "If-None-Match: *", "x-ms-blob-type: BlockBlob", "Host: 127.0.0.1:10000" },
      "PUT\n\n\n11\n\ntext/plain; charset=UTF-8\n\n\n\n*\n\n\nx-ms-blob-type:BlockBlob\n"
      "x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-meta-m1:v1\nx-ms-meta-m2:v2\nx-ms-version:2015-02-21\n"
      "/devstoreaccount1/devstoreaccount1/mycontainer/hello.txt\ntimeout:30",
      "g/iZHAnbO07b7VIqZnjqVLqJPSjfj4m7lPy/nwwFLDw=" },
    { "a range, and a path that is encoded as it is sent", "a00", "GET", "/c/a%3Db", "", 0,
      { "Range: bytes=0-9", "Content-MD5: xyz==", DATE },
      "GET\n\n\n\nxyz==\n\n\n\n\n\n\nbytes=0-9\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n/a00/c/a%3Db", NULL },
};

static struct azure_sign_request request_of(const struct vector *v)
{
    struct azure_sign_request r = { .method = v->method, .path = v->path, .query = v->query, .headers = v->headers,
                                    .body_len = v->body_len };

    while (v->headers[r.n_headers])
        r.n_headers++;
    return r;
}

static void assert_signature(const struct vector *v)
{
    struct azure_sign_request r = request_of(v);
    struct shale_buf got = SHALE_BUF_INIT, want = SHALE_BUF_INIT;
    uint8_t key[96];

    assert_int_equal(EVP_DecodeBlock(key, (const uint8_t *)KEY, (int)strlen(KEY)), 66);
    assert_int_equal(azure_authorize(&r, v->account, slice_of(key, 64), &got), 0);
    assert_int_equal(buf_printf(&want, "SharedKey %s:%s", v->account, v->signature), 0);
    assert_string_equal((char *)got.data, (char *)want.data);
    shale_buf_fini(&got);
    shale_buf_fini(&want);
}

static void requests_are_signed_as_microsoft_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        struct azure_sign_request r = request_of(&vectors[i]);
        struct shale_buf got = SHALE_BUF_INIT;

        print_message("%s\n", vectors[i].name);
        assert_int_equal(azure_string_to_sign(&r, vectors[i].account, &got), 0);
        assert_string_equal((char *)got.data, vectors[i].string);
        shale_buf_fini(&got);
        if (vectors[i].signature)
            assert_signature(&vectors[i]);
    }
}

static void a_query_that_is_none_is_refused(void **state)
{
    static const char *const headers[] = { DATE };
    struct azure_sign_request r = { .method = "GET", .path = "/c", .query = "prefix=%4", .headers = headers,
                                    .n_headers = 1 };
    struct shale_buf got = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(azure_string_to_sign(&r, "a00", &got), -EINVAL);
    shale_buf_fini(&got);
}

static void dates_are_those_of_http(void **state)
{
    static const struct {
        int64_t s;
        const char *text;
    } dates[] = {
        { 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
        { 1435361952, "Fri, 26 Jun 2015 23:39:12 GMT" },
        { 1709164801, "Thu, 29 Feb 2024 00:00:01 GMT" },
        { INT64_MAX, "Thu, 01 Jan 1970 00:00:00 GMT" },
    };
    char got[AZURE_DATE_LEN + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
        azure_date(dates[i].s, got);
        assert_string_equal(got, dates[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_signed_as_microsoft_does),
        cmocka_unit_test(a_query_that_is_none_is_refused),
        cmocka_unit_test(dates_are_those_of_http),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
