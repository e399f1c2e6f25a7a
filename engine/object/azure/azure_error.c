/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer means. Azure names the error in a header, which answers to HEAD have, too, and in an XML body with a
 * message; both are looked at, since what only speaks its protocol may send one of them.
 *
 * What speaks against the other side being the store (a web page, another's certificate) is a mistake to be told at
 * once as long as the store has never answered. Later it is an outage, which ends no mount.
 */

#include "object/azure/azure.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/uri.h"
#include "net/xml.h"
#include "object/bucket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define CODE_MAX 64
#define MESSAGE_MAX 300
#define CLOCK_S 900 /* by which a request may be off */

struct complaint {
    char code[CODE_MAX];
    char message[MESSAGE_MAX]; /* its first line */
};

/* Codes that say it all, whatever their status. */
static const struct {
    const char *code;
    int rc;
    const char *why;
} codes[] = {
    { "BlobNotFound", -ENOENT, "there is no such object" },
    { "BlobAlreadyExists", -EEXIST, "the object exists" },
    { "ConditionNotMet", -EEXIST, "the object exists" },
    { "InvalidRange", -ERANGE, "the object is shorter" },
    { "InvalidBlockList", -ENOENT, "the store does not know the blocks" },
    { "Md5Mismatch", SHALE_ETRANSIENT, "the body arrived with other bytes" },
    { "ContainerBeingDeleted", -EIO, "the container is being deleted" },
    { "ContainerDisabled", -EACCES, "the container was disabled by an administrator" },
    { "AccountIsDisabled", -EACCES, "the storage account is disabled" },
    { "LeaseIdMissing", -EACCES, "somebody holds a lease on it; break the lease" },
    { "BlobImmutableDueToPolicy", -EACCES, "the container's immutability policy forbids it" },
    { "BlobImmutableDueToLegalHold", -EACCES, "a legal hold of the container forbids it" },
    { "SnapshotsPresent", -EIO, "it has snapshots; delete them" },
    { "BlobArchived", -EIO, "it is in the archive tier; move it to an online tier" },
    { "RequestBodyTooLarge", -EFBIG, "it is larger than the store takes" },
    { "UnauthorizedBlobOverwrite", -EACCES, "the shared access signature allows to create objects, not to overwrite "
                                            "them (sp= needs w)" },
    { "KeyBasedAuthenticationNotPermitted", -EACCES, "the storage account does not allow access by its keys; allow it, "
                                                     "or use a shared access signature that a user delegated" },
    { "AuthorizationPermissionMismatch", -EACCES, "the shared access signature does not give this permission (sp=rwdl "
                                                  "and c are needed)" },
    { "AuthorizationResourceTypeMismatch", -EACCES, "the shared access signature is not for containers and their "
                                                    "objects (srt=co)" },
    { "AuthorizationServiceMismatch", -EACCES, "the shared access signature is not for blobs (ss=b)" },
    { "AuthorizationProtocolMismatch", -EACCES, "the shared access signature is for https only" },
    { "AuthorizationSourceIPMismatch", -EACCES, "the shared access signature is not for this host's address" },
    { "PublicAccessNotPermitted", -EACCES, "the storage account allows no anonymous access; give a key or a shared "
                                           "access signature" },
    { "NoAuthenticationInformation", -EACCES, "the store allows no anonymous access; give a key or a shared access "
                                              "signature" },
};

static int on_complaint(void *arg, const char *name, int depth, const char *text)
{
    struct complaint *m = arg;

    if (depth == 1 && strcmp(name, "Code") == 0 && !m->code[0])
        snprintf(m->code, sizeof(m->code), "%s", text);
    else if (depth == 1 && strcmp(name, "Message") == 0)
        snprintf(m->message, sizeof(m->message), "%.*s", (int)strcspn(text, "\r\n"), text);
    return 0;
}

static void read_complaint(const struct azure_call *c, struct complaint *m)
{
    const struct xml_visitor v = { .end = on_complaint, .arg = m };
    const char *code = http_response_header(&c->x, "x-ms-error-code");

    memset(m, 0, sizeof(*m));
    if (code)
        snprintf(m->code, sizeof(m->code), "%s", code);
    if (c->x.response.len)
        (void)xml_walk(slice_of_buf(&c->x.response), &v); /* what it gives up on is described by the status alone */
    if (strstr(m->message, "sig=")) /* no echo of the request is repeated */
        m->message[0] = '\0';
}

int azure_call_error(const struct azure_call *c, int rc, const char *fmt, ...)
{
    char why[600];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    bucket_one_line(why);
    if (c->name)
        return err_set(rc, "cannot %s az://%s/%s: %s", c->verb, c->s->container, c->name, why);
    return err_set(rc, "cannot %s az://%s: %s", c->verb, c->s->container, why);
}

static int says(const struct azure_call *c, int rc, const struct complaint *m)
{
    const char *id = http_response_header(&c->x, "x-ms-request-id");

    return azure_call_error(c, rc, "the store answers %d %s%s%s%s%.60s%s", c->x.status, m->code,
                            m->message[0] ? ": " : "", m->message, id ? " (request " : "", id ? id : "", id ? ")" : "");
}

static int not_now(const struct azure_call *c, const struct complaint *m)
{
    store_retry_after(bucket_retry_after(&c->x));
    return says(c, SHALE_ETRANSIENT, m);
}

/* rc as long as the store has never answered, then SHALE_ETRANSIENT: something else is in between for a while. */
static int until_known(const struct azure_call *c, int rc)
{
    return atomic_load_explicit(&c->s->known, memory_order_relaxed) ? SHALE_ETRANSIENT : rc;
}

static int no_store(const struct azure_call *c)
{
    const char *server = http_response_header(&c->x, "server");
    bool passes = bucket_may_pass(c->x.status);

    if (passes)
        store_retry_after(bucket_retry_after(&c->x));
    return azure_call_error(c, passes ? SHALE_ETRANSIENT : until_known(c, -EIO), "%s answers %d%s%s%s, not as Azure "
                            "Blob Storage does; check the endpoint, and whether a proxy is in between",
                            c->s->config.origin, c->x.status, bucket_is_web_page(&c->x) ? " with a web page" : "",
                            server ? ", by " : "", server ? server : "");
}

/* "se=" of the signature: until when it is valid. */
static void read_expiry(const char *sas, struct shale_buf *out)
{
    for (const char *p = sas; p; p = strchr(p, '&')) {
        p += *p == '&';
        if (strncmp(p, "se=", 3) == 0 && uri_decode(out, p + 3, strcspn(p + 3, "&")) < 0)
            shale_buf_fini(out);
    }
}

static int signature_refused(const struct azure_call *c)
{
    const struct azure_config *config = &c->s->config;
    struct shale_buf until = SHALE_BUF_INIT;
    int rc;

    read_expiry(config->sas, &until);
    rc = azure_call_error(c, -EACCES, "the store refuses the shared access signature from %s%s%.40s: it has expired, "
                          "or no key of storage account %s made it; get a new one", config->source,
                          until.len ? ", valid until " : "", until.len ? (const char *)until.data : "",
                          config->account);
    shale_buf_fini(&until);
    return rc;
}

/*
 * A request that is refused though the clocks agree may have been long on its way, since this host slept, or its clock
 * has just been set: another one is signed anew.
 */
static int unauthentic(const struct azure_call *c, const struct complaint *m)
{
    const struct azure_config *config = &c->s->config;
    int64_t d = bucket_clock_ahead(&c->x), age_s = (clock_wall_ms() - c->x.begun_ms) / 1000;

    if (config->sas)
        return signature_refused(c);
    if (!config->key.len)
        return says(c, -EACCES, m);
    if (d > CLOCK_S || d < -CLOCK_S)
        return azure_call_error(c, until_known(c, -EACCES), "this host's clock is %" PRId64 " s %s the store's, which "
                                "accepts 15 minutes; set the clock", d < 0 ? -d : d, d < 0 ? "ahead of" : "behind");
    if (age_s > CLOCK_S || age_s < -CLOCK_S)
        return not_now(c, m);
    return azure_call_error(c, -EACCES, "the key from %s is none of storage account %s", config->source,
                            config->account);
}

/* Network rules of the account; Azurite says so of a wrong key, too. */
static int unauthorized(const struct azure_call *c)
{
    const struct azure_config *config = &c->s->config;
    const char *what = config->sas ? "shared access signature from " : config->source ? "key from " : "lack of a key";

    return azure_call_error(c, -EACCES, "the store refuses this host or the %s%s; look at the network rules of storage "
                            "account %s, and whether it has this key", what, config->source ? config->source : "",
                            config->account);
}

static int not_found(const struct azure_call *c, const struct complaint *m)
{
    if (strcmp(m->code, "ContainerNotFound") == 0)
        return azure_call_error(c, -EIO, "there is no container \"%s\" in storage account %s at %s; create it, or "
                                "check the names", c->s->container, c->s->config.account, c->s->config.origin);
    /* Nothing there, and nothing that we may see: so is a container that is not public to those without credentials. */
    if (strcmp(m->code, "ResourceNotFound") == 0 && !c->s->config.key.len && !c->s->config.sas)
        return azure_call_error(c, -EACCES, "there is no such object, or it is not public");
    return azure_call_error(c, -ENOENT, "there is no such object");
}

/* There is an object that may not be replaced, and it was not to be replaced. */
static bool is_there(const struct azure_call *c, const struct complaint *m)
{
    static const char *const because[] = { "BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold", "LeaseIdMissing",
                                           "UnauthorizedBlobOverwrite" };

    for (size_t i = 0; i < ARRAY_SIZE(because) && c->conditional; i++)
        if (strcmp(m->code, because[i]) == 0)
            return true;
    return false;
}

static int meaning_of_status(const struct azure_call *c, const struct complaint *m)
{
    switch (c->x.status) {
    case 401:
    case 403:
        if (strcmp(m->code, "AuthenticationFailed") == 0 || strcmp(m->code, "InvalidAuthenticationInfo") == 0)
            return unauthentic(c, m);
        return strcmp(m->code, "AuthorizationFailure") == 0 ? unauthorized(c) : says(c, -EACCES, m);
    case 404:
        return not_found(c, m);
    case 408:
    case 425:
    case 429:
        return not_now(c, m);
    case 412:
        return azure_call_error(c, -EEXIST, "the object exists");
    case 416:
        return azure_call_error(c, -ERANGE, "the object is shorter");
    default:
        return c->x.status >= 500 && c->x.status != 501 ? not_now(c, m) : says(c, -EIO, m);
    }
}

/* Answers of Azure have these headers, whatever they say; so have those of Azurite. */
static bool is_of_store(const struct azure_call *c)
{
    return http_response_header(&c->x, "x-ms-request-id") || http_response_header(&c->x, "x-ms-version");
}

/* No whole answer came. */
static int broken(const struct azure_call *c)
{
    if (bucket_is_overlong(&c->x) && !is_of_store(c))
        return no_store(c);
    return azure_call_error(c, bucket_is_distrusted(&c->x) ? until_known(c, c->x.rc) : c->x.rc, "%s", c->x.why);
}

static int meaning(const struct azure_call *c)
{
    struct complaint m;

    if (c->x.status >= 200 && c->x.status <= 299)
        return 0;
    read_complaint(c, &m);
    if (is_there(c, &m))
        return azure_call_error(c, -EEXIST, "the object exists");
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (strcmp(m.code, codes[i].code) == 0)
            return azure_call_error(c, codes[i].rc, "%s", codes[i].why);
    return meaning_of_status(c, &m);
}

/* Nothing is taken for done, for missing or for refused on another's word. */
int azure_call_meaning(const struct azure_call *c)
{
    int rc;

    if (c->x.rc < 0)
        return broken(c);
    if (!is_of_store(c))
        return no_store(c);
    rc = meaning(c);
    if (rc != -EACCES)
        atomic_store_explicit(&c->s->known, true, memory_order_relaxed);
    return rc;
}
