#!/usr/bin/env python3
"""corpus.py FOLDER: writes each case of tests/ion/corpus/*.txt into FOLDER/VERDICT_NAME.ion."""
import os
import re
import sys

source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
os.makedirs(sys.argv[1], exist_ok=True)
for verdict in ("accept", "reject"):
    with open(f"{source}/{verdict}.txt", "rb") as file:
        lines = file.read().split(b"\n")
    for line in lines:
        if line == b"" or line.startswith(b"#"):
            continue
        name, text = line.split(b": ", 1)
        text = re.sub(rb"\\x([0-9a-f]{2})", lambda hex: bytes([int(hex[1], 16)]), text)
        with open(f"{sys.argv[1]}/{verdict}_{name.decode()}.ion", "wb") as out:
            out.write(text)
