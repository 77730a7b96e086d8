// The object in workerd: its sockets, what is stored where, resets, alarms.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import {
  closeEverything,
  eventually,
  health,
  letGo,
  post,
  RawConnection,
  registerToken,
  settle,
  start,
  startWithApp,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

// --- sockets ---

test("a closed socket is closed on both sides, and its client is forgotten", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  await settle(client);
  client.socket.close(1000, "done");
  assert.equal((await client.closed).code, 1000);
  const rude = await TestClient.connect(sidekick.port);
  await settle(rude);
  rude.socket.terminate();
  await eventually(async () => (await health(sidekick.port)).clients === 0);
});

test("a client that closes while the object sleeps is forgotten, and its token is free again", async () => {
  const sidekick = await start();
  await registerToken(sidekick.port, "a-token-of-someone");
  const [client, other] = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  await client.subscribe("a-token-of-someone");
  await sidekick.evict("hibernate");
  await client.close();
  await eventually(async () => (await health(sidekick.port)).clients === 1);
  await other.subscribe("a-token-of-someone");
});

test("the exact ping is answered without waking the object", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  await settle(client);
  await sidekick.evict("hibernate");
  await client.settled();
  assert.equal(await sidekick.constructed(), 1);
  assert.deepEqual(await settle(client), []);
  assert.equal(await sidekick.constructed(), 2);
});

test("a frame over the limit is rejected; one far over it closes its own socket only", async () => {
  const { port } = await start({ limits: { frame_bytes_max: 64 } });
  const [client, other] = [await TestClient.connect(port), await TestClient.connect(port)];
  client.send("x".repeat(65));
  assert.match(await client.nextText(), /frame_bytes_max/);
  client.send(Buffer.from('{ "type": "ping" }')); // binary frames are accepted as well
  assert.equal(await client.nextText(), '{"type":"pong"}');
  client.send("x".repeat(64 + 64 * 1024));
  assert.match(await client.nextText(), /frame_bytes_max/);
  client.send("x".repeat(64 + 64 * 1024 + 1));
  assert.equal((await client.closed).code, 1009);
  await settle(other);
  await eventually(async () => (await health(port)).clients === 1);
});

test("at clients_max, the oldest socket that has been silent for a minute is closed", async () => {
  const sidekick = await start({ limits: { clients_max: 2 } });
  const { port } = sidekick;
  const connect = () => TestClient.connect(port);
  await health(port);
  const reset = async () => {
    const raw = await RawConnection.connect(port);
    const upgrade =
      "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    raw.socket.write(upgrade, () => raw.socket.resetAndDestroy());
    await raw.ended;
  };
  // The runtime does not tell that their peers are gone, of most of them.
  while ((await health(port)).clients < 2) await reset();
  await assert.rejects(connect(), /503/);
  await sidekick.evict("hibernate"); // which takes ten seconds of silence
  const [pinging, silent] = [await connect(), await connect()];
  assert.equal((await health(port)).clients, 2);
  await pinging.settled();
  await assert.rejects(connect(), /503/);
  await sidekick.test(`clock?at=${Date.now() + 61_000}`);
  const listening = await connect();
  await eventually(() => silent.socket.readyState === silent.socket.CLOSING);
  silent.socket.terminate(); // the runtime ends the connection only when the object sleeps
  assert.equal((await silent.closed).code, 1013);
  listening.send({ type: "listen", resources: ["a"] });
  await listening.next();
  await sidekick.test(`clock?at=${Date.now() + 122_000}`);
  await assert.rejects(connect(), /503/);
  await pinging.settled();
});

test("rejects a client over clients_max with the reason, and accepts one again after another leaves", async () => {
  const { port, output } = await start({ limits: { clients_max: 1 } });
  const first = await TestClient.connect(port);
  await assert.rejects(TestClient.connect(port), /503/);
  const raw = await RawConnection.connect(port);
  raw.write(
    "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  assert.match(await raw.until("clients_max"), /^HTTP\/1\.1 503 /);
  await eventually(() => output().includes("rejected a request code=full status=503"));
  assert.equal(output().match(/code=full/g)?.length, 1, "the second one is counted");
  assert.deepEqual(await settle(first), []);
  assert.equal((await health(port)).clients, 1);
  await first.close();
  await eventually(async () => (await health(port)).clients === 0);
  await settle(await TestClient.connect(port));
});

// --- storage ---

test("1,000 resources and 100 tokens on one socket survive hibernation in rows, and leave nothing behind", async () => {
  const sidekick = await start();
  const { port } = sidekick;
  const client = await TestClient.connect(port);
  const resources = Array.from({ length: 1000 }, (_, i) => `a resource with a longer name/${i}`);
  client.send({ type: "listen", resources });
  await client.next();
  for (let i = 0; i < 100; i++) {
    await registerToken(port, `token-number-${i}`, "chat", { roomId: String(i) });
    await client.subscribe(`token-number-${i}`);
  }
  const rows = await sidekick.rows("client");
  assert.ok(rows > 0, `${rows} rows`);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources });
  for (let i = 0; i < 100; i++)
    await post(port, "/message", { channel: "chat", params: { roomId: String(i) }, data: i });
  assert.equal((await settle(client)).length, 1100);
  client.send({ type: "unlisten", resources: resources.slice(1) });
  await client.next();
  assert.equal(await sidekick.rows("client"), 0);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources });
  assert.equal((await settle(client)).length, 1);
  client.send({ type: "listen", resources });
  await client.next();
  await sidekick.evict("hibernate");
  await client.close();
  await eventually(async () => (await sidekick.rows("client")) === 0);
});

test("records with characters beyond Latin-1, which take two bytes each, survive hibernation on both sides of the size limit", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  for (const count of [22, 28]) {
    const resources = Array.from(
      { length: count },
      (_, i) => `${count}-${i}-${"\u4e16".repeat(300)}`,
    );
    client.send({ type: "listen", resources });
    assert.equal((await client.next()).type, "listening");
    assert.equal(await sidekick.rows("client"), count === 28 ? 1 : 0);
    await sidekick.evict("hibernate");
    await post(sidekick.port, "/resources", { resources });
    assert.equal((await settle(client)).length, resources.length);
    client.send({ type: "unlisten", resources });
    await client.next();
  }
});

test("records of many rows survive hibernation: names that grow sixfold when escaped, and a context of 5 MB", async () => {
  const { app, sidekick } = await startWithApp((response) => response.writeHead(204).end());
  const { port } = sidekick;
  const client = await TestClient.connect(port);
  const resources = Array.from({ length: 900 }, (_, i) => `${i}${"\u0001".repeat(1000)}`);
  const say = async (type: "listen" | "unlisten", names: readonly string[]) => {
    for (let i = 0; i < names.length; i += 100) {
      client.send({ type, resources: names.slice(i, i + 100) });
      await client.next();
    }
  };
  await say("listen", resources);
  const clientRows = await sidekick.rows("client");
  assert.ok(clientRows > 4, `${clientRows} rows`);
  const context = "c".repeat(5_000_000);
  await registerToken(port, "token-with-large-context", "chat", {}, context);
  const tokenRows = await sidekick.rows("token");
  assert.ok(tokenRows > 4, `${tokenRows} rows`);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources: resources.slice(400, 410) });
  assert.equal((await settle(client)).length, 10);
  client.send({
    type: "send",
    token: "token-with-large-context",
    channel: "chat",
    params: {},
    data: 1,
  });
  await eventually(async () => app.forwarded.length === 1);
  const { body } = app.forwarded[0]!;
  assert.ok(body.includes(context), `the context is missing from ${body.length} bytes`);
  // Shorter again: no part of the longer records remains.
  await say("unlisten", resources.slice(20));
  assert.equal(await sidekick.rows("client"), 1);
  client.send({ type: "unsubscribe", token: "token-with-large-context" });
  await client.next();
  assert.equal(await sidekick.rows("token"), 0);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources: resources.slice(15, 25) });
  assert.equal((await settle(client)).length, 5);
});

test("a damaged record loses its token and nothing else", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await registerToken(sidekick.port, "token-to-be-damaged");
  await sidekick.sql("UPDATE token SET record = CAST('{ damaged' AS BLOB)");
  await sidekick.evict("hibernate");
  client.send({ type: "subscribe", token: "token-to-be-damaged" });
  assert.match(await client.nextText(), /invalid token/);
  assert.equal(await sidekick.rows("token"), 0);
  await post(sidekick.port, "/resources", { resources: ["todo/1"] });
  assert.equal((await settle(client)).length, 1);
});

// --- resets ---

test("after a reset, which closes every socket unseen, clients reconnect with their tokens", async () => {
  const { app, sidekick } = await startWithApp((response) => response.writeHead(204).end());
  const { port } = sidekick;
  await registerToken(port, "token-that-was-held", "chat", { roomId: "1" }, { user: "ann" });
  await registerToken(port, "token-that-was-free", "chat", { roomId: "1" });
  const client = await TestClient.connect(port);
  await client.subscribe("token-that-was-held");
  await sidekick.evict("close");
  await client.closed;
  assert.equal((await health(port)).clients, 0);
  const back = await TestClient.connect(port);
  await back.subscribe("token-that-was-held");
  await back.subscribe("token-that-was-free");
  await post(port, "/message", { channel: "chat", params: { roomId: "1" }, data: 1 });
  assert.equal((await settle(back)).length, 1);
  back.send({
    type: "send",
    token: "token-that-was-held",
    channel: "chat",
    params: { roomId: "1" },
    data: 2,
  });
  await eventually(async () => app.forwarded.length === 1);
  assert.match(app.forwarded[0]!.body, /"user": ?"ann"/);
});

test("a token expires after the resume window even if nothing woke the object meanwhile", async () => {
  const sidekick = await start({ limits: { token_resume_ms: 200 } });
  await registerToken(sidekick.port, "token-nobody-comes-back-for");
  const client = await TestClient.connect(sidekick.port);
  await client.subscribe("token-nobody-comes-back-for");
  await sidekick.evict("close");
  await client.closed;
  await health(sidekick.port); // the first event after the reset notices that its client is gone
  await sidekick.evict("hibernate");
  await eventually(async () => (await sidekick.rows("token")) === 0); // by the alarm
  const back = await TestClient.connect(sidekick.port);
  back.send({ type: "subscribe", token: "token-nobody-comes-back-for" });
  assert.match(await back.nextText(), /invalid token/);
});

// --- alarms ---

test("the alarm erases expired tokens, wakes the object for that, and is harmless when it fires twice or early", async () => {
  const sidekick = await start({ limits: { token_resume_ms: 300 } });
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await registerToken(sidekick.port, "token-nobody-comes-back-for");
  await sidekick.test("alarm");
  await sidekick.test("alarm");
  assert.notEqual(await sidekick.test("alarm-at"), null);
  await letGo(sidekick.port, "token-nobody-comes-back-for");
  await sidekick.evict("hibernate");
  await eventually(async () => (await sidekick.rows("token")) === 0);
  await sidekick.test("alarm");
  await sidekick.test("alarm");
  assert.equal(await sidekick.test("alarm-at"), null);
  await post(sidekick.port, "/resources", { resources: ["todo/1"] });
  assert.equal((await settle(client)).length, 1);
});

test("a late alarm that fires three times at a sleeping object erases expired tokens and nothing else", async () => {
  const sidekick = await start();
  const { port } = sidekick;
  const tomorrow = Date.now() + 86_400_000; // so that no alarm fires by itself
  await sidekick.test(`clock?at=${tomorrow}`);
  await registerToken(port, "token-that-is-held");
  const client = await TestClient.connect(port);
  await client.subscribe("token-that-is-held");
  await registerToken(port, "token-nobody-takes");
  const tokens = () => sidekick.sql("SELECT key, state, expires_at FROM token ORDER BY key");
  const [free, held] = await tokens();
  assert.deepEqual(
    [free.key, free.state, held.key, held.state],
    ["token-nobody-takes", 0, "token-that-is-held", 2],
  );
  await sidekick.evict("hibernate");
  await sidekick.test(`clock?at=${free.expires_at + 10_000}`);
  assert.deepEqual(await tokens(), [free, held]); // the alarm is late: the token is still stored
  for (let i = 0; i < 3; i++) {
    await sidekick.test("alarm");
    assert.deepEqual(await tokens(), [held]);
    assert.equal(await sidekick.test("alarm-at"), null);
  }
  await post(port, "/message", { channel: "chat", params: {}, data: 1 });
  assert.equal((await settle(client)).length, 1);
});

test("a token expires on time, however late the alarm", async () => {
  const sidekick = await start({ limits: { token_ttl_ms: 300 } });
  await sidekick.test("hold-alarms");
  const client = await TestClient.connect(sidekick.port);
  await registerToken(sidekick.port, "token-that-is-over");
  await eventually(async () => (await sidekick.test("alarms")) === 1);
  assert.equal(await sidekick.rows("token"), 1);
  client.send({ type: "subscribe", token: "token-that-is-over" });
  assert.match(await client.nextText(), /invalid token/);
  assert.equal(await sidekick.rows("token"), 0);
  // A token registered while the late alarm is pending has its own alarm.
  await registerToken(sidekick.port, "token-that-comes-later");
  await sidekick.test("release-alarms");
  await eventually(async () => (await sidekick.rows("token")) === 0);
});

test("an alarm from before a wake is not written again unless it is too late", async () => {
  const sidekick = await start();
  await registerToken(sidekick.port, "token-one-that-is-free");
  const before = await sidekick.test("alarm-at");
  await sidekick.evict("hibernate");
  await health(sidekick.port);
  assert.equal(await sidekick.test("alarm-at"), before);
});
