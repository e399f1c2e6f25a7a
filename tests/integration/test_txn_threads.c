/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"

#include "base/pool.h"
#include "base/rng.h"

#include <shale/transaction.h>
#include <stdio.h>
#include <stdlib.h>

/* R297: transactions of many threads at once. SlateDB's bank has 100 tasks of 100 transfers, its counter 32 of 20. */
enum { ACCOUNTS = 100, BALANCE = 100, TELLERS = 20, TRANSFERS = 100, COUNTERS = 32, INCREMENTS = 20 };

struct bank {
    struct db_fixture *f;
    _Atomic int errors, conflicts, left;
};

struct teller {
    struct worker w;
    struct bank *bank;
    struct rng rng;
    enum shale_isolation isolation;
};

static struct shale_slice account(unsigned n, char out[8])
{
    snprintf(out, 8, "a%03u", n);
    return slice_str(out);
}

static int read_balance(struct shale_txn *t, unsigned n, int *out)
{
    struct shale_buf value = SHALE_BUF_INIT;
    char key[8], text[16];
    int rc = shale_txn_get(t, account(n, key), NULL, &value);

    if (rc == 0) {
        snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
        *out = atoi(text);
    }
    shale_buf_fini(&value);
    return rc;
}

static int write_balance(struct shale_txn *t, unsigned n, int balance)
{
    char key[8], text[16];

    snprintf(text, sizeof(text), "%d", balance);
    return shale_txn_put(t, account(n, key), slice_str(text), SHALE_TTL_INIT);
}

static int transfer(struct teller *a)
{
    unsigned from = (unsigned)rng_below(&a->rng, ACCOUNTS), to = (from + 1 + (unsigned)rng_below(&a->rng, ACCOUNTS - 1)) % ACCOUNTS;
    struct shale_txn *t = NULL;
    int x = 0, y = 0, rc = shale_txn_begin(a->bank->f->db, a->isolation, &t);

    if (rc == 0)
        rc = read_balance(t, from, &x);
    if (rc == 0)
        rc = read_balance(t, to, &y);
    if (rc == 0)
        rc = write_balance(t, from, x - 1);
    if (rc == 0)
        rc = write_balance(t, to, y + 1);
    if (rc == 0)
        return shale_txn_commit(t, false, NULL);
    shale_txn_rollback(t);
    return rc;
}

static void teller_main(void *arg)
{
    struct teller *a = arg;

    for (int i = 0; i < TRANSFERS; i++) {
        int rc;

        while ((rc = transfer(a)) == SHALE_ECONFLICT)
            a->bank->conflicts++;
        if (rc != 0)
            a->bank->errors++;
    }
    a->bank->left--;
}

/* The sum of all accounts, in a serializable transaction that commits, is always the same. */
static void auditor_main(void *arg)
{
    struct teller *a = arg;

    while (a->bank->left > 0) {
        struct shale_iter *it = NULL;
        struct shale_txn *t = NULL;
        struct shale_row row;
        int sum = 0, rc = shale_txn_begin(a->bank->f->db, a->isolation, &t);

        if (rc == 0)
            rc = shale_txn_scan(t, &(struct shale_key_range){ 0 }, NULL, &it);
        while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
            char text[16];

            snprintf(text, sizeof(text), "%.*s", (int)row.value.len, (const char *)row.value.data);
            sum += atoi(text);
        }
        shale_iter_close(it);
        rc = shale_txn_commit(t, false, NULL);
        if ((rc != 0 && rc != SHALE_ECONFLICT) || sum != ACCOUNTS * BALANCE)
            a->bank->errors++;
    }
}

static void run_bank(struct db_fixture *f, enum shale_isolation isolation)
{
    struct bank bank = { .f = f, .left = TELLERS };
    struct teller tellers[TELLERS + 1];
    char key[8];
    int sum = 0;

    f->opt.l0_sst_size_bytes = 4000;
    f->opt.l0_max_ssts = 1000;
    f->opt.flush_interval_ms = 1;
    fixture_open(f);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        check_ok(shale_db_put(f->db, account(i, key), slice_str("100"), false));
    for (int i = 0; i <= TELLERS; i++) {
        tellers[i] = (struct teller){ .bank = &bank, .isolation = isolation };
        rng_seed(&tellers[i].rng, (uint64_t)i);
        check_ok(worker_start(&tellers[i].w, "teller", i < TELLERS ? teller_main : auditor_main, &tellers[i]));
    }
    for (int i = 0; i <= TELLERS; i++)
        worker_join(&tellers[i].w);
    assert_int_equal(bank.errors, 0);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        struct shale_buf value = SHALE_BUF_INIT;

        check_ok(shale_db_get(f->db, account(i, key), NULL, &value));
        check_ok(buf_put_u8(&value, 0));
        sum += atoi((const char *)value.data);
        shale_buf_fini(&value);
    }
    assert_int_equal(sum, ACCOUNTS * BALANCE);
    print_message("%d conflicts\n", bank.conflicts);
    fixture_close(f);
}

static void test_bank_serializable(void **state)
{
    run_bank(*state, SHALE_TXN_SERIALIZABLE);
}

/* Each transfer writes what it reads, so that snapshot isolation is enough. */
static void test_bank_snapshot(void **state)
{
    run_bank(*state, SHALE_TXN_SNAPSHOT);
}

static void counter_main(void *arg)
{
    struct teller *a = arg;

    for (int i = 0; i < INCREMENTS; i++) {
        struct shale_txn *t = NULL;
        int rc = shale_txn_begin(a->bank->f->db, SHALE_TXN_SERIALIZABLE, &t);

        if (rc == 0)
            rc = shale_txn_merge(t, slice_str("n"), slice_str("1"), SHALE_TTL_INIT);
        if (rc == 0)
            rc = shale_txn_unmark_write(t, slice_str("n"));
        if (rc == 0)
            rc = shale_txn_commit(t, false, NULL);
        if (rc != 0)
            a->bank->errors++;
    }
}

/*
 * test_unmark_write_merge_counter_aggregates_under_high_concurrency. Operands that count as not written never
 * conflict, and none is lost.
 */
static void test_counter(void **state)
{
    struct db_fixture *f = *state;
    struct bank bank = { .f = f };
    struct teller tellers[COUNTERS];
    struct shale_buf value = SHALE_BUF_INIT;

    fixture_open(f);
    for (int i = 0; i < COUNTERS; i++) {
        tellers[i] = (struct teller){ .bank = &bank };
        check_ok(worker_start(&tellers[i].w, "counter", counter_main, &tellers[i]));
    }
    for (int i = 0; i < COUNTERS; i++)
        worker_join(&tellers[i].w);
    assert_int_equal(bank.errors, 0);
    check_ok(shale_db_get(f->db, slice_str("n"), NULL, &value));
    assert_int_equal(value.len, COUNTERS * INCREMENTS); /* the operator appends */
    shale_buf_fini(&value);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = { TEST(test_bank_serializable), TEST(test_bank_snapshot), TEST(test_counter) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
