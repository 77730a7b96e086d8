// The load generator against servers that deliver wrongly: a figure for them would be worthless.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { before, test } from "node:test";
import { WebSocketServer } from "ws";
import { compile } from "./compile.ts";

const program = "build/bench/load-for-tests";
before(() => compile("tests/bench/load.cpp", program));

/** What a server sends to one of its sockets for the n-th message. */
type Delivery = (text: string, n: number) => string[];

/** Two sockets and `publish 5 1 exact`, at a server that speaks as bun-publish.ts does. */
async function publish(deliver: Delivery): Promise<{ status: number; output: string }> {
  let published = 0;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const text = JSON.parse(body).data as string;
    const [first, ...others] = sockets.clients;
    for (const sent of deliver(text, published)) first!.send(sent);
    for (const other of others) other.send(text);
    published++;
    response.end("{}");
  });
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on("connection", (socket) => socket.once("message", () => socket.send("joined")));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const load = spawn(program, { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  load.stderr.on("data", (bytes) => (output += bytes));
  createInterface({ input: load.stdout }).on("line", (line) => (output += `${line}\n`));
  const commands = [`target ${port} ${process.pid} secret bun`, "open 2 2", "subscribe room"];
  load.stdin.end([...commands, "publish 5 1 exact", "publish 3 1 exact"].join("\n"));
  const [status] = await once(load, "close");
  for (const socket of sockets.clients) socket.terminate();
  server.close();
  return { status, output };
}

test("a server that delivers each message once is measured", async () => {
  const { status, output } = await publish((text) => [text]);
  assert.equal(status, 0, output);
  assert.match(output, /"units":8,/); // the first of each command only warms the connection
  assert.match(output, /"units":4,/);
});

for (const [fault, deliver, error] of [
  ["doubles one", (text, n) => (n === 2 ? [text, text] : [text]), /expected message 3, 200 bytes/],
  [
    "delivers one again later",
    (text, n) => (n === 3 ? [text.replace("#00000003", "#00000001")] : [text]),
    /expected message 3, 200 bytes; got: #00000001/,
  ],
  [
    "cuts one short",
    (text, n) => (n === 1 ? [text.slice(0, -1)] : [text]),
    /expected message 1, 200 bytes/,
  ],
  ["delivers what was not published", (text, n) => (n === 4 ? [text, "late"] : [text]), /late/],
] as [string, Delivery, RegExp][]) {
  test(`a server that ${fault} ends the generator with an error`, async () => {
    const { status, output } = await publish(deliver);
    assert.match(output, error);
    assert.equal(status, 1);
  });
}
