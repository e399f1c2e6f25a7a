#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The contract of object stores against a real S3 server: directly, and with retries through a proxy that delays, refuses,
# drops, loses answers, cuts bodies and stalls.
. "${SRCDIR:-.}/tests/s3/lib.sh"
s3_start
export SHALE_TEST_S3=$S3_BUCKET
"$BUILDDIR/tests/unit/test_store"
contract_behind_faults
