#!/bin/sh
# Memory does not grow with the trace: memory_test.sh ROOT TRACE_TOOL. 200 MB of trace in at most 64 MB of memory.
set -eu
root=$1 tool=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A hub that is made anew now and then, as by a host that restarts: the trace grows, the hub does not.
python3 "$root/tests/trace-tool/make_trace.py" "$root/tests/traces/channels.jsonl" 20000 2500 >"$work/inputs.jsonl"
"$tool" record "$work/inputs.jsonl" >"$work/part.jsonl"
while [ ! -e "$work/big.jsonl" ] || [ "$(wc -c <"$work/big.jsonl")" -lt 200000000 ]; do cat "$work/part.jsonl" >>"$work/big.jsonl"; done
bounded() {
  python3 - "$@" <<'P'
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"{sys.argv[2]}: status {status}, at most {kib} KiB")
sys.exit(status != 0 or kib > 65536)
P
}
for command in replay show stat record; do bounded "$tool" "$command" "$work/big.jsonl"; done
bounded "$tool" compare "$work/big.jsonl" "$work/big.jsonl"
bounded "$tool" redact "$work/big.jsonl" -o "$work/redacted.jsonl"
