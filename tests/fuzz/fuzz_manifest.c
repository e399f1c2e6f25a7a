/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "format/manifest_codec.h"

#include <stdlib.h>

/* A manifest object. What was read can be written and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct manifest m, back;

    if (manifest_decode(slice_of(data, size), &m) < 0)
        return 0;
    if (manifest_encode(&m, &b) < 0 || manifest_decode(slice_of_buf(&b), &back) < 0)
        abort();
    if (back.n_l0 != m.n_l0 || back.n_runs != m.n_runs || back.last_l0_seq != m.last_l0_seq)
        abort();
    manifest_fini(&back);
    manifest_fini(&m);
    shale_buf_fini(&b);
    return 0;
}
