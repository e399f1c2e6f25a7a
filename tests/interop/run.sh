#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Both engines on each other's databases: builds the program of the real SlateDB with cargo and runs ring.py.
# Exit status 77 (skipped) where cargo, python3 or the crates are not to be had.
#   SLATEDB_INTEROP  a built program, instead of building one
#   CARGO_TARGET_DIR where cargo builds (tests/interop/target in the build directory)
#   SEED             run these cases again; without it, seeds are drawn
#   ROUNDS           how many seeds (10)
#   ONLY             one case
#   KEEP             not empty: keep the databases of a failure
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${BUILDDIR:-$(pwd)}

skip() {
	echo "skipped: $*"
	exit 77
}

command -v python3 >/dev/null || skip 'python3 is missing'
if [ -z "${SLATEDB_INTEROP:-}" ]; then
	command -v cargo >/dev/null || skip 'cargo is missing, so the real SlateDB cannot be built'
	CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$build/tests/interop/target}
	export CARGO_TARGET_DIR
	cargo fetch --quiet --locked --manifest-path "$here/Cargo.toml" || skip 'the crates cannot be fetched'
	cargo build --quiet --locked --offline --manifest-path "$here/Cargo.toml" || exit 1
	SLATEDB_INTEROP=$CARGO_TARGET_DIR/debug/slatedb-interop
fi
set -- --shale "$build/shale" --slatedb "$SLATEDB_INTEROP" --rounds "${ROUNDS:-10}"
[ -x "$build/shalefs" ] && set -- "$@" --shalefs "$build/shalefs"
[ -n "${SEED:-}" ] && set -- "$@" --seed "$SEED"
[ -n "${ONLY:-}" ] && set -- "$@" --only "$ONLY"
[ -n "${KEEP:-}" ] && set -- "$@" --keep
exec python3 -B "$here/ring.py" "$@"
