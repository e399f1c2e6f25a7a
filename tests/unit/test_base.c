/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32.h"
#include "base/err.h"
#include "base/errand.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/sync.h"
#include "base/ulid.h"
#include "lib/heap_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* buf */

static void integers_are_appended_big_endian(void **state)
{
    static const uint8_t want[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xac, 2 };
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(buf_put_u8(&b, 1), 0);
    assert_int_equal(buf_put_u16be(&b, 0x0203), 0);
    assert_int_equal(buf_put_u32be(&b, 0x04050607), 0);
    assert_int_equal(buf_put_u64be(&b, 0x08090a0b0c0d0e0f), 0);
    assert_int_equal(buf_put_varint32(&b, 300), 0);
    assert_int_equal(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
    shale_buf_fini(&b);
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
}

static void a_buffer_grows_and_keeps_its_bytes(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    uint8_t *p;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(buf_put_u8(&b, (uint8_t)i), 0);
    p = buf_extend(&b, 24);
    assert_ptr_equal(p, b.data + 1000);
    memset(p, 7, 24);
    assert_int_equal(b.len, 1024);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    assert_int_equal(shale_buf_append(&b, NULL, 0), 0);
    assert_non_null(buf_extend(&b, 0)); /* NULL would mean that memory ran out */
    assert_int_equal(b.len, 1024);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_true(b.cap >= 1024);
    shale_buf_fini(&b);
}

static void text_is_printed_behind_what_is_there(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    char *text;

    (void)state;
    assert_int_equal(buf_set(&b, slice_str("old")), 0);
    assert_int_equal(buf_set(&b, slice_str("a")), 0);
    assert_int_equal(buf_printf(&b, "%d%s", 42, "-"), 0);
    assert_int_equal(buf_printf(&b, "%0200d", 1), 0);
    assert_int_equal(b.len, 204);
    assert_int_equal(b.data[204], 0);
    assert_memory_equal(b.data, "a42-0", 5);
    text = (char *)buf_take(&b);
    assert_null(b.data);
    assert_int_equal(strlen(text), 204);
    mem_free(text);
}

static void a_buffer_without_memory_is_unchanged(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(shale_buf_append(&b, "abc", 3), 0);
    assert_int_equal(shale_buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(shale_buf_reserve(&b, (size_t)PTRDIFF_MAX + 1), -ENOMEM);
    assert_null(buf_extend(&b, SIZE_MAX - 2));
    heap_fault_after(1);
    assert_int_equal(shale_buf_reserve(&b, 1000), -ENOMEM);
    assert_true(heap_fault_off());
    heap_fault_after(1);
    assert_int_equal(buf_printf(&b, "%0200d", 1), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "abc", 3);
    shale_buf_fini(&b);
}

/* slice */

static void slices_compare_as_keys(void **state)
{
    struct shale_slice none = { NULL, 0 };

    (void)state;
    assert_true(slice_cmp(slice_str("a"), slice_str("b")) < 0);
    assert_true(slice_cmp(slice_str("ab"), slice_str("a")) > 0);
    assert_true(slice_cmp(slice_str("\xff"), slice_str("a")) > 0);
    assert_true(slice_cmp(none, slice_of("", 1)) < 0);
    assert_int_equal(slice_cmp(none, slice_str("")), 0);
    assert_true(slice_eq(none, slice_str("")));
    assert_false(slice_eq(slice_str("a"), slice_str("b")));
    assert_true(slice_has_prefix(slice_str("abc"), slice_str("ab")));
    assert_true(slice_has_prefix(none, none));
    assert_false(slice_has_prefix(slice_str("a"), slice_str("ab")));
    assert_int_equal(slice_common(slice_str("abcd"), slice_str("abx")), 2);
    assert_int_equal(slice_common(slice_str("ab"), slice_str("abx")), 2);
    assert_true(slice_eq(slice_from(slice_str("abc"), 1), slice_str("bc")));
    assert_int_equal(slice_from(none, 0).len, 0);
}

/* bytes */

static void fixed_integers_have_their_byte_order(void **state)
{
    static const uint8_t b[] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t t[9] = { 0 };

    (void)state;
    assert_int_equal(get_u16be(b + 1), 0x0102);
    assert_int_equal(get_u32be(b + 1), 0x01020304);
    assert_true(get_u64be(b + 1) == 0x0102030405060708);
    assert_int_equal(get_u16le(b + 1), 0x0201);
    assert_int_equal(get_u32le(b + 1), 0x04030201);
    assert_true(get_u64le(b + 1) == 0x0807060504030201);
    put_u64be(t + 1, 0x0102030405060708);
    assert_memory_equal(t + 1, b + 1, 8);
    put_u64le(t + 1, 0x0807060504030201);
    assert_memory_equal(t + 1, b + 1, 8);
    put_u32be(t + 1, 0x01020304);
    put_u32le(t + 5, 0x08070605);
    assert_memory_equal(t + 1, b + 1, 8);
    put_u16be(t + 1, 0x0102);
    put_u16le(t + 3, 0x0403);
    assert_memory_equal(t + 1, b + 1, 8);
}

static void varints_of_each_length(void **state)
{
    static const struct {
        uint32_t v;
        const char *bytes;
        size_t len;
    } cases[] = {
        { 0, "\0", 1 },
        { 0x7f, "\x7f", 1 },
        { 0x80, "\x80\1", 2 },
        { 0x3fff, "\xff\x7f", 2 },
        { 0x4000, "\x80\x80\1", 3 },
        { 0x1fffff, "\xff\xff\x7f", 3 },
        { 0x200000, "\x80\x80\x80\1", 4 },
        { 0xfffffff, "\xff\xff\xff\x7f", 4 },
        { 0x10000000, "\x80\x80\x80\x80\1", 5 },
        { UINT32_MAX, "\xff\xff\xff\xff\x0f", 5 },
    };
    uint8_t t[VARINT32_MAX_LEN];
    uint32_t v;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(put_varint32(t, cases[i].v), cases[i].len);
        assert_int_equal(varint32_len(cases[i].v), cases[i].len);
        assert_memory_equal(t, cases[i].bytes, cases[i].len);
        v = ~cases[i].v;
        assert_int_equal(get_varint32(t, t + cases[i].len, &v), cases[i].len);
        assert_true(v == cases[i].v);
        for (size_t len = 0; len < cases[i].len; len++) /* cut short */
            assert_int_equal(get_varint32(t, t + len, &v), 0);
    }
}

static void varints_that_do_not_fit_are_refused(void **state)
{
    static const uint8_t too_large[] = { 0xff, 0xff, 0xff, 0xff, 0x10 };
    static const uint8_t too_long[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0 };
    static const uint8_t padded[] = { 0x81, 0 };
    uint32_t v = 77;

    (void)state;
    assert_int_equal(get_varint32(too_large, too_large + 5, &v), 0);
    assert_int_equal(get_varint32(too_long, too_long + 6, &v), 0);
    assert_int_equal(v, 77);
    assert_int_equal(get_varint32(padded, padded + 2, &v), 2);
    assert_int_equal(v, 1);
}

/* alloc */

static void sizes_saturate_and_absurd_ones_are_refused(void **state)
{
    void *p = NULL;

    (void)state;
    assert_true(size_add(SIZE_MAX, 1) == SIZE_MAX);
    assert_true(size_add(2, 3) == 5);
    assert_true(size_mul(SIZE_MAX / 2, 3) == SIZE_MAX);
    assert_true(size_mul(2, 3) == 6);
    assert_null(mem_alloc(SIZE_MAX));
    assert_null(mem_zalloc(SIZE_MAX));
    assert_null(mem_calloc(SIZE_MAX / 2, 3));
    assert_null(mem_realloc(p, SIZE_MAX));
    assert_null(mem_dup("", SIZE_MAX));
    p = mem_alloc(0); /* NULL would mean that memory ran out */
    assert_non_null(p);
    mem_free(p);
}

static void copies_end_in_a_nul(void **state)
{
    char *p = mem_dup("abc", 2), *q = mem_strdup("abc"), *r = mem_dup(NULL, 0);

    (void)state;
    assert_string_equal(p, "ab");
    assert_string_equal(q, "abc");
    assert_string_equal(r, "");
    mem_free(p);
    mem_free(q);
    mem_free(r);
}

static void an_array_grows_by_doubling(void **state)
{
    uint32_t *v = NULL;
    size_t cap = 0, grown = 0, before;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        before = cap;
        assert_int_equal(vec_reserve(&v, &cap, i + 1, sizeof(*v)), 0);
        grown += cap != before;
        v[i] = i;
    }
    assert_int_equal(grown, 8); /* 8, 16, ... 1024 */
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(v[i], i);
    before = cap;
    assert_int_equal(vec_reserve(&v, &cap, SIZE_MAX / 2, sizeof(*v)), -ENOMEM);
    heap_fault_after(1);
    assert_int_equal(vec_reserve(&v, &cap, cap + 1, sizeof(*v)), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(cap, before);
    assert_int_equal(v[999], 999);
    mem_free(v);
}

/* ulid, uuid */

static void ulids_as_text(void **state)
{
    static const struct {
        struct shale_ulid u;
        const char *text;
    } cases[] = {
        { { 0, 0 }, "00000000000000000000000000" },
        { { 0, 1 }, "00000000000000000000000001" },
        { { 0, UINT64_C(1) << 63 }, "00000000000008000000000000" },
        { { UINT64_MAX, UINT64_MAX }, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ" },
    };
    char text[SHALE_ULID_TEXT_LEN + 1];
    struct shale_ulid u;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ulid_format(cases[i].u, text);
        assert_string_equal(text, cases[i].text);
        u = (struct shale_ulid){ 5, 5 };
        assert_int_equal(ulid_parse(cases[i].text, SHALE_ULID_TEXT_LEN, &u), 0);
        assert_true(ulid_eq(u, cases[i].u));
    }
    /* The example of the ULID specification, in either case. */
    assert_int_equal(ulid_parse("01ARYZ6S41TSV4RRFFQ69G5FAV", 26, &u), 0);
    assert_int_equal(ulid_time_ms(u), 1469918176385);
    assert_int_equal(ulid_parse("01aryz6s41tsv4rrffq69g5fav", 26, &u), 0);
    ulid_format(u, text);
    assert_string_equal(text, "01ARYZ6S41TSV4RRFFQ69G5FAV");
}

static void what_is_no_ulid_is_refused(void **state)
{
    static const char *const cases[] = {
        "", "0", "0000000000000000000000000", "000000000000000000000000000", "80000000000000000000000000",
        "0000000000000000000000000I", "0000000000000000000000000L", "0000000000000000000000000O",
        "0000000000000000000000000u", "0000000000000 000000000000", "\3770000000000000000000000000",
    };
    struct shale_ulid u = { 1, 2 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(ulid_parse(cases[i], strlen(cases[i]), &u), -EINVAL);
    assert_int_equal(ulid_parse("0000000000000\0" "000000000000", 26, &u), -EINVAL);
    assert_true(u.hi == 1 && u.lo == 2);
}

static void ulids_sort_by_time(void **state)
{
    struct rng r;
    struct shale_ulid a, b, c;

    (void)state;
    rng_seed(&r, 1);
    a = ulid_new(1700000000000, &r);
    b = ulid_new(1700000000001, &r);
    assert_int_equal(ulid_time_ms(a), 1700000000000);
    assert_true(ulid_cmp(a, b) < 0 && ulid_cmp(b, a) > 0 && ulid_cmp(a, a) == 0);
    c = (struct shale_ulid){ a.hi, a.lo ^ 1 };
    assert_true(ulid_cmp(a, c) != 0 && (ulid_cmp(a, c) < 0) == (a.lo < c.lo));
    rng_seed(&r, 1);
    assert_true(ulid_eq(ulid_new(1700000000000, &r), a));
    assert_false(ulid_eq(ulid_new(1700000000000, NULL), ulid_new(1700000000000, NULL)));
    assert_false(ulid_is_zero(a));
}

static void uuids_as_text(void **state)
{
    static const char *const bad[] = {
        "", "01234567-89ab-4def-8edc-ba987654321", "01234567-89ab-4def-8edc-ba98765432100",
        "0123456789ab-4def-8edc-ba9876543210--", "01234567-89ab-4def-8edc-ba987654321g",
        "01234567089ab-4def-8edc-ba987654321", "01234567-89ab-4def-8edc-ba98765432\2610",
    };
    struct shale_uuid u = { UINT64_C(0x0123456789ab4def), UINT64_C(0x8edcba9876543210) }, v = { 0, 0 };
    char text[UUID_TEXT_LEN + 1];
    struct rng r;

    (void)state;
    uuid_format(u, text);
    assert_string_equal(text, "01234567-89ab-4def-8edc-ba9876543210");
    assert_int_equal(uuid_parse(text, &v), 0);
    assert_true(uuid_eq(u, v));
    assert_int_equal(uuid_parse("01234567-89AB-4DEF-8EDC-BA9876543210", &v), 0);
    assert_true(uuid_eq(u, v));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(uuid_parse(bad[i], &v), -EINVAL);
    assert_true(uuid_eq(u, v));
    rng_seed(&r, 3);
    for (int i = 0; i < 100; i++) {
        uuid_format(uuid_new(&r), text);
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
}

/* rng */

static void a_seed_gives_the_sequence_of_xoshiro256(void **state)
{
    /* Seed 0 through splitmix64, as its authors publish it. */
    static const uint64_t want[] = { 0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c };
    struct rng r;

    (void)state;
    rng_seed(&r, 0);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        assert_true(rng_next(&r) == want[i]);
}

static void numbers_below_a_bound_reach_all_of_it(void **state)
{
    unsigned seen[7] = { 0 };
    struct rng r;

    (void)state;
    rng_seed(&r, 42);
    for (int i = 0; i < 7000; i++)
        seen[rng_below(&r, 7)]++;
    for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(rng_below(&r, 1), 0);
    assert_true(random_u64() != random_u64());
}

/* err */

static void sentences_are_set_added_to_and_cleared(void **state)
{
    (void)state;
    assert_int_equal(err_set(-EIO, "cannot read %s", "x"), -EIO);
    assert_string_equal(shale_errmsg(), "cannot read x");
    assert_int_equal(err_add(-ENOMEM, "opening %d", 7), -ENOMEM);
    assert_string_equal(shale_errmsg(), "opening 7: cannot read x");
    err_set(-EIO, "again: %s", shale_errmsg()); /* its own sentence as an argument */
    assert_string_equal(shale_errmsg(), "again: opening 7: cannot read x");
    err_add(-EIO, "%s", shale_errmsg());
    assert_string_equal(shale_errmsg(), "again: opening 7: cannot read x: again: opening 7: cannot read x");
    err_clear();
    assert_string_equal(shale_errmsg(), "");
    err_add(SHALE_ECORRUPT, "x");
    assert_string_equal(shale_errmsg(), "x: corrupt data");
    err_clear();
}

static void long_sentences_are_cut(void **state)
{
    char text[3000];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    err_set(-EIO, "%s", text);
    assert_int_equal(strlen(shale_errmsg()), 1023);
    err_add(-EIO, "context");
    assert_int_equal(strlen(shale_errmsg()), 1023);
    assert_memory_equal(shale_errmsg(), "context: aaa", 12);
    for (size_t len = 1019; len <= 1025; len++) {
        err_set(-EIO, "end");
        err_add(-EIO, "%.*s", (int)len, text);
        assert_int_equal(strlen(shale_errmsg()), len + 5 < 1023 ? len + 5 : 1023);
    }
    err_clear();
}

static void each_code_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(shale_strerror(0), "success");
    assert_string_equal(shale_strerror(SHALE_END), "end");
    assert_string_equal(shale_strerror(-ENOENT), "No such file or directory");
    for (int code = SHALE_ECANCELED; code < SHALE_EBASE; code++)
        assert_string_not_equal(shale_strerror(code), "unknown error");
    assert_string_equal(shale_strerror(SHALE_EBASE), "unknown error");
    assert_string_equal(shale_strerror(-9999), "unknown error");
    assert_string_equal(shale_strerror(INT32_MIN), "unknown error");
}

static void other_thread(void *arg)
{
    err_set(-EIO, "of the other thread");
    *(bool *)arg = strcmp(shale_errmsg(), "of the other thread") == 0;
}

static void each_thread_has_its_own_sentence(void **state)
{
    struct worker w = { .running = false };
    bool ok = false;

    (void)state;
    err_set(-EIO, "mine");
    assert_int_equal(worker_start(&w, "other", other_thread, &ok), 0);
    worker_join(&w);
    assert_true(ok);
    assert_string_equal(shale_errmsg(), "mine");
}

/* log */

struct lines {
    unsigned n;
    enum shale_log_level level;
    size_t len;
};

static void take_line(void *ctx, enum shale_log_level level, const char *line)
{
    struct lines *l = ctx;

    l->n++;
    l->level = level;
    l->len = strlen(line);
}

static void lines_above_the_level_are_dropped(void **state)
{
    struct lines l = { .n = 0 };
    char text[3000];

    (void)state;
    log_error("nobody listens");
    shale_log_set(take_line, &l, SHALE_LOG_WARN);
    log_error("%s", "one");
    log_warn("four");
    log_info("dropped");
    log_debug("dropped");
    assert_int_equal(l.n, 2);
    assert_int_equal(l.level, SHALE_LOG_WARN);
    assert_int_equal(l.len, 4);
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_warn("%s", text);
    assert_int_equal(l.len, 1023);
    shale_log_set(NULL, NULL, SHALE_LOG_DEBUG);
    log_error("nobody listens");
    assert_int_equal(l.n, 3);
}

/* crc32 */

static void checksum_of_the_check_string(void **state)
{
    struct shale_slice s = slice_str("123456789");

    (void)state;
    assert_true(crc32_of(s) == 0xcbf43926);
    assert_true(crc32_of(slice_of(NULL, 0)) == 0);
    for (size_t i = 0; i <= s.len; i++)
        assert_true(crc32_extend(crc32_of(slice_of(s.data, i)), slice_from(s, i)) == 0xcbf43926);
}

/* Bit by bit, as the checksum is defined. */
static uint32_t crc32_slow(const uint8_t *p, size_t n)
{
    uint32_t reg = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        reg ^= p[i];
        for (int k = 0; k < 8; k++)
            reg = reg >> 1 ^ (reg & 1 ? 0xedb88320u : 0);
    }
    return ~reg;
}

/* Every length around the steps in which long inputs are taken, at every alignment, in one piece and in two. */
static void checksum_of_every_length(void **state)
{
    uint8_t bytes[600];
    struct rng rng;

    (void)state;
    rng_seed(&rng, 32);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rng_next(&rng);
    for (size_t len = 0; len + 16 <= sizeof(bytes); len++) {
        const uint8_t *p = bytes + len % 16;
        uint32_t want = crc32_slow(p, len);
        size_t cut = rng_below(&rng, len + 1);

        assert_true(crc32_of(slice_of(p, len)) == want);
        assert_true(crc32_extend(crc32_of(slice_of(p, cut)), slice_of(p + cut, len - cut)) == want);
    }
}

/* clock */

static void clocks_go_forward(void **state)
{
    int64_t ns = clock_mono_ns(), ms = clock_mono_ms(), wall = clock_wall_ms();

    (void)state;
    assert_true(ms >= ns / 1000000);
    assert_true(clock_mono_ns() >= ns);
    assert_true(wall > 1600000000000);
    assert_true(clock_wall_ns() / 1000000 >= wall - 60000);
}

/* pool */

struct order {
    struct mutex mu;
    unsigned n;
    unsigned got[100]; /* GUARDED_BY(mu) */
    struct ticket {
        struct order *o;
        unsigned number;
    } tickets[100];
};

static void note_number(void *arg)
{
    const struct ticket *t = arg;

    mutex_lock(&t->o->mu);
    t->o->got[t->o->n++] = t->number;
    mutex_unlock(&t->o->mu);
}

static void run_in_pool(struct order *o, size_t n_threads)
{
    struct pool *p = NULL;

    memset(o, 0, sizeof(*o));
    mutex_init(&o->mu, 1, "order");
    assert_int_equal(pool_new("test", n_threads, &p), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(o->tickets); i++) {
        o->tickets[i] = (struct ticket){ o, i };
        assert_int_equal(pool_submit(p, note_number, &o->tickets[i]), 0);
    }
    pool_free(p); /* runs what is queued */
    mutex_fini(&o->mu);
    assert_int_equal(o->n, ARRAY_SIZE(o->tickets));
}

static void a_pool_runs_each_job_once(void **state)
{
    unsigned seen[100] = { 0 };
    struct order o;

    (void)state;
    run_in_pool(&o, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(o.got); i++)
        assert_int_equal(o.got[i], i);
    run_in_pool(&o, 4);
    for (unsigned i = 0; i < ARRAY_SIZE(o.got); i++)
        assert_int_equal(seen[o.got[i]]++, 0);
    pool_free(NULL);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void a_pool_without_memory_is_told(void **state)
{
    struct pool *p = NULL;
    int rc;

    (void)state;
    for (unsigned n = 1;; n++) {
        heap_fault_after(n);
        rc = pool_new("test", 2, &p);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
        assert_null(p);
    }
    assert_int_equal(rc, 0);
    heap_fault_after(1);
    assert_int_equal(pool_submit(p, nothing, NULL), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(pool_submit(p, nothing, NULL), 0);
    pool_free(p);
}

struct about_thread {
    char name[16];
    bool blocked;
};

static void look_at_thread(void *arg)
{
    struct about_thread *a = arg;
    sigset_t mask;

    pthread_getname_np(pthread_self(), a->name, sizeof(a->name));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    a->blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1;
}

static int go(void *arg)
{
    int rc = *(int *)arg;

    return rc < 0 ? err_set(rc, "the way was too long") : rc;
}

static void an_errand_brings_its_result_and_its_sentence(void **state)
{
    static const struct {
        int there, here, want;
        const char *why;
    } cases[] = {
        { 0, 0, 0, NULL }, { 5, 0, 5, NULL }, { -EIO, 0, -EIO, "too long" }, { -EIO, -ENOENT, -ENOENT, "nobody home" },
        { 0, -ENOENT, -ENOENT, "nobody home" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int there = cases[i].there, here = cases[i].here;
        struct errand e;

        errand_start(&e, "errand", go, &there);
        if (here < 0)
            err_set(here, "nobody home");
        assert_int_equal(errand_join(&e, here), cases[i].want);
        if (cases[i].why)
            assert_non_null(strstr(shale_errmsg(), cases[i].why));
    }
}

static int go_far(void *arg)
{
    char way[901];

    (void)arg;
    memset(way, '.', sizeof(way) - 1);
    way[sizeof(way) - 1] = '\0';
    return err_set(-EIO, "lost after %s; go home", way);
}

/* What is to be done stands at its end. */
static void a_long_sentence_of_an_errand_is_whole(void **state)
{
    struct errand e;

    (void)state;
    errand_start(&e, "errand", go_far, NULL);
    assert_int_equal(errand_join(&e, 0), -EIO);
    assert_non_null(strstr(shale_errmsg(), "; go home"));
}

static void a_worker_has_a_name_and_no_signals(void **state)
{
    struct about_thread a = { .blocked = false };
    struct worker w;
    sigset_t mask;

    (void)state;
    assert_int_equal(worker_start(&w, "a name that is too long", look_at_thread, &a), 0);
    worker_join(&w);
    worker_join(&w); /* does no harm */
    assert_string_equal(a.name, "a name that is ");
    assert_true(a.blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);

    memset(&w, 0xff, sizeof(w));
    heap_fault_after(1);
    assert_int_equal(worker_start(&w, "w", nothing, NULL), -ENOMEM);
    assert_true(heap_fault_off());
    worker_join(&w); /* it never started */
}

/* sync */

static void locks_in_ascending_rank(void **state)
{
    struct mutex a, b;
    struct rwlock l;

    (void)state;
    mutex_init(&a, 1, "a");
    rwlock_init(&l, 2, "l");
    mutex_init(&b, 3, "b");
    for (int i = 0; i < 2; i++) {
        mutex_lock(&a);
        rwlock_rdlock(&l);
        mutex_lock(&b);
        assert_true(mutex_held(&a) && mutex_held(&b));
        mutex_unlock(&a); /* the order of unlocking is free */
        mutex_unlock(&b);
        rwlock_unlock(&l);
        rwlock_wrlock(&l);
        rwlock_unlock(&l);
    }
#ifdef SHALE_DEBUG
    assert_false(mutex_held(&a));
#endif
    mutex_fini(&a);
    mutex_fini(&b);
    rwlock_fini(&l);
}

static void take_descending(void)
{
    struct mutex a, b;

    mutex_init(&a, 1, "a");
    mutex_init(&b, 2, "b");
    mutex_lock(&b);
    mutex_lock(&a);
}

static void take_equal(void)
{
    struct mutex a;
    struct rwlock b;

    mutex_init(&a, 1, "a");
    rwlock_init(&b, 1, "b");
    mutex_lock(&a);
    rwlock_rdlock(&b);
}

static void release_what_is_not_held(void)
{
    struct mutex a;

    mutex_init(&a, 1, "a");
    mutex_unlock(&a);
}

/* The signal that fn ended with, in a process of its own; 0 when it returned. */
static int signal_of(void (*fn)(void))
{
    int status, null;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* And no other build: whoever uses it has no use for that. */
static void wrong_order_aborts_a_debug_build(void **state)
{
    (void)state;
#ifdef SHALE_DEBUG
    assert_int_equal(signal_of(take_descending), SIGABRT);
    assert_int_equal(signal_of(take_equal), SIGABRT);
    assert_int_equal(signal_of(release_what_is_not_held), SIGABRT);
#else
    assert_int_equal(signal_of(take_descending), 0);
    assert_int_equal(signal_of(take_equal), 0);
    (void)release_what_is_not_held;
#endif
}

struct meeting {
    struct mutex mu;
    struct cond cv;
    bool come; /* GUARDED_BY(mu) */
};

static void come(void *arg)
{
    struct meeting *m = arg;

    mutex_lock(&m->mu);
    m->come = true;
    cond_signal(&m->cv);
    mutex_unlock(&m->mu);
}

static void waiting_ends_with_a_signal_or_at_the_deadline(void **state)
{
    struct meeting m = { .come = false };
    struct worker w;
    int64_t before = clock_mono_ms();

    (void)state;
    mutex_init(&m.mu, 1, "meeting");
    cond_init(&m.cv);
    mutex_lock(&m.mu);
    while (cond_wait_until(&m.cv, &m.mu, before + 5))
        ;
    assert_true(clock_mono_ms() >= before + 5);
    assert_int_equal(worker_start(&w, "come", come, &m), 0);
    while (!m.come)
        assert_true(cond_wait_until(&m.cv, &m.mu, before + 600000));
    mutex_unlock(&m.mu);
    worker_join(&w);
    cond_fini(&m.cv);
    mutex_fini(&m.mu);
}

/* list */

struct item {
    int number;
    struct list node;
};

static void nodes_are_inserted_removed_and_found(void **state)
{
    struct item items[4] = { { .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 } };
    struct list head;
    int n = 0;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    list_append(&head, &items[1].node);
    list_append(&head, &items[3].node);
    list_insert(&head, &items[0].node);
    list_insert(&items[1].node, &items[2].node);
    list_for_each(pos, &head)
        assert_int_equal(list_entry(pos, struct item, node)->number, n++);
    assert_int_equal(n, 4);
    list_remove(&items[2].node);
    list_remove(&items[2].node); /* does no harm */
    n = 0;
    list_for_each_safe(pos, tmp, &head) {
        n += list_entry(pos, struct item, node)->number;
        list_remove(pos);
    }
    assert_int_equal(n, 4);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_appended_big_endian),
        cmocka_unit_test(a_buffer_grows_and_keeps_its_bytes),
        cmocka_unit_test(text_is_printed_behind_what_is_there),
        cmocka_unit_test(a_buffer_without_memory_is_unchanged),
        cmocka_unit_test(slices_compare_as_keys),
        cmocka_unit_test(fixed_integers_have_their_byte_order),
        cmocka_unit_test(varints_of_each_length),
        cmocka_unit_test(varints_that_do_not_fit_are_refused),
        cmocka_unit_test(sizes_saturate_and_absurd_ones_are_refused),
        cmocka_unit_test(copies_end_in_a_nul),
        cmocka_unit_test(an_array_grows_by_doubling),
        cmocka_unit_test(ulids_as_text),
        cmocka_unit_test(what_is_no_ulid_is_refused),
        cmocka_unit_test(ulids_sort_by_time),
        cmocka_unit_test(uuids_as_text),
        cmocka_unit_test(a_seed_gives_the_sequence_of_xoshiro256),
        cmocka_unit_test(numbers_below_a_bound_reach_all_of_it),
        cmocka_unit_test(sentences_are_set_added_to_and_cleared),
        cmocka_unit_test(long_sentences_are_cut),
        cmocka_unit_test(each_code_has_a_name),
        cmocka_unit_test(each_thread_has_its_own_sentence),
        cmocka_unit_test(lines_above_the_level_are_dropped),
        cmocka_unit_test(checksum_of_the_check_string),
        cmocka_unit_test(checksum_of_every_length),
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(a_pool_runs_each_job_once),
        cmocka_unit_test(a_pool_without_memory_is_told),
        cmocka_unit_test(a_worker_has_a_name_and_no_signals),
        cmocka_unit_test(locks_in_ascending_rank),
        cmocka_unit_test(wrong_order_aborts_a_debug_build),
        cmocka_unit_test(waiting_ends_with_a_signal_or_at_the_deadline),
        cmocka_unit_test(nodes_are_inserted_removed_and_found),
        cmocka_unit_test(an_errand_brings_its_result_and_its_sentence),
        cmocka_unit_test(a_long_sentence_of_an_errand_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
