/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SST objects without a manifest: WAL objects and single files. One is read from its end
 * (trailer, info), or decoded whole from memory by replay. Everything comes from outside:
 * sections must lie below the info section (section_info_decode) and blocks below the filter
 * (sst_index_decode) before anything is addressed by them.
 */

#include "sst/table_store.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "format/block.h"

#include <errno.h>

/* What is read from the end of an object in the hope that it holds the whole info section. */
#define TAIL_GUESS 4096u

/* The info section lies between meta_offset and the trailer. */
static uint64_t info_len(const struct sst_trailer *t, uint64_t object_len)
{
    return object_len - SST_TRAILER_LEN - t->info_offset;
}

static int read_trailer(const char *name, struct shale_slice tail, uint64_t object_len, struct sst_trailer *out)
{
    int rc;

    if (tail.len < SST_TRAILER_LEN)
        return err_set(SHALE_ECORRUPT, "%s: of %zu bytes, too short for an SST", name, tail.len);
    err_clear();
    rc = sst_trailer_decode(tail.data + tail.len - SST_TRAILER_LEN, object_len, out);
    return rc < 0 ? err_add(rc, "%s: trailer", name) : 0;
}

/*
 * Info and version from the end of an object; reads again when the guess was too short.
 * One read in nearly all cases: the guess holds trailer and info of an SST with keys of up to a
 * kilobyte or two. object_len is what head said; an object never changes, so it cannot have
 * shrunk since.
 */
static int read_meta(struct shale_store *store, const char *name, uint64_t object_len, struct sst_trailer *trailer,
                     struct sst_info *info)
{
    uint64_t n = object_len < TAIL_GUESS ? object_len : TAIL_GUESS;
    struct sst_part part = { .object = name, .kind = "info" };
    struct shale_buf tail = SHALE_BUF_INIT;
    uint64_t len;
    int rc;

    rc = shale_store_get_range(store, name, object_len - n, n, &tail);
    if (rc == 0)
        rc = read_trailer(name, slice_of_buf(&tail), object_len, trailer);
    if (rc < 0)
        goto out;
    part.offset = trailer->info_offset;
    len = info_len(trailer, object_len);
    if (len > n - SST_TRAILER_LEN) {
        rc = shale_store_get_range(store, name, trailer->info_offset, len, &tail);
        if (rc < 0)
            goto out;
        rc = section_info_decode(&part, slice_of_buf(&tail), info);
    } else {
        size_t at = tail.len - SST_TRAILER_LEN - (size_t)len;

        rc = section_info_decode(&part, slice_of(tail.data + at, (size_t)len), info);
    }
out:
    shale_buf_fini(&tail);
    return rc;
}

/*
 * For an object of no bytes: an info that says WAL, without index, which table_index_read
 * understands.
 */
static int open_once(struct shale_store *store, const char *name, struct shale_ulid id, bool may_be_empty,
                     struct sst_handle **out)
{
    struct sst_trailer trailer = { .version = SST_VERSION_MAX };
    struct sst_info info = { 0 };
    struct shale_object_meta meta;
    int rc;

    rc = shale_store_head(store, name, &meta);
    if (rc < 0)
        return rc;
    if (meta.size == 0 && may_be_empty)
        info.type = SST_WAL;
    else if (meta.size < SST_TRAILER_LEN)
        rc = err_set(SHALE_ECORRUPT, "%s: too short for an SST", name);
    else
        rc = read_meta(store, name, meta.size, &trailer, &info);
    if (rc == 0)
        rc = sst_handle_new(id, trailer.version, &info, out);
    sst_info_fini(&info);
    return rc;
}

static int open_object(struct shale_store *store, const char *name, struct shale_ulid id, bool may_be_empty,
                       struct sst_handle **out)
{
    struct reread again = REREAD_INIT;
    int rc;

    do
        rc = open_once(store, name, id, may_be_empty, out);
    while (reread_due(&again, rc));
    return rc;
}

int table_open_wal(struct table_store *ts, uint64_t wal_id, struct sst_handle **out)
{
    struct shale_buf name = SHALE_BUF_INIT;
    int rc = table_store_wal_name(ts, wal_id, &name);

    /* Later versions of SlateDB fence with an object of no bytes at all. */
    if (rc == 0)
        rc = open_object(ts->wal_store, (const char *)name.data, (struct shale_ulid){ 0 }, true, out);
    shale_buf_fini(&name);
    return rc;
}

int table_open_compacted(struct table_store *ts, struct shale_ulid id, struct sst_handle **out)
{
    struct shale_buf name = SHALE_BUF_INIT;
    int rc = table_store_sst_name(ts, id, &name);

    if (rc == 0)
        rc = open_object(ts->store, (const char *)name.data, id, false, out);
    shale_buf_fini(&name);
    return rc;
}

/* An object in memory while its rows are told. */
struct scan {
    struct shale_slice object;
    const char *name;
    sst_row_fn fn;
    void *arg;
    uint16_t version;
    struct section_form form;
    struct sst_info info;
    struct shale_buf index_scratch, scratch;
    struct sst_index index;
    struct block_iter it;
    bool has_it;
};

static struct shale_slice part_of(const struct scan *s, uint64_t offset, uint64_t len)
{
    return slice_of(s->object.data + offset, (size_t)len);
}

/* Sections are slices of the object: nothing is copied unless it is compressed. */
static int scan_open(struct scan *s)
{
    struct sst_part part = { .object = s->name, .kind = "info" };
    struct sst_trailer trailer;
    struct shale_slice payload;
    int rc;

    rc = read_trailer(s->name, s->object, s->object.len, &trailer);
    if (rc < 0)
        return rc;
    s->version = trailer.version;
    part.offset = trailer.info_offset;
    rc = section_info_decode(&part, part_of(s, part.offset, info_len(&trailer, s->object.len)), &s->info);
    if (rc < 0)
        return rc;
    s->form.codec = s->info.codec;
    part.kind = "index";
    part.offset = s->info.index_offset;
    rc = section_decode(&part, part_of(s, part.offset, s->info.index_len), &s->form, &s->index_scratch, &payload);
    if (rc < 0)
        return rc;
    err_clear();
    rc = sst_index_decode(payload, s->info.filter_offset, &s->index);
    return rc < 0 ? part_err_add(rc, &part) : 0;
}

static int block_open(struct scan *s, struct shale_slice payload)
{
    if (s->has_it)
        return block_iter_reset(&s->it, payload, s->version, ITER_ASC);
    s->has_it = true;
    return block_iter_init(&s->it, payload, s->version, ITER_ASC);
}

static void scan_close(struct scan *s)
{
    if (s->has_it)
        block_iter_fini(&s->it);
    sst_index_fini(&s->index);
    sst_info_fini(&s->info);
    shale_buf_fini(&s->index_scratch);
    shale_buf_fini(&s->scratch);
}

static struct sst_part block_part(const struct scan *s, size_t i)
{
    return (struct sst_part){ .object = s->name, .kind = "block", .number = i, .offset = s->index.offsets[i] };
}

static struct shale_slice stored_block(const struct scan *s, size_t i)
{
    uint64_t end = i + 1 < s->index.n ? s->index.offsets[i + 1] : s->info.filter_offset;

    return part_of(s, s->index.offsets[i], end - s->index.offsets[i]);
}

static int scan_block(struct scan *s, size_t i)
{
    struct sst_part part = block_part(s, i);
    struct shale_slice payload;
    struct shale_row row;
    int rc = section_decode(&part, stored_block(s, i), &s->form, &s->scratch, &payload);

    if (rc < 0)
        return rc;
    err_clear();
    rc = block_open(s, payload);
    while (rc == 0) {
        rc = block_iter_next(&s->it, &row);
        if (rc == 0) {
            rc = s->fn(s->arg, &row);
            if (rc != 0)
                return rc;
        }
    }
    return rc == SHALE_END ? 0 : part_err_add(rc, &part);
}

/*
 * Rows go out as they are decoded; a corrupt block behind good ones fails the scan after their
 * rows were told, so the caller must not publish before the end.
 */
int sst_scan_object(struct shale_slice object, const char *name, const struct shale_block_transformer *transformer,
                    sst_row_fn fn, void *arg)
{
    struct scan s = { .object = object, .name = name, .form = { .transformer = transformer }, .fn = fn, .arg = arg };
    int rc = scan_open(&s);

    for (size_t i = 0; rc == 0 && i < s.index.n; i++)
        rc = scan_block(&s, i);
    scan_close(&s);
    return rc;
}

/* The checksums, and no row. Filter and stats are left out: nobody reads them from an object in memory. */
static int verify(struct shale_slice object, const char *name, const struct shale_block_transformer *transformer)
{
    struct scan s = { .object = object, .name = name, .form = { .transformer = transformer } };
    int rc = scan_open(&s);

    for (size_t i = 0; rc == 0 && i < s.index.n; i++) {
        struct sst_part part = block_part(&s, i);
        struct shale_slice payload;

        rc = section_check(&part, stored_block(&s, i), &payload);
    }
    scan_close(&s);
    return rc;
}

/* Nothing at all is what fences are for later versions of SlateDB: it has to be true. */
static int check_empty(struct shale_store *store, const char *name)
{
    struct shale_object_meta meta;
    int rc = shale_store_head(store, name, &meta);

    if (rc == 0 && meta.size > 0)
        rc = err_set(SHALE_ECORRUPT, "%s: the store sent nothing of %llu bytes", name, (unsigned long long)meta.size);
    return rc;
}

int sst_get_object(struct shale_store *store, const char *name, const struct shale_block_transformer *transformer,
                   struct shale_buf *out)
{
    struct reread again = REREAD_INIT;
    int rc;

    do {
        rc = shale_store_get(store, name, out);
        if (rc == 0)
            rc = out->len ? verify(slice_of_buf(out), name, transformer) : check_empty(store, name);
    } while (reread_due(&again, rc));
    return rc;
}
