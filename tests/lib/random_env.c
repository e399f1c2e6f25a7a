/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/random_env.h"

#include "base/rng.h"

#include <stdlib.h>

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

struct random_env random_env(uint64_t n_default)
{
    uint64_t seed = number_from("SHALE_SEED", 0);
    uint64_t scaled = n_default * number_from("SHALE_RANDOM_SCALE", 100) / 100;
    struct random_env env = { .first = seed ? seed : random_u64() >> 24 };

    env.n = number_from("SHALE_RANDOM_CASES", seed ? 1 : scaled > 0 ? scaled : 1);
    return env;
}
