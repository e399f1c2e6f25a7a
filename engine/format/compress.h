/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_COMPRESS_H
#define FORMAT_COMPRESS_H

#include "base/slice.h"

#include <shale/options.h>

/*
 * Whole-buffer compression in the framings of storage format section 2.3. Source: SlateDB 0.12.1, format/sst.rs.
 * Both replace out. compress: 0, -ENOMEM, -EINVAL (input too large for the codec).
 * The output may be longer than the input: SSTs say for all sections at once whether they are
 * compressed.
 */
int codec_compress(enum shale_codec codec, struct shale_slice in, struct shale_buf *out);
/* max_len bounds the output. SHALE_ECORRUPT when in is malformed or would grow past max_len; -ENOMEM. */
int codec_decompress(enum shale_codec codec, struct shale_slice in, size_t max_len, struct shale_buf *out);

#endif
