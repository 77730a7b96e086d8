// scripts/bench --cluster: what two Sidekicks that share a Redis server cost, beside one without,
// and beside Centrifugo on the same kind of Redis if CENTRIFUGO names its command. The layouts of a
// system run side by side, and their rounds alternate. CPU is read from the clocks of the
// processes, the client's own does not count. Every subscriber must receive every message once and
// in order.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { get } from "node:http";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { median, medianInterval } from "./against/statistics.js";
import { Child, cpuOf, freePort, machine, misuse, progress, runBench, sleep } from "./processes.js";
import { table, writeReport } from "./tables.js";
import {
  centrifugoCommand,
  centrifugoVersion,
  flags,
  missingCentrifugo,
  secret,
} from "./targets.js";

const SOCKETS_PER_NODE = 100;
const INFLIGHT = 8;
const ROUNDS = 15;
const PUBLISHES = 500; // of a round
const MESSAGES = 100; // of a round
/** Uncounted: until then, Node compiles. */
const WARM_UP_ROUNDS = 6;
const TOPICS = 20_000;

const systems = ["node", "wasmtime", "native", "centrifugo"];

/** How many nodes, and where. */
type Layout = "one" | "two" | "one port";

interface Cluster {
  readonly nodes: { port: number; child: Child }[];
  readonly redis?: { port: number; child: Child };
  readonly api: Api;
  end(): Promise<void>;
}

/** How a server's clients and its app server speak. */
interface Api {
  /** Connects a subscriber to the room. `onMessage` gets the text of each message. */
  join(port: number, onMessage: (text: string) => void): Promise<WebSocket>;
  publish(port: number, room: string, text: string): Promise<void>;
}

const rows: string[][] = [];

const options = readOptions();

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        list: { type: "boolean", default: false },
        cluster: { type: "boolean", default: false },
        target: { type: "string", multiple: true },
        write: { type: "boolean", default: false },
      },
    });
    const stranger = values.target?.find((name) => !systems.includes(name));
    if (stranger !== undefined)
      throw new Error(`--target: expected one of ${systems.join(", ")}, got ${stranger}`);
    return values;
  } catch (error) {
    return misuse(error as Error);
  }
}

async function main(): Promise<void> {
  if (options.list) return console.log("fan-out\npublish\ntokens\nmemory\nresync");
  const hasCentrifugo = missingCentrifugo() === undefined;
  if (!hasCentrifugo) progress(`without centrifugo: ${missingCentrifugo()}`);
  const running = (options.target ?? systems).filter((it) => it !== "centrifugo" || hasCentrifugo);
  const load = loadavg()[0]!;
  const measured: string[][] = [];
  for (const system of running) measured.push(...(await measure(system)));
  const head = ["", "one node", "two nodes: nodes", "Redis", "nodes / one", "all / one"];
  const facts =
    `\`scripts/bench --cluster\` on ${new Date().toISOString().slice(0, 10)}: ` +
    `${[machine(), ...(hasCentrifugo ? [centrifugoVersion()] : [])].join(", ")}; medians of ` +
    `${ROUNDS} rounds; ${SOCKETS_PER_NODE} sockets per node; load average ${load.toFixed(1)} to ` +
    `${loadavg()[0]!.toFixed(1)}.`;
  const missing = hasCentrifugo ? "" : `\n\nLeft out: Centrifugo (${missingCentrifugo()}).`;
  const report = `${facts}\n\n${table(head, [...measured, ...rows])}${missing}`;
  console.log(report);
  if (options.write) {
    writeReport("cluster", report);
    progress("wrote docs/performance.md");
  }
}

/** "one" first: the others are compared with it. */
const layoutsOf = (system: string): Layout[] =>
  system === "native" ? ["one", "two", "one port"] : ["one", "two"];

/** One layout under measurement, and its figures of each round. */
interface Contender {
  readonly layout: Layout;
  readonly cluster: Cluster;
  readonly room: Room;
  readonly publish: Figures[];
  readonly fanOut: Figures[];
}

/** CPU of nodes and of Redis per unit, in us, and the median time in ms. */
type Figures = readonly [number, number, number];

/** Returns the rows with CPU. */
async function measure(system: string): Promise<string[][]> {
  const contenders: Contender[] = [];
  try {
    for (const layout of layoutsOf(system)) {
      progress(`${system}, ${layout}: starting`);
      const cluster = await start(system, layout);
      const room = await Room.fill(cluster, layout);
      contenders.push({ layout, cluster, room, publish: [], fanOut: [] });
    }
    for (let round = 1 - WARM_UP_ROUNDS; round <= ROUNDS; round++) {
      progress(`${system}: round ${round} of ${ROUNDS}`);
      for (const it of round % 2 === 0 ? contenders : [...contenders].reverse()) {
        const publish = await figuresOf(it.cluster, PUBLISHES, PUBLISHES, () =>
          drive(it.cluster, PUBLISHES, "nobody"),
        );
        const fanOut = await figuresOf(it.cluster, MESSAGES, MESSAGES * it.room.size, () =>
          it.room.publish(MESSAGES),
        );
        if (round < 1) continue;
        it.publish.push(publish);
        it.fanOut.push(fanOut);
      }
    }
    const two = contenders.find(({ layout }) => layout === "two")!;
    if (system !== "centrifugo") await memoryAndResync(system, two.cluster);
    const [one, ...others] = contenders;
    return others.flatMap((it) => rowsOf(system, one!, it));
  } finally {
    for (const { cluster } of contenders) await cluster.end();
  }
}

function rowsOf(system: string, one: Contender, it: Contender): string[][] {
  const name = it.layout === "one port" ? `${system}, one port` : system;
  const middle = (values: readonly Figures[], i: 0 | 1 | 2) => median(values.map((v) => v[i]));
  const cpuRow = (row: "publish" | "fanOut", unit: string) => {
    const pairs = one[row].map(([base], i) => [base, ...it[row][i]!] as const);
    const shown = [middle(one[row], 0), middle(it[row], 0), middle(it[row], 1)];
    return [
      `${name}: CPU of a ${unit}, us`,
      ...shown.map((value) => value.toFixed(1)),
      ratio(pairs.map(([base, nodes]) => nodes / base)),
      ratio(pairs.map(([base, nodes, redis]) => (nodes + redis) / base)),
    ];
  };
  const times = [middle(one.publish, 2), middle(it.publish, 2)];
  return [
    cpuRow("publish", "POST"),
    [`${name}: median time of a POST, ms`, ...times.map((time) => time.toFixed(2)), "", "", ""],
    cpuRow("fanOut", "delivered message"),
  ];
}

/** The median, and its interval. */
function ratio(values: readonly number[]): string {
  const { low, high } = medianInterval(values);
  return `${median(values).toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

/** @param work returns the times of its POSTs in ms */
async function figuresOf(
  cluster: Cluster,
  requests: number,
  units: number,
  work: () => Promise<number[]>,
): Promise<Figures> {
  const before = cpu(cluster);
  const times = await work();
  return [...cost(cluster, before, units), times.sort((a, b) => a - b)[requests >> 1]!];
}

/** The subscribers of a channel, the same number at each node. */
class Room {
  readonly #cluster: Cluster;
  readonly #received: number[] = [];
  #published = 0;
  #wrong: string | undefined;

  private constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  static async fill(cluster: Cluster, layout: Layout): Promise<Room> {
    const room = new Room(cluster);
    const before = cluster.nodes.map(({ child }) => openSockets(child));
    for (const { port } of cluster.nodes)
      for (let i = 0; i < SOCKETS_PER_NODE; i++) await room.#join(port);
    const shares = cluster.nodes.map(({ child }, i) => openSockets(child) - before[i]!);
    if (layout === "one port") progress(`connections of the processes: ${shares.join(" and ")}`);
    if (shares.some((share) => share < SOCKETS_PER_NODE / 4))
      throw new Error(`a process has too few of the connections: ${shares.join(", ")}`);
    return room;
  }

  get size(): number {
    return this.#received.length;
  }

  /** One at a time, since more would share a write. Until all have been received. */
  async publish(count: number): Promise<number[]> {
    const first = this.#published;
    this.#published += count;
    const times = await drive(this.#cluster, count, "room", 1, (i) => numbered(first + i));
    for (let tries = 0; this.#received.some((received) => received < this.#published); tries++) {
      if (tries > 2000) throw new Error("a message did not arrive");
      await sleep(5);
    }
    if (this.#wrong !== undefined) throw new Error(this.#wrong);
    return times;
  }

  async #join(port: number): Promise<void> {
    const subscriber = this.#received.push(0) - 1;
    await this.#cluster.api.join(port, (text) => {
      const expected = numbered(this.#received[subscriber]!++);
      if (text !== expected) this.#wrong ??= `expected "${expected}", got "${text}"`;
    });
  }
}

/** 100 bytes. */
const numbered = (n: number) => `${n} `.padEnd(100, "x");

const openSockets = ({ pid }: Child) =>
  readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
    } catch {
      return false; // closed meanwhile
    }
  }).length;

/** Redis' memory per topic and token, and the time to be back after its connections were cut. */
async function memoryAndResync(system: string, cluster: Cluster): Promise<void> {
  const redis = (...words: string[]) =>
    execFileSync("redis-cli", ["-p", String(cluster.redis!.port), ...words], { encoding: "utf8" });
  const used = () => Number(/used_memory:(\d+)/.exec(redis("info", "memory"))![1]);
  const { port } = cluster.nodes[0]!;
  const socket = await open(port);
  let before = used();
  for (let first = 0; first < TOPICS; first += 5000) {
    const resources = Array.from({ length: 5000 }, (_, i) => `a-resource/${first + i}`);
    const each = first < 10_000 ? socket : await open(port);
    const listening = new Promise((resolve) => each.once("message", resolve));
    each.send(JSON.stringify({ type: "listen", resources }));
    await listening;
  }
  const perTopic = (used() - before) / TOPICS;
  before = used();
  const began = performance.now();
  const tokens = 2000;
  await inflight(tokens, INFLIGHT, (i) => register(port, `memory-${i}`));
  const seconds = (performance.now() - began) / 1000;
  const perToken = (used() - before) / tokens;
  const cut = performance.now();
  const cpuBefore = cpu(cluster);
  redis("client", "kill", "type", "pubsub");
  await sleep(20);
  while ((await health(port)) !== "up") await sleep(5);
  const isReadyAfter = performance.now() - cut;
  await sleep(1500);
  const [nodes, ofRedis] = cost(cluster, cpuBefore, 1);
  rows.push(
    [`${system}: memory of Redis for a joined topic, bytes`, "", "", perTopic.toFixed(0), "", ""],
    [`${system}: memory of Redis for a free token, bytes`, "", "", perToken.toFixed(0), "", ""],
    [`${system}: registered tokens per second`, "", (tokens / seconds).toFixed(0), "", ""],
    [`${system}: engine up again with ${TOPICS} topics, ms`, "", isReadyAfter.toFixed(0), "", ""],
    [
      `${system}: CPU of that resync, ms`,
      "",
      (nodes! / 1000).toFixed(0),
      (ofRedis! / 1000).toFixed(0),
      "",
    ],
  );
}

/** On a connection of its own, since one port can be that of several processes. */
function health(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path: "/health", agent: false }, async (response) => {
      let text = "";
      for await (const part of response) text += part;
      resolve((JSON.parse(text) as { engine: string }).engine);
    }).once("error", reject);
  });
}

/** Publishes to the nodes in turn. Returns the time of each POST in ms. */
async function drive(
  cluster: Cluster,
  count: number,
  room: string,
  lanes = INFLIGHT,
  text = numbered,
): Promise<number[]> {
  const times: number[] = [];
  await inflight(count, lanes, async (i) => {
    const began = performance.now();
    await cluster.api.publish(cluster.nodes[i % cluster.nodes.length]!.port, room, text(i));
    times.push(performance.now() - began);
  });
  return times;
}

async function inflight(
  count: number,
  lanes: number,
  once: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await once(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

// --- servers ---

async function start(system: string, layout: Layout): Promise<Cluster> {
  const children: Child[] = [];
  const child = async (name: string, port: number, command: string[]) => {
    const one = new Child(name, command, { core: null });
    children.push(one);
    await one.accepts(port);
    return { port, child: one };
  };
  const redis =
    layout === "one"
      ? undefined
      : await freePort().then((port) =>
          child("redis-server", port, ["redis-server", "--port", `${port}`, "--save", ""]),
        );
  const nodes: Cluster["nodes"][number][] = [];
  const sharedPort = layout === "one port" ? await freePort() : undefined;
  for (let i = 0; i < (layout === "one" ? 1 : 2); i++) {
    const port = sharedPort ?? (await freePort());
    nodes.push(await child(system, port, command(system, port, redis?.port, layout)));
  }
  while (listeners(nodes[0]!.port) < (sharedPort ? 2 : 1)) await sleep(20);
  if (redis && system !== "centrifugo")
    for (const { port } of nodes) await isUp(port, sharedPort ? 20 : 1);
  const api = system === "centrifugo" ? centrifugo : sidekick;
  return {
    nodes,
    api,
    ...(redis && { redis }),
    end: async () => void (await Promise.all(children.map((one) => one.end()))),
  };
}

/** Of a port, in all processes. */
function listeners(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const listening = new RegExp(`^ *\\d+: [0-9A-F]+:${hex} [0-9A-F:]+ 0A `);
  const lines = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) =>
    readFileSync(file, "utf8").split("\n"),
  );
  return lines.filter((line) => listening.test(line)).length;
}

/** Asks until `times` connections in a row reached a process with an engine. */
async function isUp(port: number, times: number): Promise<void> {
  for (let row = 0; row < times; ) {
    row = (await health(port)) === "up" ? row + 1 : 0;
    if (row === 0) await sleep(20);
  }
}

function command(
  system: string,
  port: number,
  redis: number | undefined,
  layout: Layout,
): string[] {
  if (system === "centrifugo") {
    return centrifugoCommand(port, {
      channel: { without_namespace: { history_size: 100, history_ttl: "60s" } }, // as Sidekick
      ...(redis && {
        engine: { type: "redis", redis: { address: `redis://127.0.0.1:${redis}` } },
      }),
    });
  }
  const engine = redis ? ["--engine", `redis://127.0.0.1:${redis}`] : [];
  const shared = layout === "one port" ? ["--reuse-port"] : [];
  const all = [...flags(port, "http://127.0.0.1:9", undefined), ...engine, ...shared];
  return system === "node"
    ? [process.execPath, "worker/dist/node/cli.js", ...all]
    : ["build/native/sidekick-server", "--runtime", system, ...all];
}

// --- what they are asked ---

let tokens = 0;

const sidekick: Api = {
  async join(port, onMessage) {
    const token = `token-${++tokens}`;
    await register(port, token);
    const socket = await open(port);
    const subscribed = new Promise((resolve) => socket.once("message", resolve));
    socket.send(JSON.stringify({ type: "subscribe", token }));
    await subscribed;
    return socket.on("message", (data) => onMessage(JSON.parse(String(data)).data));
  },
  publish: (port, room, text) => post(port, "/message", { channel: room, params: {}, data: text }),
};

const centrifugo: Api = {
  async join(port, onMessage) {
    const socket = await open(port, "/connection/websocket");
    const answer = () => new Promise((resolve) => socket.once("message", resolve));
    socket.send('{"id":1,"connect":{}}');
    await answer();
    socket.send('{"id":2,"subscribe":{"channel":"room"}}');
    await answer();
    // A frame may hold several messages, a line each.
    return socket.on("message", (data) => {
      for (const line of String(data).split("\n"))
        if (line.includes('"push"')) onMessage(JSON.parse(line).push.pub.data.text);
    });
  },
  publish: (port, room, text) => post(port, "/api/publish", { channel: room, data: { text } }),
};

const register = (port: number, token: string) =>
  post(port, "/connection", { token, channel: "room", params: {} });

async function post(port: number, path: string, body: object): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${secret}`, "X-API-Key": secret },
    body: JSON.stringify(body),
  });
  const said = await answer.text();
  if (!answer.ok || said.includes('"error"')) throw new Error(`${path}: ${answer.status} ${said}`);
}

async function open(port: number, path = "/socket"): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { perMessageDeflate: false });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return socket;
}

// --- figures ---

function cpu(cluster: Cluster): [number, number] {
  const nodes = cluster.nodes.reduce((sum, { child }) => sum + cpuOf(child.pid), 0);
  return [nodes, cluster.redis ? cpuOf(cluster.redis.child.pid) : 0];
}

function cost(cluster: Cluster, before: [number, number], units: number): [number, number] {
  const [nodes, redis] = cpu(cluster);
  return [(nodes - before[0]) / units, (redis - before[1]) / units];
}

runBench(main);
