/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "fs/cmd_place.h"
#include "fs/core/check.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: shalefs check [-q] VOLUME\n"
    "\n"
    "Read a volume that is not mounted and check that everything in it fits together. Changes nothing. Prints each\n"
    "problem and a summary; fails when there was one.\n"
    "\n"
    "  -q, --quiet  only the summary\n";

/* On standard output: problems are what was asked for. */
static void print_problem(void *arg, const char *line)
{
    (void)arg;
    printf("%s\n", line);
}

static int check(struct cmd_place *place, const char *arg, struct fs_check_options *opt)
{
    struct fs_check_result r = { 0 };
    int rc = cmd_place_volume(place, arg);

    opt->store = shale_store_config_options(place->store);
    if (rc == 0)
        rc = fs_check(place->url, opt, print_problem, NULL, &r);
    if (rc < 0) {
        rc = cmd_say(CMD_FAILED, "cannot check %s: %s", arg, cmd_reason(rc));
    } else {
        printf("%" PRIu64 " inodes, %" PRIu64 " directories, %" PRIu64 " entries, %" PRIu64 " attributes, %" PRIu64
               " chunks, %" PRIu64 " bytes, %" PRIu64 " orphans, %" PRIu64 " rows of garbage\n",
               r.inodes, r.directories, r.entries, r.xattrs, r.chunks, r.bytes, r.orphans, r.garbage);
        printf("%" PRIu64 " problems\n", r.problems);
        rc = r.problems ? CMD_FAILED : CMD_OK;
    }
    return rc;
}

static int parse_and_check(struct cmd_place *place, int argc, char **argv)
{
    static const struct option long_options[] = {
        { "quiet", no_argument, NULL, 'q' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }
    };
    struct fs_check_options opt = { .quiet = false };
    int c;

    while ((c = cmd_place_getopt(place, argc, argv, "qh", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            cmd_place_help(stdout);
            return CMD_OK;
        }
        if (c == CMD_OPTION_WRONG)
            return cmd_usage("check", "%s", shale_errmsg());
        if (c == '?')
            return cmd_usage("check", "unknown option or missing value: %s", argv[optind - 1]);
        opt.quiet = true;
    }
    if (argc - optind != 1)
        return cmd_usage("check", "give one VOLUME");
    return check(place, argv[optind], &opt);
}

int cmd_check(int argc, char **argv)
{
    struct cmd_place place;
    int status;

    if (cmd_place_init(&place) < 0)
        return cmd_say(CMD_FAILED, "out of memory");
    status = parse_and_check(&place, argc, argv);
    cmd_place_fini(&place);
    return status;
}
