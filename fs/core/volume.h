/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_VOLUME_H
#define FS_CORE_VOLUME_H

#include <shale/object_store.h>
#include <shale/options.h>
#include <shale/types.h>

/*
 * What must be known of a volume before its database can be read: the object volume/<20 digits>.vol, text as in
 * fs/core/text.h. Objects are never changed; the one with the greatest number holds.
 *
 *   shalefs volume
 *   format=1
 *   features.compatible=0x0       an unknown bit: nothing to heed
 *   features.read-compatible=0x0  an unknown bit: the volume can be read, but not written
 *   features.incompatible=0x0     an unknown bit: hands off
 *   uuid=...
 *   name=...
 *   chunk-size=1048576
 *   block-size=16384
 *   codec=zstd
 *   created=2026-11-23T14:00:05.123Z
 *   cipher=none                   reserved, as is the next
 *   cipher-keys=
 *   crc32=...
 * The first, second and last line are the same in every version of the format. Lines with other keys are for those
 * that know them: they are passed over when an unknown compatible or read-compatible bit announces them.
 */
#define VOLUME_FORMAT 1u
#define VOLUME_NAME_MAX 255u
#define VOLUME_CHUNK_MIN (64u << 10)
#define VOLUME_CHUNK_MAX (64u << 20)

/* Feature bits that this program knows. */
#define VOLUME_COMPATIBLE 0u
#define VOLUME_READ_COMPATIBLE 0u
#define VOLUME_INCOMPATIBLE 0u

struct volume {
    uint64_t compatible, read_compatible, incompatible;
    struct shale_uuid uuid;
    char name[VOLUME_NAME_MAX + 1]; /* may be empty */
    uint32_t chunk_bytes;           /* power of two, VOLUME_CHUNK_MIN..VOLUME_CHUNK_MAX */
    uint32_t block_bytes;           /* power of two, 1 KiB..64 KiB */
    enum shale_codec codec;
    int64_t created_ms;
};

/* Whether the volume has features that this program does not know enough of to write. */
bool volume_is_read_only(const struct volume *v);

/* Append the text. 0, -ENOMEM, or -EINVAL for fields out of range. */
int volume_encode(const struct volume *v, struct shale_buf *out);
/*
 * what names the object in messages. SHALE_EVERSION for another format or unknown incompatible features; SHALE_ECORRUPT
 * for anything else that is not as above. out changes only on success. Every failure leaves a sentence.
 */
int volume_parse(struct shale_slice text, const char *what, struct volume *out);

#define VOLUME_PATIENCE_MS 30000 /* for a store that does not answer, where no database handle waits for it */

/*
 * root is the path of the volume in its store ("" for the top). Create the first version: -EEXIST when there is one.
 * Otherwise as shale_store_put.
 */
int volume_create(struct shale_store *store, const char *root, const struct volume *v);
/* The version that holds, and its number (version may be NULL). -ENOENT when there is no volume; as volume_parse. */
int volume_load_latest(struct shale_store *store, const char *root, struct volume *out, uint64_t *version);

#endif
