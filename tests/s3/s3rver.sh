#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# s3rver, a small S3 server of npm that keeps files in a directory. It ignores the condition of a conditional put, so it
# cannot hold a database. Listens on 127.0.0.1 only.
# usage: s3rver.sh install DIR | start DIR PORT | stop DIR
#   DIR/npm is where it is installed; S3RVER_NPM names another place, which is kept
set -eu
version=3.7.1
cmd=${1:?install, start or stop}
dir=${2:?directory}
npm_dir=${S3RVER_NPM:-$dir/npm}

install() {
	[ "$(cat "$npm_dir/version" 2>/dev/null)" != $version ] || return 0
	mkdir -p "$npm_dir"
	npm install --silent --no-audit --no-fund --no-save --prefix "$npm_dir" "s3rver@$version" >"$npm_dir/install.log" 2>&1 ||
		{ tail -n 5 "$npm_dir/install.log" >&2; return 1; }
	echo $version >"$npm_dir/version"
}

start() {
	mkdir -p "$dir/data"
	setsid node "$npm_dir/node_modules/s3rver/bin/s3rver.js" -d "$dir/data" -a 127.0.0.1 -p "$port" --silent \
		>"$dir/out" 2>&1 </dev/null &
	echo $! >"$dir/pid"
	for _ in $(seq 600); do
		curl -s -o /dev/null "http://127.0.0.1:$port/" && return
		sleep 0.1
	done
	echo "no answer from s3rver: $(tail -n 3 "$dir/out")" >&2
	return 1
}

stop() {
	local pid
	[ -f "$dir/pid" ] || return 0
	pid=$(cat "$dir/pid")
	kill -- "-$pid" 2>/dev/null || true
	rm -f "$dir/pid"
}

case $cmd in
install) install ;;
start)
	port=${3:?port}
	start
	echo "S3_ENDPOINT=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=S3RVER AWS_SECRET_ACCESS_KEY=S3RVER"
	;;
stop) stop ;;
*)
	echo "install, start or stop is wanted, not $cmd" >&2
	exit 2
	;;
esac
