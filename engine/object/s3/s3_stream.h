/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_S3_S3_STREAM_H
#define OBJECT_S3_S3_STREAM_H

#include "net/http.h"
#include "net/sigv4.h"

/*
 * A body that is signed in chunks while it goes out (aws-chunked): its first bytes need not wait for the hash of the
 * last. The thread that waits for the request hashes ahead; the client's thread signs what goes out next, and hashes
 * itself what is not hashed by then.
 */
struct s3_stream;

/* body: borrowed until s3_stream_free, not empty. Hashes the first chunk. 0 or -ENOMEM. */
int s3_stream_new(struct shale_slice body, struct s3_stream **out);
/* No request may be under way. NULL is fine. */
void s3_stream_free(struct s3_stream *st);
/* What goes out: chunks with their signatures. */
struct http_source s3_stream_source(struct s3_stream *st);
/* On the client's thread, before it goes out: the chunks' signatures begin behind this one (sigv4_chunks_begin). */
int s3_stream_sign(struct s3_stream *st, const struct sigv4_request *r, const char *secret_key,
                   struct shale_slice authorization);
/* Hash one more chunk, on the thread that made st, also while it goes out. false: there is none, or no memory. */
bool s3_stream_hash_next(struct s3_stream *st);

#endif
