#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Mounts of a bucket behind a proxy that does everything a network and a store do: latency, refusals, resets at each
# stage, lost answers, bodies that are cut, empty, longer than told or have a wrong bit, stalls, a slow trickle; and
# outages, where connections are refused, and where they are taken and never answered. What was acknowledged has to be
# there, what is read has to be right, and the mount goes on:
#   crash    the daemon is killed amid random operations (tests/mount/test_crash.sh), with short outages all the time
#   soak     random work on a mount at its busiest (tests/mount/test_soak.sh)
#   tools    git, tar, sqlite, make, rsync (tests/mount/test_tools.sh); fewer faults, as it takes minutes
#   outage   a mount waits for the end of a longer one
# FAULT_TESTS says which (crash outage; all in make check-long), SHALE_SEED of what; SHALE_ROUNDS (2), SOAK_SECONDS
# (20), OUTAGE_SECONDS (2).
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
seed=${SHALE_SEED:-$((RANDOM * 32768 + RANDOM))}
export SRCDIR BUILDDIR SHALE_SEED=$seed SHALE_VOLUMES=s3://$S3_BUCKET
echo "SHALE_SEED=$seed"
s3_start
chaos_start seed=$seed stall_ms=300 trickle_bps=20000

all_faults="get_ms=1 put_ms=2 jitter_ms=2 p503=0.02 p500=0.02 pdrop=0.02 pupcut=0.03 plost=0.03 pcut=0.03 plen=0.02
	plong=0.02 pempty=0.02 pwrong=0.05 pstall=0.01 ptrickle=0.02"
no_faults="get_ms=0 put_ms=0 jitter_ms=0 p503=0 p500=0 pdrop=0 pupcut=0 plost=0 pcut=0 plen=0 plong=0 pempty=0 pwrong=0
	pstall=0 ptrickle=0"

# Refused and black holes in turn, with a pause between two.
short_outages() {
	while sleep 1; do
		for down in 1 2; do
			chaos down=$down >/dev/null
			sleep 0.7
			chaos down=0 >/dev/null
			sleep 1
		done
	done
}

test_crash() {
	local status=0

	chaos $all_faults >/dev/null
	short_outages &
	outages=$!
	trap 'kill $outages 2>/dev/null || true; s3_stop' EXIT
	SHALE_ROUNDS=${SHALE_ROUNDS:-2} SHALE_KILL_MS=1500 bash "$SRCDIR/tests/mount/test_crash.sh" || status=$?
	kill $outages
	trap s3_stop EXIT
	chaos down=0 >/dev/null
	return $status
}

test_soak() {
	chaos $all_faults >/dev/null
	SOAK_SECONDS=${SOAK_SECONDS:-20} bash "$SRCDIR/tests/mount/test_soak.sh"
}

test_tools() {
	chaos $no_faults p503=0.01 p500=0.01 pdrop=0.01 pupcut=0.01 plost=0.01 pcut=0.01 plen=0.01 pempty=0.01 \
		pwrong=0.02 >/dev/null
	bash "$SRCDIR/tests/mount/test_tools.sh"
}

test_outage() {
	chaos $no_faults >/dev/null
	CHAOS_PORT=$chaos_port bash "$SRCDIR/tests/s3/outage.sh" "${OUTAGE_SECONDS:-2}"
}

for t in ${FAULT_TESTS:-crash outage}; do
	test_$t
	echo "$t is good"
done
chaos down=0 | sed -n 's/^requests=/requests: /p; s/^by fault: /faults: /p'
