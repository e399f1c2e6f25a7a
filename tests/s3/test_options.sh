#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where a bucket is, said by options alone: nothing of it is in the environment but the keys.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
endpoint=$AWS_ENDPOINT_URL_S3
unset AWS_ENDPOINT_URL_S3 AWS_REGION
export SHALE_VOLUMES=s3://$S3_BUCKET
mounts_use s3_stop
need getfattr
trap 'cleanup_all' EXIT
cleanup_all() {
	status=$?
	for m in $(mounts_below_work); do
		timeout 60 "$SHALEFS" umount --force "$m" >/dev/null 2>&1 || umount -l "$m" || true
	done
	rm -rf "$work"
	s3_stop
	exit $status
}
SHALE=$BUILDDIR/shale
where="--endpoint $endpoint --region us-east-1"

fails 0 "formatted $vol" "$SHALEFS" format $where --path-style "$vol"
fails 0 "is mounted on" "$SHALEFS" mount -o "log=$log,endpoint=$endpoint,region=us-east-1" "$vol" "$mnt"
echo text >"$mnt/file"
"$SHALEFS" sync "$mnt"

# by the mount's own options; whatever the environment of the caller says
is "told by the mount" "$(getfattr --absolute-names --only-values -n shalefs.store "$mnt")" "endpoint $endpoint
region us-east-1"
export AWS_ENDPOINT_URL_S3=http://127.0.0.1:1
fails 0 'l0_ssts' "$SHALEFS" status "$mnt"
fails 0 'slatedb_db_wal_buffer_flushes_total' "$SHALEFS" status --metrics "$mnt"
fails 0 'asked for compaction\|nobody has compacted\|nothing that could' "$SHALEFS" compact "$mnt"
unset AWS_ENDPOINT_URL_S3

# by options
fails 0 "mounted at $mnt" "$SHALEFS" status $where "$vol"
fails 0 'l0_ssts' "$SHALEFS" status $where "$vol"
fails 0 'slatedb_db_wal_buffer_flushes_total' "$SHALEFS" status --metrics $where "$vol"
timeout 60 "$SHALEFS" umount "$mnt"
fails 0 '^0 problems' "$SHALEFS" check $where "$vol"
fails 0 'holds nothing that could be compacted\|rows of removed data left out' "$SHALEFS" compact $where "$vol"
fails 0 '"writer_epoch"' "$SHALE" manifest $where "$vol"
fails 0 '' "$SHALE" dump $where "$vol" --digest

# as fstab gives them to the helper
ln -s "$SHALEFS" "$work/mount.fuse.shalefs"
fails 0 'is mounted on' "$work/mount.fuse.shalefs" "$vol" "$mnt" -o \
	"ro,_netdev,nofail,x-systemd.automount,log=$log,endpoint=$endpoint,region=us-east-1,path_style"
is "read back" "$(cat "$mnt/file")" text
timeout 60 "$SHALEFS" umount "$mnt"

# what is wrong is said
fails 2 '--endpoint is wrong: https://HOST' "$SHALEFS" status --endpoint here "$vol"
fails 2 '--ca is wrong: cannot read .*/nofile' "$SHALEFS" check --ca nofile "$vol"
fails 2 'ca: cannot read .*/nofile' "$SHALE" dump --ca nofile "$vol"
fails 1 'profile .*nobody' "$SHALEFS" mount -o "log=$log,profile=nobody" "$vol" "$mnt"
fails 1 'profile .*nobody' "$SHALEFS" format --profile nobody "$vol"
fails 2 'unknown option.*--secret-key' "$SHALEFS" format --secret-key x "$vol"

# certificates by a relative name; the daemon stands in another directory
: >"$work/none.pem"
(cd "$work" && fails 0 'is mounted on' "$SHALEFS" mount \
	-o "log=$log,endpoint=$endpoint,region=us-east-1,ca=none.pem" "$vol" mnt)
getfattr --absolute-names --only-values -n shalefs.store "$mnt" | grep -q "^ca $work/none.pem$" || fail "the CA is not told"
fails 0 'ro\|mounted' "$SHALEFS" status "$mnt"
timeout 60 "$SHALEFS" umount "$mnt"
