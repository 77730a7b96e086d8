// Tokens and channels of several Sidekicks that share a Redis server, as processes. For
// sidekick-serve or SIDEKICK_COMMAND.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { startAppServer } from "../hosts/shared/support/app-server.ts";
import { closeEverything } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../hosts/shared/support/run.ts";
import { eventually, registerToken, TestClient } from "../hosts/shared/support/sidekick.ts";
import { type EngineNode, nodeAt, publish, received } from "./support/node.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

/** A client that subscribes with a token that some node got. */
async function subscriber(node: EngineNode, token: string): Promise<TestClient> {
  const client = await TestClient.connect(node.listening);
  await client.subscribe(token);
  return client;
}

/** Subscribes until the token is free, as far as the node knows. */
async function subscribeAtLast(client: TestClient, token: string): Promise<void> {
  await eventually(async () => {
    client.send({ type: "subscribe", token });
    const { type } = await client.next();
    return type === "subscribed";
  });
}

async function startNodes(count: number, config: object = {}) {
  const redis = await startRedis();
  const nodes = await Promise.all(Array.from({ length: count }, () => nodeAt(redis, { config })));
  return { redis, nodes, node: (i: number) => nodes[i % count]! };
}

test("any node accepts tokens and messages; all subscribers see one order", async () => {
  const { nodes, node } = await startNodes(3);
  const clients: TestClient[] = [];
  for (let i = 0; i < 6; ++i) {
    await registerToken(node(i).listening, `t${i}`);
    clients.push(await subscriber(node(i + 1), `t${i}`));
  }
  const each = 300;
  const publishing = nodes.map(async (it, from) => {
    for (let i = 0; i < each; ++i) assert.equal((await publish(it, { from, i })).status, 200);
  });
  const seen = await Promise.all(
    clients.map(async (client) => {
      const all: { from: number; i: number }[] = [];
      while (all.length < 3 * each) all.push((await received(client)) as (typeof all)[number]);
      return all;
    }),
  );
  await Promise.all(publishing);
  for (const one of seen) assert.deepEqual(one, seen[0]);
  for (const from of nodes.keys()) {
    const own = seen[0]!.filter((message) => message.from === from).map(({ i }) => i);
    assert.deepEqual(own, [...Array(each).keys()]);
  }
  for (const client of clients) await client.settled();
});

test("of many clients on all nodes, exactly one gets a token", async () => {
  const { node } = await startNodes(3);
  for (let round = 0; round < 10; ++round) {
    const token = `t${round}`;
    await registerToken(node(round).listening, token);
    const clients = await Promise.all(
      Array.from({ length: 12 }, (_, i) => TestClient.connect(node(i).listening)),
    );
    for (const client of clients) client.send({ type: "subscribe", token });
    const types = await Promise.all(clients.map(async (client) => (await client.next()).type));
    assert.deepEqual(types.sort(), [...Array(11).fill("error"), "subscribed"]);
  }
});

test("a token moves to another node when its client has left; two never hold it", async () => {
  const { node } = await startNodes(2);
  await registerToken(node(0).listening, "t");
  const first = await subscriber(node(0), "t");
  const other = await TestClient.connect(node(1).listening);
  other.send({ type: "subscribe", token: "t" });
  assert.equal((await other.next()).type, "error");
  await first.close();
  await subscribeAtLast(other, "t");
  assert.equal((await publish(node(0), 1)).status, 200);
  assert.equal(await received(other), 1);
  const back = await TestClient.connect(node(0).listening);
  back.send({ type: "subscribe", token: "t" });
  assert.equal((await back.next()).type, "error");
});

test("a session takes its token over at once, although its old socket looks open", async () => {
  const { node } = await startNodes(2);
  const session = "s".repeat(32);
  const greeting = { type: "listen", id: 1, resources: [], hello: session };
  await registerToken(node(0).listening, "t");
  const clients: TestClient[] = [];
  for (const i of [0, 1]) {
    const client = await TestClient.connect(node(i).listening);
    client.send(greeting);
    assert.equal((await client.next()).type, "listening");
    client.send({ type: "subscribe", id: 2, token: "t" });
    assert.equal((await client.next()).type, "subscribed");
    clients.push(client);
  }
  const [before, now] = clients as [TestClient, TestClient];
  assert.equal((await before.closed).code, 4000);
  assert.equal((await publish(node(0), "to the new one")).status, 200);
  assert.equal(await received(now), "to the new one");
});

test("a message of a client reaches the app server through any node, in the order sent", async () => {
  const app = await startAppServer();
  const redis = await startRedis();
  const flags = ["--server-url", app.url, "--server-secret", "s"];
  const [a, b] = await Promise.all([nodeAt(redis, { flags }), nodeAt(redis, { flags })]);
  await registerToken(a.listening, "t", "chat", {}, "the context");
  const client = await subscriber(b, "t");
  for (let data = 0; data < 50; ++data)
    client.send({ type: "send", token: "t", channel: "chat", params: {}, data });
  await eventually(() => app.forwarded.length === 50);
  const sent = app.forwarded.map(({ body }) => JSON.parse(body));
  assert.deepEqual(
    sent.map(({ data }) => data),
    [...Array(50).keys()],
  );
  assert.ok(
    sent.every(({ context }) => context === "the context"),
    JSON.stringify(sent[0]),
  );
});

test("the tokens of a node that was killed are free once its lease has expired", async () => {
  const { node } = await startNodes(2, { engine_lease_ms: 2000 });
  await registerToken(node(0).listening, "t");
  const lost = await subscriber(node(0), "t");
  const client = await TestClient.connect(node(1).listening);
  client.send({ type: "subscribe", token: "t" });
  assert.equal((await client.next()).type, "error");
  node(0).kill("SIGKILL");
  assert.equal((await lost.closed).code, 1006);
  await subscribeAtLast(client, "t");
  assert.equal((await publish(node(1), 1)).status, 200);
  assert.equal(await received(client), 1);
});

test("a node that stops by SIGTERM releases its tokens", async () => {
  const { node } = await startNodes(2, { engine_lease_ms: 600_000 });
  await registerToken(node(0).listening, "t");
  const lost = await subscriber(node(0), "t");
  node(0).kill("SIGTERM");
  assert.equal((await lost.closed).code, 1001);
  assert.equal(await node(0).exit, 0);
  await subscriber(node(1), "t");
});

test("held tokens survive a loss of Redis's data", async () => {
  const { redis, node } = await startNodes(2);
  await registerToken(node(0).listening, "t");
  await registerToken(node(0).listening, "u");
  const clients = [await subscriber(node(0), "t"), await subscriber(node(1), "u")];
  await redis.kill();
  await Promise.all([node(0).isDown(), node(1).isDown()]);
  await redis.restart();
  await Promise.all([node(0).isUp(2), node(1).isUp(2)]);
  // Until a node has joined the channel again, its clients miss messages: there is no history.
  await eventually(async () => {
    const channels = (await redis.says("pubsub", "channels", "*:c:*")).split("\n");
    return (await redis.says("pubsub", "numsub", ...channels)).endsWith("\n2");
  });
  assert.equal((await publish(node(0), "after")).status, 200);
  for (const client of clients) assert.equal(await received(client), "after");
  await clients[0]!.close();
  const moved = await TestClient.connect(node(1).listening);
  await subscribeAtLast(moved, "t");
});
