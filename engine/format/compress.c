/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The five codecs in SlateDB's framings (storage format 2.3):
 *   snappy  raw format          zlib  a zlib stream, level 6          zstd  frames, level 3
 *   lz4     u32le length of the raw bytes | one lz4 block
 * Unpacking takes untrusted bytes: a claimed length is believed only as far as the codec could grow the
 * input, and never beyond max_len, so that a few bytes cannot make us allocate gigabytes.
 */

#include "format/compress.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZLIB_LEVEL 6
#define ZSTD_LEVEL 3
#define LZ4_PREFIX_LEN 4

/* What a byte of input can grow to at most: a claimed length beyond it is a lie, and not worth an allocation. */
#define LZ4_MAX_GROWTH 255
#define SNAPPY_MAX_GROWTH 32
#define GROWTH_SLACK 64

static const char *name_of(enum shale_codec codec)
{
    static const char *const names[] = { "none", "snappy", "zlib", "lz4", "zstd" };

    return (size_t)codec < ARRAY_SIZE(names) ? names[codec] : "unknown";
}

static int too_large(enum shale_codec codec, size_t len)
{
    return err_set(-EINVAL, "%zu bytes are too many for %s", len, name_of(codec));
}

static int malformed(enum shale_codec codec)
{
    return err_set(SHALE_ECORRUPT, "malformed %s data", name_of(codec));
}

/* The codecs are handed a pointer even where there is nothing. */
static const uint8_t *data_of(struct shale_slice s)
{
    static const uint8_t nothing[1];

    return s.data ? s.data : nothing;
}

static int snappy_pack(struct shale_slice in, struct shale_buf *out)
{
    size_t len;

    if (in.len > UINT32_MAX)
        return too_large(SHALE_CODEC_SNAPPY, in.len);
    len = snappy_max_compressed_length(in.len);
    if (shale_buf_reserve(out, len) < 0)
        return -ENOMEM;
    if (snappy_compress((const char *)data_of(in), in.len, (char *)out->data, &len) != SNAPPY_OK)
        return too_large(SHALE_CODEC_SNAPPY, in.len);
    out->len = len;
    return 0;
}

static int zlib_pack(struct shale_slice in, struct shale_buf *out)
{
    uLongf len = compressBound(in.len);
    int rc;

    if (shale_buf_reserve(out, len) < 0)
        return -ENOMEM;
    rc = compress2(out->data, &len, data_of(in), in.len, ZLIB_LEVEL);
    if (rc != Z_OK)
        return rc == Z_MEM_ERROR ? -ENOMEM : too_large(SHALE_CODEC_ZLIB, in.len);
    out->len = len;
    return 0;
}

static int lz4_pack(struct shale_slice in, struct shale_buf *out)
{
    int bound, n;

    if (in.len > LZ4_MAX_INPUT_SIZE)
        return too_large(SHALE_CODEC_LZ4, in.len);
    bound = LZ4_compressBound((int)in.len);
    if (shale_buf_reserve(out, LZ4_PREFIX_LEN + (size_t)bound) < 0)
        return -ENOMEM;
    put_u32le(out->data, (uint32_t)in.len);
    n = LZ4_compress_default((const char *)data_of(in), (char *)out->data + LZ4_PREFIX_LEN, (int)in.len, bound);
    if (n <= 0)
        return -ENOMEM; /* with that much room only its own working memory can be missing */
    out->len = LZ4_PREFIX_LEN + (size_t)n;
    return 0;
}

static int zstd_rc(size_t r)
{
    return ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation ? -ENOMEM : 0;
}

static int zstd_pack(struct shale_slice in, struct shale_buf *out)
{
    size_t bound = ZSTD_compressBound(in.len);
    size_t r;

    if (ZSTD_isError(bound))
        return too_large(SHALE_CODEC_ZSTD, in.len);
    if (shale_buf_reserve(out, bound) < 0)
        return -ENOMEM;
    r = ZSTD_compress(out->data, out->cap, data_of(in), in.len, ZSTD_LEVEL);
    if (ZSTD_isError(r))
        return zstd_rc(r) < 0 ? -ENOMEM : too_large(SHALE_CODEC_ZSTD, in.len);
    out->len = r;
    return 0;
}

int codec_compress(enum shale_codec codec, struct shale_slice in, struct shale_buf *out)
{
    buf_clear(out);
    switch (codec) {
    case SHALE_CODEC_NONE:
        return buf_append_slice(out, in);
    case SHALE_CODEC_SNAPPY:
        return snappy_pack(in, out);
    case SHALE_CODEC_ZLIB:
        return zlib_pack(in, out);
    case SHALE_CODEC_LZ4:
        return lz4_pack(in, out);
    case SHALE_CODEC_ZSTD:
        return zstd_pack(in, out);
    }
    return err_set(-EINVAL, "unknown codec %d", (int)codec);
}

static int too_long(enum shale_codec codec, size_t max_len)
{
    return err_set(SHALE_ECORRUPT, "%s data is longer than %zu bytes when unpacked", name_of(codec), max_len);
}

static int snappy_unpack(struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    size_t len;

    if (snappy_uncompressed_length((const char *)data_of(in), in.len, &len) != SNAPPY_OK ||
        len > size_add(size_mul(in.len, SNAPPY_MAX_GROWTH), GROWTH_SLACK))
        return malformed(SHALE_CODEC_SNAPPY);
    if (len > max_len)
        return too_long(SHALE_CODEC_SNAPPY, max_len);
    if (shale_buf_reserve(out, len + 1) < 0)
        return -ENOMEM;
    if (snappy_uncompress((const char *)data_of(in), in.len, (char *)out->data, &len) != SNAPPY_OK)
        return malformed(SHALE_CODEC_SNAPPY);
    out->len = len;
    return 0;
}

/* How much more room to give: doubling, from a guess, up to max_len in all. 0 when there is no more. */
static size_t next_room(const struct shale_buf *out, size_t in_len, size_t max_len)
{
    size_t want = out->len ? out->len : size_add(size_mul(in_len, 4), GROWTH_SLACK);

    return want < max_len - out->len ? want : max_len - out->len;
}

/*
 * One call of inflate. Writes at most max_len bytes and, to see the end of a stream of just that length, one more byte
 * into a place of its own. 1: go on, 0: done.
 */
static int inflate_some(z_stream *z, struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    size_t room = next_room(out, in.len, max_len);
    uint8_t extra;
    int rc;

    if (shale_buf_reserve(out, room) < 0)
        return -ENOMEM;
    if (room > UINT_MAX)
        room = UINT_MAX;
    z->next_out = room ? out->data + out->len : &extra;
    z->avail_out = room ? (uInt)room : 1;
    rc = inflate(z, Z_NO_FLUSH);
    if (room)
        out->len += room - z->avail_out;
    else if (z->avail_out == 0)
        return too_long(SHALE_CODEC_ZLIB, max_len);
    if (rc == Z_STREAM_END)
        return z->avail_in == 0 ? 0 : malformed(SHALE_CODEC_ZLIB);
    if (rc == Z_MEM_ERROR)
        return -ENOMEM;
    /* room left over means that the input ended first */
    return rc == Z_OK && z->avail_out == 0 ? 1 : malformed(SHALE_CODEC_ZLIB);
}

/* zlib does not say how long the output is: room doubles as it comes. */
static int zlib_unpack(struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    z_stream z = { 0 };
    int rc;

    if (in.len > UINT_MAX)
        return malformed(SHALE_CODEC_ZLIB); /* no section is that long */
    z.next_in = (z_const Bytef *)(uintptr_t)data_of(in); /* zlib only reads it, its field is not const */
    z.avail_in = (uInt)in.len;
    if (inflateInit(&z) != Z_OK)
        return -ENOMEM;
    do {
        rc = inflate_some(&z, in, max_len, out);
    } while (rc == 1);
    inflateEnd(&z);
    return rc;
}

static int lz4_unpack(struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    size_t len, packed;
    int n;

    if (in.len < LZ4_PREFIX_LEN || in.len > INT_MAX)
        return malformed(SHALE_CODEC_LZ4);
    len = get_u32le(in.data);
    packed = in.len - LZ4_PREFIX_LEN;
    if (len > LZ4_MAX_INPUT_SIZE || len > packed * LZ4_MAX_GROWTH + GROWTH_SLACK)
        return malformed(SHALE_CODEC_LZ4);
    if (len > max_len)
        return too_long(SHALE_CODEC_LZ4, max_len);
    if (shale_buf_reserve(out, len + 1) < 0)
        return -ENOMEM;
    n = LZ4_decompress_safe((const char *)in.data + LZ4_PREFIX_LEN, (char *)out->data, (int)packed, (int)len);
    if (n < 0 || (size_t)n != len)
        return malformed(SHALE_CODEC_LZ4);
    out->len = len;
    return 0;
}

/* How much room to try first: what the first frame says, or a guess. */
static size_t zstd_room(struct shale_slice in, size_t max_len)
{
    unsigned long long said = ZSTD_getFrameContentSize(data_of(in), in.len);
    size_t room;

    if (said == ZSTD_CONTENTSIZE_UNKNOWN || said == ZSTD_CONTENTSIZE_ERROR || said == 0)
        room = size_add(size_mul(in.len, 8), GROWTH_SLACK);
    else
        room = said > SIZE_MAX ? SIZE_MAX : (size_t)said;
    return room < max_len ? room : max_len;
}

/*
 * Frames need not tell their length, so the room doubles until they fit. The streaming interface would save the second
 * attempt, but allocates a window of up to 128 MiB on the word of the input; this way max_len bounds everything.
 */
static int zstd_unpack(struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    size_t room = zstd_room(in, max_len);
    ZSTD_DCtx *ctx;
    int rc = 0;
    size_t r;

    if (in.len == 0)
        return malformed(SHALE_CODEC_ZSTD);
    ctx = ZSTD_createDCtx();
    if (!ctx)
        return -ENOMEM;
    for (;;) {
        rc = shale_buf_reserve(out, room + 1);
        if (rc < 0)
            goto out;
        r = ZSTD_decompressDCtx(ctx, out->data, room, data_of(in), in.len);
        if (!ZSTD_isError(r)) {
            out->len = r;
            goto out;
        }
        if (ZSTD_getErrorCode(r) != ZSTD_error_dstSize_tooSmall) {
            rc = zstd_rc(r) < 0 ? -ENOMEM : malformed(SHALE_CODEC_ZSTD);
            goto out;
        }
        if (room == max_len) {
            rc = too_long(SHALE_CODEC_ZSTD, max_len);
            goto out;
        }
        room = room < max_len / 2 ? room * 2 : max_len;
    }
out:
    ZSTD_freeDCtx(ctx);
    return rc;
}

static int unpack(enum shale_codec codec, struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    switch (codec) {
    case SHALE_CODEC_NONE:
        return in.len > max_len ? too_long(codec, max_len) : buf_append_slice(out, in);
    case SHALE_CODEC_SNAPPY:
        return snappy_unpack(in, max_len, out);
    case SHALE_CODEC_ZLIB:
        return zlib_unpack(in, max_len, out);
    case SHALE_CODEC_LZ4:
        return lz4_unpack(in, max_len, out);
    case SHALE_CODEC_ZSTD:
        return zstd_unpack(in, max_len, out);
    }
    return err_set(SHALE_EVERSION, "unknown codec %d", (int)codec);
}

int codec_decompress(enum shale_codec codec, struct shale_slice in, size_t max_len, struct shale_buf *out)
{
    int rc;

    buf_clear(out);
    rc = unpack(codec, in, max_len, out);
    if (rc < 0)
        buf_clear(out); /* no part of what may be nonsense */
    return rc;
}
