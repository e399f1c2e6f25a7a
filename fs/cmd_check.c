/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

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

static int check(const char *arg, const struct fs_check_options *opt)
{
    struct fs_check_result r = { 0 };
    char *url = NULL;
    int rc = cmd_volume_url(arg, &url);

    if (rc == 0)
        rc = fs_check(url, opt, print_problem, NULL, &r);
    if (rc < 0) {
        rc = cmd_say(CMD_FAILED, "cannot check %s: %s", arg, cmd_reason(rc));
    } else {
        printf("%" PRIu64 " inodes, %" PRIu64 " directories, %" PRIu64 " entries, %" PRIu64 " attributes, %" PRIu64
               " chunks, %" PRIu64 " bytes, %" PRIu64 " orphans, %" PRIu64 " rows of garbage\n",
               r.inodes, r.directories, r.entries, r.xattrs, r.chunks, r.bytes, r.orphans, r.garbage);
        printf("%" PRIu64 " problems\n", r.problems);
        rc = r.problems ? CMD_FAILED : CMD_OK;
    }
    free(url);
    return rc;
}

int cmd_check(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "quiet", no_argument, NULL, 'q' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }
    };
    struct fs_check_options opt = { .quiet = false };
    int c;

    while ((c = getopt_long(argc, argv, "qh", long_options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return CMD_OK;
        }
        if (c == '?')
            return cmd_usage("check", "unknown option: %s", argv[optind - 1]);
        opt.quiet = true;
    }
    if (argc - optind != 1)
        return cmd_usage("check", "give one VOLUME");
    return check(argv[optind], &opt);
}
