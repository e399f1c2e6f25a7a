/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/heap_fault.h"
#include "lib/sst_fixture.h"
#include "base/pool.h"
#include "wal/wal_replay.h"

#include <errno.h>
#include <inttypes.h>

static void put_wal(struct sst_fixture *f, uint64_t id, struct shale_slice object)
{
    struct shale_buf name = SHALE_BUF_INIT;

    assert_int_equal(table_store_wal_name(&f->ts, id, &name), 0);
    assert_int_equal(shale_store_put(f->mem, (char *)name.data, object, SHALE_PUT_OVERWRITE), 0);
    shale_buf_fini(&name);
}

static void put_fence(struct sst_fixture *f, uint64_t id)
{
    struct shale_buf object = SHALE_BUF_INIT;

    assert_int_equal(wal_fence_encode(&f->ts.format, &object), 0);
    put_wal(f, id, slice_of_buf(&object));
    shale_buf_fini(&object);
}

/* Rows in order of arrival: keys go up and down, sequence numbers up. */
static void put_rows(struct sst_fixture *f, uint64_t id, const struct model *m, size_t first, size_t n)
{
    const struct shale_row **rows = mem_calloc(n, sizeof(*rows));
    struct shale_buf object = SHALE_BUF_INIT;

    for (size_t i = 0; i < n; i++)
        rows[i] = &m->rows[first + i];
    assert_int_equal(wal_sst_encode(&f->ts.format, rows, n, &object), 0);
    put_wal(f, id, slice_of_buf(&object));
    shale_buf_fini(&object);
    free(rows);
}

static int by_seq(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;

    return (x->seq > y->seq) - (x->seq < y->seq);
}

static void arrival_order(struct model *m)
{
    qsort(m->rows, m->n, sizeof(*m->rows), by_seq);
}

struct seen {
    const struct model *m;
    size_t n;
    uint64_t first, last, next_end; /* ids expected */
    size_t stop_row;                /* stop with 42 at this row; 0: do not */
    uint64_t stop_end;
};

static int see_row(void *arg, const struct shale_row *row)
{
    struct seen *s = arg;

    assert_true(s->n < s->m->n);
    assert_true(same_row(row, &s->m->rows[s->n]));
    s->n++;
    return s->n == s->stop_row ? 42 : 0;
}

static int see_end(void *arg, uint64_t id)
{
    struct seen *s = arg;

    assert_int_equal(id, s->next_end);
    s->next_end++;
    return id == s->stop_end ? 43 : 0;
}

static int replay_known(struct sst_fixture *f, uint64_t first, uint64_t last, uint64_t largest, struct seen *s)
{
    struct wal_replay_fns fns = { .row = see_row, .end = see_end, .arg = s, .largest = largest };

    s->n = 0;
    s->next_end = first;
    return wal_replay(&f->ts, first, last, &fns);
}

static int replay(struct sst_fixture *f, uint64_t first, uint64_t last, struct seen *s)
{
    return replay_known(f, first, last, 0, s);
}

/* Objects 5.. of 10 rows each; ends with a fence. Returns the last id. */
static uint64_t fill(struct sst_fixture *f, struct model *m, struct rng *rng, size_t n_objects)
{
    model_random(m, rng, 10 * n_objects + 50, 10, 100);
    arrival_order(m);
    while (m->n > 10 * n_objects) { /* equal rows were dropped, and how many differs */
        m->n--;
        free((void *)(uintptr_t)m->rows[m->n].key.data);
        free((void *)(uintptr_t)m->rows[m->n].value.data);
    }
    for (size_t i = 0; i < n_objects; i++)
        put_rows(f, 5 + i, m, 10 * i, 10);
    put_fence(f, 5 + n_objects);
    return 5 + n_objects;
}

static void rows_come_in_order_of_arrival(void **state)
{
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    for (int codec = 0; codec <= SHALE_CODEC_ZSTD; codec++) {
        struct sst_format format = small_blocks;
        struct sst_fixture f;
        struct model m = { 0 };
        struct seen s = { .m = &m };
        uint64_t last;

        format.codec = (enum shale_codec)codec;
        fixture_init(&f, &format, 0);
        last = fill(&f, &m, &rng, codec == 0 ? 100 : 1 + rng_below(&rng, 20));
        assert_int_equal(replay(&f, 5, last, &s), 0);
        assert_int_equal(s.n, m.n);
        assert_int_equal(s.next_end, last + 1);
        assert_int_equal(replay(&f, last, last, &s), 0); /* the fence alone */
        assert_int_equal(s.n, 0);
        assert_int_equal(replay(&f, last + 1, last, &s), 0); /* nothing */
        model_fini(&m);
        fixture_fini(&f);
    }
}

static void objects_of_other_versions_are_read(void **state)
{
    struct shale_buf name = SHALE_BUF_INIT, object = SHALE_BUF_INIT;
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct sst_handle *h;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    model_random(&m, &rng, 100, 10, 20);
    h = fixture_write_v1(&f, &m); /* before 0.11: sorted, blocks of version 1 */
    assert_int_equal(table_store_sst_name(&f.ts, h->id, &name), 0);
    object_bytes(&f, (char *)name.data, &object);
    put_wal(&f, 1, slice_of(NULL, 0)); /* since 0.13.1: a fence of no bytes */
    put_wal(&f, 2, slice_of_buf(&object));
    put_wal(&f, 3, slice_of(NULL, 0));
    assert_int_equal(replay(&f, 1, 3, &s), 0);
    assert_int_equal(s.n, m.n);
    assert_int_equal(s.next_end, 4);
    sst_handle_unref(h);
    assert_int_equal(table_open_wal(&f.ts, 1, &h), 0);
    sst_handle_unref(h);
    assert_int_equal(table_open_wal(&f.ts, 2, &h), 0);
    assert_int_equal(h->version, 1);
    sst_handle_unref(h);
    assert_int_equal(table_open_wal(&f.ts, 4, &h), -ENOENT);
    shale_buf_fini(&name);
    shale_buf_fini(&object);
    model_fini(&m);
    fixture_fini(&f);
}

static void a_wal_object_can_be_read_in_parts(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct sst_handle *h = NULL;
    struct table_index *x = NULL;
    struct block *blocks[2];
    struct sst_source src;
    struct rng rng;
    uint8_t seq[8];

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 1 << 20);
    (void)fill(&f, &m, &rng, 3);
    assert_int_equal(table_open_wal(&f.ts, 6, &h), 0);
    assert_int_equal(h->info.type, SST_WAL);
    assert_false(h->info.has_last);
    assert_int_equal(h->info.filter_offset, h->info.index_offset);
    put_u64be(seq, m.rows[10].seq);
    assert_true(slice_eq(slice_of_buf(&h->info.first), slice_of(seq, 8)));
    src = (struct sst_source){ .sst = h, .is_wal = true, .wal_id = 6 };
    assert_int_equal(table_index_read(&f.ts, &src, &x), 0);
    assert_true(slice_eq(x->x.first_keys[0], slice_of(seq, 8)));
    assert_int_equal(table_blocks_read(&f.ts, &src, x, 0, 2, true, blocks), 0);
    block_unref(blocks[0]);
    block_unref(blocks[1]);
    table_index_unref(x);
    sst_handle_unref(h);
    model_fini(&m);
    fixture_fini(&f);
}

static void encoding_adds_to_what_is_there_or_changes_nothing(void **state)
{
    static uint8_t long_key[SHALE_KEY_MAX + 1];
    struct shale_row good = { .key = slice_str("k"), .seq = 1, .create_ts = 1, .expire_ts = SHALE_NO_TS }, bad = good;
    const struct shale_row *rows[] = { &good, &bad };
    struct shale_buf out = SHALE_BUF_INIT;
    struct seen s = { 0 };
    struct model m = { 0 };

    (void)state;
    bad.key = slice_of(memset(long_key, 'k', sizeof(long_key)), sizeof(long_key));
    assert_int_equal(shale_buf_append(&out, "abc", 3), 0);
    assert_int_equal(wal_sst_encode(&small_blocks, rows, 0, &out), -EINVAL);
    assert_int_equal(wal_sst_encode(&small_blocks, rows, 2, &out), -EINVAL);
    assert_int_equal(out.len, 3);
    assert_int_equal(wal_sst_encode(&small_blocks, rows, 1, &out), 0);
    model_add(&m, good);
    s.m = &m;
    assert_int_equal(sst_scan_object(slice_from(slice_of_buf(&out), 3), "x", NULL, see_row, &s), 0);
    assert_int_equal(s.n, 1);
    shale_buf_fini(&out);
    model_fini(&m);
}

static void a_fence_is_what_slatedb_writes(void **state)
{
    /* crate 0.12.1, storage format appendix B.2 */
    static const uint8_t want[] =
        "\x0c\x00\x00\x00\x00\x00\x06\x00\x08\x00\x04\x00\x06\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
        "\x17\x7e\x6f\x0a"
        "\x08\x00\x00\x00\x04\x00\x04\x00\x04\x00\x00\x00\xed\x60\x6b\x2a";
    struct sst_format format = { .block_size = 4096, .min_filter_keys = 0, .filter_bits_per_key = 10 };
    struct shale_buf out = SHALE_BUF_INIT;
    struct sst_handle *h = NULL;
    struct sst_fixture f;

    (void)state;
    fixture_init(&f, &format, 0);
    assert_int_equal(wal_fence_encode(&format, &out), 0);
    assert_memory_equal(out.data, want, sizeof(want) - 1);
    put_wal(&f, 1, slice_of_buf(&out));
    assert_int_equal(table_open_wal(&f.ts, 1, &h), 0);
    assert_int_equal(h->info.type, SST_COMPACTED);
    assert_false(h->info.has_first || h->info.has_last);
    assert_int_equal(h->info.index_len, 28);
    assert_int_equal(h->info.stats_offset, 28);
    assert_int_equal(h->info.stats_len, 16);
    assert_int_equal(h->info.filter_len, 0);
    sst_handle_unref(h);
    shale_buf_fini(&out);
    fixture_fini(&f);
}

static void a_hole_is_corruption_and_named(void **state)
{
    struct shale_buf name = SHALE_BUF_INIT;
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct rng rng;
    uint64_t last;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    last = fill(&f, &m, &rng, 20);
    assert_int_equal(table_store_wal_name(&f.ts, 12, &name), 0);
    assert_int_equal(shale_store_delete(f.mem, (char *)name.data), 0);
    assert_int_equal(replay(&f, 5, last, &s), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "wal/00000000000000000012.sst"));
    assert_int_equal(s.n, 70); /* what came before was told */
    assert_int_equal(s.next_end, 12);
    assert_int_equal(replay(&f, 5, UINT64_MAX - 1, &s), SHALE_ECORRUPT); /* and not for ever */
    put_wal(&f, 12, slice_str("no SST"));
    assert_int_equal(replay(&f, 5, last, &s), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "wal/00000000000000000012.sst"));
    shale_buf_fini(&name);
    model_fini(&m);
    fixture_fini(&f);
}

static void each_failing_read_is_told_with_its_reason(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct rng rng;
    uint64_t last;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    last = fill(&f, &m, &rng, 20);
    for (uint64_t id = 5; id <= last; id++) {
        struct fault_rule rule = { .cls = FAULT_GET, .action = id % 2 ? FAULT_FAIL : FAULT_SHORT,
                                   .times = FAULT_ALWAYS, .keep = 9 };
        char match[40];
        int rc;

        snprintf(match, sizeof(match), "wal/%020" PRIu64, id);
        rule.match = match;
        (void)store_fault_add(f.store, &rule);
        rc = replay(&f, 5, last, &s);
        assert_int_equal(rc, id % 2 ? SHALE_ETRANSIENT : SHALE_ECORRUPT);
        assert_int_equal(s.next_end, id);
        assert_non_null(strstr(shale_errmsg(), match));
        store_fault_clear(f.store);
    }
    model_fini(&m);
    fixture_fini(&f);
}

static void it_stops_when_told(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct rng rng;
    uint64_t last;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    last = fill(&f, &m, &rng, 20);
    s.stop_row = 35;
    assert_int_equal(replay(&f, 5, last, &s), 42);
    assert_int_equal(s.n, 35);
    assert_int_equal(s.next_end, 8);
    s.stop_row = 0;
    s.stop_end = 9;
    assert_int_equal(replay(&f, 5, last, &s), 43);
    assert_int_equal(s.n, 50);
    model_fini(&m);
    fixture_fini(&f);
}

/* One object, which is read by the caller's thread. */
static int make_and_replay(struct sst_fixture *f, const struct model *m, struct shale_buf *object, struct seen *s)
{
    struct shale_row const *rows[8];
    uint64_t last;
    int rc;

    for (size_t i = 0; i < 8; i++)
        rows[i] = &m->rows[i];
    object->len = 0;
    rc = wal_fence_encode(&f->ts.format, object);
    if (rc < 0)
        assert_int_equal(object->len, 0);
    if (rc == 0)
        rc = wal_sst_encode(&f->ts.format, rows, 8, object);
    if (rc == 0)
        rc = wal_find_last(&f->ts, 1, &last, NULL);
    return rc == 0 ? replay(f, 5, 5, s) : rc;
}

static void each_failing_allocation_is_told(void **state)
{
    struct sst_format format = small_blocks;
    struct shale_buf object = SHALE_BUF_INIT;
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    format.codec = SHALE_CODEC_LZ4;
    fixture_init(&f, &format, 0);
    (void)fill(&f, &m, &rng, 1);
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = make_and_replay(&f, &m, &object, &s);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
    shale_buf_fini(&object);
    model_fini(&m);
    fixture_fini(&f);
}

/* Threads take part: which allocation is the n-th differs, that one failed is told all the same. */
static void each_failing_allocation_of_any_thread_is_told(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    uint64_t last, rounds = 0;
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    last = fill(&f, &m, &rng, 4);
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = replay(&f, 5, last, &s);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            assert_int_equal(s.n, m.n);
            break;
        }
        rounds += rc == -ENOMEM;
        if (rc != -ENOMEM)
            assert_int_equal(rc, 0); /* the failure hit what can be done without */
    }
    assert_true(rounds > 10);
    model_fini(&m);
    fixture_fini(&f);
}

struct background {
    struct sst_fixture *f;
    struct seen *s;
    uint64_t last, largest;
    int rc;
    struct worker w;
};

static void background_run(void *arg)
{
    struct background *b = arg;

    b->rc = replay_known(b->f, 5, b->last, b->largest, b->s);
}

/* At the end of a log that somebody writes: what is missing is not there yet, wherever it is missed, and the rest counts. */
static void a_tail_ends_where_an_object_is_missing(void **state)
{
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    const struct wal_replay_fns fns = { .row = see_row, .end = see_end, .arg = &s, .tail = true };
    struct shale_buf name = SHALE_BUF_INIT;
    struct rng rng;
    uint64_t last;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    last = fill(&f, &m, &rng, 30);
    for (uint64_t missing = last + 3; missing >= 5; missing -= missing > last ? 3 : 5) {
        if (missing <= last) {
            assert_int_equal(table_store_wal_name(&f.ts, missing, &name), 0);
            assert_int_equal(shale_store_delete(f.mem, (char *)name.data), 0);
        }
        s.n = 0;
        s.next_end = 5;
        assert_int_equal(wal_replay(&f.ts, 5, last + 5, &fns), 0);
        assert_int_equal(s.next_end, missing <= last ? missing : last + 1);
    }
    shale_buf_fini(&name);
    model_fini(&m);
    fixture_fini(&f);
}

/* Sizes are known from the listing: all that may be asked for at once is, before the first object has come. */
static void a_listing_tells_how_many_fit(void **state)
{
    const struct fault_rule gate = { .cls = FAULT_GET, .action = FAULT_GATE, .times = FAULT_ALWAYS };
    struct sst_fixture f;
    struct model m = { 0 };
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    (void)fill(&f, &m, &rng, 60);
    for (int known = 0; known < 3; known++) {
        struct seen s = { .m = &m, .next_end = 5 };
        struct background b = { .f = &f, .s = &s };
        unsigned rule = store_fault_add(f.store, &gate), want[] = { 2, 32, 3 };

        assert_int_equal(wal_find_last(&f.ts, 5, &b.last, &b.largest), 0);
        assert_true(b.largest > 100 && b.largest < 100000);
        if (known != 1)
            b.largest = known ? (uint64_t)20 << 20 : 0; /* three of 20 MiB fit */
        store_fault_reset_counts(f.store);
        assert_int_equal(worker_start(&b.w, "replay", background_run, &b), 0);
        store_fault_wait(f.store, rule, want[known]);
        assert_int_equal(store_fault_count(f.store, FAULT_GET), want[known]);
        store_fault_clear(f.store);
        worker_join(&b.w);
        assert_int_equal(b.rc, 0);
        assert_int_equal(s.n, m.n);
    }
    model_fini(&m);
    fixture_fini(&f);
}

/* While object 10 does not come, 31 more are asked for, 11 to 41, and no other. */
static void several_are_read_at_once_but_not_all(void **state)
{
    static const struct {
        const char *match;
        unsigned n;
    } tens[] = {
        { "wal/0000000000000000001", 9 },
        { "wal/0000000000000000002", 10 },
        { "wal/0000000000000000003", 10 },
        { "wal/0000000000000000004", 2 },
    };
    struct fault_rule gate = { .cls = FAULT_GET, .action = FAULT_GATE, .match = "wal/00000000000000000010" };
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct background b = { .f = &f, .s = &s };
    unsigned gate_id, later_id[ARRAY_SIZE(tens)];
    struct rng rng;

    (void)state;
    seed_of_test(&rng);
    fixture_init(&f, &small_blocks, 0);
    b.last = fill(&f, &m, &rng, 60);
    gate_id = store_fault_add(f.store, &gate);
    for (size_t i = 0; i < ARRAY_SIZE(tens); i++) {
        const struct fault_rule later = { .cls = FAULT_GET, .action = FAULT_GATE_DONE, .match = tens[i].match,
                                          .times = FAULT_ALWAYS };

        later_id[i] = store_fault_add(f.store, &later);
    }
    assert_int_equal(worker_start(&b.w, "replay", background_run, &b), 0);
    store_fault_wait(f.store, gate_id, 1);
    for (size_t i = 0; i < ARRAY_SIZE(tens); i++)
        store_fault_wait(f.store, later_id[i], tens[i].n);
    assert_int_equal(store_fault_count(f.store, FAULT_GET), 37); /* 5 to 41 */
    store_fault_release(f.store, gate_id);
    for (size_t i = 0; i < ARRAY_SIZE(tens); i++)
        store_fault_release(f.store, later_id[i]);
    worker_join(&b.w);
    assert_int_equal(b.rc, 0);
    assert_int_equal(s.n, m.n);
    model_fini(&m);
    fixture_fini(&f);
}

static void large_objects_are_not_gathered(void **state)
{
    static uint8_t value[20 << 20];
    struct fault_rule gate = { .cls = FAULT_GET, .action = FAULT_GATE, .match = "wal/00000000000000000008" };
    struct shale_row row = { .key = slice_str("k"), .seq = 1, .create_ts = 1, .expire_ts = SHALE_NO_TS };
    struct sst_fixture f;
    struct model m = { 0 };
    struct seen s = { .m = &m };
    struct background b = { .f = &f, .s = &s, .last = 14 };
    unsigned gate_id;

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    row.value = slice_of(value, sizeof(value));
    for (uint64_t id = 5; id <= 14; id++) {
        row.seq = id;
        model_add(&m, row);
        put_rows(&f, id, &m, m.n - 1, 1);
    }
    gate_id = store_fault_add(f.store, &gate);
    assert_int_equal(worker_start(&b.w, "replay", background_run, &b), 0);
    store_fault_wait(f.store, gate_id, 1);
    assert_in_range(store_fault_count(f.store, FAULT_GET), 4, 6); /* three of 20 MiB are within the bound */
    store_fault_release(f.store, gate_id);
    worker_join(&b.w);
    assert_int_equal(b.rc, 0);
    assert_int_equal(s.n, 10);
    model_fini(&m);
    fixture_fini(&f);
}

static void the_last_id_is_found_as_slatedb_finds_it(void **state)
{
    static const struct {
        uint64_t from, want;
    } cases[] = { { 0, 120 }, { 1, 120 }, { 9, 120 }, { 10, 120 }, { 120, 120 }, { 121, 0 }, { UINT64_MAX, 0 } };
    static const char *const others[] = { "db/wal/00000000000000000120.tmp", "db/wal/x00000000000000000200.sst",
                                          "db/wal2/00000000000000000300.sst" };
    struct sst_fixture f;
    uint64_t last = 77;

    (void)state;
    fixture_init(&f, &small_blocks, 0);
    assert_int_equal(wal_find_last(&f.ts, 0, &last, NULL), 0);
    assert_int_equal(last, 0);
    for (uint64_t id = 9; id <= 119; id++)
        put_wal(&f, id, slice_of(NULL, 0));
    /* the extension does not count; what is no number, or lies elsewhere, does not either */
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_int_equal(shale_store_put(f.mem, others[i], slice_str("x"), SHALE_PUT_IF_ABSENT), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(wal_find_last(&f.ts, cases[i].from, &last, NULL), 0);
        assert_int_equal(last, cases[i].want);
    }
    (void)store_fault_add(f.store, &(struct fault_rule){ .cls = FAULT_LIST, .action = FAULT_FAIL });
    last = 77;
    assert_int_equal(wal_find_last(&f.ts, 0, &last, NULL), SHALE_ETRANSIENT);
    assert_int_equal(last, 77);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_in_order_of_arrival),
        cmocka_unit_test(objects_of_other_versions_are_read),
        cmocka_unit_test(a_wal_object_can_be_read_in_parts),
        cmocka_unit_test(encoding_adds_to_what_is_there_or_changes_nothing),
        cmocka_unit_test(a_fence_is_what_slatedb_writes),
        cmocka_unit_test(a_hole_is_corruption_and_named),
        cmocka_unit_test(each_failing_read_is_told_with_its_reason),
        cmocka_unit_test(it_stops_when_told),
        cmocka_unit_test(each_failing_allocation_is_told),
        cmocka_unit_test(each_failing_allocation_of_any_thread_is_told),
        cmocka_unit_test(a_tail_ends_where_an_object_is_missing),
        cmocka_unit_test(several_are_read_at_once_but_not_all),
        cmocka_unit_test(a_listing_tells_how_many_fit),
        cmocka_unit_test(large_objects_are_not_gathered),
        cmocka_unit_test(the_last_id_is_found_as_slatedb_finds_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
