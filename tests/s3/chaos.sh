# SPDX-License-Identifier: Apache-2.0
# Sourced (bash) by the lib.sh of each kind of server, which adds chaos_start: ports, the proxy that injects faults between
# a store and its server, and what tests behind it have in common.
chaos_pids=

# free_port [N]: a port that is free, and so are the N - 1 (1) behind it
free_port() {
	python3 - "${1:-2}" <<'X'
import random, socket, sys
while True:
    p = random.randrange(10000, 32000, 2) # below those that connections take
    try:
        for q in range(p, p + int(sys.argv[1])):
            with socket.socket() as s:
                s.bind(("127.0.0.1", q))
        print(p)
        break
    except OSError:
        pass
X
}

# chaos_proxy PORT [NAME=VALUE...]: one in front of the server on that port; sets chaos_port
chaos_proxy() {
	local port=$1
	shift
	chaos_port=$(free_port)
	"$BUILDDIR/tests/s3/s3chaos" "$chaos_port" "$port" "$@" &
	chaos_pids="$chaos_pids $!"
	for _ in $(seq 100); do
		curl -s -o /dev/null "http://127.0.0.1:$chaos_port/__chaos" && break
		sleep 0.05
	done
}

# chaos NAME=VALUE...: change its settings; prints them and the counters
chaos() {
	chaos_at $chaos_port "$@"
}

# chaos_at PORT NAME=VALUE...: the same of a certain one. (It listens there even while it is down.)
chaos_at() {
	local IFS='&' port=$1
	shift
	curl -sS "http://127.0.0.1:$((port + 1))/__chaos?$*"
}

chaos_stop() {
	[ -z "$chaos_pids" ] || kill $chaos_pids 2>/dev/null || true
}

# The contract of stores with retries, behind faults
contract_behind_faults() {
	local faults
	chaos_start seed=$$ p503=0.03 p500=0.03 pdrop=0.03 plost=0.03 pcut=0.03 pstall=0.01 stall_ms=300
	echo "seed of the faults: $$"
	SHALE_TEST_BUCKET_RETRY=1 "$BUILDDIR/tests/unit/test_store"
	faults=$(chaos seed=$$ | sed -n 's/.* faults=\([0-9]*\).*/\1/p')
	echo "$faults faults"
	[ "$faults" -gt 20 ]
}

# mounts_use STOP: what tests/mount/lib.sh has, whose cleanup then ends the server by STOP
mounts_use() {
	server_stop=$1
	trap - ERR EXIT # it has its own
	. "$SRCDIR/tests/mount/lib.sh"
	trap 'cleanup_all' EXIT
}

cleanup_all() {
	status=$?
	(exit $status) || true
	for m in $(mounts_below_work); do
		timeout 60 "$SHALEFS" umount --force "$m" >/dev/null 2>&1 || umount -l "$m" || true
	done
	rm -rf "$work"
	$server_stop
	exit $status
}
