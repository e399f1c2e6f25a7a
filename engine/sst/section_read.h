/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SECTION_READ_H
#define SST_SECTION_READ_H

#include "sst/sst_section.h"

#include <shale/object_store.h>

/*
 * Reading of sections from a store. Bytes that arrive spoilt are read again (base/reread.h) before they are
 * SHALE_ECORRUPT.
 */

/*
 * What the store said, rc, as an error about the part: -ESTALE when the object is gone, SHALE_ECORRUPT when it ends
 * before.
 */
int part_store_err(int rc, const struct sst_part *part);

/* Replace out by len bytes of the object that part is of, from where it begins. Errors as of part_store_err. */
int part_read(struct shale_store *store, const struct sst_part *part, uint64_t len, struct shale_buf *out);

/*
 * section_decode of the len bytes at stored, which part_read, or a read of more, has brought from where part says. When
 * they do not fit their checksum they are overwritten by what another read brings.
 */
int section_read_decode(struct shale_store *store, const struct sst_part *part, uint8_t *stored, size_t len,
                        const struct section_form *form, struct shale_buf *scratch, struct shale_slice *payload);

#endif
