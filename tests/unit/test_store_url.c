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
#include "base/slice.h"
#include "lib/temp_dir.h"

#include <errno.h>
#include <shale/object_store.h>
#include <unistd.h>

static const struct {
    const char *url, *path;
} memory_urls[] = {
    { "memory://", "" },           { "memory://n", "" },           { "memory://n/", "" },
    { "memory://n/db", "db" },     { "memory://n//a///b/", "a/b" }, { "memory:///db", "db" },
    { "memory://n/./a/.", "a" },
};

static void memory_urls_are_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(memory_urls); i++) {
        struct shale_store *s;
        char *path;

        print_message("%s\n", memory_urls[i].url);
        assert_int_equal(shale_store_open(memory_urls[i].url, false, &s, &path), 0);
        assert_string_equal(path, memory_urls[i].path);
        free(path);
        shale_store_close(s);
    }
}

static bool holds(struct shale_store *s, const char *name)
{
    struct shale_object_meta meta;

    return shale_store_head(s, name, &meta) == 0;
}

static void memory_is_shared_by_name_until_the_last_close(void **state)
{
    struct shale_store *a, *b, *other, *unnamed;
    char *path[4];

    (void)state;
    assert_int_equal(shale_store_open("memory://one/db", false, &a, &path[0]), 0);
    assert_int_equal(shale_store_open("memory://one/x", false, &b, &path[1]), 0);
    assert_int_equal(shale_store_open("memory://on", false, &other, &path[2]), 0);
    assert_int_equal(shale_store_open("memory://", false, &unnamed, &path[3]), 0);
    assert_int_equal(shale_store_put(a, "o", slice_str("x"), SHALE_PUT_IF_ABSENT), 0);
    assert_true(holds(b, "o"));
    assert_false(holds(other, "o"));
    assert_false(holds(unnamed, "o"));
    shale_store_close(a);
    assert_true(holds(b, "o"));
    shale_store_close(b);
    for (int i = 0; i < 4; i++)
        free(path[i]);
    assert_int_equal(shale_store_open("memory://one", false, &a, &path[0]), 0);
    assert_false(holds(a, "o"));
    free(path[0]);
    shale_store_close(a);
    shale_store_close(other);
    shale_store_close(unnamed);
    shale_store_close(NULL);
}

static const struct {
    const char *url, *says;
} bad_urls[] = {
    { "", "empty" },
    { "ftp://bucket/prefix", "file:// and memory:// stores are known, not ftp://" },
    { "s3://bucket", "the prefix is missing" },
    { "s3://bucket//", "the prefix is missing" },
    { "s3://bucket/a b", "the prefix has a character" },
    { "s3:///prefix", "\"\" is no name of a bucket" },
    { "s3://Bucket/prefix", "lower-case" },
    { "az://box", "the prefix is missing" },
    { "az://Box/prefix", "\"Box\" is no name of a container" },
    { "az://box/a b", "the prefix has a character" },
    { "azure://box/prefix", "not azure://" },
    { "http://host/x", "not http://" },
    { "file://", "three slashes" },
    { "file://host/dir/db", "three slashes" },
    { "file://db", "three slashes" },
    { "file:///", "names no path" },
    { "file:////.//", "names no path" },
    { "/", "names no path" },
    { "file:///tmp/a%20b", "percent" },
    { "file:///tmp/..", "\"..\"" },
    { "file:///tmp/a b", "\"a b\"" },
    { "file:///tmp/a#1", "\"a#1\"" },
    { "/tmp/a*", "character" },
    { "memory://a b/x", "character" },
    { "memory://../x", "\"..\"" },
    { "memory://n/a/../b", "\"..\"" },
    { "memory://n/\xc3\xa4", "character" },
};

static void urls_that_are_none_are_refused_with_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad_urls); i++) {
        struct shale_store *s = NULL;
        char *path = NULL;

        assert_int_equal(shale_store_open(bad_urls[i].url, true, &s, &path), -EINVAL);
        print_message("\"%s\": %s\n", bad_urls[i].url, shale_errmsg());
        assert_non_null(strstr(shale_errmsg(), bad_urls[i].says));
        assert_null(s);
        assert_null(path);
    }
}

/* Opens a URL, writes x into its path, and expects the file at where (below the working directory). */
static void assert_opens(const char *url, const char *want_path, const char *where)
{
    struct shale_store *s;
    char name[64], *path;

    print_message("%s\n", url);
    assert_int_equal(shale_store_open(url, true, &s, &path), 0);
    assert_string_equal(path, want_path);
    snprintf(name, sizeof(name), "%s/x", path);
    assert_int_equal(shale_store_put(s, name, slice_str("x"), SHALE_PUT_OVERWRITE), 0);
    assert_int_equal(access(where, F_OK), 0);
    assert_int_equal(unlink(where), 0);
    free(path);
    shale_store_close(s);
}

static void directories_are_named_by_url_or_path(void **state)
{
    char *dir = temp_dir_new();
    char *old = getcwd(NULL, 0);
    char url[600];

    (void)state;
    assert_int_equal(chdir(dir), 0);
    snprintf(url, sizeof(url), "file://%s/db", dir);
    assert_opens(url, "db", "db/x");
    snprintf(url, sizeof(url), "file://%s//new/deep///db/", dir);
    assert_opens(url, "db", "new/deep/db/x");
    snprintf(url, sizeof(url), "%s/a b%%/db/", dir);
    assert_opens(url, "db", "a b%/db/x");
    assert_opens("db", "db", "db/x");
    assert_opens("./rel/db/.", "db", "rel/db/x");
    assert_opens("rel/../db", "db", "db/x");
    assert_opens("odd/s3://db", "db", "odd/s3:/db/x");
    assert_opens(".", strrchr(dir, '/') + 1, "x");
    assert_int_equal(chdir(old), 0);
    free(old);
    temp_dir_remove(dir);
}

static void a_missing_directory_is_made_only_when_asked(void **state)
{
    char *dir = temp_dir_new();
    struct shale_store *s = NULL;
    char *path = NULL;
    char url[600];

    (void)state;
    snprintf(url, sizeof(url), "file://%s/none/db", dir);
    assert_int_equal(shale_store_open(url, false, &s, &path), -ENOENT);
    assert_null(path);
    assert_int_equal(shale_store_open(url, true, &s, &path), 0);
    shale_store_close(s);
    free(path);
    assert_int_equal(shale_store_open(url, false, &s, &path), 0);
    shale_store_close(s);
    free(path);
    temp_dir_remove(dir);
}

static void a_container_has_its_account_from_options_or_environment(void **state)
{
    const struct shale_azure_options azure = { .account = "acc", .key = "aGVsbG8=" };
    const struct shale_store_options opt = { .azure = &azure };
    struct shale_store *s = NULL;
    char *path = NULL;

    (void)state;
    unsetenv("AZURE_STORAGE_CONNECTION_STRING");
    unsetenv("AZURE_STORAGE_ACCOUNT");
    unsetenv("AZURE_STORAGE_ACCOUNT_NAME");
    unsetenv("AZURE_STORAGE_USE_EMULATOR");
    assert_int_equal(shale_store_open("az://box/p", false, &s, &path), -EINVAL);
    assert_non_null(strstr(shale_errmsg(), "set AZURE_STORAGE_ACCOUNT"));
    assert_int_equal(shale_store_open_with("az://box//p/q/", false, &opt, &s, &path), 0);
    assert_string_equal(path, "p/q");
    free(path);
    shale_store_close(s);
    setenv("AZURE_STORAGE_USE_EMULATOR", "true", 1);
    assert_int_equal(shale_store_open("az://box/p", false, &s, &path), 0);
    unsetenv("AZURE_STORAGE_USE_EMULATOR");
    free(path);
    shale_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_container_has_its_account_from_options_or_environment),
        cmocka_unit_test(memory_urls_are_split),
        cmocka_unit_test(memory_is_shared_by_name_until_the_last_close),
        cmocka_unit_test(urls_that_are_none_are_refused_with_a_sentence),
        cmocka_unit_test(directories_are_named_by_url_or_path),
        cmocka_unit_test(a_missing_directory_is_made_only_when_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
