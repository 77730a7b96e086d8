// Features of this host's session only: it checks each fragment of a text message, waits for the
// answers of a later call, and stays up without a hub.
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { clientFrame, RawConnection, request, TestClient } from "../shared/support/sidekick.ts";
import { cleanUp, newFolder, run, SECRET } from "./support/server.ts";

after(cleanUp);

const TEXT = 1;
const BINARY = 2;
const CONTINUATION = 0;
const PING = 9;
const part = (opcode: number, bytes: readonly number[]) =>
  clientFrame(opcode, Buffer.from(bytes), { fin: false });
const closes1007 = Buffer.from([0x88]).toString("latin1");

test("a text message that is not UTF-8 is closed with 1007 at the fragment at fault", async () => {
  const server = run([]);
  const port = await server.port();
  for (const [first, ...others] of [
    [[0xff]],
    [[0xc0]], // overlong forms
    [[0xc1, 0xbf]],
    [[0xe0], [0x9f]],
    [[0xf0, 0x8f]],
    [[0xed], [0xa0]], // a surrogate
    [[0xf4], [0x90]], // beyond U+10FFFF
    [[0xf5]],
    [[0x80]],
    [[0x61, 0xe2], [0x82], [0x61]], // a character that is not continued
    [[0xe2, 0x82, 0xac], [0x80]],
  ] as const) {
    const raw = await RawConnection.upgrade(port);
    raw.write(part(TEXT, first));
    for (const other of others) raw.write(part(CONTINUATION, other));
    await raw.ended;
    const frames = raw.received.toString("latin1");
    assert.ok(frames.startsWith(closes1007), JSON.stringify([first, others, frames]));
    assert.equal(raw.received.readUInt16BE(2), 1007, JSON.stringify([first, others]));
  }
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("a fragment may end within a character, and a binary message may hold any bytes", async () => {
  const server = run([]);
  const port = await server.port();
  const all = Buffer.from('{"type":"ping","x":"\u00e9\u20ac\ud7ff\ue000\u{10000}\u{10ffff}"}');
  const raw = await RawConnection.upgrade(port);
  raw.write(part(TEXT, []));
  for (const byte of all) raw.write(part(CONTINUATION, [byte]));
  raw.write(clientFrame(CONTINUATION, Buffer.alloc(0)));
  await raw.until("pong");
  raw.write(part(BINARY, [0xff]));
  raw.write(clientFrame(PING, Buffer.from("still open")));
  await raw.until("still open");
  raw.write(clientFrame(CONTINUATION, Buffer.alloc(0)));
  await raw.until("error");
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("answers that come in a later call are given once and in order, and the connection waits for them", async () => {
  const server = run([], { env: { SIDEKICK_TEST_FAULTS: "late" } });
  const port = await server.port();
  const client = await TestClient.connect(port);
  const raw = await RawConnection.connect(port);
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
  raw.write(get("/health") + get("/none") + get("/health"));
  const statuses = () =>
    [...raw.received.toString().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
  while (statuses().length < 3) await client.settled(); // each input gives the answer before it
  for (let i = 0; i < 3; i++) await client.settled();
  assert.deepEqual(statuses(), [200, 404, 200]);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("after a trap the host releases the hub first, and stays up until it can create another", async () => {
  const noHub = join(await newFolder(), "no-hub");
  const server = run([], { env: { SIDEKICK_TEST_NO_HUB: noHub } });
  const port = await server.port();
  const [culprit, unlucky, other] = [
    await TestClient.connect(port),
    await TestClient.connect(port),
    await TestClient.connect(port),
  ];
  other.send({ type: "listen", resources: ["r"] });
  await other.next();
  const raw = await RawConnection.connect(port);
  const head = `POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${SECRET}\r\n`;
  raw.write(`${head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`);
  await raw.until("100 Continue"); // the hub wants its body
  await writeFile(noHub, "");
  culprit.send("trap!");
  assert.equal((await culprit.closed).code, 1011);
  unlucky.send({ type: "ping" });
  assert.equal((await unlucky.closed).code, 1011, "an input that no hub can handle");
  const publish = () => request(port, "/resources", '{"resources":["r"]}');
  assert.equal((await publish()).status, 503);
  raw.write("{}");
  await raw.until("HTTP/1.1 503 ");
  await assert.rejects(TestClient.connect(port), /503/);
  await rm(noHub);
  assert.equal((await publish()).status, 200);
  assert.deepEqual(await other.next(), { type: "updated", resource: "r" });
  assert.equal(await server.kill("SIGTERM"), 0);
  assert.match(
    server.output(),
    /warn {2}there is no hub; each input tries again error="no room for a hub, for a test"\n/,
  );
  assert.doesNotMatch(server.output(), /still lives/);
});
