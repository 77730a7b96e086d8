"""wasmtime_api.py < LINES: what the wheel `wasmtime` says of the same types, fields and functions.

LINES come from wasmtime_api.cpp. The wheel's _bindings.py is generated from the official header of
the library in that wheel. Prints each line as it would have to be.
"""

import ctypes
import re
import sys
from importlib.metadata import version

from wasmtime import _bindings, _ffi


def name_of(kind) -> str:
    if kind is None:
        return "void"
    if kind is ctypes.c_bool:
        return "bool"
    if issubclass(kind, (ctypes.c_void_p, ctypes._Pointer, ctypes._CFuncPtr)):
        return "pointer"
    return f"{'i' if kind(-1).value < 0 else 'u'}{8 * ctypes.sizeof(kind)}"


def counterpart(line: str) -> str:
    if line.startswith("WASMTIME_VERSION_MAJOR "):
        return f"WASMTIME_VERSION_MAJOR is {version('wasmtime').partition('.')[0]}"
    if constant := re.fullmatch(r"(\w+) is .*", line):
        return f"{constant[1]} is {getattr(_ffi, constant[1]).value}"
    if field := re.fullmatch(r"(\w+)\.(\w+) at .*", line):
        kind, name = field.groups()
        found = getattr(getattr(_bindings, kind), name)
        return f"{kind}.{name} at {found.offset} size {found.size}"
    if size := re.fullmatch(r"(\w+) size .*", line):
        kind = getattr(_bindings, size[1])
        return f"{size[1]} size {ctypes.sizeof(kind)} align {ctypes.alignment(kind)}"
    name = re.fullmatch(r"\w+ (\w+)\(.*\)", line)[1]
    function = getattr(_bindings, "_" + name)
    arguments = " ".join(name_of(kind) for kind in function.argtypes)
    return f"{name_of(function.restype)} {name}({arguments})"


for line in sys.stdin.read().splitlines():
    print(counterpart(line))
