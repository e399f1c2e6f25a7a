/* SPDX-License-Identifier: Apache-2.0 */
#include "sst/block_cache.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "base/rng.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static _Atomic size_t alive_bytes; /* charges of the items that exist */

struct thing {
    struct cache_item item;
    uint64_t id;
};

static void thing_free(struct cache_item *item)
{
    atomic_fetch_sub(&alive_bytes, item->charge);
    free(container_of(item, struct thing, item));
}

static struct cache_item *thing_new(uint64_t id, size_t charge)
{
    struct thing *t = mem_zalloc(sizeof(*t));

    assert_non_null(t);
    atomic_init(&t->item.refs, 1);
    t->item.charge = charge;
    t->item.free = thing_free;
    t->id = id;
    atomic_fetch_add(&alive_bytes, charge);
    return &t->item;
}

static uint64_t id_of(struct cache_item *item)
{
    return container_of(item, struct thing, item)->id;
}

static struct cache_key key(uint64_t n)
{
    return (struct cache_key){ .sst = { .hi = n * 7, .lo = n }, .offset = n * 4096 };
}

static void put(struct block_cache *c, uint64_t n, size_t charge, bool high)
{
    struct cache_item *item = thing_new(n, charge);

    block_cache_put(c, key(n), item, high);
    cache_item_unref(item);
}

static bool has(struct block_cache *c, uint64_t n)
{
    struct cache_item *item = block_cache_get(c, key(n));
    bool found = item != NULL;

    if (item)
        assert_int_equal(id_of(item), n);
    cache_item_unref(item);
    return found;
}

static uint64_t bytes_of(struct block_cache *c)
{
    struct cache_stats st;

    block_cache_stats(c, &st);
    return st.bytes;
}

static struct block_cache *cache_new(size_t limit)
{
    struct block_cache *c = NULL;

    assert_int_equal(block_cache_new(limit, &c), 0);
    return c;
}

static void the_least_recently_used_goes_first(void **state)
{
    struct block_cache *c = cache_new(400);
    struct cache_stats st;

    (void)state;
    for (uint64_t n = 1; n <= 4; n++)
        put(c, n, 100, false);
    assert_true(has(c, 1)); /* now 2 is the oldest */
    put(c, 5, 100, false);
    assert_false(has(c, 2));
    assert_true(has(c, 1) && has(c, 3) && has(c, 4) && has(c, 5));
    put(c, 6, 150, false); /* two have to go for it: 1 and 3 */
    assert_false(has(c, 1) || has(c, 3));
    assert_true(has(c, 4) && has(c, 5) && has(c, 6));
    block_cache_stats(c, &st);
    assert_int_equal(st.bytes, 350);
    assert_int_equal(st.hits, 8);
    assert_int_equal(st.misses, 3);
    block_cache_free(c);
    assert_int_equal(alive_bytes, 0);
}

static void indexes_outlive_blocks_up_to_their_share(void **state)
{
    struct block_cache *c = cache_new(1000);

    (void)state;
    put(c, 1, 100, true);
    for (uint64_t n = 10; n < 100; n++)
        put(c, n, 100, false);
    assert_true(has(c, 1));
    assert_int_equal(bytes_of(c), 1000);
    for (uint64_t n = 100; n < 120; n++)
        put(c, n, 100, true);
    assert_int_equal(bytes_of(c), 1000);
    put(c, 200, 100, false); /* indexes have more than three quarters: one of them makes room */
    put(c, 201, 100, false);
    assert_true(has(c, 200) && has(c, 201));
    block_cache_free(c);
    assert_int_equal(alive_bytes, 0);
}

static void an_equal_key_keeps_the_older_item(void **state)
{
    struct block_cache *c = cache_new(1000);
    struct cache_item *item = thing_new(99, 10);

    (void)state;
    put(c, 1, 10, false);
    block_cache_put(c, key(1), item, false);
    cache_item_unref(item);
    assert_true(has(c, 1));
    assert_int_equal(bytes_of(c), 10);
    block_cache_free(c);
    assert_int_equal(alive_bytes, 0);
}

static void what_is_too_large_is_not_kept(void **state)
{
    struct block_cache *c = cache_new(1000), *none = cache_new(0);

    (void)state;
    put(c, 1, 100, false);
    put(c, 2, 501, true);
    assert_true(has(c, 1));
    assert_false(has(c, 2));
    put(none, 1, 1, false);
    assert_false(has(none, 1));
    block_cache_free(c);
    block_cache_free(none);
    block_cache_free(NULL);
    assert_int_equal(alive_bytes, 0);
}

static void an_item_in_use_outlives_the_cache(void **state)
{
    struct block_cache *c = cache_new(1000);
    struct cache_item *item;

    (void)state;
    put(c, 1, 100, false);
    item = block_cache_get(c, key(1));
    assert_non_null(item);
    block_cache_free(c);
    assert_int_equal(alive_bytes, 100);
    assert_int_equal(id_of(item), 1);
    cache_item_unref(item);
    cache_item_unref(NULL);
    assert_int_equal(alive_bytes, 0);
}

static void bytes_are_exact_and_within_the_limit(void **state)
{
    uint64_t seed = random_env(1).first;
    const size_t limit = 3 << 20; /* several shards */
    struct block_cache *c = cache_new(limit);
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int i = 0; i < 20000; i++) {
        uint64_t n = rng_below(&rng, 3000);

        if (rng_below(&rng, 2))
            put(c, n, 1 + rng_below(&rng, i % 100 ? 4096 : limit), rng_below(&rng, 8) == 0);
        else
            (void)has(c, n);
        if (bytes_of(c) > limit || bytes_of(c) != alive_bytes)
            fail_msg("%llu bytes told, %zu alive", (unsigned long long)bytes_of(c), (size_t)alive_bytes);
    }
    block_cache_free(c);
    assert_int_equal(alive_bytes, 0);
}

struct client {
    struct block_cache *c;
    uint64_t seed;
    struct worker w;
    bool wrong;
};

static void client_run(void *arg)
{
    struct client *cl = arg;
    struct rng rng;

    rng_seed(&rng, cl->seed);
    for (int i = 0; i < 20000; i++) {
        uint64_t n = rng_below(&rng, 500);
        struct cache_item *item = block_cache_get(cl->c, key(n));

        if (!item) {
            item = thing_new(n, 4096);
            block_cache_put(cl->c, key(n), item, n % 16 == 0);
        }
        if (id_of(item) != n)
            cl->wrong = true;
        cache_item_unref(item);
        if (i % 64 == 0 && bytes_of(cl->c) > (1 << 20) + 4 * 4096) /* each may be about to put one */
            cl->wrong = true;
    }
}

static void threads_share_it(void **state)
{
    struct client clients[4] = { 0 };
    struct block_cache *c = cache_new(1 << 20);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        clients[i] = (struct client){ .c = c, .seed = i };
        assert_int_equal(worker_start(&clients[i].w, "client", client_run, &clients[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        worker_join(&clients[i].w);
        assert_false(clients[i].wrong);
    }
    assert_int_equal(bytes_of(c), alive_bytes);
    block_cache_free(c);
    assert_int_equal(alive_bytes, 0);
}

static void without_memory_nothing_is_kept_and_nothing_breaks(void **state)
{
    struct block_cache *c = NULL;
    struct cache_item *item;

    (void)state;
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = block_cache_new(2 << 20, &c);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_null(c);
    }
    item = thing_new(1, 10);
    heap_fault_after(1);
    block_cache_put(c, key(1), item, false);
    assert_true(heap_fault_off());
    cache_item_unref(item);
    assert_false(has(c, 1));
    assert_int_equal(bytes_of(c), 0);
    /* the second allocation of a put that finds its buckets full is the larger table */
    for (uint64_t n = 1; n <= 4000; n++) {
        item = thing_new(n, 10);
        heap_fault_after(2);
        block_cache_put(c, key(n), item, false);
        (void)heap_fault_off(); /* it may or may not have needed one */
        cache_item_unref(item);
        assert_true(has(c, n));
    }
    block_cache_free(c);
    assert_int_equal(alive_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(indexes_outlive_blocks_up_to_their_share),
        cmocka_unit_test(an_equal_key_keeps_the_older_item),
        cmocka_unit_test(what_is_too_large_is_not_kept),
        cmocka_unit_test(an_item_in_use_outlives_the_cache),
        cmocka_unit_test(bytes_are_exact_and_within_the_limit),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(without_memory_nothing_is_kept_and_nothing_breaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
