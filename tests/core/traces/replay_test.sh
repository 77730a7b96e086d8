#!/bin/sh
# sidekick-trace replay must find changes in a trace, and must reject other files:
# replay_test.sh SIDEKICK_TRACE TRACE_FOLDER
tool=$1
trace=$2/channels.jsonl
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect STATUS PATTERN FILE
expect() {
  "$tool" replay "$3" >"$work/out" 2>&1
  status=$?
  if [ "$status" != "$1" ] || ! grep -q -- "$2" "$work/out"; then
    echo "expected status $1 and \"$2\", got status $status and:"
    cat "$work/out"
    failed=1
  fi
}

expect 0 'the same' "$trace"
sed '0,/"text":"{ \\"type\\": \\"message\\"/s//"text":"{ \\"type\\": \\"massage\\"/' "$trace" \
  >"$work/changed.jsonl"
expect 1 'changed.jsonl:[0-9]*: differs' "$work/changed.jsonl"
expect 1 'massage' "$work/changed.jsonl"
expect 1 '"clients":' "$work/changed.jsonl"
sed '0,/{"out":"respond"/{/{"out":"respond"/d}' "$trace" >"$work/missing.jsonl"
expect 1 'got: *{"out":"respond"' "$work/missing.jsonl"
sed '$d' "$trace" | sed '$d' >"$work/short.jsonl" # the last line is a hash
lines=$(wc -l <"$work/short.jsonl")
cut="the recording was cut off here; 1 more lines are due"
expect 0 "short.jsonl:$lines: $cut" "$work/short.jsonl"
{ head -n 5 "$trace" && head -c 20 "$trace" && echo; } >"$work/killed.jsonl"
expect 0 'killed.jsonl:6: the recording was cut off here; 3 more lines are due' "$work/killed.jsonl"
cat "$trace" >>"$work/killed.jsonl" # like a host after a restart
expect 0 'killed.jsonl:6: the recording was cut off here; 3 more lines are due' "$work/killed.jsonl"
sed '5s/.*/{"in":"http_requ/' "$trace" >"$work/torn.jsonl"
expect 2 'torn.jsonl:5: expected a JSON object' "$work/torn.jsonl"
sed '1d' "$trace" >"$work/headless.jsonl"
expect 2 'expected the first line of a trace' "$work/headless.jsonl"
sed '1s/"trace":2/"trace":99/' "$trace" >"$work/newer.jsonl"
expect 2 'expected a trace of format 1 or 2, found format 99' "$work/newer.jsonl"
sed '1s/"depth_max"/"depth_min"/' "$trace" >"$work/setting.jsonl"
expect 2 'unknown setting' "$work/setting.jsonl"
sed '2s/"in":"[a-z_]*"/"in":"earthquake"/' "$trace" >"$work/input.jsonl"
expect 2 'the name of an input' "$work/input.jsonl"
expect 2 'cannot be opened' "$work/none.jsonl"
sed 's/$/\r/' "$trace" >"$work/windows.jsonl"
expect 2 'windows.jsonl:1: expected a line that ends with' "$work/windows.jsonl"
{
  head -n 1 "$trace"
  echo '{"in":"client_opened","now":1,"client":1}'
  echo '{"in":"client_opened","now":1,"client":1}' # a host bug
} >"$work/trap.jsonl"
expect 1 'trap.jsonl:3: the core trapped at the input of this line' "$work/trap.jsonl"
if [ -w /dev/full ]; then
  "$tool" replay "$trace" >/dev/full 2>"$work/out"
  status=$?
  if [ "$status" != 2 ] || ! grep -q 'cannot be written to' "$work/out"; then
    echo "expected an error about the full disk, got status $status and: $(cat "$work/out")"
    failed=1
  fi
fi
exit $failed
