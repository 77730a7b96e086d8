// Where the built things are, and how they are run. Owns no expectation.
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const traces = readdirSync(`${root}tests/core/traces`)
  .filter((name) => name.endsWith(".jsonl"))
  .sort();

/** scripts/env.sh sets WASMTIME_PREFIX; a prefix of the machine's own may come without the command. */
const command = `${process.env["WASMTIME_PREFIX"]}/bin/wasmtime`;
export const wasmtime = existsSync(command) ? command : "wasmtime";
export const python = `${root}build/python/bin/python`;

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end, from `cwd` (the root of the project unless told). Rejects only where the program cannot be started. */
export function run(file: string, args: readonly string[], cwd = root): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { cwd, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (child.exitCode === null) reject(error ?? new Error(`${file} was ended by a signal`));
      else resolve({ status: child.exitCode, stdout, stderr });
    });
  });
}

/** How many inputs a trace has, counted without any of the code under test. */
export function inputCount(trace: string): number {
  return readFileSync(`${root}tests/core/traces/${trace}`, "utf8")
    .split("\n")
    .filter((line) => line.startsWith('{"in":')).length;
}
