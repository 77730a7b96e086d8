#!/bin/sh
# A finding of a mutant shrinks. Usage: shrink_test.sh <mutant of sidekick-cluster> <checker>
set -eu
mutant=$1 checker=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$*" >&2; exit 1; }

"$mutant" --expect "$checker" --seeds 300 --shrink >"$folder/one" 2>/dev/null
"$mutant" --expect "$checker" --seeds 300 --shrink >"$folder/other" 2>/dev/null
cmp "$folder/one" "$folder/other" || fail "expected the same operations from the same seed"
shrunk='^shrunk from \([0-9]*\) to \([0-9]*\) operations in .*'
sizes=$(sed -n "s/$shrunk/\1 \2/p" "$folder/one")
[ -n "$sizes" ] || fail "expected the number of operations, got: $(head -3 "$folder/one")"
# shellcheck disable=SC2086 # two numbers
set -- $sizes
[ $(($2 * 4)) -lt "$1" ] || fail "expected less than a quarter of $1 operations, got $2"
[ "$(grep -c '^operation ' "$folder/one")" -eq "$2" ] || fail "expected a line for each operation"
grep -q "^it fails: $checker: " "$folder/one" ||
  fail "expected the shrunk world to fail with $checker, got: $(tail -3 "$folder/one")"
