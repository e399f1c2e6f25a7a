#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A follower of a volume in a bucket, by a user who may only read, behind a proxy of its own: what it asks for while nothing
# happens, that it never asks for a change, that it shows what the writer commits, and that it outlives an outage.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
writer_endpoint=$AWS_ENDPOINT_URL_S3
chaos_start # for the follower alone
follower_endpoint=$AWS_ENDPOINT_URL_S3
export AWS_ENDPOINT_URL_S3=$writer_endpoint
export SHALE_VOLUMES=s3://$S3_BUCKET
mounts_use s3_stop

# A second user, whom a policy of the bucket lets read and list.
radosgw-admin -c "$s3_dir/rgw/ceph.conf" user create --uid=reader --display-name=reader --access-key=readkey \
	--secret=readsecret >/dev/null 2>&1
cat >"$work/policy" <<X
{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam:::user/reader" },
  "Action": [ "s3:GetObject", "s3:ListBucket" ],
  "Resource": [ "arn:aws:s3:::$S3_BUCKET", "arn:aws:s3:::$S3_BUCKET/*" ] } ] }
X
# as KEY SECRET URL [curl options]: the status of a signed request
as() {
	curl -s -o /dev/null -w '%{http_code}' --aws-sigv4 aws:amz:us-east-1:s3 --user "$1:$2" "${@:4}" "$3"
}
sum=$(sha256sum <"$work/policy" | cut -d' ' -f1)
case $(as testkey testsecret "$S3_ENDPOINT/$S3_BUCKET?policy=" -T "$work/policy" -H "x-amz-content-sha256: $sum") in
2*) ;;
*) fail "the policy was not taken" ;;
esac

requests() { # of the kind since the proxy began
	chaos seed=1 | tr ' \t' '\n' | sed -n "s/^$1=//p"
}

soon() {
	local end=$((SECONDS + 60))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "still not: $*"
		sleep 0.05
	done
}

holds() { [ "$(cat "$1")" = "$2" ]; }

format
mount_it commit=0.1
echo one >"$mnt/file"
"$SHALEFS" sync "$mnt"
f=$work/follower
mkdir "$f"
AWS_ENDPOINT_URL_S3=$follower_endpoint AWS_ACCESS_KEY_ID=readkey AWS_SECRET_ACCESS_KEY=readsecret \
	"$SHALEFS" mount -o "ro,log=$f.log" "$vol" "$f" >/dev/null
is "a PUT of that user" \
	"$(as readkey readsecret "$S3_ENDPOINT/$S3_BUCKET/x" -T "$work/policy" -H "x-amz-content-sha256: $sum")" 403
is "a file" "$(cat "$f/file")" one

# Nothing happens: at most one request a second, but for one look at the manifest in ten.
before=$(requests requests) from=$(date +%s%N)
sleep 5
n=$(($(requests requests) - before)) ms=$((($(date +%s%N) - from) / 1000000))
echo "idle: $n requests in $ms ms"
[ "$n" -le $((ms / 1000 + 2)) ] || fail "an idle follower made $n requests in $ms ms"
[ "$n" -ge 1 ] || fail "a follower that does not look"

# Something does.
for i in 1 2 3; do
	echo "change $i" >"$mnt/file"
	echo "$i" >"$mnt/new$i"
	soon holds "$f/file" "change $i"
	soon holds "$f/new$i" "$i"
done
rm "$mnt/new1"
soon test ! -e "$f/new1"

# An outage: what is in memory is there; then it goes on.
chaos p503=1 >/dev/null
echo during >"$mnt/file"
"$SHALEFS" sync "$mnt"
soon grep -q 'trying again until it answers' "$f.log"
is "during the outage" "$(cat "$f/file")" "change 3"
chaos p503=0 >/dev/null
soon holds "$f/file" during

is "PUTs of a follower" "$(requests put)" 0
is "DELETEs of a follower" "$(requests delete)" 0
is "POSTs of a follower" "$(requests post)" 0
"$SHALEFS" umount "$f"
is "PUTs and DELETEs of its end" "$(requests put)$(requests delete)$(requests post)" 000
umount_it
check_it
