/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_STORE_LAME_H
#define TESTS_STORE_LAME_H

#include <shale/object_store.h>

/* A store that passes calls on to another one, but for one thing that it does wrongly, as some servers do. */
enum lame_way {
    LAME_NOT,
    LAME_OVERWRITES,        /* conditions of puts are ignored */
    LAME_501,               /* conditional puts fail with -EOPNOTSUPP */
    LAME_400,               /* with -EIO */
    LAME_EXISTS_ALWAYS,     /* with -EEXIST, also of new names */
    LAME_REFUSES_AND_WRITES, /* with -EEXIST, but they are done */
    LAME_RACY,              /* the first puts of a name all succeed */
    LAME_LOSER_WRITES,      /* of the first puts of a name one succeeds and another one's bytes stay */
    LAME_OTHER_BYTES,       /* whole objects are read with a bit changed */
    LAME_NOT_FOUND,         /* what was just written is not found by a read */
    LAME_WRONG_SIZE,        /* head tells a byte too much */
    LAME_SHIFTED_RANGE,     /* the range a byte further on */
    LAME_WHOLE_RANGE,       /* -EOPNOTSUPP for ranges */
    LAME_SHORT_NAMES,       /* names whose last segment is longer than 40 bytes are refused */
    LAME_STALE_LIST,        /* listings do not show the last object */
    LAME_UNORDERED_LIST,    /* they come backwards */
    LAME_LIST_FROM_START,   /* start_after is ignored */
    LAME_NO_UPLOAD,         /* -EOPNOTSUPP for uploads */
    LAME_CUT_UPLOAD,        /* uploads lose their last byte */
    LAME_KEEPS,             /* deletes say that they have succeeded */
    LAME_DELETE_404,        /* deleting what is gone is -ENOENT */
    LAME_READ_ONLY,         /* nothing can be written: -EACCES */
    LAME_NO_DELETE,         /* nothing can be deleted: -EACCES */
    LAME_NO_PUT_ID,         /* put ids get lost */
    LAME_CLOCK_AHEAD,       /* by two hours */
    LAME_CLOCK_BEHIND,
    LAME_WAYS,
};

/* inner: borrowed until close. Aborts the test when out of memory. */
struct shale_store *store_lame_new(struct shale_store *inner, enum lame_way way);

#endif
