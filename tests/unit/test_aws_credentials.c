/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each source of credentials against a scripted server, the order of the sources, and when they are asked again.
 * Whatever is logged or said in an error is kept, and looked through for secrets in the end.
 */

#include "lib/check.h"

#include "base/buf.h"
#include "lib/heap_fault.h"
#include "lib/http_server.h"
#include "lib/said.h"
#include "lib/temp_dir.h"
#include "net/aws_credentials.h"
#include "net/http.h"

#include <errno.h>
#include <pthread.h>
#include <shale/object_store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Every secret begins so. */
#define HUSH "hush+"

#define NOW_MS INT64_C(1700000000000) /* 2023-11-14T22:13:20Z */
#define HOUR "2023-11-14T23:13:20Z"   /* an hour later */
#define HOUR_MS INT64_C(3600000)

static struct http_server *server;
static struct http_client *client;
static struct aws_credentials *credentials;
static char *dir;
static _Atomic int64_t now_ms;

static int64_t tell_now(void *arg)
{
    (void)arg;
    return now_ms;
}

/* ---- around each test ---- */

static int setup(void **state)
{
    const struct http_options opt = { .connect_ms = 2000, .first_byte_ms = 5000 };

    (void)state;
    said_clear_environment("AWS_");
    dir = temp_dir_new();
    setenv("HOME", dir, 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    now_ms = NOW_MS;
    server = http_server_start();
    return http_client_new(&opt, &client);
}

static int teardown(void **state)
{
    (void)state;
    aws_credentials_free(credentials);
    credentials = NULL;
    http_client_free(client);
    http_server_stop(server);
    temp_dir_remove(dir);
    return 0;
}

static void open_with(struct aws_credential_options opt)
{
    opt.now_ms = tell_now;
    aws_credentials_free(credentials);
    credentials = NULL;
    assert_int_equal(aws_credentials_new(&opt, client, &credentials), 0);
}

static void open_plain(void)
{
    open_with((struct aws_credential_options){ .region = NULL });
}

/* The keys are those of that access key; its secret and token are told from it. */
static void expect_keys(const char *access_key, const char *source)
{
    struct aws_keys *k = NULL;
    char secret[64], token[64];
    int rc = aws_credentials_get(credentials, &k);

    if (rc != 0)
        fail_msg("%d: %s", rc, shale_errmsg());
    snprintf(secret, sizeof(secret), HUSH "%s-secret", access_key);
    snprintf(token, sizeof(token), HUSH "%s-token", access_key);
    assert_string_equal(k->access_key, access_key);
    assert_string_equal(k->secret_key, secret);
    if (k->token)
        assert_string_equal(k->token, token);
    if (source)
        assert_string_equal(k->source, source);
    aws_keys_unref(k);
}

static void expect_failure(int expected, const char *why)
{
    struct aws_keys *k = NULL;
    int rc = aws_credentials_get(credentials, &k);

    said_add(shale_errmsg());
    if (rc != expected || !strstr(shale_errmsg(), why))
        fail_msg("%d: \"%s\", not %d: \"%s\"", rc, shale_errmsg(), expected, why);
    assert_null(k);
}

static char *path_of(const char *name)
{
    static _Thread_local char path[4096];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void write_config(const char *text)
{
    write_file("config", text);
    setenv("AWS_CONFIG_FILE", path_of("config"), 1);
}

static void serve(const char *path, int status, const char *body)
{
    const struct http_rule rule = { .path = path, .status = status, .body = body };

    http_server_add(server, &rule);
}

static const char *header_of(unsigned i, const char *name)
{
    static char value[1000];

    http_request_value(http_server_request(server, i), name, value, sizeof(value));
    return value;
}

static void set_url(const char *variable, const char *path)
{
    char url[200];

    snprintf(url, sizeof(url), "%s%s", http_server_url(server), path);
    setenv(variable, url, 1);
}

#define JSON(key, token, expiration)                                                                                  \
    "{\"AccessKeyId\": \"" key "\", \"SecretAccessKey\": \"" HUSH key "-secret\", \"" token "\": \"" HUSH key          \
    "-token\", \"Expiration\": \"" expiration "\", \"Code\": \"Success\", \"Version\": 1}"
#define STS(action, key)                                                                                              \
    "<" action "Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><" action "Result><Credentials>"         \
    "<AccessKeyId>" key "</AccessKeyId><SecretAccessKey>" HUSH key "-secret</SecretAccessKey><SessionToken>" HUSH key \
    "-token</SessionToken><Expiration>" HOUR "</Expiration></Credentials></" action "Result></" action "Response>"

/* ---- what is written down ---- */

static void set_env_keys(const char *access_key, const char *secret_key)
{
    setenv("AWS_ACCESS_KEY_ID", access_key, 1);
    setenv("AWS_SECRET_ACCESS_KEY", secret_key, 1);
}

static void options_come_before_the_environment(void **state)
{
    (void)state;
    set_env_keys("ENV", HUSH "ENV-secret");
    setenv("AWS_SESSION_TOKEN", HUSH "ENV-token", 1);
    open_plain();
    expect_keys("ENV", "the environment");
    open_with((struct aws_credential_options){ .access_key = "OPT", .secret_key = HUSH "OPT-secret" });
    expect_keys("OPT", "the options");
    open_with((struct aws_credential_options){ .anonymous = true });
    struct aws_keys *k = NULL;
    assert_int_equal(aws_credentials_get(credentials, &k), 0);
    assert_null(k);
}

static void half_a_pair_is_an_error(void **state)
{
    (void)state;
    setenv("AWS_SECRET_ACCESS_KEY", HUSH "s", 1);
    open_plain();
    expect_failure(-EINVAL, "the environment: AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not");
    open_with((struct aws_credential_options){ .access_key = "OPT" });
    expect_failure(-EINVAL, "the options: the access key is set, but the secret key is not");
    write_config("[default]\naws_access_key_id = AKID\n");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    open_plain();
    expect_failure(-EINVAL, "profile \"default\": aws_access_key_id is set, but aws_secret_access_key is not");
    set_env_keys("AKID", HUSH "a\r\nHost: b");
    open_plain();
    expect_failure(-EINVAL, "the keys from the environment have characters");
}

static void a_given_profile_comes_before_the_environment(void **state)
{
    (void)state;
    write_config("[default]\naws_access_key_id = DEF\naws_secret_access_key = " HUSH "DEF-secret\n"
                 "[profile a]\naws_access_key_id = A\naws_secret_access_key = " HUSH "A-secret\n"
                 "aws_session_token = " HUSH "A-token\n");
    open_plain();
    expect_keys("DEF", "profile \"default\"");
    set_env_keys("ENV", HUSH "ENV-secret");
    setenv("AWS_PROFILE", "a", 1);
    open_plain();
    expect_keys("ENV", NULL);
    open_with((struct aws_credential_options){ .profile = "a" });
    expect_keys("A", "profile \"a\"");
    open_with((struct aws_credential_options){ .profile = "nobody" });
    expect_failure(-EINVAL, "the profile \"nobody\" of AWS is not in ");
}

static void without_any_source_the_sentence_names_all(void **state)
{
    (void)state;
    open_plain();
    expect_failure(-EACCES, "no credentials for AWS: AWS_ACCESS_KEY_ID is not set, AWS_WEB_IDENTITY_TOKEN_FILE is not "
                            "set, profile \"default\" is not in ");
    expect_failure(-EACCES, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set, the instance's metadata "
                            "are switched off (AWS_EC2_METADATA_DISABLED); set AWS_ACCESS_KEY_ID and ");
}

/* ---- roles ---- */

static void set_web_identity(void)
{
    write_file("token", HUSH "web-identity/+=\n");
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path_of("token"), 1);
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
    set_url("AWS_ENDPOINT_URL_STS", "/");
}

static void a_web_identity_becomes_a_role(void **state)
{
    (void)state;
    set_web_identity();
    setenv("AWS_ROLE_SESSION_NAME", "me", 1);
    serve("/", 200, STS("AssumeRoleWithWebIdentity", "WEB"));
    open_plain();
    expect_keys("WEB", "a web identity");
    assert_int_equal(http_server_count(server), 1);
    assert_string_equal(http_server_request(server, 0)->method, "POST");
    assert_string_equal(http_server_request(server, 0)->body,
                        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"
                        "RoleSessionName=me&WebIdentityToken=hush%2Bweb-identity%2F%2B%3D");
    assert_string_equal(header_of(0, "authorization"), "");
    assert_string_equal(header_of(0, "content-type"), "application/x-www-form-urlencoded; charset=utf-8");
}

static void a_web_identity_can_fail(void **state)
{
    static const struct { int status; const char *body; int rc; const char *why; } answers[] = {
        { 403, "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized</Message>"
               "</Error></ErrorResponse>", -EACCES, "STS does not grant role arn:aws:iam::1:role/r to a web identity: "
               "403 AccessDenied: Not authorized" },
        { 400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>what is " HUSH
               "web-identity/+=?</Message></Error></ErrorResponse>", -EACCES, "400 InvalidIdentityToken" },
        { 400, "<ErrorResponse><Error><Code>IDPCommunicationError</Code></Error></ErrorResponse>", SHALE_ETRANSIENT,
          "IDPCommunicationError" },
        { 403, "<Error><Code>SignatureDoesNotMatch</Code><RequestId>1</RequestId></Error>", -EACCES,
          "403 SignatureDoesNotMatch" },
        { 500, "", SHALE_ETRANSIENT, "500" },
        { 200, "", -EIO, "is not XML" },
        { 200, "<html>", -EIO, "is not XML" },
        { 200, "<a><b><Credentials><AccessKeyId>A</AccessKeyId></Credentials></b></a>", -EIO, "lacks keys" },
    };

    (void)state;
    set_web_identity();
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        http_server_clear(server);
        serve("/", answers[i].status, answers[i].body);
        open_plain();
        expect_failure(answers[i].rc, answers[i].why);
    }
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path_of("none"), 1);
    open_plain();
    expect_failure(-EINVAL, "cannot read the web identity token ");
    write_file("none", "\n");
    open_plain();
    expect_failure(-EINVAL, "is empty");
    unsetenv("AWS_ROLE_ARN");
    open_plain();
    expect_failure(-EINVAL, "AWS_ROLE_ARN is not");
}

static void a_profile_takes_on_a_role(void **state)
{
    (void)state;
    write_config("[profile r]\nrole_arn = arn:r\nsource_profile = base\nexternal_id = x&y\nregion = eu-central-1\n"
                 "duration_seconds = 900\nrole_session_name = me\n"
                 "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = " HUSH "BASE-secret\n"
                 "aws_session_token = " HUSH "BASE-token\n");
    set_url("AWS_ENDPOINT_URL", "");
    serve("/", 200, STS("AssumeRole", "ROLE"));
    open_with((struct aws_credential_options){ .profile = "r" });
    expect_keys("ROLE", "profile \"r\" (role_arn)");
    assert_string_equal(http_server_request(server, 0)->body, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Ar&"
                        "RoleSessionName=me&ExternalId=x%26y&DurationSeconds=900");
    assert_non_null(strstr(header_of(0, "authorization"), "/eu-central-1/sts/aws4_request"));
    assert_non_null(strstr(header_of(0, "authorization"), "Credential=BASE/"));
    assert_non_null(strstr(header_of(0, "authorization"),
                           "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,"));
    assert_string_equal(header_of(0, "x-amz-security-token"), HUSH "BASE-token");
}

static void roles_go_by_roles(void **state)
{
    const struct http_rule first = { .path = "/", .times = 1, .body = STS("AssumeRole", "MIDDLE") };

    (void)state;
    write_config("[profile a]\nrole_arn = arn:a\nsource_profile = b\n[profile b]\nrole_arn = arn:b\n"
                 "source_profile = b\naws_access_key_id = B\naws_secret_access_key = " HUSH "B-secret\n"
                 "[profile e]\nrole_arn = arn:e\ncredential_source = Environment\n"
                 "[profile w]\nrole_arn = arn:w\nweb_identity_token_file = token\n");
    set_url("AWS_ENDPOINT_URL", "");
    http_server_add(server, &first);
    serve("/", 200, STS("AssumeRole", "LAST"));
    open_with((struct aws_credential_options){ .profile = "a" });
    expect_keys("LAST", NULL);
    assert_non_null(strstr(header_of(0, "authorization"), "Credential=B/"));
    assert_non_null(strstr(header_of(1, "authorization"), "Credential=MIDDLE/"));
    set_env_keys("ENV", HUSH "ENV-secret");
    open_with((struct aws_credential_options){ .profile = "e" });
    expect_keys("LAST", NULL);
    assert_non_null(strstr(header_of(2, "authorization"), "Credential=ENV/"));
    open_with((struct aws_credential_options){ .profile = "w" });
    expect_failure(-EINVAL, "cannot read the web identity token token");
}

static void profiles_that_make_no_sense_say_so(void **state)
{
    static const struct { const char *profile, *why; int rc; } bad[] = {
        { "alone", "none of web_identity_token_file, source_profile", -EINVAL },
        { "lost", "\"source_profile = nobody\", which is not in", -EINVAL },
        { "poor", "\"source_profile = empty\", which has no keys", -EACCES },
        { "circle", "is its own source_profile", -EINVAL },
        { "odd", "\"credential_source = Moon\", which is unknown", -EINVAL },
        { "env", "\"credential_source = Environment\", which has no keys", -EACCES },
        { "mfa", "(mfa_serial)", -EINVAL },
        { "sso", "credential_process = aws configure export-credentials --profile sso --format process", -EINVAL },
        { "empty", "profile \"empty\" has no keys in", -EACCES },
    };

    (void)state;
    write_config("[profile alone]\nrole_arn = r\n[profile lost]\nrole_arn = r\nsource_profile = nobody\n"
                 "[profile poor]\nrole_arn = r\nsource_profile = empty\n[profile empty]\n"
                 "[profile circle]\nrole_arn = r\nsource_profile = back\n[profile back]\nrole_arn = r\n"
                 "source_profile = circle\n"
                 "[profile odd]\nrole_arn = r\ncredential_source = Moon\n"
                 "[profile env]\nrole_arn = r\ncredential_source = Environment\n"
                 "[profile mfa]\nrole_arn = r\nsource_profile = empty\nmfa_serial = m\n[profile sso]\n"
                 "sso_session = s\n");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        open_with((struct aws_credential_options){ .profile = bad[i].profile });
        expect_failure(bad[i].rc, bad[i].why);
    }
}

/* ---- processes ---- */

static void write_process(const char *script, const char *arguments)
{
    char text[5000];

    write_file("my process.sh", script);
    snprintf(text, sizeof(text), "[default]\ncredential_process = /bin/sh \"%s\" %s\n", path_of("my process.sh"),
             arguments);
    write_config(text);
}

static void a_process_prints_keys(void **state)
{
    (void)state;
    write_process("[ \"$1\" = '$HOME;a # b' ] && [ \"$2\" = 'x\"y' ] && [ \"$3\" = 'p q' ] && [ $# = 4 ] || exit 9\n"
                  "cat <<END\n" JSON("PROC", "SessionToken", HOUR) "\nEND\n",
                  "'$HOME;a # b' \"x\\\"y\" p\\ q ''");
    open_plain();
    expect_keys("PROC", "profile \"default\" (credential_process)");
}

static void what_a_process_leaves_behind_does_not_hold_us_up(void **state)
{
    time_t begun = time(NULL);

    (void)state;
    write_process("sleep 20 & cat <<END\n" JSON("PROC", "SessionToken", HOUR) "\nEND\nkill -0 $! && echo ' '\n"
                  "(sleep 0.1; exec >&-; kill $!) &\n", "");
    open_plain();
    expect_keys("PROC", NULL);
    assert_true(time(NULL) - begun < 10);
}

static void a_process_can_fail(void **state)
{
    static const struct { const char *script; int rc; const char *why; } bad[] = {
        { "echo " HUSH "out; echo '(the error output of a test)' >&2; exit 3", -EACCES, "it ended with status 3" },
        { "kill -9 $$", -EACCES, "it was ended by signal 9" },
        { "echo '" HUSH " no json'", -EIO, "the answer is no JSON object" },
        { "echo '{\"AccessKeyId\": \"" HUSH "'", -EIO, "the answer is no JSON object" },
        { "echo '[1]'", -EIO, "the answer is no JSON object" },
        { "true", -EIO, "the answer is no JSON object" },
        { "echo '{\"Version\": 2}'", -EIO, "not of Version 1" },
        { "echo '{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": 5}'", -EIO, "has no SecretAccessKey" },
        { "echo '{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"" HUSH "\", "
          "\"Expiration\": \"soon\"}'", -EIO, "Expiration in the answer is no time" },
        { "echo '{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"" HUSH "\", \"Expiration\": "
          "\"2023-11-14T22:13:21Z\"}'", -EACCES, "have expired" },
        { "yes " HUSH " | head -c 100000", -EIO, "it prints more than 65536 bytes" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_process(bad[i].script, "");
        open_plain();
        expect_failure(bad[i].rc, bad[i].why);
    }
    write_config("[default]\ncredential_process = /no/such/program " HUSH "\n");
    open_plain();
    expect_failure(-EINVAL, "cannot run /no/such/program: ");
    write_config("[default]\ncredential_process = \"/bin/true " HUSH "\n");
    open_plain();
    expect_failure(-EINVAL, "a quote that is not closed");
}

/* ---- the container's endpoint ---- */

static void a_container_is_asked(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* nobody there */
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds?a=b");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", HUSH "plain", 1);
    serve("/creds", 200, JSON("CONT", "Token", HOUR));
    open_plain();
    expect_keys("CONT", "the container's endpoint");
    assert_string_equal(http_server_request(server, 0)->target, "/creds?a=b");
    assert_string_equal(header_of(0, "authorization"), HUSH "plain");
    write_file("token", HUSH "of file\n");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path_of("token"), 1);
    open_plain();
    expect_keys("CONT", NULL);
    assert_string_equal(header_of(1, "authorization"), HUSH "of file");
    write_file("token", HUSH "a\r\nEvil: b");
    open_plain();
    expect_failure(-EINVAL, "authorization token has characters");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path_of("none"), 1);
    open_plain();
    expect_failure(-EINVAL, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    assert_int_equal(http_server_count(server), 2);
}

static void only_hosts_nearby_are_asked_without_tls(void **state)
{
    static const char *const bad[] = {
        "http://example.com/", "http://10.0.0.1/", "http://127.0.0.1@example.com/", "http://localhost.example.com/",
        "http://localhost:80@example.com/", "http://[fd00::1]/", "http://[::1/", "ftp://localhost/", "http://",
        "http://169.254.170.3/", "http://127.0.0.1\\@example.com/", "localhost",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i], 1);
        open_plain();
        expect_failure(-EINVAL, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    }
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/", 1);
    open_plain();
    expect_failure(-EINVAL, "does not begin with a slash");
}

static void a_container_can_fail(void **state)
{
    static char huge[70000];
    static const struct { int status; const char *body; int rc; const char *why; } answers[] = {
        { 403, HUSH, -EACCES, "answers 403" },
        { 500, HUSH, SHALE_ETRANSIENT, "answers 500" },
        { 200, "", -EIO, "no JSON" },
        { 200, "{\"AccessKeyId\": \"" HUSH, -EIO, "no JSON" },
        { 200, "{\"SecretAccessKey\": \"" HUSH "\"}", -EIO, "no AccessKeyId" },
        { 200, huge, -EIO, "longer than 65536 bytes" },
    };
    const struct http_rule blip = { .times = 1, .status = 503 }, drop = { .drop = true };
    const struct http_rule cut = { .body = JSON("CONT", "Token", HOUR), .cut = 60 };

    (void)state;
    memset(huge, ' ', sizeof(huge) - 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/");
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        http_server_clear(server);
        serve("/", answers[i].status, answers[i].body);
        open_plain();
        expect_failure(answers[i].rc, answers[i].why);
    }
    http_server_clear(server);
    http_server_add(server, &drop);
    open_plain();
    expect_failure(SHALE_ETRANSIENT, "cannot ask the container's endpoint");
    http_server_clear(server);
    http_server_add(server, &cut);
    open_plain();
    expect_failure(SHALE_ETRANSIENT, "cannot ask the container's endpoint");
    http_server_clear(server);
    http_server_add(server, &blip);
    serve("/", 200, JSON("CONT", "Token", HOUR));
    open_plain();
    expect_keys("CONT", NULL);
}

/* ---- the instance's metadata ---- */

#define TOKEN_PATH "/latest/api/token"
#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"

static void be_an_instance(const char *json)
{
    unsetenv("AWS_EC2_METADATA_DISABLED");
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
    serve(TOKEN_PATH, 200, HUSH "imds");
    serve(ROLE_PATH, 200, "my-role\n");
    serve(ROLE_PATH "my-role", 200, json);
}

static void an_instance_is_asked(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    be_an_instance(JSON("INST", "Token", HOUR));
    open_plain();
    expect_keys("INST", "the instance's metadata");
    assert_int_equal(http_server_count(server), 3);
    assert_string_equal(http_server_request(server, 0)->method, "PUT");
    assert_string_equal(header_of(0, "x-aws-ec2-metadata-token-ttl-seconds"), "300");
    assert_string_equal(http_server_request(server, 2)->method, "GET");
    assert_string_equal(header_of(2, "x-aws-ec2-metadata-token"), HUSH "imds");
}

static void an_instance_can_fail(void **state)
{
    const struct http_rule no_role = { .path = ROLE_PATH, .status = 404 };
    const struct http_rule no_token = { .path = TOKEN_PATH, .status = 403 };
    const struct http_rule bad_token = { .path = TOKEN_PATH, .body = "<html>\x01</html>" };

    (void)state;
    be_an_instance("{\"Code\": \"AssumeRoleUnauthorizedAccess\"}");
    open_plain();
    expect_failure(-EACCES, "it answers with AssumeRoleUnauthorizedAccess");
    http_server_clear(server);
    be_an_instance("{\"Code\": \"" HUSH "\"}");
    open_plain();
    expect_failure(-EACCES, "it answers with a failure");
    http_server_clear(server);
    http_server_add(server, &no_role);
    be_an_instance("");
    open_plain();
    expect_failure(-EACCES, "this instance has no role; set");
    http_server_clear(server);
    http_server_add(server, &no_token);
    open_plain();
    expect_failure(-EACCES, "answer 403 when asked for a token; set");
    http_server_clear(server);
    http_server_add(server, &bad_token);
    open_plain();
    expect_failure(-EIO, "something else than a token");
}

/* Somebody's laptop: it takes two attempts of a second. */
static void an_instance_that_is_none_is_given_up_fast(void **state)
{
    const struct http_rule silent = { .hold = true };
    struct timespec a, b;

    (void)state;
    unsetenv("AWS_EC2_METADATA_DISABLED");
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    http_server_add(server, &silent);
    open_plain();
    clock_gettime(CLOCK_MONOTONIC, &a);
    expect_failure(-EACCES, "no credentials for AWS");
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_in_range(b.tv_sec - a.tv_sec, 1, 8);
    assert_int_equal(http_server_count(server), 2);
}

static void an_instance_may_hand_out_keys_that_have_expired(void **state)
{
    (void)state;
    be_an_instance(JSON("INST", "Token", "2023-11-14T22:00:00Z"));
    open_plain();
    expect_keys("INST", NULL);
    assert_true(said_has("give keys that have expired"));
}

/* ---- time ---- */

static void keys_are_renewed_before_they_expire(void **state)
{
    const struct http_rule first = { .path = "/", .times = 1, .body = JSON("ONE", "Token", HOUR) };

    (void)state;
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/");
    http_server_add(server, &first);
    serve("/", 200, JSON("TWO", "Token", "2023-11-15T00:13:20.5+00:00"));
    open_plain();
    expect_keys("ONE", NULL);
    now_ms = NOW_MS + HOUR_MS - 301000;
    expect_keys("ONE", NULL);
    assert_int_equal(http_server_count(server), 1);
    now_ms = NOW_MS + HOUR_MS - 299000;
    expect_keys("TWO", NULL);
    expect_keys("TWO", NULL);
    assert_int_equal(http_server_count(server), 2);
}

static void a_source_may_fail_while_keys_hold(void **state)
{
    const struct http_rule first = { .path = "/", .times = 1, .body = JSON("ONE", "Token", HOUR) };
    const struct http_rule bad = { .path = "/", .times = 2, .status = 403 };

    (void)state;
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/");
    http_server_add(server, &first);
    http_server_add(server, &bad);
    serve("/", 200, JSON("TWO", "Token", "2023-11-15T00:13:20Z"));
    open_plain();
    expect_keys("ONE", NULL);
    now_ms = NOW_MS + HOUR_MS - 200000;
    expect_keys("ONE", NULL);
    assert_true(said_has("cannot renew the credentials from the container's endpoint, which hold for 200 s more: "
                         "the container's endpoint for credentials answers 403"));
    now_ms += 29000; /* not asked again at once */
    expect_keys("ONE", NULL);
    assert_int_equal(http_server_count(server), 2);
    now_ms = NOW_MS + HOUR_MS - 9000; /* too late for a request */
    expect_failure(SHALE_ETRANSIENT, "answers 403");
    expect_keys("TWO", NULL);
    assert_int_equal(http_server_count(server), 4);
}

static void a_source_that_is_settled_is_not_left(void **state)
{
    (void)state;
    be_an_instance(JSON("INST", "Token", HOUR));
    open_plain();
    expect_keys("INST", NULL);
    set_env_keys("ENV", HUSH "ENV-secret");
    now_ms = NOW_MS + HOUR_MS;
    http_server_clear(server);
    serve(TOKEN_PATH, 500, "");
    expect_failure(SHALE_ETRANSIENT, "the instance's metadata answer 500");
    http_server_clear(server);
    be_an_instance(JSON("INST", "Token", "2023-11-15T00:13:20Z"));
    expect_keys("INST", NULL);
}

static void *get_in_thread(void *arg)
{
    struct aws_keys *k = NULL;
    int rc = aws_credentials_get(credentials, &k);

    snprintf(arg, 40, "%s", rc == 0 ? k->access_key : shale_errmsg());
    aws_keys_unref(k);
    return NULL;
}

/* One asks, the others wait for its answer; or go on, when there are keys that hold. */
static void one_thread_asks(void **state)
{
    const struct http_rule first = { .times = 1, .hold = true, .body = JSON("ONE", "Token", HOUR) };
    const struct http_rule second = { .times = 1, .hold = true, .body = JSON("TWO", "Token", "2023-11-15T00:13:20Z") };
    pthread_t threads[4];
    char got[4][40];

    (void)state;
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/");
    http_server_add(server, &first);
    http_server_add(server, &second);
    open_plain();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_in_thread, got[i]), 0);
    assert_true(http_server_wait(server, 1));
    http_server_release(server);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_string_equal(got[i], "ONE");
    }
    assert_int_equal(http_server_count(server), 1);
    now_ms = NOW_MS + HOUR_MS - 60000;
    assert_int_equal(pthread_create(&threads[0], NULL, get_in_thread, got[0]), 0);
    assert_true(http_server_wait(server, 2));
    expect_keys("ONE", NULL);
    http_server_release(server);
    pthread_join(threads[0], NULL);
    assert_string_equal(got[0], "TWO");
    assert_int_equal(http_server_count(server), 2);
}

static void refused_keys_are_given_up_once(void **state)
{
    const struct http_rule first = { .path = "/", .times = 1, .body = JSON("ONE", "Token", HOUR) };
    struct aws_keys *one, *two;

    (void)state;
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/");
    http_server_add(server, &first);
    serve("/", 200, JSON("TWO", "Token", HOUR));
    open_plain();
    assert_int_equal(aws_credentials_get(credentials, &one), 0);
    assert_true(aws_credentials_refused(credentials, one));
    assert_true(aws_credentials_refused(credentials, one));
    assert_int_equal(aws_credentials_get(credentials, &two), 0);
    assert_string_equal(two->access_key, "TWO");
    assert_true(aws_credentials_refused(credentials, one)); /* there are others already */
    assert_false(aws_credentials_refused(credentials, two));
    expect_keys("TWO", NULL);
    assert_int_equal(http_server_count(server), 2);
    now_ms += 31000;
    assert_true(aws_credentials_refused(credentials, two));
    aws_keys_unref(one);
    aws_keys_unref(two);
    set_env_keys("ENV", HUSH "ENV-secret");
    open_plain();
    assert_int_equal(aws_credentials_get(credentials, &one), 0);
    assert_false(aws_credentials_refused(credentials, one));
    aws_keys_unref(one);
}

static void open_store(struct shale_store **store)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    set_url("AWS_ENDPOINT_URL_S3", "");
    assert_int_equal(shale_store_s3("bucket", NULL, store), 0);
}

static void add_two_keys(void)
{
    const struct http_rule one = { .path = "/creds", .times = 1, .body = JSON("ONE", "Token", "2999-01-01T00:00:00Z") };

    http_server_add(server, &one);
    serve("/creds", 200, JSON("TWO", "Token", "2999-01-01T00:00:00Z"));
}

/* An answer to HEAD tells no code; ranges are on their way at once. */
static void other_requests_try_again_too(void **state)
{
    const struct http_rule head_bad = { .method = "HEAD", .times = 1, .status = 400 };
    const struct http_rule head = { .method = "HEAD", .path = "/bucket/a", .body = "data",
                                    .headers = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n" };
    /* One refusal for each object: whichever is tried again first is not refused in the other's place. */
    const struct http_rule bad_a = { .path = "/bucket/a", .times = 1, .status = 403,
                                     .body = "<Error><Code>InvalidAccessKeyId</Code></Error>" };
    const struct http_rule bad_b = { .path = "/bucket/b", .times = 1, .status = 403,
                                     .body = "<Error><Code>InvalidAccessKeyId</Code></Error>" };
    const struct http_rule part = { .path = "/bucket/*", .status = 206, .body = "dat",
                                    .headers = "Content-Range: bytes 0-2/4\r\n" };
    struct shale_range_get r[2] = { { .name = "a", .len = 3 }, { .name = "b", .len = 3 } };
    struct shale_object_meta meta;
    struct shale_store *store;

    (void)state;
    add_two_keys();
    http_server_add(server, &head_bad);
    http_server_add(server, &head);
    open_store(&store);
    assert_int_equal(shale_store_head(store, "a", &meta), 0);
    assert_int_equal(meta.size, 4);
    shale_store_close(store);
    http_server_clear(server);
    add_two_keys();
    http_server_add(server, &bad_a);
    http_server_add(server, &bad_b);
    http_server_add(server, &part);
    open_store(&store);
    assert_int_equal(shale_store_get_ranges(store, r, 2), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(r[i].rc, 0);
        assert_memory_equal(r[i].out.data, "dat", 3);
        shale_buf_fini(&r[i].out);
    }
    shale_store_close(store);
}

/* Temporary keys may have been withdrawn: others are asked for, once in a while. */
static void a_refusal_of_permission_asks_once(void **state)
{
    const struct http_rule denied = { .path = "/bucket/*", .status = 403,
                                      .body = "<Error><Code>AccessDenied</Code></Error>" };
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_store *store;

    (void)state;
    add_two_keys();
    http_server_add(server, &denied);
    open_store(&store);
    assert_int_equal(shale_store_get(store, "a", &out), -EACCES);
    said_add(shale_errmsg());
    assert_non_null(strstr(shale_errmsg(), "to access key TWO from the container's endpoint"));
    assert_int_equal(http_server_count(server), 4);
    assert_int_equal(shale_store_get(store, "a", &out), -EACCES);
    assert_int_equal(http_server_count(server), 5);
    shale_store_close(store);
}

/* Keys that stay wrong: once more, and then the sentence says whose they are. */
static void keys_that_stay_wrong_end_it(void **state)
{
    const struct http_rule unknown = { .path = "/bucket/*", .status = 403,
                                       .body = "<Error><Code>InvalidAccessKeyId</Code></Error>" };
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_store *store;

    (void)state;
    write_config("[default]\naws_access_key_id = A\naws_secret_access_key = " HUSH "A-secret\n");
    set_url("AWS_ENDPOINT_URL_S3", "");
    http_server_add(server, &unknown);
    assert_int_equal(shale_store_s3("bucket", NULL, &store), 0);
    assert_int_equal(shale_store_get(store, "a", &out), -EACCES);
    said_add(shale_errmsg());
    assert_non_null(strstr(shale_errmsg(), "the store does not know access key A, which is from profile \"default\""));
    assert_int_equal(http_server_count(server), 2);
    assert_int_equal(shale_store_get(store, "a", &out), -EACCES);
    assert_int_equal(http_server_count(server), 3);
    shale_store_close(store);
}

/* A store, through its own requests. */
static void a_store_tries_again_with_new_keys(void **state)
{
    const struct http_rule keys1 = { .path = "/creds", .times = 1,
                                     .body = JSON("ONE", "Token", "2999-01-01T00:00:00Z") };
    const struct http_rule keys2 = { .path = "/creds", .body = JSON("TWO", "Token", "2999-01-01T00:00:00Z") };
    const struct http_rule expired = { .path = "/bucket/a", .times = 1, .status = 400,
                                       .body = "<Error><Code>ExpiredToken</Code></Error>" };
    const struct http_rule object = { .path = "/bucket/a", .body = "data" };
    struct shale_store *store;
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    write_config("[profile p]\nregion = there-1\n[services s]\ns3 =\n  endpoint_url = http://127.0.0.1:1\n");
    set_url("AWS_ENDPOINT_URL_S3", "");
    setenv("AWS_PROFILE", "p", 1);
    http_server_add(server, &keys1);
    http_server_add(server, &keys2);
    http_server_add(server, &expired);
    http_server_add(server, &object);
    assert_int_equal(shale_store_s3("bucket", NULL, &store), 0);
    assert_int_equal(shale_store_get(store, "a", &out), 0);
    assert_memory_equal(out.data, "data", 4);
    assert_int_equal(http_server_count(server), 4);
    assert_non_null(strstr(header_of(1, "authorization"), "Credential=ONE/"));
    assert_non_null(strstr(header_of(3, "authorization"), "Credential=TWO/"));
    assert_non_null(strstr(header_of(3, "authorization"), "/there-1/s3/"));
    assert_string_equal(header_of(3, "x-amz-security-token"), HUSH "TWO-token");
    shale_buf_fini(&out);
    shale_store_close(store);
    setenv("AWS_PROFILE", "nobody", 1);
    assert_int_equal(shale_store_s3("bucket", NULL, &store), -ENOENT);
    said_add(shale_errmsg());
}

/* ---- memory, and what was said ---- */

static void fail_all_allocations(const char *access_key)
{
    for (unsigned n = 1;; n++) {
        const struct aws_credential_options opt = { .region = "r", .profile = "default" };
        struct aws_credentials *c = NULL;
        struct aws_keys *k = NULL;
        int rc;

        heap_fault_after(n);
        rc = aws_credentials_new(&opt, client, &c);
        if (rc == 0)
            rc = aws_credentials_get(c, &k);
        if (!heap_fault_off()) {
            assert_int_equal(rc, 0);
            assert_string_equal(k->access_key, access_key);
            aws_keys_unref(k);
            aws_credentials_free(c);
            assert_true(n > 15);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_null(k);
        aws_credentials_free(c);
    }
}

static void running_out_of_memory_is_an_error(void **state)
{
    (void)state;
    write_config("[default]\naws_access_key_id = A\naws_secret_access_key = " HUSH "A-secret\n"
                 "aws_session_token = " HUSH "A-token\n");
    fail_all_allocations("A");
    write_process("cat <<END\n" JSON("PROC", "SessionToken", HOUR) "\nEND\n", "");
    now_ms = NOW_MS;
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    write_process("cat <<END\n" JSON("PROC", "SessionToken", "2999-01-01T00:00:00Z") "\nEND\n", "");
    fail_all_allocations("PROC");
}

static void no_secret_was_said(void **state)
{
    char line[4096];
    FILE *f = fopen("/proc/self/cmdline", "r");
    size_t n;

    (void)state;
    assert_true(said_has("no credentials for AWS"));
    assert_false(said_has(HUSH));
    assert_false(said_has("hush%2B"));
    assert_non_null(f);
    n = fread(line, 1, sizeof(line), f);
    fclose(f);
    assert_true(n > 0);
    assert_null(memmem(line, n, HUSH, strlen(HUSH)));
    said_end();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(options_come_before_the_environment),
        T(half_a_pair_is_an_error),
        T(a_given_profile_comes_before_the_environment),
        T(without_any_source_the_sentence_names_all),
        T(a_web_identity_becomes_a_role),
        T(a_web_identity_can_fail),
        T(a_profile_takes_on_a_role),
        T(roles_go_by_roles),
        T(profiles_that_make_no_sense_say_so),
        T(a_process_prints_keys),
        T(what_a_process_leaves_behind_does_not_hold_us_up),
        T(a_process_can_fail),
        T(a_container_is_asked),
        T(only_hosts_nearby_are_asked_without_tls),
        T(a_container_can_fail),
        T(an_instance_is_asked),
        T(an_instance_can_fail),
        T(an_instance_that_is_none_is_given_up_fast),
        T(an_instance_may_hand_out_keys_that_have_expired),
        T(keys_are_renewed_before_they_expire),
        T(a_source_may_fail_while_keys_hold),
        T(a_source_that_is_settled_is_not_left),
        T(one_thread_asks),
        T(refused_keys_are_given_up_once),
        T(a_store_tries_again_with_new_keys),
        T(other_requests_try_again_too),
        T(a_refusal_of_permission_asks_once),
        T(keys_that_stay_wrong_end_it),
        T(running_out_of_memory_is_an_error),
        cmocka_unit_test(no_secret_was_said),
    };

    said_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
