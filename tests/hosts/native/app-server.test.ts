// Misbehaving app servers, names and addresses: each affects only its own forward.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import * as http from "node:http";
import * as net from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { listen } from "../shared/support/left-open.ts";
import { eventually, registerToken, TestClient } from "../shared/support/sidekick.ts";
import type { Run } from "./support/server.ts";
import { cleanUp, isSpinning, newFolder, run } from "./support/server.ts";

after(cleanUp);

/** A client that has sent a message to the app server. */
async function sendThrough(server: Run): Promise<TestClient> {
  const port = await server.port();
  const client = await TestClient.connect(port);
  await registerToken(port, "t", "chat", { room: "t" });
  await client.subscribe("t");
  client.send({ type: "send", token: "t", channel: "chat", params: { room: "t" }, data: 1 });
  return client;
}

test("shutdown does not wait for a name lookup", async () => {
  // The lookup takes a minute: worker/native/testing.cpp
  const server = run(["--server-url", "http://slow.test:9/", "--server-secret", "s"]);
  const client = await sendThrough(server);
  await client.settled();
  process.kill(server.pid, "SIGTERM");
  await eventually(() => server.output().includes("shutting down"));
  const stopped = server.kill("SIGTERM").then((status) => `exit ${status}`);
  const waited = new Promise((resolve) =>
    setTimeout(resolve, 30_000, "it waits for the lookup").unref(),
  );
  assert.equal(await Promise.race([stopped, waited]), "exit 0");
});

/**
 * Listens with a full queue and accepts nobody: Linux drops further connections. Runs until its
 * input ends.
 */
const BLACK_HOLE = `
import socket, sys
hole = socket.socket()
hole.bind(("127.0.0.2", int(sys.argv[1])))
hole.listen(0)
waiting = [socket.socket() for _ in range(4)]
for it in waiting:
    it.setblocking(False)
    it.connect_ex(hole.getsockname())
print("ready", flush=True)
sys.stdin.read()
`;

test("an unresponsive address does not keep forwards from the next one", async () => {
  const app = http.createServer((incoming, response) =>
    incoming
      .resume()
      .on("end", () => response.writeHead(400).end('{ "fault": "client", "message": "heard" }')),
  );
  const port = await listen(app);
  const hole = spawn("python3", ["-c", BLACK_HOLE, String(port)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(hole.stdout, "data");
  const config = join(await newFolder(), "config.json");
  await writeFile(config, '{"forward_timeout_ms": 20000}');
  const server = run([
    "--server-url",
    `http://two.test:${port}/`,
    "--server-secret",
    "s",
    "--config",
    config,
  ]);
  const client = await sendThrough(server);
  assert.equal((await client.next()).error.message, "heard");
  assert.equal(await server.kill("SIGTERM"), 0);
  hole.stdin.end();
});

for (const [name, head, more] of [
  [
    "an extension of a chunk",
    "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n5;",
    "x".repeat(64 * 1024),
  ],
  [
    "a trailer",
    "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "a: b\r\n".repeat(10_000),
  ],
  ["interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)],
] as const) {
  test(`drops an app server that sends ${name} without end`, async () => {
    const app = net.createServer((socket) => {
      const babble = () => {
        while (!socket.destroyed && socket.write(more));
      };
      socket.on("drain", babble).write(head);
      babble();
    });
    const server = run([
      "--server-url",
      `http://127.0.0.1:${await listen(app)}/`,
      "--server-secret",
      "s",
    ]);
    const client = await sendThrough(server);
    assert.equal((await client.next()).error.fault, "server");
    assert.equal(await isSpinning(server.pid), false);
    assert.equal(await server.kill("SIGTERM"), 0);
    assert.match(server.output(), /a forward failed .*(has no end|1xx|header limit)/);
  });
}
