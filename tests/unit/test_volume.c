/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "fs/core/text.h"
#include "fs/core/volume.h"
#include "lib/heap_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

static struct volume some_volume(void)
{
    return (struct volume){
        .uuid = { .hi = 0x0123456789ab4def, .lo = 0x8123456789abcdef },
        .name = "photos 50%",
        .chunk_bytes = 1 << 20,
        .block_bytes = 16 << 10,
        .codec = SHALE_CODEC_ZSTD,
        .created_ms = 1795442405123,
    };
}

static void assert_same(const struct volume *a, const struct volume *b)
{
    assert_true(a->compatible == b->compatible && a->read_compatible == b->read_compatible);
    assert_true(a->incompatible == b->incompatible);
    assert_true(a->uuid.hi == b->uuid.hi && a->uuid.lo == b->uuid.lo);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->chunk_bytes, b->chunk_bytes);
    assert_int_equal(a->block_bytes, b->block_bytes);
    assert_int_equal(a->codec, b->codec);
    assert_true(a->created_ms == b->created_ms);
}

static void the_text_is_the_documented_one(void **state)
{
    struct volume v = some_volume(), back;
    struct shale_buf b = SHALE_BUF_INIT;
    static const char want[] = "shalefs volume\n"
                               "format=1\n"
                               "features.compatible=0x0\n"
                               "features.read-compatible=0x0\n"
                               "features.incompatible=0x0\n"
                               "uuid=01234567-89ab-4def-8123-456789abcdef\n"
                               "name=photos 50%25\n"
                               "chunk-size=1048576\n"
                               "block-size=16384\n"
                               "codec=zstd\n"
                               "created=2026-11-23T14:00:05.123Z\n"
                               "cipher=none\n"
                               "cipher-keys=\n"
                               "crc32=";

    (void)state;
    assert_int_equal(volume_encode(&v, &b), 0);
    assert_int_equal(b.len, strlen(want) + 9);
    assert_memory_equal(b.data, want, strlen(want));
    assert_int_equal(volume_parse(slice_of_buf(&b), "v", &back), 0);
    assert_same(&v, &back);
    shale_buf_fini(&b);
}

static void a_volume_of_impossible_sizes_is_not_written(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct volume v = some_volume();

    (void)state;
    v.chunk_bytes = 3 << 20;
    assert_int_equal(volume_encode(&v, &b), -EINVAL);
    v.chunk_bytes = 1 << 10;
    assert_int_equal(volume_encode(&v, &b), -EINVAL);
    v = some_volume();
    v.block_bytes = 128 << 10;
    assert_int_equal(volume_encode(&v, &b), -EINVAL);
    v = some_volume();
    v.codec = 9;
    assert_int_equal(volume_encode(&v, &b), -EINVAL);
    memset(v.name, 'x', sizeof(v.name));
    v.codec = SHALE_CODEC_NONE;
    assert_int_equal(volume_encode(&v, &b), -EINVAL);
    assert_int_equal(b.len, 0);
    shale_buf_fini(&b);
}

/* The text of some_volume with one line replaced, and a checksum that fits. */
static void with_line(struct shale_buf *out, const char *key, const char *line)
{
    struct volume v = some_volume();
    struct shale_buf b = SHALE_BUF_INIT;
    struct text_out t = { .buf = out };
    const char *p;

    buf_clear(out);
    assert_int_equal(volume_encode(&v, &b), 0);
    for (p = (const char *)b.data; strncmp(p, "crc32=", 6) != 0; p = strchr(p, '\n') + 1) {
        if (strncmp(p, key, strlen(key)) == 0 && p[strlen(key)] == '=')
            assert_int_equal(buf_append_slice(out, slice_str(line)), 0);
        else
            assert_int_equal(shale_buf_append(out, p, (size_t)(strchr(p, '\n') + 1 - p)), 0);
    }
    assert_int_equal(text_end(&t), 0);
    shale_buf_fini(&b);
}

static void what_cannot_be_read_is_refused_with_a_sentence(void **state)
{
    static const struct {
        const char *key, *line;
        int rc;
        const char *sentence;
    } cases[] = {
        { "format", "format=2\n", SHALE_EVERSION, "vol 7 has format 2; this program knows format 1" },
        { "format", "format=2\nanything\n", SHALE_EVERSION, "vol 7 has format 2; this program knows format 1" },
        { "format", "format=one\n", SHALE_ECORRUPT, "vol 7 does not say its format in the second line" },
        { "format", "", SHALE_ECORRUPT, "vol 7 does not say its format in the second line" },
        { "features.incompatible", "features.incompatible=0x6\nsegments=new\n", SHALE_EVERSION,
          "vol 7 has features that this program does not know (bits 0x6)" },
        { "features.incompatible", "", SHALE_ECORRUPT, "vol 7 does not say its incompatible features" },
        { "uuid", "uuid=1\n", SHALE_ECORRUPT, "vol 7 has the line uuid with a value that cannot be" },
        { "codec", "codec=rot13\n", SHALE_ECORRUPT, "vol 7 has the line codec with a value that cannot be" },
        { "chunk-size", "chunk-size=4294967296\n", SHALE_ECORRUPT,
          "vol 7 has the line chunk-size with a value that cannot be" },
        { "chunk-size", "chunk-size=65535\n", SHALE_ECORRUPT,
          "vol 7 has chunks of 65535 and blocks of 16384 bytes, which cannot be" },
        { "block-size", "block-size=0\n", SHALE_ECORRUPT,
          "vol 7 has chunks of 1048576 and blocks of 0 bytes, which cannot be" },
        { "cipher", "cipher=aes\n", SHALE_ECORRUPT, "vol 7 has the line cipher with a value that cannot be" },
        { "cipher-keys", "cipher-keys=x\n", SHALE_ECORRUPT,
          "vol 7 has the line cipher-keys with a value that cannot be" },
        { "created", "created=yesterday\n", SHALE_ECORRUPT, "vol 7 has the line created with a value that cannot be" },
        { "name", "", SHALE_ECORRUPT, "vol 7 has no line name" },
        { "name", "name=\nquota=1\n", SHALE_ECORRUPT,
          "vol 7 has lines with unknown keys, which no feature bit announces" },
    };
    struct volume v = { .chunk_bytes = 42 };
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].sentence);
        with_line(&b, cases[i].key, cases[i].line);
        assert_int_equal(volume_parse(slice_of_buf(&b), "vol 7", &v), cases[i].rc);
        assert_string_equal(shale_errmsg(), cases[i].sentence);
        assert_int_equal(v.chunk_bytes, 42);
    }
    b.data[20] ^= 1;
    assert_int_equal(volume_parse(slice_of_buf(&b), "vol 7", &v), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "vol 7 is damaged"));
    shale_buf_fini(&b);
}

static void unknown_compatible_features_bring_lines_that_are_passed_over(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct volume v;

    (void)state;
    with_line(&b, "features.compatible", "features.compatible=0x10\nquota=1\n");
    assert_int_equal(volume_parse(slice_of_buf(&b), "v", &v), 0);
    assert_true(v.compatible == 0x10);
    assert_false(volume_is_read_only(&v));
    with_line(&b, "features.read-compatible", "features.read-compatible=0x8000000000000000\nindex=1\n");
    assert_int_equal(volume_parse(slice_of_buf(&b), "v", &v), 0);
    assert_true(volume_is_read_only(&v));
    shale_buf_fini(&b);
}

static void put(struct shale_store *store, const char *name, struct shale_slice data)
{
    assert_int_equal(shale_store_put(store, name, data, SHALE_PUT_IF_ABSENT), 0);
}

static void the_greatest_version_holds(void **state)
{
    struct volume v = some_volume(), got;
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_store *store;
    uint64_t version;

    (void)state;
    assert_int_equal(shale_store_memory(&store), 0);
    assert_int_equal(volume_load_latest(store, "a/b", &got, &version), -ENOENT);
    assert_string_equal(shale_errmsg(), "there is no volume: nothing is named a/b/volume/*.vol");
    assert_int_equal(volume_create(store, "a/b", &v), 0);
    assert_int_equal(volume_create(store, "a/b", &v), -EEXIST);
    assert_string_equal(shale_errmsg(), "there is a volume already: a/b/volume/00000000000000000001.vol exists");
    assert_int_equal(volume_load_latest(store, "a/b", &got, &version), 0);
    assert_int_equal(version, 1);
    assert_same(&v, &got);
    strcpy(v.name, "renamed");
    assert_int_equal(volume_encode(&v, &b), 0);
    put(store, "a/b/volume/00000000000000000010.vol", slice_of_buf(&b));
    put(store, "a/b/volume/99999999999999999999.vol", slice_str("a number beyond 64 bits"));
    put(store, "a/b/volume/0000000000000000011.vol", slice_str("19 digits"));
    put(store, "a/b/volume/00000000000000000012.tmp", slice_str("not ours"));
    put(store, "a/b/volume/0000000000000000001x.vol", slice_str("not ours"));
    assert_int_equal(volume_load_latest(store, "a/b", &got, &version), 0);
    assert_int_equal(version, 10);
    assert_string_equal(got.name, "renamed");
    put(store, "a/b/volume/00000000000000000011.vol", slice_str("rubbish"));
    assert_int_equal(volume_load_latest(store, "a/b", &got, NULL), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "a/b/volume/00000000000000000011.vol"));
    assert_int_equal(volume_load_latest(store, "", &got, NULL), -ENOENT);
    assert_int_equal(volume_create(store, "", &v), 0);
    assert_int_equal(volume_load_latest(store, "", &got, NULL), 0);
    shale_store_close(store);
    shale_buf_fini(&b);
}

static void running_out_of_memory_is_reported(void **state)
{
    struct volume v = some_volume(), got;
    struct shale_store *store;
    unsigned n;
    int rc = -1;

    (void)state;
    assert_int_equal(shale_store_memory(&store), 0);
    for (n = 1; rc < 0; n++) {
        heap_fault_after(n);
        rc = volume_create(store, "r", &v);
        assert_int_equal(heap_fault_off() ? -ENOMEM : 0, rc);
    }
    assert_true(n > 3);
    rc = -1;
    for (n = 1; rc < 0; n++) {
        heap_fault_after(n);
        rc = volume_load_latest(store, "r", &got, NULL);
        assert_int_equal(heap_fault_off() ? -ENOMEM : 0, rc);
    }
    assert_true(n > 3);
    assert_same(&v, &got);
    shale_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_the_documented_one),
        cmocka_unit_test(a_volume_of_impossible_sizes_is_not_written),
        cmocka_unit_test(what_cannot_be_read_is_refused_with_a_sentence),
        cmocka_unit_test(unknown_compatible_features_bring_lines_that_are_passed_over),
        cmocka_unit_test(the_greatest_version_holds),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
