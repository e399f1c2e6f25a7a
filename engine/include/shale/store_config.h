/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_STORE_CONFIG_H
#define SHALE_STORE_CONFIG_H

#include <shale/object_store.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a person says of a store beside its URL, as text: options of a command line or of a mount. There is no setting
 * for a key: command lines are seen by everybody on the machine. Keys come from the environment, files and roles.
 */
struct shale_store_config;

struct shale_store_setting {
    const char *name;     /* "path_style" */
    const char *argument; /* "URL"; NULL: it takes none */
    const char *help;     /* one line */
};

/* The i-th setting, or NULL behind the last. */
SHALE_API const struct shale_store_setting *shale_store_setting_at(size_t i);
/* By name, in which "-" is as good as "_"; NULL: there is none. */
SHALE_API const struct shale_store_setting *shale_store_setting_find(const char *name);

SHALE_API int shale_store_config_new(struct shale_store_config **out);
SHALE_API void shale_store_config_free(struct shale_store_config *c); /* NULL is fine */

/*
 * Set one; the last counts, also of two that exclude each other. value is copied, a relative file name made absolute,
 * and is not looked at when the setting takes none. -ENOENT for an unknown name; -EINVAL for a value that cannot be
 * right, with a sentence that says what is expected.
 */
SHALE_API int shale_store_config_set(struct shale_store_config *c, const char *name, const char *value);

/* For shale_store_open_with. Borrowed until the next change of c. */
SHALE_API const struct shale_store_options *shale_store_config_options(struct shale_store_config *c);

/* No step of a request (connecting, waiting for an answer, standing still) is given longer than this. */
SHALE_API void shale_store_config_limit(struct shale_store_config *c, int64_t limit_ms);

/*
 * Append lines "name value" by which another process, whatever its environment says, finds the store of url where this
 * one does: the settings, and what environment and files say instead. Errors of reading those files.
 */
SHALE_API int shale_store_config_describe(const struct shale_store_config *c, const char *url, struct shale_buf *out);
/* Take over such lines, but for what was set already. Unknown names, of a newer version, are passed over. */
SHALE_API int shale_store_config_adopt(struct shale_store_config *c, const char *lines);

#ifdef __cplusplus
}
#endif
#endif
