# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of the build (bash).
set -eu
SRCDIR=${SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
BUILDDIR=${BUILDDIR:-$(pwd)}
work=$(mktemp -d "${TMPDIR:-/tmp}/shale-build-test.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

fail() {
	echo "FAILED: $*"
	exit 1
}

skip() {
	echo "skipped: $1"
	exit 77
}
