// A Redis that answers slowly, and one that closes the connections of nodes that read too slowly.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeEverything } from "../../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../../hosts/shared/support/run.ts";
import { eventually } from "../../hosts/shared/support/sidekick.ts";
import { startCluster } from "../support/cluster.ts";

afterEach(closeEverything);
after(killLeftRunning);

const UNDISTURBED = ["connecting", "greeting", "live"];

test("a slow Redis keeps the order; beyond engine_timeout_ms, it counts as lost", async () => {
  const config = { engine_timeout_ms: 2500, engine_wait_ms: 10_000, history_messages_max: 100 };
  const cluster = await startCluster(["node", "native"], { config, hasProxy: true });
  const proxy = cluster.proxy!;
  proxy.slowDown(300); // each way
  const clients = [cluster.client(0), cluster.client(1)];
  await Promise.all(clients.map((client) => client.join()));
  const seen = await Promise.all(clients.map((client) => client.watch("a")));
  const publish = (names: readonly string[]) =>
    Promise.all(names.map((name, i) => cluster.publish(i % 2, name)));
  const slowly = Array.from({ length: 20 }, (_, i) => `slowly ${i}`);
  const [statuses] = await Promise.all([
    publish(slowly),
    clients[0]!.client.mutate("change", "a"),
    ...clients.map((client, i) => client.send(`slowly ${i}`)),
  ]);
  assert.deepEqual(new Set(statuses), new Set([200]));
  for (const [i, client] of clients.entries()) {
    await eventually(() => client.heard.length === slowly.length && seen[i]!.includes(1));
    assert.deepEqual(client.heard, clients[0]!.heard);
    assert.deepEqual(client.told, UNDISTURBED);
  }
  assert.deepEqual(new Set(clients[0]!.heard), new Set(slowly));
  for (const node of cluster.nodes)
    assert.doesNotMatch(node.output(), /the engine is (down|unavail)/);

  proxy.slowDown(3000);
  await cluster.areDown();
  const change = clients[1]!.client.mutate("change", "a"); // it waits
  await Promise.all(clients.map((client, i) => client.send(`away ${i}`)));
  proxy.slowDown(0);
  await cluster.areUp(2);
  await change;
  assert.equal(await cluster.publish(0, "back"), 200);
  for (const [i, client] of clients.entries()) {
    await client.hears("back");
    await eventually(() => seen[i]!.includes(2));
    assert.deepEqual(client.heard, [...(clients[0]!.heard as string[])]);
    assert.equal(client.heard.length, slowly.length + 1);
    assert.deepEqual(client.told, UNDISTURBED);
  }
  assert.deepEqual(cluster.app.heard.map(({ data }) => data).sort(), [
    ...["away 0", "away 1", "slowly 0", "slowly 1"],
  ]);
});

test("Redis closes the connections of nodes that read too slowly: their clients miss nothing", async () => {
  const config = { engine_timeout_ms: 600_000, history_messages_max: 100 };
  const cluster = await startCluster(["node", "native"], { config, hasProxy: true });
  const { redis } = cluster;
  const proxy = cluster.proxy!;
  const clients = [cluster.client(0), cluster.client(1)];
  await Promise.all(clients.map((client) => client.join()));
  const seen = await Promise.all(clients.map((client) => client.watch("a")));
  assert.equal(await cluster.publish(0, "before"), 200);
  for (const client of clients) await client.hears("before");

  await redis.says("config", "set", "client-output-buffer-limit", "pubsub 1mb 0 0");
  const readers = () => redis.says("client", "list", "type", "pubsub");
  const slow = await readers();
  proxy.freeze(slow);
  // A foreign writer fills the buffers of the system, then that of Redis.
  const channel = await redis.says("pubsub", "channels", "*:c:*chat*");
  const flood = "for i = 1, 32 do redis.call('publish', ARGV[1], string.rep('x', 2^20)) end";
  await redis.says("eval", flood, "0", channel);
  const ids = slow.match(/^id=\d+ /gm)!;
  assert.equal(ids.length, 2);
  await eventually(async () => {
    const left = await readers();
    return !ids.some((id) => left.includes(id));
  });
  for (const data of ["meanwhile 1", "meanwhile 2"])
    assert.equal(await cluster.publish(0, data), 200);
  await clients[0]!.client.mutate("change", "a");
  proxy.thaw();
  await cluster.areUp(2);
  assert.equal(await cluster.publish(1, "after"), 200);
  for (const [i, client] of clients.entries()) {
    await client.hears("after");
    await eventually(() => seen[i]!.includes(1));
    assert.deepEqual(client.heard, ["before", "meanwhile 1", "meanwhile 2", "after"]);
    assert.deepEqual(client.told, UNDISTURBED);
    await client.send(i);
  }
  assert.deepEqual(cluster.app.heard.map(({ data }) => data).sort(), [0, 1]);
});
