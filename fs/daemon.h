/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_DAEMON_H
#define FS_DAEMON_H

#include <stdbool.h>

/*
 * Going to the background once there is something to show: the parent waits until the child says that it is ready or
 * why it failed, tells the person, and ends with the status. In the foreground the same calls speak directly.
 */
struct daemon {
    int fd; /* of the child, to the parent; -1 in the foreground, and once it was used */
};

/*
 * Before any thread is started. 0 in the process that goes on (always, in the foreground); 1 in the parent, when the
 * child has spoken: *status is the exit status. Negative with a sentence when there is no child.
 */
int daemon_start(struct daemon *d, bool foreground, int *status);

/* In the child: detach from the terminal, let the parent print text and end well. */
void daemon_ready(struct daemon *d, const char *text);

/*
 * In the child, before it is ready: let the parent print the sentence and fail. True when there was somebody to tell.
 */
bool daemon_fail(struct daemon *d, const char *sentence);

#endif
