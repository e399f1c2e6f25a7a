/* SPDX-License-Identifier: Apache-2.0 */
#include "net/xml.h"

#include "base/buf.h"
#include "net/secret.h"

#include <errno.h>
#include <expat.h>
#include <string.h>

#define TEXT_MAX 65536u

struct walk {
    XML_Parser parser;
    const struct xml_visitor *v;
    struct shale_buf text; /* of the innermost open element, since its begin or its last child's end */
    int depth;
    int rc;
};

static void stop(struct walk *w, int rc)
{
    if (w->rc == 0)
        w->rc = rc;
    XML_StopParser(w->parser, XML_FALSE);
}

static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon ? colon + 1 : name;
}

static void on_begin(void *arg, const char *name, const char **attributes)
{
    struct walk *w = arg;
    int rc = w->v->begin ? w->v->begin(w->v->arg, local_name(name), w->depth) : 0;

    (void)attributes;
    w->depth++;
    buf_clear(&w->text);
    if (rc != 0)
        stop(w, rc);
}

static void on_end(void *arg, const char *name)
{
    struct walk *w = arg;
    int rc = buf_put_u8(&w->text, 0);

    w->depth--;
    if (rc == 0 && w->v->end)
        rc = w->v->end(w->v->arg, local_name(name), w->depth, (const char *)w->text.data);
    buf_clear(&w->text);
    if (rc != 0)
        stop(w, rc);
}

static void on_text(void *arg, const char *text, int len)
{
    struct walk *w = arg;

    if (w->text.len + (size_t)len > TEXT_MAX)
        stop(w, -EBADMSG);
    else if (secret_buf_reserve(&w->text, (size_t)len + 1) < 0 || shale_buf_append(&w->text, text, (size_t)len) < 0)
        stop(w, -ENOMEM);
}

static void on_doctype(void *arg, const char *name, const char *system_id, const char *public_id, int has_internal)
{
    (void)name, (void)system_id, (void)public_id, (void)has_internal;
    stop(arg, -EBADMSG);
}

int xml_walk(struct shale_slice doc, const struct xml_visitor *v)
{
    struct walk w = { .v = v };
    enum XML_Status status;

    if (doc.len > INT32_MAX)
        return -EBADMSG;
    w.parser = XML_ParserCreate(NULL);
    if (!w.parser)
        return -ENOMEM;
    XML_SetUserData(w.parser, &w);
    XML_SetElementHandler(w.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(w.parser, on_text);
    XML_SetStartDoctypeDeclHandler(w.parser, on_doctype);
    status = XML_Parse(w.parser, doc.len ? (const char *)doc.data : "", (int)doc.len, 1);
    if (status != XML_STATUS_OK && w.rc == 0)
        w.rc = XML_GetErrorCode(w.parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EBADMSG;
    XML_ParserFree(w.parser);
    secret_buf_fini(&w.text); /* the answers of STS hold keys */
    return w.rc;
}

int xml_escape(struct shale_buf *out, const char *s)
{
    for (; *s; s++) {
        const char *as = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '"' ? "&quot;" : NULL;

        if (shale_buf_append(out, as ? as : s, as ? strlen(as) : 1) < 0)
            return -ENOMEM;
    }
    return 0;
}
