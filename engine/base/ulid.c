/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ULIDs and UUIDs in their text forms.
 *   ULID, 128 bits:  | 48 bits milliseconds | 16 random | 64 random |
 *                      hi >> 16              hi & ffff   lo
 * 26 characters of 5 bits hold 130; the two on top are zero, so that the first character is at most
 * '7'.
 */

#include "base/ulid.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static uint64_t draw(struct rng *rng)
{
    return rng ? rng_next(rng) : random_u64();
}

/*
 * Ids of one millisecond are in random order. Who needs each greater than the one before has to see to
 * it (next_id in output_set.c and compactor.c).
 */
struct shale_ulid ulid_new(int64_t now_ms, struct rng *rng)
{
    return (struct shale_ulid){
        .hi = (uint64_t)now_ms << 16 | (draw(rng) & 0xffff),
        .lo = draw(rng),
    };
}

void ulid_format(struct shale_ulid u, char out[SHALE_ULID_TEXT_LEN + 1])
{
    for (int i = SHALE_ULID_TEXT_LEN - 1; i >= 0; i--) {
        out[i] = alphabet[u.lo & 31];
        u.lo = u.lo >> 5 | u.hi << 59;
        u.hi >>= 5;
    }
    out[SHALE_ULID_TEXT_LEN] = '\0';
}

/*
 * Stricter than Crockford's alphabet asks: I, L, O and U are no digits. '8' and above in front would
 * not fit 128 bits.
 */
int ulid_parse(const char *text, size_t len, struct shale_ulid *out)
{
    struct shale_ulid u = { 0, 0 };

    if (len != SHALE_ULID_TEXT_LEN || text[0] > '7')
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        int c = text[i] >= 'a' && text[i] <= 'z' ? text[i] - 'a' + 'A' : text[i];
        const char *p = c ? strchr(alphabet, c) : NULL;

        if (!p)
            return -EINVAL;
        u.hi = u.hi << 5 | u.lo >> 59;
        u.lo = u.lo << 5 | (uint64_t)(p - alphabet);
    }
    *out = u;
    return 0;
}

/* Version 4 lies in bits 12-15 of hi, the variant 10 in the two highest bits of lo. */
struct shale_uuid uuid_new(struct rng *rng)
{
    struct shale_uuid u = { .hi = draw(rng), .lo = draw(rng) };

    u.hi = (u.hi & ~(uint64_t)0xf000) | 0x4000;
    u.lo = (u.lo & ~((uint64_t)3 << 62)) | (uint64_t)2 << 62;
    return u;
}

void uuid_format(struct shale_uuid u, char out[UUID_TEXT_LEN + 1])
{
    snprintf(out, UUID_TEXT_LEN + 1, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64, u.hi >> 32,
             u.hi >> 16 & 0xffff, u.hi & 0xffff, u.lo >> 48, u.lo & 0xffffffffffffu);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid_parse(const char *text, struct shale_uuid *out)
{
    uint64_t w[2] = { 0, 0 };
    int n = 0;

    if (strlen(text) != UUID_TEXT_LEN)
        return -EINVAL;
    for (size_t i = 0; i < UUID_TEXT_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-')
                return -EINVAL;
            continue;
        }
        if (hex_digit(text[i]) < 0)
            return -EINVAL;
        w[n / 16] = w[n / 16] << 4 | (uint64_t)hex_digit(text[i]);
        n++;
    }
    *out = (struct shale_uuid){ .hi = w[0], .lo = w[1] };
    return 0;
}
