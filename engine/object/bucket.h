/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_BUCKET_H
#define OBJECT_BUCKET_H

#include "net/http.h"

#include <shale/object_store.h>

/* What the stores that speak HTTP have in common: one place for what a header or a page means. */

/* ---- answers ---- */

/* Retry-After, in seconds or as a date by the store's clock, as milliseconds; at most a minute; 0: there is none. */
int64_t bucket_retry_after(const struct http_exchange *x);
/*
 * Whether the answer is a web page: a portal or a proxy answers in the store's place. XML that is called text/html, and
 * an empty body that is, are none: Swift does so.
 */
bool bucket_is_web_page(const struct http_exchange *x);
/*
 * Of an exchange that failed. Distrusted: the other side showed no certificate of the store's, or those to trust cannot
 * be read, as while they are replaced. Overlong: the answer was given up, as longer than any of a store; what is there
 * of it says whose it is.
 */
bool bucket_is_distrusted(const struct http_exchange *x);
bool bucket_is_overlong(const struct http_exchange *x);
/* A status that says no more than that it did not work this time, whoever says it, as a gateway in front of the store. */
bool bucket_may_pass(int status);
/* How far the store's clock is ahead of ours, in seconds; 0 when it does not tell. */
int64_t bucket_clock_ahead(const struct http_exchange *x);
/* Sentences are one line of text, whatever the other side says: its control characters become blanks. */
void bucket_one_line(char *text);
/*
 * Size and time of an object, and its put id when there is a header of that name (in lower case). false: the answer
 * tells neither size nor time, and out is as it was.
 */
bool bucket_read_meta(const struct http_exchange *x, const char *put_id_header, struct shale_object_meta *out);

/* The header Range, and room for the answer. 0 or -ENOMEM. */
int bucket_ask_range(struct http_exchange *x, uint64_t offset, uint64_t len);
/*
 * Whether a successful answer is the range that was asked for. 0; -ERANGE when the object is shorter; -EOPNOTSUPP for a
 * whole object; SHALE_ETRANSIENT for another range. why: the end of a sentence.
 */
int bucket_check_range(const struct http_exchange *x, uint64_t offset, uint64_t len, char *why, size_t size);
/* The body, handed over; x has none any more. out is empty before. */
void bucket_take_body(struct http_exchange *x, struct shale_buf *out);

/* ---- requests ---- */

struct bucket_endpoint {
    bool tls;
    const char *host; /* with the port; borrowed from the text */
    size_t host_len;
    const char *path; /* "" or from a slash on; borrowed from the text */
};

/* "https://host[:port][/path]"; no user, query or fragment. -EINVAL with a sentence. */
int bucket_endpoint_parse(const char *text, struct bucket_endpoint *out);

/* A file's path from the root on: it is read when the process may stand in another directory. Owned; NULL: -ENOMEM. */
char *bucket_absolute(const char *file);

/* The value of Content-MD5. 0 or -EIO (OpenSSL has no MD5). */
#define BUCKET_MD5_LEN 24
int bucket_md5(struct shale_slice body, char out[BUCKET_MD5_LEN + 1]);
/* False when the answer has a Content-MD5 that is not its body's. */
bool bucket_md5_fits(const struct http_exchange *x);

/*
 * The put of shale_store_ops by way of once, which makes one attempt, by the rules of the mode. -EEXIST of a creating
 * attempt is looked into: libcurl sends a request again by itself when a kept connection breaks before an answer came,
 * and the first one may have arrived. So also the only put that we know of may find its own object; the put id tells.
 * One that is ours and has another size is overwritten: a store kept what the body was wrapped in (s3_put.c).
 * bucket: for sentences.
 */
typedef int (*bucket_put_fn)(struct shale_store *s, const char *name, struct shale_slice data, bool create,
                             const char *put_id);
int bucket_put(struct shale_store *s, const char *bucket, const char *name, struct shale_slice data,
               enum shale_put_mode mode, const char *put_id, bucket_put_fn once);

/* ---- listings ---- */

/* A listing, page by page. All zero but for the first four. */
struct bucket_listing {
    shale_list_fn fn;
    void *arg;
    const char *prefix;            /* names without it are passed over: what is in between may forget to ask for it */
    const char *start_after;       /* names up to it are passed over; NULL: none. The store may do that, too */
    struct shale_buf name;         /* of the entry that is being read; a string */
    struct shale_object_meta meta; /* the same */
    struct shale_buf token;        /* of the next page; a string, empty: there is none */
    struct shale_buf last;         /* the name told last */
    bool disordered;
    int told;                      /* what fn ended the listing with */
};

void bucket_listing_fini(struct bucket_listing *l);
/*
 * The entry is complete: tell it, unless its name is none of ours (other tools' objects) or was not asked for. 0, what
 * fn returned, -ENOMEM, or -EBADMSG for an entry without a name or out of order.
 */
int bucket_listing_tell(struct bucket_listing *l);
/* rc of the walk over a page, as the outcome of the listing; *why: the end of a sentence, or NULL: there is none. */
int bucket_listing_outcome(const struct bucket_listing *l, int rc, const char **why);
/* A number without anything behind it. 0 or -EBADMSG. */
int bucket_read_size(const char *text, uint64_t *size);

#endif
