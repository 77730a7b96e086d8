// Misbehaving app servers, names and addresses: each affects only its own forward.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import * as http from "node:http";
import * as net from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { startAppServer } from "../shared/support/app-server.ts";
import { startBlackHole } from "../shared/support/black-hole.ts";
import { listen } from "../shared/support/left-open.ts";
import { eventually, registerToken, TestClient } from "../shared/support/sidekick.ts";
import type { Run } from "./support/server.ts";
import { cleanUp, isSpinning, newFolder, run } from "./support/server.ts";

after(cleanUp);

const OWN_ERROR = '{ "fault": "client", "message": "nope" }';

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

test("an unresponsive address does not keep forwards from the next one", async () => {
  const app = http.createServer((incoming, response) =>
    incoming
      .resume()
      .on("end", () => response.writeHead(400).end('{ "fault": "client", "message": "heard" }')),
  );
  const port = await listen(app);
  const hole = await startBlackHole(port);
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
  hole.close();
});

test("an attempt at one address continues while another begins", async () => {
  const app = net.createServer();
  const port = await listen(app);
  const hole = await startBlackHole(port);
  app.close(); // the name's other address refuses connections
  const server = run(["--server-url", `http://two.test:${port}/`, "--server-secret", "s"]);
  const client = await sendThrough(server);
  await client.settled();
  await hole.open();
  assert.match((await client.next()).error.message, /answered 400/);
  assert.equal(await server.kill("SIGTERM"), 0);
  hole.close();
});

test("warns at start if no CA certificate makes an app server with https trusted", async () => {
  const url = ["--server-url", "https://127.0.0.1:9/", "--server-secret", "s"];
  const empty = await newFolder();
  const without = run(url, { env: { SSL_CERT_FILE: join(empty, "none"), SSL_CERT_DIR: empty } });
  await without.port();
  assert.match(without.output(), /warn {2}no CA certificates found/);
  assert.equal(await without.kill("SIGTERM"), 0);
  await writeFile(join(empty, "0.pem"), "");
  const other = run(url, { env: { SSL_CERT_FILE: join(empty, "none"), SSL_CERT_DIR: empty } });
  await other.port();
  assert.doesNotMatch(other.output(), /no CA certificates/);
  assert.equal(await other.kill("SIGTERM"), 0);
});

for (const [name, head, more, logged] of [
  [
    "an extension of a chunk",
    "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n5;",
    "x".repeat(64 * 1024),
    /answer is unreadable; its status counts .*has no end/,
  ],
  [
    "a trailer",
    "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    "a: b\r\n".repeat(10_000),
    /answer is unreadable; its status counts .*has no end/,
  ],
  [
    "interim answers",
    "",
    "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
    /a forward failed .*too many 1xx/,
  ],
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
    assert.match(server.output(), logged);
  });
}

/** A host with one connection to the app server, which answers when and as a test says. */
async function startWithOneLink() {
  const other = await startAppServer((response) => response.writeHead(400).end(OWN_ERROR));
  const responses: http.ServerResponse[] = [];
  const home = await startAppServer((response) => void responses.push(response));
  const server = run(
    ["--server-url", home.url, "--server-secret", "s", "--server-idle-timeout", "3600"],
    { env: { SIDEKICK_TEST_SERVER_LINKS: "1" } },
  );
  const port = await server.port();
  const client = await TestClient.connect(port);
  const send = async (token: string) => {
    await registerToken(port, token, token);
    client.send({ type: "send", token, channel: token, params: {}, data: token });
    await client.settled();
  };
  const redirect = () => responses.shift()!.writeHead(307, { Location: other.url }).end();
  const accept = () => responses.shift()!.writeHead(204).end();
  const reached = (count: number) => eventually(() => home.forwarded.length === count);
  return { server, client, home, other, send, redirect, accept, reached };
}

test("a redirected message that waits for a connection goes to its own origin only", async () => {
  const { server, client, home, other, send, redirect, accept, reached } = await startWithOneLink();
  for (const token of ["a", "b", "c"]) await send(token);
  await reached(1);
  redirect();
  await reached(2); // b has the connection; c and a wait
  accept();
  await reached(3);
  accept();
  const toldNope = async () => {
    const { channel, message } = (await client.next()).error;
    assert.equal(message, "nope");
    return channel;
  };
  assert.equal(await toldNope(), "a");
  assert.deepEqual(
    home.forwarded.map(({ body }) => JSON.parse(body).data),
    ["a", "b", "c"],
  );
  assert.deepEqual(
    other.forwarded.map(({ body }) => JSON.parse(body).data),
    ["a"],
  );
  assert.equal(other.forwarded[0]!.headers.authorization, undefined);
  // An idle connection makes room.
  await send("d");
  await reached(4);
  accept();
  await send("e");
  await reached(5);
  redirect();
  assert.equal(await toldNope(), "e");
  assert.equal(await server.kill("SIGTERM"), 0);
});

test("a redirected message that still waits at shutdown was not answered with the redirect", async () => {
  const { server, client, send, redirect, reached } = await startWithOneLink();
  for (const token of ["a", "b"]) await send(token);
  await reached(1);
  redirect();
  await reached(2); // b has the connection; a waits
  process.kill(server.pid, "SIGTERM");
  await eventually(() => server.output().includes("shutting down"));
  process.kill(server.pid, "SIGTERM");
  const told = [await client.nextText(), await client.nextText()].sort();
  assert.match(told[0]!, /"channel": "a".*could not be reached/);
  assert.match(told[1]!, /"channel": "b".*closed the connection/);
  assert.equal(await server.exit, 0);
});
