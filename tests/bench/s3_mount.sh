#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How long a mount takes of a bucket that is LATENCY_MS (15) away: after a crash with OBJECTS (256) WAL objects to replay,
# and after a clean unmount; and what requests it makes. Beside it, curl gets as many small objects 8 and 16 at a time.
# Run it in the build directory: SRCDIR=.. bash ../tests/bench/s3_mount.sh
LATENCY_MS=${LATENCY_MS:-15} OBJECTS=${OBJECTS:-256} ROUNDS=${ROUNDS:-3}
. "${SRCDIR:-.}/tests/s3/lib.sh"
SHALEFS=${SHALEFS:-$BUILDDIR/shalefs}
s3_start
chaos_start
work=$(mktemp -d "${TMPDIR:-/tmp}/shalefs-mounts.XXXXXX")
mnt=$work/mnt
vol=s3://$S3_BUCKET/vol
mkdir "$mnt"

cleanup() {
	"$SHALEFS" umount --force "$mnt" >/dev/null 2>&1 || umount -l "$mnt" 2>/dev/null || true
	rm -rf "$work"
	s3_stop
}
trap cleanup EXIT

counters() {
	chaos | tr ' ' '\n' | grep -E '^(get|put|delete|list|post)='
}

# timed WHAT OPTIONS: the milliseconds until a mount is ready, and its requests by kind
timed() {
	chaos get_ms=$LATENCY_MS put_ms=$LATENCY_MS list_ms=$LATENCY_MS >/dev/null
	counters >"$work/before"
	t=$(date +%s%N)
	"$SHALEFS" mount -o "log=$work/log$2" "$vol" "$mnt" >/dev/null
	t=$((($(date +%s%N) - t) / 1000000))
	counters >"$work/after"
	chaos get_ms=0 put_ms=0 list_ms=0 >/dev/null
	printf '%-24s %6d ms  ' "$1" $t
	paste -d= "$work/before" "$work/after" | awk -F= '{ printf " %s %d", $1, $4 - $2 } END { print "" }'
}

curl_objects() { # PARALLEL
	for ((i = 0; i < OBJECTS; i++)); do
		[ $i = 0 ] || echo next
		printf 'aws-sigv4 = "aws:amz:us-east-1:s3"\nuser = "testkey:testsecret"\nsilent\nfail\noutput = "/dev/null"\n'
		printf 'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\nurl = "%s"\n' "$AWS_ENDPOINT_URL_S3/$S3_BUCKET/small"
	done >"$work/curlrc"
	t=$(date +%s%N)
	curl -Z --no-progress-meter --parallel-max "$1" -K "$work/curlrc"
	printf '%-24s %6d ms\n' "curl, $1 at a time" $((($(date +%s%N) - t) / 1000000))
}

head -c 1000 /dev/urandom >"$work/small"
curl -sf --aws-sigv4 aws:amz:us-east-1:s3 --user testkey:testsecret -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
	-T "$work/small" "http://127.0.0.1:$s3_port/$S3_BUCKET/small"
"$SHALEFS" format "$vol" >/dev/null
for ((round = 0; round < ROUNDS; round++)); do
	"$SHALEFS" mount -f -o "log=$work/log,freeze_wal_count=100000,commit=60" "$vol" "$mnt" >/dev/null &
	daemon=$!
	until mountpoint -q "$mnt"; do sleep 0.02; done
	python3 - "$mnt" "$OBJECTS" <<'X'
import os, sys
for i in range(int(sys.argv[2])):
    fd = os.open("%s/file%d" % (sys.argv[1], i), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x" * 1000)
    os.fsync(fd)
    os.close(fd)
X
	kill -9 $daemon
	wait $daemon 2>/dev/null || true
	umount -l "$mnt"
	timed "mount after a crash" ""
	"$SHALEFS" umount "$mnt"
	timed "mount after an unmount" ""
	"$SHALEFS" umount "$mnt"
	chaos get_ms=$LATENCY_MS >/dev/null
	curl_objects 8
	curl_objects 16
done
