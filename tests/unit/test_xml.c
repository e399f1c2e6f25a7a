/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/slice.h"
#include "net/xml.h"

#include <errno.h>

static int write_begin(void *arg, const char *name, int depth)
{
    return buf_printf(arg, "%d<%s ", depth, name);
}

static int write_end(void *arg, const char *name, int depth, const char *text)
{
    return strcmp(name, "stop") == 0 ? 42 : buf_printf(arg, "%d%s=%s> ", depth, name, text);
}

static int walk(const char *doc, struct shale_buf *out)
{
    const struct xml_visitor v = { .begin = write_begin, .end = write_end, .arg = out };

    out->len = 0;
    return xml_walk(slice_str(doc), &v);
}

static void elements_are_told_in_order(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(walk("<?xml version=\"1.0\"?><r xmlns=\"u:n\"><a> x&amp;y </a><n:b xmlns:n='u:m'><c/></n:b>t</r>", &b), 0);
    assert_string_equal((char *)b.data, "0<r 1<a 1a= x&y > 1<b 2<c 2c=> 1b=> 0r=t> ");
    assert_int_equal(walk("<r><stop/><b/></r>", &b), 42);
    assert_string_equal((char *)b.data, "0<r 1<stop ");
    shale_buf_fini(&b);
}

static void what_is_no_xml_is_refused(void **state)
{
    static const char *const docs[] = {
        "", "x", "<a>", "<a></b>", "<a/><b/>", "<a>&x;</a>", "<a b=>", "<html><p>unclosed</html>", "<a>\x01</a>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "<!DOCTYPE html><html></html>",
    };
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(docs) / sizeof(docs[0]); i++)
        if (walk(docs[i], &b) != -EBADMSG)
            fail_msg("\"%s\" was taken", docs[i]);
    shale_buf_fini(&b);
}

static void text_has_a_bound(void **state)
{
    struct shale_buf doc = SHALE_BUF_INIT, b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(buf_printf(&doc, "<a>%070000d</a>", 1), 0);
    assert_int_equal(walk((char *)doc.data, &b), -EBADMSG);
    doc.len = 0;
    assert_int_equal(buf_printf(&doc, "<a>%060000d</a>", 1), 0);
    assert_int_equal(walk((char *)doc.data, &b), 0);
    shale_buf_fini(&doc);
    shale_buf_fini(&b);
}

static void escaped_text_comes_back(void **state)
{
    struct shale_buf doc = SHALE_BUF_INIT, b = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(buf_printf(&doc, "<a>"), 0);
    assert_int_equal(xml_escape(&doc, "<b>&\"'c"), 0);
    assert_int_equal(buf_printf(&doc, "</a>"), 0);
    assert_int_equal(walk((char *)doc.data, &b), 0);
    assert_string_equal((char *)b.data, "0<a 0a=<b>&\"'c> ");
    shale_buf_fini(&doc);
    shale_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_told_in_order),
        cmocka_unit_test(what_is_no_xml_is_refused),
        cmocka_unit_test(text_has_a_bound),
        cmocka_unit_test(escaped_text_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
