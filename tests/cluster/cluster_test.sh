#!/bin/sh
# The cluster simulator's own guarantees. Usage: cluster_test.sh <sidekick-cluster>
set -eu
cluster=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$*" >&2; exit 1; }

"$cluster" --seed 7 --seeds 10 --verbose >"$folder/one" 2>/dev/null
"$cluster" --seed 7 --seeds 10 --verbose >"$folder/other" 2>/dev/null
cmp "$folder/one" "$folder/other" || fail "expected the same output from the same seed"
"$cluster" --seed 8 --seeds 10 --verbose >"$folder/other" 2>/dev/null
! cmp -s "$folder/one" "$folder/other" || fail "expected another seed to give another world"
! "$cluster" --wrong 2>/dev/null || fail "expected an error for unknown arguments"
! "$cluster" --expect converges --seeds 1 >/dev/null 2>&1 ||
  fail "expected an error if the expected finding does not come"
