/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_DB_FIXTURE_H
#define TESTS_DB_FIXTURE_H

#include "lib/check.h"
#include "lib/store_fault.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <errno.h>
#include <shale/shale.h>

/*
 * A memory store, a store that fails by script in front of it, and a database handle on that. Options as the reference
 * expectations want them: no compactor, no timer, no polling, small blocks; and a clock that the test sets.
 */
struct db_fixture {
    struct shale_store *mem;
    struct shale_store *store; /* store_fault around mem */
    struct shale_options opt;
    struct shale_merge_operator op; /* opt.merge_operator; appends */
    _Atomic int64_t now_ms;
    int64_t tick_ms; /* how far each look at the clock moves it: 0 unless set before opening */
    struct shale_clock clock; /* opt.clock */
    struct shale_db *db;      /* NULL: not open */
};

#define FIXTURE_ROOT "t/db"

void fixture_init(struct db_fixture *f);
/* Abandons an open handle. */
void fixture_fini(struct db_fixture *f);
/* cmocka's setup and teardown; *state is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Open (create), failing the test when that fails; and close. */
void fixture_open(struct db_fixture *f);
void fixture_close(struct db_fixture *f);
void fixture_crash(struct db_fixture *f);
/* Another handle on the same store. */
struct shale_db *fixture_open_other(struct db_fixture *f);

/* 0 or fail the test with the sentence of the error. */
#define check_ok(expr) check_rc(0, (expr), #expr, __FILE__, __LINE__)
#define check_err(want, expr) check_rc((want), (expr), #expr, __FILE__, __LINE__)
void check_rc(int want, int rc, const char *expr, const char *file, int line);

/* Writes; durable or not. */
int put_text(struct shale_db *db, const char *key, const char *value, bool durable);
int merge_text(struct shale_db *db, const char *key, const char *operand, bool durable);
int delete_text(struct shale_db *db, const char *key, bool durable);

/* key has this value; NULL: none. */
void check_value(struct shale_db *db, const struct shale_read_options *opt, const char *key, const char *value);
/* All rows, as "k=v k=v". */
void check_scan(struct shale_db *db, const struct shale_read_options *opt, const char *text);

struct shale_db_status db_status(struct shale_db *db);
/* How many objects lie under root/dir/. */
unsigned count_objects(struct shale_store *s, const char *dir);

#endif
