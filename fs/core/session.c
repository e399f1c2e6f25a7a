/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/session.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "base/ulid.h"
#include "fs/core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define MAGIC "shalefs session"
#define DIR_NAME "session/"

/* Strings of the machine are written as they are; the text form escapes what would break a line. */
int session_encode(const struct session *s, struct shale_buf *out)
{
    struct text_out t;

    text_begin(&t, out, MAGIC);
    text_add(&t, "host", s->host);
    text_add(&t, "machine-id", s->machine_id);
    text_add(&t, "boot-id", s->boot_id);
    text_add_u64(&t, "pid", s->pid);
    text_add_u64(&t, "pid-namespace", s->pid_namespace);
    text_add_u64(&t, "start-time", s->start_time);
    text_add(&t, "mount-point", s->mount_point);
    text_add_time(&t, "since", s->since_ms);
    return text_end(&t);
}

static int get_host(void *obj, struct shale_slice value)
{
    struct session *s = obj;

    return text_get_string(value, s->host, sizeof(s->host));
}

static int get_machine_id(void *obj, struct shale_slice value)
{
    struct session *s = obj;

    return text_get_string(value, s->machine_id, sizeof(s->machine_id));
}

static int get_boot_id(void *obj, struct shale_slice value)
{
    struct session *s = obj;

    return text_get_string(value, s->boot_id, sizeof(s->boot_id));
}

/* A greater one could not be asked for with kill. */
static int get_pid(void *obj, struct shale_slice value)
{
    uint64_t v;

    if (text_get_u64(value, &v) < 0 || v > INT32_MAX)
        return -EINVAL;
    ((struct session *)obj)->pid = (uint32_t)v;
    return 0;
}

static int get_pid_namespace(void *obj, struct shale_slice value)
{
    return text_get_u64(value, &((struct session *)obj)->pid_namespace);
}

static int get_start_time(void *obj, struct shale_slice value)
{
    return text_get_u64(value, &((struct session *)obj)->start_time);
}

static int get_mount_point(void *obj, struct shale_slice value)
{
    struct session *s = obj;

    return text_get_string(value, s->mount_point, sizeof(s->mount_point));
}

static int get_since(void *obj, struct shale_slice value)
{
    return text_get_time(value, &((struct session *)obj)->since_ms);
}

static const struct text_field fields[] = {
    { "host", get_host },
    { "machine-id", get_machine_id },
    { "boot-id", get_boot_id },
    { "pid", get_pid },
    { "pid-namespace", get_pid_namespace },
    { "start-time", get_start_time },
    { "mount-point", get_mount_point },
    { "since", get_since },
};

/*
 * Lines that this version does not know are passed over: a later one that says more must still be respected by an
 * earlier one.
 */
int session_parse(struct shale_slice text, const char *what, struct session *out)
{
    struct shale_slice lines;
    struct session s;
    size_t n_unknown; /* a later program may say more of itself */
    int rc;

    memset(&s, 0, sizeof(s));
    rc = text_open(text, MAGIC, what, &lines);
    if (rc == 0)
        rc = text_parse(lines, fields, ARRAY_SIZE(fields), what, &s, &n_unknown);
    if (rc < 0)
        return rc;
    s.id = out->id;
    *out = s;
    return 0;
}

static int object_name(const char *root, struct shale_ulid id, struct shale_buf *name)
{
    char text[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    return buf_printf(name, "%s%s" DIR_NAME "%s", root, *root ? "/" : "", text);
}

int session_create(struct shale_store *store, const char *root, const struct session *s)
{
    struct shale_buf text = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    int rc = session_encode(s, &text);

    if (rc == 0)
        rc = object_name(root, s->id, &name);
    if (rc == 0)
        rc = shale_store_put(store, (const char *)name.data, slice_of_buf(&text), SHALE_PUT_IF_ABSENT);
    shale_buf_fini(&text);
    shale_buf_fini(&name);
    return rc;
}

int session_remove(struct shale_store *store, const char *root, struct shale_ulid id)
{
    struct shale_buf name = SHALE_BUF_INIT;
    int rc = object_name(root, id, &name);

    if (rc == 0)
        rc = shale_store_delete(store, (const char *)name.data);
    shale_buf_fini(&name);
    return rc;
}

void session_list_fini(struct session_list *l)
{
    mem_free(l->v);
    *l = (struct session_list)SESSION_LIST_INIT;
}

struct listing {
    struct session_list *list;
    size_t prefix_len;
};

/* Takes down the names; the objects are read when the listing is over. */
static int see_session(void *arg, const char *name, const struct shale_object_meta *meta)
{
    const struct listing *g = arg;
    const char *text = name + g->prefix_len;
    struct session_list *l = g->list;
    struct shale_ulid id;
    int rc;

    (void)meta;
    if (ulid_parse(text, strlen(text), &id) < 0)
        return 0;
    rc = vec_reserve(&l->v, &l->cap, l->n + 1, sizeof(*l->v));
    if (rc < 0)
        return rc;
    l->v[l->n++].id = id;
    return 0;
}

/* Replaces s, of which only the id is set. */
static int load_one(struct shale_store *store, const char *root, struct session *s)
{
    struct shale_buf text = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    struct reread again = REREAD_INIT;
    int rc = object_name(root, s->id, &name);

    if (rc == 0)
        do {
            rc = shale_store_get(store, (const char *)name.data, &text);
            if (rc == 0)
                rc = session_parse(slice_of_buf(&text), (const char *)name.data, s);
        } while (reread_due(&again, rc));
    shale_buf_fini(&text);
    shale_buf_fini(&name);
    return rc;
}

/*
 * One that cannot be read stays in the list, as somebody unknown: it is no reason to take a volume that somebody may
 * be using.
 */
int session_list_load(struct shale_store *store, const char *root, struct session_list *l)
{
    struct shale_buf prefix = SHALE_BUF_INIT;
    struct listing g = { .list = l };
    size_t n = 0;
    int rc = buf_printf(&prefix, "%s%s" DIR_NAME, root, *root ? "/" : "");

    l->n = 0;
    g.prefix_len = prefix.len;
    if (rc == 0)
        rc = shale_store_list(store, (const char *)prefix.data, NULL, see_session, &g);
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        l->v[n] = (struct session){ .id = l->v[i].id, .unreadable = true };
        rc = load_one(store, root, &l->v[n]);
        if (rc == -ENOENT) {
            rc = 0; /* unmounted since it was listed */
            continue;
        }
        if (rc == SHALE_ECORRUPT)
            rc = 0;
        n++;
    }
    l->n = rc == 0 ? n : 0;
    shale_buf_fini(&prefix);
    return rc;
}

static void describe_unreadable(const struct session *s, char *out, size_t cap)
{
    char id[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(s->id, id);
    snprintf(out, cap, "somebody unknown (the object " DIR_NAME "%s cannot be read)", id);
}

/* Shown to people, in terminals: a foreign machine's name must not move their cursor. */
const char *session_describe(const struct session *s, char *out, size_t cap)
{
    time_t t = (time_t)(s->since_ms / 1000);
    char since[32] = "?";
    struct tm tm;

    if (s->unreadable) {
        describe_unreadable(s, out, cap);
        return out;
    }
    if (localtime_r(&t, &tm))
        strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(out, cap, "host %s, process %" PRIu32 ", since %s%s%s", *s->host ? s->host : "unknown", s->pid, since,
             *s->mount_point ? ", mounted at " : "", s->mount_point);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return out;
}
