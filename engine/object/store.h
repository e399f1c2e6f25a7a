/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_STORE_H
#define OBJECT_STORE_H

#include <shale/object_store.h>

/* What the files of this directory share beyond the public interface. */

#define STORE_NAME_MAX 1024   /* of S3 */
#define STORE_SEGMENT_MAX 230 /* a file name of 255 bytes, less the suffix of a staged file */

/* Ranks of the locks of stores; each is a leaf, held for moments and never across I/O or a callback. */
enum store_rank {
    STORE_RANK_SPACES = 800, /* names of memory stores; the lock of one space may be taken under it */
    STORE_RANK_RETRY = 810,
    STORE_RANK_DIR = 810,
    STORE_RANK_SPACE = 820,
    STORE_RANK_FAULT = 830,
};

/* Why the len bytes are no segment or no name of an object, as the end of a sentence; NULL when they are one. */
const char *store_segment_error(const char *segment, size_t len);
const char *store_name_error(const char *name, size_t len);

/*
 * shale_store_put with a put id (26 characters, or NULL).
 * NULL asks for none. Only wrappers that repeat a put need one.
 */
int store_put_with_id(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                      const char *put_id);

/* shale_upload_finish for wrappers: after SHALE_ETRANSIENT u lives on, see struct shale_store_ops. */
int store_upload_try_finish(struct shale_upload *u);

/* Before the first write: see upload_in_parts in struct shale_store_ops. */
void store_upload_in_parts(struct shale_upload *u);

/*
 * How long the store asked this thread to wait before it tries again (Retry-After), with the SHALE_ETRANSIENT that the
 * thread is about to return; the longest, when several requests were made for one call. taken: the value is 0 from then
 * on.
 */
void store_retry_after(int64_t ms);
int64_t store_retry_after_taken(void);

/* The space shared under a name; shale_store_memory makes one without a name. name: the first len bytes. */
int store_memory_shared(const char *name, size_t len, struct shale_store **out);

#endif
