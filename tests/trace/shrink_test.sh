#!/bin/sh
# Runs shrink on builds with a planted bug:
# shrink_test.sh ROOT TRACE_TOOL TRACE_TOOL_THAT_DIFFERS TRACE_TOOL_THAT_TRAPS
set -eu
root=$1 tool=$2 differs=$3 traps=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*" >&2; exit 1; }
status_of() { status=0; "$@" >"$work/out" 2>&1 || status=$?; }

# A trace of more than 100,000 lines that shows both bugs somewhere.
python3 "$root/tests/trace/make_trace.py" "$root/tests/core/traces/channels.jsonl" 40000 >"$work/inputs.jsonl"
"$tool" record "$work/inputs.jsonl" >"$work/long.jsonl"
[ "$(wc -l <"$work/long.jsonl")" -gt 100000 ] || fail "expected more than 100,000 lines, found $(wc -l <"$work/long.jsonl")"
short_enough() {
  lines=$(wc -l <"$1")
  [ "$lines" -lt 20 ] || fail "expected fewer than 20 lines, found $lines: $(cat "$1")"
}

# A difference between the good build and the buggy one. The short trace contains the actions of the
# good one, so it is a failing test for the buggy one.
"$differs" shrink "$work/long.jsonl" -o "$work/different.jsonl" --against "'$tool' record -"
short_enough "$work/different.jsonl"
[ "$(stat -c %a "$work/different.jsonl")" = 600 ] || fail "expected a file for its owner alone, found $(stat -c %a "$work/different.jsonl")"
"$tool" replay "$work/different.jsonl" >/dev/null || fail "expected the good build to replay its own actions"
status_of "$differs" replay "$work/different.jsonl"
[ "$status" = 1 ] || fail "expected the buggy build to differ, got status $status"
grep -q 'earlier inputs about' "$work/out" || fail "expected earlier inputs about: $(cat "$work/out")"

# The result is minimal: without any one of its inputs the difference is gone.
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
"$tool" replay "$work/trap.jsonl" >/dev/null || fail "expected the good build not to trap"
status_of "$traps" replay "$work/trap.jsonl"
[ "$status" = 1 ] || fail "expected status 1 of a replay that traps, got $status"
last=$(wc -l <"$work/trap.jsonl")
grep -q "trap.jsonl:$last: the core trapped" "$work/out" || fail "expected the trap in line $last: $(cat "$work/out")"
# The build that traps can redact it: redact asks nothing of a hub that has trapped.
"$traps" redact "$work/trap.jsonl" -o "$work/redacted-trap.jsonl"
status_of "$traps" replay "$work/redacted-trap.jsonl"
grep -q "redacted-trap.jsonl:$last: the core trapped" "$work/out" || fail "expected the trap in the redacted trace, too: $(cat "$work/out")"

# A text that this build sends.
"$tool" shrink "$work/long.jsonl" -o "$work/says.jsonl" --until 'says:held by another connection'
short_enough "$work/says.jsonl"
grep -q '^{"out":"send".*held by another connection' "$work/says.jsonl" || fail "expected the text in $(cat "$work/says.jsonl")"

# Too few trials: it writes the shortest trace so far and says so; a second run continues from it.
"$differs" shrink "$work/long.jsonl" -o "$work/early.jsonl" --against "'$tool' record -" --trials 12 2>"$work/err"
grep -q 'early.jsonl: stopped after 12 trials, .*--trials N' "$work/err" || fail "expected a message about the early end: $(cat "$work/err")"
status_of "$differs" replay "$work/early.jsonl"
[ "$status" = 1 ] || fail "expected what was found in 12 trials to differ, got status $status"
"$differs" shrink "$work/early.jsonl" -o "$work/later.jsonl" --against "'$tool' record -" 2>"$work/err"
short_enough "$work/later.jsonl"
[ ! -s "$work/err" ] || fail "expected no message about an early end: $(cat "$work/err")"

# Interrupted: it writes the shortest trace so far, or says that there is none, and leaves no child.
# Killed: it leaves no child.
interrupted() { # QUESTION SIGNAL STATUS
  rm -f "$work/children" "$work/interrupted.jsonl"
  status_of "$differs" shrink "$work/long.jsonl" -o "$work/interrupted.jsonl" --against "exec python3 '$root/tests/trace/interrupting_party.py' '$tool' '$work' $1 $2"
  [ "$status" = "$3" ] || fail "expected status $3 of a shrink that gets $2 at question $1, got $status: $(cat "$work/out")"
  [ "$(wc -w <"$work/children")" = 3 ] || fail "expected three children, found $(cat "$work/children")"
  for child in $(cat "$work/children"); do
    tries=0
    # Zombies do not count.
    while grep -q '^State:.[^ZX]' "/proc/$child/status" 2>/dev/null; do
      tries=$((tries + 1))
      [ $tries -lt 300 ] || fail "expected no child to be left after $2, found $child"
      sleep 0.1
    done
  done
}
interrupted 12 SIGINT 130
grep -q 'interrupted.jsonl: interrupted; this is the shortest found so far' "$work/out" || fail "expected a message about the interrupt: $(cat "$work/out")"
status_of "$differs" replay "$work/interrupted.jsonl"
[ "$status" = 1 ] || fail "expected what was found until the interrupt to differ, got status $status"
[ "$(wc -l <"$work/interrupted.jsonl")" -lt "$(wc -l <"$work/long.jsonl")" ] || fail "expected something shorter"
interrupted 1 SIGTERM 130
grep -q 'interrupted; nothing found yet, nothing written' "$work/out" || fail "expected a message that nothing was found: $(cat "$work/out")"
[ ! -e "$work/interrupted.jsonl" ] || fail "expected no file where nothing was found"
interrupted 3 SIGKILL 137

# Nothing to shrink, and invalid options.
head -n 1 "$work/long.jsonl" >"$work/zero.jsonl"
status_of "$tool" shrink "$work/zero.jsonl" -o "$work/none.jsonl" --until trap
if [ "$status" != 1 ] || ! grep -q 'it has no inputs' "$work/out"; then fail "expected a message that there are no inputs, got $status: $(cat "$work/out")"; fi
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
# shrink ends with any COMMAND: foreign output, endless output, part of an answer, too many actions,
# other inputs.
head -n 2 "$work/trap.jsonl" >"$work/beginning"
not_repeated='did not repeat the header and the inputs'
refuses 2 "$not_repeated.*expected the header, found y" -o "$work/none.jsonl" --against yes
refuses 2 "$not_repeated.*expected the header" -o "$work/none.jsonl" --against 'cat /dev/zero'
refuses 2 "$not_repeated" -o "$work/none.jsonl" --against 'echo hello; cat'
refuses 2 "$not_repeated.*expected {\"in\":" -o "$work/none.jsonl" --against "cat '$work/beginning' /dev/zero"
refuses 2 "$not_repeated.*inputs, found more" -o "$work/none.jsonl" --against "head -n 1 '$work/beginning'; yes \"\$(tail -n 1 '$work/beginning')\""
refuses 2 "$not_repeated.*bytes of actions" -o "$work/none.jsonl" --against "cat '$work/beginning'; yes '{\"out\":\"send\"}'"
refuses 2 "$not_repeated.*inputs, found 0" -o "$work/none.jsonl" --against "head -n 1 '$work/beginning'; echo '{\"hash\":{}}'; cat >/dev/null"
refuses 2 "$not_repeated: expected" -o "$work/none.jsonl" --against "sed -u 's/\"client\":/\"klient\":/; /^{\"out\"/d'"
refuses 2 'exited without an answer' -o "$work/none.jsonl" --against 'exit 3'
[ ! -e "$work/none.jsonl" ] || fail "expected no file where nothing was found"
