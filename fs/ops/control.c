/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/control.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/sync.h"
#include "fs/core/requests.h"

#include <errno.h>
#include <shale/metrics.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WATCHERS_MAX 8
#define CONTROL_RANK 1
#define METRICS_PART_BYTES 32768 /* and the last metric of a part, a few KiB, still fits into FS_XATTR_MAX */

struct control {
    struct fs *fs;
    char *volume, *store, *log;
    struct mutex mu; /* rank CONTROL_RANK */
    int watchers[WATCHERS_MAX]; /* GUARDED_BY(mu): connected sockets */
    size_t n_watchers;
};

int control_new(struct fs *fs, const char *volume, const char *store, const char *log, struct control **out)
{
    struct control *c = mem_zalloc(sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->fs = fs;
    mutex_init(&c->mu, CONTROL_RANK, "watchers");
    c->volume = mem_strdup(volume);
    c->store = mem_strdup(store);
    c->log = mem_strdup(log ? log : "");
    if (!c->volume || !c->store || !c->log) {
        control_free(c);
        return -ENOMEM;
    }
    *out = c;
    return 0;
}

/* Connections that end without a word tell their other side that something went wrong. */
void control_free(struct control *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_watchers; i++)
        close(c->watchers[i]);
    mutex_fini(&c->mu);
    mem_free(c->volume);
    mem_free(c->store);
    mem_free(c->log);
    mem_free(c);
}

bool control_is_name(const char *name)
{
    return strncmp(name, CONTROL_PREFIX, strlen(CONTROL_PREFIX)) == 0;
}

/* Abstract: no file is left behind, and no directory has to be writable for both. */
int control_address(const char *name, struct sockaddr_un *addr)
{
    size_t len = strlen(name);

    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    if (len == 0 || len + 1 > sizeof(addr->sun_path))
        return -EINVAL;
    memcpy(addr->sun_path + 1, name, len); /* the NUL before it makes it abstract */
    return (int)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

/* The socket does not block: a client that has asked us listens already, and one that does not is no reason to wait. */
static int watch(struct control *c, const char *name)
{
    struct sockaddr_un addr;
    int len = control_address(name, &addr), fd, rc = 0;

    if (len < 0)
        return len;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&addr, (socklen_t)len) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    mutex_lock(&c->mu);
    if (c->n_watchers == WATCHERS_MAX)
        rc = -EAGAIN;
    else
        c->watchers[c->n_watchers++] = fd;
    mutex_unlock(&c->mu);
    if (rc < 0)
        close(fd);
    return rc;
}

/* First in the text: what a follower is about. */
static int put_following(struct fs *fs, struct shale_buf *out)
{
    struct fs_follow_status f;

    fs_follow_status(fs, &f);
    if (!f.follows)
        return 0;
    return buf_printf(out,
                      "poll_ms %lld\nlook_age_ms %lld\nlook_error %d\nlooks %llu\nsteps %llu\nuntold_steps %llu\n"
                      "seq %llu\nstore_requests %llu\n",
                      (long long)f.poll_ms, (long long)f.look_age_ms, f.look_error, (unsigned long long)f.looks,
                      (unsigned long long)f.steps, (unsigned long long)f.untold, (unsigned long long)f.seq,
                      (unsigned long long)f.requests);
}

static int put_session(struct fs *fs, struct shale_buf *out)
{
    char id[SHALE_ULID_TEXT_LEN + 1];

    return fs_session_id(fs, id) ? buf_set(out, slice_str(id)) : 0;
}

static int put_status(struct fs *fs, struct shale_buf *out)
{
    struct shale_db_status s = { 0 };
    struct fs_space space;
    int rc = put_following(fs, out);

    if (rc < 0)
        return rc;
    fs_engine_status(fs, &s);
    fs_space(fs, &space);
    return buf_printf(out,
                      "error %d\nmanifest %llu\nwriter_epoch %llu\nnext_wal %llu\nreplay_after_wal %llu\n"
                      "unflushed_bytes %llu\nmemtables %u\nl0_ssts %u\nl0_bytes %llu\nruns %u\nrun_bytes %llu\n"
                      "compacting %u\nwal_objects_written %llu\nl0_flushes %llu\ncompactions %llu\n"
                      "cache_bytes %llu\ncache_hits %llu\ncache_misses %llu\n"
                      "dead_bytes %llu\ndropped_rows %llu\ndropped_bytes %llu\n",
                      fs_error(fs), (unsigned long long)s.manifest_id, (unsigned long long)s.writer_epoch,
                      (unsigned long long)s.next_wal_id, (unsigned long long)s.replay_after_wal_id,
                      (unsigned long long)s.unflushed_bytes, s.n_memtables, s.n_l0, (unsigned long long)s.l0_bytes,
                      s.n_runs, (unsigned long long)s.run_bytes, s.n_compacting, (unsigned long long)s.wal_objects,
                      (unsigned long long)s.l0_flushes, (unsigned long long)s.compactions,
                      (unsigned long long)s.cache_bytes, (unsigned long long)s.cache_hits,
                      (unsigned long long)s.cache_misses, (unsigned long long)space.dead_bytes,
                      (unsigned long long)space.dropped_rows, (unsigned long long)space.dropped_bytes);
}

static int put_requests(struct fs *fs, struct shale_buf *out)
{
    struct fs_requests *r = fs_requests_of(fs);

    return r ? fs_requests_text(r, clock_mono_ms(), out) : 0;
}

/* The figure before the text is where to go on, 0 at the end: a value may have 64 KiB, and they are more. */
static int put_metrics(struct fs *fs, const char *from_text, struct shale_buf *out)
{
    struct shale_buf text = SHALE_BUF_INIT;
    char *end;
    size_t from = strtoul(from_text, &end, 10);
    int rc;

    if (end == from_text || *end)
        return -ENODATA;
    rc = shale_metrics_text_part(fs_metrics(fs), &from, METRICS_PART_BYTES, &text);
    if (rc >= 0)
        rc = buf_printf(out, "%zu\n", rc == SHALE_END ? 0 : from);
    if (rc == 0)
        rc = buf_append_slice(out, slice_of_buf(&text));
    shale_buf_fini(&text);
    return rc;
}

int control_get(struct control *c, const char *name, uid_t uid, struct shale_buf *out)
{
    static const char watch_prefix[] = "watch.", metrics_prefix[] = "metrics.";
    int rc;

    name += strlen(CONTROL_PREFIX);
    buf_clear(out);
    if (strcmp(name, "volume") == 0)
        return buf_set(out, slice_str(c->volume));
    if (strcmp(name, "log") == 0)
        return buf_set(out, slice_str(c->log));
    if (strcmp(name, "store") == 0)
        return buf_set(out, slice_str(c->store));
    if (strcmp(name, "session") == 0)
        return put_session(c->fs, out);
    if (strcmp(name, "status") == 0)
        return put_status(c->fs, out);
    if (strcmp(name, "requests") == 0)
        return put_requests(c->fs, out);
    if (strncmp(name, metrics_prefix, strlen(metrics_prefix)) == 0)
        return put_metrics(c->fs, name + strlen(metrics_prefix), out);
    if (strncmp(name, watch_prefix, strlen(watch_prefix)) == 0) {
        if (uid != 0 && uid != getuid())
            return -EPERM;
        rc = watch(c, name + strlen(watch_prefix));
        return rc < 0 ? rc : buf_printf(out, "%ld", (long)getpid());
    }
    if (strcmp(name, "pid") == 0)
        return buf_printf(out, "%ld", (long)getpid());
    return -ENODATA;
}

/* At the very end, when everything is in the store or never will be. */
void control_tell(struct control *c, const char *sentence)
{
    const char *text = sentence ? sentence : "ok";

    mutex_lock(&c->mu);
    for (size_t i = 0; i < c->n_watchers; i++) {
        /* Who no longer listens does not matter. */
        (void)!send(c->watchers[i], text, strlen(text), MSG_NOSIGNAL);
        close(c->watchers[i]);
    }
    c->n_watchers = 0;
    mutex_unlock(&c->mu);
}
