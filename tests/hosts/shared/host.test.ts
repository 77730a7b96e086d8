// A host against the real module, over real sockets: bad input, bad peers, traps, shutdown. The
// Node host in this process, or the one that SIDEKICK_COMMAND starts: see support/sidekick.ts.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import * as http from "node:http";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Replayer } from "../../../worker/src/module/replay.ts";
import type { AppServer } from "./support/app-server.ts";
import { drip, REFUSING_URL, startAppServer } from "./support/app-server.ts";
import { command } from "./support/command.ts";
import { test } from "./support/exceptions.ts";
import { closeEverything } from "./support/left-open.ts";
import type { TestOptions, TestSidekick } from "./support/sidekick.ts";
import {
  clientFrame,
  eventually,
  module,
  RawConnection,
  recordedLines,
  registerToken,
  request,
  SECRET,
  startTestSidekick,
  TestClient,
} from "./support/sidekick.ts";
import { watched } from "./support/watched-hub.ts";

after(closeEverything);

/** Of the tests that need nothing special: a start of some hosts takes seconds. */
let plain: Promise<TestSidekick> | undefined;

/** With a bystander who must not notice the test. */
function withSidekick(
  name: string,
  options: TestOptions,
  body: (sidekick: TestSidekick) => Promise<void>,
): void {
  test(name, async () => {
    const isPlain = Object.keys(options).length === 0;
    const sidekick = await (isPlain ? (plain ??= startTestSidekick()) : startTestSidekick(options));
    const bystander = await TestClient.connect(sidekick.port);
    bystander.send({ type: "listen", resources: ["bystander"] });
    assert.equal((await bystander.next()).type, "listening");
    try {
      await body(sidekick);
      assert.equal(
        (await request(sidekick.port, "/resources", '{"resources":["bystander"]}')).status,
        200,
      );
      assert.deepEqual(await bystander.next(), { type: "updated", resource: "bystander" });
      for (const line of sidekick.logLines) assert.match(line, /^[^\n\r]*\n$/);
    } finally {
      bystander.socket.terminate();
      if (!isPlain) await sidekick.close();
    }
  });
}

withSidekick("a message reaches every subscriber once, as one text frame", {}, async ({ port }) => {
  const clients = await Promise.all([1, 2, 3].map(() => TestClient.connect(port)));
  for (const [i, client] of clients.entries()) {
    await registerToken(port, `token-${i}`, "chat", { room: "a" });
    await client.subscribe(`token-${i}`);
  }
  for (const size of [0, 100, 200, 70_000]) {
    const data = "ä".repeat(size);
    await request(
      port,
      "/message",
      JSON.stringify({ channel: "chat", params: { room: "a" }, data }),
    );
    for (const client of clients) {
      assert.deepEqual(await client.next(), {
        type: "message",
        channel: "chat",
        params: { room: "a" },
        data,
      });
    }
  }
  for (const client of clients) await client.settled();
});

withSidekick("many messages in one turn arrive in order and complete", {}, async ({ port }) => {
  const client = await TestClient.connect(port);
  client.send({ type: "listen", resources: Array.from({ length: 500 }, (_, i) => `r${i}`) });
  await client.next();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const all = Array.from({ length: 500 }, (_, i) =>
    request(port, "/resources", JSON.stringify({ resources: [`r${i}`] }), { agent }),
  );
  await Promise.all(all);
  for (let i = 0; i < 500; i++)
    assert.deepEqual(await client.next(), { type: "updated", resource: `r${i}` });
  agent.destroy();
});

// HTTP

withSidekick(
  "the hub decides the status: 200, 400, 401, 404, 405 with Allow, health",
  {},
  async ({ port }) => {
    assert.deepEqual(
      await request(port, "/resources", '{"resources":[]}').then((answer) => [
        answer.status,
        answer.body,
      ]),
      [200, "OK"],
    );
    assert.equal((await request(port, "/resources?x=1", '{"resources":[]}')).status, 200);
    assert.equal((await request(port, "/resources", "nonsense")).status, 400);
    assert.equal(
      (await request(port, "/resources", '{"resources":[]}', { secret: null })).status,
      401,
    );
    assert.equal(
      (await request(port, "/resources", '{"resources":[]}', { secret: "wrong" })).status,
      401,
    );
    assert.equal((await request(port, "/nowhere", "")).status, 404);
    const notAllowed = await request(port, "/resources", undefined, { method: "GET" });
    assert.equal(notAllowed.status, 405);
    assert.match(notAllowed.headers.allow ?? "", /POST/);
    assert.equal(
      (await request(port, "/health", undefined, { method: "GET", secret: null })).status,
      200,
    );
  },
);

withSidekick("accepts both of two secrets", { secrets: ["new", SECRET] }, async ({ port }) => {
  for (const [secret, status] of [
    ["new", 200],
    [SECRET, 200],
    ["older", 401],
  ] as const) {
    assert.equal(
      (await request(port, "/resources", '{"resources":[]}', { secret })).status,
      status,
    );
  }
});

test("delays a 401 but no other answer; a client that disconnects meanwhile affects nobody", async () => {
  const sidekick = await startTestSidekick({ config: { auth_failure_delay_ms: 300 } });
  const start = performance.now();
  const refused = request(sidekick.port, "/resources", "{}", { secret: "wrong" });
  assert.equal((await request(sidekick.port, "/resources", '{"resources":[]}')).status, 200);
  const gone = http
    .request({ port: sidekick.port, host: "127.0.0.1", method: "POST", path: "/message" })
    .on("error", () => {});
  gone.end("{}");
  gone.on("finish", () => gone.destroy());
  assert.equal((await refused).status, 401);
  const waited = performance.now() - start;
  assert.ok(waited >= 299, `the answer came after ${waited} ms`);
  await sidekick.close();
});

withSidekick("odd request lines and headers are harmless", {}, async ({ port }) => {
  for (const head of [
    "POST // HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "POST /connection HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n",
    "POST /connection HTTP/1.1\r\nHost: [::bad\r\nContent-Length: 0\r\n\r\n",
    "GET http://[/socket HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /%zz?%%% HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /\u00ff\u00fe HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /health HTTP/1.1\r\n\r\n",
    "nonsense\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "POST /connection HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "POST /connection HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(100_000)}\r\n\r\n`,
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "GET // HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST /message HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" +
      "Content-Length: 2\r\n\r\n{}",
  ]) {
    const raw = await RawConnection.connect(port);
    raw.write(Buffer.from(head, "latin1"));
    const answer = await raw.until("\r\n\r\n");
    assert.match(answer, /^HTTP\/1\.1 [24]\d\d /, head);
    raw.socket.destroy();
  }
});

test("someone who guesses secrets gets one guess per connection and delay, however many are sent at once", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  const sidekick = await startTestSidekick({ config: { auth_failure_delay_ms: 100 }, recordFile });
  const raw = await RawConnection.connect(sidekick.port);
  raw.write(
    "POST /message HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess\r\nContent-Length: 0\r\n\r\n".repeat(
      5000,
    ),
  );
  await raw.ended;
  assert.match(raw.received.toString(), /^HTTP\/1\.1 401 [^]*\r\nConnection: close\r\n/i);
  assert.equal(raw.received.toString().match(/HTTP\/1\.1/g)?.length, 1);
  await sidekick.close();
  assert.equal(requestsIn(recordFile), 1);
});

const requestsIn = (recordFile: string) =>
  recordedLines(recordFile).filter((line) => line.in === "http_request").length;

test("answers all pipelined requests, as long as they are few, and only these of many", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  const sidekick = await startTestSidekick({ recordFile });
  const health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
  const few = await RawConnection.connect(sidekick.port);
  few.write(health.repeat(64));
  await eventually(() => few.received.toString().match(/"ok"/g)?.length === 64);
  few.socket.destroy();
  const many = await RawConnection.connect(sidekick.port);
  many.write(health.repeat(1500));
  await many.ended;
  assert.equal(many.received.toString().match(/"ok"/g)?.length, 64);
  await sidekick.close();
  assert.equal(requestsIn(recordFile), 64 + 64);
});

withSidekick(
  "closes a connection after answering a request with an unwanted body; others stay open",
  {},
  async ({ port }) => {
    for (const [options, connection] of [
      [{ secret: "wrong" }, "close"],
      [{}, "keep-alive"],
    ] as const) {
      const agent = new http.Agent({ keepAlive: true });
      assert.equal(
        (await request(port, "/resources", '{"resources":[]}', { ...options, agent })).headers
          .connection,
        connection,
      );
      agent.destroy();
    }
  },
);

withSidekick("answers an upgrade outside /socket as a plain request", {}, async ({ port }) => {
  const raw = await RawConnection.connect(port);
  raw.write(
    "GET /sockets HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  assert.match(await raw.until("\r\n\r\n"), /^HTTP\/1\.1 404 /);
  raw.socket.destroy(); // a host may keep the connection for the next request
});

withSidekick("a character split by a packet boundary arrives whole", {}, async ({ port }) => {
  const client = await TestClient.connect(port);
  client.send({ type: "listen", resources: ["ä€😀"] });
  await client.next();
  const body = Buffer.from('{"resources":["ä€😀"]}');
  const raw = await RawConnection.connect(port);
  raw.socket.setNoDelay(true);
  raw.write(
    `POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${SECRET}\r\n` +
      `Content-Length: ${body.byteLength}\r\n\r\n`,
  );
  for (const byte of body) {
    raw.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.match(await raw.until("OK"), /^HTTP\/1\.1 200 /);
  assert.deepEqual(await client.next(), { type: "updated", resource: "ä€😀" });
  raw.socket.destroy();
});

withSidekick(
  "answers without waiting for the body if the bearer token is missing",
  {},
  async ({ port }) => {
    for (const framing of ["Content-Length: 8000000", "Transfer-Encoding: chunked"]) {
      const raw = await RawConnection.connect(port);
      raw.write(`POST /message HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
      assert.match(await raw.until("\r\n\r\n"), /^HTTP\/1\.1 401 /);
      raw.socket.destroy();
    }
  },
);

withSidekick(
  "a peer that keeps sending after a rejection gets the answer and is then disconnected",
  {},
  async ({ port }) => {
    const raw = await RawConnection.connect(port);
    raw.write("POST /message HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    const chunk = Buffer.concat([
      Buffer.from("10000\r\n"),
      Buffer.alloc(65536, "x"),
      Buffer.from("\r\n"),
    ]);
    const babble = setInterval(() => raw.write(chunk), 1);
    await raw.ended;
    clearInterval(babble);
    assert.match(raw.received.toString(), /^HTTP\/1\.1 401 /);
  },
);

withSidekick(
  "rejects an oversized declared body before it is sent; the answer arrives even if it is " +
    "sent anyway",
  {},
  async ({ port }) => {
    const announced = await RawConnection.connect(port);
    announced.write(
      `POST /message HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${SECRET}\r\n` +
        "Content-Length: 9000000000\r\n\r\n",
    );
    assert.match(await announced.until("\r\n\r\n"), /^HTTP\/1\.1 413 /);
    announced.socket.destroy();
    const answer = await request(port, "/message", Buffer.alloc(9 * 1024 * 1024, " "));
    assert.equal(answer.status, 413);
  },
);

withSidekick("honours Expect: 100-continue only if the body is wanted", {}, async ({ port }) => {
  const head =
    "POST /resources HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 16\r\n";
  const wanted = await RawConnection.connect(port);
  wanted.write(`${head}Authorization: Bearer ${SECRET}\r\n\r\n`);
  await wanted.until("100 Continue");
  wanted.write('{"resources":[]}');
  await wanted.until("200 OK");
  wanted.socket.destroy();
  const unwanted = await RawConnection.connect(port);
  unwanted.write(`${head}\r\n`);
  assert.match(await unwanted.until("\r\n\r\n"), /^HTTP\/1\.1 401 /);
  await unwanted.ended;
});

withSidekick(
  "a body of n-1, n and n+1 bytes, with and without a declared length",
  { config: { http_body_bytes_max: 100 } },
  async ({ port }) => {
    const message = '{"resources":[]}';
    for (const [size, status] of [
      [99, 200],
      [100, 200],
      [101, 413],
    ] as const) {
      const body = message + " ".repeat(size - message.length);
      assert.equal((await request(port, "/resources", body)).status, status, `declared, ${size}`);
      assert.equal(
        (await request(port, "/resources", body, { headers: { "Transfer-Encoding": "chunked" } }))
          .status,
        status,
        `chunked, ${size}`,
      );
    }
  },
);

withSidekick("a request that breaks off within its body is not an input", {}, async ({ port }) => {
  const raw = await RawConnection.connect(port);
  raw.write(
    `POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${SECRET}\r\n` +
      'Content-Length: 29\r\n\r\n{"resources":["bystander"]',
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  raw.socket.resetAndDestroy();
  await raw.ended;
});

// WebSockets

withSidekick("malformed frames close their own socket only", {}, async ({ port }) => {
  const ping = Buffer.from('{"type":"ping"}');
  for (const frame of [
    clientFrame(1, ping, { masked: false }),
    clientFrame(1, ping, { rsv: 0x40 }),
    clientFrame(3, ping),
    clientFrame(0, ping),
    clientFrame(9, Buffer.alloc(126)),
    clientFrame(9, ping, { fin: false }),
    Buffer.concat([clientFrame(1, ping, { fin: false }), clientFrame(1, ping)]),
    clientFrame(8, Buffer.from([0])),
    clientFrame(8, Buffer.from([0, 1])),
    Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
  ]) {
    const raw = await RawConnection.upgrade(port);
    raw.write(frame);
    raw.socket.on("data", () => raw.socket.end());
    await raw.ended;
  }
});

withSidekick(
  "text, binary and fragmented frames are read alike, even if a fragment ends within a character",
  {},
  async ({ port }) => {
    const client = await TestClient.connect(port);
    const message = '{"type":"listen","resources":["ä"]}';
    client.send(message);
    const expected = await client.nextText();
    client.send(Buffer.from(message));
    assert.equal(await client.nextText(), expected);
    const bytes = Buffer.from(message);
    const cut = bytes.indexOf(0xc3) + 1;
    client.socket.send(bytes.subarray(0, cut), { fin: false, binary: false });
    client.socket.send(bytes.subarray(cut), { fin: true });
    assert.equal(await client.nextText(), expected);
  },
);

withSidekick(
  "closes a client that sends text that is not UTF-8 with 1007; in a binary message it is an error " +
    "with the byte offset",
  {},
  async ({ port }) => {
    for (const bytes of ["\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"]) {
      const message = Buffer.from(`{"type":"${bytes}"}`, "latin1");
      const client = await TestClient.connect(port);
      client.socket.send(message, { binary: true });
      assert.match((await client.next()).error.message, /\b9\b/);
      client.socket.send(message, { binary: false });
      const closed = { code: 1007, reason: "a text message must be UTF-8" };
      assert.deepEqual(await client.closed, closed, JSON.stringify(bytes));
      const cut = await TestClient.connect(port);
      cut.socket.send(message.subarray(0, 10), { binary: false, fin: false });
      cut.socket.send(message.subarray(10), { fin: true });
      assert.deepEqual(await cut.closed, closed, JSON.stringify(bytes));
    }
  },
);

withSidekick(
  "a frame over the limit gets a clear error; one more than 64 KiB over it is closed with 1009",
  { config: { frame_bytes_max: 1000 } },
  async ({ port }) => {
    const client = await TestClient.connect(port);
    const ping = '{"type":"ping"}';
    client.send(ping + " ".repeat(1000 - ping.length));
    assert.deepEqual(await client.next(), { type: "pong" });
    client.send(ping + " ".repeat(1001 - ping.length));
    assert.equal((await client.next()).type, "error");
    // Bytes count, not characters.
    for (const letter of ["x", "ä", "😀"]) {
      const sender = await TestClient.connect(port);
      sender.send(letter.repeat((1000 + 65536) / Buffer.byteLength(letter)));
      assert.equal((await sender.next()).type, "error");
      sender.send(`${letter.repeat((1000 + 65536) / Buffer.byteLength(letter))}x`);
      assert.deepEqual(await sender.closed, {
        code: 1009,
        reason: "message exceeds the limit (frame_bytes_max)",
      });
    }
  },
);

withSidekick(
  "forgets a socket that is half-closed, reset, or gone before the handshake",
  {},
  async ({ port }) => {
    const half = await RawConnection.upgrade(port);
    half.socket.end();
    await half.ended;
    const reset = await RawConnection.upgrade(port);
    reset.write(clientFrame(1, Buffer.from('{"type":"listen","resources":["bystander"]}')));
    reset.socket.resetAndDestroy();
    const early = await RawConnection.connect(port);
    early.write(
      "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    early.socket.resetAndDestroy();
  },
);

withSidekick("handles 100,000 levels, 1 MB frames and 10,000 resources", {}, async ({ port }) => {
  const client = await TestClient.connect(port);
  client.send("[".repeat(100_000));
  assert.equal((await client.next()).type, "error");
  client.send(
    `{"type":"send","token":"t","channel":"c","params":{},"data":"${"x".repeat(1_000_000)}"}`,
  );
  assert.equal((await client.next()).type, "error");
  client.send({
    type: "listen",
    resources: Array.from({ length: 10_000 }, (_, i) => `resource/${i}`),
  });
  assert.equal((await client.next()).resources.length, 10_000);
  await client.settled();
});

withSidekick(
  "a client that does not read is bounded and closed, but one message of the largest size is " +
    "allowed",
  { config: { client_buffer_bytes_max: 2 ** 21, http_body_bytes_max: 2 ** 20 } },
  async ({ port, logLines }) => {
    const slow = await RawConnection.upgrade(port);
    slow.write(clientFrame(1, Buffer.from('{"type":"listen","resources":["big"]}')));
    await slow.until("listening");
    slow.socket.pause();
    await registerToken(port, "token-slow", "big");
    const reader = await TestClient.connect(port);
    await registerToken(port, "token-reader", "big");
    await reader.subscribe("token-reader");
    slow.write(clientFrame(1, Buffer.from('{"type":"subscribe","token":"token-slow"}')));
    const data = "x".repeat(500_000);
    // Until it exceeds kernel buffers, which differ, and the limit together. The reader takes
    // everything.
    const closings = () => logLines.filter((line) => line.includes("reads too slowly")).length;
    let sent = 0;
    for (; closings() === 0 && sent < 400; sent++) {
      assert.equal(
        (await request(port, "/message", JSON.stringify({ channel: "big", params: {}, data })))
          .status,
        200,
      );
      assert.equal((await reader.next()).data.length, data.length);
    }
    assert.equal(closings(), 1);
    slow.socket.resume();
    await slow.ended;
    assert.ok(slow.received.byteLength < sent * data.length, "it did not get everything");
    await reader.settled();
  },
);

// Kernels take up to about 5 MB for a socket that does not read; the rest waits in the Sidekick.
const MEGABYTES = 10 ** 6;
const BIG = "x".repeat(MEGABYTES / 2);

async function publishBig(port: number, channel: string): Promise<void> {
  const body = JSON.stringify({ channel, params: {}, data: BIG });
  assert.equal((await request(port, "/message", body)).status, 200);
}

/** Neither `message` nor the answers to it are read. */
function sendUnread(raw: RawConnection, message: object): void {
  raw.socket.pause();
  raw.write(clientFrame(1, Buffer.from(JSON.stringify(message))));
}

const droppedLines = (lines: readonly string[]) =>
  lines.filter((line) => line.includes("too many unsent messages (unsent_bytes_max)"));

withSidekick(
  "the memory of unsent messages is bounded: shared ones count once, and the client that holds " +
    "most is dropped",
  { config: { client_buffer_bytes_max: 32 * MEGABYTES, unsent_bytes_max: 32 * MEGABYTES } },
  async ({ port, logLines }) => {
    const sharing: RawConnection[] = [];
    for (let i = 0; i < 4; i++) {
      const raw = await RawConnection.upgrade(port);
      await registerToken(port, `token-${i}`, "all");
      raw.write(clientFrame(1, Buffer.from(`{"type":"subscribe","token":"token-${i}"}`)));
      await raw.until("subscribed");
      raw.socket.pause();
      sharing.push(raw);
    }
    const alone = await RawConnection.upgrade(port);
    await registerToken(port, "token-alone", "alone");
    alone.write(clientFrame(1, Buffer.from('{"type":"subscribe","token":"token-alone"}')));
    await alone.until("subscribed");
    alone.socket.pause();

    for (let i = 0; i < 40; i++) await publishBig(port, "all"); // 60 to 80 MB if counted four times
    assert.deepEqual(droppedLines(logLines), []);
    for (let i = 0; i < 64 && droppedLines(logLines).length === 0; i++)
      await publishBig(port, "alone");
    assert.match(droppedLines(logLines).join(""), /^\S+ warn [^\n]* connections=1\n$/);
    alone.socket.resume();
    await alone.ended;
    for (const raw of sharing) {
      raw.socket.resume();
      await eventually(() => raw.socket.bytesRead > 40 * BIG.length);
      raw.socket.destroy();
    }
  },
);

/** Makes the Sidekick keep 20 MB for these tokens; to subscribe with the result asks for it. */
async function keepBigHistory(
  port: number,
  tokens: readonly string[],
): Promise<{ since: number; epoch: string }> {
  const client = await TestClient.connect(port);
  client.send({ type: "listen", resources: [], hello: "session-of-the-reader" });
  const { epoch } = (await client.next()).welcome;
  for (const token of [...tokens, "token-reader"]) await registerToken(port, token, "big");
  client.send({ type: "subscribe", token: "token-reader" });
  await client.next();
  client.send({ type: "ping" });
  const { at: since } = await client.next();
  for (let i = 0; i < 40; i++) {
    await publishBig(port, "big");
    await client.next();
  }
  return { since, epoch };
}

const bigHistory = {
  history_bytes_max: 30 * MEGABYTES,
  client_buffer_bytes_max: 80 * MEGABYTES,
  unsent_bytes_max: 80 * MEGABYTES,
};

withSidekick(
  "takeovers by sockets that do not read do not fill the memory, and what closes is dropped first",
  { config: bigHistory },
  async ({ port, logLines }) => {
    const since = await keepBigHistory(port, ["token-slow", "token-taken"]);
    const open = async (hello: string, token: string) => {
      const raw = await RawConnection.upgrade(port);
      raw.write(
        clientFrame(1, Buffer.from(JSON.stringify({ type: "listen", resources: [], hello }))),
      );
      await raw.until("listening");
      raw.write(
        clientFrame(1, Buffer.from(JSON.stringify({ type: "subscribe", token, ...since }))),
      );
      await raw.until("recovered");
      raw.socket.pause();
      return raw;
    };
    const slow = await open("session-of-a-slow-client", "token-slow");
    const taken: RawConnection[] = [];
    while (droppedLines(logLines).length === 0) {
      assert.ok(taken.length < 20, "no connection was dropped");
      taken.push(await open("session-of-the-attacker", "token-taken"));
    }
    const last = taken.pop()!;
    for (const { socket } of taken) socket.resume();
    await eventually(() =>
      taken.some(({ socket }) => socket.closed && socket.bytesRead < 30 * BIG.length),
    );
    for (const raw of [slow, last]) {
      raw.socket.resume();
      await eventually(() => raw.socket.bytesRead > 40 * BIG.length);
      raw.socket.destroy();
    }
  },
);

withSidekick(
  "sockets that ask for much at once do not fill the memory within one turn",
  { config: bigHistory },
  async ({ port, logLines, atOnce }) => {
    const sessions = Array.from({ length: 12 }, (_, i) => `session-number-${i}`.padEnd(20, "-"));
    const since = await keepBigHistory(port, sessions);
    const all: [RawConnection, string][] = [];
    for (const hello of sessions) {
      const raw = await RawConnection.upgrade(port);
      raw.write(
        clientFrame(1, Buffer.from(JSON.stringify({ type: "listen", resources: [], hello }))),
      );
      await raw.until("listening");
      all.push([raw, hello]);
    }
    atOnce(() => {
      for (const [raw, token] of all) sendUnread(raw, { type: "subscribe", token, ...since });
    });
    await eventually(() => droppedLines(logLines).length > 0);
    const connections = Number(/connections=(\d+)/.exec(droppedLines(logLines)[0]!)![1]);
    assert.ok(connections <= 4, `it looked before ${connections} had to go`);
    for (const [raw] of all) raw.socket.destroy();
  },
);

withSidekick(
  "a ping storm on a socket that does not read does not fill the memory",
  {},
  async ({ port }) => {
    const raw = await RawConnection.upgrade(port);
    raw.socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 1000 }, () => clientFrame(9, Buffer.alloc(125))),
    );
    for (let i = 0; i < 50; i++) raw.write(pings);
    await new Promise((resolve) => setTimeout(resolve, 100));
    raw.socket.destroy();
  },
);

withSidekick(
  "a client that does not read the replies to its own messages is not read either, and loses " +
    "nothing",
  { config: { client_buffer_bytes_max: 2 ** 20, http_body_bytes_max: 2 ** 16 } },
  async ({ port }) => {
    const raw = await RawConnection.upgrade(port);
    raw.socket.pause();
    // The answer to each is as large.
    const resources = Array.from({ length: 100 }, (_, i) => String(i).padEnd(1000, "x"));
    const listen = clientFrame(1, Buffer.from(JSON.stringify({ type: "listen", resources })));
    const taken = () =>
      new Promise<boolean>((resolve) => raw.socket.write(listen, () => resolve(true)));
    // Kernel buffers differ. A slow peer is mistaken for one that does not read, which harms
    // nothing.
    const countMax = 5_000;
    let count = 0;
    while (count < countMax && (await Promise.race([taken(), sleep(200, false, { ref: false })])))
      count++;
    assert.ok(count < countMax, "it is not read any further");
    raw.write(clientFrame(1, Buffer.from('{"type":"ping"}')));
    raw.socket.resume();
    let tail = "";
    raw.socket.on(
      "data",
      (chunk: Buffer) => (tail = (tail + chunk.toString("latin1")).slice(-100)),
    );
    await eventually(() => raw.socket.closed || tail.endsWith('{"type":"pong"}'));
    assert.equal(raw.socket.closed, false);
    raw.socket.destroy();
  },
);

/** A kept connection that has received an answer. */
function askAndStay(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () =>
      socket.write("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"),
    );
    socket.once("error", reject);
    socket.once("data", () => resolve(socket));
  });
}

const openFilesMax = Number(execFileSync("sh", ["-c", "ulimit -n"]));
const tooFewFiles =
  openFilesMax < 9_000 &&
  `both ends of every connection are in this process, and only ${openFilesMax} files may be open`;

test("idle strangers make room when there are too many", {
  skip: command !== undefined || tooFewFiles,
}, async () => {
  const sidekick = await startTestSidekick();
  const client = await TestClient.connect(sidekick.port);
  const first = await askAndStay(sidekick.port);
  const more: Socket[] = [];
  while (more.length < 4_200 && !first.closed) {
    more.push(...(await Promise.all(Array.from({ length: 100 }, () => askAndStay(sidekick.port)))));
  }
  await eventually(() => first.closed); // the oldest idle connection is closed
  client.send({ type: "ping" });
  assert.equal((await client.next()).type, "pong");
  for (const socket of more) socket.destroy();
  await client.close();
  await sidekick.close();
});

test("clients that send thousands of small frames at once take turns", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  const sidekick = await startTestSidekick({ recordFile });
  const [a, b] = [
    await RawConnection.upgrade(sidekick.port),
    await RawConnection.upgrade(sidekick.port),
  ];
  // Short messages with short answers: both directions fit into the kernel's buffers, so that turns
  // do not depend on this process's speed.
  const count = 3_000;
  const pings = Array.from({ length: count }, () => clientFrame(1, Buffer.from('{"type":"ping"}')));
  const frames = Buffer.concat([
    ...pings,
    clientFrame(1, Buffer.from('{"type":"listen","resources":["last"]}')),
  ]);
  sidekick.atOnce(() => {
    for (const raw of [a, b]) raw.write(frames);
  });
  for (const raw of [a, b]) await eventually(() => raw.received.includes('"last"'));
  await sidekick.close();
  const order = recordedLines(recordFile).flatMap((line) =>
    line.in === "client_frame" ? [line.client] : [],
  );
  assert.equal(order.length, 2 * (count + 1));
  const both = order.slice(order.indexOf(2), Math.min(order.lastIndexOf(1), order.lastIndexOf(2)));
  assert.ok(both.length > 1000, `both had frames for ${both.length} frames`);
  assert.doesNotMatch(both.join(""), /1{10}|2{10}/);
  for (const raw of [a, b]) raw.socket.destroy();
});

test("a recording contains the close of every client, even of those that answer no close frame", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  for (const isHurried of [false, true]) {
    const sidekick = await startTestSidekick({ recordFile });
    for (let i = 0; i < 20; i++) {
      const raw = await RawConnection.upgrade(sidekick.port);
      raw.socket.pause();
      // some of them still wait in the host when it ends
      raw.write(Buffer.concat(Array<Buffer>(2000).fill(clientFrame(1, Buffer.from("{}")))));
    }
    const client = await TestClient.connect(sidekick.port);
    await client.settled();
    const closing = sidekick.close();
    if (isHurried) await sidekick.close();
    await closing;
  }
  const ends = recordedLines(recordFile).filter((line) => line.in === "client_closed");
  assert.deepEqual(
    ends.map((line) => line.client).sort((a, b) => a - b),
    Array.from({ length: 42 }, (_, i) => 1 + (i >> 1)),
  );
});

test("the hub's clock ignores changes of the system clock", {
  skip: command !== undefined,
}, async (t) => {
  const inputs: { now: number; type: string }[] = [];
  const sidekick = await startTestSidekick({
    config: { token_resume_ms: 1 },
    wrapHub: (hub) => watched(hub, (now, { type }) => inputs.push({ now, type })),
  });
  const [client, other] = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  await client.settled();
  t.mock.method(Date, "now", () => 0);
  await registerToken(sidekick.port, "token-1");
  await client.subscribe("token-1");
  await client.close();
  // Waits until the token has expired, which only the timer can cause. It may fire early and is
  // then set again.
  const closed = () => inputs.find(({ type }) => type === "client_closed")?.now ?? Infinity;
  await eventually(() => inputs.some(({ now, type }) => type === "timer_fired" && now > closed()));
  other.send({ type: "subscribe", token: "token-1" });
  assert.equal((await other.next()).type, "error");
  const times = inputs.map(({ now }) => now);
  assert.deepEqual(
    times,
    [...times].sort((x, y) => x - y),
  );
  other.socket.terminate();
  await sidekick.close();
});

test("logs opens and closes, and warns of rejections, without secrets", async () => {
  const sidekick = await startTestSidekick({ config: { clients_max: 1 } });
  const client = await TestClient.connect(sidekick.port);
  await assert.rejects(TestClient.connect(sidekick.port), /503/);
  for (let i = 0; i < 5; i++)
    await request(sidekick.port, "/message?key=hidden", "{}", { secret: "guess" });
  client.socket.close(4321);
  await client.closed;
  await eventually(() => sidekick.logLines.some((line) => line.includes("code=4321")));
  // If this took longer than 10 s, the repeated warning says how often it occurred.
  const lines = sidekick.logLines
    .map((line) => line.slice(25).trimEnd())
    .filter((line) => !/the open file limit| times=\d+$/.test(line));
  assert.deepEqual(
    lines.filter((line) => line.startsWith("warn")),
    [
      'warn  rejected a request status=503 code="full" path="/socket" remote="127.0.0.1"',
      'warn  rejected a request status=401 code="unauthorized" path="/message" remote="127.0.0.1"',
    ],
  );
  const text = lines.join("\n");
  assert.match(text, /^debug socket opened client=1 remote="127\.0\.0\.1"$/m);
  assert.match(text, /^debug socket closed client=1 code=4321$/m);
  assert.doesNotMatch(text, /guess|hidden|test-secret/);
  await sidekick.close();
});

test("drops a socket whose peer has silently gone after three pings, and keeps one that answers", async () => {
  const sidekick = await startTestSidekick({ pingSeconds: 1 });
  const gone = await RawConnection.upgrade(sidekick.port);
  const alive = await TestClient.connect(sidekick.port);
  await gone.ended;
  assert.deepEqual([...gone.received], [0x89, 0, 0x89, 0, 0x89, 0]);
  await alive.settled();
  alive.socket.terminate();
  await sidekick.close();
});

// The app server

/** Sends to a failing app server, and again when it has recovered. */
async function sendTwice(app: AppServer, port: number, token: string): Promise<void> {
  const [sender, other] = [await TestClient.connect(port), await TestClient.connect(port)];
  const { length } = app.forwarded;
  await registerToken(port, token, "chat", { token });
  const send = (data: number) =>
    sender.send({ type: "send", token, channel: "chat", params: { token }, data });
  send(1);
  await eventually(() => app.forwarded.length === length + 1);
  await other.settled();
  const { type, error } = await sender.next();
  assert.equal(type, "error");
  assert.deepEqual([error.channel, error.params, error.fault], ["chat", { token }, "server"]);
  app.answer = (response) => response.writeHead(204).end();
  send(2);
  await eventually(() => app.forwarded.length === length + 2);
  await sender.settled();
  sender.socket.terminate();
  other.socket.terminate();
}

test("an app server that fails gives the sender an error and affects nobody else", async (t) => {
  const app = await startAppServer();
  const config = { forward_timeout_ms: 60_000 };
  const sidekick = await startTestSidekick({ serverUrl: app.url, serverSecret: "s", config });
  for (const [name, answer] of Object.entries({
    "answers 500": (response: http.ServerResponse) => response.writeHead(500).end('{"error":"x"}'),
    "answers garbage": (response: http.ServerResponse) =>
      response.writeHead(400).end("\u0000\u0001nonsense{"),
    "answers 100 MB": (response: http.ServerResponse) =>
      response.writeHead(400).end(Buffer.alloc(100_000_000, "x")),
    "drops the connection": (response: http.ServerResponse) => response.destroy(),
  })) {
    await t.test(name, async () => {
      app.answer = answer;
      await sendTwice(app, sidekick.port, name);
    });
  }
  await sidekick.close();
  await app.close();
});

test("an app server that hangs gives the sender an error and affects nobody else", async () => {
  const app = await startAppServer(() => {});
  // Long enough for the next message, however busy the machine is.
  const config = { forward_timeout_ms: 3_000 };
  const sidekick = await startTestSidekick({ serverUrl: app.url, serverSecret: "s", config });
  await sendTwice(app, sidekick.port, "token");
  await sidekick.close();
  await app.close();
});

test("an unreachable or unconfigured app server gives the sender an error", async () => {
  for (const options of [{ serverUrl: REFUSING_URL, serverSecret: "s" }, {}]) {
    const sidekick = await startTestSidekick(options);
    const sender = await TestClient.connect(sidekick.port);
    await registerToken(sidekick.port, "token-1");
    sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 1 });
    assert.equal((await sender.next()).error.fault, "server");
    await sender.settled();
    sender.socket.terminate();
    await sidekick.close();
  }
});

test("the sender gets the app server's own fault and text", async () => {
  const app = await startAppServer((response) =>
    response.writeHead(400).end('{ "fault": "client", "message": "no such room" }'),
  );
  const sidekick = await startTestSidekick({ serverUrl: app.url, serverSecret: "s" });
  const sender = await TestClient.connect(sidekick.port);
  await registerToken(sidekick.port, "token-1", "chat", {}, { user: "ä" });
  sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 1 });
  assert.deepEqual(await sender.next(), {
    type: "error",
    error: { channel: "chat", params: {}, fault: "client", message: "no such room" },
  });
  assert.deepEqual(JSON.parse(app.forwarded[0]!.body), {
    channel: "chat",
    params: {},
    data: 1,
    context: { user: "ä" },
  });
  sender.socket.terminate();
  await sidekick.close();
  await app.close();
});

test("a 2xx status counts at once, even if the rest of the answer hangs, never ends or breaks off", async () => {
  const rests: Record<string, (response: http.ServerResponse) => void> = {
    hangs: (response) => response.write("beginning"),
    drips: drip,
    "breaks off": (response) => response.write("beginning", () => response.destroy()),
    "is no HTTP": (response) =>
      response.write("beginning", () => response.socket?.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
  };
  const app = await startAppServer();
  const sidekick = await startTestSidekick({
    serverUrl: app.url,
    serverSecret: "s",
    config: { forward_timeout_ms: 60_000 },
  });
  for (const [token, rest] of Object.entries(rests)) {
    app.answer = (response) => void rest(response.writeHead(200, { "Content-Length": 100_000 }));
    const { length } = app.forwarded;
    const sender = await TestClient.connect(sidekick.port);
    await registerToken(sidekick.port, token);
    // One forward per token at a time: the next one shows that the previous one was answered.
    for (let data = 1; data <= 3; data++)
      sender.send({ type: "send", token, channel: "chat", params: {}, data });
    await eventually(() => app.forwarded.length === length + 3);
    await eventually(() => app.openConnections === 0); // timed out
    await sender.settled();
    sender.socket.terminate();
  }
  await sidekick.close();
  await app.close();
});

// Traps

test("a trap closes only the sender of its input; all others keep what they have", async () => {
  const app = await startAppServer();
  const sidekick = await startTestSidekick({
    serverUrl: app.url,
    serverSecret: "s",
    traps: { restore: false },
  });
  const { port } = sidekick;
  const [culprit, subscriber, silent] = (await Promise.all(
    [1, 2, 3].map(() => TestClient.connect(port)),
  )) as [TestClient, TestClient, TestClient];
  await registerToken(port, "token-held", "chat", { room: "a" }, "context");
  await registerToken(port, "token-free", "chat", { room: "a" });
  await subscriber.subscribe("token-held");
  subscriber.send({ type: "listen", resources: ["r"] });
  await subscriber.next();
  for (const round of [1, 2]) {
    if (round === 1) {
      culprit.send("trap!");
      assert.equal((await culprit.closed).code, 1011);
    } else {
      assert.equal((await request(port, "/message", "trap!")).status, 500);
    }
    await request(
      port,
      "/message",
      JSON.stringify({ channel: "chat", params: { room: "a" }, data: round }),
    );
    assert.equal((await subscriber.next()).data, round);
    await request(port, "/resources", '{"resources":["r"]}');
    assert.deepEqual(await subscriber.next(), { type: "updated", resource: "r" });
    subscriber.send({
      type: "send",
      token: "token-held",
      channel: "chat",
      params: { room: "a" },
      data: round,
    });
    await eventually(() => app.forwarded.length === round);
    assert.equal(JSON.parse(app.forwarded[round - 1]!.body).context, "context");
    await silent.settled();
  }
  await silent.subscribe("token-free");
  await subscriber.settled();
  assert.equal(sidekick.logLines.filter((line) => line.includes("trapped")).length, 2);
  assert.ok(!sidekick.logLines.some((line) => line.includes("token-held")), "no tokens in the log");
  for (const client of [subscriber, silent]) client.socket.terminate();
  await sidekick.close();
  await app.close();
});

test("a request whose admission traps gets a 500, and the next one its answer", async () => {
  const sidekick = await startTestSidekick({ traps: { restore: false } });
  const client = await TestClient.connect(sidekick.port);
  const { status, body } = await request(sidekick.port, "/trap!", "");
  assert.deepEqual([status, body], [500, "Internal error"]);
  assert.equal((await request(sidekick.port, "/none", "")).status, 404);
  await client.settled();
  client.socket.terminate();
  await sidekick.close();
});

test("everything a client listened to step by step survives a trap", async () => {
  const sidekick = await startTestSidekick({ traps: { restore: false } });
  const [listener, culprit] = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  for (let i = 0; i < 100; i++) {
    listener.send({ type: "listen", resources: [`r${i}`, "ä"] });
    await listener.next();
    if (i % 3 === 0) listener.send({ type: "unlisten", resources: [`r${i}`] });
    if (i % 3 === 0) await listener.next();
  }
  culprit.send("trap!");
  await culprit.closed;
  await request(
    sidekick.port,
    "/resources",
    JSON.stringify({ resources: [...Array.from({ length: 100 }, (_, i) => `r${i}`), "ä"] }),
  );
  for (let i = 0; i < 100; i++)
    if (i % 3 !== 0)
      assert.deepEqual(await listener.next(), { type: "updated", resource: `r${i}` });
  assert.deepEqual(await listener.next(), { type: "updated", resource: "ä" });
  await listener.settled();
  listener.socket.terminate();
  await sidekick.close();
});

test("the input that trapped the hub is the last line of its recording, and the next recording starts after it", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  const sidekick = await startTestSidekick({ recordFile, traps: { restore: false } });
  const culprit = await TestClient.connect(sidekick.port);
  culprit.send("trap!");
  await culprit.closed;
  await sidekick.close();
  const lines = (await readFile(recordFile, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const fatal = lines.findIndex((line) => line.bytes === "trap!");
  assert.equal(lines[fatal].in, "client_frame");
  assert.equal(lines[fatal + 1].trace, 2);
});

test("the log of a trap names its line of the recording, or how to record", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  // As a host leaves it that is killed: what follows begins in line 3.
  await writeFile(recordFile, '{"trace":2}\n{"in":"beg');
  const sidekick = await startTestSidekick({ recordFile, traps: { restore: false } });
  const placeOf = (line: string) => JSON.parse(/ recording=("[^"]*") /.exec(line)![1]!);
  const places = () =>
    sidekick.logLines.filter((line) => line.includes("the hub trapped")).map(placeOf);
  const fatal = async () => {
    const lines = (await readFile(recordFile, "utf8")).split("\n");
    return lines.flatMap((line, i) => (line.includes('"trap!"') ? [`${recordFile}:${i + 1}`] : []));
  };
  for (let traps = 1; ; traps++) {
    const culprit = await TestClient.connect(sidekick.port);
    culprit.send("trap!");
    await culprit.closed;
    await eventually(async () => places().length === traps && (await fatal()).length === traps);
    if (places().at(-1) === (await fatal()).at(-1)) break;
    assert.equal(places().at(-1), recordFile, "its lines are still being counted");
    assert.ok(traps < 100, "a file of two lines is counted soon");
  }
  await sidekick.close();

  const other = await startTestSidekick({ traps: { restore: false } });
  await request(other.port, "/message", "trap!");
  await eventually(() => other.logLines.some((line) => line.includes("the hub trapped")));
  const line = other.logLines.find((it) => it.includes("the hub trapped"))!;
  assert.equal(placeOf(line), "none: start with --record FILE to have one");
  await other.close();
});

test("the stored record at which a restore trapped ends its recording, and the log names its line", async () => {
  const recordFile = join(await mkdtemp(join(tmpdir(), "sidekick-")), "trace.jsonl");
  const sidekick = await startTestSidekick({ recordFile, traps: { restore: true } });
  await registerToken(sidekick.port, "token-1");
  const culprit = await TestClient.connect(sidekick.port);
  culprit.send("trap!");
  await culprit.closed;
  await request(sidekick.port, "/none", "");
  await sidekick.close();
  const lines = (await readFile(recordFile, "utf8")).trimEnd().split("\n");
  const fatal = lines.findIndex((line) => line.startsWith('{"in":"restore_token"'));
  assert.equal(JSON.parse(lines[fatal + 1]!).trace, 2);
  const place = `recording=${JSON.stringify(`${recordFile}:${fatal + 1}`)}`;
  const isNamed = (line: string) => line.includes('input="restore_token"') && line.includes(place);
  assert.ok(sidekick.logLines.some(isNamed), `${place} in ${sidekick.logLines.join("")}`);
});

test("when the stored records themselves trap, the host starts empty and the process lives", async () => {
  const sidekick = await startTestSidekick({ traps: { restore: true } });
  await registerToken(sidekick.port, "token-1");
  const [culprit, other] = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  culprit.send("trap!");
  assert.equal((await culprit.closed).code, 1011);
  assert.equal((await other.closed).code, 1011);
  const again = await TestClient.connect(sidekick.port);
  await again.settled();
  again.socket.terminate();
  await sidekick.close();
});

test("ignores answers to forwards of a previous hub", async () => {
  let release = () => {};
  const app = await startAppServer(
    (response) =>
      (release = () => response.writeHead(400).end('{ "fault": "client", "message": "late" }')),
  );
  const sidekick = await startTestSidekick({
    serverUrl: app.url,
    serverSecret: "s",
    traps: { restore: false },
  });
  const [sender, culprit] = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  await registerToken(sidekick.port, "token-1");
  sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 1 });
  await eventually(() => app.forwarded.length === 1);
  culprit.send("trap!");
  await culprit.closed;
  release();
  app.answer = (response) => response.writeHead(204).end();
  sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 2 });
  await eventually(() => app.forwarded.length === 2);
  await sender.settled();
  sender.socket.terminate();
  await sidekick.close();
  await app.close();
});

// Shutdown, recording

test("shutdown: forwards in flight finish, their errors arrive, sockets get 1001, new connections are rejected", async () => {
  let release = () => {};
  const app = await startAppServer(
    (response) =>
      (release = () =>
        response.writeHead(400).end('{ "fault": "client", "message": "last words" }')),
  );
  const sidekick = await startTestSidekick({ serverUrl: app.url, serverSecret: "s" });
  const { port } = sidekick;
  const sender = await TestClient.connect(port);
  await registerToken(port, "token-1");
  const kept = await RawConnection.connect(port);
  kept.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  await kept.until("200 OK");
  sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 1 });
  await eventually(() => app.forwarded.length === 1);
  const closed = sidekick.close();
  await sidekick.stopping();
  await assert.rejects(TestClient.connect(port));
  sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 2 });
  assert.equal((await sender.next()).error.fault, "sidekick");
  await sender.settled();
  release();
  assert.equal((await sender.next()).error.message, "last words");
  assert.equal(app.forwarded.length, 1);
  assert.equal((await sender.closed).code, 1001);
  await closed;
  await kept.ended;
  await app.close();
});

test("a second shutdown ends the wait for a hanging app server", async () => {
  const app = await startAppServer(() => {});
  const sidekick = await startTestSidekick({ serverUrl: app.url, serverSecret: "s" });
  const sender = await TestClient.connect(sidekick.port);
  await registerToken(sidekick.port, "token-1");
  sender.send({ type: "send", token: "token-1", channel: "chat", params: {}, data: 1 });
  await eventually(() => app.forwarded.length === 1);
  void sidekick.close();
  await sidekick.close();
  await sender.closed;
  await app.close();
});

test("answers a delayed 401 at shutdown", async () => {
  const sidekick = await startTestSidekick({ config: { auth_failure_delay_ms: 60_000 } });
  const raw = await RawConnection.connect(sidekick.port);
  raw.write(
    "POST /message HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /health HTTP/1.1\r\n" +
      "Host: x\r\n\r\n",
  );
  await eventually(() => sidekick.logLines.some((line) => line.includes('code="unauthorized"')));
  await sidekick.close();
  await raw.ended;
  assert.match(raw.received.toString(), /^HTTP\/1\.1 401 /);
});

test("a recording starts when the server listens, not before", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const recordFile = join(folder, "trace");
  const first = await startTestSidekick();
  await assert.rejects(startTestSidekick({ port: first.port, recordFile }), /EADDRINUSE|is in use/);
  assert.equal(await readFile(recordFile, "utf8"), "");
  await first.close();
  await assert.rejects(startTestSidekick({ recordFile: folder }), /EISDIR/);
  await rm(folder, { recursive: true });
});

test("a recording replays byte for byte, even across a trap, and contains no secret", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  const recordFile = join(folder, "trace");
  const app = await startAppServer((response) =>
    response.writeHead(400).end('{ "fault": "client", "message": "no" }'),
  );
  const sidekick = await startTestSidekick({
    recordFile,
    serverUrl: app.url,
    serverSecret: "server-secret",
    traps: { restore: false },
  });
  const { port } = sidekick;
  const [client, culprit] = [await TestClient.connect(port), await TestClient.connect(port)];
  await registerToken(port, "token-1", "chat", { room: "ä" });
  await client.subscribe("token-1");
  client.send({ type: "send", token: "token-1", channel: "chat", params: { room: "ä" }, data: 1 });
  await client.next();
  client.send({ type: "listen", resources: ["r", "\n"] });
  await client.next();
  await request(port, "/resources", "{}", { secret: "wrong" });
  await request(port, "/message", Buffer.from([0xff, 0xfe]));
  culprit.send("trap!");
  await culprit.closed;
  await request(port, "/resources", '{"resources":["r","r"]}');
  await client.next();
  client.socket.terminate();
  await sidekick.close();
  await app.close();

  const trace = await readFile(recordFile, "utf8");
  assert.ok(!trace.includes(SECRET), "the trace contains the secret");
  assert.ok(!trace.includes("server-secret"), "the trace contains the secret of the app server");
  const lines = trace.trimEnd().split("\n");
  assert.equal(lines.filter((line) => line.startsWith('{"trace"')).length, 2);
  const replay = (text: string[]) => {
    const replayer = new Replayer(module);
    for (const line of text) {
      const difference = replayer.line(Buffer.from(line));
      if (difference !== undefined) return difference;
    }
    return replayer.end();
  };
  assert.equal(replay(lines), undefined);
  const at = lines.findIndex((line) => line.startsWith('{"out":"send"'));
  const changed = lines.map((line, i) =>
    i === at ? line.replace("subscribed", "subscribes") : line,
  );
  assert.equal(replay(changed)?.line, at + 1);
  assert.equal(replay(lines.filter((_, i) => i !== at))?.actual, lines[at]);
  await rm(folder, { recursive: true });
});
