/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_S3_S3_H
#define OBJECT_S3_S3_H

#include "net/aws_credentials.h"
#include "net/http.h"
#include "net/sigv4.h"
#include "object/s3/s3_stream.h"
#include "object/store.h"

#include <stdatomic.h>

/*
 * A bucket of S3, or of something that speaks its protocol. What the files of this directory share:
 *   s3_store.c    options, the operations
 *   s3_call.c     one request: address, signature, sending
 *   s3_error.c    what came back, as an error with a sentence
 *   s3_etag.c     whether a body is what its ETag stands for
 *   s3_put.c      a put, whole or in chunks that are signed one by one
 *   s3_stream.c   the body of the latter
 *   s3_list.c     listings and deletion of many, which speak XML
 *   s3_upload.c   multipart uploads
 * Errors that may pass are SHALE_ETRANSIENT; the retrying store asks again.
 */

/* Whether large bodies go out in chunks that are signed one by one (s3_put.c). */
enum s3_chunks {
    S3_CHUNKS_UNTRIED,
    S3_CHUNKS_WORK,  /* the store was seen to take them for what they are */
    S3_CHUNKS_NEVER, /* it does not, or there is no need */
};

struct s3_store {
    struct shale_store base;
    struct shale_store_ops ops;         /* with the scheme by which sentences name it */
    struct http_client *http;           /* owned */
    struct aws_credentials *credentials; /* owned */
    enum shale_s3_dialect dialect;
    bool tls;
    bool unsigned_payload;              /* what protects bodies is TLS, or nothing */
    _Atomic bool deletes_singly; /* relaxed: once it did not understand a request to delete many */
    _Atomic bool opaque_etags;   /* relaxed: once it sent an ETag that looks like an MD5 and was none */
    _Atomic int chunks;          /* an s3_chunks; relaxed: it only chooses a form */
    char *bucket, *region; /* owned */
    char *ca_file;         /* owned; NULL: the system's */
    char *origin;          /* "https://host:port"; owned */
    char *host;            /* as in the header Host; owned */
    char *root;            /* path of the bucket, without a slash behind: "" or "/bucket"; owned */
    atomic_bool known;     /* the store has answered as a store does; relaxed, it only chooses between codes */
};

/* One request to a store. All zero, then s3_call_init. */
struct s3_call {
    struct s3_store *s;
    const char *verb;   /* for the sentence: "cannot VERB NAME" */
    const char *name;   /* of the object; NULL: it is about the bucket */
    struct http_exchange x;
    struct shale_buf path, query; /* encoded; strings */
    struct aws_keys *keys;
    char payload[SIGV4_HASH_LEN + 1];
    struct s3_stream *stream; /* the body, when it is signed in chunks; owned */
    bool conditional;   /* a put that is to create */
    bool keys_refused;  /* the store does not take the keys, but may take others */
    size_t n_own;       /* bytes of the headers that were there before it was submitted */
    int failed;         /* of s3_call_submit */
};

int s3_call_init(struct s3_call *c, struct s3_store *s, enum http_method method, const char *verb, const char *name);
void s3_call_fini(struct s3_call *c);
/* In ascending order of the names. value is encoded here; NULL: "name=". */
int s3_call_query(struct s3_call *c, const char *name, const char *value);
/* Borrowed until the call is over. Hashes it where the connection does not protect it. */
int s3_call_body(struct s3_call *c, struct shale_slice body);
/* The same, but signed in chunks: for a large one. */
int s3_call_stream(struct s3_call *c, struct shale_slice body);
/* Put it in line; s3_call_wait has to follow, also when it fails. */
int s3_call_submit(struct s3_call *c);
/*
 * 0 for a status of success, or what the error means, with a sentence. The request is made once more with new keys
 * when the store says that ours have expired.
 */
int s3_call_wait(struct s3_call *c);
/* Submit and wait. */
int s3_call_run(struct s3_call *c);

/* What an answer with a status other than success means: a code, with a sentence. Sets keys_refused. */
int s3_call_meaning(struct s3_call *c);
/* Whether an answer of success is one of a store, and the error if it is not. */
bool s3_call_is_of_store(const struct s3_call *c);
int s3_call_no_store(const struct s3_call *c);
/* Whether an error with this code, of one object among several, may pass. */
bool s3_code_may_pass(const char *code);
/* The answer to a HEAD that does not say why: that to a GET would. */
bool s3_call_is_unexplained(const struct s3_call *c);
/* The store has answered as a store does. */
void s3_call_set_known(const struct s3_call *c);
/* rc as long as it has not, then SHALE_ETRANSIENT: something is in between for a while. */
int s3_until_known(const struct s3_call *c, int rc);

/* err_set(rc, "cannot read NAME: why") */
int s3_call_error(const struct s3_call *c, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* False when the answer's ETag looks like an MD5 and is not that of the body. */
bool s3_etag_fits(const struct s3_call *c);

/* The metadata that tells whose put it was (SlateDB 0.12.1, retrying_object_store.rs, names it so). */
#define S3_PUT_ID "slatedbputid"
/* x-amz-meta- or x-goog-meta- by dialect, as a prefix of a header's name. */
const char *s3_meta_prefix(const struct s3_store *s);

int s3_head(struct shale_store *store, const char *name, struct shale_object_meta *out);
int s3_put(struct shale_store *store, const char *name, struct shale_slice data, enum shale_put_mode mode,
           const char *put_id);
int s3_list(struct shale_store *store, const char *prefix, const char *start_after, shale_list_fn fn, void *arg);
int s3_remove_many(struct shale_store *store, const char *const *names, size_t n);
int s3_upload_begin(struct shale_store *store, const char *name, struct shale_upload **out);

#endif
