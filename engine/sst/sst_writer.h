/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_SST_WRITER_H
#define SST_SST_WRITER_H

#include "sst/table_store.h"

/*
 * Rows in, a compacted SST out (storage format section 2.8). Rows come key ascending, newest version first; keys
 * are checked. Bytes stream to the store, so memory stays within a few MiB; a small object is one conditional put.
 * One thread.
 * Between blocks the writer can be given up at any time: nothing is visible before finish.
 */
struct sst_writer;

/* id is the object's; cache says whether blocks and index enter the block cache as they are written (R71). */
int sst_writer_new(struct table_store *ts, struct shale_ulid id, bool cache, struct sst_writer **out);
/*
 * Have the rows described by the property collector of the table store, if it has one. Before the first row. 0, or
 * SHALE_EHOOK, when the writer can only be freed.
 */
int sst_writer_collect(struct sst_writer *w, enum shale_sst_kind kind);
/*
 * *block_bytes: 0, or the stored size, checksum included, of the block that this row completed (R194). May be NULL.
 * -EINVAL for a row out of order or with a key or value of impossible length; the writer is as before. After any other
 * error the writer can only be freed.
 */
int sst_writer_add(struct sst_writer *w, const struct shale_row *row, uint64_t *block_bytes);
bool sst_writer_is_empty(const struct sst_writer *w);
/*
 * Write the rest; when it returns 0 the object is durable and *out describes it. A writer without rows is -EINVAL:
 * such an SST must never be referenced. Ends the writer only on success. After SHALE_ETRANSIENT it may be tried
 * again, which puts the same bytes; when they had begun to stream (an object of more than some MiB) they are gone,
 * and it is -EIO.
 */
int sst_writer_finish(struct sst_writer *w, struct sst_handle **out);
/* Frees the writer; an unfinished object never appears. NULL is fine. */
void sst_writer_free(struct sst_writer *w);

/*
 * Encode a WAL object (sst_type 1, rows in the order given) / an empty one that fences (section 7.4). Appends to out.
 * rows: pointers to n rows.
 */
int wal_sst_encode(const struct sst_format *format, const struct shale_row *const *rows, size_t n,
                   struct shale_buf *out);
int wal_fence_encode(const struct sst_format *format, struct shale_buf *out);

#endif
