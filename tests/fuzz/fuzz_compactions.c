/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "format/compactions_codec.h"

#include <stdlib.h>

/* A compactions object. What was read can be written and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct compactions c, back;

    if (compactions_decode(slice_of(data, size), &c) < 0)
        return 0;
    if (compactions_encode(&c, &b) < 0 || compactions_decode(slice_of_buf(&b), &back) < 0 || back.n != c.n)
        abort();
    compactions_fini(&back);
    compactions_fini(&c);
    shale_buf_fini(&b);
    return 0;
}
