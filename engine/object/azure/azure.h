/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_AZURE_AZURE_H
#define OBJECT_AZURE_AZURE_H

#include "net/http.h"
#include "object/azure/azure_config.h"
#include "object/store.h"

#include <stdatomic.h>

/*
 * A container of Azure Blob Storage. What the files of this directory share:
 *   azure_config.c   where the account is, key or shared access signature
 *   azure_store.c    the operations
 *   azure_call.c     one request: address, signature, sending
 *   azure_error.c    what came back as an error with a sentence
 *   azure_list.c     listings, and deletion of many
 *   azure_upload.c   uploads by blocks
 * Objects are block blobs. Errors that may pass are SHALE_ETRANSIENT; the retrying store asks again.
 */
struct azure_store {
    struct shale_store base;
    struct http_client *http;   /* owned */
    struct azure_config config; /* owned */
    char *container;            /* owned */
    char *root;                 /* path of the container, without a slash behind; owned */
    atomic_bool known;          /* the store has answered as it does; relaxed, it only chooses between codes */
};

/* One request. All zero, then azure_call_init. */
struct azure_call {
    struct azure_store *s;
    const char *verb; /* for the sentence: "cannot VERB NAME" */
    const char *name; /* of the object; NULL: it is about the container */
    struct http_exchange x;
    struct shale_buf path, query; /* encoded; strings */
    bool conditional; /* a put that is to create */
    int failed;       /* of azure_call_submit */
};

int azure_call_init(struct azure_call *c, struct azure_store *s, enum http_method method, const char *verb,
                    const char *name);
void azure_call_fini(struct azure_call *c);
/* In ascending order of the names, each once. */
int azure_call_query(struct azure_call *c, const char *name, const char *value);
/* Borrowed until the call is over. Where the connection does not protect it, a checksum does. */
int azure_call_body(struct azure_call *c, struct shale_slice body);
/* Put it in line; azure_call_wait has to follow, also when it fails. */
int azure_call_submit(struct azure_call *c);
/* 0 for a status of success, or what the error means, with a sentence. */
int azure_call_wait(struct azure_call *c);
/* Submit and wait. */
int azure_call_run(struct azure_call *c);

/* err_set(rc, "cannot read NAME: why") */
int azure_call_error(const struct azure_call *c, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* What the outcome of the exchange means: 0, or an error with a sentence. */
int azure_call_meaning(const struct azure_call *c);

/* The metadata that tells whose put it was; Azure wants names that are identifiers. */
#define AZURE_PUT_ID "x-ms-meta-slatedbputid"

int azure_list(struct shale_store *store, const char *prefix, const char *start_after, shale_list_fn fn, void *arg);
int azure_remove_many(struct shale_store *store, const char *const *names, size_t n);
int azure_upload_begin(struct shale_store *store, const char *name, struct shale_upload **out);

#endif
