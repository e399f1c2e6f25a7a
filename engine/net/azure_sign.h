/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_AZURE_SIGN_H
#define NET_AZURE_SIGN_H

#include <shale/types.h>

/*
 * Shared Key of Azure Storage ("Authorize with Shared Key" in its REST reference, version 2015-02-21 and later, for
 * blobs), by OpenSSL.
 */

#define AZURE_DATE_LEN 29 /* "Fri, 26 Jun 2015 23:39:12 GMT" */

struct azure_sign_request {
    const char *method;
    const char *path;           /* encoded as it is sent, from the slash on */
    const char *query;          /* encoded, sorted by name, each name once, in lower case and with a '='; "": none */
    const char *const *headers; /* "Name: value", in any order, x-ms-date among them; those that count are found */
    size_t n_headers;
    size_t body_len;
};

/* now_s: Unix time in seconds. */
void azure_date(int64_t now_s, char out[AZURE_DATE_LEN + 1]);
/* Append what is signed, as a string. 0, -ENOMEM, or -EINVAL when the query cannot be decoded. */
int azure_string_to_sign(const struct azure_sign_request *r, const char *account, struct shale_buf *out);
/* Append the value of the header Authorization, as a string. key: decoded. Also -EIO (OpenSSL fails). */
int azure_authorize(const struct azure_sign_request *r, const char *account, struct shale_slice key,
                    struct shale_buf *out);

#endif
