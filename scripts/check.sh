#!/bin/bash
# Build and run every test: with gcc, with clang under AddressSanitizer and UndefinedBehaviorSanitizer, and with gcc
# under ThreadSanitizer what has threads. Installs what it needs. Ends with one line: N passed, N failed, N skipped.
#
#   scripts/check.sh [plain] [asan] [tsan]     only these (default: all)
#
# JOBS is how many compilers run at once, TEST_JOBS how many tests. Everything lies in build-check/.
set -u
top=$(cd "$(dirname "$0")/.." && pwd)
jobs=${JOBS:-$(nproc)}
variants=${*:-plain asan tsan}
for v in $variants; do
	case $v in
	plain | asan | tsan) ;;
	*)
		sed -n '5,7s/^# *//p' "$0" >&2
		exit 2
		;;
	esac
done

"$top/scripts/deps.sh" --tests || exit 1
if ! [ "$top/configure" -nt "$top/configure.ac" ] && ! log=$("$top/scripts/bootstrap" 2>&1); then
	printf '%s\n' "$log" | tail -n 20 >&2
	echo "scripts/bootstrap failed" >&2
	exit 1
fi

# The program around the real SlateDB is built once for all variants, and Azurite installed once.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$top/build-check/cargo} AZURITE_TOP=${AZURITE_TOP:-$top/build-check}

passed=0 failed=0 skipped=0

# sum PATTERN LOG: what the group in PATTERN matched, added up. cmocka ends each group of tests with such lines.
sum() {
	sed -nE "s/$1/\1/p" "$2" | awk '{ s += $1 } END { print s + 0 }'
}

# Count what a finished test suite says: the tests of each cmocka program, and one for each script.
count_logs() {
	local dir=$1 trs log name result good bad
	while IFS= read -r trs; do
		log=${trs%.trs}.log
		name=${trs#"$dir"/}
		name=${name%.trs}
		result=$(sed -n 's/^:test-result: *//p' "$trs" | head -n 1)
		good=$(sum '^\[  PASSED  \] ([0-9]+) test.*' "$log")
		bad=$(sum '^ *([0-9]+) FAILED TEST\(S\)$' "$log")
		skipped=$((skipped + $(sum '^\[  SKIPPED \] ([0-9]+) test.*' "$log")))
		passed=$((passed + good))
		case $result in
		PASS) [ "$good" -gt 0 ] || passed=$((passed + 1)) ;;
		SKIP)
			skipped=$((skipped + 1))
			echo "skipped: $name: $(sed -n 's/^skipped: //p' "$log" | tail -n 1)"
			;;
		*)
			failed=$((failed + (bad > 0 ? bad : 1)))
			echo "FAILED: $name ($variant)"
			tail -n 40 "$log"
			;;
		esac
	done < <(find "$dir" -name '*.trs' | sort)
}

build_variant() {
	mkdir -p "$dir" && cd "$dir" || return
	[ -f config.status ] && [ config.status -nt "$top/configure" ] || "$top/configure" -q --enable-werror "$@" || return
	make -s -j"$jobs" check-build
}

# run_variant NAME MAKE_ARGUMENT CONFIGURE_ARGUMENT...
run_variant() {
	variant=$1
	dir=$top/build-check/$variant
	local args=$2 start=$SECONDS built
	shift 2
	echo "== $variant: $*"
	mkdir -p "$dir"
	if ! (build_variant "$@") >"$dir/build.log" 2>&1; then
		tail -n 30 "$dir/build.log"
		echo "FAILED: build ($variant)"
		failed=$((failed + 1))
		return
	fi
	built=$SECONDS
	find "$dir" -name '*.trs' -delete
	# Whether a test failed is counted from what it left; anything else that ends make early is a failure of its own.
	make -C "$dir" -s -k -j"${TEST_JOBS:-2}" check $args >"$dir/check.log" 2>&1
	if ! grep -q '^# TOTAL: *[1-9]' "$dir/check.log"; then
		tail -n 30 "$dir/check.log"
		echo "FAILED: make check ($variant)"
		failed=$((failed + 1))
	fi
	count_logs "$dir"
	echo "   built in $((built - start)) s, tested in $((SECONDS - built)) s"
}

# Sanitizers make programs several times slower: fewer random cases.
for v in $variants; do
	case $v in
	plain) run_variant plain "" ;; # as users build it
	asan) ROUNDS=2 SHALE_RANDOM_SCALE=20 run_variant asan "" CC=clang --enable-debug --enable-sanitizers=address,undefined ;;
	tsan) SHALE_RANDOM_SCALE=10 run_variant tsan 'TESTS=$(ENGINE_TESTS)' --enable-sanitizers=thread ;;
	esac
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
