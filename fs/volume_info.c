/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/volume_info.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/ulid.h"
#include "fs/control_client.h"
#include "fs/mountpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *volume_info_kind(int kind)
{
    static const char *const kinds[INFO_N_KINDS] = { "manifest", "wal", "compacted", "compactions", "segments" };

    return kinds[kind];
}

void volume_info_fini(struct volume_info *v)
{
    for (size_t i = 0; v->engine && i < v->sessions.n; i++)
        shale_buf_fini(&v->engine[i]);
    for (size_t i = 0; v->requests && i < v->sessions.n; i++)
        shale_buf_fini(&v->requests[i]);
    mem_free(v->engine);
    mem_free(v->requests);
    mem_free(v->origin);
    mem_free(v->dead);
    shale_tree_free(v->tree);
    session_list_fini(&v->sessions);
    mem_free(v->url);
    *v = (struct volume_info){ .url = NULL };
}

struct counting {
    uint64_t n, bytes;
};

static int count_object(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct counting *c = arg;

    (void)name;
    c->n++;
    c->bytes += meta->size;
    return 0;
}

/* By listing, so that it is true whoever has written them, garbage included. */
static int count_objects(struct shale_store *store, const char *root, struct volume_info *v)
{
    for (int i = 0; i < INFO_N_KINDS; i++) {
        struct counting c = { 0 };
        char *prefix;
        int rc;

        if (asprintf(&prefix, "%s%s%s/", root, root[0] ? "/" : "", volume_info_kind(i)) < 0)
            return -ENOMEM;
        rc = shale_store_list(store, prefix, NULL, count_object, &c);
        free(prefix);
        if (rc < 0)
            return rc;
        v->objects[i].n = c.n;
        v->objects[i].bytes = c.bytes;
    }
    return 0;
}

/* A volume of which not even that can be read is told about all the same. */
static void load_tree(struct shale_store *store, const char *root, struct volume_info *v)
{
    struct shale_inspect *in = NULL;
    int rc = shale_inspect_open(store, root, NULL, &in);

    if (rc == 0)
        rc = shale_inspect_tree(in, &v->tree);
    if (rc < 0)
        snprintf(v->tree_error, sizeof(v->tree_error), "%s", shale_errmsg()[0] ? shale_errmsg() : shale_strerror(rc));
    shale_inspect_close(in);
}

/*
 * Whether the mount is the one that made the session of this volume. The URL alone does not tell: a bucket of the same
 * name at another endpoint is another volume. Nor does the session alone: a copy of a volume has it, too.
 */
static bool is_of_session(const struct mountpoint *m, const struct volume_info *v, const struct session *s)
{
    char id[SHALE_ULID_TEXT_LEN + 1];
    struct shale_buf said = SHALE_BUF_INIT;
    bool same;

    ulid_format(s->id, id);
    same = strcmp(m->source, v->url) == 0 && control_ask(m->dir, "session", &said) == 0 &&
           strcmp((const char *)said.data, id) == 0;
    shale_buf_fini(&said);
    return same;
}

/* Ask the mount of a session, when it is on this machine and still what the session says. */
static void ask_engine(const struct volume_info *v, const struct session *s, const struct session_here *here,
                       struct shale_buf *out, struct shale_buf *requests)
{
    struct mountpoint m = { 0 };

    if (s->unreadable || !s->mount_point[0] || strcmp(s->boot_id, here->boot_id) != 0)
        return;
    if (mountpoint_find(s->mount_point, false, &m) < 0)
        return;
    if (m.dead || !is_of_session(&m, v, s) || control_ask(m.dir, "status", out) < 0)
        out->len = 0;
    else if (control_ask(m.dir, "requests", requests) < 0)
        requests->len = 0; /* of an older version */
    mountpoint_fini(&m);
}

static int ask_sessions(struct volume_info *v)
{
    struct session_here here;

    v->engine = mem_calloc(v->sessions.n, sizeof(*v->engine));
    v->requests = mem_calloc(v->sessions.n, sizeof(*v->requests));
    v->dead = mem_calloc(v->sessions.n, sizeof(*v->dead));
    if (!v->engine || !v->requests || !v->dead)
        return -ENOMEM;
    session_here_init(&here);
    for (size_t i = 0; i < v->sessions.n; i++) {
        const struct session *s = &v->sessions.v[i];

        v->dead[i] = session_is_dead_here(s, &here);
        if (!v->dead[i])
            ask_engine(v, s, &here, &v->engine[i], &v->requests[i]);
    }
    return 0;
}

/*
 * From the store, so it works for a volume that is mounted elsewhere or nowhere; what only a mount on this machine
 * knows is asked of it. One that does not answer is shown without that.
 */
int volume_info_load(const char *url, const struct shale_store_options *store_options, struct volume_info *out)
{
    struct volume_info v = { .sessions = SESSION_LIST_INIT };
    struct shale_store *store = NULL, *patient = NULL;
    char *root = NULL;
    int rc;

    v.url = mem_strdup(url);
    if (!v.url)
        return -ENOMEM;
    rc = shale_store_open_with(url, false, store_options, &store, &root);
    if (rc == 0 && shale_store_origin(store)) {
        v.origin = mem_strdup(shale_store_origin(store));
        rc = v.origin ? 0 : -ENOMEM;
    }
    if (rc == 0)
        rc = shale_store_retrying(store, VOLUME_PATIENCE_MS, &patient);
    if (rc == 0)
        rc = volume_load_latest(patient, root, &v.volume, &v.version);
    if (rc == 0)
        rc = count_objects(patient, root, &v);
    if (rc == 0)
        load_tree(store, root, &v);
    if (rc == 0)
        rc = session_list_load(patient, root, &v.sessions);
    if (rc == 0)
        rc = ask_sessions(&v);
    if (rc == 0)
        *out = v;
    else
        volume_info_fini(&v);
    free(root);
    shale_store_close(patient);
    shale_store_close(store);
    return rc;
}
