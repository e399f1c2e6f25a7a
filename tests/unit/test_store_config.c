/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of stores as text: what is taken, what is refused, and what one process tells another. */

#include "lib/check.h"
#include "lib/temp_dir.h"

#include <errno.h>
#include <shale/store_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct shale_store_config *config_new(void)
{
    struct shale_store_config *c = NULL;

    assert_int_equal(shale_store_config_new(&c), 0);
    return c;
}

static void set(struct shale_store_config *c, const char *name, const char *value)
{
    assert_int_equal(shale_store_config_set(c, name, value), 0);
}

static char *described(const struct shale_store_config *c, const char *url)
{
    struct shale_buf out = SHALE_BUF_INIT;

    assert_int_equal(shale_store_config_describe(c, url, &out), 0);
    assert_int_equal(shale_buf_append(&out, "", 1), 0);
    return (char *)out.data;
}

static void clear_environment(void)
{
    static const char *const names[] = {
        "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE",
        "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AZURE_STORAGE_BLOB_ENDPOINT", "AZURE_STORAGE_ACCOUNT", "REQUESTS_CA_BUNDLE",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
}

static void every_setting_is_found_in_both_spellings(void **state)
{
    const struct shale_store_setting *s;
    size_t n = 0;

    (void)state;
    for (; (s = shale_store_setting_at(n)) != NULL; n++) {
        assert_ptr_equal(shale_store_setting_find(s->name), s);
        assert_true(strlen(s->help) > 10);
    }
    assert_true(n >= 7);
    assert_ptr_equal(shale_store_setting_find("path-style"), shale_store_setting_find("path_style"));
    assert_null(shale_store_setting_find("path"));
    assert_null(shale_store_setting_find("path_styles"));
    assert_null(shale_store_setting_find(""));
}

static void no_setting_takes_a_key(void **state)
{
    static const char *const words[] = { "key", "secret", "token", "password", "credential" };
    const struct shale_store_setting *s;

    (void)state;
    for (size_t i = 0; (s = shale_store_setting_at(i)) != NULL; i++)
        for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
            assert_null(strstr(s->name, words[w]));
}

static void settings_become_options(void **state)
{
    struct shale_store_config *c = config_new();
    const struct shale_s3_options *s3;

    (void)state;
    set(c, "endpoint", "https://s3.example.org:9000");
    set(c, "region", "eu-central-1");
    set(c, "profile", "work");
    set(c, "ca", "/dev/null");
    set(c, "virtual-host", NULL);
    set(c, "path_style", NULL);
    set(c, "anonymous", NULL);
    set(c, "unsigned-payload", NULL);
    s3 = shale_store_config_options(c)->s3;
    assert_string_equal(s3->endpoint, "https://s3.example.org:9000");
    assert_string_equal(s3->region, "eu-central-1");
    assert_string_equal(s3->profile, "work");
    assert_string_equal(s3->ca_file, "/dev/null");
    assert_true(s3->path_style && !s3->virtual_host && s3->anonymous && s3->unsigned_payload);
    assert_int_equal(s3->connect_ms, 0);
    assert_null(s3->secret_key);
    set(c, "region", "us-west-2");
    shale_store_config_limit(c, 15000);
    s3 = shale_store_config_options(c)->s3;
    assert_string_equal(s3->region, "us-west-2");
    assert_int_equal(s3->connect_ms, 0); /* the usual one is shorter */
    assert_int_equal(s3->first_byte_ms, 15000);
    assert_int_equal(s3->stall_ms, 15000);
    shale_store_config_free(c);
    shale_store_config_free(NULL);
}

static void a_file_name_becomes_absolute(void **state)
{
    struct shale_store_config *c = config_new();
    char *dir = temp_dir_new(), *was = getcwd(NULL, 0), want[600];
    FILE *f;

    (void)state;
    assert_int_equal(chdir(dir), 0);
    f = fopen("ca.pem", "w");
    assert_non_null(f);
    fclose(f);
    set(c, "ca", "ca.pem");
    assert_int_equal(chdir(was), 0);
    snprintf(want, sizeof(want), "%s/ca.pem", dir);
    assert_string_equal(shale_store_config_options(c)->s3->ca_file, want);
    shale_store_config_free(c);
    temp_dir_remove(dir);
    free(was);
}

static void what_cannot_be_right_is_refused(void **state)
{
    static const struct {
        const char *name, *value;
        int rc;
        const char *sentence, *unsaid;
    } cases[] = {
        { "endpoint", "s3.example.org", -EINVAL, "https://HOST:PORT", NULL },
        { "endpoint", "ftp://s3.example.org", -EINVAL, "https://HOST:PORT", NULL },
        { "endpoint", "https://me:HUSH@s3.example.org", -EINVAL, "no user or password", "HUSH" },
        { "endpoint", "", -EINVAL, "empty", NULL },
        { "region", "", -EINVAL, "empty", NULL },
        { "region", "a\nb", -EINVAL, "control character", NULL },
        { "profile", NULL, -EINVAL, "empty", NULL },
        { "ca", "/no/such/file", -EINVAL, "cannot read /no/such/file", NULL },
        { "secret_key", "HUSH", -ENOENT, "no setting secret_key", "HUSH" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shale_store_config *c = config_new();

        print_message("%s=%s\n", cases[i].name, cases[i].value ? cases[i].value : "(none)");
        set(c, "region", "kept-1");
        assert_int_equal(shale_store_config_set(c, cases[i].name, cases[i].value), cases[i].rc);
        assert_non_null(strstr(shale_errmsg(), cases[i].sentence));
        if (cases[i].unsaid)
            assert_null(strstr(shale_errmsg(), cases[i].unsaid));
        assert_string_equal(shale_store_config_options(c)->s3->region, "kept-1");
        shale_store_config_free(c);
    }
}

/* Whatever the other's environment says, and what he says himself counts more. */
static void another_process_finds_the_same_place(void **state)
{
    struct shale_store_config *mount = config_new(), *other = config_new();
    const struct shale_s3_options *s3;
    char *text;

    (void)state;
    clear_environment();
    setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000", 1);
    setenv("AWS_DEFAULT_REGION", "home-1", 1);
    setenv("AWS_CA_BUNDLE", "/dev/null", 1);
    set(mount, "virtual_host", NULL);
    text = described(mount, "s3://bucket/volume");
    assert_string_equal(text, "endpoint http://127.0.0.1:9000\nregion home-1\nca /dev/null\nvirtual_host\n");
    setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.2", 1);
    set(other, "region", "mine-1");
    assert_int_equal(shale_store_config_adopt(other, text), 0);
    s3 = shale_store_config_options(other)->s3;
    assert_string_equal(s3->endpoint, "http://127.0.0.1:9000");
    assert_string_equal(s3->region, "mine-1");
    assert_string_equal(s3->ca_file, "/dev/null");
    assert_true(s3->virtual_host && !s3->path_style);
    free(text);
    shale_store_config_free(mount);
    shale_store_config_free(other);
    clear_environment();
}

static void a_bucket_of_aws_is_told_as_such(void **state)
{
    struct shale_store_config *mount = config_new(), *other = config_new();
    char *text;

    (void)state;
    clear_environment();
    text = described(mount, "s3://bucket/volume");
    assert_string_equal(text, "endpoint aws\nregion us-east-1\n");
    set(other, "path_style", NULL);
    assert_int_equal(shale_store_config_adopt(other, text), 0);
    assert_int_equal(shale_store_config_adopt(other, "virtual_host\nfrom_the_future yes\n"), 0);
    assert_string_equal(shale_store_config_options(other)->s3->endpoint, "aws");
    assert_true(shale_store_config_options(other)->s3->path_style);
    free(text);
    text = described(mount, "gs://bucket/volume");
    assert_string_equal(text, "endpoint https://storage.googleapis.com\nregion us-east-1\n");
    free(text);
    text = described(mount, "file:///a/volume");
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(shale_store_config_adopt(other, "ca /no/such/file\n"), -EINVAL);
    assert_non_null(strstr(shale_errmsg(), "ca /no/such/file"));
    shale_store_config_free(mount);
    shale_store_config_free(other);
}

static void an_azure_account_is_told_without_its_keys(void **state)
{
    struct shale_store_config *mount = config_new(), *other = config_new();
    const struct shale_azure_options *azure;
    char *text;

    (void)state;
    clear_environment();
    setenv("AZURE_STORAGE_ACCOUNT", "ours", 1);
    setenv("AZURE_STORAGE_KEY", "HUSH", 1);
    setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=ours;AccountKey=HUSH", 1);
    set(mount, "endpoint", "https://blob.example.org");
    set(mount, "emulator", NULL);
    text = described(mount, "az://container/volume");
    assert_string_equal(text, "endpoint https://blob.example.org\naccount ours\nemulator\n");
    unsetenv("AZURE_STORAGE_ACCOUNT");
    unsetenv("AZURE_STORAGE_KEY");
    unsetenv("AZURE_STORAGE_CONNECTION_STRING");
    assert_int_equal(shale_store_config_adopt(other, text), 0);
    shale_store_config_limit(other, 5000);
    azure = shale_store_config_options(other)->azure;
    assert_string_equal(azure->account, "ours");
    assert_string_equal(azure->endpoint, "https://blob.example.org");
    assert_true(azure->emulator && !azure->anonymous);
    assert_int_equal(azure->first_byte_ms, 5000);
    assert_null(azure->key);
    free(text);
    shale_store_config_free(mount);
    shale_store_config_free(other);
}

/* The environment would say otherwise; "aws" says AWS. */
static void aws_is_a_place(void **state)
{
    struct shale_store_config *c = config_new();
    struct shale_store *s = NULL;
    char *path = NULL;

    (void)state;
    clear_environment();
    setenv("AWS_ENDPOINT_URL_S3", "no-url-at-all", 1);
    assert_int_equal(shale_store_open_with("s3://bucket/v", false, shale_store_config_options(c), &s, &path), -EINVAL);
    set(c, "endpoint", "aws");
    assert_int_equal(shale_store_open_with("s3://bucket/v", false, shale_store_config_options(c), &s, &path), 0);
    shale_store_close(s);
    free(path);
    shale_store_config_free(c);
    clear_environment();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_is_found_in_both_spellings),
        cmocka_unit_test(no_setting_takes_a_key),
        cmocka_unit_test(settings_become_options),
        cmocka_unit_test(a_file_name_becomes_absolute),
        cmocka_unit_test(what_cannot_be_right_is_refused),
        cmocka_unit_test(another_process_finds_the_same_place),
        cmocka_unit_test(a_bucket_of_aws_is_told_as_such),
        cmocka_unit_test(an_azure_account_is_told_without_its_keys),
        cmocka_unit_test(aws_is_a_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
