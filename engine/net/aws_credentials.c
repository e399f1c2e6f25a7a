/* SPDX-License-Identifier: Apache-2.0 */
#include "net/aws_credentials.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/sync.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define CREDENTIALS_RANK 840

struct aws_credentials {
    char *access_key, *secret_key, *token, *profile; /* as given; owned; NULL: look for them */
    bool anonymous;
    struct http_client *http;          /* borrowed */
    struct mutex mu;                   /* rank CREDENTIALS_RANK */
    struct aws_keys *keys;             /* GUARDED_BY(mu); NULL: not known yet */
};

static void wipe(char *s)
{
    if (s)
        OPENSSL_cleanse(s, strlen(s));
    mem_free(s);
}

struct aws_keys *aws_keys_new(const char *access_key, const char *secret_key, const char *token, int64_t expires_ms,
                              const char *source)
{
    struct aws_keys *k = mem_zalloc(sizeof(*k));

    if (!k)
        return NULL;
    atomic_init(&k->refs, 1);
    k->access_key = mem_strdup(access_key);
    k->secret_key = mem_strdup(secret_key);
    k->token = token && token[0] ? mem_strdup(token) : NULL;
    k->expires_ms = expires_ms;
    k->source = source;
    if (!k->access_key || !k->secret_key || (token && token[0] && !k->token)) {
        aws_keys_unref(k);
        return NULL;
    }
    return k;
}

struct aws_keys *aws_keys_ref(struct aws_keys *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void aws_keys_unref(struct aws_keys *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
        return;
    wipe(k->access_key);
    wipe(k->secret_key);
    wipe(k->token);
    mem_free(k);
}

static int copy(char **to, const char *from)
{
    *to = from ? mem_strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

int aws_credentials_new(const struct aws_credential_options *opt, struct http_client *http,
                        struct aws_credentials **out)
{
    struct aws_credentials *c = mem_zalloc(sizeof(*c));
    int rc = c ? 0 : -ENOMEM;

    if (c) {
        c->http = http;
        c->anonymous = opt->anonymous;
        mutex_init(&c->mu, CREDENTIALS_RANK, "credentials");
        rc = copy(&c->access_key, opt->access_key);
        if (rc == 0)
            rc = copy(&c->secret_key, opt->secret_key);
        if (rc == 0)
            rc = copy(&c->token, opt->token);
        if (rc == 0)
            rc = copy(&c->profile, opt->profile);
    }
    if (rc < 0) {
        aws_credentials_free(c);
        return err_set(rc, "out of memory for credentials");
    }
    *out = c;
    return 0;
}

void aws_credentials_free(struct aws_credentials *c)
{
    if (!c)
        return;
    aws_keys_unref(c->keys);
    wipe(c->access_key);
    wipe(c->secret_key);
    wipe(c->token);
    mem_free(c->profile);
    mutex_fini(&c->mu);
    mem_free(c);
}

/* *out NULL: not here. */
static int from_pair(const char *access_key, const char *secret_key, const char *token, const char *source,
                     struct aws_keys **out)
{
    *out = NULL;
    if (!access_key || !access_key[0] || !secret_key || !secret_key[0])
        return 0;
    *out = aws_keys_new(access_key, secret_key, token, INT64_MAX, source);
    return *out ? 0 : err_set(-ENOMEM, "out of memory for credentials");
}

static int look_up(struct aws_credentials *c, struct aws_keys **out)
{
    int rc = from_pair(c->access_key, c->secret_key, c->token, "the options", out);

    if (rc == 0 && !*out)
        rc = from_pair(getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN"),
                       "the environment", out);
    if (rc == 0 && !*out)
        rc = err_set(-EACCES, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    return rc;
}

int aws_credentials_get(struct aws_credentials *c, struct aws_keys **out)
{
    int rc = 0;

    *out = NULL;
    if (c->anonymous)
        return 0;
    mutex_lock(&c->mu);
    if (!c->keys)
        rc = look_up(c, &c->keys);
    if (rc == 0)
        *out = aws_keys_ref(c->keys);
    mutex_unlock(&c->mu);
    return rc;
}

void aws_credentials_refused(struct aws_credentials *c, const struct aws_keys *k)
{
    mutex_lock(&c->mu);
    if (c->keys == k && k->expires_ms != INT64_MAX) {
        aws_keys_unref(c->keys);
        c->keys = NULL;
    }
    mutex_unlock(&c->mu);
}
