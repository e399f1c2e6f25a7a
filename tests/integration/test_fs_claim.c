/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "fs/core/session.h"

#include <pthread.h>
#include <stdlib.h>

/*
 * Two who want one volume at the same time. While the first one is at its n-th call to the store the second does all
 * that it has to do, for every n there is: exactly one has the volume, can write to it, and has the only session; the
 * other was refused with his name, or, where both take over, is fenced.
 */

#define ROOT 1

enum { CALLS_MAX = 40 }; /* more than any of them makes */

struct race {
    struct fs_fixture f;
    struct fs_options opt; /* of both */
    struct fs *first, *second;
    int first_rc, second_rc;
    bool met;              /* the second was there */
    pthread_t main;
};

static size_t n_sessions(struct race *r)
{
    struct session_list l = SESSION_LIST_INIT;
    size_t n;

    check_ok(session_list_load(r->f.keep, "volume", &l));
    n = l.n;
    session_list_fini(&l);
    return n;
}

static void *mount_second(void *arg)
{
    struct race *r = arg;

    r->second_rc = fs_open(r->f.url, &r->opt, &r->second);
    if (r->second_rc < 0)
        assert_non_null(strstr(shale_errmsg(), "process"));
    return NULL;
}

/*
 * On a thread of its own: the first one may be in the middle of something, with a lock that lets no other be taken. A
 * call of its compactor or collector is none of those that the race is about.
 */
static void run(void *(*fn)(void *), struct race *r)
{
    pthread_t t;

    if (!pthread_equal(pthread_self(), r->main))
        return;
    r->met = true;
    assert_int_equal(pthread_create(&t, NULL, fn, r), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
}

static void second_mounts(void *arg)
{
    run(mount_second, arg);
}

/* Whether what is written can be made durable. */
static bool is_alive(struct fs *fs)
{
    struct fs_attr a = { 0 };

    return fs_mkdir(fs, &root_cred, ROOT, "d", 0700, &a) == 0 && fs_sync(fs) == 0;
}

static void race_mounts(struct race *r, unsigned n, bool takeover)
{
    const struct fault_rule rule = { .cls = FAULT_ANY, .action = FAULT_CRASH, .nth = n, .fn = second_mounts, .arg = r };

    memset(r, 0, sizeof(*r));
    r->main = pthread_self();
    fixture_init_closed(&r->f);
    r->opt = r->f.opt;
    r->opt.takeover = takeover;
    fixture_next_rule(&rule);
    r->first_rc = fs_open(r->f.url, &r->opt, &r->first);
}

static void race_fini(struct race *r)
{
    if (r->first)
        (void)fs_close(r->first); /* of a fenced one */
    if (r->second)
        (void)fs_close(r->second);
    r->f.fs = NULL;
    fixture_fini(&r->f);
}

static void one_of_two_mounts_has_it(void **state)
{
    unsigned met = 0, won = 0;
    struct race r;

    (void)state;
    for (unsigned n = 1; n <= CALLS_MAX; n++) {
        race_mounts(&r, n, false);
        met += r.met;
        if (!r.met) {
            check_ok(r.first_rc);
        } else if (r.first_rc == 0) {
            check_err(-EBUSY, r.second_rc);
            won++;
        } else {
            check_err(-EBUSY, r.first_rc);
            assert_non_null(strstr(shale_errmsg(), "process"));
            assert_non_null(strstr(shale_errmsg(), "takeover"));
            check_ok(r.second_rc);
        }
        assert_int_equal(n_sessions(&r), 1);
        assert_true(is_alive(r.first ? r.first : r.second));
        check_ok(fs_close(r.first ? r.first : r.second));
        r.first = r.second = NULL;
        assert_int_equal(n_sessions(&r), 0);
        fixture_check(&r.f);
        race_fini(&r);
    }
    print_message("%u calls; in %u the first one had it\n", met, won);
    assert_true(met > 5 && met < CALLS_MAX && won > 2 && won < met);
}

static void of_two_takeovers_one_is_fenced(void **state)
{
    unsigned met = 0, won = 0;
    struct race r;

    (void)state;
    for (unsigned n = 1; n <= CALLS_MAX; n++) {
        bool first, second;

        race_mounts(&r, n, true);
        met += r.met;
        if (r.met)
            check_ok(r.second_rc); /* it came last, or had it before it was fenced */
        first = r.first && is_alive(r.first);
        second = r.second && is_alive(r.second);
        assert_int_equal(first + second, 1);
        if (r.first_rc < 0)
            check_err(SHALE_EFENCED, r.first_rc);
        won += r.met && first;
        race_fini(&r);
    }
    print_message("%u calls; in %u the first one was not fenced\n", met, won);
    assert_true(met > 5 && met < CALLS_MAX && won > 2 && won < met);
}

static void *format_second(void *arg)
{
    struct race *r = arg;

    r->second_rc = fs_format(r->f.url, &r->f.format);
    return NULL;
}

static void second_formats(void *arg)
{
    run(format_second, arg);
}

static void one_of_two_formats_makes_it(void **state)
{
    unsigned met = 0, won = 0;
    struct race r;

    (void)state;
    for (unsigned n = 1; n <= CALLS_MAX; n++) {
        const struct fault_rule rule = { .cls = FAULT_ANY, .action = FAULT_CRASH, .nth = n, .fn = second_formats,
                                         .arg = &r };
        struct fs_statfs st;

        memset(&r, 0, sizeof(r));
        r.main = pthread_self();
        fixture_init_closed(&r.f);
        memcpy(strrchr(r.f.url, '/'), "/other", 7); /* where there is nothing yet */
        fixture_next_rule(&rule);
        r.first_rc = fs_format(r.f.url, &r.f.format);
        met += r.met;
        assert_true(r.first_rc == 0 || r.first_rc == -EEXIST || r.first_rc == -EBUSY);
        if (r.met) {
            assert_true(r.second_rc == 0 || r.second_rc == -EEXIST || r.second_rc == -EBUSY);
            assert_int_equal((r.first_rc == 0) + (r.second_rc == 0), 1);
        }
        won += r.met && r.first_rc == 0;
        check_ok(fs_open(r.f.url, &r.f.opt, &r.first));
        check_ok(fs_statfs(r.first, &st));
        assert_true(is_alive(r.first));
        check_ok(fs_close(r.first));
        fixture_check(&r.f);
        fixture_fini(&r.f);
    }
    print_message("%u calls; in %u the first one made it\n", met, won);
    assert_true(met > 5 && met < CALLS_MAX && won > 2 && won < met);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_two_mounts_has_it),
        cmocka_unit_test(of_two_takeovers_one_is_fenced),
        cmocka_unit_test(one_of_two_formats_makes_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
