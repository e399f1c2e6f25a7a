#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The contract of object stores against a real S3 server: directly, and with retries through a proxy that delays, refuses,
# drops, loses answers, cuts bodies and stalls.
. "${SRCDIR:-.}/tests/s3/lib.sh"
s3_start
export SHALE_TEST_S3=$S3_BUCKET
"$BUILDDIR/tests/unit/test_store"
chaos_start seed=$$ p503=0.03 p500=0.03 pdrop=0.03 plost=0.03 pcut=0.03 pstall=0.01 stall_ms=300
echo "seed of the faults: $$"
SHALE_TEST_BUCKET_RETRY=1 "$BUILDDIR/tests/unit/test_store"
faults=$(chaos seed=$$ | sed -n 's/.* faults=\([0-9]*\).*/\1/p')
echo "$faults faults"
[ "$faults" -gt 20 ]
