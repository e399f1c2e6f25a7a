/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bloom filters: SipHash-1-3 of the key and a probe sequence by enhanced double hashing (storage format
 * 4.4). Both must match SlateDB bit for bit: a filter that probes other bits answers "absent" for keys
 * that are there, and a row is lost to every point read.
 *   payload:  u16be number of probes | bits, least significant first in each byte
 */

#include "format/filter.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>

#define BLOOM_NAME "_bf" /* in a composite filter */

#define ROTL(x, n) (((x) << (n)) | ((x) >> (64 - (n))))

#define SIP_ROUND(v0, v1, v2, v3)                                                                                      \
    do {                                                                                                               \
        (v0) += (v1);                                                                                                  \
        (v1) = ROTL(v1, 13) ^ (v0);                                                                                    \
        (v0) = ROTL(v0, 32);                                                                                           \
        (v2) += (v3);                                                                                                  \
        (v3) = ROTL(v3, 16) ^ (v2);                                                                                    \
        (v0) += (v3);                                                                                                  \
        (v3) = ROTL(v3, 21) ^ (v0);                                                                                    \
        (v2) += (v1);                                                                                                  \
        (v1) = ROTL(v1, 17) ^ (v2);                                                                                    \
        (v2) = ROTL(v2, 32);                                                                                           \
    } while (0)

/*
 * The last word: up to seven bytes at p, which end the key, and the length of the key on top.
 * The load from before p stays inside the key, as the key has at least eight bytes then.
 */
static inline uint64_t sip_tail(const uint8_t *p, size_t left, size_t len)
{
    uint64_t w = 0;

    if (left && len >= 8) { /* one load that begins in the bytes already taken */
        w = get_u64le(p + left - 8) >> (8 * (8 - left));
    } else if (left >= 4) {
        w = get_u32le(p) | (uint64_t)get_u32le(p + left - 4) << (8 * (left - 4));
    } else {
        for (size_t i = 0; i < left; i++)
            w |= (uint64_t)p[i] << (8 * i);
    }
    return w | (uint64_t)len << 56;
}

uint64_t filter_hash(struct shale_slice key)
{
    uint64_t v0 = 0x736f6d6570736575, v1 = 0x646f72616e646f6d;
    uint64_t v2 = 0x6c7967656e657261, v3 = 0x7465646279746573;
    const uint8_t *p = key.data;
    uint64_t w;

    for (size_t n = key.len / 8; n > 0; n--, p += 8) {
        w = get_u64le(p);
        v3 ^= w;
        SIP_ROUND(v0, v1, v2, v3);
        v0 ^= w;
    }
    w = sip_tail(p, key.len % 8, key.len);
    v3 ^= w;
    SIP_ROUND(v0, v1, v2, v3);
    v0 ^= w;
    v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        SIP_ROUND(v0, v1, v2, v3);
    return v0 ^ v1 ^ v2 ^ v3;
}

/* The probe sequence of storage format section 4.4. */
struct probe {
    uint64_t x, d, i, n_bits;
};

static inline struct probe probe_first(uint64_t hash, uint64_t n_bits)
{
    return (struct probe){ .x = (hash & UINT32_MAX) % n_bits, .d = (hash >> 32) % n_bits, .n_bits = n_bits };
}

/* The bit to look at; moves on. Both terms are below n_bits, so only a step number beyond it needs a division. */
static inline uint64_t probe_next(struct probe *s)
{
    uint64_t bit = s->x;

    s->d += s->i++;
    if (s->d >= s->n_bits)
        s->d %= s->n_bits;
    s->x += s->d;
    if (s->x >= s->n_bits)
        s->x -= s->n_bits;
    return bit;
}

void filter_builder_fini(struct filter_builder *f)
{
    mem_free(f->hashes);
    *f = (struct filter_builder){ 0 };
}

int filter_builder_add(struct filter_builder *f, struct shale_slice key)
{
    if (f->n == f->cap) {
        int rc = vec_reserve(&f->hashes, &f->cap, f->n + 1, sizeof(*f->hashes));

        if (rc < 0)
            return rc;
    }
    f->hashes[f->n++] = filter_hash(key);
    return 0;
}

/* In single precision and truncated, like SlateDB: 10 bits a key give 6 probes. */
static uint16_t probes_for(uint32_t bits_per_key)
{
    float n = (float)bits_per_key * 0.69f;

    return n >= (float)UINT16_MAX ? UINT16_MAX : (uint16_t)n;
}

int filter_builder_finish(const struct filter_builder *f, uint32_t bits_per_key, struct shale_buf *out)
{
    size_t n_bits = size_mul(f->n, bits_per_key);
    size_t len = n_bits / 8 + (n_bits % 8 != 0);
    uint16_t n_probes = probes_for(bits_per_key);
    uint8_t *p;

    if (len == 0)
        len = 1; /* readers divide by the number of bits */
    p = buf_extend(out, size_add(len, 2));
    if (!p)
        return -ENOMEM;
    put_u16be(p, n_probes);
    p += 2;
    memset(p, 0, len);
    for (size_t i = 0; i < f->n; i++) {
        struct probe s = probe_first(f->hashes[i], (uint64_t)len * 8);

        for (unsigned k = 0; k < n_probes; k++) {
            uint64_t bit = probe_next(&s);

            p[bit / 8] |= (uint8_t)(1u << (bit % 8));
        }
    }
    return 0;
}

static int parse_bloom(struct shale_slice in, struct filter *out)
{
    if (in.len < 2)
        return err_set(SHALE_ECORRUPT, "bloom filter of %zu bytes is too short", in.len);
    out->n_probes = get_u16be(in.data);
    out->bits = in.data + 2;
    out->n_bits = (uint64_t)(in.len - 2) * 8;
    return 0;
}

struct named_filter {
    struct shale_slice name, data;
};

/* The named filter at p. Returns the byte behind it, or NULL when it passes end. */
static const uint8_t *next_named(const uint8_t *p, const uint8_t *end, struct named_filter *out)
{
    size_t name_len;
    uint64_t data_len;

    if (end - p < 2)
        return NULL;
    name_len = get_u16be(p);
    p += 2;
    if ((size_t)(end - p) < name_len + 8)
        return NULL;
    out->name = slice_of(p, name_len);
    p += name_len;
    data_len = get_u64be(p);
    p += 8;
    if (data_len > (size_t)(end - p))
        return NULL;
    out->data = slice_of(p, (size_t)data_len);
    return p + data_len;
}

static int parse_composite(struct shale_slice in, struct filter *out)
{
    const uint8_t *p = in.data, *end = in.len ? p + in.len : p;
    struct filter found = { 0 };
    bool have = false;
    int rc;

    if (in.len < 2)
        return err_set(SHALE_ECORRUPT, "composite filter of %zu bytes is too short", in.len);
    p += 2;
    for (unsigned left = get_u16be(in.data); left > 0; left--) {
        struct named_filter f = { 0 };

        p = next_named(p, end, &f);
        if (!p)
            return err_set(SHALE_ECORRUPT, "composite filter is cut short");
        if (have || !slice_eq(f.name, slice_str(BLOOM_NAME)))
            continue;
        rc = parse_bloom(f.data, &found);
        if (rc < 0)
            return rc;
        have = true;
    }
    *out = found;
    return 0;
}

int filter_parse(struct shale_slice payload, enum filter_format format, struct filter *out)
{
    switch (format) {
    case FILTER_BARE:
        return parse_bloom(payload, out);
    case FILTER_COMPOSITE:
        return parse_composite(payload, out);
    }
    return err_set(SHALE_EVERSION, "unknown filter format %d", (int)format);
}

/*
 * A filter without bits (of a composite one without a bloom part) says nothing, so everything may be
 * there.
 */
bool filter_may_contain(const struct filter *f, uint64_t hash)
{
    struct probe s;

    if (f->n_bits == 0)
        return true;
    s = probe_first(hash, f->n_bits);
    for (unsigned k = 0; k < f->n_probes; k++) {
        uint64_t bit = probe_next(&s);

        if (!(f->bits[bit / 8] & (1u << (bit % 8))))
            return false;
    }
    return true;
}
