/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "fs/cmd_place.h"
#include "fs/control_client.h"
#include "fs/cost.h"
#include "fs/mountpoint.h"
#include "fs/status_tree.h"
#include "fs/volume_info.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "usage: shalefs status [--json|--metrics] [--prices NAME] VOLUME|DIR\n"
    "\n"
    "What is known of a volume, given by its URL or by a directory that it is mounted on: its facts, its objects,\n"
    "the shape of its tree, the mounts that have it open, and of those on this machine the figures of the engine, the\n"
    "requests to the bucket and what they cost at list prices. Of a directory where a read-only mount follows a\n"
    "writer: how it keeps up. Needs no mount and disturbs none.\n"
    "\n"
    "  --json         for programs\n"
    "  --metrics      instead, all that a mount on this machine counts, as Prometheus reads it\n"
    "  --prices NAME  whose prices; without it the server's, if they are known:\n";

static void print_help(void)
{
    const struct price *p;

    fputs(help, stdout);
    for (size_t i = 0; (p = price_at(i)) != NULL; i++)
        printf("                   %-6s %s\n", p->name, p->title);
}

static void print_time(FILE *out, int64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fputs(text, out);
}

/* Call fn for each line "name value". */
static void each_figure(const struct shale_buf *lines, void (*fn)(const char *name, const char *value, bool first))
{
    char *copy = lines->len ? strndup((const char *)lines->data, lines->len) : NULL, *rest = copy, *line;
    bool first = true;

    while (rest && (line = strsep(&rest, "\n")) != NULL) {
        char *value = strchr(line, ' ');

        if (!value)
            continue;
        *value++ = '\0';
        fn(line, value, first);
        first = false;
    }
    free(copy);
}

static void figure_text(const char *name, const char *value, bool first)
{
    (void)first;
    printf("  %-20s %s\n", name, value);
}

static void figure_json(const char *name, const char *value, bool first)
{
    printf("%s\"%s\":%s", first ? "" : ",", name, value);
}

static uint64_t stored_bytes(const struct volume_info *v)
{
    uint64_t sum = 0;

    for (int i = 0; i < INFO_N_KINDS; i++)
        sum += v->objects[i].bytes;
    return sum;
}

static void print_prices(const struct volume_info *v, const struct price *p)
{
    if (p)
        printf("prices    %s: $%.2f a month for what is stored; traffic out of the cloud is not counted\n", p->title,
               cost_of_storage(p, stored_bytes(v)));
    else if (v->origin)
        printf("prices    no list price is known for %s; give --prices NAME\n", v->origin);
}

/* Of a mount that can be asked and whose store is a bucket; without memory nothing is told. */
static void print_requests(const struct shale_buf *lines, const struct price *p, bool json)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct cost_requests r;
    int rc;

    if (lines->len == 0)
        return;
    cost_requests_parse((const char *)lines->data, &r);
    rc = json ? cost_json(p, &r, &out) : cost_text(p, &r, &out);
    if (rc == 0 && out.len)
        printf(json ? "\"requests\":%.*s," : "%.*s", (int)out.len, (const char *)out.data);
    shale_buf_fini(&out);
}

/* A read-only mount that follows: the volume knows nothing of it. */
struct follower {
    struct shale_buf figures, requests; /* empty: there is none */
};

static void print_text(const struct volume_info *v, const struct price *p, const char *arg, const struct follower *f)
{
    char uuid[UUID_TEXT_LEN + 1], line[5120];

    uuid_format(v->volume.uuid, uuid);
    printf("volume    %s\n", v->url);
    printf("name      %s\n", v->volume.name[0] ? v->volume.name : "-");
    printf("uuid      %s\n", uuid);
    printf("format    %u\n", VOLUME_FORMAT);
    fputs("created   ", stdout);
    print_time(stdout, v->volume.created_ms);
    printf("\nchunk     %" PRIu32 "\nblock     %" PRIu32 "\ncodec     %s\n", v->volume.chunk_bytes,
           v->volume.block_bytes, shale_codec_name(v->volume.codec));
    for (int i = 0; i < INFO_N_KINDS; i++)
        printf("%-9s %s%" PRIu64 " objects, %" PRIu64 " bytes\n", i == 0 ? "objects" : "",
               (snprintf(line, sizeof(line), "%s: ", volume_info_kind(i)), line), v->objects[i].n, v->objects[i].bytes);
    print_prices(v, p);
    if (v->tree)
        status_tree_text(v->tree);
    else
        printf("tree      %s\n", v->tree_error);
    if (v->sessions.n == 0)
        printf("mounted   no\n");
    for (size_t i = 0; i < v->sessions.n; i++) {
        printf("mounted   %s%s\n", session_describe(&v->sessions.v[i], line, sizeof(line)),
               v->dead[i] ? " (gone)" : "");
        each_figure(&v->engine[i], figure_text);
        print_requests(&v->requests[i], p, false);
    }
    if (f->figures.len)
        printf("follower  %s\n", arg);
    each_figure(&f->figures, figure_text);
    print_requests(&f->requests, p, false);
}

static void json_string(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void json_field(const char *name, const char *value)
{
    printf("\"%s\":", name);
    json_string(value);
    putchar(',');
}

static void json_session(const struct volume_info *v, size_t i, const struct price *p)
{
    const struct session *s = &v->sessions.v[i];
    const struct shale_buf *engine = &v->engine[i];
    char id[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(s->id, id);
    putchar('{');
    json_field("id", id);
    if (!s->unreadable) {
        json_field("host", s->host);
        json_field("mount_point", s->mount_point);
        printf("\"pid\":%" PRIu32 ",\"since_ms\":%" PRId64 ",", s->pid, s->since_ms);
    }
    if (engine->len) {
        fputs("\"engine\":{", stdout);
        each_figure(engine, figure_json);
        fputs("},", stdout);
    }
    print_requests(&v->requests[i], p, true);
    printf("\"readable\":%s,\"gone\":%s}", s->unreadable ? "false" : "true", v->dead[i] ? "true" : "false");
}

static void print_json(const struct volume_info *v, const struct price *p, const struct follower *f)
{
    char uuid[UUID_TEXT_LEN + 1];

    uuid_format(v->volume.uuid, uuid);
    putchar('{');
    json_field("volume", v->url);
    json_field("name", v->volume.name);
    json_field("uuid", uuid);
    json_field("codec", shale_codec_name(v->volume.codec));
    printf("\"format\":%u,\"created_ms\":%" PRId64 ",\"chunk_bytes\":%" PRIu32 ",\"block_bytes\":%" PRIu32
           ",\"objects\":{",
           VOLUME_FORMAT, v->volume.created_ms, v->volume.chunk_bytes, v->volume.block_bytes);
    for (int i = 0; i < INFO_N_KINDS; i++)
        printf("%s\"%s\":{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", i ? "," : "", volume_info_kind(i),
               v->objects[i].n, v->objects[i].bytes);
    fputs("},", stdout);
    if (v->origin)
        json_field("server", v->origin);
    if (p) {
        json_field("prices", p->name);
        printf("\"storage_dollars_a_month\":%.6f,", cost_of_storage(p, stored_bytes(v)));
    }
    fputs("\"tree\":", stdout);
    if (v->tree)
        status_tree_json(v->tree);
    else
        fputs("null", stdout);
    fputs(",\"sessions\":[", stdout);
    for (size_t i = 0; i < v->sessions.n; i++) {
        if (i)
            putchar(',');
        json_session(v, i, p);
    }
    fputs("]", stdout);
    if (f->figures.len) {
        fputs(",\"follower\":{", stdout);
        print_requests(&f->requests, p, true);
        each_figure(&f->figures, figure_json);
        fputs("}", stdout);
    }
    fputs("}\n", stdout);
}

/*
 * The directory on which the volume that arg names answers; owned by the caller. -ENOENT without a sentence: nowhere
 * here.
 */
static int find_answering(struct cmd_place *place, const char *arg, char **dir)
{
    struct mountpoint m = { 0 };
    struct volume_info v;
    int rc;

    if (!strstr(arg, "://") && mountpoint_find(arg, false, &m) == 0) {
        *dir = m.dir;
        m.dir = NULL;
        mountpoint_fini(&m);
        return 0;
    }
    rc = cmd_place_volume(place, arg);
    if (rc == 0)
        rc = volume_info_load(place->url, shale_store_config_options(place->store), &v);
    if (rc < 0)
        return rc;
    rc = -ENOENT;
    for (size_t i = 0; rc == -ENOENT && i < v.sessions.n; i++) {
        if (v.engine[i].len == 0)
            continue;
        *dir = strdup(v.sessions.v[i].mount_point);
        rc = *dir ? 0 : -ENOMEM;
    }
    volume_info_fini(&v);
    return rc < 0 ? err_set(rc, rc == -ENOENT ? "it is not mounted on this machine" : "out of memory") : 0;
}

static int print_metrics(struct cmd_place *place, const char *arg)
{
    struct shale_buf text = SHALE_BUF_INIT;
    char *dir = NULL;
    int rc = find_answering(place, arg, &dir);

    if (rc == 0) {
        rc = control_metrics(dir, &text);
        if (rc < 0)
            (void)err_set(rc, "the mount on %s does not answer: %s", dir, strerror(-rc)); /* returns rc */
    }
    if (rc == 0)
        fwrite(text.data, 1, text.len, stdout);
    free(dir);
    shale_buf_fini(&text);
    return rc < 0 ? cmd_say(CMD_FAILED, "cannot tell about %s: %s", arg, cmd_reason(rc)) : CMD_OK;
}

/* Of the mount on the directory, when it follows. */
static void ask_follower(const char *arg, struct follower *f)
{
    static const char first[] = "poll_ms ";
    struct mountpoint m = { 0 };

    if (strstr(arg, "://") || mountpoint_find(arg, false, &m) < 0)
        return;
    if (m.dead || control_ask(m.dir, "status", &f->figures) < 0 || f->figures.len < strlen(first) ||
        memcmp(f->figures.data, first, strlen(first)) != 0)
        f->figures.len = 0;
    else if (control_ask(m.dir, "requests", &f->requests) < 0)
        f->requests.len = 0;
    mountpoint_fini(&m);
}

static int print_status(struct cmd_place *place, const char *arg, const struct price *p, bool json)
{
    struct follower f = { SHALE_BUF_INIT, SHALE_BUF_INIT };
    struct volume_info v;
    int rc = cmd_place_mounted(place, arg);

    if (rc == 0)
        rc = volume_info_load(place->url, shale_store_config_options(place->store), &v);
    if (rc < 0)
        return cmd_say(CMD_FAILED, "cannot tell about %s: %s", arg, cmd_reason(rc));
    if (!p)
        p = price_of(v.origin);
    ask_follower(arg, &f);
    json ? print_json(&v, p, &f) : print_text(&v, p, arg, &f);
    shale_buf_fini(&f.figures);
    shale_buf_fini(&f.requests);
    volume_info_fini(&v);
    return CMD_OK;
}

static int parse_and_print(struct cmd_place *place, int argc, char **argv)
{
    static const struct option long_options[] = { { "json", no_argument, NULL, 'j' },
                                                  { "metrics", no_argument, NULL, 'm' },
                                                  { "prices", required_argument, NULL, 'p' },
                                                  { "help", no_argument, NULL, 'h' },
                                                  { NULL, 0, NULL, 0 } };
    bool json = false, metrics = false;
    const struct price *p = NULL;
    int c;

    while ((c = cmd_place_getopt(place, argc, argv, "h", long_options, NULL)) != -1) {
        if (c == 'h') {
            print_help();
            cmd_place_help(stdout);
            return CMD_OK;
        }
        if (c == CMD_OPTION_WRONG)
            return cmd_usage("status", "%s", shale_errmsg());
        if (c == '?')
            return cmd_usage("status", "unknown option or missing value: %s", argv[optind - 1]);
        if (c == 'p' && !(p = price_find(optarg)))
            return cmd_usage("status", "no prices are known as %s", optarg);
        json = json || c == 'j';
        metrics = metrics || c == 'm';
    }
    if (json && metrics)
        return cmd_usage("status", "give --json or --metrics");
    if (argc - optind != 1)
        return cmd_usage("status", "give one VOLUME or DIR");
    return metrics ? print_metrics(place, argv[optind]) : print_status(place, argv[optind], p, json);
}

int cmd_status(int argc, char **argv)
{
    struct cmd_place place;
    int status;

    if (cmd_place_init(&place) < 0)
        return cmd_say(CMD_FAILED, "out of memory");
    status = parse_and_print(&place, argc, argv);
    cmd_place_fini(&place);
    return status;
}
