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
  bundle("tests/bench/against/module-driver.ts", "module-driver");
}

/** A program of TypeScript with its packages as one file, build/bench/NAME.mjs. */
export function bundle(source: string, name: string): void {
  buildSync({
    entryPoints: [source],
    outfile: `${built}/${name}.mjs`,
    bundle: true,
    platform: "node",
    format: "esm",
    // Some packages are CommonJS and call require().
    banner: {
      js:
        'import { createRequire } from "node:module"; ' +
        "const require = createRequire(import.meta.url);",
    },
  });
}
