/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts. Without TLS the signature holds the hash of the body, and a large body would lie there until it is hashed; so
 * it goes out in chunks that are signed one by one. Most stores that speak S3 understand them, and which one it is can
 * only be tried:
 *   untried    what the first such put has stored is as long as the body: they work
 *              it is longer, as chunks are with all that is around them, or the store does not tell, or refuses the
 *              put: the same put, hashed as a whole; when that succeeds, from then on always. Of a put whose answer
 *              was lost, bucket_put looks at the size when it finds its own object
 *   work       of a refusal the form may still be the reason: a body that was spoilt on its way is one of a wrong
 *              signature, while a wrong hash has a code of its own. It is put again, hashed as a whole
 */

#include "object/s3/s3.h"

#include "base/log.h"
#include "object/bucket.h"

#include <errno.h>

#define CHUNKS_MIN ((size_t)4 << 20) /* shorter ones are hashed in no time */

static int add_condition(struct s3_call *c)
{
    c->conditional = true;
    return http_add_header(&c->x, "%s", c->s->dialect == SHALE_S3_GCS ? "x-goog-if-generation-match: 0"
                                                                      : "If-None-Match: *");
}

static enum s3_chunks chunks_of(struct s3_store *s)
{
    return (enum s3_chunks)atomic_load_explicit(&s->chunks, memory_order_relaxed);
}

static void set_chunks(struct s3_store *s, enum s3_chunks to)
{
    atomic_store_explicit(&s->chunks, to, memory_order_relaxed);
}

struct put {
    const char *name;
    struct shale_slice data;
    bool create;
    const char *put_id;
};

/* Ended by s3_call_fini in any case. */
static int run(struct s3_call *c, struct s3_store *s, const struct put *p, bool in_chunks)
{
    int rc = s3_call_init(c, s, HTTP_PUT, "write", p->name);

    if (rc == 0)
        rc = in_chunks ? s3_call_stream(c, p->data) : s3_call_body(c, p->data);
    if (rc == 0 && p->create)
        rc = add_condition(c);
    if (rc == 0 && p->put_id)
        rc = http_add_header(&c->x, "%s" S3_PUT_ID ": %s", s3_meta_prefix(s), p->put_id);
    return rc == 0 ? s3_call_run(c) : rc;
}

static int put_whole(struct s3_store *s, const struct put *p)
{
    struct s3_call c;
    int rc = run(&c, s, p, false);

    s3_call_fini(&c);
    return rc;
}

/* A status that the form may be the reason of. */
static bool may_mean_form(const struct s3_call *c)
{
    static const int statuses[] = { 400, 403, 405, 411, 415, 422, 501 };

    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        if (c->x.rc == 0 && c->x.status == statuses[i])
            return true;
    return false;
}

static bool is_stored_whole(struct s3_store *s, const struct put *p)
{
    struct shale_object_meta meta = { 0 };

    return s3_head(&s->base, p->name, &meta) == 0 && meta.size == p->data.len;
}

/* *again: the put has to be made in the other form, whatever the outcome is. */
static int put_in_chunks(struct s3_store *s, const struct put *p, bool *again)
{
    struct s3_call c;
    int rc = run(&c, s, p, true);

    *again = rc < 0 && may_mean_form(&c);
    s3_call_fini(&c);
    if (rc == 0 && chunks_of(s) == S3_CHUNKS_UNTRIED) {
        *again = !is_stored_whole(s, p);
        if (!*again)
            set_chunks(s, S3_CHUNKS_WORK);
    }
    return rc;
}

static int put_once(struct shale_store *store, const char *name, struct shale_slice data, bool create,
                    const char *put_id)
{
    struct s3_store *s = container_of(store, struct s3_store, base);
    struct put p = { .name = name, .data = data, .create = create, .put_id = put_id };
    bool again;
    int rc;

    if (data.len < CHUNKS_MIN || chunks_of(s) == S3_CHUNKS_NEVER)
        return put_whole(s, &p);
    rc = put_in_chunks(s, &p, &again);
    if (!again)
        return rc;
    p.create = create && rc < 0; /* otherwise it is there, and ours */
    rc = put_whole(s, &p);
    if (rc == 0 && chunks_of(s) == S3_CHUNKS_UNTRIED) {
        log_info("s3://%s: it is not known to take bodies that are signed in chunks; they are hashed before they are "
                 "sent", s->bucket);
        set_chunks(s, S3_CHUNKS_NEVER);
    }
    return rc;
}

int s3_put(struct shale_store *store, const char *name, struct shale_slice data, enum shale_put_mode mode,
           const char *put_id)
{
    struct s3_store *s = container_of(store, struct s3_store, base);

    return bucket_put(store, s->bucket, name, data, mode, put_id, put_once);
}
