#!/bin/sh
# The simulator's own guarantees. Usage: sim_test.sh <sidekick-sim> <sidekick-trace> [<sidekick-sim
# with a mutation> <its checker>]
set -eu
sim=$1 tool=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$*" >&2; exit 1; }

# The same seed gives the same bytes; a commit hash is a seed.
"$sim" --seed 0123abcd --seeds 20 --verbose >"$folder/one" 2>/dev/null
"$sim" --seed 0123abcd --seeds 20 --verbose >"$folder/other" 2>/dev/null
cmp "$folder/one" "$folder/other" || fail "expected the same output from the same seed"
"$sim" --seed 0123abce --seeds 20 --verbose >"$folder/other" 2>/dev/null
! cmp -s "$folder/one" "$folder/other" || fail "expected another seed to give another world"
head -n 1 "$folder/one" | grep -q '^first seed: ' || fail "expected the seed in the first line"
# The two worlds of 7,500 that come closest to the bound on memory: no leaks.
for seed in 755 3437; do
  "$sim" --seed $seed --seeds 1 >/dev/null 2>&1 ||
  fail "expected no finding in the world of seed $seed"
done
# Every printed seed can be passed back, also one of 20 digits.
for seed in 0 18446744073709551615; do
  "$sim" --seed $seed --seeds 1 2>/dev/null | grep -qx "first seed: $seed" ||
  fail "expected the seed $seed to be parsed as a number"
done

# A host that forgets rows is detected, and shrunk to a trace.
! "$sim" --canary --out "$folder" >"$folder/canary" 2>/dev/null ||
  fail "expected a finding with --canary"
grep -q 'checker:  rows' "$folder/canary" ||
  fail "expected a finding of the checker rows: $(cat "$folder/canary")"
"$sim" --canary --out "$folder/nowhere" 2>/dev/null | grep -q 'could not be written' ||
  fail "expected an error for a trace that cannot be written"

# Rejects unknown arguments.
! "$sim" --wrong 2>/dev/null || fail "expected an error for unknown arguments"

# A finding becomes a short trace that the correct core answers differently.
if [ $# -gt 2 ]; then
  sh "$(dirname -- "$0")/mutant_test.sh" "$4" "$3" --expect "$4" --out "$folder" \
    >"$folder/found" 2>&1 || fail "expected $3 to find $4: $(tail -n 20 "$folder/found")"
  trace=$(echo "$folder"/sim-*-"$4".jsonl)
  inputs=$(grep -c '^{"in"' "$trace")
  [ "$inputs" -le 12 ] || fail "expected at most 12 inputs in the shrunk trace, found $inputs"
  status=0
  "$tool" replay "$trace" >/dev/null 2>&1 || status=$?
  [ "$status" -eq 1 ] || fail "expected the replay to find a difference (1), got $status"
fi
