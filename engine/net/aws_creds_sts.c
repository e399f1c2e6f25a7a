/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roles, by the Security Token Service (AssumeRole, AssumeRoleWithWebIdentity; API version 2011-06-15): a form is
 * posted, signed by the keys of another role or user, or proven by a web identity's token; XML comes back.
 */

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/aws_creds.h"
#include "net/secret.h"
#include "net/sigv4.h"
#include "net/uri.h"
#include "net/xml.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_MAX 65536u
#define STS_TOTAL_MS 20000

/* What an answer holds, right or wrong. Fits on the stack, and is overwritten. */
struct reply {
    char access_key[256], secret_key[256], token[16384], expiration[64];
    char code[80], message[300];
};

static int keep(char *to, size_t size, const char *text)
{
    if (strlen(text) >= size)
        return -EBADMSG;
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

static int on_end(void *arg, const char *name, int depth, const char *text)
{
    struct reply *r = arg;

    if (strcmp(name, "AccessKeyId") == 0)
        return keep(r->access_key, sizeof(r->access_key), text);
    if (strcmp(name, "SecretAccessKey") == 0)
        return keep(r->secret_key, sizeof(r->secret_key), text);
    if (strcmp(name, "SessionToken") == 0)
        return keep(r->token, sizeof(r->token), text);
    if (strcmp(name, "Expiration") == 0)
        return keep(r->expiration, sizeof(r->expiration), text);
    (void)depth; /* AWS has its errors in an ErrorResponse, radosgw has not */
    if (strcmp(name, "Code") == 0)
        snprintf(r->code, sizeof(r->code), "%s", text);
    else if (strcmp(name, "Message") == 0)
        snprintf(r->message, sizeof(r->message), "%s", text);
    return 0;
}

/* ---- the request ---- */

static int add_field(struct shale_buf *form, const char *name, const char *value)
{
    /* Room for all of it at once: encoding byte by byte must not leave parts of a token behind. */
    int rc = secret_buf_reserve(form, strlen(name) + 3 * strlen(value) + 3);

    if (rc == 0)
        rc = buf_printf(form, "%s%s=", form->len ? "&" : "", name);
    return rc == 0 ? uri_encode(form, value, false) : rc;
}

static int read_token(const char *file, struct shale_buf *out)
{
    int rc = secret_read_file(out, file, TOKEN_MAX);

    if (rc < 0)
        return rc == -ENOMEM ? rc : err_set(-EINVAL, "cannot read the web identity token %s: %s", file,
                                            shale_strerror(rc));
    while (out->len && strchr(" \t\r\n", out->data[out->len - 1]))
        out->data[--out->len] = '\0';
    return out->len ? 0 : err_set(-EINVAL, "the web identity token %s is empty", file);
}

static int fill_form(const struct aws_role *role, const char *token, struct shale_buf *form)
{
    char session[64];
    int rc = add_field(form, "Action", token ? "AssumeRoleWithWebIdentity" : "AssumeRole");

    snprintf(session, sizeof(session), "shalefs-%ld", (long)getpid());
    if (rc == 0)
        rc = add_field(form, "Version", "2011-06-15");
    if (rc == 0)
        rc = add_field(form, "RoleArn", role->arn);
    if (rc == 0)
        rc = add_field(form, "RoleSessionName", role->session ? role->session : session);
    if (rc == 0 && role->external_id)
        rc = add_field(form, "ExternalId", role->external_id);
    if (rc == 0 && role->duration_s)
        rc = add_field(form, "DurationSeconds", role->duration_s);
    if (rc == 0 && token)
        rc = add_field(form, "WebIdentityToken", token);
    return rc;
}

static const char *region_of(const struct aws_ask *a)
{
    const char *region = a->opt->region;

    if (!region)
        region = aws_region_find(a->config, a->profile);
    return region ? region : "us-east-1";
}

/* The endpoint without a slash behind it. */
static int find_url(const struct aws_ask *a, struct shale_buf *out)
{
    const char *region = region_of(a), *url;
    int rc = aws_endpoint_find(a->config, a->profile, "sts", &url);

    if (rc < 0)
        return rc;
    if (url && ((strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0) || strpbrk(url, "@?#")))
        return err_set(-EINVAL, "the endpoint of STS is not of the form https://HOST or https://HOST:PORT");
    if (!url)
        return buf_printf(out, "https://sts.%s.amazonaws.com%s", region,
                          strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
    rc = buf_printf(out, "%s", url);
    while (rc == 0 && out->len > 8 && out->data[out->len - 1] == '/')
        out->data[--out->len] = '\0';
    return rc;
}

static int sign(struct http_exchange *x, const char *path, const char *region,
                const struct aws_keys *keys)
{
    char time[SIGV4_TIME_LEN + 1], hash[SIGV4_HASH_LEN + 1];
    const char *lines[8];
    struct sigv4_request r = { .method = "POST", .path = path, .query = "", .headers = lines, .payload = hash,
                               .region = region, .service = "sts", .time = time };
    struct shale_buf value = SHALE_BUF_INIT;
    int rc;

    sigv4_time(clock_wall_ms() / 1000, time);
    rc = sigv4_hash(x->body, hash);
    if (rc == 0)
        rc = http_add_header(x, "X-Amz-Date: %s", time);
    if (rc == 0 && keys->token)
        rc = http_add_header(x, "X-Amz-Security-Token: %s", keys->token);
    while (r.n_headers < ARRAY_SIZE(lines) && (lines[r.n_headers] = http_request_header(x, r.n_headers)) != NULL)
        r.n_headers++;
    if (rc == 0)
        rc = sigv4_authorize(&r, keys->access_key, keys->secret_key, &value);
    if (rc == 0)
        rc = http_add_header(x, "Authorization: %s", (const char *)value.data);
    shale_buf_fini(&value);
    return rc;
}

static int prepare(const struct aws_ask *a, const struct aws_keys *keys, struct http_exchange *x)
{
    const char *url, *host, *path;
    int rc = find_url(a, &x->url);

    if (rc < 0)
        return rc;
    url = (const char *)x->url.data;
    host = strstr(url, "://") + 3;
    path = strchr(host, '/');
    rc = http_add_header(x, "Host: %.*s", (int)strcspn(host, "/"), host);
    if (rc == 0)
        rc = http_add_header(x, "Content-Type: application/x-www-form-urlencoded; charset=utf-8");
    if (rc == 0 && keys)
        rc = sign(x, path ? path : "/", region_of(a), keys);
    if (rc == 0 && !path)
        rc = buf_printf(&x->url, "/");
    return rc;
}

/* ---- the answer ---- */

/* Whether the message has the token in it, or its beginning. */
static bool repeats(const char *message, const char *token)
{
    char begin[17];

    if (!token)
        return false;
    snprintf(begin, sizeof(begin), "%s", token);
    return strstr(message, begin) != NULL;
}

static int refused(const struct http_exchange *x, const struct aws_role *role, const struct reply *r, const char *token)
{
    static const char *const passing[] = { "Throttling", "IDPCommunicationError", "RequestTimeout",
                                           "ServiceUnavailable", "InternalFailure" };
    bool echo = repeats(r->message, token);
    int rc = x->status >= 500 || x->status == 429 || x->status == 408 ? SHALE_ETRANSIENT : -EACCES;

    for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
        if (strcmp(r->code, passing[i]) == 0)
            rc = SHALE_ETRANSIENT;
    return err_set(rc, "STS does not grant role %s to %s: %d%s%s%s%s", role->arn, role->source, x->status,
                   r->code[0] ? " " : "", r->code, r->message[0] && !echo ? ": " : "", echo ? "" : r->message);
}

static int accept(const struct aws_role *role, const struct reply *r, struct aws_keys **out)
{
    int64_t expires_ms;

    if (!r->access_key[0] || !r->secret_key[0] || !r->token[0] || !aws_time_parse(r->expiration, &expires_ms))
        return err_set(-EBADMSG, "the answer of STS for role %s lacks keys or their time of expiry", role->arn);
    *out = aws_keys_new(r->access_key, r->secret_key, r->token, expires_ms, role->source);
    return *out ? 0 : -ENOMEM;
}

static int read_reply(const struct http_exchange *x, const struct aws_role *role, const char *token,
                      struct aws_keys **out)
{
    struct reply r = { .access_key = "" };
    const struct xml_visitor v = { .end = on_end, .arg = &r };
    int rc = xml_walk(slice_of_buf(&x->response), &v);

    if (rc == 0 || x->status != 200)
        rc = x->status == 200 ? accept(role, &r, out) : rc == -ENOMEM ? rc : refused(x, role, &r, token);
    else if (rc == -EBADMSG)
        rc = err_set(rc, "the answer of STS for role %s is not XML as it writes it", role->arn);
    secret_wipe(&r, sizeof(r));
    return rc;
}

int aws_sts_assume(const struct aws_ask *a, const struct aws_role *role, struct aws_keys **out)
{
    struct http_exchange x = { .method = HTTP_POST, .secret = true, .total_ms = STS_TOTAL_MS };
    struct shale_buf token = SHALE_BUF_INIT, form = SHALE_BUF_INIT;
    const char *proof = NULL;
    int rc = role->token_file ? read_token(role->token_file, &token) : 0;

    if (rc == 0 && role->token_file)
        proof = (const char *)token.data;
    if (rc == 0)
        rc = fill_form(role, proof, &form);
    x.body = slice_of_buf(&form);
    if (rc == 0)
        rc = prepare(a, proof ? NULL : role->keys, &x);
    if (rc < 0)
        goto out;
    rc = http_run(a->http, &x);
    if (rc < 0)
        err_set(rc, "cannot ask STS at %s for role %s: %s", (const char *)x.url.data, role->arn, x.why);
    else
        rc = read_reply(&x, role, proof, out);
out:
    http_exchange_fini(&x);
    secret_buf_fini(&form);
    secret_buf_fini(&token);
    return rc;
}

int aws_creds_web_identity(const struct aws_ask *a, struct aws_keys **out)
{
    const struct aws_role role = { .arn = aws_env("AWS_ROLE_ARN"), .session = aws_env("AWS_ROLE_SESSION_NAME"),
                                   .token_file = aws_env("AWS_WEB_IDENTITY_TOKEN_FILE"), .source = "a web identity" };

    *out = NULL;
    if (!role.token_file)
        return aws_looked(a, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
    if (!role.arn)
        return err_set(-EINVAL, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
    return aws_sts_assume(a, &role, out);
}
