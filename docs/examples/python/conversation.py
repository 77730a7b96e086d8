"""conversation.py SIDEKICK.wasm BORDER.json: one conversation with a Sidekick.

Every socket and request is simulated. A real host has events instead of this list, and performs the
actions instead of printing them.
"""

import sys
from pathlib import Path

from wasmtime import Module

from sidekick_module import SidekickModule, make_engine


def post(request: int, path: bytes, body: bytes) -> tuple[str, dict]:
    fields = {"method": b"POST", "path": path, "authorization": b"Bearer the-secret", "body": body}
    fields["headers"] = b""
    return "http_request", {"request": request, "body_bytes": len(body), **fields}


def frame(client: int, text: bytes) -> tuple[str, dict]:
    return "client_frame", {"client": client, "bytes": text, "is_text": 1}


# What a browser sends to open a socket, as far as the hub wants to see it.
UPGRADE = {
    "request": 0,
    "body_bytes": 0,
    "method": b"GET",
    "path": b"/socket",
    "authorization": b"",
    "body": b"",
    "headers": b"upgrade: websocket\nconnection: Upgrade\nsec-websocket-version: 13\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n",
}


INPUTS = [
    ("begin", {"epoch": 1}),  # a real host draws it at random, and then restores what it stored
    ("restored", {}),
    post(
        1,
        b"/connection",
        b'{"token":"t1","channel":"chat","params":{"room":"7"},"context":{"user":"ada"}}',
    ),
    ("client_opened", {"client": 1}),
    frame(1, b'{"type":"subscribe","token":"t1"}'),
    frame(1, b'{"type":"listen","resources":["todo/1"]}'),
    post(2, b"/message", b'{"channel":"chat","params":{"room":"7"},"data":"hello"}'),
    post(3, b"/resources", b'{"resources":["todo/1","todo/2"]}'),
    frame(1, b'{"type":"send","token":"t1","channel":"chat","params":{"room":"7"},"data":"hi"}'),
    ("forward_done", {"forward": 2, "status": 204, "body": b"", "outcome": 0}),
    frame(1, b'{"type":"subscribe","token":"stolen"}'),
    ("client_closed", {"client": 1}),
]


def perform(action: dict) -> None:
    match action["type"]:
        case "send":
            for client in action["clients"]:
                print(f"to client {client}: {action['text'].decode()}")
        case "respond":
            body = action["body"].decode()
            print(f"answer to request {action['request']}: {action['status']} {body}")
        case "forward":
            print(f"to the app server, as forward {action['forward']}: {action['body'].decode()}")
        case "close":
            print(f"close client {action['client']}: {action['code']} {action['reason'].decode()}")
        # put_token, touch_token, erase_token, attach_client: records, for a host that must survive
        # a restart; set_timer: for a host with a clock; cancel_forward: for one with connections


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: conversation.py SIDEKICK.wasm BORDER.json")
    config = {"secrets": ["the-secret"], "hash_seed": "0123456789abcdef"}
    engine = make_engine()
    module = Module(engine, Path(sys.argv[1]).read_bytes())
    hub = SidekickModule(engine, module, Path(sys.argv[2]).read_text(), config)
    # A real host asks at every request, and accepts a socket only after this answer.
    if hub.admit(**UPGRADE)[0] != "socket":
        sys.exit("expected that the hub accepts a socket")
    for number, (name, fields) in enumerate(INPUTS):
        for action in hub.handle(1_790_000_000_000 + number, name, **fields):
            perform(action)


main()
