#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon of a mount of a bucket is killed while random operations go on (tests/mount/test_crash.sh), behind a proxy
# that does everything a network and a store do: latency, refusals, resets at each stage, lost answers, bodies that are cut,
# empty, longer than told or have a wrong bit, stalls, a slow trickle; and now and then an outage, of either kind.
# SHALE_ROUNDS (4) and SHALE_SEED as there. CRASH_OUTAGE_MS: of how long (1500).
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
seed=${SHALE_SEED:-$((RANDOM * 32768 + RANDOM))}
outage_ms=${CRASH_OUTAGE_MS:-1500}
s3_start
chaos_start seed=$seed get_ms=2 put_ms=3 jitter_ms=3 p503=0.02 p500=0.02 pdrop=0.02 pupcut=0.03 plost=0.03 pcut=0.03 \
	plen=0.02 plong=0.02 pempty=0.02 pwrong=0.05 pstall=0.01 stall_ms=400 ptrickle=0.02 trickle_bps=20000
echo "seed of the faults: $seed"

# Refused and black holes in turn, with as long a pause between two.
outages() {
	while sleep $((outage_ms * 2 / 1000)); do
		for down in 1 2; do
			chaos down=$down >/dev/null
			sleep "$(awk "BEGIN { print $outage_ms / 1000 }")"
			chaos down=0 >/dev/null
			sleep $((outage_ms * 2 / 1000))
		done
	done
}
outages &
outages=$!
trap 'kill $outages 2>/dev/null || true; s3_stop' EXIT

SHALE_SEED=$seed SHALE_ROUNDS=${SHALE_ROUNDS:-4} SHALE_KILL_MS=${SHALE_KILL_MS:-1500} SHALE_VOLUMES=s3://$S3_BUCKET \
	SRCDIR=$SRCDIR BUILDDIR=$BUILDDIR bash "$SRCDIR/tests/mount/test_crash.sh"
kill $outages
chaos down=0 | sed -n 's/^requests=/requests: /p; s/^by fault: /faults: /p'
