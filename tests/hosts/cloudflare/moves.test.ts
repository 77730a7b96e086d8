// Clients at three gateways of four shards, in workerd: the npm packages and
// covenant-sidekick/client, which moves between gateways. What docs/scale.md guarantees of several
// nodes.
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { httpServerToSidekick } from "@covenant-rpc/server/interfaces/http";
import type { App } from "../../engine/support/cluster.ts";
import {
  converse,
  MovingClient,
  npmClient,
  numbers,
  oneClaims,
  ROOM,
  SERVER_SECRET,
  startApp,
} from "../../engine/support/cluster.ts";
import { gatewaysOf, shardsOf } from "./support/rig.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import {
  Busy,
  closeEverything,
  eventually,
  post,
  registerToken,
  SECRET,
  start,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";

afterEach(closeEverything);
afterEach(stopAll);
after(closeEverything);

const GATEWAYS = 3;
const SIZES = { gateways: GATEWAYS, shards: 4 };
const SCALE = { SIDEKICK_GATEWAYS: `${GATEWAYS}`, SIDEKICK_SHARDS: `${SIZES.shards}` };
/** As many as a busy machine may publish while a client reconnects. */
const LIMITS = { history_messages_max: 10_000, engine_recovery_bytes_max: 1 << 24 };

async function startScaled(limits = {}): Promise<{ app: App; sidekick: WorkerdSidekick }> {
  const app = await startApp();
  const env = {
    ...SCALE,
    SIDEKICK_SERVER_URL: app.url,
    SIDEKICK_SERVER_SECRET: SERVER_SECRET,
  };
  const sidekick = await start({ env, limits });
  app.sidekick = httpServerToSidekick(`http://127.0.0.1:${sidekick.port}`, SECRET);
  return { app, sidekick };
}

const headersAt = (gateway: number) => ({ "test-gateway": `${gateway}` });

async function publish({ port }: WorkerdSidekick, data: unknown, params = {}): Promise<void> {
  const { status, body } = await post(port, "/message", { channel: "chat", params, data });
  assert.equal(`${status} ${body}`, "200 OK");
}

const OBJECTS = [...gatewaysOf("sidekick", SIZES), ...shardsOf("sidekick", SIZES)];

/** Puts one object after the other to sleep, each as soon as it has nothing to do. */
async function sleepInTurn(sidekick: WorkerdSidekick, isOn: () => boolean): Promise<void> {
  for (let turn = 0; isOn(); turn++) {
    const name = OBJECTS[turn % OBJECTS.length]!;
    await sidekick.evict("hibernate", name).catch((error: unknown) => {
      if (!(error instanceof Busy)) throw error;
    });
  }
}

/** @param meanwhile what happens until the last move */
async function moves(meanwhile: typeof sleepInTurn): Promise<WorkerdSidekick> {
  const { app, sidekick } = await startScaled(LIMITS);
  const url = `ws://127.0.0.1:${sidekick.port}/socket`;
  const socketAt = (gateway: number) => ({ url, headers: headersAt(gateway) });
  const client = new MovingClient({ app, socketAt }, 0);
  await client.join();
  let isOn = true;
  const published = (async () => {
    let count = 0;
    while (isOn) await publish(sidekick, count++, ROOM);
    return count;
  })();
  const asleep = meanwhile(sidekick, () => isOn);
  for (let move = 1; move <= 6; move++) {
    const before = client.heard.length;
    await eventually(() => client.heard.length >= before + 10);
    client.moveTo(move % GATEWAYS);
    client.sockets.at(-1)!.terminate();
    await eventually(() => client.sockets.length > move);
    await client.isLive();
    await client.send(move);
  }
  isOn = false;
  const count = await published;
  await asleep;
  await client.hears(count - 1);
  assert.deepEqual(client.heard, numbers(count));
  assert.deepEqual(
    app.heard.map(({ data, context }) => [data, context]),
    numbers(6).map((i) => [i + 1, "the context"]),
  );
  assert.equal(app.tokens, 1, "it has kept its token");
  return sidekick;
}

test("a client that moves between gateways misses no message and gets none twice", async () => {
  await moves(async () => {});
});

test("a client that moves misses nothing while gateways and shards keep sleeping", async () => {
  const sidekick = await moves(sleepInTurn);
  for (const gateway of gatewaysOf("sidekick", SIZES))
    assert.ok((await sidekick.constructed(gateway)) > 1, `${gateway} has slept`);
});

test("npm packages: publishes reach clients of any gateway, and tokens work there", async () => {
  const { app, sidekick } = await startScaled();
  // The Worker draws a gateway for each.
  for (const name of ["one", "two", "three", "four"]) {
    const client = npmClient(app, `http://127.0.0.1:${sidekick.port}`);
    await converse(app, client, name);
  }
});

test("1,000 messages of several publishers come in one order at all gateways", async () => {
  const { sidekick } = await startScaled();
  const count = 1000;
  const heard = await Promise.all(
    numbers(2 * GATEWAYS).map(async (i) => {
      await registerToken(sidekick.port, `token-${i}`);
      const client = await TestClient.connect(sidekick.port, headersAt(i % GATEWAYS));
      await client.subscribe(`token-${i}`);
      return async () => {
        const messages: number[] = [];
        while (messages.length < count) messages.push((await client.next()).data);
        await client.settled();
        return messages;
      };
    }),
  );
  let next = 0;
  const publisher = async () => {
    while (next < count) await publish(sidekick, next++);
  };
  const [orders] = await Promise.all([
    Promise.all(heard.map((all) => all())),
    ...numbers(8).map(publisher),
  ]);
  const [first = [], ...others] = orders;
  assert.deepEqual(
    [...first].sort((a, b) => a - b),
    numbers(count),
  );
  for (const other of others) assert.deepEqual(other, first);
});

test("of 20 clients at all gateways that claim a token at once, exactly one gets it", async () => {
  const { sidekick } = await startScaled();
  const clients = await Promise.all(
    numbers(20).map((i) => TestClient.connect(sidekick.port, headersAt(i % GATEWAYS))),
  );
  // Each belongs to some shard.
  for (const token of ["token-one", "token-two", "token-three"]) {
    await registerToken(sidekick.port, token);
    await oneClaims(clients, token);
  }
});

test("a client that moves is told whether all that it has missed is still there", async () => {
  const { sidekick } = await startScaled({ history_messages_max: 2 });
  await registerToken(sidekick.port, "token-1");
  let [since, epoch] = [0, ""];
  for (const [gateway, missed, expected] of [
    [0, 0, undefined],
    [1, 2, true],
    [2, 3, false],
    [0, 1, true],
  ] as const) {
    for (let i = 0; i < missed; i++) await publish(sidekick, i);
    const client = await TestClient.connect(sidekick.port, headersAt(gateway));
    const hello = { type: "listen", resources: [], hello: "0123456789abcdef", id: 1 };
    client.send(hello);
    const { welcome } = await client.next();
    const from = expected === undefined ? {} : { since, epoch };
    client.send({ type: "subscribe", token: "token-1", ...from, id: 2 });
    const subscribed = await client.next();
    assert.equal(subscribed.type, "subscribed");
    assert.equal(subscribed.recovered, expected);
    for (let i = 0; i < (subscribed.missed ?? 0); i++) await client.next();
    if (expected === true) assert.equal(subscribed.missed, missed);
    await publish(sidekick, "seen");
    const { data, at } = await client.next();
    assert.equal(data, "seen");
    [since, epoch] = [at, welcome.epoch];
    await client.close();
  }
});
