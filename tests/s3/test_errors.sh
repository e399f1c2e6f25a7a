#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a person sees who has something wrong between himself and his bucket: one line that says what to do, on standard
# error, soon, and a status of failure; by every program, and without a secret. Real S3 server; a proxy and a server with
# TLS that are a few lines of Python.
. "${SRCDIR:-.}/tests/s3/lib.sh"
s3_start
work=$s3_dir/work
mnt=$work/mnt
mkdir -p "$mnt"
vol=s3://$S3_BUCKET/vol
secret=$AWS_SECRET_ACCESS_KEY
failed=0
pids=

fail() {
	echo "FAILED: $*"
	failed=1
}

stop_all() {
	umount -l "$work/live" 2>/dev/null || true
	for p in $pids; do
		kill "$p" 2>/dev/null || true
	done
	s3_stop
}
trap stop_all EXIT

# said NAME SECONDS PATTERN COMMAND...: it fails within so long, with one line that matches
said() {
	local name=$1 most=$2 pattern=$3 begun=$SECONDS status=0 want=1 out
	shift 3
	case "$*" in *"/shale get "*) want=2 ;; esac # 1: there is no such row
	out=$(mktemp -p "$work")
	timeout 120 "$@" >"$out.stdout" 2>"$out" || status=$?
	echo "$name: $(cat "$out")"
	[ $status = $want ] || fail "exit status $status"
	[ "$(wc -l <"$out")" = 1 ] || fail "not one line"
	[ ! -s "$out.stdout" ] || fail "standard output: $(cat "$out.stdout")"
	grep -Eq -- "$pattern" "$out" || fail "not the line that is wanted: $pattern"
	! grep -Eq "HUSH|$secret" "$out" || fail "a secret"
	[ $((SECONDS - begun)) -le "$most" ] || fail "it took $((SECONDS - begun)) s"
}

# each NAME PATTERN [WRAPPER...]: every program that opens a volume
each() {
	local name=$1 pattern=$2
	shift 2
	said "$name" 20 "$pattern" "$@" "$BUILDDIR/shalefs" format "$new"
	said "$name" 20 "$pattern" "$@" "$BUILDDIR/shalefs" mount -o "log=$work/log" "$vol" "$mnt"
	said "$name" 20 "$pattern" "$@" "$BUILDDIR/shalefs" status "$vol"
	said "$name" 20 "$pattern" "$@" "$BUILDDIR/shale" get "$vol" 61
}

# A server that answers every request with a page: page STATUS [CERTIFICATE KEY]; its port is in $port
page() {
	local out
	out=$(mktemp -p "$work")
	python3 - "$@" >"$out" <<'X' &
import http.server, ssl, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<html><body>Please log in.</body></html>"
        self.send_response(int(sys.argv[1]))
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = answer
    def log_message(self, *a):
        pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
if len(sys.argv) > 2:
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(sys.argv[2], sys.argv[3])
    s.socket = c.wrap_socket(s.socket, server_side=True)
print(s.server_port, flush=True)
s.serve_forever()
X
	pids="$pids $!"
	for _ in $(seq 100); do
		[ ! -s "$out" ] || break
		sleep 0.1
	done
	port=$(cat "$out")
}

# Keys in the life of a mount. From a file: others take their place unnoticed, and until there are some they are waited
# for. From the environment, which never has others: the read that meets them fails, and no other.
admin() {
	radosgw-admin -c "$s3_dir/rgw/ceph.conf" key "$@" >/dev/null 2>"$work/admin" || { cat "$work/admin"; fail "radosgw-admin"; }
}

# credentials ACCESS SECRET: what the mount finds when it looks again
credentials() {
	printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1" "$2" >"$work/credentials.new"
	mv "$work/credentials.new" "$work/credentials"
}

# until_ok COMMAND...: for half a minute
until_ok() {
	for _ in $(seq 300); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	fail "for half a minute: $*"
}

key_tests() {
	local shalefs=$BUILDDIR/shalefs live=$work/live vol=s3://$S3_BUCKET/keys reader
	"$shalefs" format "$vol" >/dev/null
	unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
	export AWS_SHARED_CREDENTIALS_FILE=$work/credentials
	mkdir "$live"
	admin create --uid=test --access-key=first --secret=firstHUSH
	admin create --uid=test --access-key=second --secret=secondHUSH
	credentials first firstHUSH
	"$shalefs" mount -o "l0_sst_size_bytes=64K,log=$work/log-keys" "$vol" "$live" >/dev/null || fail "mount"
	head -c 3000000 /dev/urandom >"$work/data"
	cp "$work/data" "$live/a"
	timeout 60 "$shalefs" sync "$live" || fail "sync"
	credentials second secondHUSH
	admin rm --access-key=first
	cp "$work/data" "$live/b" # in SSTs, as the memtables are small; what is in the WAL a mount reads at once
	timeout 60 "$shalefs" sync "$live" || fail "sync with other keys"
	timeout 60 "$shalefs" umount "$live" || fail "umount"
	"$shalefs" mount -o "ro,log=$work/log-file" "$vol" "$live" >/dev/null || fail "mount"
	admin rm --access-key=second
	cmp "$work/data" "$live/a" &
	reader=$!
	until_ok grep "does not know access key second, .* trying again until it answers" "$work/log-file"
	kill -0 $reader || fail "a read did not wait for keys"
	admin create --uid=test --access-key=third --secret=thirdHUSH
	credentials third thirdHUSH
	wait $reader || fail "a read with other keys"
	timeout 60 "$shalefs" umount "$live" || fail "umount"
	AWS_ACCESS_KEY_ID=third AWS_SECRET_ACCESS_KEY=thirdHUSH "$shalefs" mount -o "ro,log=$work/log-env" "$vol" "$live" \
		>/dev/null || fail "mount"
	admin rm --access-key=third
	! cat "$live/a" >/dev/null 2>"$work/said" || fail "a read without keys"
	echo "keys are gone: $(cat "$work/said")"
	admin create --uid=test --access-key=third --secret=thirdHUSH
	until_ok cmp "$work/data" "$live/a"
	until_ok cmp "$work/data" "$live/b"
	timeout 60 "$shalefs" umount "$live" || fail "umount"
}

"$BUILDDIR/shalefs" format "$vol" >/dev/null
new=s3://$S3_BUCKET/new

# What may pass is waited for, half a minute at first contact, and keys are asked for again as seldom: all of these at
# once, while the rest is tried.
free=$(free_port)
slow_tests() {
	(
		export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$free
		said "connection refused" 50 "gave up after .*check the endpoint's name and port" "$BUILDDIR/shalefs" mount \
			-o "log=$work/log1" "$vol" "$mnt"
		exit $failed
	) >"$work/slow1" &
	(
		export AWS_ENDPOINT_URL_S3=http://no-such-host.invalid
		said "no such host" 50 "gave up after .*check the endpoint's name and this host's DNS" "$BUILDDIR/shalefs" format \
			"$new"
		exit $failed
	) >"$work/slow2" &
	(
		export AWS_ENDPOINT_URL_S3=https://127.0.0.1:$s3_port
		said "no TLS there" 50 "gave up after .*the endpoint begins with http://" "$BUILDDIR/shalefs" status "$vol"
		exit $failed
	) >"$work/slow3" &
	(
		page 502
		export http_proxy=http://HUSH:HUSH@127.0.0.1:$port
		# the warning that it is tried again is a line of its own
		said "bad gateway" 50 "gave up after .*answers 502 with a web page" "$BUILDDIR/shale" get "$vol" 61
		kill $pids
		exit $failed
	) >"$work/slow4" &
	(
		if [ -c /dev/fuse ] && [ "$(id -u)" = 0 ]; then
			key_tests
		else
			echo "no /dev/fuse, or not root: keys in the life of a mount are left out"
		fi
		exit $failed
	) >"$work/slow5" 2>&1 &
}
slow_tests

AWS_SECRET_ACCESS_KEY=HUSHwrong each "wrong secret key" "the secret key is not the one of access key testkey; both are from the environment"
AWS_ACCESS_KEY_ID=nobody each "unknown access key" "the store does not know access key nobody, which is from the environment"
(
	new=s3://no-such-bucket/new vol=s3://no-such-bucket/vol
	each "missing bucket" "there is no such bucket at http://127.0.0.1:$s3_port; create it"
	exit $failed
) || failed=1

if command -v faketime >/dev/null && ! nm -D "$BUILDDIR/shalefs" 2>/dev/null | grep -Eq '__(asan|tsan)_init'; then
	each "clock behind" "this host's clock is 1[0-9]* s behind the store's.*set the clock" faketime -f -20m
	each "clock ahead" "this host's clock is 1[0-9]* s ahead of the store's.*set the clock" faketime -f +20m
else
	echo "no faketime, or a sanitizer: wrong clocks are left out"
fi

page 200
http_proxy=http://127.0.0.1:$port each "login page" "answers 200 with a web page, by BaseHTTP"
page 403
http_proxy=http://127.0.0.1:$port each "proxy forbids" "answers 403 with a web page"
page 407
http_proxy=http://HUSH:HUSH@127.0.0.1:$port each "proxy wants a login" "a proxy wants a login \(407\)"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other.test -addext subjectAltName=DNS:other.test \
	-keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
page 200 "$work/cert.pem" "$work/key.pem"
export AWS_ENDPOINT_URL_S3=https://127.0.0.1:$port
AWS_CA_BUNDLE=$work/cert.pem each "another's certificate" "the certificate is another host's: check the endpoint's name"
each "unknown authority" "give the certificate of its authority as the CA file \(AWS_CA_BUNDLE\)"

for i in 1 2 3 4 5; do
	wait -n || true
done
for i in 1 2 3 4 5; do
	cat "$work/slow$i"
	! grep -q FAILED "$work/slow$i" || failed=1
done
! grep -rEl "HUSH|$secret" "$work"/log* || fail "a secret is in a log"
exit $failed
