/* SPDX-License-Identifier: Apache-2.0 */
#include "format/sst_info.h"

#include "base/alloc.h"
#include "base/crc32.h"
#include "lib/check.h"
#include "lib/golden.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"
#include "lib/hex.h"
#include "lib/meta_model.h"
#include "lib/mutate.h"

#include <errno.h>

/* Storage format appendix A, from the index on, without the trailer. */
static const char example_index[] =
    "0c 00 00 00 00 00 06 00 08 00 04 00 06 00 00 00 04 00 00 00 01 00 00 00 0c 00 00 00 08 00 08 00 "
    "00 00 04 00 08 00 00 00 04 00 00 00 00 00 00 00 ";
static const char example_stats[] =
    "14 00 00 00 10 00 34 00 04 00 0c 00 14 00 1c 00 24 00 30 00 10 00 00 00 01 00 00 00 00 00 00 00 "
    "01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 11 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 "
    "00 00 00 00 04 00 00 00 01 00 00 00 10 00 00 00 00 00 0a 00 0c 00 06 00 08 00 0a 00 0a 00 00 00 "
    "00 00 01 00 01 00 01 00 ";
static const char example_info[] =
    "24 00 00 00 00 00 00 00 00 00 1a 00 44 00 38 00 04 00 0c 00 14 00 1c 00 00 00 00 00 3c 00 24 00 "
    "2c 00 43 00 1a 00 00 00 74 00 00 00 00 00 00 00 34 00 00 00 00 00 00 00 5b 00 00 00 00 00 00 00 "
    "19 00 00 00 00 00 00 00 a8 00 00 00 00 00 00 00 6c 00 00 00 00 00 00 00 00 00 00 00 18 00 00 00 "
    "08 00 00 00 00 00 00 01 07 00 00 00 61 70 72 69 63 6f 74 00 05 00 00 00 61 70 70 6c 65 00 00 00 ";

/* Appendix B.2: the fence of the tag, and that of the released crate. */
static const char fence_index[] = "0c 00 00 00 00 00 06 00 08 00 04 00 06 00 00 00 04 00 00 00 00 00 00 00";
static const char fence_stats[] = "08 00 00 00 04 00 04 00 04 00 00 00";
static const char fence_info_tag[] =
    "24 00 00 00 00 00 00 00 00 00 1a 00 24 00 00 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 0c 00 "
    "14 00 23 00 1a 00 00 00 1c 00 00 00 00 00 00 00 1c 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 "
    "00 00 00 00 00 00 00 01 ";
static const char fence_info_crate[] =
    "1c 00 00 00 18 00 1c 00 00 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 0c 00 14 00 18 00 00 00"
    "1c 00 00 00 00 00 00 00 1c 00 00 00 00 00 00 00 10 00 00 00 00 00 00 00";

static struct shale_buf bytes_of(const char *hex)
{
    struct shale_buf b = SHALE_BUF_INIT;

    hex_append(&b, hex);
    return b;
}

static void assert_text(const struct shale_buf *b, const char *text)
{
    assert_true(slice_eq(slice_of_buf(b), slice_str(text)));
}

static void the_worked_info_is_read(void **state)
{
    struct shale_buf b = bytes_of(example_info);
    struct sst_info i;

    (void)state;
    assert_int_equal(b.len, 128);
    assert_int_equal(sst_info_decode(slice_of_buf(&b), &i), 0);
    assert_true(i.has_first && i.has_last);
    assert_text(&i.first, "apple");
    assert_text(&i.last, "apricot");
    assert_int_equal(i.index_offset, 0x74);
    assert_int_equal(i.index_len, 0x34);
    assert_int_equal(i.filter_offset, 0x5b);
    assert_int_equal(i.filter_len, 0x19);
    assert_int_equal(i.stats_offset, 0xa8);
    assert_int_equal(i.stats_len, 0x6c);
    assert_int_equal(i.codec, SHALE_CODEC_NONE);
    assert_int_equal(i.type, SST_COMPACTED);
    assert_int_equal(i.filter_format, 1);
    sst_info_fini(&i);
    shale_buf_fini(&b);
}

static void both_fences_are_read(void **state)
{
    static const struct {
        const char *hex;
        uint8_t format;
    } cases[] = { { fence_info_tag, 1 }, { fence_info_crate, 0 } };

    (void)state;
    for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
        struct shale_buf b = bytes_of(cases[k].hex);
        struct sst_info i;

        assert_int_equal(sst_info_decode(slice_of_buf(&b), &i), 0);
        assert_false(i.has_first || i.has_last);
        assert_int_equal(i.index_offset, 0);
        assert_int_equal(i.index_len, 28);
        assert_int_equal(i.stats_offset, 28);
        assert_int_equal(i.stats_len, 16);
        assert_int_equal(i.filter_format, cases[k].format);
        sst_info_fini(&i);
        shale_buf_fini(&b);
    }
}

static void the_fence_of_the_crate_is_written_byte_for_byte(void **state)
{
    const struct sst_info info = { .index_len = 28, .stats_offset = 28, .stats_len = 16 };
    const struct sst_index_builder index = { 0 };
    const struct sst_stats stats = { 0 };
    struct shale_buf b = SHALE_BUF_INIT, want = bytes_of(fence_index);

    (void)state;
    assert_int_equal(sst_index_builder_finish(&index, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_of_buf(&want)));
    buf_clear(&b);
    buf_clear(&want);
    hex_append(&want, fence_stats);
    assert_int_equal(sst_stats_encode(&stats, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_of_buf(&want)));
    buf_clear(&b);
    buf_clear(&want);
    hex_append(&want, fence_info_crate);
    assert_int_equal(sst_info_encode(&info, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_of_buf(&want)));
    shale_buf_fini(&b);
    shale_buf_fini(&want);
}

static void the_worked_index_is_read(void **state)
{
    struct shale_buf b = bytes_of(example_index);
    struct sst_index x;

    (void)state;
    assert_int_equal(sst_index_decode(slice_of_buf(&b), 91, &x), 0);
    assert_int_equal(x.n, 1);
    assert_int_equal(x.offsets[0], 0);
    assert_int_equal(x.first_keys[0].len, 0);
    sst_index_fini(&x);
    assert_int_equal(sst_index_decode(slice_of_buf(&b), 0, &x), SHALE_ECORRUPT);
    shale_buf_fini(&b);
    b = bytes_of(fence_index);
    assert_int_equal(sst_index_decode(slice_of_buf(&b), 0, &x), 0);
    assert_int_equal(x.n, 0);
    sst_index_fini(&x);
    shale_buf_fini(&b);
}

static void the_worked_stats_are_read(void **state)
{
    struct shale_buf b = bytes_of(example_stats);
    struct sst_stats s;

    (void)state;
    assert_int_equal(b.len, 104);
    assert_int_equal(sst_stats_decode(slice_of_buf(&b), &s), 0);
    assert_true(s.puts == 1 && s.deletes == 1 && s.merges == 1);
    assert_int_equal(s.raw_key_bytes, 17);
    assert_int_equal(s.raw_value_bytes, 5);
    assert_int_equal(s.n_blocks, 1);
    assert_true(s.blocks[0].puts == 1 && s.blocks[0].deletes == 1 && s.blocks[0].merges == 1);
    sst_stats_fini(&s);
    shale_buf_fini(&b);
    b = bytes_of(fence_stats);
    assert_int_equal(sst_stats_decode(slice_of_buf(&b), &s), 0);
    assert_true(s.puts == 0 && s.n_blocks == 0);
    sst_stats_fini(&s);
    shale_buf_fini(&b);
}

static void stats_survive(void **state)
{
    struct sst_stats s = { .puts = 1ull << 40, .merges = 3, .raw_key_bytes = 4 }, back;
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(vec_reserve(&s.blocks, &s.cap_blocks, 3, sizeof(*s.blocks)), 0);
    s.blocks[0] = (struct sst_block_stats){ 65535, 0, 1 };
    s.blocks[1] = (struct sst_block_stats){ 0, 0, 0 };
    s.blocks[2] = (struct sst_block_stats){ 1, 2, 3 };
    s.n_blocks = 3;
    assert_int_equal(sst_stats_encode(&s, &b), 0);
    assert_int_equal(sst_stats_decode(slice_of_buf(&b), &back), 0);
    assert_true(back.puts == s.puts && back.deletes == 0 && back.merges == 3 && back.raw_key_bytes == 4);
    assert_int_equal(back.n_blocks, 3);
    assert_memory_equal(back.blocks, s.blocks, 3 * sizeof(*s.blocks));
    sst_stats_fini(&back);
    sst_stats_fini(&s);
    shale_buf_fini(&b);
}

/* SlateDB reads at most a million tables in stats, so a list beyond is left out. */
static void a_list_of_too_many_blocks_is_left_out_of_the_stats(void **state)
{
    struct sst_stats s = { .puts = 5 }, back;
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(vec_reserve(&s.blocks, &s.cap_blocks, 1000000, sizeof(*s.blocks)), 0);
    memset(s.blocks, 1, 1000000 * sizeof(*s.blocks));
    s.n_blocks = 999999;
    assert_int_equal(sst_stats_encode(&s, &b), 0);
    assert_int_equal(sst_stats_decode(slice_of_buf(&b), &back), 0);
    assert_int_equal(back.n_blocks, 999999);
    sst_stats_fini(&back);
    s.n_blocks = 1000000;
    buf_clear(&b);
    assert_int_equal(sst_stats_encode(&s, &b), 0);
    assert_int_equal(sst_stats_decode(slice_of_buf(&b), &back), 0);
    assert_int_equal(back.n_blocks, 0);
    assert_int_equal(back.puts, 5);
    sst_stats_fini(&back);
    sst_stats_fini(&s);
    shale_buf_fini(&b);
}

static void build_index(struct rng *r, size_t n, struct sst_index_builder *b)
{
    uint64_t offset = 0;
    uint8_t key[40];

    for (size_t i = 0; i < n; i++) {
        size_t len = i ? 4 + rng_below(r, 20) : 0;

        memset(key, 0xab, sizeof(key));
        put_u32be(key, (uint32_t)i);
        assert_int_equal(sst_index_builder_add(b, offset, slice_of(key, len)), 0);
        offset += 1 + rng_below(r, 9000);
    }
}

static void an_index_of_many_blocks_survives(void **state)
{
    struct sst_index_builder b = { 0 };
    struct shale_buf bytes = SHALE_BUF_INIT;
    struct sst_index x;
    const size_t n = 200000;
    struct rng r;

    (void)state;
    rng_seed(&r, 1);
    build_index(&r, n, &b);
    assert_int_equal(sst_index_builder_finish(&b, &bytes), 0);
    assert_int_equal(sst_index_decode(slice_of_buf(&bytes), UINT64_MAX, &x), 0);
    assert_int_equal(x.n, n);
    for (size_t i = 0; i < n; i++) {
        size_t from = i ? b.key_ends[i - 1] : 0;

        assert_true(x.offsets[i] == b.offsets[i]);
        assert_true(slice_eq(x.first_keys[i], slice_of(b.keys.data ? b.keys.data + from : NULL, b.key_ends[i] - from)));
    }
    /* Shared vtables: reference, table, count and key of an entry, and little else. */
    assert_true(bytes.len < n * (4 + 16 + 4 + 4) + b.keys.len);
    sst_index_fini(&x);
    sst_index_builder_fini(&b);
    shale_buf_fini(&bytes);
}

static size_t below_one_by_one(const struct sst_index *x, struct shale_slice key, bool or_equal)
{
    size_t n = 0;

    while (n < x->n && slice_cmp(x->first_keys[n], key) < (or_equal ? 1 : 0))
        n++;
    return n;
}

static struct shale_slice few_letters(struct rng *r, uint8_t *to, size_t prefix, size_t most)
{
    size_t len = prefix + rng_below(r, most + 1);

    for (size_t i = 0; i < len; i++)
        to[i] = i < prefix ? (uint8_t)'p' : (uint8_t)("\0aq\xff"[rng_below(r, 4)]);
    return slice_of(to, len);
}

static int by_key(const void *a, const void *b)
{
    return slice_cmp(*(const struct shale_slice *)a, *(const struct shale_slice *)b);
}

/* Separators of all lengths with and without a common prefix; keys inside, outside and shorter than it. */
static void the_search_by_heads_finds_what_comparing_keys_finds(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (int round = 0; round < 300; round++) {
        struct sst_index_builder b = { 0 };
        struct shale_buf bytes = SHALE_BUF_INIT;
        size_t n = rng_below(&r, 12), prefix = rng_below(&r, 2) * rng_below(&r, 11);
        uint8_t space[12][24], key[24];
        struct shale_slice keys[12];
        struct sst_index x;

        for (size_t i = 0; i < n; i++)
            keys[i] = few_letters(&r, space[i], prefix, 10);
        qsort(keys, n, sizeof(keys[0]), by_key);
        if (n && rng_below(&r, 4))
            keys[0].len = 0;
        for (size_t i = 0; i < n; i++)
            assert_int_equal(sst_index_builder_add(&b, i * 10, keys[i]), 0);
        assert_int_equal(sst_index_builder_finish(&b, &bytes), 0);
        assert_int_equal(sst_index_decode(slice_of_buf(&bytes), 1000, &x), 0);
        for (int k = 0; k < 200; k++) {
            struct shale_slice target = n && rng_below(&r, 2) ? keys[rng_below(&r, n)]
                                                              : few_letters(&r, key, rng_below(&r, prefix + 1), 10);

            for (int eq = 0; eq < 2; eq++)
                assert_int_equal(sst_index_count_below(&x, target, eq), below_one_by_one(&x, target, eq));
        }
        sst_index_fini(&x);
        sst_index_builder_fini(&b);
        shale_buf_fini(&bytes);
    }
}

static int index_of(const uint64_t *offsets, const char *const *keys, size_t n, uint64_t data_end)
{
    struct sst_index_builder b = { 0 };
    struct shale_buf bytes = SHALE_BUF_INIT;
    struct sst_index x;
    int rc;

    for (size_t i = 0; i < n; i++)
        assert_int_equal(sst_index_builder_add(&b, offsets[i], slice_str(keys[i])), 0);
    assert_int_equal(sst_index_builder_finish(&b, &bytes), 0);
    rc = sst_index_decode(slice_of_buf(&bytes), data_end, &x);
    if (rc == 0)
        sst_index_fini(&x);
    sst_index_builder_fini(&b);
    shale_buf_fini(&bytes);
    return rc;
}

static void an_index_must_ascend_within_the_data(void **state)
{
    const char *const keys[] = { "", "b", "b" }, *const down[] = { "", "b", "a" };

    (void)state;
    assert_int_equal(index_of((uint64_t[]){ 0, 5, 9 }, keys, 3, 10), 0);
    assert_int_equal(index_of((uint64_t[]){ 0, 5, 9 }, down, 3, 10), SHALE_ECORRUPT);
    assert_int_equal(index_of((uint64_t[]){ 0, 5, 9 }, keys, 3, 9), SHALE_ECORRUPT);
    assert_int_equal(index_of((uint64_t[]){ 0, 5, 5 }, keys, 3, 10), SHALE_ECORRUPT);
    assert_int_equal(index_of((uint64_t[]){ 1, 5, 9 }, keys, 3, 10), SHALE_ECORRUPT);
}

static void separators_are_shortest(void **state)
{
    static const struct {
        const char *prev, *next, *want;
    } cases[] = {
        { "aaaac", "abaaa", "ab" }, { "ababc", "abacd", "abac" }, { "cc", "ccccccc", "ccc" },
        { "eed", "eee", "eee" }, { "abcdef", "abcdef", "abcdef" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_slice next = slice_str(cases[i].next);
        size_t common = slice_common(slice_str(cases[i].prev), next);

        assert_true(slice_eq(sst_index_separator(common, next), slice_str(cases[i].want)));
    }
}

static void trailers(void **state)
{
    static const struct {
        uint64_t offset, object_len;
        uint16_t version;
        int want;
    } cases[] = {
        { 0x114, 418, 2, 0 }, { 0, 15, 1, 0 }, { 403, 418, 2, 0 },
        { 404, 418, 2, SHALE_ECORRUPT }, { UINT64_MAX, 418, 2, SHALE_ECORRUPT }, { 0, 14, 2, SHALE_ECORRUPT },
        { 0, 0, 2, SHALE_ECORRUPT }, { 0x114, 418, 0, SHALE_EVERSION }, { 0x114, 418, 3, SHALE_EVERSION },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sst_trailer t = { cases[i].offset, cases[i].version }, back = { 0 };
        uint8_t bytes[SST_TRAILER_LEN];

        sst_trailer_encode(&t, bytes);
        assert_int_equal(sst_trailer_decode(bytes, cases[i].object_len, &back), cases[i].want);
        assert_true(cases[i].want < 0 || (back.info_offset == t.info_offset && back.version == t.version));
    }
}

static int decode_info(struct shale_slice in)
{
    struct sst_info i;
    int rc = sst_info_decode(in, &i);

    if (rc == 0)
        sst_info_fini(&i);
    return rc;
}

static int decode_index(struct shale_slice in)
{
    struct sst_index x;
    int rc = sst_index_decode(in, 1000000, &x);
    unsigned sum = 0;

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < x.n; i++)
        for (size_t k = 0; k < x.first_keys[i].len; k++)
            sum += x.first_keys[i].data[k];
    assert_true(sum < UINT32_MAX);
    sst_index_fini(&x);
    return rc;
}

static int decode_stats(struct shale_slice in)
{
    struct sst_stats s;
    int rc = sst_stats_decode(in, &s);

    if (rc == 0)
        sst_stats_fini(&s);
    return rc;
}

static void no_truncation_or_flipped_bit_reads_outside(void **state)
{
    static const struct {
        const char *hex;
        mutate_fn decode;
    } cases[] = {
        { example_info, decode_info },     { fence_info_tag, decode_info }, { fence_info_crate, decode_info },
        { example_index, decode_index },   { fence_index, decode_index },   { example_stats, decode_stats },
        { fence_stats, decode_stats },
    };
    struct sst_index_builder b = { 0 };
    struct shale_buf bytes = SHALE_BUF_INIT;
    struct rng r;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_buf in = bytes_of(cases[i].hex);

        assert_true(mutate_all(slice_of_buf(&in), cases[i].decode) > 0);
        shale_buf_fini(&in);
    }
    rng_seed(&r, 2);
    build_index(&r, 30, &b);
    assert_int_equal(sst_index_builder_finish(&b, &bytes), 0);
    assert_true(mutate_all(slice_of_buf(&bytes), decode_index) > bytes.len);
    sst_index_builder_fini(&b);
    shale_buf_fini(&bytes);
}

/* Encodes and decodes each of the three once. */
static int use_everything(const struct sst_info *i, const struct sst_stats *s)
{
    struct sst_index_builder x = { 0 };
    struct shale_buf b = SHALE_BUF_INIT;
    struct sst_info copy = { 0 };
    int rc = sst_info_copy(&copy, i);

    if (rc == 0)
        rc = sst_info_encode(&copy, &b);
    if (rc == 0)
        rc = decode_info(slice_of_buf(&b));
    buf_clear(&b);
    if (rc == 0)
        rc = sst_stats_encode(s, &b);
    if (rc == 0)
        rc = decode_stats(slice_of_buf(&b));
    buf_clear(&b);
    for (size_t k = 0; k < 40 && rc == 0; k++)
        rc = sst_index_builder_add(&x, k, slice_str(k ? "key" : ""));
    if (rc == 0)
        rc = sst_index_builder_finish(&x, &b);
    if (rc == 0)
        rc = decode_index(slice_of_buf(&b));
    sst_index_builder_fini(&x);
    sst_info_fini(&copy);
    shale_buf_fini(&b);
    return rc;
}

static void running_out_of_memory_is_reported(void **state)
{
    struct shale_buf in = bytes_of(example_info), in_stats = bytes_of(example_stats);
    struct sst_info info;
    struct sst_stats stats;
    unsigned n = 1;
    int rc;

    (void)state;
    assert_int_equal(sst_info_decode(slice_of_buf(&in), &info), 0);
    assert_int_equal(sst_stats_decode(slice_of_buf(&in_stats), &stats), 0);
    for (;; n++) {
        heap_fault_after(n);
        rc = use_everything(&info, &stats);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 10);
    sst_info_fini(&info);
    sst_stats_fini(&stats);
    shale_buf_fini(&in);
    shale_buf_fini(&in_stats);
}

/* Section of a golden SST without its checksum, which must hold. */
static struct shale_slice section(struct shale_slice sst, uint64_t offset, uint64_t len)
{
    struct shale_slice s = slice_of(sst.data + offset, (size_t)len - 4);

    assert_true(offset + len <= sst.len && len > 4);
    assert_int_equal(crc32_of(s), get_u32be(s.data + s.len));
    return s;
}

static void rewrite_index(const char *path, struct shale_slice in, uint64_t data_end)
{
    struct sst_index_builder b = { 0 };
    struct shale_buf out = SHALE_BUF_INIT;
    struct sst_index x;

    if (sst_index_decode(in, data_end, &x) < 0)
        fail_msg("%s: %s", path, shale_errmsg());
    for (size_t i = 0; i < x.n; i++)
        assert_int_equal(sst_index_builder_add(&b, x.offsets[i], x.first_keys[i]), 0);
    assert_int_equal(sst_index_builder_finish(&b, &out), 0);
    if (!slice_eq(in, slice_of_buf(&out)))
        fail_msg("%s: index of other bytes than SlateDB's", path);
    sst_index_fini(&x);
    sst_index_builder_fini(&b);
    shale_buf_fini(&out);
}

static void rewrite_stats(const char *path, struct shale_slice in)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct sst_stats s;

    assert_int_equal(sst_stats_decode(in, &s), 0);
    assert_int_equal(sst_stats_encode(&s, &out), 0);
    if (!slice_eq(in, slice_of_buf(&out)))
        fail_msg("%s: stats of other bytes than SlateDB's", path);
    sst_stats_fini(&s);
    shale_buf_fini(&out);
}

static void golden_one(void *ctx, const char *path, struct shale_slice sst)
{
    struct shale_buf out = SHALE_BUF_INIT;
    size_t *uncompressed = ctx;
    struct sst_trailer t;
    struct shale_slice in;
    struct sst_info info;

    if (sst.len == 0) /* a fence of SlateDB 0.13.1 */
        return;
    assert_int_equal(sst_trailer_decode(sst.data + sst.len - SST_TRAILER_LEN, sst.len, &t), 0);
    in = section(sst, t.info_offset, sst.len - SST_TRAILER_LEN - t.info_offset);
    assert_int_equal(sst_info_decode(in, &info), 0);
    assert_int_equal(sst_info_encode(&info, &out), 0);
    if (!slice_eq(in, slice_of_buf(&out)))
        fail_msg("%s: info of other bytes than SlateDB's", path);
    if (info.codec == SHALE_CODEC_NONE) {
        rewrite_index(path, section(sst, info.index_offset, info.index_len), info.filter_offset);
        if (info.stats_len)
            rewrite_stats(path, section(sst, info.stats_offset, info.stats_len));
        ++*uncompressed;
    }
    sst_info_fini(&info);
    shale_buf_fini(&out);
}

static void golden_ssts_are_rewritten_byte_for_byte(void **state)
{
    size_t uncompressed = 0;

    (void)state;
    assert_true(golden_each("", ".sst", golden_one, &uncompressed) > 150);
    assert_true(uncompressed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_info_is_read),
        cmocka_unit_test(both_fences_are_read),
        cmocka_unit_test(the_fence_of_the_crate_is_written_byte_for_byte),
        cmocka_unit_test(the_worked_index_is_read),
        cmocka_unit_test(the_worked_stats_are_read),
        cmocka_unit_test(stats_survive),
        cmocka_unit_test(a_list_of_too_many_blocks_is_left_out_of_the_stats),
        cmocka_unit_test(an_index_of_many_blocks_survives),
        cmocka_unit_test(the_search_by_heads_finds_what_comparing_keys_finds),
        cmocka_unit_test(an_index_must_ascend_within_the_data),
        cmocka_unit_test(separators_are_shortest),
        cmocka_unit_test(trailers),
        cmocka_unit_test(no_truncation_or_flipped_bit_reads_outside),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(golden_ssts_are_rewritten_byte_for_byte),
    };

    return cmocka_run_group_tests_name("sst_info", tests, NULL, NULL);
}
