// A node that drains while its clients listen, send and receive: they go on at the other node.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { closeEverything } from "../../hosts/shared/support/left-open.ts";
import { killLeftRunning } from "../../hosts/shared/support/run.ts";
import { eventually, request } from "../../hosts/shared/support/sidekick.ts";
import { type Kind, type MovingClient, startCluster } from "../support/cluster.ts";

afterEach(closeEverything);
after(killLeftRunning);

const LIMITS = { history_messages_max: 10_000, engine_recovery_bytes_max: 1 << 24 };
const UNDISTURBED = ["connecting", "greeting", "live"];
const CLIENTS = 12;

/** Sends numbers one after the other; returns what happened to each. */
async function talk(client: MovingClient, name: number, isOn: () => boolean) {
  const outcomes: { readonly data: string; readonly isSent: boolean }[] = [];
  for (let i = 0; isOn(); i++) {
    const data = `${name}/${i}`;
    const code = await client.send(data).catch(({ code }) => code);
    // Unless the socket closed while it was under way.
    if (code !== undefined) assert.equal(code, "unknown");
    outcomes.push({ data, isSent: code === undefined });
    await sleep(20);
  }
  return outcomes;
}

for (const kinds of [
  ["node", "native"],
  ["native", "node"],
] as Kind[][])
  test(`a node that drains hands its clients over without a loss (${kinds.join(" to ")})`, async () => {
    const flags = (place: number) => (place === 0 ? ["--drain-seconds", "2"] : []);
    const cluster = await startCluster(kinds, { config: LIMITS, flags });
    const [leaving, staying] = cluster.nodes as [
      (typeof cluster.nodes)[0],
      (typeof cluster.nodes)[0],
    ];
    const clients = Array.from({ length: CLIENTS }, () => cluster.client(0));
    const peer = cluster.client(1);
    const all = [...clients, peer];
    await Promise.all(all.map((client) => client.join()));
    const seen = await Promise.all(all.map((client) => client.watch("a")));

    let [isOn, hasClosed, published] = [true, false, 0];
    for (const { sockets } of clients)
      sockets[0]!.on("close", (code) => {
        assert.equal(code, 4001);
        hasClosed = true;
      });
    // A load balancer leaves the node a while after it is told to.
    const publishing = (async () => {
      for (; isOn; published++) {
        const place = hasClosed ? 1 : published % 2;
        assert.equal(await cluster.publish(place, published), 200);
        await sleep(5);
      }
    })();
    const talking = clients.map((client, i) => talk(client, i, () => isOn));
    await clients[0]!.hears(20);

    leaving.kill("SIGTERM");
    for (const client of clients) client.moveTo(1);
    await leaving.says(/draining/);
    const ready = await request(leaving.listening, "/ready", undefined, { method: "GET" });
    assert.equal(ready.status, 503);
    await eventually(() => hasClosed);
    cluster.callNode(1);
    await peer.client.mutate("change", "a"); // some clients are here, some there
    assert.equal(await leaving.exit, 0);
    await Promise.all(clients.map((client) => client.isLive()));
    isOn = false;
    await publishing;
    const outcomes = (await Promise.all(talking)).flat();

    for (const [i, client] of all.entries()) {
      await client.hears(published - 1);
      assert.deepEqual(
        client.heard,
        Array.from({ length: published }, (_, at) => at),
      );
      await eventually(() => seen[i]!.includes(1));
    }
    for (const { sockets } of clients) assert.equal(sockets.length, 2);
    assert.deepEqual(peer.told, UNDISTURBED);
    assert.equal(cluster.app.tokens, all.length);
    const arrived = cluster.app.heard.map(({ data }) => data as string);
    for (const { data, isSent } of outcomes) if (isSent) assert.ok(arrived.includes(data), data);
    for (const i of clients.keys()) {
      const own = arrived
        .filter((data) => data.startsWith(`${i}/`))
        .map((it) => +it.split("/")[1]!);
      assert.deepEqual(
        own,
        [...new Set(own)].sort((a, b) => a - b),
      );
    }
    const unsent = outcomes.filter(({ isSent }) => !isSent).length;
    assert.ok(unsent <= CLIENTS, `${unsent} unsent`);
    assert.doesNotMatch(leaving.output() + staying.output(), /error|the engine is down/);
  });

test("a node drains and exits even if Redis is away", async () => {
  for (const kind of ["node", "native"] as const) {
    const flags = () => ["--drain-seconds", "1"];
    const cluster = await startCluster([kind, "node"], { flags });
    const client = cluster.client(0);
    await client.join();
    cluster.redis.process.kill("SIGSTOP");
    client.moveTo(1);
    cluster.nodes[0]!.kill("SIGTERM");
    assert.equal(await cluster.nodes[0]!.exit, 0);
    cluster.redis.process.kill("SIGCONT");
    await client.isLive();
    await client.send("afterwards");
    assert.equal(cluster.app.heard.length, 1);
    await closeEverything();
  }
});
