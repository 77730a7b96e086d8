// The servers under test: how each is started, driven and ended.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Child, freePort, progress, sleep } from "./processes.js";

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
  /** Of load.cpp, if not Sidekick's. */
  protocol?: "socket.io" | "bun" | "centrifugo";
  /** Starts a full garbage collection, in servers that have a collector. */
  collect?(server: Child, port: number): unknown;
  /** The reason it cannot run here, if any. */
  missing(): string | undefined;
  command(port: number, appServer: string, limits: string | undefined): string[];
}

/** For servers that have loaded gc.mjs; the signal ends others. */
export const collect = (server: Child) => server.process.kill("SIGUSR2");
/** Runs a server in Node; it collects garbage on SIGUSR2. */
export const node = [process.execPath, "--import", "./tests/bench/gc.mjs"];
const cli = "worker/dist/node/cli.js";
const module = "worker/module/sidekick.wasm";
const bun = "node_modules/.bin/bun";
const bunWithCollector = [bun, "--preload", "./tests/bench/gc.mjs"];
const missingBun = () => (existsSync(bun) ? undefined : "bun is not installed: run npm ci");
/** Another build can be measured, e.g. one before a change. */
const server = process.env["BENCH_SERVER"] ?? "build/native/sidekick-server";
const always = () => undefined;
const firstMissing = (files: string[]) =>
  files
    .filter((file) => !existsSync(file))
    .map((file) => `${file} is missing: run scripts/build`)[0];

/** Empty without Bun. */
export const bunVersion = (): string[] =>
  missingBun() ? [] : [`Bun ${execFileSync(bun, ["--version"], { encoding: "utf8" }).trim()}`];

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
    collect,
    missing: () => firstMissing([cli, module]),
    command: (port, appServer, limits) => [...node, cli, ...flags(port, appServer, limits)],
  },
  runtime("wasmtime", [server, "build/sidekick.wasi.wasm"]),
  runtime("native", [server]),
  {
    id: "reference",
    label: "reference, Node",
    collect,
    missing: always,
    command: (port, appServer) => [...node, `${built}/reference.mjs`, `${port}`, secret, appServer],
  },
  {
    id: "bun",
    label: "reference, Bun",
    collect,
    missing: missingBun,
    command: (port, appServer) => [
      ...bunWithCollector,
      `${built}/reference.mjs`,
      `${port}`,
      secret,
      appServer,
    ],
  },
  {
    id: "floor",
    label: "floor, Node",
    collect,
    missing: always,
    command: (port, appServer) => [...node, `${built}/floor.mjs`, `${port}`, appServer],
  },
  {
    id: "floor-cpp",
    label: "floor, C++",
    missing: always,
    command: (port, appServer) => [`${built}/floor_cpp`, `${port}`, new URL(appServer).port],
  },
];

export const targets: Target[] = plain.flatMap((target) =>
  ["ours", "wasmtime", "native"].includes(target.id) ? [target, recording(target)] : [target],
);

/** Servers of other projects that publish to subscribers: scripts/bench --peers. */
export const peers: Target[] = [
  {
    id: "socket.io",
    label: "Socket.IO",
    protocol: "socket.io",
    collect,
    missing: always,
    command: (port) => [...node, `${built}/socket-io.mjs`, `${port}`, secret],
  },
  {
    id: "bun-publish",
    label: "Bun publish",
    protocol: "bun",
    collect,
    missing: missingBun,
    command: (port) => [...bunWithCollector, `${built}/bun-publish.mjs`, `${port}`, secret],
  },
  {
    id: "centrifugo",
    label: "Centrifugo",
    protocol: "centrifugo",
    collect: (_, port) => fetch(`http://127.0.0.1:${port}/debug/pprof/heap?gc=1`),
    missing: () => missingCentrifugo(),
    command: (port) => centrifugoCommand(port, { debug: { enabled: true } }),
  },
];

const centrifugo = process.env["CENTRIFUGO"];

export const missingCentrifugo = (): string | undefined => {
  if (centrifugo === undefined) return "CENTRIFUGO does not name its command";
  return existsSync(centrifugo) ? undefined : `CENTRIFUGO: ${centrifugo} is missing`;
};

/** Its command `version` says 0.0.0 after `go install`; Go's build information has it. */
export function centrifugoVersion(): string {
  const version = /\/centrifugo\/v\d+\t(v[\d.]+)/.exec(readFileSync(centrifugo!, "latin1"));
  return `Centrifugo ${version?.[1] ?? "of unknown version"}`;
}

/** Anyone may connect and subscribe. */
export function centrifugoCommand(port: number, settings: object): string[] {
  const file = `${built}/centrifugo-${port}.json`;
  const config = {
    client: { insecure: true, allowed_origins: ["*"] },
    http_api: { key: secret },
    http_server: { port: `${port}` },
    ...settings,
  };
  mkdirSync(built, { recursive: true });
  writeFileSync(file, JSON.stringify(config));
  return [centrifugo!, "--config", file];
}

/** Reports what keeps a server from being measured. */
export function isThere(target: Target): boolean {
  const missing = target.missing();
  if (missing) progress(`without ${target.label}: ${missing}`);
  return missing === undefined;
}

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
      await rig.run(`target ${port} ${server.pid} ${secret} ${target.protocol ?? "sidekick"}`);
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
   * Resident bytes of the server's own (heaps, not files) after full garbage collections, if it has
   * a collector.
   */
  async heldBytes(collections = 2): Promise<number> {
    for (let i = 0; i < collections && this.target.collect; i++) {
      await this.target.collect(this.server, this.port);
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
