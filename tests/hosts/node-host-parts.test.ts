// The parts of the Node host that need no module: frames, forwards, log, recording, the guard for app servers.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import * as net from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { requireSidekickSecret } from "../../worker/src/guard/index.ts";
import { Forwarder } from "../../worker/src/node/forwarder.ts";
import { Batch, textFrame } from "../../worker/src/node/frames.ts";
import { createLog } from "../../worker/src/node/log.ts";
import { Recorder } from "../../worker/src/node/recorder.ts";
import { startAppServer } from "./support/app-server.ts";
import { eventually } from "./support/sidekick.ts";

const silent = createLog("silent");

test("a text frame has the shortest length field that fits", () => {
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

test("sockets that are owed the same frames share one joined buffer", () => {
  const [a, b, c] = ["a", "b", "c"].map((letter) => Buffer.from(letter)) as [Buffer, Buffer, Buffer];
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

test("large frames are handed over in pieces, in order", () => {
  const [a, b] = [Buffer.alloc(200_000, "a"), Buffer.alloc(200_000, "b")];
  assert.deepEqual(Batch.start().with(a).with(b).pieces(), [a, b]);
});

test("log lines cannot be forged by text from a peer", () => {
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line));
  log.info("x", { name: "a\n2026 error forged\r\u001b[2J\u009b2J\u2028\u202e" });
  log.debug("not shown");
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /name="a\\n2026 error forged\\r\\u001b\[2J\\u009b2J\\u2028\\u202e"\n$/);
});

function forwarder(url: string, answerBytesMax = 1000): Forwarder {
  return new Forwarder({ url, secret: "server secret", answerBytesMax, log: silent });
}

function answerOf(forwards: Forwarder, body = "{}", timeoutMs = 30_000): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => forwards.send(Buffer.from(body), timeoutMs, (status, answer) => resolve({ status, body: answer.toString() })));
}

test("a forward is a POST with type=channel, the secret, and the query that was configured", async () => {
  const app = await startAppServer((response) => response.writeHead(400).end("answer"));
  const forwards = forwarder(app.url);
  assert.deepEqual(await answerOf(forwards, '{ "ä": 1 }'), { status: 400, body: "answer" });
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

test("forwards one after the other use one connection", async () => {
  const app = await startAppServer();
  const forwards = forwarder(app.url);
  for (let i = 0; i < 5; i++) assert.equal((await answerOf(forwards)).status, 204);
  assert.equal(app.connections, 1);
  forwards.destroy();
  await app.close();
});

test("a refusing app server is status 0", async () => {
  const app = await startAppServer();
  const { url } = app;
  await app.close();
  const forwards = forwarder(url);
  assert.deepEqual(await answerOf(forwards), { status: 0, body: "" });
  assert.equal(forwards.open, 0);
  forwards.destroy();
});

test("an app server that hangs before or in the middle of its answer is status 0", async () => {
  for (const hang of ["before", "middle"]) {
    const app = await startAppServer((response) => {
      if (hang === "middle") response.writeHead(200).write("beginning");
    });
    const forwards = forwarder(app.url);
    assert.deepEqual(await answerOf(forwards, "{}", 50), { status: 0, body: "" });
    forwards.destroy();
    await app.close();
  }
});

test("an app server that drips its answer is given up on at the total time, not at an idle time", async () => {
  const app = await startAppServer((response) => {
    response.writeHead(200);
    const drip = setInterval(() => response.write("x"), 10);
    response.on("close", () => clearInterval(drip));
  });
  const forwards = forwarder(app.url, 1_000_000);
  assert.deepEqual(await answerOf(forwards, "{}", 200), { status: 0, body: "" });
  forwards.destroy();
  await app.close();
});

test("an app server that sends 100 MB is cut off at the limit", async () => {
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
  assert.ok(sent < 100_000_000);
  forwards.destroy();
  await app.close();
});

test("an answer of n-1, n and n+1 bytes", async () => {
  const app = await startAppServer();
  const forwards = forwarder(app.url, 10);
  for (const [size, read] of [[9, 9], [10, 10], [11, 10]] as const) {
    app.answer = (response) => response.writeHead(400).end("x".repeat(size));
    assert.deepEqual(await answerOf(forwards), { status: 400, body: "x".repeat(read) });
  }
  forwards.destroy();
  await app.close();
});

/** A server that speaks no HTTP library's language. */
async function rawServer(onRequest: (socket: net.Socket, count: number) => void): Promise<{ url: string; close(): void }> {
  let count = 0;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", () => onRequest(socket, ++count));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

test("garbage instead of HTTP, and a connection reset, are status 0", async () => {
  for (const behave of [
    (socket: net.Socket) => socket.end("\u0000garbage\r\n\r\n"),
    (socket: net.Socket) => socket.resetAndDestroy(),
    (socket: net.Socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
    (socket: net.Socket) => socket.end(),
  ]) {
    const server = await rawServer(behave);
    const forwards = forwarder(server.url);
    assert.deepEqual(await answerOf(forwards), { status: 0, body: "" });
    forwards.destroy();
    server.close();
  }
});

test("a forward on a connection that the app server had just closed is tried once more", async () => {
  const server = await rawServer((socket, count) => {
    if (count === 2) socket.resetAndDestroy();
    else socket.write("HTTP/1.1 204 No Content\r\n\r\n");
  });
  const forwards = forwarder(server.url);
  assert.equal((await answerOf(forwards)).status, 204);
  assert.equal((await answerOf(forwards)).status, 204);
  forwards.destroy();
  server.close();
});

test("a forwarder that is destroyed answers nobody", async () => {
  const app = await startAppServer(() => {});
  const forwards = forwarder(app.url);
  let answers = 0;
  forwards.send(Buffer.from("{}"), 30_000, () => answers++);
  await eventually(() => app.forwarded.length === 1);
  forwards.destroy();
  await app.close();
  assert.equal(answers, 0);
});

test("a server URL that cannot be used is refused with a clear text", () => {
  assert.throws(() => forwarder("localhost"), /expected something like http:\/\/localhost:3000/);
  assert.throws(() => forwarder("ftp://localhost/"), /got "ftp:/);
});

test("a recording is appended, for its owner only, and complete when closed", async () => {
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

test("a recording that cannot be written is logged and ends alone", async () => {
  const lines: string[] = [];
  const recorder = new Recorder(join(tmpdir(), "no-such-folder", "trace"), createLog("info", (line) => lines.push(line)));
  recorder.write(Buffer.from("line\n"));
  await eventually(() => !recorder.active);
  recorder.write(Buffer.from("line\n"));
  await recorder.close();
  assert.match(lines[0]!, /recording has stopped.*ENOENT/);
});

test("the guard lets only the Sidekick call ?type=channel", () => {
  const ask = (url: string, authorization?: string) =>
    requireSidekickSecret(new Request(url, { method: "POST", ...(authorization !== undefined && { headers: { Authorization: authorization } }) }), ["new", "old"]);
  const channel = "http://localhost/api?type=channel";
  assert.equal(ask("http://localhost/api?type=procedure"), null);
  assert.equal(ask(channel, "Bearer new"), null);
  assert.equal(ask(channel, "Bearer old"), null);
  for (const wrong of [undefined, "", "new", "Bearer", "Bearer ne", "Bearer neww", "bearer new", "Bearer undefined"]) {
    assert.equal(ask(channel, wrong)?.status, 401, wrong);
  }
  assert.throws(() => requireSidekickSecret(new Request(channel), ""), /non-empty secret/);
});
