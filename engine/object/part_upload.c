/* SPDX-License-Identifier: Apache-2.0 */
#include "object/part_upload.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ulid.h"

#include <errno.h>
#include <stdio.h>

#define SENTENCE_MAX 1024

static void upload_free(struct part_upload *u)
{
    for (unsigned i = 0; i < PART_SLOTS; i++)
        shale_buf_fini(&u->parts[i].data);
    shale_buf_fini(&u->gathered);
    mem_free(u->name);
    u->ops->free(u);
}

int part_upload_init(struct part_upload *u, struct shale_store *store, const char *name,
                     const struct part_upload_ops *ops)
{
    u->base.store = store;
    u->ops = ops;
    u->name = mem_strdup(name);
    if (!u->name) {
        upload_free(u);
        return err_set(-ENOMEM, "out of memory for the upload of %s", name);
    }
    ulid_format(ulid_new(clock_wall_ms(), NULL), u->put_id);
    return 0;
}

static int send_part(struct part_upload *u, unsigned slot)
{
    int rc = u->ops->send(u, slot);

    u->parts[slot].state = rc == 0 ? PART_SENT : PART_FAILED;
    return rc;
}

static int reap_part(struct part_upload *u, unsigned slot)
{
    int rc = u->ops->wait(u, slot);

    u->parts[slot].state = rc == 0 ? PART_FREE : PART_FAILED;
    return rc;
}

static int resend_failed(struct part_upload *u)
{
    int rc = 0;

    for (unsigned i = 0; i < PART_SLOTS && rc == 0; i++)
        if (u->parts[i].state == PART_FAILED)
            rc = send_part(u, i);
    return rc;
}

/* A slot that is free, having waited for the part that was sent first. */
static int free_slot(struct part_upload *u, unsigned *slot)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < PART_SLOTS; i++) {
        if (u->parts[i].state == PART_FREE) {
            *slot = i;
            return 0;
        }
        if (u->parts[i].number < u->parts[oldest].number)
            oldest = i;
    }
    *slot = oldest;
    return reap_part(u, oldest);
}

/* Copy the len bytes at `from` of what is gathered into p. */
static int fill_part(struct part_upload *u, struct part *p, size_t from, size_t len)
{
    if (u->n_parts == u->ops->parts_max)
        return err_set(-EFBIG, "cannot write %s: it would have more than %u parts", u->name, u->ops->parts_max);
    if (buf_set(&p->data, slice_of(u->gathered.data + from, len)) < 0)
        return err_set(-ENOMEM, "out of memory for the upload of %s", u->name);
    p->number = ++u->n_parts;
    p->state = PART_FAILED; /* until it is sent */
    u->size += len;
    return 0;
}

static int begin(struct part_upload *u)
{
    int rc = u->begun || !u->ops->begin ? 0 : u->ops->begin(u);

    u->begun = u->begun || rc == 0;
    return rc;
}

/* Send every whole part that is gathered; with all, also what is left. */
static int send_gathered(struct part_upload *u, bool all)
{
    size_t from = 0;
    int rc = begin(u);

    if (rc == 0)
        rc = resend_failed(u);
    while (rc == 0 && (u->gathered.len - from >= PART_BYTES || (all && u->gathered.len > from))) {
        size_t len = u->gathered.len - from < PART_BYTES ? u->gathered.len - from : PART_BYTES;
        unsigned slot = 0;

        rc = free_slot(u, &slot);
        if (rc == 0)
            rc = fill_part(u, &u->parts[slot], from, len);
        if (rc < 0)
            break;
        from += len;
        rc = send_part(u, slot);
    }
    if (from > 0) {
        memmove(u->gathered.data, u->gathered.data + from, u->gathered.len - from);
        u->gathered.len -= from;
    }
    return rc;
}

int part_upload_write(struct shale_upload *up, struct shale_slice data)
{
    struct part_upload *u = part_upload_of(up);
    int rc = 0;

    if (u->gathered.len >= PART_BYTES || u->begun)
        rc = send_gathered(u, false);
    if (rc == 0 && buf_append_slice(&u->gathered, data) < 0)
        rc = err_set(-ENOMEM, "out of memory for the upload of %s", u->name);
    return rc;
}

/* All, so that none is under way afterwards; the first error. */
static int reap_all(struct part_upload *u)
{
    int first = 0;

    for (unsigned i = 0; i < PART_SLOTS; i++) {
        int rc = u->parts[i].state == PART_SENT ? reap_part(u, i) : 0;

        first = first ? first : rc;
    }
    return first;
}

int part_upload_look(struct part_upload *u, const char *bucket)
{
    struct shale_store *s = u->base.store;
    struct shale_object_meta meta = { 0 };
    int rc = s->ops->head(s, u->name, &meta);

    if (rc < 0 && rc != -ENOENT)
        return rc; /* if it may pass, finish is called again and looks again */
    if (rc == 0 && meta.size == u->size && strcmp(meta.put_id, u->put_id) == 0)
        return 0;
    return err_set(-EIO, "cannot write %s://%s/%s: the store has lost the parts that were uploaded", s->ops->scheme,
                   bucket, u->name);
}

/* With the sentence that is there: removing the parts may fail, too, and leave another. */
static void abort_after(struct shale_upload *up, int rc)
{
    char why[SENTENCE_MAX];

    snprintf(why, sizeof(why), "%s", shale_errmsg());
    part_upload_abort(up);
    (void)err_set(rc, "%s", why);
}

int part_upload_finish(struct shale_upload *up)
{
    struct part_upload *u = part_upload_of(up);
    int rc;

    if (!u->begun && u->gathered.len <= PART_BYTES && !u->in_parts) {
        rc = up->store->ops->put(up->store, u->name, slice_of_buf(&u->gathered), SHALE_PUT_OVERWRITE, NULL);
    } else {
        rc = send_gathered(u, true);
        if (rc == 0)
            rc = reap_all(u);
        if (rc == 0)
            rc = u->ops->complete(u);
    }
    if (rc == SHALE_ETRANSIENT)
        return rc;
    if (rc < 0)
        abort_after(up, rc);
    else
        upload_free(u);
    return rc;
}

void part_upload_in_parts(struct shale_upload *up)
{
    part_upload_of(up)->in_parts = true;
}

void part_upload_abort(struct shale_upload *up)
{
    struct part_upload *u = part_upload_of(up);

    (void)reap_all(u);
    if (u->begun && u->ops->discard)
        u->ops->discard(u);
    upload_free(u);
}
