import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { buildSync } from "esbuild";
import { run } from "./processes.js";
import { built } from "./targets.js";

/** Compiles a program of one file, unless it is up to date. */
export async function compile(source: string, program: string): Promise<void> {
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return;
  mkdirSync(dirname(program), { recursive: true });
  const flags = ["-std=c++20", "-O2", "-Wall", "-Wextra"];
  const command = ["g++", ...flags, "-o", program, source];
  const failed = await run(command, { stdio: ["ignore", "inherit", "inherit"] });
  if (failed !== undefined) throw new Error(`${source} does not compile: ${failed}, see above`);
}

/** The programs that drive servers, and modules in a process of their own. */
export async function buildDrivers(): Promise<void> {
  await compile("tests/bench/load.cpp", `${built}/load`);
  buildSync({
    entryPoints: ["tests/bench/against/module-driver.ts"],
    outfile: `${built}/module-driver.mjs`,
    bundle: true,
    platform: "node",
    format: "esm",
  });
}
