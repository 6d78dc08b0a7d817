#!/bin/sh
# The mutation check: breaks the engine in each of the ways described by the patches beside this
# file, one at a time, in a scratch copy, and runs the fault explorer over it. Each must be caught. What
# takes other company than an explorer is (a forked child, another user of the same file) names in its
# first line the test binary that must catch it, and which of its tests.
#
#     tests/mutations/check.sh [NAME…]
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export CARGO_TARGET_DIR="$root/target/mutations"

[ $# -gt 0 ] || set -- $(cd "$here" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')
(cd "$root" && git ls-files -z --cached --others --exclude-standard \
    | xargs -0 cp --parents -t "$scratch")

# explore LOG: builds what is in the scratch copy and runs a part of the long form over it (unoptimised: building takes longer than exploring).
explore() {
    (cd "$scratch" && RUST_BACKTRACE=0 cargo run --quiet -p zc-testkit --bin explore -- \
        --every 23 --pairs 9 --random 20 --stop 1) >"$1" 2>&1
}

# company LOG BINARY TESTS: runs some tests over what is in the scratch copy.
company() {
    (cd "$scratch" && RUST_BACKTRACE=0 timeout 600 \
        cargo test --quiet -p zc-testkit --test "$2" -- "$3") >"$1" 2>&1
}

# needs_explorer NAME…: whether one of them is for the explorer to catch.
needs_explorer() {
    for name in "$@"; do
        grep -q "^test: " "$here/$name.patch" || return 0
    done
    return 1
}

log="$scratch/explore.log"
if needs_explorer "$@" && ! explore "$log"; then
    grep -v "^ \|^#\|^fn\|^}" "$log" | cut -c1-160 | tail -5
    echo "the engine fails as it is: nothing to be learned from breaking it"
    exit 1
fi

survived=0
for name in "$@"; do
    if ! (cd "$scratch" && patch -s --no-backup-if-mismatch -p0 <"$here/$name.patch"); then
        echo "$name: does not apply"
        survived=$((survived + 1))
        continue
    fi
    test=$(sed -n '1s/^test: //p' "$here/$name.patch")
    # shellcheck disable=SC2086 # two words
    if [ -n "$test" ] && company "$log" $test || [ -z "$test" ] && explore "$log"; then
        echo "$name: SURVIVED"
        survived=$((survived + 1))
    elif [ -n "$test" ] && grep -q "^test result: FAILED" "$log"; then
        echo "$name: caught (by $(sed -n 's/^    \([a-z_0-9:]*\)$/\1/p' "$log" | head -1), test $test)"
    elif grep -q "scenarios failed" "$log"; then
        runs=$(grep -o "^[0-9]* schedules" "$log")
        # Under a dirty pipe a copy may wait for ever: the explorer's watch ends it and says so.
        why=$(grep -o "^hangs" "$log" || grep -B1 "^the calls:" "$log" \
            | grep -v "^the calls:\|^--" | sed 's/[0-9][0-9]*/N/g' | cut -c1-90 \
            | sort | uniq -c | sort -rn | head -1 | sed 's/^ *[0-9]* //')
        echo "$name: caught (within $runs: \"$why\")"
    else
        echo "$name: does not build"
        tail -3 "$log"
        survived=$((survived + 1))
    fi
    (cd "$scratch" && patch -s --no-backup-if-mismatch -R -p0 <"$here/$name.patch")
done
echo "$survived of $# survived"
[ "$survived" -eq 0 ]
