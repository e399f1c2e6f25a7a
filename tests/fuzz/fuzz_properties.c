/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "format/properties.h"
#include "sst/sst_section.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEN_MAX ((size_t)1 << 20)

/* What lies behind a good checksum may be anything, too. */
static void decode(struct shale_slice stored)
{
    const struct sst_part part = { .object = "x", .kind = "properties" };

    for (int codec = SHALE_CODEC_NONE; codec <= SHALE_CODEC_ZSTD; codec++) {
        const struct section_form form = { .codec = (enum shale_codec)codec };
        struct shale_buf scratch = SHALE_BUF_INIT;
        struct shale_slice payload;

        if (payload_decode(&part, stored, &form, LEN_MAX, &scratch, &payload) == 0 && codec != SHALE_CODEC_NONE &&
            payload.len > LEN_MAX)
            abort();
        shale_buf_fini(&scratch);
    }
}

/* What is found lies in the input, and sealed again it is the input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_slice in = slice_of(data, size), stored;
    struct shale_buf again = SHALE_BUF_INIT;

    if (properties_find(in, &stored) == 1) {
        if (buf_append_slice(&again, stored) < 0 || properties_seal(&again, 0) < 0 ||
            !slice_eq(slice_of_buf(&again), in))
            abort();
        decode(stored);
    }
    decode(in);
    shale_buf_fini(&again);
    return 0;
}
