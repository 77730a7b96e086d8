// Thousands of clients that all lose their sockets at once and come back by their own backoff: how
// long that takes, the CPU of the Sidekick, and what the clients are told. Prints a table for
// docs/performance.md; fails if a client is told of anything that did not change.
//
//   node --import tsx tests/client/herd.ts [--target ours|wasmtime|native] [--clients 5000]
//
// The Sidekick runs on the first core, all clients in one process on the second.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { Child, misuse, progress, runBench, sleep } from "../bench/processes.ts";
import { secret, type Target, targets } from "../bench/targets.ts";
import type { Report } from "./support/herd-clients.ts";

const SIDEKICKS = ["ours", "wasmtime", "native"];
const TICKS_PER_SECOND = 100;
const WINDOW_MS = 1000;

/** CPU of a process, and of the one that replaces it. */
class CpuWatch {
  pid: number;
  #ticks = 0;
  #samples: { at: number; cpuMs: number }[] = [];
  #cpuMs = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(pid: number) {
    this.pid = pid;
    this.#timer = setInterval(() => this.#sample(), 50);
  }

  begin(): void {
    this.#samples = [];
  }

  /** Of one core: in the busiest second, and in seconds altogether. */
  end(): { peak: number; seconds: number } {
    const all = this.#samples;
    let peak = 0;
    for (const [i, { at, cpuMs }] of all.entries()) {
      const last = all.slice(i).find((sample) => sample.at - at >= WINDOW_MS);
      if (last !== undefined) peak = Math.max(peak, (last.cpuMs - cpuMs) / (last.at - at));
    }
    return { peak, seconds: (all.at(-1)!.cpuMs - all[0]!.cpuMs) / 1000 };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    let ticks: number;
    try {
      // After the name, which may contain spaces: state is the third field, utime the 14th.
      const fields = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
      ticks = Number(fields[11]) + Number(fields[12]);
    } catch {
      return; // it is being restarted
    }
    const more = ticks < this.#ticks ? ticks : ticks - this.#ticks;
    this.#ticks = ticks;
    this.#cpuMs += (more * 1000) / TICKS_PER_SECOND;
    this.#samples.push({ at: performance.now(), cpuMs: this.#cpuMs });
  }
}

interface Round {
  readonly name: string;
  /** What happens between the first drop and the return. */
  run(herd: Herd): Promise<void>;
  /** The names that have changed; "*": after a restart, nobody knows. */
  readonly changed: string;
}

const rounds: Round[] = [
  {
    name: "all sockets drop",
    run: (herd) => herd.ask("begin cut 0"),
    changed: "",
  },
  {
    name: "no network for 2 s; a resource and a message of 1 % meanwhile",
    run: async (herd) => {
      await herd.ask("begin cut 2000");
      await sleep(1000);
      await herd.post("/resources", { resources: ["group/7", "group/nobody"] });
      await herd.post("/message", { channel: "chat", params: { room: "7" }, data: "hello" });
    },
    changed: "group/7",
  },
  {
    name: "Sidekick restarts (SIGTERM)",
    run: (herd) => herd.restart("SIGTERM"),
    changed: "*",
  },
  {
    name: "Sidekick restarts (SIGKILL)",
    run: (herd) => herd.restart("SIGKILL"),
    changed: "*",
  },
];

class Herd {
  readonly target: Target;
  readonly #port: number;
  readonly #count: number;
  #server: Child;
  readonly #clients: Child;
  readonly #watches: { server: CpuWatch; clients: CpuWatch };

  static async start(target: Target, count: number): Promise<Herd> {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address() as { port: number };
    probe.close();
    const herd = new Herd(target, port, count);
    await herd.#clients.line();
    return herd;
  }

  private constructor(target: Target, port: number, count: number) {
    this.target = target;
    this.#port = port;
    this.#count = count;
    this.#server = this.#startServer();
    const program = ["--import", "tsx", "tests/client/support/herd-clients.ts"];
    this.#clients = new Child(
      "herd",
      [process.execPath, ...program, `${port}`, `${count}`, secret],
      { core: 1, talks: true },
    );
    this.#watches = {
      server: new CpuWatch(this.#server.pid),
      clients: new CpuWatch(this.#clients.pid),
    };
  }

  async run(round: Round): Promise<string[]> {
    await this.ask("stable");
    const { server, clients } = this.#watches;
    server.begin();
    clients.begin();
    const load = loadavg()[0]!;
    await round.run(this);
    const report = JSON.parse(await this.#clients.ask(`end ${round.changed}`.trim())) as Report;
    if (report.problems.length > 0)
      progress(`${report.problems.length} problems, such as ${report.problems[0]}`);
    const { live, subscribed, told, messages, gaps, sockets } = report;
    const { peak, seconds } = server.end();
    return [
      `${this.target.label}: ${round.name}`,
      [live[0]!, live[this.#count >> 1]!, live[Math.floor(this.#count * 0.99)]!, live.at(-1)!]
        .map(secondsOf)
        .join(" / "),
      secondsOf(subscribed.at(-1)!),
      told.length === 0 ? "" : secondsOf(told.at(-1)!),
      `${told.length}`,
      `${messages}`,
      `${gaps}`,
      `${sockets}`,
      `${Math.round(peak * 100)} %`,
      seconds.toFixed(1),
      `${Math.round(clients.end().peak * 100)} %`,
      load.toFixed(1),
    ];
  }

  async ask(command: string): Promise<void> {
    await this.#clients.ask(command);
  }

  async restart(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    await this.ask("begin");
    this.#server.process.kill(signal);
    await once(this.#server.process, "exit");
    this.#server = this.#startServer();
    this.#watches.server.pid = this.#server.pid;
  }

  /** As the app server does. */
  async post(path: string, body: object): Promise<void> {
    const headers = { Authorization: `Bearer ${secret}` };
    const outgoing = request({
      port: this.#port,
      host: "127.0.0.1",
      path,
      method: "POST",
      headers,
    });
    outgoing.end(JSON.stringify(body));
    const [{ statusCode }] = await once(outgoing, "response");
    if (statusCode !== 200) throw new Error(`POST ${path}: expected 200, got ${statusCode}`);
  }

  async end(): Promise<void> {
    for (const watch of Object.values(this.#watches)) watch.stop();
    await Promise.all([this.#clients.end(), this.#server.end()]);
  }

  #startServer(): Child {
    const command = this.target.command(this.#port, "http://127.0.0.1:1", undefined);
    return new Child(this.target.label, command, { core: 0 });
  }
}

const secondsOf = (ms: number) => (ms / 1000).toFixed(2);

const options = readOptions();

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        target: { type: "string", multiple: true, default: SIDEKICKS },
        clients: { type: "string", default: "5000" },
      },
    });
    const stranger = values.target.find((id) => !SIDEKICKS.includes(id));
    if (stranger !== undefined)
      throw new Error(`--target: expected one of ${SIDEKICKS.join(", ")}, got ${stranger}`);
    if (!/^[1-9]\d{0,4}$/.test(values.clients))
      throw new Error(`--clients: expected 1 to 99999, got ${values.clients}`);
    return { targets: values.target, clients: Number(values.clients) };
  } catch (error) {
    misuse(error as Error);
  }
}

async function main(): Promise<void> {
  const head = [
    `${options.clients} clients`,
    "live, s: first / half / 99 % / all",
    "subscribed, s",
    "told, s",
    "refetches",
    "messages",
    "gaps",
    "sockets opened",
    "Sidekick, busiest second",
    "Sidekick, CPU s",
    "clients, busiest second",
    "load before",
  ];
  const line = (cells: string[]) => console.log(`| ${cells.join(" | ")} |`);
  line(head);
  line(head.map((_, i) => (i === 0 ? "---" : "---:")));
  for (const target of targets.filter(({ id }) => options.targets.includes(id))) {
    const missing = target.missing();
    if (missing !== undefined) throw new Error(missing);
    progress(`${target.label}: connecting ${options.clients} clients`);
    const herd = await Herd.start(target, options.clients);
    for (const round of rounds) {
      progress(`${target.label}: ${round.name}`);
      line(await herd.run(round));
    }
    await herd.end();
  }
}

runBench(main);
