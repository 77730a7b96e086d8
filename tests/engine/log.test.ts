// The log lines about an engine that goes and comes back, of sidekick-serve or
// SIDEKICK_COMMAND.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, afterEach, test } from "node:test";
import { closeEverything, listen } from "../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../hosts/shared/support/run.ts";
import { eventually } from "../hosts/shared/support/sidekick.ts";
import { startNode } from "./support/node.ts";
import { startRedis, startSentinel } from "./support/redis-server.ts";

afterEach(closeEverything);
after(killLeftRunning);

test("logs each loss and return of the engine, not each attempt, and no password", async () => {
  const redis = await startRedis("--requirepass", "hunter2");
  const allow = () =>
    redis.says(..."-a hunter2 acl setuser Xavier on >hunter3 ~* &* +@all".split(" "));
  await allow();
  const node = await startNode([], {
    SIDEKICK_ENGINE: `redis://Xavier:hunter3@127.0.0.1:${redis.port}/2`,
  });
  const shown = `engine="redis://127.0.0.1:${redis.port}/2" keys="sidekick:1:2:"`;
  await redis.kill();
  await node.says(
    new RegExp(`warn {2}the engine is down; reconnecting ${shown} code="connection"`),
  );
  let attempts = 0;
  const other = createServer((socket) => {
    attempts += 1;
    socket.destroy();
  });
  await listen(other, redis.port);
  await eventually(() => attempts >= 8); // two connections each
  await new Promise((resolve) => other.close(resolve));
  await redis.restart();
  await node.says(new RegExp(`unavailable; retrying ${shown} code="password"`));
  await allow();
  await node.says(/the engine is up[^]*the engine is up/);
  const changes = node.output().matchAll(/the engine is (up|down|unavailable)/g);
  assert.deepEqual(
    [...changes].map(([, change]) => change),
    ["up", "down", "unavailable", "up"],
  );
  assert.doesNotMatch(node.output(), /Xavier|hunter/);
});

test("names each change at once, in order, also if the engine soon goes again", async () => {
  const redis = await startRedis();
  const node = await startNode([], { SIDEKICK_ENGINE: `redis://127.0.0.1:${redis.port}` });
  for (const times of [2, 3]) {
    await redis.says("client", "kill", "type", "normal");
    await node.isUp(times);
  }
  const changes = node.output().matchAll(/the engine is (up|down|unavailable)/g);
  assert.deepEqual(
    [...changes].map(([, change]) => change),
    ["up", "down", "up", "down", "up"],
  );
});

test("names a server that begins to evict keys, and uses it again once it does not", async () => {
  const redis = await startRedis();
  const node = await startNode([], { SIDEKICK_ENGINE: `redis://127.0.0.1:${redis.port}` });
  await redis.says("config", "set", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
  await node.says(/the engine is down; .* code="eviction" reason=".*noeviction, got allkeys-lru/);
  await redis.says("config", "set", "maxmemory-policy", "noeviction");
  await node.isUp(2);
});

test("names a right that the user lacks, also if only a script needs it", async () => {
  const redis = await startRedis();
  const rights = ["on", ">hunter3", "~*", "&*", "+@all"];
  for (const [user, lacks, reason] of [
    ["one", "-subscribe", "NOPERM: the ACL of the user forbids it to run the 'subscribe' command"],
    ["two", "-publish", "the ACL of the user forbids what a script does: ERR The user .*"],
  ] as const) {
    await redis.says("acl", "setuser", user, ...rights, lacks);
    const url = `redis://${user}:hunter3@127.0.0.1:${redis.port}`;
    const node = await startNode([], { SIDEKICK_ENGINE: url }, { isAway: true });
    await node.says(new RegExp(`unavailable; retrying .* code="acl" reason="${reason}"`));
  }
});

test("names what is wrong with a server or a URL", async () => {
  const plain = await startRedis();
  const sentinel = await startSentinel();
  const web = await listen(
    createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
  );
  for (const [place, reason] of [
    [
      `:hunter2@127.0.0.1:${plain.port}`,
      'code="password" reason="the server has no password; remove',
    ],
    [`127.0.0.1:${sentinel}`, 'code="sentinel" reason="expected a primary, got a Sentinel;'],
    [`127.0.0.1:${web}`, 'code="connection" reason="expected the protocol of Redis: '],
  ] as const) {
    const node = await startNode([], { SIDEKICK_ENGINE: `redis://${place}` }, { isAway: true });
    await node.says(new RegExp(`the engine is unavailable; retrying .* ${reason}`));
    assert.doesNotMatch(node.output(), /hunter2/);
  }
});

test("rejects an address that leads its two connections to two servers", async () => {
  const [primary, replica, other] = await Promise.all([startRedis(), startRedis(), startRedis()]);
  await replica.says("replicaof", "127.0.0.1", String(primary.port));
  for (const [server, code] of [
    [replica, "replica"],
    [other, "servers"],
  ] as const) {
    const balancer = createServer((near) => {
      near.on("error", () => {});
      near.once("data", (first: Buffer) => {
        const isForMessages = first.includes("SUBSCRIBE");
        const far = connect((isForMessages ? server : primary).port, "127.0.0.1");
        far.on("error", () => {}).on("close", () => near.destroy());
        near.on("close", () => far.destroy());
        far.write(first);
        near.pipe(far).pipe(near);
      });
    });
    const url = `redis://127.0.0.1:${await listen(balancer)}`;
    const node = await startNode([], { SIDEKICK_ENGINE: url }, { isAway: true });
    await node.says(new RegExp(`the engine is .* code="${code}"`));
    assert.doesNotMatch(node.output(), /the engine is up/);
  }
});

test("does not repeat a password that the server repeats", async () => {
  const redis = await startRedis("--rename-command", "AUTH", "");
  const url = `redis://Xavier:hunter3@127.0.0.1:${redis.port}`;
  const node = await startNode([], { SIDEKICK_ENGINE: url }, { isAway: true });
  await node.says(/unavailable; retrying .* code="error" reason="ERR unknown command 'AUTH'"/);
  assert.doesNotMatch(node.output(), /Xavier|hunter/);
});
