/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_IO_CLASS_H
#define BASE_IO_CLASS_H

/*
 * On whose behalf a thread talks to the object store. A store over a network bounds how many requests of each class are
 * under way, so that background work never holds up a read or an fsync. A thread begins as IO_FOREGROUND; those that
 * only work in the background say so once, at their start.
 */
enum io_class {
    IO_FOREGROUND, /* somebody waits for what is read */
    IO_WAL,        /* somebody waits for an fsync */
    IO_UPLOAD,     /* memtables and file data on their way to the store */
    IO_COMPACTION,
    IO_GC,
    IO_CLASSES,
};

/* Of the calling thread. */
enum io_class io_class_get(void);
/* Returns what it was. */
enum io_class io_class_set(enum io_class cls);
/* "foreground", "wal", ... */
const char *io_class_name(enum io_class cls);

/* How often the call that the thread is in was begun: 1, or more when a store asks again. Told of each request. */
unsigned io_attempt_get(void);
void io_attempt_set(unsigned n);

#endif
