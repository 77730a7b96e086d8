// Faults that only our own bug or a broken disk can cause: traps and failing writes. The sender of
// the input loses its socket, and nobody else loses anything.
import assert from "node:assert/strict";
import type * as http from "node:http";
import { after, afterEach, test } from "node:test";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import {
  closeEverything,
  eventually,
  health,
  letGo,
  post,
  registerToken,
  request,
  SECRET,
  sender,
  settle,
  start,
  startApp,
  startWithApp,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

after(closeEverything);
afterEach(stopAll);

test("a trap closes only the sender of its input; all others keep what they have", async () => {
  const { app, sidekick } = await startWithApp((response) => response.writeHead(204).end());
  const { port } = sidekick;
  for (const name of ["good", "bad", "idle"])
    await registerToken(port, `token-of-the-${name}-one`, "chat", {}, name);
  const good = await TestClient.connect(port);
  await good.subscribe("token-of-the-good-one");
  good.send({ type: "listen", resources: ["todo/1"] });
  await good.next();
  for (const sleeps of [false, true]) {
    const bad = await TestClient.connect(port);
    await bad.subscribe("token-of-the-bad-one");
    if (sleeps) await sidekick.evict("hibernate");
    bad.send("trap!");
    assert.equal((await bad.closed).code, 1011);
    await post(port, "/message", { channel: "chat", params: {}, data: "on" });
    await post(port, "/resources", { resources: ["todo/1"] });
    assert.equal((await settle(good)).length, 2);
    await eventually(async () => (await health(port)).clients === 1);
  }
  assert.equal((await request(port, "/message", "trap!")).status, 500);
  await post(port, "/message", { channel: "chat", params: {}, data: "still" });
  assert.equal((await settle(good)).length, 1);
  good.send({ type: "send", token: "token-of-the-good-one", channel: "chat", params: {}, data: 1 });
  await eventually(async () => app.forwarded.length === 1);
  assert.match(app.forwarded[0]!.body, /"good"/);
  const back = await TestClient.connect(port);
  await back.subscribe("token-of-the-bad-one");
  await back.subscribe("token-of-the-idle-one");
  await eventually(async () => sidekick.output().split("the hub trapped").length - 1 === 3);
  assert.match(
    sidekick.output(),
    /the Sidekick closes a socket code=internal client=\d+ status=1011/,
  );
});

test("a trap at client_closed leaves no ghost client", async () => {
  const sidekick = await start();
  await registerToken(sidekick.port, "token-that-is-held");
  const [client, other] = [
    await TestClient.connect(sidekick.port),
    await TestClient.connect(sidekick.port),
  ];
  await client.subscribe("token-that-is-held");
  await sidekick.test("trap-at?input=client_closed");
  await client.close();
  await eventually(async () =>
    sidekick.output().includes("please report this input=client_closed"),
  );
  assert.equal((await health(sidekick.port)).clients, 1);
  await other.subscribe("token-that-is-held");
});

test("records that make the hub trap are dropped, and the object starts empty rather than serving nobody", async () => {
  const sidekick = await start();
  const { port } = sidekick;
  const client = await TestClient.connect(port);
  await registerToken(port, "token-with-a-record-that-breaks", "chat", {}, "poison!");
  await registerToken(port, "token-of-somebody-else");
  await client.subscribe("token-of-somebody-else");
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources: [] });
  assert.equal((await client.closed).code, 1011);
  assert.equal(await sidekick.rows("token"), 0);
  const back = await TestClient.connect(port);
  await registerToken(port, "token-that-is-new");
  await back.subscribe("token-that-is-new");
  assert.equal((await health(port)).clients, 1);
});

test("a trap at the alarm closes nobody, and expired tokens are erased without further events", async () => {
  const sidekick = await start({ limits: { token_resume_ms: 300 } });
  const { port } = sidekick;
  await registerToken(port, "token-that-is-held");
  const client = await TestClient.connect(port);
  await client.subscribe("token-that-is-held");
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  for (const sleeps of [false, true]) {
    await sidekick.test("trap-at?input=timer_fired");
    await registerToken(port, "token-that-is-let-go");
    await letGo(port, "token-that-is-let-go");
    if (sleeps) await sidekick.evict("hibernate");
    await eventually(async () => (await sidekick.rows("token")) === 1);
    await trapped(sidekick, "timer_fired", sleeps ? 2 : 1);
    await post(port, "/message", { channel: "chat", params: {}, data: 1 });
    await post(port, "/resources", { resources: ["todo/1"] });
    assert.equal((await settle(client)).length, 2);
    assert.equal(await sidekick.test("alarm-at"), null);
  }
});

test("a trap at the app server's answer closes nobody; everyone keeps their tokens, and the alarm is set for the free one", async () => {
  const held: http.ServerResponse[] = [];
  const { app, sidekick } = await startWithApp((response) => void held.push(response));
  const { port } = sidekick;
  const one = await sender(port);
  const other = await sender(port, "2");
  for (const { client, token } of [one, other]) {
    await client.subscribe(token);
    client.send({ type: "listen", resources: ["todo/1"] });
    await client.next();
  }
  one.send("first");
  await eventually(() => held.length === 1);
  await registerToken(port, "token-nobody-takes");
  await sidekick.test("trap-at?input=forward_done");
  held[0]!.writeHead(400).end('{ "fault": "client", "message": "that nobody hears" }');
  await trapped(sidekick, "forward_done");
  const [free] = await sidekick.sql("SELECT expires_at FROM token WHERE state = 0");
  assert.equal(await sidekick.test("alarm-at"), free.expires_at);
  await post(port, "/resources", { resources: ["todo/1"] });
  for (const [at, { client, send }] of [one, other].entries()) {
    await post(port, "/message", { channel: "chat", params: { roomId: String(at + 1) }, data: 1 });
    send("next");
    await eventually(() => held.length === 2 + at);
    held[1 + at]!.writeHead(400).end('{ "fault": "client", "message": "the next one" }');
    await eventually(async () => (await health(port)).forwards === 0);
    const types = (await settle(client)).map((message) => JSON.parse(message).type);
    assert.deepEqual(types, ["updated", "message", "error"]);
  }
  assert.equal(app.forwarded.length, 3);
});

test("a trap in one of two objects in one isolate: the other continues and is not even restored", async () => {
  const held: http.ServerResponse[] = [];
  const app = await startApp((response) => void held.push(response));
  const settings = { secret: SECRET, server_url: app.url, limits: { token_resume_ms: 300 } };
  const sidekick = await start({
    env: {
      SIDEKICK_HUBS: JSON.stringify({
        "trapping.example.com": settings,
        "working.example.com": settings,
      }),
    },
  });
  const { port } = sidekick;
  const working = { Host: "working.example.com" };
  const trapping = { Host: "trapping.example.com" };
  const client = await TestClient.connect(port, working);
  assert.equal(
    (
      await post(
        port,
        "/connection",
        { token: "token-of-the-working-one", channel: "chat", params: {} },
        working,
      )
    ).status,
    200,
  );
  await client.subscribe("token-of-the-working-one");
  assert.equal(
    (
      await post(
        port,
        "/connection",
        { token: "token-that-will-be-over", channel: "chat", params: {} },
        working,
      )
    ).status,
    200,
  );
  await letGo(port, "token-that-will-be-over", working);
  client.send({
    type: "send",
    token: "token-of-the-working-one",
    channel: "chat",
    params: {},
    data: "slow",
  });
  await eventually(() => held.length === 1);
  for (const how of ["frame", "body"]) {
    const bad = await TestClient.connect(port, trapping);
    if (how === "frame") bad.send("trap!");
    else
      assert.equal((await request(port, "/message", "trap!", { headers: trapping })).status, 500);
    if (how === "frame") assert.equal((await bad.closed).code, 1011);
    await post(port, "/message", { channel: "chat", params: {}, data: how }, working);
    assert.equal((await client.next()).data, how);
  }
  held[0]!.writeHead(400).end('{ "fault": "client", "message": "also the answer comes" }');
  assert.match(await client.nextText(), /also the answer comes/);
  await eventually(async () => (await sidekick.rows("token", working.Host)) === 1); // its alarm
  assert.equal(await sidekick.test(`hubs?hub=${working.Host}`), 1);
  assert.equal(await sidekick.test(`hubs?hub=${trapping.Host}`), 3);
});

test("ignores the answer to a forward of a hub that trapped", async () => {
  const held: http.ServerResponse[] = [];
  const { app, sidekick } = await startWithApp((response) => void held.push(response));
  const { client, send } = await sender(sidekick.port);
  send("before");
  await eventually(async () => held.length === 1);
  await request(sidekick.port, "/message", "trap!");
  send("after");
  await eventually(async () => held.length === 2);
  held[0]!.writeHead(400).end('{ "fault": "client", "message": "of the old one" }');
  held[1]!.writeHead(400).end('{ "fault": "client", "message": "of the new one" }');
  assert.match(await client.nextText(), /of the new one/);
  assert.deepEqual(await settle(client), []);
  assert.equal(app.forwarded.length, 2);
});

// --- failing writes ---

/** From now on SQLite rejects one kind of write, as a full disk does. */
const breakWrites = (sidekick: WorkerdSidekick, what: string) =>
  sidekick.sql(
    `CREATE TRIGGER broken BEFORE ${what} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`,
  );
const mendWrites = (sidekick: WorkerdSidekick) => sidekick.sql("DROP TRIGGER broken");

test("a token that was not stored is not confirmed, and is unknown", async () => {
  const sidekick = await start();
  const { port } = sidekick;
  await registerToken(port, "token-from-before");
  const [client, other] = [await TestClient.connect(port), await TestClient.connect(port)];
  await client.subscribe("token-from-before");
  await breakWrites(sidekick, "INSERT ON token");
  const { status, body } = await post(port, "/connection", {
    token: "token-not-stored",
    channel: "chat",
    params: {},
  });
  assert.equal(status, 503);
  assert.match(body, /storage failed/);
  other.send({ type: "subscribe", token: "token-not-stored" });
  assert.match(await other.nextText(), /invalid token/);
  await mendWrites(sidekick);
  await registerToken(port, "token-not-stored");
  await post(port, "/message", { channel: "chat", params: {}, data: 1 });
  assert.equal((await settle(client)).length, 1);
});

for (const [what, broken, frame] of [
  ["taking a token", "UPDATE ON token", { type: "subscribe", token: "token-of-the-unlucky-one" }],
  [
    "sending with a token",
    "UPDATE ON token",
    { type: "send", token: "token-of-the-unlucky-one", channel: "chat", params: {}, data: 1 },
  ],
  [
    "a record in rows",
    "INSERT ON client",
    { type: "listen", resources: Array.from({ length: 200 }, (_, i) => `${i}/${"x".repeat(100)}`) },
  ],
] as [string, string, object][]) {
  test(`a failed write is not confirmed: ${what} closes its sender with 1011 and affects nobody else`, async () => {
    const { app, sidekick } = await startWithApp((response) => response.writeHead(204).end());
    const { port } = sidekick;
    await registerToken(port, "token-of-the-lucky-one");
    await registerToken(port, "token-of-the-unlucky-one");
    const [lucky, unlucky] = [await TestClient.connect(port), await TestClient.connect(port)];
    await lucky.subscribe("token-of-the-lucky-one");
    lucky.send({ type: "listen", resources: ["todo/1"] });
    await lucky.next();
    await breakWrites(sidekick, broken);
    unlucky.send(frame);
    await assert.rejects(unlucky.nextText(), /closed \(1011/); // and nothing before that
    await post(port, "/message", { channel: "chat", params: {}, data: 1 });
    await post(port, "/resources", { resources: ["todo/1"] });
    assert.equal((await settle(lucky)).length, 2);
    await mendWrites(sidekick);
    await eventually(async () => (await health(port)).clients === 1);
    assert.equal(app.forwarded.length, 0);
    assert.equal(await sidekick.rows("client"), 0);
    const back = await TestClient.connect(port);
    await back.subscribe("token-of-the-unlucky-one");
    back.send(frame);
    await settle(back);
    assert.deepEqual(await settle(lucky), []);
  });
}

test("a failed write is not confirmed: unsubscribing closes its sender with 1011", async () => {
  const sidekick = await start();
  const { port } = sidekick;
  await registerToken(port, "token-that-is-given-back");
  const client = await TestClient.connect(port);
  await client.subscribe("token-that-is-given-back");
  await breakWrites(sidekick, "DELETE ON token");
  client.send({ type: "unsubscribe", token: "token-that-is-given-back" });
  await assert.rejects(client.nextText(), /closed \(1011/);
  await mendWrites(sidekick);
  await settle(await TestClient.connect(port));
});

test("a failed erase of an expired token closes nobody: after a restore the token is free for one more window", async () => {
  const sidekick = await start({ limits: { token_resume_ms: 100 } });
  const { port } = sidekick;
  await registerToken(port, "token-that-ends");
  const client = await TestClient.connect(port);
  await breakWrites(sidekick, "DELETE ON token");
  await letGo(port, "token-that-ends");
  await eventually(async () => (await health(port)).tokens === 0);
  client.send({ type: "subscribe", token: "token-that-ends" });
  assert.match(await client.nextText(), /invalid token/);
  assert.equal(await sidekick.test("hubs"), 1);
  assert.deepEqual(await sidekick.sql("SELECT state FROM token"), [{ state: 0 }]);
  await mendWrites(sidekick);
  await sidekick.evict("hibernate");
  assert.deepEqual(await settle(client), []);
  await eventually(async () => (await sidekick.rows("token")) === 0);
});

/**
 * Resolves when the log reports this many traps there: a line may arrive after the answer to the
 * input that caused it.
 */
async function trapped(sidekick: WorkerdSidekick, at: string, times = 1): Promise<void> {
  const lines = () =>
    sidekick
      .output()
      .split("\n")
      .filter((line) =>
        line.includes(`the hub trapped and is replaced; please report this input=${at}`),
      );
  await eventually(() => lines().length >= times);
  assert.equal(lines().length, times);
}
