/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/io_class.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/sync.h"

#include <shale/object_store.h>
#include <stdbool.h>

/*
 * HTTP by libcurl's multi interface: one thread drives all connections, callers wait. Connections are kept and
 * reused; proxies come from the usual environment variables; redirects are not followed (they would be signed for
 * another host).
 *
 * An exchange is one request and its response. It belongs to its caller before http_submit and after http_wait, and to
 * the client in between; one thread waits for it. Any number may be under way from any number of threads; how many of a
 * class are on the wire at once is limited, the others wait in line, in order.
 */
struct http_client;

struct http_options {
    const char *ca_file;    /* certificates to trust instead of the system's; NULL: those */
    int64_t connect_ms;     /* to connect, with name look-up and TLS; 0: 10 s */
    int64_t first_byte_ms;  /* from the end of the request to the first byte of the answer, and longer behind a large
                               body (up to two minutes), much of which is then still in the kernel; 0: by class */
    int64_t stall_ms;       /* for min_rate bytes a second on the average of it; 0: by class */
    int64_t min_rate;       /* of bodies, in both directions; 0: by class; below 0: only silence ends an exchange */
    const struct shale_request_watch *watch; /* NULL: nobody is told of requests; borrowed */
    uint32_t limit[IO_CLASSES]; /* on the wire at once; 0: as in the table */
};

/*
 * The defaults by class. So an exchange with n bytes of bodies lasts no longer than about the sum of connect_ms,
 * first_byte_ms, n / min_rate and twice stall_ms, whatever the other side does.
 *
 *                 on the wire   first byte   stall   bytes a second
 *   foreground         64          30 s       20 s        1024
 *   wal                 4          30 s       20 s        1024
 *   upload             16          60 s       30 s         512
 *   compaction         16          60 s       30 s         512
 *   gc                  4          60 s       30 s         512
 */

/*
 * A body that is made while it goes out. read writes up to n (at least 1) bytes of it, from place at (below len) on,
 * and returns how many; 0: without memory. Called on the client's thread, one call after another, in order but for going
 * back when the request has to be sent once more; must not block.
 */
struct http_source {
    uint64_t len; /* 0: there is none */
    size_t (*read)(void *arg, uint64_t at, uint8_t *out, size_t n);
    void *arg;
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST, HTTP_DELETE };

struct http_exchange {
    /* The request: set by the caller. All zero is a GET. */
    enum http_method method;
    struct shale_buf url;      /* a string; owned, http_exchange_fini frees it */
    struct shale_buf headers;  /* by http_add_header; owned */
    struct shale_slice body;   /* borrowed until http_wait returns */
    struct http_source source; /* in place of body, of a PUT; borrowed until http_wait returns */
    uint64_t max_response;     /* a longer body is refused with -EIO; 0: 64 KiB */
    uint64_t expected;         /* bytes of the body, to make room for at once; 0: unknown */
    int64_t total_ms;          /* for the whole exchange once it is on the wire; 0: no bound but stall_ms */
    enum io_class cls;
    bool drips;                /* the answer may come byte by byte, so that min_rate does not count */
    /* What is told of the request (base/requests.h). All zero: what the method says, the first attempt. */
    enum shale_request_op op;
    const char *object;                 /* borrowed until http_wait returns; NULL: it is about none */
    uint64_t range_offset, range_len;   /* len 0: no range */
    unsigned attempt;
    bool direct;               /* not by a proxy: what is asked is next to this host */
    bool secret;               /* the response holds keys: it never moves in memory, and is overwritten in the end */
    /*
     * Called by the client's thread when the request is about to go out, perhaps long after http_submit: signatures
     * hold the time. Adds headers; must not block. 0 or an error, which becomes rc. NULL is fine.
     */
    int (*prepare)(struct http_exchange *x, void *arg);
    void *prepare_arg;

    /*
     * The response, after http_wait. rc is 0 when a whole response is there, whatever its status. SHALE_ETRANSIENT: no
     * connection, or it broke, or nothing came in time; whether the server acted on the request is unknown. -EIO: the
     * server cannot be trusted (TLS) or sent too much; -EINVAL: the URL; -ENOMEM; SHALE_ECANCELED. why says it as the
     * end of a sentence.
     */
    int rc;
    int status;
    struct shale_buf response;      /* the body; owned */
    struct shale_buf response_head; /* see http_response_header; owned */
    char why[400];
    int64_t queued_ns;              /* in line */
    int64_t wire_ns;                /* from going out to the end */
    uint64_t bytes_out, bytes_in;   /* of bodies */

    struct http_transfer *transfer; /* the client's; NULL unless on the wire */
    int64_t submitted_ns;           /* the client's, as the next one */
    int64_t begun_ms;               /* when it went out, Unix time */
    struct list node;               /* the client's */
    bool done;                      /* the client's */
    struct cond *waiter;            /* the client's: whom to wake */
    bool unwanted;                  /* the client's: its waiter has given up */
};

/* opt NULL: the defaults. 0, -ENOMEM or another -errno when no thread can be started. */
int http_client_new(const struct http_options *opt, struct http_client **out);
/* No exchange may be under way. NULL is fine. */
void http_client_free(struct http_client *c);
/*
 * Everything that is under way or in line, or comes later, ends with SHALE_ECANCELED. For a close that must not wait
 * for a store that does not answer.
 */
void http_client_stop(struct http_client *c);

/* Frees what x owns. Its request headers are overwritten, as they may hold tokens. */
void http_exchange_fini(struct http_exchange *x);
/* "Name: value", or "Name:" to have none where libcurl would send one. 0 or -ENOMEM. */
int http_add_header(struct http_exchange *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The i-th request header, or NULL behind the last. */
const char *http_request_header(const struct http_exchange *x, size_t i);
/* The value of a header of the response (name in lower case), or NULL. The last one counts. Borrowed from x. */
const char *http_response_header(const struct http_exchange *x, const char *name);
/* Bytes of the body of the request. */
uint64_t http_body_len(const struct http_exchange *x);
const char *http_method_name(enum http_method m);

void http_submit(struct http_client *c, struct http_exchange *x);
/*
 * A thread that is asked to (base/cancel.h) gives up a GET or HEAD, which then ends soon with SHALE_ECANCELED; what
 * may change something is waited for.
 */
void http_wait(struct http_client *c, struct http_exchange *x);
/* Whether http_wait would return at once. */
bool http_is_done(struct http_client *c, struct http_exchange *x);
/* Submit and wait; x->rc. */
int http_run(struct http_client *c, struct http_exchange *x);

#endif
