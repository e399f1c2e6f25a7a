/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List Blobs page by page, and deletion of many. Azure's markers are its own affair, and a name to begin behind
 * (startFrom) is known from version 2026-02-06 on, which is not everywhere: names up to start_after are passed over
 * here. Deletion of many is many requests at once: a batch is signed in each of its parts and counts as much.
 */

#include "object/azure/azure.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/xml.h"
#include "object/bucket.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>

#define PAGE_NAMES "5000"                /* the most that Azure gives */
#define PAGE_BYTES ((uint64_t)32 << 20) /* so many entries, each with its properties */
#define REMOVE_AT_ONCE 16

struct page {
    struct bucket_listing l;
    bool is_directory; /* the entry: accounts with a hierarchical namespace list those, too */
};

static int on_begin(void *arg, const char *name, int depth)
{
    struct page *p = arg;

    if (depth == 0 && strcmp(name, "EnumerationResults") != 0)
        return -EBADMSG; /* it would be an empty listing */
    if (depth == 2 && strcmp(name, "Blob") == 0) {
        buf_clear(&p->l.name);
        p->l.meta = (struct shale_object_meta){ 0 };
        p->is_directory = false;
    }
    return 0;
}

static int set_string(struct shale_buf *out, const char *text)
{
    if (buf_set(out, slice_of(text, strlen(text) + 1)) < 0)
        return -ENOMEM;
    out->len--;
    return 0;
}

static int on_property(struct page *p, const char *name, const char *text)
{
    time_t t;

    if (strcmp(name, "Content-Length") == 0)
        return bucket_read_size(text, &p->l.meta.size);
    if (strcmp(name, "ResourceType") == 0)
        p->is_directory = strcmp(text, "directory") == 0;
    if (strcmp(name, "Last-Modified") != 0)
        return 0;
    t = curl_getdate(text, NULL);
    p->l.meta.mtime_ms = (int64_t)t * 1000;
    return t < 0 ? -EBADMSG : 0;
}

static int on_end(void *arg, const char *name, int depth, const char *text)
{
    struct page *p = arg;

    if (depth == 1 && strcmp(name, "NextMarker") == 0)
        return set_string(&p->l.token, text);
    if (depth == 3 && strcmp(name, "Name") == 0)
        return set_string(&p->l.name, text);
    if (depth == 4)
        return on_property(p, name, text);
    return depth == 2 && strcmp(name, "Blob") == 0 && !p->is_directory ? bucket_listing_tell(&p->l) : 0;
}

static int ask_page(struct azure_call *c, const struct page *p, const char *prefix)
{
    int rc = azure_call_query(c, "comp", "list");

    if (rc == 0 && p->l.token.len)
        rc = azure_call_query(c, "marker", (const char *)p->l.token.data);
    if (rc == 0)
        rc = azure_call_query(c, "maxresults", PAGE_NAMES);
    if (rc == 0 && prefix[0])
        rc = azure_call_query(c, "prefix", prefix);
    return rc == 0 ? azure_call_query(c, "restype", "container") : rc;
}

static int list_page(struct azure_store *s, struct page *p, const char *prefix)
{
    const struct xml_visitor v = { .begin = on_begin, .end = on_end, .arg = p };
    struct azure_call c;
    const char *why;
    int rc = azure_call_init(&c, s, HTTP_GET, "list", NULL);

    c.x.max_response = PAGE_BYTES;
    c.x.op = SHALE_REQUEST_LIST;
    c.x.object = prefix;
    if (rc == 0)
        rc = ask_page(&c, p, prefix);
    if (rc == 0)
        rc = azure_call_run(&c);
    buf_clear(&p->l.token);
    if (rc == 0) {
        rc = bucket_listing_outcome(&p->l, xml_walk(slice_of_buf(&c.x.response), &v), &why);
        if (why)
            rc = azure_call_error(&c, rc, "%s", why);
    }
    azure_call_fini(&c);
    return rc;
}

/* A page may be empty and have a successor. */
int azure_list(struct shale_store *store, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct azure_store *s = container_of(store, struct azure_store, base);
    struct page p = { .l = { .fn = fn, .arg = arg, .prefix = prefix, .start_after = start_after } };
    int rc;

    do
        rc = list_page(s, &p, prefix);
    while (rc == 0 && p.l.token.len);
    bucket_listing_fini(&p.l);
    return rc;
}

/* The first error, with its sentence: those that come after it leave theirs, too. */
struct failure {
    int rc;
    char why[800];
};

static void remove_together(struct azure_store *s, const char *const *names, size_t n, struct failure *first)
{
    struct azure_call calls[REMOVE_AT_ONCE];
    int rc[REMOVE_AT_ONCE];

    for (size_t i = 0; i < n; i++) {
        rc[i] = azure_call_init(&calls[i], s, HTTP_DELETE, "delete", names[i]);
        if (rc[i] == 0)
            (void)azure_call_submit(&calls[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (rc[i] == 0)
            rc[i] = azure_call_wait(&calls[i]);
        if (rc[i] < 0 && rc[i] != -ENOENT && first->rc == 0) {
            first->rc = rc[i];
            snprintf(first->why, sizeof(first->why), "%s", shale_errmsg());
        }
        azure_call_fini(&calls[i]);
    }
}

int azure_remove_many(struct shale_store *store, const char *const *names, size_t n)
{
    struct azure_store *s = container_of(store, struct azure_store, base);
    struct failure first = { .rc = 0 };

    for (size_t i = 0; i < n; i += REMOVE_AT_ONCE)
        remove_together(s, names + i, n - i < REMOVE_AT_ONCE ? n - i : REMOVE_AT_ONCE, &first);
    return first.rc ? err_set(first.rc, "%s", first.why) : 0;
}
