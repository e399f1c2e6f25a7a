# SPDX-License-Identifier: Apache-2.0
# scripts/check-headers accepts this tree, and refuses each kind of tree that it is there to refuse.
. "$(dirname "$0")/lib.sh"
check=$SRCDIR/scripts/check-headers

CPPFLAGS=-I$BUILDDIR "$check" "$SRCDIR" || fail "headers, see above"

# refuses SENTENCE FILE LINE: a tree whose only file has this line.
refuses() {
	local want=$1 file=$2 line=$3 tree=$work/tree
	rm -rf "$tree"
	mkdir -p "$tree/engine/include/shale" "$tree/fs" "$tree/$(dirname "$file")"
	printf '%s\n' "$line" >"$tree/$file"
	! "$check" "$tree" 2>"$work/err" || fail "accepted: $file: $line"
	grep -qF "$want" "$work/err" || { cat "$work/err"; fail "did not say: $want"; }
}

refuses "engine/base lies not above engine/format" engine/base/a.c '#include "format/row.h"'
refuses "engine/object lies not above engine/format" engine/object/a.c '#include "format/row.h"'
refuses "engine/sst lies not above engine/db" engine/sst/a.c '# include "db/db.h"'
refuses "engine/compact lies not above engine/cli" engine/compact/a.c '#include "cli/cli.h"'
refuses "the engine knows nothing of it" engine/db/a.c '#include "fs/core/fs.h"'
refuses "engine/new has no place" engine/new/a.c '#include "base/buf.h"'
refuses "standard headers only" engine/include/shale/a.h '#include "base/buf.h"'
refuses "fs/core may include" fs/core/a.c '#include "fs/ops/ops.h"'
refuses "fs/core may include" fs/core/a.c '#include "db/db.h"'
refuses "fs/ops may include" fs/ops/a.c '#include "sst/table_store.h"'
refuses "fs may include" fs/main.c '#include "object/paths.h"'
refuses "only fs/ops and the program know of FUSE" fs/core/a.c '#include <fuse_lowlevel.h>'
refuses "fs/new has no place" fs/new/a.c '#include "base/buf.h"'
refuses "does not compile alone" engine/base/a.h 'size_t missing(void);'
refuses "does not compile alone" engine/include/shale/a.h 'typeof(1) gnu;'
if command -v "${CXX:-c++}" >/dev/null; then
	refuses "does not compile alone (${CXX:-c++} -xc++" engine/include/shale/a.h 'int class_of(int class);'
fi
