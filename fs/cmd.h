/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CMD_H
#define FS_CMD_H

#include <shale/types.h>
#include <stdbool.h>

/* A command of the program: argv[0] is its name. Returns the exit status. */
typedef int (*cmd_fn)(int argc, char **argv);

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

int cmd_format(int argc, char **argv);
int cmd_mount(int argc, char **argv);
/* As mount(8) calls a helper: VOLUME DIR [-sfnv] [-o OPTIONS]; with fake, only the arguments are looked at for -f. */
int cmd_mount_helper(int argc, char **argv, bool f_is_fake);
int cmd_umount(int argc, char **argv);
int cmd_sync(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_compact(int argc, char **argv);

/* "shalefs: " and a line on standard error; returns status. */
int cmd_say(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a wrong call, with a pointer to the help of the command. */
int cmd_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What shale_errmsg() says of a failure, or the name of rc when it says nothing. Borrowed as that is. */
const char *cmd_reason(int rc);

/*
 * The URL of a volume as a person gives it: a URL stays, a path becomes file:// and absolute. *out is owned by the
 * caller. 0, -ENOMEM, or -EINVAL with a sentence.
 */
int cmd_volume_url(const char *arg, char **out);

/* 4096, 512K, 64M, 1G, 2T. 0 or -EINVAL. */
int cmd_parse_size(const char *text, uint64_t *out);

/* An octal mode up to 07777; an unsigned number. 0 or -EINVAL. */
int cmd_parse_mode(const char *text, unsigned *out);
int cmd_parse_uint(const char *text, unsigned *out);

#endif
