/* SPDX-License-Identifier: Apache-2.0 */
#include "db/inspect.h"

#include "base/alloc.h"
#include "base/err.h"
#include "db/tree.h"
#include "manifest/compactions_store.h"
#include "object/paths.h"
#include "object/store_retry.h"
#include "sst/sst_iter.h"

#include <errno.h>
#include <inttypes.h>

void shale_inspect_close(struct shale_inspect *in)
{
    if (!in)
        return;
    manifest_store_free(in->manifests);
    if (in->has_ts)
        table_store_fini(&in->ts);
    shale_store_close(in->wal_store);
    shale_store_close(in->store);
    mem_free(in);
}

static int open_layers(struct shale_inspect *in, struct shale_store *store, const char *path,
                       const struct shale_inspect_options *opt)
{
    const struct sst_format format = { .transformer = opt->block_transformer }; /* nothing is written */
    int rc = store_retry_new(store, NULL, &in->store);

    if (rc == 0 && opt->wal_store)
        rc = store_retry_new(opt->wal_store, NULL, &in->wal_store);
    if (rc == 0)
        rc = table_store_init(&in->ts, in->store, in->wal_store ? in->wal_store : in->store, path, &format, NULL);
    if (rc < 0)
        return rc;
    in->has_ts = true;
    return manifest_store_new(in->store, path, 1, &in->manifests);
}

int shale_inspect_open(struct shale_store *store, const char *path, const struct shale_inspect_options *opt,
                       struct shale_inspect **out)
{
    const struct shale_inspect_options defaults = { 0 };
    struct shale_inspect *in;
    int rc = path_check_root(path);

    if (rc < 0)
        return rc;
    in = mem_zalloc(sizeof(*in));
    if (!in)
        return -ENOMEM;
    rc = open_layers(in, store, path, opt ? opt : &defaults);
    if (rc < 0) {
        shale_inspect_close(in);
        return rc;
    }
    *out = in;
    return 0;
}

/* A listing that is passed on, without what is no object of the kind. */
struct listing {
    const char *root;
    uint64_t first, end;
    shale_wal_fn wal;
    shale_sst_fn sst;
    void *arg;
};

static int list_wal(void *arg, const char *name, const struct shale_object_meta *meta)
{
    const struct listing *l = arg;
    uint64_t id;

    if (!path_parse_numbered(l->root, PATH_WAL, name, &id) || id < l->first || id >= l->end)
        return 0;
    return l->wal(l->arg, id, meta);
}

static int list_sst(void *arg, const char *name, const struct shale_object_meta *meta)
{
    const struct listing *l = arg;
    struct shale_ulid id;

    return path_parse_ulid(l->root, name, &id) ? l->sst(l->arg, id, meta) : 0;
}

int shale_inspect_wal_list(struct shale_inspect *in, uint64_t first, uint64_t end, shale_wal_fn fn, void *arg)
{
    struct listing l = { .root = in->ts.root, .first = first, .end = end, .wal = fn, .arg = arg };
    char prefix[PATH_NAME_MAX], after[PATH_NAME_MAX];
    int rc = path_dir(in->ts.root, PATH_WAL, prefix);

    if (rc == 0 && first > 0)
        rc = path_wal(in->ts.root, first - 1, after);
    return rc < 0 ? rc : shale_store_list(in->ts.wal_store, prefix, first > 0 ? after : NULL, list_wal, &l);
}

int shale_inspect_wal_meta(struct shale_inspect *in, uint64_t id, struct shale_object_meta *out)
{
    char name[PATH_NAME_MAX];
    int rc = path_wal(in->ts.root, id, name);

    return rc < 0 ? rc : shale_store_head(in->ts.wal_store, name, out);
}

int shale_inspect_wal_rows(struct shale_inspect *in, uint64_t id, shale_row_fn fn, void *arg)
{
    struct shale_buf object = SHALE_BUF_INIT;
    char name[PATH_NAME_MAX];
    int rc = path_wal(in->ts.root, id, name);

    if (rc == 0)
        rc = sst_get_object(in->ts.wal_store, name, in->ts.format.transformer, &object);
    if (rc == 0 && object.len > 0) /* later versions of SlateDB fence with an object of no bytes */
        rc = sst_scan_object(slice_of_buf(&object), name, in->ts.format.transformer, fn, arg);
    shale_buf_fini(&object);
    return rc;
}

int shale_inspect_sst_list(struct shale_inspect *in, shale_sst_fn fn, void *arg)
{
    struct listing l = { .root = in->ts.root, .sst = fn, .arg = arg };
    char prefix[PATH_NAME_MAX];
    int rc = path_dir(in->ts.root, PATH_COMPACTED, prefix);

    return rc < 0 ? rc : shale_store_list(in->store, prefix, NULL, list_sst, &l);
}

/* Learn where the SSTs lie that the database shares with others. One that is no database shares none. */
static int find_externals(struct shale_inspect *in)
{
    struct manifest_version *v = NULL;
    int rc = manifest_store_refresh(in->manifests, &v);

    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        rc = table_store_set_externals(&in->ts, &v->m);
    manifest_version_unref(v);
    return rc;
}

/* -ENOENT, there never was a compactor, leaves list empty. */
static int load_compactions(struct shale_inspect *in, struct compactions *list)
{
    struct compactions_store s;
    int rc = compactions_store_init(&s, in->store, in->ts.root);

    if (rc == 0)
        rc = compactions_store_load(&s, list);
    compactions_store_fini(&s);
    return rc == -ENOENT ? 0 : rc;
}

/* The list first: a compaction that is published meanwhile has lost its sources then, and is left out. */
int shale_inspect_tree(struct shale_inspect *in, struct shale_tree **out)
{
    struct manifest_version *v = NULL;
    struct compactions list = { 0 };
    int rc = load_compactions(in, &list);

    if (rc == 0)
        rc = manifest_store_refresh(in->manifests, &v);
    if (rc == -ENOENT)
        rc = err_set(rc, "there is no database at '%s'", in->ts.root);
    if (rc == 0)
        rc = tree_new(v, &list, out);
    manifest_version_unref(v);
    compactions_fini(&list);
    return rc;
}

int shale_inspect_sst(struct shale_inspect *in, struct shale_ulid id, struct shale_sst **out)
{
    struct shale_sst *s = mem_zalloc(sizeof(*s));
    struct sst_source src;
    int rc = -ENOMEM;

    if (!s)
        return rc;
    s->in = in;
    rc = find_externals(in);
    if (rc == 0)
        rc = table_open_compacted(&in->ts, id, &s->handle);
    if (rc == 0 && s->handle->info.type != SST_COMPACTED)
        rc = err_set(SHALE_ECORRUPT, "what is named as a compacted SST is a WAL object");
    if (rc == 0) {
        src = sst_source_compacted(s->handle);
        rc = table_index_read(&in->ts, &src, &s->index);
    }
    if (rc < 0) {
        shale_sst_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void shale_sst_close(struct shale_sst *s)
{
    if (!s)
        return;
    table_index_unref(s->index);
    if (s->handle)
        sst_handle_unref(s->handle);
    mem_free(s);
}

void shale_sst_info(const struct shale_sst *s, struct shale_sst_info *out)
{
    const struct sst_info *i = &s->handle->info;

    *out = (struct shale_sst_info){
        .version = s->handle->version,
        .codec = i->codec,
        .first_key = slice_of_buf(&i->first),
        .last_key = slice_of_buf(&i->last),
        .data_bytes = i->filter_offset,
        .index_bytes = i->index_len,
        .filter_bytes = i->filter_len,
        .stats_bytes = i->stats_len,
        .n_blocks = s->index->x.n,
    };
}

int shale_sst_counts(struct shale_sst *s, struct shale_sst_counts *out)
{
    struct sst_source src = sst_source_compacted(s->handle);
    struct sst_stats stats = { 0 };
    int rc;

    if (s->handle->info.stats_len == 0)
        return err_set(-ENOENT, "the SST has no statistics");
    rc = table_stats_read(&s->in->ts, &src, &stats);
    if (rc == 0)
        *out = (struct shale_sst_counts){ stats.puts, stats.deletes, stats.merges, stats.raw_key_bytes,
                                          stats.raw_value_bytes };
    sst_stats_fini(&stats);
    return rc;
}

int shale_sst_block(const struct shale_sst *s, size_t i, struct shale_sst_block *out)
{
    const struct sst_index *x = &s->index->x;
    uint64_t end;

    if (i >= x->n)
        return err_set(-EINVAL, "block %zu of an SST that has %zu", i, x->n);
    end = i + 1 < x->n ? x->offsets[i + 1] : s->handle->info.filter_offset;
    *out = (struct shale_sst_block){ .offset = x->offsets[i], .len = end - x->offsets[i], .separator = x->first_keys[i] };
    return 0;
}

int shale_sst_rows(struct shale_sst *s, shale_row_fn fn, void *arg)
{
    const struct sst_view view = { .id = s->handle->id, .sst = s->handle };
    const struct sst_iter_options opt = { .order = ITER_ASC };
    const struct key_range all = { 0 };
    struct shale_row row;
    struct iter *it;
    int rc = sst_iter_new(&s->in->ts, &view, &all, &opt, &it);

    if (rc < 0)
        return rc;
    while ((rc = iter_next(it, &row)) == 0) {
        rc = fn(arg, &row);
        if (rc != 0)
            break;
    }
    iter_close(it);
    return rc == SHALE_END ? 0 : rc;
}

/* The newest manifest. */
static int newest(struct shale_inspect *in, struct manifest_version **v)
{
    return manifest_store_refresh(in->manifests, v);
}

int shale_inspect_time_of_seq(struct shale_inspect *in, uint64_t seq, bool round_up, int64_t *time_s)
{
    struct manifest_version *v = NULL;
    int rc = newest(in, &v);

    if (rc == 0 && !seq_tracker_time_of(&v->m.tracker, seq, round_up, time_s))
        rc = err_set(-ERANGE, "the manifest knows no time for sequence number %" PRIu64, seq);
    manifest_version_unref(v);
    return rc;
}

int shale_inspect_seq_at_time(struct shale_inspect *in, int64_t time_s, bool round_up, uint64_t *seq)
{
    struct manifest_version *v = NULL;
    int rc = newest(in, &v);

    if (rc == 0 && !seq_tracker_seq_at(&v->m.tracker, time_s, round_up, seq))
        rc = err_set(-ERANGE, "the manifest knows no sequence number for time %" PRId64, time_s);
    manifest_version_unref(v);
    return rc;
}
