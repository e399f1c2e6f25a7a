/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/soak.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 *   soak_worker DIR SEED
 *
 * Works at random in DIR, which it makes, as standard input says, one line each:
 *
 *   run           do operations until the next line comes
 *   pause         no more; answered with "paused N" (operations), or "dead N" when the mount serves no more
 *   synced        nothing was done since everything was made durable
 *   verify        compare all with the model
 *   close         close what is held open
 *   recovered     the mount was killed and is back: what is there must be possible, and is worked on from
 *   pin, unpin    keep what a look at the past needs
 *   past DIR      compare with another mount, of a moment since the pin
 *
 * Each but run is answered, with "ok N" where not said otherwise; run goes on after pin, unpin and past. What is wrong
 * is said in a line that begins otherwise, and ends the worker with status 1.
 */

static bool line_waits(void)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

    return poll(&p, 1, 0) != 0;
}

/* Unbuffered, so that poll sees what was not read. */
static bool read_line(char *out, size_t cap)
{
    size_t n = 0;

    while (n + 1 < cap && read(STDIN_FILENO, out + n, 1) == 1) {
        if (out[n] == '\n') {
            out[n] = '\0';
            return true;
        }
        n++;
    }
    return false;
}

static void say(const struct soak *s, const char *what)
{
    printf("%s %" PRIu64 "\n", what, s->m.op);
    fflush(stdout);
}

static void obey(struct soak *s, const char *line, bool *running)
{
    if (strcmp(line, "run") == 0) {
        *running = true;
        return;
    }
    if (strcmp(line, "pause") == 0)
        *running = false;
    else if (strcmp(line, "synced") == 0)
        soak_synced(s, NULL);
    else if (strcmp(line, "verify") == 0)
        soak_verify(s);
    else if (strcmp(line, "close") == 0)
        soak_close_held(s);
    else if (strcmp(line, "recovered") == 0)
        soak_recover(s);
    else if (strcmp(line, "pin") == 0)
        soak_pin(s);
    else if (strcmp(line, "unpin") == 0)
        soak_unpin(s);
    else if (strncmp(line, "past ", 5) == 0)
        soak_check_moment(s, line + 5, s->pinned);
    else
        tree_die("what is '%s'?", line);
    if (strcmp(line, "pause") == 0)
        say(s, s->dead ? "dead" : "paused");
    else
        say(s, "ok");
}

int main(int argc, char **argv)
{
    static struct soak s;
    char line[PATH_MAX + 16];
    bool running = false;

    if (argc != 3)
        tree_die("usage: soak_worker DIR SEED");
    umask(0);
    if (mkdir(argv[1], 0755) < 0)
        tree_die("%s: %s", argv[1], strerror(errno));
    soak_init(&s, argv[1], strtoull(argv[2], NULL, 10));
    say(&s, "ok");
    for (;;) {
        if (running && !s.dead && !line_waits()) {
            soak_step(&s);
            continue;
        }
        if (!read_line(line, sizeof(line)))
            break;
        obey(&s, line, &running);
    }
    soak_fini(&s);
    return 0;
}
