/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>

/* Many threads on one handle; the thread sanitizer watches, and so do the readers. */
enum { WRITERS = 4, READERS = 2, ROUNDS = 60 };

struct shared {
    struct shale_db *db;
    _Atomic int writers_left;
    _Atomic int errors;
};

struct actor {
    struct worker w;
    struct shared *s;
    int id;
};

static void expect(struct shared *s, bool ok)
{
    if (!ok)
        s->errors++;
}

/* Both keys of a pair always hold the same number, which only grows. */
static int write_pair(struct shale_db *db, int id, int value, bool durable)
{
    struct shale_batch *b = NULL;
    char left[16], right[16], text[16];
    int rc;

    snprintf(left, sizeof(left), "l%d", id);
    snprintf(right, sizeof(right), "r%d", id);
    snprintf(text, sizeof(text), "%06d", value);
    rc = shale_batch_new(&b);
    if (rc == 0)
        rc = shale_batch_put(b, slice_str(left), slice_str(text), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_batch_put(b, slice_str(right), slice_str(text), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_db_write(db, b, durable, NULL);
    shale_batch_free(b);
    return rc;
}

static void writer(void *arg)
{
    struct actor *a = arg;

    for (int i = 1; i <= ROUNDS; i++)
        expect(a->s, write_pair(a->s->db, a->id, i, i % 3 == 0) == 0);
    a->s->writers_left--;
}

/* The numbers that a scan finds; -1 where there is none. */
static int scan_pairs(struct shale_db *db, const struct shale_read_options *o, int left[WRITERS], int right[WRITERS])
{
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc = shale_db_scan(db, &(struct shale_key_range){ 0 }, o, &it);

    for (int i = 0; i < WRITERS; i++)
        left[i] = right[i] = -1;
    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
        int *side = row.key.data[0] == 'l' ? left : right;
        char text[7] = "";

        memcpy(text, row.value.data, 6);
        side[row.key.data[1] - '0'] = atoi(text);
    }
    shale_iter_close(it);
    return rc == SHALE_END ? 0 : rc;
}

static void reader(void *arg)
{
    struct actor *a = arg;
    int left[WRITERS], right[WRITERS], seen[WRITERS] = { 0 };
    struct shale_read_options o = { .descending = a->id % 2 };

    while (a->s->writers_left > 0) {
        expect(a->s, scan_pairs(a->s->db, &o, left, right) == 0);
        for (int i = 0; i < WRITERS; i++) {
            expect(a->s, left[i] == right[i]);
            expect(a->s, left[i] >= seen[i] || left[i] == -1);
            if (left[i] > seen[i])
                seen[i] = left[i];
        }
    }
}

static void pinner(void *arg)
{
    struct actor *a = arg;
    int left[WRITERS], right[WRITERS], again[WRITERS];

    while (a->s->writers_left > 0) {
        struct shale_snapshot *snap = NULL;
        struct shale_read_options o = { 0 };

        expect(a->s, shale_db_snapshot(a->s->db, &snap) == 0);
        o.snapshot = snap;
        expect(a->s, scan_pairs(a->s->db, &o, left, right) == 0);
        expect(a->s, shale_db_flush(a->s->db, SHALE_FLUSH_MEMTABLE) == 0);
        expect(a->s, scan_pairs(a->s->db, &o, again, right) == 0);
        expect(a->s, memcmp(left, again, sizeof(left)) == 0 && memcmp(left, right, sizeof(left)) == 0);
        shale_snapshot_release(a->s->db, snap);
    }
}

static void watcher(void *arg)
{
    struct actor *a = arg;
    struct shale_db_status st;

    while (a->s->writers_left > 0) {
        shale_db_status(a->s->db, &st);
        expect(a->s, st.error == 0 && st.durable_seq <= st.committed_seq);
        expect(a->s, shale_db_flush(a->s->db, SHALE_FLUSH_WAL) == 0);
    }
}

static void run_together(struct db_fixture *f)
{
    struct shared s = { .writers_left = WRITERS };
    struct actor actors[WRITERS + READERS + 2];
    int n = 0, left[WRITERS], right[WRITERS];

    fixture_open(f);
    s.db = f->db;
    for (int i = 0; i < WRITERS + READERS + 2; i++) {
        void (*fn)(void *) = i < WRITERS ? writer : i < WRITERS + READERS ? reader : i % 2 ? pinner : watcher;

        actors[i] = (struct actor){ .s = &s, .id = i };
        check_ok(worker_start(&actors[i].w, "actor", fn, &actors[i]));
        n++;
    }
    for (int i = 0; i < n; i++)
        worker_join(&actors[i].w);
    assert_int_equal(s.errors, 0);
    assert_int_equal(db_status(f->db).committed_seq, WRITERS * ROUNDS);
    fixture_close(f);
    fixture_open(f);
    check_ok(scan_pairs(f->db, NULL, left, right));
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(left[i], ROUNDS);
        assert_int_equal(right[i], ROUNDS);
    }
}

static void all_at_once(void **state)
{
    struct db_fixture *f = *state;

    f->opt.l0_sst_size_bytes = 500;
    f->opt.l0_max_ssts = 1000000;
    f->opt.flush_interval_ms = 1;
    f->opt.commit_gather_us = 1000;
    f->opt.manifest_poll_interval_ms = 2;
    f->opt.clock = NULL;
    run_together(f);
}

static void all_at_once_with_a_compactor_and_little_room(void **state)
{
    struct db_fixture *f = *state;

    f->opt.l0_sst_size_bytes = 300;
    f->opt.l0_max_ssts = 4;
    f->opt.max_unflushed_bytes = 1000;
    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.clock = NULL;
    run_together(f);
}

struct fenced_writer {
    struct worker w;
    struct shale_db *db;
    int rc;
};

static void write_until_it_fails(void *arg)
{
    struct fenced_writer *a = arg;

    do {
        a->rc = put_text(a->db, "k", "v", true);
    } while (a->rc == 0);
}

static void writers_that_are_fenced_all_stop(void **state)
{
    struct db_fixture *f = *state;
    struct fenced_writer w[3];
    struct shale_db *db2;

    fixture_open(f);
    for (int i = 0; i < 3; i++) {
        w[i] = (struct fenced_writer){ .db = f->db };
        check_ok(worker_start(&w[i].w, "writer", write_until_it_fails, &w[i]));
    }
    db2 = fixture_open_other(f);
    for (int i = 0; i < 3; i++) {
        worker_join(&w[i].w);
        check_err(SHALE_EFENCED, w[i].rc);
    }
    fixture_crash(f);
    check_ok(put_text(db2, "k", "mine", true));
    check_value(db2, NULL, "k", "mine");
    f->db = db2;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(all_at_once),
        T(all_at_once_with_a_compactor_and_little_room),
        T(writers_that_are_fenced_all_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
