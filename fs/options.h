/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include "fs/core/fs.h"

#include <shale/store_config.h>
#include <stdio.h>

/* What `-o` of a mount may say. Strings are owned. */
struct mount_options {
    struct fs_options fs;
    bool allow_other; /* root: true */
    bool nonempty;
    bool debug;
    unsigned threads; /* 256; 1..1024 */
    char *log;        /* absolute; NULL: by default */
    char *request_log; /* absolute; NULL: none */
    struct shale_store_config *store; /* what fs.store is made of */
    char kernel[128]; /* what mount(2) gets beside ours, comma separated */
};

/* 0 or -ENOMEM. */
int mount_options_init(struct mount_options *o);
void mount_options_fini(struct mount_options *o);

/*
 * Take the comma separated options of one -o. -EINVAL with a sentence that names the option which is unknown or wrong;
 * options that belong to fstab (noauto, nofail, _netdev, user, x-..., ...) are passed over.
 */
int mount_options_parse(struct mount_options *o, const char *text);

/* Once all are taken: what is derived of several. */
void mount_options_settle(struct mount_options *o);

/* Each option with its meaning, unit, default and range. */
void mount_options_help(FILE *out);

#endif
