// sidekick-server as a child process, for features that only this host has: --runtime, --data,
// --tls-cert. SIDEKICK_COMMAND chooses the build and the runtime; the default is the test build in
// wasmtime.
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { closeEverything } from "../../shared/support/left-open.ts";
import { eventually } from "../../shared/support/sidekick.ts";

const root = fileURLToPath(new URL("../../../..", import.meta.url));
const words = (process.env["SIDEKICK_COMMAND"] ?? "build/native/sidekick-server-for-tests")
  .split(" ")
  .filter(Boolean);
const withoutRuntime = words.filter(
  (word, index) => word !== "--runtime" && words[index - 1] !== "--runtime",
);
/** The sandboxed module, if that is what is tested. */
export const isWasmtime = !words.includes("native");
export const moduleFile = join(root, "build/sidekick.wasi.wasm");
export const SECRET = "test-secret"; // presented by support/sidekick.ts of the black-box suite

const leftRunning = new Set<ChildProcess>();
const folders: string[] = [];

/** Runs a Python statement on the database of a stopped Sidekick. */
export function sql(data: string, statement: string): void {
  execFileSync("python3", [
    "-c",
    'import sqlite3, sys, time\nwith sqlite3.connect(sys.argv[1] + "/tokens.sqlite") as db: ' +
      `db.execute(${statement})`,
    data,
  ]);
}

/** CPU time that a process has used so far, in ms. */
async function cpuMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\) /s, "").split(" ");
  // utime and stime, in ticks of 10 ms: proc(5)
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/**
 * Whether a process kept working for most of a second. A busy machine can hide that but not fake
 * it.
 */
export async function isSpinning(pid: number): Promise<boolean> {
  const before = await cpuMs(pid);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return (await cpuMs(pid)) - before > 500;
}

/** For `after`. */
export async function cleanUp(): Promise<void> {
  await closeEverything();
  for (const child of leftRunning) child.kill("SIGKILL");
  await Promise.all(
    folders.splice(0).map((folder) => rm(folder, { recursive: true, force: true })),
  );
}

export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-"));
  folders.push(folder);
  return folder;
}

export interface Run {
  readonly pid: number;
  readonly exit: Promise<number | null>;
  output(): string;
  kill(signal: NodeJS.Signals): Promise<number | null>;
  /** The port from "listening on", once connections are accepted. */
  port(): Promise<number>;
}

export interface RunOptions {
  readonly env?: Record<string, string>;
  /** Shell commands to run before it, such as `ulimit -f 100; `. */
  readonly before?: string;
  /** Leave out the `--runtime` of SIDEKICK_COMMAND. */
  readonly anyRuntime?: boolean;
}

/** On a free port of 127.0.0.1 unless the flags say otherwise. */
export function run(
  flags: readonly string[],
  { env = {}, before = "", anyRuntime = false }: RunOptions = {},
): Run {
  const [file = "", ...first] = anyRuntime ? withoutRuntime : words;
  assert.ok(
    existsSync(join(root, file)) || existsSync(file),
    `${file} is missing: run scripts/build`,
  );
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("SIDEKICK_")),
  );
  const all = [
    ...first,
    "--port",
    "0",
    "--host",
    "127.0.0.1",
    "--secret",
    SECRET,
    "--auth-delay",
    "0",
    ...flags,
  ];
  const child = spawn("sh", ["-c", `${before}exec "$0" "$@"`, file, ...all], {
    cwd: root,
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  leftRunning.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  let isOver = false;
  const exit = new Promise<number | null>((resolve) => child.on("close", resolve)).finally(() => {
    isOver = true;
    leftRunning.delete(child);
  });
  return {
    pid: child.pid!,
    exit,
    output: () => output,
    kill(signal) {
      child.kill(signal);
      return exit;
    },
    async port() {
      const what = () => `the end of its start: ${output}`;
      await eventually(() => isOver || output.includes("Press Ctrl+C to stop"), what);
      const port = /listening on http\S*:(\d+)\n/.exec(output)?.[1];
      if (port === undefined) throw new Error(`it did not start: ${output}`);
      return Number(port);
    },
  };
}
