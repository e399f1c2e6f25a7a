/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ETag of an object that came by a single PUT is the MD5 of its bytes, in most stores. Manifests and lists of
 * compactions have no checksum of their own, and without TLS, or with a proxy that ends it, nothing else tells that
 * their bytes arrived as they were sent.
 */

#include "object/s3/s3.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MD5_LEN 16

/* Keys that are not the store's own make ETags of another kind. */
static bool has_other_keys(const struct s3_call *c)
{
    const char *kind = http_response_header(&c->x, "x-amz-server-side-encryption");

    return (kind && strncasecmp(kind, "aws:kms", 7) == 0) ||
           http_response_header(&c->x, "x-amz-server-side-encryption-customer-algorithm") != NULL;
}

/*
 * The 32 digits of an ETag that looks like an MD5; NULL when it does not (of a multipart upload: "...-2"; weak:
 * W/"...").
 */
static const char *find_md5(const struct s3_call *c)
{
    const char *etag = http_response_header(&c->x, "etag");

    if (!etag || has_other_keys(c))
        return NULL;
    etag += *etag == '"';
    for (size_t i = 0; i < 2 * MD5_LEN; i++)
        if (!isxdigit((unsigned char)etag[i]))
            return NULL;
    return etag[2 * MD5_LEN] == '"' || etag[2 * MD5_LEN] == '\0' ? etag : NULL;
}

bool s3_etag_fits(const struct s3_call *c)
{
    const char *want = find_md5(c);
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[2 * MD5_LEN + 1];

    /* A library that is told to do without MD5 leaves nothing to compare. */
    if (!want || EVP_Digest(c->x.response.len ? (const void *)c->x.response.data : "", c->x.response.len, digest, NULL,
                            EVP_md5(), NULL) != 1)
        return true;
    for (size_t i = 0; i < MD5_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return strncasecmp(text, want, 2 * MD5_LEN) == 0;
}
