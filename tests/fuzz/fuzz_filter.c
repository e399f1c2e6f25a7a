/* SPDX-License-Identifier: Apache-2.0 */
#include "format/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static volatile bool sink;

    for (int format = FILTER_BARE; format <= FILTER_COMPOSITE + 1; format++) {
        struct filter f;

        if (filter_parse(slice_of(data, size), (enum filter_format)format, &f) < 0)
            continue;
        for (uint64_t hash = 1; hash != 0; hash <<= 8)
            sink = filter_may_contain(&f, hash * 0x9e3779b97f4a7c15);
    }
    (void)sink;
    return 0;
}
