/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "format/compress.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <errno.h>
#include <zstd.h>

#define MIB (1u << 20)

static const enum shale_codec codecs[] = {
    SHALE_CODEC_NONE, SHALE_CODEC_SNAPPY, SHALE_CODEC_ZLIB, SHALE_CODEC_LZ4, SHALE_CODEC_ZSTD,
};

/* kind 0: zeros, 1: text of few words, 2: noise. */
static void fill(struct shale_buf *b, size_t len, size_t kind, struct rng *r)
{
    uint8_t *p;

    buf_clear(b);
    p = buf_extend(b, len);
    assert_non_null(p);
    for (size_t i = 0; i < len; i++)
        p[i] = kind == 0   ? 0
               : kind == 1 ? (uint8_t)"word and "[(i + rng_below(r, 40) / 39) % 9]
                           : (uint8_t)rng_next(r);
}

static void every_codec_gives_back_what_it_took(void **state)
{
    static const size_t lens[] = { 0, 1, 2, 15, 64, 100, 4095, 4096, 65536, 200000, MIB };
    struct shale_buf in = SHALE_BUF_INIT, packed = SHALE_BUF_INIT, out = SHALE_BUF_INIT;
    struct rng r;

    (void)state;
    rng_seed(&r, 3);
    for (size_t l = 0; l < ARRAY_SIZE(lens) * 3; l++) {
        size_t len = lens[l / 3];

        fill(&in, len, l % 3, &r);
        for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
            assert_int_equal(codec_compress(codecs[c], slice_of_buf(&in), &packed), 0);
            assert_int_equal(codec_decompress(codecs[c], slice_of_buf(&packed), len, &out), 0);
            assert_true(slice_eq(slice_of_buf(&in), slice_of_buf(&out)));
            assert_int_equal(codec_decompress(codecs[c], slice_of_buf(&packed), 2 * MIB, &out), 0);
            assert_true(slice_eq(slice_of_buf(&in), slice_of_buf(&out)));
            if (len == 0)
                continue;
            assert_int_equal(codec_decompress(codecs[c], slice_of_buf(&packed), len - 1, &out), SHALE_ECORRUPT);
            assert_int_equal(out.len, 0);
        }
    }
    shale_buf_fini(&in);
    shale_buf_fini(&packed);
    shale_buf_fini(&out);
}

/* Storage format section 2.3. */
static void framings_are_those_of_the_format(void **state)
{
    static const uint8_t zeros[100];
    struct shale_slice in = slice_of(zeros, sizeof(zeros));
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(codec_compress(SHALE_CODEC_SNAPPY, in, &out), 0);
    assert_int_equal(out.data[0], 100);
    assert_int_equal(codec_compress(SHALE_CODEC_ZLIB, in, &out), 0);
    assert_memory_equal(out.data, "\x78\x9c", 2);
    assert_int_equal(codec_compress(SHALE_CODEC_LZ4, in, &out), 0);
    assert_memory_equal(out.data, "\x64\0\0\0", 4);
    assert_int_equal(codec_compress(SHALE_CODEC_ZSTD, in, &out), 0);
    assert_memory_equal(out.data, "\x28\xb5\x2f\xfd", 4);
    assert_int_equal(ZSTD_getFrameContentSize(out.data, out.len), 100);
    assert_int_equal(codec_compress(SHALE_CODEC_NONE, in, &out), 0);
    assert_int_equal(out.len, 100);
    shale_buf_fini(&out);
}

static void unknown_codecs_are_refused(void **state)
{
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(codec_compress((enum shale_codec)5, slice_str("x"), &out), -EINVAL);
    assert_int_equal(codec_decompress((enum shale_codec)5, slice_str("x"), 10, &out), SHALE_EVERSION);
    shale_buf_fini(&out);
}

/* A frame that does not say how long it is, appended to out. */
static void zstd_unsized(struct shale_slice in, struct shale_buf *out)
{
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    ZSTD_inBuffer src = { in.data, in.len, 0 };
    ZSTD_outBuffer dst;

    assert_non_null(ctx);
    assert_int_equal(shale_buf_reserve(out, ZSTD_compressBound(in.len) + 1024), 0);
    dst = (ZSTD_outBuffer){ out->data + out->len, out->cap - out->len, 0 };
    assert_false(ZSTD_isError(ZSTD_compressStream2(ctx, &dst, &src, ZSTD_e_continue)));
    assert_int_equal(ZSTD_compressStream2(ctx, &dst, &src, ZSTD_e_end), 0);
    assert_int_equal(ZSTD_getFrameContentSize(out->data + out->len, dst.pos), ZSTD_CONTENTSIZE_UNKNOWN);
    out->len += dst.pos;
    ZSTD_freeCCtx(ctx);
}

static void zstd_frames_of_any_kind_are_read(void **state)
{
    static const size_t lens[] = { 0, 1, 100, 5000, 131071, 131072, 131073, 300000, MIB };
    struct shale_buf in = SHALE_BUF_INIT, frames = SHALE_BUF_INIT, sized = SHALE_BUF_INIT, out = SHALE_BUF_INIT;
    struct rng r;

    (void)state;
    rng_seed(&r, 4);
    for (size_t l = 0; l < ARRAY_SIZE(lens) * 3; l++) {
        size_t len = lens[l / 3];

        fill(&in, len, l % 3, &r);
        buf_clear(&frames);
        zstd_unsized(slice_of_buf(&in), &frames);
        assert_int_equal(codec_decompress(SHALE_CODEC_ZSTD, slice_of_buf(&frames), len, &out), 0);
        assert_true(slice_eq(slice_of_buf(&in), slice_of_buf(&out)));
        if (len)
            assert_int_equal(codec_decompress(SHALE_CODEC_ZSTD, slice_of_buf(&frames), len - 1, &out), SHALE_ECORRUPT);
        /* a skippable frame and a sized one behind it */
        assert_int_equal(shale_buf_append(&frames, "\x50\x2a\x4d\x18\2\0\0\0ab", 10), 0);
        assert_int_equal(codec_compress(SHALE_CODEC_ZSTD, slice_of_buf(&in), &sized), 0);
        assert_int_equal(buf_append_slice(&frames, slice_of_buf(&sized)), 0);
        assert_int_equal(codec_decompress(SHALE_CODEC_ZSTD, slice_of_buf(&frames), 4 * MIB, &out), 0);
        assert_int_equal(out.len, 2 * len);
        assert_true(slice_eq(slice_of_buf(&in), slice_of(out.data, len)));
        assert_true(slice_eq(slice_of_buf(&in), slice_of(out.data + len, len)));
    }
    shale_buf_fini(&in);
    shale_buf_fini(&frames);
    shale_buf_fini(&sized);
    shale_buf_fini(&out);
}

/* Packed a hundredfold and more: refused without taking more memory than allowed, whether or not the input tells. */
static void bombs_are_bounded(void **state)
{
    struct shale_buf in = SHALE_BUF_INIT, packed = SHALE_BUF_INIT;
    struct rng r;

    (void)state;
    rng_seed(&r, 5);
    fill(&in, 16 * MIB, 0, &r);
    for (size_t c = 1; c <= ARRAY_SIZE(codecs); c++) {
        struct shale_buf out = SHALE_BUF_INIT;

        enum shale_codec codec = c < ARRAY_SIZE(codecs) ? codecs[c] : SHALE_CODEC_ZSTD;

        if (c < ARRAY_SIZE(codecs)) {
            assert_int_equal(codec_compress(codec, slice_of_buf(&in), &packed), 0);
        } else {
            buf_clear(&packed);
            zstd_unsized(slice_of_buf(&in), &packed);
        }
        assert_int_equal(codec_decompress(codec, slice_of_buf(&packed), 5000, &out), SHALE_ECORRUPT);
        assert_true(out.cap <= 8192);
        shale_buf_fini(&out);
    }
    shale_buf_fini(&in);
    shale_buf_fini(&packed);
}

/* A short input that claims a lot gets no memory for it. */
static void claims_are_not_believed(void **state)
{
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(codec_decompress(SHALE_CODEC_LZ4, slice_of("\0\0\0\x40xx", 6), SIZE_MAX, &out), SHALE_ECORRUPT);
    assert_int_equal(codec_decompress(SHALE_CODEC_SNAPPY, slice_of("\x80\x80\x80\x80\x04xx", 7), SIZE_MAX, &out),
                     SHALE_ECORRUPT);
    assert_true(out.cap <= 4096);
    shale_buf_fini(&out);
}

static void truncations_and_extra_bytes_are_refused(void **state)
{
    struct shale_buf in = SHALE_BUF_INIT, packed = SHALE_BUF_INIT, out = SHALE_BUF_INIT;
    struct rng r;

    (void)state;
    rng_seed(&r, 6);
    fill(&in, 3000, 1, &r);
    for (size_t c = 1; c < ARRAY_SIZE(codecs); c++) {
        assert_int_equal(codec_compress(codecs[c], slice_of_buf(&in), &packed), 0);
        for (size_t len = 0; len < packed.len; len++) {
            uint8_t *exact = malloc(len ? len : 1);

            assert_non_null(exact);
            memcpy(exact, packed.data, len);
            assert_int_equal(codec_decompress(codecs[c], slice_of(exact, len), MIB, &out), SHALE_ECORRUPT);
            free(exact);
        }
        assert_int_equal(buf_put_u8(&packed, 0), 0);
        assert_int_equal(codec_decompress(codecs[c], slice_of_buf(&packed), MIB, &out), SHALE_ECORRUPT);
        assert_int_equal(codec_decompress(codecs[c], slice_of(NULL, 0), MIB, &out), SHALE_ECORRUPT);
    }
    shale_buf_fini(&in);
    shale_buf_fini(&packed);
    shale_buf_fini(&out);
}

/* Noise, and packed data with flipped bits: an outcome within the bound, never a bad access. */
static void garbage_is_survived(void **state)
{
    struct shale_buf in = SHALE_BUF_INIT, packed = SHALE_BUF_INIT, out = SHALE_BUF_INIT;
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (unsigned i = 0; i < 3000; i++) {
        enum shale_codec codec = codecs[1 + i % 4];
        int rc;

        fill(&in, rng_below(&r, 2000), i / 4 % 3, &r);
        if (i % 8 < 4) {
            assert_int_equal(codec_compress(codec, slice_of_buf(&in), &packed), 0);
            for (uint64_t k = rng_below(&r, 4); k > 0; k--)
                packed.data[rng_below(&r, packed.len)] ^= (uint8_t)(1u << rng_below(&r, 8));
        } else {
            assert_int_equal(buf_set(&packed, slice_of_buf(&in)), 0);
        }
        rc = codec_decompress(codec, slice_of_buf(&packed), 10000, &out);
        assert_true(rc == 0 || rc == SHALE_ECORRUPT);
        assert_true(out.len <= 10000);
    }
    shale_buf_fini(&in);
    shale_buf_fini(&packed);
    shale_buf_fini(&out);
}

static void allocation_failures_are_reported(void **state)
{
    struct shale_buf packed = SHALE_BUF_INIT;

    (void)state;
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        struct shale_buf out = SHALE_BUF_INIT;

        heap_fault_after(1);
        assert_int_equal(codec_compress(codecs[c], slice_str("some text, some text"), &out), -ENOMEM);
        assert_true(heap_fault_off());
        assert_int_equal(codec_compress(codecs[c], slice_str("some text, some text"), &packed), 0);
        heap_fault_after(1);
        assert_int_equal(codec_decompress(codecs[c], slice_of_buf(&packed), 100, &out), -ENOMEM);
        assert_true(heap_fault_off());
        shale_buf_fini(&out);
    }
    shale_buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_codec_gives_back_what_it_took),
        cmocka_unit_test(framings_are_those_of_the_format),
        cmocka_unit_test(unknown_codecs_are_refused),
        cmocka_unit_test(zstd_frames_of_any_kind_are_read),
        cmocka_unit_test(bombs_are_bounded),
        cmocka_unit_test(claims_are_not_believed),
        cmocka_unit_test(truncations_and_extra_bytes_are_refused),
        cmocka_unit_test(garbage_is_survived),
        cmocka_unit_test(allocation_failures_are_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
