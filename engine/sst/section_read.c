/* SPDX-License-Identifier: Apache-2.0 */
#include "sst/section_read.h"

#include "base/buf.h"
#include "base/reread.h"

#include <errno.h>

/* A part that lies behind the end of its object is corruption. */
int part_store_err(int rc, const struct sst_part *part)
{
    if (rc == -ERANGE)
        return part_err(SHALE_ECORRUPT, part, "the object ends before it does");
    if (rc == -ENOENT)
        return part_err(-ESTALE, part, "the object is gone"); /* not to be taken for a key that is not there */
    return part_err_add(rc, part);
}

int part_read(struct shale_store *store, const struct sst_part *part, uint64_t len, struct shale_buf *out)
{
    int rc = shale_store_get_range(store, part->object, part->offset, len, out); /* len bytes, or an error */

    return rc < 0 ? part_store_err(rc, part) : 0;
}

/* In the place of the len bytes at stored. */
static int read_over(struct shale_store *store, const struct sst_part *part, uint8_t *stored, size_t len)
{
    struct shale_buf fresh = SHALE_BUF_INIT;
    int rc = part_read(store, part, len, &fresh);

    if (rc == 0)
        memcpy(stored, fresh.data, len);
    shale_buf_fini(&fresh);
    return rc;
}

int section_read_decode(struct shale_store *store, const struct sst_part *part, uint8_t *stored, size_t len,
                        const struct section_form *form, struct shale_buf *scratch, struct shale_slice *payload)
{
    struct reread again = REREAD_INIT;
    int rc = section_decode(part, slice_of(stored, len), form, scratch, payload);

    while (reread_due(&again, rc)) {
        rc = read_over(store, part, stored, len);
        if (rc == 0)
            rc = section_decode(part, slice_of(stored, len), form, scratch, payload);
    }
    return rc;
}
