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
UPGRADE = (
    b"upgrade: websocket\nconnection: Upgrade\nsec-websocket-version: 13\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\nsec-websocket-protocol: "
)
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

    hub.record(2)

    def request(path: bytes, body: bytes, **more) -> dict:
        head = {"request": 1, "body_bytes": len(body), "method": b"POST", "path": path}
        return {**head, "authorization": b"Bearer s", "body": body, "headers": b"", **more}

    def post(path: bytes, body: bytes) -> list[dict]:
        return hub.handle(1, "http_request", **request(path, body))

    post(b"/connection", b'{"token":"t","channel":"c","params":{}}')
    hub.handle(1, "client_opened", client=1)
    hub.handle(1, "client_frame", client=1, bytes=b'{"type":"subscribe","token":"t"}', is_text=1)
    sent_bytes = 0
    for _ in range(ROUNDS):
        send = post(b"/message", b'{"channel":"c","params":{},"data":"' + TEXT + b'"}')[0]
        hub.recorded()
        headers = UPGRADE + TEXT + b"\n"
        upgrade = request(b"/socket", b"", method=b"GET", headers=headers)
        if hub.admit(**upgrade) != ("socket", 0, TEXT):
            sys.exit(f"expected a socket with the subprotocol, got {hub.admit(**upgrade)}")
        sent_bytes += len(send["text"])
    if sent_bytes <= 2 * MEMORY_BYTES_MAX:
        sys.exit(f"expected more than {2 * MEMORY_BYTES_MAX} bytes sent, got {sent_bytes}")
    if hub.admit(**request(b"/connection", b""))[:2] != ("body", hub.limits()[1]):
        sys.exit("expected the limit http_body_bytes_max, the second of limits.def")
    print("nothing leaks")


main()
