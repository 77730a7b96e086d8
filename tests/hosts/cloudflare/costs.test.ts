// The bill of Cloudflare for each event, counted in workerd, equals the table in
// docs/deploy-cloudflare.md: with one object, and with 1, 4 and 50 gateways that have a listener.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { root } from "../../../worker/workerd/workerd.ts";
import type { Bill, Bills } from "./support/bill.ts";
import type { WorkerdSidekick } from "./support/sidekick.ts";
import {
  closeEverything,
  post,
  registerToken,
  start,
  stopAll,
  TestClient,
} from "./support/sidekick.ts";
import { billedWorker } from "./support/workers.ts";

after(closeEverything);
afterEach(stopAll);

const WAIT_MS = 30_000;
const HOUR_MS = 3_600_000;
const LONG_MS = 10 * HOUR_MS;
const SHARD = "sidekick:s0";
/** Each token's row begins with two times, of which the second says how long it has been held. */
const HELD_LONGER = `UPDATE shard SET value = CAST(substr(value, 1, instr(value, ' '))
  || (substr(value, instr(value, ' ') + 1, 13) - ${2 * HOUR_MS})
  || substr(value, instr(value, ' ') + 14) AS BLOB) WHERE substr(key, 1, 1) = CAST('t' AS BLOB)`;

/** The Worker's requests, the objects' requests, and rows written, an alarm set being one. */
type Cost = readonly [number, number, number];

const text = readFileSync(join(root, "docs/deploy-cloudflare.md"), "utf8");

/** By event: with one object, and with shards, for this many gateways. */
function documented(gateways: number): Map<string, { one: Cost; scaled: Cost }> {
  const [, table] = /\n\| event \| Worker requests \|.*\n\|[-:|]+\|\n((?:\|.*\n)+)/.exec(text)!;
  const rows = table!.trim().split("\n");
  const cells = rows.map((row) => row.split("|").map((cell) => cell.trim()));
  const count = (cell: string) =>
    cell
      .split(" + ")
      .map((part) => (part === "g" ? gateways : Number(part)))
      .reduce((sum, part) => sum + part);
  return new Map(
    cells.map(([, event, ...counts]) => {
      const [worker, requests, written, requestsScaled, writtenScaled] = counts.map(count);
      const one = [worker!, requests!, written!] as const;
      return [event!, { one, scaled: [worker!, requestsScaled!, writtenScaled!] as const }];
    }),
  );
}

const requestsOf = ({ calls, alarmsFired, messages }: Bill) => calls + alarmsFired + messages / 20;

/** Since the last call of this. */
async function costSince(sidekick: WorkerdSidekick): Promise<Cost> {
  const { worker, objects, shards }: Bills = await sidekick.test("bill");
  const written = objects.rowsWritten + shards.rowsWritten;
  return [worker, requestsOf(objects) + requestsOf(shards), written];
}

/** The same, once nothing more is counted. */
async function settledCost(sidekick: WorkerdSidekick): Promise<Cost> {
  const sum: [number, number, number] = [0, 0, 0];
  for (let calm = 0; calm < 5; calm++) {
    const more = await costSince(sidekick);
    for (const i of [0, 1, 2] as const) sum[i] += more[i];
    if (more.some((count) => count > 0)) calm = 0;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return sum;
}

/** Counts for one Sidekick after the other. */
class Ledger {
  #sidekick!: WorkerdSidekick;
  readonly #expected: Map<string, Cost>;

  constructor(gateways: number | undefined) {
    this.#expected = new Map(
      [...documented(gateways ?? 1)].map(([event, { one, scaled }]) => [
        event,
        gateways === undefined ? one : scaled,
      ]),
    );
  }

  /** Forgets the counts so far: they belong to no event. */
  async open(sidekick: WorkerdSidekick): Promise<void> {
    this.#sidekick = sidekick;
    await settledCost(sidekick);
  }

  /** A late cost is counted with the next event, which then costs too much. */
  async costs(event: string, act: () => Promise<unknown>): Promise<void> {
    const expected = this.#expected.get(event);
    assert.ok(expected !== undefined, `docs/deploy-cloudflare.md has no cost of: ${event}`);
    this.#expected.delete(event);
    await act();
    const sum: [number, number, number] = [0, 0, 0];
    for (const end = Date.now() + WAIT_MS; Date.now() < end; ) {
      const more = await costSince(this.#sidekick);
      for (const i of [0, 1, 2] as const) sum[i] = Math.round((sum[i] + more[i]) * 100) / 100;
      if (sum.every((count, i) => count === expected[i])) return;
      if (sum.some((count, i) => count > expected[i]!)) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(sum, expected, `${event}: Worker requests, object requests, rows`);
  }

  /** Nothing more has been counted, and each documented event has been. */
  async close(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(await costSince(this.#sidekick), [0, 0, 0]);
    assert.deepEqual([...this.#expected.keys()], []);
  }
}

interface Rig {
  readonly sidekick: WorkerdSidekick;
  /** One at each gateway, which listens to the resource and has joined the channel. */
  readonly clients: readonly TestClient[];
  /** A client of the first gateway. */
  connect(): Promise<TestClient>;
  /** All clients hear of it. */
  publish(path: string, body: object): Promise<void>;
}

const RESOURCE = { resources: ["todo/1"] };
const MESSAGE = { channel: "chat", params: {}, data: 1 };

/** @param gateways undefined: one object */
async function startBilled(
  gateways: number | undefined,
  limits: Readonly<Record<string, number>>,
): Promise<Rig> {
  const env =
    gateways === undefined ? {} : { SIDEKICK_GATEWAYS: `${gateways}`, SIDEKICK_SHARDS: "1" };
  // So that the alarm of the first token is the earliest.
  const more = { token_ttl_ms: LONG_MS, token_resume_ms: LONG_MS };
  const sidekick = await start({ main: billedWorker, env, limits: { ...limits, ...more } });
  const connect = (gateway: number) =>
    TestClient.connect(
      sidekick.port,
      gateways === undefined ? {} : { "test-gateway": `${gateway}` },
    );
  const clients: TestClient[] = [];
  for (let gateway = 0; gateway < (gateways ?? 1); gateway++) {
    const client = await connect(gateway);
    await says(client, { type: "listen", ...RESOURCE }, "listening");
    const token = `token-of-gateway-${gateway}`;
    await registerToken(sidekick.port, token);
    await client.subscribe(token);
    clients.push(client);
  }
  // A free token has set the alarm for all that follow.
  await registerToken(sidekick.port, "token-free");
  const publish = async (path: string, body: object) => {
    assert.equal((await post(sidekick.port, path, body)).status, 200);
    for (const client of clients) await client.next();
  };
  // Every 10 s, a stamp costs a row. With many gateways these have passed.
  await publish("/resources", RESOURCE);
  return { sidekick, clients, connect: () => connect(0), publish };
}

async function says(client: TestClient, message: object, answer: string): Promise<void> {
  client.send(message);
  assert.equal((await client.next()).type, answer);
}

for (const gateways of [undefined, 1, 4, 50]) {
  const scale = gateways === undefined ? "one object" : `gateways: ${gateways}`;
  test(`each event costs what the documentation says (${scale})`, async () => {
    const ledger = new Ledger(gateways);
    const plain = await startBilled(gateways, { history_messages_max: 0 });
    await clientsCome(ledger, plain);
    // Each message that is kept takes the place of one that is erased.
    const rig = await startBilled(gateways, { history_messages_max: 1 });
    await rig.publish("/message", MESSAGE);
    await ledger.open(rig.sidekick);
    await ledger.costs("`POST /message`", () => rig.publish("/message", MESSAGE));
    await objectsSleep(ledger, rig, gateways !== undefined);
    await ledger.close();
  });
}

async function clientsCome(ledger: Ledger, rig: Rig): Promise<void> {
  const { sidekick, publish } = rig;
  const { port } = sidekick;
  await ledger.open(sidekick);
  let client!: TestClient;
  await ledger.costs("a socket opens", async () => void (client = await rig.connect()));
  await ledger.costs("`listen`", () => says(client, { type: "listen", ...RESOURCE }, "listening"));
  const other = { resources: ["todo/2"] };
  await ledger.costs("`listen`, the first at its gateway", () =>
    says(client, { type: "listen", ...other }, "listening"),
  );
  await ledger.costs("`unlisten`, the last at its gateway", () =>
    says(client, { type: "unlisten", ...other }, "unlistening"),
  );
  await ledger.costs("`POST /resources`", () => publish("/resources", RESOURCE));
  assert.equal((await client.next()).type, "updated");
  await ledger.costs("`POST /message`, without history", () => publish("/message", MESSAGE));
  await ledger.costs("`POST /connection`", () => registerToken(port, "token-1"));
  await ledger.costs("`subscribe`", () => client.subscribe("token-1"));
  await ledger.costs("`unsubscribe`", () =>
    says(client, { type: "unsubscribe", token: "token-1" }, "unsubscribed"),
  );
  await registerToken(port, "token-2", "grid");
  await ledger.open(sidekick);
  await ledger.costs("`subscribe`, the first at its gateway", () => client.subscribe("token-2"));
  const leaver = await rig.connect();
  await registerToken(port, "token-3");
  await leaver.subscribe("token-3");
  await ledger.open(sidekick);
  await ledger.costs("a socket with a token closes", () => leaver.close());
}

async function objectsSleep(
  ledger: Ledger,
  { sidekick, publish }: Rig,
  hasShards: boolean,
): Promise<void> {
  await sidekick.test("may-sleep");
  await sidekick.evict("hibernate");
  await ledger.costs("`POST /resources` that wakes a gateway", () =>
    publish("/resources", RESOURCE),
  );
  await sidekick.evict("hibernate", SHARD);
  await ledger.costs("`POST /resources` that wakes a shard", () => publish("/resources", RESOURCE));
  const event = "an hour in which tokens are held";
  if (!hasShards) return ledger.costs(event, async () => {});
  await sidekick.sql("UPDATE setting SET value = '1' WHERE name = 'ask_at'", SHARD);
  await sidekick.sql(HELD_LONGER, SHARD);
  await sidekick.evict("hibernate", SHARD);
  await ledger.open(sidekick);
  await ledger.costs(event, () => sidekick.test(`alarm?hub=${SHARD}`));
}

test("a gateway's first socket costs what the documentation says, for each shard", async () => {
  const [, calls, rows] =
    /first socket\*\* costs (\w+) calls\s+and\s+(\w+) rows for each shard/.exec(text)!;
  const costs: Cost[] = [];
  for (const shards of ["1", "2"]) {
    const env = { SIDEKICK_GATEWAYS: "2", SIDEKICK_SHARDS: shards };
    const sidekick = await start({ main: billedWorker, env });
    await TestClient.connect(sidekick.port, { "test-gateway": "0" });
    await settledCost(sidekick);
    await TestClient.connect(sidekick.port, { "test-gateway": "1" });
    costs.push(await settledCost(sidekick));
  }
  const numbers = ["no", "one", "two", "three", "four"];
  const of = (i: 1 | 2) => numbers[costs[1]![i] - costs[0]![i]];
  assert.deepEqual([of(1), of(2)], [calls, rows]);
});

/** The documented price of a million: each object is awake for 5 ms. */
function priceOf([worker, requests, rows]: Cost): string {
  const price = (what: string) =>
    Number(new RegExp(`\\| ${what}.*\\| ([\\d.]+) \\|`).exec(text)![1]);
  const awake = 0.005 * 0.128 * price("object awake, GB-s");
  const perRequest = price("object request;") + awake;
  const sum =
    worker * (price("Worker request") + price("Worker CPU, ms")) +
    requests * perRequest +
    rows * price("SQLite row written;");
  return sum.toFixed(2);
}

test("the documented prices of a million messages follow from what each costs", () => {
  for (const [line, event] of [
    ["without history, or resources updated", "`POST /message`, without history"],
    ["with history \\(the default\\)", "`POST /message`"],
  ] as const) {
    const prices = new RegExp(`\n\\| ${line} \\| (.*) \\|\n`).exec(text)![1]!.split(" | ");
    const { one } = documented(1).get(event)!;
    const scaled = [1, 4, 50].map((gateways) => documented(gateways).get(event)!.scaled);
    assert.deepEqual([one, ...scaled].map(priceOf), prices, line);
  }
});
