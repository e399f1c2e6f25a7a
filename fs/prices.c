/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only place for prices. Those of the provider's cheapest or first region, for data that is read often, in the
 * first tier; traffic out of the cloud is not in it, which can be the largest item, but within a region costs nothing.
 * Prices change seldom, and slowly.
 */

#include "fs/prices.h"

#include "base/alloc.h"

#include <string.h>

/*
 * As published in 2025 and 2026:
 *   s3     https://aws.amazon.com/s3/pricing/
 *   gcs    https://cloud.google.com/storage/pricing (class A: writes and listings, class B: reads)
 *   azure  https://azure.microsoft.com/pricing/details/storage/blobs/ (per 10,000 there)
 *   r2     https://developers.cloudflare.com/r2/pricing/ (per million there)
 *   b2     https://www.backblaze.com/cloud-storage/transaction-pricing (class A is free, reads are B, listings C)
 * A GB of S3, GCS, Azure is a GiB; where it is 10^9 bytes, the price is for the GiB.
 */
static const struct price table[] = {
    { "s3", "S3 Standard, us-east-1", ".amazonaws.com", 0.005, 0.005, 0.0004, 0.023 },
    { "gcs", "Google Cloud Storage Standard, us-central1", "storage.googleapis.com", 0.005, 0.005, 0.0004, 0.020 },
    { "azure", "Azure Blob Storage, hot, LRS, East US", ".blob.core.windows.net", 0.005, 0.005, 0.0004, 0.018 },
    { "r2", "Cloudflare R2 Standard", ".r2.cloudflarestorage.com", 0.0045, 0.0045, 0.00036, 0.015 * 1.073741824 },
    { "b2", "Backblaze B2", ".backblazeb2.com", 0, 0.004, 0.0004, 0.006 * 1.073741824 },
    { "own", "a server of one's own", NULL, 0, 0, 0, 0 },
};

const struct price *price_at(size_t i)
{
    return i < ARRAY_SIZE(table) ? &table[i] : NULL;
}

const struct price *price_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* S3 in China belongs to another company, which has prices in another currency. */
const struct price *price_of(const char *origin)
{
    const char *host = origin ? strstr(origin, "://") : NULL;
    size_t len;

    if (!host)
        return NULL;
    host += 3;
    len = strcspn(host, ":/");
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        size_t n = table[i].hosts ? strlen(table[i].hosts) : SIZE_MAX;

        if (n <= len && strncmp(host + len - n, table[i].hosts, n) == 0)
            return &table[i];
    }
    return NULL;
}

double price_requests(const struct price *p, enum shale_request_op op, double n)
{
    switch (op) {
    case SHALE_REQUEST_GET:
    case SHALE_REQUEST_HEAD:
        return n * p->read_1000 / 1000;
    case SHALE_REQUEST_LIST:
        return n * p->list_1000 / 1000;
    case SHALE_REQUEST_PUT:
    case SHALE_REQUEST_UPLOAD_BEGIN:
    case SHALE_REQUEST_UPLOAD_PART:
    case SHALE_REQUEST_UPLOAD_COMPLETE:
    case SHALE_REQUEST_UNKNOWN:
        return n * p->write_1000 / 1000;
    default:
        return 0;
    }
}
