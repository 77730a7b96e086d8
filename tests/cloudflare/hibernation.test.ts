// Sleep must not be seen: long seeded conversations, once awake throughout and once with the object put to sleep between every two
// steps. What the clients, the app server and whoever POSTs see must be the same, text for text.
//   SIDEKICK_SEEDS=N   how many conversations (default 12)      SIDEKICK_SEED=N   only this one
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startAppServer } from "../hosts/support/app-server.ts";
import { closeEverything, health, request, settle, startSidekick, TestClient } from "./support/sidekick.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";

const STEPS = 60;
const CLIENTS = 5;
const only = process.env["SIDEKICK_SEED"];
const seeds = only !== undefined ? [Number(only)] : Array.from({ length: Number(process.env["SIDEKICK_SEEDS"] ?? 12) }, (_, i) => i + 1);

after(closeEverything);

test("with sleep between every two steps, everybody sees exactly what they see without", async () => {
  const [awake, sleepy] = await Promise.all([startSidekickWithApp(), startSidekickWithApp()]);
  try {
    for (const seed of seeds) {
      const hub = `seed-${seed}.example.com`;
      const plain = await converse(awake, seed, hub, false);
      const slept = await converse(sleepy, seed, hub, true);
      assert.deepEqual(slept, plain, `seed ${seed}: SIDEKICK_SEED=${seed} repeats it`);
      // The rig itself: the one has really slept, the other has not.
      assert.ok((await sleepy.sidekick.constructed(hub)) >= STEPS);
      assert.equal(await awake.sidekick.constructed(hub), 1);
    }
    assert.equal(awake.sidekick.output() + sleepy.sidekick.output(), "");
  } finally {
    await Promise.all([awake.stop(), sleepy.stop()]);
  }
});

interface Rig {
  readonly sidekick: WorkerdSidekick;
  readonly forwarded: () => string[];
  readonly stop: () => Promise<unknown>;
}

async function startSidekickWithApp(): Promise<Rig> {
  const app = await startAppServer((response, { body }) => {
    if (body.includes("refuse")) response.writeHead(400).end('{ "fault": "client", "message": "refused" }');
    else response.writeHead(204).end();
  });
  const settings = { secret: "test-secret", server_url: app.url, server_secret: "s", limits: { topics_per_client_max: 40 } };
  const hubs = Object.fromEntries(seeds.map((seed) => [`seed-${seed}.example.com`, settings]));
  const sidekick = await startSidekick({ env: { SIDEKICK_HUBS: JSON.stringify(hubs) } });
  let taken = 0;
  const forwarded = () => {
    const bodies = app.forwarded.slice(taken).map(({ body }) => body);
    taken = app.forwarded.length;
    return bodies;
  };
  return { sidekick, forwarded, stop: () => Promise.all([sidekick.stop(), app.close()]) };
}

/** Plays one conversation and returns all that was seen, step by step. */
async function converse({ sidekick, forwarded }: Rig, seed: number, hub: string, sleeps: boolean): Promise<string[]> {
  const { port } = sidekick;
  const random = generator(seed);
  const pick = <T>(items: readonly T[]): T => items[random() % items.length]!;
  const headers = { Host: hub };
  const post = (path: string, body: object) => request(port, path, JSON.stringify(body), { headers });
  const clients: (TestClient | undefined)[] = [];
  const tokens: { token: string; channel: string; params: Record<string, string> }[] = [];
  const seen: string[] = [];
  const room = () => ({ channel: pick(["chat", "grid"]), params: pick([{}, { roomId: "1", x: "a,b:c/d" }]) });
  const resources = () => Array.from({ length: 1 + (random() % 12) }, () => `todo/${random() % 60}`);

  const comeOrGo = async () => {
    const at = random() % CLIENTS;
    const client = clients[at];
    if (client === undefined) {
      clients[at] = await TestClient.connect(port, headers);
    } else {
      clients[at] = undefined;
      await client.close();
      const open = clients.filter((other) => other !== undefined).length;
      await until(async () => (await counts()).clients === open); // the object learns of it by itself
    }
    return `client ${at} comes or goes`;
  };
  const register = async () => {
    const entry = { token: `token-${tokens.length}-${seed}`, ...room() };
    tokens.push(entry);
    const { status, body } = await post("/connection", { ...entry, context: { user: pick(["ann", "bob", "ünï"]) } });
    return `register ${JSON.stringify(entry)}: ${status} ${body}`;
  };
  const registerAgain = async () => {
    const { status, body } = await post("/connection", { token: pick(tokens)?.token ?? "again", ...room(), context: "again" });
    return `register again: ${status} ${body}`;
  };
  const update = async () => {
    const named = resources();
    const { status, body } = await post("/resources", { resources: named });
    return `update ${named.join()}: ${status} ${body}`;
  };
  const publish = async () => {
    const message = { ...room(), data: { n: random() % 1000, text: "ünï\ud83d\ude00" } };
    const { status, body } = await post("/message", message);
    return `publish ${JSON.stringify(message)}: ${status} ${body}`;
  };
  const say = async (message: object | string) => {
    const open = [...clients.entries()].filter(([, client]) => client !== undefined);
    if (open.length === 0) return comeOrGo();
    const [at, client] = pick(open);
    client!.send(message);
    return `client ${at} says ${JSON.stringify(message)}`;
  };
  const subscribe = () => say({ type: "subscribe", token: pick(tokens)?.token ?? "none" });
  const subscribeToLatest = () => say({ type: "subscribe", token: tokens.at(-1)?.token ?? "none" });
  const unsubscribe = () => say({ type: "unsubscribe", token: pick(tokens)?.token ?? "none" });
  const send = () => say({ type: "send", ...(pick(tokens) ?? { token: "none", ...room() }), data: pick(["hello", { a: [1] }, "refuse"]) });
  const listen = () => say({ type: "listen", resources: resources() });
  const unlisten = () => say({ type: "unlisten", resources: resources() });
  const talkNonsense = () => say(pick(["{ wrong", '{ "type": "nonsense" }', '{ "type": "listen" }']));
  const steps = [
    comeOrGo, register, register, registerAgain, subscribe, subscribeToLatest, subscribeToLatest, unsubscribe, send, send, listen, unlisten,
    update, update, publish, publish, publish, talkNonsense,
  ];

  async function counts() {
    return JSON.parse((await request(port, "/health", undefined, { method: "GET", headers })).body) as Awaited<ReturnType<typeof health>>;
  }

  for (let at = 0; at < CLIENTS - 1; at++) clients[at] = await TestClient.connect(port, headers);
  for (let step = 0; step < STEPS; step++) {
    seen.push(await pick(steps)());
    const got = clients.map((): string[] => []);
    const hear = async () => {
      for (const [at, client] of clients.entries()) if (client !== undefined) got[at]!.push(...(await settle(client)));
    };
    await hear();
    await until(async () => (await counts()).forwards === 0);
    await hear(); // also what the app server's answer has brought
    for (const [at, messages] of got.entries()) for (const message of messages) seen.push(`  client ${at} gets ${message}`);
    for (const body of forwarded()) seen.push(`  app server gets ${body}`);
    seen.push(`  ${JSON.stringify(await counts())}`);
    if (sleeps) await sidekick.evict("hibernate", hub);
  }
  for (const client of clients) await client?.close();
  return seen;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Small numbers from a seed: xorshift. */
function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state >>> 8;
  };
}
