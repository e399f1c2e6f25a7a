/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a volume: an empty database with the root directory and the counter of inode numbers, then the volume object.
 * The object comes last, so a format that was cut short leaves nothing that can be mounted.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ulid.h"
#include "fs/core/txn.h"
#include "fs/core/volume_open.h"

#include <errno.h>
#include <stdlib.h>

void fs_format_options_init(struct fs_format_options *opt)
{
    *opt = (struct fs_format_options){
        .chunk_bytes = 1u << 20,
        .block_bytes = 16u << 10,
        .codec = SHALE_CODEC_LZ4,
        .mode = 0755,
    };
}

/* The rows of an empty volume. */
static int write_root(struct fs *fs, const struct fs_format_options *opt)
{
    int64_t now = clock_wall_ns();
    struct inode_rec rec;
    struct fs_key key;
    uint8_t next[8];
    struct txn t;
    int rc;

    inode_rec_init(&rec);
    rec.mode = S_IFDIR | (opt->mode & 07777);
    rec.uid = opt->uid;
    rec.gid = opt->gid;
    rec.nlink = 2;
    rec.parent = FS_ROOT_INO;
    rec.atime_ns = rec.mtime_ns = rec.ctime_ns = rec.btime_ns = now;
    put_u64le(next, FS_ROOT_INO + 1);
    txn_init(&t, fs);
    txn_put_inode(&t, FS_ROOT_INO, &rec);
    txn_fail(&t, fs_key_counter(&key, "ino"));
    txn_put(&t, &key, slice_of(next, sizeof(next)));
    txn_count(&t, FS_COUNT_INODES, 1);
    rc = txn_commit(&t);
    txn_fini(&t);
    inode_rec_fini(&rec);
    return rc;
}

/* Of formats that race one makes the database, and goes on. */
static int only_fresh(void *arg, bool fresh)
{
    (void)arg;
    return fresh ? 0 : err_set(-EEXIST, "somebody else has just begun to make a volume there");
}

/* Its close makes the rows durable before there is an object that says that this is a volume. */
static int make_database(struct fs *fs, const struct fs_format_options *opt)
{
    struct shale_options db_opt;
    int rc, close_rc;

    volume_db_options(fs, &db_opt);
    db_opt.compactor.enabled = false;
    db_opt.before_claim = only_fresh;
    rc = shale_db_open(fs->store, fs->path, &db_opt, true, &fs->db);
    if (rc == 0)
        rc = write_root(fs, opt);
    close_rc = shale_db_close(fs->db, rc == 0 ? SHALE_CLOSE_FLUSH : SHALE_CLOSE_ABANDON);
    fs->db = NULL;
    return rc < 0 ? rc : close_rc;
}

struct finding {
    size_t prefix_len;
    char *name; /* owned */
};

/* The first one is enough. What a probe left that was killed is no reason to refuse. */
static int note_object(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct finding *f = arg;

    (void)meta;
    if (strncmp(name + f->prefix_len, "probe-", strlen("probe-")) == 0)
        return 0;
    f->name = strdup(name);
    return SHALE_END;
}

/* Refuse a place that holds anything already. */
static int check_empty(struct fs *fs, const char *url)
{
    struct shale_buf prefix = SHALE_BUF_INIT;
    struct finding found = { 0 };
    int rc = buf_printf(&prefix, "%s%s", fs->path, fs->path[0] ? "/" : "");

    found.prefix_len = prefix.len;
    if (rc == 0)
        rc = shale_store_list(fs->patient, (const char *)prefix.data, NULL, note_object, &found);
    if (rc == SHALE_END)
        rc = err_set(-EEXIST, "%s is not empty: it holds %s; format makes a volume only where there is nothing", url,
                     found.name ? found.name : "objects");
    free(found.name);
    shale_buf_fini(&prefix);
    return rc;
}

/* Before anything is written that stays. */
static int check_store(struct fs *fs, const struct fs_format_options *opt)
{
    struct shale_probe_report report;
    int rc = shale_store_probe(fs->patient, fs->path, &report);

    for (int c = 0; c < SHALE_PROBE_N_CHECKS && opt->warn; c++)
        if (report.checks[c].state == SHALE_PROBE_WARNS)
            opt->warn(report.checks[c].name, report.checks[c].text);
    return rc;
}

static int describe_volume(const struct fs_format_options *opt, struct volume *v)
{
    *v = (struct volume){ .uuid = uuid_new(NULL),
                          .chunk_bytes = opt->chunk_bytes,
                          .block_bytes = opt->block_bytes,
                          .codec = opt->codec,
                          .created_ms = clock_wall_ms() };
    if (opt->name && strlen(opt->name) > VOLUME_NAME_MAX)
        return err_set(-ENAMETOOLONG, "the volume's name is longer than %u bytes", VOLUME_NAME_MAX);
    if (opt->name)
        strcpy(v->name, opt->name);
    return 0;
}

int fs_format(const char *url, const struct fs_format_options *opt)
{
    struct fs *fs = mem_zalloc(sizeof(*fs));
    int rc;

    if (!fs)
        return -ENOMEM;
    fs_options_init(&fs->opt);
    fs->opt.store = opt->store;
    mutex_init(&fs->counters_mu, FS_RANK_COUNTERS, "volume counters");
    mutex_init(&fs->dirty_mu, FS_RANK_DIRTY_LIST, "dirty inodes");
    rc = describe_volume(opt, &fs->volume);
    if (rc == 0)
        rc = volume_open_store(fs, url, true);
    if (rc == 0)
        rc = check_empty(fs, url);
    if (rc == 0)
        rc = check_store(fs, opt);
    /* The volume object comes last: without it there is no volume to mount. */
    if (rc == 0)
        rc = make_database(fs, opt);
    if (rc == 0)
        rc = volume_create(fs->patient, fs->path, &fs->volume);
    mutex_fini(&fs->dirty_mu);
    mutex_fini(&fs->counters_mu);
    volume_close_store(fs);
    shale_batch_free(fs->spare_batch);
    mem_free(fs);
    return rc;
}
