/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoint that ECS and EKS give a container ("Container credential provider" in the AWS SDKs and Tools Reference
 * Guide). Keys go over a plain connection only to this host and to the addresses that AWS uses for it.
 */

#include "base/buf.h"
#include "base/err.h"
#include "net/aws_creds.h"
#include "net/secret.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ECS_ORIGIN "http://169.254.170.2"
#define TOKEN_MAX 16384u
#define ATTEMPTS 2
#define ATTEMPT_MS 2000

static bool is_near(const char *host)
{
    static const char *const known[] = { "localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23" };
    struct in_addr v4;
    struct in6_addr v6;

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcasecmp(host, known[i]) == 0)
            return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/*
 * "http://host:port/path", "http://[v6]:port/path". What stands in front of an @ is a user, and who takes a backslash
 * for what differs: with either the host may be another one than it seems.
 */
static int check_uri(const char *uri)
{
    char host[256];
    const char *p = uri + 7;
    size_t all, n;
    bool v6;

    if (strncmp(uri, "https://", 8) == 0)
        return 0;
    if (strncmp(uri, "http://", 7) != 0)
        return err_set(-EINVAL, "AWS_CONTAINER_CREDENTIALS_FULL_URI does not begin with https:// or http://");
    all = strcspn(p, "/?#");
    v6 = *p == '[';
    p += v6;
    n = strcspn(p, v6 ? "]/?#" : ":/?#");
    snprintf(host, sizeof(host), "%.*s", (int)n, p);
    if (n >= sizeof(host) || memchr(uri + 7, '@', all) || memchr(uri + 7, '\\', all) || (v6 && p[n] != ']') ||
        !is_near(host))
        return err_set(-EINVAL, "AWS_CONTAINER_CREDENTIALS_FULL_URI is http:// to a host that is neither this one nor "
                                "an address of ECS or EKS; use https://");
    return 0;
}

/* *out 0: not set up. */
static int find_uri(struct shale_buf *out)
{
    const char *relative = aws_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = aws_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    int rc;

    if (relative && relative[0] != '/')
        return err_set(-EINVAL, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with a slash");
    if (relative)
        return buf_printf(out, ECS_ORIGIN "%s", relative);
    if (!full)
        return 0;
    rc = check_uri(full);
    return rc == 0 ? buf_printf(out, "%s", full) : rc;
}

/* The file is read each time: EKS writes another token into it now and then. */
static int add_authorization(struct http_exchange *x)
{
    const char *file = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    struct shale_buf text = SHALE_BUF_INIT;
    int rc = file ? secret_read_file(&text, file, TOKEN_MAX) : 0;

    if (rc < 0 && rc != -ENOMEM)
        rc = err_set(-EINVAL, "cannot read %s (AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE): %s", file, shale_strerror(rc));
    if (rc == 0 && file) {
        while (text.len && strchr("\r\n", text.data[text.len - 1]))
            text.data[--text.len] = '\0';
        token = (const char *)text.data;
    }
    if (rc == 0 && token && !aws_is_plain(token))
        rc = err_set(-EINVAL, "the container's authorization token has characters that a header cannot have");
    if (rc == 0 && token)
        rc = http_add_header(x, "Authorization: %s", token);
    secret_buf_fini(&text);
    return rc;
}

static int read_answer(const struct http_exchange *x, struct aws_keys **out)
{
    int rc;

    if (x->status != 200) {
        bool passing = x->status >= 500 || x->status == 429;

        return err_set(passing ? SHALE_ETRANSIENT : -EACCES, "the container's endpoint for credentials answers %d",
                       x->status);
    }
    rc = aws_keys_from_json(slice_of_buf(&x->response), "Token", 0, "the container's endpoint", out);
    return rc < 0 && rc != -ENOMEM ? err_add(rc, "the container's endpoint for credentials gives no keys") : rc;
}

static int ask(const struct aws_ask *a, const char *uri, struct aws_keys **out)
{
    struct http_exchange x = { .method = HTTP_GET, .direct = true, .secret = true, .total_ms = ATTEMPT_MS };
    int rc = buf_printf(&x.url, "%s", uri);

    if (rc == 0)
        rc = http_add_header(&x, "Accept: application/json");
    if (rc == 0)
        rc = add_authorization(&x);
    if (rc < 0)
        goto out;
    rc = http_run(a->http, &x);
    rc = rc < 0 ? err_set(rc, "cannot ask the container's endpoint for credentials: %s", x.why) : read_answer(&x, out);
out:
    http_exchange_fini(&x);
    return rc;
}

int aws_creds_container(const struct aws_ask *a, struct aws_keys **out)
{
    struct shale_buf uri = SHALE_BUF_INIT;
    int rc = find_uri(&uri);

    *out = NULL;
    if (rc == 0 && uri.len == 0)
        rc = aws_looked(a, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set");
    else
        for (int i = 0; rc == 0 && i < ATTEMPTS; i++) {
            rc = ask(a, (const char *)uri.data, out);
            if (rc != SHALE_ETRANSIENT)
                break;
            if (i + 1 < ATTEMPTS)
                rc = 0;
        }
    shale_buf_fini(&uri);
    return rc;
}
