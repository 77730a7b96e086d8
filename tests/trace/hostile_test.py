#!/usr/bin/env python3
"""Hostile traces: hostile_test.py TRACES_FOLDER TRACE_TOOL REPLAY...

For any file, every command ends by itself with status 0, 1 or 2, says why a file cannot be used,
and prints nothing that a terminal acts on. TRACE_TOOL: "none" leaves it out. REPLAY: a command to
which a trace is appended; under a WASI runtime a trap of the core has the runtime's own status."""
import json
import os
import subprocess
import sys
import tempfile

folder, tool = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
replay = [os.path.abspath(word) if os.path.isfile(word) else word for word in sys.argv[3:]]
has_tool = sys.argv[2] != "none"
is_wasi = any(word.endswith(".wasm") for word in replay)
header = open(f"{folder}/tokens.jsonl").readline().rstrip("\n")
timer = '{"in":"timer_fired","now":1790000000000}'
opened = '{"in":"client_opened","now":1790000000000,"client":1}'


def changed(**members):
    return json.dumps({**json.loads(header), **members}, separators=(",", ":"))


def with_setting(text):
    return header.replace('"config":{', '"config":{' + text + ",")


def nested(opening, closing, depth):
    return opening * depth + "1" + closing * depth


format_1 = changed(trace=1)
asked = '{"in":"http_request","now":1,"request":1,"body_bytes":0,"method":"GET","path":"/x","authorized":null,"body":""}'
deep = "JSON of at most 64 levels"
# They change the writing direction or end a line.
marks = "".join(map(chr, [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]))
# name: the lines, the expected text, and the commands that must print it (empty: all)
traces = {
    "config-deep": ([with_setting('"x":' + nested("[", "]", 1_000_000)), timer], deep, ""),
    "config-65": ([with_setting('"x":' + nested("[", "]", 65)), timer], deep, ""),
    "config-20": ([with_setting('"x":' + nested("[", "]", 20)), timer], "unknown setting", ""),
    "input-deep": ([header, '{"in":"timer_fired","now":1,"x":' + nested("[", "]", 1_000_000) + "}"], deep, ""),
    "input-name-deep": ([header, '{"in":' + nested("[", "]", 1_000_000) + ',"now":1}'], deep, ""),
    "action-deep": ([header, timer, '{"out":"x","x":' + nested('{"a":', "}", 1_000_000) + "}"], deep, ""),
    "hash-deep": ([header, timer, '{"hash":' + nested('{"a":', "}", 1_000_000) + "}"], deep, ""),
    "line-deep": ([header, "[" * 3_000_000], deep, ""),
    "deep-after-torn": ([header, '{"in":', nested("[", "]", 1_000_000)], deep, ""),
    "core-number": ([changed(core=5), timer], "", ""),
    "core-null": ([changed(core=None), timer], "", ""),
    "core-deep": ([changed(core=[[[[5]]]]), timer], "", ""),
    "core-escape": ([changed(core="\x1b[31m"), timer], "", ""),
    "trace-text": ([changed(trace="1"), timer], "trace format 1", "replay show stat record"),
    "config-list": ([changed(config=[]), timer], '"config", an object', ""),
    "config-list-and-none": ([changed(config=None), timer], '"config", an object', ""),
    "out-number": ([header, timer, '{"out":5}'], "", ""),
    "out-send": ([header, timer, '{"out":"send","clients":5,"text":7}'], "", ""),
    "out-clients": ([header, timer, '{"out":"send","clients":[-1,1e99,"x",{}],"text":[]}'], "", ""),
    "out-base64": ([header, timer] + [f'{{"out":"{out}","{name}":{{"base64":"/w=="}}}}' for out, name in
                                     [("send", "text"), ("respond", "body"), ("close", "reason"), ("put_token", "record"), ("forward", "body")]], "", ""),
    "out-status": ([header, timer, '{"out":"respond","status":"x","body":5}'], "", ""),
    "out-status-base64": ([header, timer, '{"out":"respond","status":500,"body":{"base64":"/w=="}}'], "", ""),
    "out-status-negative": ([header, timer, '{"out":"respond","status":-400,"body":"x"}'], "", ""),
    "out-status-huge": ([header, timer, '{"out":"respond","status":1e300,"body":"x"}'], "", ""),
    "format-1-status": ([format_1, asked, '{"out":"respond","status":"x","body":5}'], "", ""),
    "format-1-text": ([format_1, opened, '{"in":"client_frame","now":1,"client":1,"bytes":"x"}', '{"out":"send","text":5}'], "", ""),
    "format-1-hash": ([format_1, timer, '{"hash":5}'], "", ""),
    "format-1-hash-list": ([format_1, timer, '{"hash":[]}'], "", ""),
    "out-close": ([header, timer, '{"out":"close","code":"x","reason":5}'], "", ""),
    "out-close-base64": ([header, timer, '{"out":"close","code":1,"reason":{"base64":"AA=="}}'], "", ""),
    "out-error": ([header, timer, r'{"out":"send","clients":[1],"text":"{ \"type\": \"error\"\"message\": "}'], "", ""),
    "out-token": ([header, timer, '{"out":"put_token","key":5,"record":[],"state":"x","expires_at":-1}', '{"out":"put_token"}'], "", ""),
    "out-forward": ([header, timer, '{"out":"forward","forward":99999999999999,"timeout_ms":18446744073709551615,"body":"{}"}'], "", ""),
    "out-timer": ([header, timer, '{"out":"set_timer","at_ms":18446744073709551615}'], "", ""),
    "out-first": ([header, '{"out":"send","clients":[1],"text":"x"}'], "", ""),
    "hash-inputs-text": ([header, timer, '{"hash":{"inputs":"x"}}', timer], '{"hash":{"inputs":N,...}}', "compare"),
    "hash-inputs-huge": ([header, timer, '{"hash":{"inputs":1e23}}', timer], '{"hash":{"inputs":N,...}}', "compare"),
    "hash-inputs-negative": ([header, timer, '{"hash":{"inputs":-5}}', timer], '{"hash":{"inputs":N,...}}', "compare"),
    "hash-number": ([header, timer, '{"hash":5}', timer], '{"hash":{"inputs":N,...}}', "compare"),
    "client-huge": ([header, '{"in":"client_opened","now":1,"client":1' + "0" * 400 + "}", timer], "expected a JSON object", "replay show stat record"),
    "client-too-large": ([header, '{"in":"client_opened","now":1,"client":4294967296}'], "the fields of a client_opened", "replay show stat record"),
    "now-float": ([header, '{"in":"timer_fired","now":1e300}'], "a time in ms", "replay show stat record"),
    "now-largest": ([header, '{"in":"timer_fired","now":18446744073709551615}', timer], "", ""),
    "base64-wrong": ([header, '{"in":"client_frame","now":1,"client":1,"bytes":{"base64":"===="}}'], "the fields of a client_frame", "replay show stat record"),
    "blank-line": ([header, timer, "", timer], "expected", ""),
    "windows": ([header + "\r", timer + "\r"], r"ends with \n, found \r\n", ""),
    "windows-later": ([header, timer, timer + "\r"], r"ends with \n, found \r\n", ""),
    "escapes": ([header, timer, "\x1b]0;title\x07\x1b[31m \u009b31m \u202e no JSON", timer], r"found \x1b]0;title\x07\x1b[31m \x9b31m \u202e no JSON", "replay show stat record"),
    "escapes-in-frame": ([header, opened, '{"in":"client_frame","now":1,"client":1,"bytes":"\\u001b[31m \u009b31m\u202e \x7f"}'], "", ""),
    "escapes-in-action": ([header, timer, '{"out":"send","clients":[1],"text":"\u009b31m\u202e\x7f"}'], "", ""),
    "escapes-in-names": ([header, timer, '{"out":"\u009b31m","clients":["\u009b31m"],"\u202e":"\u009b"}', '{"out":"close","code":1,"reason":"\u009b31m"}'], "", ""),
    "marks": ([header, timer, marks + " no JSON", timer], r"found \u061c\u200e\u200f\u2028\u2029\u202a\u202b", "replay show stat record"),
    "marks-in-frame": ([header, opened, f'{{"in":"client_frame","now":1,"client":1,"bytes":"{marks}"}}'], "", ""),
    "marks-in-action": ([header, timer, f'{{"out":"send","clients":[1],"text":"{marks}"}}', f'{{"out":"{marks}"}}'], "", ""),
    "out-names": ([header, timer] + [f'{{"out":"{i}"}}' for i in range(2000)], "", ""),
    "escapes-in-hash": ([header, timer, '{"hash":{"inputs":1,"x":"\u009b31m"}}'], "", ""),
    "escapes-in-setting": ([with_setting('"\\u001b[31m\u009b31m\u202e":1'), timer], r"unknown setting", ""),
    "input-inherited": ([header, '{"in":"constructor","now":1}'], "the name of an input", ""),
    "input-prototype": ([header, '{"in":"__proto__","now":1}'], "the name of an input", ""),
    "gap-negative": ([header, timer, '{"gap":-5}', header], 'a number of lines in "gap"', ""),
    "gap-fraction": ([header, timer, '{"gap":1.5}', header], 'a number of lines in "gap"', ""),
    "gap-text": ([header, timer, '{"gap":"\u202e"}', header], 'a number of lines in "gap"', ""),
    "gap-torn": ([header, timer, '{"gap":5}', '{"tr', header], "the first line of a trace", ""),
    "no-utf8": ([header, b'{"in":"client_frame","now":1,"client":1,"bytes":"\xff\xfe\x9b"}', timer], "expected a JSON object", "replay show stat record"),
    "nul": ([header, timer, b"\0" * 5000, timer], "expected a JSON object", "replay show stat record"),
    "opened-twice": ([header, opened, opened], "opened-twice.jsonl:3: the core trapped at the input of this line", "replay record"),
    "time-goes-back": ([header, opened, '{"in":"timer_fired","now":5}', timer], "", ""),
}
plain = ["replay", "show", "stat", "record"]
shown_raw = {"record"}  # writes a trace
failures = []


def check(name, command, said, ran):
    output = ran.stdout + ran.stderr
    text = output.decode("utf-8", "backslashreplace")

    def fails(what):
        failures.append(f"{name}: {' '.join(command)[-100:]}: {what}: status {ran.returncode}, {text[:600]!r}")

    if ran.returncode not in (0, 1, 2):
        fails("expected status 0, 1 or 2")
    if ran.returncode == 2 and not ran.stderr:
        fails("expected an error text")
    if command[1] == "stat" and text.count("\n") > 200:
        fails("expected a summary")
    if "runtime error" in text or "Sanitizer" in text or "node:internal" in text or "terminate called" in text:
        fails("expected no finding of a sanitizer, and no exception")
    if said and (said not in text or ran.returncode not in (1, 2)):
        fails(f"expected the text \"{said}\"")
    shown = ran.stderr.decode("utf-8", "replace") if command[1] in shown_raw else output.decode("utf-8", "replace")
    if any((ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in marks + "\ufffd" for c in shown):
        fails("expected nothing that a terminal acts on")
    if any(len(line) > 20_000 for line in shown.split("\n")):
        fails("expected no line without end")


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    with open("good.jsonl", "w") as out:
        out.write(f"{header}\n{timer}\n")
    for name, (lines, said, by) in traces.items():
        file = f"{name}.jsonl"
        with open(file, "wb") as out:
            out.write(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
        commands = [[tool, command, file] for command in plain] if has_tool else []
        if has_tool:
            commands += [[tool, "compare", file, file], [tool, "compare", "good.jsonl", file], [tool, "redact", file, "-o", "out"]]
            commands += [[tool, "shrink", file, "-o", "out", "--until", until] for until in ("trap", "says:x")]
        if not is_wasi or name != "opened-twice":
            commands.append([*replay, file])
        for command in commands:
            ran = subprocess.run(command, capture_output=True, timeout=600)  # for a command that hangs
            is_meant = command[1] in by.split() if by else command[1] in plain or command[: len(replay)] == replay
            check(name, command, said if is_meant else "", ran)
for failure in failures:
    print(failure)
print(f"{len(traces)} traces, {len(failures)} failures")
sys.exit(bool(failures))
