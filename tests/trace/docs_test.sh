#!/bin/sh
# Runs the five commands of docs/replay.md as the page shows them:
# docs_test.sh ROOT TRACE_TOOL TRACE_TOOL_THAT_DIFFERS
set -u
root=$1 tool=$2 differs=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir old now
ln -s "$tool" old/sidekick-trace
ln -s "$differs" now/sidekick-trace
python3 "$root/tests/trace/make_trace.py" "$root/tests/core/traces/channels.jsonl" 40000 | now/sidekick-trace record - >live.jsonl
sed -n '/^```sh$/,/^```$/{/^```/d;p}' "$root/docs/replay.md" >commands
[ "$(wc -l <commands)" = 5 ] || { echo "expected five commands in docs/replay.md, found: $(cat commands)"; exit 1; }
number=0
while read -r command; do
  number=$((number + 1))
  PATH=$work/now:$PATH sh -c "$command" </dev/null >"out$number" 2>&1
  status=$?
  expected=0
  [ "$number" -lt 5 ] || expected=1
  [ "$status" = "$expected" ] || { echo "expected status $expected of \"$command\", got $status: $(cat "out$number")"; exit 1; }
  [ -s "out$number" ] || [ "$number" = 4 ] || { echo "expected output from \"$command\""; exit 1; }
done <commands
