// The Worker and its object in workerd: what is stored where, sleep, resets, traps, forwards, alarms, several hubs.
import assert from "node:assert/strict";
import * as http from "node:http";
import { after, afterEach, test } from "node:test";
import { startAppServer } from "../hosts/support/app-server.ts";
import type { Answer } from "../hosts/support/app-server.ts";
import { closeEverything, health, registerToken, request, SECRET, settle, startSidekick, TestClient } from "./support/sidekick.ts";
import type { Options, WorkerdSidekick } from "./support/sidekick.ts";

const running: { stop(): Promise<unknown> }[] = [];
after(closeEverything);
afterEach(async () => void (await Promise.all(running.splice(0).map((one) => one.stop()))));

async function start(options: Options = {}): Promise<WorkerdSidekick> {
  const sidekick = await startSidekick(options);
  running.push(sidekick);
  return sidekick;
}

async function startWithApp(answer: Answer, options: Options = {}) {
  const app = await startAppServer(answer);
  running.push({ stop: () => app.close() });
  const sidekick = await start({ ...options, env: { SIDEKICK_SERVER_URL: app.url, SIDEKICK_SERVER_SECRET: "server-secret", ...options.env } });
  return { app, sidekick };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `still not so after 30 s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const post = (port: number, path: string, body: unknown, headers = {}) => request(port, path, JSON.stringify(body), { headers });
const noAnswer: Answer = () => {};

// --- the Worker in front ------------------------------------------------------------------------------------------------

test("a wrong bearer, an unknown path and a body that is too large never reach the object", async () => {
  const sidekick = await start({ limits: { http_body_bytes_max: 100, auth_failure_delay_ms: 1 } });
  const { port } = sidekick;
  const status = async (...args: Parameters<typeof request>) => (await request(...args)).status;
  assert.equal(await status(port, "/message", "{}", { secret: "wrong" }), 401);
  assert.equal(await status(port, "/connection", "{}", { secret: null }), 401);
  assert.equal(await status(port, "/health", undefined, { secret: null, method: "GET" }), 200);
  assert.equal(await status(port, "/health", undefined, { secret: null, method: "HEAD" }), 200);
  assert.equal(await status(port, "/nothing", "{}"), 404);
  assert.equal(await status(port, "/trace", undefined, { method: "GET" }), 404);
  assert.equal(await status(port, "/socket", undefined, { method: "GET" }), 426);
  assert.equal(await status(port, "/message", "x".repeat(101)), 413);
  assert.equal(await status(port, "/message", "x".repeat(101), { headers: { "Transfer-Encoding": "chunked" } }), 413);
  const wrongMethod = await request(port, "/message", undefined, { method: "GET" });
  assert.equal(wrongMethod.status, 405);
  assert.equal(wrongMethod.headers.allow, "POST");
  assert.equal(await sidekick.constructed(), 0);
  assert.equal(await status(port, "/message", "x".repeat(100)), 400);
  assert.equal(await sidekick.constructed(), 1);
});

test("a wish to upgrade to something else is not heard", async () => {
  const { port } = await start();
  const upgrade = { Connection: "Upgrade", Upgrade: "websocket" };
  assert.equal((await request(port, "/health", undefined, { method: "GET", headers: upgrade })).status, 200);
});

test("a secret that is being replaced is accepted as well", async () => {
  const { port } = await start({ env: { SIDEKICK_SECRET_PREVIOUS: "old" } });
  for (const secret of [SECRET, "old"]) assert.equal((await request(port, "/resources", '{"resources":[]}', { secret })).status, 200);
});

test("pages of other origins may not open a socket, where origins are named", async () => {
  const { port } = await start({ env: { SIDEKICK_ALLOWED_ORIGINS: "https://app.example.com, https://b.example.com" } });
  await (await TestClient.connect(port, { Origin: "https://b.example.com" })).close();
  await assert.rejects(TestClient.connect(port, { Origin: "https://evil.example.com" }), /403/);
  await assert.rejects(TestClient.connect(port), /403/);
});

test("several hubs in one deployment, in one isolate, do not see each other", async () => {
  const hub = (secret: string) => ({ secret, limits: { auth_failure_delay_ms: 0 } });
  const sidekick = await start({ env: { SIDEKICK_HUBS: JSON.stringify({ "a.example.com": hub("a"), "b.example.com": hub("b") }) } });
  const { port } = sidekick;
  const at = (name: string) => ({ headers: { Host: `${name}.example.com` }, secret: name });
  const registered = { token: "the-same-token-in-both", channel: "chat", params: {} };
  const clients: TestClient[] = [];
  for (const name of ["a", "b"]) {
    const client = await TestClient.connect(port, at(name).headers);
    clients.push(client);
    assert.equal((await request(port, "/connection", JSON.stringify(registered), at(name))).status, 200);
    await client.subscribe(registered.token);
    client.send({ type: "listen", resources: ["todo/1"] });
    await client.next();
  }
  await sidekick.evict("hibernate", "b.example.com");
  await request(port, "/message", JSON.stringify({ channel: "chat", params: {}, data: "for a" }), at("a"));
  await request(port, "/resources", '{"resources":["todo/1"]}', at("a"));
  assert.equal((await settle(clients[0]!)).length, 2);
  assert.deepEqual(await settle(clients[1]!), []);
  assert.equal((await request(port, "/resources", '{"resources":[]}', { ...at("a"), secret: "b" })).status, 401);
  assert.equal((await request(port, "/health", undefined, { method: "GET", headers: { Host: "c.example.com" } })).status, 404);
});

test("without a secret it says so, in its log and not to strangers", async () => {
  const sidekick = await start({ env: { SIDEKICK_SECRET: "" } });
  const { status, body } = await request(sidekick.port, "/health", undefined, { method: "GET" });
  assert.equal(status, 500);
  assert.match(body, /not configured/);
  await until(async () => sidekick.output().includes("SIDEKICK_SECRET: a secret is required"));
});

// --- sockets --------------------------------------------------------------------------------------------------------------

test("a closed socket is closed on both sides, and its client is forgotten", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  await settle(client);
  client.socket.close(1000, "done");
  assert.equal((await client.closed).code, 1000);
  const rude = await TestClient.connect(sidekick.port);
  await settle(rude);
  rude.socket.terminate();
  await until(async () => (await health(sidekick.port)).clients === 0);
});

test("a client that closes while the object sleeps is forgotten, and its token is free again", async () => {
  const sidekick = await start();
  await registerToken(sidekick.port, "a-token-of-someone");
  const [client, other] = [await TestClient.connect(sidekick.port), await TestClient.connect(sidekick.port)];
  await client.subscribe("a-token-of-someone");
  await sidekick.evict("hibernate");
  await client.close();
  await until(async () => (await health(sidekick.port)).clients === 1);
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

test("a frame over the limit is refused, far over it is the end of its socket, and of no other", async () => {
  const { port } = await start({ limits: { frame_bytes_max: 64 } });
  const [client, other] = [await TestClient.connect(port), await TestClient.connect(port)];
  client.send("x".repeat(65));
  assert.match(await client.nextText(), /frame_bytes_max/);
  client.send(Buffer.from('{ "type": "ping" }')); // binary frames are read as well
  assert.equal(await client.nextText(), '{"type":"pong"}');
  client.send("x".repeat(64 + 64 * 1024));
  assert.match(await client.nextText(), /frame_bytes_max/);
  client.send("x".repeat(64 + 64 * 1024 + 1));
  assert.equal((await client.closed).code, 1009);
  await settle(other);
  await until(async () => (await health(port)).clients === 1);
});

test("where there is no room for another client, it is told so and closed", async () => {
  const { port } = await start({ limits: { clients_max: 1 } });
  const first = await TestClient.connect(port);
  const second = await TestClient.connect(port);
  assert.equal((await second.closed).code, 1013);
  assert.deepEqual(await settle(first), []);
});

// --- what is stored -------------------------------------------------------------------------------------------------------

test("1,000 resources and 100 tokens on one socket outlive sleep, in rows, and leave nothing behind", async () => {
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
  assert.ok((await sidekick.rows("client")) > 0);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources });
  for (let i = 0; i < 100; i++) await post(port, "/message", { channel: "chat", params: { roomId: String(i) }, data: i });
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
  await until(async () => (await sidekick.rows("client")) === 0);
});

test("a record of letters beyond Latin 1, which take twice the room, outlives sleep on both sides of the bound", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  for (const count of [22, 28]) {
    const resources = Array.from({ length: count }, (_, i) => `${count}-${i}-${"\u4e16".repeat(300)}`);
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

test("records of many rows outlive sleep: names that are six times as long when escaped, and a context of 5 MB", async () => {
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
  assert.ok((await sidekick.rows("client")) > 4);
  const context = "c".repeat(5_000_000);
  await registerToken(port, "token-with-large-context", "chat", {}, context);
  assert.ok((await sidekick.rows("token")) > 4);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources: resources.slice(400, 410) });
  assert.equal((await settle(client)).length, 10);
  client.send({ type: "send", token: "token-with-large-context", channel: "chat", params: {}, data: 1 });
  await until(async () => app.forwarded.length === 1);
  assert.ok(app.forwarded[0]!.body.includes(context));
  // Shorter again: no part of the longer ones remains.
  await say("unlisten", resources.slice(20));
  assert.equal(await sidekick.rows("client"), 1);
  client.send({ type: "unsubscribe", token: "token-with-large-context" });
  await client.next();
  assert.equal(await sidekick.rows("token"), 0);
  await sidekick.evict("hibernate");
  await post(port, "/resources", { resources: resources.slice(15, 25) });
  assert.equal((await settle(client)).length, 5);
});

test("a damaged record costs its token and nothing else", async () => {
  const sidekick = await start();
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await registerToken(sidekick.port, "token-to-be-damaged");
  await sidekick.test("damage");
  await sidekick.evict("hibernate");
  client.send({ type: "subscribe", token: "token-to-be-damaged" });
  assert.match(await client.nextText(), /not valid here/);
  assert.equal(await sidekick.rows("token"), 0);
  await post(sidekick.port, "/resources", { resources: ["todo/1"] });
  assert.equal((await settle(client)).length, 1);
});

// --- resets ---------------------------------------------------------------------------------------------------------------

test("after a reset, which closes every socket unseen, clients come back with the tokens they have", async () => {
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
  back.send({ type: "send", token: "token-that-was-held", channel: "chat", params: { roomId: "1" }, data: 2 });
  await until(async () => app.forwarded.length === 1);
  assert.match(app.forwarded[0]!.body, /"user": ?"ann"/);
});

test("after the resume window a token is over, also if nobody woke the object meanwhile", async () => {
  const sidekick = await start({ limits: { token_resume_ms: 200 } });
  await registerToken(sidekick.port, "token-nobody-comes-back-for");
  const client = await TestClient.connect(sidekick.port);
  await client.subscribe("token-nobody-comes-back-for");
  await sidekick.evict("close");
  await client.closed;
  await health(sidekick.port); // the first event after the reset sees that its client is gone
  await sidekick.evict("hibernate");
  await until(async () => (await sidekick.rows("token")) === 0); // by the alarm
  const back = await TestClient.connect(sidekick.port);
  back.send({ type: "subscribe", token: "token-nobody-comes-back-for" });
  assert.match(await back.nextText(), /not valid here/);
});

// --- alarms ---------------------------------------------------------------------------------------------------------------

test("the alarm erases what has expired, wakes the object for it, and is harmless when it comes twice or early", async () => {
  const sidekick = await start({ limits: { token_ttl_ms: 300 } });
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await registerToken(sidekick.port, "token-nobody-takes");
  await sidekick.test("alarm");
  await sidekick.test("alarm");
  assert.notEqual(await sidekick.test("alarm-at"), null);
  await sidekick.evict("hibernate");
  await until(async () => (await sidekick.rows("token")) === 0);
  await sidekick.test("alarm");
  await sidekick.test("alarm");
  assert.equal(await sidekick.test("alarm-at"), null);
  await post(sidekick.port, "/resources", { resources: ["todo/1"] });
  assert.equal((await settle(client)).length, 1);
});

test("a token is over when its time is, however late the alarm", async () => {
  const sidekick = await start({ limits: { token_ttl_ms: 1 } });
  await registerToken(sidekick.port, "token-of-one-millisecond");
  await new Promise((resolve) => setTimeout(resolve, 20));
  const client = await TestClient.connect(sidekick.port);
  client.send({ type: "subscribe", token: "token-of-one-millisecond" });
  assert.match(await client.nextText(), /not valid here/);
});

test("an alarm that stands from before a wake is not written again, unless it is too late", async () => {
  const sidekick = await start();
  await registerToken(sidekick.port, "token-one-that-is-free");
  const before = await sidekick.test("alarm-at");
  await sidekick.evict("hibernate");
  await health(sidekick.port);
  assert.equal(await sidekick.test("alarm-at"), before);
});

// --- forwards -------------------------------------------------------------------------------------------------------------

async function sender(port: number): Promise<{ client: TestClient; send: (data: unknown) => void }> {
  await registerToken(port, "token-to-send-with");
  const client = await TestClient.connect(port);
  return { client, send: (data) => client.send({ type: "send", token: "token-to-send-with", channel: "chat", params: {}, data }) };
}

for (const [what, answer, expected] of [
  ["fails", (response) => response.writeHead(500).end("oops"), /"fault": "server".*answered 500/],
  ["refuses", (response) => response.writeHead(400).end('{ "fault": "client", "message": "not you" }'), /"fault": "client", "message": "not you"/],
  ["sends elsewhere", (response) => response.writeHead(302, { Location: "http://127.0.0.1:1/" }).end(), /answered 302/],
  ["babbles", (response) => response.writeHead(500).end("x".repeat(1_000_000)), /answered 500/],
  ["breaks off", (response) => response.writeHead(200, { "Content-Length": 10 }).write("x", () => response.destroy()), /could not be reached, or broke off/],
  ["hangs", noAnswer, /did not answer within 300 ms|could not be reached/],
] satisfies [string, Answer, RegExp][]) {
  test(`an app server that ${what} costs its sender an error, and nobody else anything`, async () => {
    const { app, sidekick } = await startWithApp(answer, { limits: { forward_timeout_ms: 300 } });
    const { client, send } = await sender(sidekick.port);
    send("first");
    assert.match(await client.nextText(), expected);
    app.answer = (response) => response.writeHead(204).end();
    send("second");
    await until(async () => app.forwarded.length === 2);
    assert.equal(app.forwarded[1]!.headers.authorization, "Bearer server-secret");
    assert.match(app.forwarded[1]!.url, /tenant=a%20b&type=channel$|type=channel/);
    await until(async () => (await health(sidekick.port)).forwards === 0);
    assert.deepEqual(await settle(client), []);
  });
}

test("no app server, or one that refuses connections: an error for the sender", async () => {
  const { port } = await start();
  const { client, send } = await sender(port);
  send(1);
  assert.match(await client.nextText(), /"fault": "server"/);
  const { port: other } = await start({ env: { SIDEKICK_SERVER_URL: "http://127.0.0.1:1/" } });
  const second = await sender(other);
  second.send(1);
  assert.match(await second.client.nextText(), /could not be reached/);
});

test("a forward that hangs holds back neither the next frame of its socket, nor anybody else, nor other channels", async () => {
  const held: http.ServerResponse[] = [];
  const { app, sidekick } = await startWithApp((response, { body }) => {
    if (body.includes("hang")) held.push(response);
    else response.writeHead(204).end();
  });
  const { client, send } = await sender(sidekick.port);
  send("hang");
  // More than the six connections that an object may have waiting on Cloudflare.
  for (let i = 0; i < 12; i++) {
    await registerToken(sidekick.port, `token-of-hanging-room-${i}`, "chat", { roomId: `hang-${i}` });
    client.send({ type: "send", token: `token-of-hanging-room-${i}`, channel: "chat", params: { roomId: `hang-${i}` }, data: 1 });
  }
  await until(async () => held.length === 13);
  client.send({ type: "listen", resources: ["todo/1"] });
  assert.equal((await client.next()).type, "listening");
  await registerToken(sidekick.port, "token-of-another-room", "chat", { roomId: "2" });
  client.send({ type: "send", token: "token-of-another-room", channel: "chat", params: { roomId: "2" }, data: "through" });
  await until(async () => app.forwarded.length === 14);
  await post(sidekick.port, "/resources", { resources: ["todo/1"] });
  assert.equal((await settle(client)).length, 1);
  held[0]!.writeHead(400).end('{ "fault": "client", "message": "at last" }');
  assert.match(await client.nextText(), /at last/);
});

// --- traps ----------------------------------------------------------------------------------------------------------------

test("after a trap only the one who caused it is closed; everybody else keeps tokens, topics and resources", async () => {
  const { app, sidekick } = await startWithApp((response) => response.writeHead(204).end());
  const { port } = sidekick;
  for (const name of ["good", "bad", "idle"]) await registerToken(port, `token-of-the-${name}-one`, "chat", {}, name);
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
    await until(async () => (await health(port)).clients === 1);
  }
  assert.equal((await request(port, "/message", "trap!")).status, 500);
  await post(port, "/message", { channel: "chat", params: {}, data: "still" });
  assert.equal((await settle(good)).length, 1);
  good.send({ type: "send", token: "token-of-the-good-one", channel: "chat", params: {}, data: 1 });
  await until(async () => app.forwarded.length === 1);
  assert.match(app.forwarded[0]!.body, /"good"/);
  const back = await TestClient.connect(port);
  await back.subscribe("token-of-the-bad-one");
  await back.subscribe("token-of-the-idle-one");
  await until(async () => sidekick.output().split("the hub trapped").length - 1 === 3);
});

test("a trap at the end of a socket leaves no ghost of its client", async () => {
  const sidekick = await start();
  await registerToken(sidekick.port, "token-that-is-held");
  const [client, other] = [await TestClient.connect(sidekick.port), await TestClient.connect(sidekick.port)];
  await client.subscribe("token-that-is-held");
  await sidekick.test("trap-at-close");
  await client.close();
  await until(async () => sidekick.output().includes("trapped at client_closed"));
  assert.equal((await health(sidekick.port)).clients, 1);
  await other.subscribe("token-that-is-held");
});

test("records at which the hub traps are dropped, and everybody starts afresh rather than nobody at all", async () => {
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

test("the answer to a forward of a hub that trapped concerns nobody", async () => {
  const held: http.ServerResponse[] = [];
  const { app, sidekick } = await startWithApp((response) => void held.push(response));
  const { client, send } = await sender(sidekick.port);
  send("before");
  await until(async () => held.length === 1);
  await request(sidekick.port, "/message", "trap!");
  send("after");
  await until(async () => held.length === 2);
  held[0]!.writeHead(400).end('{ "fault": "client", "message": "of the old one" }');
  held[1]!.writeHead(400).end('{ "fault": "client", "message": "of the new one" }');
  assert.match(await client.nextText(), /of the new one/);
  assert.deepEqual(await settle(client), []);
  assert.equal(app.forwarded.length, 2);
});

// --- recording ------------------------------------------------------------------------------------------------------------

const fetchTrace = async (port: number) => (await request(port, "/trace", undefined, { method: "GET" })).body;

test("the recording replays, through sleep, a reset and a trap, and only who has the secret gets it", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "1000000" }, limits: { auth_failure_delay_ms: 1 } });
  const { port } = sidekick;
  await registerToken(port, "token-in-the-recording");
  const client = await TestClient.connect(port);
  await client.subscribe("token-in-the-recording");
  await sidekick.evict("hibernate");
  client.send({ type: "listen", resources: ["todo/1"] });
  await client.next();
  await request(port, "/message", "trap!");
  await post(port, "/resources", { resources: ["todo/1"] });
  await sidekick.evict("close");
  await client.closed;
  await health(port);
  assert.equal((await request(port, "/trace", undefined, { method: "GET", secret: "wrong" })).status, 401);
  const trace = await fetchTrace(port);
  assert.equal(trace.match(/^\{"trace":1,/gm)?.length, 4);
  assert.ok(!trace.includes(SECRET));
  // The drill, not the module, makes the trap: the input itself replays without one.
  const withoutTrap = trace.split("\n").filter((line) => !line.includes("trap!")).join("\n");
  const { difference, inputs } = await sidekick.test("replay", Buffer.from(withoutTrap));
  assert.equal(difference, undefined, JSON.stringify(difference));
  assert.ok(inputs > 8);
  assert.match(trace, /"in":"http_request".*trap!.*\n\{"trace":1,/);
});

test("the recording is bounded: old ones go, and what remains still replays", async () => {
  const sidekick = await start({ env: { SIDEKICK_TRACE_BYTES: "20000" } });
  const { port } = sidekick;
  const client = await TestClient.connect(port);
  for (let i = 0; i < 300; i++) {
    client.send({ type: "listen", resources: [`todo/${i % 10}`] });
    await client.next();
  }
  const trace = await fetchTrace(port);
  assert.ok(trace.length < 2 * 20000, `${trace.length} bytes`);
  assert.match(trace, /^\{"trace":1,/);
  const { difference, inputs } = await sidekick.test("replay", Buffer.from(trace));
  assert.equal(difference, undefined, JSON.stringify(difference));
  assert.ok(inputs > 20, `${inputs} inputs`);
});
