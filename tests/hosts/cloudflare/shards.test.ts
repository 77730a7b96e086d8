// Shards: whom they wake, what they ask gateways for, and failures of their calls and alarms.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import {
  at,
  listen,
  publish,
  REFUSED,
  RESOURCES,
  SCALE,
  SHARDS,
  sleep,
  startScaled,
  updated,
} from "./support/scaled.ts";
import {
  closeEverything,
  eventually,
  post,
  registerToken,
  start,
  stopAll,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

test("a shard that has slept sends all messages to all gateways until they join", async () => {
  const sidekick = await start({ env: { SIDEKICK_GATEWAYS: "2", SIDEKICK_SHARDS: "1" } });
  const [first, second] = [await at(sidekick, 0), await at(sidekick, 1)];
  await listen(first, ["a"]);
  await listen(second, ["b"]);
  await sleep(sidekick, ["sidekick:s0"]);
  const calls = () => sidekick.test("calls?hub=sidekick:g1");
  const before = await calls();
  await publish(sidekick, ["a"]);
  await updated(first, ["a"]);
  await eventually(async () => (await calls()) === before + 2); // it is asked for its joins
  await listen(second, ["c"]); // after the answer to that
  for (let i = 0; i < 20; i++) {
    await publish(sidekick, ["a"]);
    await updated(first, ["a"]);
  }
  await publish(sidekick, ["a", "b"]);
  await updated(first, ["a"]);
  await updated(second, ["b"]);
  assert.equal(await calls(), before + 3, "only of its own topic");
});

test("while a shard is unreachable, requests get 503; clients learn when it is back", async () => {
  const sidekick = await startScaled({}, { engine_wait_ms: 100 });
  const client = await at(sidekick, 0);
  await listen(client, ["a"]);
  for (const shard of SHARDS) await sidekick.test(`unreachable?hub=${shard}`);
  const answer = await post(sidekick.port, "/resources", { resources: RESOURCES });
  assert.equal(answer.status, 503);
  assert.match(answer.body, /engine/);
  client.send({ type: "listen", resources: RESOURCES });
  assert.equal((await client.next()).type, "error");
  for (const shard of SHARDS) await sidekick.test(`reachable?hub=${shard}`);
  await eventually(
    async () => (await post(sidekick.port, "/resources", { resources: ["a"] })).status === 200,
  );
  await eventually(async () => (await client.next()).resource === "a");
});

test("many requests wait for a shard that comes back in time, and all succeed", async () => {
  const sidekick = await startScaled({}, { engine_wait_ms: 60_000 });
  const client = await at(sidekick, 0);
  await listen(client, RESOURCES);
  for (const shard of SHARDS) await sidekick.test(`unreachable?hub=${shard}`);
  const requests = RESOURCES.map((resource) => publish(sidekick, [resource]));
  await eventually(() => sidekick.output().includes("a shard cannot be reached"));
  for (const shard of SHARDS) await sidekick.test(`reachable?hub=${shard}`);
  await Promise.all(requests);
  await updated(client, RESOURCES);
});

test("a removed gateway is no longer woken, once it has released its tokens", async () => {
  const storage = mkdtempSync(join(tmpdir(), "sidekick-storage-"));
  const env = { SIDEKICK_GATEWAYS: "2", SIDEKICK_SHARDS: "1" };
  try {
    const before = await start({ storage, env });
    const removed = await at(before, 1);
    await listen(removed, ["a"]);
    await registerToken(before.port, "token-1", "chat");
    await removed.subscribe("token-1");
    await before.stop();

    const sidekick = await start({ storage, env: { ...env, SIDEKICK_GATEWAYS: "1" } });
    const client = await at(sidekick, 0);
    await listen(client, ["a"]);
    const calls = () => sidekick.test("calls?hub=sidekick:g1");
    await publish(sidekick, ["a"]);
    await updated(client, ["a"]);
    await eventually(async () => (await calls()) > 0); // it may need to release tokens
    await sidekick.test(`clock?at=${Date.now() + 2 * 3_600_000}`);
    await sidekick.test("alarm?hub=sidekick:s0");
    const holds = "SELECT value FROM shard WHERE substr(key, 1, 1) = CAST('t' AS BLOB)";
    await eventually(async () => {
      const [{ value }] = await sidekick.sql(holds, "sidekick:s0");
      return value.endsWith("--"); // neither node nor session
    });
    await sleep(sidekick, ["sidekick:s0"]);
    const woken = await calls();
    for (let i = 0; i < 3; i++) {
      await publish(sidekick, ["a"]);
      await updated(client, ["a"]);
    }
    assert.equal(await calls(), woken);
  } finally {
    await stopAll();
    rmSync(storage, { recursive: true });
  }
});

test("a removed gateway is no longer woken, even if a write fails", async () => {
  const storage = mkdtempSync(join(tmpdir(), "sidekick-storage-"));
  const env = { SIDEKICK_GATEWAYS: "2", SIDEKICK_SHARDS: "1" };
  try {
    const before = await start({ storage, env });
    await listen(await at(before, 1), ["a"]);
    await before.stop();

    const sidekick = await start({
      storage,
      env: { ...env, SIDEKICK_GATEWAYS: "1" },
      limits: { engine_wait_ms: 100 },
    });
    const sql = (statement: string) => sidekick.sql(statement, "sidekick:s0");
    await sql(
      "CREATE TRIGGER full BEFORE INSERT ON shard BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    const change = () => post(sidekick.port, "/resources", { resources: ["a"] });
    assert.equal((await change()).status, 503);
    await sql("DROP TRIGGER full");
    await eventually(async () => (await change()).status === 200);
    assert.equal(await sidekick.test("calls?hub=sidekick:g1"), 0);
  } finally {
    await stopAll();
    rmSync(storage, { recursive: true });
  }
});

test("without the shards' class, the log names the lines that wrangler.jsonc lacks", async () => {
  const sidekick = await start({ env: SCALE, classes: { SIDEKICK: "SidekickObject" } });
  assert.equal((await post(sidekick.port, "/resources", { resources: [] })).status, 500);
  await eventually(() => /"class_name": "SidekickShard"/.test(sidekick.output()));
  assert.match(sidekick.output(), /"tag": "v2", "new_sqlite_classes": \["SidekickShard"\]/);
});

test("the shards ask hourly for held tokens", async () => {
  const sidekick = await start({ env: { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1" } });
  await registerToken(sidekick.port, "token-1", "chat");
  await (await at(sidekick, 0)).subscribe("token-1");
  await sidekick.evict("close", "sidekick");
  await sleep(sidekick, ["sidekick:s0"]);
  await sidekick.test(`clock?at=${Date.now() + 2 * 3_600_000}`);
  await sidekick.test("alarm?hub=sidekick:s0");
  const client = await at(sidekick, 0);
  await client.subscribe("token-1");
});

test("a shard whose alarm failed asks for tokens when the alarm is repeated", async () => {
  const sidekick = await start({ env: { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1" } });
  for (const token of ["token-free", "token-1"]) await registerToken(sidekick.port, token, "chat");
  await (await at(sidekick, 0)).subscribe("token-1");
  const calls = () => sidekick.test("calls?hub=sidekick");
  const before = await calls();
  await sidekick.test(`clock?at=${Date.now() + 2 * 3_600_000}`);
  // The free token has expired, and its row cannot be deleted.
  await sidekick.sql("ALTER TABLE shard RENAME TO moved", "sidekick:s0");
  await assert.rejects(sidekick.test("alarm?hub=sidekick:s0"));
  assert.equal(await calls(), before);
  await sidekick.sql("ALTER TABLE moved RENAME TO shard", "sidekick:s0");
  await sidekick.test("alarm?hub=sidekick:s0");
  await eventually(async () => (await calls()) === before + 1);
});

test("the shards do not ask for tokens that have been held for less than an hour", async () => {
  const sidekick = await start({ env: { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1" } });
  const client = await at(sidekick, 0);
  await listen(client, ["a"]); // the shard knows the gateway, and counts its first hour
  const began = Date.now();
  await sidekick.test(`clock?at=${began + 1_800_000}`);
  await registerToken(sidekick.port, "token-1", "chat");
  await client.subscribe("token-1");
  const calls = () => sidekick.test("calls?hub=sidekick");
  const before = await calls();
  await sidekick.test(`clock?at=${began + 3_700_000}`);
  await sidekick.test("alarm?hub=sidekick:s0");
  await publish(sidekick, ["a"]);
  await updated(client, ["a"]);
  assert.equal(await calls(), before + 1, "only the message");
  await sidekick.test(`clock?at=${began + 7_400_000}`);
  await sidekick.test("alarm?hub=sidekick:s0");
  await eventually(async () => (await calls()) === before + 2);
});

test("the error of a shard is in the log, and not in the answer to a client", async () => {
  const sidekick = await start({ env: { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1" } });
  const client = await at(sidekick, 0);
  await listen(client, ["a"]);
  await sidekick.test("refuse?hub=sidekick:s0");
  client.send({ type: "subscribe", token: "token-1" });
  assert.match(
    (await client.next()).error.message,
    /the engine returned an error; see the log of this Sidekick/,
  );
  await eventually(() => REFUSED.test(sidekick.output()));
});

test("a gateway that cannot store its connections still reconnects to its shards", async () => {
  const sidekick = await startScaled({}, { resync_spread_ms: 0 });
  const client = await at(sidekick, 0);
  await listen(client, RESOURCES);
  await sidekick.sql("ALTER TABLE setting RENAME TO moved");
  for (const shard of SHARDS) await sidekick.test(`reset?hub=${shard}`);
  client.send({ type: "listen", resources: RESOURCES.map((resource) => `${resource}/more`) });
  await eventually(async () => (await client.next()).type === "listening");
  await sidekick.sql("ALTER TABLE moved RENAME TO setting");
  await publish(sidekick, ["todo/1"]);
  await eventually(async () => (await client.next()).resource === "todo/1");
});

test("a gateway reconnects to a shard that was reset", async () => {
  const sidekick = await startScaled({}, { resync_spread_ms: 0 });
  const client = await at(sidekick, 0);
  await listen(client, RESOURCES);
  for (const shard of SHARDS) await sidekick.test(`reset?hub=${shard}`);
  await listen(
    client,
    RESOURCES.map((resource) => `${resource}/more`),
  );
  await publish(sidekick, ["todo/1"]);
  await eventually(async () => (await client.next()).resource === "todo/1");
});

test("a late call of an earlier connection to a shard changes nothing", async () => {
  const sidekick = await start({
    env: { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "1" },
    limits: { engine_timeout_ms: 300, engine_wait_ms: 60_000, topic_linger_ms: 0 },
  });
  const client = await at(sidekick, 0);
  await listen(client, ["a"]);
  await sidekick.test("hold-leaves?hub=sidekick:s0");
  client.send({ type: "unlisten", resources: ["a"] });
  assert.equal((await client.next()).type, "unlistening");
  await eventually(() => sidekick.output().includes("a shard cannot be reached"));
  await listen(client, ["a"]);
  const calls = () => sidekick.test("calls?hub=sidekick:s0");
  const before = await calls();
  await sidekick.test("release-leaves?hub=sidekick:s0");
  await eventually(async () => (await calls()) > before);
  await publish(sidekick, ["a"]);
  await updated(client, ["a"]);
});

test("a late release of an earlier connection frees no token that is held again", async () => {
  const sidekick = await start({
    env: { SIDEKICK_GATEWAYS: "2", SIDEKICK_SHARDS: "1" },
    limits: { engine_timeout_ms: 300, engine_wait_ms: 60_000 },
  });
  await registerToken(sidekick.port, "token-1", "chat");
  const connect = async (session: string, gateway: number) => {
    const client = await at(sidekick, gateway);
    client.send({ type: "listen", resources: [], hello: session.repeat(16), id: 1 });
    assert.equal((await client.next()).type, "listening");
    return client;
  };
  const first = await connect("a", 0);
  await first.subscribe("token-1");
  await sidekick.test("hold-run?hub=sidekick:s0&script=release");
  await first.close();
  // It has released the token once more.
  await eventually(() => sidekick.output().includes("a shard can be reached again"));
  const again = await connect("a", 0);
  await again.subscribe("token-1");
  const calls = () => sidekick.test("calls?hub=sidekick:s0");
  const before = await calls();
  assert.equal(await sidekick.test("release-run?hub=sidekick:s0"), true, "it was held");
  await eventually(async () => (await calls()) > before);
  const other = await connect("b", 1);
  other.send({ type: "subscribe", token: "token-1" });
  assert.match((await other.next()).error?.message ?? "it got the token", /held by another/);
});
