/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multipart uploads: parts by number, each with a tag that the store gives and wants back in the end.
 */

#include "object/s3/s3.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "net/xml.h"
#include "object/part_upload.h"

#include <errno.h>
#include <stdio.h>

#define PARTS_MAX 10000u /* says S3; 78 GiB */
#define COMPLETE_MS (15 * 60 * 1000) /* to put them together */

struct s3_upload {
    struct part_upload base;
    struct s3_store *s;
    char *id;                         /* what the store calls it; owned */
    struct s3_call calls[PART_SLOTS]; /* of the parts that are sent */
    char **tags;                      /* by part number - 1; owned */
    size_t n_tags, cap_tags;
};

static struct s3_upload *upload_of(struct part_upload *u)
{
    return container_of(u, struct s3_upload, base);
}

static void upload_free(struct part_upload *base)
{
    struct s3_upload *u = upload_of(base);

    for (size_t i = 0; i < u->n_tags; i++)
        mem_free(u->tags[i]);
    mem_free(u->tags);
    mem_free(u->id);
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

static int begin_at_store(struct part_upload *base)
{
    struct s3_upload *u = upload_of(base);
    const struct xml_visitor v = { .end = on_id, .arg = u };
    struct s3_call c;
    int rc = s3_call_init(&c, u->s, HTTP_POST, "begin the upload of", base->name);

    c.x.op = SHALE_REQUEST_UPLOAD_BEGIN;
    if (rc == 0)
        rc = s3_call_query(&c, "uploads", NULL);
    if (rc == 0)
        rc = http_add_header(&c.x, "%s" S3_PUT_ID ": %s", s3_meta_prefix(u->s), base->put_id);
    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == 0)
        rc = xml_walk(slice_of_buf(&c.x.response), &v);
    if (rc == -EBADMSG || (rc == 0 && !u->id))
        rc = s3_call_error(&c, SHALE_ETRANSIENT, "the store's answer is not understood");
    s3_call_fini(&c);
    return rc;
}

/* Room for the tag of a part. */
static int number_part(struct s3_upload *u, size_t number)
{
    if (vec_reserve(&u->tags, &u->cap_tags, number, sizeof(u->tags[0])) < 0)
        return err_set(-ENOMEM, "out of memory for the upload of %s", u->base.name);
    while (u->n_tags < number)
        u->tags[u->n_tags++] = NULL;
    return 0;
}

static int send_part(struct part_upload *base, unsigned slot)
{
    struct s3_upload *u = upload_of(base);
    const struct part *p = &base->parts[slot];
    struct s3_call *c = &u->calls[slot];
    char number[16];
    int rc = number_part(u, p->number);

    if (rc < 0)
        return rc;
    snprintf(number, sizeof(number), "%u", p->number);
    rc = s3_call_init(c, u->s, HTTP_PUT, "write a part of", base->name);
    c->x.op = SHALE_REQUEST_UPLOAD_PART;
    if (rc == 0)
        rc = s3_call_query(c, "partNumber", number);
    if (rc == 0)
        rc = s3_call_query(c, "uploadId", u->id);
    if (rc == 0)
        rc = s3_call_body(c, slice_of_buf(&p->data));
    if (rc == 0)
        rc = s3_call_submit(c);
    if (rc < 0)
        s3_call_fini(c);
    return rc;
}

/* Notes its tag. */
static int wait_part(struct part_upload *base, unsigned slot)
{
    struct s3_upload *u = upload_of(base);
    struct s3_call *c = &u->calls[slot];
    unsigned number = base->parts[slot].number;
    int rc = s3_call_wait(c);

    if (rc == 0) {
        const char *tag = http_response_header(&c->x, "etag");

        u->tags[number - 1] = tag ? mem_strdup(tag) : NULL;
        if (!u->tags[number - 1])
            rc = tag ? -ENOMEM : s3_call_error(c, SHALE_ETRANSIENT, "the store gave no ETag for part %u", number);
    }
    s3_call_fini(c);
    return rc;
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

#define IS_ERROR 1

static int on_result(void *arg, const char *name, int depth)
{
    (void)arg;
    if (depth > 0 || strcmp(name, "CompleteMultipartUploadResult") == 0)
        return 0;
    return strcmp(name, "Error") == 0 ? IS_ERROR : -EBADMSG;
}

/*
 * Stores answer when they begin, keep the connection alive by blanks, for minutes, and then tell whether they could: so
 * a status of success may come with an error in the body.
 */
static int complete(struct part_upload *base)
{
    struct s3_upload *u = upload_of(base);
    const struct xml_visitor v = { .begin = on_result };
    struct shale_buf body = SHALE_BUF_INIT;
    struct s3_call c;
    int rc = s3_call_init(&c, u->s, HTTP_POST, "complete the upload of", base->name);

    c.x.op = SHALE_REQUEST_UPLOAD_COMPLETE;
    if (rc == 0)
        rc = write_tags(u, &body);
    if (rc == 0)
        rc = s3_call_query(&c, "uploadId", u->id);
    if (rc == 0)
        rc = s3_call_body(&c, slice_of_buf(&body));
    c.x.drips = true;
    c.x.total_ms = COMPLETE_MS;
    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == 0)
        rc = xml_walk(slice_of_buf(&c.x.response), &v);
    if (rc == IS_ERROR)
        rc = s3_call_meaning(&c);
    else if (rc == -EBADMSG)
        rc = s3_call_error(&c, SHALE_ETRANSIENT, "the store's answer is not understood");
    s3_call_fini(&c);
    shale_buf_fini(&body);
    return rc == -ENOENT ? part_upload_look(base, u->s->bucket) : rc;
}

static void abort_at_store(struct part_upload *base)
{
    struct s3_upload *u = upload_of(base);
    struct s3_call c;
    int rc = s3_call_init(&c, u->s, HTTP_DELETE, "abort the upload of", base->name);

    c.x.op = SHALE_REQUEST_UPLOAD_ABORT;
    if (rc == 0)
        rc = s3_call_query(&c, "uploadId", u->id);
    if (rc == 0)
        rc = s3_call_run(&c);
    s3_call_fini(&c);
    if (rc < 0 && rc != -ENOENT)
        log_warn("object store: %s; a rule of the bucket's life cycle should remove such uploads", shale_errmsg());
}

static const struct part_upload_ops upload_ops = {
    .parts_max = PARTS_MAX,
    .begin = begin_at_store,
    .send = send_part,
    .wait = wait_part,
    .complete = complete,
    .discard = abort_at_store,
    .free = upload_free,
};

int s3_upload_begin(struct shale_store *store, const char *name, struct shale_upload **out)
{
    struct s3_upload *u = mem_zalloc(sizeof(*u));
    int rc = -ENOMEM;

    if (!u)
        return err_set(rc, "out of memory for the upload of %s", name);
    u->s = container_of(store, struct s3_store, base);
    rc = part_upload_init(&u->base, store, name, &upload_ops);
    if (rc == 0)
        *out = &u->base.base;
    return rc;
}
