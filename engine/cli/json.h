/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <shale/types.h>
#include <stdbool.h>
#include <stdio.h>

/*
 * Writes indented JSON (two spaces; an empty array or object on one line). The caller opens and closes in pairs and
 * gives a key to each member of an object; keys are written in the order given.
 */
struct json {
    FILE *out;
    int depth;
    bool fresh; /* nothing was written since the last opening bracket */
};

void json_init(struct json *j, FILE *out);
/* key: NULL in an array and at the top. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_string(struct json *j, const char *key, const char *value); /* NULL writes null */
void json_u64(struct json *j, const char *key, uint64_t v);
void json_i64(struct json *j, const char *key, int64_t v);
void json_bool(struct json *j, const char *key, bool v);
/* An array of numbers. */
void json_bytes(struct json *j, const char *key, struct shale_slice bytes);

#endif
