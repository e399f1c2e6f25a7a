/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation of each store fails once: the call says -ENOMEM, leaks nothing, and works when asked again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "lib/heap_fault.h"
#include "lib/temp_dir.h"
#include "object/store.h"
#include "object/store_dir.h"
#include "object/store_retry.h"

#include <errno.h>

static int count(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)name, (void)meta;
    ++*(int *)arg;
    return 0;
}

/* With its threads; what it wrote is gone whatever failed. */
static int step_probe(struct shale_store *s)
{
    return shale_store_probe(s, "p", NULL);
}

static int step_put(struct shale_store *s)
{
    return shale_store_put(s, "d/new", slice_str("x"), SHALE_PUT_OVERWRITE);
}

static int step_get(struct shale_store *s)
{
    struct shale_buf b = SHALE_BUF_INIT;
    int rc = shale_store_get(s, "d/a", &b);

    shale_buf_fini(&b);
    return rc;
}

static int step_range(struct shale_store *s)
{
    struct shale_buf b = SHALE_BUF_INIT;
    int rc = shale_store_get_range(s, "d/a", 1, 2, &b);

    shale_buf_fini(&b);
    return rc;
}

static int step_ranges(struct shale_store *s)
{
    struct shale_range_get r[] = { { .name = "d/a", .len = 1 }, { .name = "d/a", .len = 3 } };
    int rc = shale_store_get_ranges(s, r, 2);

    for (int i = 0; i < 2; i++) {
        rc = rc ? rc : r[i].rc;
        shale_buf_fini(&r[i].out);
    }
    return rc;
}

static int step_list(struct shale_store *s)
{
    int n = 0, rc = shale_store_list(s, "", NULL, count, &n);

    return rc ? rc : n == 4 ? 0 : -1;
}

static int step_upload(struct shale_store *s)
{
    struct shale_upload *u;
    int rc = shale_upload_begin(s, "d/u", &u);

    if (rc < 0)
        return rc;
    rc = shale_upload_write(u, slice_str("0123456789"));
    if (rc < 0) {
        shale_upload_abort(u);
        return rc;
    }
    return shale_upload_finish(u);
}

static int step_open_memory(struct shale_store *s)
{
    struct shale_store *other;
    char *path;
    int rc = shale_store_open("memory://nomem/db", true, &other, &path);

    (void)s;
    if (rc < 0)
        return rc;
    shale_store_close(other);
    free(path);
    return 0;
}

static int step_open_directory(struct shale_store *s)
{
    struct shale_store *other;
    char *path;
    int rc = shale_store_open("file:///tmp/db", true, &other, &path);

    (void)s;
    if (rc < 0)
        return rc;
    shale_store_close(other);
    free(path);
    return 0;
}

static int step_wrap(struct shale_store *s)
{
    struct shale_store *retry;
    int rc = store_retry_new(s, NULL, &retry);

    if (rc == 0)
        shale_store_close(retry);
    return rc;
}

static const struct {
    const char *name;
    int (*run)(struct shale_store *s);
} steps[] = {
    { "get", step_get },       { "range", step_range },
    { "ranges", step_ranges }, { "list", step_list },
    { "put", step_put },       { "upload", step_upload },
    { "wrap", step_wrap },     { "open memory", step_open_memory },
    { "open directory", step_open_directory }, { "probe", step_probe },
};

static void each_allocation_fails(struct shale_store *s)
{
    static const char *const names[] = { "d/a", "d/b", "d/c", "e" };

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(shale_store_put(s, names[i], slice_str("abc"), SHALE_PUT_IF_ABSENT), 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned n = 0;
        bool failed;
        int rc, n_left;

        do {
            heap_fault_after(++n);
            rc = steps[i].run(s);
            failed = heap_fault_off();
            if (failed && rc != 0) { /* an allocation failed, and mattered */
                assert_int_equal(rc, -ENOMEM);
                assert_string_not_equal(shale_errmsg(), "");
            } else {
                assert_int_equal(rc, 0);
            }
            n_left = 0;
            assert_int_equal(shale_store_list(s, "p/", NULL, count, &n_left), 0);
            assert_int_equal(n_left, 0);
        } while (failed);
        print_message("%s: %u allocations\n", steps[i].name, n - 1);
    }
}

static void the_memory_store(void **state)
{
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_memory(&s), 0);
    each_allocation_fails(s);
    shale_store_close(s);
}

static void the_directory_store(void **state)
{
    char *dir = temp_dir_new();
    struct shale_store *s;

    (void)state;
    assert_int_equal(shale_store_directory(dir, false, &s), 0);
    store_dir_tune(s, &(struct store_dir_knobs){ .list_window = 2 });
    each_allocation_fails(s);
    shale_store_close(s);
    temp_dir_remove(dir);
}

static void the_retrying_store(void **state)
{
    struct shale_store *inner, *s;

    (void)state;
    assert_int_equal(shale_store_memory(&inner), 0);
    assert_int_equal(store_retry_new(inner, NULL, &s), 0);
    each_allocation_fails(s);
    shale_store_close(s);
    shale_store_close(inner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_memory_store),
        cmocka_unit_test(the_directory_store),
        cmocka_unit_test(the_retrying_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
