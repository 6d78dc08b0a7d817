#!/bin/sh
# The mutation check. Each patch beside this file breaks the engine in one way. They are applied one at a time, in a
# scratch copy, and the fault explorer runs over it. Each has to be caught. A patch that the explorer cannot catch (it
# takes a forked child, or another user of the same file) names in its first line the test binary and the test that
# has to catch it.
#
#     tests/mutations/check.sh [NAME…]
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR="$root/target/mutations"
scratch="$CARGO_TARGET_DIR/tree"
log="$CARGO_TARGET_DIR/log"

[ $# -gt 0 ] || set -- $(cd "$here" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')

# One check at a time: another one would build its broken engine over this one's.
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/lock"
flock 9

# However this ends, what it has started ends with it, and the broken tree goes.
child=
stop() {
    [ -z "$child" ] || { kill "$child" && wait "$child"; } 2>/dev/null
    rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A tree that outlived a SIGKILL goes here.
rm -rf "$scratch"
mkdir "$scratch"
(cd "$root" && git ls-files -z --cached --others --exclude-standard \
    | xargs -0 cp --parents -t "$scratch")
cd "$scratch" || exit 1

# watched COMMAND…: runs the command in the background, since a shell runs no trap while it waits for one in the
# foreground. timeout(1) passes its signals on to all that the command has started. It gets one, too, if this script
# is killed by SIGKILL.
watched() {
    RUST_BACKTRACE=0 setpriv --pdeathsig TERM timeout --kill-after 10 600 "$@" >"$log" 2>&1 9>&- &
    child=$!
    wait "$child"
    ended=$?
    child=
    return "$ended"
}

# explore: builds the scratch copy and runs a part of the long form over it (unoptimised: building takes longer than
# exploring).
explore() {
    watched cargo run --quiet -p zc-testkit --bin explore -- \
        --every 23 --pairs 9 --random 20 --stop 1
}

# company BINARY TESTS: runs some tests over the scratch copy.
company() {
    watched cargo test --quiet -p zc-testkit --test "$1" -- "$2"
}

# needs_explorer NAME…: whether the explorer has to catch one of them.
needs_explorer() {
    for name in "$@"; do
        grep -q "^test: " "$here/$name.patch" || return 0
    done
    return 1
}

if needs_explorer "$@" && ! explore; then
    grep -v "^ \|^#\|^fn\|^}" "$log" | cut -c1-160 | tail -5
    echo "the engine fails as it is: nothing to be learned from breaking it"
    exit 1
fi

survived=0
for name in "$@"; do
    if ! patch -s --no-backup-if-mismatch -p0 <"$here/$name.patch"; then
        echo "$name: does not apply"
        survived=$((survived + 1))
        continue
    fi
    test=$(sed -n '1s/^test: //p' "$here/$name.patch")
    # shellcheck disable=SC2086 # two words
    if [ -n "$test" ] && company $test || [ -z "$test" ] && explore; then
        echo "$name: SURVIVED"
        survived=$((survived + 1))
    elif [ -n "$test" ] && grep -q "^test result: FAILED" "$log"; then
        echo "$name: caught (by $(sed -n 's/^    \([a-z_0-9:]*\)$/\1/p' "$log" | head -1), test $test)"
    elif grep -q "scenarios failed" "$log"; then
        runs=$(grep -o "^[0-9]* schedules" "$log")
        # Under a dirty pipe a copy may hang. The explorer's watch ends it and says so.
        why=$(grep -o "^hangs" "$log" || grep -B1 "^the calls:" "$log" \
            | grep -v "^the calls:\|^--" | sed 's/[0-9][0-9]*/N/g' | cut -c1-90 \
            | sort | uniq -c | sort -rn | head -1 | sed 's/^ *[0-9]* //')
        echo "$name: caught (within $runs: \"$why\")"
    elif [ "$ended" -eq 124 ]; then
        echo "$name: HANGS, and no test says so"
        survived=$((survived + 1))
    else
        echo "$name: does not build"
        tail -3 "$log"
        survived=$((survived + 1))
    fi
    patch -s --no-backup-if-mismatch -R -p0 <"$here/$name.patch"
done
echo "$survived of $# survived"
[ "$survived" -eq 0 ]
