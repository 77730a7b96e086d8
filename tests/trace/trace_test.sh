#!/bin/sh
# Runs sidekick-trace as a user does: trace_test.sh ROOT COMMAND... (the tool, or a runtime and the
# tool). tests/trace/expected holds the expected outputs; UPDATE=1 rewrites them: review the diff.
set -u
root=$1
shift
folder=$root/tests/trace/expected
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cp "$root"/tests/core/traces/*.jsonl "$work"
cd "$work" || exit 1

# same NAME STATUS COMMAND...: compares the whole output and the status
same() {
  name=$1 expected=$2
  shift 2
  "$@" >"$work/out" 2>&1
  status=$?
  if [ "$status" != "$expected" ]; then
    echo "$name: expected status $expected, got $status and: $(cat "$work/out")"
    failed=1
  elif [ -n "${UPDATE:-}" ]; then
    cp "$work/out" "$folder/$name.txt"
  elif ! diff -u "$folder/$name.txt" "$work/out"; then
    echo "$name: differs from $folder/$name.txt (UPDATE=1 rewrites it)"
    failed=1
  fi
}
fails() { echo "$*"; failed=1; }

# show and stat
head -n 27 channels.jsonl >first.jsonl

# html: the page with the recording, in pieces of base64
printf 'before<!--recording-->after' >page.html
echo '{"trace":2,"core":"0.1.0","hash_seed":"0123456789abcdef","config":{}}' >'a "b".jsonl'
same html 0 "$@" html 'a "b".jsonl' --page page.html
same html-no-page 2 "$@" html first.jsonl --page none.html
same html-other-page 2 "$@" html first.jsonl --page first.jsonl
same html-no-trace 2 "$@" html none.jsonl --page page.html
for _ in 1 2 3 4 5 6; do cat fan_out.jsonl; done >long.jsonl
"$@" html long.jsonl --page page.html | sed 's/^before//; s/^after$//; s/<[^>]*>//g' |
  while read -r piece; do echo "$piece" | base64 -d; done | cmp - long.jsonl || fails "html: another recording"
same show 0 "$@" show first.jsonl
same show-client 0 "$@" show resources.jsonl --client 2
same show-token-and-client 0 "$@" show tokens.jsonl --token t --client 2
same show-topic 0 "$@" show resources.jsonl --topic todo/2
same stat 0 "$@" stat random.jsonl
{
  head -n 6 channels.jsonl
  echo '{"in":"client_fr'
  head -n 4 channels.jsonl
} >torn.jsonl # as a host leaves it that is killed while it writes
same show-torn 0 "$@" show torn.jsonl

# replay: the first difference and related earlier inputs; a torn end; a silent hub; not a trace
same replay 0 "$@" replay channels.jsonl tokens.jsonl
sed '0,/\\"updated\\"/s//\\"uploaded\\"/' random.jsonl >changed.jsonl
same replay-changed 1 "$@" replay changed.jsonl
sed '0,/"state":"[0-9a-f]*[1-9a-f][0-9a-f]*"/s//"state":"0123456789abcdef"/' random.jsonl >state.jsonl
same replay-state 1 "$@" replay state.jsonl
whole=$(wc -c <channels.jsonl)
for size in 1501 2000 2345 5000 10000 $((whole - 1)); do
  head -c "$size" channels.jsonl >cut.jsonl
  "$@" replay cut.jsonl >out 2>&1 || fails "expected a recording cut after $size bytes to replay: $(cat out)"
  grep -q 'was cut off here' out || fails "expected a message about the cut after $size bytes: $(cat out)"
done
head -n 6 channels.jsonl >lines.jsonl
same replay-cut-between-lines 0 "$@" replay lines.jsonl
sed '7s/.*/{"in":"http_requ/' channels.jsonl >torn.jsonl
same replay-torn 2 "$@" replay torn.jsonl
same replay-none 2 "$@" replay none.jsonl

# Saved from a live page that was too slow for a while
{
  head -n 4 channels.jsonl
  echo '{"gap":57}'
  head -n 8 channels.jsonl
} >gap.jsonl
same replay-gap 0 "$@" replay gap.jsonl
same show-gap 0 "$@" show gap.jsonl
"$@" record gap.jsonl | cmp - gap.jsonl || fails "record: another recording than gap.jsonl"
"$@" redact gap.jsonl -o gap-redacted.jsonl >out 2>&1
[ "$(sed -n 5p gap-redacted.jsonl)" = '{"gap":57}' ] || fails "redact: no gap: $(cat out)"
{
  head -n 5 gap.jsonl
  sed -n 3p gap.jsonl
} >wrong-gap.jsonl # without the recording that follows a gap
same replay-wrong-gap 2 "$@" replay wrong-gap.jsonl

# A host killed at any point, and its successor in the same file: every command reads both
step=137
[ $# = 1 ] || step=1000 # a runtime starts slowly
for size in $(seq 1500 $step 3700); do
  head -c "$size" first.jsonl >killed.jsonl
  [ -z "$(tail -c 1 killed.jsonl)" ] || echo >>killed.jsonl # as the recorders do
  cat first.jsonl >>killed.jsonl
  for command in "replay killed.jsonl" "show killed.jsonl" "stat killed.jsonl" "record killed.jsonl" "redact killed.jsonl -o out.jsonl" "compare killed.jsonl killed.jsonl"; do
    "$@" $command >out 2>&1 || fails "expected $command of a recording cut after $size bytes, and another, to succeed: $(cat out)"
  done
  "$@" record killed.jsonl >whole.jsonl
  "$@" replay whole.jsonl >out 2>&1 || fails "expected the output of record to replay: $(cat out)"
  [ "$(grep -c '^{"trace"' whole.jsonl)" = 2 ] || fails "expected two recordings after a cut after $size bytes"
done

# compare
same compare-same 0 "$@" compare random.jsonl random.jsonl
same compare-changed 1 "$@" compare random.jsonl changed.jsonl
same compare-state 1 "$@" compare random.jsonl state.jsonl
grep -e '^{"hash"' -e '^{"trace"' random.jsonl >hashes.jsonl
grep -e '^{"hash"' -e '^{"trace"' state.jsonl >other-hashes.jsonl
same compare-hashes 1 "$@" compare hashes.jsonl other-hashes.jsonl
grep -v '^{"hash"' random.jsonl >hashless.jsonl
same compare-hashless 0 "$@" compare random.jsonl hashless.jsonl

# record: the same bytes from the inputs alone
grep -v '^{"out"' random.jsonl >inputs.jsonl
"$@" record inputs.jsonl >recorded.jsonl || fails "expected record to succeed"
cmp random.jsonl recorded.jsonl || fails "expected record to reproduce the recording"

# redact: the copy replays, keeps every length, and contains nothing private
for trace in "$root"/tests/core/traces/*.jsonl; do
  name=$(basename "$trace")
  "$@" redact "$name" -o "redacted-$name" --key k || fails "expected $name to be redacted"
  "$@" replay "redacted-$name" >out 2>&1 || fails "expected the redacted $name to replay: $(cat out)"
  [ "$(wc -l <"$name")" = "$(wc -l <"redacted-$name")" ] || fails "expected as many lines in the redacted $name"
  [ "$(wc -c <"$name")" = "$(wc -c <"redacted-$name")" ] || fails "expected as many bytes in the redacted $name, found $(wc -c <"redacted-$name") of $(wc -c <"$name")"
done
# "hello" is also the name of a member.
for word in 'hello[^\\]\|hello\\"[^:]' roomId nobody chat todo whatever example evil; do
  ! grep -l -- "$word" redacted-*.jsonl >out || fails "expected nothing of \"$word\" to remain, found it in $(cat out)"
done
head -n 15 redacted-channels.jsonl | tail -n 14 >redacted-first.txt
same redact 0 cat redacted-first.txt
"$@" redact channels.jsonl -o one.jsonl && "$@" redact channels.jsonl -o other.jsonl
! cmp -s one.jsonl other.jsonl || fails "expected other stand-ins with every random key"

# ... and it reports where the copy behaves differently from the recording, without quoting any text
same redact-changed 0 "$@" redact changed.jsonl -o redacted-changed.jsonl
! grep -q uploaded redacted-changed.jsonl || fails "expected the answers of this build"
head -n 6 channels.jsonl >cut.jsonl
same redact-cut 0 "$@" redact cut.jsonl -o redacted-cut.jsonl
cat cut.jsonl channels.jsonl >killed.jsonl # a host that was killed, and its successor
same redact-killed 0 "$@" redact killed.jsonl -o redacted-killed.jsonl
{
  head -n 1 channels.jsonl
  echo '{"in":"client_opened","now":1,"client":1}'
  echo '{"in":"client_frame","now":2,"client":1,"bytes":"{\"a\":truex}","is_text":1}'
} >depends-inputs.jsonl
"$@" record depends-inputs.jsonl >depends.jsonl
same redact-depends 0 "$@" redact depends.jsonl -o redacted-depends.jsonl --key k

# An engine: calls by script with the time until their answers, and what a failure leaves open
{
  printf '%s\n' '{"trace":2,"core":"0","hash_seed":"0123456789abcdef","config":{"engine_shards":1,"node":"00000000000000aa"}}'
  say() { printf '{"in":"%s","now":%s%s}\n' "$1" $((1700000000000 + $2)) "${3:-}"; }
  say begin 0 ',"epoch":77'
  say restored 0
  say engine_up 5 ',"shard":0,"kept":0'
  say engine_answer 7 ',"call":1,"status":0,"values":["k3f9a2.7","run-1","5000"]'
  say client_opened 10 ',"client":1'
  say client_frame 11 ',"client":1,"bytes":"{\"type\":\"listen\",\"resources\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\"]}","is_text":1'
  say client_frame 11 ',"client":1,"bytes":"{\"type\":\"subscribe\",\"token\":\"t\"}","is_text":1'
  say engine_answer 14 ',"call":2,"status":0,"values":[]'
  say engine_message 20 ',"shard":0,"topic":"resource:b","body":"5001"'
  say engine_message 21 ',"shard":0,"topic":"","body":"beat 1 1 5001 k3f9a2.7"'
  say engine_message 22 ',"shard":0,"topic":"","body":"asked 25.9 t9"'
  say http_request 23 ',"request":1,"body_bytes":19,"method":"POST","path":"/resources","authorized":true,"body":"{\"resources\":[\"b\"]}","headers":""'
  say engine_answer 33 ',"call":5,"status":1,"values":["OOM command not allowed"]'
  say engine_down 90 ',"shard":0'
} >engine-inputs.jsonl
"$@" record engine-inputs.jsonl >shared.jsonl || fails "expected record to succeed"
same show-engine 0 "$@" show shared.jsonl
same show-engine-token 0 "$@" show shared.jsonl --token t9
same show-engine-topic 0 "$@" show shared.jsonl --topic b
same stat-engine 0 "$@" stat shared.jsonl

# Recordings of format 1, from versions before this one: every command reads them
mkdir format-1 && cp "$root"/tests/core/traces/format-1/*.jsonl format-1
same replay-format-1 0 "$@" replay format-1/*.jsonl
same show-format-1 0 "$@" show format-1/forwards.jsonl --token t --client 1
same stat-format-1 0 "$@" stat format-1/random.jsonl
for trace in format-1/*.jsonl; do
  "$@" redact "$trace" -o redacted.jsonl --key k || fails "expected $trace to be redacted"
  "$@" replay redacted.jsonl >out 2>&1 || fails "expected the redacted $trace to replay: $(cat out)"
  "$@" record "$trace" >recorded.jsonl || fails "expected record to read $trace"
  "$@" replay recorded.jsonl >out 2>&1 || fails "expected the output of record of $trace to replay"
  "$@" compare "$trace" "$trace" >out 2>&1 || fails "expected compare to read $trace: $(cat out)"
done
sed '0,/\\"updated\\"/s//\\"uploaded\\"/' format-1/random.jsonl >format-1/changed.jsonl
same replay-format-1-changed 1 "$@" replay format-1/changed.jsonl

# Files that are not traces: every command reports the same error
: >empty.jsonl
mkdir folder.jsonl
sed '1s/"trace":2/"trace":3/' first.jsonl >newer.jsonl
sed 1d first.jsonl >headless.jsonl
head -n 1 first.jsonl >zero.jsonl
for file in none empty folder newer headless zero; do
  for command in "replay $file.jsonl" "show $file.jsonl" "stat $file.jsonl" "compare $file.jsonl first.jsonl" "compare first.jsonl $file.jsonl" "record $file.jsonl" \
    "redact $file.jsonl -o out.jsonl"; do
    "$@" $command >out 2>&1
    echo "$command: $? $(grep -v '^{"trace"' out | cut -c 1-150)"
  done
done >files
same files 0 cat files

# Invalid arguments
same no-command 2 "$@"
same wrong-command 2 "$@" earthquake
same no-file 2 "$@" show
same wrong-option 2 "$@" show first.jsonl --colour red
same wrong-client 2 "$@" show first.jsonl --client two
same no-out 2 "$@" redact first.jsonl
same same-out 2 "$@" redact first.jsonl -o first.jsonl
ln first.jsonl same.jsonl
for out in ./first.jsonl same.jsonl; do
  "$@" redact first.jsonl -o $out >out 2>&1 && fails "expected $out to be refused"
  grep -q 'expected another file after -o than the trace itself' out || fails "expected a message about $out: $(cat out)"
  [ "$(wc -l <first.jsonl)" = 27 ] || fails "expected the trace to be left alone"
done
same out-folder 2 "$@" redact first.jsonl -o folder.jsonl
same out-nowhere 2 "$@" redact first.jsonl -o nowhere/out.jsonl
if [ -w /dev/full ] && [ $# = 1 ]; then # a runtime may not give access to it
  for command in "show first.jsonl" "stat first.jsonl" "replay channels.jsonl" "compare random.jsonl random.jsonl" "record zero.jsonl" "--help" "redact zero.jsonl -o /dev/full"; do
    "$@" $command >/dev/full 2>out
    status=$?
    [ $status = 2 ] && grep -q 'cannot be written to' out || fails "expected $command to report a full disk, got $status: $(cat out)"
  done
fi
# Output files contain users' messages, so only the owner may read them
if [ $# = 1 ]; then # a runtime has its own mode for new files
  rm -f out.jsonl
  "$@" redact first.jsonl -o out.jsonl
  [ "$(stat -c %a out.jsonl)" = 600 ] || fails "expected a file for its owner alone, found $(stat -c %a out.jsonl)"
  for command in "stat -" "compare - first.jsonl" "record -" "replay -"; do # a folder can be opened, but not read
    "$@" $command <folder.jsonl >out 2>&1
    status=$?
    [ $status = 2 ] && grep -q 'cannot be read to its end' out || fails "expected $command to report the read error, got $status: $(cat out)"
  done
fi
"$@" redact first.jsonl -o - >out 2>&1 && fails "expected -o - to be refused"
grep -q 'expected a file after -o, found -' out || fails "expected a message about -o -: $(cat out)"
[ ! -e ./- ] || fails "expected no file named -"
same show-nobody 0 "$@" show first.jsonl --client 99
same show-no-token 0 "$@" show first.jsonl --token nosuch
same lonely-option 2 "$@" show first.jsonl --colour
same lonely-out 2 "$@" redact first.jsonl -o
same two-files 2 "$@" show first.jsonl tokens.jsonl
same help 0 "$@" --help
same help 0 "$@" show --help
same help 0 "$@" replay -h

# compare reads to the end, or reports why it cannot
sed '30s/.*//' random.jsonl >blank.jsonl
same compare-blank 2 "$@" compare blank.jsonl blank.jsonl
sed 's/$/\r/' first.jsonl >windows.jsonl
same compare-windows 2 "$@" compare first.jsonl windows.jsonl
exit $failed
