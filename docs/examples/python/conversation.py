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
    return "http_request", {"request": request, "body_bytes": len(body), **fields}


def frame(client: int, text: bytes) -> tuple[str, dict]:
    return "client_frame", {"client": client, "bytes": text}


INPUTS = [
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
    ("forward_done", {"forward": 1, "status": 204, "body": b""}),
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
        # a restart; set_timer: for a host with a clock


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: conversation.py SIDEKICK.wasm BORDER.json")
    config = {"secrets": ["the-secret"], "hash_seed": "0123456789abcdef"}
    engine = make_engine()
    module = Module(engine, Path(sys.argv[1]).read_bytes())
    hub = SidekickModule(engine, module, Path(sys.argv[2]).read_text(), config)
    for number, (name, fields) in enumerate(INPUTS):
        for action in hub.handle(1_790_000_000_000 + number, name, **fields):
            perform(action)


main()
