/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata of an EC2 instance, version 2: a token by PUT, the name of the instance's role, its keys. A host that
 * is no instance usually has nobody at that address: it must learn so fast. The older version without a token is not
 * used, as a forged request could read keys by it.
 */

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "net/aws_creds.h"
#include "net/secret.h"
#include "net/uri.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEYS_PATH "/latest/meta-data/iam/security-credentials/"
#define ATTEMPTS 2
#define ATTEMPT_MS 1000
#define TOKEN_TTL_S 300
#define GRACE_MS (10 * 60 * 1000)

static const char *find_origin(void)
{
    const char *given = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

    if (given)
        return given;
    return mode && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
}

/* token: NULL for the request that asks for it. The response is in x, which has to be ended whatever happens. */
static int ask_once(const struct aws_ask *a, const char *path, const char *token, struct http_exchange *x)
{
    const char *origin = find_origin();
    size_t n = strlen(origin);
    int rc;

    *x = (struct http_exchange){ .method = token ? HTTP_GET : HTTP_PUT, .direct = true, .secret = true,
                                 .total_ms = ATTEMPT_MS };
    while (n > 0 && origin[n - 1] == '/')
        n--;
    rc = buf_printf(&x->url, "%.*s%s", (int)n, origin, path);
    if (rc == 0 && token)
        rc = http_add_header(x, "X-aws-ec2-metadata-token: %s", token);
    else if (rc == 0)
        rc = http_add_header(x, "X-aws-ec2-metadata-token-ttl-seconds: %d", TOKEN_TTL_S);
    if (rc < 0)
        return rc;
    rc = http_run(a->http, x);
    if (rc < 0)
        return err_set(rc, "the instance's metadata do not answer: %s", x->why);
    if (x->status >= 500 || x->status == 429)
        return err_set(SHALE_ETRANSIENT, "the instance's metadata answer %d", x->status);
    return 0;
}

static int ask(const struct aws_ask *a, const char *path, const char *token, struct http_exchange *x)
{
    int rc = ask_once(a, path, token, x);

    for (int i = 1; i < ATTEMPTS && rc == SHALE_ETRANSIENT; i++) {
        http_exchange_fini(x);
        rc = ask_once(a, path, token, x);
    }
    return rc;
}

/* The body as one short line of text. */
static int read_word(const struct http_exchange *x, const char *what, struct shale_buf *out)
{
    const char *body = x->response.len ? (const char *)x->response.data : "";
    size_t n = 0;

    while (n < x->response.len && !strchr("\r\n", body[n]))
        n++;
    if (x->status != 200)
        return err_set(-EACCES, "the instance's metadata answer %d when asked for %s", x->status, what);
    if (secret_buf_reserve(out, n + 1) < 0)
        return -ENOMEM;
    (void)shale_buf_append(out, body, n); /* there is room */
    out->data[n] = '\0';
    if (n == 0 || strlen((char *)out->data) != n || !aws_is_plain((char *)out->data))
        return err_set(-EBADMSG, "the instance's metadata answer with something else than %s", what);
    return 0;
}

static int get_token(const struct aws_ask *a, struct shale_buf *out)
{
    struct http_exchange x;
    int rc = ask(a, "/latest/api/token", NULL, &x);

    if (rc == 0)
        rc = read_word(&x, "a token", out);
    http_exchange_fini(&x);
    return rc;
}

/* 1: the instance has no role. */
static int get_role(const struct aws_ask *a, const char *token, struct shale_buf *path)
{
    struct shale_buf role = SHALE_BUF_INIT;
    struct http_exchange x;
    int rc = ask(a, KEYS_PATH, token, &x);

    if (rc == 0 && x.status == 404)
        rc = 1;
    if (rc == 0)
        rc = read_word(&x, "the name of a role", &role);
    if (rc == 0)
        rc = buf_printf(path, KEYS_PATH);
    if (rc == 0)
        rc = uri_encode(path, (char *)role.data, false);
    http_exchange_fini(&x);
    shale_buf_fini(&role);
    return rc;
}

/* The service goes on handing out old keys when it cannot get others; they may still be taken. */
static void extend(const struct aws_ask *a, struct aws_keys *k)
{
    if (k->expires_ms > a->now_ms)
        return;
    log_warn("the instance's metadata give keys that have expired; they are tried for ten minutes");
    k->expires_ms = a->now_ms + GRACE_MS;
}

static int get_keys(const struct aws_ask *a, const char *token, const char *path, struct aws_keys **out)
{
    struct http_exchange x;
    int rc = ask(a, path, token, &x);

    if (rc == 0 && x.status != 200)
        rc = err_set(-EACCES, "the instance's metadata answer %d when asked for keys", x.status);
    else if (rc == 0) {
        rc = aws_keys_from_json(slice_of_buf(&x.response), "Token", 0, "the instance's metadata", out);
        if (rc < 0 && rc != -ENOMEM)
            err_add(rc, "the instance's metadata give no keys");
    }
    if (rc == 0)
        extend(a, *out);
    http_exchange_fini(&x);
    return rc;
}

int aws_creds_instance(const struct aws_ask *a, struct aws_keys **out)
{
    struct shale_buf token = SHALE_BUF_INIT, path = SHALE_BUF_INIT;
    int rc;

    *out = NULL;
    if (aws_env_true("AWS_EC2_METADATA_DISABLED"))
        return aws_looked(a, "the instance's metadata are switched off (AWS_EC2_METADATA_DISABLED)");
    rc = get_token(a, &token);
    if (!a->settled && (rc == SHALE_ETRANSIENT || rc == -EACCES)) {
        rc = aws_looked(a, "%s", shale_errmsg());
        goto out;
    }
    if (rc == 0)
        rc = get_role(a, (char *)token.data, &path);
    if (rc == 1)
        rc = a->settled ? err_set(-EACCES, "the instance has no role any more")
                        : aws_looked(a, "this instance has no role");
    else if (rc == 0)
        rc = get_keys(a, (char *)token.data, (char *)path.data, out);
out:
    secret_buf_fini(&token);
    shale_buf_fini(&path);
    return rc;
}
