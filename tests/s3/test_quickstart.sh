#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command of the README: a bucket is mounted by one line, with keys in the environment; and again, when it has a volume.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
mnt=$s3_dir/mnt
export BUILD_DIR=$BUILDDIR
trap 'umount -l "$mnt" 2>/dev/null || true; s3_stop' EXIT

# as a user has it: what was built is used, and nothing is asked
quickstart() {
	"$SRCDIR/scripts/quickstart.sh" "$mnt" "s3://$S3_BUCKET/quick" </dev/null
	mountpoint -q "$mnt" || { echo "it is not mounted"; exit 1; }
}

quickstart
echo "in a bucket" >"$mnt/file"
"$BUILDDIR/shalefs" umount "$mnt"
quickstart
[ "$(cat "$mnt/file")" = "in a bucket" ]
"$BUILDDIR/shalefs" umount "$mnt"
"$BUILDDIR/shalefs" check "s3://$S3_BUCKET/quick"

# a bucket that is not there: a reason, and no mount
if "$SRCDIR/scripts/quickstart.sh" "$mnt" s3://shale-none/quick >"$s3_dir/said" 2>&1; then
	echo "it mounted a bucket that does not exist"
	exit 1
fi
cat "$s3_dir/said"
grep -q 'there is no such bucket' "$s3_dir/said"
