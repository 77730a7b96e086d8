#!/bin/sh
# The memory of sidekick-trace does not grow with the trace: memory_test.sh ROOT TRACE_TOOL
# The trace has 100 MB and one hub that receives all kinds of inputs and forgets most of them. Each
# command may use 20 MiB, and 1 MiB more than for a fifth of the trace.
set -eu
root=$1 tool=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 "$root/tests/trace/make_trace.py" "$root/tests/core/traces/channels.jsonl" 30000 3000 all >"$work/inputs.jsonl"
"$tool" record "$work/inputs.jsonl" >"$work/whole.jsonl"
[ "$(wc -c <"$work/whole.jsonl")" -gt 100000000 ] || { echo "expected 100 MB, found $(wc -c <"$work/whole.jsonl")"; exit 1; }
for kind in client_opened client_frame client_closed http_request forward_done restore_token restore_client; do
  grep -q "^{\"in\":\"$kind\"" "$work/whole.jsonl" || { echo "expected $kind among the inputs"; exit 1; }
done
[ "$(grep -c '^{"out":"forward"' "$work/whole.jsonl")" -gt 15000 ] || { echo "expected 15,000 forwards"; exit 1; }
fifth=$(($(wc -l <"$work/whole.jsonl") / 5))
head -n "$fifth" "$work/whole.jsonl" >"$work/part.jsonl"
bounded() {
  python3 - "$work" "$@" <<'P'
import os, sys

def peak_kib(command):
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.execv(command[0], command)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        sys.exit(f"{command}: status {status}")
    return usage.ru_maxrss

work, *command = sys.argv[1:]
part, whole = (peak_kib([argument.replace("TRACE", f"{work}/{name}.jsonl") for argument in command]) for name in ("part", "whole"))
print(f"{command[1]}: at most {whole} KiB, of a fifth {part} KiB")
sys.exit(whole > 20 << 10 or whole > part + (1 << 10))
P
}
failed=0
for command in replay show stat record; do bounded "$tool" "$command" TRACE || failed=1; done
bounded "$tool" compare TRACE TRACE || failed=1
bounded "$tool" redact TRACE -o "$work/redacted.jsonl" || failed=1
exit $failed
