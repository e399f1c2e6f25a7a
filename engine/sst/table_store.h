/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SST_TABLE_STORE_H
#define SST_TABLE_STORE_H

#include "base/sync.h"
#include "format/filter.h"
#include "format/iter.h"
#include "format/manifest_codec.h"
#include "sst/block_cache.h"
#include "sst/flights.h"
#include "sst/read_window.h"
#include "sst/sst_section.h"
#include "sst/table_metrics.h"

#include <shale/object_store.h>

/*
 * How SSTs are written.
 * Of what is written from now on. Every SST describes itself, so reading asks nothing of it but the transformer.
 */
struct sst_format {
    enum shale_codec codec;
    uint32_t block_size;
    uint32_t min_filter_keys;
    uint32_t filter_bits_per_key;
    const struct shale_block_transformer *transformer; /* borrowed, as the next; may be NULL */
    const struct shale_property_collector *collector;  /* likewise */
};

static inline struct section_form sst_format_form(const struct sst_format *f)
{
    return (struct section_form){ f->codec, f->transformer };
}

/* The part of the options that this is. */
static inline struct sst_format sst_format_of(const struct shale_options *opt)
{
    return (struct sst_format){ .codec = opt->codec,
                                .block_size = opt->block_size,
                                .min_filter_keys = opt->min_filter_keys,
                                .filter_bits_per_key = opt->filter_bits_per_key,
                                .transformer = opt->block_transformer,
                                .collector = opt->property_collector };
}

/*
 * Where the SSTs of a database are and how their parts are read: checksum, decompression, cache. Errors name the
 * object and the part; a missing object is -ESTALE, or -ENOENT where it is opened. Safe from any thread.
 */
struct table_store {
    struct shale_store *store;     /* borrowed */
    struct shale_store *wal_store; /* borrowed; the same one when WAL objects have none of their own */
    char *root;                    /* path of the database, owned */
    struct block_cache *cache;     /* borrowed; may be NULL */
    const struct table_metrics *metrics; /* borrowed; NULL, as after init: nothing is counted. Set before it is shared */
    struct sst_format format;
    struct read_window window; /* all zero, as after init: of a block that is missing nothing but it is read */
    struct flights flights;    /* reads of parts that others may wait for */
    struct mutex mu;               /* rank 600; guards externals */
    struct external_sst *externals; /* SSTs that lie under another database's path, sorted by id; owned */
    size_t n_externals;
};

int table_store_init(struct table_store *ts, struct shale_store *store, struct shale_store *wal_store,
                     const char *root, const struct sst_format *format, struct block_cache *cache);
void table_store_fini(struct table_store *ts);
/*
 * Learn which SSTs are external from a manifest (storage format section 8.4). What was learnt before stays known, for
 * readers of older manifests. 0 or -ENOMEM (nothing changed).
 */
int table_store_set_externals(struct table_store *ts, const struct manifest *m);
/* Name of the object that holds a compacted SST. */
int table_store_sst_name(struct table_store *ts, struct shale_ulid id, struct shale_buf *out);
/* Name of a WAL object, in wal_store; never external. Both replace out, which then ends in a NUL (not counted). */
int table_store_wal_name(struct table_store *ts, uint64_t wal_id, struct shale_buf *out);

/* An uncompressed block payload, shared. */
struct block {
    struct cache_item item;
    atomic_bool along; /* relaxed: was read along with a neighbour, and nobody has wanted it yet */
    size_t len;
    uint8_t data[];
};

static inline struct shale_slice block_payload(const struct block *b)
{
    return slice_of(b->data, b->len);
}

static inline void block_unref(struct block *b)
{
    cache_item_unref(b ? &b->item : NULL);
}

/* A decoded index, shared. */
struct table_index {
    struct cache_item item;
    struct shale_buf payload; /* that x borrows */
    struct sst_index x;
};

static inline void table_index_unref(struct table_index *i)
{
    cache_item_unref(i ? &i->item : NULL);
}

struct table_filter {
    struct cache_item item;
    struct shale_buf payload;
    struct filter f;
};

static inline void table_filter_unref(struct table_filter *f)
{
    cache_item_unref(f ? &f->item : NULL);
}

/* Where an object's parts come from: a compacted SST by its handle, or a WAL object by its id. */
struct sst_source {
    const struct sst_handle *sst; /* borrowed; its info and version describe the object */
    bool is_wal;
    uint64_t wal_id;
};

static inline struct sst_source sst_source_compacted(const struct sst_handle *h)
{
    return (struct sst_source){ .sst = h };
}

/*
 * A reference to the index / the filter (*out NULL when there is none). Always kept in the cache (H16). With a window the
 * one that is asked for first brings the other: they are neighbours in the object.
 */
int table_index_read(struct table_store *ts, const struct sst_source *src, struct table_index **out);
int table_filter_read(struct table_store *ts, const struct sst_source *src, struct table_filter **out);
int table_stats_read(struct table_store *ts, const struct sst_source *src, struct sst_stats *out);
/*
 * What the property collector left: 1, and out is replaced; 0 when there is nothing; SHALE_ECORRUPT, SHALE_EHOOK. Never
 * cached. Reads all that lies behind the last section.
 */
int table_properties_read(struct table_store *ts, const struct sst_source *src, struct shale_buf *out);
/*
 * Blocks first..first+n-1 into out[], from the cache where they are there, the rest with as few ranged reads as
 * possible; fill says whether to keep them, and blocks that the window adds. What another thread is reading is waited
 * for. On failure out[] is all NULL.
 */
int table_blocks_read(struct table_store *ts, const struct sst_source *src, const struct table_index *index,
                      size_t first, size_t n, bool fill, struct block **out);

/*
 * Write-through: keep a copy of the uncompressed payload of a part that is being written. Without memory, or when it
 * does not fit, it is not kept.
 */
void table_cache_block(struct table_store *ts, struct shale_ulid id, uint64_t offset, struct shale_slice payload);
void table_cache_index(struct table_store *ts, const struct sst_handle *h, struct shale_slice payload);
void table_cache_filter(struct table_store *ts, const struct sst_handle *h, struct shale_slice payload);

/*
 * Read trailer and info of an object whose manifest record is not at hand. (WAL objects; inspection of any SST.)
 * *out is a handle with one reference; id zero for a WAL object.
 */
int table_open_wal(struct table_store *ts, uint64_t wal_id, struct sst_handle **out);
int table_open_compacted(struct table_store *ts, struct shale_ulid id, struct sst_handle **out);

/*
 * Replace out by a whole object, whose checksums fit: one that arrives spoilt, cut or empty is read again
 * (base/reread.h). An object of no bytes is out without bytes. As shale_store_get, SHALE_ECORRUPT, SHALE_EVERSION,
 * SHALE_EHOOK.
 */
int sst_get_object(struct shale_store *store, const char *name, const struct shale_block_transformer *transformer,
                   struct shale_buf *out);
/*
 * Decode a whole object that is already in memory (WAL replay reads objects whole): trailer, info, and then the rows in
 * file order through fn, which may stop with a non-zero value that is returned. name is for errors; transformer may be
 * NULL.
 */
typedef int (*sst_row_fn)(void *arg, const struct shale_row *row);
int sst_scan_object(struct shale_slice object, const char *name, const struct shale_block_transformer *transformer,
                    sst_row_fn fn, void *arg);

#endif
