/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_HTTP_TRANSFER_H
#define NET_HTTP_TRANSFER_H

#include "net/http_pace.h"

#include <curl/curl.h>

/*
 * One handle of libcurl and the exchange that it carries. Used by the client's thread alone, and again and again:
 * setting up a handle costs more than the rest.
 */
struct http_transfer {
    CURL *easy;                     /* owned */
    const struct http_options *opt; /* borrowed */
    struct http_exchange *x;        /* NULL: idle */
    struct curl_slist *headers;
    uint64_t sent;                  /* of the exchange's source */
    bool asking;                    /* it has a connection, and the request goes out: pace counts */
    struct http_pace pace;
    int64_t begun_ns;
    int rc;                         /* why a callback ended it; 0: none did */
    char complaint[CURL_ERROR_SIZE];
    struct list node;
};

/* NULL without memory. */
struct http_transfer *http_transfer_new(const struct http_options *opt);
void http_transfer_free(struct http_transfer *t);
/* Make t ready to carry x, whose prepare is called. 0, or a negative code with x->why. */
int http_transfer_begin(struct http_transfer *t, struct http_exchange *x);
/* libcurl is done with it: set the result of the exchange, and be idle. */
void http_transfer_end(struct http_transfer *t, CURLcode code);

#endif
