/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_AZURE_AZURE_CONFIG_H
#define OBJECT_AZURE_AZURE_CONFIG_H

#include <shale/object_store.h>

/*
 * Where a storage account is and by whose leave it is used: found once, from the options, the connection string and the
 * variables of the environment, in the order that struct shale_azure_options tells.
 */
struct azure_config {
    char *account;        /* owned */
    struct shale_buf key; /* decoded; empty: there is none. Secret, owned */
    char *sas;            /* without the '?'; NULL: there is none. Secret, owned */
    const char *source;   /* of the key or the SAS, for sentences; a constant */
    bool tls;
    char *origin;         /* "https://host:port"; owned */
    char *base;           /* path of the account: "" or "/account"; owned */
    char *ca_file;        /* owned; NULL: the system's */
};

/* 0; -EINVAL with a sentence that holds no secret; -ENOMEM. config is all zero before, azure_config_fini follows. */
int azure_config_find(const struct shale_azure_options *opt, struct azure_config *config);
void azure_config_fini(struct azure_config *config);

#endif
