# SPDX-License-Identifier: Apache-2.0
# Sourced (bash): the proxy that injects faults between a store and its server; and ports.
chaos_pid=

# A port that is free, and the next one, too.
free_port() {
	python3 - <<'X'
import random, socket
while True:
    p = random.randrange(10000, 32000, 2) # below those that connections take
    try:
        for q in (p, p + 1):
            with socket.socket() as s:
                s.bind(("127.0.0.1", q))
        print(p)
        break
    except OSError:
        pass
X
}

# chaos_proxy PORT [NAME=VALUE...]: in front of the server on that port; sets chaos_port
chaos_proxy() {
	local port=$1
	shift
	chaos_port=$(free_port)
	"$BUILDDIR/tests/s3/s3chaos" "$chaos_port" "$port" "$@" &
	chaos_pid=$!
	for _ in $(seq 100); do
		curl -s -o /dev/null "http://127.0.0.1:$chaos_port/__chaos" && break
		sleep 0.05
	done
}

# chaos NAME=VALUE...: change its settings; prints them and the counters
chaos() {
	local IFS='&'
	curl -s "http://127.0.0.1:$chaos_port/__chaos?$*"
}

chaos_stop() {
	[ -z "$chaos_pid" ] || kill "$chaos_pid" 2>/dev/null || true
}
