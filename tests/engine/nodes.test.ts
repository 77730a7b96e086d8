// Several Sidekicks that share a Redis server, as processes: what clients and the app server see
// while nodes and the server come and go. For sidekick-serve or SIDEKICK_COMMAND.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { closeEverything } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../hosts/shared/support/run.ts";
import { eventually, TestClient } from "../hosts/shared/support/sidekick.ts";
import {
  change,
  changed,
  changedTimes,
  type EngineNode,
  fileForTest,
  listener,
  nodeAt,
} from "./support/node.ts";
import { startRedis } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

const NEVER_MS = 600_000;

test("a change at one node reaches all nodes' listeners, once, in one order", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([nodeAt(redis), nodeAt(redis)]);
  const names = Array.from({ length: 200 }, (_, i) => `r${i}`);
  const clients = await Promise.all([a, b, b].map((node) => listener(node, ...names)));
  const answers = await Promise.all(names.map((name, i) => change(i % 2 === 0 ? a : b, name)));
  for (const { status } of answers) assert.equal(status, 200);
  const [first = [], ...others] = await Promise.all(
    clients.map((client) => changedTimes(client, names.length)),
  );
  assert.deepEqual([...first].sort(), [...names].sort());
  for (const other of others) assert.deepEqual(other, first);
  for (const client of clients) await client.settled();
});

test("a client that listens gets no change of a resource that it left", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([
    nodeAt(redis),
    nodeAt(redis, { config: { topic_linger_ms: 0 } }),
  ]);
  const client = await listener(b, "r", "s");
  client.send({ type: "unlisten", resources: ["r"] });
  assert.equal((await client.next()).type, "unlistening");
  await eventually(async () => !/:r$/m.test(await redis.says("pubsub", "channels")));
  assert.equal((await change(a, "r", "s")).status, 200);
  assert.equal(await changed(client), "s");
  await client.settled();
});

test("kill -9 of a node affects only its own clients; another node takes its place", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([nodeAt(redis), nodeAt(redis)]);
  const [lost, kept] = [await listener(a, "r"), await listener(b, "r")];
  a.kill("SIGKILL");
  assert.equal((await lost.closed).code, 1006);
  assert.equal((await change(b, "r")).status, 200);
  assert.equal(await changed(kept), "r");
  const c = await nodeAt(redis);
  const back = await listener(c, "r");
  assert.equal((await change(c, "r")).status, 200);
  for (const client of [kept, back]) {
    assert.equal(await changed(client), "r");
    await client.settled();
  }
});

test("clients do not notice that Redis is stopped for 2 s", async () => {
  const redis = await startRedis();
  const config = { engine_timeout_ms: NEVER_MS };
  const [a, b] = await Promise.all([nodeAt(redis, { config }), nodeAt(redis, { config })]);
  const client = await listener(b, "r");
  redis.process.kill("SIGSTOP");
  const answer = change(a, "r");
  const late = TestClient.connect(a.listening).then(async (it) => {
    it.send({ type: "listen", resources: ["late"] });
    assert.equal((await it.next()).type, "listening");
    return it;
  });
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await client.settled();
  redis.process.kill("SIGCONT");
  assert.equal((await answer).status, 200);
  assert.equal(await changed(client), "r");
  assert.equal((await change(b, "late")).status, 200);
  assert.equal(await changed(await late), "late");
  for (const node of [a, b]) assert.doesNotMatch(node.output(), /the engine is (down|unavail)/);
});

test("while Redis is stopped for longer, requests and new listeners fail, and sockets stay", async () => {
  const redis = await startRedis();
  const config = { engine_timeout_ms: 1500, engine_wait_ms: 100 };
  const [a, b] = await Promise.all([nodeAt(redis, { config }), nodeAt(redis, { config })]);
  const client = await listener(b, "r");
  redis.process.kill("SIGSTOP");
  await Promise.all([a.isDown(), b.isDown()]);
  const answer = await change(a, "r");
  assert.equal(answer.status, 503);
  assert.match(answer.body, /engine/);
  client.send({ type: "listen", resources: ["s"] });
  const refusal = await client.next();
  assert.equal(refusal.type, "error");
  assert.match(refusal.error?.message ?? JSON.stringify(refusal), /engine/);
  await client.settled();
  redis.process.kill("SIGCONT");
  await Promise.all([a.isUp(2), b.isUp(2)]);
  assert.equal((await change(a, "r", "s")).status, 200);
  assert.equal(await changed(client), "r");
});

test("a node that lost Redis tells its listeners only what changed meanwhile", async () => {
  const redis = await startRedis();
  await redis.says("acl", "setuser", "b", "on", ">pw", "~*", "&*", "+@all");
  const [a, b] = await Promise.all([nodeAt(redis), nodeAt(redis, { user: "b:pw@" })]);
  const [at, bt] = [await listener(a, "r", "s"), await listener(b, "r", "s")];
  for (const type of ["normal", "pubsub"]) {
    await redis.says("acl", "setuser", "b", "off");
    const before = b.output().split("the engine is up").length - 1;
    await redis.says("client", "kill", "user", "b", "type", type);
    await b.says(new RegExp(`(the engine is up[^]*){${before}}the engine is down`));
    assert.equal((await change(a, "r")).status, 200);
    assert.equal(await changed(at), "r");
    await bt.settled();
    await redis.says("acl", "setuser", "b", "on");
    await b.isUp(before + 1);
    assert.equal(await changed(bt), "r");
    await bt.settled();
    await at.settled();
  }
  assert.equal((await change(b, "s")).status, 200);
  for (const client of [at, bt]) assert.equal(await changed(client), "s");
});

test("after Redis has lost its data, all listeners are told; recordings replay", async () => {
  const redis = await startRedis();
  const config = { resync_spread_ms: 0, engine_wait_ms: NEVER_MS };
  const files = [fileForTest("a.jsonl"), fileForTest("b.jsonl")];
  const [a, b] = (await Promise.all(
    files.map((file) => nodeAt(redis, { config, flags: ["--record", file] })),
  )) as [EngineNode, EngineNode];
  const clients = [await listener(a, "r", "s"), await listener(b, "r", "s")];
  await change(a, "r");
  for (const client of clients) assert.equal(await changed(client), "r");
  await redis.kill();
  await Promise.all([a.isDown(), b.isDown()]);
  const waiting = change(b, "t");
  const late = await TestClient.connect(b.listening);
  late.send({ type: "listen", resources: ["t"] });
  await redis.restart();
  await Promise.all([a.isUp(2), b.isUp(2)]);
  for (const client of clients)
    assert.deepEqual((await changedTimes(client, 2)).sort(), ["r", "s"]);
  assert.equal((await waiting).status, 200);
  // The change of `t` may come after the listen, or before it.
  let message = await late.next();
  assert.equal(message.type, "listening");
  assert.equal((await change(a, "t", "s")).status, 200);
  for (const client of clients) assert.equal(await changed(client), "s");
  message = await late.next();
  assert.deepEqual([message.type, message.resource], ["updated", "t"]);
  for (const node of [a, b]) {
    node.kill("SIGTERM");
    assert.equal(await node.exit, 0);
  }
  const replay = fileURLToPath(new URL("../../worker/dist/node/replay-cli.js", import.meta.url));
  execFileSync(process.execPath, [replay, ...files], { stdio: ["ignore", "pipe", "inherit"] });
});

test("malformed messages on its channels do not disturb a node", async () => {
  const redis = await startRedis();
  const [a, b] = await Promise.all([nodeAt(redis), nodeAt(redis)]);
  const client = await listener(b, "r");
  const channels = (await redis.says("pubsub", "channels")).split("\n");
  assert.equal(channels.length, 3); // two inboxes, one topic
  const longer = "1".repeat((1 << 20) + 2000);
  const long = fileForTest("long", longer);
  for (const channel of channels) {
    for (const text of ["", " ", "nonsense", "beat", "beat x y z", "asked", "taken a", "-1", "1e9"])
      await redis.says("publish", channel, text);
    execFileSync("sh", ["-c", `redis-cli -p ${redis.port} -x publish "$0" <"$1"`, channel, long]);
  }
  assert.equal((await change(a, "r")).status, 200);
  assert.equal(await changed(client), "r");
  await client.settled();
  for (const node of [a, b]) assert.doesNotMatch(node.output(), /engine is (down|unavail)|trap/);
});
