/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document in which containers, instances and processes hand out keys. jansson says what is wrong with a document
 * by quoting it: its words are not used.
 */

#include "base/err.h"
#include "net/aws_creds.h"
#include "net/secret.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Milliseconds of ".123456", and how many characters that is. */
static int64_t read_fraction(const char *s, size_t *len)
{
    int64_t ms = 0, unit = 100;
    size_t n = 1;

    *len = 0;
    if (s[0] != '.' || !isdigit((unsigned char)s[1]))
        return 0;
    for (; isdigit((unsigned char)s[n]); n++, unit /= 10)
        ms += (s[n] - '0') * unit;
    *len = n;
    return ms;
}

/* "Z" or "+hh:mm", in seconds; false: neither, or more behind it. */
static bool read_offset(const char *s, int64_t *offset)
{
    unsigned h, m;
    int len = 0;

    *offset = 0;
    if (strcmp(s, "Z") == 0)
        return true;
    if ((s[0] != '+' && s[0] != '-') || sscanf(s + 1, "%2u:%2u%n", &h, &m, &len) != 2 || len != 5 || s[6] != '\0')
        return false;
    *offset = (int64_t)(h * 60 + m) * (s[0] == '-' ? -60 : 60);
    return h < 24 && m < 60;
}

bool aws_time_parse(const char *text, int64_t *ms)
{
    struct tm t = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &t);
    int64_t fraction, offset;
    size_t len;

    if (!rest)
        return false;
    fraction = read_fraction(rest, &len);
    if (!read_offset(rest + len, &offset))
        return false;
    *ms = ((int64_t)timegm(&t) - offset) * 1000 + fraction;
    return true;
}

/* jansson frees strings as they are. */
static void wipe_strings(json_t *doc)
{
    const char *key;
    json_t *value;

    json_object_foreach(doc, key, value)
        if (json_is_string(value))
            secret_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
}

static const char *text_of(const json_t *doc, const char *name)
{
    const char *s = json_string_value(json_object_get(doc, name));

    return s && s[0] ? s : NULL;
}

static int read_keys(const json_t *doc, const char *token_name, const char *source, struct aws_keys **out)
{
    const char *access_key = text_of(doc, "AccessKeyId"), *secret_key = text_of(doc, "SecretAccessKey");
    const char *expiration = text_of(doc, "Expiration");
    int64_t expires_ms = INT64_MAX;

    if (!access_key || !secret_key)
        return err_set(-EBADMSG, "the answer has no %s", access_key ? "SecretAccessKey" : "AccessKeyId");
    if (expiration && !aws_time_parse(expiration, &expires_ms))
        return err_set(-EBADMSG, "the Expiration in the answer is no time");
    *out = aws_keys_new(access_key, secret_key, text_of(doc, token_name), expires_ms, source);
    return *out ? 0 : -ENOMEM;
}

/* A word such as "AssumeRoleUnauthorizedAccess"; anything else is not repeated. */
static int check_code(const json_t *doc)
{
    const char *code = text_of(doc, "Code");

    if (!code || strcmp(code, "Success") == 0)
        return 0;
    for (const char *p = code; *p; p++)
        if (!isalpha((unsigned char)*p))
            code = "a failure";
    return err_set(-EACCES, "it answers with %.60s", code);
}

int aws_keys_from_json(struct shale_slice doc, const char *token_name, int version, const char *source,
                       struct aws_keys **out)
{
    json_t *root = json_loadb(doc.len ? (const char *)doc.data : "", doc.len, 0, NULL);
    int rc;

    if (!json_is_object(root))
        rc = err_set(-EBADMSG, "the answer is no JSON object");
    else if (version && json_integer_value(json_object_get(root, "Version")) != version)
        rc = err_set(-EBADMSG, "the answer is not of Version %d", version);
    else
        rc = check_code(root);
    if (rc == 0)
        rc = read_keys(root, token_name, source, out);
    if (root)
        wipe_strings(root);
    json_decref(root);
    return rc;
}
