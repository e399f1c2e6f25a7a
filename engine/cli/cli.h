/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/text.h"

#include <shale/admin.h>
#include <shale/inspect.h>
#include <shale/store_config.h>
#include <stdatomic.h>

/* Exit status of the program. */
enum cli_exit { CLI_OK = 0, CLI_NOT_FOUND = 1, CLI_ERROR = 2 };

/* A clock that stands at a time and moves only when told to; 0 follows the system's. */
struct cli_clock {
    struct shale_clock clock; /* clock.ctx is this struct */
    _Atomic int64_t ms;       /* relaxed: one thread sets it between operations */
};

/* What compact is to do. */
struct cli_compact {
    bool l0, embedded, submit_only, resume, watch, has_kill;
    uint32_t l0_oldest;
    uint32_t *runs; /* owned */
    size_t n_runs;
    const char *spec;
    uint64_t kill_after;
};

/* Options of checkpoint, clone and gc. Texts are borrowed. */
struct cli_admin_options {
    const char *name, *only;
    bool has_lifetime, has_source, has_checkpoint, has_min_age, flush, dry_run;
    uint64_t lifetime_s, min_age_s;
    struct shale_uuid source, checkpoint;
};

/* A parsed command line. */
struct cli {
    const char *command;
    const char *url;
    char **args; /* behind the URL */
    int n_args;

    struct shale_options opt;
    struct cli_clock clock;
    struct shale_store_config *where; /* what was said of the stores */
    struct shale_store *store; /* opened by cli_open_store, as is path */
    struct shale_store *wal_store;
    struct shale_store *patient;     /* store, asked again for half a minute: for what no handle of the engine asks */
    struct shale_store *patient_wal; /* the same of the one that WAL objects are in */
    char *path;
    const char *wal_url;
    const char *request_log_path; /* NULL: none */
    struct request_log *request_log;
    struct shale_request_watch watch; /* of the stores */

    size_t digest;
    bool bare, reader, keep_going;
    const char *from_text; /* --from: a key, or for clone a path; borrowed */
    struct shale_buf from, to;
    bool has_from, has_to;
    uint64_t id;
    bool has_id;
    const char *expected;
    uint64_t gets;
    struct cli_compact compact;
    struct cli_admin_options admin;
    bool round_up;
    bool once, json;
    uint64_t interval_s;
};

struct cli_command {
    const char *name; /* one word or two */
    const char *args;    /* shown in help */
    const char *help;
    int min_args, max_args; /* behind the URL; max -1: any number */
    int (*run)(struct cli *c);
};

/* Fill c from the arguments; prints help or what is wrong and exits when there is nothing to run. */
const struct cli_command *cli_parse(struct cli *c, const struct cli_command *commands, int argc, char **argv);

/* Open the store of the URL. create makes a missing directory. 0 or an error with a sentence. */
int cli_open_store(struct cli *c, bool create);
/* Open the database for writing, made when missing; or for reading, which changes nothing. */
int cli_open_writer(struct cli *c, struct shale_db **out);
int cli_open_reader(struct cli *c, struct shale_db **out);
/* Once the stores are open. */
int cli_open_inspect(struct cli *c, struct shale_inspect **out);
void cli_fini(struct cli *c);

/* Print "shale: COMMAND: sentence" and return CLI_ERROR. */
int cli_fail(const struct cli *c, int rc);

/* The commands. Each prints to standard output and returns an exit status. */
int cmd_dump(struct cli *c);
int cmd_get(struct cli *c);
int cmd_rows(struct cli *c);
int cmd_put(struct cli *c);
int cmd_merge(struct cli *c);
int cmd_delete(struct cli *c);
int cmd_apply(struct cli *c);
int cmd_check(struct cli *c);
int cmd_manifest(struct cli *c);
int cmd_compactions(struct cli *c);
int cmd_compact(struct cli *c);
int cmd_checkpoint_create(struct cli *c);
int cmd_checkpoint_list(struct cli *c);
int cmd_checkpoint_refresh(struct cli *c);
int cmd_checkpoint_delete(struct cli *c);
int cmd_clone(struct cli *c);
int cmd_gc(struct cli *c);
int cmd_properties(struct cli *c);
int cmd_seq_to_ts(struct cli *c);
int cmd_ts_to_seq(struct cli *c);
int cmd_top(struct cli *c);
int cmd_probe(struct cli *c);

/* "append", "sum", "none" (*op NULL). 0 or -EINVAL with a sentence. */
int cli_merge_operator(const char *name, const struct shale_merge_operator **op);
/* "xor" or "none"; "counts" or "none". The same. */
int cli_block_transformer(const char *name, const struct shale_block_transformer **out);
int cli_property_collector(const char *name, const struct shale_property_collector **out);
/* ttl=MS, expire_at=MS or noexpiry; several words, the first counts. */
int cli_parse_ttl(char *const *words, int n, struct shale_ttl *out);
/* Decode every SST under wal/ and compacted/ and print its rows; out NULL: only decode. */
int cli_print_objects(struct cli *c, FILE *out);
/* Print all rows of an iterator, and count them. Closes it. */
int cli_print_scan(struct shale_iter *it, bool bare, size_t digest, FILE *out, uint64_t *n);

/* 0 or -EINVAL with a sentence. */
int cli_parse_uuid(const char *text, struct shale_uuid *out);
/* Once the stores are open. */
struct shale_admin_options cli_admin(const struct cli *c);
/* before, id and manifest id. */
void cli_print_checkpoint(const char *before, const struct shale_checkpoint *cp);

#endif
