/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "base/alloc.h"

#include <shale/shale.h>

#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

static int cmd_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("shalefs %s\n", shale_version());
    return CMD_OK;
}

static const struct command {
    const char *name;
    const char *arguments;
    const char *help;
    cmd_fn run;
} commands[] = {
    { "format", "VOLUME", "make a volume", cmd_format },
    { "mount", "VOLUME DIR", "mount a volume on a directory", cmd_mount },
    { "umount", "DIR", "unmount, and return when everything is in the store", cmd_umount },
    { "sync", "DIR", "return when everything written in a mount is in the store", cmd_sync },
    { "status", "VOLUME|DIR", "what is known of a volume, and who has it mounted", cmd_status },
    { "check", "VOLUME", "check that a volume that is not mounted is whole", cmd_check },
    { "compact", "VOLUME", "merge its tree into one run, and give back space of removed data", cmd_compact },
    { "version", "", "print the version", cmd_version },
};

static void print_help(FILE *out)
{
    fputs("usage: shalefs COMMAND [OPTIONS] ...\n\nA POSIX file system in a bucket.\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        char left[40];

        snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].arguments);
        fprintf(out, "  %-20s %s\n", left, commands[i].help);
    }
    fputs("\nVOLUME is a URL (s3:// or gs://bucket/prefix, az://container/prefix, file:///directory) or a directory.\n"
          "Each command has --help.\n"
          "mount -t fuse.shalefs VOLUME DIR and lines of type fuse.shalefs in /etc/fstab work too.\n",
          out);
}

/* As mount(8) and mount.fuse3 call it: the volume stands where a command would, or a link by a mount helper's name. */
static int as_helper(int argc, char **argv, int *status)
{
    const char *slash = strrchr(argv[0], '/');
    const char *self = slash ? slash + 1 : argv[0];

    if (strncmp(self, "mount.", 6) == 0)
        *status = cmd_mount_helper(argc, argv, true);
    else if (argc >= 3 && (strstr(argv[1], "://") || strchr(argv[1], '/')))
        *status = cmd_mount_helper(argc, argv, false);
    else
        return 0;
    return 1;
}

/* No option stands before the command, so that argv[1] is the command, or what mount(8) gives a helper. */
int main(int argc, char **argv)
{
    int status;

    opterr = 0; /* the commands say it in their own words */
    if (as_helper(argc, argv, &status))
        return status;
    if (argc < 2) {
        print_help(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CMD_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return cmd_version(0, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cmd_usage("", "unknown command %s", argv[1]);
}
