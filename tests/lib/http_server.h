/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HTTP_SERVER_H
#define TESTS_HTTP_SERVER_H

#include "lib/http_tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A small HTTP/1.1 server on a port of the loopback, scripted by the test: a request gets the answer of the first rule
 * that matches it and is not used up; 404 when there is none. Every request is kept for the test to look at. Each
 * connection has a thread of its own and is kept alive. All functions may be called from any thread. What cannot go
 * wrong in a test (no socket, no memory) aborts it.
 */
struct http_server;

/* Strings are borrowed until http_server_stop. All zero but path is an empty 200. */
struct http_rule {
    const char *method;  /* NULL: any */
    const char *path;    /* the target up to the '?'; a '*' at the end stands for anything; NULL: any */
    unsigned times;      /* how often it is used; 0: always */
    int status;          /* 0: 200 */
    const char *headers; /* further ones, each with CRLF; NULL: none */
    const char *body;    /* NULL: empty; Content-Length tells its length */
    size_t body_len;     /* 0: body is a string */
    size_t cut;          /* not 0: close the connection after so many bytes of the body */
    int64_t delay_ms;    /* before the answer; ended early by http_server_stop */
    bool hold;           /* answer only after http_server_release */
    bool drop;           /* close the connection instead */
    bool raw;            /* body is all that is sent, status line and header with it */
    bool endless;        /* the body again and again, until the peer goes or http_server_stop */
    bool close;          /* close the connection after the answer */
    int64_t drip_ms;     /* between two bytes of the body */
};

/* As it came. Borrowed until http_server_stop. */
struct http_request {
    const char *method, *target; /* target: with the query */
    const char *body;            /* a string */
    size_t body_len;
    unsigned connection;         /* numbered from 0 */
    const char *head;            /* lines "name: value\n", names in lower case */
};

struct http_server *http_server_start(void);
/* The same with TLS. tls: borrowed until http_server_stop. */
struct http_server *http_server_start_tls(struct http_tls *tls);
/*
 * A proxy, which is also the server behind it: what comes after an answer of 200 to CONNECT is TLS. Requests that are
 * to be forwarded have targets that begin with "http://".
 */
struct http_server *http_server_start_proxy(struct http_tls *tls);
/* Ends all connections. NULL is fine. */
void http_server_stop(struct http_server *s);
/* "http://127.0.0.1:PORT", or "https://..." */
const char *http_server_url(const struct http_server *s);
void http_server_add(struct http_server *s, const struct http_rule *rule);
/* Forget all rules, and let go what is held. */
void http_server_clear(struct http_server *s);
/* Answer what is held now. */
void http_server_release(struct http_server *s);

/* How many requests have come. */
unsigned http_server_count(struct http_server *s);
/* Wait until n have come, ten seconds at most; whether they have. */
bool http_server_wait(struct http_server *s, unsigned n);
/* The i-th request, from 0; aborts the test when there is none. */
const struct http_request *http_server_request(struct http_server *s, unsigned i);
/* Copies the value of a header (name in lower case) into out, "" when it has none; whether it has. */
bool http_request_value(const struct http_request *r, const char *name, char *out, size_t size);

#endif
