/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ULID_H
#define BASE_ULID_H

#include "base/rng.h"

#include <shale/types.h>
#include <stdbool.h>

/* A new id at the given time. rng NULL takes randomness from the kernel. Needs no lock when rng is NULL. */
struct shale_ulid ulid_new(int64_t now_ms, struct rng *rng);

static inline int64_t ulid_time_ms(struct shale_ulid u)
{
    return (int64_t)(u.hi >> 16);
}

static inline int ulid_cmp(struct shale_ulid a, struct shale_ulid b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    return (a.lo > b.lo) - (a.lo < b.lo);
}

static inline bool ulid_eq(struct shale_ulid a, struct shale_ulid b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

static inline bool ulid_is_zero(struct shale_ulid u)
{
    return u.hi == 0 && u.lo == 0;
}

/* Crockford base 32, upper case, NUL-terminated. Source: SlateDB 0.12.1, storage format section 1.3. */
void ulid_format(struct shale_ulid u, char out[SHALE_ULID_TEXT_LEN + 1]);
/* Reads exactly 26 characters, either case. 0 or -EINVAL. */
int ulid_parse(const char *text, size_t len, struct shale_ulid *out);

/* A random version 4 UUID, and its text form of 36 characters. */
struct shale_uuid uuid_new(struct rng *rng);
#define UUID_TEXT_LEN 36
void uuid_format(struct shale_uuid u, char out[UUID_TEXT_LEN + 1]);
int uuid_parse(const char *text, struct shale_uuid *out);

static inline bool uuid_eq(struct shale_uuid a, struct shale_uuid b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

#endif
