/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of sources, and when the one that was found is asked again. One thread asks at a time (busy), without the
 * lock; each time is a round, whose outcome is also that of the threads that waited for it.
 */

#include "net/aws_creds.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sync.h"
#include "net/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CREDENTIALS_RANK 840
#define AHEAD_MS (5 * 60 * 1000)  /* so long before they expire others are asked for */
#define PAUSE_MS (30 * 1000)      /* between two attempts while keys hold */
#define SLACK_MS (10 * 1000)      /* a request must reach the store before its keys expire */

struct aws_credentials {
    struct aws_credential_options opt; /* strings are owned; read-only */
    struct http_client *http;          /* borrowed */
    struct mutex mu;                   /* rank CREDENTIALS_RANK */
    struct cond ended;                 /* a round has */
    struct aws_keys *keys;             /* GUARDED_BY(mu); NULL: not known yet */
    bool stale;                        /* GUARDED_BY(mu); the store has refused keys */
    bool busy;                         /* GUARDED_BY(mu); a thread is asking, and owns source */
    uint64_t round;                    /* GUARDED_BY(mu); rounds that have ended */
    int64_t asked_ms;                  /* GUARDED_BY(mu); when the last one began */
    int64_t refused_ms;                /* GUARDED_BY(mu); when keys were last given up for what the store said */
    int rc;                            /* GUARDED_BY(mu); its outcome */
    char why[1024];                    /* GUARDED_BY(mu); and its sentence */
    int source;                        /* which one it is from now on; -1: not known */
};

static const struct {
    aws_source_fn fn;
    bool reads_files;     /* needs the shared config */
    bool without_profile; /* is left out when a profile was given */
} sources[] = {
    { aws_creds_given, false, false },
    { aws_creds_environment, false, true },
    { aws_creds_web_identity, true, true },
    { aws_creds_profile, true, false },
    { aws_creds_container, false, false },
    { aws_creds_instance, false, false },
};

/* ---- keys ---- */

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
    k->source = mem_strdup(source);
    k->expires_ms = expires_ms;
    if (!k->access_key || !k->secret_key || !k->source || (token && token[0] && !k->token)) {
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
    secret_free(k->access_key);
    secret_free(k->secret_key);
    secret_free(k->token);
    mem_free(k->source);
    mem_free(k);
}

bool aws_is_plain(const char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            return false;
    return true;
}

int aws_looked(const struct aws_ask *a, const char *fmt, ...)
{
    char text[600];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return buf_printf(a->looked, "%s%s", a->looked->len ? ", " : ": ", text);
}

/* ---- making ---- */

static int copy(const char **to, const char *from)
{
    *to = from && from[0] ? mem_strdup(from) : NULL;
    return from && from[0] && !*to ? -ENOMEM : 0;
}

static int copy_options(struct aws_credential_options *to, const struct aws_credential_options *from)
{
    *to = (struct aws_credential_options){ .anonymous = from->anonymous, .now_ms = from->now_ms,
                                           .now_arg = from->now_arg };
    if (copy(&to->access_key, from->access_key) < 0 || copy(&to->secret_key, from->secret_key) < 0 ||
        copy(&to->token, from->token) < 0 || copy(&to->profile, from->profile) < 0 ||
        copy(&to->region, from->region) < 0)
        return -ENOMEM;
    return 0;
}

int aws_credentials_new(const struct aws_credential_options *opt, struct http_client *http,
                        struct aws_credentials **out)
{
    struct aws_credentials *c = mem_zalloc(sizeof(*c));
    int rc = c ? 0 : -ENOMEM;

    if (c) {
        c->http = http;
        c->source = -1;
        c->refused_ms = INT64_MIN / 2;
        mutex_init(&c->mu, CREDENTIALS_RANK, "credentials");
        cond_init(&c->ended);
        rc = copy_options(&c->opt, opt);
    }
    if (rc < 0) {
        aws_credentials_free(c);
        return err_set(rc, "out of memory for credentials");
    }
    *out = c;
    return 0;
}

static void free_const(const char *s)
{
    secret_free((char *)(uintptr_t)s);
}

void aws_credentials_free(struct aws_credentials *c)
{
    if (!c)
        return;
    aws_keys_unref(c->keys);
    free_const(c->opt.access_key);
    free_const(c->opt.secret_key);
    free_const(c->opt.token);
    free_const(c->opt.profile);
    free_const(c->opt.region);
    cond_fini(&c->ended);
    mutex_fini(&c->mu);
    mem_free(c);
}

static int64_t now_ms(const struct aws_credentials *c)
{
    return c->opt.now_ms ? c->opt.now_ms(c->opt.now_arg) : clock_wall_ms();
}

/* ---- asking ---- */

/* They go into headers. Nothing of them is quoted: perhaps it was the secret that stood in the wrong place. */
static int check_keys(const struct aws_keys *k, int64_t now)
{
    if (!aws_is_plain(k->access_key) || !aws_is_plain(k->secret_key) || (k->token && !aws_is_plain(k->token)) ||
        strpbrk(k->access_key, " /,"))
        return err_set(-EINVAL, "the keys from %s have characters that keys do not have", k->source);
    if (k->expires_ms - SLACK_MS <= now)
        return err_set(-EACCES, "the keys from %s have expired; get new ones there, or set this host's clock",
                       k->source);
    return 0;
}

static int no_keys(const struct aws_credentials *c, const struct shale_buf *looked)
{
    if (c->source >= 0)
        return err_set(-EACCES, "there are no credentials any more%s", looked->len ? (char *)looked->data : "");
    return err_set(-EACCES, "no credentials for AWS%s; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, "
                            "or ask for anonymous access", looked->len ? (char *)looked->data : "");
}

static int read_files(const struct aws_credentials *c, struct aws_config **config, struct aws_ask *a)
{
    int rc = *config ? 0 : aws_config_load(config);

    if (rc == 0)
        rc = aws_profile_choose(*config, c->opt.profile, &a->profile);
    a->config = *config;
    return rc;
}

static int ask_source(struct aws_credentials *c, int i, struct aws_config **config, struct aws_ask *a,
                      struct aws_keys **out)
{
    int rc = sources[i].reads_files ? read_files(c, config, a) : 0;

    if (rc == 0)
        rc = sources[i].fn(a, out);
    if (rc == 0 && *out)
        rc = check_keys(*out, a->now_ms);
    if (rc == 0 && *out)
        c->source = i;
    return rc;
}

/* The code becomes that of a request to the store, which must not say anything of the object. */
static int code_for_store(int rc, bool settled)
{
    if (rc == 0 || rc == SHALE_ECANCELED)
        return rc;
    if (settled)
        return SHALE_ETRANSIENT;
    return rc == -ENOENT ? -EINVAL : rc == -EBADMSG ? -EIO : rc;
}

/* The settled source, or all in turn. */
static int ask_all(struct aws_credentials *c, int64_t now, struct aws_keys **out)
{
    struct shale_buf looked = SHALE_BUF_INIT;
    struct aws_config *config = NULL;
    struct aws_ask a = { .opt = &c->opt, .http = c->http, .now_ms = now, .settled = c->source >= 0,
                         .looked = &looked };
    struct aws_keys *keys = NULL;
    int rc = 0;

    err_clear();
    for (size_t i = 0; i < ARRAY_SIZE(sources) && rc == 0 && !keys; i++)
        if (a.settled ? (int)i == c->source : !(sources[i].without_profile && c->opt.profile))
            rc = ask_source(c, (int)i, &config, &a, &keys);
    if (rc == 0 && !keys)
        rc = no_keys(c, &looked);
    if (rc < 0)
        aws_keys_unref(keys);
    else
        *out = keys;
    aws_config_free(config);
    shale_buf_fini(&looked);
    if (rc == -ENOMEM)
        return err_set(rc, "out of memory for credentials");
    return code_for_store(rc, a.settled);
}

static bool hold_locked(const struct aws_credentials *c, int64_t now)
{
    return c->keys && !c->stale && c->keys->expires_ms - SLACK_MS > now;
}

/* Time to ask, though they may hold. */
static bool due_locked(const struct aws_credentials *c, int64_t now)
{
    if (!hold_locked(c, now))
        return true;
    return c->keys->expires_ms - AHEAD_MS <= now && (now >= c->asked_ms + PAUSE_MS || now < c->asked_ms);
}

static void tell(const struct aws_keys *k, int rc, int64_t now)
{
    if (rc == 0 && k->expires_ms == INT64_MAX)
        log_info("credentials for AWS come from %s", k->source);
    else if (rc == 0)
        log_info("credentials for AWS come from %s and hold for %" PRId64 " s", k->source,
                 (k->expires_ms - now) / 1000);
    else
        log_warn("cannot renew the credentials from %s, which hold for %" PRId64 " s more: %s", k->source,
                 (k->expires_ms - now) / 1000, shale_errmsg());
}

/* One round. Leaves mu for it. */
static void ask_round_locked(struct aws_credentials *c, int64_t now)
{
    struct aws_keys *old = NULL, *fresh = NULL;
    const struct cancel *mine;
    int rc;

    if (hold_locked(c, now))
        old = aws_keys_ref(c->keys);
    c->busy = true;
    c->asked_ms = now;
    mutex_unlock(&c->mu);
    mine = cancel_set(NULL); /* it is for all who wait, not only for an operation that may be given up */
    rc = ask_all(c, now, &fresh);
    (void)cancel_set(mine);
    if (rc == 0 || old)
        tell(rc == 0 ? fresh : old, rc, now);
    aws_keys_unref(old);
    mutex_lock(&c->mu);
    if (rc == 0) {
        aws_keys_unref(c->keys);
        c->keys = fresh;
        c->stale = false;
    }
    c->rc = rc;
    snprintf(c->why, sizeof(c->why), "%s", rc < 0 ? shale_errmsg() : "");
    c->busy = false;
    c->round++;
    cond_broadcast(&c->ended);
}

static void wait_round_locked(struct aws_credentials *c)
{
    uint64_t round = c->round;

    while (c->round == round)
        cond_wait(&c->ended, &c->mu);
}

int aws_credentials_get(struct aws_credentials *c, struct aws_keys **out)
{
    int64_t now = now_ms(c);
    int rc = 0;

    *out = NULL;
    if (c->opt.anonymous)
        return 0;
    mutex_lock(&c->mu);
    if (c->busy && !hold_locked(c, now))
        wait_round_locked(c);
    else if (!c->busy && due_locked(c, now))
        ask_round_locked(c, now);
    if (hold_locked(c, now))
        *out = aws_keys_ref(c->keys);
    else
        rc = c->rc < 0 ? err_set(c->rc, "%s", c->why)
                       : err_set(SHALE_ETRANSIENT, "the credentials were refused as soon as they were there");
    mutex_unlock(&c->mu);
    return rc;
}

bool aws_credentials_refused(struct aws_credentials *c, const struct aws_keys *k)
{
    int64_t now = now_ms(c);
    bool again = true;

    if (k->fixed)
        return false;
    mutex_lock(&c->mu);
    if (c->keys == k && !c->stale) {
        again = now >= c->refused_ms + PAUSE_MS || now < c->refused_ms;
        c->stale = again;
        if (again)
            c->refused_ms = now;
    }
    mutex_unlock(&c->mu);
    return again;
}
