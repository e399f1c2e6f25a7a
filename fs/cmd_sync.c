/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "fs/mountpoint.h"

#include <shale/error.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: shalefs sync DIR\n"
    "\n"
    "Return when everything that was written in the mount that DIR lies in is in the store, pages that programs changed\n"
    "through mappings included. (sync and syncfs do not wait for that.)\n";

/* fsync of the root directory means the volume (ops/dir.c): of sync(2) and syncfs(2) a FUSE process learns nothing. */
static int sync_mount(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return -errno;
    rc = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int cmd_sync(int argc, char **argv)
{
    static const struct option long_options[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
    struct mountpoint m = { 0 };
    int c, rc;

    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (c != 'h')
            return cmd_usage("sync", "unknown option: %s", argv[optind - 1]);
        fputs(help, stdout);
        return CMD_OK;
    }
    if (argc - optind != 1)
        return cmd_usage("sync", "give one DIR");
    if (mountpoint_find(argv[optind], true, &m) < 0)
        return cmd_say(CMD_FAILED, "%s", shale_errmsg());
    rc = sync_mount(m.dir);
    if (rc < 0)
        rc = cmd_say(CMD_FAILED, "not everything of %s is in the store: %s; see the log of the mount", m.dir,
                     strerror(-rc));
    mountpoint_fini(&m);
    return rc;
}
