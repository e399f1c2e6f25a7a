/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that are written down: in the options, and in the environment. Neither changes while we run.
 */

#include "base/err.h"
#include "net/aws_creds.h"

#include <errno.h>

int aws_keys_from_pair(const struct aws_pair *p, const char *source, struct aws_keys **out)
{
    bool access = p->access_key && p->access_key[0], secret = p->secret_key && p->secret_key[0];

    *out = NULL;
    if (!access && !secret)
        return 0;
    if (!access || !secret)
        return err_set(-EINVAL, "%s: %s is set, but %s is not", p->where, access ? p->access_name : p->secret_name,
                       access ? p->secret_name : p->access_name);
    *out = aws_keys_new(p->access_key, p->secret_key, p->token, INT64_MAX, source);
    return *out ? 0 : -ENOMEM;
}

static int fixed_pair(const struct aws_pair *p, struct aws_keys **out)
{
    int rc = aws_keys_from_pair(p, p->where, out);

    if (rc == 0 && *out)
        (*out)->fixed = true;
    return rc;
}

int aws_creds_given(const struct aws_ask *a, struct aws_keys **out)
{
    const struct aws_pair p = { .access_key = a->opt->access_key, .secret_key = a->opt->secret_key,
                                .token = a->opt->token, .access_name = "the access key",
                                .secret_name = "the secret key", .where = "the options" };

    return fixed_pair(&p, out);
}

int aws_creds_environment(const struct aws_ask *a, struct aws_keys **out)
{
    const struct aws_pair p = { .access_key = aws_env("AWS_ACCESS_KEY_ID"),
                                .secret_key = aws_env("AWS_SECRET_ACCESS_KEY"),
                                .token = aws_env("AWS_SESSION_TOKEN"), .access_name = "AWS_ACCESS_KEY_ID",
                                .secret_name = "AWS_SECRET_ACCESS_KEY", .where = "the environment" };
    int rc = fixed_pair(&p, out);

    return rc == 0 && !*out ? aws_looked(a, "AWS_ACCESS_KEY_ID is not set") : rc;
}
