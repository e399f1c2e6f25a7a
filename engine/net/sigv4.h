/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_SIGV4_H
#define NET_SIGV4_H

#include <shale/types.h>

/*
 * AWS Signature Version 4 ("Authenticating Requests: Using the Authorization Header" in the S3 API reference), by
 * OpenSSL. libcurl can sign, too, but neither encodes and sorts queries as AWS wants them nor lets the caller say
 * which headers count.
 */

#define SIGV4_HASH_LEN 64                       /* of a SHA-256 in hex */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"       /* in place of the hash: TLS keeps the body whole */
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
    const char *payload;   /* hash of the body in hex, or SIGV4_UNSIGNED */
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

#endif
