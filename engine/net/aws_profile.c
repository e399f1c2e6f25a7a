/* SPDX-License-Identifier: Apache-2.0 */
#include "net/aws_profile.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "net/aws_ini.h"
#include "net/secret.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20)

enum section_kind { SECTION_OTHER, SECTION_PROFILE, SECTION_SERVICES };

/* All owned. name NULL: the section itself, which may hold nothing. */
struct setting {
    enum section_kind kind;
    char *section, *name, *sub, *value;
};

struct aws_config {
    struct setting *settings; /* owned; a later one counts more */
    size_t n, cap;
    char *files; /* owned */
    bool plain;  /* while loading: sections are profiles, as in the credentials file */
};

const char *aws_env(const char *name)
{
    const char *v = getenv(name);

    return v && v[0] ? v : NULL;
}

bool aws_env_true(const char *name)
{
    const char *v = aws_env(name);

    return v && strcasecmp(v, "true") == 0;
}

/* ---- loading ---- */

/* "profile NAME", "services NAME", the name perhaps quoted; "default". *name is borrowed from buf. */
static enum section_kind classify(bool plain, const char *section, char *buf, size_t size, const char **name)
{
    enum section_kind kind = plain || strcmp(section, "default") == 0 ? SECTION_PROFILE : SECTION_OTHER;
    size_t word = strcspn(section, " \t"), n;

    snprintf(buf, size, "%s", section);
    *name = buf;
    if (kind == SECTION_PROFILE || !section[word])
        return kind;
    if (word == 7 && memcmp(section, "profile", 7) == 0)
        kind = SECTION_PROFILE;
    else if (word == 8 && memcmp(section, "services", 8) == 0)
        kind = SECTION_SERVICES;
    word += strspn(section + word, " \t");
    *name = buf + word;
    n = strlen(buf + word);
    if (n >= 2 && (buf[word] == '"' || buf[word] == '\'') && buf[word + n - 1] == buf[word]) {
        buf[word + n - 1] = '\0';
        (*name)++;
    }
    return kind;
}

static void setting_fini(struct setting *s)
{
    mem_free(s->section);
    mem_free(s->name);
    mem_free(s->sub);
    secret_free(s->value);
}

static int copy(char **to, const char *from)
{
    *to = from ? mem_strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

static int on_setting(void *arg, const char *section, const char *name, const char *sub, const char *value)
{
    struct aws_config *c = arg;
    struct setting s = { 0 };
    char buf[512];
    const char *bare;

    if (strlen(section) >= sizeof(buf))
        return 0; /* nobody can mean it */
    s.kind = classify(c->plain, section, buf, sizeof(buf), &bare);
    if (copy(&s.section, bare) < 0 || copy(&s.name, name) < 0 || copy(&s.sub, sub) < 0 || copy(&s.value, value) < 0 ||
        vec_reserve(&c->settings, &c->cap, c->n + 1, sizeof(s)) < 0) {
        setting_fini(&s);
        return -ENOMEM;
    }
    c->settings[c->n++] = s;
    return 0;
}

static int on_section(void *arg, const char *section)
{
    return on_setting(arg, section, NULL, NULL, NULL);
}

static int find_home(struct shale_buf *out)
{
    const char *home = aws_env("HOME");
    char space[4096];
    struct passwd pw, *found = NULL;

    if (!home && getpwuid_r(getuid(), &pw, space, sizeof(space), &found) == 0 && found)
        home = pw.pw_dir;
    return buf_printf(out, "%s", home ? home : "");
}

/* The variable's value, or name under the home directory. */
static int find_file(const char *variable, const char *name, bool *named, struct shale_buf *out)
{
    const char *given = aws_env(variable);
    int rc;

    *named = given != NULL;
    if (given && strncmp(given, "~/", 2) != 0)
        return buf_printf(out, "%s", given);
    rc = find_home(out);
    return rc == 0 ? buf_printf(out, "/%s", given ? given + 2 : name) : rc;
}

/* A default file of somebody else's home is no reason to fail: perhaps we run by sudo. */
static int read_file(const char *file, bool named, struct shale_buf *text)
{
    int rc = secret_read_file(text, file, FILE_MAX);

    if (rc == -ENOENT || rc == -ENOTDIR)
        return 0;
    if (rc == -EACCES && !named) {
        log_info("%s cannot be read and is left out: %s", file, shale_strerror(rc));
        return 0;
    }
    if (rc < 0 && rc != -ENOMEM)
        return err_set(-EINVAL, "cannot read %s: %s", file, shale_strerror(rc));
    return rc;
}

static int load_file(struct aws_config *c, const char *variable, const char *name, struct shale_buf *files)
{
    const struct aws_ini_visitor v = { .section = on_section, .setting = on_setting, .arg = c };
    struct shale_buf file = SHALE_BUF_INIT, text = SHALE_BUF_INIT;
    bool named;
    int rc = find_file(variable, name, &named, &file);

    if (rc == 0)
        rc = buf_printf(files, "%s%s", files->len ? " or " : "", (char *)file.data);
    if (rc == 0)
        rc = read_file((char *)file.data, named, &text);
    if (rc == 0 && text.len)
        rc = aws_ini_parse((char *)text.data, (char *)file.data, &v);
    shale_buf_fini(&file);
    secret_buf_fini(&text);
    return rc;
}

int aws_config_load(struct aws_config **out)
{
    struct aws_config *c = mem_zalloc(sizeof(*c));
    struct shale_buf files = SHALE_BUF_INIT;
    int rc = c ? load_file(c, "AWS_CONFIG_FILE", ".aws/config", &files) : -ENOMEM;

    if (rc == 0) {
        c->plain = true;
        rc = load_file(c, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", &files);
    }
    if (rc < 0) {
        shale_buf_fini(&files);
        aws_config_free(c);
        return rc == -ENOMEM ? err_set(rc, "out of memory for the configuration of AWS") : rc;
    }
    c->files = (char *)buf_take(&files);
    *out = c;
    return 0;
}

void aws_config_free(struct aws_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        setting_fini(&c->settings[i]);
    mem_free(c->settings);
    mem_free(c->files);
    mem_free(c);
}

/* ---- looking up ---- */

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The last one that says so. */
static const struct setting *find(const struct aws_config *c, enum section_kind kind, const char *section,
                                  const char *name, const char *sub)
{
    for (size_t i = c->n; i-- > 0;) {
        const struct setting *s = &c->settings[i];

        if (s->kind == kind && strcmp(s->section, section) == 0 && same(s->name, name) && same(s->sub, sub))
            return s;
    }
    return NULL;
}

static const char *value_of(const struct setting *s)
{
    return s && s->value[0] ? s->value : NULL;
}

const char *aws_config_files(const struct aws_config *c)
{
    return c->files;
}

bool aws_config_has_profile(const struct aws_config *c, const char *profile)
{
    return find(c, SECTION_PROFILE, profile, NULL, NULL) != NULL;
}

const char *aws_config_get(const struct aws_config *c, const char *profile, const char *name)
{
    return value_of(find(c, SECTION_PROFILE, profile, name, NULL));
}

int aws_profile_choose(const struct aws_config *c, const char *given, const char **out)
{
    const char *name = given && given[0] ? given : aws_env("AWS_PROFILE");

    if (!name)
        name = aws_env("AWS_DEFAULT_PROFILE");
    if (name && !aws_config_has_profile(c, name))
        return err_set(-ENOENT, "the profile \"%.100s\" of AWS is not in %s", name, c->files);
    *out = name ? name : "default";
    return 0;
}

static bool ignores_endpoints(const struct aws_config *c, const char *profile)
{
    const char *own = aws_config_get(c, profile, "ignore_configured_endpoint_urls");

    if (aws_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
        return aws_env_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    return own && strcasecmp(own, "true") == 0;
}

static const char *endpoint_of_environment(const char *service)
{
    char name[64];
    const char *url;

    snprintf(name, sizeof(name), "AWS_ENDPOINT_URL_%s", service);
    for (char *p = name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    url = aws_env(name);
    return url ? url : aws_env("AWS_ENDPOINT_URL");
}

int aws_endpoint_find(const struct aws_config *c, const char *profile, const char *service, const char **out)
{
    const char *section = aws_config_get(c, profile, "services");
    const char *url;

    *out = NULL;
    if (ignores_endpoints(c, profile))
        return 0;
    url = endpoint_of_environment(service);
    if (!url && section) {
        if (!find(c, SECTION_SERVICES, section, NULL, NULL))
            return err_set(-EINVAL, "the profile \"%.100s\" of AWS has \"services = %.100s\", but [services %.100s] is "
                                    "not in %s", profile, section, section, c->files);
        url = value_of(find(c, SECTION_SERVICES, section, service, "endpoint_url"));
    }
    *out = url ? url : aws_config_get(c, profile, "endpoint_url");
    return 0;
}

const char *aws_region_find(const struct aws_config *c, const char *profile)
{
    const char *region = aws_env("AWS_REGION");

    if (!region)
        region = aws_env("AWS_DEFAULT_REGION");
    return region ? region : aws_config_get(c, profile, "region");
}

const char *aws_ca_find(const struct aws_config *c, const char *profile)
{
    const char *file = aws_env("AWS_CA_BUNDLE");

    return file ? file : aws_config_get(c, profile, "ca_bundle");
}
