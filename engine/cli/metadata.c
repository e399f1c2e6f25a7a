/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/metadata.h"

#include "base/buf.h"
#include "format/key_range.h"

#include <time.h>

static void print_ulid(struct json *j, const char *key, struct shale_ulid id)
{
    char text[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    json_string(j, key, text);
}

static void print_uuid(struct json *j, const char *key, struct shale_uuid id)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    json_string(j, key, text);
}

static void print_compacted_id(struct json *j, const char *key, struct shale_ulid id)
{
    json_object(j, key);
    print_ulid(j, "Compacted", id);
    json_object_end(j);
}

/* Unix seconds as RFC 3339; 0 is null. */
static void print_time(struct json *j, const char *key, uint32_t s)
{
    char text[32];
    time_t t = s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_string(j, key, text);
}

static void print_info(struct json *j, const char *key, const struct sst_info *i)
{
    static const char *const codecs[] = { NULL, "Snappy", "Zlib", "Lz4", "Zstd" };

    json_object(j, key);
    json_string(j, "compression_codec", codecs[i->codec]);
    json_u64(j, "filter_len", i->filter_len);
    json_u64(j, "filter_offset", i->filter_offset);
    if (i->has_first)
        json_bytes(j, "first_entry", slice_of_buf(&i->first));
    else
        json_string(j, "first_entry", NULL);
    json_u64(j, "index_len", i->index_len);
    json_u64(j, "index_offset", i->index_offset);
    if (i->has_last)
        json_bytes(j, "last_entry", slice_of_buf(&i->last));
    else
        json_string(j, "last_entry", NULL);
    json_string(j, "sst_type", i->type == SST_WAL ? "Wal" : "Compacted");
    json_u64(j, "stats_len", i->stats_len);
    json_u64(j, "stats_offset", i->stats_offset);
    json_object_end(j);
}

static void print_handle(struct json *j, const char *key, const struct sst_handle *h)
{
    json_object(j, key);
    json_u64(j, "format_version", h->version);
    print_compacted_id(j, "id", h->id);
    print_info(j, "info", &h->info);
    json_object_end(j);
}

static void print_bound(struct json *j, const char *key, enum key_bound_kind kind, struct shale_slice k)
{
    if (kind == KEY_UNBOUNDED) {
        json_string(j, key, "Unbounded");
        return;
    }
    json_object(j, key);
    json_bytes(j, kind == KEY_INCLUDED ? "Included" : "Excluded", k);
    json_object_end(j);
}

static void print_range(struct json *j, const char *key, const struct key_range *r)
{
    json_object(j, key);
    print_bound(j, "end", r->to_kind, r->to);
    print_bound(j, "start", r->from_kind, r->from);
    json_object_end(j);
}

static void print_view(struct json *j, const struct sst_view *v)
{
    struct key_range effective = sst_view_range(v);

    json_object(j, NULL);
    print_range(j, "effective_range", &effective);
    print_ulid(j, "id", v->id);
    print_handle(j, "sst", v->sst);
    if (v->has_range) {
        struct key_range visible = { .from_kind = v->start.kind,
                                     .to_kind = v->end.kind,
                                     .from = slice_of_buf(&v->start.key),
                                     .to = slice_of_buf(&v->end.key) };

        print_range(j, "visible_range", &visible);
    } else {
        json_string(j, "visible_range", NULL);
    }
    json_object_end(j);
}

static void print_views(struct json *j, const char *key, const struct sst_view *v, size_t n)
{
    json_array(j, key);
    for (size_t i = 0; i < n; i++)
        print_view(j, &v[i]);
    json_array_end(j);
}

static void print_checkpoints(struct json *j, const struct manifest *m)
{
    json_array(j, "checkpoints");
    for (size_t i = 0; i < m->n_checkpoints; i++) {
        const struct checkpoint *c = &m->checkpoints[i];

        json_object(j, NULL);
        print_time(j, "create_time", c->create_s);
        if (c->expire_s)
            print_time(j, "expire_time", c->expire_s);
        else
            json_string(j, "expire_time", NULL);
        print_uuid(j, "id", c->id);
        json_u64(j, "manifest_id", c->manifest_id);
        json_string(j, "name", c->name);
        json_object_end(j);
    }
    json_array_end(j);
}

static void print_externals(struct json *j, const struct manifest *m)
{
    json_array(j, "external_dbs");
    for (size_t i = 0; i < m->n_externals; i++) {
        const struct external_db *e = &m->externals[i];

        json_object(j, NULL);
        if (e->has_final)
            print_uuid(j, "final_checkpoint_id", e->final_checkpoint);
        else
            json_string(j, "final_checkpoint_id", NULL);
        json_string(j, "path", e->path);
        print_uuid(j, "source_checkpoint_id", e->source_checkpoint);
        json_array(j, "sst_ids");
        for (size_t k = 0; k < e->n_ssts; k++)
            print_compacted_id(j, NULL, e->ssts[k]);
        json_array_end(j);
        json_object_end(j);
    }
    json_array_end(j);
}

static int print_core(struct json *j, const struct manifest *m)
{
    struct shale_buf tracker = SHALE_BUF_INIT;
    int rc = seq_tracker_encode(&m->tracker, &tracker);

    if (rc < 0)
        return rc;
    json_object(j, "core");
    print_checkpoints(j, m);
    json_array(j, "compacted");
    for (size_t i = 0; i < m->n_runs; i++) {
        json_object(j, NULL);
        json_u64(j, "id", m->runs[i].id);
        print_views(j, "sst_views", m->runs[i].ssts, m->runs[i].n);
        json_object_end(j);
    }
    json_array_end(j);
    json_bool(j, "initialized", m->initialized);
    print_views(j, "l0", m->l0, m->n_l0);
    if (m->has_l0_last_compacted) {
        print_ulid(j, "last_compacted_l0_sst_id", m->l0_last_compacted);
        print_ulid(j, "last_compacted_l0_sst_view_id", m->l0_last_compacted);
    } else {
        json_string(j, "last_compacted_l0_sst_id", NULL);
        json_string(j, "last_compacted_l0_sst_view_id", NULL);
    }
    json_i64(j, "last_l0_clock_tick", m->last_l0_clock_tick);
    json_u64(j, "last_l0_seq", m->last_l0_seq);
    json_u64(j, "next_wal_sst_id", m->wal_id_last_seen + 1);
    json_u64(j, "recent_snapshot_min_seq", m->recent_snapshot_min_seq);
    json_u64(j, "replay_after_wal_id", m->replay_after_wal_id);
    json_bytes(j, "sequence_tracker", slice_of_buf(&tracker));
    json_string(j, "wal_object_store_uri", m->wal_store_uri);
    json_object_end(j);
    shale_buf_fini(&tracker);
    return 0;
}

int metadata_print_manifest(struct json *j, uint64_t id, const struct manifest *m)
{
    int rc;

    json_array(j, NULL);
    json_u64(j, NULL, id);
    json_object(j, NULL);
    json_u64(j, "compactor_epoch", m->compactor_epoch);
    rc = print_core(j, m);
    print_externals(j, m);
    json_u64(j, "writer_epoch", m->writer_epoch);
    json_object_end(j);
    json_array_end(j);
    return rc;
}

/* Named by its id, as a member of an object, or alone. */
static void print_record(struct json *j, const struct compaction *c, bool named)
{
    static const char *const status[] = { "Submitted", "Running", "Completed", "Failed" };
    char id[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(c->id, id);
    json_object(j, named ? id : NULL);
    json_u64(j, "bytes_processed", 0);
    json_string(j, "id", id);
    json_array(j, "output_ssts");
    for (size_t i = 0; i < c->n_outputs; i++)
        print_handle(j, NULL, c->outputs[i]);
    json_array_end(j);
    json_object(j, "spec");
    json_u64(j, "destination", c->destination);
    json_array(j, "sources");
    for (size_t i = 0; i < c->n_l0; i++) {
        json_object(j, NULL);
        print_ulid(j, "SstView", c->l0[i]);
        json_object_end(j);
    }
    for (size_t i = 0; i < c->n_runs; i++) {
        json_object(j, NULL);
        json_u64(j, "SortedRun", c->runs[i]);
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
    json_string(j, "status", status[c->status]);
    json_object_end(j);
}

int metadata_print_compactions(struct json *j, uint64_t id, const struct compactions *c)
{
    json_array(j, NULL);
    json_u64(j, NULL, id);
    json_object(j, NULL);
    json_u64(j, "compactor_epoch", c->compactor_epoch);
    json_object(j, "core");
    json_object(j, "recent_compactions");
    for (size_t i = 0; i < c->n; i++)
        print_record(j, &c->list[i], true);
    json_object_end(j);
    json_object_end(j);
    json_object_end(j);
    json_array_end(j);
    return 0;
}

void metadata_print_compaction(struct json *j, const struct compaction *c)
{
    print_record(j, c, false);
}
