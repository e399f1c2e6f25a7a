/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request. It is signed when it goes out, as the signature holds the time. A shared access signature is part of the
 * URL, and of nothing that is logged or said.
 */

#include "object/azure/azure.h"

#include "base/buf.h"
#include "base/clock.h"
#include "net/azure_sign.h"
#include "net/secret.h"
#include "net/uri.h"
#include "object/bucket.h"

#include <errno.h>
#include <stdio.h>

/* Of the protocol. Blobs of 4.8 GiB in one request came with 2019-12-12; this one is known to all servers of today. */
#define VERSION "2021-12-02"
#define HEADERS_MAX 16

int azure_call_init(struct azure_call *c, struct azure_store *s, enum http_method method, const char *verb,
                    const char *name)
{
    int rc;

    *c = (struct azure_call){ .s = s, .verb = verb, .name = name };
    c->x.method = method;
    c->x.cls = io_class_get();
    c->x.attempt = io_attempt_get();
    c->x.object = name;
    rc = buf_printf(&c->path, "%s%s", s->root, name ? "/" : "");
    if (rc == 0 && name)
        rc = uri_encode(&c->path, name, true);
    if (rc == 0)
        rc = buf_printf(&c->query, "%s", "");
    return rc < 0 ? azure_call_error(c, rc, "out of memory") : 0;
}

void azure_call_fini(struct azure_call *c)
{
    secret_buf_fini(&c->x.url);
    http_exchange_fini(&c->x);
    shale_buf_fini(&c->path);
    shale_buf_fini(&c->query);
}

int azure_call_query(struct azure_call *c, const char *name, const char *value)
{
    int rc = buf_printf(&c->query, "%s%s=", c->query.len ? "&" : "", name);

    return rc == 0 ? uri_encode(&c->query, value, false) : rc;
}

int azure_call_body(struct azure_call *c, struct shale_slice body)
{
    char md5[BUCKET_MD5_LEN + 1];

    c->x.body = body;
    if (c->s->config.tls || body.len == 0)
        return 0;
    if (bucket_md5(body, md5) < 0)
        return azure_call_error(c, -EIO, "OpenSSL has no MD5");
    return http_add_header(&c->x, "Content-MD5: %s", md5);
}

static int authorize(struct azure_call *c)
{
    const char *lines[HEADERS_MAX], *line;
    const struct azure_config *config = &c->s->config;
    struct shale_buf value = SHALE_BUF_INIT;
    struct azure_sign_request r = { .method = http_method_name(c->x.method), .path = (const char *)c->path.data,
                                    .query = (const char *)c->query.data, .headers = lines,
                                    .body_len = c->x.body.len };
    int rc;

    for (size_t i = 0; (line = http_request_header(&c->x, i)) != NULL && r.n_headers < HEADERS_MAX; i++)
        lines[r.n_headers++] = line;
    rc = azure_authorize(&r, config->account, slice_of_buf(&config->key), &value);
    if (rc == 0)
        rc = http_add_header(&c->x, "Authorization: %s", (const char *)value.data);
    shale_buf_fini(&value);
    return rc;
}

/* On the HTTP client's thread. */
static int prepare(struct http_exchange *x, void *arg)
{
    struct azure_call *c = arg;
    char date[AZURE_DATE_LEN + 1];
    int rc = http_add_header(x, "x-ms-version: " VERSION);

    azure_date(clock_wall_ms() / 1000, date);
    if (rc == 0)
        rc = http_add_header(x, "x-ms-date: %s", date);
    return rc == 0 && c->s->config.key.len ? authorize(c) : rc;
}

/* Room is made first, so that no part of a signature stays behind when the bytes move. */
static int write_url(struct azure_call *c)
{
    const struct azure_config *config = &c->s->config;
    size_t len = strlen(config->origin) + c->path.len + c->query.len + (config->sas ? strlen(config->sas) : 0) + 8;

    if (secret_buf_reserve(&c->x.url, len) < 0)
        return -ENOMEM;
    return buf_printf(&c->x.url, "%s%s%s%s%s%s", config->origin, (const char *)c->path.data,
                      c->query.len || config->sas ? "?" : "", (const char *)c->query.data,
                      c->query.len && config->sas ? "&" : "", config->sas ? config->sas : "");
}

int azure_call_submit(struct azure_call *c)
{
    int rc = write_url(c);

    if (rc < 0)
        rc = azure_call_error(c, rc, "out of memory");
    c->x.prepare = prepare;
    c->x.prepare_arg = c;
    c->failed = rc;
    if (rc == 0)
        http_submit(c->s->http, &c->x);
    return rc;
}

int azure_call_wait(struct azure_call *c)
{
    if (c->failed)
        return c->failed; /* it was never submitted; the sentence is there */
    http_wait(c->s->http, &c->x);
    return azure_call_meaning(c);
}

int azure_call_run(struct azure_call *c)
{
    (void)azure_call_submit(c);
    return azure_call_wait(c);
}
