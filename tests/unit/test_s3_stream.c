/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/pool.h"
#include "base/rng.h"
#include "object/s3/s3_stream.h"

#include <stdio.h>
#include <stdlib.h>

/* Bodies that are signed in chunks: what goes out, taken apart again. */

#define MIB ((size_t)1 << 20)

static const struct sigv4_request request = { .method = "PUT", .path = "/b/o", .query = "", .payload = SIGV4_STREAMING,
                                              .region = "r", .service = "s3", .time = "20130524T000000Z" };
static const char seed[] = "Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";

static void sign(struct s3_stream *st)
{
    assert_int_equal(s3_stream_sign(st, &request, "secret", slice_str(seed)), 0);
}

static struct shale_buf make_body(size_t len)
{
    struct shale_buf body = SHALE_BUF_INIT;
    struct rng rng;
    uint8_t *p = buf_extend(&body, len);

    assert_non_null(p);
    rng_seed(&rng, len);
    for (size_t i = 0; i < len; i++)
        p[i] = i % 8 ? (uint8_t)(p[i - 1] + 1) : (uint8_t)rng_below(&rng, 256);
    return body;
}

/* All of it, in pieces of at most max bytes. */
static struct shale_buf read_all(struct s3_stream *st, size_t max)
{
    struct http_source source = s3_stream_source(st);
    struct shale_buf out = SHALE_BUF_INIT;
    uint8_t *p = buf_extend(&out, source.len);

    assert_non_null(p);
    for (uint64_t at = 0; at < source.len;) {
        size_t room = max < source.len - at ? max : (size_t)(source.len - at);
        size_t n = source.read(source.arg, at, p + at, room);

        assert_int_equal(n, room);
        at += n;
    }
    return out;
}

/* As a server reads it: lengths, bytes and signatures. */
static void check(struct shale_slice stream, struct shale_slice body)
{
    struct sigv4_chunks chain = { .last = "" };
    char want[SIGV4_HASH_LEN + 1], hash[SIGV4_HASH_LEN + 1], head[128];
    size_t pos = 0, done = 0, n;

    assert_int_equal(sigv4_chunks_begin(&chain, &request, "secret", slice_str(seed)), 0);
    do {
        assert_true(stream.len > pos && sscanf((const char *)stream.data + pos, "%zx;", &n) == 1);
        assert_true(n <= body.len - done);
        assert_int_equal(sigv4_hash(slice_of(body.data + done, n), hash), 0);
        assert_int_equal(sigv4_chunk(&chain, hash, want), 0);
        snprintf(head, sizeof(head), "%zx;chunk-signature=%s\r\n", n, want);
        assert_true(stream.len - pos >= strlen(head) + n + 2);
        assert_memory_equal(stream.data + pos, head, strlen(head));
        pos += strlen(head);
        if (n)
            assert_memory_equal(stream.data + pos, body.data + done, n);
        assert_memory_equal(stream.data + pos + n, "\r\n", 2);
        pos += n + 2;
        done += n;
    } while (n);
    assert_int_equal(done, body.len);
    assert_int_equal(pos, stream.len);
    sigv4_chunks_fini(&chain);
}

static void what_goes_out_can_be_taken_apart(void **state)
{
    static const size_t lens[] = { 1, 255, 65537, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 4711 };
    static const size_t pieces[] = { 8 * MIB, 65536, 4093 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
        struct shale_buf body = make_body(lens[i]);

        for (size_t k = 0; k < ARRAY_SIZE(pieces); k++) {
            struct s3_stream *st = NULL;
            struct shale_buf out;

            assert_int_equal(s3_stream_new(slice_of_buf(&body), &st), 0);
            sign(st);
            for (size_t ahead = 0; ahead < k; ahead++) /* some are hashed before, the others as they go out */
                (void)s3_stream_hash_next(st);
            out = read_all(st, pieces[k]);
            check(slice_of_buf(&out), slice_of_buf(&body));
            shale_buf_fini(&out);
            s3_stream_free(st);
        }
        shale_buf_fini(&body);
    }
}

/* libcurl begins again after a part of it, perhaps for another request of the same body. */
static void it_goes_out_again_from_anywhere(void **state)
{
    struct shale_buf body = make_body(2 * MIB + 99), whole, again;
    struct s3_stream *st = NULL;
    struct http_source source;
    struct rng rng;
    uint8_t part[5000];

    (void)state;
    rng_seed(&rng, 1);
    assert_int_equal(s3_stream_new(slice_of_buf(&body), &st), 0);
    source = s3_stream_source(st);
    sign(st);
    assert_int_equal(source.read(source.arg, 0, part, sizeof(part)), sizeof(part));
    whole = read_all(st, MIB);
    check(slice_of_buf(&whole), slice_of_buf(&body));
    for (int i = 0; i < 2000; i++) {
        uint64_t at = i % 2 ? rng_below(&rng, source.len)  /* anywhere, or about the end of a chunk */
                            : (source.len + rng_below(&rng, 300) * (i % 4 ? 1 : MIB / 100)) % source.len;
        size_t want = sizeof(part) < source.len - at ? sizeof(part) : (size_t)(source.len - at);

        assert_int_equal(source.read(source.arg, at, part, sizeof(part)), want);
        assert_memory_equal(part, whole.data + at, want);
    }
    sign(st);
    again = read_all(st, MIB);
    assert_true(slice_eq(slice_of_buf(&whole), slice_of_buf(&again)));
    s3_stream_free(st);
    shale_buf_fini(&whole);
    shale_buf_fini(&again);
    shale_buf_fini(&body);
}

static void read_main(void *arg)
{
    struct http_source source = s3_stream_source(arg);
    uint8_t *out = malloc(source.len);

    for (uint64_t at = 0; out && at < source.len;)
        at += source.read(arg, at, out + at, source.len - at < 300000 ? (size_t)(source.len - at) : 300000);
    free(out);
}

/* Who waits hashes while it goes out; whichever is first, the bytes are the same. */
static void hashes_are_made_beside(void **state)
{
    struct shale_buf body = make_body(9 * MIB + 1), out;

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct s3_stream *st = NULL;
        struct worker w = { .running = false };
        size_t n = 1;

        assert_int_equal(s3_stream_new(slice_of_buf(&body), &st), 0);
        sign(st);
        assert_int_equal(worker_start(&w, "reader", read_main, st), 0);
        while (s3_stream_hash_next(st))
            n++;
        assert_int_equal(n, 10);
        worker_join(&w);
        out = read_all(st, MIB);
        check(slice_of_buf(&out), slice_of_buf(&body));
        shale_buf_fini(&out);
        s3_stream_free(st);
    }
    shale_buf_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_out_can_be_taken_apart),
        cmocka_unit_test(it_goes_out_again_from_anywhere),
        cmocka_unit_test(hashes_are_made_beside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
