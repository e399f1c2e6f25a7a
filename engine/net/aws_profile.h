/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_AWS_PROFILE_H
#define NET_AWS_PROFILE_H

#include <stdbool.h>

/*
 * What the shared files of AWS say: AWS_CONFIG_FILE or ~/.aws/config, with [profile NAME] and [services NAME];
 * AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, with [NAME], which counts more where both have a setting.
 * Never changed once loaded; all that it holds is overwritten when it is freed.
 */
struct aws_config;

/*
 * 0 also when there are no files. -EINVAL for one that cannot be parsed (the sentence has file and line) or that a
 * variable names and that cannot be read; -ENOMEM.
 */
int aws_config_load(struct aws_config **out);
void aws_config_free(struct aws_config *c); /* NULL is fine */

/* "FILE or FILE", for sentences. Borrowed from c. */
const char *aws_config_files(const struct aws_config *c);
bool aws_config_has_profile(const struct aws_config *c, const char *profile);
/* A setting (name in lower case), or NULL when there is none or it is empty. Borrowed from c. */
const char *aws_config_get(const struct aws_config *c, const char *profile, const char *name);

/*
 * Which profile is meant: given, or AWS_PROFILE, AWS_DEFAULT_PROFILE, "default". *out is borrowed from given or the
 * environment. -ENOENT when it was asked for by name and does not exist.
 */
int aws_profile_choose(const struct aws_config *c, const char *given, const char **out);

/*
 * Where a service is ("Service-specific endpoints" in the reference guide): AWS_ENDPOINT_URL_SERVICE,
 * AWS_ENDPOINT_URL, the block of the service in the profile's services section, the profile's endpoint_url; nowhere
 * when AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or the profile's ignore_configured_endpoint_urls is true. service in lower
 * case ("s3"). *out NULL: where AWS has it. Borrowed from c or the environment. -EINVAL when the services section is
 * missing.
 */
int aws_endpoint_find(const struct aws_config *c, const char *profile, const char *service, const char **out);
/* AWS_REGION, AWS_DEFAULT_REGION, or the profile's; NULL: none. */
const char *aws_region_find(const struct aws_config *c, const char *profile);
/* AWS_CA_BUNDLE or the profile's ca_bundle; NULL: none. */
const char *aws_ca_find(const struct aws_config *c, const char *profile);

/* A variable of the environment that is not empty, or NULL. */
const char *aws_env(const char *name);
bool aws_env_true(const char *name);

#endif
