/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "lib/heap_fault.h"
#include "lib/temp_dir.h"
#include "net/aws_profile.h"

#include <errno.h>
#include <shale/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *dir;
static struct aws_config *config;

static void write_file(const char *name, const char *text)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void set_file(const char *variable, const char *name, const char *text)
{
    char path[4096];

    if (text)
        write_file(name, text);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    setenv(variable, path, 1);
}

static void clear_environment(void)
{
    static const char *const names[] = {
        "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION",
        "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

static int setup(void **state)
{
    (void)state;
    clear_environment();
    dir = temp_dir_new();
    setenv("HOME", dir, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    aws_config_free(config);
    config = NULL;
    temp_dir_remove(dir);
    return 0;
}

static void load(const char *config_text, const char *credentials_text)
{
    aws_config_free(config);
    config = NULL;
    set_file("AWS_CONFIG_FILE", "config", config_text);
    set_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", credentials_text);
    assert_int_equal(aws_config_load(&config), 0);
}

static void check(const char *profile, const char *name, const char *expected)
{
    const char *value = aws_config_get(config, profile, name);

    if (!expected)
        assert_null(value);
    else if (!value)
        fail_msg("%s of %s is missing", name, profile);
    else
        assert_string_equal(value, expected);
}

static void sections_are_profiles_by_the_rules_of_their_file(void **state)
{
    (void)state;
    load("[default]\nregion = eu-west-1\n[profile a]\nregion=a-1\n[profile \"b c\"]\nregion : b-1\n[d]\nregion = no\n"
         "[profile empty]\n[profile\tt]\nRegion = T\n[profile 'q']\nregion=q\n",
         "[d]\naws_access_key_id = AKID\n[profile e]\nregion = odd\n");
    check("default", "region", "eu-west-1");
    check("a", "region", "a-1");
    check("b c", "region", "b-1");
    check("t", "region", "T");
    check("q", "region", "q");
    check("d", "region", NULL);
    check("d", "aws_access_key_id", "AKID");
    assert_true(aws_config_has_profile(config, "empty"));
    assert_false(aws_config_has_profile(config, "e"));
    assert_true(aws_config_has_profile(config, "profile e"));
    assert_false(aws_config_has_profile(config, "nobody"));
}

static void the_credentials_file_counts_more(void **state)
{
    (void)state;
    load("[profile a]\naws_access_key_id = of config\nregion = r\n",
         "[a]\naws_access_key_id = of credentials\naws_access_key_id = the last\n");
    check("a", "aws_access_key_id", "the last");
    check("a", "region", "r");
}

static void odd_lines_are_understood(void **state)
{
    char text[3000], token[1501];

    (void)state;
    memset(token, 'T', 1500);
    token[1500] = '\0';
    snprintf(text, sizeof(text), "\xef\xbb\xbf# comment\n; another\n\n[a] # behind\r\n  aws_session_token=%s\r\n"
             "  x = 1 # one\n  y = 1#one\n  z =\n  credential_process = /bin/p \"a # b\"  \n  e = ;nothing\n\n"
             "  more = a=b:c\n    goes on\nlast = no newline", token);
    load("", text);
    check("a", "aws_session_token", token);
    check("a", "x", "1");
    check("a", "y", "1#one");
    check("a", "z", NULL);
    check("a", "e", NULL);
    check("a", "credential_process", "/bin/p \"a # b\"");
    check("a", "more", "a=b:c");
    check("a", "last", "no newline");
}

static void a_long_name_of_a_profile_is_whole(void **state)
{
    char name[201], text[300];

    (void)state;
    memset(name, 'n', 200);
    name[200] = '\0';
    snprintf(text, sizeof(text), "[profile %s]\nregion = far\n", name);
    load(text, "");
    check(name, "region", "far");
    name[199] = '\0';
    check(name, "region", NULL);
}

/* Where and what, and never the line. */
static void what_cannot_be_parsed_is_named_by_its_line(void **state)
{
    static const struct { const char *text, *why; } bad[] = {
        { "region = x\n", "line 1: a setting in front" },
        { "[a\nregion = x\n", "line 1: the name of a section" },
        { "[a]\n\n# c\nSECRETSECRET\n", "line 4: neither" },
        { "[a]\n= SECRETSECRET\n", "line 2: neither" },
        { "[a]\ns3 =\n  SECRETSECRET\n", "line 3: an indented line" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        set_file("AWS_CONFIG_FILE", "config", bad[i].text);
        assert_int_equal(aws_config_load(&config), -EINVAL);
        if (!strstr(shale_errmsg(), bad[i].why) || !strstr(shale_errmsg(), "/config, "))
            fail_msg("\"%s\"", shale_errmsg());
        assert_null(strstr(shale_errmsg(), "SECRET"));
        assert_null(config);
    }
}

static void files_are_found(void **state)
{
    char path[4096], huge[4096];

    (void)state;
    assert_int_equal(aws_config_load(&config), 0);
    assert_false(aws_config_has_profile(config, "default"));
    assert_non_null(strstr(aws_config_files(config), "/.aws/config or "));
    aws_config_free(config);
    config = NULL;
    write_file("own", "[default]\nregion = tilde\n");
    setenv("AWS_CONFIG_FILE", "~/own", 1);
    assert_int_equal(aws_config_load(&config), 0);
    check("default", "region", "tilde");
    aws_config_free(config);
    config = NULL;
    setenv("AWS_CONFIG_FILE", dir, 1);
    assert_int_equal(aws_config_load(&config), -EINVAL);
    assert_non_null(strstr(shale_errmsg(), dir));
    snprintf(path, sizeof(path), "%s/huge", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    memset(huge, '\n', sizeof(huge));
    for (int i = 0; i < 300; i++)
        assert_int_equal(fwrite(huge, sizeof(huge), 1, f), 1);
    fclose(f);
    setenv("AWS_CONFIG_FILE", path, 1);
    assert_int_equal(aws_config_load(&config), -EINVAL);
}

static void the_profile_is_chosen(void **state)
{
    const char *name;

    (void)state;
    load("[profile a]\n[profile b]\n[profile c]\n", "");
    assert_int_equal(aws_profile_choose(config, NULL, &name), 0);
    assert_string_equal(name, "default");
    setenv("AWS_DEFAULT_PROFILE", "c", 1);
    assert_int_equal(aws_profile_choose(config, NULL, &name), 0);
    assert_string_equal(name, "c");
    setenv("AWS_PROFILE", "b", 1);
    assert_int_equal(aws_profile_choose(config, "", &name), 0);
    assert_string_equal(name, "b");
    assert_int_equal(aws_profile_choose(config, "a", &name), 0);
    assert_string_equal(name, "a");
    setenv("AWS_PROFILE", "nobody", 1);
    assert_int_equal(aws_profile_choose(config, NULL, &name), -ENOENT);
    assert_non_null(strstr(shale_errmsg(), "the profile \"nobody\" of AWS is not in "));
    assert_int_equal(aws_profile_choose(config, "default", &name), -ENOENT);
}

static void check_endpoint(const char *profile, const char *service, const char *expected)
{
    const char *url = "unset";

    assert_int_equal(aws_endpoint_find(config, profile, service, &url), 0);
    if (expected)
        assert_string_equal(url, expected);
    else
        assert_null(url);
}

static void the_endpoint_is_found_in_order(void **state)
{
    const char *url;

    (void)state;
    load("[profile a]\nservices = mine\nendpoint_url = http://all\ns3 =\n  endpoint_url = http://not-here\n"
         "[services mine]\ns3 =\n  endpoint_url = http://s3 # ours\n  other = x\ndynamodb =\n"
         "  endpoint_url = http://d\n[profile b]\nservices = gone\n[profile i]\nendpoint_url = http://x\n"
         "ignore_configured_endpoint_urls = true\n", "");
    check_endpoint("a", "s3", "http://s3");
    check_endpoint("a", "sts", "http://all");
    check_endpoint("default", "s3", NULL);
    check_endpoint("i", "s3", NULL);
    assert_int_equal(aws_endpoint_find(config, "b", "s3", &url), -EINVAL);
    assert_non_null(strstr(shale_errmsg(), "[services gone]"));
    setenv("AWS_ENDPOINT_URL", "http://env", 1);
    check_endpoint("a", "s3", "http://env");
    setenv("AWS_ENDPOINT_URL_S3", "http://env-s3", 1);
    check_endpoint("a", "s3", "http://env-s3");
    check_endpoint("a", "sts", "http://env");
    setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True", 1);
    check_endpoint("a", "s3", NULL);
    setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false", 1);
    check_endpoint("i", "s3", "http://env-s3");
}

static void region_and_ca_are_found_in_order(void **state)
{
    (void)state;
    load("[profile a]\nregion = of-profile\nca_bundle = /p.pem\n", "");
    assert_null(aws_region_find(config, "default"));
    assert_null(aws_ca_find(config, "default"));
    assert_string_equal(aws_region_find(config, "a"), "of-profile");
    assert_string_equal(aws_ca_find(config, "a"), "/p.pem");
    setenv("AWS_DEFAULT_REGION", "second", 1);
    setenv("AWS_CA_BUNDLE", "/e.pem", 1);
    assert_string_equal(aws_region_find(config, "a"), "second");
    assert_string_equal(aws_ca_find(config, "a"), "/e.pem");
    setenv("AWS_REGION", "first", 1);
    assert_string_equal(aws_region_find(config, "a"), "first");
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    set_file("AWS_CONFIG_FILE", "config", "[default]\nregion = r\n[services s]\ns3 =\n  endpoint_url = e\n");
    set_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", "[a]\naws_access_key_id = k\naws_secret_access_key = s\n");
    for (unsigned n = 1;; n++) {
        int rc;

        heap_fault_after(n);
        rc = aws_config_load(&config);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            assert_true(n > 10);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_null(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sections_are_profiles_by_the_rules_of_their_file, setup, teardown),
        cmocka_unit_test_setup_teardown(the_credentials_file_counts_more, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_lines_are_understood, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_name_of_a_profile_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_parsed_is_named_by_its_line, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(the_profile_is_chosen, setup, teardown),
        cmocka_unit_test_setup_teardown(the_endpoint_is_found_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(region_and_ca_are_found_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(running_out_of_memory_is_an_error, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
