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
    const char *source; /* where they are from, for messages: "the environment", "profile", ... */
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
 * the instance's metadata. The first that has keys is used from then on and asked again before they expire. Safe from
 * any thread.
 */
struct aws_credentials;

struct aws_credential_options {
    const char *access_key, *secret_key, *token; /* NULL: look for them */
    const char *profile;                         /* NULL: AWS_PROFILE, or "default" */
    bool anonymous;                              /* no keys at all: requests are not signed */
};

/* http: borrowed, for the sources that are asked over the network. Nothing is looked up yet. 0 or -ENOMEM. */
int aws_credentials_new(const struct aws_credential_options *opt, struct http_client *http,
                        struct aws_credentials **out);
void aws_credentials_free(struct aws_credentials *c); /* NULL is fine */
/*
 * Keys that hold for some minutes at least, with a reference; may ask the network, while others wait or go on with the
 * keys that still hold. *out is NULL when anonymous. -EACCES when there are none, with a sentence that says where they
 * were looked for; SHALE_ETRANSIENT when a source does not answer; -ENOMEM.
 */
int aws_credentials_get(struct aws_credentials *c, struct aws_keys **out);
/* A store has refused k as expired: the next get asks for others, if the source can have others. */
void aws_credentials_refused(struct aws_credentials *c, const struct aws_keys *k);

#endif
