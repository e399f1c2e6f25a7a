#!/bin/bash
# Mount a volume at DIR: install what is missing, build in build/, make the volume if it is new, mount it.
#
#   scripts/quickstart.sh DIR [VOLUME]      VOLUME: a directory or URL (default: ~/.local/share/shalefs/quickstart)
#
# BUILD_DIR is where it builds (build/).
set -eu

usage() {
	sed -n '4s/^# *//p' "$0" >&2
	exit 2
}
[ $# -ge 1 ] && [ $# -le 2 ] && [ "${1#-}" = "$1" ] || usage

top=$(cd "$(dirname "$0")/.." && pwd)
dir=$1
volume=${2:-${XDG_DATA_HOME:-$HOME/.local/share}/shalefs/quickstart}

"$top/scripts/deps.sh"

build=${BUILD_DIR:-$top/build}
log=$build/build.log
mkdir -p "$build"
echo "Building in $build (log: $log)"
if ! {
	[ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] || "$top/scripts/bootstrap"
	cd "$build"
	[ -f config.status ] && [ config.status -nt "$top/configure" ] || "$top/configure" -q --disable-shared --enable-static
	make -s -j"$(nproc)" shale shalefs
} >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "The build failed; the whole of it is in $log" >&2
	exit 1
fi

shalefs=$build/shalefs
mkdir -p "$dir"
if ! "$shalefs" status "$volume" >/dev/null 2>&1; then
	"$shalefs" format "$volume"
fi
"$shalefs" mount "$volume" "$dir" >/dev/null

cat <<MSG

$volume is mounted at $dir. Try:
  cp -r $top/engine $dir/ && ls -l $dir/engine
  git -C $dir init demo
  $shalefs status $volume      what is in it
  $shalefs umount $dir         returns when everything is stored
  $shalefs check $volume       verify it
MSG
