# SPDX-License-Identifier: Apache-2.0
# What libshale.so exports, what engine/shale.syms lists and what the public headers declare are the same; and the script
# that says so can say otherwise.
. "$(dirname "$0")/lib.sh"
check=$SRCDIR/scripts/check-symbols
lib=$BUILDDIR/.libs/libshale.so

# refuses SENTENCE [ARGUMENT...]: the script fails and says so.
refuses() {
	local want=$1
	shift
	! "$check" "$@" 2>"$work/err" || fail "accepted: $want"
	grep -qF "$want" "$work/err" || { cat "$work/err"; fail "did not say: $want"; }
}

"$check" || fail "headers and list differ"

cp -r "$SRCDIR/engine/include/shale" "$work/include"
chmod -R u+w "$work"
grep -v '^shale_db_put$' "$SRCDIR/engine/shale.syms" >"$work/fewer"
{ cat "$SRCDIR/engine/shale.syms"; echo shale_zzz; } >"$work/more"
{ cat "$SRCDIR/engine/shale.syms"; echo zzz; } >"$work/foreign"
SHALE_SYMS=$work/fewer refuses "shale_db_put (declared SHALE_API)"
SHALE_SYMS=$work/more refuses "more, but not declared SHALE_API: shale_zzz"
SHALE_SYMS=$work/foreign refuses "no names of public functions"
echo 'int shale_forgotten(void);' >>"$work/include/log.h"
SHALE_INCLUDE=$work/include refuses "lack SHALE_API"

[ -e "$lib" ] || skip "no shared library in this build"
"$check" "$lib" || fail "library and list differ"
SHALE_SYMS=$work/fewer refuses "shale_db_put (exported by $lib)" "$lib"
SHALE_SYMS=$work/more refuses "more, but not exported by $lib: shale_zzz" "$lib"
