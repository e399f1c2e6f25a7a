/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/sst_fixture.h"

#include "sst/sst_lookup.h"

#include <errno.h>

/* What an iterator has to give, one row after the other. */
struct expect {
    const struct shale_row **rows;
    size_t n, pos;
    enum iter_order order;
};

static struct expect expect_new(const struct model *m, const struct key_range *r, enum iter_order order)
{
    struct expect e = { .rows = mem_calloc(m->n, sizeof(*e.rows)), .order = order };
    const struct shale_row **all = mem_calloc(m->n, sizeof(*all));

    assert_true(e.rows && all);
    if (order == ITER_DESC)
        model_descending(m, all);
    for (size_t i = 0; i < m->n; i++) {
        const struct shale_row *row = order == ITER_DESC ? all[i] : &m->rows[i];

        if (key_in_range(r, row->key))
            e.rows[e.n++] = row;
    }
    free(all);
    return e;
}

static void expect_seek(struct expect *e, struct shale_slice key)
{
    while (e->pos < e->n) {
        int c = slice_cmp(e->rows[e->pos]->key, key);

        if (e->order == ITER_ASC ? c >= 0 : c <= 0)
            break;
        e->pos++;
    }
}

static void expect_next(struct expect *e, struct iter *it)
{
    struct shale_row row;
    int rc = iter_next(it, &row);

    if (e->pos == e->n) {
        assert_int_equal(rc, SHALE_END);
        assert_int_equal(iter_next(it, &row), SHALE_END);
        return;
    }
    if (rc != 0)
        fail_msg("%d: %s", rc, shale_errmsg());
    if (!same_row(&row, e->rows[e->pos]))
        fail_msg("row %zu of %zu differs", e->pos, e->n);
    e->pos++;
}

/* The three kinds of iterators. */
struct way {
    enum iter_order order;
    bool once;
};
static const struct way ways[] = { { .order = ITER_ASC }, { .order = ITER_DESC }, { .order = ITER_ASC, .once = true } };

static struct iter *open_way(struct sst_fixture *f, const struct sst_view *view, const struct key_range *r,
                             struct way way, uint64_t read_ahead)
{
    struct sst_iter_options opt = { .order = way.order, .once = way.once, .fill_cache = read_ahead % 2,
                                    .read_ahead_bytes = read_ahead };
    struct iter *it = NULL;

    assert_int_equal(sst_iter_new(&f->ts, view, r, &opt, &it), 0);
    return it;
}

static struct iter *open_iter(struct sst_fixture *f, const struct sst_view *view, const struct key_range *r,
                              enum iter_order order, uint64_t read_ahead)
{
    return open_way(f, view, r, (struct way){ .order = order }, read_ahead);
}

static struct shale_slice random_key(const struct model *m, struct rng *rng, uint8_t *buf)
{
    size_t len = rng_below(rng, 5);

    if (rng_below(rng, 2))
        return m->rows[rng_below(rng, m->n)].key;
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)("ab\0\xff"[rng_below(rng, 4)]);
    return slice_of(buf, len);
}

/* Ranges whose bounds are crossed now and then. */
static struct key_range random_range(const struct model *m, struct rng *rng, uint8_t from[8], uint8_t to[8])
{
    struct key_range r = { .from_kind = (enum key_bound_kind)rng_below(rng, 3),
                           .to_kind = (enum key_bound_kind)rng_below(rng, 3) };

    r.from = random_key(m, rng, from);
    r.to = rng_below(rng, 6) ? random_key(m, rng, to) : r.from;
    if (rng_below(rng, 10) && slice_cmp(r.from, r.to) > 0) {
        struct shale_slice t = r.from;

        r.from = r.to;
        r.to = t;
    }
    return r;
}

static void walk_once(struct sst_fixture *f, struct sst_handle *h, const struct model *m, struct rng *rng)
{
    static const uint64_t ahead[] = { 0, 1, 500, 1001, 1 << 20 };
    uint8_t from[8], to[8], vfrom[8], vto[8], seek[8];
    struct key_range r = random_range(m, rng, from, to), visible = random_range(m, rng, vfrom, vto);
    struct way way = ways[rng_below(rng, ARRAY_SIZE(ways))];
    struct sst_view view = { .sst = h, .has_range = rng_below(rng, 4) == 0 };
    struct key_range both = view.has_range ? key_range_intersect(&r, &visible) : r;
    struct expect e = expect_new(m, &both, way.order);
    unsigned seek_odds = rng_below(rng, 2) ? 5 : 1000;
    struct iter *it;

    view.start = (struct key_bound){ .kind = visible.from_kind };
    view.end = (struct key_bound){ .kind = visible.to_kind };
    assert_int_equal(buf_set(&view.start.key, visible.from), 0);
    assert_int_equal(buf_set(&view.end.key, visible.to), 0);
    it = open_way(f, &view, &r, way, ahead[rng_below(rng, ARRAY_SIZE(ahead))]);
    for (bool more = true; more;) {
        if (rng_below(rng, seek_odds) == 0) {
            struct shale_slice k = random_key(m, rng, seek);

            expect_seek(&e, k);
            assert_int_equal(iter_seek(it, k), 0);
        }
        more = e.pos < e.n;
        expect_next(&e, it);
    }
    iter_close(it);
    shale_buf_fini(&view.start.key);
    shale_buf_fini(&view.end.key);
    free(e.rows);
}

static void random_walks(enum shale_codec codec, uint32_t block_size, bool v1, size_t cache_bytes)
{
    struct sst_format format = { .codec = codec, .block_size = block_size, .min_filter_keys = 1,
                                 .filter_bits_per_key = 10 };
    struct sst_fixture f;
    struct rng rng;

    seed_of_test(&rng);
    fixture_init(&f, &format, cache_bytes);
    for (int round = 0; round < 12; round++) {
        struct model m = { 0 };
        struct sst_handle *h;

        /* one and two letters give few keys with many versions, which go over many blocks */
        model_random(&m, &rng, 1 + rng_below(&rng, 400), 1 + rng_below(&rng, 6), rng_below(&rng, 3) ? 20 : 200);
        h = v1 ? fixture_write_v1(&f, &m) : fixture_write(&f, &m, round % 2);
        for (int walk = 0; walk < 120; walk++)
            walk_once(&f, h, &m, &rng);
        sst_handle_unref(h);
        model_fini(&m);
    }
    fixture_fini(&f);
}

static void any_range_and_seek_in_any_order(void **state)
{
    (void)state;
    random_walks(SHALE_CODEC_NONE, 64, false, 0);
    random_walks(SHALE_CODEC_NONE, 200, false, 10000);
    random_walks(SHALE_CODEC_ZSTD, 512, false, 1 << 20);
    random_walks(SHALE_CODEC_LZ4, 4096, false, 0);
}

/* ---- separators behind large blocks ---- */

/* Some rows get values that make a block large. */
static void enlarge(struct model *m, struct rng *rng)
{
    static uint8_t value[140000];

    for (size_t i = 0; i < m->n; i++) {
        if (m->rows[i].kind == SHALE_TOMBSTONE || rng_below(rng, 2))
            continue;
        memset(value, (int)(i + 1), sizeof(value));
        free((void *)(uintptr_t)m->rows[i].value.data);
        m->rows[i].value = slice_of(mem_dup(value, sizeof(value)), sizeof(value));
        assert_non_null(m->rows[i].value.data);
    }
}

struct seen_versions {
    const struct shale_row *next, *end;
};

static int expect_version(void *arg, const struct shale_row *row)
{
    struct seen_versions *s = arg;

    assert_true(s->next < s->end && same_row(row, s->next));
    s->next++;
    return 0;
}

/* All versions of key, and no other row. */
static void look_up(struct sst_fixture *f, struct sst_handle *h, const struct model *m, struct shale_slice key)
{
    struct seen_versions s = { .next = m->rows, .end = m->rows + m->n };
    const struct sst_view view = { .sst = h };
    struct sst_lookup l;

    while (s.next < s.end && slice_cmp(s.next->key, key) < 0)
        s.next++;
    for (s.end = s.next; s.end < m->rows + m->n && slice_eq(s.end->key, key);)
        s.end++;
    sst_lookup_init(&l, &f->ts, key, true);
    assert_int_equal(sst_lookup_in(&l, &view, expect_version, &s), 0);
    sst_lookup_fini(&l);
    assert_ptr_equal(s.next, s.end);
}

/* Every row's key, and the one right behind it. */
static void look_up_all(struct sst_fixture *f, struct sst_handle *h, const struct model *m)
{
    uint8_t key[16] = { 0 };

    for (size_t i = 0; i < m->n; i++) {
        assert_true(m->rows[i].key.len < sizeof(key));
        memcpy(key, m->rows[i].key.data, m->rows[i].key.len);
        look_up(f, h, m, slice_of(key, m->rows[i].key.len));
        key[m->rows[i].key.len] = 0;
        look_up(f, h, m, slice_of(key, m->rows[i].key.len + 1));
    }
}

/*
 * What readers of the format rely on: between blocks lies a separator that is neither below the last key before it nor
 * above the first one behind it. How many are no prefix of that one, as SlateDB's always are.
 */
static unsigned check_separators(struct sst_fixture *f, struct sst_handle *h, const struct model *m)
{
    const struct sst_source src = sst_source_compacted(h);
    struct table_index *index = NULL;
    struct shale_slice last = slice_of(NULL, 0);
    struct block_iter rows;
    struct shale_row row;
    unsigned n_own = 0;
    size_t n = 0;
    int rc;

    assert_int_equal(table_index_read(&f->ts, &src, &index), 0);
    for (size_t i = 0; i < index->x.n; i++) {
        struct shale_slice sep = index->x.first_keys[i];
        struct block *b = NULL;

        assert_int_equal(table_blocks_read(&f->ts, &src, index, i, 1, true, &b), 0);
        assert_int_equal(block_iter_init(&rows, block_payload(b), h->version, ITER_ASC), 0);
        assert_true(i == 0 || slice_cmp(last, sep) <= 0);
        assert_true(slice_cmp(sep, m->rows[n].key) <= 0);
        n_own += !slice_has_prefix(m->rows[n].key, sep);
        while ((rc = block_iter_next(&rows, &row)) == 0)
            last = m->rows[n++].key;
        assert_int_equal(rc, SHALE_END);
        block_iter_fini(&rows);
        block_unref(b);
    }
    assert_int_equal(n, m->n);
    table_index_unref(index);
    return n_own;
}

static void any_range_and_key_beside_large_blocks(void **state)
{
    struct sst_format format = { .block_size = 512, .min_filter_keys = 1, .filter_bits_per_key = 10 };
    struct sst_fixture f;
    struct rng rng;
    unsigned n_own = 0;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &format, 64 << 20);
    for (int round = 0; round < 12; round++) {
        struct model m = { 0 };
        struct sst_handle *h;

        model_random(&m, &rng, 2 + rng_below(&rng, 40), 1 + rng_below(&rng, 4), 200);
        enlarge(&m, &rng);
        h = fixture_write(&f, &m, round % 2);
        n_own += check_separators(&f, h, &m);
        look_up_all(&f, h, &m);
        for (int walk = 0; walk < 60; walk++)
            walk_once(&f, h, &m, &rng);
        sst_handle_unref(h);
        model_fini(&m);
    }
    assert_true(n_own > 0);
    fixture_fini(&f);
}

static void any_range_in_blocks_of_version_1(void **state)
{
    (void)state;
    random_walks(SHALE_CODEC_NONE, 100, true, 0);
    random_walks(SHALE_CODEC_SNAPPY, 400, true, 1 << 20);
}

static void fill_numbered(struct model *m, unsigned n, size_t value_len)
{
    char key[16];
    uint8_t *value = mem_zalloc(value_len);

    for (unsigned i = 0; i < n; i++) {
        struct shale_row row = { .seq = i + 1, .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };

        snprintf(key, sizeof(key), "key-%05u", i);
        row.key = slice_str(key);
        row.value = slice_of(value, value_len);
        model_add(m, row);
    }
    free(value);
}

static unsigned ranges_read(struct sst_fixture *f)
{
    unsigned n = store_fault_count(f->store, FAULT_RANGE);

    store_fault_reset_counts(f->store);
    return n;
}

static void nothing_is_read_before_it_is_needed(void **state)
{
    struct key_range all = { 0 }, outside = { .from_kind = KEY_INCLUDED, .from = slice_str("z") };
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_view view = { 0 };
    struct shale_row row;
    struct iter *it;

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    fill_numbered(&m, 300, 30);
    view.sst = fixture_write(&f, &m, false);
    store_fault_reset_counts(f.store);

    it = open_iter(&f, &view, &outside, ITER_ASC, 0);
    assert_int_equal(iter_next(it, &row), SHALE_END);
    iter_close(it);
    it = open_iter(&f, &view, &all, ITER_ASC, 0);
    assert_int_equal(iter_seek(it, slice_str("key-00200")), 0);
    assert_int_equal(ranges_read(&f), 0);
    assert_int_equal(iter_next(it, &row), 0);
    assert_true(slice_eq(row.key, slice_str("key-00200")));
    assert_int_equal(ranges_read(&f), 2); /* index and one block */
    iter_close(it);

    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

static void read_ahead_reads_many_blocks_at_once(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_view view = { 0 };
    struct key_range all = { 0 };
    unsigned one_by_one;

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    fill_numbered(&m, 300, 30);
    view.sst = fixture_write(&f, &m, false);
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct expect e = expect_new(&m, &all, ways[i].order);
        struct iter *it;

        for (int pass = 0; pass < 2; pass++) {
            ranges_read(&f);
            e.pos = 0;
            it = open_way(&f, &view, &all, ways[i], pass == 0 ? 0 : 1 << 20);
            while (e.pos < e.n)
                expect_next(&e, it);
            expect_next(&e, it);
            iter_close(it);
            if (pass == 0)
                one_by_one = ranges_read(&f);
            else
                assert_int_equal(ranges_read(&f), 2);
        }
        assert_in_range(one_by_one, 80, 300); /* descending no block is read twice either */
        free(e.rows);
    }
    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

static void a_point_range_asks_the_filter_first(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_view view = { 0 };
    unsigned blocks = 0;
    char key[16];

    (void)state;
    fixture_init(&f, &small_blocks, 1 << 20);
    fill_numbered(&m, 300, 30);
    view.sst = fixture_write(&f, &m, false);
    for (unsigned i = 0; i < 299; i++) {
        struct shale_row row;
        struct key_range r;
        struct iter *it;

        snprintf(key, sizeof(key), "key-%05u", i);
        r = key_range_point(slice_str(key));
        it = open_iter(&f, &view, &r, ITER_ASC, 0);
        assert_int_equal(iter_next(it, &row), 0);
        assert_int_equal(row.seq, i + 1);
        assert_int_equal(iter_next(it, &row), SHALE_END);
        iter_close(it);
        snprintf(key, sizeof(key), "key-%05u+", i);
        r = key_range_point(slice_str(key));
        ranges_read(&f);
        it = open_iter(&f, &view, &r, ITER_ASC, 0);
        assert_int_equal(iter_next(it, &row), SHALE_END);
        iter_close(it);
        blocks += ranges_read(&f);
    }
    assert_in_range(blocks, 0, 30); /* one in a hundred lies; index and filter stay in the cache though blocks do not */
    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

/* The n-th read fails, for each n; then the iterator repeats the error. */
static void each_failing_read_ends_it(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_view view = { 0 };
    struct key_range all = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    model_random(&m, &rng, 200, 2, 20);
    view.sst = fixture_write(&f, &m, false);
    for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
        for (unsigned n = 1;; n++) {
            struct fault_rule rule = { .cls = FAULT_RANGE, .action = FAULT_FAIL, .nth = n };
            struct iter *it = open_way(&f, &view, &all, ways[way], 300);
            unsigned id = store_fault_add(f.store, &rule);
            struct shale_row row;
            int rc;

            do {
                rc = iter_next(it, &row);
            } while (rc == 0);
            if (store_fault_hits(f.store, id) == 0) {
                assert_int_equal(rc, SHALE_END);
                iter_close(it);
                break;
            }
            assert_int_equal(rc, SHALE_ETRANSIENT);
            assert_non_null(strstr(shale_errmsg(), "db/compacted/"));
            assert_int_equal(iter_next(it, &row), SHALE_ETRANSIENT);
            assert_int_equal(iter_seek(it, slice_str("b")), SHALE_ETRANSIENT);
            iter_close(it);
            store_fault_clear(f.store);
        }
        store_fault_clear(f.store);
    }
    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

static int walk_all(struct sst_fixture *f, const struct sst_view *view, struct way way, const struct model *m)
{
    struct key_range all = { 0 };
    struct sst_iter_options opt = { .order = way.order, .once = way.once, .fill_cache = true, .read_ahead_bytes = 300 };
    struct iter *it = NULL;
    struct shale_row row;
    size_t n = 0;
    int rc = sst_iter_new(&f->ts, view, &all, &opt, &it);

    if (rc < 0)
        return rc;
    while ((rc = iter_next(it, &row)) == 0)
        if (++n == m->n / 2 && (rc = iter_seek(it, slice_str("b"))) != 0)
            break;
    iter_close(it);
    return rc;
}

static void each_failing_allocation_is_told(void **state)
{
    struct sst_format format = small_blocks;
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_view view = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    format.codec = SHALE_CODEC_LZ4;
    fixture_init(&f, &format, 4000);
    model_random(&m, &rng, 100, 2, 20);
    view.sst = fixture_write(&f, &m, false);
    for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
        for (unsigned n = 1;; n++) {
            int rc;

            heap_fault_after(n);
            rc = walk_all(&f, &view, ways[way], &m);
            if (!heap_fault_off()) {
                assert_int_equal(rc, SHALE_END);
                break;
            }
            if (rc != SHALE_END) /* the cache went without */
                assert_int_equal(rc, -ENOMEM);
        }
    }
    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_range_and_seek_in_any_order),
        cmocka_unit_test(any_range_and_key_beside_large_blocks),
        cmocka_unit_test(any_range_in_blocks_of_version_1),
        cmocka_unit_test(nothing_is_read_before_it_is_needed),
        cmocka_unit_test(read_ahead_reads_many_blocks_at_once),
        cmocka_unit_test(a_point_range_asks_the_filter_first),
        cmocka_unit_test(each_failing_read_ends_it),
        cmocka_unit_test(each_failing_allocation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
