/* SPDX-License-Identifier: Apache-2.0 */
/* The shared files of AWS, and the JSON that sources of credentials answer with. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "net/aws_creds.h"
#include "net/aws_ini.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int on_section(void *arg, const char *section)
{
    (void)arg;
    return strlen(section) == SIZE_MAX;
}

/* Names are not empty, in lower case, and without blanks at their ends. */
static void check_name(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || name[0] == ' ' || name[0] == '\t' || isspace((unsigned char)name[n - 1]))
        abort();
    for (const char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            abort();
}

static int on_setting(void *arg, const char *section, const char *name, const char *sub, const char *value)
{
    (void)arg;
    check_name(name);
    if (sub)
        check_name(sub);
    return strlen(section) + strlen(value) == SIZE_MAX;
}

static void read_json(struct shale_slice doc)
{
    struct aws_keys *k = NULL;

    if (aws_keys_from_json(doc, "Token", 0, "fuzz", &k) == 0 && (!k || !k->access_key[0] || !k->secret_key[0]))
        abort();
    aws_keys_unref(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct aws_ini_visitor v = { .section = on_section, .setting = on_setting };
    char *text = mem_dup(data, size);
    int64_t ms;

    if (text) {
        (void)aws_time_parse(text, &ms);
        (void)aws_ini_parse(text, "fuzz", &v);
    }
    mem_free(text);
    read_json(slice_of(data, size));
    return 0;
}
