// A Redis server that loses its last writes or all, is full, or is cut off without a sign: what
// clients and the app server see. For sidekick-serve or SIDEKICK_COMMAND.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeEverything } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../hosts/shared/support/run.ts";
import { eventually } from "../hosts/shared/support/sidekick.ts";
import { change, changed, changedTimes, listener, nodeAt } from "./support/node.ts";
import { startProxy } from "./support/proxy.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

const AT_ONCE = { resync_spread_ms: 0 };

test("a frozen connection to Redis is replaced, and nothing is missed", async () => {
  const redis = await startRedis();
  const proxy = await startProxy(redis.port);
  const a = await nodeAt(redis);
  const b = await nodeAt(proxy, { config: { engine_timeout_ms: 1000 } });
  const client = await listener(b, "r", "s");
  for (const [times, type] of ["normal", "pubsub"].entries()) {
    proxy.freeze(await redis.says("client", "list", "type", type));
    assert.equal((await change(a, "r")).status, 200);
    await b.isUp(times + 2);
    assert.equal(await changed(client), "r");
    // A change that came through the other connection may be told once more.
    client.send({ type: "ping" });
    let message = await client.next();
    while (message.type !== "pong") {
      assert.deepEqual(message, { type: "updated", resource: "r" });
      message = await client.next();
    }
  }
  assert.match(b.output(), /the engine is down.*code="timeout"/);
  assert.equal((await change(a, "s")).status, 200);
  assert.equal(await changed(client), "s");
});

test("after a failover that lost the last changes, all listeners are told", async () => {
  const [primary, replica] = await Promise.all([startRedis(), startRedis()]);
  await replica.says("replicaof", "127.0.0.1", String(primary.port));
  const proxy = await startProxy(primary.port);
  const [a, b] = await Promise.all([0, 1].map(() => nodeAt(proxy, { config: AT_ONCE })));
  const client = await listener(b!, "r", "s");
  assert.equal((await change(a!, "r")).status, 200);
  assert.equal(await changed(client), "r");
  const isCopied = async () =>
    (await replica.says("get", "copied")) === (await primary.says("get", "copied"));
  await primary.says("set", "copied", "yes");
  await eventually(isCopied);
  await replica.says("replicaof", "no", "one");
  assert.equal((await change(a!, "s")).status, 200);
  assert.equal(await changed(client), "s");
  proxy.redirect(replica.port);
  await Promise.all([a!.isUp(2), b!.isUp(2)]);
  assert.deepEqual((await changedTimes(client, 2)).sort(), ["r", "s"]);
  assert.equal((await change(b!, "s")).status, 200);
  assert.equal(await changed(client), "s");
  await client.settled();
});

test("FLUSHALL is noticed, and all listeners are told", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([0, 1].map(() => nodeAt(redis, { config: AT_ONCE })));
  const clients = [await listener(a!, "r", "s"), await listener(b!, "r", "s")];
  assert.equal((await change(a!, "r")).status, 200);
  for (const client of clients) assert.equal(await changed(client), "r");
  await redis.says("flushall");
  for (const client of clients)
    assert.deepEqual((await changedTimes(client, 2)).sort(), ["r", "s"]);
  assert.equal((await change(b!, "s")).status, 200);
  for (const client of clients) assert.equal(await changed(client), "s");
});

test("a full Redis refuses changes, and listeners stay", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([nodeAt(redis), nodeAt(redis)]);
  const client = await listener(b, "r");
  await redis.says("config", "set", "maxmemory", "1");
  const answer = await change(a, "r");
  assert.equal(answer.status, 503);
  assert.match(answer.body, /the engine refused: its memory is full/);
  await a.says(/the engine refused a call.*reason="OOM /);
  await client.settled();
  await redis.says("config", "set", "maxmemory", "0");
  assert.equal((await change(a, "r")).status, 200);
  assert.equal(await changed(client), "r");
  assert.doesNotMatch(b.output(), /the engine is (down|unavailable)/);
});

test("an error of a script is reported as an error, not as full memory", async () => {
  const redis = await startRedis();
  const node = await nodeAt(redis);
  const client = await listener(node, "r");
  await redis.says("set", "sidekick:1:0:changed", "no sorted set");
  const answer = await change(node, "r");
  assert.equal(answer.status, 503);
  assert.match(answer.body, /the engine returned an error;.*may have been processed/);
  await node.says(/the engine refused a call.*reason="WRONGTYPE /);
  await redis.says("del", "sidekick:1:0:changed");
  assert.equal((await change(node, "r")).status, 200);
  assert.equal(await changed(client), "r");
});
