// The cost of the Cloudflare Worker, in workerd on this machine, compared with a Durable Object
// that does the same with Maps.
//   node --import tsx tests/bench/cloudflare.ts [--sockets 1,1000,10000] [--rounds 5] [--steps]
//     [--wake-only] [--targets sidekick,recording,gateway,plain]
// CPU time is that of the workerd process. A Worker's clock stands still while it computes, so
// everything is timed from outside.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { WebSocket } from "ws";
import type { Workerd } from "../../worker/workerd/workerd.ts";
import { bundle, DEFAULT_MODULE, root, startWorkerd } from "../../worker/workerd/workerd.ts";
import { cpuOf } from "./processes.ts";

const SECRET = "bench";
const main = fileURLToPath(new URL("cloudflare-worker.ts", import.meta.url));
const { values: flags } = parseArgs({
  options: {
    sockets: { type: "string", default: "1,1000,10000" },
    rounds: { type: "string", default: "5" },
    steps: { type: "boolean" },
    "wake-only": { type: "boolean" },
    targets: { type: "string", default: "sidekick,recording,gateway,plain" },
  },
});

/**
 * workerd duplicates the descriptor of each connection, and inherits the hard limit of this process
 * from Node.
 */
const openFilesMax = Number(
  /^Max open files +\d+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Infinity,
);
const OTHER_FILES = 100;
const socketsMax = Math.floor((openFilesMax - OTHER_FILES) / 2);
const counts = flags.sockets.split(",").map((count) => Math.min(Number(count), socketsMax));
if (flags.sockets !== counts.join()) {
  console.log(
    `At most ${socketsMax} sockets: workerd needs two file descriptors for each, ` +
      `and this process may have ${openFilesMax} (ulimit -Hn).`,
  );
  console.log("Raising that requires CAP_SYS_RESOURCE; do it in the shell that starts this.\n");
}
const rounds = Number(flags.rounds);

/**
 * By the Host header of a request: the Worker, the same while it records, the same with one gateway
 * and four shards, and the Durable Object with Maps.
 */
type Target = "sidekick" | "recording" | "gateway" | "plain";
const targets = flags.targets.split(",") as Target[];
/**
 * workerd drops a connection that has been idle for five seconds, possibly just when it is used
 * again.
 */
const agent = new Agent({ keepAlive: true, timeout: 2_000, maxSockets: 10 });

function post(workerd: Workerd, target: Target, path: string, body: unknown): Promise<void> {
  const headers = { Host: target, Authorization: `Bearer ${SECRET}` };
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { host: "127.0.0.1", port: workerd.port, path, method: "POST", headers, agent },
      (response) => {
        response.resume().on("end", () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`${target} ${path}: ${response.statusCode}\n${workerd.output()}`));
        });
      },
    );
    outgoing.on("error", reject).end(JSON.stringify(body));
  });
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

class Crowd {
  readonly sockets: WebSocket[] = [];
  #received = 0;
  #wanted = Infinity;
  #reached = () => {};

  async grow(workerd: Workerd, target: Target, count: number): Promise<void> {
    while (this.sockets.length < count) {
      const batch = Array.from({ length: Math.min(100, count - this.sockets.length) }, () =>
        this.#join(workerd, target),
      );
      this.sockets.push(...(await Promise.all(batch)));
    }
  }

  async #join(workerd: Workerd, target: Target): Promise<WebSocket> {
    const socket = new WebSocket(`ws://127.0.0.1:${workerd.port}/socket`, {
      perMessageDeflate: false,
      headers: { Host: target },
    });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    const token = `token-of-${target}-${Math.random()}-${Math.random()}`;
    await post(workerd, target, "/connection", {
      token,
      channel: "chat",
      params: { roomId: "1" },
      context: { user: "someone" },
    });
    socket.on("error", (error) => console.error(`a socket of ${target} broke: ${error.message}`));
    socket.on("message", () => {
      if (++this.#received === this.#wanted) this.#reached();
    });
    await this.expect(1, () => socket.send(JSON.stringify({ type: "subscribe", token })), true);
    await this.expect(
      1,
      () => socket.send('{"type":"listen","resources":["todo/1","todo/2"]}'),
      true,
    );
    return socket;
  }

  /** Resolves when all sockets together have received `messages`. */
  async expect(messages: number, cause: () => unknown, alone = false): Promise<void> {
    if (alone) {
      cause(); // other requests wait too: do not count connecting
      return;
    }
    const reached = new Promise<void>((resolve) => (this.#reached = resolve));
    this.#wanted = this.#received + messages;
    await Promise.all([cause(), reached]);
  }

  async quiet(): Promise<void> {
    for (let before = -1; before !== this.#received; ) {
      before = this.#received;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
}

async function measureWake(
  workerd: Workerd,
  target: Target,
  crowd: Crowd,
): Promise<{ wall: number; cpu: number }> {
  const ping = () => crowd.expect(1, () => crowd.sockets[0]!.send('{ "type": "ping" }'));
  const timed = async (evict: boolean) => {
    if (evict) await post(workerd, target, "/bench/evict", {});
    else await ping();
    const [start, cpu] = [performance.now(), cpuOf(workerd.pid)];
    await ping();
    return { wall: performance.now() - start, cpu: (cpuOf(workerd.pid) - cpu) / 1000 };
  };
  const [asleep, awake] = [
    [] as { wall: number; cpu: number }[],
    [] as { wall: number; cpu: number }[],
  ];
  for (let i = 0; i < rounds * 2; i++) {
    asleep.push(await timed(true));
    awake.push(await timed(false));
  }
  const of = (what: "wall" | "cpu") =>
    median(asleep.map((one) => one[what])) - median(awake.map((one) => one[what]));
  return { wall: of("wall"), cpu: of("cpu") };
}

async function measureFanOut(
  workerd: Workerd,
  target: Target,
  crowd: Crowd,
): Promise<{ wall: number; cpu: number }> {
  const count = crowd.sockets.length;
  const messages = Math.max(5, Math.min(500, Math.ceil(50_000 / count)));
  const data = "x".repeat(130); // about 200 bytes as sent
  const [start, cpu] = [performance.now(), cpuOf(workerd.pid)];
  for (let i = 0; i < messages; i++) {
    await crowd.expect(count, () =>
      post(workerd, target, "/message", { channel: "chat", params: { roomId: "1" }, data }),
    );
  }
  const delivered = messages * count;
  return {
    wall: ((performance.now() - start) * 1000) / delivered,
    cpu: (cpuOf(workerd.pid) - cpu) / delivered,
  };
}

async function measureStep(workerd: Workerd, step: string, times: number): Promise<number> {
  const timed = async (name: string) => {
    const start = performance.now();
    await post(workerd, "sidekick", `/bench/repeat?step=${name}&times=${times}`, {});
    return performance.now() - start;
  };
  const all: number[] = [];
  for (let i = 0; i < rounds; i++) all.push((await timed(step)) - (await timed("nothing")));
  return median(all) / times;
}

async function printSizes(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sidekick-bench-"));
  const file = join(folder, "worker.js");
  await bundle(join(root, "worker/src/cloudflare/index.ts"), file, true);
  const [script, module] = [readFileSync(file), readFileSync(DEFAULT_MODULE)];
  rmSync(folder, { recursive: true });
  const kib = (bytes: number) => (bytes / 1024).toFixed(1);
  const line = (name: string, bytes: Buffer) =>
    console.log(
      `| ${name} | ${kib(bytes.byteLength)} | ${kib(gzipSync(bytes, { level: 9 }).byteLength)} |`,
    );
  console.log("| bundle | KiB | gzip |\n| --- | ---: | ---: |");
  line("script, minified", script);
  line("module", module);
}

interface Figures {
  readonly wake: { wall: number; cpu: number };
  readonly fan: { wall: number; cpu: number };
}

/**
 * One after the other, each in a process of its own: together they would need more open files than
 * a process may have.
 */
async function measure(target: Target): Promise<Figures[]> {
  const workerd = await startWorkerd({
    main,
    unsafe: true,
    classes: {
      SIDEKICK: "SidekickObject",
      SIDEKICK_SHARD: "SidekickShard",
      PLAIN: "PlainObject",
    },
    env: {
      SIDEKICK_SECRET: SECRET,
      ...(target === "recording" && { SIDEKICK_TRACE_BYTES: "10000000" }),
      ...(target === "gateway" && { SIDEKICK_GATEWAYS: "1", SIDEKICK_SHARDS: "4" }),
    },
  });
  void workerd.exited.then((how) => {
    if (!isOver) console.error(`${how}\n${workerd.output()}`);
  });
  let isOver = false;
  const crowd = new Crowd();
  const figures: Figures[] = [];
  try {
    for (const count of counts) {
      await crowd.grow(workerd, target, count);
      await crowd.quiet();
      const wake: Figures["wake"][] = [];
      const fan: Figures["fan"][] = [];
      const measureFan = () =>
        flags["wake-only"] === true
          ? Promise.resolve({ wall: NaN, cpu: NaN })
          : measureFanOut(workerd, target, crowd);
      await measureFan(); // warm-up
      for (let round = 0; round < rounds; round++) {
        wake.push(await measureWake(workerd, target, crowd));
        fan.push(await measureFan());
      }
      const of = (list: Figures["wake"][]) => ({
        wall: median(list.map((one) => one.wall)),
        cpu: median(list.map((one) => one.cpu)),
      });
      figures.push({ wake: of(wake), fan: of(fan) });
    }
    if (target === "sidekick") await measureSteps(workerd);
  } finally {
    isOver = true;
    for (const socket of crowd.sockets) socket.terminate();
    await workerd.stop();
  }
  return figures;
}

const notes: string[] = [];
async function measureSteps(workerd: Workerd): Promise<void> {
  const instantiate = (await measureStep(workerd, "instantiate", 200)) * 1000;
  notes.push(`Instance of the module, with its hub: ${instantiate.toFixed(0)} us`);
  if (flags.steps !== true) return;
  for (const step of [
    "raw-instance",
    "store",
    "sockets",
    "rows",
    "tokens",
    "attachments",
    "restore",
  ]) {
    notes.push(`step ${step}: ${(await measureStep(workerd, step, 20)).toFixed(3)} ms`);
  }
}

await printSizes();
const results = new Map<Target, Figures[]>();
for (const target of targets) results.set(target, await measure(target));
console.log(
  "\n| sockets | | wake, ms | wake, CPU ms | delivered message, us | CPU us |\n" +
    "| ---: | --- | ---: | ---: | ---: | ---: |",
);
for (const [i, count] of counts.entries()) {
  for (const target of targets) {
    const { wake, fan } = results.get(target)![i]!;
    const cells = [wake.wall, wake.cpu, fan.wall, fan.cpu].map((value) =>
      Number.isNaN(value) ? "" : value.toFixed(2),
    );
    console.log(`| ${count} | ${target} | ${cells.join(" | ")} |`);
  }
}
console.log(`\n${notes.join("\n")}`);
process.exit(0);
