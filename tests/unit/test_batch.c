/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "lib/concat_operator.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "mem/batch.h"

#include <errno.h>
#include <stdio.h>

enum { NOW = 1000 };

static struct concat concat;
static struct shale_merge_operator concat_op;

static int reset(void **state)
{
    (void)state;
    concat = (struct concat){ 0 };
    concat_op = concat_operator(&concat);
    return 0;
}

static struct shale_batch *new_batch(void)
{
    struct shale_batch *b;

    assert_int_equal(shale_batch_new(&b), 0);
    return b;
}

/* "put key value", "merge key value", "delete key", each with an expiry ":eN" behind the key; separated by ", ". */
static void batch_fill(struct shale_batch *b, const char *text)
{
    char *copy = mem_strdup(text), *save = NULL;

    for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        char verb[16], key[32], value[32] = "";
        struct shale_ttl ttl = SHALE_TTL_INIT;
        char *e;
        int rc;

        assert_true(sscanf(w, "%15s %31s %31s", verb, key, value) >= 2);
        e = strstr(key, ":e");
        if (e) {
            ttl = (struct shale_ttl){ SHALE_TTL_AT, strtoll(e + 2, NULL, 10) };
            *e = '\0';
        }
        if (verb[0] == 'p')
            rc = shale_batch_put(b, slice_str(key), slice_str(value), ttl);
        else if (verb[0] == 'm')
            rc = shale_batch_merge(b, slice_str(key), slice_str(value), ttl);
        else
            rc = shale_batch_delete(b, slice_str(key));
        assert_int_equal(rc, 0);
    }
    mem_free(copy);
}

static char *rows_text(const struct batch_rows *r)
{
    struct shale_buf out = SHALE_BUF_INIT;

    assert_int_equal(shale_buf_append(&out, "", 1), 0);
    out.len = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct shale_row row = r->rows[i];

        assert_int_equal(row.create_ts, NOW);
        assert_int_equal(row.seq, 0);
        row.create_ts = SHALE_NO_TS;
        row_text(&row, &out);
    }
    return (char *)buf_take(&out);
}

static void expect_rows(const char *batch, int64_t default_ttl_ms, const char *want)
{
    struct shale_batch *b = new_batch();
    struct batch_rows rows = { 0 };
    char *got;

    batch_fill(b, batch);
    assert_int_equal(batch_to_rows(b, NOW, default_ttl_ms, &concat_op, &rows), 0);
    got = rows_text(&rows);
    assert_string_equal(got, want);
    mem_free(got);
    batch_rows_fini(&rows);
    shale_batch_free(b);
}

/* R43. */
static void operations_on_a_key_become_one_row(void **state)
{
    static const struct {
        const char *batch, *rows;
    } cases[] = {
        { "put k a", "k=a@0" },
        { "merge k a, merge k b", "k+ab@0" },
        { "put k a, merge k b", "k=ab@0" },
        { "delete k, merge k a", "k=a@0" },
        { "merge k a, put k b", "k=b@0" },
        { "merge k a, delete k", "k=DEL@0" },
        { "put k a, put k b", "k=b@0" },
        { "put k a, delete k", "k=DEL@0" },
        { "merge k a", "k+a@0" },
        { "merge k a, put k b, merge k c, merge k d", "k=bcd@0" },
        { "put k a, merge k b, delete k, merge k c", "k=c@0" },
        { "put c 3, merge b 2, put a 1, merge b 22, delete d, merge c 33, merge e 5", "a=1@0 b+222@0 c=333@0 d=DEL@0 e+5@0" },
        { "put a 1, merge b 2, delete c", "a=1@0 b+2@0 c=DEL@0" },
        { "put k:e5 a, merge k:e5 b", "k=ab@0:e5" },
        { "delete k, merge k:e5 a", "k=a@0:e5" },
        { "merge k:e5 a, merge k:e5 b", "k+ab@0:e5" },
        { "merge k:e5 a, put k:e6 b", "k=b@0:e6" },
        { "", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].batch);
        expect_rows(cases[i].batch, 0, cases[i].rows);
    }
}

static void what_cannot_be_one_row_is_refused(void **state)
{
    static const struct {
        const char *batch;
        bool without_operator;
    } cases[] = {
        { "merge k:e1 a, merge k:e2 b", false },
        { "put k a, merge k:e2 b", false },
        { "put k:e1 a, merge k b", false },
        { "merge k a", true },
        { "put k a, merge k b", true },
        { "put a a, merge b b, put c c", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_batch *b = new_batch();
        struct batch_rows rows = { 0 };

        print_message("%s\n", cases[i].batch);
        batch_fill(b, cases[i].batch);
        assert_int_equal(batch_to_rows(b, NOW, 0, cases[i].without_operator ? NULL : &concat_op, &rows), SHALE_EMERGE);
        assert_int_equal(rows.n, 0);
        batch_rows_fini(&rows);
        shale_batch_free(b);
    }
}

static void an_operator_that_fails_is_named_with_the_key(void **state)
{
    struct shale_batch *b = new_batch();
    struct batch_rows rows = { 0 };

    (void)state;
    concat.fail_at = 1;
    concat.error = -EIO;
    batch_fill(b, "merge kl a, merge kl b");
    assert_int_equal(batch_to_rows(b, NOW, 0, &concat_op, &rows), SHALE_EMERGE);
    assert_non_null(strstr(shale_errmsg(), "concat"));
    assert_non_null(strstr(shale_errmsg(), "6b6c"));
    batch_rows_fini(&rows);
    shale_batch_free(b);
}

/* R13, R14. */
static void times_to_live_become_expiry_times(void **state)
{
    static const struct {
        struct shale_ttl ttl;
        int64_t default_ms, want;
    } cases[] = {
        { { SHALE_TTL_DEFAULT, 0 }, 0, SHALE_NO_TS },
        { { SHALE_TTL_DEFAULT, 0 }, 500, NOW + 500 },
        { { SHALE_TTL_DEFAULT, 0 }, INT64_MAX, SHALE_NO_TS },
        { { SHALE_TTL_NONE, 0 }, 500, SHALE_NO_TS },
        { { SHALE_TTL_AFTER, 7 }, 500, NOW + 7 },
        { { SHALE_TTL_AFTER, INT64_MAX - NOW }, 0, INT64_MAX },
        { { SHALE_TTL_AFTER, INT64_MAX - NOW + 1 }, 0, SHALE_NO_TS },
        { { SHALE_TTL_AT, 7 }, 500, 7 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_batch *b = new_batch();
        struct batch_rows rows = { 0 };

        assert_int_equal(shale_batch_put(b, slice_str("k"), slice_str("v"), cases[i].ttl), 0);
        assert_int_equal(shale_batch_delete(b, slice_str("l")), 0);
        assert_int_equal(batch_to_rows(b, NOW, cases[i].default_ms, NULL, &rows), 0);
        assert_true(rows.rows[0].expire_ts == cases[i].want);
        assert_true(rows.rows[1].expire_ts == SHALE_NO_TS);
        batch_rows_fini(&rows);
        shale_batch_free(b);
    }
}

static void a_default_ttl_does_not_part_operands(void **state)
{
    (void)state;
    expect_rows("put k a, merge k b, delete l, merge l c", 5, "k=ab@0:e1005 l=c@0:e1005");
}

static void sizes_are_checked(void **state)
{
    static uint8_t big[SHALE_KEY_MAX + 1];
    struct shale_batch *b = new_batch();
    struct shale_slice huge = slice_of(big, (size_t)SHALE_VALUE_MAX + 1);

    (void)state;
    assert_int_equal(shale_batch_put(b, slice_of(NULL, 0), slice_str("v"), SHALE_TTL_INIT), -EINVAL);
    assert_int_equal(shale_batch_merge(b, slice_of(big, sizeof(big)), slice_str("v"), SHALE_TTL_INIT), -EINVAL);
    assert_int_equal(shale_batch_delete(b, slice_of(big, sizeof(big))), -EINVAL);
    assert_int_equal(shale_batch_put(b, slice_str("k"), huge, SHALE_TTL_INIT), -EINVAL);
    assert_int_equal(shale_batch_count(b), 0);
    assert_int_equal(shale_batch_put(b, slice_of(big, SHALE_KEY_MAX), slice_of(NULL, 0), SHALE_TTL_INIT), 0);
    assert_int_equal(shale_batch_count(b), 1);
    assert_int_equal(shale_batch_bytes(b), SHALE_KEY_MAX);
    shale_batch_free(b);
}

static void a_batch_can_be_converted_again_and_cleared(void **state)
{
    struct shale_batch *b = new_batch();
    struct batch_rows rows = { 0 };

    (void)state;
    batch_fill(b, "merge b 1, merge b 2, put a 3, merge a 4");
    assert_int_equal(shale_batch_count(b), 4);
    assert_int_equal(shale_batch_bytes(b), 8);
    for (int i = 0; i < 2; i++) {
        char *got;

        assert_int_equal(batch_to_rows(b, NOW, 0, &concat_op, &rows), 0);
        got = rows_text(&rows);
        assert_string_equal(got, "a=34@0 b+12@0");
        mem_free(got);
    }
    shale_batch_clear(b);
    assert_int_equal(shale_batch_count(b), 0);
    assert_int_equal(shale_batch_bytes(b), 0);
    batch_fill(b, "put z 1");
    assert_int_equal(batch_to_rows(b, NOW, 0, NULL, &rows), 0);
    assert_int_equal(rows.n, 1);
    batch_rows_fini(&rows);
    shale_batch_free(b);
    shale_batch_free(NULL);
}

/* Against one string for each key, by the same operator. */
static void random_batches_agree_with_a_model(void **state)
{
    enum { KEYS = 12 };
    uint64_t seed = random_env(1).first;
    struct shale_batch *b = new_batch();
    struct batch_rows rows = { 0 };
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (size_t round = 0; round < 300; round++) {
        struct {
            bool used;
            enum shale_kind kind;
            char text[400];
        } model[KEYS] = { 0 };
        size_t n = rng_below(&rng, 150), at = 0;

        shale_batch_clear(b);
        for (size_t i = 0; i < n; i++) {
            size_t k = rng_below(&rng, KEYS);
            char key[2] = { (char)('a' + k), 0 }, value[3];
            uint64_t verb = rng_below(&rng, 8);

            snprintf(value, sizeof(value), "%02u", (unsigned)(i % 100));
            if (verb == 0 || verb == 1)
                snprintf(model[k].text, sizeof(model[k].text), "%s", verb ? value : "");
            else
                strcat(model[k].text, value);
            if (verb < 2)
                model[k].kind = verb ? SHALE_PUT : SHALE_TOMBSTONE;
            else if (!model[k].used)
                model[k].kind = SHALE_MERGE;
            else if (model[k].kind == SHALE_TOMBSTONE)
                model[k].kind = SHALE_PUT;
            model[k].used = true;
            if (verb == 0)
                assert_int_equal(shale_batch_delete(b, slice_str(key)), 0);
            else
                assert_int_equal((verb == 1 ? shale_batch_put : shale_batch_merge)(b, slice_str(key), slice_str(value),
                                                                                  SHALE_TTL_INIT), 0);
        }
        assert_int_equal(batch_to_rows(b, NOW, 0, &concat_op, &rows), 0);
        for (size_t k = 0; k < KEYS; k++) {
            if (!model[k].used)
                continue;
            assert_true(at < rows.n);
            assert_int_equal(rows.rows[at].key.data[0], 'a' + k);
            assert_int_equal(rows.rows[at].kind, model[k].kind);
            assert_true(slice_eq(rows.rows[at].value, slice_str(model[k].text)));
            at++;
        }
        assert_int_equal(at, rows.n);
    }
    batch_rows_fini(&rows);
    shale_batch_free(b);
}

static void failed_allocations_are_reported(void **state)
{
    struct shale_batch *b = NULL;
    struct batch_rows rows = { 0 };
    size_t faults = 0;
    int rc;

    (void)state;
    for (unsigned n = 1;; n++) {
        heap_fault_after(n);
        rc = shale_batch_new(&b);
        for (int i = 0; i < 300 && rc == 0; i++) {
            char key[8];

            snprintf(key, sizeof(key), "%d", i % 150);
            rc = shale_batch_merge(b, slice_str(key), slice_str("operand"), SHALE_TTL_INIT);
        }
        if (rc == 0)
            rc = batch_to_rows(b, NOW, 0, &concat_op, &rows);
        if (!heap_fault_off())
            break;
        if (rc != 0)
            assert_int_equal(rc, -ENOMEM);
        else
            assert_int_equal(rows.n, 150); /* the C library's sort does without memory */
        faults++;
        batch_rows_fini(&rows);
        shale_batch_free(b);
        b = NULL;
    }
    assert_int_equal(rc, 0);
    assert_true(faults > 10);
    assert_int_equal(rows.n, 150);
    batch_rows_fini(&rows);
    shale_batch_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(operations_on_a_key_become_one_row, reset),
        cmocka_unit_test_setup(what_cannot_be_one_row_is_refused, reset),
        cmocka_unit_test_setup(an_operator_that_fails_is_named_with_the_key, reset),
        cmocka_unit_test_setup(times_to_live_become_expiry_times, reset),
        cmocka_unit_test_setup(a_default_ttl_does_not_part_operands, reset),
        cmocka_unit_test_setup(sizes_are_checked, reset),
        cmocka_unit_test_setup(a_batch_can_be_converted_again_and_cleared, reset),
        cmocka_unit_test_setup(random_batches_agree_with_a_model, reset),
        cmocka_unit_test_setup(failed_allocations_are_reported, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
