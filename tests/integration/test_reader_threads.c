/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "base/pool.h"

#include <shale/reader.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A writer that flushes and compacts all the time, and readers that follow: never an error, never a part of a batch, never
 * less than before. The thread sanitizer watches.
 */
enum { PAIRS = 4, ROUNDS = 400, READERS = 3, USERS = 2 };

struct race {
    struct db_fixture *f;
    struct shale_reader *readers[READERS];
    _Atomic bool written;
    _Atomic int errors;
    _Atomic int acknowledged; /* round that is durable */
};

struct actor {
    struct worker w;
    struct race *race;
    int id;
};

static void expect(struct race *c, int line, bool ok)
{
    if (ok)
        return;
    c->errors++;
    print_error("line %d: %s\n", line, shale_errmsg());
}

#define EXPECT(ok) expect(a->race, __LINE__, ok)

/* One batch: every pair gets the number of the round; half of them by an operand, which appends a letter to a count. */
static int write_round(struct shale_db *db, int round, bool durable)
{
    struct shale_batch *b = NULL;
    char key[16], text[16];
    int rc = shale_batch_new(&b);

    snprintf(text, sizeof(text), "%06d", round);
    for (int i = 0; i < 2 * PAIRS && rc == 0; i++) {
        snprintf(key, sizeof(key), "%c%d", i % 2 ? 'r' : 'l', i / 2);
        rc = shale_batch_put(b, slice_str(key), slice_str(text), SHALE_TTL_INIT);
    }
    if (rc == 0)
        rc = shale_batch_merge(b, slice_str("merged"), slice_str("x"), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_db_write(db, b, durable, NULL);
    shale_batch_free(b);
    return rc;
}

static void writer(void *arg)
{
    struct actor *a = arg;
    struct db_fixture *f = a->race->f;

    for (int i = 1; i <= ROUNDS; i++) {
        bool durable = i % 3 == 0;

        EXPECT(write_round(f->db, i, durable) == 0);
        if (durable)
            a->race->acknowledged = i;
        if (i % 20 == 0)
            EXPECT(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE) == 0);
    }
    EXPECT(shale_db_flush(f->db, SHALE_FLUSH_WAL) == 0);
    a->race->acknowledged = ROUNDS;
    a->race->written = true;
}

/* What a scan sees must all be of one round, which is returned; -1 otherwise. 0: nothing yet. */
static int round_of(struct shale_reader *r, bool descending)
{
    const struct shale_read_options o = { .descending = descending };
    struct shale_iter *it = NULL;
    struct shale_row row;
    int seen = -1, n = 0, merged = 0;
    int rc = shale_reader_scan(r, &(struct shale_key_range){ 0 }, &o, &it);

    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
        char text[8] = "";

        n++;
        if (row.key.data[0] == 'm') {
            merged = (int)row.value.len;
            continue;
        }
        memcpy(text, row.value.data, 6);
        if (seen >= 0 && seen != atoi(text)) {
            print_error("%.*s is %s, not %d\n", (int)row.key.len, (const char *)row.key.data, text, seen);
            rc = -EIO;
        }
        seen = atoi(text);
    }
    shale_iter_close(it);
    if (rc != SHALE_END || (n > 0 && (n != 2 * PAIRS + 1 || merged != seen))) {
        print_error("rc %d, %d rows, round %d, merged %d\n", rc, n, seen, merged);
        return -1;
    }
    return n ? seen : 0;
}

static void user(void *arg)
{
    struct actor *a = arg;
    struct shale_reader *r = a->race->readers[a->id % READERS];
    struct shale_buf value = SHALE_BUF_INIT;
    bool last = false;
    int before = 0;

    for (int n = 0; !last; n++) {
        int least = 0, seen;

        last = a->race->written;
        if (a->id % 2 || last) { /* who looks sees what was durable when he looked */
            least = a->race->acknowledged;
            EXPECT(shale_reader_refresh(r) == 0);
        }
        seen = round_of(r, n % 2);
        EXPECT(seen >= before && seen >= least);
        before = seen;
        if (seen > 0) {
            EXPECT(shale_reader_get(r, slice_str("merged"), NULL, &value) == 0);
            EXPECT(value.len >= (size_t)before);
            before = (int)value.len;
        }
    }
    EXPECT(before == ROUNDS);
    shale_buf_fini(&value);
}

static void open_readers(struct race *c)
{
    for (int i = 0; i < READERS; i++) {
        struct shale_reader_options o;

        shale_reader_options_init(&o);
        o.manifest_poll_interval_ms = 1;
        o.no_checkpoint = i == 0;
        o.max_memtable_bytes = i == 1 ? 500 : 1 << 20;
        o.merge_operator = c->f->opt.merge_operator;
        check_ok(shale_reader_open(c->f->store, FIXTURE_ROOT, &o, &c->readers[i]));
    }
}

static void test_race(void **state)
{
    struct db_fixture *f = *state;
    struct race c = { .f = f };
    struct actor actors[1 + READERS * USERS];

    f->opt.flush_interval_ms = 1;
    f->opt.manifest_poll_interval_ms = 5;
    f->opt.l0_sst_size_bytes = 1500;
    f->opt.l0_max_ssts = 6;
    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.compactor.poll_interval_ms = 5;
    f->opt.compactor.max_sst_size = 800;
    fixture_open(f);
    open_readers(&c);
    for (size_t i = 0; i < ARRAY_SIZE(actors); i++) {
        actors[i] = (struct actor){ .race = &c, .id = (int)i };
        check_ok(worker_start(&actors[i].w, "actor", i ? user : writer, &actors[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(actors); i++)
        worker_join(&actors[i].w);
    assert_int_equal(c.errors, 0);
    assert_true(db_status(f->db).compactions > 0);
    for (int i = 0; i < READERS; i++)
        check_ok(shale_reader_close(c.readers[i]));
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_race, fixture_setup, fixture_teardown) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
