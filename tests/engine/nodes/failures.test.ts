// The guarantees of docs/scale.md while nodes and Redis fail, with nodes of both hosts and
// covenant-sidekick/client.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { closeEverything } from "../../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../../hosts/shared/support/run.ts";
import { eventually, registerToken, TestClient } from "../../hosts/shared/support/sidekick.ts";
import { startCluster } from "../support/cluster.ts";

afterEach(closeEverything);
after(killLeftRunning);

const NEVER_MS = 600_000;
/** All that the app is told while its connection goes on. */
const UNDISTURBED = ["connecting", "greeting", "live"];

test("kill -9 of a node: a client continues at another, with its token and no gap", async () => {
  const cluster = await startCluster(["node", "native", "node"]);
  const client = cluster.client(0);
  await client.join();
  for (const [place, to] of [
    [0, 1],
    [1, 2],
  ] as const) {
    assert.equal(await cluster.publish(2, `before ${place}`), 200);
    await client.hears(`before ${place}`);
    client.moveTo(to);
    cluster.nodes[place]!.kill("SIGKILL");
    assert.equal(await cluster.publish(2, `after ${place}`), 200);
    await client.hears(`after ${place}`);
    await client.send(place);
  }
  assert.deepEqual(client.heard, ["before 0", "after 0", "before 1", "after 1"]);
  assert.deepEqual(
    cluster.app.heard.map(({ data }) => data),
    [0, 1],
  );
  assert.equal(cluster.app.tokens, 1);
});

test("kill -9 of a node: others get its tokens 10 s after its last heartbeat", async () => {
  const cluster = await startCluster(["node", "native", "node"]);
  const { nodes, redis } = cluster;
  const tokens = ["token-of-node", "token-of-native"];
  const key = (name: string) => `sidekick:1:0:${name}`;
  const other = await TestClient.connect(nodes[2]!.listening);
  const isFree = async (token: string) => {
    other.send({ type: "subscribe", token });
    return (await other.next()).type === "subscribed";
  };
  const leases: string[] = [];
  for (const [i, token] of tokens.entries()) {
    await registerToken(nodes[2]!.listening, token);
    await (await TestClient.connect(nodes[i]!.listening)).subscribe(token);
    leases.push(key(`n:${await redis.says("hget", key(`t:${token}`), "n")}`));
    assert.equal(await isFree(token), false);
  }
  for (const node of nodes.slice(0, 2)) node.kill("SIGKILL");
  const leftMs = await Promise.all(leases.map(async (it) => Number(await redis.says("pttl", it))));
  for (const [i, token] of tokens.entries()) {
    assert.ok(leftMs[i]! > 0 && leftMs[i]! <= 10_000, `${leftMs} ms`);
    assert.equal(await isFree(token), false);
  }
  await sleep(Math.max(...leftMs));
  for (const [i, token] of tokens.entries()) {
    await eventually(async () => (await redis.says("exists", leases[i]!)) === "0");
    assert.equal(await isFree(token), true);
  }
});

test("Redis is stopped for 2 s: clients do not notice", async () => {
  const cluster = await startCluster(["node", "native"], {
    config: { engine_timeout_ms: NEVER_MS },
  });
  const clients = [cluster.client(0), cluster.client(1)];
  await Promise.all(clients.map((client) => client.join()));
  const seen = await Promise.all(clients.map((client) => client.watch("a")));
  // A node handles the messages of a client in order: it listens now.
  await Promise.all(clients.map((client) => client.send("before")));
  cluster.redis.process.kill("SIGSTOP");
  const answers = [cluster.publish(0, 0), cluster.publish(1, 1)];
  const change = clients[0]!.client.mutate("change", "a");
  await Promise.all(clients.map((client, i) => client.send(`meanwhile ${i}`)));
  await sleep(2000);
  cluster.redis.process.kill("SIGCONT");
  assert.deepEqual(await Promise.all(answers), [200, 200]);
  await change;
  for (const [i, client] of clients.entries()) {
    await eventually(() => client.heard.length === 2 && seen[i]!.includes(1));
    assert.deepEqual(client.heard, clients[0]!.heard);
    assert.deepEqual(client.told, UNDISTURBED);
  }
  assert.deepEqual([...clients[0]!.heard].sort(), [0, 1]);
});

test("Redis stops for 12 s: held tokens work, requests fail, clients then catch up", async () => {
  const cluster = await startCluster(["node", "native"]);
  const clients = [cluster.client(0), cluster.client(1)];
  await Promise.all(clients.map((client) => client.join()));
  const started = Date.now();
  cluster.redis.process.kill("SIGSTOP");
  await cluster.areDown();
  assert.deepEqual(await Promise.all([0, 1].map((i) => cluster.publish(i, "no"))), [503, 503]);
  await Promise.all(clients.map((client, i) => client.send(`meanwhile ${i}`)));
  const seen = await Promise.all(clients.map((client) => client.watch("late")));
  for (const client of clients) await eventually(() => client.told.includes("engine"));
  await sleep(Math.max(0, started + 12_000 - Date.now()));
  cluster.redis.process.kill("SIGCONT");
  await cluster.areUp(2);
  assert.equal(await cluster.publish(0, "yes"), 200);
  await clients[0]!.client.mutate("change", "late");
  for (const [i, client] of clients.entries()) {
    await client.hears("yes");
    await eventually(() => seen[i]!.includes(1));
    assert.deepEqual(client.heard, ["yes"]);
    assert.deepEqual([...new Set(client.told)], [...UNDISTURBED, "engine"]);
    await client.send(`afterwards ${i}`);
  }
  assert.deepEqual(cluster.app.heard.map(({ data }) => data).sort(), [
    ...["afterwards 0", "afterwards 1", "meanwhile 0", "meanwhile 1"],
  ]);
  assert.equal(cluster.app.tokens, 2);
});

test("Redis comes back empty: held tokens keep working, and every listener is told", async () => {
  const cluster = await startCluster(["node", "native"], { config: { resync_spread_ms: 1000 } });
  const clients = [cluster.client(0), cluster.client(1)];
  await Promise.all(clients.map((client) => client.join()));
  const seen = await Promise.all(clients.map((client) => client.watch("a")));
  assert.equal(await cluster.publish(0, "before"), 200);
  for (const client of clients) await client.hears("before");
  const runs = seen.map((values) => values.length);
  const channel = await cluster.redis.says("pubsub", "channels", "*:c:*chat*");
  await cluster.redis.kill();
  await cluster.areDown();
  await cluster.redis.restart();
  await cluster.areUp(2);
  // Until a node has joined the channel again, its clients miss messages: there is no history.
  await eventually(async () =>
    (await cluster.redis.says("pubsub", "numsub", channel)).endsWith("\n2"),
  );
  assert.equal(await cluster.publish(1, "after"), 200);
  for (const [i, client] of clients.entries()) {
    await client.hears("after");
    await eventually(() => seen[i]!.length > runs[i]!);
    assert.deepEqual(client.heard, ["before", "gap", "after"]);
    await client.send(i);
    // Redis knows again who holds the token.
    const other = await TestClient.connect(cluster.nodes[1 - i]!.listening);
    other.send({ type: "subscribe", token: client.token });
    assert.equal((await other.next()).type, "error");
    assert.deepEqual(client.told, UNDISTURBED);
  }
  assert.deepEqual(cluster.app.heard.map(({ data }) => data).sort(), [0, 1]);
  assert.equal(cluster.app.tokens, 2);
});

test("a client retries until its node has reached Redis for the first time", async () => {
  const cluster = await startCluster(["node"], { config: { engine_wait_ms: 100 } });
  await cluster.redis.kill();
  for (const [i, kind] of (["node", "native"] as const).entries()) {
    const node = await cluster.startNode(kind, i, true);
    const client = cluster.client(i);
    client.sidekick.connect();
    await eventually(() => /engine unreachable/.test(client.sidekick.state.reason ?? ""));
    await cluster.redis.restart();
    await node.isUp(1);
    await client.isLive();
    assert.equal(client.sidekick.state.legacy, false);
    await cluster.redis.kill();
  }
});
