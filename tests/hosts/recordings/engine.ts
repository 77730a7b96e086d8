// Two nodes that share a Redis server, one in Node and one native, each recording: clients listen,
// publish, send and move between them, two of them want the same token, and Redis loses all.
// Judges nothing.
import assert from "node:assert/strict";
import { join } from "node:path";
import { startCluster } from "../../engine/support/cluster.ts";
import { eventually, TestClient } from "../shared/support/sidekick.ts";

/** On a busy machine, a client may take its socket for dead. */
const uncertain = ({ code }: { code: string }) => assert.equal(code, "unknown");

/** Returns the recordings of both nodes, by the names of their hosts. */
export async function recordEngine(folder: string) {
  const files = { node: join(folder, "node.jsonl"), native: join(folder, "native.jsonl") };
  const places = Object.values(files);
  const cluster = await startCluster(["node", "native"], {
    config: { history_messages_max: 100, resync_spread_ms: 500, topic_linger_ms: 100 },
    flags: (place) => ["--record", places[place]!],
  });
  const clients = [cluster.client(0), cluster.client(1), cluster.client(0), cluster.client(1)];
  await Promise.all(clients.map((client) => client.join()));
  const seen = await Promise.all(clients.map((client) => client.watch("a")));
  const isTold = (value: number) =>
    eventually(() => seen.every((values) => values.includes(value)));

  await clients[0]!.client.mutate("change", "a");
  await isTold(1);
  for (let round = 0; round < 20; round++) {
    await cluster.publish(round % 2, round);
    await clients[round % 4]!.send(round).catch(uncertain);
  }
  for (const [i, mover] of clients.slice(0, 2).entries()) {
    mover.moveTo(1 - i);
    mover.sockets.at(-1)!.terminate();
    await cluster.publish(i, `meanwhile ${i}`);
    await mover.hears(`meanwhile ${i}`);
    await mover.send("moved").catch(uncertain);
    const thief = await TestClient.connect(cluster.nodes[i]!.listening);
    thief.send({ type: "subscribe", token: mover.token });
    await thief.next();
    await thief.close();
  }
  await cluster.redis.kill();
  await cluster.areDown();
  await Promise.all(clients.map((client) => client.send("away").catch(uncertain)));
  await cluster.redis.restart();
  await cluster.areUp(2);
  await clients[1]!.client.mutate("change", "a");
  await isTold(2);
  await cluster.publish(1, "after");
  await Promise.all(clients.map((client) => client.hears("after")));
  for (const client of clients) client.sidekick.disconnect();
  for (const node of cluster.nodes) {
    node.kill("SIGTERM");
    await node.exit;
  }
  return files;
}
