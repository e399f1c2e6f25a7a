#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# OpenStack Swift with its s3api as a throw-away S3 server: four servers in one directory, one replica. It answers 501 to
# conditional puts, so it cannot hold a database. The directory needs extended attributes. Listens on 127.0.0.1 only.
#   apt-get install --no-install-recommends swift-proxy swift-account swift-container swift-object
# usage: swift-s3.sh start DIR PORT (and the three after it) | stop DIR
set -eu
cmd=${1:?start or stop}
dir=${2:?directory}
kinds="account container object"

write_conf() {
	local n=1 kind
	cat >"$dir/etc/swift.conf" <<-X
		[swift-hash]
		swift_hash_path_suffix = x
		swift_hash_path_prefix = y
		[storage-policy:0]
		name = p0
		default = yes
	X
	cat >"$dir/etc/proxy.conf" <<-X
		[DEFAULT]
		bind_ip = 127.0.0.1
		bind_port = $port
		workers = 1
		user = $(id -un)
		swift_dir = $dir/etc
		log_level = WARNING
		[pipeline:main]
		pipeline = catch_errors proxy-logging cache listing_formats bulk s3api tempauth slo dlo proxy-server
		[filter:catch_errors]
		use = egg:swift#catch_errors
		[filter:proxy-logging]
		use = egg:swift#proxy_logging
		[filter:cache]
		use = egg:swift#memcache
		memcache_servers = 127.0.0.1:1
		[filter:listing_formats]
		use = egg:swift#listing_formats
		[filter:bulk]
		use = egg:swift#bulk
		[filter:slo]
		use = egg:swift#slo
		[filter:dlo]
		use = egg:swift#dlo
		[filter:tempauth]
		use = egg:swift#tempauth
		user_test_tester = testing .admin
		[filter:s3api]
		use = egg:swift#s3api
		location = us-east-1
		s3_acl = false
		check_bucket_owner = false
		[app:proxy-server]
		use = egg:swift#proxy
		allow_account_management = true
		account_autocreate = true
		node_timeout = 60
	X
	for kind in $kinds; do
		cat >"$dir/etc/$kind.conf" <<-X
			[DEFAULT]
			bind_ip = 127.0.0.1
			bind_port = $((port + n))
			workers = 1
			user = $(id -un)
			swift_dir = $dir/etc
			devices = $dir/node
			mount_check = false
			disable_fallocate = true
			log_level = WARNING
			[pipeline:main]
			pipeline = $kind-server
			[app:$kind-server]
			use = egg:swift#$kind
		X
		n=$((n + 1))
	done
}

# What swift-ring-builder does in nine runs. The Python of the packages.
make_rings() {
	/usr/bin/python3 - "$port" $kinds <<-X
		import sys
		from swift.common.ring import RingBuilder
		for n, kind in enumerate(sys.argv[2:], 1):
		    b = RingBuilder(4, 1, 1)
		    b.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(sys.argv[1]) + n, "device": "sda",
		               "weight": 1.0, "replication_ip": "127.0.0.1", "replication_port": int(sys.argv[1]) + n, "meta": ""})
		    b.rebalance()
		    b.get_ring().save(kind + ".ring.gz")
	X
}

# run NAME COMMAND...: in the background, in a session of its own
run() {
	local name=$1
	shift
	setsid "$@" >"$dir/$name.out" 2>&1 </dev/null &
	echo $! >"$dir/$name.pid"
}

start() {
	local kind
	mkdir -p "$dir/node/sda" "$dir/etc"
	dir=$(cd "$dir" && pwd)
	cd "$dir/etc"
	write_conf
	make_rings
	for kind in $kinds; do
		run $kind swift-$kind-server "$dir/etc/$kind.conf"
	done
	run proxy swift-proxy-server "$dir/etc/proxy.conf"
	for _ in $(seq 600); do
		curl -s -o /dev/null "http://127.0.0.1:$port/" && return
		sleep 0.1
	done
	echo "no answer from Swift: $(tail -n 3 "$dir"/*.out)" >&2
	return 1
}

stop() {
	local name pid
	for name in proxy $kinds; do
		[ -f "$dir/$name.pid" ] || continue
		pid=$(cat "$dir/$name.pid")
		kill -- "-$pid" 2>/dev/null || true
		for _ in $(seq 50); do
			kill -0 -- "-$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 -- "-$pid" 2>/dev/null || true
		rm -f "$dir/$name.pid"
	done
}

case $cmd in
start)
	port=${3:?port}
	start
	echo "S3_ENDPOINT=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=testing"
	;;
stop) stop ;;
*)
	echo "start or stop is wanted, not $cmd" >&2
	exit 2
	;;
esac
