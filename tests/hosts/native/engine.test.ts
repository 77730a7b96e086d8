// Engine features of this host only: --data beside it, and processes that share a port.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import {
  change,
  changed,
  listener,
  nodeAt,
  publish,
  received,
  startNode,
} from "../../engine/support/node.ts";
import { startRedis } from "../../engine/support/redis-server.ts";
import { closeEverything } from "../shared/support/left-open.ts";
import { killLeftRunning } from "../shared/support/run.ts";
import { eventually, registerToken, request, TestClient } from "../shared/support/sidekick.ts";
import { cleanUp, newFolder, run } from "./support/server.ts";

afterEach(closeEverything);
after(killLeftRunning);
after(cleanUp);

async function refuses(flags: readonly string[], status: number, expected: RegExp): Promise<void> {
  const server = run(flags);
  assert.equal(await server.exit, status, server.output());
  assert.match(server.output(), expected);
}

test("rejects --data with --engine, which keeps the tokens", async () => {
  const data = ["--data", await newFolder()];
  const expected = /--data cannot be combined with --engine, which keeps the tokens/;
  await refuses(["--engine", "redis://localhost", ...data], 2, expected);
});

test("--reuse-port requires --engine", async () => {
  const expected = /--reuse-port requires --engine: otherwise the processes do not know of each o/;
  await refuses(["--reuse-port"], 2, expected);
});

test("a hub that replaces a trapped one keeps clients and tokens, and misses nothing", async () => {
  const redis = await startRedis();
  const url = `redis://127.0.0.1:${redis.port}`;
  const node = await startNode(["--engine", url], { SIDEKICK_TEST_FAULTS: "trap" });
  const other = await nodeAt(redis);
  await registerToken(other.listening, "t");
  const client = await listener(node, "r", "s");
  await client.subscribe("t");
  assert.equal((await request(node.listening, "/resources", "trap!")).status, 500);
  assert.equal((await change(other, "r")).status, 200);
  await node.isUp(2);
  // One that has no memory of its position tells all.
  const told = new Set([await changed(client), await changed(client)]);
  assert.deepEqual(told, new Set(["r", "s"]));
  assert.equal((await publish(other, "after the trap")).status, 200);
  assert.equal(await received(client), "after the trap");
});

test("with --reuse-port, several processes serve one port as one Sidekick", async () => {
  const redis = await startRedis();
  const engine = ["--engine", `redis://127.0.0.1:${redis.port}`, "--log-level", "debug"];
  const one = await startNode([...engine, "--reuse-port"]);
  const port = ["--port", String(one.listening)];
  await refuses([...engine, ...port], 1, /EADDRINUSE|in use/);
  const other = await startNode([...engine, ...port, "--reuse-port"]);
  // By chance, all are on one node once in 2^63 runs.
  const clients: TestClient[] = [];
  while (clients.length < 64) clients.push(await TestClient.connect(one.listening));
  const opened = (node: { output(): string }) => node.output().split("socket opened").length - 1;
  await eventually(() => opened(one) + opened(other) === 64);
  assert.ok(opened(one) > 0 && opened(other) > 0, `${opened(one)} and ${opened(other)}`);
  for (const client of clients) {
    client.send({ type: "listen", resources: ["r"] });
    assert.equal((await client.next()).type, "listening");
  }
  assert.equal((await request(one.listening, "/resources", '{"resources":["r"]}')).status, 200);
  for (const client of clients)
    assert.deepEqual(await client.next(), { type: "updated", resource: "r" });
  one.kill("SIGTERM");
  assert.equal(await one.exit, 0);
  for (let i = 0; i < 8; ++i) await TestClient.connect(other.listening);
});
