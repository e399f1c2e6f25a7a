/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_SIGV4_H
#define NET_SIGV4_H

#include "net/canonical.h"

#include <shale/types.h>

/*
 * AWS Signature Version 4 ("Authenticating Requests: Using the Authorization Header" in the S3 API reference), by
 * OpenSSL. libcurl can sign, too, but neither encodes and sorts queries as AWS wants them nor lets the caller say
 * which headers count.
 */

#define SIGV4_HASH_LEN 64                       /* of a SHA-256 in hex */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"       /* in place of the hash: TLS keeps the body whole */
#define SIGV4_STREAMING "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" /* the body is signed chunk by chunk */
#define SIGV4_TIME_LEN 16                       /* "20130524T000000Z" */

/*
 * Google Cloud Storage signs in the same way under other names ("Signatures" in its documentation). Which of them is
 * used says which extension headers a request has; it refuses requests with both x-amz- and x-goog-.
 */
enum sigv4_family {
    SIGV4_AWS,  /* AWS4-HMAC-SHA256 */
    SIGV4_GOOG, /* GOOG4-HMAC-SHA256 */
};

struct sigv4_request {
    enum sigv4_family family;
    const char *method;
    const char *path;      /* encoded as it is sent, from the slash on */
    const char *query;     /* encoded, sorted by name, each with a '='; "" when there is none */
    const char *const *headers; /* "Name: value", in any order, host among them: what is signed */
    size_t n_headers;
    const char *payload;   /* hash of the body in hex, SIGV4_UNSIGNED or SIGV4_STREAMING */
    const char *region, *service;
    const char *time;      /* as sigv4_time writes it; also in the header x-amz-date, or x-goog-date */
};

/* now_s: Unix time in seconds. */
void sigv4_time(int64_t now_s, char out[SIGV4_TIME_LEN + 1]);
/* The hash of a body, in hex. 0 or -ENOMEM. */
int sigv4_hash(struct shale_slice body, char out[SIGV4_HASH_LEN + 1]);
/* Append the value of the header Authorization, as a string. 0, -ENOMEM or -EIO (OpenSSL fails). */
int sigv4_authorize(const struct sigv4_request *r, const char *access_key, const char *secret_key,
                    struct shale_buf *out);

/*
 * Signatures of the chunks of a body, each over the one before it and the hash of its chunk, so that a body can go out
 * before all of it is hashed ("Signature Calculations for the Authorization Header: Transferring Payload in Multiple
 * Chunks" in the S3 API reference). An empty chunk ends the body.
 */
struct sigv4_chunks {
    enum sigv4_family family;
    uint8_t key[CANONICAL_DIGEST_LEN]; /* sigv4_chunks_fini overwrites it */
    char time[SIGV4_TIME_LEN + 1];
    struct shale_buf scope;            /* a string; owned */
    char last[SIGV4_HASH_LEN + 1];     /* the signature before the next one */
};

/* authorization: what sigv4_authorize made of r. *c is zero, or was used before. 0, -ENOMEM or -EIO. */
int sigv4_chunks_begin(struct sigv4_chunks *c, const struct sigv4_request *r, const char *secret_key,
                       struct shale_slice authorization);
/* The signature of the next chunk, whose hash is sigv4_hash's. 0, -ENOMEM or -EIO. */
int sigv4_chunk(struct sigv4_chunks *c, const char *hash, char signature[SIGV4_HASH_LEN + 1]);
void sigv4_chunks_fini(struct sigv4_chunks *c);

#endif
