/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/sst_fixture.h"

#include "base/cancel.h"
#include "base/metrics.h"
#include "sst/sst_lookup.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define CACHE_BYTES ((size_t)64 << 20)
#define WINDOW ((uint64_t)4096)
enum { THREADS = 8 };

/* An SST of n blocks, one row of 100 bytes (or value_len) in each, of which nothing is in the cache; ... */
struct rig {
    struct sst_fixture f;
    struct model m;
    struct sst_handle *h;
    struct sst_source src;
    struct table_index *index; /* ... but its index, when it was opened */
};

static size_t value_len = 100;
static enum shale_codec value_codec = SHALE_CODEC_NONE;
static struct sst_format format; /* small_blocks, or with a codec */

static void rig_init(struct rig *r, size_t n, uint64_t window, size_t cache_bytes)
{
    static uint8_t value[200000];
    char key[32];

    *r = (struct rig){ .index = NULL };
    format = small_blocks;
    format.codec = value_codec;
    fixture_init(&r->f, &format, cache_bytes);
    read_window_init(&r->f.ts.window, window, cache_bytes);
    for (size_t i = 0; i < n; i++) {
        memset(value, (int)i, value_len);
        snprintf(key, sizeof(key), "key%08zu", i);
        model_add(&r->m, (struct shale_row){ .key = slice_str(key), .value = slice_of(value, value_len), .seq = i + 1,
                                            .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS });
    }
    r->h = fixture_write(&r->f, &r->m, false);
    r->src = sst_source_compacted(r->h);
}

static void rig_open(struct rig *r)
{
    assert_int_equal(table_index_read(&r->f.ts, &r->src, &r->index), 0);
    assert_int_equal(r->index->x.n, r->m.n);
    store_fault_reset_counts(r->f.store);
}

static void rig_fini(struct rig *r)
{
    table_index_unref(r->index);
    sst_handle_unref(r->h);
    model_fini(&r->m);
    fixture_fini(&r->f);
}

static unsigned requests(struct rig *r)
{
    return store_fault_count(r->f.store, FAULT_RANGE);
}

static uint64_t cached_bytes(struct rig *r)
{
    struct cache_stats st;

    block_cache_stats(r->f.cache, &st);
    return st.bytes;
}

static int try_block(struct rig *r, size_t i, bool fill)
{
    struct block *b = NULL;
    int rc = table_blocks_read(&r->f.ts, &r->src, r->index, i, 1, fill, &b);

    if (rc == 0)
        assert_non_null(memmem(b->data, b->len, r->m.rows[i].value.data, r->m.rows[i].value.len));
    else
        assert_null(b);
    block_unref(b);
    return rc;
}

static void read_block(struct rig *r, size_t i)
{
    assert_int_equal(try_block(r, i, true), 0);
}

/* ---- windows ---- */

static void without_a_window_each_block_is_a_request(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, 64, 0, CACHE_BYTES);
    rig_open(&r);
    for (size_t i = 0; i < 64; i++)
        read_block(&r, i);
    assert_int_equal(requests(&r), 64);
    rig_fini(&r);
}

/* A window of 4096 bytes has about thirty blocks; the first ones are of a quarter. */
static void blocks_that_lie_together_come_together(void **state)
{
    const size_t n = 1200;
    struct rig r;

    (void)state;
    for (int down = 0; down < 2; down++) {
        rig_init(&r, n, WINDOW, CACHE_BYTES);
        rig_open(&r);
        for (size_t i = 0; i < n; i++)
            read_block(&r, down ? n - 1 - i : i);
        print_message("%zu blocks %s: %u requests\n", n, down ? "down" : "up", requests(&r));
        assert_in_range(requests(&r), n / 40, n / 20);
        rig_fini(&r);
    }
}

/* Whatever the order in a window, each is read once. */
static void the_order_in_a_window_does_not_matter(void **state)
{
    struct rig r;
    struct rng rng;

    (void)state;
    (void)seed_of_test(&rng);
    rig_init(&r, 1200, WINDOW, CACHE_BYTES);
    rig_open(&r);
    for (size_t i = 0; i < 600; i++) /* it learns that neighbours are wanted */
        read_block(&r, i);
    store_fault_reset_counts(r.f.store);
    for (size_t begin = 600; begin < 1200; begin += 100)
        for (size_t k = 0; k < 300; k++)
            read_block(&r, begin + rng_below(&rng, 100));
    print_message("%u requests\n", requests(&r));
    assert_true(requests(&r) <= 40);
    rig_fini(&r);
}

static void reads_far_apart_bring_one_block_each(void **state)
{
    const size_t stride = 64, n = 200 * stride;
    uint64_t before, charge;
    struct rig r;
    struct rng rng;

    (void)state;
    (void)seed_of_test(&rng);
    rig_init(&r, n, WINDOW, CACHE_BYTES);
    rig_open(&r);
    for (size_t i = 0; i < 100; i++)
        read_block(&r, i * stride + rng_below(&rng, stride / 2));
    before = cached_bytes(&r);
    for (size_t i = 100; i < 200; i++)
        read_block(&r, i * stride + rng_below(&rng, stride / 2));
    assert_int_equal(requests(&r), 200);
    charge = (cached_bytes(&r) - before) / 100;
    print_message("%llu bytes a read\n", (unsigned long long)charge);
    assert_true(charge < 300);

    /* and when they come close again, so does what lies around them */
    store_fault_reset_counts(r.f.store);
    for (size_t i = 0; i < 2000; i++)
        read_block(&r, i);
    print_message("2000 blocks: %u requests\n", requests(&r));
    assert_true(requests(&r) < 2000 / 6);
    rig_fini(&r);
}

static void a_window_is_a_small_part_of_the_cache(void **state)
{
    struct read_window w;

    (void)state;
    read_window_init(&w, 1u << 20, 8u << 20);
    assert_int_equal(w.max, 256u << 10);
    read_window_init(&w, 100000, 64u << 20);
    assert_int_equal(w.max, 65536);
    read_window_init(&w, 1u << 20, 0);
    assert_int_equal(w.max, 0);
    read_window_init(&w, 0, 64u << 20);
    assert_int_equal(w.max, 0);
    assert_int_equal(read_window_bytes(&w, true), 0);
}

/* A hundred of these blocks are a window as stored, and 20 MB when decoded. */
static void what_is_read_along_is_bounded_when_decoded(void **state)
{
    struct rig r;

    (void)state;
    value_len = 200000;
    value_codec = SHALE_CODEC_ZSTD;
    rig_init(&r, 60, WINDOW, CACHE_BYTES);
    value_len = 100;
    value_codec = SHALE_CODEC_NONE;
    rig_open(&r);
    assert_true(r.index->x.offsets[59] < 20000);
    for (size_t i = 0; i < 60; i += 20) {
        uint64_t before = cached_bytes(&r);

        read_block(&r, i);
        assert_in_range(cached_bytes(&r) - before, 200000, 410000); /* itself, and the one with which it was enough */
    }
    rig_fini(&r);
}

/* Only what somebody asks for counts as a look into the cache. */
static void what_is_read_along_counts_when_it_is_wanted(void **state)
{
    struct shale_metrics *registry = NULL;
    struct table_metrics metrics;
    uint64_t hits, misses;
    struct rig r;

    (void)state;
    assert_int_equal(shale_metrics_new(SHALE_METRIC_INFO, NULL, &registry), 0);
    assert_int_equal(table_metrics_init(&metrics, registry), 0);
    rig_init(&r, 500, WINDOW, CACHE_BYTES);
    rig_open(&r);
    r.f.ts.metrics = &metrics;
    for (size_t i = 0; i < 500; i++)
        read_block(&r, i);
    hits = metrics.hit[TABLE_PART_BLOCK]->value;
    misses = metrics.miss[TABLE_PART_BLOCK]->value;
    assert_int_equal(hits + misses, 500);
    assert_int_equal(misses, requests(&r));
    rig_fini(&r);
    shale_metrics_free(registry);
}

/*
 * Keys that follow each other closely are their own separators, which makes the block before a candidate: it is read
 * with the right one, but not when it is large.
 */
static int count_version(void *arg, const struct shale_row *row)
{
    (void)row;
    ++*(unsigned *)arg;
    return 0;
}

static void a_look_up_reads_no_large_block_in_vain(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) {
        struct rig r;

        value_len = large ? 200000 : 100;
        rig_init(&r, 12, 0, CACHE_BYTES);
        value_len = 100;
        rig_open(&r);
        for (size_t i = 1; i < 10; i++)
            assert_int_equal(slice_eq(r.index->x.first_keys[i], r.m.rows[i].key), !large);
        for (size_t i = 1; i < 10; i += 4) {
            struct sst_view view = { .sst = r.h };
            uint64_t before = cached_bytes(&r);
            struct sst_lookup l;
            unsigned n = 0;

            sst_lookup_init(&l, &r.f.ts, r.m.rows[i].key, true);
            store_fault_reset_counts(r.f.store);
            assert_int_equal(sst_lookup_in(&l, &view, count_version, &n), 0);
            sst_lookup_fini(&l);
            assert_int_equal(n, 1);
            assert_int_equal(requests(&r), i == 1 ? 2 : 1); /* the filter */
            if (large)
                assert_in_range(cached_bytes(&r) - before, 200000, 210000);
        }
        rig_fini(&r);
    }
}

/* ---- index and filter ---- */

static void index_and_filter_come_together(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        bool window = k & 1, index_first = k & 2;
        struct table_filter *filter = NULL;
        struct rig r;

        rig_init(&r, 100, window ? WINDOW : 0, CACHE_BYTES);
        store_fault_reset_counts(r.f.store);
        if (index_first)
            assert_int_equal(table_index_read(&r.f.ts, &r.src, &r.index), 0);
        assert_int_equal(table_filter_read(&r.f.ts, &r.src, &filter), 0);
        if (!index_first)
            assert_int_equal(table_index_read(&r.f.ts, &r.src, &r.index), 0);
        assert_int_equal(requests(&r), window ? 1 : 2);
        assert_int_equal(r.index->x.n, 100);
        assert_int_equal(filter_may_contain(&filter->f, filter_hash(r.m.rows[7].key)), 1);
        table_filter_unref(filter);
        rig_fini(&r);
    }
}

/* Change a byte of the stored SST. */
static void spoil(struct rig *r, uint64_t at)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;

    assert_int_equal(table_store_sst_name(&r->f.ts, r->h->id, &name), 0);
    object_bytes(&r->f, (char *)name.data, &object);
    object.data[at] ^= 0x40;
    assert_int_equal(shale_store_put(r->f.mem, (char *)name.data, slice_of_buf(&object), SHALE_PUT_OVERWRITE), 0);
    shale_buf_fini(&object);
    shale_buf_fini(&name);
}

static void a_filter_that_is_damaged_does_not_cost_the_index(void **state)
{
    struct table_filter *filter = NULL;
    struct rig r;

    (void)state;
    rig_init(&r, 100, WINDOW, CACHE_BYTES);
    spoil(&r, r.h->info.filter_offset + 3);
    assert_int_equal(table_index_read(&r.f.ts, &r.src, &r.index), 0);
    assert_int_equal(table_filter_read(&r.f.ts, &r.src, &filter), SHALE_ECORRUPT);
    rig_fini(&r);
}

/* ---- failures ---- */

static void a_neighbour_that_is_damaged_harms_nobody(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, 100, WINDOW, CACHE_BYTES);
    rig_open(&r);
    spoil(&r, r.index->x.offsets[51] + 20);
    for (size_t i = 40; i < 60; i++)
        assert_int_equal(try_block(&r, i, true), i == 51 ? SHALE_ECORRUPT : 0);
    assert_non_null(strstr(shale_errmsg(), "block"));
    rig_fini(&r);
}

static void a_wide_read_that_fails_is_done_again_narrow(void **state)
{
    const struct fault_rule once = { .cls = FAULT_RANGE, .action = FAULT_FAIL, .rc = -EIO };
    const struct fault_rule twice = { .cls = FAULT_RANGE, .action = FAULT_FAIL, .rc = -EIO, .times = 2 };
    struct rig r;

    (void)state;
    rig_init(&r, 400, WINDOW, CACHE_BYTES);
    rig_open(&r);
    store_fault_add(r.f.store, &once);
    read_block(&r, 10);
    assert_int_equal(requests(&r), 2);
    store_fault_add(r.f.store, &twice);
    assert_int_equal(try_block(&r, 200, true), -EIO);
    read_block(&r, 200);
    rig_fini(&r);
}

/* Without memory a read fails, or does without what it need not have; nothing is lost. */
static void memory_may_run_out(void **state)
{
    struct rig r;
    unsigned n = 0;

    (void)state;
    rig_init(&r, 2000, WINDOW, CACHE_BYTES);
    rig_open(&r);
    for (size_t i = 0; i + 40 < 2000; i += 40) {
        int rc;

        heap_fault_after(++n);
        rc = try_block(&r, i, true);
        if (!heap_fault_off())
            break;
        assert_true(rc == 0 || rc == -ENOMEM);
        read_block(&r, i);
    }
    assert_in_range(n, 6, 48);
    rig_fini(&r);
}

/* ---- many at once ---- */

struct asker {
    struct rig *r;
    size_t block;
    bool fill;
    int rc;
    pthread_t thread;
};

static atomic_int n_asking;

static void *ask(void *arg)
{
    struct asker *a = arg;

    atomic_fetch_add(&n_asking, 1);
    a->rc = try_block(a->r, a->block, a->fill);
    return NULL;
}

static void *ask_filter(void *arg)
{
    struct asker *a = arg;
    struct table_filter *filter = NULL;

    a->rc = table_filter_read(&a->r->f.ts, &a->r->src, &filter);
    table_filter_unref(filter);
    return NULL;
}

/* All ask while the first request is held up. */
static void ask_at_once(struct rig *r, struct asker *askers, const size_t *blocks, bool fill)
{
    const struct fault_rule gate = { .cls = FAULT_RANGE, .action = FAULT_GATE };
    unsigned rule = store_fault_add(r->f.store, &gate);

    atomic_store(&n_asking, 0);
    for (int i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){ .r = r, .block = blocks[i], .fill = fill };
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    store_fault_wait(r->f.store, rule, 1);
    while (atomic_load(&n_asking) < THREADS)
        sched_yield();
    store_fault_release(r->f.store, rule);
    for (int i = 0; i < THREADS; i++)
        pthread_join(askers[i].thread, NULL);
}

static void threads_that_miss_one_block_read_it_once(void **state)
{
    const size_t blocks[THREADS] = { 5, 5, 5, 5, 5, 5, 5, 5 };
    struct asker askers[THREADS];
    struct rig r;

    (void)state;
    rig_init(&r, 100, 0, CACHE_BYTES);
    rig_open(&r);
    ask_at_once(&r, askers, blocks, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(askers[i].rc, 0);
    assert_int_equal(requests(&r), 1);
    rig_fini(&r);
}

/* Two windows: what one thread is reading for itself, another need not read along. */
static void threads_that_miss_neighbours_share_windows(void **state)
{
    const size_t blocks[THREADS] = { 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007 };
    struct asker askers[THREADS];
    struct rig r;

    (void)state;
    rig_init(&r, 1200, WINDOW, CACHE_BYTES);
    rig_open(&r);
    for (size_t i = 0; i < 600; i++)
        read_block(&r, i);
    store_fault_reset_counts(r.f.store);
    ask_at_once(&r, askers, blocks, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(askers[i].rc, 0);
    assert_in_range(requests(&r), 1, 2);
    rig_fini(&r);
}

static void one_that_fails_does_not_fail_the_others(void **state)
{
    const size_t blocks[THREADS] = { 5, 5, 5, 5, 5, 5, 5, 5 };
    const struct fault_rule lost = { .cls = FAULT_RANGE, .action = FAULT_LOSE_REPLY, .rc = -EIO };
    struct asker askers[THREADS];
    struct rig r;
    int n_failed = 0;

    (void)state;
    rig_init(&r, 100, 0, CACHE_BYTES);
    rig_open(&r);
    store_fault_add(r.f.store, &lost);
    /* fails at once, before or while others come */
    for (int i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){ .r = &r, .block = blocks[i], .fill = true };
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_true(askers[i].rc == 0 || askers[i].rc == -EIO);
        n_failed += askers[i].rc != 0;
    }
    assert_int_equal(n_failed, 1);
    read_block(&r, 5);
    rig_fini(&r);
}

/* Who is to give up does not stay with another's read, which may never end. */
static void one_that_gives_up_waits_for_no_other(void **state)
{
    const struct fault_rule gate = { .cls = FAULT_RANGE, .action = FAULT_GATE, .times = 1 };
    struct cancel token = { .also = NULL };
    struct asker other;
    struct rig r;
    unsigned rule;

    (void)state;
    for (int meta = 0; meta < 2; meta++) {
        struct table_filter *filter = NULL;

        rig_init(&r, 100, meta ? 0 : WINDOW, CACHE_BYTES);
        rig_open(&r);
        rule = store_fault_add(r.f.store, &gate);
        other = (struct asker){ .r = &r, .block = 5, .fill = true };
        assert_int_equal(pthread_create(&other.thread, NULL, meta ? ask_filter : ask, &other), 0);
        store_fault_wait(r.f.store, rule, 1);
        cancel_request(&token);
        (void)cancel_set(&token);
        (void)alarm(120);
        if (meta)
            assert_int_equal(table_filter_read(&r.f.ts, &r.src, &filter), 0);
        else
            read_block(&r, 5);
        (void)alarm(0);
        (void)cancel_set(NULL);
        store_fault_release(r.f.store, rule);
        pthread_join(other.thread, NULL);
        assert_int_equal(other.rc, 0);
        table_filter_unref(filter);
        rig_fini(&r);
    }
}

/* Random blocks in a cache that is too small, with and without keeping them. */
static void *wander(void *arg)
{
    struct asker *a = arg;
    struct rng rng;

    rng_seed(&rng, a->block);
    for (int i = 0; i < 600; i++) {
        size_t begin = rng_below(&rng, 300), n = 1 + rng_below(&rng, 20);
        struct block *b[20];

        assert_int_equal(table_blocks_read(&a->r->f.ts, &a->r->src, a->r->index, begin, n, rng_below(&rng, 4), b), 0);
        for (size_t k = 0; k < n; k++) {
            assert_non_null(memmem(b[k]->data, b[k]->len, a->r->m.rows[begin + k].value.data, 100));
            block_unref(b[k]);
        }
    }
    return NULL;
}

static void threads_wander(void **state)
{
    struct asker askers[THREADS];
    struct rig r;

    (void)state;
    rig_init(&r, 320, WINDOW, 1u << 16);
    rig_open(&r);
    assert_true(r.f.ts.window.max > 0);
    for (int i = 0; i < THREADS; i++) {
        askers[i] = (struct asker){ .r = &r, .block = (size_t)i };
        assert_int_equal(pthread_create(&askers[i].thread, NULL, wander, &askers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(askers[i].thread, NULL);
    rig_fini(&r);
}

/* Nothing can be kept: what one reads the others take from its hands. */
static void threads_share_without_a_cache(void **state)
{
    struct asker askers[THREADS];
    const size_t blocks[THREADS] = { 5, 5, 5, 5, 5, 5, 5, 5 };
    struct rig r;

    (void)state;
    rig_init(&r, 100, WINDOW, 0);
    rig_open(&r);
    ask_at_once(&r, askers, blocks, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(askers[i].rc, 0);
    assert_true(requests(&r) >= 1);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_window_each_block_is_a_request),
        cmocka_unit_test(blocks_that_lie_together_come_together),
        cmocka_unit_test(the_order_in_a_window_does_not_matter),
        cmocka_unit_test(reads_far_apart_bring_one_block_each),
        cmocka_unit_test(a_window_is_a_small_part_of_the_cache),
        cmocka_unit_test(what_is_read_along_is_bounded_when_decoded),
        cmocka_unit_test(what_is_read_along_counts_when_it_is_wanted),
        cmocka_unit_test(a_look_up_reads_no_large_block_in_vain),
        cmocka_unit_test(index_and_filter_come_together),
        cmocka_unit_test(a_filter_that_is_damaged_does_not_cost_the_index),
        cmocka_unit_test(a_neighbour_that_is_damaged_harms_nobody),
        cmocka_unit_test(a_wide_read_that_fails_is_done_again_narrow),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(threads_that_miss_one_block_read_it_once),
        cmocka_unit_test(threads_that_miss_neighbours_share_windows),
        cmocka_unit_test(one_that_fails_does_not_fail_the_others),
        cmocka_unit_test(one_that_gives_up_waits_for_no_other),
        cmocka_unit_test(threads_wander),
        cmocka_unit_test(threads_share_without_a_cache),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
