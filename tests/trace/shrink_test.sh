#!/bin/sh
# shrink against builds with a planted bug: shrink_test.sh ROOT TRACE_TOOL TRACE_TOOL_THAT_DIFFERS TRACE_TOOL_THAT_TRAPS
set -eu
root=$1 tool=$2 differs=$3 traps=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*" >&2; exit 1; }
status_of() { status=0; "$@" >"$work/out" 2>&1 || status=$?; }

# More than 100,000 lines, in which the bugs show somewhere.
python3 "$root/tests/trace/make_trace.py" "$root/tests/core/traces/channels.jsonl" 40000 >"$work/inputs.jsonl"
"$tool" record "$work/inputs.jsonl" >"$work/long.jsonl"
[ "$(wc -l <"$work/long.jsonl")" -gt 100000 ] || fail "expected more than 100,000 lines, found $(wc -l <"$work/long.jsonl")"
short_enough() {
  lines=$(wc -l <"$1")
  [ "$lines" -lt 20 ] || fail "expected fewer than 20 lines, found $lines: $(cat "$1")"
}

# What the good build and the buggy one disagree on. The short trace holds what the good one says: a failing test for the buggy one.
"$differs" shrink "$work/long.jsonl" -o "$work/different.jsonl" --against "'$tool' record -"
short_enough "$work/different.jsonl"
[ "$(stat -c %a "$work/different.jsonl")" = 600 ] || fail "expected a file for its owner alone, found $(stat -c %a "$work/different.jsonl")"
"$tool" replay "$work/different.jsonl" >/dev/null || fail "expected the good build to replay what it said itself"
status_of "$differs" replay "$work/different.jsonl"
[ "$status" = 1 ] || fail "expected the buggy build to differ, got status $status"
grep -q 'earlier inputs about' "$work/out" || fail "expected earlier inputs about: $(cat "$work/out")"

# It is as short as it can be: without any one of its inputs the difference is gone.
inputs=$(grep -c '^{"in"' "$work/different.jsonl")
for left_out in $(seq 1 "$inputs"); do
  awk -v out="$left_out" '/^\{"in"/ && ++n == out { next } !/^\{"out"/' "$work/different.jsonl" >"$work/fewer.jsonl"
  "$tool" record "$work/fewer.jsonl" >"$work/one.jsonl"
  "$differs" record "$work/fewer.jsonl" >"$work/other.jsonl"
  cmp -s "$work/one.jsonl" "$work/other.jsonl" || fail "expected no difference without input $left_out of $inputs"
done

# A trap, in a child process; the short trace ends with the input of the trap.
"$traps" shrink "$work/long.jsonl" -o "$work/trap.jsonl" --until trap
short_enough "$work/trap.jsonl"
"$tool" replay "$work/trap.jsonl" >/dev/null || fail "expected the good build to go through"
status_of "$traps" replay "$work/trap.jsonl"
[ "$status" = 1 ] || fail "expected status 1 of a replay that traps, got $status"
last=$(wc -l <"$work/trap.jsonl")
grep -q "trap.jsonl:$last: the core trapped" "$work/out" || fail "expected the trap in line $last: $(cat "$work/out")"
# And can be redacted by the build that traps: nothing is asked of the hub that it did not survive.
"$traps" redact "$work/trap.jsonl" -o "$work/redacted-trap.jsonl"
status_of "$traps" replay "$work/redacted-trap.jsonl"
grep -q "redacted-trap.jsonl:$last: the core trapped" "$work/out" || fail "expected the trap in the redacted trace, too: $(cat "$work/out")"

# What this build says.
"$tool" shrink "$work/long.jsonl" -o "$work/says.jsonl" --until 'says:held by another connection'
short_enough "$work/says.jsonl"
grep -q '^{"out":"send".*held by another connection' "$work/says.jsonl" || fail "expected the text in $(cat "$work/says.jsonl")"

# Too few trials: what there is by then, and a word about it; and from there it goes on.
"$differs" shrink "$work/long.jsonl" -o "$work/early.jsonl" --against "'$tool' record -" --trials 12 2>"$work/err"
grep -q 'early.jsonl: stopped after 12 trials, .*--trials N' "$work/err" || fail "expected to be told of the early end: $(cat "$work/err")"
status_of "$differs" replay "$work/early.jsonl"
[ "$status" = 1 ] || fail "expected what was found in 12 trials to differ, got status $status"
"$differs" shrink "$work/early.jsonl" -o "$work/later.jsonl" --against "'$tool' record -" 2>"$work/err"
short_enough "$work/later.jsonl"
[ ! -s "$work/err" ] || fail "expected no word of an early end: $(cat "$work/err")"

# Interrupted: the shortest by then, or a word that there is none, and no child is left. Killed: no child is left.
interrupted() { # QUESTION SIGNAL STATUS
  rm -f "$work/children" "$work/interrupted.jsonl"
  status_of "$differs" shrink "$work/long.jsonl" -o "$work/interrupted.jsonl" --against "exec python3 '$root/tests/trace/interrupting_party.py' '$tool' '$work' $1 $2"
  [ "$status" = "$3" ] || fail "expected status $3 of a shrink that gets $2 at question $1, got $status: $(cat "$work/out")"
  [ "$(wc -w <"$work/children")" = 3 ] || fail "expected three children, found $(cat "$work/children")"
  for child in $(cat "$work/children"); do
    tries=0
    # Not a corpse that nobody has buried.
    while grep -q '^State:.[^ZX]' "/proc/$child/status" 2>/dev/null; do
      tries=$((tries + 1))
      [ $tries -lt 300 ] || fail "expected no child to be left after $2, found $child"
      sleep 0.1
    done
  done
}
interrupted 12 SIGINT 130
grep -q 'interrupted.jsonl: interrupted; is the shortest found until then' "$work/out" || fail "expected to be told of the interrupt: $(cat "$work/out")"
status_of "$differs" replay "$work/interrupted.jsonl"
[ "$status" = 1 ] || fail "expected what was found until the interrupt to differ, got status $status"
[ "$(wc -l <"$work/interrupted.jsonl")" -lt "$(wc -l <"$work/long.jsonl")" ] || fail "expected something shorter"
interrupted 1 SIGTERM 130
grep -q 'interrupted; nothing found yet, nothing written' "$work/out" || fail "expected to be told that there is nothing: $(cat "$work/out")"
[ ! -e "$work/interrupted.jsonl" ] || fail "expected no file where nothing was found"
interrupted 3 SIGKILL 137

# Nothing there, and what cannot be meant.
head -n 1 "$work/long.jsonl" >"$work/zero.jsonl"
status_of "$tool" shrink "$work/zero.jsonl" -o "$work/none.jsonl" --until trap
if [ "$status" != 1 ] || ! grep -q 'it has no inputs' "$work/out"; then fail "expected to be told that there is nothing, got $status: $(cat "$work/out")"; fi
refuses() {
  expected=$1 text=$2
  shift 2
  status_of "$tool" shrink "$work/trap.jsonl" "$@"
  if [ "$status" != "$expected" ] || ! grep -q -- "$text" "$work/out"; then fail "expected status $expected and \"$text\", got $status: $(cat "$work/out")"; fi
}
refuses 1 'does not trap' -o "$work/none.jsonl" --until trap
refuses 1 'record the same' -o "$work/none.jsonl" --against "'$tool' record -"
refuses 1 'does not say that' -o "$work/none.jsonl" --until says:earthquake
refuses 2 'expected --against COMMAND' -o "$work/none.jsonl"
refuses 2 'expected trap or says:TEXT' -o "$work/none.jsonl" --until dawn
refuses 2 'expected no --against' -o "$work/none.jsonl" --until trap --against true
refuses 2 'expected -o OUT' --until trap
refuses 2 'expected another file' -o "$work/trap.jsonl" --until trap
refuses 2 'expected a number from 1 to 4294967295 after --trials, found many' -o "$work/none.jsonl" --until trap --trials many
refuses 2 'expected a number from 1 to 4294967295 after --trials, found nothing' -o "$work/none.jsonl" --until trap --trials
refuses 2 'expected a file that can be written after -o, found .*nowhere' -o "$work/nowhere/out.jsonl" --until trap
# Whatever answers, there is an end: nothing of ours, no end of anything, a part, too much, other inputs.
head -n 2 "$work/trap.jsonl" >"$work/beginning"
not_repeated='did not repeat the header and the inputs'
refuses 2 "$not_repeated.*expected the header, found y" -o "$work/none.jsonl" --against yes
refuses 2 "$not_repeated.*expected the header" -o "$work/none.jsonl" --against 'cat /dev/zero'
refuses 2 "$not_repeated" -o "$work/none.jsonl" --against 'echo hello; cat'
refuses 2 "$not_repeated.*expected {\"in\":" -o "$work/none.jsonl" --against "cat '$work/beginning' /dev/zero"
refuses 2 "$not_repeated.*inputs, found more" -o "$work/none.jsonl" --against "head -n 1 '$work/beginning'; yes \"\$(tail -n 1 '$work/beginning')\""
refuses 2 "$not_repeated.*bytes of actions" -o "$work/none.jsonl" --against "cat '$work/beginning'; yes '{\"out\":\"send\"}'"
refuses 2 "$not_repeated.*inputs, found 0" -o "$work/none.jsonl" --against "head -n 1 '$work/beginning'; echo '{\"hash\":{}}'; cat"
refuses 2 "$not_repeated: expected" -o "$work/none.jsonl" --against "sed -u 's/\"client\":/\"klient\":/; /^{\"out\"/d'"
refuses 2 'never answered' -o "$work/none.jsonl" --against 'exit 3'
[ ! -e "$work/none.jsonl" ] || fail "expected no file where nothing was found"
