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
    mount_options_init(&o);
    assert_int_equal(mount_options_parse(&o, "ro,relatime,commit=2.5,,dirty=128M,cache=1G,threads=4,takeover"), 0);
    assert_int_equal(mount_options_parse(&o, "debug,nonempty,log=/x/y.log,suid,noexec"), 0);
    assert_true(o.fs.read_only && o.fs.takeover && o.debug && o.nonempty);
    assert_int_equal(o.fs.atime, FS_RELATIME);
    assert_int_equal(o.fs.commit_interval_ms, 2500);
    assert_int_equal(o.fs.dirty_max_bytes, 128 << 20);
    assert_int_equal(o.fs.cache_bytes, 1 << 30);
    assert_int_equal(o.threads, 4);
    assert_string_equal(o.log, "/x/y.log");
    assert_string_equal(o.kernel, "suid,noexec");
    assert_int_equal(mount_options_parse(&o, "rw,noatime,noallow_other,log=relative"), 0);
    assert_false(o.fs.read_only || o.allow_other);
    assert_int_equal(o.fs.atime, FS_NOATIME);
    assert_true(o.log[0] == '/' && strstr(o.log, "/relative"));
    mount_options_fini(&o);
}

static void words_of_fstab_are_passed_over(void **state)
{
    struct mount_options o;

    (void)state;
    mount_options_init(&o);
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
        { "dirty=100", "dirty=100 is wrong" },
        { "dirty=-1M", "dirty=-1M is wrong" },
        { "cache=2000G", "cache=2000G is wrong" },
        { "threads=0", "threads=0 is wrong" },
        { "threads=257", "threads=257 is wrong" },
        { "takeover=yes", "takeover takes no value" },
        { "log=", "log= is wrong" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mount_options o;

        print_message("%s\n", cases[i].text);
        mount_options_init(&o);
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
        cmocka_unit_test(options_that_fit_are_taken),  cmocka_unit_test(words_of_fstab_are_passed_over),
        cmocka_unit_test(what_is_wrong_is_refused_by_name), cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(a_path_becomes_a_url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
