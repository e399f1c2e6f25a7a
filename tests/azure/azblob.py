#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The few things that tests ask of Azure Blob Storage and Azurite beside libshale, with a signature of their own.

azblob.py mkcontainer NAME       makes a container
azblob.py sas [PERMISSIONS [MINUTES]]   prints a shared access signature of the account (default rwdlc, 60; MINUTES may be negative)

The account is AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY at AZURE_STORAGE_BLOB_ENDPOINT.
"""
import base64, datetime, hashlib, hmac, os, sys, urllib.parse, urllib.request

VERSION = "2021-12-02"
ACCOUNT = os.environ["AZURE_STORAGE_ACCOUNT"]
ENDPOINT = os.environ["AZURE_STORAGE_BLOB_ENDPOINT"].rstrip("/")


def sign(text):
    key = base64.b64decode(os.environ["AZURE_STORAGE_KEY"])
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def mkcontainer(name):
    date = datetime.datetime.utcnow().strftime("%a, %d %b %Y %H:%M:%S GMT")
    path = urllib.parse.urlsplit(ENDPOINT).path + "/" + name
    text = "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:%s\n/%s%s\nrestype:container" % (date, VERSION, ACCOUNT, path)
    request = urllib.request.Request(ENDPOINT + "/" + name + "?restype=container", method="PUT", headers={
        "x-ms-date": date, "x-ms-version": VERSION, "Authorization": "SharedKey %s:%s" % (ACCOUNT, sign(text))})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()


def sas(permissions="rwdlc", minutes="60"):
    expiry = datetime.datetime.utcnow() + datetime.timedelta(minutes=int(minutes))
    start = min(expiry, datetime.datetime.utcnow()) - datetime.timedelta(minutes=60)
    p = {"ss": "b", "srt": "co", "sp": permissions, "st": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
         "se": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"), "sv": VERSION}
    # the fields in this order; between version and the end the address, the protocol and the encryption scope
    p["sig"] = sign("\n".join([ACCOUNT, p["sp"], p["ss"], p["srt"], p["st"], p["se"], "", "", p["sv"], "", ""]))
    print(urllib.parse.urlencode(p))


if len(sys.argv) < 2 or sys.argv[1] not in ("mkcontainer", "sas"):
    sys.exit(__doc__)
globals()[sys.argv[1]](*sys.argv[2:])
