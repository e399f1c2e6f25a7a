/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"
#include "fs/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"

static void options_that_fit_are_taken(void **state)
{
    struct mount_options o;

    (void)state;
    assert_int_equal(mount_options_init(&o), 0);
    assert_int_equal(mount_options_parse(&o, "ro,relatime,commit=2.5,,dirty=128M,cache=1G,threads=4,takeover"), 0);
    assert_int_equal(mount_options_parse(&o, "debug,nonempty,log=/x/y.log,request_log=/x/r,suid,noexec,read_ahead=0"), 0);
    assert_true(o.fs.read_only && o.fs.takeover && o.debug && o.nonempty);
    assert_int_equal(o.fs.atime, FS_RELATIME);
    assert_int_equal(o.fs.commit_interval_ms, 2500);
    assert_int_equal(o.fs.dirty_max_bytes, 128 << 20);
    assert_int_equal(o.fs.read_ahead_bytes, 0);
    assert_int_equal(o.fs.cache_bytes, 1 << 30);
    assert_int_equal(o.threads, 4);
    assert_string_equal(o.log, "/x/y.log");
    assert_string_equal(o.request_log, "/x/r");
    assert_string_equal(o.kernel, "suid,noexec");
    assert_int_equal(mount_options_parse(&o, "rw,noatime,noallow_other,log=relative"), 0);
    assert_false(o.fs.read_only || o.allow_other);
    assert_int_equal(o.fs.atime, FS_NOATIME);
    assert_true(o.log[0] == '/' && strstr(o.log, "/relative"));
    mount_options_fini(&o);
}

static void a_follower_looks_as_often_as_it_is_told_to(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = { { "ro", 1000 },         { "poll=0.1", 100 }, { "poll=3600", 3600000 },
                  { "poll=2.5,ro", 2500 }, { "poll=0", 0 },     { "poll=off", 0 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mount_options o;

        mount_options_init(&o);
        assert_int_equal(mount_options_parse(&o, cases[i].text), 0);
        assert_int_equal(o.fs.poll_ms, cases[i].ms);
        mount_options_fini(&o);
    }
}

static void where_a_bucket_is_is_taken(void **state)
{
    const struct shale_s3_options *s3;
    struct mount_options o;

    (void)state;
    assert_int_equal(mount_options_init(&o), 0);
    assert_int_equal(o.fs.soft_ms, 0);
    assert_int_equal(mount_options_parse(&o, "endpoint=https://s3.example.org:9000,region=eu-west-1,profile=work"), 0);
    assert_int_equal(mount_options_parse(&o, "ca=/dev/null,path_style,anonymous,soft=2.5,_netdev"), 0);
    mount_options_settle(&o);
    s3 = o.fs.store->s3;
    assert_string_equal(s3->endpoint, "https://s3.example.org:9000");
    assert_string_equal(s3->region, "eu-west-1");
    assert_string_equal(s3->profile, "work");
    assert_string_equal(s3->ca_file, "/dev/null");
    assert_true(s3->path_style && s3->anonymous && !s3->virtual_host);
    assert_int_equal(o.fs.soft_ms, 2500);
    assert_int_equal(s3->first_byte_ms, 2500); /* or the operation would wait longer */
    mount_options_fini(&o);
}

static void settings_of_the_engine_are_taken(void **state)
{
    struct mount_options o;

    (void)state;
    assert_int_equal(mount_options_init(&o), 0);
    assert_int_equal(o.fs.tuning.l0_sst_size_bytes, 64 << 20);
    assert_int_equal(o.fs.tuning.gc_min_age_ms, 300000);
    assert_int_equal(mount_options_parse(&o, "l0_sst_size_bytes=64K,l0_max_ssts=1000,max_unflushed_bytes=1M"), 0);
    assert_int_equal(mount_options_parse(&o, "freeze_wal_count=1,gc.interval_ms=20,gc.min_age_ms=0"), 0);
    assert_int_equal(mount_options_parse(&o, "compactor.poll_interval_ms=10,compactor.max_sst_size=4G"), 0);
    assert_int_equal(mount_options_parse(&o, "compactor.min_sources=2,compactor.max_sources=3"), 0);
    assert_int_equal(o.fs.tuning.manifest_idle_poll_ms, 40000);
    assert_int_equal(o.fs.tuning.compactor_idle_poll_ms, 60000);
    assert_int_equal(o.fs.tuning.gc_idle_interval_ms, 3600000);
    assert_int_equal(mount_options_parse(&o, "manifest_idle_poll_ms=0,compactor.idle_poll_ms=1"), 0);
    assert_int_equal(mount_options_parse(&o, "gc.idle_interval_ms=2"), 0);
    assert_int_equal(o.fs.tuning.manifest_idle_poll_ms, 0);
    assert_int_equal(o.fs.tuning.compactor_idle_poll_ms, 1);
    assert_int_equal(o.fs.tuning.gc_idle_interval_ms, 2);
    assert_int_equal(o.fs.tuning.l0_sst_size_bytes, 64 << 10);
    assert_int_equal(o.fs.tuning.l0_max_ssts, 1000);
    assert_int_equal(o.fs.tuning.max_unflushed_bytes, 1 << 20);
    assert_int_equal(o.fs.tuning.freeze_wal_count, 1);
    assert_int_equal(o.fs.tuning.compactor_poll_interval_ms, 10);
    assert_int_equal(o.fs.tuning.compactor_max_sst_size, 4ull << 30);
    assert_int_equal(o.fs.tuning.compactor_min_sources, 2);
    assert_int_equal(o.fs.tuning.compactor_max_sources, 3);
    assert_int_equal(o.fs.tuning.gc_interval_ms, 20);
    assert_int_equal(o.fs.tuning.gc_min_age_ms, 0);
    mount_options_fini(&o);
}

static void a_checkpoint_is_mounted_for_reading(void **state)
{
    struct mount_options o;

    (void)state;
    assert_int_equal(mount_options_init(&o), 0);
    assert_int_equal(mount_options_parse(&o, "checkpoint=01234567-89ab-4cde-8001-020304050607"), 0);
    assert_true(o.fs.read_only && o.fs.has_checkpoint);
    assert_int_equal(o.fs.checkpoint.hi, 0x0123456789ab4cde);
    assert_int_equal(o.fs.checkpoint.lo, 0x8001020304050607);
    mount_options_fini(&o);
}

static void words_of_fstab_are_passed_over(void **state)
{
    struct mount_options o;

    (void)state;
    assert_int_equal(mount_options_init(&o), 0);
    assert_int_equal(mount_options_parse(&o, "defaults,noauto,nofail,_netdev,user=jo,x-systemd.after=a,comment=b"), 0);
    assert_string_equal(o.kernel, "");
    mount_options_fini(&o);
}

static void what_is_wrong_is_refused_by_name(void **state)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        { "frob", "unknown mount option frob" },
        { "ro,frob=1,rw", "unknown mount option frob" },
        { "commit", "commit needs a value" },
        { "commit=", "commit= is wrong" },
        { "commit=0.05", "commit=0.05 is wrong" },
        { "commit=61", "commit=61 is wrong" },
        { "commit=nan", "commit=nan is wrong" },
        { "commit=1s", "commit=1s is wrong" },
        { "poll=0.05", "poll=0.05 is wrong" },
        { "poll=3601", "poll=3601 is wrong" },
        { "poll=-1", "poll=-1 is wrong" },
        { "poll=on", "poll=on is wrong" },
        { "poll=nan", "poll=nan is wrong" },
        { "dirty=100", "dirty=100 is wrong" },
        { "dirty=-1M", "dirty=-1M is wrong" },
        { "cache=2000G", "cache=2000G is wrong" },
        { "read_ahead=2000G", "read_ahead=2000G is wrong" },
        { "threads=0", "threads=0 is wrong" },
        { "threads=1025", "threads=1025 is wrong: a number from 1 to 1024" },
        { "takeover=yes", "takeover takes no value" },
        { "log=", "log= is wrong" },
        { "checkpoint=1", "checkpoint=1 is wrong" },
        { "soft=0", "soft=0 is wrong: seconds from 1 to 86400" },
        { "soft=nan", "soft=nan is wrong" },
        { "soft=86401", "soft=86401 is wrong" },
        { "soft", "soft needs a value" },
        { "endpoint=s3.example.org", "mount option endpoint=s3.example.org is wrong: https://HOST" },
        { "endpoint=", "mount option endpoint= is wrong: the value is empty" },
        { "endpoint=http://me:secret@host", "mount option endpoint= is wrong: no user or password" },
        { "region", "region needs a value" },
        { "ca=/no/such", "mount option ca=/no/such is wrong: cannot read /no/such: No such file" },
        { "path_style=1", "path_style takes no value" },
        { "secret_key=x", "unknown mount option secret_key" },
        { "l0_sst_size_bytes=65535", "l0_sst_size_bytes=65535 is wrong: bytes from 65536 to 4294967296" },
        { "l0_sst_size_bytes=5G", "l0_sst_size_bytes=5G is wrong" },
        { "l0_max_ssts=0", "l0_max_ssts=0 is wrong: a number from 1 to 1000" },
        { "l0_max_ssts=1K", "l0_max_ssts=1K is wrong" },
        { "compactor.min_sources=1", "compactor.min_sources=1 is wrong" },
        { "gc.interval_ms=0", "gc.interval_ms=0 is wrong" },
        { "gc.min_age_ms", "gc.min_age_ms needs a value" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mount_options o;

        print_message("%s\n", cases[i].text);
        assert_int_equal(mount_options_init(&o), 0);
        assert_int_equal(mount_options_parse(&o, cases[i].text), -EINVAL);
        assert_non_null(strstr(shale_errmsg(), cases[i].sentence));
        mount_options_fini(&o);
    }
}

static void sizes_have_units(void **state)
{
    static const struct {
        const char *text;
        int rc;
        uint64_t want;
    } cases[] = {
        { "0", 0, 0 },
        { "4096", 0, 4096 },
        { "3k", 0, 3072 },
        { "64M", 0, 64u << 20 },
        { "1GiB", 0, 1u << 30 },
        { "2T", 0, 2ull << 40 },
        { "16777215T", 0, 16777215ull << 40 },
        { "16777216T", -EINVAL, 0 },
        { "18446744073709551616", -EINVAL, 0 },
        { "", -EINVAL, 0 },
        { "M", -EINVAL, 0 },
        { "-1", -EINVAL, 0 },
        { " 1", -EINVAL, 0 },
        { "1MB", -EINVAL, 0 },
        { "1P", -EINVAL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t n = 0;

        print_message("%s\n", cases[i].text);
        assert_int_equal(cmd_parse_size(cases[i].text, &n), cases[i].rc);
        assert_int_equal(n, cases[i].want);
    }
}

static void a_path_becomes_a_url(void **state)
{
    char *url;

    (void)state;
    assert_int_equal(cmd_volume_url("s3://bucket/prefix", &url), 0);
    assert_string_equal(url, "s3://bucket/prefix");
    free(url);
    assert_int_equal(cmd_volume_url("/a/b//", &url), 0);
    assert_string_equal(url, "file:///a/b");
    free(url);
    assert_int_equal(cmd_volume_url("./a", &url), 0);
    assert_true(strncmp(url, "file:///", 8) == 0 && strcmp(url + strlen(url) - 2, "/a") == 0 && !strstr(url, "/./"));
    free(url);
    assert_int_equal(cmd_volume_url("", &url), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_fit_are_taken), cmocka_unit_test(a_follower_looks_as_often_as_it_is_told_to),
        cmocka_unit_test(where_a_bucket_is_is_taken),
        cmocka_unit_test(settings_of_the_engine_are_taken),
        cmocka_unit_test(a_checkpoint_is_mounted_for_reading), cmocka_unit_test(words_of_fstab_are_passed_over),
        cmocka_unit_test(what_is_wrong_is_refused_by_name), cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(a_path_becomes_a_url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
