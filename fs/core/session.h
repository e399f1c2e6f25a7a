/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_SESSION_H
#define FS_CORE_SESSION_H

#include <shale/object_store.h>
#include <shale/types.h>
#include <stdbool.h>

/*
 * A mount that has a volume open leaves an object session/<ULID>, which says who it is; a clean unmount removes it.
 * Text as in fs/core/text.h:
 *
 *   shalefs session
 *   host=...
 *   machine-id=...          /etc/machine-id; empty when there is none
 *   boot-id=...             /proc/sys/kernel/random/boot_id; empty likewise
 *   pid=123
 *   pid-namespace=4026531836    inode number of /proc/self/ns/pid
 *   start-time=8472             field 22 of /proc/PID/stat
 *   mount-point=/mnt            may be empty
 *   since=2026-11-23T14:00:05.123Z
 *   crc32=...
 */
#define SESSION_MOUNT_POINT_MAX 4095u

struct session {
    struct shale_ulid id;  /* its name, not in the text */
    char host[256];
    char machine_id[64];
    char boot_id[64];
    uint32_t pid;
    uint64_t pid_namespace;
    uint64_t start_time;   /* in ticks since boot */
    char mount_point[SESSION_MOUNT_POINT_MAX + 1];
    int64_t since_ms;
    bool unreadable;       /* from a listing: there is such an object, but all that is known is its id */
};

/*
 * Describe this process, which must be the one that stays (call it after the fork of a daemon). What cannot be found
 * out stays empty or 0. -ENAMETOOLONG for the mount point, which may be NULL.
 */
int session_init(struct session *s, struct shale_ulid id, const char *mount_point, int64_t now_ms);

/* Append the text. 0, -ENOMEM, or -EINVAL for a time before 1970 or after 9999. */
int session_encode(const struct session *s, struct shale_buf *out);
/* what names the object in messages. SHALE_ECORRUPT with a sentence; out changes only on success, its id not at all. */
int session_parse(struct shale_slice text, const char *what, struct session *out);

/* root is the path of the volume in its store ("" for the top). As shale_store_put and shale_store_delete. */
int session_create(struct shale_store *store, const char *root, const struct session *s);
int session_remove(struct shale_store *store, const char *root, struct shale_ulid id);

/* Sessions in the order of their names, oldest first. v is owned. */
struct session_list {
    struct session *v;
    size_t n, cap;
};

#define SESSION_LIST_INIT { NULL, 0, 0 }

void session_list_fini(struct session_list *l);
/*
 * Every open session of the volume replaces those of l. One that ends meanwhile is left out; one whose object is
 * damaged is unreadable, and never provably dead. -ENOMEM; as shale_store_list and shale_store_get.
 */
int session_list_load(struct shale_store *store, const char *root, struct session_list *l);

/* What is known of the machine that judges. process_start: 0 and the start time, -ESRCH for no such process, or another
 * negative errno when it cannot be told. */
struct session_here {
    char machine_id[64];
    char boot_id[64];
    uint64_t pid_namespace;
    int (*process_start)(void *ctx, uint32_t pid, uint64_t *start_time);
    void *ctx;
};

void session_here_init(struct session_here *here);

/*
 * Whether the process of s is certain to be gone: our machine has booted since; or machine, boot and pid namespace are
 * ours and no process has that pid and start time. What is unknown (an empty id, 0) proves nothing.
 */
bool session_is_dead_here(const struct session *s, const struct session_here *here);
bool session_is_provably_dead(const struct session *s);

/*
 * "host h, process 123, since 2026-11-23 14:00:05, mounted at /mnt", in local time, without control characters, cut to
 * fit. Returns out.
 */
const char *session_describe(const struct session *s, char *out, size_t cap);

#endif
