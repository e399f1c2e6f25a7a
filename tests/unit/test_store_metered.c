/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "lib/store_fault.h"
#include "object/store_metered.h"

#include <errno.h>

struct rig {
    struct shale_store *mem, *fault, *store;
    struct shale_metrics *m;
};

static int setup(void **state)
{
    static struct rig r;

    assert_int_equal(shale_store_memory(&r.mem), 0);
    r.fault = store_fault_new(r.mem);
    assert_int_equal(shale_metrics_new(SHALE_METRIC_INFO, NULL, &r.m), 0);
    assert_int_equal(store_metered_new(r.fault, r.m, "db", "main", &r.store), 0);
    *state = &r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;

    shale_store_close(r->store);
    shale_store_close(r->fault);
    shale_store_close(r->mem);
    shale_metrics_free(r->m);
    return 0;
}

static struct shale_metric look(struct shale_metrics *m, const char *name, const char *component, const char *op,
                                const char *api)
{
    const struct shale_metric_label l[] = {
        { "component", component }, { "store_type", "main" }, { "op", op }, { "api", api }
    };
    struct shale_metric v = { 0 };

    assert_int_equal(shale_metrics_get(m, name, l, 4, &v), 0);
    return v;
}

/* requests and errors of one api; the histogram has as many observations. */
static void check_api(struct rig *r, const char *op, const char *api, unsigned requests, unsigned errors)
{
    struct shale_metric n = look(r->m, "slatedb.object_store.request_count", "db", op, api);
    struct shale_metric e = look(r->m, "slatedb.object_store.error_count", "db", op, api);
    struct shale_metric t = look(r->m, "slatedb.object_store.request_duration_seconds", "db", op, api);

    if (n.count != requests || e.count != errors || t.count != requests)
        fail_msg("%s: %u requests, %u errors, %u times; wanted %u, %u", api, (unsigned)n.count, (unsigned)e.count,
                 (unsigned)t.count, requests, errors);
    assert_int_equal(t.desc->n_bounds, 12);
    assert_true(t.desc->bounds[0] == 0.001 && t.desc->bounds[11] == 10);
    assert_true(t.sum >= 0);
}

static int stop(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)arg, (void)name, (void)meta;
    return 1;
}

static void each_request_counts_under_its_name(void **state)
{
    struct rig *r = *state;
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_object_meta meta;
    struct shale_upload *u = NULL;

    assert_int_equal(shale_store_put(r->store, "a", slice_str("hello"), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(shale_store_put(r->store, "a", slice_str("again"), SHALE_PUT_IF_ABSENT), -EEXIST);
    check_api(r, "put", "put", 2, 1);
    assert_int_equal(shale_store_get(r->store, "a", &b), 0);
    assert_int_equal(shale_store_get(r->store, "none", &b), -ENOENT);
    check_api(r, "get", "get", 2, 1);
    assert_int_equal(shale_store_get_range(r->store, "a", 1, 2, &b), 0);
    assert_int_equal(shale_store_get_range(r->store, "a", 1, 20, &b), -ERANGE);
    check_api(r, "get", "get_range", 2, 1);
    assert_int_equal(shale_store_head(r->store, "a", &meta), 0);
    check_api(r, "get", "head", 1, 0);
    assert_int_equal(shale_store_list(r->store, "", NULL, stop, NULL), 1); /* not counted */
    assert_int_equal(shale_upload_begin(r->store, "u", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("part")), 0);
    assert_int_equal(shale_upload_write(u, slice_str("part")), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    check_api(r, "put", "multipart_init", 1, 0);
    check_api(r, "put", "multipart_part", 2, 0);
    check_api(r, "put", "multipart_complete", 1, 0);
    assert_int_equal(shale_upload_begin(r->store, "v", &u), 0);
    shale_upload_abort(u);
    check_api(r, "put", "multipart_init", 2, 0);
    check_api(r, "put", "multipart_complete", 1, 0);
    assert_int_equal(shale_store_delete(r->store, "a"), 0);
    check_api(r, "delete", "delete", 1, 0);
    check_api(r, "put", "put", 2, 1);
    check_api(r, "get", "get", 2, 1);
    shale_buf_fini(&b);
}

static void several_ranges_are_what_the_store_makes_of_them(void **state)
{
    struct rig *r = *state;
    struct shale_range_get g[] = { { .name = "a", .offset = 0, .len = 1 }, { .name = "a", .offset = 9, .len = 1 } };
    const char *const names[] = { "a", "b", "c" };
    bool at_once = r->fault->ops->get_ranges != NULL, many = r->fault->ops->remove_many != NULL;

    assert_int_equal(shale_store_put(r->store, "a", slice_str("hello"), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(shale_store_get_ranges(r->store, g, 2), 0);
    assert_int_equal(g[0].rc, 0);
    assert_int_equal(g[1].rc, -ERANGE);
    check_api(r, "get", "get_ranges", at_once ? 1 : 0, at_once ? 1 : 0);
    check_api(r, "get", "get_range", at_once ? 0 : 2, at_once ? 0 : 1);
    assert_int_equal(shale_store_delete_many(r->store, names, 3), 0);
    check_api(r, "delete", "delete", many ? 1 : 3, 0);
    shale_buf_fini(&g[0].out);
    shale_buf_fini(&g[1].out);
}

/* A store without several ranges, removals and uploads. */
static void what_a_store_lacks_is_emulated_in_requests_that_count(void **state)
{
    struct rig *r = *state;
    struct shale_store_ops poor = *r->mem->ops;
    const struct shale_store_ops *rich = r->mem->ops;
    struct shale_range_get g[] = { { .name = "a", .offset = 0, .len = 1 }, { .name = "a", .offset = 9, .len = 1 } };
    const char *const names[] = { "a", "b" };
    struct shale_store *store = NULL;
    struct shale_upload *u = NULL;

    poor.get_ranges = NULL;
    poor.remove_many = NULL;
    poor.upload_begin = NULL;
    r->mem->ops = &poor;
    assert_int_equal(store_metered_new(r->mem, r->m, "db", "main", &store), 0);
    assert_int_equal(shale_upload_begin(store, "a", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("hello")), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    check_api(r, "put", "put", 1, 0);
    check_api(r, "put", "multipart_init", 0, 0);
    assert_int_equal(shale_store_get_ranges(store, g, 2), 0);
    check_api(r, "get", "get_range", 2, 1);
    check_api(r, "get", "get_ranges", 0, 0);
    assert_int_equal(shale_store_delete_many(store, names, 2), 0);
    check_api(r, "delete", "delete", 2, 0);
    shale_buf_fini(&g[0].out);
    shale_store_close(store);
    r->mem->ops = rich;
}

/* R179: it lies inside the retrying store. */
static void every_attempt_counts(void **state)
{
    struct rig *r = *state;
    const struct store_retry_options fast = { .base_ms = 1, .cap_ms = 1 };
    struct counted_store c = { 0 };

    assert_int_equal(counted_store_open(&c, r->fault, &fast, r->m, "gc", "main"), 0);
    (void)store_fault_add(r->fault, &(struct fault_rule){ .cls = FAULT_PUT, .times = 2 });
    assert_int_equal(shale_store_put(c.retry, "a", slice_str("x"), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(look(r->m, "slatedb.object_store.request_count", "gc", "put", "put").count, 3);
    assert_int_equal(look(r->m, "slatedb.object_store.error_count", "gc", "put", "put").count, 2);
    check_api(r, "put", "put", 0, 0); /* another component's */
    counted_store_stop(&c);
    counted_store_close(&c);
    counted_store_close(&c);
    counted_store_stop(&c);
}

static void without_a_registry_nothing_is_counted(void **state)
{
    struct rig *r = *state;
    struct counted_store c = { 0 };

    assert_int_equal(counted_store_open(&c, r->fault, NULL, NULL, "gc", "main"), 0);
    assert_null(c.metered);
    assert_int_equal(shale_store_put(c.retry, "a", slice_str("x"), SHALE_PUT_OVERWRITE), 0);
    counted_store_close(&c);
}

static void a_failed_upload_counts_and_can_be_given_up(void **state)
{
    struct rig *r = *state;
    struct shale_upload *u = NULL;

    (void)store_fault_add(r->fault, &(struct fault_rule){ .cls = FAULT_UPLOAD_BEGIN, .rc = -EACCES });
    (void)store_fault_add(r->fault, &(struct fault_rule){ .cls = FAULT_UPLOAD_WRITE, .rc = -EIO });
    (void)store_fault_add(r->fault, &(struct fault_rule){ .cls = FAULT_UPLOAD_FINISH });
    assert_int_equal(shale_upload_begin(r->store, "u", &u), -EACCES);
    check_api(r, "put", "multipart_init", 1, 1);
    assert_int_equal(shale_upload_begin(r->store, "u", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("part")), -EIO);
    check_api(r, "put", "multipart_part", 1, 1);
    shale_upload_abort(u);
    assert_int_equal(shale_upload_begin(r->store, "u", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("part")), 0);
    assert_int_equal(shale_upload_finish(u), SHALE_ETRANSIENT); /* and gives it up */
    check_api(r, "put", "multipart_complete", 1, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(each_request_counts_under_its_name),
        T(several_ranges_are_what_the_store_makes_of_them),
        T(what_a_store_lacks_is_emulated_in_requests_that_count),
        T(every_attempt_counts),
        T(without_a_registry_nothing_is_counted),
        T(a_failed_upload_counts_and_can_be_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
