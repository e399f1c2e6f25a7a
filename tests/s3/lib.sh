# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests that need an S3 server (bash): starts Ceph's radosgw in a directory of its own, with a bucket, and
# sets what AWS programs read from the environment. chaos_start puts the proxy that injects faults in front of it.
set -eu
SRCDIR=$(cd "${SRCDIR:-.}" && pwd)
BUILDDIR=$(cd "${BUILDDIR:-.}" && pwd)
S3_BUCKET=shale-test

for tool in radosgw ceph-mon ceph-osd python3 curl; do
	command -v $tool >/dev/null || { echo "skipped: $tool is not installed"; exit 77; }
done

. "$SRCDIR/tests/s3/chaos.sh"
s3_dir=$(mktemp -d "${TMPDIR:-/tmp}/shale-s3.XXXXXX")

s3_stop() {
	chaos_stop
	"$SRCDIR/tests/s3/ceph-rgw.sh" stop "$s3_dir/rgw" >/dev/null 2>&1 || true
	rm -rf "$s3_dir"
}
trap s3_stop EXIT

s3_start() {
	local port
	port=$(free_port)
	"$SRCDIR/tests/s3/ceph-rgw.sh" start "$s3_dir/rgw" "$port" >"$s3_dir/env" || { cat "$s3_dir"/rgw/log/* | tail -n 20; exit 1; }
	s3_port=$port
	unset AWS_PROFILE AWS_SESSION_TOKEN AWS_CA_BUNDLE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
	export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
	export AWS_ACCESS_KEY_ID=testkey AWS_SECRET_ACCESS_KEY=testsecret AWS_REGION=us-east-1
	export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port S3_ENDPOINT=http://127.0.0.1:$port
	python3 "$SRCDIR/tests/s3/s3probe.py" mkbucket --bucket $S3_BUCKET >/dev/null
}

# chaos_start [NAME=VALUE...]: from now on the endpoint is the proxy
chaos_start() {
	chaos_proxy "$s3_port" "$@"
	export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$chaos_port
}

# log_says PATTERN [N]: wait until the log of the mount has N lines (1) that match
log_says() {
	for _ in $(seq 600); do
		[ "$(grep -c -e "$1" "$log")" -lt "${2:-1}" ] || return 0
		sleep 0.1
	done
	fail "the log does not say $1"
}
