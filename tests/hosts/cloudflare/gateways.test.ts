// Several objects that act as one hub: gateways hold the sockets, shards order messages and keep
// tokens. Each may sleep, or fail, between any two steps.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import {
  at,
  GATEWAYS,
  listen,
  publish,
  RESOURCES,
  SCALE,
  SHARDS,
  sleep,
  startScaled,
  updated,
} from "./support/scaled.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import {
  closeEverything,
  eventually,
  post,
  registerToken,
  request,
  SECRET,
  start,
  startApp,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

const SESSION = "0123456789abcdef";

async function hello(client: TestClient, session = SESSION): Promise<any> {
  client.send({ type: "listen", resources: [], hello: session, id: 1 });
  return (await client.next()).welcome;
}

const message = async (sidekick: WorkerdSidekick, channel: string, data: unknown) =>
  assert.equal((await post(sidekick.port, "/message", { channel, params: {}, data })).status, 200);

test("a change reaches the listeners at all gateways, and wakes no gateway without one", async () => {
  const sidekick = await startScaled();
  await publish(sidekick, RESOURCES);
  for (const gateway of GATEWAYS) assert.equal(await sidekick.constructed(gateway), 0);
  const first = await at(sidekick, 0);
  await listen(first, RESOURCES);
  await publish(sidekick, RESOURCES);
  await updated(first, RESOURCES);
  assert.equal(await sidekick.constructed("sidekick:g1"), 0);
  const second = await at(sidekick, 1);
  await listen(second, RESOURCES);
  await publish(sidekick, RESOURCES);
  await updated(first, RESOURCES);
  await updated(second, RESOURCES);
});

test("a gateway does not believe a client that claims to know its number", async () => {
  const sidekick = await startScaled();
  for (const claimed of ["1", "x"]) {
    const headers = { "test-gateway": "0", "test-claimed-gateway": claimed };
    await listen(await TestClient.connect(sidekick.port, headers), RESOURCES);
  }
  const stored = "SELECT value FROM setting WHERE name = 'gateway'";
  assert.deepEqual(await sidekick.sql(stored), [{ value: "0" }]);
});

test("welcome: pongs have no position, and each gateway names the same epoch", async () => {
  const sidekick = await startScaled();
  const welcomes = [
    await hello(await at(sidekick, 0)),
    await hello(await at(sidekick, 1), "x".repeat(16)),
  ];
  for (const { epoch, pong_at, at: position } of welcomes) {
    assert.equal(pong_at, false);
    assert.equal(epoch, welcomes[0].epoch);
    assert.ok(Math.abs(position / 1000 - Date.now()) < 600_000, `${position}`);
  }
});

test("gateways and shards that sleep between any two steps still deliver everything", async () => {
  const sidekick = await startScaled();
  const clients = [await at(sidekick, 0), await at(sidekick, 1)];
  for (const client of clients) {
    await listen(client, RESOURCES);
    await sleep(sidekick);
  }
  for (let round = 0; round < 3; round++) {
    await publish(sidekick, RESOURCES);
    await sleep(sidekick, round === 0 ? SHARDS : GATEWAYS);
    for (const client of clients) await updated(client, RESOURCES);
    await sleep(sidekick);
  }
});

test("a gateway wakes without a call to a shard", async () => {
  const sidekick = await startScaled();
  const client = await at(sidekick, 0);
  await listen(client, RESOURCES);
  const calls = () => Promise.all(SHARDS.map((shard) => sidekick.test(`calls?hub=${shard}`)));
  const before = await calls();
  await sleep(sidekick, ["sidekick"]);
  const made = await sidekick.constructed("sidekick");
  await listen(client, RESOURCES);
  assert.equal(await sidekick.constructed("sidekick"), made + 1);
  assert.deepEqual(await calls(), before);
});

test("a registered token works at any gateway, for one client at a time", async () => {
  const app = await startApp();
  const sidekick = await startScaled({ SIDEKICK_SERVER_URL: app.url }, { engine_retry_ms: 1 });
  await registerToken(sidekick.port, "token-1", "chat");
  const [first, second] = [await at(sidekick, 0), await at(sidekick, 1)];
  await first.subscribe("token-1");
  await sleep(sidekick);
  second.send({ type: "subscribe", token: "token-1" });
  assert.match((await second.next()).error.message, /held by another connection/);
  await message(sidekick, "chat", "one");
  assert.equal((await first.next()).data, "one");
  await sleep(sidekick);
  await first.close();
  // The close is noticed by its gateway, which releases the token.
  await eventually(async () => {
    second.send({ type: "subscribe", token: "token-1" });
    return (await second.next()).type === "subscribed";
  });
  await message(sidekick, "chat", "two");
  assert.equal((await second.next()).data, "two");
});

test("a token with the largest body that a request may have is registered", async () => {
  const sidekick = await startScaled();
  const payload = { token: "large", channel: "chat", params: {}, context: "" };
  const room = (8 << 20) - JSON.stringify(payload).length;
  const context = "x".repeat(room);
  const { status } = await post(sidekick.port, "/connection", { ...payload, context });
  assert.equal(status, 200);
});

test("a session continues at another gateway with its tokens; the old connection is closed", async () => {
  const sidekick = await startScaled();
  await registerToken(sidekick.port, "token-1", "chat");
  const first = await at(sidekick, 0);
  await hello(first);
  await first.subscribe("token-1");
  await sleep(sidekick);
  const second = await at(sidekick, 1);
  await hello(second);
  second.send({ type: "subscribe", token: "token-1", id: 2 });
  assert.equal((await second.next()).type, "subscribed");
  assert.equal((await first.closed).code, 4000);
  await message(sidekick, "chat", "one");
  assert.equal((await second.next()).data, "one");
});

test("a token still held after a deployment is released once another client asks for it", async () => {
  const sidekick = await startScaled({}, { engine_retry_ms: 100 });
  await registerToken(sidekick.port, "token-1", "chat");
  await (await at(sidekick, 0)).subscribe("token-1");
  await sidekick.evict("close", "sidekick");
  const client = await at(sidekick, 1);
  await eventually(async () => {
    client.send({ type: "subscribe", token: "token-1" });
    return (await client.next()).type === "subscribed";
  });
});

test("a client whose token cannot be stored is closed, and others can take it", async () => {
  const sidekick = await startScaled();
  await registerToken(sidekick.port, "token-1", "chat");
  const first = await at(sidekick, 0);
  const failing = "BEGIN SELECT RAISE(ABORT, 'disk full'); END";
  await sidekick.sql(`CREATE TRIGGER full BEFORE INSERT ON token ${failing}`);
  first.send({ type: "subscribe", token: "token-1" });
  assert.equal((await first.closed).code, 1011);
  const second = await at(sidekick, 1);
  await second.subscribe("token-1");
});

test("a client gets missed messages from the shard, at another gateway", async () => {
  const sidekick = await startScaled();
  await registerToken(sidekick.port, "token-1", "chat");
  const first = await at(sidekick, 0);
  const { epoch } = await hello(first);
  await first.subscribe("token-1");
  await message(sidekick, "chat", "one");
  const { at: since } = await first.next();
  await first.close();
  await message(sidekick, "chat", "two");
  const second = await at(sidekick, 1);
  await hello(second);
  second.send({ type: "subscribe", token: "token-1", since, epoch, id: 2 });
  const subscribed = await second.next();
  assert.deepEqual([subscribed.recovered, subscribed.missed], [true, 1]);
  assert.equal((await second.next()).data, "two");
});

test("missed messages come from the shard at the same gateway, also after sleep", async () => {
  const sidekick = await startScaled();
  await registerToken(sidekick.port, "token-1", "chat");
  const first = await at(sidekick, 0);
  const { epoch } = await hello(first);
  await first.subscribe("token-1");
  await message(sidekick, "chat", "one");
  const { at: since } = await first.next();
  await sleep(sidekick, ["sidekick"]);
  const second = await at(sidekick, 0);
  await hello(second);
  second.send({ type: "subscribe", token: "token-1", since, epoch, id: 2 });
  const subscribed = await second.next();
  assert.deepEqual([subscribed.recovered, subscribed.missed], [true, 0]);
});

test("a gateway that was unreachable learns later that it has missed something", async () => {
  const sidekick = await startScaled({}, { resync_spread_ms: 0 });
  const client = await at(sidekick, 1);
  await listen(client, RESOURCES);
  await sidekick.test("unreachable?hub=sidekick:g1");
  await publish(sidekick, ["todo/1"]);
  await sidekick.test("reachable?hub=sidekick:g1");
  // Asleep meanwhile: that it needs a gap is stored.
  await sleep(sidekick);
  for (const shard of SHARDS) await sidekick.test(`alarm?hub=${shard}`);
  await eventually(async () => (await client.next()).resource === "todo/1");
  await publish(sidekick, ["todo/2"]);
  await eventually(async () => (await client.next()).resource === "todo/2");
});

test("the single object of an older deployment hands its tokens to the shards", async () => {
  const storage = mkdtempSync(join(tmpdir(), "sidekick-storage-"));
  try {
    const one = await start({ storage });
    await registerToken(one.port, "token-free", "chat", { room: "1" });
    await registerToken(one.port, "token-held", "chat", { room: "2" });
    await (await TestClient.connect(one.port)).subscribe("token-held");
    await one.stop();

    const sidekick = await start({ storage, env: SCALE });
    await (await at(sidekick, 0)).settled();
    await eventually(async () => (await sidekick.rows("token")) === 0);
    const client = await at(sidekick, 1);
    await client.subscribe("token-free");
    await client.subscribe("token-held");
    await sidekick.stop();

    const other = await start({ storage, env: { ...SCALE, SIDEKICK_SHARDS: "3" } });
    const { status } = await post(other.port, "/resources", { resources: RESOURCES });
    assert.equal(status, 500);
    assert.match(
      other.output(),
      /SIDEKICK_SHARDS: expected 2, which is stored and cannot change, got 3/,
    );
    await assert.rejects(TestClient.connect(other.port, { "test-gateway": "0" }), /500/);
  } finally {
    await stopAll();
    rmSync(storage, { recursive: true });
  }
});

test("back at one object, only the tokens remain that clients of gateway 0 held", async () => {
  const storage = mkdtempSync(join(tmpdir(), "sidekick-storage-"));
  try {
    const scaled = await start({ storage, env: SCALE });
    const tokens = ["token-at-0", "token-at-1", "token-free"];
    for (const token of tokens) await registerToken(scaled.port, token, "chat");
    for (const gateway of [0, 1])
      await (await at(scaled, gateway)).subscribe(`token-at-${gateway}`);
    await scaled.stop();

    const one = await start({ storage });
    const client = await TestClient.connect(one.port);
    await client.subscribe("token-at-0");
    for (const token of tokens.slice(1)) {
      client.send({ type: "subscribe", token });
      assert.match((await client.next()).error.message, /invalid token/);
      await registerToken(one.port, token, "chat");
      await client.subscribe(token);
    }
    await message(one, "chat", "one");
    assert.equal((await client.next()).data, "one");
    await one.stop();

    const again = await start({ storage, env: SCALE });
    await (await at(again, 1)).subscribe("token-at-1");
  } finally {
    await stopAll();
    rmSync(storage, { recursive: true });
  }
});

test("each gateway tells its own health and metrics; gateway 0 answers by default", async () => {
  const sidekick = await startScaled({ SIDEKICK_TRACE_BYTES: "1000000" });
  const { port } = sidekick;
  const get = (path: string, secret: string | null = SECRET) =>
    request(port, path, undefined, { method: "GET", secret });
  await at(sidekick, 0);
  for (let i = 0; i < 2; i++) await at(sidekick, 1);
  const clients = async (query: string) => JSON.parse((await get(`/health${query}`)).body).clients;
  assert.deepEqual(
    [await clients(""), await clients("?gateway=0"), await clients("?gateway=1")],
    [1, 1, 2],
  );
  const { body: metrics } = await get("/metrics?gateway=1");
  assert.match(metrics, /^sidekick_clients\{hello="no"\} 2$/m);
  const { body: trace } = await get("/trace?gateway=1");
  assert.equal(trace.match(/"in":"client_opened"/g)!.length, 2);
  await eventually(async () => (await get("/ready?gateway=1", null)).status === 200);
  const made = await sidekick.constructed("sidekick:g1");
  assert.equal((await get("/health?gateway=1", "wrong")).status, 401);
  for (const wrong of ["2", "-1", "1.0", "", "x"]) {
    const { status, body } = await get(`/health?gateway=${wrong}`);
    assert.equal(`${status} ${body}`, "400 Bad Request: expected a gateway from 0 to 1");
  }
  assert.equal(await sidekick.constructed("sidekick:g1"), made);
});

test("a full gateway takes no socket: the Worker picks another one", async () => {
  const sidekick = await startScaled({}, { clients_max: 1 });
  const clients = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  await assert.rejects(TestClient.connect(sidekick.port), /503/);
  for (const client of clients) await listen(client, ["a"]);
  await publish(sidekick, ["a"]);
  for (const client of clients) await updated(client, ["a"]);
});

test("a trap in a gateway: its other clients keep their sockets, and miss nothing", async () => {
  const sidekick = await startScaled({}, { resync_spread_ms: 0 });
  const [client, guilty] = [await at(sidekick, 0), await at(sidekick, 0)];
  await listen(client, ["a", "b"]);
  guilty.send("trap!");
  assert.equal((await guilty.closed).code, 1011);
  for (const resource of ["a", "b"]) {
    await publish(sidekick, [resource]);
    // The new hub does not know what the last one has told, and may tell it once more.
    await eventually(async () => (await client.next()).resource === resource);
  }
});

test("a gateway that traps, and sleeps before it reconnects, misses nothing", async () => {
  const sidekick = await startScaled({}, { resync_spread_ms: 0 });
  const [client, guilty] = [await at(sidekick, 0), await at(sidekick, 0)];
  await listen(client, RESOURCES);
  for (const shard of SHARDS) await sidekick.test(`lose-answers?hub=${shard}`);
  guilty.send("trap!");
  assert.equal((await guilty.closed).code, 1011);
  await eventually(() => /a shard cannot be reached[^]*a shard cannot/.test(sidekick.output()));
  await sleep(sidekick, ["sidekick"]);
  for (const shard of SHARDS) await sidekick.test(`reachable?hub=${shard}`);
  await publish(sidekick, RESOURCES);
  client.send({ type: "ping", id: 1 }); // wakes it
  await eventually(async () => (await client.next()).resource === "todo/1");
});

test("a recording of a gateway replays alone, through sleeps and gaps", async () => {
  const sidekick = await startScaled({ SIDEKICK_TRACE_BYTES: "1000000" });
  await registerToken(sidekick.port, "token-1", "chat");
  const client = await at(sidekick, 0);
  await hello(client);
  await client.subscribe("token-1");
  await sleep(sidekick);
  await message(sidekick, "chat", "one");
  assert.equal((await client.next()).data, "one");
  const asked = { method: "GET" };
  const trace = await request(sidekick.port, "/trace", undefined, asked);
  assert.match(trace.body, /"in":"engine_up",.*"kept":1/);
  const { difference, inputs } = await sidekick.test("replay", trace.body);
  assert.equal(difference, undefined);
  assert.ok(inputs > 5, `${inputs}`);
});
