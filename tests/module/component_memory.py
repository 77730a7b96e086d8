"""component_memory.py COMPONENT.wasm: the component frees its arguments, and callers its results.

More data goes through than the memory may hold, so that a leak traps. Also: a rejected
configuration is an error, not a trap.
"""

import sys
from pathlib import Path

from wasmtime.component import Component

from replay import ComponentHub, make_engine

MEMORY_BYTES_MAX = 1 << 20
TEXT = b"x" * 16_384
ROUNDS = 2 * MEMORY_BYTES_MAX // len(TEXT)


def main() -> None:
    engine = make_engine()
    component = Component(engine, Path(sys.argv[1]).read_bytes())
    try:
        ComponentHub(engine, component, "", {"secrets": []})
        sys.exit("a configuration without a secret was accepted")
    except ValueError as error:
        print(error)

    config = {"secrets": ["s"], "hash_seed": "0123456789abcdef"}
    hub = ComponentHub(engine, component, "", config, MEMORY_BYTES_MAX)

    def post(path: bytes, body: bytes) -> list[dict]:
        head = {"request": 1, "body_bytes": len(body), "method": b"POST", "path": path}
        head["authorization"] = b"Bearer s"
        return hub.handle(1, "http_request", **head, body=body)

    post(b"/connection", b'{"token":"t","channel":"c","params":{}}')
    hub.handle(1, "client_opened", client=1)
    hub.handle(1, "client_frame", client=1, bytes=b'{"type":"subscribe","token":"t"}')
    sent_bytes = 0
    for _ in range(ROUNDS):
        send = post(b"/message", b'{"channel":"c","params":{},"data":"' + TEXT + b'"}')[0]
        hub.recorded()
        sent_bytes += len(send["text"])
    if sent_bytes <= 2 * MEMORY_BYTES_MAX:
        sys.exit(f"expected more than {2 * MEMORY_BYTES_MAX} bytes sent, got {sent_bytes}")
    print("nothing leaks")


main()
