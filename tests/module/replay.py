"""replay.py module|component FILE.wasm TRACE...: replays golden traces in wasmtime from Python.

Runs the raw module through the example of docs/examples/python, or the component through its typed
interface. Every recorded line must be reproduced byte for byte, and every action must have the
fields of its line. A trace that was cut off is replayed up to its end. Exit status: 0 the same,
1 a difference.
"""

import base64
import json
import sys
from pathlib import Path

from wasmtime import Module, Store
from wasmtime.component import Component, Linker, Record, Variant

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs/examples/python"))
from sidekick_module import SidekickModule, make_engine  # noqa: E402

BORDER_TEXT = (ROOT / "wasm-bindings/border.json").read_text()
BORDER = json.loads(BORDER_TEXT)
INPUTS = {entry["name"]: entry["fields"] for entry in BORDER["inputs"]}
ACTIONS = {entry["name"]: entry["fields"] for entry in BORDER["actions"]}


class ComponentHub:
    """SidekickModule's interface on top of the component's."""

    def __init__(
        self,
        engine,
        component: Component,
        _border: str,
        config: dict,
        memory_bytes_max: int = 1 << 30,
    ):
        self._store = Store(engine)
        self._store.set_limits(memory_size=memory_bytes_max)
        # Nothing is defined in the linker: the component imports nothing.
        self._instance = Linker(engine).instantiate(self._store, component)
        self._hub = self._function("[static]hub.open")(json.dumps(config))
        if not hasattr(self._hub, "drop"):
            raise ValueError(f"open: {self._hub}")
        self._handle = self._function("[method]hub.handle")
        self._recorded = self._function("[method]hub.recorded")

    def _function(self, name: str):
        interface = self._instance.get_export_index(self._store, "sidekick:core/hub-api@0.1.0")
        index = self._instance.get_export_index(self._store, name, interface)
        function = self._instance.get_func(self._store, index)

        def call(*values):
            result = function(self._store, *values)
            function.post_return(self._store)
            return result

        return call

    def handle(self, now_ms: int, name: str, **fields) -> list[dict]:
        payload = None
        if fields:
            payload = Record()
            for field, value in fields.items():
                setattr(payload, field.replace("_", "-"), value)
        variant = Variant(name.replace("_", "-"), payload)
        actions = []
        for action in self._handle(self._hub, now_ms, variant):
            values = vars(action.payload).items()
            fields = {field.replace("-", "_"): value for field, value in values}
            actions.append({"type": action.tag.replace("-", "_"), **fields})
        return actions

    def record(self, trace_format: int) -> None:
        self._function("[method]hub.set-recording")(self._hub, trace_format)

    def admit(self, **fields) -> tuple[str, int, bytes]:
        payload = Record()
        for field, value in fields.items():
            setattr(payload, field.replace("_", "-"), value)
        verdict = self._function("[method]hub.admit")(self._hub, payload)
        return (
            verdict.tag,
            verdict.payload if verdict.tag == "body" else 0,
            bytes(verdict.payload) if verdict.tag == "socket" else b"",
        )

    def limits(self) -> list[int]:
        return self._function("[method]hub.limits")(self._hub)

    def recorded(self) -> bytes:
        return self._recorded(self._hub).encode()

    def hash(self) -> bytes:
        return self._function("[method]hub.hash")(self._hub).encode()


def content(value) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def field_of(kind: str, value):
    if kind == "list":
        return [content(element) for element in value]
    return content(value) if kind == "bytes" else value


def input_fields(line: dict) -> dict:
    fields = {}
    for field, kind in INPUTS[line["in"]]:
        if field == "authorization":
            texts = {True: b"Bearer replay", False: b"Bearer another", None: b""}
            fields[field] = texts[line["authorized"]]
        else:
            fields[field] = field_of(kind, line[field])
    return fields


def action_of(line: dict) -> dict:
    """The action as its trace line describes it."""
    fields = {}
    for field, kind in ACTIONS[line["out"]]:
        if kind == "code":
            fields[field] = BORDER["errors"].index(line.get(field, "ok"))
        else:
            fields[field] = field_of(kind, line[field])
    return {"type": line["out"], **fields}


def replay(new_hub, path: str) -> None:
    hub, pending, actions, inputs, torn, last_input = None, [], [], 0, None, 0
    *lines, rest = Path(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines + [rest] * bool(rest), 1):
        parsed = parsed_line(line)
        if parsed is None and hub is not None and (torn is None or number > len(lines)):
            torn = number  # of a killed host: acceptable at the end of a recording
            continue
        if parsed is None or (torn is not None and "trace" not in parsed):
            sys.exit(f"{path}:{torn or number}: expected a JSON object")
        if "trace" in parsed:
            if torn is not None or (pending and last_input != number - 1):
                print_cut(path, number - 1, pending)
            torn, pending = None, []
        if "out" not in parsed and pending:
            sys.exit(f"{path}:{number}: the hub produced more actions: {pending[0].decode()}")
        if "trace" in parsed:
            config = {**parsed["config"], "hash_seed": parsed["hash_seed"], "secrets": ["replay"]}
            hub = new_hub(config)
            hub.record(parsed["trace"])
            continue
        if "in" in parsed:
            inputs, last_input = inputs + 1, number
            actions = hub.handle(parsed["now"], parsed["in"], **input_fields(parsed))
            # The trace determines where hashes are compared.
            recorded = hub.recorded().splitlines()
            pending = [it for it in recorded if not it.startswith(b'{"hash"')]
            if len(pending) != len(actions) + 1:
                sys.exit(f"{path}:{number}: {len(actions)} actions in {len(pending) - 1} lines")
        elif "hash" in parsed:
            pending = hub.hash().splitlines()
        elif actions and actions.pop(0) != action_of(parsed):
            sys.exit(f"{path}:{number}: the action has other fields than its line: {line.decode()}")
        if not pending or pending.pop(0) != line:
            sys.exit(f"{path}:{number}: the recorded line differs from: {line.decode()}")
    if hub is None:
        sys.exit(f"{path}: expected the first line of a trace, {{\"trace\":2,...}}, found nothing")
    print(f"{path}: {inputs} inputs, the same")
    if rest or torn is not None or pending:
        print_cut(path, len(lines) + bool(rest), pending)


def parsed_line(line: bytes) -> dict | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def print_cut(path: str, number: int, pending: list) -> None:
    print(
        f"{path}:{number}: the recording was cut off here; {len(pending)} more lines are due for "
        "its last input"
    )


def main() -> None:
    if len(sys.argv) < 4 or sys.argv[1] not in ("module", "component"):
        sys.exit("usage: replay.py module|component FILE.wasm TRACE...")
    types = {"module": (SidekickModule, Module), "component": (ComponentHub, Component)}
    hub_type, compiled_type = types[sys.argv[1]]
    engine = make_engine()
    compiled = compiled_type(engine, Path(sys.argv[2]).read_bytes())
    for path in sys.argv[3:]:
        replay(lambda config: hub_type(engine, compiled, BORDER_TEXT, config), path)


if __name__ == "__main__":
    main()
