#!/usr/bin/env python3
"""Writes the inputs of a busy hub as a trace:
make_trace.py HEADER_TRACE INPUTS [PADDING_BYTES [all]]

`sidekick-trace record` adds the actions. all: also restores the hub at the beginning, sends
messages to an app server that answers few of them in time, and listens to many names at once."""
import json
import random
import sys

header, inputs, padding = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
has_all = sys.argv[4:] == ["all"]
draw = random.Random(5)
draw_more = random.Random(6)  # leaves the other draws unchanged
print(open(header).readline(), end="")
now, clients, tokens, held, requests = 1700000000000, [], [], [], 0


def say(kind, **fields):
    print(json.dumps({"in": kind, "now": now, **fields}, separators=(",", ":")))


def post(path, message):
    global requests
    requests += 1
    body = json.dumps(message)
    say("http_request", request=requests, body_bytes=len(body), method="POST", path=path, authorized=True, body=body, headers="")


def frame(client, message):
    say("client_frame", client=client, bytes=json.dumps(message), is_text=1)


def restore():
    """Each client has a token and listens; its id is above those of the others."""
    for number in range(1, 101):
        room = f'{{ "channel": "chat", "params": {{ "roomId": "{number % 20}" }}, "context": {{ "user": "old-{number}" }} }}'
        say("restore_token", state=2, expires_at=0, key=f"old-{number}", record=room)
        say("restore_client", client=1_000_000 + number, record=f'{{ "tokens": ["old-{number}"], "resources": [] }}\n{{ "resources": ["todo/{number}"] }}')


def talk_to_app_server(number):
    """Most forwards are never answered: they time out, and a tool must then drop them, too."""
    restored = draw_more.randrange(1, 101)
    client, token, params = 1_000_000 + restored, f"old-{restored}", {"roomId": str(restored % 20)}
    if tokens and clients and draw_more.random() < 0.5:
        client, (token, params) = draw_more.choice(clients), draw_more.choice(tokens[-100:])
    frame(client, {"type": "send", "token": token, "channel": "chat", "params": params, "data": {"number": number, "text": "y" * 200}})
    if draw_more.random() < 0.1:
        say("forward_done", forward=max(1, number * 3 // 5 + draw_more.randrange(-100, 100)), status=204, body="", outcome=0)


def listen_to_many():
    client = 1_000_000 + draw_more.randrange(1, 101)
    names = [f"many/{draw_more.randrange(100_000)}" for _ in range(400)]
    frame(client, {"type": "listen", "resources": names})
    frame(client, {"type": "unlisten", "resources": names})


say("begin", epoch=0)  # forwards begin with 1
if has_all:
    restore()
say("restored")
for number in range(1, inputs + 1):
    now += draw.randrange(5) if not has_all else draw.randrange(500)
    if has_all:
        talk_to_app_server(number)
        if number % 30 == 0:
            listen_to_many()
    room = {"roomId": str(draw.randrange(20))}
    dice = draw.random()
    if not clients or (dice < 0.05 and len(clients) < 200):
        clients.append(number)
        say("client_opened", client=number)
    elif dice < 0.1 and len(clients) > 100:
        say("client_closed", client=clients.pop(draw.randrange(len(clients))))
    elif dice < 0.2:
        tokens = tokens[-500:] + [(f"token-{number}", room)]
        post("/connection", {"token": f"token-{number}", "channel": "chat", "params": room, "context": {"user": f"user-{number}"}})
    elif dice < 0.35 and tokens:
        client, token = draw.choice(clients), draw.choice(tokens)[0]
        held.append((client, token))
        frame(client, {"type": "subscribe", "token": token})
    elif dice < 0.4 and held:
        client, token = held.pop(draw.randrange(len(held)))
        frame(client, {"type": "unsubscribe", "token": token})
    elif dice < 0.6:
        kind = "listen" if draw.random() < 0.7 else "unlisten"
        frame(draw.choice(clients), {"type": kind, "resources": [f"todo/{draw.randrange(3000)}" for _ in range(draw.randrange(1, 5))]})
    elif dice < 0.8:
        post("/message", {"channel": "chat", "params": room, "data": {"text": "x" * padding, "number": number}})
    else:
        post("/resources", {"resources": [f"todo/{draw.randrange(3000)}" for _ in range(draw.randrange(1, 5))]})
