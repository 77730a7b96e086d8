// Counts the instructions that a process executes in user space between two moments, with
// valgrind's callgrind. It simulates them one by one, so it needs no hardware counters (virtual
// machines often have none) and other load does not affect the count. About 50 times slower.
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { built } from "../targets.js";

const run = promisify(execFile);
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
  await control(pid, "-z");
  const result = await work();
  const output = await control(pid, "-s", "-e");
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

async function control(pid: number, ...what: string[]): Promise<string> {
  const { stdout } = await run("callgrind_control", [prefix, ...what, `${pid}`]);
  return stdout;
}
