# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of real mounts (bash). Gives each a directory of its own, and takes away every mount that it leaves.
# KEEP=1 leaves the directory.
set -eEu
BUILDDIR=${BUILDDIR:-$(pwd)}
SHALEFS=${SHALEFS:-$BUILDDIR/shalefs}

skip() {
	echo "skipped: $1"
	exit 77
}

need() {
	for tool; do
		command -v "$tool" >/dev/null || skip "$tool is not installed"
	done
}

[ -c /dev/fuse ] && [ -r /dev/fuse ] && [ -w /dev/fuse ] || skip "/dev/fuse is missing or closed to us"
[ "$(id -u)" = 0 ] || need fusermount3
[ -x "$SHALEFS" ] || { echo "no program $SHALEFS"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/shalefs-test.XXXXXX")
vol=${SHALE_VOLUMES:-$work}/${SHALE_VOLUMES:+$(basename "$work")-}vol # SHALE_VOLUMES: s3://BUCKET
mnt=$work/mnt
log=$work/log
mkdir "$mnt"

fail() {
	echo "FAILED: $*"
	[ ! -s "$log" ] || { echo "--- log of the mount"; tail -n 30 "$log"; }
	exit 1
}

mounts_below_work() {
	awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo
}

cleanup() {
	status=$?
	cd /
	for m in $(mounts_below_work); do
		timeout 60 "$SHALEFS" umount --force "$m" >/dev/null 2>&1 || umount -l "$m" 2>/dev/null || fusermount3 -uz "$m" || true
	done
	[ -n "${KEEP:-}" ] || rm -rf "$work"
	exit $status
}
trap cleanup EXIT
trap 'fail "line $LINENO: ${BASH_COMMAND%%$'"'\n'"'*}"' ERR

# new_volume: forget the one there is, if any; $vol is a place where there is nothing
new_volume() {
	n_volumes=$((${n_volumes:-0} + 1))
	[ -n "${SHALE_VOLUMES:-}" ] || rm -rf "$vol"
	vol=${SHALE_VOLUMES:-$work}/${SHALE_VOLUMES:+$(basename "$work")-}vol-$n_volumes
}

# format [OPTION...]: a fresh volume
format() {
	"$SHALEFS" format "$@" "$vol" >/dev/null
}

# mount_it [OPTIONS]: the volume on $mnt
mount_it() {
	"$SHALEFS" mount -o "log=$log${1:+,$1}" "$vol" "$mnt" >/dev/null
}

umount_it() {
	timeout 120 "$SHALEFS" umount "$mnt"
}

remount() {
	umount_it
	mount_it "$@"
}

# is WHAT GOT WANTED
is() {
	[ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"
}

# fails STATUS PATTERN COMMAND...: it ends with that status and says something that matches (PATTERN empty: whatever it says)
fails() {
	local want=$1 pattern=$2 status=0
	shift 2
	timeout 60 "$@" >"$work/said" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "'$*' ended with $status, wanted $want: $(cat "$work/said")"
	[ -z "$pattern" ] || grep -q -e "$pattern" "$work/said" || fail "'$*' said '$(cat "$work/said")', wanted $pattern"
}

# Types, modes, owners, links, times of change, sizes (not of directories), link targets and names below a directory, and a
# checksum of every file.
listing() {
	(cd "$1" && find . \( -type d -printf '%y %m %U %G %n - %T@ %P\0' \) -o -printf '%y %m %U %G %n %s %T@ %P -> %l\0' |
		LC_ALL=C sort -z | tr '\0' '\n')
	(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum)
}

# The volume is whole.
check_it() {
	"$SHALEFS" check "$vol" >"$work/check" || fail "check: $(cat "$work/check")"
}
