/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_AWS_CREDENTIALS_H
#define NET_AWS_CREDENTIALS_H

#include <shale/types.h>
#include <stdatomic.h>
#include <stdbool.h>

struct http_client;

/*
 * Keys for a while. Shared by reference, never changed. The secret and the token go nowhere but into signatures and
 * headers: not into logs, not into sentences.
 */
struct aws_keys {
    atomic_uint refs;
    char *access_key;
    char *secret_key;
    char *token;        /* NULL: none */
    int64_t expires_ms; /* Unix time; INT64_MAX: never */
    char *source;       /* where they are from, for messages: "the environment", "profile \"x\"", ... */
    bool fixed;         /* that place never has others */
};

/* Copies of the strings, token may be NULL. NULL without memory. One reference. */
struct aws_keys *aws_keys_new(const char *access_key, const char *secret_key, const char *token, int64_t expires_ms,
                              const char *source);
struct aws_keys *aws_keys_ref(struct aws_keys *k);
/* NULL is fine. The last reference wipes the secrets. */
void aws_keys_unref(struct aws_keys *k);

/*
 * Where keys come from, as AWS users expect: given ones; the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
 * AWS_SESSION_TOKEN); web identity; the profile in the shared credentials and config files; the container's endpoint;
 * the instance's metadata. The first that has keys is used from then on and asked again five minutes before they
 * expire. A profile that is given, and not only named by AWS_PROFILE, goes before the environment and web identity, as
 * in botocore. Safe from any thread.
 */
struct aws_credentials;

struct aws_credential_options {
    const char *access_key, *secret_key, *token; /* NULL: look for them */
    const char *profile;                         /* NULL: AWS_PROFILE, AWS_DEFAULT_PROFILE or "default" */
    const char *region;                          /* of STS; NULL: as aws_region_find has it, or us-east-1 */
    bool anonymous;                              /* no keys at all: requests are not signed */
    int64_t (*now_ms)(void *arg);                /* Unix time; NULL: the system's */
    void *now_arg;
};

/*
 * opt is copied. http: borrowed, for the sources that are asked over the network. Nothing is looked up yet. 0 or
 * -ENOMEM.
 */
int aws_credentials_new(const struct aws_credential_options *opt, struct http_client *http,
                        struct aws_credentials **out);
void aws_credentials_free(struct aws_credentials *c); /* NULL is fine */
/*
 * Keys that hold, with a reference. One thread asks the source when it is time, in its call, while others go on with
 * the keys that still hold, or wait for the outcome if there are none. That the source fails while keys hold is a line
 * in the log. *out is NULL when anonymous.
 * -EACCES when there are none, with a sentence that says where they were looked for, or when a source refuses; -EINVAL
 * when what is configured makes no sense; SHALE_ETRANSIENT when a source does not answer, and whenever one fails that
 * has given keys before: it is waited for as the store is; -EIO when its answer makes no sense; -ENOMEM;
 * SHALE_ECANCELED.
 */
int aws_credentials_get(struct aws_credentials *c, struct aws_keys **out);
/*
 * A store has refused k as expired or unknown. true when it is worth asking again: the next get returns others, or
 * fails. false when the source has no others, or keys were refused a moment ago, too.
 */
bool aws_credentials_refused(struct aws_credentials *c, const struct aws_keys *k);

#endif
