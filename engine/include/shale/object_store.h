/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_OBJECT_STORE_H
#define SHALE_OBJECT_STORE_H

#include <shale/error.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Immutable objects under names. A name is a path without leading or trailing slash, of segments over
 * [A-Za-z0-9._=@:+-]; no segment is empty, "." or "..". At most 1024 bytes, a segment at most 230. Every call may be
 * made from any thread, any number at once.
 *
 * Errors of every call, beside those named there: -ENOMEM; -EINVAL for a bad name; -EACCES when permission is
 * refused; -EROFS when the store is read-only; -ENOSPC; SHALE_ETRANSIENT when the store may answer if asked again;
 * -EIO for anything else. Each leaves a sentence in shale_errmsg(). After SHALE_ETRANSIENT or -EIO it is unknown
 * whether a write took place.
 */
struct shale_store;
struct shale_metrics;

#define SHALE_PUT_ID_LEN 26

/*
 * For one name size and mtime never change while the object exists. Ages are differences of
 * mtime_ms to the caller's clock: hosts' clocks are expected to agree within minutes.
 */
struct shale_object_meta {
    uint64_t size;
    int64_t mtime_ms;                  /* when it was created, Unix time */
    char put_id[SHALE_PUT_ID_LEN + 1]; /* of the put that made it; "" when it had none, is not kept, and in listings */
};

/*
 * Create-if-absent is all the coordination the engine needs of a store: not a listing that is up
 * to date, no rename, no locks. A store that cannot do it atomically must not be used for a
 * database.
 */
enum shale_put_mode {
    SHALE_PUT_OVERWRITE,
    SHALE_PUT_IF_ABSENT, /* -EEXIST when an object of that name exists; exactly one of many racing calls wins */
};

/* Receives one object of a listing. Return 0 to go on; anything else ends the listing, which returns that value. */
typedef int (*shale_list_fn)(void *arg, const char *name, const struct shale_object_meta *meta);

/*
 * One of several ranges to read at once.
 * rc and out are set for each range on its own, so that some may fail; out of a failed one is as
 * it was.
 */
struct shale_range_get {
    const char *name;
    uint64_t offset;
    uint64_t len;
    struct shale_buf out; /* replaced by exactly len bytes on success; owned by the caller */
    int rc;               /* outcome of this range, as of shale_store_get_range */
};

struct shale_upload;

/*
 * What an implementation provides. Arguments were checked, out buffers are empty. All but close, remove_many,
 * get_ranges and the upload functions are required; what is missing is emulated (removal and ranges one by one, an
 * upload in memory and put).
 *
 * put_id: 26 characters that only this logical put carries, the same in each of its attempts, or NULL. A store that
 * keeps metadata keeps it, and head tells it: so whoever lost the reply to a create-if-absent finds out whether the
 * object that is there now is his own. Bytes would not tell: two writers may well write the same fence or manifest.
 *
 * upload_write: SHALE_ETRANSIENT means that nothing of data was taken; the call may be repeated. upload_finish ends u
 * but for SHALE_ETRANSIENT, after which it is called again (0 when the earlier call had succeeded after all) or u is
 * aborted. upload_in_parts: called before the first write, by who wants to see whether parts work: u goes up in parts
 * however little it is. Where an upload is the same thing in any case it may be missing.
 */
struct shale_store_ops {
    const char *scheme; /* "memory", "file", "s3"; for messages */
    int (*get)(struct shale_store *s, const char *name, struct shale_buf *out);
    int (*get_range)(struct shale_store *s, const char *name, uint64_t offset, uint64_t len, struct shale_buf *out);
    int (*get_ranges)(struct shale_store *s, struct shale_range_get *r, size_t n);
    int (*head)(struct shale_store *s, const char *name, struct shale_object_meta *out);
    int (*put)(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
               const char *put_id);
    int (*remove)(struct shale_store *s, const char *name);
    int (*remove_many)(struct shale_store *s, const char *const *names, size_t n);
    int (*list)(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg);
    int (*upload_begin)(struct shale_store *s, const char *name, struct shale_upload **out);
    int (*upload_write)(struct shale_upload *u, struct shale_slice data);
    int (*upload_finish)(struct shale_upload *u);
    void (*upload_abort)(struct shale_upload *u);
    void (*upload_in_parts)(struct shale_upload *u);
    void (*close)(struct shale_store *s);
    const char *(*origin)(struct shale_store *s); /* see shale_store_origin; NULL: there is none */
};

/* Heads of the objects that an implementation embeds. */
struct shale_store {
    const struct shale_store_ops *ops;
};

/* One thread at a time uses an upload; different uploads of one store may run at once. */
struct shale_upload {
    struct shale_store *store;
};

/* What a request asks of a store. */
enum shale_request_op {
    SHALE_REQUEST_UNKNOWN,
    SHALE_REQUEST_GET, /* of a whole object, or of a range */
    SHALE_REQUEST_HEAD,
    SHALE_REQUEST_PUT,
    SHALE_REQUEST_LIST,
    SHALE_REQUEST_DELETE,
    SHALE_REQUEST_DELETE_MANY,
    SHALE_REQUEST_UPLOAD_BEGIN, /* this and the next three of an upload in parts */
    SHALE_REQUEST_UPLOAD_PART,
    SHALE_REQUEST_UPLOAD_COMPLETE,
    SHALE_REQUEST_UPLOAD_ABORT,
    SHALE_REQUEST_CREDENTIALS, /* of whoever gives the keys, which is not the store */
    SHALE_REQUEST_N_OPS,
};

/* "get", "upload_part", ...; NULL for what is none. */
SHALE_API const char *shale_request_op_name(enum shale_request_op op);

/* A request that was on the wire and has ended, with or without an answer. Strings are borrowed for the call. */
struct shale_request {
    enum shale_request_op op;
    const char *io_class;  /* on whose behalf: "foreground", "wal", "upload", "compaction", "gc" */
    const char *object;    /* its name, or the prefix of a listing; NULL: neither */
    uint64_t offset, len;  /* of the range that was asked for; len 0: it was not a range */
    int64_t begun_ms;      /* when it went out, Unix time */
    int64_t queued_ns;     /* in line before */
    int64_t wire_ns;       /* from going out to the end */
    uint64_t bytes_sent, bytes_received; /* of bodies */
    unsigned attempt;      /* 1: the first of its call */
    int status;            /* of HTTP; 0: no answer came, or not a whole one */
};

/*
 * Who is told of the requests of a store over a network. metrics: counted there, as shale.object_store.requests and so
 * on (ARCHITECTURE, Metrics). ended: called for each, by one thread at a time, which the store's other requests wait
 * for: it must be quick and may not use the store. Either may be NULL.
 */
struct shale_request_watch {
    struct shale_metrics *metrics;
    void (*ended)(void *ctx, const struct shale_request *r);
    void *ctx;
};

/* Whose form of the protocol a store speaks. */
enum shale_s3_dialect {
    SHALE_S3_AWS, /* If-None-Match: *; and all that imitate it */
    SHALE_S3_GCS, /* Google Cloud Storage by its XML API, with HMAC keys: x-goog-if-generation-match: 0 */
};

/*
 * A bucket. All zero, or NULL, is what the environment says, as AWS users expect: region from AWS_REGION,
 * AWS_DEFAULT_REGION, the profile, else us-east-1; endpoint from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile, else
 * AWS. Strings are copied.
 */
struct shale_s3_options {
    const char *endpoint; /* "https://host:port"; http:// sends data unencrypted, though signed; "aws": AWS */
    const char *region;
    const char *profile;  /* of the shared config and credentials files */
    const char *access_key, *secret_key, *session_token;
    const char *ca_file;  /* certificates to trust instead of the system's */
    bool anonymous;       /* requests are not signed; only for public buckets */
    bool unsigned_payload; /* http:// sends bodies without signing them, as https:// does in any case: what is spoilt or
                              changed on the way is then stored, and may go unnoticed */
    bool path_style;      /* https://host/bucket instead of https://bucket.host; so in any case with an endpoint */
    bool virtual_host;    /* https://bucket.host with an endpoint, too */
    enum shale_s3_dialect dialect; /* storage.googleapis.com as endpoint implies SHALE_S3_GCS */
    /*
     * Patience with one attempt, before it is made again. connect_ms: name look-up, connection and TLS. first_byte_ms:
     * from the end of the request to the answer. stall_ms: so long the bytes of request and answer may move at less
     * than min_rate a second (below 0: not at all), so that a connection that trickles is given up, too. 0 is the
     * default:
     *
     *                                            connect   first byte   stall   bytes a second
     *   reads and the WAL, which somebody waits for   10 s        30 s    20 s            1024
     *   uploads, compaction, garbage                  10 s        60 s    30 s             512
     */
    int64_t connect_ms, first_byte_ms, stall_ms, min_rate;
    const struct shale_request_watch *watch; /* NULL: nobody; borrowed until the store is closed */
};

/*
 * A storage account of Azure. All zero, or NULL, is what the environment says. Each setting is taken from the first of
 * these that has it: the options, connection_string, AZURE_STORAGE_CONNECTION_STRING, and these variables:
 *   account            AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME
 *   key                AZURE_STORAGE_KEY, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_ACCESS_KEY
 *   sas                AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_SAS_KEY
 *   endpoint           AZURE_STORAGE_BLOB_ENDPOINT, AZURE_STORAGE_SERVICE_ENDPOINT, AZURE_STORAGE_ENDPOINT
 *   emulator           AZURE_STORAGE_USE_EMULATOR=true
 *   anonymous          AZURE_SKIP_SIGNATURE=true
 *   ca_file            REQUESTS_CA_BUNDLE
 * What a connection string says of another account than the one that was found is passed over. A key goes before a
 * signature of the same source. Strings are copied.
 */
struct shale_azure_options {
    const char *account;
    const char *key;               /* in Base64, as Azure shows it */
    const char *sas;               /* a shared access signature: "sv=...&sig=..." */
    const char *connection_string; /* AccountName=...;AccountKey=...;EndpointSuffix=... */
    const char *endpoint;          /* "https://host:port/path"; http:// sends data unencrypted, though signed */
    const char *ca_file;           /* certificates to trust instead of the system's */
    bool emulator;                 /* Azurite and its kin on 127.0.0.1:10000, with the account that they have */
    bool anonymous;                /* requests are not signed; only for public containers */
    int64_t connect_ms, first_byte_ms, stall_ms, min_rate; /* as of struct shale_s3_options, as the next one */
    const struct shale_request_watch *watch;
};

/* What a URL does not say of the store it names. All zero, or NULL, is what the environment says. */
struct shale_store_options {
    const struct shale_s3_options *s3;       /* for s3:// and gs:// */
    const struct shale_azure_options *azure; /* for az:// */
    const struct shale_request_watch *watch; /* of any store over a network, before what the two say; as there */
};

/*
 * Open the store that holds a URL and say where in it the URL points:
 *   memory://NAME/path   a store of this process, shared by NAME
 *   file:///dir/path     a directory; the last component is the path, what stands before it is the store
 *   dir/path             the same; relative to the working directory
 *   s3://bucket/prefix   a bucket, with what the environment says of it
 *   az://container/prefix  a container of Azure Blob Storage, likewise
 *   gs://bucket/prefix   a bucket of Google Cloud Storage, whatever endpoint the environment names; its HMAC keys are
 *                        where those of AWS would be (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a profile)
 * Slashes at the end and doubled ones do not matter; percent-encoding is not understood. create makes missing
 * directories up to the store (a bucket has to exist). *path is owned by the caller (free). -EINVAL for a URL that is
 * none of these.
 */
SHALE_API int shale_store_open(const char *url, bool create, struct shale_store **out, char **path);
/* opt is not needed any more when it returns. */
SHALE_API int shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                                    struct shale_store **out, char **path);

/* A store of this process alone, gone when the last handle on it is closed. For tests. */
SHALE_API int shale_store_memory(struct shale_store **out);
/* dir: the directory that stands for the bucket. -ENOENT when it is missing and create is false; -ENOTDIR. */
SHALE_API int shale_store_directory(const char *dir, bool create, struct shale_store **out);

/* No request is made yet. -EINVAL for a bad name of a bucket, endpoint or region; -ENOENT for a missing profile. */
SHALE_API int shale_store_s3(const char *bucket, const struct shale_s3_options *opt, struct shale_store **out);

/* No request is made yet. -EINVAL for a bad name of a container or account, a bad endpoint or key, or none at all. */
SHALE_API int shale_store_azure(const char *container, const struct shale_azure_options *opt, struct shale_store **out);

/*
 * A store that asks inner again after SHALE_ETRANSIENT, for limit_ms from the first attempt of a call (0: for ever), as
 * database handles do by themselves. Until inner has answered once, it is given up after 30 seconds in any case:
 * perhaps it is not there at all. inner is borrowed and outlives it.
 */
SHALE_API int shale_store_retrying(struct shale_store *inner, int64_t limit_ms, struct shale_store **out);

/*
 * The server that s talks to, as "https://bucket.s3.eu-central-1.amazonaws.com"; NULL when there is none. Borrowed
 * until it is closed.
 */
SHALE_API const char *shale_store_origin(struct shale_store *s);
/* Ends the store; nothing may use it any more. NULL is fine. */
SHALE_API void shale_store_close(struct shale_store *s);

/* The whole object replaces out, which a failure leaves as it is. -ENOENT when there is none. */
SHALE_API int shale_store_get(struct shale_store *s, const char *name, struct shale_buf *out);
/* Exactly len bytes from offset replace out. -ENOENT; -ERANGE when the object is shorter; -EINVAL when len is 0. */
SHALE_API int shale_store_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                                    struct shale_buf *out);
/*
 * Read n ranges, at once where the store can. 0 when each has its rc; r[i].rc tells.
 * A negative result (-EINVAL or -ERANGE for an impossible range, -ENOMEM) leaves every out as it was.
 */
SHALE_API int shale_store_get_ranges(struct shale_store *s, struct shale_range_get *r, size_t n);
/* Size, time and put id without the body. -ENOENT when there is none. */
SHALE_API int shale_store_head(struct shale_store *s, const char *name, struct shale_object_meta *out);
/* When it returns 0 the object is durable and visible, whole. -EEXIST: see the mode. */
SHALE_API int shale_store_put(struct shale_store *s, const char *name, struct shale_slice data,
                              enum shale_put_mode mode);
/* Removing what does not exist succeeds. */
SHALE_API int shale_store_delete(struct shale_store *s, const char *name);
/* Each of them, also after a failure; the first error. */
SHALE_API int shale_store_delete_many(struct shale_store *s, const char *const *names, size_t n);
/*
 * Every object whose name begins with prefix (any string, "" for all) and is greater than start_after (NULL for all),
 * in name order. An object created or removed meanwhile may or may not be listed. fn may use the store.
 */
SHALE_API int shale_store_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn,
                               void *arg);

/*
 * A large object in parts: nothing is visible before shale_upload_finish returned 0, then the whole (overwriting).
 * Memory stays bounded. finish and abort both end u, finish also when it fails. After a failed write it can only be
 * aborted, or, after SHALE_ETRANSIENT, the same write repeated. One thread at a time.
 */
SHALE_API int shale_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out);
SHALE_API int shale_upload_write(struct shale_upload *u, struct shale_slice data);
SHALE_API int shale_upload_finish(struct shale_upload *u);
SHALE_API void shale_upload_abort(struct shale_upload *u); /* NULL is fine */

/* What shale_store_probe finds out. */
enum shale_probe_check {
    SHALE_PROBE_CONDITIONAL, /* create-if-absent creates, is refused where an object is, and leaves that as it is */
    SHALE_PROBE_RACE,        /* of several at once exactly one creates */
    SHALE_PROBE_READ,        /* objects are read as they were written */
    SHALE_PROBE_RANGE,       /* exactly the range that was asked for */
    SHALE_PROBE_NAMES,       /* names as long as the longest of a database under the path */
    SHALE_PROBE_LIST,        /* a listing shows what was just written, and begins where it is told to */
    SHALE_PROBE_UPLOAD,      /* uploads in parts */
    SHALE_PROBE_DELETE,      /* what was deleted is gone, and deleting it again succeeds */
    SHALE_PROBE_PUT_ID,      /* put ids are kept; only warned of */
    SHALE_PROBE_CLOCK,       /* its clock and ours agree within a minute; only warned of */
    SHALE_PROBE_N_CHECKS,
};

enum shale_probe_state {
    SHALE_PROBE_NOT_TRIED,
    SHALE_PROBE_GOOD,
    SHALE_PROBE_WARNS,  /* a database is possible, at a price that the text names */
    SHALE_PROBE_LACKS,  /* no database can be there */
    SHALE_PROBE_FAILED, /* could not be found out */
};

struct shale_probe_result {
    const char *name;  /* "conditional put" */
    enum shale_probe_state state;
    int rc;            /* 0; -EOPNOTSUPP when it lacks; what came back when it failed */
    char text[640];    /* what was found; when it is not good, what that means and what to do */
};

struct shale_probe_report {
    struct shale_probe_result checks[SHALE_PROBE_N_CHECKS];
};

/*
 * Find out whether a store can hold a database at path, with objects of its own there, called probe-ULID-..., which are
 * removed again in any case; so are those that a prober left who was killed more than an hour ago. Any number may
 * probe at once, also beside a database in use. It takes about ten round trips; put a retrying store in front of one
 * that may answer SHALE_ETRANSIENT. report may be NULL.
 * 0 when it can, perhaps with warnings; -EOPNOTSUPP when something is missing, with a sentence that names all of
 * that; another error when that could not be found out. report is filled in any case.
 */
SHALE_API int shale_store_probe(struct shale_store *s, const char *path, struct shale_probe_report *report);

#ifdef __cplusplus
}
#endif
#endif
