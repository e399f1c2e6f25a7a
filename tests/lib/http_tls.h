/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HTTP_TLS_H
#define TESTS_HTTP_TLS_H

#include <stddef.h>
#include <sys/types.h>

/*
 * TLS of a server, as far as http_server.c has to know it, so that tests without TLS need no library for it. Makes a
 * certificate and an authority of its own that has signed it. What cannot go wrong in a test aborts it.
 */
struct http_tls {
    void *(*accept)(struct http_tls *t, int fd); /* NULL: the handshake failed */
    ssize_t (*read)(void *session, void *buf, size_t n);
    ssize_t (*write)(void *session, const void *buf, size_t n);
    void (*close)(void *session);
    void *ctx;
};

/*
 * name: as in a certificate, "IP:127.0.0.1" or "DNS:store.test"; days: how long it is still valid, negative when it has
 * expired; ca_file: where to write the authority's certificate, NULL: nowhere.
 */
void http_tls_init(struct http_tls *t, const char *name, int days, const char *ca_file);
void http_tls_fini(struct http_tls *t);

#endif
