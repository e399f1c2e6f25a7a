/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_AWS_INI_H
#define NET_AWS_INI_H

/*
 * The format of AWS's shared files ("Format of the configuration and credential files" in the AWS SDKs and Tools
 * Reference Guide), read as botocore does where the two differ: [section]; name = value or name: value; an empty
 * value followed by lines that are indented further is a block of its own; # and ; begin comments, in a line only
 * behind a blank. Not libinih, which cuts lines at 200 bytes, where a session token has a thousand, and sections at 50;
 * both are moved by global variables alone.
 */
struct aws_ini_visitor {
    /* A section begins. */
    int (*section)(void *arg, const char *section);
    /*
     * A setting of it; in a block sub is the name within, otherwise NULL. Names are in lower case. Strings are borrowed
     * for the call.
     */
    int (*setting)(void *arg, const char *section, const char *name, const char *sub, const char *value);
    void *arg;
};

/*
 * text is cut up on the way. 0, what the visitor returned if not 0, or -EINVAL with a sentence that names file and
 * line, and quotes nothing, as the line may be a secret.
 */
int aws_ini_parse(char *text, const char *file, const struct aws_ini_visitor *v);

#endif
