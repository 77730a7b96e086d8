// What this host's reader of HTTP takes and refuses: nothing that another reader could read in another way.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { clientFrame, eventually, RawConnection, request, TestClient } from "../hosts/support/sidekick.ts";
import { cleanUp, newFolder, run, SECRET } from "./support/server.ts";

after(cleanUp);

async function newConfig(limits: object): Promise<string> {
  const file = join(await newFolder(), "config.json");
  await writeFile(file, JSON.stringify(limits));
  return file;
}

const BODY = '{"resources":["r"]}';
const post = (...headers: string[]) => `POST /resources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${SECRET}\r\n${headers.map((it) => `${it}\r\n`).join("")}\r\n`;

test("what readers understand differently is refused, a blank line before a request is not", async () => {
  const server = run([]);
  const port = await server.port();
  for (const [bytes, status] of [
    [post("Content-Length: 19") + BODY, 200],
    [`\r\n\r\n${post("Content-Length: 19")}${BODY}`, 200],
    [post("Content-Length: 19, 19") + BODY, 400],
    [post("Content-Length: 19", "Content-Length: 19") + BODY, 400],
    [post("Content-Length:\r\n 19") + BODY, 400],
    [post("X-Note: a\r\n\tb", "Content-Length: 19") + BODY, 400],
  ] as const) {
    const raw = await RawConnection.connect(port);
    raw.write(bytes);
    assert.match(await raw.until("\r\n\r\n"), new RegExp(`^HTTP/1.1 ${status} `), JSON.stringify(bytes));
    raw.socket.destroy();
  }
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("of more requests at once than are taken, those that were done are answered", async () => {
  const server = run([]);
  const raw = await RawConnection.connect(await server.port());
  raw.write((post("Content-Length: 19") + BODY).repeat(65));
  await raw.ended;
  assert.equal(raw.received.toString().match(/HTTP\/1.1 200 /g)?.length, 64);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("a body whose encoding has a part without end is refused, though the secret is right", async () => {
  const server = run([]);
  const raw = await RawConnection.connect(await server.port());
  raw.write(`${post("Transfer-Encoding: chunked")}5;`);
  let isAnswered = false;
  const answer = raw.until("\r\n\r\n").then((head) => {
    isAnswered = true;
    return head;
  });
  for (let i = 0; i < 1000 && !isAnswered; i++) {
    raw.write("x".repeat(10_000));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.match(await answer, /^HTTP\/1.1 400 /);
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("messages that are never finished are bounded for all connections together", async () => {
  const server = run(["--config", await newConfig({ frame_bytes_max: 16 * 1024 * 1024 })]);
  const port = await server.port();
  const bystander = await TestClient.connect(port);
  // The first piece of a message, and a ping, whose answer tells that the piece has been read.
  const piece = Buffer.concat([clientFrame(1, Buffer.alloc(16_000_000), { fin: false }), clientFrame(9, Buffer.from("p"))]);
  const strangers: RawConnection[] = [];
  const open = async () => {
    const stranger = await RawConnection.upgrade(port);
    strangers.push(stranger);
    stranger.write(piece);
    return stranger;
  };
  for (let i = 0; i < 16; i++) await (await open()).until("p"); // 244 MiB
  await (await open()).ended; // 259 MiB
  await bystander.settled();
  assert.deepEqual(strangers.map(({ socket }) => socket.closed).indexOf(true), 16, "only the one that made it too much is dropped");
  strangers[0]!.write(clientFrame(0, Buffer.alloc(0))); // 16 MB of zeros are no message, but it is whole: there is room again
  await strangers[0]!.until("error");
  await (await open()).until("p");
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("with too many connections that are no WebSockets those that are go on, and when some have gone everybody is let in again", async () => {
  const server = run([]);
  const port = await server.port();
  const client = await TestClient.connect(port);
  const strangers: RawConnection[] = [];
  for (let i = 0; i < 4096; i++) strangers.push(await RawConnection.connect(port));
  let isAnswered = false;
  const late = request(port, "/health", undefined, { method: "GET" }).then(({ status }) => {
    isAnswered = true;
    return status;
  });
  await eventually(() => server.output().includes("too many connections that are no WebSockets yet"));
  await client.settled();
  assert.equal(isAnswered, false);
  for (const { socket } of strangers) socket.destroy();
  assert.equal(await late, 200);
  assert.equal(await server.kill("SIGTERM"), 0);
});
