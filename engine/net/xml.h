/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_XML_H
#define NET_XML_H

#include <shale/types.h>

/*
 * Walk over an XML document by expat, element by element. Names come without a namespace prefix. begin and end may be
 * NULL; text is what stands directly in the element, a string, borrowed for the call. Either ends the walk by a
 * non-zero value, which xml_walk returns.
 */
struct xml_visitor {
    int (*begin)(void *arg, const char *name, int depth); /* of the root: 0 */
    int (*end)(void *arg, const char *name, int depth, const char *text);
    void *arg;
};

/*
 * 0 at the end; -EBADMSG when it is no XML, has a document type (which no store sends) or an element with more than 64
 * KiB of text; -ENOMEM.
 */
int xml_walk(struct shale_slice doc, const struct xml_visitor *v);

/* Append s with what XML gives a meaning replaced by entities. 0 or -ENOMEM. */
int xml_escape(struct shale_buf *out, const char *s);

#endif
