#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The probe against real servers: Ceph's radosgw, which can hold a volume, also behind a proxy that refuses, drops and loses
# answers; Swift, which answers 501 to conditional puts; s3rver, which ignores the condition.
set -eu
. "${SRCDIR:-.}/tests/s3/lib.sh"
mnt=${s3_dir:?}/mnt
probe_stop() {
	if mountpoint -q "$mnt"; then
		timeout 60 "$BUILDDIR/shalefs" umount --force "$mnt" >/dev/null 2>&1 || umount -l "$mnt" || true
	fi
	"$SRCDIR/tests/s3/swift-s3.sh" stop "$s3_dir/swift" || true
	"$SRCDIR/tests/s3/s3rver.sh" stop "$s3_dir/s3rver" || true
	s3_stop
}
trap probe_stop EXIT
command -v swift-proxy-server >/dev/null || { echo "skipped: Swift is not installed"; exit 77; }

fail() {
	echo "FAILED: $*"
	exit 1
}

# fails STATUS PATTERN COMMAND...: it ends with that status and says something that matches
fails() {
	local want=$1 pattern=$2 status=0
	shift 2
	timeout 120 "$@" >"$s3_dir/said" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "'$*' ended with $status, wanted $want: $(cat "$s3_dir/said")"
	grep -q -e "$pattern" "$s3_dir/said" || fail "'$*' said '$(cat "$s3_dir/said")', wanted '$pattern'"
}

# Every name in the bucket, one a line.
names() {
	python3 "$SRCDIR/tests/s3/s3probe.py" ls --bucket "$S3_BUCKET"
}

# use SETTINGS: NAME=VALUE words, as the server's script printed them; makes the bucket
use() {
	export "$@"
	export AWS_ENDPOINT_URL_S3=$S3_ENDPOINT
	python3 "$SRCDIR/tests/s3/s3probe.py" mkbucket --bucket "$S3_BUCKET" >/dev/null
}

# The volume is refused for lack of conditional puts, whoever asks, and nothing is left.
refused() {
	fails 1 "$1.*two mounts would overwrite each other's work" "$BUILDDIR/shalefs" format "s3://$S3_BUCKET/vol"
	fails 1 '^conditional put  *lacking ' "$BUILDDIR/shale" probe "s3://$S3_BUCKET/vol"
	fails 1 '"usable": false' "$BUILDDIR/shale" probe --json "s3://$S3_BUCKET/vol"
	[ -z "$(names)" ] || fail "left behind: $(names)"
}

# They take seconds.
"$SRCDIR/tests/s3/swift-s3.sh" start "$s3_dir/swift" "$(free_port 4)" >"$s3_dir/swift.env" &
swift=$!
export S3RVER_NPM=${S3RVER_NPM:-$BUILDDIR/tests/s3/npm}
"$SRCDIR/tests/s3/s3rver.sh" install "$s3_dir/s3rver" &
s3rver=$!

# ---- Ceph ----
s3_start
"$BUILDDIR/shale" probe "s3://$S3_BUCKET/vol" >"$s3_dir/said" || fail "probe: $(cat "$s3_dir/said")"
[ "$(grep -c '^.................good' "$s3_dir/said")" = 10 ] || fail "not all is good: $(cat "$s3_dir/said")"
[ -z "$(names)" ] || fail "left behind: $(names)"
"$BUILDDIR/shale" probe --json "s3://$S3_BUCKET/vol" | python3 -c 'import json, sys
r = json.load(sys.stdin)
assert r["usable"] and r["error"] is None and len(r["checks"]) == 10, r'
fails 2 'there is no such bucket' "$BUILDDIR/shale" probe s3://no-such-bucket-here/vol
fails 2 'the prefix is missing' "$BUILDDIR/shale" probe "s3://$S3_BUCKET"

chaos_start seed=$$ p503=0.05 p500=0.05 pdrop=0.05 plost=0.05 pcut=0.05
echo "seed of the faults: $$"
for _ in 1 2 3 4 5; do
	"$BUILDDIR/shale" probe "s3://$S3_BUCKET/vol" >"$s3_dir/said" || fail "probe: $(cat "$s3_dir/said")"
	[ "$(grep -c '^.................good' "$s3_dir/said")" = 10 ] || fail "not all is good: $(cat "$s3_dir/said")"
done
chaos p503=0 p500=0 pdrop=0 plost=0 pcut=0 >"$s3_dir/said"
[ "$(sed -n 's/.* faults=\([0-9]*\).*/\1/p' "$s3_dir/said")" -gt 5 ] || fail "no faults: $(cat "$s3_dir/said")"
[ -z "$(names)" ] || fail "left behind: $(names)"

"$BUILDDIR/shalefs" format "s3://$S3_BUCKET/vol" >/dev/null
! names | grep probe || fail "the probe of format left something"

# What only looks writes nothing: neither the commands nor a mount that only reads.
written() {
	chaos seed=1 | sed -n 's/.* \(put=[^ ]* post=[^ ]* delete=[^ ]*\).*/\1/p'
}
before=$(written)
[ -n "$before" ] || fail "the proxy does not count"
"$BUILDDIR/shalefs" status "s3://$S3_BUCKET/vol" >/dev/null
"$BUILDDIR/shalefs" check "s3://$S3_BUCKET/vol" >/dev/null
if [ -c /dev/fuse ] && [ "$(id -u)" = 0 ]; then
	mkdir "$mnt"
	"$BUILDDIR/shalefs" mount -o "ro,log=$s3_dir/log" "s3://$S3_BUCKET/vol" "$mnt" >/dev/null
	ls -la "$mnt" >/dev/null
	"$BUILDDIR/shalefs" umount "$mnt" >/dev/null
fi
[ "$(written)" = "$before" ] || fail "something was written: $before, then $(written)"

# ---- Swift ----
wait $swift || fail "Swift does not start"
use $(cat "$s3_dir/swift.env")
refused '501 NotImplemented'

# ---- s3rver ----
wait $s3rver || { echo "skipped: s3rver could not be had from npm; the rest is good"; exit 77; }
use $("$SRCDIR/tests/s3/s3rver.sh" start "$s3_dir/s3rver" "$(free_port)")
refused 'overwrites an object that it was told to create only if there is none'
