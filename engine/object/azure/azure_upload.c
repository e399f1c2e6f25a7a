/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads by blocks: Put Block for each part, then Put Block List, which makes the object of them. Blocks have names,
 * of one length and unique to this upload, as two uploads of one object share a space of them. Blocks that no list
 * ever names are dropped by Azure after a week, or when somebody else writes the object: there is nothing to abort.
 */

#include "object/azure/azure.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "object/part_upload.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#define BLOCKS_MAX 50000u /* says Azure; 390 GiB */
#define BLOCK_NAME_LEN (SHALE_PUT_ID_LEN + 6)
#define BLOCK_ID_LEN 44 /* the same in Base64 */

struct azure_upload {
    struct part_upload base;
    struct azure_store *s;
    struct azure_call calls[PART_SLOTS]; /* of the parts that are sent */
};

static struct azure_upload *upload_of(struct part_upload *u)
{
    return container_of(u, struct azure_upload, base);
}

static void upload_free(struct part_upload *base)
{
    mem_free(upload_of(base));
}

static void block_id(const struct part_upload *u, unsigned number, char out[BLOCK_ID_LEN + 1])
{
    char name[SHALE_PUT_ID_LEN + 16];

    snprintf(name, sizeof(name), "%s%06u", u->put_id, number);
    EVP_EncodeBlock((uint8_t *)out, (const uint8_t *)name, BLOCK_NAME_LEN);
}

static int send_block(struct part_upload *base, unsigned slot)
{
    struct azure_upload *u = upload_of(base);
    const struct part *p = &base->parts[slot];
    struct azure_call *c = &u->calls[slot];
    char id[BLOCK_ID_LEN + 1];
    int rc = azure_call_init(c, u->s, HTTP_PUT, "write a part of", base->name);

    c->x.op = SHALE_REQUEST_UPLOAD_PART;
    block_id(base, p->number, id);
    if (rc == 0)
        rc = azure_call_query(c, "blockid", id);
    if (rc == 0)
        rc = azure_call_query(c, "comp", "block");
    if (rc == 0)
        rc = azure_call_body(c, slice_of_buf(&p->data));
    if (rc == 0)
        rc = azure_call_submit(c);
    if (rc < 0)
        azure_call_fini(c);
    return rc;
}

static int wait_block(struct part_upload *base, unsigned slot)
{
    struct azure_call *c = &upload_of(base)->calls[slot];
    int rc = azure_call_wait(c);

    azure_call_fini(c);
    return rc;
}

static int write_list(const struct part_upload *u, struct shale_buf *out)
{
    char id[BLOCK_ID_LEN + 1];
    int rc = buf_printf(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");

    for (unsigned i = 1; i <= u->n_parts && rc == 0; i++) {
        block_id(u, i, id);
        rc = buf_printf(out, "<Latest>%s</Latest>", id);
    }
    return rc == 0 ? buf_printf(out, "</BlockList>") : rc;
}

/* "Latest" finds blocks that an earlier attempt, whose reply was lost, has made the object of. */
static int commit(struct part_upload *base)
{
    struct azure_upload *u = upload_of(base);
    struct shale_buf body = SHALE_BUF_INIT;
    struct azure_call c;
    int rc = azure_call_init(&c, u->s, HTTP_PUT, "complete the upload of", base->name);

    c.x.op = SHALE_REQUEST_UPLOAD_COMPLETE;
    if (rc == 0)
        rc = write_list(base, &body);
    if (rc == 0)
        rc = azure_call_query(&c, "comp", "blocklist");
    if (rc == 0)
        rc = azure_call_body(&c, slice_of_buf(&body));
    if (rc == 0)
        rc = http_add_header(&c.x, AZURE_PUT_ID ": %s", base->put_id);
    if (rc == 0)
        rc = azure_call_run(&c);
    azure_call_fini(&c);
    shale_buf_fini(&body);
    return rc == -ENOENT ? part_upload_look(base, u->s->container) : rc;
}

static const struct part_upload_ops upload_ops = {
    .parts_max = BLOCKS_MAX,
    .send = send_block,
    .wait = wait_block,
    .complete = commit,
    .free = upload_free,
};

int azure_upload_begin(struct shale_store *store, const char *name, struct shale_upload **out)
{
    struct azure_upload *u = mem_zalloc(sizeof(*u));
    int rc = -ENOMEM;

    if (!u)
        return err_set(rc, "out of memory for the upload of %s", name);
    u->s = container_of(store, struct azure_store, base);
    rc = part_upload_init(&u->base, store, name, &upload_ops);
    if (rc == 0)
        *out = &u->base.base;
    return rc;
}
