/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the parts of an SST from the store: index, filter, stats, blocks. The way of a part:
 *   range read -> checksum -> decompress -> parse -> cache
 * What is looked for in the cache before, and who reads of many that want a part, is table_fetch.c. Errors name the
 * object and the part.
 */

#include "sst/table_parts.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "sst/section_read.h"

#include <assert.h>
#include <errno.h>

static struct section_form form_of(const struct table_store *ts, const struct sst_source *src)
{
    return (struct section_form){ src->sst->info.codec, ts->format.transformer };
}

/* The object that src names, and its store. */
struct part_reader {
    struct table_store *ts;
    const struct sst_source *src;
    struct shale_store *store;
    struct shale_buf name;
};

static int part_reader_init(struct part_reader *r, struct table_store *ts, const struct sst_source *src)
{
    *r = (struct part_reader){ .ts = ts, .src = src, .store = src->is_wal ? ts->wal_store : ts->store };
    return src->is_wal ? table_store_wal_name(ts, src->wal_id, &r->name)
                       : table_store_sst_name(ts, src->sst->id, &r->name);
}

static void part_reader_fini(struct part_reader *r)
{
    shale_buf_fini(&r->name);
}

static const char *object_name(const struct part_reader *r)
{
    return (const char *)r->name.data;
}

/* WAL objects are read once, at recovery, and would only push out what is useful. */
void table_part_keep(struct table_store *ts, const struct sst_source *src, uint64_t offset, struct cache_item *item,
                     bool high)
{
    if (ts->cache && !src->is_wal)
        block_cache_put(ts->cache, (struct cache_key){ .sst = src->sst->id, .offset = offset }, item, high);
}

/* Undo the stored form of a section and replace out by its payload. */
static int decode_section(const struct part_reader *r, const struct sst_part *part, uint8_t *stored, size_t len,
                          struct shale_buf *out)
{
    const struct section_form form = form_of(r->ts, r->src);
    struct shale_slice payload;
    int rc = section_read_decode(r->store, part, stored, len, &form, out, &payload);

    if (rc == 0 && payload.data != out->data)
        rc = buf_set(out, payload);
    return rc;
}

/*
 * Read one section and replace out by its payload.
 * len comes from a manifest or an info section, hence the check; that the object is as long as it
 * says only the store can tell (-ERANGE).
 */
static int read_section(struct table_store *ts, const struct sst_source *src, const char *kind, uint64_t offset,
                        uint64_t len, struct shale_buf *out)
{
    struct shale_buf stored = SHALE_BUF_INIT;
    struct sst_part part = { .kind = kind, .offset = offset };
    struct part_reader r;
    int rc;

    rc = part_reader_init(&r, ts, src);
    if (rc < 0)
        goto out;
    part.object = object_name(&r);
    if (len <= SECTION_CRC_LEN || offset + len < offset) {
        rc = part_err(SHALE_ECORRUPT, &part, "impossible length");
        goto out;
    }
    rc = part_read(r.store, &part, len, &stored);
    if (rc == 0)
        rc = decode_section(&r, &part, stored.data, stored.len, out);
out:
    shale_buf_fini(&stored);
    part_reader_fini(&r);
    return rc;
}

/* The sentence of a parser that refused a payload, with the part in front. */
static int parse_failed(int rc, struct table_store *ts, const struct sst_source *src, const char *kind,
                        uint64_t offset)
{
    struct sst_part part = { .kind = kind, .offset = offset };
    struct part_reader r;

    if (part_reader_init(&r, ts, src) == 0) {
        part.object = object_name(&r);
        (void)part_err_add(rc, &part); /* returns rc */
    }
    part_reader_fini(&r);
    return rc;
}

void table_index_free(struct cache_item *item)
{
    struct table_index *i = container_of(item, struct table_index, item);

    sst_index_fini(&i->x);
    shale_buf_fini(&i->payload);
    mem_free(i);
}

struct table_index *table_index_new(void)
{
    struct table_index *i = mem_zalloc(sizeof(*i));

    if (!i)
        return NULL;
    atomic_init(&i->item.refs, 1);
    i->item.free = table_index_free;
    return i;
}

/* The charge counts what the index takes in memory, which is more than its payload. */
static int index_parse(const struct sst_info *info, struct table_index *i)
{
    int rc = sst_index_decode(slice_of_buf(&i->payload), info->filter_offset, &i->x);

    if (rc < 0)
        return rc;
    i->item.charge = sizeof(*i) + i->payload.cap + i->x.n * (sizeof(*i->x.offsets) + sizeof(*i->x.first_keys) + sizeof(*i->x.heads));
    return 0;
}

int table_index_load(struct table_store *ts, const struct sst_source *src, struct table_index *i)
{
    const struct sst_info *info = &src->sst->info;
    int rc;

    /* An object of zero bytes has no index either. */
    if (src->is_wal && info->index_len == 0)
        return 0;
    rc = read_section(ts, src, "index", info->index_offset, info->index_len, &i->payload);
    if (rc < 0)
        return rc;
    err_clear();
    rc = index_parse(info, i);
    return rc < 0 ? parse_failed(rc, ts, src, "index", info->index_offset) : 0;
}

void table_filter_free(struct cache_item *item)
{
    struct table_filter *f = container_of(item, struct table_filter, item);

    shale_buf_fini(&f->payload);
    mem_free(f);
}

struct table_filter *table_filter_new(void)
{
    struct table_filter *f = mem_zalloc(sizeof(*f));

    if (!f)
        return NULL;
    atomic_init(&f->item.refs, 1);
    f->item.free = table_filter_free;
    return f;
}

static int filter_parse_payload(const struct sst_info *info, struct table_filter *f)
{
    f->item.charge = sizeof(*f) + f->payload.cap;
    return filter_parse(slice_of_buf(&f->payload), (enum filter_format)info->filter_format, &f->f);
}

int table_filter_load(struct table_store *ts, const struct sst_source *src, struct table_filter *f)
{
    const struct sst_info *info = &src->sst->info;
    int rc = read_section(ts, src, "filter", info->filter_offset, info->filter_len, &f->payload);

    if (rc < 0)
        return rc;
    err_clear();
    rc = filter_parse_payload(info, f);
    return rc < 0 ? parse_failed(rc, ts, src, "filter", info->filter_offset) : 0;
}

bool table_meta_is_one(const struct sst_source *src)
{
    const struct sst_info *info = &src->sst->info;

    return !src->is_wal && info->filter_len > SECTION_CRC_LEN && info->index_len > SECTION_CRC_LEN &&
           info->filter_offset + info->filter_len == info->index_offset &&
           info->index_offset + info->index_len > info->index_offset;
}

int table_meta_load(struct table_store *ts, const struct sst_source *src, struct table_index *i,
                    struct table_filter *f)
{
    const struct sst_info *info = &src->sst->info;
    struct sst_part filter = { .kind = "filter", .offset = info->filter_offset };
    struct sst_part index = { .kind = "index", .offset = info->index_offset };
    struct shale_buf stored = SHALE_BUF_INIT;
    struct part_reader r;
    int rc = part_reader_init(&r, ts, src);

    filter.object = index.object = object_name(&r);
    if (rc == 0)
        rc = part_read(r.store, &filter, info->filter_len + info->index_len, &stored);
    if (rc == 0)
        rc = decode_section(&r, &filter, stored.data, info->filter_len, &f->payload);
    if (rc == 0)
        rc = decode_section(&r, &index, stored.data + info->filter_len, info->index_len, &i->payload);
    shale_buf_fini(&stored);
    part_reader_fini(&r);
    if (rc == 0)
        rc = filter_parse_payload(info, f);
    return rc == 0 ? index_parse(info, i) : rc;
}

int table_stats_read(struct table_store *ts, const struct sst_source *src, struct sst_stats *out)
{
    const struct sst_info *info = &src->sst->info;
    struct shale_buf payload = SHALE_BUF_INIT;
    struct sst_stats stats = { 0 };
    int rc = 0;

    if (info->stats_len > 0)
        rc = read_section(ts, src, "stats", info->stats_offset, info->stats_len, &payload);
    if (rc == 0 && info->stats_len > 0) {
        err_clear();
        rc = sst_stats_decode(slice_of_buf(&payload), &stats);
        if (rc < 0)
            (void)parse_failed(rc, ts, src, "stats", info->stats_offset); /* returns rc */
    }
    shale_buf_fini(&payload);
    if (rc == 0)
        *out = stats;
    return rc;
}

void table_block_free(struct cache_item *item)
{
    mem_free(container_of(item, struct block, item));
}

static int block_new(struct shale_slice payload, struct block **out)
{
    struct block *b = mem_alloc(size_add(sizeof(*b), payload.len));

    if (!b)
        return -ENOMEM;
    atomic_init(&b->item.refs, 1);
    b->item.charge = sizeof(*b) + payload.len;
    b->item.free = table_block_free;
    atomic_init(&b->along, false);
    b->len = payload.len;
    if (payload.len > 0)
        memcpy(b->data, payload.data, payload.len);
    *out = b;
    return 0;
}

/* Blocks that are not in the cache, as runs of neighbours; one range each. */
struct block_run {
    size_t first, n;
};

/*   have:  B . . B . B         runs: [1, 2] and [4] */
static size_t find_runs(struct block *const *have, size_t first, size_t n, struct block_run *runs)
{
    size_t n_runs = 0;

    for (size_t i = 0; i < n; i++) {
        if (have[i])
            continue;
        if (i > 0 && !have[i - 1])
            runs[n_runs - 1].n++;
        else
            runs[n_runs++] = (struct block_run){ .first = first + i, .n = 1 };
    }
    return n_runs;
}

static bool is_along(const struct blocks_along *a, size_t i)
{
    return a && (i < a->wanted || i - a->wanted >= a->n_wanted);
}

static bool is_left_out(const struct blocks_along *a, size_t i)
{
    return is_along(a, i) && a->left == 0;
}

static void count_along(struct blocks_along *a, size_t i, uint64_t len)
{
    if (is_along(a, i))
        a->left -= len < a->left ? len : a->left;
}

/*
 * Cut the bytes of a run into blocks, which replace NULLs in out (whose first is block first of the run).
 * On failure the blocks made so far stay in out, for the caller to drop with the rest.
 */
static int decode_run(const struct part_reader *r, const struct sst_index *x, const struct block_run *run,
                      uint8_t *bytes, struct blocks_along *along, bool fill, struct shale_buf *scratch,
                      struct block **out)
{
    const struct section_form form = form_of(r->ts, r->src);

    for (size_t k = 0; k < run->n; k++) {
        size_t i = run->first + k;
        uint64_t at = x->offsets[i] - x->offsets[run->first];
        struct sst_part part = { .object = object_name(r), .kind = "block", .number = i, .offset = x->offsets[i] };
        size_t len = (size_t)(table_block_end(r->src, x, i) - x->offsets[i]);
        struct shale_slice payload;
        int rc;

        if (is_left_out(along, i))
            continue;
        rc = section_read_decode(r->store, &part, bytes + at, len, &form, scratch, &payload);
        if (rc == 0)
            rc = block_new(payload, &out[k]);
        if (rc < 0)
            return rc;
        count_along(along, i, payload.len);
        if (fill)
            table_part_keep(r->ts, r->src, x->offsets[i], &out[k]->item, false);
    }
    return 0;
}

/*
 * Read all runs at once.
 * A single run, the usual case, needs no arrays.
 */
static int fetch_runs(const struct part_reader *r, const struct sst_index *x, const struct block_run *runs,
                      size_t n_runs, struct shale_range_get *gets)
{
    int rc;

    for (size_t i = 0; i < n_runs; i++) {
        gets[i].name = object_name(r);
        gets[i].offset = x->offsets[runs[i].first];
        gets[i].len = table_block_end(r->src, x, runs[i].first + runs[i].n - 1) - gets[i].offset;
    }
    if (n_runs == 1) {
        gets->rc = shale_store_get_range(r->store, gets->name, gets->offset, gets->len, &gets->out);
        rc = 0;
    } else {
        rc = shale_store_get_ranges(r->store, gets, n_runs);
    }
    for (size_t i = 0; i < n_runs; i++) {
        struct sst_part part = { .object = gets[i].name, .kind = "block", .number = runs[i].first,
                                 .offset = gets[i].offset };

        if (rc == 0 && gets[i].rc < 0)
            return part_store_err(gets[i].rc, &part);
    }
    return rc;
}

/*
 * Compressed blocks share one scratch buffer; each block is copied out of it at its exact size.
 */
int table_blocks_load(struct table_store *ts, const struct sst_source *src, const struct sst_index *x, size_t first,
                      size_t n, struct blocks_along *along, bool fill, struct block **out)
{
    struct block_run one, *runs = &one;
    struct shale_range_get get_one = { 0 }, *gets = &get_one;
    struct shale_buf scratch = SHALE_BUF_INIT;
    struct part_reader r;
    size_t n_runs = 0;
    int rc;

    rc = part_reader_init(&r, ts, src);
    if (rc == 0 && n > 1) {
        runs = mem_calloc(n, sizeof(*runs));
        rc = runs ? 0 : -ENOMEM;
    }
    if (rc < 0)
        goto out;
    n_runs = find_runs(out, first, n, runs);
    if (n_runs > 1)
        gets = mem_calloc(n_runs, sizeof(*gets));
    rc = gets ? fetch_runs(&r, x, runs, n_runs, gets) : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < n_runs; i++)
        rc = decode_run(&r, x, &runs[i], gets[i].out.data, along, fill, &scratch,
                        out + (runs[i].first - first));
out:
    for (size_t i = 0; gets && i < n_runs; i++)
        shale_buf_fini(&gets[i].out);
    if (gets != &get_one)
        mem_free(gets);
    if (runs != &one)
        mem_free(runs);
    shale_buf_fini(&scratch);
    part_reader_fini(&r);
    return rc;
}

void table_cache_block(struct table_store *ts, struct shale_ulid id, uint64_t offset, struct shale_slice payload)
{
    struct block *b = NULL;

    if (!ts->cache || block_new(payload, &b) < 0)
        return;
    block_cache_put(ts->cache, (struct cache_key){ .sst = id, .offset = offset }, &b->item, false);
    block_unref(b);
}

/*
 * Parsed from a copy: an index that cannot be parsed here would be found on reading as well, so
 * failures are dropped.
 */
void table_cache_index(struct table_store *ts, const struct sst_handle *h, struct shale_slice payload)
{
    struct sst_source src = sst_source_compacted(h);
    struct table_index *i = ts->cache ? table_index_new() : NULL;

    if (i && buf_set(&i->payload, payload) == 0 && index_parse(&h->info, i) == 0)
        table_part_keep(ts, &src, h->info.index_offset, &i->item, true);
    table_index_unref(i);
}

void table_cache_filter(struct table_store *ts, const struct sst_handle *h, struct shale_slice payload)
{
    struct sst_source src = sst_source_compacted(h);
    struct table_filter *f = ts->cache ? table_filter_new() : NULL;

    if (f && buf_set(&f->payload, payload) == 0 && filter_parse_payload(&h->info, f) == 0)
        table_part_keep(ts, &src, h->info.filter_offset, &f->item, true);
    table_filter_unref(f);
}
