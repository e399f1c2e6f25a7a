/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/http_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY (24L * 60 * 60)

static void must(int ok)
{
    if (ok != 1) {
        ERR_print_errors_fp(stderr);
        abort();
    }
}

static void add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    must(e && X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

static X509 *make(const char *common_name, EVP_PKEY *key, int days, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *x = X509_new();
    X509_NAME *name;

    must(x && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), issuer ? 2 : 1));
    name = X509_get_subject_name(x);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0));
    must(X509_gmtime_adj(X509_getm_notBefore(x), -400 * DAY) && X509_gmtime_adj(X509_getm_notAfter(x), days * DAY));
    must(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name) && X509_set_pubkey(x, key));
    if (issuer)
        add_extension(x, NID_subject_alt_name, common_name);
    else
        add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
    must(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return x;
}

static void *tls_accept(struct http_tls *t, int fd)
{
    SSL *ssl = SSL_new(t->ctx);

    must(ssl && SSL_set_fd(ssl, fd));
    if (SSL_accept(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

static ssize_t tls_read(void *session, void *buf, size_t n)
{
    return SSL_read(session, buf, (int)n);
}

static ssize_t tls_write(void *session, const void *buf, size_t n)
{
    return SSL_write(session, buf, (int)n);
}

static void tls_close(void *session)
{
    SSL_free(session);
    ERR_clear_error();
}

void http_tls_init(struct http_tls *t, const char *name, int days, const char *ca_file)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    static atomic_uint n; /* each has a name of its own */
    char ca_name[40];
    X509 *ca, *leaf;
    FILE *f = ca_file ? fopen(ca_file, "w") : NULL;

    snprintf(ca_name, sizeof(ca_name), "authority %u for tests", atomic_fetch_add(&n, 1));
    ca = make(ca_name, ca_key, 400, NULL, ca_key);
    leaf = make(name, key, days, ca, ca_key);
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL has no other way to keep it off */
    *t = (struct http_tls){ .accept = tls_accept, .read = tls_read, .write = tls_write, .close = tls_close };
    t->ctx = SSL_CTX_new(TLS_server_method());
    must(t->ctx && SSL_CTX_use_certificate(t->ctx, leaf) && SSL_CTX_use_PrivateKey(t->ctx, key));
    if (ca_file)
        must(f && PEM_write_X509(f, ca) && fclose(f) == 0);
    X509_free(leaf);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
}

void http_tls_fini(struct http_tls *t)
{
    SSL_CTX_free(t->ctx);
}
