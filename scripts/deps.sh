#!/bin/sh
# Install what the build (and with --tests the tests) need, on Debian 12 or a relative of it. Does nothing when all is there.
set -eu

build="build-essential autoconf automake libtool pkg-config zlib1g-dev libzstd-dev liblz4-dev libsnappy-dev libssl-dev
libcurl4-openssl-dev libexpat1-dev libjansson-dev libfuse3-dev fuse3"
tests="libcmocka-dev clang libclang-rt-14-dev git sqlite3 rsync attr acl tar xz-utils python3 procps util-linux
curl ceph-mon ceph-osd radosgw openssl faketime swift-proxy swift-account swift-container swift-object"
# Azurite, which stands for Azure Blob Storage, and s3rver; other packages of node have their own npm.
command -v npm >/dev/null || tests="$tests nodejs npm"

want=$build
[ "${1:-}" = --tests ] && want="$build $tests"

missing=
for p in $want; do
	dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "These packages are missing and there is no apt-get to install them:$missing" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { echo "Run as root, or install sudo, to install:$missing" >&2; exit 1; }
	as_root=sudo
fi
echo "Installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $as_root apt-get update && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y --no-install-recommends $missing; } \
	>"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "Installing packages failed." >&2
	exit 1
fi
