/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/volume.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "base/ulid.h"
#include "fs/core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define MAGIC "shalefs volume"
#define DIR_NAME "volume/"
#define VERSION_DIGITS 20
#define SUFFIX ".vol"

/* A part of the format, therefore not taken from the engine. */
static const char *const codec_names[] = {
    [SHALE_CODEC_NONE] = "none", [SHALE_CODEC_SNAPPY] = "snappy", [SHALE_CODEC_ZLIB] = "zlib",
    [SHALE_CODEC_LZ4] = "lz4",   [SHALE_CODEC_ZSTD] = "zstd",
};

static bool is_power_of_two_in(uint64_t v, uint64_t min, uint64_t max)
{
    return v >= min && v <= max && (v & (v - 1)) == 0;
}

/* Of what is written and what is read: a size that is none would be taken apart wrongly everywhere else. */
static bool sizes_are_valid(const struct volume *v)
{
    return is_power_of_two_in(v->chunk_bytes, VOLUME_CHUNK_MIN, VOLUME_CHUNK_MAX) &&
           is_power_of_two_in(v->block_bytes, 1u << 10, 64u << 10);
}

/* Bits that are known are taken off first, so that a program that learns of one need only add it to the mask. */
bool volume_is_read_only(const struct volume *v)
{
    return (v->read_compatible & ~(uint64_t)VOLUME_READ_COMPATIBLE) != 0;
}

/* The order is for people; readers take any. */
int volume_encode(const struct volume *v, struct shale_buf *out)
{
    char uuid[UUID_TEXT_LEN + 1];
    struct text_out t;

    if (!sizes_are_valid(v) || v->codec >= ARRAY_SIZE(codec_names) || !memchr(v->name, '\0', sizeof(v->name)))
        return err_set(-EINVAL, "a volume cannot have chunks of %" PRIu32 " bytes, blocks of %" PRIu32 " and codec %d",
                       v->chunk_bytes, v->block_bytes, (int)v->codec);
    uuid_format(v->uuid, uuid);
    text_begin(&t, out, MAGIC);
    text_add_u64(&t, "format", VOLUME_FORMAT);
    text_add_hex(&t, "features.compatible", v->compatible);
    text_add_hex(&t, "features.read-compatible", v->read_compatible);
    text_add_hex(&t, "features.incompatible", v->incompatible);
    text_add(&t, "uuid", uuid);
    text_add(&t, "name", v->name);
    text_add_u64(&t, "chunk-size", v->chunk_bytes);
    text_add_u64(&t, "block-size", v->block_bytes);
    text_add(&t, "codec", codec_names[v->codec]);
    text_add_time(&t, "created", v->created_ms);
    text_add(&t, "cipher", "none");
    text_add(&t, "cipher-keys", "");
    return text_end(&t);
}

static int get_format(void *obj, struct shale_slice value)
{
    (void)obj; /* checked before the other lines are read */
    (void)value;
    return 0;
}

static int get_compatible(void *obj, struct shale_slice value)
{
    return text_get_hex(value, &((struct volume *)obj)->compatible);
}

static int get_read_compatible(void *obj, struct shale_slice value)
{
    return text_get_hex(value, &((struct volume *)obj)->read_compatible);
}

static int get_incompatible(void *obj, struct shale_slice value)
{
    return text_get_hex(value, &((struct volume *)obj)->incompatible);
}

static int get_uuid(void *obj, struct shale_slice value)
{
    char text[UUID_TEXT_LEN + 1];
    int rc = text_get_string(value, text, sizeof(text));

    return rc < 0 ? rc : uuid_parse(text, &((struct volume *)obj)->uuid);
}

static int get_name(void *obj, struct shale_slice value)
{
    struct volume *v = obj;

    return text_get_string(value, v->name, sizeof(v->name));
}

static int get_u32(struct shale_slice value, uint32_t *out)
{
    uint64_t n;

    if (text_get_u64(value, &n) < 0 || n > UINT32_MAX)
        return -EINVAL;
    *out = (uint32_t)n;
    return 0;
}

static int get_chunk_bytes(void *obj, struct shale_slice value)
{
    return get_u32(value, &((struct volume *)obj)->chunk_bytes);
}

static int get_block_bytes(void *obj, struct shale_slice value)
{
    return get_u32(value, &((struct volume *)obj)->block_bytes);
}

static int get_codec(void *obj, struct shale_slice value)
{
    for (size_t i = 0; i < ARRAY_SIZE(codec_names); i++) {
        if (!slice_eq(value, slice_str(codec_names[i])))
            continue;
        ((struct volume *)obj)->codec = (enum shale_codec)i;
        return 0;
    }
    return -EINVAL;
}

static int get_created(void *obj, struct shale_slice value)
{
    return text_get_time(value, &((struct volume *)obj)->created_ms);
}

/* A cipher comes with an incompatible feature bit; without one these two say nothing. */
static int get_cipher(void *obj, struct shale_slice value)
{
    (void)obj;
    return slice_eq(value, slice_str("none")) ? 0 : -EINVAL;
}

static int get_cipher_keys(void *obj, struct shale_slice value)
{
    (void)obj;
    return value.len == 0 ? 0 : -EINVAL;
}

static const struct text_field fields[] = {
    { "format", get_format },
    { "features.compatible", get_compatible },
    { "features.read-compatible", get_read_compatible },
    { "features.incompatible", get_incompatible },
    { "uuid", get_uuid },
    { "name", get_name },
    { "chunk-size", get_chunk_bytes },
    { "block-size", get_block_bytes },
    { "codec", get_codec },
    { "created", get_created },
    { "cipher", get_cipher },
    { "cipher-keys", get_cipher_keys },
};

/* Format and features come first: with others, the remaining lines may mean anything. */
static int check_version(struct shale_slice lines, const char *what)
{
    struct shale_slice value;
    uint64_t format, features;

    if (!slice_has_prefix(lines, slice_str("format=")) || !text_find(lines, "format", &value) ||
        text_get_u64(value, &format) < 0)
        return err_set(SHALE_ECORRUPT, "%s does not say its format in the second line", what);
    if (format != VOLUME_FORMAT)
        return err_set(SHALE_EVERSION, "%s has format %" PRIu64 "; this program knows format %u", what, format,
                       VOLUME_FORMAT);
    if (!text_find(lines, "features.incompatible", &value) || text_get_hex(value, &features) < 0)
        return err_set(SHALE_ECORRUPT, "%s does not say its incompatible features", what);
    features &= ~(uint64_t)VOLUME_INCOMPATIBLE;
    if (features)
        return err_set(SHALE_EVERSION, "%s has features that this program does not know (bits 0x%" PRIx64 ")", what,
                       features);
    return 0;
}

/*
 * Version and incompatible features are looked at before anything else, so that a later format is called that, and not
 * damage.
 */
int volume_parse(struct shale_slice text, const char *what, struct volume *out)
{
    struct shale_slice lines;
    struct volume v;
    size_t n_unknown;
    int rc;

    memset(&v, 0, sizeof(v));
    rc = text_open(text, MAGIC, what, &lines);
    if (rc == 0)
        rc = check_version(lines, what);
    if (rc == 0)
        rc = text_parse(lines, fields, ARRAY_SIZE(fields), what, &v, &n_unknown);
    if (rc < 0)
        return rc;
    if (n_unknown && !(v.compatible & ~(uint64_t)VOLUME_COMPATIBLE) && !volume_is_read_only(&v))
        return err_set(SHALE_ECORRUPT, "%s has lines with unknown keys, which no feature bit announces", what);
    if (!sizes_are_valid(&v))
        return err_set(SHALE_ECORRUPT, "%s has chunks of %" PRIu32 " and blocks of %" PRIu32 " bytes, which cannot be",
                       what, v.chunk_bytes, v.block_bytes);
    *out = v;
    return 0;
}

/* root/volume/<version>.vol */
static int object_name(const char *root, uint64_t version, struct shale_buf *name)
{
    buf_clear(name);
    return buf_printf(name, "%s%s" DIR_NAME "%0*" PRIu64 SUFFIX, root, *root ? "/" : "", VERSION_DIGITS, version);
}

/* Create-if-absent makes one of two formats fail. A later version of the object would have the next number. */
int volume_create(struct shale_store *store, const char *root, const struct volume *v)
{
    struct shale_buf text = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    int rc = volume_encode(v, &text);

    if (rc == 0)
        rc = object_name(root, 1, &name);
    if (rc == 0)
        rc = shale_store_put(store, (const char *)name.data, slice_of_buf(&text), SHALE_PUT_IF_ABSENT);
    if (rc == -EEXIST)
        err_set(rc, "there is a volume already: %s exists", (const char *)name.data);
    shale_buf_fini(&text);
    shale_buf_fini(&name);
    return rc;
}

struct latest {
    size_t prefix_len;
    uint64_t version; /* 0: none seen */
};

/* Names of another form are not ours to judge; number 0 is never used. */
static int see_version(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct latest *l = arg;
    const char *digits = name + l->prefix_len;
    uint64_t version = 0;

    (void)meta;
    if (strlen(digits) != VERSION_DIGITS + sizeof(SUFFIX) - 1 || strcmp(digits + VERSION_DIGITS, SUFFIX) != 0)
        return 0;
    for (size_t i = 0; i < VERSION_DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9' || __builtin_mul_overflow(version, 10u, &version) ||
            __builtin_add_overflow(version, (uint64_t)(digits[i] - '0'), &version))
            return 0;
    }
    if (version > l->version)
        l->version = version;
    return 0;
}

/*
 * A volume has few versions, so they are listed. A listing has no checksum, and the one name may have been spoilt on
 * the way: that there is none has to be said twice.
 */
static int find_latest(struct shale_store *store, const char *root, uint64_t *version)
{
    struct shale_buf prefix = SHALE_BUF_INIT;
    struct latest l = { 0, 0 };
    int rc = buf_printf(&prefix, "%s%s" DIR_NAME, root, *root ? "/" : "");

    l.prefix_len = prefix.len;
    for (int i = 0; rc == 0 && l.version == 0 && i < 2; i++)
        rc = shale_store_list(store, (const char *)prefix.data, NULL, see_version, &l);
    if (rc == 0 && l.version == 0)
        rc = err_set(-ENOENT, "there is no volume: nothing is named %s*" SUFFIX, (const char *)prefix.data);
    if (rc == 0)
        *version = l.version;
    shale_buf_fini(&prefix);
    return rc;
}

static int load_version(struct shale_store *store, const char *root, uint64_t version, struct volume *out)
{
    struct shale_buf text = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    struct reread again = REREAD_INIT;
    int rc = object_name(root, version, &name);

    if (rc == 0)
        do {
            rc = shale_store_get(store, (const char *)name.data, &text);
            if (rc == 0)
                rc = volume_parse(slice_of_buf(&text), (const char *)name.data, out);
        } while (reread_due(&again, rc));
    shale_buf_fini(&text);
    shale_buf_fini(&name);
    return rc;
}

int volume_load_latest(struct shale_store *store, const char *root, struct volume *out, uint64_t *version)
{
    uint64_t latest = 0;
    int rc = find_latest(store, root, &latest);

    if (rc == 0)
        rc = load_version(store, root, latest, out);
    if (rc == 0 && version)
        *version = latest;
    return rc;
}
