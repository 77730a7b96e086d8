#!/usr/bin/env python3
"""A command for `shrink --against` that interrupts shrink:
interrupting_party.py TOOL FOLDER QUESTION SIGNAL

Answers as `TOOL record -` does. At that question (counted from 1) it lists shrink's children in
FOLDER/children, sends the signal to shrink, and is silent from then on. When started again, it
answers every question."""
import os
import signal
import subprocess
import sys

tool, folder, question, name = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if os.path.exists(f"{folder}/children"):
    os.execv(tool, [tool, "record", "-"])
record = subprocess.Popen([tool, "record", "-"], stdin=subprocess.PIPE)
asked = 0
for line in sys.stdin.buffer:
    asked += line.startswith(b'{"hash"')
    if asked == question:
        shrink = os.getppid()
        children = open(f"/proc/{shrink}/task/{shrink}/children").read().split()
        with open(f"{folder}/children", "w") as out:
            print(*children, record.pid, file=out)
        os.kill(shrink, getattr(signal, name))
        signal.pause()
    record.stdin.write(line)
    if line.startswith(b'{"hash"'):
        record.stdin.flush()
