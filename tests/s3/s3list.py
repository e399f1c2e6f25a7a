# SPDX-License-Identifier: Apache-2.0
"""The objects of a bucket, past any proxy: at S3_ENDPOINT."""
import datetime
import xml.etree.ElementTree as xml

import s3probe


def objects(url, kind):
    """{name: (size, seconds since 1970)} of s3://BUCKET/PREFIX/kind/"""
    bucket, _, prefix = url[len("s3://"):].partition("/")
    prefix += f"/{kind}/"
    found, after, more = {}, "", True
    s = s3probe.S3()
    while more:
        query = {"list-type": "2", "prefix": prefix, **({"start-after": after} if after else {})}
        status, _, body = s.req("GET", "/" + bucket, query)
        if status != 200:
            raise OSError(f"listing {prefix}: {status} {body[:200]}")
        page = xml.fromstring(body)
        for e in page.iter():
            e.tag = e.tag.rpartition("}")[2]
        for e in page.iter("Contents"):
            after = e.findtext("Key")
            t = datetime.datetime.strptime(e.findtext("LastModified")[:19], "%Y-%m-%dT%H:%M:%S")
            found[after[len(prefix):]] = int(e.findtext("Size")), t.replace(tzinfo=datetime.timezone.utc).timestamp()
        more = page.findtext("IsTruncated") == "true"
    return found
