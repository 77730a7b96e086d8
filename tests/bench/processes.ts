// The processes of a bench program, and its own end. Servers end with it, however it ends (setpriv
// --pdeathsig); builds end with it unless it gets SIGKILL.
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { availableParallelism, constants, cpus, release } from "node:os";
import { createInterface } from "node:readline";

const began = Date.now();

export function progress(text: string): void {
  const seconds = String(Math.round((Date.now() - began) / 1000)).padStart(3);
  process.stderr.write(`bench: [${seconds} s] ${text}\n`);
}

/** Runs a bench program. Reports an error or a signal that ends it. */
export function runBench(main: () => Promise<void>): void {
  process.on("exit", endAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      console.error(`bench: ended by ${signal}`);
      process.exit(128 + constants.signals[signal]);
    });
  }
  main().catch((error: Error) => {
    console.error(`bench: ${error.message}`);
    process.exit(1);
  });
}

/** Ends those who use the program wrongly. */
export function misuse(error: Error): never {
  console.error(`bench: ${error.message}; see scripts/bench --help`);
  process.exit(2);
}

const children = new Set<Child>();
/** Builds. Each leads a process group, since it starts processes of its own. */
const groups = new Set<ChildProcess>();

function endAll(): void {
  for (const child of children) child.process.kill("SIGKILL");
  for (const group of groups) process.kill(-group.pid!, "SIGTERM");
}

/** Runs a command to its end. Returns the reason if it fails. */
export function run(command: string[], options: SpawnOptions): Promise<string | undefined> {
  const group = spawn(command[0]!, command.slice(1), { ...options, detached: true });
  return new Promise((resolve) => {
    group.on("spawn", () => groups.add(group));
    group.on("error", (error) => resolve(error.message));
    group.on("exit", (status, signal) => {
      groups.delete(group);
      resolve(status === 0 ? undefined : signal === null ? `status ${status}` : signal);
    });
  });
}

/** A process that ends with this one. */
export class Child {
  readonly process: ChildProcess;
  private readonly name: string;
  private readonly lines: string[] = [];
  private wanted: { resolve(line: string): void; reject(error: Error): void } | undefined;
  private ended: Promise<void>;
  private gone = false;
  complaints = "";

  /** `talks`: it answers each line with a line; otherwise its output is discarded. */
  constructor(
    name: string,
    command: string[],
    { core, talks = false }: { core?: number | null; talks?: boolean },
  ) {
    this.name = name;
    const isPinned = core != null && availableParallelism() > 1;
    const pin = isPinned ? ["taskset", "-c", `${core}`] : [];
    this.process = spawn("setpriv", ["--pdeathsig", "KILL", ...pin, ...command], {
      stdio: [talks ? "pipe" : "ignore", talks ? "pipe" : "ignore", "pipe"],
    });
    children.add(this);
    this.process.stderr!.on(
      "data",
      (bytes: Buffer) => (this.complaints = (this.complaints + bytes.toString()).slice(-4000)),
    );
    this.process.stdin?.on("error", () => {}); // its exit is reported below
    if (this.process.stdout) {
      createInterface({ input: this.process.stdout }).on("line", (line) => {
        this.lines.push(line);
        this.deliver();
      });
    }
    this.ended = new Promise((resolve) => {
      this.process.on("close", () => {
        children.delete(this);
        this.gone = true;
        this.deliver();
        resolve();
      });
    });
  }

  get pid(): number {
    return this.process.pid!;
  }

  ask(command: string): Promise<string> {
    this.process.stdin!.write(`${command}\n`);
    return this.line();
  }

  line(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.wanted = { resolve, reject };
      this.deliver();
    });
  }

  private deliver(): void {
    const line = this.lines.shift();
    if (line !== undefined && this.wanted) this.wanted.resolve(line);
    else if (line !== undefined) this.lines.unshift(line);
    else if (this.gone)
      this.wanted?.reject(new Error(`the ${this.name} exited: ${this.complaints.trim()}`));
    if (line !== undefined || this.gone) this.wanted = undefined;
  }

  async accepts(port: number): Promise<void> {
    for (let tries = 0; tries < 1200 && !this.gone; tries++) {
      const open = await new Promise<boolean>((resolve) => {
        const socket = connect(port, "127.0.0.1");
        socket.once("connect", () => {
          socket.destroy();
          resolve(true);
        });
        socket.once("error", () => resolve(false));
      });
      if (open) return;
      await sleep(50);
    }
    throw new Error(
      `${this.name} does not accept connections on port ${port}: ${this.complaints.trim()}`,
    );
  }

  async end(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.ended;
  }
}

/** CPU time of a process, all threads, in microseconds. */
export function cpuOf(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(
        readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0],
      );
    } catch {
      // it has ended
    }
  }
  return nanoseconds / 1000;
}

/** What the figures of a report depend on. */
export const machine = (): string =>
  `${cpus().length} cores ${cpus()[0]!.model.trim()}, Linux ${release()}, ` +
  `Node ${process.versions.node}`;

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address() as { port: number };
      probe.close(() => resolve(address.port));
    });
  });
}
