/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of an object store, run against each implementation and against both behind faults and retries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/rng.h"
#include "lib/random_env.h"
#include "lib/store_fault.h"
#include "lib/temp_dir.h"
#include "object/store.h"
#include "object/store_dir.h"
#include "object/store_metered.h"

#include <errno.h>
#include <pthread.h>

enum kind { MEMORY, DIRECTORY, DIRECTORY_NO_LINK, FAULTY_MEMORY, FAULTY_DIRECTORY, BUCKET, FAULTY_BUCKET, RETRIED_BUCKET };

struct fixture {
    enum kind kind;
    char *dir;
    struct shale_store *inner, *fault, *metered, *retry;
    struct shale_metrics *metrics;
    struct shale_store *s; /* what is tested */
};

static void fixture_wrap(struct fixture *f)
{
    static const struct store_retry_options opt = { .base_ms = 1, .cap_ms = 2 };
    /* Coprime periods: in time each class sees each fault. */
    static const struct fault_rule rules[] = {
        { .cls = FAULT_ANY, .action = FAULT_FAIL, .nth = 2, .every = 5 },
        { .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .nth = 1, .every = 3 },
    };

    f->fault = store_fault_new(f->inner);
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        store_fault_add(f->fault, &rules[i]);
    assert_int_equal(shale_metrics_new(SHALE_METRIC_INFO, NULL, &f->metrics), 0);
    assert_int_equal(store_metered_new(f->fault, f->metrics, "db", "main", &f->metered), 0);
    assert_int_equal(store_retry_new(f->metered, &opt, &f->retry), 0);
    f->s = f->retry;
}

static int delete_one(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    return shale_store_delete(arg, name);
}

static void empty_bucket(struct shale_store *s)
{
    if (shale_store_list(s, "", NULL, delete_one, s) != 0)
        fail_msg("%s", shale_errmsg());
}

/* Named by SHALE_TEST_S3 or SHALE_TEST_AZURE, and emptied; a server has to run, see tests/s3 and tests/azure. */
static void open_bucket(struct shale_store **out)
{
    const char *container = getenv("SHALE_TEST_AZURE");

    if ((container ? shale_store_azure(container, NULL, out) : shale_store_s3(getenv("SHALE_TEST_S3"), NULL, out)) != 0)
        fail_msg("%s", shale_errmsg());
}

static int setup_kind(void **state, enum kind kind)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->kind = kind;
    if (kind >= BUCKET) {
        open_bucket(&f->inner);
    } else if (kind == MEMORY || kind == FAULTY_MEMORY) {
        assert_int_equal(shale_store_memory(&f->inner), 0);
    } else {
        f->dir = temp_dir_new();
        assert_int_equal(shale_store_directory(f->dir, false, &f->inner), 0);
        store_dir_tune(f->inner, &(struct store_dir_knobs){ .list_window = 3, .no_link = kind == DIRECTORY_NO_LINK });
    }
    f->s = f->inner;
    if (kind == FAULTY_MEMORY || kind == FAULTY_DIRECTORY || kind == FAULTY_BUCKET)
        fixture_wrap(f);
    if (kind == RETRIED_BUCKET) {
        assert_int_equal(store_retry_new(f->inner, NULL, &f->retry), 0);
        f->s = f->retry;
    }
    if (kind >= BUCKET)
        empty_bucket(f->s);
    *state = f;
    return 0;
}

static int setup_memory(void **state)
{
    return setup_kind(state, MEMORY);
}

static int setup_directory(void **state)
{
    return setup_kind(state, DIRECTORY);
}

static int setup_directory_no_link(void **state)
{
    return setup_kind(state, DIRECTORY_NO_LINK);
}

static int setup_faulty_memory(void **state)
{
    return setup_kind(state, FAULTY_MEMORY);
}

static int setup_faulty_directory(void **state)
{
    return setup_kind(state, FAULTY_DIRECTORY);
}

static int setup_bucket(void **state)
{
    return setup_kind(state, BUCKET);
}

static int setup_faulty_bucket(void **state)
{
    return setup_kind(state, FAULTY_BUCKET);
}

static int setup_retried_bucket(void **state)
{
    return setup_kind(state, RETRIED_BUCKET);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shale_store_close(f->retry);
    shale_store_close(f->metered);
    shale_metrics_free(f->metrics);
    shale_store_close(f->fault);
    shale_store_close(f->inner);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static struct shale_store *store_of(void **state)
{
    return ((struct fixture *)*state)->s;
}

static void put(struct shale_store *s, const char *name, const char *text)
{
    assert_int_equal(shale_store_put(s, name, slice_str(text), SHALE_PUT_OVERWRITE), 0);
}

static void assert_content(struct shale_store *s, const char *name, const char *want)
{
    struct shale_buf b = SHALE_BUF_INIT;

    assert_int_equal(shale_store_get(s, name, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str(want)));
    shale_buf_fini(&b);
}

static void assert_absent(struct shale_store *s, const char *name)
{
    struct shale_object_meta meta;

    assert_int_equal(shale_store_head(s, name, &meta), -ENOENT);
    assert_string_not_equal(shale_errmsg(), "");
}

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
    struct rng r;

    rng_seed(&r, seed);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)rng_next(&r);
}

static void what_is_put_comes_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 4096, 70001, 3 << 20 };
    struct shale_store *s = store_of(state);

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct shale_object_meta meta;
        struct shale_buf got = SHALE_BUF_INIT;
        uint8_t *p = malloc(sizes[i] + 1);
        char name[64];

        assert_non_null(p);
        fill(p, sizes[i], i);
        snprintf(name, sizeof(name), "some/deep/place/%zu", sizes[i]);
        assert_int_equal(shale_store_put(s, name, slice_of(p, sizes[i]), SHALE_PUT_IF_ABSENT), 0);
        assert_int_equal(shale_store_get(s, name, &got), 0);
        assert_true(slice_eq(slice_of_buf(&got), slice_of(p, sizes[i])));
        assert_int_equal(shale_store_head(s, name, &meta), 0);
        assert_int_equal(meta.size, sizes[i]);
        shale_buf_fini(&got);
        free(p);
    }
}

static void get_replaces_what_was_in_the_buffer(void **state)
{
    struct shale_store *s = store_of(state);
    struct shale_buf b = SHALE_BUF_INIT;

    put(s, "a", "new");
    assert_int_equal(shale_buf_append(&b, "older", 5), 0);
    assert_int_equal(shale_store_get(s, "a", &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("new")));
    assert_int_equal(shale_store_get_range(s, "a", 1, 2, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("ew")));
    shale_buf_fini(&b);
}

static void a_failed_read_leaves_the_buffer_alone(void **state)
{
    struct shale_store *s = store_of(state);
    struct shale_buf b = SHALE_BUF_INIT;

    put(s, "a", "new");
    assert_int_equal(shale_buf_append(&b, "older", 5), 0);
    assert_int_equal(shale_store_get(s, "missing", &b), -ENOENT);
    assert_non_null(strstr(shale_errmsg(), "missing"));
    assert_int_equal(shale_store_get_range(s, "missing", 0, 1, &b), -ENOENT);
    assert_int_equal(shale_store_get_range(s, "a", 0, 4, &b), -ERANGE);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("older")));
    shale_buf_fini(&b);
}

static void modes_of_put(void **state)
{
    struct shale_store *s = store_of(state);

    assert_int_equal(shale_store_put(s, "d/a", slice_str("one"), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(shale_store_put(s, "d/a", slice_str("two"), SHALE_PUT_IF_ABSENT), -EEXIST);
    assert_non_null(strstr(shale_errmsg(), "d/a"));
    assert_content(s, "d/a", "one");
    assert_int_equal(shale_store_put(s, "d/a", slice_str("three"), SHALE_PUT_OVERWRITE), 0);
    assert_content(s, "d/a", "three");
    assert_int_equal(shale_store_put(s, "d/a", slice_str("three"), SHALE_PUT_IF_ABSENT), -EEXIST);
    assert_int_equal(shale_store_delete(s, "d/a"), 0);
    assert_int_equal(shale_store_put(s, "d/a", slice_str("four"), SHALE_PUT_IF_ABSENT), 0);
    assert_content(s, "d/a", "four");
    assert_int_equal(shale_store_put(s, "d/a", slice_str("five"), (enum shale_put_mode)7), -EINVAL);
}

static const struct {
    uint64_t offset, len;
    int want;
} ranges[] = {
    { 0, 10, 0 },
    { 0, 1, 0 },
    { 9, 1, 0 },
    { 3, 4, 0 },
    { 0, 11, -ERANGE },
    { 10, 1, -ERANGE },
    { 9, 2, -ERANGE },
    { UINT64_MAX, 1, -ERANGE },
    { 1, UINT64_MAX, -ERANGE },
    { UINT64_MAX / 2, UINT64_MAX / 2, -ERANGE },
    { 3, 0, -EINVAL },
};

static void ranges_are_exact_or_refused(void **state)
{
    struct shale_store *s = store_of(state);

    put(s, "r", "0123456789");
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        struct shale_buf b = SHALE_BUF_INIT;

        print_message("%llu+%llu\n", (unsigned long long)ranges[i].offset, (unsigned long long)ranges[i].len);
        assert_int_equal(shale_store_get_range(s, "r", ranges[i].offset, ranges[i].len, &b), ranges[i].want);
        if (ranges[i].want == 0)
            assert_true(slice_eq(slice_of_buf(&b), slice_of(&"0123456789"[ranges[i].offset], ranges[i].len)));
        shale_buf_fini(&b);
    }
}

static void each_of_many_ranges_has_its_outcome(void **state)
{
    struct shale_store *s = store_of(state);
    struct shale_range_get r[] = {
        { .name = "r", .offset = 2, .len = 3 }, { .name = "r", .offset = 8, .len = 3 },
        { .name = "x", .offset = 0, .len = 1 }, { .name = "x", .offset = 1, .len = 1 },
        { .name = "q", .offset = 0, .len = 2 }, { .name = "r", .offset = 0, .len = 10 },
    };
    static const int want[] = { 0, -ERANGE, -ENOENT, -ENOENT, 0, 0 };

    put(s, "r", "0123456789");
    put(s, "q", "ab");
    assert_int_equal(shale_buf_append(&r[0].out, "old", 3), 0);
    assert_int_equal(shale_buf_append(&r[1].out, "old", 3), 0);
    assert_int_equal(shale_store_get_ranges(s, r, ARRAY_SIZE(r)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(r); i++)
        assert_int_equal(r[i].rc, want[i]);
    assert_true(slice_eq(slice_of_buf(&r[0].out), slice_str("234")));
    assert_true(slice_eq(slice_of_buf(&r[1].out), slice_str("old")));
    assert_int_equal(r[2].out.len, 0);
    assert_true(slice_eq(slice_of_buf(&r[4].out), slice_str("ab")));
    assert_true(slice_eq(slice_of_buf(&r[5].out), slice_str("0123456789")));
    r[3].len = 0;
    assert_int_equal(shale_store_get_ranges(s, r, ARRAY_SIZE(r)), -EINVAL);
    assert_true(slice_eq(slice_of_buf(&r[0].out), slice_str("234")));
    assert_int_equal(shale_store_get_ranges(s, r, 0), 0);
    for (size_t i = 0; i < ARRAY_SIZE(r); i++)
        shale_buf_fini(&r[i].out);
}

static void head_tells_size_time_and_put_id(void **state)
{
    static const char id[] = "01J79C21YKR31J2BS1EFXJZ7MR";
    struct fixture *f = *state;
    struct shale_object_meta meta;
    int64_t before = clock_wall_ms();

    assert_int_equal(store_put_with_id(f->s, "h", slice_str("12345"), SHALE_PUT_IF_ABSENT, id), 0);
    assert_int_equal(shale_store_head(f->s, "h", &meta), 0);
    assert_int_equal(meta.size, 5);
    /* File systems stamp with the time of the last tick, S3 with whole seconds. */
    assert_in_range(meta.mtime_ms, before - (f->dir ? 50 : 1000), clock_wall_ms());
    if (f->dir && !meta.put_id[0])
        print_message("no extended attributes in %s\n", f->dir);
    else
        assert_string_equal(meta.put_id, id);
    put(f->s, "h", "1");
    assert_int_equal(shale_store_head(f->s, "h", &meta), 0);
    assert_string_equal(meta.put_id, "");
    assert_int_equal(store_put_with_id(f->s, "h", slice_str("1"), SHALE_PUT_OVERWRITE, "short"), -EINVAL);
    assert_int_equal(meta.size, 1);
    assert_int_equal(shale_store_head(f->s, "nothing", &meta), -ENOENT);
    assert_int_equal(meta.size, 1);
}

static void deleting_twice_is_fine(void **state)
{
    static const char *const many[] = { "d/1", "d/none", "d/3" };
    static const char *const bad[] = { "d/2", "d//" };
    struct shale_store *s = store_of(state);

    put(s, "d/1", "x");
    put(s, "d/2", "x");
    put(s, "d/3", "x");
    assert_int_equal(shale_store_delete_many(s, many, ARRAY_SIZE(many)), 0);
    assert_int_equal(shale_store_delete_many(s, many, 0), 0);
    assert_absent(s, "d/1");
    assert_absent(s, "d/3");
    assert_int_equal(shale_store_delete_many(s, bad, ARRAY_SIZE(bad)), -EINVAL);
    assert_content(s, "d/2", "x");
    assert_int_equal(shale_store_delete(s, "d/2/below"), 0);
    assert_int_equal(shale_store_delete(s, "d"), 0);
    assert_content(s, "d/2", "x");
    assert_int_equal(shale_store_delete(s, "d/2"), 0);
    assert_int_equal(shale_store_delete(s, "d/2"), 0);
    assert_absent(s, "d/2");
}

static const char *const bad_names[] = {
    "",     "/",   "/a",   "a/",   "a//b", ".",    "..",  "a/../b", "../a",     "a/.",
    "a#12", "a#x", "a b",  "a\nb", "a\\b", "a%b", "a*",  "a?b",    "\xc3\xa4", "a\x7f",
};

static void assert_refused(struct shale_store *s, const char *name)
{
    struct shale_range_get r = { .name = name, .len = 1 };
    struct shale_object_meta meta;
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_upload *u = NULL;

    assert_int_equal(shale_store_put(s, name, slice_str("x"), SHALE_PUT_OVERWRITE), -EINVAL);
    assert_non_null(strstr(shale_errmsg(), "name"));
    assert_int_equal(shale_store_get(s, name, &b), -EINVAL);
    assert_int_equal(shale_store_get_range(s, name, 0, 1, &b), -EINVAL);
    assert_int_equal(shale_store_get_ranges(s, &r, 1), -EINVAL);
    assert_int_equal(shale_store_head(s, name, &meta), -EINVAL);
    assert_int_equal(shale_store_delete(s, name), -EINVAL);
    assert_int_equal(shale_store_delete_many(s, &name, 1), -EINVAL);
    assert_int_equal(shale_upload_begin(s, name, &u), -EINVAL);
    assert_null(u);
}

static void names_that_are_none_are_refused(void **state)
{
    struct shale_store *s = store_of(state);
    char name[STORE_NAME_MAX + 2];

    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
        print_message("\"%s\"\n", bad_names[i]);
        assert_refused(s, bad_names[i]);
    }
    memset(name, 'n', sizeof(name));
    name[STORE_SEGMENT_MAX + 1] = '\0';
    assert_refused(s, name);
    name[STORE_SEGMENT_MAX] = '\0';
    put(s, name, "long");
    assert_content(s, name, "long");
    memset(name, 'n', sizeof(name));
    for (size_t i = 200; i < sizeof(name); i += 200)
        name[i] = '/';
    name[STORE_NAME_MAX + 1] = '\0';
    assert_refused(s, name);
    name[STORE_NAME_MAX] = '\0';
    put(s, name, "longest");
    assert_content(s, name, "longest");
    put(s, "aZ09._=@:+-/...", "odd");
    assert_content(s, "aZ09._=@:+-/...", "odd");
}

struct listing {
    struct shale_buf names; /* each with a comma behind */
    size_t n, stop_at;
    struct shale_store *remove_from;
    const char *removes; /* an object to delete meanwhile */
};

static int gather(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct listing *l = arg;

    assert_int_equal(buf_printf(&l->names, "%s,", name), 0);
    assert_string_equal(meta->put_id, "");
    l->n++;
    if (l->removes)
        assert_int_equal(shale_store_delete(l->remove_from, l->removes), 0);
    return l->stop_at && l->n == l->stop_at ? 42 : 0;
}

static void assert_listing(struct shale_store *s, const char *prefix, const char *after, const char *want)
{
    struct listing l = { 0 };

    print_message("list %s after %s\n", prefix, after ? after : "-");
    assert_int_equal(shale_store_list(s, prefix, after, gather, &l), 0);
    assert_string_equal(l.names.data ? (char *)l.names.data : "", want);
    shale_buf_fini(&l.names);
}

/* '-' and '.' sort before '/', '0' behind it: the order of names is not that of directory entries. */
static void put_tree(struct shale_store *s)
{
    static const char *const names[] = { "b", "a/c/2", "a-b", "a/c/1", "a.x", "a0", "a/c-", "a/b", "a/c/1-", "z/z/z" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        put(s, names[i], "x");
}

static void listings_are_in_name_order(void **state)
{
    struct shale_store *s = store_of(state);

    assert_listing(s, "", NULL, "");
    put_tree(s);
    assert_listing(s, "", NULL, "a-b,a.x,a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "a", NULL, "a-b,a.x,a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,");
    assert_listing(s, "a/", NULL, "a/b,a/c-,a/c/1,a/c/1-,a/c/2,");
    assert_listing(s, "a/c", NULL, "a/c-,a/c/1,a/c/1-,a/c/2,");
    assert_listing(s, "a/c/1", NULL, "a/c/1,a/c/1-,");
    assert_listing(s, "a/c/1/", NULL, "");
    assert_listing(s, "b", NULL, "b,");
    assert_listing(s, "bb", NULL, "");
    assert_listing(s, "z/z", NULL, "z/z/z,");
    assert_listing(s, "/", NULL, "");
    assert_listing(s, "a//", NULL, "");
    assert_listing(s, "../", NULL, "");
    assert_listing(s, "a/../a/", NULL, "");
    assert_listing(s, "nowhere/x", NULL, "");
}

static void listings_start_behind_a_name(void **state)
{
    struct shale_store *s = store_of(state);

    put_tree(s);
    assert_listing(s, "", "", "a-b,a.x,a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "a.x", "a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "a.y", "a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "a/", "a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "a/c/1", "a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "a/c/", "a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "a/c/9", "a0,b,z/z/z,");
    assert_listing(s, "", "a/c/1/x", "a/c/2,a0,b,z/z/z,");
    assert_listing(s, "", "b", "z/z/z,");
    assert_listing(s, "", "z/z/z", "");
    assert_listing(s, "", "zz", "");
    assert_listing(s, "a/c", "a/c/1-", "a/c/2,");
    assert_listing(s, "a/c", "a", "a/c-,a/c/1,a/c/1-,a/c/2,");
    assert_listing(s, "a/c", "b", "");
    assert_listing(s, "a/c", "/#?", "a/c-,a/c/1,a/c/1-,a/c/2,");
}

static void the_callback_ends_a_listing(void **state)
{
    struct shale_store *s = store_of(state);
    struct listing l = { .stop_at = 3 };

    put_tree(s);
    assert_int_equal(shale_store_list(s, "", NULL, gather, &l), 42);
    assert_string_equal((char *)l.names.data, "a-b,a.x,a/b,");
    shale_buf_fini(&l.names);
}

static void what_vanishes_during_a_listing_is_skipped(void **state)
{
    const struct fixture *f = *state;
    struct shale_store *s = store_of(state);
    struct listing l = { .remove_from = s, .removes = "a/c/1" };
    bool in_pages = f->kind >= BUCKET; /* it was in the page that had come */

    put_tree(s);
    assert_int_equal(shale_store_list(s, "", NULL, gather, &l), 0);
    assert_string_equal((char *)l.names.data, in_pages ? "a-b,a.x,a/b,a/c-,a/c/1,a/c/1-,a/c/2,a0,b,z/z/z,"
                                                       : "a-b,a.x,a/b,a/c-,a/c/1-,a/c/2,a0,b,z/z/z,");
    shale_buf_fini(&l.names);
}

#define N_RANDOM 120

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Names of three segments, the middle one marked: never one that is a directory of another. */
static void random_name(struct rng *r, char out[16])
{
    static const char letters[] = "ab-_0:Z";

    snprintf(out, 16, "%c%c/d%c/%c%c%c", letters[rng_below(r, 7)], letters[rng_below(r, 2)], letters[rng_below(r, 7)],
             letters[rng_below(r, 7)], letters[rng_below(r, 7)], letters[rng_below(r, 2)]);
}

static void random_listings_agree_with_a_sorted_array(void **state)
{
    struct shale_store *s = store_of(state);
    uint64_t seed = random_env(1).first;
    char names[N_RANDOM][16];
    struct rng r;

    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (size_t i = 0; i < N_RANDOM; i++) {
        random_name(&r, names[i]);
        put(s, names[i], "x");
    }
    qsort(names, N_RANDOM, sizeof(names[0]), by_name);
    for (int round = 0; round < 30; round++) {
        struct shale_buf want = SHALE_BUF_INIT;
        char prefix[16], after[16];

        random_name(&r, prefix);
        random_name(&r, after);
        prefix[rng_below(&r, 6)] = '\0';
        after[rng_below(&r, 9)] = '\0';
        assert_int_equal(buf_printf(&want, "%s", ""), 0);
        for (size_t i = 0; i < N_RANDOM; i++)
            if (strncmp(names[i], prefix, strlen(prefix)) == 0 && strcmp(names[i], after) > 0 &&
                (i == 0 || strcmp(names[i], names[i - 1]) != 0))
                assert_int_equal(buf_printf(&want, "%s,", names[i]), 0);
        assert_listing(s, prefix, after, (char *)want.data);
        shale_buf_fini(&want);
    }
}

static void an_upload_is_visible_when_finished(void **state)
{
    struct shale_store *s = store_of(state);
    struct shale_upload *u = NULL;
    struct shale_buf want = SHALE_BUF_INIT, got = SHALE_BUF_INIT;

    assert_int_equal(shale_upload_begin(s, "up/load", &u), 0);
    for (size_t i = 0; i < 40; i++) {
        uint8_t piece[20000];

        fill(piece, sizeof(piece), i);
        assert_int_equal(shale_upload_write(u, slice_of(piece, i * 500)), 0);
        assert_int_equal(shale_buf_append(&want, piece, i * 500), 0);
        if (i % 10 == 0)
            assert_absent(s, "up/load");
    }
    assert_listing(s, "", NULL, "");
    assert_int_equal(shale_upload_finish(u), 0);
    assert_int_equal(shale_store_get(s, "up/load", &got), 0);
    assert_true(slice_eq(slice_of_buf(&got), slice_of_buf(&want)));
    assert_listing(s, "", NULL, "up/load,");
    shale_buf_fini(&want);
    shale_buf_fini(&got);
}

/* In parts, where a store has them, the last one not full. */
static void a_large_upload_comes_back_whole(void **state)
{
    static const size_t piece = 1300000, n = 16;
    struct shale_store *s = store_of(state);
    struct shale_object_meta meta;
    struct shale_buf all = SHALE_BUF_INIT, got = SHALE_BUF_INIT;
    struct shale_upload *u = NULL;
    uint8_t *p = buf_extend(&all, n * piece);

    assert_non_null(p);
    fill(p, n * piece, 7);
    assert_int_equal(shale_upload_begin(s, "large", &u), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(shale_upload_write(u, slice_of(p + i * piece, piece)), 0);
    assert_absent(s, "large");
    assert_int_equal(shale_upload_finish(u), 0);
    assert_int_equal(shale_store_head(s, "large", &meta), 0);
    assert_int_equal(meta.size, n * piece);
    assert_int_equal(shale_store_get(s, "large", &got), 0);
    assert_true(slice_eq(slice_of_buf(&got), slice_of_buf(&all)));
    shale_buf_fini(&all);
    shale_buf_fini(&got);
}

/* In one request, however it is signed; also the second one, when a store knows how the other side takes the first. */
static void a_large_put_comes_back_whole(void **state)
{
    static const size_t n = 9000000;
    struct shale_store *s = store_of(state);
    struct shale_object_meta meta;
    struct shale_buf all = SHALE_BUF_INIT, got = SHALE_BUF_INIT;
    uint8_t *p = buf_extend(&all, n);

    assert_non_null(p);
    for (uint64_t i = 0; i < 3; i++) {
        fill(p, n - i, i);
        all.len = n - i;
        assert_int_equal(shale_store_put(s, "large", slice_of_buf(&all), i ? SHALE_PUT_OVERWRITE : SHALE_PUT_IF_ABSENT), 0);
        assert_int_equal(shale_store_head(s, "large", &meta), 0);
        assert_int_equal(meta.size, n - i);
        assert_int_equal(shale_store_get(s, "large", &got), 0);
        assert_true(slice_eq(slice_of_buf(&got), slice_of_buf(&all)));
        assert_int_equal(shale_store_put(s, "large", slice_of_buf(&all), SHALE_PUT_IF_ABSENT), -EEXIST);
    }
    shale_buf_fini(&all);
    shale_buf_fini(&got);
}

static void large_uploads_may_be_aborted_or_race(void **state)
{
    static const size_t len = 9 << 20;
    struct shale_store *s = store_of(state);
    struct shale_upload *u = NULL, *v = NULL, *w = NULL;
    struct shale_object_meta meta;
    uint8_t *p = calloc(1, len);

    assert_non_null(p);
    assert_int_equal(shale_upload_begin(s, "o", &u), 0);
    assert_int_equal(shale_upload_begin(s, "o", &v), 0);
    assert_int_equal(shale_upload_begin(s, "p", &w), 0);
    assert_int_equal(shale_upload_write(u, slice_of(p, len)), 0);
    assert_int_equal(shale_upload_write(u, slice_of(p, 1)), 0);
    assert_int_equal(shale_upload_write(v, slice_of(p, len)), 0);
    assert_int_equal(shale_upload_write(w, slice_of(p, len)), 0);
    assert_int_equal(shale_upload_write(w, slice_of(p, 2)), 0);
    shale_upload_abort(w);
    assert_absent(s, "p");
    shale_upload_abort(u);
    assert_int_equal(shale_upload_finish(v), 0);
    assert_int_equal(shale_store_head(s, "o", &meta), 0);
    assert_int_equal(meta.size, len);
    assert_listing(s, "", NULL, "o,");
    free(p);
}

static void uploads_overwrite_and_may_be_empty_or_aborted(void **state)
{
    struct shale_store *s = store_of(state);
    struct shale_upload *u = NULL, *v = NULL;

    put(s, "o", "before");
    assert_int_equal(shale_upload_begin(s, "o", &u), 0);
    assert_int_equal(shale_upload_begin(s, "o", &v), 0);
    assert_int_equal(shale_upload_write(u, slice_str("one")), 0);
    assert_int_equal(shale_upload_write(v, slice_str("two")), 0);
    shale_upload_abort(u);
    assert_content(s, "o", "before");
    assert_int_equal(shale_upload_finish(v), 0);
    assert_content(s, "o", "two");
    assert_int_equal(shale_upload_begin(s, "empty", &u), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    assert_content(s, "empty", "");
    shale_upload_abort(NULL);
}

#define RACERS 50

struct racer {
    struct shale_store *s;
    pthread_barrier_t *start;
    pthread_t thread;
    int number;
    int rc;
};

static void *race(void *arg)
{
    struct racer *me = arg;
    char text[32];

    snprintf(text, sizeof(text), "racer %d", me->number);
    pthread_barrier_wait(me->start);
    me->rc = shale_store_put(me->s, "race/goal", slice_str(text), SHALE_PUT_IF_ABSENT);
    return NULL;
}

static void one_of_fifty_racing_threads_wins(void **state)
{
    struct shale_store *s = store_of(state);
    struct racer racers[RACERS];
    pthread_barrier_t start;
    int winner = -1;
    char want[32];

    pthread_barrier_init(&start, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){ .s = s, .start = &start, .number = i };
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        if (racers[i].rc == -EEXIST)
            continue;
        assert_int_equal(racers[i].rc, 0);
        assert_int_equal(winner, -1);
        winner = i;
    }
    pthread_barrier_destroy(&start);
    assert_int_not_equal(winner, -1);
    snprintf(want, sizeof(want), "racer %d", winner);
    assert_content(s, "race/goal", want);
    assert_listing(s, "", NULL, "race/goal,");
}

/* What the contract promises is what a probe looks for. */
static void a_probe_finds_nothing_wanting(void **state)
{
    struct shale_store *s = ((struct fixture *)*state)->s;
    struct shale_probe_report report;

    if (shale_store_probe(s, "db", &report) != 0)
        fail_msg("%s", shale_errmsg());
    for (int c = 0; c < SHALE_PROBE_N_CHECKS; c++)
        if (c != SHALE_PROBE_PUT_ID) /* not every file system keeps it */
            assert_int_equal(report.checks[c].state, SHALE_PROBE_GOOD);
    assert_listing(s, "", NULL, "");
}

#define T(test) cmocka_unit_test_setup_teardown(test, CONTRACT_SETUP, teardown)
#define CONTRACT                                                                                                    \
    T(what_is_put_comes_back), T(get_replaces_what_was_in_the_buffer), T(a_failed_read_leaves_the_buffer_alone),    \
        T(modes_of_put), T(ranges_are_exact_or_refused), T(each_of_many_ranges_has_its_outcome),                    \
        T(head_tells_size_time_and_put_id), T(deleting_twice_is_fine), T(names_that_are_none_are_refused),          \
        T(listings_are_in_name_order), T(listings_start_behind_a_name), T(the_callback_ends_a_listing),             \
        T(what_vanishes_during_a_listing_is_skipped), T(random_listings_agree_with_a_sorted_array),                 \
        T(an_upload_is_visible_when_finished), T(uploads_overwrite_and_may_be_empty_or_aborted),                    \
        T(a_large_put_comes_back_whole), T(a_large_upload_comes_back_whole),                                        \
        T(large_uploads_may_be_aborted_or_race),                                                                    \
        T(one_of_fifty_racing_threads_wins), T(a_probe_finds_nothing_wanting)

int main(void)
{
#define CONTRACT_SETUP setup_memory
    const struct CMUnitTest memory[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_directory
    const struct CMUnitTest directory[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_directory_no_link
    const struct CMUnitTest directory_no_link[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_faulty_memory
    const struct CMUnitTest faulty_memory[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_faulty_directory
    const struct CMUnitTest faulty_directory[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_bucket
    const struct CMUnitTest bucket[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_faulty_bucket
    const struct CMUnitTest faulty_bucket[] = { CONTRACT };
#undef CONTRACT_SETUP
#define CONTRACT_SETUP setup_retried_bucket
    const struct CMUnitTest retried_bucket[] = { CONTRACT };

    if (getenv("SHALE_TEST_BUCKET_RETRY")) /* what lies between us and it fails now and then */
        return cmocka_run_group_tests_name("retry(bucket)", retried_bucket, NULL, NULL);
    if (getenv("SHALE_TEST_S3") || getenv("SHALE_TEST_AZURE"))
        return cmocka_run_group_tests_name("bucket", bucket, NULL, NULL) +
               cmocka_run_group_tests_name("retry(fault(bucket))", faulty_bucket, NULL, NULL);
    return cmocka_run_group_tests_name("memory", memory, NULL, NULL) +
           cmocka_run_group_tests_name("directory", directory, NULL, NULL) +
           cmocka_run_group_tests_name("directory without links", directory_no_link, NULL, NULL) +
           cmocka_run_group_tests_name("retry(metered(fault(memory)))", faulty_memory, NULL, NULL) +
           cmocka_run_group_tests_name("retry(metered(fault(directory)))", faulty_directory, NULL, NULL);
}
