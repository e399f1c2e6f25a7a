/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a profile says of keys: a role to take on, keys, or a process to ask. Roles go by other profiles, which may go
 * by others again.
 */

#include "base/err.h"
#include "net/aws_creds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CHAIN_MAX 8 /* of source_profile; more is a circle */

static int keys_of_profile(const struct aws_ask *a, const char *profile, int depth, struct aws_keys **out);

static void label(char *out, size_t size, const char *profile, const char *how)
{
    snprintf(out, size, "profile \"%.100s\"%s", profile, how);
}

static int written_keys(const struct aws_ask *a, const char *profile, struct aws_keys **out)
{
    char where[160];
    const struct aws_pair p = { .access_key = aws_config_get(a->config, profile, "aws_access_key_id"),
                                .secret_key = aws_config_get(a->config, profile, "aws_secret_access_key"),
                                .token = aws_config_get(a->config, profile, "aws_session_token"),
                                .access_name = "aws_access_key_id", .secret_name = "aws_secret_access_key",
                                .where = where };

    label(where, sizeof(where), profile, "");
    return aws_keys_from_pair(&p, where, out);
}

/* credential_source = Environment, Ec2InstanceMetadata or EcsContainer */
static int keys_of_source(const struct aws_ask *a, const char *profile, const char *name, struct aws_keys **out)
{
    static const struct {
        const char *name;
        aws_source_fn fn;
    } sources[] = {
        { "Environment", aws_creds_environment },
        { "Ec2InstanceMetadata", aws_creds_instance },
        { "EcsContainer", aws_creds_container },
    };

    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        int rc;

        if (strcmp(name, sources[i].name) != 0)
            continue;
        rc = sources[i].fn(a, out);
        if (rc == 0 && !*out)
            rc = err_set(-EACCES, "profile \"%.100s\" has \"credential_source = %s\", which has no keys", profile,
                         name);
        return rc;
    }
    return err_set(-EINVAL, "profile \"%.100s\" has \"credential_source = %.60s\", which is unknown", profile, name);
}

/* The keys by which the profile's role is taken on. */
static int keys_for_role(const struct aws_ask *a, const char *profile, int depth, struct aws_keys **out)
{
    const char *other = aws_config_get(a->config, profile, "source_profile");
    const char *source = aws_config_get(a->config, profile, "credential_source");
    int rc;

    if (!other && source)
        return keys_of_source(a, profile, source, out);
    if (!other)
        return err_set(-EINVAL, "profile \"%.100s\" has a role_arn, but none of web_identity_token_file, "
                                "source_profile and credential_source", profile);
    if (!aws_config_has_profile(a->config, other))
        return err_set(-EINVAL, "profile \"%.100s\" has \"source_profile = %.100s\", which is not in %s", profile,
                       other, aws_config_files(a->config));
    rc = strcmp(other, profile) == 0 ? written_keys(a, other, out) : keys_of_profile(a, other, depth + 1, out);
    if (rc == 0 && !*out)
        rc = err_set(-EACCES, "profile \"%.100s\" has \"source_profile = %.100s\", which has no keys", profile, other);
    return rc;
}

static int keys_of_role(const struct aws_ask *a, const char *profile, int depth, struct aws_keys **out)
{
    char source[160];
    struct aws_keys *by = NULL;
    struct aws_role role = { .arn = aws_config_get(a->config, profile, "role_arn"),
                             .session = aws_config_get(a->config, profile, "role_session_name"),
                             .external_id = aws_config_get(a->config, profile, "external_id"),
                             .duration_s = aws_config_get(a->config, profile, "duration_seconds"),
                             .token_file = aws_config_get(a->config, profile, "web_identity_token_file"),
                             .source = source };
    int rc = 0;

    label(source, sizeof(source), profile, " (role_arn)");
    if (aws_config_get(a->config, profile, "mfa_serial"))
        return err_set(-EINVAL, "profile \"%.100s\" wants a code of a token (mfa_serial), which cannot be asked for "
                                "here; use credential_process", profile);
    if (!role.token_file)
        rc = keys_for_role(a, profile, depth, &by);
    role.keys = by;
    if (rc == 0)
        rc = aws_sts_assume(a, &role, out);
    aws_keys_unref(by);
    return rc;
}

static int keys_of_command(const char *profile, const char *command, struct aws_keys **out)
{
    char source[160];

    label(source, sizeof(source), profile, " (credential_process)");
    return aws_creds_process(command, source, out);
}

static int keys_of_profile(const struct aws_ask *a, const char *profile, int depth, struct aws_keys **out)
{
    const char *command = aws_config_get(a->config, profile, "credential_process");
    int rc;

    *out = NULL;
    if (depth > CHAIN_MAX)
        return err_set(-EINVAL, "profile \"%.100s\" is its own source_profile by way of others", profile);
    if (aws_config_get(a->config, profile, "role_arn"))
        return keys_of_role(a, profile, depth, out);
    rc = written_keys(a, profile, out);
    if (rc == 0 && !*out && command)
        rc = keys_of_command(profile, command, out);
    if (rc == 0 && !*out && (aws_config_get(a->config, profile, "sso_session") ||
                             aws_config_get(a->config, profile, "sso_start_url")))
        rc = err_set(-EINVAL, "profile \"%.100s\" signs in by SSO, which is not known here; use \"credential_process = "
                              "aws configure export-credentials --profile %.100s --format process\"", profile, profile);
    return rc;
}

int aws_creds_profile(const struct aws_ask *a, struct aws_keys **out)
{
    int rc = keys_of_profile(a, a->profile, 0, out);

    if (rc < 0 || *out)
        return rc;
    return aws_looked(a, "profile \"%.100s\" %s %s", a->profile,
                      aws_config_has_profile(a->config, a->profile) ? "has no keys in" : "is not in",
                      aws_config_files(a->config));
}
