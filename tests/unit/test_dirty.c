/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/rng.h"
#include "fs/core/dirty.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <stdio.h>
#include <string.h>

/* A byte array and a map of what was written, compared with the lists after each operation. */
enum { CHUNK = 64, SIZE = 8 * CHUNK, DEFAULT_CASES = 300, OPS = 200 };

struct bytes {
    uint8_t data[SIZE];
    bool written[SIZE];
};

struct gap_check {
    const struct bytes *m;
    bool is_gap[SIZE];
    uint64_t end; /* gaps ascend */
};

static int note_gap(void *arg, uint64_t offset, size_t len)
{
    struct gap_check *g = arg;

    assert_true(len > 0 && offset >= g->end);
    g->end = offset + len;
    for (size_t i = 0; i < len; i++) {
        assert_true(offset + i < SIZE);
        assert_false(g->m->written[offset + i]);
        g->is_gap[offset + i] = true;
    }
    return 0;
}

static void check_read(const struct dirty *d, const struct bytes *m, uint64_t from, size_t len)
{
    struct gap_check g = { .m = m };
    uint8_t got[SIZE];

    memset(got, 0xee, sizeof(got));
    assert_int_equal(dirty_read(d, from, got, len, note_gap, &g), 0);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(g.is_gap[from + i], !m->written[from + i]);
        assert_int_equal(got[i], m->written[from + i] ? m->data[from + i] : 0xee);
    }
}

/* The lists are as the header says: ascending, apart, never empty, and the sums are right. */
static void check_shape(const struct dirty *d, const struct bytes *m)
{
    uint64_t bytes = 0, end = 0, want = 0;

    for (size_t i = 0; i < d->n; i++) {
        const struct dirty_chunk *c = &d->chunks[i];
        uint64_t in_chunk = 0, behind = 0;

        assert_true(c->n > 0 && (i == 0 || d->chunks[i - 1].index < c->index));
        for (size_t k = 0; k < c->n; k++) {
            assert_true(c->ext[k].len > 0 && c->ext[k].len <= c->ext[k].cap && c->ext[k].offset >= behind);
            behind = c->ext[k].offset + c->ext[k].len;
            assert_true(behind <= CHUNK);
            in_chunk += c->ext[k].len;
        }
        assert_true(c->bytes == in_chunk);
        bytes += in_chunk;
    }
    assert_true(d->bytes == bytes);
    for (size_t i = 0; i < SIZE; i++) {
        want += m->written[i];
        end = m->written[i] ? i + 1 : end;
    }
    assert_true(bytes == want);
    assert_true(dirty_end(d) == end);
}

static void model_write(struct bytes *m, uint64_t offset, const uint8_t *data, size_t len)
{
    memcpy(m->data + offset, data, len);
    memset(m->written + offset, 1, len);
}

static void random_write(struct dirty *d, struct bytes *m, struct rng *rng)
{
    uint64_t offset = rng_below(rng, SIZE);
    size_t len = rng_below(rng, rng_below(rng, 4) ? 20 : SIZE), taken;
    uint8_t data[SIZE];
    bool fails = rng_below(rng, 3) == 0;

    if (rng_below(rng, 3) == 0 && dirty_end(d) > 0)
        offset = dirty_end(d) < SIZE ? dirty_end(d) : 0;
    if (len > SIZE - offset)
        len = SIZE - offset;
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)rng_next(rng);
    if (fails)
        heap_fault_after(1 + (unsigned)rng_below(rng, 4));
    taken = dirty_write(d, offset, data, len);
    /* Out of memory, what was there before stays, and so do the bytes that were taken. */
    assert_true(heap_fault_off() && fails ? taken <= len : taken == len);
    model_write(m, offset, data, taken);
}

static void random_merge(struct dirty *d, struct bytes *m, struct rng *rng)
{
    struct bytes newer_m = { .data = { 0 } };
    struct dirty newer;

    dirty_init(&newer, CHUNK);
    for (unsigned i = 0; i < 5; i++)
        random_write(&newer, &newer_m, rng);
    for (size_t i = 0; i < SIZE; i++)
        if (newer_m.written[i])
            model_write(m, i, &newer_m.data[i], 1);
    heap_fault_after(1 + (unsigned)rng_below(rng, 6));
    while (dirty_merge(d, &newer) < 0) {
        assert_true(heap_fault_off());
        check_shape(&newer, &newer_m); /* whole still */
        heap_fault_after(rng_below(rng, 2) ? 1 + (unsigned)rng_below(rng, 6) : 0);
    }
    (void)heap_fault_off();
    assert_true(newer.bytes == 0 && newer.n == 0);
    dirty_fini(&newer);
}

static void one_case(uint64_t seed)
{
    struct bytes m = { .data = { 0 } };
    struct dirty d;
    struct rng rng;

    rng_seed(&rng, seed);
    dirty_init(&d, CHUNK);
    for (unsigned i = 0; i < OPS; i++) {
        uint64_t from = rng_below(&rng, SIZE), cut;

        switch (rng_below(&rng, 12)) {
        case 0:
            cut = rng_below(&rng, SIZE + 1);
            dirty_truncate(&d, cut);
            memset(m.written + cut, 0, SIZE - cut);
            break;
        case 1:
            random_merge(&d, &m, &rng);
            break;
        default:
            random_write(&d, &m, &rng);
        }
        check_shape(&d, &m);
        check_read(&d, &m, from, rng_below(&rng, SIZE - from + 1));
    }
    check_read(&d, &m, 0, SIZE);
    dirty_fini(&d);
}

static void lists_agree_with_an_array(void **state)
{
    struct random_env env = random_env(DEFAULT_CASES);

    (void)state;
    print_message("SHALE_SEED=%llu and %llu on\n", (unsigned long long)env.first, (unsigned long long)env.n);
    for (uint64_t i = 0; i < env.n; i++)
        one_case(env.first + i);
}

static void offsets_may_be_huge(void **state)
{
    const uint64_t far = (uint64_t)INT64_MAX - 3;
    uint8_t got[4] = { 0 };
    struct dirty d;

    (void)state;
    dirty_init(&d, 1u << 20);
    assert_int_equal(dirty_write(&d, far, "abc", 3), 3);
    assert_true(dirty_end(&d) == INT64_MAX);
    assert_int_equal(dirty_read(&d, far, got, 3, NULL, NULL), 0);
    assert_memory_equal(got, "abc", 3);
    dirty_truncate(&d, far + 1);
    assert_true(d.bytes == 1 && dirty_end(&d) == far + 1);
    dirty_truncate(&d, 0);
    assert_true(d.n == 0 && dirty_end(&d) == 0);
    dirty_fini(&d);
}

static int refuse(void *arg, uint64_t offset, size_t len)
{
    (void)arg, (void)offset, (void)len;
    return -7;
}

static void what_a_gap_answers_ends_the_read(void **state)
{
    struct dirty d;
    uint8_t got[3];

    (void)state;
    dirty_init(&d, CHUNK);
    assert_int_equal(dirty_write(&d, 1, "x", 1), 1);
    assert_int_equal(dirty_read(&d, 1, got, 1, refuse, NULL), 0);
    assert_int_equal(dirty_read(&d, 0, got, 2, refuse, NULL), -7);
    dirty_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_agree_with_an_array),
        cmocka_unit_test(offsets_may_be_huge),
        cmocka_unit_test(what_a_gap_answers_ends_the_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
