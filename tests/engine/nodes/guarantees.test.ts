// The guarantees of docs/scale.md, with nodes of both hosts on one Redis, the unmodified npm
// packages and covenant-sidekick/client.
import assert from "node:assert/strict";
import * as http from "node:http";
import { after, afterEach, test } from "node:test";
import { closeEverything } from "../../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../../hosts/shared/support/run.ts";
import {
  eventually,
  registerToken,
  request,
  TestClient,
} from "../../hosts/shared/support/sidekick.ts";
import {
  type Cluster,
  converse,
  type Kind,
  numbers,
  oneClaims,
  startCluster,
} from "../support/cluster.ts";

afterEach(closeEverything);
after(killLeftRunning);

/** The npm packages, with the app server at the one node and the client at the other. */
async function meetApart(cluster: Cluster, appAt: number, clientAt: number): Promise<void> {
  const { app } = cluster;
  cluster.callNode(appAt);
  await converse(app, cluster.npmClient(clientAt), `${appAt} to ${clientAt}`);
}

for (const pair of [
  ["node", "node"],
  ["node", "native"],
  ["native", "native"],
] as Kind[][])
  test(`npm packages: what is published at one node reaches clients of the other, and tokens work at both (${pair})`, async () => {
    const cluster = await startCluster(pair);
    await meetApart(cluster, 0, 1);
    await meetApart(cluster, 1, 0);
  });

/** Publishes numbers at all nodes in turn, until it is stopped; returns how many. */
function stream(cluster: Cluster): () => Promise<number> {
  let isOn = true;
  const published = (async () => {
    for (let i = 0; ; i++) {
      if (!isOn) return i;
      assert.equal(await cluster.publish(i % cluster.nodes.length, i), 200);
    }
  })();
  return () => {
    isOn = false;
    return published;
  };
}

// As many as a busy machine may publish while a client reconnects.
const LIMITS = { history_messages_max: 10_000, engine_recovery_bytes_max: 1 << 24 };

test("a client that moves between nodes misses no message and gets none twice", async () => {
  const cluster = await startCluster(["node", "native"], { config: LIMITS });
  const client = cluster.client(0);
  await client.join();
  const stop = stream(cluster);
  for (let move = 1; move <= 8; move++) {
    const before = client.heard.length;
    await eventually(() => client.heard.length >= before + 20);
    client.moveTo(move % 2);
    client.sockets.at(-1)!.terminate();
    await eventually(() => client.sockets.length > move);
    await client.isLive();
    await client.send(move);
  }
  const count = await stop();
  await client.hears(count - 1);
  assert.deepEqual(client.heard, numbers(count));
  assert.deepEqual(
    cluster.app.heard.map(({ data, context }) => [data, context]),
    numbers(8).map((i) => [i + 1, "the context"]),
  );
  assert.equal(cluster.app.tokens, 1);
});

test("a client with a half-open socket keeps its token at another node", async () => {
  for (const kinds of [
    ["node", "native"],
    ["native", "node"],
  ] as Kind[][]) {
    const cluster = await startCluster(kinds, { config: LIMITS });
    const client = cluster.client(0);
    await client.join();
    const stop = stream(cluster);
    await client.hears(10);
    const [old] = client.sockets;
    const closed = new Promise<number>((resolve) => old!.on("close", resolve));
    old!.freeze();
    client.moveTo(1);
    client.sidekick.wake(); // it probes the socket
    await eventually(() => client.sockets.length === 2);
    await client.isLive();
    await client.send("moved");
    old!.thaw();
    assert.equal(await closed, 4000);
    const count = await stop();
    await client.hears(count - 1);
    assert.deepEqual(client.heard, numbers(count));
    assert.equal(client.sockets.length, 2);
    assert.equal(cluster.app.tokens, 1);
    await closeEverything();
  }
});

test("of 50 clients at two nodes that claim one token at once, exactly one gets it", async () => {
  const cluster = await startCluster(["node", "native"]);
  const clients = await Promise.all(
    numbers(50).map((i) => TestClient.connect(cluster.nodes[i % 2]!.listening)),
  );
  for (const token of ["token-one", "token-two", "token-three"]) {
    await registerToken(cluster.nodes[0]!.listening, token);
    await oneClaims(clients, token);
  }
});

test("10,000 messages of one channel, published at three nodes, come in one order everywhere", async () => {
  const cluster = await startCluster(["node", "native", "node"]);
  const { nodes } = cluster;
  const count = 10_000;
  const heard = await Promise.all(
    numbers(6).map(async (i) => {
      const node = nodes[i % nodes.length]!;
      await registerToken(node.listening, `token-${i}`);
      const client = await TestClient.connect(node.listening);
      const saysHello = i < nodes.length;
      if (saysHello) {
        client.send({ type: "listen", resources: [], hello: `a-session-of-client-${i}` });
        assert.equal((await client.next()).type, "listening");
      }
      await client.subscribe(`token-${i}`);
      return async () => {
        const messages: number[] = [];
        let last = 0;
        while (messages.length < count) {
          const { data, at = last + 1 } = await client.next();
          assert.ok(at > last, `${at} after ${last}`);
          last = at;
          messages.push(data);
        }
        await client.settled();
        return messages;
      };
    }),
  );
  const agent = new http.Agent({ keepAlive: true });
  let next = 0;
  const publisher = async (_: unknown, i: number) => {
    while (next < count) {
      const body = JSON.stringify({ channel: "chat", params: {}, data: next++ });
      const { listening } = nodes[i % nodes.length]!;
      assert.equal((await request(listening, "/message", body, { agent })).status, 200);
    }
  };
  const [orders] = await Promise.all([
    Promise.all(heard.map((all) => all())),
    ...numbers(12).map(publisher),
  ]);
  agent.destroy();
  const [first = [], ...others] = orders;
  assert.deepEqual(
    [...first].sort((a, b) => a - b),
    numbers(count),
  );
  for (const other of others) assert.deepEqual(other, first);
});
