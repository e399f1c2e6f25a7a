/* SPDX-License-Identifier: Apache-2.0 */
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
#include "base/err.h"
#include "lib/store_fault.h"
#include "lib/temp_dir.h"
#include "object/store.h"
#include "object/dir_file.h"
#include "object/store_dir.h"
#include "object/store_retry.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <shale/log.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

struct fixture {
    char *dir;
    struct shale_store *inner, *fault, *s;
};

static int setup_with(void **state, bool directory, const struct store_retry_options *opt)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    if (directory) {
        f->dir = temp_dir_new();
        assert_int_equal(shale_store_directory(f->dir, false, &f->inner), 0);
    } else {
        assert_int_equal(shale_store_memory(&f->inner), 0);
    }
    f->fault = store_fault_new(f->inner);
    assert_int_equal(store_retry_new(f->fault, opt, &f->s), 0);
    *state = f;
    return 0;
}

static const struct store_retry_options quick = { .base_ms = 1, .cap_ms = 4 };
static const struct store_retry_options limited = { .base_ms = 1, .cap_ms = 4, .limit_ms = 20 };
static const struct store_retry_options slow = { .base_ms = 600000, .cap_ms = 600000, .contact_ms = -1 };
static const struct store_retry_options wary = { .base_ms = 1, .cap_ms = 4, .contact_ms = 20 };

static int setup(void **state)
{
    return setup_with(state, false, &quick);
}

static int setup_directory(void **state)
{
    return setup_with(state, true, &quick);
}

static int setup_limited(void **state)
{
    return setup_with(state, false, &limited);
}

static int setup_slow(void **state)
{
    return setup_with(state, false, &slow);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
    shale_store_close(f->s);
    shale_store_close(f->fault);
    shale_store_close(f->inner);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

static unsigned rule(struct fixture *f, enum fault_class cls, enum fault_action action, unsigned nth, int rc)
{
    return store_fault_add(f->fault, &(struct fault_rule){ .cls = cls, .action = action, .nth = nth, .rc = rc });
}

static int put_new(struct shale_store *s, const char *name, const char *text)
{
    return shale_store_put(s, name, slice_str(text), SHALE_PUT_IF_ABSENT);
}

static void assert_content(struct shale_store *s, const char *name, const char *want)
{
    struct shale_buf b = SHALE_BUF_INIT;

    assert_int_equal(shale_store_get(s, name, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str(want)));
    shale_buf_fini(&b);
}

static int gather(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    assert_int_equal(buf_printf(arg, "%s,", name), 0);
    return 0;
}

static void assert_listing(struct shale_store *s, const char *want)
{
    struct shale_buf names = SHALE_BUF_INIT;

    assert_int_equal(shale_store_list(s, "", NULL, gather, &names), 0);
    assert_string_equal(names.data ? (char *)names.data : "", want);
    shale_buf_fini(&names);
}

/* Uses every call once; what comes out does not depend on faults below. */
static void scenario(struct shale_store *s)
{
    static const char *const gone[] = { "d/1", "d/2" };
    struct shale_range_get r[] = { { .name = "d/1", .len = 2 }, { .name = "d/2", .offset = 1, .len = 2 } };
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_object_meta meta;
    struct shale_upload *u;

    assert_int_equal(put_new(s, "d/1", "one"), 0);
    assert_int_equal(put_new(s, "d/1", "one"), -EEXIST);
    assert_int_equal(shale_store_put(s, "d/2", slice_str("two"), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(shale_upload_begin(s, "d/3", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_str("th")), 0);
    assert_int_equal(shale_upload_write(u, slice_str("ree")), 0);
    assert_int_equal(shale_upload_finish(u), 0);
    assert_content(s, "d/3", "three");
    assert_listing(s, "d/1,d/2,d/3,");
    assert_int_equal(shale_store_get_range(s, "d/2", 0, 2, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("tw")));
    assert_int_equal(shale_store_get_ranges(s, r, 2), 0);
    assert_true(slice_eq(slice_of_buf(&r[0].out), slice_str("on")));
    assert_true(slice_eq(slice_of_buf(&r[1].out), slice_str("wo")));
    assert_int_equal(shale_store_head(s, "d/3", &meta), 0);
    assert_int_equal(meta.size, 5);
    assert_int_equal(shale_store_delete_many(s, gone, 2), 0);
    assert_int_equal(shale_store_delete(s, "d/3"), 0);
    assert_listing(s, "");
    shale_buf_fini(&b);
    shale_buf_fini(&r[0].out);
    shale_buf_fini(&r[1].out);
}

/* Until the fault lies behind the last call. */
static void loop_over_calls(struct fixture *f, const struct fault_rule *fault)
{
    struct fault_rule at = *fault;
    unsigned hits = 1;

    for (at.nth = 1; hits > 0; at.nth++) {
        unsigned id = store_fault_add(f->fault, &at);

        scenario(f->s);
        hits = store_fault_hits(f->fault, id);
        store_fault_clear(f->fault);
    }
    print_message("%u calls\n", at.nth - 2);
    assert_in_range(at.nth - 2, 10, 100);
}

static void each_call_may_fail(void **state)
{
    loop_over_calls(*state, &(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_FAIL });
    loop_over_calls(*state, &(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_FAIL, .times = 3 });
}

static void each_reply_may_be_lost(void **state)
{
    loop_over_calls(*state, &(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY });
    loop_over_calls(*state, &(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_LOSE_REPLY, .times = 2 });
}

/* A range that comes short is noticed by its length, any other body only when the store says so. */
static void each_body_may_be_cut(void **state)
{
    loop_over_calls(*state,
                    &(struct fault_rule){ .cls = FAULT_ANY, .action = FAULT_SHORT, .rc = SHALE_ETRANSIENT, .keep = 1 });
}

static void a_short_range_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct shale_buf b = SHALE_BUF_INIT;

    assert_int_equal(put_new(f->s, "a", "0123456789"), 0);
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_RANGE, .action = FAULT_SHORT, .keep = 3, .times = 2 });
    assert_int_equal(shale_store_get_range(f->fault, "a", 2, 5, &b), SHALE_ETRANSIENT);
    assert_non_null(strstr(shale_errmsg(), "3 bytes"));
    assert_int_equal(shale_store_get_range(f->s, "a", 2, 5, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("23456")));
    assert_int_equal(store_fault_count(f->fault, FAULT_RANGE), 3);
    shale_buf_fini(&b);
}

static const int permanent[] = { -EACCES, -EROFS, -ENOSPC, -EIO, -ENOMEM, -EINVAL, SHALE_ECORRUPT };

static void permanent_errors_are_returned_at_once(void **state)
{
    struct fixture *f = *state;
    struct shale_range_get r = { .name = "a", .len = 1 };
    struct shale_object_meta meta;
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_upload *u;

    for (size_t i = 0; i < ARRAY_SIZE(permanent); i++) {
        int rc = permanent[i];

        store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_ANY, .times = FAULT_ALWAYS, .rc = rc });
        store_fault_reset_counts(f->fault);
        assert_int_equal(shale_store_get(f->s, "a", &b), rc);
        assert_int_equal(shale_store_get_range(f->s, "a", 0, 1, &b), rc);
        assert_int_equal(shale_store_get_ranges(f->s, &r, 1), 0);
        assert_int_equal(r.rc, rc);
        assert_int_equal(shale_store_head(f->s, "a", &meta), rc);
        assert_int_equal(put_new(f->s, "a", "x"), rc);
        assert_int_equal(shale_store_delete(f->s, "a"), rc);
        assert_int_equal(shale_store_list(f->s, "", NULL, gather, &b), rc);
        assert_int_equal(shale_upload_begin(f->s, "a", &u), rc);
        assert_int_equal(store_fault_count(f->fault, FAULT_ANY), 8);
        store_fault_clear(f->fault);
        assert_int_equal(shale_upload_begin(f->s, "a", &u), 0);
        rule(f, FAULT_UPLOAD_FINISH, FAULT_FAIL, 1, rc);
        assert_int_equal(shale_upload_finish(u), rc);
        store_fault_clear(f->fault);
        assert_int_equal(shale_store_head(f->s, "a", &meta), -ENOENT);
    }
}

static void a_lost_race_at_the_first_attempt_asks_nobody(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put_new(f->inner, "a", "same"), 0);
    assert_int_equal(put_new(f->s, "a", "same"), -EEXIST);
    assert_int_equal(store_fault_count(f->fault, FAULT_ANY), 1);
}

static void a_lost_reply_is_told_from_a_lost_race(void **state)
{
    struct fixture *f = *state;

    rule(f, FAULT_PUT, FAULT_LOSE_REPLY, 1, 0);
    assert_int_equal(put_new(f->s, "ours", "same"), 0);
    assert_int_equal(store_fault_count(f->fault, FAULT_PUT), 2);
    assert_int_equal(store_fault_count(f->fault, FAULT_HEAD), 1);
    /* The first attempt fails for real, and before the second one somebody else writes the same bytes. */
    store_fault_clear(f->fault);
    rule(f, FAULT_PUT, FAULT_FAIL, 1, 0);
    assert_int_equal(put_new(f->inner, "theirs", "same"), 0);
    assert_int_equal(put_new(f->s, "theirs", "same"), -EEXIST);
    assert_int_equal(store_fault_count(f->fault, FAULT_HEAD), 2);
}

/* Two writers, each behind retries of its own, lose their replies and write the same bytes: one wins, and knows it. */
static void two_writers_with_lost_replies(void **state)
{
    struct fixture *f = *state;
    struct shale_store *rival;

    assert_int_equal(store_retry_new(f->fault, &quick, &rival), 0);
    for (unsigned first = 0; first < 2; first++) {
        char name[8];

        snprintf(name, sizeof(name), "w%u", first);
        store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_PUT, .action = FAULT_LOSE_REPLY, .every = 2 });
        assert_int_equal(put_new(first ? rival : f->s, name, "fence"), 0);
        assert_int_equal(put_new(first ? f->s : rival, name, "fence"), -EEXIST);
        store_fault_clear(f->fault);
    }
    shale_store_close(rival);
}

static void forget_id(void *arg)
{
    const struct fixture *f = arg;
    char path[512];

    snprintf(path, sizeof(path), "%s/a", f->dir);
    (void)removexattr(path, STORE_DIR_PUT_ID_XATTR); /* it has none where there are no attributes */
}

static void without_ids_the_answer_is_exists(void **state)
{
    struct fixture *f = *state;

    rule(f, FAULT_PUT, FAULT_LOSE_REPLY, 1, 0);
    store_fault_add(f->fault, &(struct fault_rule){
                                  .cls = FAULT_PUT, .action = FAULT_CRASH, .nth = 2, .fn = forget_id, .arg = f });
    assert_int_equal(put_new(f->s, "a", "x"), -EEXIST);
    assert_non_null(strstr(shale_errmsg(), "no put id"));
    assert_content(f->s, "a", "x");
}

static void delete_it(void *arg)
{
    const struct fixture *f = arg;

    assert_int_equal(shale_store_delete(f->inner, "a"), 0);
}

static void an_object_deleted_before_it_was_looked_at(void **state)
{
    struct fixture *f = *state;

    rule(f, FAULT_PUT, FAULT_LOSE_REPLY, 1, 0);
    store_fault_add(f->fault,
                    &(struct fault_rule){ .cls = FAULT_HEAD, .action = FAULT_CRASH, .fn = delete_it, .arg = f });
    assert_int_equal(put_new(f->s, "a", "x"), -EEXIST);
}

static void a_head_that_fails_for_good_leaves_it_open(void **state)
{
    struct fixture *f = *state;

    rule(f, FAULT_PUT, FAULT_LOSE_REPLY, 1, 0);
    rule(f, FAULT_HEAD, FAULT_FAIL, 1, -EACCES);
    assert_int_equal(put_new(f->s, "a", "x"), -EACCES);
    assert_non_null(strstr(shale_errmsg(), "cannot tell who wrote a"));
}

static void a_listing_goes_on_where_it_broke_off(void **state)
{
    struct fixture *f = *state;

    for (char c = 'a'; c <= 'h'; c++)
        assert_int_equal(put_new(f->inner, (char[]){ c, '\0' }, "x"), 0);
    store_fault_add(f->fault, &(struct fault_rule){
                                  .cls = FAULT_LIST, .action = FAULT_SHORT, .keep = 3, .times = 2,
                                  .rc = SHALE_ETRANSIENT });
    assert_listing(f->s, "a,b,c,d,e,f,g,h,");
    assert_int_equal(store_fault_count(f->fault, FAULT_LIST), 3);
}

static int stop_with_transient(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)name, (void)meta;
    ++*(int *)arg;
    return SHALE_ETRANSIENT;
}

static void what_the_callback_returns_is_not_retried(void **state)
{
    struct fixture *f = *state;
    int calls = 0;

    assert_int_equal(put_new(f->inner, "a", "x"), 0);
    assert_int_equal(shale_store_list(f->s, "", NULL, stop_with_transient, &calls), SHALE_ETRANSIENT);
    assert_int_equal(calls, 1);
}

static int list_one_long_name(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn,
                              void *arg)
{
    struct shale_object_meta meta = { 0 };
    char name[4096];

    (void)s, (void)prefix, (void)start_after;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    return fn(arg, name, &meta);
}

static void a_listed_name_that_is_too_long_is_an_error(void **state)
{
    static const struct shale_store_ops ops = { .scheme = "long", .list = list_one_long_name };
    struct shale_store inner = { .ops = &ops }, *s = NULL;
    int calls = 0;

    (void)state;
    assert_int_equal(store_retry_new(&inner, NULL, &s), 0);
    assert_int_equal(shale_store_list(s, "", NULL, stop_with_transient, &calls), -EIO);
    assert_int_equal(calls, 0);
    shale_store_close(s);
}

static int end_with_42(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)arg, (void)name, (void)meta;
    return 42;
}

static void what_the_callback_returns_outlives_a_lost_reply(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put_new(f->inner, "a", "x"), 0);
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_LIST, .action = FAULT_LOSE_REPLY, .times = 1 });
    assert_int_equal(shale_store_list(f->s, "", NULL, end_with_42, NULL), 42);
}

static void only_ranges_that_failed_are_asked_for_again(void **state)
{
    struct fixture *f = *state;
    struct shale_range_get r[10];

    assert_int_equal(put_new(f->inner, "a", "0123456789"), 0);
    for (unsigned i = 0; i < 10; i++)
        r[i] = (struct shale_range_get){ .name = i == 7 ? "none" : "a", .offset = i, .len = 1 };
    rule(f, FAULT_RANGE, FAULT_FAIL, 3, 0);
    rule(f, FAULT_RANGE, FAULT_FAIL, 5, 0);
    rule(f, FAULT_RANGE, FAULT_FAIL, 11, 0);
    assert_int_equal(shale_store_get_ranges(f->s, r, 10), 0);
    assert_int_equal(store_fault_count(f->fault, FAULT_RANGE), 10 + 2 + 1);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(r[i].rc, i == 7 ? -ENOENT : 0);
        if (i != 7)
            assert_int_equal(r[i].out.data[0], '0' + i);
        shale_buf_fini(&r[i].out);
    }
}

/* What the log says of an outage. */
struct outage_log {
    long delays[16];
    unsigned n_delays, n_warnings, n_ends;
};

static void log_outage(void *ctx, enum shale_log_level level, const char *line)
{
    struct outage_log *l = ctx;
    const char *delay = strstr(line, "again in ");

    if (level == SHALE_LOG_WARN && strstr(line, "failed by script; trying again until it answers"))
        l->n_warnings++;
    if (level == SHALE_LOG_INFO && strstr(line, "answers again, after "))
        l->n_ends++;
    if (level == SHALE_LOG_DEBUG && delay && l->n_delays < 16)
        l->delays[l->n_delays++] = strtol(delay + strlen("again in "), NULL, 10);
}

static void delays_double_up_to_the_cap(void **state)
{
    static const long want[] = { 2, 4, 4, 4 }; /* the first is in the warning's place */
    struct fixture *f = *state;
    struct shale_object_meta meta;
    struct outage_log l = { 0 };
    int64_t start = clock_mono_ms();

    shale_log_set(log_outage, &l, SHALE_LOG_DEBUG);
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_HEAD, .times = 5 });
    assert_int_equal(shale_store_head(f->s, "a", &meta), -ENOENT);
    assert_true(clock_mono_ms() - start >= 12);
    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
    assert_int_equal(l.n_delays, ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        assert_in_range(l.delays[i], want[i] - want[i] / 4, want[i]);
}

static void an_outage_has_a_line_at_its_start_and_end(void **state)
{
    struct fixture *f = *state;
    struct shale_object_meta meta;
    struct outage_log l = { 0 };

    shale_log_set(log_outage, &l, SHALE_LOG_DEBUG);
    for (unsigned i = 1; i <= 3; i++) {
        store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_HEAD, .times = 4 });
        assert_int_equal(shale_store_head(f->s, "a", &meta), -ENOENT);
        assert_int_equal(shale_store_head(f->s, "a", &meta), -ENOENT); /* nothing more is said */
        assert_int_equal(l.n_warnings, i);
        assert_int_equal(l.n_ends, i);
    }
    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
}

/* A store that says "not before" with every failure. */
static int head_later(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    static unsigned n;

    (void)s, (void)name, (void)out;
    if (++n % 2 == 0)
        return -ENOENT;
    store_retry_after(30);
    return err_set(SHALE_ETRANSIENT, "slow down");
}

static void the_store_may_ask_for_more_patience(void **state)
{
    static const struct shale_store_ops ops = { .scheme = "later", .head = head_later };
    struct store_retry_options opt = { .base_ms = 1, .cap_ms = 4 };
    struct shale_store inner = { .ops = &ops }, *s;
    struct shale_object_meta meta;
    int64_t start = clock_mono_ms();

    (void)state;
    assert_int_equal(store_retry_new(&inner, &opt, &s), 0);
    assert_int_equal(shale_store_head(s, "a", &meta), -ENOENT);
    assert_true(clock_mono_ms() - start >= 30);
    assert_int_equal(store_retry_after_taken(), 0);
    shale_store_close(s);
}

static void the_limit_ends_it(void **state)
{
    struct fixture *f = *state;
    struct shale_range_get r[] = { { .name = "a", .len = 1 }, { .name = "b", .len = 1 } };
    struct shale_object_meta meta;
    struct shale_upload *u;

    assert_int_equal(put_new(f->inner, "a", "x"), 0);
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_ANY, .match = "b", .times = FAULT_ALWAYS });
    assert_int_equal(shale_store_head(f->s, "b", &meta), SHALE_ETRANSIENT);
    assert_non_null(strstr(shale_errmsg(), "gave up after"));
    assert_in_range(store_fault_count(f->fault, FAULT_HEAD), 2, 12);
    assert_int_equal(shale_store_get_ranges(f->s, r, 2), 0);
    assert_int_equal(r[0].rc, 0);
    assert_int_equal(r[1].rc, SHALE_ETRANSIENT);
    assert_int_equal(shale_upload_begin(f->s, "b", &u), SHALE_ETRANSIENT);
    store_fault_clear(f->fault);
    assert_int_equal(shale_upload_begin(f->s, "b", &u), 0);
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_ANY, .match = "b", .times = FAULT_ALWAYS });
    assert_int_equal(shale_upload_write(u, slice_str("x")), SHALE_ETRANSIENT);
    assert_int_equal(shale_upload_finish(u), SHALE_ETRANSIENT);
    store_fault_clear(f->fault);
    assert_listing(f->s, "a,");
    shale_buf_fini(&r[0].out);
}

static int setup_wary(void **state)
{
    return setup_with(state, false, &wary);
}

/* A wrong address is told about; a store that went away is waited for. */
static void only_the_first_contact_is_bounded(void **state)
{
    struct fixture *f = *state;
    const struct fault_rule down = { .cls = FAULT_HEAD, .times = FAULT_ALWAYS };
    const struct fault_rule outage = { .cls = FAULT_HEAD, .times = 200 };
    struct shale_object_meta meta;
    int64_t start;

    store_fault_add(f->fault, &down);
    assert_int_equal(shale_store_head(f->s, "a", &meta), SHALE_ETRANSIENT);
    assert_non_null(strstr(shale_errmsg(), "gave up after"));
    store_fault_clear(f->fault);
    assert_int_equal(shale_store_head(f->s, "a", &meta), -ENOENT);
    store_fault_add(f->fault, &outage);
    start = clock_mono_ms();
    assert_int_equal(shale_store_head(f->s, "a", &meta), -ENOENT);
    assert_true(clock_mono_ms() - start > 20);
}

struct sleeper {
    struct fixture *f;
    struct shale_upload *u;
    pthread_t thread;
    int rc;
};

static void *sleep_in_put(void *arg)
{
    struct sleeper *me = arg;

    me->rc = put_new(me->f->s, "a", "x");
    return NULL;
}

static void *sleep_in_finish(void *arg)
{
    struct sleeper *me = arg;

    me->rc = shale_upload_finish(me->u);
    return NULL;
}

/* The delays are ten minutes: only the stop can wake them. */
static void stopping_wakes_those_who_wait(void **state)
{
    struct fixture *f = *state;
    struct sleeper sleepers[4] = { { 0 } };
    struct shale_object_meta meta;

    assert_int_equal(shale_upload_begin(f->s, "u", &sleepers[0].u), 0);
    rule(f, FAULT_HEAD, FAULT_FAIL, 1, 0);
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_PUT, .times = FAULT_ALWAYS });
    store_fault_add(f->fault, &(struct fault_rule){ .cls = FAULT_UPLOAD_FINISH, .times = FAULT_ALWAYS });
    for (int i = 0; i < 4; i++) {
        sleepers[i].f = f;
        assert_int_equal(
            pthread_create(&sleepers[i].thread, NULL, i ? sleep_in_put : sleep_in_finish, &sleepers[i]), 0);
    }
    while (store_fault_count(f->fault, FAULT_PUT) < 3 || store_fault_count(f->fault, FAULT_UPLOAD_FINISH) < 1)
        sched_yield();
    store_retry_stop(f->s);
    for (int i = 0; i < 4; i++) {
        pthread_join(sleepers[i].thread, NULL);
        assert_int_equal(sleepers[i].rc, SHALE_ECANCELED);
    }
    assert_int_equal(shale_store_head(f->s, "x", &meta), SHALE_ECANCELED);
    assert_int_equal(shale_store_head(f->s, "x", &meta), -ENOENT); /* one attempt is made all the same */
    assert_listing(f->s, "");
}

static void *get_it(void *arg)
{
    struct sleeper *me = arg;
    struct shale_buf b = SHALE_BUF_INIT;

    me->rc = shale_store_get(me->f->fault, "a", &b);
    shale_buf_fini(&b);
    return NULL;
}

static void a_gate_holds_a_call_until_it_is_released(void **state)
{
    struct fixture *f = *state;
    struct sleeper before = { .f = f }, after = { .f = f };
    unsigned gate;

    gate = rule(f, FAULT_GET, FAULT_GATE, 1, 0);
    assert_int_equal(pthread_create(&before.thread, NULL, get_it, &before), 0);
    store_fault_wait(f->fault, gate, 1);
    assert_int_equal(put_new(f->fault, "a", "x"), 0); /* the get has not begun, so it will find this */
    store_fault_release(f->fault, gate);
    pthread_join(before.thread, NULL);
    assert_int_equal(before.rc, 0);
    gate = rule(f, FAULT_GET, FAULT_GATE_DONE, 1, 0);
    assert_int_equal(pthread_create(&after.thread, NULL, get_it, &after), 0);
    store_fault_wait(f->fault, gate, 1);
    assert_int_equal(shale_store_delete(f->fault, "a"), 0); /* too late to matter */
    store_fault_clear(f->fault);
    pthread_join(after.thread, NULL);
    assert_int_equal(after.rc, 0);
}

static void a_crash_comes_before_or_after_the_call(void **state)
{
    static const enum fault_action actions[] = { FAULT_CRASH, FAULT_CRASH_DONE };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        struct shale_object_meta meta;
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
            rule(f, FAULT_PUT, actions[i], 1, 0);
            _exit(put_new(f->s, "a", "x") == 0 ? 1 : 2);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == FAULT_EXIT_STATUS);
        assert_int_equal(shale_store_head(f->inner, "a", &meta), i ? 0 : -ENOENT);
    }
}

#define T(test, how) cmocka_unit_test_setup_teardown(test, how, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_call_may_fail, setup),
        T(each_call_may_fail, setup_directory),
        T(each_reply_may_be_lost, setup),
        T(each_reply_may_be_lost, setup_directory),
        T(each_body_may_be_cut, setup),
        T(a_short_range_is_read_again, setup),
        T(permanent_errors_are_returned_at_once, setup),
        T(permanent_errors_are_returned_at_once, setup_directory),
        T(a_lost_race_at_the_first_attempt_asks_nobody, setup),
        T(a_lost_reply_is_told_from_a_lost_race, setup),
        T(a_lost_reply_is_told_from_a_lost_race, setup_directory),
        T(two_writers_with_lost_replies, setup),
        T(two_writers_with_lost_replies, setup_directory),
        T(without_ids_the_answer_is_exists, setup_directory),
        T(an_object_deleted_before_it_was_looked_at, setup),
        T(a_head_that_fails_for_good_leaves_it_open, setup),
        T(a_listing_goes_on_where_it_broke_off, setup),
        T(a_listed_name_that_is_too_long_is_an_error, setup),
        T(what_the_callback_returns_is_not_retried, setup),
        T(what_the_callback_returns_outlives_a_lost_reply, setup),
        T(only_ranges_that_failed_are_asked_for_again, setup),
        T(delays_double_up_to_the_cap, setup),
        T(an_outage_has_a_line_at_its_start_and_end, setup),
        T(only_the_first_contact_is_bounded, setup_wary),
        T(the_store_may_ask_for_more_patience, setup),
        T(the_limit_ends_it, setup_limited),
        T(stopping_wakes_those_who_wait, setup_slow),
        T(a_gate_holds_a_call_until_it_is_released, setup),
        T(a_crash_comes_before_or_after_the_call, setup_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
