/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SST_SECTION_H
#define SST_SST_SECTION_H

#include "format/sst_info.h"

/* The stored form of a section: payload, perhaps compressed, and its checksum (storage format section 2.2). */
#define SECTION_CRC_LEN 4

/*
 * Which part of which object, for error messages.
 * Borrowed by every error message about the part; made on the stack where a part is read.
 */
struct sst_part {
    const char *object;
    const char *kind; /* "block", "index", ... */
    size_t number;    /* of a block */
    uint64_t offset;
};

/* err_set and err_add with the part's description in front. */
int part_err(int rc, const struct sst_part *part, const char *what);
int part_err_add(int rc, const struct sst_part *part);

/* Whether offset and len lie below end. */
static inline bool section_fits(uint64_t offset, uint64_t len, uint64_t end)
{
    return offset <= end && len <= end - offset;
}

/* Check the checksum; *payload borrows from stored. SHALE_ECORRUPT. */
int section_check(const struct sst_part *part, struct shale_slice stored, struct shale_slice *payload);
/*
 * What lies between a payload and its stored form; the checksum comes last.
 * transformer: borrowed; NULL: none.
 */
struct section_form {
    enum shale_codec codec;
    const struct shale_block_transformer *transformer;
};

/* That of info sections. */
static const struct section_form section_plain = { SHALE_CODEC_NONE, NULL };

/*
 * Check, undo the transformer and decompress; *payload borrows from stored or from scratch, which is overwritten.
 * SHALE_ECORRUPT; SHALE_EHOOK when the transformer refuses the bytes.
 */
int section_decode(const struct sst_part *part, struct shale_slice stored, const struct section_form *form,
                   struct shale_buf *scratch, struct shale_slice *payload);
/* The same of what has no checksum of its own. */
int payload_decode(const struct sst_part *part, struct shale_slice p, const struct section_form *form, size_t max_len,
                   struct shale_buf *scratch, struct shale_slice *payload);
/* Append the stored form of raw. scratch is overwritten. 0, -ENOMEM, -EINVAL from the codec, or SHALE_EHOOK. */
int section_encode(struct shale_slice raw, const struct section_form *form, struct shale_buf *scratch,
                   struct shale_buf *out);
/* The same without checksum. */
int payload_encode(struct shale_slice raw, const struct section_form *form, struct shale_buf *scratch,
                   struct shale_buf *out);
/* Append the checksum of what out holds from start on. 0 or -ENOMEM. */
int section_seal(struct shale_buf *out, size_t start);

/* The info section of an object; its sections are checked to lie below end. sst_info_fini the result. */
int section_info_decode(const struct sst_part *part, struct shale_slice stored, struct sst_info *out);

#endif
