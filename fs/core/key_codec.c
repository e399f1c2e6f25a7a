/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/key_codec.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/slice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define INODE_HEAD (1 + 8 + 1) /* 'I' ino kind */
#define CHUNK_LEN (INODE_HEAD + 4 + 8)
#define ORPHAN_LEN (1 + 16 + 8)

/*
 * Every row of an inode begins so. Big-endian numbers make the order of keys the order of numbers, and the kinds are
 * letters whose order puts the inode's own row first: whoever reads on from there knows which chunks are of the file
 * as it is.
 */
static void put_head(struct fs_key *k, uint64_t ino, uint8_t kind)
{
    k->bytes[0] = 'I';
    put_u64be(k->bytes + 1, ino);
    k->bytes[9] = kind;
    k->len = INODE_HEAD;
}

/* For keys that are made and for those that are read: what could not be made is damage when it is found. */
static int name_check(struct shale_slice name, bool is_dentry)
{
    if (name.len > FS_NAME_MAX)
        return -ENAMETOOLONG;
    if (name.len == 0 || memchr(name.data, '\0', name.len))
        return -EINVAL;
    if (is_dentry && (memchr(name.data, '/', name.len) || slice_eq(name, slice_str(".")) ||
                      slice_eq(name, slice_str(".."))))
        return -EINVAL;
    return 0;
}

static void put_name(struct fs_key *k, struct shale_slice name)
{
    memcpy(k->bytes + k->len, name.data, name.len);
    k->len += name.len;
}

void fs_key_inode(struct fs_key *k, uint64_t ino)
{
    put_head(k, ino, FS_KEY_INODE);
}

/*
 * The generation stands before the chunk, so that what a truncation left behind lies together, apart from what is
 * live.
 */
void fs_key_chunk(struct fs_key *k, uint64_t ino, uint32_t gen, uint64_t chunk)
{
    fs_key_gen_chunks(k, ino, gen);
    put_u64be(k->bytes + k->len, chunk);
    k->len += 8;
}

void fs_key_orphan(struct fs_key *k, struct shale_ulid session, uint64_t ino)
{
    fs_key_session_orphans(k, session);
    put_u64be(k->bytes + k->len, ino);
    k->len += 8;
}

int fs_key_counter(struct fs_key *k, const char *name)
{
    int rc = name_check(slice_str(name), false);

    if (rc < 0)
        return rc;
    fs_key_counters(k);
    put_name(k, slice_str(name));
    return 0;
}

int fs_key_dentry(struct fs_key *k, uint64_t ino, struct shale_slice name)
{
    int rc = name_check(name, true);

    if (rc < 0)
        return rc;
    put_head(k, ino, FS_KEY_DENTRY);
    put_name(k, name);
    return 0;
}

int fs_key_xattr(struct fs_key *k, uint64_t ino, struct shale_slice name)
{
    int rc = name_check(name, false);

    if (rc < 0)
        return rc;
    put_head(k, ino, FS_KEY_XATTR);
    put_name(k, name);
    return 0;
}

void fs_key_counters(struct fs_key *k)
{
    k->bytes[0] = 'C';
    k->len = 1;
}

void fs_key_inodes(struct fs_key *k)
{
    k->bytes[0] = 'I';
    k->len = 1;
}

/* A prefix of all kinds, so without the letter. */
void fs_key_inode_rows(struct fs_key *k, uint64_t ino)
{
    put_head(k, ino, 0);
    k->len--;
}

void fs_key_dentries(struct fs_key *k, uint64_t ino)
{
    put_head(k, ino, FS_KEY_DENTRY);
}

void fs_key_chunks(struct fs_key *k, uint64_t ino)
{
    put_head(k, ino, FS_KEY_CHUNK);
}

void fs_key_gen_chunks(struct fs_key *k, uint64_t ino, uint32_t gen)
{
    put_head(k, ino, FS_KEY_CHUNK);
    put_u32be(k->bytes + k->len, gen);
    k->len += 4;
}

void fs_key_xattrs(struct fs_key *k, uint64_t ino)
{
    put_head(k, ino, FS_KEY_XATTR);
}

void fs_key_orphans(struct fs_key *k)
{
    k->bytes[0] = 'O';
    k->len = 1;
}

void fs_key_session_orphans(struct fs_key *k, struct shale_ulid session)
{
    fs_key_orphans(k);
    put_u64be(k->bytes + 1, session.hi);
    put_u64be(k->bytes + 9, session.lo);
    k->len += 16;
}

/* The least key that is greater: no key lies between k and k with a zero byte behind it. */
void fs_key_after(struct fs_key *k)
{
    k->bytes[k->len++] = 0;
}

/* The caller has seen that the head is there. */
static int parse_inode_row(struct shale_slice key, struct fs_key_parts *p)
{
    p->ino = get_u64be(key.data + 1);
    p->kind = key.data[9];
    switch (p->kind) {
    case FS_KEY_INODE:
        return key.len == INODE_HEAD ? 0 : -EINVAL;
    case FS_KEY_CHUNK:
        if (key.len != CHUNK_LEN)
            return -EINVAL;
        p->gen = get_u32be(key.data + INODE_HEAD);
        p->chunk = get_u64be(key.data + INODE_HEAD + 4);
        return 0;
    case FS_KEY_DENTRY:
    case FS_KEY_XATTR:
        p->name = slice_from(key, INODE_HEAD);
        return name_check(p->name, p->kind == FS_KEY_DENTRY);
    default:
        return -EINVAL;
    }
}

static int parse(struct shale_slice key, struct fs_key_parts *p)
{
    if (key.len == 0)
        return -EINVAL;
    switch (key.data[0]) {
    case 'C':
        p->kind = FS_KEY_COUNTER;
        p->name = slice_from(key, 1);
        return name_check(p->name, false);
    case 'I':
        return key.len < INODE_HEAD ? -EINVAL : parse_inode_row(key, p);
    case 'O':
        if (key.len != ORPHAN_LEN)
            return -EINVAL;
        p->kind = FS_KEY_ORPHAN;
        p->session = (struct shale_ulid){ .hi = get_u64be(key.data + 1), .lo = get_u64be(key.data + 9) };
        p->ino = get_u64be(key.data + 17);
        return 0;
    default:
        return -EINVAL;
    }
}

/*
 * A key of another form is corruption: only this program writes here, and a later one announces new rows by a feature
 * bit.
 */
int fs_key_parse(struct shale_slice key, struct fs_key_parts *out)
{
    struct fs_key_parts p;

    memset(&p, 0, sizeof(p));
    if (parse(key, &p) < 0)
        return err_set(SHALE_ECORRUPT, "a row of the volume has a key of %zu bytes of an unknown form (0x%02x)",
                       key.len, key.len ? key.data[0] : 0u);
    *out = p;
    return 0;
}

/* Without names: they are the users', and this goes into logs. */
const char *fs_key_describe(struct shale_slice key, char *out, size_t cap)
{
    struct fs_key_parts p;

    memset(&p, 0, sizeof(p));
    if (parse(key, &p) < 0)
        snprintf(out, cap, "row of an unknown kind");
    else if (p.kind == FS_KEY_COUNTER)
        snprintf(out, cap, "counter %.*s", (int)p.name.len, (const char *)p.name.data);
    else if (p.kind == FS_KEY_INODE)
        snprintf(out, cap, "inode %" PRIu64, p.ino);
    else if (p.kind == FS_KEY_CHUNK)
        snprintf(out, cap, "chunk %" PRIu64 " (generation %" PRIu32 ") of inode %" PRIu64, p.chunk, p.gen, p.ino);
    else
        snprintf(out, cap, "%s of inode %" PRIu64,
                 p.kind == FS_KEY_DENTRY ? "directory entry" : p.kind == FS_KEY_XATTR ? "extended attribute" : "orphan",
                 p.ino);
    return out;
}
