/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a compacted SST as a stream (storage format 2.8):
 *   rows -> block_builder -> section (compress, checksum) -> pending -> object store
 *           index entry, filter hash and counts are kept aside until the end
 *   [block 0][block 1]...[filter?][index][stats][properties?][info][trailer]
 * An object of up to SMALL_MAX bytes stays in pending and becomes one conditional put, which may
 * be repeated; a larger one is begun as an upload as soon as it is known to be larger, and goes
 * out in pieces while rows come in. Block boundaries are SlateDB's to the row. One thread; no
 * locks.
 *   open      rows are taken
 *   sealed    all bytes made; only putting them is left, and may be repeated after SHALE_ETRANSIENT
 *   failed    bytes are missing; every call returns the error
 */

#include "sst/sst_writer.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "format/block.h"
#include "sst/sst_collect.h"

#include <errno.h>

/* Up to this an object is one put, which can be tried again; a larger one goes out in pieces of about PIECE_LEN. */
#define SMALL_MAX ((size_t)4 << 20)
#define PIECE_LEN ((size_t)1 << 20)
/* Stored bytes of a block that are not read in vain. */
#define LARGE_BLOCK ((uint64_t)128 << 10)
/* A larger block is one large value: bulk data, which would drive out many others. */
#define CACHED_BLOCK_MAX ((size_t)128 << 10)

struct sst_writer {
    struct table_store *ts;
    struct shale_ulid id;
    bool cache;
    bool sealed;               /* every byte is in pending or written */
    int failed;                /* not 0: what every later call returns, for bytes are missing */
    struct shale_buf name;
    struct section_form form;  /* of every section but the info */
    struct block_builder block;
    struct shale_buf raw;      /* payload of the part at hand, but for blocks */
    struct shale_buf scratch;  /* the same, compressed */
    struct shale_buf pending;  /* stored form, not handed to the store yet */
    uint64_t written;          /* bytes handed to upload */
    struct shale_upload *upload;
    struct sst_index_builder index;
    struct filter_builder filter;
    struct sst_block_stats block_stats;
    struct sst_stats stats;
    struct sst_collect collect;
    uint64_t last_seq;
    uint64_t n_rows;
    struct sst_info info;
    struct shale_buf index_payload, filter_payload; /* for the cache */
};

int sst_writer_new(struct table_store *ts, struct shale_ulid id, bool cache, struct sst_writer **out)
{
    struct sst_writer *w = mem_zalloc(sizeof(*w));
    int rc;

    if (!w)
        return -ENOMEM;
    w->ts = ts;
    w->id = id;
    w->cache = cache && ts->cache;
    w->form = sst_format_form(&ts->format);
    block_builder_init(&w->block, BLOCK_V2, ts->format.block_size);
    rc = table_store_sst_name(ts, id, &w->name);
    if (rc < 0) {
        sst_writer_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void sst_writer_free(struct sst_writer *w)
{
    if (!w)
        return;
    shale_upload_abort(w->upload);
    block_builder_fini(&w->block);
    sst_index_builder_fini(&w->index);
    filter_builder_fini(&w->filter);
    sst_stats_fini(&w->stats);
    sst_collect_fini(&w->collect);
    sst_info_fini(&w->info);
    shale_buf_fini(&w->name);
    shale_buf_fini(&w->raw);
    shale_buf_fini(&w->scratch);
    shale_buf_fini(&w->pending);
    shale_buf_fini(&w->index_payload);
    shale_buf_fini(&w->filter_payload);
    mem_free(w);
}

int sst_writer_collect(struct sst_writer *w, enum shale_sst_kind kind)
{
    return sst_collect_begin(&w->collect, w->ts->format.collector, kind);
}

static const char *writer_name(const struct sst_writer *w)
{
    return (const char *)w->name.data;
}

static uint64_t writer_offset(const struct sst_writer *w)
{
    return w->written + w->pending.len;
}

bool sst_writer_is_empty(const struct sst_writer *w)
{
    return w->n_rows == 0;
}

/*
 * Remember that the object cannot be completed. Trying again is of no use, so nobody shall be told to.
 * An object that can never be completed must not look transient, or flush would repeat the same
 * doomed call for ever; it starts over with a new writer instead.
 */
static int writer_fail(struct sst_writer *w, int rc)
{
    shale_upload_abort(w->upload);
    w->upload = NULL;
    w->failed = rc == SHALE_ETRANSIENT ? -EIO : rc;
    return rc;
}

static int already_failed(const struct sst_writer *w)
{
    return err_set(w->failed, "%s: writing it failed before", writer_name(w));
}

/*
 * Hand what has gathered to the store.
 * Bytes leave pending only when the store took them: written + pending.len is the offset of the
 * next byte at any time.
 */
static int write_pending(struct sst_writer *w)
{
    int rc = 0;

    if (!w->upload)
        rc = shale_upload_begin(w->ts->store, writer_name(w), &w->upload);
    if (rc == 0)
        rc = shale_upload_write(w->upload, slice_of_buf(&w->pending));
    if (rc < 0)
        return rc;
    w->written += w->pending.len;
    buf_clear(&w->pending);
    return 0;
}

/* Before len more bytes are added, so that the buffer need not grow past the bound. */
static int write_if_much(struct sst_writer *w, size_t len)
{
    size_t bound = w->upload ? PIECE_LEN : SMALL_MAX;

    return w->pending.len > 0 && size_add(w->pending.len, len) > bound ? write_pending(w) : 0;
}

/*
 * A payload becomes a section; *len is its stored length.
 * Its own length is an upper guess of what is added; a codec may add a little, which the buffer's growth
 * takes.
 */
static int put_payload(struct sst_writer *w, struct shale_slice payload, const struct section_form *form, uint64_t *len)
{
    uint64_t start = writer_offset(w);
    int rc = write_if_much(w, payload.len);

    if (rc == 0)
        rc = section_encode(payload, form, &w->scratch, &w->pending);
    if (rc < 0)
        return rc;
    *len = writer_offset(w) - start;
    return 0;
}

/* The payload in w->raw. */
static int put_section(struct sst_writer *w, const struct section_form *form, uint64_t *len)
{
    return put_payload(w, slice_of_buf(&w->raw), form, len);
}

/*
 * Room for the block's counts comes first: nothing may fail between writing the block and
 * recording it.
 */
static int end_block(struct sst_writer *w, uint64_t *stored_len)
{
    struct shale_slice payload;
    int rc;

    if (vec_reserve(&w->stats.blocks, &w->stats.cap_blocks, w->stats.n_blocks + 1, sizeof(*w->stats.blocks)) < 0)
        return -ENOMEM;
    rc = block_builder_payload(&w->block, &payload);
    if (rc < 0)
        return rc;
    if (w->cache && payload.len <= CACHED_BLOCK_MAX)
        table_cache_block(w->ts, w->id, writer_offset(w), payload);
    rc = put_payload(w, payload, &w->form, stored_len);
    if (rc < 0)
        return rc;
    block_builder_reset(&w->block);
    w->stats.blocks[w->stats.n_blocks++] = w->block_stats;
    w->block_stats = (struct sst_block_stats){ 0 };
    return 0;
}

/*
 * Whether the separator is first_key though that is not the key before it. A look-up of first_key then has to read the
 * block before as well, in vain. That is how SlateDB has it, and a small block costs nothing; a large one does.
 */
static bool costs_a_large_block(const struct sst_writer *w, struct shale_slice first_key, size_t common)
{
    return common + 1 == first_key.len && writer_offset(w) - w->index.offsets[w->index.n - 1] >= LARGE_BLOCK;
}

/*
 * The index tells a first block by an empty key, and others by what separates them from the block before: the shortest
 * key that does, or, where that is first_key itself and matters, the one right behind the last key.
 * common: bytes that first_key shares with the key before it.
 */
static int begin_block(struct sst_writer *w, struct shale_slice first_key, size_t common)
{
    struct shale_slice sep = slice_of(NULL, 0);
    int rc = 0;

    if (w->index.n > 0)
        sep = sst_index_separator(common, first_key);
    if (w->index.n > 0 && costs_a_large_block(w, first_key, common)) {
        rc = buf_set(&w->scratch, block_builder_last_key(&w->block));
        if (rc == 0)
            rc = buf_put_u8(&w->scratch, 0);
        sep = slice_of_buf(&w->scratch);
    }
    return rc < 0 ? rc : sst_index_builder_add(&w->index, writer_offset(w), sep);
}

/*
 * Rows out of order would make an SST in which bisection misses keys: refused here, whoever made
 * the mistake. *common: how many bytes its key shares with the one before.
 */
static int check_row(const struct sst_writer *w, const struct shale_row *row, size_t *common)
{
    struct shale_slice last = block_builder_last_key(&w->block);
    bool after;

    if (row->key.len < 1 || row->key.len > SHALE_KEY_MAX)
        return err_set(-EINVAL, "%s: a key of %zu bytes", writer_name(w), row->key.len);
    if (row->value.len > SHALE_VALUE_MAX || (row->kind == SHALE_TOMBSTONE && row->value.len > 0))
        return err_set(-EINVAL, "%s: a value of %zu bytes", writer_name(w), row->value.len);
    *common = row_key_common(last, row->key);
    if (*common == row->key.len)
        after = last.len == row->key.len && w->last_seq > row->seq;
    else
        after = *common == last.len || last.data[*common] < row->key.data[*common];
    if (!after)
        return err_set(-EINVAL, "%s: row %llu is out of order", writer_name(w), (unsigned long long)w->n_rows);
    return 0;
}

static void count_row(struct sst_writer *w, const struct shale_row *row)
{
    struct sst_stats *s = &w->stats;

    switch (row->kind) {
    case SHALE_PUT:
        s->puts++;
        w->block_stats.puts++;
        break;
    case SHALE_TOMBSTONE:
        s->deletes++;
        w->block_stats.deletes++;
        break;
    case SHALE_MERGE:
        s->merges++;
        w->block_stats.merges++;
        break;
    }
    s->raw_key_bytes += row->key.len;
    s->raw_value_bytes += row->value.len;
    w->last_seq = row->seq;
    w->n_rows++;
}

/* Order: end the old block, index the new one, add. stored_len > 0 says that a block was ended. */
static int add_row(struct sst_writer *w, const struct shale_row *row, size_t common, uint64_t *stored_len)
{
    int rc = 0;

    if (w->n_rows > 0 && !block_builder_would_fit(&w->block, row, common))
        rc = end_block(w, stored_len);
    if (rc == 0 && (w->n_rows == 0 || *stored_len > 0))
        rc = begin_block(w, row->key, common);
    if (rc == 0)
        rc = block_builder_add(&w->block, row, common);
    if (rc == 0 && w->ts->format.filter_bits_per_key > 0)
        rc = filter_builder_add(&w->filter, row->key);
    if (rc == 0 && w->n_rows == 0) {
        rc = buf_set(&w->info.first, row->key);
        w->info.has_first = true;
    }
    return rc;
}

int sst_writer_add(struct sst_writer *w, const struct shale_row *row, uint64_t *block_bytes)
{
    uint64_t stored_len = 0;
    size_t common = 0;
    int rc;

    if (w->failed)
        return already_failed(w);
    rc = w->sealed ? err_set(-EINVAL, "%s: a row after the end", writer_name(w)) : check_row(w, row, &common);
    if (rc < 0)
        return rc;
    rc = add_row(w, row, common, &stored_len);
    if (rc == 0)
        rc = sst_collect_add(&w->collect, row);
    if (rc < 0)
        return writer_fail(w, rc);
    count_row(w, row);
    if (block_bytes)
        *block_bytes = stored_len;
    return 0;
}

/* A filter without bits would make SlateDB divide by zero, and its lengths are of 32 bits. */
static bool wants_filter(const struct sst_writer *w)
{
    const struct sst_format *f = &w->ts->format;

    return w->filter.n > 0 && w->n_rows >= f->min_filter_keys && w->filter.n <= UINT32_MAX / f->filter_bits_per_key;
}

/* Counted in rows, like SlateDB: several versions of a key set the same bits again. */
static int put_filter(struct sst_writer *w)
{
    int rc;

    w->info.filter_offset = writer_offset(w); /* the end of the data, with or without a filter */
    if (!wants_filter(w))
        return 0;
    buf_clear(&w->raw);
    rc = filter_builder_finish(&w->filter, w->ts->format.filter_bits_per_key, &w->raw);
    if (rc == 0 && w->cache)
        rc = buf_set(&w->filter_payload, slice_of_buf(&w->raw));
    return rc < 0 ? rc : put_section(w, &w->form, &w->info.filter_len);
}

static int put_index(struct sst_writer *w)
{
    int rc;

    w->info.index_offset = writer_offset(w);
    buf_clear(&w->raw);
    rc = sst_index_builder_finish(&w->index, &w->raw);
    if (rc == 0 && w->cache)
        rc = buf_set(&w->index_payload, slice_of_buf(&w->raw));
    return rc < 0 ? rc : put_section(w, &w->form, &w->info.index_len);
}

static int put_stats(struct sst_writer *w)
{
    int rc;

    w->info.stats_offset = writer_offset(w);
    buf_clear(&w->raw);
    rc = sst_stats_encode(&w->stats, &w->raw);
    return rc < 0 ? rc : put_section(w, &w->form, &w->info.stats_len);
}

/* Not in info: SlateDB would not know such a field, nor leave it in the copy that its manifests have. */
static int put_properties(struct sst_writer *w)
{
    int rc = sst_collect_end(&w->collect, &w->raw);

    if (rc != 0)
        return rc == SHALE_END ? 0 : rc;
    rc = write_if_much(w, w->raw.len);
    return rc < 0 ? rc : properties_encode(slice_of_buf(&w->raw), &w->form, &w->scratch, &w->pending);
}

static int put_info(struct sst_writer *w)
{
    struct sst_trailer t = { .info_offset = writer_offset(w), .version = BLOCK_V2 };
    uint8_t bytes[SST_TRAILER_LEN];
    uint64_t len;
    int rc;

    buf_clear(&w->raw);
    rc = sst_info_encode(&w->info, &w->raw);
    if (rc == 0)
        rc = put_section(w, &section_plain, &len);
    if (rc < 0)
        return rc;
    sst_trailer_encode(&t, bytes);
    return shale_buf_append(&w->pending, bytes, sizeof(bytes));
}

/*
 * All that follows the rows.
 * Each offset in info is taken when its section begins.
 */
static int seal(struct sst_writer *w)
{
    uint64_t len;
    int rc;

    w->info.codec = w->form.codec;
    w->info.type = SST_COMPACTED;
    rc = end_block(w, &len);
    if (rc == 0)
        rc = buf_set(&w->info.last, block_builder_last_key(&w->block));
    w->info.has_last = true;
    if (rc == 0)
        rc = put_filter(w);
    if (rc == 0)
        rc = put_index(w);
    if (rc == 0)
        rc = put_stats(w);
    if (rc == 0)
        rc = put_properties(w);
    if (rc == 0)
        rc = put_info(w);
    w->sealed = rc == 0;
    return rc;
}

/*
 * Whether the object that is there already holds just our bytes: then an earlier attempt had succeeded after all.
 * After a lost reply the same id with the same bytes can only be ours: ids are random.
 */
static bool is_there(struct sst_writer *w)
{
    struct shale_buf found = SHALE_BUF_INIT;
    bool same = false;

    for (unsigned i = 0; !same && i < REREAD_MAX; i++) /* what differs may have been spoilt on the way */
        same = shale_store_get(w->ts->store, writer_name(w), &found) == 0 &&
               slice_eq(slice_of_buf(&found), slice_of_buf(&w->pending));
    shale_buf_fini(&found);
    return same;
}

/* The upload overwrites, as stores have no conditional upload; the id is nobody else's. */
static int publish(struct sst_writer *w)
{
    struct shale_upload *u;
    int rc;

    /* one section alone may be larger than what is gathered */
    if (!w->upload && w->pending.len <= 2 * SMALL_MAX) {
        rc = shale_store_put(w->ts->store, writer_name(w), slice_of_buf(&w->pending), SHALE_PUT_IF_ABSENT);
        return rc == -EEXIST && is_there(w) ? 0 : rc;
    }
    rc = write_pending(w);
    if (rc == 0) {
        u = w->upload;
        w->upload = NULL; /* ended in any case */
        rc = shale_upload_finish(u);
    }
    return rc < 0 ? writer_fail(w, rc) : 0;
}

static void fill_cache(struct sst_writer *w, const struct sst_handle *h)
{
    table_cache_index(w->ts, h, slice_of_buf(&w->index_payload));
    if (h->info.filter_len > 0)
        table_cache_filter(w->ts, h, slice_of_buf(&w->filter_payload));
}

/* The handle is made before the object is visible: afterwards nothing may fail. */
int sst_writer_finish(struct sst_writer *w, struct sst_handle **out)
{
    struct sst_handle *h = NULL;
    int rc = 0;

    if (w->failed)
        return already_failed(w);
    if (w->n_rows == 0)
        return err_set(-EINVAL, "%s: an SST without rows", writer_name(w));
    if (!w->sealed) {
        rc = seal(w);
        if (rc < 0)
            return writer_fail(w, rc);
    }
    rc = sst_handle_new(w->id, BLOCK_V2, &w->info, &h);
    if (rc == 0)
        rc = publish(w);
    if (rc < 0) {
        sst_handle_unref(h);
        return rc;
    }
    if (w->cache)
        fill_cache(w, h);
    sst_writer_free(w);
    *out = h;
    return 0;
}
