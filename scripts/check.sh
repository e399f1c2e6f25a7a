#!/bin/bash
# Build and run every test: plain, under AddressSanitizer with UndefinedBehaviorSanitizer, and the engine under
# ThreadSanitizer. Installs what it needs. Ends with one line: N passed, N failed, N skipped.
#
#   scripts/check.sh [plain] [asan] [tsan]     only these (default: all)
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
jobs=${JOBS:-$(nproc)}
variants=${*:-plain asan tsan}

"$top/scripts/deps.sh" --tests || exit 1
[ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] || "$top/scripts/bootstrap" >/dev/null 2>&1 || {
	echo "autoreconf failed" >&2
	exit 1
}

passed=0 failed=0 skipped=0

# Count what a finished test suite says: the tests of each cmocka program, and one for each script.
count_logs() {
	local dir=$1 log trs name result n bad
	while IFS= read -r trs; do
		log=${trs%.trs}.log
		name=${trs#"$dir"/}
		result=$(sed -n 's/^:test-result: *//p' "$trs" | head -n 1)
		n=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | awk '{s += $1} END {print s + 0}')
		bad=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p; s/^ *\([0-9]*\) FAILED TEST(S)$/\1/p' "$log" | sort -n | tail -n 1)
		passed=$((passed + n))
		case $result in
		PASS) [ "$n" -gt 0 ] || passed=$((passed + 1)) ;;
		SKIP)
			skipped=$((skipped + 1))
			echo "skipped: ${name%.trs}: $(tail -n 1 "$log")"
			;;
		*)
			failed=$((failed + ${bad:-1}))
			echo "FAILED: ${name%.trs} ($variant)"
			tail -n 40 "$log"
			;;
		esac
	done < <(find "$dir" -name '*.trs' | sort)
}

run_variant() {
	variant=$1
	local dir=$top/build-check/$variant
	shift
	echo "== $variant"
	mkdir -p "$dir"
	if ! (cd "$dir" && "$top/configure" -q --enable-werror "$@" && make -s -j"$jobs" && make -s -j"$jobs" check-build) \
		>"$dir/build.log" 2>&1; then
		tail -n 30 "$dir/build.log"
		echo "FAILED: build ($variant)"
		failed=$((failed + 1))
		return
	fi
	find "$dir" -name '*.trs' -delete
	(cd "$dir" && make -s -k -j"${TEST_JOBS:-2}" check $CHECK_ARGS) >"$dir/check.log" 2>&1
	[ -n "$(find "$dir" -name '*.trs' | head -n 1)" ] || {
		tail -n 30 "$dir/check.log"
		failed=$((failed + 1))
	}
	count_logs "$dir"
}

for v in $variants; do
	CHECK_ARGS=
	case $v in
	plain) run_variant plain --enable-debug ;;
	asan)
		export SHALE_RANDOM_SCALE=20
		run_variant asan --enable-debug --enable-sanitizers=address,undefined
		unset SHALE_RANDOM_SCALE
		;;
	tsan)
		export SHALE_RANDOM_SCALE=10
		CHECK_ARGS='TESTS=$(ENGINE_TESTS)'
		run_variant tsan --enable-sanitizers=thread
		unset SHALE_RANDOM_SCALE
		;;
	*)
		echo "unknown variant $v" >&2
		exit 1
		;;
	esac
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
