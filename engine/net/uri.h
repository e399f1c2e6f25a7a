/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_URI_H
#define NET_URI_H

#include <shale/types.h>
#include <stdbool.h>

/*
 * Append s with everything but letters, digits and - . _ ~ as %XX (RFC 3986; what AWS signs). keep_slash: but for
 * slashes, as in a path. Then, and after uri_decode, a NUL follows that does not count. 0 or -ENOMEM.
 */
int uri_encode(struct shale_buf *out, const char *s, bool keep_slash);
/* Append what the first len bytes of s stand for. 0, -ENOMEM, or -EINVAL for a % without two digits or an encoded NUL. */
int uri_decode(struct shale_buf *out, const char *s, size_t len);

#endif
