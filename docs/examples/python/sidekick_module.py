"""One Sidekick hub in wasmtime: inputs in, actions out.

Copy it into your Python host, with border.json of Sidekick. It owns an instance but no socket,
clock or file, and makes no decisions.
"""

import json
import struct

from wasmtime import Config, Engine, Instance, Module, Store


def make_engine() -> Engine:
    settings = Config()
    settings.cranelift_nan_canonicalization = True  # the same bytes on every machine
    return Engine(settings)


class SidekickModule:
    """`module` is compiled once and shared by all hubs. `border`: the content of border.json, which
    lists inputs, actions and their fields."""

    def __init__(
        self,
        engine: Engine,
        module: Module,
        border: str,
        config: dict,
        memory_bytes_max: int = 1 << 30,
    ):
        self._border = json.loads(border)
        self._inputs = {entry["name"]: entry for entry in self._border["inputs"]}
        self._actions = {entry["tag"]: entry for entry in self._border["actions"]}

        self._store = Store(engine)
        self._store.set_limits(memory_size=memory_bytes_max)
        self._exports = Instance(self._store, module, []).exports(self._store)  # no imports: no I/O
        self._memory = self._exports["memory"]
        self._call("_initialize")  # wasmtime does not call it itself
        version = self._call("sidekick_abi_version")
        if version != self._border["abi_version"]:
            expected = self._border["abi_version"]
            raise RuntimeError(
                f"Sidekick module: expected ABI version {expected}, found {version}"
            )
        self._hub = self._call("sidekick_create", self._fill_buffer(json.dumps(config).encode()))
        if self._hub == 0:
            raise ValueError(f"Sidekick: {self._text(self._call('sidekick_error')).decode()}")

    def handle(self, now_ms: int, name: str, **fields) -> list[dict]:
        """Applies one input: its name and fields, bytes as bytes. Returns the actions; perform them
        in order.

        A wasmtime.Trap means that the hub is dead: create another, restore it from the records, and
        do not replay the input.
        """
        size = self._write(now_ms, name, fields)
        return self._decode(self._call("sidekick_handle", self._hub, size))

    def admit(self, **fields) -> tuple[str, int, bytes]:
        """What to do with a request whose body was not read yet: the fields of http_request, with an
        empty body. Returns the verdict, how much of the body to read, and the subprotocol."""
        size = self._write(0, "http_request", fields)
        at = self._call("sidekick_admit", self._hub, size)
        verdict = self._border["verdicts"][self._word(at)]  # border.def has their meanings
        return verdict, self._word(at + 4), self._text(at + 8)

    def record(self, trace_format: int) -> None:
        """2: on; 0: off. While on, recorded() returns the trace lines of the latest input."""
        self._call("sidekick_record", self._hub, trace_format)

    def recorded(self) -> bytes:
        return self._text(self._call("sidekick_recorded", self._hub))

    def hash(self) -> bytes:
        """A trace line with the state hash: equal hashes mean equal state, on any host."""
        return self._text(self._call("sidekick_hash", self._hub))

    def metrics(self) -> bytes:
        """The answer to a request with the verdict `metrics`, before what the host itself counts."""
        return self._text(self._call("sidekick_metrics", self._hub))

    def _write(self, now_ms: int, name: str, fields: dict) -> int:
        entry = self._inputs[name]
        words, tail = struct.pack("<IQ", entry["tag"], now_ms), b""
        for field, kind in entry["fields"]:
            value = fields.pop(field)
            if kind == "bytes":
                words, tail = words + struct.pack("<I", len(value)), tail + value
            elif kind == "list":
                sizes = [len(element) for element in value]
                words += struct.pack(f"<{len(sizes) + 1}I", len(sizes), *sizes)
                tail += b"".join(value)
            else:
                words += struct.pack("<I" if kind == "u32" else "<Q", value)
        if fields:
            raise TypeError(f"{name}: unknown fields {', '.join(fields)}")
        return self._fill_buffer(words + tail)

    def _decode(self, at: int) -> list[dict]:
        def word() -> int:
            nonlocal at
            at += 4
            return self._word(at - 4)

        actions = []
        for _ in range(word()):
            entry = self._actions[word()]
            action = {"type": entry["name"]}
            for field, kind in entry["fields"]:
                first = word()
                if kind == "u64":
                    first |= word() << 32
                elif kind == "bytes":
                    first = self._bytes(first, word())
                elif kind == "list":
                    first = [self._bytes(word(), word()) for _ in range(first)]
                elif kind == "ids":
                    count = word()
                    first = list(struct.unpack(f"<{count}I", self._bytes(first, count * 4)))
                action[field] = first
            actions.append(action)
        return actions

    def _fill_buffer(self, content: bytes) -> int:
        self._memory.write(self._store, content, self._call("sidekick_buffer", len(content)))
        return len(content)

    def _text(self, at: int) -> bytes:
        return self._bytes(self._word(at), self._word(at + 4))

    def _word(self, at: int) -> int:
        return int.from_bytes(self._bytes(at, 4), "little")

    def _bytes(self, at: int, size: int) -> bytes:
        return bytes(self._memory.read(self._store, at, at + size))

    def _call(self, name: str, *words: int) -> int:
        result = self._exports[name](self._store, *words)
        return 0 if result is None else result & 0xFFFFFFFF  # wasmtime's i32 is signed
