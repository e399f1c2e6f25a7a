# SPDX-License-Identifier: Apache-2.0
# make install puts everything where it belongs; a program is built with what pkg-config says of the installed library,
# in C and in C++, and runs; make uninstall leaves nothing behind.
. "$(dirname "$0")/lib.sh"
# A make above this one must not hand us its job server or its targets.
unset MAKEFLAGS MFLAGS MAKELEVEL
root=$work/root
make -s -C "$BUILDDIR" install DESTDIR="$root" >"$work/log" 2>&1 || { tail -n 20 "$work/log"; fail "make install"; }

pc=$(find "$root" -name shale.pc)
[ -n "$pc" ] || fail "no shale.pc was installed"
export PKG_CONFIG_PATH=${pc%/shale.pc}
prefix=$(pkg-config --variable=prefix shale)
# The prefix is where the files will be one day; now they lie below DESTDIR.
flags="--define-variable=prefix=$root$prefix"
libdir=$(pkg-config "$flags" --variable=libdir shale)
for program in shale shalefs; do
	[ -x "$root$prefix/bin/$program" ] || fail "no $program in $prefix/bin"
	LD_LIBRARY_PATH=$libdir "$root$prefix/bin/$program" --help >/dev/null || fail "$program --help"
done
[ -n "$(find "$root" -name mount.fuse.shalefs)" ] || fail "no mount helper"

# build COMPILER STANDARD...: and run the example
build_example() {
	command -v "${1%% *}" >/dev/null || { echo "no $1: left out"; return 0; }
	$1 "${@:2}" -Wall -Wextra -Werror ${SAN_CFLAGS-} "$SRCDIR/tests/build/example.c" -o "$work/example" \
		$(pkg-config "$flags" --cflags --libs shale) || fail "building the example with $*"
	[ "$(LD_LIBRARY_PATH=$libdir "$work/example")" = world ] || fail "running the example built with $*"
}

if [ -e "$libdir/libshale.so" ]; then
	build_example "${CC:-cc}" -std=c11 -pedantic-errors
	build_example "${CXX:-c++}" -xc++ -std=c++11 -pedantic-errors
fi

make -s -C "$BUILDDIR" uninstall DESTDIR="$root" >"$work/log" 2>&1 || { tail -n 20 "$work/log"; fail "make uninstall"; }
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "make uninstall left $left"
