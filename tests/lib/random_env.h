/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_RANDOM_ENV_H
#define TESTS_RANDOM_ENV_H

#include <stdint.h>

/*
 * What HACKING.md says of random tests. Seeds run from first on; SHALE_SEED sets it (and one case, unless SHALE_RANDOM_CASES
 * says otherwise), SHALE_RANDOM_CASES the number, SHALE_RANDOM_SCALE a percentage of n_default.
 */
struct random_env {
    uint64_t first;
    uint64_t n;
};

struct random_env random_env(uint64_t n_default);

#endif
