// A command of the host under test as a child process: sidekick-serve from worker/dist, or what
// SIDEKICK_COMMAND says.
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { environment, command as otherHost } from "./command.ts";
import { eventually } from "./sidekick.ts";

export const isUnderBunOrDeno = otherHost?.some((word) => /(^|\/)(bun|deno)$/.test(word)) ?? false;
/** The C++ server. */
export const isNative = otherHost?.some((word) => word.includes("sidekick-server")) ?? false;

const leftRunning = new Set<ChildProcess>();

/** For `after`. */
export function killLeftRunning(): void {
  for (const child of leftRunning) child.kill("SIGKILL");
}

export interface Run {
  readonly pid: number;
  readonly output: () => string;
  /** Its stderr so far. */
  readonly log: () => string;
  /** The exit status; null if a signal has ended it. */
  readonly exit: Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
  /** Waits until the output matches. Fails if the process ends without that. */
  says(pattern: RegExp): Promise<void>;
  /** The port from "listening on". */
  port(): Promise<number>;
}

/**
 * @param shellBefore shell commands before it, such as `ulimit -n 1000; `
 * @param host the words of a command, in place of the host under test
 */
export function run(
  args: string[],
  env: Record<string, string> = {},
  command = "cli",
  shellBefore = "",
  host = otherHost,
): Run {
  const cli = fileURLToPath(new URL(`../../../../worker/dist/node/${command}.js`, import.meta.url));
  assert.ok(existsSync(cli), "worker/dist is missing: run scripts/build");
  const words = host !== undefined && command === "cli" ? host : [process.execPath, cli];
  const child = spawn("sh", ["-c", `${shellBefore}exec "$0" "$@"`, ...words, ...args], {
    env: { ...environment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let log = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    log += chunk.toString();
  });
  const exit = new Promise<number | null>((resolve) => child.on("close", resolve));
  leftRunning.add(child);
  void exit.then(() => leftRunning.delete(child));
  let ended = false;
  void exit.then(() => (ended = true));
  return {
    pid: child.pid!,
    output: () => output,
    log: () => log,
    exit,
    kill: (signal) => child.kill(signal),
    async says(pattern) {
      const what = () => `${pattern} in: ${output}`;
      await eventually(() => ended || pattern.test(output), what);
      assert.match(output, pattern);
    },
    async port() {
      const what = () => `the end of its start: ${output}`;
      await eventually(() => ended || output.includes("Press Ctrl+C to stop"), what);
      const port = output.match(/listening on http:\/\/\S*:(\d+)\n/)?.[1];
      if (port === undefined) throw new Error(`it did not start: ${output}`);
      return Number(port);
    },
  };
}
