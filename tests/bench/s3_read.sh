#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Reading from a bucket that is LATENCY_MS (15) away, with nothing cached: seconds, requests and bytes of `ls -lR`, of tar and
# of random reads, and of a large file beside curl, which gets as many bytes of one object by ranges of 1 MiB, PARALLEL
# (16) at a time. Run it in the build directory: SRCDIR=.. bash ../tests/bench/s3_read.sh
# FILES (2000), BIG_MB (256), ROUNDS (1) and PHASES ("ls tar big random curl") change what is done; MOUNT_OPTIONS goes to
# every mount.
LATENCY_MS=${LATENCY_MS:-15} FILES=${FILES:-2000} BIG_MB=${BIG_MB:-256} PARALLEL=${PARALLEL:-16} ROUNDS=${ROUNDS:-1}
RANDOM_READS=${RANDOM_READS:-64} PHASES=${PHASES:-ls tar big random curl} MOUNT_OPTIONS=${MOUNT_OPTIONS:-}
. "${SRCDIR:-.}/tests/s3/lib.sh"
SHALEFS=${SHALEFS:-$BUILDDIR/shalefs}
s3_start
chaos_start
work=$(mktemp -d "${TMPDIR:-/tmp}/shalefs-reads.XXXXXX")
mnt=$work/mnt
vol=s3://$S3_BUCKET/vol
mkdir "$mnt"

cleanup() {
	"$SHALEFS" umount "$mnt" >/dev/null 2>&1 || umount -l "$mnt" 2>/dev/null || true
	rm -rf "$work"
	s3_stop
}
trap cleanup EXIT

mount_it() {
	"$SHALEFS" mount -o "log=$work/log${MOUNT_OPTIONS:+,$MOUNT_OPTIONS}" "$vol" "$mnt" >/dev/null
}

# A source tree: directories of 20 files of 1 to 30 KiB. And one large file.
make_tree() {
	python3 - "$mnt" "$FILES" "$BIG_MB" <<'X'
import os, random, sys
root, files, big = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
r = random.Random(1)
noise = r.randbytes(1 << 20)
for i in range(files):
    d = "%s/tree/%d/%d" % (root, i // 400, i // 20)
    os.makedirs(d, exist_ok=True)
    n, at = r.randrange(1 << 10, 30 << 10), r.randrange(1 << 19)
    with open("%s/file%05d" % (d, (i * 7919) % 100000), "wb") as f:
        f.write(noise[at:at + n])
with open(root + "/big", "wb") as f:
    for i in range(big):
        at = r.randrange(1 << 19)
        f.write(noise[at:] + noise[:at])
X
}

counted() {
	chaos | tr ' ' '\n' | sed -n "s/^$1=//p"
}

# One keepalive connection of a process without mount: what the same requests cost by themselves.
curl_ranges() { # BYTES STEP PARALLEL COUNT
	python3 - "$@" "$AWS_ENDPOINT_URL_S3/$S3_BUCKET/plain" >"$work/curlrc" <<'X'
import sys
size, step, _, count = map(int, sys.argv[1:5])
for i in range(count):
    at = i * step
    print('url = "%s"\noutput = "/dev/null"\nrange = "%d-%d"' % (sys.argv[5], at, at + size - 1))
    if i + 1 < count:
        print("next")
X
	# Options of a transfer have to be said for each.
	sed -i 's|^url|aws-sigv4 = "aws:amz:us-east-1:s3"\nuser = "testkey:testsecret"\nheader = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\nsilent\nfail\nurl|' "$work/curlrc"
	if [ "$3" = 1 ]; then
		curl -K "$work/curlrc"
	else
		curl -Z --no-progress-meter --parallel-max "$3" -K "$work/curlrc"
	fi
}

random_reads() {
	python3 - "$mnt/big" "$RANDOM_READS" <<'X'
import os, random, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size, r = os.fstat(fd).st_size, random.Random(3)
for _ in range(int(sys.argv[2])):
    if len(os.pread(fd, 4096, r.randrange(size // 4096) * 4096)) != 4096:
        sys.exit("short read")
X
}

run() {
	case $1 in
	ls) ls -lR "$mnt/tree" >/dev/null ;;
	tar) tar -C "$mnt" -cf - tree | cat >/dev/null ;;
	big) cat "$mnt/big" >/dev/null ;;
	random) random_reads ;;
	curl) curl_ranges $((1 << 20)) $((1 << 20)) "$PARALLEL" "$BIG_MB" ;;
	esac
}

mount_it_fresh() {
	chaos get_ms=0 list_ms=0 >/dev/null
	mount_it
	chaos get_ms=$LATENCY_MS list_ms=$LATENCY_MS >/dev/null
}

"$SHALEFS" format "$vol" >/dev/null
mount_it
make_tree
"$SHALEFS" umount "$mnt"
# Nothing is left in the log, which a mount would read back into memory.
MOUNT_OPTIONS=freeze_wal_count=1,max_unflushed_bytes=1M mount_it # writes wait for flushes
touch "$mnt/big"
"$SHALEFS" umount "$mnt"
"$SHALEFS" compact "$vol" >/dev/null
head -c $((BIG_MB << 20)) /dev/urandom >"$work/plain"
curl -sf --aws-sigv4 aws:amz:us-east-1:s3 --user testkey:testsecret -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -T "$work/plain" "http://127.0.0.1:$s3_port/$S3_BUCKET/plain"
rm "$work/plain"

printf '%-8s %9s %9s %9s %9s\n' phase seconds requests MB MB/s
for ((round = 0; round < ROUNDS; round++)); do
	for phase in $PHASES; do
		[ $phase = curl ] || mount_it_fresh
		chaos get_ms=$LATENCY_MS list_ms=$LATENCY_MS >/dev/null
		requests=$(counted requests) bytes=$(counted bytes_down) t=$(date +%s%N)
		run $phase
		t=$((($(date +%s%N) - t) / 1000000))
		requests=$(($(counted requests) - requests)) bytes=$(($(counted bytes_down) - bytes))
		awk -v p=$phase -v ms=$t -v n=$requests -v b=$bytes \
			'BEGIN { printf "%-8s %9.2f %9d %9.1f %9.1f\n", p, ms / 1000, n, b / 1e6, b / 1e3 / ms }'
		echo "$phase $t" >>"$work/times"
		[ $phase = curl ] || "$SHALEFS" umount "$mnt"
	done
done
awk '{ if (!($1 in best) || $2 < best[$1]) best[$1] = $2 }
END { if (best["big"] && best["curl"]) printf "large file beside curl with '"$PARALLEL"' at a time: %.2f of its rate\n", best["curl"] / best["big"] }' \
	"$work/times"
