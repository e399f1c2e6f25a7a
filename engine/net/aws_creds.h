/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_AWS_CREDS_H
#define NET_AWS_CREDS_H

#include "net/aws_credentials.h"
#include "net/aws_profile.h"
#include "net/http.h"

/*
 * The sources that aws_credentials.c asks in turn, a file each. They keep nothing: asked again, they look again. Only
 * one thread asks at a time, without a lock.
 */

/* What a source is given. All borrowed for the call. */
struct aws_ask {
    const struct aws_credential_options *opt;
    struct http_client *http;
    const struct aws_config *config; /* the shared files as they are now; NULL: a source that needs none is asked */
    const char *profile;             /* which of them, with config */
    int64_t now_ms;
    bool settled;             /* this source has given keys before: it is there, though it may not answer now */
    struct shale_buf *looked; /* a source without keys adds what it lacks */
};

/*
 * 0 with keys; 0 with *out NULL when the source is not set up here. Negative when it is and fails, with a sentence that
 * holds no secret: -EINVAL what is set up makes no sense; -EACCES it refuses; SHALE_ETRANSIENT it does not answer;
 * -EBADMSG its answer makes no sense; -ENOMEM.
 */
typedef int (*aws_source_fn)(const struct aws_ask *a, struct aws_keys **out);

int aws_creds_given(const struct aws_ask *a, struct aws_keys **out);
/* AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN */
int aws_creds_environment(const struct aws_ask *a, struct aws_keys **out);
/* AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME */
int aws_creds_web_identity(const struct aws_ask *a, struct aws_keys **out);
int aws_creds_profile(const struct aws_ask *a, struct aws_keys **out);
/* AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN[_FILE] */
int aws_creds_container(const struct aws_ask *a, struct aws_keys **out);
/* IMDSv2; AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT[_MODE] */
int aws_creds_instance(const struct aws_ask *a, struct aws_keys **out);

/* A role and what it is taken on with. All borrowed. */
struct aws_role {
    const char *arn;
    const char *session;          /* NULL: a name of ours */
    const char *external_id;      /* NULL: none */
    const char *duration_s;       /* digits; NULL: STS decides */
    const char *token_file;       /* a web identity; NULL: by the keys */
    const struct aws_keys *keys;
    const char *source;           /* of the resulting keys */
};

/* AssumeRole or AssumeRoleWithWebIdentity of STS. a->config is set. */
int aws_sts_assume(const struct aws_ask *a, const struct aws_role *role, struct aws_keys **out);

/* Keys that a command prints, which is split like a shell's line but run without a shell; a minute at most. */
int aws_creds_process(const char *command, const char *source, struct aws_keys **out);

/*
 * A pair and perhaps a token that are written down somewhere. *out NULL when both are missing; -EINVAL when one of them
 * is, by its name.
 */
struct aws_pair {
    const char *access_key, *secret_key, *token;
    const char *access_name, *secret_name, *where;
};
int aws_keys_from_pair(const struct aws_pair *p, const char *source, struct aws_keys **out);

/*
 * The JSON that containers, instances and processes answer with. token_name: "Token" or "SessionToken"; version: the
 * only value of Version that is understood, 0: there is none. -EBADMSG, -EACCES (it says that it has none), -ENOMEM.
 */
int aws_keys_from_json(struct shale_slice doc, const char *token_name, int version, const char *source,
                       struct aws_keys **out);
/* "2016-02-25T06:03:31Z", with fractions and offsets, as Unix time. false: it is none. */
bool aws_time_parse(const char *text, int64_t *ms);

/* Append the text to a->looked, behind ": " or ", ". 0 or -ENOMEM. */
int aws_looked(const struct aws_ask *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A text for a header: printable ASCII, so that it adds no line. */
bool aws_is_plain(const char *text);

#endif
