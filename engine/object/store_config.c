/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of stores as text, from one table: what a program takes, shows in its help and tells another process. */

#include <shale/store_config.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/aws_profile.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

struct shale_store_config {
    char *endpoint, *region, *profile, *account, *ca; /* owned; NULL: not set */
    bool path_style, virtual_host, emulator, anonymous, unsigned_payload;
    int64_t limit_ms; /* 0: none */
    struct shale_s3_options s3;         /* made of the above by shale_store_config_options, as are the next two */
    struct shale_azure_options azure;
    struct shale_store_options options;
};

/* 0 and what to keep, owned by the caller; or -EINVAL with a sentence, -ENOMEM. */
typedef int (*take_fn)(const char *value, char **out);

struct entry {
    struct shale_store_setting setting;
    size_t offset; /* of a char *, or of a bool when it takes no argument */
    take_fn take;
};

static int copy(const char *value, char **out)
{
    *out = mem_strdup(value);
    return *out ? 0 : -ENOMEM;
}

/* Who writes a key into a URL has shown it to everybody already, and is told so without quoting it. */
static int take_endpoint(const char *value, char **out)
{
    if (strchr(value, '@'))
        return err_set(-EINVAL, "no user or password belongs into an endpoint; keys come from the environment, files "
                                "and roles");
    if (strcmp(value, "aws") != 0 && strncmp(value, "https://", 8) != 0 && strncmp(value, "http://", 7) != 0)
        return err_set(-EINVAL, "https://HOST, https://HOST:PORT, http://... or \"aws\" is expected");
    return copy(value, out);
}

/* Whoever opens the store may stand in another directory by then. */
static int take_file(const char *value, char **out)
{
    struct shale_buf path = SHALE_BUF_INIT;
    char *cwd = value[0] == '/' ? NULL : getcwd(NULL, 0);
    int rc;

    if (value[0] != '/' && !cwd)
        return err_set(-EINVAL, "cannot tell the working directory: %s", strerror(errno));
    rc = buf_printf(&path, "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", value);
    free(cwd); /* of the C library */
    if (rc == 0 && access((char *)path.data, R_OK) < 0)
        rc = err_set(-EINVAL, "cannot read %s: %s", (char *)path.data, strerror(errno));
    if (rc == 0)
        *out = (char *)buf_take(&path);
    shale_buf_fini(&path);
    return rc;
}

#define AT(field) offsetof(struct shale_store_config, field)

static const struct entry entries[] = {
    { { "endpoint", "URL", "server of the bucket, https://HOST[:PORT]; aws: AWS, whatever the environment says" },
      AT(endpoint), take_endpoint },
    { { "region", "NAME", "region of the bucket (AWS_REGION, the profile, us-east-1)" }, AT(region), copy },
    { { "profile", "NAME", "profile of the shared files of AWS (AWS_PROFILE, default)" }, AT(profile), copy },
    { { "account", "NAME", "storage account of az:// (AZURE_STORAGE_ACCOUNT)" }, AT(account), copy },
    { { "ca", "FILE", "certificates to trust instead of the system's (AWS_CA_BUNDLE)" }, AT(ca), take_file },
    { { "path_style", NULL, "https://HOST/BUCKET (the default with an endpoint)" }, AT(path_style), NULL },
    { { "virtual_host", NULL, "https://BUCKET.HOST (the default of AWS)" }, AT(virtual_host), NULL },
    { { "emulator", NULL, "az:// is Azurite on this machine" }, AT(emulator), NULL },
    { { "anonymous", NULL, "without keys, for a public bucket" }, AT(anonymous), NULL },
    { { "unsigned_payload", NULL, "http:// without hashes of what is written: faster, on a network that can be trusted" },
      AT(unsigned_payload), NULL },
};

static char **text_of(const struct shale_store_config *c, const struct entry *e)
{
    return (char **)(void *)((uintptr_t)c + e->offset);
}

static bool *flag_of(const struct shale_store_config *c, const struct entry *e)
{
    return (bool *)(void *)((uintptr_t)c + e->offset);
}

static bool is_set(const struct shale_store_config *c, const struct entry *e)
{
    return e->setting.argument ? *text_of(c, e) != NULL : *flag_of(c, e);
}

/* A command line has --path-style where a mount has path_style. */
static bool same_name(const char *a, const char *b)
{
    for (; *a && (*a == *b || (*a == '-' && *b == '_')); a++, b++)
        ;
    return *a == *b;
}

static const struct entry *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        if (same_name(name, entries[i].setting.name))
            return &entries[i];
    return NULL;
}

const struct shale_store_setting *shale_store_setting_at(size_t i)
{
    return i < ARRAY_SIZE(entries) ? &entries[i].setting : NULL;
}

const struct shale_store_setting *shale_store_setting_find(const char *name)
{
    const struct entry *e = find(name);

    return e ? &e->setting : NULL;
}

int shale_store_config_new(struct shale_store_config **out)
{
    *out = mem_zalloc(sizeof(**out));
    return *out ? 0 : -ENOMEM;
}

void shale_store_config_free(struct shale_store_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
        if (entries[i].setting.argument)
            mem_free(*text_of(c, &entries[i]));
    mem_free(c);
}

static int set_text(struct shale_store_config *c, const struct entry *e, const char *value)
{
    char *text = NULL;
    int rc;

    if (!value || !value[0])
        return err_set(-EINVAL, "the value is empty");
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(-EINVAL, "the value holds a control character");
    rc = e->take(value, &text);
    if (rc < 0)
        return rc;
    mem_free(*text_of(c, e));
    *text_of(c, e) = text;
    return 0;
}

/* Flags of the form of addresses exclude each other. */
static int set(struct shale_store_config *c, const struct entry *e, const char *value)
{
    if (e->setting.argument)
        return set_text(c, e, value);
    if (e->offset == AT(path_style) || e->offset == AT(virtual_host))
        c->path_style = c->virtual_host = false;
    *flag_of(c, e) = true;
    return 0;
}

int shale_store_config_set(struct shale_store_config *c, const char *name, const char *value)
{
    const struct entry *e = find(name);

    return e ? set(c, e, value) : err_set(-ENOENT, "there is no setting %.60s of stores", name);
}

static int64_t least(int64_t limit, int64_t usual)
{
    return limit && limit < usual ? limit : 0;
}

const struct shale_store_options *shale_store_config_options(struct shale_store_config *c)
{
    int64_t connect = least(c->limit_ms, 10000), answer = least(c->limit_ms, 30000), stall = least(c->limit_ms, 20000);

    c->s3 = (struct shale_s3_options){
        .endpoint = c->endpoint,
        .region = c->region,
        .profile = c->profile,
        .ca_file = c->ca,
        .path_style = c->path_style,
        .virtual_host = c->virtual_host,
        .unsigned_payload = c->unsigned_payload,
        .anonymous = c->anonymous,
        .connect_ms = connect,
        .first_byte_ms = answer,
        .stall_ms = stall,
    };
    c->azure = (struct shale_azure_options){
        .account = c->account,
        .endpoint = c->endpoint,
        .ca_file = c->ca,
        .emulator = c->emulator,
        .anonymous = c->anonymous,
        .connect_ms = connect,
        .first_byte_ms = answer,
        .stall_ms = stall,
    };
    c->options = (struct shale_store_options){ .s3 = &c->s3, .azure = &c->azure };
    return &c->options;
}

void shale_store_config_limit(struct shale_store_config *c, int64_t limit_ms)
{
    c->limit_ms = limit_ms;
}

/* One that the environment names matters for its keys, unless the environment has keys, which come before. */
static bool has_named_profile(const struct shale_store_config *c)
{
    return c->profile || (!aws_env("AWS_ACCESS_KEY_ID") && (aws_env("AWS_PROFILE") || aws_env("AWS_DEFAULT_PROFILE")));
}

static int describe_ca(const char *ca, struct shale_buf *out)
{
    char *path = NULL;
    int rc = take_file(ca, &path);

    if (rc == 0)
        rc = buf_printf(out, "ca %s\n", path);
    mem_free(path);
    return rc;
}

/* What was set, and what a store that is opened with it would find in environment and files. */
static int describe_bucket(const struct shale_store_config *c, bool google, const struct aws_config *files,
                           struct shale_buf *out)
{
    const char *endpoint = c->endpoint, *region = c->region, *ca = c->ca, *profile;
    int rc = aws_profile_choose(files, c->profile, &profile);

    if (google && !endpoint) /* as store_url.c has it */
        endpoint = "https://storage.googleapis.com";
    if (rc == 0 && !endpoint)
        rc = aws_endpoint_find(files, profile, "s3", &endpoint);
    if (rc < 0)
        return rc;
    if (!region)
        region = aws_region_find(files, profile);
    if (!ca)
        ca = aws_ca_find(files, profile);
    rc = buf_printf(out, "endpoint %s\nregion %s\n", endpoint ? endpoint : "aws", region ? region : "us-east-1");
    if (rc == 0 && has_named_profile(c))
        rc = buf_printf(out, "profile %s\n", profile);
    return rc == 0 && ca ? describe_ca(ca, out) : rc;
}

static const char *first_of(const char *value, const char *const *variables)
{
    for (; !value && *variables; variables++)
        value = aws_env(*variables);
    return value;
}

/* A connection string holds a key, and is not told: another process needs one of its own. */
static int describe_container(const struct shale_store_config *c, struct shale_buf *out)
{
    static const char *const accounts[] = { "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME", NULL };
    static const char *const endpoints[] = { "AZURE_STORAGE_BLOB_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT",
                                             "AZURE_STORAGE_ENDPOINT", NULL };
    static const char *const cas[] = { "REQUESTS_CA_BUNDLE", NULL };
    const char *account = first_of(c->account, accounts), *endpoint = first_of(c->endpoint, endpoints);
    const char *ca = first_of(c->ca, cas);
    int rc = 0;

    if (endpoint)
        rc = buf_printf(out, "endpoint %s\n", endpoint);
    if (rc == 0 && account)
        rc = buf_printf(out, "account %s\n", account);
    return rc == 0 && ca ? describe_ca(ca, out) : rc;
}

static int describe_flags(const struct shale_store_config *c, struct shale_buf *out)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(entries); i++)
        if (!entries[i].setting.argument && is_set(c, &entries[i]))
            rc = buf_printf(out, "%s\n", entries[i].setting.name);
    return rc;
}

int shale_store_config_describe(const struct shale_store_config *c, const char *url, struct shale_buf *out)
{
    struct aws_config *files = NULL;
    bool google = strncmp(url, "gs://", 5) == 0;
    int rc;

    if (strncmp(url, "az://", 5) == 0) {
        rc = describe_container(c, out);
    } else if (google || strncmp(url, "s3://", 5) == 0) {
        rc = aws_config_load(&files);
        if (rc == 0)
            rc = describe_bucket(c, google, files, out);
    } else {
        return 0;
    }
    if (rc == 0)
        rc = describe_flags(c, out);
    aws_config_free(files);
    return rc;
}

/* Either form of addresses that was asked for here excludes both of there. */
static bool is_said(const struct shale_store_config *c, const struct entry *e)
{
    if (e->offset == AT(path_style) || e->offset == AT(virtual_host))
        return c->path_style || c->virtual_host;
    return is_set(c, e);
}

int shale_store_config_adopt(struct shale_store_config *c, const char *lines)
{
    char *text = mem_strdup(lines), *rest = text, *line;
    int rc = text ? 0 : -ENOMEM;

    while (rc == 0 && (line = strsep(&rest, "\n")) != NULL) {
        char *value = strchr(line, ' ');
        const struct entry *e;

        if (value)
            *value++ = '\0';
        e = find(line);
        if (!e || is_said(c, e))
            continue;
        rc = set(c, e, value);
        if (rc < 0)
            err_add(rc, "%s %s", line, value ? value : "");
    }
    mem_free(text);
    return rc;
}
