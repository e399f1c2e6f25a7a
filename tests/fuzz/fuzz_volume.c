/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "base/buf.h"
#include "fs/core/volume.h"
#include "fs/core/text.h"

#include <stdlib.h>

#define MAGIC "shalefs volume\n"

static void parse(struct shale_slice text)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct volume got, again;

    memset(&got, 0, sizeof(got));
    memset(&again, 0, sizeof(again));
    if (volume_parse(text, "fuzz", &got) == 0 &&
        (volume_encode(&got, &b) < 0 || volume_parse(slice_of_buf(&b), "fuzz", &again) < 0 ||
         memcmp(&got, &again, sizeof(got)) != 0))
        abort();
    shale_buf_fini(&b);
}

/* The input as it is, and as the lines between a first and a last line that fit: no checksum is guessed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct text_out t = { .buf = &b };

    parse(slice_of(data, size));
    if (buf_append_slice(&b, slice_str(MAGIC)) == 0 && shale_buf_append(&b, data, size) == 0 && text_end(&t) == 0)
        parse(slice_of_buf(&b));
    shale_buf_fini(&b);
    return 0;
}
