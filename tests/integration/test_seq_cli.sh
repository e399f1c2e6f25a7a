#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# seq-to-ts and ts-to-seq on a database that SlateDB wrote, against what its manifest says.
set -eu
shale=$BUILDDIR/shale
db=$SRCDIR/tests/golden/seq-tracker/store/db
failed=0

expect() { # STATUS OUTPUT ARGUMENT...
    local want=$1 text=$2 got status=0
    shift 2
    got=$("$shale" "$@" 2>/dev/null) || status=$?
    if [ "$status" != "$want" ] || [ "$got" != "$text" ]; then
        echo "shale $*: status $status, '$got'; not $want, '$text'"
        failed=1
    fi
}

expect 0 2023-11-14T22:13:21+00:00 seq-to-ts "$db" 1
expect 0 2023-11-14T22:13:21+00:00 seq-to-ts "$db" 2
expect 0 2023-11-14T22:14:52+00:00 seq-to-ts "$db" 2 --round up
expect 0 2023-11-15T22:39:08+00:00 seq-to-ts "$db" 100000 --round down
expect 1 'not found' seq-to-ts "$db" 100000 --round up
expect 1 'not found' ts-to-seq "$db" 1700000000
expect 0 1 ts-to-seq "$db" 1700000001
expect 0 1 ts-to-seq "$db" 1700000000 --round up
expect 0 5 ts-to-seq "$db" 1700000300
expect 0 6 ts-to-seq "$db" 1700000300 --round up
expect 2 '' seq-to-ts "$db" x
expect 2 '' ts-to-seq "$db" x
expect 2 '' seq-to-ts "$db" 1 --round sideways
expect 2 '' seq-to-ts "$db/nothing" 1
exit $failed
