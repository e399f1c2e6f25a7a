/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#define L0_MAX_COMPACTED 64 /* with a compactor, flushes wait for it above this */

enum {
    OPT_CODEC = 256,
    OPT_BLOCK_SIZE,
    OPT_MIN_FILTER_KEYS,
    OPT_FILTER_BITS,
    OPT_DEFAULT_TTL,
    OPT_NO_WAL,
    OPT_L0_SIZE,
    OPT_AUTO_FLUSH,
    OPT_MERGE_OP,
    OPT_SEED,
    OPT_CLOCK,
    OPT_COMPACTOR,
    OPT_MAX_SST_SIZE,
    OPT_MIN_SOURCES,
    OPT_BLOCK_TRANSFORMER,
    OPT_COLLECT,
    OPT_REQUEST_LOG,
    OPT_WAL_URL,
    OPT_FULL,
    OPT_L0,
    OPT_L0_OLDEST,
    OPT_RUNS,
    OPT_SPEC,
    OPT_EMBEDDED,
    OPT_SUBMIT_ONLY,
    OPT_RESUME,
    OPT_KILL_AFTER,
    OPT_WATCH,
    OPT_BARE,
    OPT_DIGEST,
    OPT_FROM,
    OPT_TO,
    OPT_READER,
    OPT_KEEP_GOING,
    OPT_ID,
    OPT_EXPECTED,
    OPT_GETS,
    OPT_ROUND,
    OPT_ONCE,
    OPT_JSON,
    OPT_INTERVAL_S,
    OPT_NAME,
    OPT_LIFETIME_S,
    OPT_SOURCE,
    OPT_FLUSH,
    OPT_CHECKPOINT,
    OPT_MIN_AGE_S,
    OPT_ONLY,
    OPT_DRY_RUN,
    OPT_STORE, /* and as many as there are settings of stores */
};

static const struct option long_options[] = {
    { "codec", required_argument, NULL, OPT_CODEC },
    { "block-size", required_argument, NULL, OPT_BLOCK_SIZE },
    { "min-filter-keys", required_argument, NULL, OPT_MIN_FILTER_KEYS },
    { "filter-bits", required_argument, NULL, OPT_FILTER_BITS },
    { "default-ttl", required_argument, NULL, OPT_DEFAULT_TTL },
    { "no-wal", no_argument, NULL, OPT_NO_WAL },
    { "l0-size", required_argument, NULL, OPT_L0_SIZE },
    { "auto-flush", no_argument, NULL, OPT_AUTO_FLUSH },
    { "merge-op", required_argument, NULL, OPT_MERGE_OP },
    { "seed", required_argument, NULL, OPT_SEED },
    { "clock", required_argument, NULL, OPT_CLOCK },
    { "compactor", no_argument, NULL, OPT_COMPACTOR },
    { "max-sst-size", required_argument, NULL, OPT_MAX_SST_SIZE },
    { "min-sources", required_argument, NULL, OPT_MIN_SOURCES },
    { "block-transformer", required_argument, NULL, OPT_BLOCK_TRANSFORMER },
    { "collect", required_argument, NULL, OPT_COLLECT },
    { "request-log", required_argument, NULL, OPT_REQUEST_LOG },
    { "wal-url", required_argument, NULL, OPT_WAL_URL },
    { "full", no_argument, NULL, OPT_FULL },
    { "l0", no_argument, NULL, OPT_L0 },
    { "l0-oldest", required_argument, NULL, OPT_L0_OLDEST },
    { "runs", required_argument, NULL, OPT_RUNS },
    { "spec", required_argument, NULL, OPT_SPEC },
    { "embedded", no_argument, NULL, OPT_EMBEDDED },
    { "submit-only", no_argument, NULL, OPT_SUBMIT_ONLY },
    { "resume", no_argument, NULL, OPT_RESUME },
    { "kill-after", required_argument, NULL, OPT_KILL_AFTER },
    { "watch", no_argument, NULL, OPT_WATCH },
    { "bare", no_argument, NULL, OPT_BARE },
    { "digest", optional_argument, NULL, OPT_DIGEST },
    { "from", required_argument, NULL, OPT_FROM },
    { "to", required_argument, NULL, OPT_TO },
    { "reader", no_argument, NULL, OPT_READER },
    { "keep-going", no_argument, NULL, OPT_KEEP_GOING },
    { "id", required_argument, NULL, OPT_ID },
    { "expected", required_argument, NULL, OPT_EXPECTED },
    { "gets", required_argument, NULL, OPT_GETS },
    { "round", required_argument, NULL, OPT_ROUND },
    { "once", no_argument, NULL, OPT_ONCE },
    { "json", no_argument, NULL, OPT_JSON },
    { "interval-s", required_argument, NULL, OPT_INTERVAL_S },
    { "name", required_argument, NULL, OPT_NAME },
    { "lifetime-s", required_argument, NULL, OPT_LIFETIME_S },
    { "source", required_argument, NULL, OPT_SOURCE },
    { "flush", no_argument, NULL, OPT_FLUSH },
    { "checkpoint", required_argument, NULL, OPT_CHECKPOINT },
    { "min-age-s", required_argument, NULL, OPT_MIN_AGE_S },
    { "only", required_argument, NULL, OPT_ONLY },
    { "dry-run", no_argument, NULL, OPT_DRY_RUN },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
};

static const char usage_options[] =
    "URL is s3://bucket/database, gs://bucket/database, az://container/database, file:///dir/database or\n"
    "memory://name/database; a plain path means file://.\n"
    "Keys and values are hex, - for an empty one, *COUNT:HH for COUNT times the byte HH.\n"
    "\n"
    "Options of every command\n"
    "  --merge-op append|sum|none  how operands are folded (append)\n"
    "  --block-transformer xor     blocks are stored so, with each byte exclusive-or a5 (none)\n"
    "  --wal-url URL               store of the WAL objects, where the database has one of its own\n"
    "  --request-log FILE          append a line for each request to a bucket\n"
    "  --clock MS                  a clock that stands at this Unix time; a script may move it\n"
    "  --seed N                    ids follow from this number\n"
    "Options of commands that write\n"
    "  --codec none|snappy|zlib|lz4|zstd   --block-size 1k..64k   --min-filter-keys N   --filter-bits N\n"
    "  --default-ttl MS   --no-wal   --l0-size BYTES   --auto-flush (the WAL every 100 ms, not only when told to)\n"
    "  --compactor (run one meanwhile)   --max-sst-size BYTES (of its outputs)   --min-sources N (for one compaction)\n"
    "  --collect counts (properties of the SSTs: numbers of rows and bytes, sums of CRC-32)\n"
    "Options of compact\n"
    "  --full (all L0 SSTs and runs into the lowest run; the default)   --l0 (L0 SSTs into a new run)\n"
    "  --runs 2,1 (into the lowest of them)   --l0-oldest N (with --l0 or --runs: only the N oldest)\n"
    "  --spec '{\"sources\":[{\"SstView\":\"01H...\"},{\"SortedRun\":3}],\"destination\":3}'\n"
    "  --embedded (in an opened database, which fences its writer)   --submit-only (for the compactor that runs)\n"
    "  --resume (work off what is recorded)   --kill-after N (end when N outputs are recorded)\n"
    "  --watch (go on until a signal)   --max-sst-size, --codec, --block-size, ... as above\n"
    "Options of some\n"
    "  dump   --from HEX --to HEX (exclusive) --bare (key and value) --digest[=N] (SHA-256 of cells over N bytes, 1024)\n"
    "  dump, get  --checkpoint ID (what it holds)\n"
    "  properties  --checkpoint ID --digest[=N]\n"
    "  rows   --digest[=N]\n"
    "  apply  --keep-going (after an error)\n"
    "  check  --expected FILE (compare with these rows) --gets N (keys to look up singly, 1000)\n"
    "  manifest, compactions  --id N (an older one)\n"
    "  seq-to-ts, ts-to-seq   --round up|down (down)\n"
    "  probe  --json\n"
    "  top    --once (as it does when the output is no terminal) --json (once) --interval-s N (2)\n"
    "  checkpoint create      --name TEXT --lifetime-s N --source ID --flush (open it and flush everything first)\n"
    "  checkpoint list        --name TEXT (only those; '' is without)\n"
    "  checkpoint refresh     --lifetime-s N\n"
    "  clone                  --from PATH (in the same store) --checkpoint ID\n"
    "  gc                     --min-age-s N (300) --only manifest,wal,compacted,compactions --dry-run (print the names)\n";

static char *dashed(char *name)
{
    for (char *p = name; (p = strchr(p, '_')) != NULL;)
        *p = '-';
    return name;
}

static void print_help(const struct cli_command *commands, FILE *out)
{
    size_t i = 0;

    fputs("Usage: shale COMMAND URL [ARGUMENT...] [OPTION...]\n\n"
          "Looks into and works on a database in the format of SlateDB 0.12.1.\n\n",
          out);
    for (const struct cli_command *cmd = commands; cmd->name; cmd++) {
        char head[64];

        snprintf(head, sizeof(head), "%s %s", cmd->name, cmd->args);
        fprintf(out, "  %-30s %s\n", head, cmd->help);
    }
    fprintf(out, "\n%s", usage_options);
    fputs("Options of every command on s3:// (keys come from the environment, files and roles)\n", out);
    for (const struct shale_store_setting *s; (s = shale_store_setting_at(i)) != NULL; i++) {
        char head[64];

        snprintf(head, sizeof(head), "--%s %s", s->name, s->argument ? s->argument : "");
        fprintf(out, "  %-19s %s\n", dashed(head), s->help);
    }
}

static int parse_block_size(const char *text, uint32_t *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if ((*end != 'k' && *end != 'K') || end[1] || n < 1 || n > 64 || (n & (n - 1)))
        return err_set(-EINVAL, "--block-size: '%s' is none of 1k, 2k, 4k, 8k, 16k, 32k, 64k", text);
    *out = (uint32_t)n * 1024;
    return 0;
}

static int parse_u32(const char *text, const char *what, uint32_t *out)
{
    uint64_t v;
    int rc = text_parse_u64(text, what, UINT32_MAX, &v);

    if (rc == 0)
        *out = (uint32_t)v;
    return rc;
}

static int parse_i64(const char *text, const char *what, int64_t *out)
{
    uint64_t v;
    int rc = text_parse_u64(text, what, INT64_MAX, &v);

    if (rc == 0)
        *out = (int64_t)v;
    return rc;
}

static int parse_codec(const char *text, enum shale_codec *out)
{
    int rc = shale_codec_parse(text);

    if (rc < 0)
        return err_set(rc, "--codec: '%s' is none of none, snappy, zlib, lz4, zstd", text);
    *out = (enum shale_codec)rc;
    return 0;
}

/* Options of how a database is opened. */
static int set_open_option(struct cli *c, int opt, const char *arg)
{
    int64_t ms;
    int rc = 0;

    switch (opt) {
    case OPT_CODEC:
        return parse_codec(arg, &c->opt.codec);
    case OPT_BLOCK_SIZE:
        return parse_block_size(arg, &c->opt.block_size);
    case OPT_MIN_FILTER_KEYS:
        return parse_u32(arg, "--min-filter-keys", &c->opt.min_filter_keys);
    case OPT_FILTER_BITS:
        return parse_u32(arg, "--filter-bits", &c->opt.filter_bits_per_key);
    case OPT_DEFAULT_TTL:
        return parse_i64(arg, "--default-ttl", &c->opt.default_ttl_ms);
    case OPT_NO_WAL:
        c->opt.wal_enabled = false;
        return 0;
    case OPT_L0_SIZE:
        return text_parse_u64(arg, "--l0-size", UINT64_MAX, &c->opt.l0_sst_size_bytes);
    case OPT_AUTO_FLUSH:
        c->opt.flush_interval_ms = 100;
        return 0;
    case OPT_MERGE_OP:
        return cli_merge_operator(arg, &c->opt.merge_operator);
    case OPT_SEED:
        return text_parse_u64(arg, "--seed", UINT64_MAX, &c->opt.seed);
    case OPT_CLOCK:
        rc = parse_i64(arg, "--clock", &ms);
        if (rc == 0)
            atomic_store_explicit(&c->clock.ms, ms, memory_order_relaxed);
        return rc;
    case OPT_COMPACTOR:
        c->opt.compactor.enabled = true;
        c->opt.l0_max_ssts = L0_MAX_COMPACTED;
        return 0;
    case OPT_MAX_SST_SIZE:
        return text_parse_u64(arg, "--max-sst-size", UINT64_MAX, &c->opt.compactor.max_sst_size);
    case OPT_MIN_SOURCES:
        return parse_u32(arg, "--min-sources", &c->opt.compactor.min_sources);
    case OPT_BLOCK_TRANSFORMER:
        return cli_block_transformer(arg, &c->opt.block_transformer);
    case OPT_COLLECT:
        return cli_property_collector(arg, &c->opt.property_collector);
    case OPT_REQUEST_LOG:
        c->request_log_path = arg;
        return 0;
    default:
        c->wal_url = arg;
        return 0;
    }
}

/* "2,1" */
static int parse_runs(char *text, struct cli_compact *out)
{
    size_t cap = 0;
    char *word;

    out->n_runs = 0;
    while ((word = strsep(&text, ",")) != NULL) {
        uint64_t n;
        int rc = text_parse_u64(word, "--runs", UINT32_MAX, &n);

        if (rc == 0)
            rc = vec_reserve(&out->runs, &cap, out->n_runs + 1, sizeof(*out->runs));
        if (rc < 0)
            return rc;
        out->runs[out->n_runs++] = (uint32_t)n;
    }
    return 0;
}

/* Options of compact. */
static int set_compact_option(struct cli *c, int opt, char *arg)
{
    struct cli_compact *a = &c->compact;

    switch (opt) {
    case OPT_FULL:
        return 0; /* as it is without any */
    case OPT_L0:
        a->l0 = true;
        return 0;
    case OPT_L0_OLDEST:
        return parse_u32(arg, "--l0-oldest", &a->l0_oldest);
    case OPT_RUNS:
        return parse_runs(arg, a);
    case OPT_SPEC:
        a->spec = arg;
        return 0;
    case OPT_EMBEDDED:
        a->embedded = true;
        return 0;
    case OPT_SUBMIT_ONLY:
        a->submit_only = true;
        return 0;
    case OPT_RESUME:
        a->resume = true;
        return 0;
    case OPT_KILL_AFTER:
        a->has_kill = true;
        return text_parse_u64(arg, "--kill-after", UINT64_MAX, &a->kill_after);
    default:
        a->watch = true;
        return 0;
    }
}

/* Options of what a command shows. */
static int set_view_option(struct cli *c, int opt, const char *arg)
{
    uint64_t n = 1024;
    int rc;

    switch (opt) {
    case OPT_BARE:
        c->bare = true;
        return 0;
    case OPT_DIGEST:
        rc = arg ? text_parse_u64(arg, "--digest", SIZE_MAX, &n) : 0;
        c->digest = (size_t)n;
        return rc;
    case OPT_FROM:
        c->from_text = arg;
        return 0;
    case OPT_TO:
        c->has_to = strcmp(arg, "-") != 0;
        return text_parse_cell(arg, &c->to);
    case OPT_READER:
        c->reader = true;
        return 0;
    case OPT_KEEP_GOING:
        c->keep_going = true;
        return 0;
    case OPT_ID:
        c->has_id = true;
        return text_parse_u64(arg, "--id", UINT64_MAX, &c->id);
    case OPT_EXPECTED:
        c->expected = arg;
        return 0;
    case OPT_ONCE:
        c->once = true;
        return 0;
    case OPT_JSON:
        c->json = true;
        return 0;
    case OPT_INTERVAL_S:
        return text_parse_u64(arg, "--interval-s", 86400, &c->interval_s);
    case OPT_ROUND:
        c->round_up = strcmp(arg, "up") == 0;
        return c->round_up || strcmp(arg, "down") == 0 ? 0 : err_set(-EINVAL, "--round: '%s' is neither up nor down", arg);
    default:
        return text_parse_u64(arg, "--gets", UINT64_MAX, &c->gets);
    }
}

static int set_admin_option(struct cli_admin_options *a, int opt, const char *arg)
{
    switch (opt) {
    case OPT_NAME:
        a->name = arg;
        return 0;
    case OPT_LIFETIME_S:
        a->has_lifetime = true;
        return text_parse_u64(arg, "--lifetime-s", UINT64_MAX, &a->lifetime_s);
    case OPT_SOURCE:
        a->has_source = true;
        return cli_parse_uuid(arg, &a->source);
    case OPT_FLUSH:
        a->flush = true;
        return 0;
    case OPT_CHECKPOINT:
        a->has_checkpoint = true;
        return cli_parse_uuid(arg, &a->checkpoint);
    case OPT_MIN_AGE_S:
        a->has_min_age = true;
        return text_parse_u64(arg, "--min-age-s", INT64_MAX / 1000, &a->min_age_s);
    case OPT_ONLY:
        a->only = arg;
        return 0;
    default:
        a->dry_run = true;
        return 0;
    }
}

static int set_store_option(struct cli *c, size_t i, const char *arg)
{
    const char *name = shale_store_setting_at(i)->name;
    int rc = shale_store_config_set(c->where, name, arg);

    return rc < 0 ? err_add(rc, "--%s", name) : 0;
}

static int set_option(struct cli *c, int opt, char *arg)
{
    if (opt >= OPT_STORE)
        return set_store_option(c, (size_t)(opt - OPT_STORE), arg);
    if (opt >= OPT_NAME && opt <= OPT_DRY_RUN)
        return set_admin_option(&c->admin, opt, arg);
    if (opt <= OPT_WAL_URL)
        return set_open_option(c, opt, arg);
    return opt <= OPT_WATCH ? set_compact_option(c, opt, arg) : set_view_option(c, opt, arg);
}

static int64_t clock_now(void *ctx)
{
    struct cli_clock *clock = ctx;
    int64_t ms = atomic_load_explicit(&clock->ms, memory_order_relaxed);

    return ms ? ms : clock_wall_ms();
}

static void bad_usage(const char *sentence)
{
    fprintf(stderr, "shale: %s\nTry 'shale --help'.\n", sentence);
    exit(CLI_ERROR);
}

static void set_defaults(struct cli *c)
{
    *c = (struct cli){ .digest = TEXT_NO_DIGEST, .gets = 1000, .interval_s = 2 };
    shale_options_init(&c->opt);
    c->opt.flush_interval_ms = 0;
    c->opt.compactor.enabled = false;
    c->opt.l0_max_ssts = UINT32_MAX; /* nobody would take them away */
    (void)cli_merge_operator("append", &c->opt.merge_operator); /* is there */
    c->clock.clock = (struct shale_clock){ .now_ms = clock_now, .ctx = &c->clock };
    c->opt.clock = &c->clock.clock;
    if (shale_store_config_new(&c->where) < 0)
        bad_usage("out of memory");
}

#define STORE_OPTIONS_MAX 32

/* Our own and those of stores, whose names are as a command line has them. */
struct all_options {
    struct option v[ARRAY_SIZE(long_options) + STORE_OPTIONS_MAX];
    char names[STORE_OPTIONS_MAX][24];
};

static void all_options_fill(struct all_options *all)
{
    const struct shale_store_setting *s;
    size_t n = ARRAY_SIZE(long_options) - 1, i = 0;

    memset(all, 0, sizeof(*all));
    memcpy(all->v, long_options, n * sizeof(all->v[0]));
    for (; (s = shale_store_setting_at(i)) != NULL && i < STORE_OPTIONS_MAX; i++) {
        snprintf(all->names[i], sizeof(all->names[i]), "%s", s->name);
        all->v[n + i] = (struct option){ dashed(all->names[i]), s->argument ? required_argument : no_argument, NULL,
                                         OPT_STORE + (int)i };
    }
}

static void parse_options(struct cli *c, const struct cli_command *commands, int argc, char **argv)
{
    struct all_options all;
    int opt, rc = 0;

    all_options_fill(&all);
    while (rc == 0 && (opt = getopt_long(argc, argv, "hV", all.v, NULL)) != -1) {
        if (opt == 'h') {
            print_help(commands, stdout);
            exit(CLI_OK);
        }
        if (opt == 'V') {
            printf("shale %s\n", shale_version());
            exit(CLI_OK);
        }
        if (opt == '?')
            exit(CLI_ERROR); /* getopt has said why */
        rc = set_option(c, opt, optarg);
    }
    if (rc < 0)
        bad_usage(shale_errmsg());
}

static const struct cli_command *find_name(const struct cli_command *commands, const char *name)
{
    for (; commands->name; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands;
    return NULL;
}

/* The command, of one word or two; *n_words of argv are its name. */
static const struct cli_command *find_command(const struct cli_command *commands, char **argv, int n, int *n_words)
{
    const struct cli_command *cmd = find_name(commands, argv[0]);
    char two[64];

    *n_words = 1;
    if (cmd || n < 2)
        return cmd;
    *n_words = 2;
    return (size_t)snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]) < sizeof(two) ? find_name(commands, two) : NULL;
}

static void check_args(const struct cli *c, const struct cli_command *cmd)
{
    char text[160];

    if (c->n_args >= cmd->min_args && (cmd->max_args < 0 || c->n_args <= cmd->max_args))
        return;
    snprintf(text, sizeof(text), "usage: shale %s %s", cmd->name, cmd->args);
    bad_usage(text);
}

const struct cli_command *cli_parse(struct cli *c, const struct cli_command *commands, int argc, char **argv)
{
    const struct cli_command *cmd;
    int n_words;
    char text[160];

    set_defaults(c);
    parse_options(c, commands, argc, argv);
    if (optind >= argc)
        bad_usage("which command?");
    c->command = argv[optind];
    cmd = find_command(commands, argv + optind, argc - optind, &n_words);
    if (!cmd) {
        snprintf(text, sizeof(text), "there is no command '%.64s'", c->command);
        bad_usage(text);
    }
    c->command = cmd->name;
    c->n_args = argc - optind - n_words - 1;
    check_args(c, cmd);
    c->url = argv[optind + n_words];
    c->args = argv + optind + n_words + 1;
    c->has_from = c->from_text && cmd->run != cmd_clone && strcmp(c->from_text, "-") != 0;
    if (c->has_from && text_parse_cell(c->from_text, &c->from) < 0)
        bad_usage(shale_errmsg());
    return cmd;
}
