/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/rng.h"
#include "fs/core/extent.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define CHUNK 2048u
#define MAX_LAYERS 12

/* What one byte of a chunk is: the model of a list of extents. */
struct cell {
    enum { UNWRITTEN, HOLE, BYTE, FRAME } is;
    uint8_t byte;
    uint64_t frame; /* its offset in the segment */
    uint32_t pos;   /* in the raw frame */
};

static struct extent some_frame(uint32_t offset, uint32_t length, uint64_t id, uint32_t skip)
{
    return (struct extent){
        .offset = offset,
        .length = length,
        .kind = EXTENT_FRAME,
        .skip = skip,
        .u.frame = { .segment = { .hi = 1 + id % 3, .lo = 7 }, .offset = id * 1000, .stored_len = 500 + (uint32_t)id,
                     .raw_len = 131072, .crc32 = 0x12345678u ^ (uint32_t)id, .codec = SHALE_CODEC_ZSTD },
    };
}

static void model_lay(struct cell *m, const struct extent_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct extent *e = &l->v[i];

        assert_in_range(e->offset + e->length, 1, CHUNK);
        for (uint32_t k = 0; k < e->length; k++) {
            struct cell *c = &m[e->offset + k];

            *c = (struct cell){ .is = UNWRITTEN };
            if (e->kind == EXTENT_HOLE)
                c->is = HOLE;
            else if (e->kind == EXTENT_INLINE)
                *c = (struct cell){ .is = BYTE, .byte = e->u.data[k] };
            else
                *c = (struct cell){ .is = FRAME, .frame = e->u.frame.offset, .pos = e->skip + k };
        }
    }
}

static void assert_model(const struct cell *want, struct shale_slice encoded, bool is_value)
{
    struct cell *got = mem_calloc(CHUNK, sizeof(*got));
    struct extent_list l = EXTENT_LIST_INIT;

    assert_non_null(got);
    assert_int_equal(extent_list_decode(encoded, &l), 0);
    model_lay(got, &l);
    for (uint32_t i = 0; i < CHUNK; i++) {
        assert_int_equal(got[i].is, is_value && want[i].is == HOLE ? UNWRITTEN : want[i].is);
        assert_int_equal(got[i].byte, want[i].byte);
        assert_true(got[i].frame == want[i].frame && got[i].pos == want[i].pos);
    }
    extent_list_fini(&l);
    mem_free(got);
}

/* Bytes that inline extents of random operands point into. */
static uint8_t noise[1 << 16];

static void random_list(struct rng *r, struct extent_list *l)
{
    uint32_t pos = 0, n = (uint32_t)rng_below(r, 12);
    uint32_t spread = rng_below(r, 2) ? 40 : 400; /* many small ones, or few large */

    extent_list_clear(l);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t offset = pos + (rng_below(r, 3) ? (uint32_t)rng_below(r, spread) : 0);
        uint32_t length = 1 + (uint32_t)rng_below(r, spread);
        struct extent e;

        if (offset + length > CHUNK)
            break;
        switch (rng_below(r, 4)) {
        case 0:
            assert_int_equal(extent_list_add_hole(l, offset, length), 0);
            break;
        case 1:
            e = some_frame(offset, length, rng_below(r, 5), offset + (uint32_t)rng_below(r, 2) * 7);
            assert_int_equal(extent_list_add(l, &e), 0);
            break;
        default:
            assert_int_equal(extent_list_add_inline(l, offset, noise + rng_below(r, 60000), length), 0);
        }
        pos = offset + length;
    }
}

struct layered {
    struct shale_buf enc[MAX_LAYERS];
    struct shale_slice slice[MAX_LAYERS];
    size_t n;
    struct cell model[CHUNK];
};

/* n random operands, the first of them a value if so wanted, and what they come to. */
static struct layered *random_layers(struct rng *r, bool first_is_value)
{
    struct layered *s = mem_zalloc(sizeof(*s));
    struct extent_list l = EXTENT_LIST_INIT;

    assert_non_null(s);
    s->n = 1 + rng_below(r, MAX_LAYERS);
    if (first_is_value && s->n == 1)
        s->n = 2;
    for (size_t i = 0; i < s->n; i++) {
        enum extent_form form = i == 0 && first_is_value ? EXTENT_VALUE : EXTENT_OPERAND;

        random_list(r, &l);
        assert_int_equal(extent_list_encode(&l, form, &s->enc[i]), 0);
        s->slice[i] = slice_of_buf(&s->enc[i]);
        assert_int_equal(extent_list_decode(s->slice[i], &l), 0);
        model_lay(s->model, &l);
    }
    extent_list_fini(&l);
    return s;
}

static void layered_free(struct layered *s)
{
    for (size_t i = 0; i < s->n; i++)
        shale_buf_fini(&s->enc[i]);
    mem_free(s);
}

static uint64_t seeded(struct rng *r)
{
    uint64_t seed = random_env(1).first;

    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(r, seed);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)rng_next(r);
    return seed;
}

static void folding_gives_what_writing_one_after_the_other_does(void **state)
{
    struct rng r;

    (void)state;
    (void)seeded(&r);
    for (int i = 0; i < 1500; i++) {
        bool on_value = i & 1;
        struct layered *s = random_layers(&r, on_value);
        struct shale_buf out = SHALE_BUF_INIT;

        assert_int_equal(extent_fold(on_value ? &s->slice[0] : NULL, s->slice + on_value, s->n - on_value, &out), 0);
        assert_model(s->model, slice_of_buf(&out), on_value);
        shale_buf_fini(&out);
        layered_free(s);
    }
}

/* Fold operands lo..hi-1 as a random tree of two-operand folds. */
static void fold_tree(struct rng *r, const struct layered *s, size_t lo, size_t hi, struct shale_buf *out)
{
    struct shale_buf part[2] = { SHALE_BUF_INIT, SHALE_BUF_INIT };
    struct shale_slice pair[2];
    size_t mid;

    if (hi - lo == 1) {
        assert_int_equal(buf_set(out, s->slice[lo]), 0);
        return;
    }
    mid = lo + 1 + rng_below(r, hi - lo - 1);
    fold_tree(r, s, lo, mid, &part[0]);
    fold_tree(r, s, mid, hi, &part[1]);
    pair[0] = slice_of_buf(&part[0]);
    pair[1] = slice_of_buf(&part[1]);
    buf_clear(out);
    assert_int_equal(extent_fold(NULL, pair, 2, out), 0);
    shale_buf_fini(&part[0]);
    shale_buf_fini(&part[1]);
}

static void every_grouping_gives_the_same_bytes(void **state)
{
    struct rng r;

    (void)state;
    (void)seeded(&r);
    for (int i = 0; i < 1000; i++) {
        struct layered *s = random_layers(&r, false);
        struct shale_buf all = SHALE_BUF_INIT, tree = SHALE_BUF_INIT;

        assert_int_equal(extent_fold(NULL, s->slice, s->n, &all), 0);
        for (int k = 0; k < 4; k++) {
            fold_tree(&r, s, 0, s->n, &tree);
            assert_true(slice_eq(slice_of_buf(&all), slice_of_buf(&tree)));
        }
        shale_buf_fini(&all);
        shale_buf_fini(&tree);
        layered_free(s);
    }
}

/* A value with operands folded first, or laid on one at a time. */
static void every_grouping_on_a_value_gives_the_same_bytes(void **state)
{
    struct rng r;

    (void)state;
    (void)seeded(&r);
    for (int i = 0; i < 1000; i++) {
        struct layered *s = random_layers(&r, true);
        struct shale_buf all = SHALE_BUF_INIT, ops = SHALE_BUF_INIT, two = SHALE_BUF_INIT, step = SHALE_BUF_INIT;
        struct shale_slice op;

        assert_int_equal(extent_fold(&s->slice[0], s->slice + 1, s->n - 1, &all), 0);
        fold_tree(&r, s, 1, s->n, &ops);
        op = slice_of_buf(&ops);
        assert_int_equal(extent_fold(&s->slice[0], &op, 1, &two), 0);
        assert_true(slice_eq(slice_of_buf(&all), slice_of_buf(&two)));
        assert_int_equal(buf_set(&step, s->slice[0]), 0);
        for (size_t k = 1; k < s->n; k++) {
            struct shale_buf next = SHALE_BUF_INIT;
            struct shale_slice below = slice_of_buf(&step);

            assert_int_equal(extent_fold(&below, &s->slice[k], 1, &next), 0);
            shale_buf_fini(&step);
            step = next;
        }
        assert_true(slice_eq(slice_of_buf(&all), slice_of_buf(&step)));
        shale_buf_fini(&all);
        shale_buf_fini(&ops);
        shale_buf_fini(&two);
        shale_buf_fini(&step);
        layered_free(s);
    }
}

static void overlay_of_lists_agrees_with_the_model(void **state)
{
    struct extent_list a = EXTENT_LIST_INIT, b = EXTENT_LIST_INIT, out = EXTENT_LIST_INIT;
    struct rng r;

    (void)state;
    (void)seeded(&r);
    for (int i = 0; i < 1000; i++) {
        struct cell *m = mem_calloc(CHUNK, sizeof(*m));
        struct shale_buf enc = SHALE_BUF_INIT;

        assert_non_null(m);
        random_list(&r, &a);
        random_list(&r, &b);
        model_lay(m, &a);
        model_lay(m, &b);
        assert_int_equal(extent_overlay(&a, &b, &out), 0);
        assert_int_equal(extent_list_encode(&out, EXTENT_OPERAND, &enc), 0);
        assert_model(m, slice_of_buf(&enc), false);
        shale_buf_fini(&enc);
        mem_free(m);
    }
    extent_list_fini(&a);
    extent_list_fini(&b);
    extent_list_fini(&out);
}

struct read_check {
    const struct cell *model;
    uint8_t *dst;
    uint32_t offset;
    unsigned calls;
    int fail_at;
};

/* Marks the bytes of a frame, so that the comparison sees which were reported. */
static int mark_frame(void *arg, const struct extent *part, uint8_t *dst)
{
    struct read_check *c = arg;

    if (c->fail_at && ++c->calls == (unsigned)c->fail_at)
        return -EIO;
    for (uint32_t i = 0; i < part->length; i++) {
        const struct cell *cell = &c->model[part->offset + i];

        assert_int_equal(cell->is, FRAME);
        assert_true(cell->frame == part->u.frame.offset && cell->pos == part->skip + i);
        assert_ptr_equal(dst + i, c->dst + (part->offset - c->offset) + i);
        dst[i] = 0xfa;
    }
    return 0;
}

static void a_read_fills_its_buffer_and_counts_agree(void **state)
{
    struct rng r;

    (void)state;
    (void)seeded(&r);
    for (int i = 0; i < 1500; i++) {
        struct layered *s = random_layers(&r, false);
        uint32_t from = (uint32_t)rng_below(&r, CHUNK), len = (uint32_t)rng_below(&r, CHUNK + 100 - from), data = 0;
        uint8_t *dst = mem_alloc(len);
        struct read_check c = { .model = s->model, .dst = dst, .offset = from };
        struct extent_list l = EXTENT_LIST_INIT;
        struct shale_buf out = SHALE_BUF_INIT;

        assert_non_null(dst);
        memset(dst, 0xee, len);
        assert_int_equal(extent_fold(NULL, s->slice, s->n, &out), 0);
        assert_int_equal(extent_read(slice_of_buf(&out), from, dst, len, mark_frame, &c), 0);
        for (uint32_t k = 0; k < len; k++) {
            struct cell cell = from + k < CHUNK ? s->model[from + k] : (struct cell){ .is = UNWRITTEN };

            assert_int_equal(dst[k], cell.is == BYTE ? cell.byte : cell.is == FRAME ? 0xfa : 0);
            data += cell.is == BYTE || cell.is == FRAME;
        }
        assert_int_equal(extent_list_decode(slice_of_buf(&out), &l), 0);
        assert_int_equal(extent_data_bytes(&l, from, from + len), data);
        assert_int_equal(extent_data_bytes(&l, 0, UINT32_MAX),
                         extent_data_bytes(&l, 0, from) + extent_data_bytes(&l, from, CHUNK));
        extent_list_fini(&l);
        shale_buf_fini(&out);
        mem_free(dst);
        layered_free(s);
    }
}

static void a_failing_frame_ends_the_read(void **state)
{
    struct extent_list l = EXTENT_LIST_INIT;
    struct cell model[CHUNK] = { 0 };
    struct shale_buf enc = SHALE_BUF_INIT;
    struct extent a = some_frame(0, 10, 1, 0), b = some_frame(20, 10, 2, 0);
    uint8_t dst[40];
    struct read_check c = { .model = model, .dst = dst, .fail_at = 2 };

    (void)state;
    assert_int_equal(extent_list_add(&l, &a), 0);
    assert_int_equal(extent_list_add(&l, &b), 0);
    model_lay(model, &l);
    assert_int_equal(extent_list_encode(&l, EXTENT_VALUE, &enc), 0);
    assert_int_equal(extent_read(slice_of_buf(&enc), 0, dst, sizeof(dst), mark_frame, &c), -EIO);
    assert_int_equal(extent_read(slice_of("\1\0", 2), 0, dst, sizeof(dst), mark_frame, &c), SHALE_ECORRUPT);
    shale_buf_fini(&enc);
    extent_list_fini(&l);
}

/* A frame that is cut in two and made whole again is one extent again; the frame itself never changes. */
static void a_trimmed_frame_keeps_its_frame(void **state)
{
    struct extent whole = some_frame(100, 1000, 3, 50), e = whole;
    struct extent_list l = EXTENT_LIST_INIT;
    struct shale_buf one = SHALE_BUF_INIT, two = SHALE_BUF_INIT;

    (void)state;
    assert_true(extent_trim(&e, 300, 400));
    assert_int_equal(e.offset, 300);
    assert_int_equal(e.length, 100);
    assert_int_equal(e.skip, 250);
    assert_memory_equal(&e.u.frame, &whole.u.frame, sizeof(e.u.frame));
    e = whole;
    assert_false(extent_trim(&e, 0, 100));
    assert_false(extent_trim(&e, 1100, 2000));
    assert_int_equal(extent_list_add(&l, &whole), 0);
    assert_int_equal(extent_list_encode(&l, EXTENT_VALUE, &one), 0);
    extent_list_clear(&l);
    e = whole;
    assert_true(extent_trim(&e, 0, 500));
    assert_int_equal(extent_list_add(&l, &e), 0);
    e = whole;
    assert_true(extent_trim(&e, 500, 2000));
    assert_int_equal(extent_list_add(&l, &e), 0);
    assert_int_equal(extent_list_encode(&l, EXTENT_VALUE, &two), 0);
    assert_true(slice_eq(slice_of_buf(&one), slice_of_buf(&two)));
    print_message("one frame: %zu bytes\n", one.len);
    assert_in_range(one.len, 1, 50);
    shale_buf_fini(&one);
    shale_buf_fini(&two);
    extent_list_fini(&l);
}

static void the_bytes_are_the_documented_ones(void **state)
{
    struct extent_list l = EXTENT_LIST_INIT;
    struct shale_buf enc = SHALE_BUF_INIT;
    struct extent f = some_frame(16, 8, 0, 2);

    (void)state;
    assert_int_equal(extent_list_add_inline(&l, 1, "ab", 2), 0);
    assert_int_equal(extent_list_add_inline(&l, 3, "c", 1), 0);
    assert_int_equal(extent_list_add_hole(&l, 4, 12), 0);
    assert_int_equal(extent_list_add(&l, &f), 0);
    f.offset = 200;
    assert_int_equal(extent_list_add(&l, &f), 0);
    assert_int_equal(extent_list_encode(&l, EXTENT_OPERAND, &enc), 0);
    assert_int_equal(enc.len, 57);
    assert_memory_equal(enc.data,
                        "\1" "\1\3\0" "abc" "\0\xc\1"
                        "\0\x8\2" "\0\0\0\0\0\0\0\1" "\0\0\0\0\0\0\0\7"
                        "\0" "\xf4\3" "\x80\x80\x8" "\2" "\4" "\x12\x34\x56\x78"
                        "\xb0\1\x8\3" "\0" "\xf4\3" "\x80\x80\x8" "\2" "\4" "\x12\x34\x56\x78",
                        57);
    buf_clear(&enc);
    extent_list_clear(&l);
    assert_int_equal(extent_list_add_hole(&l, 0, 5), 0);
    assert_int_equal(extent_list_encode(&l, EXTENT_VALUE, &enc), 0);
    assert_int_equal(enc.len, 1);
    shale_buf_fini(&enc);
    extent_list_fini(&l);
}

static void lists_that_cannot_be_are_corrupt(void **state)
{
#define SEG "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\7"
    static const struct {
        const char *name, *bytes;
        size_t len;
    } cases[] = {
        { "empty", "", 0 },
        { "unknown version", "\2", 1 },
        { "zero length", "\1\0\0\1", 4 },
        { "unknown kind", "\1\0\1\4", 4 },
        { "end beyond a chunk", "\1\0\x81\x80\x80\x80\4\1", 8 },
        { "gap beyond a chunk", "\1\x81\x80\x80\x80\4\1\1", 8 },
        { "inline bytes cut", "\1\0\3\0ab", 6 },
        { "length cut", "\1\0", 2 },
        { "holes in two", "\1\0\1\1\0\1\1", 7 },
        { "inline bytes in two", "\1\0\1\0a\0\1\0b", 9 },
        { "same segment without one before", "\1\0\1\3\0\1\1\0\0\0\0\0\0", 13 },
        { "segment zero", "\1\0\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0", 29 },
        { "skip beyond the frame", "\1\0\1\2" SEG "\0\1\1\1\0\0\0\0\0", 29 },
        { "more than the frame", "\1\0\2\2" SEG "\0\1\1\0\0\0\0\0\0", 29 },
        { "unknown codec", "\1\0\1\2" SEG "\0\1\1\0\5\0\0\0\0", 29 },
        { "nothing stored", "\1\0\1\2" SEG "\0\0\1\0\0\0\0\0\0", 29 },
        { "segment said again", "\1\0\1\2" SEG "\0\1\1\0\0\0\0\0\0" "\1\1\2" SEG "\0\1\1\0\0\0\0\0\0", 57 },
        { "checksum cut", "\1\0\1\2" SEG "\0\1\1\0\0\0\0\0", 28 },
    };
    struct extent_list l = EXTENT_LIST_INIT;
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_slice s = { .data = mem_dup(cases[i].bytes, cases[i].len), .len = cases[i].len };
        struct shale_slice good = slice_of("\1", 1);

        print_message("%s\n", cases[i].name);
        assert_int_equal(extent_list_decode(s, &l), SHALE_ECORRUPT);
        assert_int_equal(l.n, 0);
        assert_int_equal(extent_fold(&s, &good, 1, &out), SHALE_ECORRUPT);
        assert_int_equal(extent_fold(&good, &s, 1, &out), SHALE_ECORRUPT);
        assert_int_equal(out.len, 0);
        free((void *)(uintptr_t)s.data);
    }
    assert_int_equal(extent_list_decode(slice_of("\1\0\1\2" SEG "\0\1\1\0\0\0\0\0\0", 29), &l), 0);
    assert_int_equal(extent_list_decode(slice_of("\1", 1), &l), 0);
    extent_list_fini(&l);
    shale_buf_fini(&out);
}

static void extents_out_of_order_are_not_taken(void **state)
{
    struct extent_list l = EXTENT_LIST_INIT;
    struct extent f = some_frame(100, 10, 1, 131070), kind = { .offset = 100, .length = 1, .kind = 7 };

    (void)state;
    assert_int_equal(extent_list_add_hole(&l, 10, 10), 0);
    assert_int_equal(extent_list_add_hole(&l, 19, 1), -EINVAL);
    assert_int_equal(extent_list_add_hole(&l, 20, 0), -EINVAL);
    assert_int_equal(extent_list_add_hole(&l, 20, EXTENT_END_MAX - 19), -EINVAL);
    assert_int_equal(extent_list_add_hole(&l, UINT32_MAX, 2), -EINVAL);
    assert_int_equal(extent_list_add(&l, &f), -EINVAL);
    assert_int_equal(extent_list_add(&l, &kind), -EINVAL);
    assert_int_equal(extent_list_add_hole(&l, 20, EXTENT_END_MAX - 20), 0);
    assert_int_equal(l.n, 2);
    extent_list_fini(&l);
}

/*
 * Thousands of operands at once. The second shape would take minutes if each were laid over a growing list; the time is
 * printed, not judged.
 */
static void many_operands_fold_at_once(void **state)
{
    static const struct {
        const char *name;
        uint32_t n, length, chunk;
    } shapes[] = {
        { "4 KiB pieces into 1 MiB", 4096, 4096, 1 << 20 },
        { "single bytes into 1 MiB", 100000, 1, 1 << 20 },
    };
    struct rng r;

    (void)state;
    (void)seeded(&r);
    for (size_t k = 0; k < ARRAY_SIZE(shapes); k++) {
        uint32_t n = shapes[k].n, len = shapes[k].length, chunk = shapes[k].chunk;
        struct shale_slice *ops = mem_calloc(n, sizeof(*ops));
        uint8_t *model = mem_zalloc(chunk), *got = mem_alloc(chunk);
        struct shale_buf out = SHALE_BUF_INIT, enc = SHALE_BUF_INIT;
        struct extent_list l = EXTENT_LIST_INIT;
        int64_t start;

        assert_true(ops && model && got);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t offset = (uint32_t)rng_below(&r, chunk - len + 1);
            const uint8_t *data = noise + rng_below(&r, sizeof(noise) - len);

            memcpy(model + offset, data, len);
            extent_list_clear(&l);
            assert_int_equal(extent_list_add_inline(&l, offset, data, len), 0);
            buf_clear(&enc);
            assert_int_equal(extent_list_encode(&l, EXTENT_OPERAND, &enc), 0);
            ops[i] = slice_of(mem_dup(enc.data, enc.len), enc.len);
        }
        start = clock_mono_ms();
        assert_int_equal(extent_fold(NULL, ops, n, &out), 0);
        print_message("%s: %" PRIu32 " operands in %" PRId64 " ms\n", shapes[k].name, n, clock_mono_ms() - start);
        assert_int_equal(extent_read(slice_of_buf(&out), 0, got, chunk, NULL, NULL), 0);
        assert_memory_equal(got, model, chunk);
        for (uint32_t i = 0; i < n; i++)
            free((void *)(uintptr_t)ops[i].data);
        mem_free(ops);
        mem_free(model);
        mem_free(got);
        shale_buf_fini(&out);
        shale_buf_fini(&enc);
        extent_list_fini(&l);
    }
}

static void running_out_of_memory_changes_nothing(void **state)
{
    struct rng r;
    int fails = 0;

    (void)state;
    (void)seeded(&r);
    for (int i = 0; i < 50; i++) {
        struct layered *s = random_layers(&r, true);
        struct shale_buf out = SHALE_BUF_INIT;
        int rc = -1;

        for (unsigned n = 1; rc < 0; n++) {
            heap_fault_after(n);
            rc = extent_fold(&s->slice[0], s->slice + 1, s->n - 1, &out);
            if (heap_fault_off()) {
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(out.len, 0);
                fails++;
            } else {
                assert_int_equal(rc, 0);
            }
        }
        assert_model(s->model, slice_of_buf(&out), true);
        shale_buf_fini(&out);
        layered_free(s);
    }
    assert_true(fails >= 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_gives_what_writing_one_after_the_other_does),
        cmocka_unit_test(every_grouping_gives_the_same_bytes),
        cmocka_unit_test(every_grouping_on_a_value_gives_the_same_bytes),
        cmocka_unit_test(overlay_of_lists_agrees_with_the_model),
        cmocka_unit_test(a_read_fills_its_buffer_and_counts_agree),
        cmocka_unit_test(a_failing_frame_ends_the_read),
        cmocka_unit_test(a_trimmed_frame_keeps_its_frame),
        cmocka_unit_test(the_bytes_are_the_documented_ones),
        cmocka_unit_test(lists_that_cannot_be_are_corrupt),
        cmocka_unit_test(extents_out_of_order_are_not_taken),
        cmocka_unit_test(many_operands_fold_at_once),
        cmocka_unit_test(running_out_of_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
