/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What was printed before comes out before, also when both go to one file. */
int cmd_say(int status, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("shalefs: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

int cmd_usage(const char *command, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("shalefs: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (see shalefs %s%s--help)\n", command, command[0] ? " " : "");
    return CMD_USAGE;
}

/*
 * A sentence names the object and what came back; the name of the code is for what left none, such as a lack of
 * memory.
 */
const char *cmd_reason(int rc)
{
    const char *sentence = shale_errmsg();

    return sentence[0] ? sentence : shale_strerror(rc);
}

/*
 * Absolute, since the mount leaves the directory that it was started in, and since the URL is what mounts are found
 * by. One volume has one spelling: leading "./" and trailing slashes go.
 */
int cmd_volume_url(const char *arg, char **out)
{
    struct shale_buf b = SHALE_BUF_INIT;
    char *cwd = NULL;
    int rc;

    if (arg[0] == '\0')
        return err_set(-EINVAL, "the volume is empty: give a URL such as s3://bucket/prefix or a directory");
    if (strstr(arg, "://")) {
        *out = mem_strdup(arg);
        return *out ? 0 : -ENOMEM;
    }
    if (arg[0] != '/') {
        cwd = getcwd(NULL, 0);
        if (!cwd)
            return err_set(-errno, "cannot tell the current directory: %s", strerror(errno));
    }
    while (arg[0] == '.' && arg[1] == '/')
        arg += 2;
    rc = buf_printf(&b, "file://%s%s%s", cwd ? cwd : "", cwd ? "/" : "", arg);
    while (rc == 0 && b.len > strlen("file:///") && b.data[b.len - 1] == '/')
        b.data[--b.len] = '\0';
    free(cwd);
    if (rc < 0)
        shale_buf_fini(&b);
    else
        *out = (char *)buf_take(&b);
    return rc;
}

/* Powers of 1024. strtoull takes signs and spaces, which are no sizes. */
int cmd_parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    const char *unit;
    char *end;
    unsigned long long n;
    int shift = 0;

    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno)
        return -EINVAL;
    if (*end) {
        unit = strchr(units, toupper((unsigned char)*end));
        if (!unit || (end[1] && strcmp(end + 1, "iB") != 0))
            return -EINVAL;
        shift = 10 * (int)(unit - units + 1);
    }
    if (n > (UINT64_MAX >> shift))
        return -EINVAL;
    *out = n << shift;
    return 0;
}

static int parse_number(const char *text, int base, unsigned long max, unsigned *out)
{
    unsigned long n;
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    n = strtoul(text, &end, base);
    if (errno || *end || n > max)
        return -EINVAL;
    *out = (unsigned)n;
    return 0;
}

int cmd_parse_mode(const char *text, unsigned *out)
{
    return parse_number(text, 8, 07777, out);
}

int cmd_parse_uint(const char *text, unsigned *out)
{
    return parse_number(text, 10, UINT32_MAX - 1, out);
}
