// Counts the instructions that a process executes in user space between two moments, with
// valgrind's callgrind. It simulates them one by one, so it needs no hardware counters (virtual
// machines often have none) and other load does not affect the count. About 50 times slower.
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { built } from "../targets.js";

const run = promisify(execFile);
const ANSWER_SECONDS = 60;
/** Where callgrind_control finds the process. */
const prefix = `--vgdb-prefix=${resolve(built)}/vgdb`;

/** The reason instructions cannot be counted here, if any. */
export function missingCallgrind(): string | undefined {
  try {
    execFileSync("callgrind_control", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "valgrind is not installed: run scripts/setup bench";
  }
}

export function underCallgrind(command: string[]): string[] {
  mkdirSync(built, { recursive: true });
  // smc-check: Node and wasmtime generate code while they run.
  const flags = [
    "--tool=callgrind",
    "--callgrind-out-file=/dev/null",
    "--smc-check=all-non-file",
    prefix,
  ];
  return ["valgrind", "-q", ...flags, ...command];
}

/** Counts all threads while `work` runs. The process must wait for input before and after it. */
export async function countInstructions<T>(
  pid: number,
  work: () => Promise<T>,
): Promise<{ instructions: number; result: T }> {
  await control(pid, ["-z"]);
  const result = await work();
  const output = await control(pid, ["-s", "-e"]);
  const threads = [...output.matchAll(/^\s*Th\s*\d+\s+([\d,]+)\s*$/gm)];
  if (threads.length === 0)
    throw new Error(`callgrind_control: expected the totals of threads, got ${output}`);
  const instructions = threads.reduce(
    (sum, thread) => sum + Number(thread[1]!.replaceAll(",", "")),
    0,
  );
  return { instructions, result };
}

/** Removes the files of a process that was killed. */
export function forgetCallgrind(pid: number): void {
  for (const name of readdirSync(built)) {
    if (name.startsWith("vgdb-") && name.includes(`-${pid}-`))
      rmSync(`${built}/${name}`, { force: true });
  }
}

/**
 * A process that waits for input executes nothing that could notice the question: vgdb wakes it
 * with ptrace. Where that fails, vgdb waits without end. `timeout` ends it, too, unlike execFile.
 */
export async function control(
  pid: number,
  what: readonly string[],
  seconds = ANSWER_SECONDS,
): Promise<string> {
  const command = ["callgrind_control", prefix, ...what, `${pid}`];
  try {
    return (await run("timeout", [`${seconds}`, ...command])).stdout;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 124) throw error;
    throw new Error(
      `expected an answer of valgrind's process ${pid} to "callgrind_control ${what.join(" ")}", ` +
        `received nothing for ${seconds} s: vgdb could not wake it (is ptrace allowed?). ` +
        "Run the bench again",
    );
  }
}
