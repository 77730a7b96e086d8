#!/usr/bin/env python3
"""Writes the inputs of a busy hub as a trace, without what came of them (`sidekick-trace record` adds it): make_trace.py HEADER_TRACE INPUTS [PADDING_BYTES]"""
import json
import random
import sys

header, inputs, padding = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
draw = random.Random(5)
print(open(header).readline(), end="")
now, clients, tokens, held, requests = 1700000000000, [], [], [], 0


def say(kind, **fields):
    print(json.dumps({"in": kind, "now": now, **fields}, separators=(",", ":")))


def post(path, message):
    global requests
    requests += 1
    body = json.dumps(message)
    say("http_request", request=requests, body_bytes=len(body), method="POST", path=path, authorized=True, body=body)


def frame(client, message):
    say("client_frame", client=client, bytes=json.dumps(message))


for number in range(1, inputs + 1):
    now += draw.randrange(5)
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
