// scripts/bench --cluster: what two Sidekicks that share a Redis server cost, beside one without,
// and beside Centrifugo on the same kind of Redis if CENTRIFUGO names its command. CPU is read from
// the clocks of the processes, the client's own does not count.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { Child, machine, misuse, progress, runBench, sleep } from "./processes.js";
import { flags, secret } from "./targets.js";

const SOCKETS_PER_NODE = 100;
const INFLIGHT = 8;
const ROUNDS = 3;
const PUBLISHES = 6000;
const TOPICS = 20_000;
const TICKS_PER_SECOND = 100; // of /proc

interface Cluster {
  readonly nodes: { port: number; child: Child }[];
  readonly redis?: { port: number; child: Child };
  readonly api: Api;
  end(): Promise<void>;
}

/** How a server's clients and its app server speak. */
interface Api {
  /** Connects a subscriber to the room. */
  join(port: number, onMessage: () => void): Promise<WebSocket>;
  publish(port: number, room: string): Promise<void>;
}

const rows: string[][] = [];

runBench(async () => {
  const options = read();
  if (options.list) return console.log("fan-out\npublish\ntokens\nmemory\nresync");
  const systems = options.target?.length ? options.target : ["node", "wasmtime", "native"];
  if (process.env["CENTRIFUGO"] && !options.target?.length) systems.push("centrifugo");
  for (const system of systems) await measure(system);
  console.log(
    `\n${machine()}; medians of ${ROUNDS} rounds; ${SOCKETS_PER_NODE} sockets per node\n`,
  );
  console.log("| system | row | one node | two nodes: nodes | Redis | all / one node |");
  console.log("|---|---|---:|---:|---:|---:|");
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
});

function read() {
  try {
    return parseArgs({
      options: {
        list: { type: "boolean", default: false },
        cluster: { type: "boolean", default: false },
        target: { type: "string", multiple: true },
      },
    }).values;
  } catch (error) {
    return misuse(error as Error);
  }
}

async function measure(system: string): Promise<void> {
  const figures: Record<string, number[][]> = {};
  const add = (row: string, values: number[]) => (figures[row] ??= []).push(values);
  for (let round = 0; round < ROUNDS; round++) {
    for (const count of [1, 2]) {
      progress(`${system}, ${count} node${count > 1 ? "s and Redis" : ""}, round ${round + 1}`);
      const cluster = await start(system, count);
      try {
        const name = count === 1 ? "one" : "two";
        add(`${name} publish`, await publishes(cluster));
        add(`${name} fan-out`, await fanOut(cluster));
        if (system === "centrifugo" || count === 1) continue;
        if (round === 0) await memoryAndResync(system, cluster);
      } finally {
        await cluster.end();
      }
    }
  }
  for (const row of ["publish", "fan-out"]) {
    const [one] = medians(figures[`one ${row}`]!);
    const [nodes, redis, p50] = medians(figures[`two ${row}`]!);
    const [, , alone] = medians(figures[`one ${row}`]!);
    const unit = row === "publish" ? "CPU of a POST, us" : "CPU of a delivered message, us";
    rows.push([
      system,
      unit,
      one!.toFixed(1),
      nodes!.toFixed(1),
      redis!.toFixed(1),
      ((nodes! + redis!) / one!).toFixed(2),
    ]);
    if (row === "publish")
      rows.push([system, "median time of a POST, ms", alone!.toFixed(2), p50!.toFixed(2), "", ""]);
  }
}

/** CPU of nodes and of Redis per POST without a listener, in us, and the median time in ms. */
async function publishes(cluster: Cluster): Promise<number[]> {
  await drive(cluster, 200, "nobody");
  const before = cpu(cluster);
  const times = await drive(cluster, PUBLISHES, "nobody");
  return [...cost(cluster, before, PUBLISHES), times.sort((a, b) => a - b)[PUBLISHES / 2]!];
}

/** The same per delivered message, in us. */
async function fanOut(cluster: Cluster): Promise<number[]> {
  let received = 0;
  const sockets: WebSocket[] = [];
  for (const { port } of cluster.nodes) {
    for (let i = 0; i < SOCKETS_PER_NODE; i++)
      sockets.push(await cluster.api.join(port, () => received++));
  }
  const messages = 400;
  const run = async (count: number) => {
    const wanted = received + count * sockets.length;
    await drive(cluster, count, "room", 1); // more would share a write
    for (let tries = 0; received < wanted; tries++) {
      if (tries > 2000) throw new Error(`${wanted - received} messages did not arrive`);
      await sleep(5);
    }
  };
  await run(50);
  const before = cpu(cluster);
  await run(messages);
  const result = cost(cluster, before, messages * sockets.length);
  for (const socket of sockets) socket.terminate();
  return [...result, 0];
}

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
    [system, "memory of Redis for a joined topic, bytes", "", "", perTopic.toFixed(0), ""],
    [system, "memory of Redis for a free token, bytes", "", "", perToken.toFixed(0), ""],
    [system, "registered tokens per second", "", (tokens / seconds).toFixed(0), "", ""],
    [system, `engine up again with ${TOPICS} topics, ms`, "", isReadyAfter.toFixed(0), "", ""],
    [
      system,
      `CPU of that resync, ms`,
      "",
      (nodes! / 1000).toFixed(0),
      (ofRedis! / 1000).toFixed(0),
      "",
    ],
  );
}

async function health(port: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/health`);
  return ((await answer.json()) as { engine: string }).engine;
}

/** Publishes to the nodes in turn. Returns the time of each POST in ms. */
async function drive(
  cluster: Cluster,
  count: number,
  room: string,
  lanes = INFLIGHT,
): Promise<number[]> {
  const times: number[] = [];
  await inflight(count, lanes, async (i) => {
    const began = performance.now();
    await cluster.api.publish(cluster.nodes[i % cluster.nodes.length]!.port, room);
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

async function start(system: string, count: number): Promise<Cluster> {
  const children: Child[] = [];
  const child = async (name: string, port: number, command: string[]) => {
    const one = new Child(name, command, { core: null });
    children.push(one);
    await one.accepts(port);
    return { port, child: one };
  };
  const redis =
    count === 1
      ? undefined
      : await freePort().then((port) =>
          child("redis-server", port, ["redis-server", "--port", `${port}`, "--save", ""]),
        );
  const nodes: Cluster["nodes"][number][] = [];
  for (let i = 0; i < count; i++) {
    const port = await freePort();
    nodes.push(await child(system, port, command(system, port, redis?.port)));
  }
  if (redis && system !== "centrifugo")
    for (const { port } of nodes) while ((await health(port)) !== "up") await sleep(20);
  const api = system === "centrifugo" ? centrifugo : sidekick;
  return {
    nodes,
    api,
    ...(redis && { redis }),
    end: async () => void (await Promise.all(children.map((one) => one.end()))),
  };
}

function command(system: string, port: number, redis: number | undefined): string[] {
  if (system === "centrifugo") return centrifugoCommand(port, redis);
  const engine = redis ? ["--engine", `redis://127.0.0.1:${redis}`] : [];
  const all = [...flags(port, "http://127.0.0.1:9", undefined), ...engine];
  return system === "node"
    ? [process.execPath, "worker/dist/node/cli.js", ...all]
    : ["build/native/sidekick-server", "--runtime", system, ...all];
}

function centrifugoCommand(port: number, redis: number | undefined): string[] {
  const file = join(mkdtempSync(join(tmpdir(), "sidekick-bench-")), "config.json");
  writeFileSync(
    file,
    JSON.stringify({
      client: { insecure: true, allowed_origins: ["*"] },
      channel: { without_namespace: { history_size: 100, history_ttl: "60s" } },
      http_api: { key: secret },
      http_server: { port: `${port}` },
      ...(redis && {
        engine: { type: "redis", redis: { address: `redis://127.0.0.1:${redis}` } },
      }),
    }),
  );
  return [process.env["CENTRIFUGO"]!, "--config", file];
}

// --- what they are asked ---

const text = "x".repeat(100);
let tokens = 0;

const sidekick: Api = {
  async join(port, onMessage) {
    const token = `token-${++tokens}`;
    await register(port, token);
    const socket = await open(port);
    const subscribed = new Promise((resolve) => socket.once("message", resolve));
    socket.send(JSON.stringify({ type: "subscribe", token }));
    await subscribed;
    return socket.on("message", onMessage);
  },
  publish: (port, room) => post(port, "/message", { channel: room, params: {}, data: text }),
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
      for (const line of String(data).split("\n")) if (line.includes('"push"')) onMessage();
    });
  },
  publish: (port, room) => post(port, "/api/publish", { channel: room, data: { text } }),
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
  const of = (child: Child) => {
    const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS_PER_SECOND;
  };
  const nodes = cluster.nodes.reduce((sum, { child }) => sum + of(child), 0);
  return [nodes, cluster.redis ? of(cluster.redis.child) : 0];
}

function cost(cluster: Cluster, before: [number, number], units: number): [number, number] {
  const [nodes, redis] = cpu(cluster);
  return [(nodes - before[0]) / units, (redis - before[1]) / units];
}

function medians(rounds: number[][]): number[] {
  return rounds[0]!.map((_, i) => {
    const sorted = rounds.map((round) => round[i]!).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)]!;
  });
}

function freePort(): Promise<number> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
