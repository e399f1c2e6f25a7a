/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"
#include "fs/cmd_place.h"
#include "fs/core/fs.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: shalefs format [OPTIONS] VOLUME\n"
    "\n"
    "Make an empty file system. VOLUME is a URL (s3://bucket/prefix, file:///directory) or the name of a directory,\n"
    "which need not exist. Refused when there is a volume or database already, and where the store cannot hold one;\n"
    "'shale probe VOLUME' says more of that.\n"
    "\n"
    "  --name NAME        a name to tell volumes apart\n"
    "  --owner UID[:GID]  who owns the root directory (default: who runs this)\n"
    "  --mode MODE        permissions of the root directory, octal (default 0755)\n"
    "  --chunk SIZE       bytes of a file under one key: a power of two, 64K to 64M (default 1M)\n"
    "  --block SIZE       of the blocks that metadata is stored in: a power of two, 1K to 64K (default 16K)\n"
    "  --codec CODEC      compression of metadata: none, snappy, zlib, lz4 or zstd (default lz4)\n";

enum { OPT_NAME = 1, OPT_OWNER, OPT_MODE, OPT_CHUNK, OPT_BLOCK, OPT_CODEC, OPT_HELP };

static const struct option long_options[] = {
    { "name", required_argument, NULL, OPT_NAME },   { "owner", required_argument, NULL, OPT_OWNER },
    { "mode", required_argument, NULL, OPT_MODE },   { "chunk", required_argument, NULL, OPT_CHUNK },
    { "block", required_argument, NULL, OPT_BLOCK }, { "codec", required_argument, NULL, OPT_CODEC },
    { "help", no_argument, NULL, OPT_HELP },         { NULL, 0, NULL, 0 },
};

/* Numbers only: names mean something else on each machine that mounts the volume. */
static int take_owner(char *text, struct fs_format_options *opt)
{
    char *colon = text;
    const char *uid = strsep(&colon, ":");
    unsigned n;

    if (cmd_parse_uint(uid, &n) < 0)
        return -EINVAL;
    opt->uid = n;
    if (!colon)
        return 0;
    if (cmd_parse_uint(colon, &n) < 0)
        return -EINVAL;
    opt->gid = n;
    return 0;
}

/* Powers of two alone: offsets within a chunk are then the low bits. */
static int take_power(const char *text, uint64_t min, uint64_t max, uint32_t *out)
{
    uint64_t n;

    if (cmd_parse_size(text, &n) < 0 || n < min || n > max || (n & (n - 1)) != 0)
        return -EINVAL;
    *out = (uint32_t)n;
    return 0;
}

/* 0, or -EINVAL: the value of option c is wrong. */
static int take(int c, char *value, struct fs_format_options *opt)
{
    unsigned n;
    int rc;

    switch (c) {
    case OPT_NAME:
        opt->name = value;
        return 0;
    case OPT_OWNER:
        return take_owner(value, opt);
    case OPT_MODE:
        rc = cmd_parse_mode(value, &n);
        if (rc == 0)
            opt->mode = (mode_t)n;
        return rc;
    case OPT_CHUNK:
        return take_power(value, UINT64_C(64) << 10, UINT64_C(64) << 20, &opt->chunk_bytes);
    case OPT_BLOCK:
        return take_power(value, UINT64_C(1) << 10, UINT64_C(64) << 10, &opt->block_bytes);
    default:
        rc = shale_codec_parse(value);
        if (rc >= 0)
            opt->codec = (enum shale_codec)rc;
        return rc < 0 ? rc : 0;
    }
}

static void warn(const char *name, const char *text)
{
    (void)cmd_say(CMD_OK, "warning: %s: %s", name, text);
}

/* Who runs this owns the root directory: otherwise a person could make a volume and not write to it. */
static int parse_and_format(struct cmd_place *place, int argc, char **argv)
{
    struct fs_format_options opt;
    int c, which = 0, rc;

    fs_format_options_init(&opt);
    opt.uid = getuid();
    opt.gid = getgid();
    while ((c = cmd_place_getopt(place, argc, argv, "", long_options, &which)) != -1) {
        if (c == OPT_HELP) {
            fputs(help, stdout);
            cmd_place_help(stdout);
            return CMD_OK;
        }
        if (c == CMD_OPTION_WRONG)
            return cmd_usage("format", "%s", shale_errmsg());
        if (c == '?')
            return cmd_usage("format", "unknown option or missing value: %s", argv[optind - 1]);
        if (take(c, optarg, &opt) < 0)
            return cmd_usage("format", "--%s %s is wrong", long_options[which].name, optarg);
    }
    if (argc - optind != 1)
        return cmd_usage("format", "give one VOLUME");
    rc = cmd_place_volume(place, argv[optind]);
    opt.store = shale_store_config_options(place->store);
    if (rc == 0) {
        /* A directory loses no answers and has our clock. */
        opt.warn = strncmp(place->url, "file://", 7) == 0 ? NULL : warn;
        rc = fs_format(place->url, &opt);
    }
    if (rc < 0)
        rc = cmd_say(CMD_FAILED, "cannot format %s: %s", argv[optind], cmd_reason(rc));
    else
        printf("formatted %s\n", place->url);
    return rc;
}

int cmd_format(int argc, char **argv)
{
    struct cmd_place place;
    int status;

    if (cmd_place_init(&place) < 0)
        return cmd_say(CMD_FAILED, "out of memory");
    status = parse_and_format(&place, argc, argv);
    cmd_place_fini(&place);
    return status;
}
