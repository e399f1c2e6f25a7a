/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/volume_rig.h"

#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/ulid.h"
#include "compact/compaction_job.h"
#include "fs/core/dentry.h"
#include "fs/core/extent.h"
#include "fs/core/key_codec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int __real_shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                         struct shale_db **out);
int __wrap_shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                         struct shale_db **out);

int __wrap_shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                         struct shale_db **out)
{
    struct shale_options mine = *opt;

    mine.compactor.enabled = false;
    mine.l0_max_ssts = 1000;
    mine.commit_gather_us = 0;
    return __real_shale_db_open(store, path, &mine, create, out);
}

void volume_rig_open(struct volume_rig *r, unsigned number)
{
    struct fs_format_options format;
    struct fs_options opt;

    *r = (struct volume_rig){ .fs = NULL };
    snprintf(r->url, sizeof(r->url), "memory://rig%u/vol", number);
    assert_int_equal(shale_store_open(r->url, true, &r->keep, &r->keep_path), 0);
    fs_format_options_init(&format);
    format.block_bytes = 1024;
    format.codec = SHALE_CODEC_NONE;
    assert_int_equal(fs_format(r->url, &format), 0);
    fs_options_init(&opt);
    opt.commit_interval_ms = 60000;
    assert_int_equal(fs_open(r->url, &opt, &r->fs), 0);
    r->fs->volume.chunk_bytes = RIG_CHUNK; /* of the inodes that are made from now on */
}

void volume_rig_close(struct volume_rig *r)
{
    if (r->fs)
        assert_int_equal(fs_close(r->fs), 0);
    r->fs = NULL;
}

void volume_rig_fini(struct volume_rig *r)
{
    volume_rig_close(r);
    shale_store_close(r->keep);
    free(r->keep_path);
}

/* ---- compactions ---- */

void rig_compaction_init(struct rig_compaction *c, const struct manifest *m, size_t first_l0, size_t first_run,
                         size_t n_runs)
{
    struct compaction *spec = &c->spec;

    *c = (struct rig_compaction){ .spec = { .id = ulid_new(1000, NULL), .status = COMPACTION_RUNNING } };
    spec->n_l0 = m->n_l0 - first_l0;
    spec->n_runs = n_runs;
    spec->l0 = mem_calloc(spec->n_l0, sizeof(*spec->l0));
    spec->runs = mem_calloc(n_runs, sizeof(*spec->runs));
    for (size_t i = 0; i < spec->n_l0; i++)
        spec->l0[i] = m->l0[first_l0 + i].id;
    for (size_t i = 0; i < n_runs; i++)
        spec->runs[i] = m->runs[first_run + i].id;
    spec->destination = n_runs ? spec->runs[n_runs - 1] : m->n_runs ? m->runs[0].id + 1 : 0;
}

void rig_compaction_fini(struct rig_compaction *c)
{
    compaction_fini(&c->spec);
}

static int note_progress(void *arg, uint64_t bytes_read, struct sst_handle *const *outputs, size_t n)
{
    struct rig_compaction *c = arg;

    (void)bytes_read;
    assert_int_equal(compaction_set_outputs(&c->spec, outputs, n), 0);
    return c->n_progress > 0 && --c->n_progress == 0 ? -EIO : 0;
}

struct publication {
    const struct compaction *spec;
    const struct sorted_run *run;
};

static int publish_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    struct publication *p = arg;

    (void)next_id;
    return compaction_publish(m, p->spec, p->run);
}

int rig_compaction_run(struct volume_rig *r, struct rig_compaction *c, uint64_t max_sst)
{
    struct shale_db *db = r->fs->db;
    struct manifest_version *base = manifest_store_current(db->manifests), *v = NULL;
    const struct manifest *m = &base->m;
    struct compaction earlier = { .status = COMPACTION_RUNNING };
    struct compaction_window w;
    struct sorted_run run = { 0 };
    struct publication p = { .spec = &c->spec, .run = &run };
    struct compaction_job job;
    int rc;

    assert_int_equal(compaction_window_find(m, &c->spec, &w), 0);
    assert_int_equal(compaction_copy(&earlier, &c->spec), 0);
    job = (struct compaction_job){
        .id = c->spec.id, .destination = c->spec.destination, .l0 = w.n_l0 ? &m->l0[w.l0] : NULL, .n_l0 = w.n_l0,
        .runs = w.n_runs ? &m->runs[w.runs] : NULL, .n_runs = w.n_runs,
        .outputs = earlier.outputs, .n_outputs = earlier.n_outputs, .clock_tick = m->last_l0_clock_tick,
        .is_last_run = compaction_is_last_run(m, &c->spec), .retention_min_seq = m->recent_snapshot_min_seq,
        .max_sst_size = max_sst, .ts = &db->ts, .op = db->opt.merge_operator,
        .filter = r->filter ? r->filter : &r->fs->filter.filter, .progress = note_progress, .progress_arg = c,
    };
    rc = compaction_job_run(&job, &run);
    if (rc == 0) {
        assert_int_equal(manifest_store_update_as(db->manifests, EPOCH_WRITER, publish_edit, &p, &v), 0);
        db_install(db, v);
    }
    sorted_run_fini(&run);
    compaction_fini(&earlier);
    manifest_version_unref(base);
    return rc;
}

void rig_compact_all(struct volume_rig *r)
{
    struct manifest_version *v = manifest_store_current(r->fs->db->manifests);
    struct rig_compaction c;

    rig_compaction_init(&c, &v->m, 0, 0, v->m.n_runs);
    manifest_version_unref(v);
    assert_int_equal(rig_compaction_run(r, &c, 1 << 20), 0);
    rig_compaction_fini(&c);
}

/* ---- reading ---- */

struct dump {
    struct shale_buf text;
    struct inode_rec rec;
    uint64_t ino;
    bool live;
    uint8_t *data; /* rec.size bytes */
    size_t garbage;
};

/* Bytes in hex, zeros at the end left out. */
static void put_bytes(struct shale_buf *out, const uint8_t *data, size_t len)
{
    while (len > 0 && data[len - 1] == 0)
        len--;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(buf_printf(out, "%02x", data[i]), 0);
}

static void end_inode(struct dump *d)
{
    if (d->live && S_ISREG(d->rec.mode)) {
        assert_int_equal(buf_printf(&d->text, " data="), 0);
        put_bytes(&d->text, d->data, (size_t)d->rec.size);
    }
    if (d->live)
        assert_int_equal(buf_printf(&d->text, "\n"), 0);
    d->live = false;
    mem_free(d->data);
    d->data = NULL;
}

static void begin_inode(struct dump *d, uint64_t ino, struct shale_slice value)
{
    end_inode(d);
    d->ino = ino;
    assert_int_equal(inode_rec_decode(value, &d->rec), 0);
    d->live = true;
    d->data = mem_zalloc((size_t)d->rec.size + 1);
    assert_int_equal(buf_printf(&d->text, "%" PRIu64 "%s size=%" PRIu64 " nlink=%u", ino,
                                S_ISDIR(d->rec.mode) ? "/" : "", d->rec.size, d->rec.nlink),
                     0);
}

static void read_chunk(struct dump *d, uint64_t chunk, struct shale_slice value)
{
    uint64_t from = chunk * RIG_CHUNK;
    uint64_t left = from < d->rec.size ? d->rec.size - from : 0;
    uint32_t len = left < RIG_CHUNK ? (uint32_t)left : RIG_CHUNK;

    if (len > 0)
        assert_int_equal(extent_read(value, 0, d->data + from, len, NULL, NULL), 0);
}

static void dump_row(struct dump *d, const struct shale_row *row)
{
    struct fs_key_parts k;
    struct dentry e;

    assert_int_equal(fs_key_parse(row->key, &k), 0);
    if (k.kind == FS_KEY_INODE) {
        begin_inode(d, k.ino, row->value);
    } else if (!d->live || d->ino != k.ino) {
        d->garbage++;
    } else if (k.kind == FS_KEY_CHUNK) {
        if (inode_gen_for_chunk(&d->rec, k.chunk) == k.gen)
            read_chunk(d, k.chunk, row->value);
        else
            d->garbage++;
    } else if (k.kind == FS_KEY_XATTR) {
        assert_int_equal(buf_printf(&d->text, " %.*s=%.*s", (int)k.name.len, k.name.data, (int)row->value.len,
                                    row->value.data),
                         0);
    } else {
        assert_int_equal(dentry_decode(row->value, &e), 0);
        assert_int_equal(buf_printf(&d->text, " %.*s>%" PRIu64, (int)k.name.len, k.name.data, e.ino), 0);
    }
}

char *rig_dump(struct volume_rig *r, const struct shale_snapshot *snap, size_t *garbage)
{
    struct shale_read_options opt = { .snapshot = snap };
    struct shale_iter *it = NULL;
    struct fs_key prefix;
    struct shale_row row;
    struct dump d = { .live = false };
    int rc;

    inode_rec_init(&d.rec);
    assert_int_equal(buf_printf(&d.text, "%s", ""), 0);
    fs_key_inodes(&prefix);
    assert_int_equal(shale_db_scan_prefix(r->fs->db, fs_key_slice(&prefix), &opt, &it), 0);
    while ((rc = shale_iter_next(it, &row)) == 0)
        dump_row(&d, &row);
    assert_int_equal(rc, SHALE_END);
    shale_iter_close(it);
    end_inode(&d);
    inode_rec_fini(&d.rec);
    if (garbage)
        *garbage = d.garbage;
    return (char *)buf_take(&d.text);
}
