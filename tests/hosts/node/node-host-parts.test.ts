// Parts of the Node host that need no module: frames, forwards, log, recording, the error for a
// damaged module, and the guard for app servers.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import dns from "node:dns";
import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import type * as http from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { requireSidekickSecret } from "../../../worker/src/guard/index.ts";
import { ClientSocket } from "../../../worker/src/node/client-socket.ts";
import { now } from "../../../worker/src/node/clock.ts";
import { Forwarder } from "../../../worker/src/node/forwarder.ts";
import { Batch, textFrame } from "../../../worker/src/node/frames.ts";
import { createLog, limitWarnings } from "../../../worker/src/node/log.ts";
import { refusalOf } from "../../../worker/src/node/not-http.ts";
import { warnOfOpenFiles } from "../../../worker/src/node/open-files.ts";
import { Recorder } from "../../../worker/src/node/recorder.ts";
import { Unsent } from "../../../worker/src/node/unsent.ts";
import { familiesText } from "../../../worker/src/session/families.ts";
import { Histogram } from "../../../worker/src/session/histogram.ts";
import type { Outcome } from "../../../worker/src/session/outcome.ts";
import { VERSION } from "../../../worker/src/version.ts";
import { drip, REFUSING_URL, startAppServer } from "../shared/support/app-server.ts";
import { BLACK_HOLE_ADDRESS, startBlackHole } from "../shared/support/black-hole.ts";
import { harmless, hostileTexts } from "../shared/support/hostile-texts.ts";
import { closeEverything, listen } from "../shared/support/left-open.ts";
import { clientFrame, eventually } from "../shared/support/sidekick.ts";

after(closeEverything);

const silent = createLog("silent");

test("a text frame uses the shortest length field", () => {
  for (const [size, header] of [
    [0, [0x81, 0]],
    [125, [0x81, 125]],
    [126, [0x81, 126, 0, 126]],
    [65535, [0x81, 126, 255, 255]],
    [65536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
  ] as const) {
    const frame = textFrame(Buffer.alloc(size, "x"));
    assert.deepEqual([...frame.subarray(0, header.length)], [...header]);
    assert.equal(frame.byteLength, header.length + size);
    assert.equal(frame.subarray(header.length).toString(), "x".repeat(size));
  }
});

test("sockets with the same pending frames share one joined buffer", () => {
  const [a, b, c] = ["a", "b", "c"].map((letter) => Buffer.from(letter)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  const start = Batch.start();
  const one = start.with(a).with(b);
  const two = start.with(a).with(b);
  assert.equal(one.pieces()[0], two.pieces()[0]);
  assert.equal(one.pieces()[0]!.toString(), "ab");
  assert.equal(start.with(a).with(c).pieces()[0]!.toString(), "ac");
  assert.equal(start.with(b).pieces()[0], b, "a single frame is not copied");
  assert.equal(one.pieces()[0]!.toString(), "ab");
  assert.equal(one.bytes, 2);
});

test("large frames are written in pieces, in order", () => {
  const [a, b] = [Buffer.alloc(200_000, "a"), Buffer.alloc(200_000, "b")];
  assert.deepEqual(Batch.start().with(a).with(b).pieces(), [a, b]);
});

test("a histogram counts a value in each bucket whose bound is not below it", () => {
  const lag = new Histogram([0.001, 0.5, 5]);
  for (const seconds of [0, 0.0009, 0.001, 0.0011, 0.5, 5, 5.5]) lag.observe(seconds);
  const text = familiesText({ sidekick_host_loop_lag_seconds: lag });
  assert.deepEqual(text.split("\n").slice(1), [
    "# TYPE sidekick_host_loop_lag_seconds histogram",
    'sidekick_host_loop_lag_seconds_bucket{le="0.001"} 3',
    'sidekick_host_loop_lag_seconds_bucket{le="0.5"} 5',
    'sidekick_host_loop_lag_seconds_bucket{le="5"} 6',
    'sidekick_host_loop_lag_seconds_bucket{le="+Inf"} 7',
    "sidekick_host_loop_lag_seconds_sum 11.003",
    "sidekick_host_loop_lag_seconds_count 7",
    "",
  ]);
});

test("text from a peer cannot forge log lines", () => {
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line));
  log.info("x", { name: "a\n2026 error forged\r\u001b[2J\u009b2J\u2028\u202e" });
  log.debug("not shown");
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /name="a\\n2026 error forged\\r\\u001b\[2J\\u009b2J\\u2028\\u202e"\n$/);
});

test("with json, each line is one object, whatever a peer has put into a field", () => {
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line), "json");
  const name = '"}\n{"level":"error"\r\u001b[2J\u009b2J\u2028\u202e\ud800\\';
  log.warn("x", { name, count: 3, is: true, none: undefined });
  log.debug("not shown", { name });
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^[\x20-\x7e]+\n$/);
  const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(rest, { level: "warn", message: "x", name, count: 3, is: true });
});

for (const [what, text] of Object.entries(hostileTexts)) {
  test(`a field of the log that tries to ${what} stays in its line`, () => {
    for (const format of ["text", "json"] as const) {
      const lines: string[] = [];
      const log = limitWarnings(createLog("debug", (line) => lines.push(line), format));
      for (const level of ["error", "warn", "info", "debug"] as const)
        log[level]("x", { code: text, reason: text, count: 1 });
      assert.equal(lines.length, 4);
      for (const line of lines) {
        assert.match(line, harmless);
        if (format === "text") continue;
        const { reason, count } = JSON.parse(line) as { reason: string; count: number };
        assert.equal(count, 1, "the fields behind it");
        const isCut = text.length > 300;
        assert.equal(reason, isCut ? `${text.slice(0, 300)}...` : text);
      }
    }
  });
}

test("the answer to a request that node:http rejects says what was expected and what to do", () => {
  const log = createLog("silent");
  for (const [error, status, why] of [
    [{ code: "ERR_HTTP_REQUEST_TIMEOUT" }, 408, /the head within 10 s, the body within 60 s; try/],
    [{ code: "HPE_HEADER_OVERFLOW" }, 431, /expected at most 16 KiB/],
    [{ code: "HPE_INVALID_METHOD", reason: "Invalid method" }, 400, /HTTP\/1\.1: Invalid method/],
    [{ code: "HPE_INVALID_METHOD", rawPacket: Buffer.from("PROXY TCP4") }, 400, /PROXY.*: turn it/],
  ] as const) {
    const refusal = refusalOf(Object.assign(new Error(), error), log, "")!;
    assert.equal(refusal[0], status);
    assert.match(refusal[1], why);
  }
  const reset = Object.assign(new Error(), { code: "ECONNRESET" });
  assert.equal(refusalOf(reset, log, ""), undefined);
});

test("a repeated warning is logged at once, then every 10 s with its count", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const lines: string[] = [];
  const log = limitWarnings(createLog("info", (line) => lines.push(line.slice(25).trimEnd())));
  for (let i = 1; i <= 1000; i++) log.warn("refused", { client: i });
  log.warn("failed");
  log.info("refused");
  assert.deepEqual(lines.splice(0), ["warn  refused client=1", "warn  failed", "info  refused"]);
  t.mock.timers.tick(10_000);
  assert.deepEqual(lines.splice(0), ["warn  refused client=1000 times=999"]);
  log.warn("refused", { client: 1001 });
  log.warn("failed");
  assert.deepEqual(lines.splice(0), ["warn  failed"]);
  t.mock.timers.tick(10_000);
  assert.deepEqual(lines.splice(0), ["warn  refused client=1001 times=1"]);
  t.mock.timers.tick(100_000);
  assert.deepEqual(lines, []);
});

test("too few open files for clients_max produce a warning that says what to do", () => {
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line));
  const limits = (files: string) =>
    `Limit Soft Limit Hard Limit Units\nMax open files            ${files}                ` +
    "4096                 files\n";
  for (const enough of [limits("1064"), limits("unlimited"), ""])
    warnOfOpenFiles(log, 1000, enough);
  assert.deepEqual(lines, []);
  warnOfOpenFiles(log, 1000, limits("1063"));
  assert.match(lines[0]!, /ulimit -n 1064.*open_files=1063 clients_max=1000/);
});

test("the hub's clock ignores changes of the system clock", (t) => {
  const before = now();
  const system = Date.now();
  assert.ok(
    Number.isInteger(before) && Math.abs(before - system) < 60_000,
    `${before} at ${system}`,
  );
  t.mock.method(Date, "now", () => 0);
  const after = now();
  assert.ok(after >= before, `${after} is before ${before}`);
});

test("a client's record is replaced or appended to, byte for byte", () => {
  const socket = Reflect.construct(ClientSocket, [null, undefined, {}]) as ClientSocket;
  let expected = "";
  for (let i = 0; i < 2000; i++) {
    const piece = String.fromCharCode(i % 256).repeat(i % 40);
    expected = i === 1000 ? piece : expected + piece;
    socket.store(piece, i !== 1000);
  }
  assert.equal(socket.record, expected);
});

test("a socket is not read while its peer does not take the answers, including pongs; then all arrive", async () => {
  const socket = Reflect.construct(ClientSocket, [
    null,
    undefined,
    { autoPong: true },
  ]) as ClientSocket;
  const pings = 5000;
  let written = 0;
  let take: (() => void) | undefined;
  let isTaking = false;
  const source = Array.from({ length: pings / 100 }, () =>
    Buffer.concat(Array.from({ length: 100 }, () => clientFrame(9, Buffer.alloc(125)))),
  );
  const stream = new Duplex({
    read() {
      if (source.length > 0) this.push(source.shift());
    },
    write(chunk: Buffer, _encoding, done) {
      written += chunk.byteLength;
      if (isTaking) setImmediate(done);
      else take = done;
    },
  });
  const setSocket = (
    socket as unknown as { setSocket(stream: Duplex, head: Buffer, options: object): void }
  ).setSocket;
  setSocket.call(socket, stream, Buffer.alloc(0), { allowSynchronousEvents: false });
  socket.open({ unsent: new Unsent(), onFrame() {}, onError() {}, onClosed() {} }, 1, stream);
  await eventually(() => socket.isPaused);
  for (let i = 0; i < 2000; i++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(
    source.length > 0 && stream.writableLength < 200_000,
    `${source.length} chunks left, ${stream.writableLength} bytes unsent`,
  );
  isTaking = true;
  take!();
  await eventually(() => written === pings * 127);
  stream.destroy();
});

function forwarder(
  url: string,
  answerBytesMax = 1000,
  { log = silent, idleMs = 4000, linksMax = 4096 } = {},
): Forwarder {
  return new Forwarder({ url, secret: "server secret", answerBytesMax, log, idleMs, linksMax });
}

function answerOf(
  forwards: Forwarder,
  body = "{}",
  timeoutMs = 30_000,
): Promise<{ outcome: Outcome; status: number; body: string }> {
  return new Promise((resolve) =>
    forwards.send(Buffer.from(body), timeoutMs, timeoutMs, ({ outcome, status, body: answer }) =>
      resolve({ outcome, status, body: Buffer.from(answer).toString() }),
    ),
  );
}

const answered = (status: number, body = "") => ({ outcome: "answered", status, body });
const unanswered = (outcome: Outcome) => ({ outcome, status: 0, body: "" });

test("a forward is a POST with type=channel, the secret, and the configured query", async () => {
  const app = await startAppServer((response) => response.writeHead(400).end("answer"));
  const forwards = forwarder(app.url);
  assert.deepEqual(await answerOf(forwards, '{ "ä": 1 }'), answered(400, "answer"));
  const [seen] = app.forwarded;
  assert.equal(seen!.method, "POST");
  assert.equal(new URL(seen!.url, "http://x").searchParams.get("type"), "channel");
  assert.equal(new URL(seen!.url, "http://x").searchParams.get("tenant"), "a b");
  assert.equal(seen!.headers.authorization, "Bearer server secret");
  assert.equal(seen!.headers["content-type"], "application/json");
  assert.equal(seen!.body, '{ "ä": 1 }');
  forwards.destroy();
  await app.close();
});

test("consecutive forwards share one connection", async () => {
  const app = await startAppServer();
  const forwards = forwarder(app.url);
  for (let i = 0; i < 5; i++) assert.equal((await answerOf(forwards)).status, 204);
  assert.equal(app.connections, 1);
  forwards.destroy();
  await app.close();
});

test("a redirected message that waits for a connection goes to its own origin only", async () => {
  const other = await startAppServer((response) => response.writeHead(400).end("other"));
  const responses: http.ServerResponse[] = [];
  const home = await startAppServer((response) => responses.push(response));
  const forwards = forwarder(home.url, 1000, { linksMax: 1 });
  const reached = (count: number) => eventually(() => home.forwarded.length === count);
  const [a, b, c] = ["a", "b", "c"].map((body) => answerOf(forwards, body));
  await reached(1);
  responses.shift()!.writeHead(307, { Location: other.url }).end();
  await reached(2); // b has the connection; c and a wait
  responses.shift()!.writeHead(204).end();
  await reached(3);
  responses.shift()!.writeHead(204).end();
  assert.deepEqual(await Promise.all([a, b, c]), [
    answered(400, "other"),
    answered(204),
    answered(204),
  ]);
  assert.deepEqual(
    home.forwarded.map(({ body }) => body),
    ["a", "b", "c"],
  );
  assert.deepEqual(
    other.forwarded.map(({ body, headers }) => [body, headers.authorization]),
    [["a", undefined]],
  );
  forwards.destroy();
  await Promise.all([home.close(), other.close()]);
});

test("an idle connection makes room for a redirected message", async () => {
  const other = await startAppServer((response) => response.writeHead(400).end("other"));
  const home = await startAppServer((response) =>
    response.writeHead(307, { Location: other.url }).end(),
  );
  const forwards = forwarder(home.url, 1000, { linksMax: 1, idleMs: 3_600_000 });
  assert.deepEqual(await answerOf(forwards), answered(400, "other"));
  forwards.destroy();
  await Promise.all([home.close(), other.close()]);
});

test("without a connection, nothing was sent: the app server is unreachable", async () => {
  const server = net.createServer((socket) => socket.end("no TLS"));
  const noTls = `https://127.0.0.1:${await listen(server)}/`;
  for (const url of [REFUSING_URL, "http://no-such-name.invalid/", noTls]) {
    const forwards = forwarder(url);
    assert.deepEqual(await answerOf(forwards), unanswered("unreachable"), url);
    assert.equal(forwards.open, 0);
    forwards.destroy();
  }
});

test("a 2xx status counts at once, even if the rest of the answer hangs, never ends or breaks off", async () => {
  const rests: Record<string, (response: http.ServerResponse) => void> = {
    hangs: (response) => response.write("beginning"),
    drips: drip,
    "breaks off": (response) => response.write("beginning", () => response.destroy()),
  };
  for (const rest of Object.values(rests)) {
    const app = await startAppServer(
      (response) => void rest(response.writeHead(200, { "Content-Length": 100_000 })),
    );
    const forwards = forwarder(app.url);
    assert.deepEqual(await answerOf(forwards, "{}", 60_000), answered(200));
    assert.equal(forwards.open, 0);
    // timed out
    await eventually(() => app.openConnections === 0);
    forwards.destroy();
    await app.close();
  }
});

test("an app server that hangs before its answer times out; in the middle, its status counts", async () => {
  const app = await startAppServer(() => {});
  const forwards = forwarder(app.url);
  assert.deepEqual(await answerOf(forwards, "{}", 50), unanswered("timed_out"));
  app.answer = (response) => response.writeHead(400).write("beginning");
  assert.deepEqual(await answerOf(forwards, "{}", 1_000), answered(400, "beginning"));
  forwards.destroy();
  await app.close();
});

test("an app server that drips its answer hits the total timeout, not an idle timeout", async () => {
  const app = await startAppServer((response) => drip(response.writeHead(400)));
  const forwards = forwarder(app.url, 1_000_000);
  const { outcome, status, body } = await answerOf(forwards, "{}", 1_000);
  assert.deepEqual([outcome, status], ["answered", 400]);
  assert.match(body, /^x+$/);
  forwards.destroy();
  await app.close();
});

test("an answer of 100 MB is truncated at the limit", async () => {
  let sent = 0;
  const app = await startAppServer((response) => {
    response.writeHead(500, { "Content-Length": 100_000_000 });
    const chunk = Buffer.alloc(100_000, "x");
    const more = () => {
      while (sent < 100_000_000 && !response.destroyed) {
        sent += chunk.byteLength;
        if (!response.write(chunk)) return void response.once("drain", more);
      }
    };
    more();
  });
  const forwards = forwarder(app.url, 1000);
  const answer = await answerOf(forwards);
  assert.equal(answer.status, 500);
  assert.equal(answer.body.length, 1000);
  assert.ok(sent < 100_000_000, `it read ${sent} bytes`);
  forwards.destroy();
  await app.close();
});

test("answers of n-1, n and n+1 bytes", async () => {
  const app = await startAppServer();
  const forwards = forwarder(app.url, 10);
  for (const [size, read] of [
    [9, 9],
    [10, 10],
    [11, 10],
  ] as const) {
    app.answer = (response) => response.writeHead(400).end("x".repeat(size));
    assert.deepEqual(await answerOf(forwards), answered(400, "x".repeat(read)));
  }
  forwards.destroy();
  await app.close();
});

/** A raw TCP server that is called with each complete request: the body is `{}`. */
async function rawServer(
  onRequest: (socket: net.Socket, count: number) => void,
): Promise<{ url: string }> {
  let count = 0;
  const onConnection = (socket: net.Socket) => {
    let received = "";
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString();
      if (!received.endsWith("\r\n\r\n{}")) return;
      received = "";
      onRequest(socket, ++count);
    });
  };
  return { url: `http://127.0.0.1:${await listen(net.createServer(onConnection))}/` };
}

test("an app server that closes the connection or sends garbage breaks off", async () => {
  for (const behave of [
    (socket: net.Socket) => socket.end("\u0000garbage\r\n\r\n"),
    (socket: net.Socket) => socket.resetAndDestroy(),
    (socket: net.Socket) => socket.end("HTTP/1.1 40"),
    (socket: net.Socket) => socket.end(),
  ]) {
    const server = await rawServer(behave);
    const forwards = forwarder(server.url);
    assert.deepEqual(await answerOf(forwards), unanswered("broken_off"));
    forwards.destroy();
  }
});

test("a forward whose connection is reset is not repeated: it may have taken effect", async () => {
  let requests = 0;
  const server = await rawServer((socket, count) => {
    requests = count;
    if (count === 2) socket.resetAndDestroy();
    else socket.write("HTTP/1.1 204 No Content\r\n\r\n");
  });
  const forwards = forwarder(server.url);
  assert.equal((await answerOf(forwards)).status, 204);
  assert.equal((await answerOf(forwards)).outcome, "broken_off");
  assert.equal(requests, 2);
  forwards.destroy();
});

test("idle connections are dropped before the app server drops them; busy ones are kept, however long they take", async () => {
  const app = await startAppServer((response) =>
    setTimeout(() => response.writeHead(204).end(), 200),
  );
  const forwards = forwarder(app.url, 1000, { idleMs: 50 });
  assert.equal((await answerOf(forwards)).status, 204);
  await eventually(() => app.openConnections === 0);
  assert.equal((await answerOf(forwards)).status, 204);
  assert.equal(app.connections, 2);
  forwards.destroy();
  await app.close();
});

test("an app server that answers 101 ends the forward", async () => {
  for (const upgrade of ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"]) {
    const server = await rawServer((socket) =>
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${upgrade}\r\n`),
    );
    const forwards = forwarder(server.url);
    assert.deepEqual(await answerOf(forwards), answered(101));
    forwards.destroy();
  }
});

test("rejections by an app server are logged with their status and without the query; errors of its own code are not logged", async () => {
  const app = await startAppServer();
  const lines: string[] = [];
  const forwards = forwarder(app.url, 1000, {
    log: createLog("info", (line) => lines.push(line.slice(25).trimEnd())),
  });
  for (const status of [200, 204, 400, 302, 401, 500]) {
    app.answer = (response) => response.writeHead(status, { Location: "/" }).end();
    assert.equal((await answerOf(forwards)).status, status);
  }
  const url = JSON.stringify(app.url.replace(/\?.*/, ""));
  const final = new URL("/", app.url);
  await app.close();
  assert.equal((await answerOf(forwards)).status, 0);
  assert.deepEqual(lines.slice(0, 3), [
    `warn  the app server rejected a message url=${url} status=302 hint="a POST does not follow ` +
      `this redirect: set --server-url to ${final}"`,
    `warn  the app server rejected a message url=${url} status=401`,
    `warn  the app server rejected a message url=${url} status=500`,
  ]);
  assert.match(lines[3]!, /^warn {2}a forward failed url=\S+ reason=".+"$/);
  assert.equal(lines.length, 4);
  forwards.destroy();
});

test("an attempt at one address continues while another begins", async (t) => {
  const port = await listen(net.createServer());
  const hole = await startBlackHole(port);
  const lookup = (_name: string, _options: unknown, found: (...result: unknown[]) => void) =>
    found(null, [
      { address: BLACK_HOLE_ADDRESS, family: 4 },
      { address: "127.0.0.3", family: 4 }, // nobody listens there
    ]);
  t.mock.method(dns, "lookup", lookup as unknown as typeof dns.lookup);
  const forwards = forwarder(`http://two.test:${port}/`);
  const answer = answerOf(forwards);
  await hole.open();
  assert.deepEqual(await answer, answered(400, "heard"));
  forwards.destroy();
  hole.close();
});

test("forwards that wait for the same name share one lookup, and do not wait for it at the end", async (t) => {
  const lookup = t.mock.method(dns, "lookup", (() => {}) as unknown as typeof dns.lookup);
  const forwards = forwarder("http://slow.test/");
  const results = [answerOf(forwards), answerOf(forwards), answerOf(forwards)];
  assert.equal(lookup.mock.callCount(), 1);
  forwards.end();
  for (const result of results) assert.deepEqual(await result, unanswered("unreachable"));
  forwards.destroy();
});

test("a name without a responding address gives a reason", async () => {
  const lines: string[] = [];
  const forwards = forwarder(REFUSING_URL.replace("127.0.0.1", "localhost"), 1000, {
    log: createLog("info", (line) => lines.push(line)),
  });
  await answerOf(forwards);
  assert.match(lines[0]!, /reason=".*ECONNREFUSED/);
  forwards.destroy();
});

test("ending the forwarder ends forwards in flight and later ones, and sends nothing more", async () => {
  const app = await startAppServer(() => {});
  const forwards = forwarder(app.url);
  const first = answerOf(forwards);
  await eventually(() => app.forwarded.length === 1);
  forwards.end();
  assert.equal((await first).outcome, "broken_off");
  assert.equal((await answerOf(forwards)).outcome, "unreachable");
  assert.equal(forwards.open, 0);
  assert.equal(app.forwarded.length, 1);
  forwards.destroy();
  await app.close();
});

test("cancelling a forward closes its connection, without a result, and leaves others alone", async () => {
  const app = await startAppServer(() => {});
  const forwards = forwarder(app.url);
  let results = 0;
  const handle = forwards.send(Buffer.from("{}"), 30_000, 40_000, () => results++);
  const other = answerOf(forwards);
  await eventually(() => app.forwarded.length === 2);
  forwards.cancel(handle);
  await eventually(() => app.openConnections === 1);
  forwards.cancel(handle);
  assert.equal(forwards.open, 1);
  forwards.end();
  assert.equal((await other).outcome, "broken_off");
  assert.equal(results, 0);
  forwards.destroy();
  await app.close();
});

test("a destroyed forwarder answers nobody", async () => {
  const app = await startAppServer(() => {});
  const forwards = forwarder(app.url);
  let answers = 0;
  forwards.send(Buffer.from("{}"), 30_000, 40_000, () => answers++);
  await eventually(() => app.forwarded.length === 1);
  forwards.destroy();
  await app.close();
  assert.equal(answers, 0);
});

test("the version in the sources is that of the package", async () => {
  const manifest = new URL("../../../worker/package.json", import.meta.url);
  assert.equal(JSON.parse(await readFile(manifest, "utf8")).version, VERSION);
});

test("rejects an invalid server URL with a clear text", () => {
  assert.throws(() => forwarder("localhost"), /expected a URL like http:\/\/localhost:3000/);
  assert.throws(() => forwarder("ftp://localhost/"), /got "ftp:/);
  for (const url of [
    "http://user@localhost/",
    "http://:word@localhost/",
    "ftp://user:word@localhost/",
    "//user:word@localhost",
  ]) {
    assert.throws(
      () => forwarder(url),
      (error: Error) => /server URL/.test(error.message) && !/word@|user[:@]/.test(error.message),
      url,
    );
  }
  assert.throws(
    () => forwarder("http://user:word@localhost/"),
    /remove them and use the server secret/,
  );
});

test("a recording is appended to, readable by its owner only, and complete when closed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const file = join(folder, "trace");
  for (const line of ["one\n", "two\n"]) {
    const recorder = new Recorder(file, silent);
    recorder.write(Buffer.from(line));
    await recorder.close();
  }
  assert.equal(await readFile(file, "utf8"), "one\ntwo\n");
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  await rm(folder, { recursive: true });
});

test("a recording that continues after half a line does not join it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const file = join(folder, "trace");
  await writeFile(file, "one\nha");
  const recorder = new Recorder(file, silent);
  recorder.write(Buffer.from("two\n"));
  await recorder.close();
  assert.equal(await readFile(file, "utf8"), "one\nha\ntwo\n");
  await rm(folder, { recursive: true });
});

test("rejects a recording file that cannot be opened at once", () => {
  assert.throws(() => new Recorder(join(tmpdir(), "no-such-folder", "trace"), silent), /ENOENT/);
  assert.throws(() => new Recorder(tmpdir(), silent), /EISDIR/);
});

test("a damaged module gives one line with the file and what to do", async () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  await cp(join(root, "worker/dist"), join(folder, "dist"), { recursive: true });
  await cp(join(root, "worker/package.json"), join(folder, "package.json"));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  await mkdir(join(folder, "module"));
  const whole = await readFile(join(root, "worker/module/sidekick.wasm"));
  const file = join(folder, "module/sidekick.wasm");
  const cli = [join(folder, "dist/node/cli.js"), "--secret", "s", "--port", "0"];
  for (const bytes of [Buffer.from("nonsense"), whole.subarray(0, -1)]) {
    await writeFile(file, bytes);
    await assert.rejects(promisify(execFile)(process.execPath, cli), {
      code: 1,
      stderr: new RegExp(
        `^sidekick-serve: ${file}: expected the Sidekick module; run scripts/build in a checkout, ` +
          "or reinstall the package \\(.+\\)\n$",
      ),
    });
  }
  await rm(folder, { recursive: true });
});

test("a failing recording is logged and ends alone", {
  skip: process.platform !== "linux",
}, async () => {
  const lines: string[] = [];
  const recorder = new Recorder(
    "/dev/full",
    createLog("info", (line) => lines.push(line)),
  );
  recorder.write(Buffer.from("line\n"));
  await eventually(() => !recorder.isActive);
  recorder.write(Buffer.from("line\n"));
  await recorder.close();
  assert.match(lines[0]!, /recording has stopped.*ENOSPC/);
});

test("lines written to a closing recording are dropped and lose nothing written before", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const file = join(folder, "trace");
  const lines: string[] = [];
  const recorder = new Recorder(
    file,
    createLog("info", (line) => lines.push(line)),
  );
  recorder.write(Buffer.from("one\n"));
  const closed = recorder.close();
  recorder.write(Buffer.from("two\n"));
  await closed;
  recorder.write(Buffer.from("three\n"));
  await recorder.close();
  assert.equal(await readFile(file, "utf8"), "one\n");
  assert.deepEqual(lines, []);
  await rm(folder, { recursive: true });
});

test("a recording that fails while closing is reported once", {
  skip: process.platform !== "linux",
}, async () => {
  const lines: string[] = [];
  const recorder = new Recorder(
    "/dev/full",
    createLog("info", (line) => lines.push(line)),
  );
  recorder.write(Buffer.from("line\n"));
  await recorder.close();
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /recording has stopped; its end is missing.*ENOSPC/);
});

test("the guard lets only the Sidekick call ?type=channel", () => {
  const ask = (url: string, authorization?: string) =>
    requireSidekickSecret(
      new Request(url, {
        method: "POST",
        ...(authorization !== undefined && { headers: { Authorization: authorization } }),
      }),
      ["new", "old"],
    );
  const channel = "http://localhost/api?type=channel";
  assert.equal(ask("http://localhost/api?type=procedure"), null);
  assert.equal(ask(channel, "Bearer new"), null);
  assert.equal(ask(channel, "Bearer old"), null);
  for (const wrong of [
    undefined,
    "",
    "new",
    "Bearer",
    "Bearer ne",
    "Bearer neww",
    "bearer new",
    "Bearer undefined",
  ]) {
    assert.equal(ask(channel, wrong)?.status, 401, wrong);
  }
  assert.throws(() => requireSidekickSecret(new Request(channel), ""), /non-empty secret/);
});
