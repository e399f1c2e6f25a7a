/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/heap_fault.h"

/*
 * Each allocation fails in its turn, in whichever thread it comes: what is acknowledged as durable is there afterwards, and
 * the handle can always be closed. Background threads try again, so most runs succeed.
 */
static int work(struct db_fixture *f, unsigned *acked)
{
    const struct shale_key_range all = { 0 };
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_snapshot *snap = NULL;
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc = shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &f->db), close_rc;

    if (rc < 0)
        return rc;
    rc = put_text(f->db, "a", "1", true);
    *acked += rc == 0;
    if (rc == 0)
        rc = merge_text(f->db, "b", "2", true);
    *acked += rc == 0;
    if (rc == 0)
        rc = shale_db_snapshot(f->db, &snap);
    if (rc == 0)
        rc = shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE);
    if (rc == 0)
        rc = shale_db_get(f->db, slice_str("b"), &(struct shale_read_options){ .snapshot = snap }, &value);
    if (rc == 0)
        rc = shale_db_scan_prefix(f->db, slice_str("a"), NULL, &it);
    if (rc == 0)
        rc = shale_iter_next(it, &row);
    shale_iter_close(it);
    it = NULL;
    if (rc == 0)
        rc = shale_db_scan(f->db, &all, NULL, &it);
    shale_iter_close(it);
    shale_snapshot_release(f->db, snap);
    shale_buf_fini(&value);
    close_rc = shale_db_close(f->db, SHALE_CLOSE_FLUSH);
    f->db = NULL;
    return rc < 0 ? rc : close_rc;
}

static void every_allocation_may_fail(void **state)
{
    bool failed = true;
    unsigned n = 0;

    (void)state;
    while (failed) {
        struct db_fixture f;
        unsigned acked = 0;
        int rc;

        fixture_init(&f);
        f.opt.manifest_poll_interval_ms = 20; /* also how long the memtable flusher waits before it tries again */
        heap_fault_after(++n);
        rc = work(&f, &acked);
        failed = heap_fault_off();
        if (rc != 0 && !(failed && rc == -ENOMEM))
            fail_msg("allocation %u: %d, %s", n, rc, shale_errmsg());
        fixture_open(&f);
        check_value(f.db, NULL, "a", acked > 0 || rc == 0 ? "1" : NULL);
        if (acked > 1)
            check_scan(f.db, NULL, "a=1 b=2");
        fixture_fini(&f);
    }
    assert_true(n > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_may_fail) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
