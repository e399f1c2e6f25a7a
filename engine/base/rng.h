/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* A fast deterministic generator (xoshiro256**), not for secrets. Not safe for concurrent use. */
struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in 0..n-1; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

/* 64 bits from the kernel. */
uint64_t random_u64(void);

#endif
