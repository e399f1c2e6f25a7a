/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A large object in parts. What is written gathers in `gathered`; a write first sends the whole parts that are there,
 * up to IN_FLIGHT at once, each from a buffer of its own, and only then takes the new bytes. So a write that fails
 * with SHALE_ETRANSIENT has taken nothing, and a part that failed is sent again by the next call. What fits into
 * one part never becomes a multipart upload: finish puts it.
 */

#include "object/s3/s3.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ulid.h"
#include "net/xml.h"

#include <errno.h>
#include <stdio.h>

#define PART_BYTES ((size_t)8 << 20) /* 10,000 parts at most, says S3: 78 GiB */
#define PARTS_MAX 10000u
#define IN_FLIGHT 4

enum part_state { PART_FREE, PART_SENT, PART_FAILED };

struct part {
    enum part_state state;
    unsigned number;       /* from 1 */
    struct shale_buf data;
    struct s3_call call;   /* while PART_SENT */
};

struct s3_upload {
    struct shale_upload base;
    struct s3_store *s;
    char *id;                  /* NULL: not begun at the store */
    struct shale_buf gathered; /* not yet in a part */
    struct part parts[IN_FLIGHT];
    char **tags;               /* by part number - 1; owned */
    size_t n_tags, cap_tags;   /* n_tags: numbers given out */
    uint64_t size;             /* of what is in parts */
    char put_id[SHALE_PUT_ID_LEN + 1];
    char name[];
};

static struct s3_upload *upload_of(struct shale_upload *u)
{
    return container_of(u, struct s3_upload, base);
}

int s3_upload_begin(struct shale_store *store, const char *name, struct shale_upload **out)
{
    size_t len = strlen(name);
    struct s3_upload *u = mem_zalloc(sizeof(*u) + len + 1);

    if (!u)
        return err_set(-ENOMEM, "out of memory for the upload of %s", name);
    u->base.store = store;
    u->s = container_of(store, struct s3_store, base);
    memcpy(u->name, name, len + 1);
    ulid_format(ulid_new(clock_wall_ms(), NULL), u->put_id);
    *out = &u->base;
    return 0;
}

static void upload_free(struct s3_upload *u)
{
    for (size_t i = 0; i < IN_FLIGHT; i++)
        shale_buf_fini(&u->parts[i].data);
    for (size_t i = 0; i < u->n_tags; i++)
        mem_free(u->tags[i]);
    mem_free(u->tags);
    mem_free(u->id);
    shale_buf_fini(&u->gathered);
    mem_free(u);
}

static int on_id(void *arg, const char *name, int depth, const char *text)
{
    struct s3_upload *u = arg;

    if (depth != 1 || strcmp(name, "UploadId") != 0)
        return 0;
    mem_free(u->id);
    u->id = mem_strdup(text);
    return u->id ? 0 : -ENOMEM;
}

static int begin_at_store(struct s3_upload *u)
{
    const struct xml_visitor v = { .end = on_id, .arg = u };
    struct s3_call c;
    int rc = s3_call_init(&c, u->s, HTTP_POST, "begin the upload of", u->name);

    if (rc == 0)
        rc = s3_call_query(&c, "uploads", NULL);
    if (rc == 0)
        rc = http_add_header(&c.x, "%s" S3_PUT_ID ": %s", s3_meta_prefix(u->s), u->put_id);
    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == 0)
        rc = xml_walk(slice_of_buf(&c.x.response), &v);
    if (rc == -EBADMSG || (rc == 0 && !u->id))
        rc = s3_call_error(&c, SHALE_ETRANSIENT, "the store's answer is not understood");
    s3_call_fini(&c);
    return rc;
}

static int send_part(struct s3_upload *u, struct part *p)
{
    char number[16];
    int rc = s3_call_init(&p->call, u->s, HTTP_PUT, "write a part of", u->name);

    snprintf(number, sizeof(number), "%u", p->number);
    if (rc == 0)
        rc = s3_call_query(&p->call, "partNumber", number);
    if (rc == 0)
        rc = s3_call_query(&p->call, "uploadId", u->id);
    if (rc == 0)
        rc = s3_call_body(&p->call, slice_of_buf(&p->data));
    if (rc == 0)
        rc = s3_call_submit(&p->call);
    p->state = rc == 0 ? PART_SENT : PART_FAILED;
    if (rc < 0)
        s3_call_fini(&p->call);
    return rc;
}

/* Wait for a part that was sent, and note its tag. */
static int reap_part(struct s3_upload *u, struct part *p)
{
    const char *tag;
    int rc = s3_call_wait(&p->call);

    p->state = PART_FAILED;
    if (rc == 0) {
        tag = http_response_header(&p->call.x, "etag");
        u->tags[p->number - 1] = tag ? mem_strdup(tag) : NULL;
        if (u->tags[p->number - 1])
            p->state = PART_FREE;
        else
            rc = tag ? -ENOMEM : s3_call_error(&p->call, SHALE_ETRANSIENT, "the store gave no ETag for part %u",
                                               p->number);
    }
    s3_call_fini(&p->call);
    return rc;
}

static int resend_failed(struct s3_upload *u)
{
    int rc = 0;

    for (size_t i = 0; i < IN_FLIGHT && rc == 0; i++)
        if (u->parts[i].state == PART_FAILED)
            rc = send_part(u, &u->parts[i]);
    return rc;
}

/* A part that is free, having waited for the one that was sent first. */
static int free_part(struct s3_upload *u, struct part **out)
{
    struct part *oldest = &u->parts[0];
    int rc;

    for (size_t i = 0; i < IN_FLIGHT; i++) {
        if (u->parts[i].state == PART_FREE) {
            *out = &u->parts[i];
            return 0;
        }
        if (u->parts[i].number < oldest->number)
            oldest = &u->parts[i];
    }
    rc = reap_part(u, oldest);
    *out = oldest;
    return rc;
}

/* Copy the len bytes at `from` of what is gathered into p. */
static int fill_part(struct s3_upload *u, struct part *p, size_t from, size_t len)
{
    if (u->n_tags == PARTS_MAX)
        return err_set(-EFBIG, "cannot write s3://%s/%s: it would have more than %u parts", u->s->bucket, u->name,
                       PARTS_MAX);
    if (vec_reserve(&u->tags, &u->cap_tags, u->n_tags + 1, sizeof(u->tags[0])) < 0 ||
        buf_set(&p->data, slice_of(u->gathered.data + from, len)) < 0)
        return err_set(-ENOMEM, "out of memory for the upload of %s", u->name);
    u->tags[u->n_tags++] = NULL;
    p->number = (unsigned)u->n_tags;
    p->state = PART_FAILED; /* until it is sent */
    u->size += len;
    return 0;
}

/* Send every whole part that is gathered; with all, also what is left. */
static int send_gathered(struct s3_upload *u, bool all)
{
    size_t from = 0;
    int rc = u->id ? 0 : begin_at_store(u);

    if (rc == 0)
        rc = resend_failed(u);
    while (rc == 0 && (u->gathered.len - from >= PART_BYTES || (all && u->gathered.len > from))) {
        size_t len = u->gathered.len - from < PART_BYTES ? u->gathered.len - from : PART_BYTES;
        struct part *p = NULL;

        rc = free_part(u, &p);
        if (rc == 0)
            rc = fill_part(u, p, from, len);
        if (rc < 0)
            break;
        from += len;
        rc = send_part(u, p);
    }
    if (from > 0) {
        memmove(u->gathered.data, u->gathered.data + from, u->gathered.len - from);
        u->gathered.len -= from;
    }
    return rc;
}

int s3_upload_write(struct shale_upload *up, struct shale_slice data)
{
    struct s3_upload *u = upload_of(up);
    int rc = 0;

    if (u->gathered.len >= PART_BYTES || u->id)
        rc = send_gathered(u, false);
    if (rc == 0 && buf_append_slice(&u->gathered, data) < 0)
        rc = err_set(-ENOMEM, "out of memory for the upload of %s", u->name);
    return rc;
}

/* All, so that none is under way afterwards; the first error. */
static int reap_all(struct s3_upload *u)
{
    int first = 0;

    for (size_t i = 0; i < IN_FLIGHT; i++) {
        int rc = u->parts[i].state == PART_SENT ? reap_part(u, &u->parts[i]) : 0;

        first = first ? first : rc;
    }
    return first;
}

static int write_tags(const struct s3_upload *u, struct shale_buf *out)
{
    int rc = buf_printf(out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");

    for (size_t i = 0; i < u->n_tags && rc == 0; i++) {
        rc = buf_printf(out, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        if (rc == 0)
            rc = xml_escape(out, u->tags[i]);
        if (rc == 0)
            rc = buf_printf(out, "</ETag></Part>");
    }
    return rc == 0 ? buf_printf(out, "</CompleteMultipartUpload>") : rc;
}

static int on_result(void *arg, const char *name, int depth)
{
    (void)arg;
    return depth == 0 && strcmp(name, "Error") == 0 ? 1 : 0;
}

/* Whether an earlier attempt, whose reply was lost, has put the parts together. */
static int look_for_result(struct s3_upload *u, int rc)
{
    struct shale_object_meta meta = { 0 };

    if (shale_store_head(&u->s->base, u->name, &meta) == 0 && meta.size == u->size &&
        strcmp(meta.put_id, u->put_id) == 0)
        return 0;
    return err_set(rc == -ENOENT ? -EIO : rc, "cannot write s3://%s/%s: the store has lost the parts that were uploaded",
                   u->s->bucket, u->name);
}

static int complete(struct s3_upload *u)
{
    const struct xml_visitor v = { .begin = on_result };
    struct shale_buf body = SHALE_BUF_INIT;
    struct s3_call c;
    int rc = s3_call_init(&c, u->s, HTTP_POST, "complete the upload of", u->name);

    if (rc == 0)
        rc = write_tags(u, &body);
    if (rc == 0)
        rc = s3_call_query(&c, "uploadId", u->id);
    if (rc == 0)
        rc = s3_call_body(&c, slice_of_buf(&body));
    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == 0 && xml_walk(slice_of_buf(&c.x.response), &v) != 0) /* an error may come after the status was sent */
        rc = s3_call_error(&c, SHALE_ETRANSIENT, "the store could not put the parts together");
    s3_call_fini(&c);
    shale_buf_fini(&body);
    return rc == -ENOENT ? look_for_result(u, rc) : rc;
}

static void abort_at_store(struct s3_upload *u)
{
    struct s3_call c;
    int rc = s3_call_init(&c, u->s, HTTP_DELETE, "abort the upload of", u->name);

    if (rc == 0)
        rc = s3_call_query(&c, "uploadId", u->id);
    if (rc == 0)
        rc = s3_call_run(&c);
    s3_call_fini(&c);
    if (rc < 0 && rc != -ENOENT)
        log_warn("object store: %s; a rule of the bucket's life cycle should remove such uploads", shale_errmsg());
}

int s3_upload_finish(struct shale_upload *up)
{
    struct s3_upload *u = upload_of(up);
    int rc;

    if (!u->id && u->gathered.len <= PART_BYTES) {
        rc = u->base.store->ops->put(u->base.store, u->name, slice_of_buf(&u->gathered), SHALE_PUT_OVERWRITE, NULL);
    } else {
        rc = send_gathered(u, true);
        if (rc == 0)
            rc = reap_all(u);
        if (rc == 0)
            rc = complete(u);
    }
    if (rc == SHALE_ETRANSIENT)
        return rc;
    if (rc < 0)
        s3_upload_abort(up);
    else
        upload_free(u);
    return rc;
}

void s3_upload_abort(struct shale_upload *up)
{
    struct s3_upload *u = upload_of(up);

    (void)reap_all(u);
    if (u->id)
        abort_at_store(u);
    upload_free(u);
}
