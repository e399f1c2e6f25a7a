/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32.h"
#include "lib/heap_fault.h"
#include "lib/sst_fixture.h"
#include "sst/sst_lookup.h"

#include <errno.h>

/* The versions of a key that a look-up has to tell, one after the other. */
struct expect {
    const struct model *m;
    size_t at, end; /* rows of the model */
    size_t stop;    /* how many it takes; then it returns 7 */
};

static int expect_row(void *arg, const struct shale_row *row)
{
    struct expect *e = arg;

    assert_true(e->at < e->end);
    assert_true(same_row(row, &e->m->rows[e->at]));
    e->at++;
    return --e->stop ? 0 : 7;
}

static struct expect expect_key(const struct model *m, struct shale_slice key, size_t stop)
{
    struct expect e = { .m = m, .stop = stop };

    while (e.at < m->n && slice_cmp(m->rows[e.at].key, key) < 0)
        e.at++;
    for (e.end = e.at; e.end < m->n && slice_eq(m->rows[e.end].key, key); e.end++)
        ;
    return e;
}

static struct shale_slice some_key(const struct model *m, struct rng *rng, uint8_t *buf)
{
    size_t len = 1 + rng_below(rng, 6);

    if (rng_below(rng, 2))
        return m->rows[rng_below(rng, m->n)].key;
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)("ab\0\xffz"[rng_below(rng, 5)]);
    return slice_of(buf, len);
}

static void check_key(struct sst_lookup *l, const struct sst_view *view, const struct model *m, struct shale_slice key,
                      size_t stop)
{
    struct expect e = expect_key(m, key, stop);
    bool stops = stop && stop <= e.end - e.at;
    size_t want = stops ? e.at + stop : e.end;

    assert_int_equal(sst_lookup_in(l, view, expect_row, &e), stops ? 7 : 0);
    assert_int_equal(e.at, want);
}

static void check_model(struct sst_fixture *f, const struct sst_view *view, const struct model *m, struct rng *rng)
{
    uint8_t buf[8];

    for (int i = 0; i < 300; i++) {
        struct shale_slice key = some_key(m, rng, buf);
        struct sst_lookup l;

        sst_lookup_init(&l, &f->ts, key, rng_below(rng, 2));
        check_key(&l, view, m, key, rng_below(rng, 3));
        check_key(&l, view, m, key, 0); /* what it keeps from one to the next does no harm */
        sst_lookup_fini(&l);
    }
}

/* Small blocks and few keys, so that versions go over several of them; with and without cache and filter. */
static void all_versions_of_any_key_are_told(void **state)
{
    uint64_t rounds = random_env(40).n;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    for (uint64_t i = 0; i < rounds; i++) {
        struct sst_format format = small_blocks;
        struct sst_fixture f;
        struct model m = { 0 };
        struct sst_view view = { 0 };

        format.min_filter_keys = rng_below(&rng, 2) ? 1 : UINT32_MAX;
        format.codec = rng_below(&rng, 2) ? SHALE_CODEC_LZ4 : SHALE_CODEC_NONE;
        fixture_init(&f, &format, rng_below(&rng, 2) ? 4000 : 0);
        model_random(&m, &rng, 1 + rng_below(&rng, 300), 1 + rng_below(&rng, 5), 40);
        view.sst = rng_below(&rng, 3) ? fixture_write(&f, &m, false) : fixture_write_v1(&f, &m);
        check_model(&f, &view, &m, &rng);
        sst_handle_unref(view.sst);
        model_fini(&m);
        fixture_fini(&f);
    }
}

static int any_row(void *arg, const struct shale_row *row)
{
    (void)arg, (void)row;
    return 7;
}

static int look_up(struct sst_fixture *f, const struct sst_view *view, const char *key)
{
    struct sst_lookup l;
    int rc;

    sst_lookup_init(&l, &f->ts, slice_str(key), true);
    rc = sst_lookup_in(&l, view, any_row, NULL);
    sst_lookup_fini(&l);
    return rc;
}

/* A key that the view hides costs nothing, one that the filter denies costs the filter. */
static void no_more_is_read_than_needed(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_view view = { 0 };

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    for (uint64_t i = 0; i < 200; i++) {
        char key[8];

        snprintf(key, sizeof(key), "k%03u", (unsigned)i);
        model_add(&m, (struct shale_row){ .key = slice_str(key), .seq = i + 1, .create_ts = SHALE_NO_TS,
                                          .expire_ts = SHALE_NO_TS, .kind = SHALE_PUT });
    }
    model_sort(&m);
    view.sst = fixture_write(&f, &m, false);
    store_fault_reset_counts(f.store);
    assert_int_equal(look_up(&f, &view, "a"), 0);
    assert_int_equal(look_up(&f, &view, "z"), 0);
    view.has_range = true;
    view.end.kind = KEY_EXCLUDED;
    assert_int_equal(buf_set(&view.end.key, slice_str("k100")), 0);
    assert_int_equal(look_up(&f, &view, "k100"), 0);
    assert_int_equal(store_fault_count(f.store, FAULT_RANGE), 0);
    assert_int_equal(look_up(&f, &view, "k0500"), 0);
    assert_int_equal(store_fault_count(f.store, FAULT_RANGE), 1);
    assert_int_equal(look_up(&f, &view, "k050"), 7);
    assert_int_equal(store_fault_count(f.store, FAULT_RANGE), 4);
    shale_buf_fini(&view.end.key);
    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

struct small_sst {
    struct sst_fixture f;
    struct model m;
    struct sst_view view;
};

static void small_sst_init(struct small_sst *s, size_t cache_bytes)
{
    struct rng rng;

    *s = (struct small_sst){ 0 };
    seed_of_test(&rng);
    fixture_init(&s->f, &small_blocks, cache_bytes);
    for (uint64_t i = 0; i < 40; i++) /* versions over several blocks */
        model_add(&s->m, (struct shale_row){ .key = slice_str(i < 4 ? "a" : "b"), .value = slice_str("some value"),
                                             .seq = 100 - i, .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS,
                                             .kind = SHALE_MERGE });
    model_sort(&s->m);
    s->view.sst = fixture_write(&s->f, &s->m, false);
}

static void small_sst_fini(struct small_sst *s)
{
    sst_handle_unref(s->view.sst);
    model_fini(&s->m);
    fixture_fini(&s->f);
}

static int count_row(void *arg, const struct shale_row *row)
{
    (void)row;
    ++*(size_t *)arg;
    return 0;
}

static int count_versions(struct small_sst *s, size_t *n)
{
    struct sst_lookup l;
    int rc;

    *n = 0;
    sst_lookup_init(&l, &s->f.ts, slice_str("b"), false);
    rc = sst_lookup_in(&l, &s->view, count_row, n);
    sst_lookup_fini(&l);
    return rc;
}

static void each_failing_read_is_told(void **state)
{
    struct small_sst s;
    bool failed = true;

    (void)state;
    small_sst_init(&s, 0);
    for (unsigned nth = 1; failed; nth++) {
        struct fault_rule rule = { .cls = FAULT_RANGE, .nth = nth, .rc = -EIO };
        unsigned r = store_fault_add(s.f.store, &rule);
        size_t n;
        int rc = count_versions(&s, &n);

        failed = store_fault_hits(s.f.store, r) > 0;
        assert_int_equal(rc, failed ? -EIO : 0);
        assert_true(failed || n == 36);
        assert_true(failed || nth > 3); /* filter, index, blocks */
        store_fault_clear(s.f.store);
    }
    small_sst_fini(&s);
}

static void each_failing_allocation_is_told(void **state)
{
    struct small_sst s;

    (void)state;
    small_sst_init(&s, 0);
    for (unsigned nth = 1;; nth++) {
        size_t n;
        int rc;

        heap_fault_after(nth);
        rc = count_versions(&s, &n);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            assert_int_equal(n, 36);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
    small_sst_fini(&s);
}

/* Checksums hold, so that the rows themselves are looked at; the sentence names the block. */
static void a_malformed_block_is_named(void **state)
{
    struct sst_format format = small_blocks;
    struct sst_fixture f;
    struct shale_buf object = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    struct model m = { 0 };
    struct sst_view view = { 0 };
    size_t data_len;

    (void)state;
    format.block_size = 4096; /* one block */
    fixture_init(&f, &format, 0);
    model_add(&m, (struct shale_row){ .key = slice_str("key"), .seq = 1, .create_ts = SHALE_NO_TS,
                                      .expire_ts = SHALE_NO_TS, .kind = SHALE_PUT });
    view.sst = fixture_write(&f, &m, false);
    assert_int_equal(table_store_sst_name(&f.ts, view.sst->id, &name), 0);
    object_bytes(&f, (char *)name.data, &object);
    data_len = (size_t)view.sst->info.filter_offset - SECTION_CRC_LEN;
    object.data[2] = 0x7f; /* the value passes the end */
    put_u32be(object.data + data_len, crc32_of(slice_of(object.data, data_len)));
    assert_int_equal(shale_store_delete(f.mem, (char *)name.data), 0);
    assert_int_equal(shale_store_put(f.mem, (char *)name.data, slice_of_buf(&object), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(look_up(&f, &view, "key"), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "block 0 at 0"));
    shale_buf_fini(&object);
    shale_buf_fini(&name);
    sst_handle_unref(view.sst);
    model_fini(&m);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_versions_of_any_key_are_told),
        cmocka_unit_test(no_more_is_read_than_needed),
        cmocka_unit_test(each_failing_read_is_told),
        cmocka_unit_test(each_failing_allocation_is_told),
        cmocka_unit_test(a_malformed_block_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
