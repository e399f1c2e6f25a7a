/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CMD_PLACE_H
#define FS_CMD_PLACE_H

#include <shale/store_config.h>
#include <stdio.h>

struct option;

/* Where a volume is, as the arguments of a command say it. */
struct cmd_place {
    char *url;                        /* owned */
    struct shale_store_config *store; /* owned */
};

/* 0 or -ENOMEM. */
int cmd_place_init(struct cmd_place *p);
void cmd_place_fini(struct cmd_place *p);

/*
 * As getopt_long, with the options of stores beside a command's own: they go into p and are not returned.
 * CMD_OPTION_WRONG: the value of one is wrong, with a sentence.
 */
int cmd_place_getopt(struct cmd_place *p, int argc, char **argv, const char *short_options, const struct option *own,
                     int *index);
/* The options of stores, behind a command's own help. */
void cmd_place_help(FILE *out);

enum { CMD_OPTION_WRONG = 0x1000 };

/* The volume that arg names, see cmd_volume_url. */
int cmd_place_volume(struct cmd_place *p, const char *arg);
/*
 * The same, or the volume that is mounted on the directory arg, with what the mount says of its store where the command
 * line says nothing.
 */
int cmd_place_mounted(struct cmd_place *p, const char *arg);

#endif
