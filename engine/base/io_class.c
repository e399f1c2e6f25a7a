/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io_class.h"

static _Thread_local enum io_class current;

enum io_class io_class_get(void)
{
    return current;
}

enum io_class io_class_set(enum io_class cls)
{
    enum io_class was = current;

    current = cls;
    return was;
}

/* Kept as the number of those before, so that a new thread begins with the first. */
static _Thread_local unsigned attempts_before;

unsigned io_attempt_get(void)
{
    return attempts_before + 1;
}

void io_attempt_set(unsigned n)
{
    attempts_before = n - 1;
}

const char *io_class_name(enum io_class cls)
{
    static const char *const names[IO_CLASSES] = {
        [IO_FOREGROUND] = "foreground", [IO_WAL] = "wal", [IO_UPLOAD] = "upload",
        [IO_COMPACTION] = "compaction", [IO_GC] = "gc",
    };

    return (unsigned)cls < IO_CLASSES ? names[cls] : "unknown";
}
