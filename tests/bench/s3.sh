#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The S3 store beside curl: the same transfers with the same parallelism to one local S3 server (radosgw), in turn in one
# run. Prints for each the median of both in MiB/s or objects/s, the median of the ratios round by round, and seconds of
# processor time per GiB (large) or per 1000 objects (small).
# Run it in the build directory, behind `make tests/bench/bench_s3`: SRCDIR=.. ../tests/bench/s3.sh
#   ROUNDS (7)      how often; who is first in a round changes from one to the next
#   MIB (512)       of large PUTs in each round; of large GETs four times as much
#   SMALL (4000)    small objects in each round, of SMALL_BYTES (4096) with 32 connections
#   TLS ()          1: by https, the certificate checked by both
#   UNSIGNED ()     1: by http, and neither signs what it puts (-o unsigned_payload)
#   PIN ()          1: the server has one half of the processors and the clients the other, as if on hosts of their own;
#                   otherwise they share all, and what a client computes is time that the server does not have
# Without TLS every body is signed by its hash: we compute it, curl is told it (curl has no way to do both). With TLS
# neither does. The last row of large PUTs has both compute it. What is read we hold in memory, and curl throws away.
export SRCDIR=${SRCDIR:-.}
. "$SRCDIR/tests/s3/lib.sh"
ROUNDS=${ROUNDS:-7} MIB=${MIB:-512} SMALL=${SMALL:-4000} SMALL_BYTES=${SMALL_BYTES:-4096}
bench=${BENCH_S3:-$BUILDDIR/tests/bench/bench_s3}
[ -x "$bench" ] || { echo "no $bench: make tests/bench/bench_s3"; exit 1; }
work=$s3_dir/bench
mkdir "$work"
if [ -n "${TLS:-}" ]; then
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
		-keyout "$work/key" -out "$work/ca" 2>/dev/null
	cat "$work/ca" "$work/key" >"$work/cert"
	export RGW_CERT=$work/cert
fi
both_hash=
export RGW_GC=5 # the server keeps all in memory
s3_start
half=$(($(nproc) / 2)) pin=
if [ -n "${PIN:-}" ]; then
	for f in "$s3_dir"/rgw/*.pid; do taskset -apc 0-$((half - 1)) "$(cat "$f")" >/dev/null; done
	pin="taskset -c $half-$(($(nproc) - 1))"
fi
if [ -n "${TLS:-}" ]; then
	export S3_ENDPOINT=https://localhost:$((s3_port + 3)) AWS_CA_BUNDLE=$work/ca CURL_CA_BUNDLE=$work/ca
	export AWS_ENDPOINT_URL_S3=$S3_ENDPOINT
fi

head -c $((64 << 20)) /dev/urandom >"$work/large"
head -c "$SMALL_BYTES" "$work/large" >"$work/small"

# timed COMMAND...: seconds, and seconds of processor time, of the whole process
timed() {
	local TIMEFORMAT='%R %U %S'
	{ time "$@" >/dev/null 2>"$work/said"; } 2>"$work/time"
	if [ -s "$work/said" ]; then
		head -n 5 "$work/said" >&2
		exit 1
	fi
	awk '{ print $1, $2 + $3 }' "$work/time"
}

# config put|get|range BODY NAME BYTES COUNT: what bench_s3 does, as options of curl
config() {
	local i from sha empty url=$S3_ENDPOINT/$S3_BUCKET
	empty=$(sha256sum </dev/null)
	empty=${empty%% *}
	sha=UNSIGNED-PAYLOAD
	[ -n "${TLS:-}${UNSIGNED:-}" ] || sha=$(sha256sum <"$2")
	for ((i = 0; i < $5; i++)); do
		[ $i = 0 ] || echo next
		echo "silent" "show-error" "fail" | tr ' ' '\n'
		echo 'aws-sigv4 = "aws:amz:us-east-1:s3"'
		echo 'user = "testkey:testsecret"'
		case $1 in
		put)
			echo "url = $url/$3.$i"
			echo "upload-file = $2"
			echo "header = \"x-amz-content-sha256: ${sha%% *}\""
			;;
		get)
			echo "url = $url/$3.$i"
			echo "header = \"x-amz-content-sha256: $empty\""
			;;
		range)
			echo "url = $url/$3"
			echo "header = \"x-amz-content-sha256: $empty\""
			from=$((i % ((1 << 30) / $4) * $4))
			echo "range = $from-$((from + $4 - 1))"
			;;
		esac
		echo 'output = "/dev/null"'
	done
}

# the variables are those of compare
run_ours() {
	timed $pin "$bench" $S3_BUCKET "$what" "$name" "$bytes" "$count" "$parallel" <"$body"
}

# With both_hash each body is hashed first, as many at once as are then sent.
run_theirs() {
	timed $pin sh -c 'if [ -n "$4" ]; then seq "$3" | xargs -P "$1" -I N openssl dgst -sha256 "$4"; fi
		exec curl --no-progress-meter --parallel --parallel-immediate --parallel-max "$1" --config "$2"' \
		sh "$parallel" "$work/config" "$count" "${both_hash:+$body}"
}

# compare LABEL put|get|range BODY NAME BYTES COUNT PARALLEL UNIT AMOUNT: UNIT/s of AMOUNT
compare() {
	local label=$1 what=$2 body=$3 name=$4 bytes=$5 count=$6 parallel=$7 unit=$8 amount=$9 round theirs ours
	config "$what" "$body" "$name" "$bytes" "$count" >"$work/config"
	: >"$work/figures"
	for ((round = 0; round <= ROUNDS; round++)); do
		[ $((round % 2)) = 0 ] || ours=$(run_ours)
		theirs=$(run_theirs)
		[ $((round % 2)) = 1 ] || ours=$(run_ours)
		[ $round = 0 ] || echo "$theirs $ours" >>"$work/figures" # the first warms up
	done
	python3 - "$work/figures" "$label" "$unit" "$amount" "$bytes" "$count" <<'X'
import statistics, sys
rows = [[float(x) for x in line.split()] for line in open(sys.argv[1])]
label, unit, amount, bytes_, count = sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
med = lambda i: statistics.median(r[i] for r in rows)
per = bytes_ * count / 2**30 if unit == "MiB/s" else count / 1000
ratio = statistics.median(r[0] / r[2] for r in rows)
print("%-34s %9.1f %9.1f %-9s %6.2f   cpu %6.2f %6.2f s/%s" % (label, amount / med(0), amount / med(2), unit, ratio,
      med(1) / per, med(3) / per, "GiB" if unit == "MiB/s" else "1000"))
X
}

n=$((MIB / 64))
printf '%-34s %9s %9s %-9s %6s\n' "" curl ours "" ratio
compare "PUT 64 MiB, 1 in flight" put "$work/large" large $((64 << 20)) $n 1 MiB/s $MIB
compare "PUT 64 MiB, 4 in flight" put "$work/large" large $((64 << 20)) $n 4 MiB/s $MIB
if [ -z "${TLS:-}${UNSIGNED:-}" ]; then
	both_hash=1
	compare "PUT 64 MiB, 4, both hash them" put "$work/large" large $((64 << 20)) $n 4 MiB/s $MIB
	both_hash=
fi
# one large object to read ranges of
for ((i = 0; i < 16; i++)); do cat "$work/large"; done >"$work/whole"
curl -sS --fail --aws-sigv4 aws:amz:us-east-1:s3 --user testkey:testsecret -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" \
	-T "$work/whole" "$S3_ENDPOINT/$S3_BUCKET/whole"
rm "$work/whole"
compare "GET ranges of 8 MiB, 16 in flight" range "$work/small" whole $((8 << 20)) $((MIB / 2)) 16 MiB/s $((4 * MIB))
compare "PUT $SMALL_BYTES bytes, 32 in flight" put "$work/small" small "$SMALL_BYTES" "$SMALL" 32 objects/s "$SMALL"
compare "GET $SMALL_BYTES bytes, 32 in flight" get "$work/small" small "$SMALL_BYTES" "$SMALL" 32 objects/s "$SMALL"
