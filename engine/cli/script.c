/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 16
#define SNAPSHOTS_MAX 64

struct named_snapshot {
    char *name;
    struct shale_snapshot *snapshot;
};

struct script {
    struct cli *c;
    struct shale_db *db;
    struct shale_batch *batch; /* reused */
    bool in_batch;
    struct named_snapshot snapshots[SNAPSHOTS_MAX];
    size_t n_snapshots;
    struct shale_buf key, value;
    char *words[WORDS_MAX];
    int n;
    bool crash;
};

struct verb {
    const char *name;
    int min_words;
    int (*run)(struct script *s);
};

static int finish_write(struct script *s)
{
    struct shale_write_result res;
    int rc;

    if (s->in_batch) {
        puts("ok");
        return 0;
    }
    rc = shale_db_write(s->db, s->batch, false, &res);
    shale_batch_clear(s->batch);
    if (rc == 0)
        printf("ok %" PRIu64 "\n", res.seq);
    return rc;
}

static int write_value(struct script *s, bool merge)
{
    struct shale_ttl ttl;
    int rc = text_parse_cell(s->words[1], &s->key);

    if (rc == 0)
        rc = text_parse_cell(s->words[2], &s->value);
    if (rc == 0)
        rc = cli_parse_ttl(s->words + 3, s->n - 3, &ttl);
    if (rc == 0)
        rc = (merge ? shale_batch_merge : shale_batch_put)(s->batch, slice_of_buf(&s->key), slice_of_buf(&s->value), ttl);
    return rc < 0 ? rc : finish_write(s);
}

static int do_put(struct script *s)
{
    return write_value(s, false);
}

static int do_merge(struct script *s)
{
    return write_value(s, true);
}

static int do_delete(struct script *s)
{
    int rc = text_parse_cell(s->words[1], &s->key);

    if (rc == 0)
        rc = shale_batch_delete(s->batch, slice_of_buf(&s->key));
    return rc < 0 ? rc : finish_write(s);
}

static int do_begin(struct script *s)
{
    shale_batch_clear(s->batch);
    s->in_batch = true;
    puts("ok");
    return 0;
}

static int do_commit(struct script *s)
{
    if (!s->in_batch)
        return err_set(-EINVAL, "no batch");
    s->in_batch = false;
    return finish_write(s);
}

static int do_flush(struct script *s)
{
    bool wal = strcmp(s->words[1], "wal") == 0;
    int rc;

    if (!wal && strcmp(s->words[1], "memtable") != 0)
        return err_set(-EINVAL, "flush %s: want wal or memtable", s->words[1]);
    rc = shale_db_flush(s->db, wal ? SHALE_FLUSH_WAL : SHALE_FLUSH_MEMTABLE);
    if (rc == 0)
        puts("ok");
    return rc;
}

static int do_get(struct script *s)
{
    struct shale_row row;
    int rc = text_parse_cell(s->words[1], &s->key);

    if (rc == 0)
        rc = shale_db_get_row(s->db, slice_of_buf(&s->key), NULL, &s->value, &row);
    if (rc == 0)
        text_scan_line(stdout, &row, false, TEXT_NO_DIGEST);
    else if (rc == -ENOENT)
        puts("none");
    return rc == -ENOENT ? 0 : rc;
}

static int scan(struct script *s, const struct shale_key_range *range, const struct shale_snapshot *snapshot)
{
    const struct shale_read_options opt = { .snapshot = snapshot };
    struct shale_iter *it;
    uint64_t n;
    int rc = shale_db_scan(s->db, range, &opt, &it);

    if (rc == 0)
        rc = cli_print_scan(it, false, TEXT_NO_DIGEST, stdout, &n);
    if (rc == 0)
        printf("ok %" PRIu64 "\n", n);
    return rc;
}

static int do_scan(struct script *s)
{
    struct shale_key_range range;
    int rc = text_parse_cell(s->n > 1 ? s->words[1] : "-", &s->key);

    if (rc == 0)
        rc = text_parse_cell(s->n > 2 ? s->words[2] : "-", &s->value);
    range = (struct shale_key_range){ .from = slice_of(s->key.len ? s->key.data : NULL, s->key.len),
                                      .to = slice_of(s->value.len ? s->value.data : NULL, s->value.len) };
    return rc < 0 ? rc : scan(s, &range, NULL);
}

static struct named_snapshot *find_snapshot(struct script *s)
{
    for (size_t i = 0; i < s->n_snapshots; i++)
        if (strcmp(s->snapshots[i].name, s->words[1]) == 0)
            return &s->snapshots[i];
    return NULL;
}

static void drop_snapshot(struct script *s, struct named_snapshot *n)
{
    shale_snapshot_release(s->db, n->snapshot);
    free(n->name);
    *n = s->snapshots[--s->n_snapshots];
}

static int do_snapshot(struct script *s)
{
    struct named_snapshot *old = find_snapshot(s);
    struct named_snapshot fresh;
    int rc;

    if (s->n_snapshots == SNAPSHOTS_MAX)
        return err_set(-EINVAL, "at most %d snapshots", SNAPSHOTS_MAX);
    fresh.name = strdup(s->words[1]);
    rc = fresh.name ? shale_db_snapshot(s->db, &fresh.snapshot) : -ENOMEM;
    if (rc < 0) {
        free(fresh.name);
        return rc;
    }
    if (old)
        drop_snapshot(s, old);
    s->snapshots[s->n_snapshots++] = fresh;
    printf("ok %" PRIu64 "\n", shale_snapshot_seq(fresh.snapshot));
    return 0;
}

static int do_snapshot_scan(struct script *s)
{
    struct named_snapshot *n = find_snapshot(s);

    return n ? scan(s, &(struct shale_key_range){ { NULL, 0 }, { NULL, 0 } }, n->snapshot)
             : err_set(-EINVAL, "no such snapshot");
}

static int do_drop(struct script *s)
{
    struct named_snapshot *n = find_snapshot(s);

    if (!n)
        return err_set(-EINVAL, "no such snapshot");
    drop_snapshot(s, n);
    puts("ok");
    return 0;
}

static int parse_ms(const char *text, int64_t *out)
{
    uint64_t v;
    int rc = text_parse_u64(text, "milliseconds", INT64_MAX, &v);

    *out = (int64_t)v;
    return rc;
}

static int do_clock(struct script *s)
{
    int64_t ms;
    int rc = parse_ms(s->words[1], &ms);

    if (rc == 0) {
        atomic_store_explicit(&s->c->clock.ms, ms, memory_order_relaxed);
        puts("ok");
    }
    return rc;
}

static int do_advance(struct script *s)
{
    int64_t now = atomic_load_explicit(&s->c->clock.ms, memory_order_relaxed), ms;
    int rc = parse_ms(s->words[1], &ms);

    if (rc == 0) {
        if (now)
            atomic_store_explicit(&s->c->clock.ms, now + ms, memory_order_relaxed);
        puts("ok");
    }
    return rc;
}

static int do_sleep(struct script *s)
{
    struct timespec ts;
    int64_t ms;
    int rc = parse_ms(s->words[1], &ms);

    if (rc == 0) {
        ts = (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
        nanosleep(&ts, NULL);
        puts("ok");
    }
    return rc;
}

static int close_db(struct script *s, enum shale_close_mode mode)
{
    int rc;

    while (s->n_snapshots > 0)
        drop_snapshot(s, &s->snapshots[0]);
    rc = shale_db_close(s->db, mode);
    s->db = NULL;
    return rc;
}

static int do_reopen(struct script *s)
{
    int rc = close_db(s, SHALE_CLOSE_FLUSH);

    if (rc == 0)
        rc = shale_db_open(s->c->store, s->c->path, &s->c->opt, true, &s->db);
    if (rc == 0)
        puts("ok");
    return rc;
}

/* How far background work has come; not among the answers that are compared with anything. */
static int do_status(struct script *s)
{
    struct shale_db_status st;

    shale_db_status(s->db, &st);
    printf("ok l0=%" PRIu32 " runs=%" PRIu32 " compacting=%" PRIu32 " compactions=%" PRIu64 " durable=%" PRIu64 "\n",
           st.n_l0, st.n_runs, st.n_compacting, st.compactions, st.durable_seq);
    return 0;
}

static int do_checkpoint(struct script *s)
{
    struct shale_checkpoint_options opt = { 0 };
    struct shale_checkpoint cp;
    uint64_t seconds;
    int rc = 0;

    for (int i = 1; rc == 0 && i < s->n; i++) {
        if (strncmp(s->words[i], "name=", 5) == 0) {
            opt.name = s->words[i] + 5;
        } else if (strncmp(s->words[i], "lifetime_s=", 11) == 0) {
            rc = text_parse_u64(s->words[i] + 11, "lifetime_s", INT64_MAX / 1000, &seconds);
            opt.has_lifetime = true;
            opt.lifetime_ms = rc < 0 ? 0 : (int64_t)seconds * 1000;
        } else {
            rc = err_set(-EINVAL, "unknown option %s", s->words[i]);
        }
    }
    if (rc == 0)
        rc = shale_db_checkpoint(s->db, SHALE_CHECKPOINT_ALL, &opt, &cp);
    if (rc == 0)
        cli_print_checkpoint("ok ", &cp);
    return rc;
}

static int do_crash(struct script *s)
{
    puts("ok");
    s->crash = true;
    return 0;
}

static const struct verb verbs[] = {
    { "put", 3, do_put },         { "merge", 3, do_merge },       { "delete", 2, do_delete },
    { "begin", 1, do_begin },     { "commit", 1, do_commit },     { "flush", 2, do_flush },
    { "get", 2, do_get },         { "scan", 1, do_scan },         { "snapshot", 2, do_snapshot },
    { "drop", 2, do_drop },       { "clock", 2, do_clock },       { "snapshot-scan", 2, do_snapshot_scan },
    { "advance", 2, do_advance }, { "sleep", 2, do_sleep },       { "reopen", 1, do_reopen },
    { "crash", 1, do_crash },     { "status", 1, do_status },     { "checkpoint", 1, do_checkpoint },
};

/* One line that is not empty: its words are in s. */
static int run_line(struct script *s)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, s->words[0]) != 0)
            continue;
        if (s->n < verbs[i].min_words)
            return err_set(-EINVAL, "too few words");
        return verbs[i].run(s);
    }
    return err_set(-EINVAL, "unknown command %s", s->words[0]);
}

static void split(struct script *s, char *line)
{
    char *save = NULL;

    s->n = 0;
    for (char *w = strtok_r(line, " \t\r\n", &save); w && s->n < WORDS_MAX; w = strtok_r(NULL, " \t\r\n", &save))
        s->words[s->n++] = w;
}

static int run_lines(struct script *s, FILE *in)
{
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;

    while (!s->crash && (rc == 0 || s->c->keep_going) && getline(&line, &cap, in) >= 0) {
        split(s, line);
        if (s->n == 0 || s->words[0][0] == '#')
            continue;
        err_clear();
        rc = s->db ? run_line(s) : err_set(SHALE_ECLOSED, "the database is not open");
        if (rc < 0)
            printf("error %s\n", shale_errmsg()[0] ? shale_errmsg() : shale_strerror(rc));
        fflush(stdout);
    }
    free(line);
    return s->c->keep_going ? 0 : rc;
}

int cmd_apply(struct cli *c)
{
    struct script s = { .c = c };
    bool from_stdin = strcmp(c->args[0], "-") == 0;
    FILE *in = from_stdin ? stdin : fopen(c->args[0], "re");
    int rc = in ? 0 : err_set(-errno, "cannot read %s: %s", c->args[0], strerror(errno)), close_rc;

    if (rc == 0)
        rc = shale_batch_new(&s.batch);
    if (rc == 0)
        rc = cli_open_writer(c, &s.db);
    if (rc == 0)
        rc = run_lines(&s, in);
    if (s.crash) {
        fflush(stdout);
        _exit(CLI_OK); /* without closing: that is what it is for */
    }
    if (rc < 0)
        (void)cli_fail(c, rc); /* while its sentence is there */
    close_rc = close_db(&s, rc == 0 ? SHALE_CLOSE_FLUSH : SHALE_CLOSE_ABANDON); /* after an error as after a crash */
    if (rc == 0 && close_rc < 0)
        (void)cli_fail(c, rc = close_rc);
    shale_batch_free(s.batch);
    shale_buf_fini(&s.key);
    shale_buf_fini(&s.value);
    if (in && !from_stdin)
        fclose(in);
    return rc < 0 ? CLI_ERROR : CLI_OK;
}
