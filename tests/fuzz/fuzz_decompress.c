/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "format/compress.h"

#include <stdlib.h>

#define MAX_LEN 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Input: a codec, then its data. What comes out stays within the bound and survives packing it again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_buf out = SHALE_BUF_INIT, again = SHALE_BUF_INIT, packed = SHALE_BUF_INIT;
    enum shale_codec codec;

    if (size == 0)
        return 0;
    codec = (enum shale_codec)(data[0] % 5);
    if (codec_decompress(codec, slice_of(data + 1, size - 1), MAX_LEN, &out) == 0) {
        if (out.len > MAX_LEN || codec_compress(codec, slice_of_buf(&out), &packed) < 0 ||
            codec_decompress(codec, slice_of_buf(&packed), MAX_LEN, &again) < 0 ||
            !slice_eq(slice_of_buf(&out), slice_of_buf(&again)))
            abort();
    }
    shale_buf_fini(&out);
    shale_buf_fini(&again);
    shale_buf_fini(&packed);
    return 0;
}
