// The servers under test: how each is started, driven and ended.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { Child, sleep } from "./processes.js";

export const built = "build/bench";
export const secret = "bench-secret";

/** The generator's answer to a measuring command; times in us. */
export interface Measured {
  units: number;
  cpu_us: number;
  /** Of the WebSocket frames received, per unit. */
  frame_bytes: number;
  p50_us: number;
  p99_us: number;
  wall_ms: number;
  load_share: number;
}

export interface Target {
  id: string;
  label: string;
  /** Runs only if requested by name: `id` with its extra cost compared with this other target. */
  beside?: string;
  /** Collects garbage on SIGUSR2 (gc.mjs); the others have no collector, and SIGUSR2 ends them. */
  collects: boolean;
  /** The reason it cannot run here, if any. */
  missing(): string | undefined;
  command(port: number, appServer: string, limits: string | undefined): string[];
}

/** Runs a server in Node; it collects garbage on SIGUSR2. */
export const node = [process.execPath, "--expose-gc", "--import", "./tests/bench/gc.mjs"];
const cli = "worker/dist/node/cli.js";
const module = "worker/module/sidekick.wasm";
const bun = "node_modules/.bin/bun";
/** Another build can be measured, e.g. one before a change. */
const server = process.env["BENCH_SERVER"] ?? "build/native/sidekick-server";
const always = () => undefined;
const firstMissing = (files: string[]) =>
  files
    .filter((file) => !existsSync(file))
    .map((file) => `${file} is missing: run scripts/build`)[0];

/** Where the recording targets write; deleted with the server. */
const recordings = `${built}/recordings`;
const recording = (target: Target): Target => ({
  ...target,
  id: `${target.id}-recording`,
  label: `${target.label}, recording`,
  beside: target.id,
  command: (port, appServer, limits) => [
    ...target.command(port, appServer, limits),
    "--record",
    `${recordings}/${port}.jsonl`,
  ],
});

export const flags = (port: number, appServer: string, limits: string | undefined) => [
  ...[
    "--port",
    `${port}`,
    "--secret",
    secret,
    "--auth-delay",
    "3000",
    "--server-url",
    appServer,
    "--server-secret",
    secret,
  ],
  ...(limits ? ["--config", limits] : []),
];

const runtime = (name: "wasmtime" | "native", files: string[]): Target => ({
  id: name,
  label: `Sidekick, ${name}`,
  collects: false,
  missing: () => firstMissing(files),
  command: (port, appServer, limits) => [
    server,
    "--runtime",
    name,
    ...flags(port, appServer, limits),
  ],
});

const plain: Target[] = [
  {
    id: "ours",
    label: "Sidekick, Node",
    collects: true,
    missing: () => firstMissing([cli, module]),
    command: (port, appServer, limits) => [...node, cli, ...flags(port, appServer, limits)],
  },
  runtime("wasmtime", [server, "build/sidekick.wasi.wasm"]),
  runtime("native", [server]),
  {
    id: "reference",
    label: "reference, Node",
    collects: true,
    missing: always,
    command: (port, appServer) => [...node, `${built}/reference.mjs`, `${port}`, secret, appServer],
  },
  {
    id: "bun",
    label: "reference, Bun",
    collects: true,
    missing: () => (existsSync(bun) ? undefined : "bun is not installed: run npm ci"),
    command: (port, appServer) => [
      bun,
      "--preload",
      "./tests/bench/gc.mjs",
      `${built}/reference.mjs`,
      `${port}`,
      secret,
      appServer,
    ],
  },
  {
    id: "floor",
    label: "floor, Node",
    collects: true,
    missing: always,
    command: (port, appServer) => [...node, `${built}/floor.mjs`, `${port}`, appServer],
  },
  {
    id: "floor-cpp",
    label: "floor, C++",
    collects: false,
    missing: always,
    command: (port, appServer) => [`${built}/floor_cpp`, `${port}`, new URL(appServer).port],
  },
];

export const targets: Target[] = plain.flatMap((target) =>
  ["ours", "wasmtime", "native"].includes(target.id) ? [target, recording(target)] : [target],
);

/**
 * One server with its own generator: servers on the first core, generators on the second, if there
 * is one.
 */
export class Rig {
  private constructor(
    readonly target: Target,
    private readonly server: Child,
    private readonly load: Child,
    private readonly port: number,
  ) {}

  static async start(
    target: Target,
    limits?: Record<string, number>,
    core: number | null = 0,
  ): Promise<Rig> {
    const load = new Child("load generator", [`${built}/load`], { core: 1, talks: true });
    const { app_port } = JSON.parse(await load.line()) as { app_port: number };
    const port = await freePort();
    const config = limits && `${built}/limits.json`;
    if (config) writeFileSync(config, JSON.stringify(limits));
    if (target.beside !== undefined) mkdirSync(recordings, { recursive: true });
    const server = new Child(
      target.label,
      target.command(port, `http://127.0.0.1:${app_port}/api/covenant`, config),
      { core },
    );
    const rig = new Rig(target, server, load, port);
    try {
      await server.accepts(port);
      await rig.run(`target ${port} ${server.pid} ${secret}`);
    } catch (error) {
      await rig.end();
      throw error;
    }
    return rig;
  }

  get pid(): number {
    return this.server.pid;
  }

  async run(command: string): Promise<Measured> {
    try {
      return JSON.parse(await this.load.ask(command)) as Measured;
    } catch (error) {
      throw new Error(
        `${this.target.label}: "${command}" failed: ${(error as Error).message}\n` +
          `${this.server.complaints}`,
      );
    }
  }

  /**
   * Resident bytes of the server's own (heaps, not files) after a full garbage collection, if it
   * has a collector.
   */
  async heldBytes(): Promise<number> {
    for (let i = 0; i < 2 && this.target.collects; i++) {
      this.server.process.kill("SIGUSR2");
      await sleep(400);
    }
    const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(
      readFileSync(`/proc/${this.server.pid}/status`, "utf8"),
    )?.[1];
    if (!kilobytes) throw new Error(`/proc/${this.server.pid}/status: expected a line RssAnon`);
    return Number(kilobytes) * 1024;
  }

  async end(): Promise<void> {
    await Promise.all([this.load.end(), this.server.end()]);
    rmSync(`${recordings}/${this.port}.jsonl`, { force: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address() as { port: number };
      probe.close(() => resolve(address.port));
    });
  });
}
