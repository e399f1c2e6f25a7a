#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random work on a mount whose compactor, checkpoints and collector are at their busiest: see soak.py.
# SOAK_SECONDS says how long (60), SHALE_SEED what is done. SHALE_RANDOM_SCALE=PERCENT scales the default.
. "${SRCDIR:-.}/tests/mount/lib.sh"
need python3

seconds=${SOAK_SECONDS:-$((60 * ${SHALE_RANDOM_SCALE:-100} / 100))}
seed=${SHALE_SEED:-$((RANDOM * 32768 + RANDOM))}
limit_mib=192
case $(grep -s "^SAN_CFLAGS = " "$BUILDDIR/Makefile") in
*-fsanitize*) limit_mib=0 ;; # takes several times as much
esac
echo "SHALE_SEED=$seed SOAK_SECONDS=$seconds"
[ -z "${SHALE_VOLUMES:-}" ] || export SOAK_VOLUME=$vol
python3 "${SRCDIR:-.}/tests/mount/soak.py" "$SHALEFS" "$BUILDDIR/shale" "$BUILDDIR/tests/mount/soak_worker" "$work" \
	"$seconds" "$seed" "$limit_mib" || fail "SHALE_SEED=$seed"
