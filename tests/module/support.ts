// Paths of build products, and how to run them. Owns no expectation.
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const traces = readdirSync(`${root}tests/core/traces`)
  .filter((name) => name.endsWith(".jsonl"))
  .sort();

/** scripts/env.sh sets WASMTIME_PREFIX; a user's own prefix may lack the command. */
const command = `${process.env["WASMTIME_PREFIX"]}/bin/wasmtime`;
export const wasmtime = existsSync(command) ? command : "wasmtime";
export const python = `${root}build/python/bin/python`;

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the program to its end, in `cwd` (default: the project's root). Rejects only if it cannot be
 * started.
 */
export function run(file: string, args: readonly string[], cwd = root): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { cwd, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (child.exitCode === null) reject(error ?? new Error(`${file} was ended by a signal`));
      else resolve({ status: child.exitCode, stdout, stderr });
    });
  });
}

/** The number of inputs in a trace, counted without the code under test. */
export function inputCount(trace: string): number {
  return readFileSync(`${root}tests/core/traces/${trace}`, "utf8")
    .split("\n")
    .filter((line) => line.startsWith('{"in":')).length;
}
