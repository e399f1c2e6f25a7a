/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/prom.h"

#include <shale/admin.h>
#include <shale/compact.h>
#include <shale/metrics.h>
#include <shale/reader.h>
#include <shale/transaction.h>

#include <pthread.h>
#include <stdio.h>

/*
 * Each metric moves as section 25 of the engine's behaviour says; the names are those of SlateDB 0.12.1. Labels are
 * written "k=v k=v" here.
 */

/* The metric, or the test fails. */
static struct shale_metric look(struct shale_metrics *m, const char *name, const char *labels)
{
    struct shale_metric_label l[SHALE_METRIC_LABELS_MAX];
    char text[200], full[100], *rest = text, *word;
    struct shale_metric v = { 0 };
    size_t n = 0;

    snprintf(text, sizeof(text), "%s", labels);
    snprintf(full, sizeof(full), "slatedb.%s", name);
    while ((word = strsep(&rest, " ")) != NULL && *word) {
        l[n].name = strsep(&word, "=");
        l[n++].value = word;
    }
    if (shale_metrics_get(m, full, l, n, &v) != 0)
        fail_msg("no metric %s %s", full, labels);
    return v;
}

static uint64_t count(struct shale_metrics *m, const char *name, const char *labels)
{
    return look(m, name, labels).count;
}

static int64_t gauge(struct shale_metrics *m, const char *name)
{
    return look(m, name, "").value;
}

static bool has(struct shale_metrics *m, const char *name, const struct shale_metric_label *l, size_t n)
{
    struct shale_metric v;

    return shale_metrics_get(m, name, l, n, &v) == 0;
}

static struct shale_metrics *of(struct db_fixture *f)
{
    return shale_db_metrics(f->db);
}

static void check_count_at(unsigned line, uint64_t want, struct shale_metrics *m, const char *name, const char *labels)
{
    uint64_t got = count(m, name, labels);

    if (got != want)
        fail_msg("line %u: %s %s is %llu, not %llu", line, name, labels, (unsigned long long)got,
                 (unsigned long long)want);
}

#define check_count(...) check_count_at(__LINE__, __VA_ARGS__)

static void calls_are_counted(void **state)
{
    struct db_fixture *f = *state;
    struct shale_snapshot *snap = NULL;
    struct shale_buf v = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_count(0, of(f), "db.request_count", "op=get");
    check_value(f->db, NULL, "a", "1");
    check_value(f->db, NULL, "none", NULL);
    check_count(2, of(f), "db.request_count", "op=get");
    check_err(-EINVAL, shale_db_get(f->db, slice_str(""), NULL, &v));
    check_count(3, of(f), "db.request_count", "op=get");
    check_scan(f->db, NULL, "a=1");
    check_count(1, of(f), "db.request_count", "op=scan");
    check_ok(shale_db_scan_prefix(f->db, slice_str("a"), NULL, &it));
    shale_iter_close(it);
    check_count(2, of(f), "db.request_count", "op=scan");
    check_ok(shale_db_snapshot(f->db, &snap));
    check_value(f->db, &(struct shale_read_options){ .snapshot = snap }, "a", "1");
    shale_snapshot_release(f->db, snap);
    check_count(4, of(f), "db.request_count", "op=get");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_count(2, of(f), "db.request_count", "op=flush"); /* R85 */
    shale_buf_fini(&v);
}

static void batches_and_their_operations_are_counted(void **state)
{
    struct db_fixture *f = *state;
    struct shale_batch *b = NULL;
    struct shale_txn *t = NULL;

    fixture_open(f);
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_put(b, slice_str("a"), slice_str("1"), SHALE_TTL_INIT));
    check_ok(shale_batch_put(b, slice_str("b"), slice_str("1"), SHALE_TTL_INIT));
    check_ok(shale_batch_delete(b, slice_str("c")));
    check_ok(shale_db_write(f->db, b, false, NULL));
    check_count(3, of(f), "db.write_ops", "");
    check_count(1, of(f), "db.write_batch_count", "");
    check_ok(put_text(f->db, "x", "1", false));
    check_ok(shale_txn_begin(f->db, SHALE_TXN_SNAPSHOT, &t));
    check_ok(shale_txn_put(t, slice_str("y"), slice_str("1"), SHALE_TTL_INIT));
    check_ok(shale_txn_commit(t, false, NULL));
    check_count(5, of(f), "db.write_ops", "");
    check_count(3, of(f), "db.write_batch_count", "");
    shale_batch_clear(b);
    check_err(-EINVAL, shale_db_write(f->db, b, false, NULL));
    check_count(5, of(f), "db.write_ops", "");
    shale_batch_free(b);
}

static void the_wal_buffer_is_measured(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    assert_true(gauge(of(f), "db.wal_buffer_estimated_bytes") == 0);
    check_ok(put_text(f->db, "a", "1", false));
    assert_true(gauge(of(f), "db.wal_buffer_estimated_bytes") > 0);
    assert_true(gauge(of(f), "db.total_mem_size_bytes") == gauge(of(f), "db.wal_buffer_estimated_bytes"));
    check_count(0, of(f), "db.wal_buffer_flushes", "");
    check_count(0, of(f), "db.wal_buffer_flush_requests", "");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_count(1, of(f), "db.wal_buffer_flushes", "");
    check_count(1, of(f), "db.wal_buffer_flush_requests", "");
    assert_true(gauge(of(f), "db.wal_buffer_estimated_bytes") == 0);
    assert_true(gauge(of(f), "db.total_mem_size_bytes") == 0);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL)); /* nothing to do */
    check_count(1, of(f), "db.wal_buffer_flushes", "");
    check_ok(put_text(f->db, "b", "1", true));
    check_count(2, of(f), "db.wal_buffer_flushes", "");
    check_count(2, of(f), "db.wal_buffer_flush_requests", "");
}

/* What the object in flight holds is in the buffer until it is in the store. */
static void an_object_in_flight_counts_as_buffered(void **state)
{
    struct db_fixture *f = *state;
    int64_t bytes;
    unsigned gate;

    f->opt.flush_interval_ms = 1;
    fixture_open(f);
    gate = store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/wal/" });
    check_ok(put_text(f->db, "a", "1", false));
    bytes = gauge(of(f), "db.wal_buffer_estimated_bytes");
    store_fault_wait(f->store, gate, 1);
    check_count(1, of(f), "db.wal_buffer_flush_requests", ""); /* by the time */
    check_ok(put_text(f->db, "b", "1", false));
    assert_true(gauge(of(f), "db.wal_buffer_estimated_bytes") == 2 * bytes);
    store_fault_release(f->store, gate);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    assert_true(gauge(of(f), "db.wal_buffer_estimated_bytes") == 0);
}

static void memtables_on_their_way_to_l0_are_counted(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    assert_true(gauge(of(f), "db.l0_sst_count") == 0);
    for (int i = 1; i <= 3; i++) {
        check_ok(put_text(f->db, "a", "1", true));
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
        check_count((uint64_t)i, of(f), "db.immutable_memtable_flushes", "");
        assert_true(gauge(of(f), "db.l0_sst_count") == i);
        check_count(db_status(f->db).l0_bytes, of(f), "db.l0_flush_bytes", "");
    }
    fixture_close(f);
    fixture_open(f); /* the gauge at once, counters of the new handle */
    assert_true(gauge(of(f), "db.l0_sst_count") == 3);
    check_count(0, of(f), "db.l0_flush_bytes", "");
}

struct writer {
    struct db_fixture *f;
    pthread_t thread;
};

static void *write_main(void *arg)
{
    struct writer *w = arg;

    check_ok(put_text(w->f->db, "b", "2", false));
    return NULL;
}

/*
 * test_apply_wal_memory_backpressure of SlateDB: one put is in memory, the WAL does not get away, the next one waits.
 */
static void a_writer_that_waits_for_room_counts(void **state)
{
    struct db_fixture *f = *state;
    struct writer w = { .f = f };
    unsigned gate;

    f->opt.max_unflushed_bytes = 1;
    f->opt.flush_interval_ms = 1;
    fixture_open(f);
    gate = store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/wal/" });
    check_count(0, of(f), "db.backpressure_count", "");
    check_ok(put_text(f->db, "a", "1", false));
    assert_true(gauge(of(f), "db.total_mem_size_bytes") > 0);
    assert_int_equal(pthread_create(&w.thread, NULL, write_main, &w), 0);
    while (count(of(f), "db.backpressure_count", "") == 0)
        sched_yield();
    check_count(1, of(f), "db.backpressure_count", "");
    store_fault_release(f->store, gate);
    assert_int_equal(pthread_join(w.thread, NULL), 0);
    check_value(f->db, NULL, "b", "2");
}

/* test_should_record_merge_operator_operands_*: each path on its own. */
static void operands_are_counted_by_path(void **state)
{
    struct db_fixture *f = *state;
    struct shale_batch *b = NULL;

    fixture_open(f);
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_merge(b, slice_str("k"), slice_str("a"), SHALE_TTL_INIT));
    check_ok(shale_batch_merge(b, slice_str("k"), slice_str("b"), SHALE_TTL_INIT));
    check_ok(shale_db_write(f->db, b, true, NULL));
    shale_batch_free(b);
    check_count(2, of(f), "merge_operator_operands", "path=flush"); /* a batch is folded as it is written */
    check_ok(merge_text(f->db, "k", "c", true));
    check_count(0, of(f), "merge_operator_operands", "path=read");
    check_value(f->db, NULL, "k", "abc");
    check_count(2, of(f), "merge_operator_operands", "path=read");
    check_scan(f->db, NULL, "k=abc");
    check_count(4, of(f), "merge_operator_operands", "path=read");
    check_count(2, of(f), "merge_operator_operands", "path=flush");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_count(4, of(f), "merge_operator_operands", "path=flush");
}

static int no_merge(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                    const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    (void)ctx, (void)key, (void)existing, (void)operands, (void)n, (void)out;
    return -EIO;
}

/* A call that fails has folded nothing. */
static void operands_of_a_failed_merge_do_not_count(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf v = SHALE_BUF_INIT;

    fixture_open(f);
    check_ok(merge_text(f->db, "k", "a", true));
    fixture_close(f);
    f->op.merge = no_merge;
    fixture_open(f);
    check_err(SHALE_EMERGE, shale_db_get(f->db, slice_str("k"), NULL, &v));
    check_count(0, of(f), "merge_operator_operands", "path=read");
    shale_buf_fini(&v);
}

static void filters_are_judged(void **state)
{
    struct db_fixture *f = *state;
    struct shale_iter *it = NULL;
    uint64_t yes, no, wrong;
    struct shale_row row;
    char key[16];

    f->opt.min_filter_keys = 0;
    f->opt.filter_bits_per_key = 2; /* poor, so that it errs */
    fixture_open(f);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "key%03d", i);
        check_ok(put_text(f->db, key, "v", i == 199));
    }
    check_value(f->db, NULL, "key000", "v"); /* in memory: no filter is asked */
    check_count(0, of(f), "db.sst_filter_positive_count", "");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "key%03d", i);
        check_value(f->db, NULL, key, "v");
    }
    check_count(200, of(f), "db.sst_filter_positive_count", "");
    check_count(0, of(f), "db.sst_filter_negative_count", "");
    check_count(0, of(f), "db.sst_filter_false_positive_count", "");
    for (int i = 0; i < 199; i++) {
        snprintf(key, sizeof(key), "key%03dx", i);
        check_value(f->db, NULL, key, NULL);
    }
    yes = count(of(f), "db.sst_filter_positive_count", "") - 200;
    no = count(of(f), "db.sst_filter_negative_count", "");
    wrong = count(of(f), "db.sst_filter_false_positive_count", "");
    assert_int_equal(yes + no, 199);
    assert_int_equal(wrong, yes);
    assert_true(wrong > 0 && no > 0);
    check_value(f->db, NULL, "zzz", NULL); /* outside of the SST: not asked */
    check_count(no, of(f), "db.sst_filter_negative_count", "");
    check_ok(shale_db_scan_prefix(f->db, slice_str("key"), NULL, &it));
    check_ok(shale_iter_next(it, &row));
    shale_iter_close(it);
    check_count(yes + 200, of(f), "db.sst_filter_positive_count", "");
}

#define CACHE(kind, result) "db_cache.access_count", "entry_kind=" kind " result=" result

static void look_ups_in_the_block_cache_are_counted(void **state)
{
    struct db_fixture *f = *state;

    f->opt.min_filter_keys = 0;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE)); /* puts everything into the cache (R160) */
    check_value(f->db, NULL, "a", "1");
    check_count(1, of(f), CACHE("filter", "hit"));
    check_count(1, of(f), CACHE("index", "hit"));
    check_count(1, of(f), CACHE("data_block", "hit"));
    check_count(0, of(f), CACHE("filter", "miss"));
    check_count(0, of(f), CACHE("index", "miss"));
    check_count(0, of(f), CACHE("data_block", "miss"));
    fixture_close(f);
    fixture_open(f); /* an empty cache */
    check_value(f->db, NULL, "a", "1");
    check_count(1, of(f), CACHE("filter", "miss"));
    check_count(1, of(f), CACHE("index", "miss"));
    check_count(1, of(f), CACHE("data_block", "miss"));
    check_value(f->db, NULL, "a", "1");
    check_count(1, of(f), CACHE("filter", "hit"));
    check_count(1, of(f), CACHE("data_block", "hit"));
    fixture_close(f);
    f->opt.block_cache_bytes = 0;
    fixture_open(f); /* none at all */
    check_value(f->db, NULL, "a", "1");
    check_count(0, of(f), CACHE("data_block", "miss"));
}

/* R179, and section 28.1: main and WAL store apart, and no request for what the cache has. */
static void requests_are_counted_by_component_and_store(void **state)
{
    struct db_fixture *f = *state;
    struct shale_store *wal = NULL;
    uint64_t before;

    check_ok(shale_store_memory(&wal));
    f->opt.wal_store = wal;
    f->opt.min_filter_keys = 0;
    fixture_open(f);
    before = count(of(f), "object_store.request_count", "component=db store_type=main op=put api=put");
    check_count(1, of(f), "object_store.request_count", "component=db store_type=wal op=put api=put"); /* the fence */
    check_ok(put_text(f->db, "a", "1", true));
    check_count(2, of(f), "object_store.request_count", "component=db store_type=wal op=put api=put");
    check_count(before, of(f), "object_store.request_count", "component=db store_type=main op=put api=put");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    assert_true(count(of(f), "object_store.request_count", "component=db store_type=main op=put api=put") > before);
    check_value(f->db, NULL, "a", "1");
    check_count(0, of(f), "object_store.request_count", "component=db store_type=main op=get api=get_range");
    fixture_close(f);
    fixture_open(f);
    check_value(f->db, NULL, "a", "1");
    before = count(of(f), "object_store.request_count", "component=db store_type=main op=get api=get_range");
    assert_true(before > 0);
    assert_int_equal(look(of(f), "object_store.request_duration_seconds",
                          "component=db store_type=main op=get api=get_range").count, before);
    check_value(f->db, NULL, "a", "1");
    check_count(before, of(f), "object_store.request_count", "component=db store_type=main op=get api=get_range");
    check_count(0, of(f), "object_store.error_count", "component=db store_type=main op=get api=get_range");
    fixture_close(f);
    shale_store_close(wal);
}

static int note_status(void *ctx, const struct shale_compaction *c)
{
    *(enum shale_compaction_status *)ctx = c->status;
    return 0;
}

static void wait_for_compaction(struct db_fixture *f, struct shale_ulid id)
{
    struct shale_compaction c = { 0 };

    do {
        check_ok(shale_db_compaction(f->db, id, &c));
        sched_yield();
    } while (c.status == SHALE_COMPACTION_SUBMITTED || c.status == SHALE_COMPACTION_RUNNING);
    assert_int_equal(c.status, SHALE_COMPACTION_COMPLETED);
}

static void compactions_are_counted(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct db_fixture *f = *state;
    struct shale_ulid id;
    uint64_t sources;
    unsigned gate;

    f->opt.compactor.enabled = true;
    f->opt.compactor.poll_interval_ms = 10;
    fixture_open(f);
    for (int i = 0; i < 2; i++) {
        check_ok(merge_text(f->db, "k", "a", true));
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    }
    sources = db_status(f->db).l0_bytes;
    assert_true(gauge(of(f), "compactor.last_compaction_timestamp_sec") == 0);
    /* Stop it as it writes its output. */
    gate = store_fault_add(f->store,
                           &(struct fault_rule){ .cls = FAULT_PUT, .action = FAULT_GATE, .match = "/compacted/" });
    check_ok(shale_db_compact(f->db, &full, &id));
    store_fault_wait(f->store, gate, 1);
    assert_true(gauge(of(f), "compactor.running_compactions") == 1);
    while (gauge(of(f), "compactor.total_bytes_being_compacted") != (int64_t)sources)
        sched_yield(); /* at its next look */
    f->now_ms += 5000;
    store_fault_release(f->store, gate);
    wait_for_compaction(f, id);
    assert_true(gauge(of(f), "compactor.running_compactions") == 0);
    assert_true(gauge(of(f), "compactor.last_compaction_timestamp_sec") == f->now_ms / 1000);
    check_count(2, of(f), "merge_operator_operands", "path=compact");
    assert_true(count(of(f), "compactor.bytes_compacted", "") > 0);
    assert_true(count(of(f), "compactor.bytes_compacted", "") < db_status(f->db).run_bytes); /* blocks alone */
    while (gauge(of(f), "compactor.total_bytes_being_compacted") != 0)
        sched_yield();
    assert_true(gauge(of(f), "compactor.total_throughput_bytes_per_sec") == 0);
    assert_true(gauge(of(f), "db.l0_sst_count") == 0);
    assert_true(count(of(f), "object_store.request_count", "component=compactor store_type=main op=put api=put") > 0);
    check_count(0, of(f), CACHE("data_block", "miss")); /* a compaction's reads are nobody's look-ups */
}

static void garbage_is_counted_by_kind(void **state)
{
    struct db_fixture *f = *state;
    struct shale_gc_options opt;
    struct shale_gc_result res;

    fixture_open(f);
    for (int i = 0; i < 4; i++) {
        check_ok(put_text(f->db, "a", "1", true));
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    }
    f->now_ms = 4000000000000; /* everything is old */
    shale_gc_options_init(&opt);
    opt.fence_age_ms = 0;
    opt.dry_run = true;
    check_ok(shale_db_gc(f->db, &opt, &res));
    check_count(0, of(f), "gc.count", "");
    check_count(0, of(f), "gc.deleted_count", "resource=wal");
    opt.dry_run = false;
    check_ok(shale_db_gc(f->db, &opt, &res));
    assert_true(res.removed[SHALE_GC_WAL] > 0 && res.removed[SHALE_GC_MANIFEST] > 0);
    check_count(1, of(f), "gc.count", "");
    check_count(res.removed[SHALE_GC_MANIFEST], of(f), "gc.deleted_count", "resource=manifest");
    check_count(res.removed[SHALE_GC_WAL], of(f), "gc.deleted_count", "resource=wal");
    check_count(res.removed[SHALE_GC_COMPACTED], of(f), "gc.deleted_count", "resource=compacted");
    check_count(res.removed[SHALE_GC_COMPACTIONS], of(f), "gc.deleted_count", "resource=compactions");
    assert_true(count(of(f), "object_store.request_count", "component=gc store_type=main op=delete api=delete") > 0);
    check_count(0, of(f), "object_store.request_count", "component=db store_type=main op=delete api=delete");
    check_ok(shale_db_gc(f->db, &opt, &res));
    check_count(2, of(f), "gc.count", "");
}

/* test_shared_recorder_registers_object_store_metrics_for_db_gc_and_compactor, and whoever works without a handle. */
static void several_handles_count_in_one_registry(void **state)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    enum shale_compaction_status status = SHALE_COMPACTION_SUBMITTED;
    struct db_fixture *f = *state;
    struct shale_compactor_config cfg = { .only_submitted = true };
    struct shale_admin_options admin = { .clock = &f->clock };
    struct shale_reader_options ro;
    struct shale_compactor *c = NULL;
    struct shale_reader *r = NULL;
    struct shale_metrics *m = NULL;
    struct shale_buf v = SHALE_BUF_INIT;
    struct shale_ulid id;

    check_ok(shale_metrics_new(SHALE_METRIC_INFO, NULL, &m));
    f->opt.metrics = admin.metrics = m;
    f->opt.compactor.poll_interval_ms = 10;
    fixture_open(f);
    assert_ptr_equal(of(f), m);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "a", "2", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_value(f->db, NULL, "a", "2");
    shale_reader_options_init(&ro);
    ro.metrics = m;
    check_ok(shale_reader_open(f->store, FIXTURE_ROOT, &ro, &r));
    assert_ptr_equal(shale_reader_metrics(r), m);
    check_ok(shale_reader_get(r, slice_str("a"), NULL, &v));
    check_count(2, m, "db.request_count", "op=get");
    assert_true(count(m, "object_store.request_count", "component=reader store_type=main op=get api=get") > 0);
    check_ok(shale_reader_close(r));
    check_ok(shale_compactor_open(f->store, FIXTURE_ROOT, &f->opt, &cfg, &c));
    assert_ptr_equal(shale_compactor_metrics(c), m);
    check_ok(shale_compaction_submit(f->store, FIXTURE_ROOT, &full, &id));
    while (status != SHALE_COMPACTION_COMPLETED)
        check_ok(shale_compaction_list(f->store, FIXTURE_ROOT, note_status, &status));
    shale_compactor_close(c);
    assert_true(count(m, "compactor.bytes_compacted", "") > 0);
    assert_true(count(m, "object_store.request_count", "component=compactor store_type=main op=put api=put") > 0);
    check_ok(shale_gc(f->store, FIXTURE_ROOT, &admin, NULL, NULL));
    check_count(1, m, "gc.count", "");
    assert_true(count(m, "object_store.request_count", "component=gc store_type=main op=get api=get") > 0);
    fixture_close(f);
    check_count(2, m, "db.write_ops", ""); /* it outlives its handles */
    shale_metrics_free(m);
    shale_buf_fini(&v);
}

/* A reader counts reads alone, and in a registry of its own unless told otherwise. */
static void who_only_reads_has_no_metrics_of_writing(void **state)
{
    const struct shale_metric_label get = { "op", "get" }, flush = { "op", "flush" };
    struct db_fixture *f = *state;
    struct shale_reader *r = NULL;
    struct shale_db *ro = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_reader_open(f->store, FIXTURE_ROOT, NULL, &r));
    assert_true(has(shale_reader_metrics(r), "slatedb.db.request_count", &get, 1));
    assert_false(has(shale_reader_metrics(r), "slatedb.db.request_count", &flush, 1));
    assert_false(has(shale_reader_metrics(r), "slatedb.db.write_ops", NULL, 0));
    assert_false(has(shale_reader_metrics(r), "slatedb.gc.count", NULL, 0));
    assert_false(has(shale_reader_metrics(r), "slatedb.compactor.bytes_compacted", NULL, 0));
    assert_true(gauge(shale_reader_metrics(r), "db.l0_sst_count") == 1);
    check_ok(put_text(f->db, "a", "2", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_reader_refresh(r));
    assert_true(gauge(shale_reader_metrics(r), "db.l0_sst_count") == 2);
    check_ok(shale_reader_close(r));
    assert_false(has(of(f), "slatedb.compactor.bytes_compacted", NULL, 0)); /* it has none */
    f->opt.read_only = true;
    check_ok(shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &ro));
    assert_true(gauge(shale_db_metrics(ro), "db.l0_sst_count") == 2);
    assert_false(has(shale_db_metrics(ro), "slatedb.db.write_ops", NULL, 0));
    check_ok(shale_db_close(ro, SHALE_CLOSE_FLUSH));
}

static int refuse(void *ctx, const struct shale_metric_desc *d, void **handle)
{
    int *left = ctx;

    (void)d, (void)handle;
    return (*left)-- > 0 ? 0 : -EPERM;
}

static void ignore_u64(void *ctx, void *handle, uint64_t n)
{
    (void)ctx, (void)handle, (void)n;
}

static void ignore_i64(void *ctx, void *handle, int64_t n)
{
    (void)ctx, (void)handle, (void)n;
}

static void ignore_real(void *ctx, void *handle, double v)
{
    (void)ctx, (void)handle, (void)v;
}

/* Whichever metric it is that the recorder does not take, opening fails with its error and leaves nothing. */
static void a_recorder_that_refuses_fails_opening(void **state)
{
    struct db_fixture *f = *state;
    int left, rc = -1, n = 0;
    const struct shale_metric_recorder r = { .ctx = &left, .add = refuse, .count = ignore_u64, .set = ignore_i64,
                                             .step = ignore_i64, .observe = ignore_real };

    f->opt.compactor.enabled = true;
    while (rc != 0) {
        struct shale_metrics *m = NULL;

        left = n++;
        check_ok(shale_metrics_new(SHALE_METRIC_INFO, &r, &m));
        f->opt.metrics = m;
        rc = shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &f->db);
        if (rc != 0)
            assert_int_equal(rc, -EPERM);
        else
            fixture_close(f);
        shale_metrics_free(m);
    }
    assert_true(n > 60);
}

static void the_page_of_a_handle_is_well_formed(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf text = SHALE_BUF_INIT;
    struct prom p;

    f->opt.compactor.enabled = true;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_value(f->db, NULL, "a", "1");
    check_ok(shale_metrics_text(of(f), &text));
    if (!prom_parse(&p, (const char *)text.data, text.len))
        fail_msg("%s", p.why);
    assert_true(prom_value(&p, "slatedb_db_request_count_total{op=\"get\"}") == 1);
    assert_true(prom_value(&p, "slatedb_db_write_ops_total") == 1);
    assert_true(prom_value(&p, "slatedb_compactor_running_compactions") == 0);
    assert_true(prom_value(&p, "slatedb_object_store_request_duration_seconds_count{component=\"db\","
                               "store_type=\"main\",op=\"put\",api=\"put\"}") > 0);
    assert_false(prom_has(&p, "slatedb_db_write_ops"));
    prom_fini(&p);
    shale_buf_fini(&text);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(calls_are_counted),
        T(batches_and_their_operations_are_counted),
        T(the_wal_buffer_is_measured),
        T(an_object_in_flight_counts_as_buffered),
        T(memtables_on_their_way_to_l0_are_counted),
        T(a_writer_that_waits_for_room_counts),
        T(operands_are_counted_by_path),
        T(operands_of_a_failed_merge_do_not_count),
        T(filters_are_judged),
        T(look_ups_in_the_block_cache_are_counted),
        T(requests_are_counted_by_component_and_store),
        T(compactions_are_counted),
        T(garbage_is_counted_by_kind),
        T(several_handles_count_in_one_registry),
        T(who_only_reads_has_no_metrics_of_writing),
        T(a_recorder_that_refuses_fails_opening),
        T(the_page_of_a_handle_is_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
