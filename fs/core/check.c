/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/check.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/err.h"
#include "fs/core/chunks.h"
#include "fs/core/dentry.h"
#include "fs/core/rows.h"
#include "fs/core/volume_open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

/*
 * The rows of one inode are neighbours and its own comes first, so one scan sees everything. What has to be compared
 * across inodes is kept for each inode in a table ordered by number: links found, parent found, and what its row said.
 */
struct seen {
    uint64_t ino;
    uint32_t mode, nlink;
    uint64_t n_entries, parent;   /* of a directory, as its row says */
    uint64_t links;               /* entries that name it */
    uint64_t found_entries, subdirs;
    bool is_orphan;
};

struct check {
    const struct fs_check_options *opt;
    void (*report)(void *arg, const char *line);
    void *arg;
    struct fs_check_result *res;
    struct fs fs; /* only what reading chunks needs */
    struct seen *v;
    size_t n, cap;
    struct inode_rec rec; /* of the inode whose rows are being read */
    uint64_t rec_ino;
    bool rec_live;
    uint64_t sum_blocks;
    int64_t counters[FS_N_COUNTERS];
    uint64_t next_ino, max_ino;
};

static void problem(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void problem(struct check *c, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    c->res->problems++;
    if (!c->opt->quiet)
        c->report(c->arg, line);
}

/* Where ino stands or would. What comes in order is found at the end, at once. */
static size_t seen_bound(const struct check *c, uint64_t ino)
{
    size_t lo = 0, hi = c->n;

    if (hi > 0 && c->v[hi - 1].ino < ino)
        return hi;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (c->v[mid].ino < ino)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* NULL: no such inode has a row. */
static struct seen *seen_find(struct check *c, uint64_t ino)
{
    size_t i = seen_bound(c, ino);

    return i < c->n && c->v[i].ino == ino ? &c->v[i] : NULL;
}

/* Inode rows come in ascending order, so this appends. */
static struct seen *seen_add(struct check *c, uint64_t ino)
{
    if (vec_reserve(&c->v, &c->cap, c->n + 1, sizeof(*c->v)) < 0)
        return NULL;
    c->v[c->n] = (struct seen){ .ino = ino };
    return &c->v[c->n++];
}

/*
 * The passes: counters; all rows of inodes, in order; entries once more, now that every inode is known; orphans; and
 * then what was added up. Each goes over the volume once, and memory is a few dozen bytes for each inode.
 */
static int settle_blocks(struct check *c);

/* One that cannot be decoded is told of, and its other rows then count as garbage: nothing can be said about them. */
static int check_inode_row(struct check *c, uint64_t ino, struct shale_slice value)
{
    struct seen *s;
    int rc = settle_blocks(c);

    if (rc == 0)
        rc = inode_rec_decode(value, &c->rec);
    if (rc == SHALE_ECORRUPT) {
        problem(c, "inode %" PRIu64 ": %s", ino, shale_errmsg());
        return 0;
    }
    if (rc < 0)
        return rc;
    s = seen_add(c, ino);
    if (!s)
        return -ENOMEM;
    s->mode = c->rec.mode;
    s->nlink = c->rec.nlink;
    s->n_entries = c->rec.n_entries;
    s->parent = c->rec.parent;
    c->rec_ino = ino;
    c->rec_live = true;
    c->sum_blocks = 0;
    c->res->inodes++;
    c->res->directories += S_ISDIR(c->rec.mode);
    c->res->bytes += c->rec.blocks * 512;
    if (ino > c->max_ino)
        c->max_ino = ino;
    return 0;
}

/* What it names may not be known yet; that is for the second pass. */
static void check_dentry(struct check *c, const struct fs_key_parts *k, struct shale_slice value)
{
    struct seen *dir = &c->v[c->n - 1];
    struct dentry d;

    if (dentry_decode(value, &d) < 0) {
        problem(c, "directory %" PRIu64 ": an entry: %s", k->ino, shale_errmsg());
        return;
    }
    c->res->entries++;
    if (!S_ISDIR(dir->mode))
        problem(c, "inode %" PRIu64 " is no directory and has an entry", k->ino);
    dir->found_entries++;
    dir->subdirs += S_ISDIR(d.type);
}

/* Rows of another generation were cut off. Data behind the end would come to light when the file grows. */
static void check_chunk(struct check *c, const struct fs_key_parts *k, struct shale_slice value)
{
    struct extent_list l = EXTENT_LIST_INIT;
    uint64_t end;

    if (inode_gen_for_chunk(&c->rec, k->chunk) != k->gen) {
        c->res->garbage++;
        return;
    }
    c->res->chunks++;
    if (extent_list_decode(value, &l) < 0) {
        problem(c, "inode %" PRIu64 ", chunk %" PRIu64 ": %s", k->ino, k->chunk, shale_errmsg());
        return;
    }
    c->sum_blocks += blocks_for(extent_data_bytes(&l, 0, UINT32_MAX));
    end = k->chunk * c->fs.volume.chunk_bytes;
    for (size_t i = l.n; i > 0; i--) {
        if (l.v[i - 1].kind != EXTENT_HOLE) {
            end += l.v[i - 1].offset + l.v[i - 1].length;
            if (end > c->rec.size)
                problem(c, "inode %" PRIu64 ": data up to %" PRIu64 " behind its end at %" PRIu64, k->ino, end, c->rec.size);
            break;
        }
    }
    extent_list_fini(&l);
}

/* All rows of an inode were seen: its blocks must be those of its extents. */
static int settle_blocks(struct check *c)
{
    if (c->rec_live && S_ISREG(c->rec.mode) && c->sum_blocks != c->rec.blocks)
        problem(c, "inode %" PRIu64 " says %" PRIu64 " blocks, its data has %" PRIu64, c->rec_ino, c->rec.blocks, c->sum_blocks);
    if (c->rec_live && S_ISREG(c->rec.mode) && !(c->rec.flags & INODE_HAS_HOLES) && c->rec.blocks != blocks_for(c->rec.size))
        problem(c, "inode %" PRIu64 " without holes has %" PRIu64 " bytes and %" PRIu64 " blocks", c->rec_ino, c->rec.size,
                c->rec.blocks);
    c->rec_live = false;
    return 0;
}

/* Problems are counted and told, and end nothing; only what cannot be read does. */
static int check_row(struct check *c, const struct shale_row *row)
{
    struct fs_key_parts k;

    if (fs_key_parse(row->key, &k) < 0) {
        problem(c, "%s", shale_errmsg());
        return 0;
    }
    if (k.kind == FS_KEY_INODE)
        return check_inode_row(c, k.ino, row->value);
    /* Rows behind a removed inode are what compaction takes away. */
    if (!c->rec_live || c->rec_ino != k.ino) {
        c->res->garbage++;
        return 0;
    }
    if (k.kind == FS_KEY_DENTRY)
        check_dentry(c, &k, row->value);
    else if (k.kind == FS_KEY_CHUNK)
        check_chunk(c, &k, row->value);
    else
        c->res->xattrs++;
    return 0;
}

typedef int (*row_fn)(struct check *c, const struct shale_row *row);

static int each_row(struct check *c, const struct fs_key *prefix, row_fn fn)
{
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc = rows_scan_prefix(&c->fs, prefix, NULL, &it);

    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0)
        rc = fn(c, &row);
    shale_iter_close(it);
    return rc == SHALE_END ? 0 : rc;
}

/* The second pass over entries: what each names. */
static int check_target(struct check *c, const struct shale_row *row)
{
    struct fs_key_parts k;
    struct seen *s, *dir;
    struct dentry d;

    if (fs_key_parse(row->key, &k) < 0 || k.kind != FS_KEY_DENTRY || dentry_decode(row->value, &d) < 0)
        return 0;
    dir = seen_find(c, k.ino);
    if (!dir)
        return 0;
    s = seen_find(c, d.ino);
    if (!s) {
        problem(c, "directory %" PRIu64 " has an entry for inode %" PRIu64 ", which does not exist", k.ino, d.ino);
        return 0;
    }
    if ((s->mode & S_IFMT) != d.type)
        problem(c, "directory %" PRIu64 ": the entry for inode %" PRIu64 " has another type", k.ino, d.ino);
    if (S_ISDIR(s->mode) && s->parent != k.ino)
        problem(c, "directory %" PRIu64 " lies in %" PRIu64 " and says %" PRIu64, d.ino, k.ino, s->parent);
    s->links++;
    return 0;
}

/* Counters of other names are of later versions and not looked at. */
static int check_counter(struct check *c, const struct shale_row *row)
{
    struct fs_key_parts k;

    if (fs_key_parse(row->key, &k) < 0)
        return 0;
    for (int i = 0; i < FS_N_COUNTERS; i++) {
        const char *name = fs_counter_name((enum fs_counter)i);

        if (k.name.len == strlen(name) && memcmp(k.name.data, name, k.name.len) == 0 && row->value.len == 8)
            c->counters[i] = (int64_t)get_u64le(row->value.data);
    }
    if (k.name.len == 3 && memcmp(k.name.data, "ino", 3) == 0 && row->value.len == 8)
        c->next_ino = get_u64le(row->value.data);
    return 0;
}

/* Of a mount that is open or has crashed: it or the next one removes the file, so this is no problem of the volume. */
static int check_orphan(struct check *c, const struct shale_row *row)
{
    struct fs_key_parts k;
    struct seen *s;

    if (fs_key_parse(row->key, &k) < 0)
        return 0;
    c->res->orphans++;
    s = seen_find(c, k.ino);
    if (!s || s->nlink != 0)
        problem(c, "orphan row for inode %" PRIu64 ", which %s", k.ino, s ? "has a name" : "does not exist");
    else
        s->is_orphan = true;
    return 0;
}

/* A directory is linked by its name, by itself, and by ".." of each one in it. */
static void check_links(struct check *c, const struct seen *s)
{
    uint64_t want = S_ISDIR(s->mode) ? s->subdirs + 2 : s->links;

    if (s->nlink != want)
        problem(c, "inode %" PRIu64 " has link count %u and %" PRIu64 " links", s->ino, s->nlink, want);
    if (S_ISDIR(s->mode) && s->found_entries != s->n_entries)
        problem(c, "directory %" PRIu64 " says %" PRIu64 " entries and has %" PRIu64, s->ino, s->n_entries, s->found_entries);
    if (s->ino == FS_ROOT_INO)
        return;
    if (S_ISDIR(s->mode) && s->links != 1)
        problem(c, "directory %" PRIu64 " has %" PRIu64 " names", s->ino, s->links);
    if (!S_ISDIR(s->mode) && s->links == 0 && !s->is_orphan)
        problem(c, "inode %" PRIu64 " has no name and is no orphan", s->ino);
}

/* Every directory must be reached by going up; a circle would have names and parents that agree. */
static void check_reaches_root(struct check *c, const struct seen *s)
{
    uint64_t ino = s->ino;

    for (size_t steps = 0; ino != FS_ROOT_INO; steps++) {
        const struct seen *p = seen_find(c, ino);

        if (!p || steps > c->n) {
            problem(c, "directory %" PRIu64 " is not reached from the root", s->ino);
            return;
        }
        ino = p->parent;
    }
}

/* Dead bytes are an estimate and are not compared. */
static void check_totals(struct check *c)
{
    const struct seen *root = seen_find(c, FS_ROOT_INO);

    if (!root || !S_ISDIR(root->mode))
        problem(c, "there is no root directory");
    if (c->counters[FS_COUNT_INODES] != (int64_t)c->res->inodes)
        problem(c, "the volume says %" PRId64 " inodes and has %" PRIu64, c->counters[FS_COUNT_INODES], c->res->inodes);
    if (c->counters[FS_COUNT_BYTES] != (int64_t)c->res->bytes)
        problem(c, "the volume says %" PRId64 " bytes and has %" PRIu64, c->counters[FS_COUNT_BYTES], c->res->bytes);
    if (c->max_ino >= c->next_ino)
        problem(c, "inode %" PRIu64 " is in use and %" PRIu64 " is the next free one", c->max_ino, c->next_ino);
}

static int check_all(struct check *c)
{
    struct fs_key counters, inodes, orphans;
    int rc;

    fs_key_counters(&counters);
    fs_key_inodes(&inodes);
    fs_key_orphans(&orphans);
    rc = each_row(c, &counters, check_counter);
    if (rc == 0)
        rc = each_row(c, &inodes, check_row);
    if (rc == 0)
        rc = settle_blocks(c);
    if (rc == 0)
        rc = each_row(c, &inodes, check_target);
    if (rc == 0)
        rc = each_row(c, &orphans, check_orphan);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < c->n; i++) {
        check_links(c, &c->v[i]);
        if (S_ISDIR(c->v[i].mode))
            check_reaches_root(c, &c->v[i]);
    }
    check_totals(c);
    return 0;
}

/*
 * As a reader, so a volume may be looked at beside a mount; what that has not committed is then missing on all sides
 * alike.
 */
int fs_check(const char *url, const struct fs_check_options *opt, void (*report)(void *arg, const char *line), void *arg,
             struct fs_check_result *result)
{
    struct check c = { .opt = opt, .report = report, .arg = arg, .res = result };
    int rc;

    *result = (struct fs_check_result){ 0 };
    inode_rec_init(&c.rec);
    rc = volume_open_reader(url, opt->store, &c.fs);
    if (rc == 0)
        rc = check_all(&c);
    inode_rec_fini(&c.rec);
    mem_free(c.v);
    volume_close_reader(&c.fs);
    return rc;
}
