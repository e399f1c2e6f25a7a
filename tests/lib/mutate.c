/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/mutate.h"

#include "lib/check.h"

#include <stdlib.h>

static size_t try_one(struct shale_slice in, mutate_fn decode)
{
    int rc = decode(in);

    assert_true(rc <= 0);
    return rc < 0;
}

size_t mutate_all(struct shale_slice in, mutate_fn decode)
{
    size_t refused = 0;
    uint8_t *copy;

    for (size_t len = 0; len < in.len; len++) {
        copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, in.data, len);
        refused += try_one(slice_of(copy, len), decode);
        free(copy);
    }
    copy = malloc(in.len);
    assert_non_null(copy);
    memcpy(copy, in.data, in.len);
    for (size_t bit = 0; bit < in.len * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused += try_one(slice_of(copy, in.len), decode);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(copy);
    return refused;
}
