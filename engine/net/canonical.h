/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_CANONICAL_H
#define NET_CANONICAL_H

#include <shale/types.h>

/* What ways of signing a request have in common: headers in the one form and order that both sides hash; the hash. */

#define CANONICAL_DIGEST_LEN 32 /* of SHA-256 */

struct canonical_header {
    struct shale_slice name, value; /* of the line as it was given; the value without blanks around it */
};

/* "Name: value". Borrows from line. */
struct canonical_header canonical_split(const char *line);
/* By name, whatever its case. */
void canonical_sort(struct canonical_header *h, size_t n);
/* Append s in lower case. 0 or -ENOMEM. */
int canonical_put_lower(struct shale_buf *out, struct shale_slice s);
/* Append "name:value\n" for each. 0 or -ENOMEM. */
int canonical_put_headers(struct shale_buf *out, const struct canonical_header *h, size_t n);

/* HMAC-SHA256; out may be the key. 0 or -EIO (OpenSSL fails). */
int canonical_hmac(struct shale_slice key, struct shale_slice text, uint8_t out[CANONICAL_DIGEST_LEN]);

#endif
