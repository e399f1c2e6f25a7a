/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree's inserter and its readers, interleaved step by step in one thread: what would take two threads luck to meet
 * is met each time.
 */
static void step(void);
#define ROW_TREE_STEP step

#include "mem/row_tree.c"

#include "base/rng.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MAX_KEYS = 6000 };

struct world {
    struct row_tree tree;
    struct version versions[MAX_KEYS];
    uint8_t keys[MAX_KEYS][8];
    size_t n;
    /* What happens at a step. */
    void (*at_step)(struct world *w);
    unsigned wait; /* steps before */
    struct version *coming;
};

static struct world world;

static void step(void)
{
    void (*fn)(struct world *) = world.at_step;

    if (!fn || world.wait-- > 0)
        return;
    world.at_step = NULL; /* what it does has steps of its own */
    fn(&world);
}

static void world_init(struct world *w)
{
    w->n = 0;
    w->at_step = NULL;
    row_tree_init(&w->tree);
}

static struct version *version_new(struct world *w, uint64_t key)
{
    struct version *v = &w->versions[w->n];

    assert_true(w->n < MAX_KEYS);
    put_u64be(w->keys[w->n], key);
    *v = (struct version){ .row = { .key = slice_of(w->keys[w->n], 8) } };
    w->n++;
    return v;
}

/* Whether it was not there. */
static bool insert(struct world *w, struct version *v)
{
    struct tree_place p;

    row_tree_place(&w->tree, v->row.key, &p);
    if (p.found)
        return false;
    assert_int_equal(row_tree_reserve_place(&w->tree, &p), 0);
    row_tree_insert(&w->tree, &p, v);
    return true;
}

static void insert_key(struct world *w, uint64_t key)
{
    if (!insert(w, version_new(w, key)))
        w->n--;
}

static void insert_coming(struct world *w)
{
    if (!insert(w, w->coming))
        w->n--;
    w->coming = NULL;
}

static int by_key(const void *a, const void *b)
{
    const struct version *const *x = a, *const *y = b;

    return slice_cmp((*x)->row.key, (*y)->row.key);
}

static size_t sorted(struct world *w, size_t n, const struct version **out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = &w->versions[i];
    qsort(out, n, sizeof(*out), by_key);
    return n;
}

/* A read of one of the n rows that are there, whatever comes in between. */
static void read_one(struct world *w, struct rng *r, size_t n, struct version *v)
{
    static const struct version *order[MAX_KEYS];
    struct version *got;
    struct tree_cursor c;
    bool edge = rng_below(r, 4) == 0;
    size_t i = 0;

    switch (rng_below(r, 3)) {
    case 0:
        assert_ptr_equal(row_tree_find(&w->tree, v->row.key), v);
        return;
    case 1:
        tree_cursor_set(&c, &w->tree, edge ? NULL : &v->row.key, false);
        break;
    default:
        tree_cursor_set_back(&c, &w->tree, edge ? NULL : &v->row.key, false);
        if (!edge)
            break;
        sorted(w, n, order);
        got = tree_cursor_get(&c);
        assert_true(got && slice_cmp(got->row.key, order[n - 1]->row.key) >= 0);
        return;
    }
    got = tree_cursor_get(&c);
    assert_non_null(got);
    if (!edge) {
        assert_ptr_equal(got, v);
        return;
    }
    sorted(w, n, order);
    for (; got && i < n; tree_cursor_next(&c), got = tree_cursor_get(&c)) /* the new one may be among them */
        i += got == order[i];
    assert_int_equal(i, n);
}

/* A row near the one that is coming, as a split there concerns it. */
static struct version *neighbour(struct world *w, struct rng *r, size_t n)
{
    struct tree_cursor c;
    uint64_t back = rng_below(r, 4);

    tree_cursor_set(&c, &w->tree, &w->coming->row.key, false);
    for (uint64_t k = rng_below(r, 4); k > 0 && tree_cursor_get(&c); k--)
        tree_cursor_next(&c);
    for (; back > 0 && tree_cursor_get(&c); back--)
        tree_cursor_prev(&c, &w->tree);
    return tree_cursor_get(&c) ? tree_cursor_get(&c) : &w->versions[rng_below(r, n)];
}

/* Each key comes while a reader has the order of some node on its way, and has not yet followed it. */
static void a_reader_that_is_overtaken_misses_nothing(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (int round = 0; round < 6; round++) {
        world_init(&world);
        for (int i = 0; i < 40; i++)
            insert_key(&world, rng_next(&r));
        for (int i = 0; i < 800; i++) {
            uint32_t levels = tree_root(&world.tree)->level;
            size_t n = world.n;
            struct version *target;
            uint64_t key = round % 3 == 0 ? (uint64_t)i << 50 : round % 3 == 1 ? (uint64_t)(900 - i) << 50 : rng_next(&r);

            world.coming = version_new(&world, key);
            target = neighbour(&world, &r, n);
            world.wait = levels ? (unsigned)rng_below(&r, levels) : 0;
            world.at_step = insert_coming;
            read_one(&world, &r, n, target);
            world.at_step = NULL;
            if (world.coming)
                insert_coming(&world);
        }
        row_tree_fini(&world.tree);
    }
}

static size_t reader_n;

static void read_all(struct world *w)
{
    static const struct version *order[MAX_KEYS];
    struct tree_cursor c;
    size_t n = sorted(w, reader_n, order), i = 0;

    for (size_t k = 0; k < n; k++)
        assert_ptr_equal(row_tree_find(&w->tree, order[k]->row.key), order[k]);
    tree_cursor_set(&c, &w->tree, NULL, false);
    for (; tree_cursor_get(&c) && i < n; tree_cursor_next(&c))
        i += tree_cursor_get(&c) == order[i];
    assert_int_equal(i, n);
    tree_cursor_set_back(&c, &w->tree, NULL, false);
    for (; tree_cursor_get(&c) && i > 0; tree_cursor_prev(&c, &w->tree))
        i -= tree_cursor_get(&c) == order[i - 1];
    assert_int_equal(i, 0);
}

/* The other way round: the inserter stops between two of its stores, and all is read. */
static void nothing_is_missed_in_the_midst_of_an_insertion(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    rng_seed(&r, seed);
    for (int round = 0; round < 3; round++) {
        world_init(&world);
        for (int i = 0; i < 600; i++) {
            uint64_t key = round == 0 ? (uint64_t)i << 50 : round == 1 ? (uint64_t)(900 - i) << 50 : rng_next(&r);

            reader_n = world.n;
            world.wait = (unsigned)rng_below(&r, 5);
            world.at_step = read_all;
            insert_key(&world, key);
            world.at_step = NULL;
        }
        row_tree_fini(&world.tree);
    }
}

/*
 * Orders of insertion for the room that is reserved. Keys that came in order leave full nodes behind, which the next
 * ones then split.
 */
enum order { UP, DOWN, SCATTERED, INTO_EACH, RUNS, N_ORDERS };

static uint64_t next_key(enum order o, struct rng *r, size_t i)
{
    static uint64_t run;

    switch (o) {
    case UP:
        return (uint64_t)(i + 1) << 32;
    case DOWN:
        return UINT64_MAX - ((uint64_t)i << 32);
    case INTO_EACH: /* one key for each leaf of what came in order */
        return ((uint64_t)(i * TREE_FANOUT) << 32) + 1 + rng_below(r, UINT32_MAX - 1);
    case RUNS:
        if (i % (1 + rng_below(r, 40)) == 0)
            run = rng_next(r);
        return ++run;
    default:
        return rng_next(r);
    }
}

static void insert_reserved(struct world *w, enum order o, struct rng *r, size_t n)
{
    assert_int_equal(row_tree_reserve(&w->tree, n), 0);
    for (size_t i = 0; i < n && w->n < MAX_KEYS; i++) {
        struct version *v = version_new(w, next_key(o, r, i));
        struct tree_place p;

        row_tree_place(&w->tree, v->row.key, &p);
        if (p.found) {
            w->n--;
            continue;
        }
        heap_fault_after(1);
        if (row_tree_reserve_place(&w->tree, &p) < 0)
            fail_msg("order %d: nothing left for key %zu of %zu", (int)o, i, n);
        assert_false(heap_fault_off());
        row_tree_insert(&w->tree, &p, v);
    }
}

static void what_is_reserved_suffices_whatever_the_order(void **state)
{
    struct random_env env = random_env(150);
    struct rng r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)env.first);
    rng_seed(&r, env.first);
    for (uint64_t round = 0; round < env.n; round++) {
        size_t most = 1 + rng_below(&r, 2000);

        world_init(&world);
        if (rng_below(&r, 4))
            insert_reserved(&world, UP, &r, most);
        for (int k = 0; k < 8; k++)
            insert_reserved(&world, (enum order)rng_below(&r, N_ORDERS), &r, 1 + rng_below(&r, 1 + rng_below(&r, 700)));
        row_tree_fini(&world.tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_is_overtaken_misses_nothing),
        cmocka_unit_test(nothing_is_missed_in_the_midst_of_an_insertion),
        cmocka_unit_test(what_is_reserved_suffices_whatever_the_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
