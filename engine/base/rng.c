/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sources: a fast generator that repeats from its seed (tests), and the
 * kernel's for ids that must never repeat across hosts.
 */

#include "base/rng.h"

#include "base/clock.h"

#include <sys/random.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        r->s[i] = splitmix(&seed);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

/* The high word of the product. Its bias is below n / 2^64, of no matter for what it is used for. */
uint64_t rng_below(struct rng *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

uint64_t random_u64(void)
{
    uint64_t v;

    /* Only a kernel without entropy at early boot fails here; ids then rest on the clock. */
    if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v)) {
        uint64_t seed = (uint64_t)clock_mono_ns() ^ (uint64_t)clock_wall_ns() << 20;
        v = splitmix(&seed);
    }
    return v;
}
