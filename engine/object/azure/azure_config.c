/* SPDX-License-Identifier: Apache-2.0 */
#include "object/azure/azure_config.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "net/secret.h"
#include "object/bucket.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <strings.h>

/* The account that every emulator has; Microsoft publishes its key. */
#define EMULATOR_ACCOUNT "devstoreaccount1"
#define EMULATOR_KEY "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define EMULATOR_ENDPOINT "http://127.0.0.1:10000/" EMULATOR_ACCOUNT

/* One of the places that settings come from. Texts are borrowed; empty: it does not say. */
struct source {
    const char *where;
    const char *key_where, *sas_where; /* more exactly; NULL: where */
    struct shale_slice account, key, sas, endpoint, suffix, protocol;
};

enum { SOURCE_OPTIONS, SOURCE_OPTION_STRING, SOURCE_STRING, SOURCE_VARIABLES, N_SOURCES };

static struct shale_slice text_of(const char *s)
{
    return s ? slice_str(s) : slice_of(NULL, 0);
}

static bool is_true(struct shale_slice s)
{
    return (s.len == 4 && strncasecmp((const char *)s.data, "true", 4) == 0) || (s.len == 1 && s.data[0] == '1');
}

static void take_emulator(struct source *s)
{
    s->account = slice_str(EMULATOR_ACCOUNT);
    if (s->key.len == 0)
        s->key = slice_str(EMULATOR_KEY);
    if (s->endpoint.len == 0)
        s->endpoint = slice_str(EMULATOR_ENDPOINT);
}

/* The first variable of a list that is set; *name: which. */
static struct shale_slice variable(const char *const *names, const char **name)
{
    for (; *names; names++) {
        const char *value = getenv(*names);

        if (value && value[0]) {
            if (name)
                *name = *names;
            return slice_str(value);
        }
    }
    return slice_of(NULL, 0);
}

static void read_variables(struct source *s)
{
    static const char *const account[] = { "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME", NULL };
    static const char *const key[] = { "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY",
                                       NULL };
    static const char *const sas[] = { "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", NULL };
    static const char *const endpoint[] = { "AZURE_STORAGE_BLOB_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT",
                                            "AZURE_STORAGE_ENDPOINT", NULL };
    static const char *const emulator[] = { "AZURE_STORAGE_USE_EMULATOR", NULL };

    s->where = "the environment";
    s->account = variable(account, NULL);
    s->key = variable(key, &s->key_where);
    s->sas = variable(sas, &s->sas_where);
    s->endpoint = variable(endpoint, NULL);
    if (is_true(variable(emulator, NULL)))
        take_emulator(s);
}

static void read_options(struct source *s, const struct shale_azure_options *opt)
{
    s->where = "the options";
    s->account = text_of(opt->account);
    s->key = text_of(opt->key);
    s->sas = text_of(opt->sas);
    s->endpoint = text_of(opt->endpoint);
    if (opt->emulator)
        take_emulator(s);
}

/* One "Name=value" of a connection string. */
static void take_setting(struct source *s, struct shale_slice name, struct shale_slice value, bool *emulator)
{
    const struct {
        const char *name;
        struct shale_slice *to;
    } known[] = {
        { "AccountName", &s->account },        { "AccountKey", &s->key },
        { "SharedAccessSignature", &s->sas },  { "BlobEndpoint", &s->endpoint },
        { "EndpointSuffix", &s->suffix },      { "DefaultEndpointsProtocol", &s->protocol },
    };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (name.len == strlen(known[i].name) && strncasecmp((const char *)name.data, known[i].name, name.len) == 0)
            *known[i].to = value;
    if (name.len == 21 && strncasecmp((const char *)name.data, "UseDevelopmentStorage", 21) == 0)
        *emulator = is_true(value);
}

/* "Name=value;Name=value"; settings of other services are passed over. */
static int read_string(struct source *s, const char *text, const char *where)
{
    bool emulator = false;
    unsigned n = 0;

    s->where = where;
    while (text && *text) {
        size_t len = strcspn(text, ";"), name = strcspn(text, "=;");

        n++;
        if (name == len && len > 0)
            return err_set(-EINVAL, "%s: part %u of the connection string is not of the form NAME=VALUE", where, n);
        if (len > 0)
            take_setting(s, slice_of(text, name), slice_of(text + name + 1, len - name - 1), &emulator);
        text += len;
        text += *text == ';';
    }
    if (emulator)
        take_emulator(s);
    return 0;
}

static int read_sources(struct source *all, const struct shale_azure_options *opt)
{
    const char *string = getenv("AZURE_STORAGE_CONNECTION_STRING");
    int rc;

    memset(all, 0, N_SOURCES * sizeof(*all));
    read_options(&all[SOURCE_OPTIONS], opt);
    rc = read_string(&all[SOURCE_OPTION_STRING], opt->connection_string, "the options");
    if (rc == 0)
        rc = read_string(&all[SOURCE_STRING], string, "AZURE_STORAGE_CONNECTION_STRING");
    if (rc == 0)
        read_variables(&all[SOURCE_VARIABLES]);
    return rc;
}

/* ---- the account ---- */

static int check_account(struct shale_slice name)
{
    bool good = name.len >= 3 && name.len <= 24;

    for (size_t i = 0; i < name.len && good; i++)
        good = islower(name.data[i]) || isdigit(name.data[i]);
    if (good)
        return 0;
    return err_set(-EINVAL, "\"%.*s\" is no name of a storage account: it has 3 to 24 lower-case letters and digits",
                   (int)(name.len < 80 ? name.len : 80), (const char *)name.data);
}

/* "https://ACCOUNT.blob.core.windows.net" tells it, too. */
static struct shale_slice account_of_host(struct shale_slice endpoint)
{
    const char *text = (const char *)endpoint.data, *host = memmem(text, endpoint.len, "://", 3);
    size_t len;

    if (!host)
        return slice_of(NULL, 0);
    host += 3;
    len = strcspn(host, "./:;");
    return strncmp(host + len, ".blob.", 6) == 0 ? slice_of(host, len) : slice_of(NULL, 0);
}

static int find_account(struct azure_config *c, const struct source *all)
{
    struct shale_slice name = slice_of(NULL, 0);
    int rc;

    for (size_t i = 0; i < N_SOURCES && name.len == 0; i++)
        name = all[i].account.len ? all[i].account : all[i].endpoint.len ? account_of_host(all[i].endpoint) : name;
    if (name.len == 0)
        return err_set(-EINVAL, "the name of the storage account is not known; set AZURE_STORAGE_ACCOUNT or "
                                "AZURE_STORAGE_CONNECTION_STRING");
    rc = check_account(name);
    if (rc < 0)
        return rc;
    c->account = mem_dup(name.data, name.len);
    return c->account ? 0 : -ENOMEM;
}

/* What is said of another account is not meant. */
static bool is_about(const struct source *s, const char *account)
{
    return s->account.len == 0 || slice_eq(s->account, slice_str(account));
}

/* ---- by whose leave ---- */

/* Base64 without blanks; what EVP_DecodeBlock makes of the padding is cut off. */
static int take_key(struct azure_config *c, struct shale_slice text, const char *where)
{
    size_t pad = 0;
    int n = -1;

    while (pad < 2 && pad < text.len && text.data[text.len - 1 - pad] == '=')
        pad++;
    if (secret_buf_reserve(&c->key, text.len) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < text.len; i++)
        if (isspace(text.data[i]))
            return err_set(-EINVAL, "the account key from %s has a blank in it", where);
    if (text.len % 4 == 0 && text.len <= 4096)
        n = EVP_DecodeBlock(c->key.data, text.data, (int)text.len);
    if (n <= (int)pad)
        return err_set(-EINVAL, "the account key from %s is not in Base64; copy the whole of it", where);
    c->key.len = (size_t)n - pad;
    c->source = where;
    return 0;
}

/* It becomes part of a URL as it is. */
static int take_sas(struct azure_config *c, struct shale_slice text, const char *where)
{
    if (text.len && text.data[0] == '?')
        text = slice_of(text.data + 1, text.len - 1);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || text.data[i] == '#')
            return err_set(-EINVAL, "the shared access signature from %s has a character that no URL has", where);
    if (!memmem(text.data, text.len, "sig=", 4))
        return err_set(-EINVAL, "the shared access signature from %s has no \"sig=\"; give its whole query string, and "
                                "no URL", where);
    c->sas = mem_dup(text.data, text.len);
    c->source = where;
    return c->sas ? 0 : -ENOMEM;
}

static int find_leave(struct azure_config *c, const struct source *all, bool anonymous)
{
    for (size_t i = 0; i < N_SOURCES && !anonymous; i++) {
        const struct source *s = &all[i];

        if (!is_about(s, c->account))
            continue;
        if (s->key.len)
            return take_key(c, s->key, s->key_where ? s->key_where : s->where);
        if (s->sas.len)
            return take_sas(c, s->sas, s->sas_where ? s->sas_where : s->where);
    }
    if (anonymous)
        return 0;
    return err_set(-EINVAL, "there is neither a key nor a shared access signature for the storage account %s; set "
                            "AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING",
                   c->account);
}

/* ---- where it is ---- */

/* Hosts that are no names of accounts: there the account stands in the path, as emulators have it. */
static bool has_account_in_path(const struct bucket_endpoint *e)
{
    static const char local[] = "localhost";
    size_t n = sizeof(local) - 1;

    if (e->host[0] == '[' || strspn(e->host, "0123456789.:") >= e->host_len)
        return true;
    return e->host_len >= n && memcmp(e->host, local, n) == 0 && (e->host_len == n || e->host[n] == ':');
}

static int take_endpoint(struct azure_config *c, const char *text)
{
    struct shale_buf origin = SHALE_BUF_INIT, base = SHALE_BUF_INIT;
    struct bucket_endpoint e;
    size_t len;
    int rc;

    if (strpbrk(text, "?#@"))
        return err_set(-EINVAL, "the endpoint of the storage account %s has more than host and path; give a shared "
                                "access signature as AZURE_STORAGE_SAS_TOKEN", c->account);
    rc = bucket_endpoint_parse(text, &e);
    if (rc < 0)
        return rc;
    len = strlen(e.path);
    while (len > 0 && e.path[len - 1] == '/')
        len--;
    c->tls = e.tls;
    rc = buf_printf(&origin, "%s://%.*s", e.tls ? "https" : "http", (int)e.host_len, e.host);
    if (rc == 0 && len == 0 && has_account_in_path(&e))
        rc = buf_printf(&base, "/%s", c->account);
    else if (rc == 0)
        rc = buf_printf(&base, "%.*s", (int)len, e.path);
    c->origin = (char *)buf_take(&origin);
    c->base = (char *)buf_take(&base);
    return rc;
}

static int write_endpoint(struct shale_buf *out, const struct source *all, const char *account)
{
    struct shale_slice suffix = slice_str("core.windows.net"), protocol = slice_str("https");

    for (size_t i = 0; i < N_SOURCES; i++) {
        const struct source *s = &all[i];

        if (!is_about(s, account))
            continue;
        if (s->endpoint.len)
            return buf_printf(out, "%.*s", (int)s->endpoint.len, (const char *)s->endpoint.data);
        if (s->suffix.len || s->protocol.len) {
            suffix = s->suffix.len ? s->suffix : suffix;
            protocol = s->protocol.len ? s->protocol : protocol;
            break;
        }
    }
    return buf_printf(out, "%.*s://%s.blob.%.*s", (int)protocol.len, (const char *)protocol.data, account,
                      (int)suffix.len, (const char *)suffix.data);
}

static int find_place(struct azure_config *c, const struct source *all, const char *ca_file)
{
    static const char *const ca[] = { "REQUESTS_CA_BUNDLE", NULL };
    struct shale_buf endpoint = SHALE_BUF_INIT;
    struct shale_slice file = ca_file && ca_file[0] ? slice_str(ca_file) : variable(ca, NULL); /* a string */
    int rc = write_endpoint(&endpoint, all, c->account);

    if (rc == 0)
        rc = take_endpoint(c, (const char *)endpoint.data);
    shale_buf_fini(&endpoint);
    if (rc == 0 && file.len && !(c->ca_file = bucket_absolute((const char *)file.data)))
        rc = -ENOMEM;
    return rc;
}

int azure_config_find(const struct shale_azure_options *opt, struct azure_config *config)
{
    static const char *const skip[] = { "AZURE_SKIP_SIGNATURE", NULL };
    struct source all[N_SOURCES];
    int rc = read_sources(all, opt);

    if (rc == 0)
        rc = find_account(config, all);
    if (rc == 0)
        rc = find_leave(config, all, opt->anonymous || is_true(variable(skip, NULL)));
    return rc == 0 ? find_place(config, all, opt->ca_file) : rc;
}

void azure_config_fini(struct azure_config *config)
{
    mem_free(config->account);
    secret_buf_fini(&config->key);
    secret_free(config->sas);
    mem_free(config->origin);
    mem_free(config->base);
    mem_free(config->ca_file);
}
