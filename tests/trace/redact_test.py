#!/usr/bin/env python3
"""A property test of redact: redact_test.py TRACE_TOOL [SEED]

Puts secrets into every field that holds bytes (border.def), in every place of a message and in many
encodings. None of them survives, the copy replays, every line keeps its length, texts that the hub
compares stay equal, and no substitution of letters explains the stand-ins. Deterministic: the seed
is printed, the key is fixed."""
import base64
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile

tool, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 7
draw = random.Random(seed)
print("seed", seed)
folder = tempfile.TemporaryDirectory()
alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def path(name):
    return os.path.join(folder.name, name)


def run(*args, status=0):
    ran = subprocess.run([tool, *args], capture_output=True)
    assert ran.returncode == status, f"{args}: expected status {status}, got {ran.returncode}: {ran.stderr.decode()[:1000]}"
    return ran


# A text is a list of pieces: public bytes, and secrets, each a tuple (what it tests, its characters
# as written).
def some(characters, low, high):
    return "".join(draw.choice(characters) for _ in range(draw.randint(low, high)))


def escape(c, digits="%04x"):
    unit = c.encode("utf-16-be")
    return b"".join(b"\\u" + (digits % int.from_bytes(unit[i : i + 2], "big")).encode() for i in range(0, len(unit), 2))


def raw(c):
    return c.encode()


ENCODINGS = {
    "word": (alnum, raw),
    "escaped": (alnum, escape),
    "escaped in capitals": (alnum, lambda c: escape(c, "%04X")),
    "signs": ("!#$%&'()*+-;<=>?@[]^_`{|}~", raw),
    "umlauts": ("äöüßéèñøåçλπЖ", raw),
    "umlauts escaped": ("äöüßéèñøåçλπЖ", escape),
    "cjk": ("你好世界秘密漢字仮名", raw),
    "emoji": ("😀🎉🔒🗝🚀🦊", raw),
    "emoji escaped": ("😀🎉🔒🗝🚀🦊", escape),
    "half a pair": ("\ud83d\ud801\ud9aa\udbff", lambda c: b"\\u%04x" % ord(c)),
    "controls": ("\x01\x02\x0b\x1e\x1f\x00", lambda c: b"\\u%04x" % ord(c)),
}
BROKEN = {  # only in texts that the hub rejects
    "latin-1": ("äöüßéèñøåç", lambda c: c.encode("latin-1")),
    "utf-16": (alnum, lambda c: c.encode("utf-16-le")),
    "wrong escape": ("acdeghijklmopqsvwxyzACDEFGHIJK0123456789", lambda c: b"\\" + c.encode()),
    "cut escape": ("123456789ABCDEFabcdef", lambda c: b"\\u" + c.encode() + b"z"),
}
VALID_TOKENS = [name for name in ENCODINGS if name != "half a pair"]


def secret(where, encodings=None, low=1, high=24):
    name = draw.choice(list(encodings or ENCODINGS))
    characters, write = ENCODINGS.get(name) or BROKEN[name]
    text = some(characters, low, high)
    if name == "half a pair":
        text = text.replace("\udbff\udbff", "\udbff")
    return (f"{where}, {name}", [write(c) for c in text])


def digits(where, low=2, high=18, first="123456789"):
    return (f"{where}, digits", [c.encode() for c in some(first, 1, 1) + some("0123456789", low - 1, high - 1)])


def date(where):
    parts = ["%04d" % draw.randrange(1000, 3000), "-%02d" % draw.randint(1, 12), "-%02d" % draw.randint(1, 28)]
    if draw.random() < 0.7:
        parts += ["T%02d:%02d:%02d" % (draw.randrange(24), draw.randrange(60), draw.randrange(60)), ".%03dZ" % draw.randrange(1000)]
    return (f"{where}, date", ["".join(parts).encode()])


def join(*pieces):
    """Texts with a % for each piece."""
    form, out = pieces[0].split("%"), []
    assert len(form) == len(pieces), pieces
    for i, text in enumerate(form):
        out.append(text.encode())
        if i + 1 < len(pieces):
            out += pieces[i + 1] if isinstance(pieces[i + 1], list) else [pieces[i + 1]]
    return out


def quoted(where, encodings=None, low=1, high=24):
    return join('"%"', secret(where, encodings, low, high))


def payload(where, depth=0):
    dice = draw.randrange(9 if depth < 3 else 5)
    if dice == 0:
        return [digits(where)]
    if dice == 1:
        return join("-0.%e-%", digits(where, first="0123456789"), digits(where, 1, 2, "0123456789"))
    if dice == 2:
        return join("date:%", date(where))
    if dice <= 4:
        return quoted(where)
    if dice == 5:
        return join("[%, true, %,null]", payload(where, depth + 1), payload(where, depth + 1))
    if dice == 6:
        return join("map { %: % }", quoted(where), payload(where, depth + 1))
    return join('{ %: %,"plain":% }', quoted(where + " key", high=40), payload(where, depth + 1), payload(where, depth + 1))


def session():
    return secret("session", ["word"], 16, 64)


def params(where):
    return join("{ %: %, %: % }", quoted(where, low=3), quoted(where), quoted(where, low=3), quoted(where))


def nonsense(where):
    forms = [
        lambda: [secret(where, [*ENCODINGS, *BROKEN])],
        lambda: join("%, % %: [%]", *(secret(where, [*ENCODINGS, *BROKEN]) for _ in range(4))),
        lambda: join('{ "type": "send", %: %, }', quoted(where), quoted(where)),
        lambda: join('{"type":"send","token":"%', secret(where)),
        lambda: join('{ "__pr\\u006fto__": %, % : "%" }', quoted(where), quoted(where), secret(where, BROKEN)),
        lambda: join('{"data":{"constructor":%}}', payload(where)),
        lambda: join("[0%, %]", digits(where, first="0123456789"), payload(where)),
        lambda: join("[date:2026-02-3%, %]", digits(where, 1, 1), date(where)),
        lambda: join("<html>%</html> % NaN% 'single %'", secret(where, ["word"]), digits(where), secret(where, ["word"]), secret(where, ["word"])),
        lambda: [secret(where, ["utf-16"], 10, 30)],
        lambda: join('{"a":"%","\\%":%}', secret(where, BROKEN), secret(where, ["word"]), payload(where)),
        lambda: payload(where),
        lambda: join('{"type": "%", "token": "%" }', secret(where), secret(where)),
        lambda: join('{"type":"listen","resources":[%,%,%]}', payload(where), quoted(where), digits(where)),
        lambda: join('{"type":"subscribe","token":%,%:%,"error":%}', payload(where), quoted(where), payload(where), payload(where)),
    ]
    return draw.choice(forms)()


lines, masks = [], []  # masks: per line its fields with their pieces
now, handles = 1700000000000, 1


def say(kind, **fields):
    global now
    now += draw.randrange(3)
    line, mask = {"in": kind, "now": now}, {}
    for name, value in fields.items():
        if name == "values":
            mask[name] = value
            value = ["".join(p.decode() if isinstance(p, bytes) else b"".join(p[1]).decode() for p in text) for text in value]
        elif isinstance(value, list):
            text = b"".join(piece if isinstance(piece, bytes) else b"".join(piece[1]) for piece in value)
            mask[name] = value
            try:
                value = text.decode()
            except UnicodeDecodeError:
                value = {"base64": base64.b64encode(text).decode()}
            if kind == "client_frame":  # a text message that is not UTF-8 would close its client
                line["is_text"] = 1 if isinstance(value, str) else 0
            if name == "body" and kind == "http_request":
                line["body_bytes"] = len(text)
        line[name] = value
    lines.append(line)
    masks.append(mask)


def request(where, **fields):
    global handles
    handles += 1
    fields = {"method": [b"POST"], "path": [b"/connection"], "authorized": True, "body": [b""], "headers": [b""], **fields}
    say("http_request", request=handles, **fields)


say("begin", epoch=0)
for record in range(40):
    key = secret("restored key", VALID_TOKENS)
    text = "".join(json.loads(b'"' + c + b'"', strict=False) for c in key[1])
    say("restore_token", state=draw.randrange(3), expires_at=now + 100000, key=[(key[0], [c.encode() for c in text])],
        record=join('{ "channel": %, "params": %, "context": % }', quoted("channel"), params("params"), payload("context")) if record % 4 else nonsense("token record"))
for client in range(1000, 1020):
    log = join('{ "tokens": [%, %], "resources": [%] }\n{ "resources_gone": [%, %] }', *(quoted("client record") for _ in range(5)))
    if client % 3 == 0:
        log = join('{ "session": "%", "epoch": "k3f9a2.7", "tokens": [%], "resources": [] }', session(), quoted("client record"))
    say("restore_client", client=client, record=log if client % 4 else log + [b"\n"] + nonsense("client record"))
say("restored")
for client in range(1, 9):
    say("client_opened", client=client)
tokens, forwards = [], 0
for step in range(1500):
    client, dice = draw.randint(1, 8), draw.randrange(12)
    if dice == 0:
        request("method", method=[secret("method", ["word", "signs", "umlauts", "latin-1"])], path=[b"/message"])
    elif dice == 1:
        forms = ["/%", "/connection?%", "http://%/message?q=%", "/message#%", "https://%", "//%"]
        form = draw.choice(forms)
        request("path", path=join(form, *(secret("path", ["word", "signs", "cjk", "latin-1"]) for _ in range(form.count("%")))), body=nonsense("body of path"))
    elif dice == 2:
        scope = join('"channel":%, "params": %', quoted("channel", low=3), params("params"))
        tokens = tokens[-40:] + [(quoted("token", VALID_TOKENS, 2), scope)]
        request("connection", body=join('{ "token": %, %, "context": % }', *tokens[-1], payload("context")))
    elif dice == 3:
        request("body", path=[draw.choice([b"/message", b"/connection", b"/resources"])], body=nonsense("body"))
    elif dice == 4 and tokens:
        request("message", path=[b"/message"], body=join("{%, \"data\":%, %: %}", draw.choice(tokens)[1], payload("data"), quoted("extra key"), payload("extra")))
    elif dice == 5 and tokens:
        say("client_frame", client=client, bytes=join('{"type":"subscribe","t\\u006fken":%}', draw.choice(tokens)[0]))
    elif dice <= 7 and tokens:
        token, scope = draw.choice(tokens)
        say("client_frame", client=client, bytes=join('{ "type": "send", "token": %, %, "data": % }', token, scope, payload("data")))
        forwards += 1
        answers = [lambda: join('{"fault":"client","message":%}', quoted("answer")), lambda: nonsense("answer"), lambda: join('{"error":%}', payload("answer"))]
        say("forward_done", forward=draw.randint(max(1, forwards - 20), forwards), status=draw.choice([200, 400, 500]), body=draw.choice(answers)(), outcome=0)
    elif dice == 11:
        names = [secret("upgrade", ["word", "umlauts", "cjk"]) for _ in range(5)]
        headers = join("upgrade: websocket, %\norigin: https://%.%:8443\nsec-websocket-version: 13\nconnection: Upgrade\nsec-websocket-protocol: %, %\n", *names)
        request("upgrade", method=[b"GET"], path=[b"/socket"], authorized=None, headers=headers)
    elif dice == 8:
        say("client_frame", client=client, bytes=join('{"type":"listen","resources":[%, "todo/%"]}', quoted("resource"), secret("resource")))
    else:
        say("client_frame", client=client, bytes=nonsense("frame"))
# Clients that say hello, each on three connections: the later ones take over.
for client in range(20, 28):
    own = session()
    token, scope = quoted("token", VALID_TOKENS, 2), join('"channel":%, "params": %', quoted("channel", low=3), params("params"))
    request("connection", body=join('{ "token": %, % }', token, scope))
    for again in range(3):
        handle = client + 100 * again
        say("client_opened", client=handle)
        say("client_frame", client=handle, bytes=join('{"type":"listen","id":1,"resources":[],"hello":"%"}', own))
        say("client_frame", client=handle, bytes=join('{"type":"subscribe","id":2,"token":%,"since":1700000000001000,"epoch":"0"}', token))
        say("client_frame", client=handle, bytes=join('{"type":"listen","id":3,"resources":[%],"since":1700000000001000,"epoch":"0"}', quoted("resource")))
        say("client_frame", client=handle, bytes=join('{"type":"send","id":4,"token":%,%,"data":%,"again":true}', token, scope, payload("data")))
        say("client_frame", client=handle, bytes=join('{"type":"send","id":%,"token":%,%}', quoted("wrong id"), token, scope))
say("timer_fired")

header = {"trace": 2, "core": "0", "hash_seed": "0123456789abcdef", "config": {}}
RAW = ["word", "signs", "umlauts", "cjk", "emoji"]  # of texts outside ION


def record(inputs, name="inputs"):
    with open(path(name), "w") as out:
        for line in inputs:
            print(json.dumps(line), file=out)
    return run("record", path(name)).stdout


def stamp():
    return [b"1700000%09d" % draw.randrange(10**9)]


def channel_topic():
    parts = (secret("topic of a channel", RAW, 3) for _ in range(5))
    return join("channel:%/%:%,%:%", *parts)


scopes = {}  # of tokens


def plain_of(pieces):
    return b"".join(piece if isinstance(piece, bytes) else b"".join(piece[1]) for piece in pieces).decode()


def answer(run):
    """The values of an answer, mostly right."""
    script, args = run.get("script", "join"), run.get("args", [])
    if draw.random() < 0.1:
        return [[secret("wrong value", ["word", "umlauts"])] for _ in range(draw.randrange(4))]
    record = lambda: join('{ %, "context": %}', scopes[args[0]], payload("context"))
    text = lambda: join('{ "type": "message", "channel": %, "params": {}, "data": % }', quoted("channel", RAW), payload("data"))
    # Rarely another epoch: every listener is told then.
    return {
        "sync": lambda: [[draw.choice([b"k3f9a2.7"] * 5 + [b"k3f9a2.8"])], [secret("server", ["word"], 20, 40)], stamp()],
        "register": lambda: [[draw.choice([b"ok", b"held"])]],
        "claim": lambda: draw.choice([[[b"none"]], [[b"held"]]] + 4 * [[[b"ok"], record(), stamp(), stamp(), [draw.choice([b"0", b"1"])]]]),
        "erase": lambda: [[draw.choice([b"ok", b"held"])]],
        "reclaim": lambda: [[draw.choice([b"0", b"1", b"2", b"3", b"4"])] for _ in range((len(args) - 2) // 3)],
        "update": lambda: [stamp()],
        "message": lambda: [stamp()],
        "changed": lambda: [stamp()] + draw.choice([[[b"all"]], [[b"%d" % i] for i in range(len(args) - 2) if draw.random() < 0.3]]),
        "history": lambda: [stamp(), [b"ok"], stamp(), text(), stamp(), text()],
    }.get(script, lambda: [])()


def with_engine(shards):
    """Appends a recording with an engine that answers real calls."""
    config = {"engine_shards": shards, "node": "00000000000000aa", "topic_linger_ms": 3, "resync_spread_ms": 0}
    begin, calls, seen = len(lines), {}, 0
    scopes.clear()
    lines.append({**header, "config": config})
    masks.append(None)
    say("begin", epoch=2**53 - 1)
    say("restored")
    names, owned = [secret("topic of a resource", RAW, 3) for _ in range(40)], []
    for shard in range(shards):
        say("engine_up", shard=shard, kept=0)
    for client in range(1, 6):
        say("client_opened", client=client)
        if client > 2:
            say("client_frame", client=client, bytes=join('{"type":"listen","resources":[],"hello":"%"}', session()))
    for _ in range(200):
        outs = [json.loads(line) for line in record(lines[begin:], "engine").splitlines() if line.startswith(b'{"out"')]
        calls.update((out["call"], out) for out in outs[seen:] if "call" in out)
        seen = len(outs)
        for _ in range(6):
            client, resources = draw.randint(1, 5), draw.sample(names, 3)
            listed = join('"resources":["%","%", "%"]', *resources)
            dice = draw.randrange(26)
            if dice == 16:
                token, scope = secret("token", RAW, 3, 16), join('"channel": "%", "params": { "%": "%" }', *(secret("scope", RAW, 3) for _ in range(3)))
                scopes[plain_of([token])] = scope
                owned.append((token, scope))
                request("connection", path=[b"/connection"], body=join('{ "token": "%", % }', token, scope))
            elif 16 < dice < 22 and owned:
                token, scope = draw.choice(owned[-8:])
                type = draw.choice([b"subscribe"] * 5 + [b"send"] * 2 + [b"unsubscribe"])
                more = [b",", *scope, b',"data":', *payload("data")] if type == b"send" else []
                if type == b"subscribe" and client > 2:
                    more = [b',"since":1700000500000000,"epoch":"k3f9a2.7"']
                say("client_frame", client=client, bytes=join('{"type":"%","token":"%"', type, token) + more + [b',"id":7}' if client > 2 else b"}"])
            elif dice == 22 and owned:
                request("message", path=[b"/message"], body=join('{ %, "data": % }', draw.choice(owned)[1], payload("data")))
            elif dice == 23 and owned:
                say("engine_message", shard=draw.randrange(shards), topic=[b""], body=join("% 9007199254740991.% %", draw.choice([b"asked", b"taken"]), b"%d" % draw.randrange(1, 6), draw.choice(owned)[0]))
            elif dice < 3:
                since = b',"since":1700000500000000,"epoch":"k3f9a2.7"' if client > 2 and dice == 0 else b""
                say("client_frame", client=client, bytes=join('{"type":"%",', b"listen" if dice < 2 else b"unlisten") + listed + [since, b"}"])
            elif dice == 3:
                request("resources", path=[b"/resources"], body=[b"{", *listed, b"}"])
            elif dice == 4:
                topic = draw.choice([[b"resource:", resources[0]], channel_topic(), [secret("topic", RAW, 3)]])
                say("engine_message", shard=draw.randrange(shards), topic=topic, body=nonsense("body of an engine message"))
            elif dice == 5:
                text = draw.choice([lambda: join("beat 7 1 % k3f9a2.%", *stamp(), draw.choice([b"7", b"8"])), lambda: nonsense("inbox"),
                                    lambda: join("asked % %", session(), secret("token", RAW)), lambda: join("taken 0.17 %", secret("token", RAW))])
                say("engine_message", shard=draw.randrange(shards), topic=[b""], body=text())
            elif dice == 6 and draw.random() < 0.2:
                shard = draw.randrange(shards)
                say("engine_down", shard=shard)
                say("engine_up", shard=shard, kept=0)
                calls = {call: out for call, out in calls.items() if out["shard"] != shard}
            elif dice <= 8:
                text = draw.choice([lambda: [], lambda: join(' { "type": "message", "data": % }', payload("data of an engine message")), lambda: [b" ", secret("text", ["word", "cjk"])]])
                shard = draw.randrange(shards)
                say("engine_message", shard=shard, topic=[b"resource:", resources[0]], body=stamp() + text())
            elif dice == 9:
                say("timer_fired")
            elif calls:
                call = draw.choice(list(calls))
                out = calls.pop(call)
                refused = draw.random() < 0.05
                say("engine_answer", call=call, status=int(refused), values=[join(draw.choice(["OOM % %", "ERR % %"]), secret("refusal", ["word"]), secret("refusal", ["umlauts"]))] if refused else answer(out))
    say("timer_fired")


with_engine(1)
with_engine(3)
with open(path("inputs"), "w") as out:
    for line in [header, *lines]:
        print(json.dumps(line), file=out)
open(path("original"), "wb").write(run("record", path("inputs")).stdout)
ran = run("redact", path("original"), "-o", path("copy"), "--key", "k")
assert ran.stderr == b"", f"expected no message about the copy, found {ran.stderr.decode()}"
run("replay", path("copy"))


def bytes_of(value):
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()


original, copy = (open(path(name), "rb").read().split(b"\n") for name in ("original", "copy"))
for before, after in zip(original, copy):
    assert before.startswith(b'{"trace"') or len(before) == len(after), f"expected every line to keep its length:\n{before.decode()}\n{after.decode()}"
assert len(original) == len(copy)

# Sessions are redacted and still equal: the same connections take over. Numbers of the protocol stay.
without_engine = next(i for i, line in enumerate(copy) if b'"node":' in line)
closed = [sum(b'"code":4000,' in line for line in trace[:without_engine]) for trace in (original, copy)]
assert closed == [16, 16], f"expected 16 connections to be taken over, found {closed}"
for kept in (rb'\"since\":1700000000001000,\"epoch\":\"0\"', rb'\"id\":3,', rb'\"again\":true', rb'\"epoch\": \"k3f9a2.7\"'):
    counts = [sum(kept in line for line in trace) for trace in (original, copy)]
    assert counts[0] == counts[1] > 0, f"expected {kept.decode()} to stay, found it {counts} times"

# No character survives more often than by chance.
came, survived = collections.Counter(), collections.Counter()
inputs = [json.loads(line) for line in copy if line.startswith(b'{"in"')]
masks = [mask for mask in masks if mask is not None]
assert len(inputs) == len(masks)


def texts_of(mask, line):
    """The pieces of each text of an input, and what it is in the copy."""
    for field, value in mask.items():
        for i, pieces in enumerate(value) if field == "values" else [(None, value)]:
            yield pieces, bytes_of(line[field] if i is None else line[field][i])


for mask, after in zip(masks, inputs):
    for pieces, text in texts_of(mask, after):
        at = 0
        for piece in pieces:
            if isinstance(piece, bytes):
                at += len(piece)
                continue
            for character in piece[1]:
                came[piece[0]] += 1
                survived[piece[0]] += text[at : at + len(character)] == character and character not in (b":", b"/", b",")
                at += len(character)
        assert at == len(text)
chance = {"digits": 0.14, "half a pair": 0.02, "controls": 0.1, "wrong escape": 0.05, "cut escape": 0.1, "utf-16": 0.06, "signs": 0.07, "date": 0.01, "emoji": 0.01}
for name in sorted(came):
    bound = came[name] * chance.get(name.split(", ")[1], 0.035)
    assert survived[name] <= bound + 4 * bound**0.5 + 3, f"{name}: of {came[name]} characters {survived[name]} survived"
print(sum(came.values()), "secret characters,", sum(survived.values()), "stand for themselves by chance;", len(came), "kinds")

# No long word remains anywhere in the copy, in any spelling.
def unescaped(text):
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text.decode("utf-8", "replace"))
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def told(trace):
    """All texts of a trace, as written and decoded."""
    values = [value for line in trace[1:-1] for name, value in json.loads(line).items() if isinstance(value, str) or name in ("bytes", "body", "headers") or isinstance(value, dict)]
    values += [value for line in trace[1:-1] for listed in json.loads(line).values() if isinstance(listed, list) for value in listed if not isinstance(value, int)]
    texts = b"\n".join(bytes_of(value) for value in values if isinstance(value, str) or "base64" in value)
    return texts + unescaped(texts)


words = {unescaped(b"".join(piece[1])) for mask, line in zip(masks, inputs) for pieces, _ in texts_of(mask, line) for piece in pieces
         if not isinstance(piece, bytes) and len(piece[1]) >= 5 and piece[0].split(", ")[1] in ("word", "escaped", "escaped in capitals", "umlauts", "cjk", "emoji")}
told_before, told_after = told(original), told(copy)
assert len(words) > 500 and all(word in told_before for word in words)
for word in words:
    assert word not in told_after, f'expected nothing of "{word.decode()}" in the copy'


# Texts that the hub compares: equal ones stay equal in any spelling, different ones stay different.
def redacted(texts, form='{"type":"listen","resources":["%s"]}'):
    with open(path("texts"), "w") as out:
        for line in [header, {"in": "client_opened", "now": 1, "client": 1}]:
            print(json.dumps(line), file=out)
        for text in texts:
            print(json.dumps({"in": "client_frame", "now": 1, "client": 1, "bytes": form % text, "is_text": 1}), file=out)
        print(json.dumps({"in": "timer_fired", "now": 1}), file=out)
    run("redact", path("texts"), "-o", path("texts-copy"), "--key", "k")
    frames = [json.loads(line) for line in open(path("texts-copy")) if '"client_frame"' in line]
    return [frame["bytes"] for frame in frames]


def resource_of(frame):
    return json.loads(frame)["resources"][0]


plain = [some(alnum + " -_.!", 1, 30) for _ in range(300)] + ["todo/%d" % i for i in range(200)] + list(alnum)
stand_ins = [resource_of(frame) for frame in redacted(plain)]
assert stand_ins == [resource_of(frame) for frame in redacted(["".join("\\u%04x" % ord(c) if draw.random() < 0.3 and c != "/" else c for c in text) for text in plain])]
assert len(set(stand_ins)) == len(set(plain)), "expected different stand-ins for different names"
for form in ('{"type":"subscribe","token":"%s"}', '{"type":"send","token":"t","channel":"%s","params":{}}', '{"type":"send","token":"t","channel":"c","params":{"%s":"x"}}'):
    for frame, text in zip(redacted(plain, form), stand_ins):
        assert json.dumps(text, ensure_ascii=False)[1:-1] in frame, f"expected {text} in {frame}"

# No substitution of letters, not even for the last or the only letter.
def is_shift(texts, at):
    return len({(ord(text[at]) - i) % 26 for i, text in enumerate(texts)}) == 1


letters = "abcdefghijklmnopqrstuvwxyz"
for form, at in (("%s", 0), ("prefix%s", 6), ("prefix %s", 7), ("%ssuffix", 0), ("the meeting is at the old mill, %s", -1)):
    texts = [resource_of(frame) for frame in redacted([form % c for c in letters])]
    assert not is_shift(texts, at), f"expected no shifted alphabet: {texts}"
    assert len(set(texts)) == 26
texts = [resource_of(frame) for frame in redacted(["q" + some(alnum, 5, 12) for _ in range(400)])]
assert len({text[0] for text in texts}) > 40, "expected words with a common beginning to have stand-ins without one"

# A payload is one text: equal payloads have equal stand-ins, a word in one has another stand-in
# elsewhere, and small payloads stay distinguishable.
form = '{"type":"send","token":"t","channel":"c","params":{},"data":{"%s}}'
same = redacted(['name":"annabella","n":1'] * 2 + ['name":"annabella","n":2'], form)
assert same[0] == same[1] != same[2] and same[0][-30:-10] != same[2][-30:-10]
small = redacted(['n":%d' % i for i in range(10)] + ['n":"%d"' % i for i in range(10)], form)
assert len(set(small)) == 20, small
assert len(set(redacted(["%d" % i for i in range(1000)], '{"type":"send","token":"t","channel":"c","params":{},"data":%s}'))) == 1000
assert len(set(redacted(["2026-%02d-%02d" % (m, d) for m in range(1, 13) for d in range(1, 29)], '{"type":"send","token":"t","channel":"c","params":{},"data":date:%s}'))) == 12 * 28

# The engine's name of a channel has the stand-ins of its parts, sorted like the names before.
def escaped(text):
    return re.sub(r"([,:/\\])", r"\\\1", text)


def topic_of(channel, named):
    return "channel:" + escaped(channel) + "/" + ",".join(f"{escaped(k)}:{escaped(v)}" for k, v in sorted(named.items(), key=lambda it: it[0].encode()))


for shards in (1, 3):
    lines = [{**header, "config": {"engine_shards": shards, "node": "00000000000000aa"}}, {"in": "client_opened", "now": 1, "client": 1}]
    for text in plain[:100]:
        channel, named = text + "/,", {text: "x:" + text, "b\\": "", "key " + text: text[::-1]}
        frame = json.dumps({"type": "send", "token": "t", "params": named, "channel": channel})
        lines.append({"in": "client_frame", "now": 1, "client": 1, "bytes": frame, "is_text": 1})
        lines.append({"in": "engine_message", "now": 1, "shard": 0, "topic": topic_of(channel, named), "body": "7"})
    with open(path("channels"), "w") as out:
        for line in [*lines, {"in": "timer_fired", "now": 1}]:
            print(json.dumps(line), file=out)
    run("redact", path("channels"), "-o", path("channels-copy"), "--key", "k")
    inputs = [json.loads(line) for line in open(path("channels-copy")) if '"client_frame"' in line or '"engine_message"' in line]
    for frame, message in zip(inputs[::2], inputs[1::2]):
        frame = json.loads(frame["bytes"])
        assert message["topic"] == topic_of(frame["channel"], frame["params"]) and message["body"] == "7", (frame, message)
