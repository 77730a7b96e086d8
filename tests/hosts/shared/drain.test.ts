// A host with --drain-seconds that stops: what load balancers, clients and the app server see.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { stopOneOfTwo } from "./support/fleet.ts";
import { closeEverything } from "./support/left-open.ts";
import { startRawServer } from "./support/raw-answers.ts";
import { killLeftRunning, run } from "./support/run.ts";
import { eventually, RawConnection, request, TestClient } from "./support/sidekick.ts";

after(closeEverything);
after(killLeftRunning);

const FLAGS = ["--host", "127.0.0.1", "--secret", "s"];
const DRAINED = { code: 4001, reason: "this Sidekick is shutting down; connect again" };

async function start(seconds: string, flags: string[] = [], env: Record<string, string> = {}) {
  const sidekick = run([...FLAGS, "--port", "0", "--drain-seconds", seconds, ...flags], env);
  return { sidekick, port: await sidekick.port() };
}

const get = (port: number, path: string) =>
  request(port, path, undefined, { method: "GET", secret: null });

/** The status with which a request for a socket is refused. */
async function refusalOfSocket(port: number): Promise<string> {
  const raw = await RawConnection.connect(port);
  raw.write(
    "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  return (await raw.until("\r\n\r\n")).slice(0, "HTTP/1.1 503".length);
}

test("a host that drains is not ready and refuses sockets, and everything else goes on", async () => {
  const { sidekick, port } = await start("3600");
  const client = await TestClient.connect(port);
  client.send({ type: "listen", resources: ["r"] });
  assert.match(await client.nextText(), /listening/);
  assert.equal((await get(port, "/ready")).status, 200);
  sidekick.kill("SIGTERM");
  await sidekick.says(/draining seconds=3600 clients=1\n/);
  const ready = await get(port, "/ready");
  assert.equal(ready.status, 503);
  assert.deepEqual(JSON.parse(ready.body), { status: "unavailable", reason: "shutting down" });
  assert.equal((await get(port, "/health")).status, 200);
  assert.equal(await refusalOfSocket(port), "HTTP/1.1 503");
  const posted = await request(port, "/resources", '{"resources":["r"]}', { secret: "s" });
  assert.equal(posted.status, 200);
  assert.match(await client.nextText(), /updated/);
  sidekick.kill("SIGTERM");
  assert.equal((await client.closed).code, 1001);
  assert.equal(await sidekick.exit, 0, sidekick.output());
});

for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) {
  test(`${signal}: all sockets are closed with 4001 during the drain, then the host exits`, async () => {
    const { sidekick, port } = await start("1");
    const clients = await Promise.all(Array.from({ length: 5 }, () => TestClient.connect(port)));
    sidekick.kill(signal);
    for (const client of clients) assert.deepEqual(await client.closed, DRAINED);
    assert.equal(await sidekick.exit, 0, sidekick.output());
  });
}

test("a host without sockets drains until load balancers have noticed", async () => {
  const { sidekick, port } = await start("10");
  sidekick.kill("SIGTERM");
  await sidekick.says(/draining/);
  assert.equal((await get(port, "/ready")).status, 503);
  assert.equal(await sidekick.exit, 0, sidekick.output());
});

test("a socket that nobody reads does not delay the exit", async () => {
  const { sidekick, port } = await start("1");
  const raw = await RawConnection.upgrade(port); // it answers no close frame
  sidekick.kill("SIGTERM");
  assert.equal(await sidekick.exit, 0, sidekick.output());
  await raw.ended;
});

test("a client whose message is under way is closed last, and the message is not lost", async () => {
  const answers: (() => void)[] = [];
  const app = await startRawServer((socket) => {
    answers.push(() => socket.end("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"));
  });
  const { sidekick, port } = await start("2", ["--server-url", app.url]);
  const body = '{ "token": "t", "channel": "c", "params": {} }';
  assert.equal((await request(port, "/connection", body, { secret: "s" })).status, 200);
  const busy = await TestClient.connect(port);
  const idle = [await TestClient.connect(port), await TestClient.connect(port)];
  busy.send({ type: "send", token: "t", channel: "c", params: {}, data: 1 });
  await eventually(() => app.taken === 1);
  const order: string[] = [];
  void busy.closed.then(() => order.push("busy"));
  for (const client of idle) void client.closed.then(() => order.push("idle"));
  sidekick.kill("SIGTERM");
  assert.deepEqual(await busy.closed, DRAINED);
  assert.deepEqual(order, ["idle", "idle", "busy"]);
  for (const answer of answers) answer();
  assert.equal(await sidekick.exit, 0, sidekick.output());
});

test("SIDEKICK_DRAIN_SECONDS drains, too", async () => {
  const sidekick = run([...FLAGS, "--port", "0"], { SIDEKICK_DRAIN_SECONDS: "1" });
  const client = await TestClient.connect(await sidekick.port());
  sidekick.kill("SIGTERM");
  assert.deepEqual(await client.closed, DRAINED);
  assert.equal(await sidekick.exit, 0, sidekick.output());
});

test("clients of one of two hosts reconnect to the other, and miss no publish", async () => {
  const report = await stopOneOfTwo(40, 3, FLAGS);
  assert.deepEqual(report.problems, []);
  assert.deepEqual(report.missed, []);
  assert.equal(report.strangers, 0);
  assert.equal(report.codes[4001], 40);
});
