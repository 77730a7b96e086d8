// The package as its users get it: packed, and installed into a folder outside the repository.
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const run = promisify(execFile);
export const root = fileURLToPath(new URL("../../../..", import.meta.url));
export const bun = join(root, "node_modules/.bin/bun");
const require = createRequire(import.meta.url);
/** The program itself: the command of the npm package does not pass signals on. */
export const deno = join(root, "node_modules/deno/deno");
export const tsx = join(root, "node_modules/tsx/dist/loader.mjs");

const manifest = require("../../../../package.json") as { devDependencies: Record<string, string> };
/** A package in the version that the workspace pins. */
export const pinned = (name: string) => `${name}@${manifest.devDependencies[name]}`;

const folders: string[] = [];
const running = new Set<ChildProcess>();
let packed: Promise<string> | undefined;

/** The packed package: SIDEKICK_TARBALL, or what `npm pack` makes. */
export function tarball(): Promise<string> {
  packed ??= process.env["SIDEKICK_TARBALL"]
    ? Promise.resolve(process.env["SIDEKICK_TARBALL"])
    : pack();
  return packed;
}

async function pack(): Promise<string> {
  const folder = await temporaryFolder();
  await run("npm", ["pack", "--pack-destination", folder], { cwd: join(root, "worker") });
  const name = (await readdir(folder)).find((file) => file.endsWith(".tgz"));
  assert.ok(name, "npm pack left no tarball");
  return join(folder, name);
}

/** A folder with an app. Each of `steps` is one command that installs. */
export async function appFolder(...steps: string[][]): Promise<string> {
  const folder = await temporaryFolder();
  const about = { name: "app", private: true, type: "module" };
  await writeFile(join(folder, "package.json"), JSON.stringify(about));
  for (const [command = "", ...words] of steps) await run(command, words, { cwd: folder });
  return folder;
}

export const npmInstall = (...packages: string[]) => {
  return ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", ...packages];
};

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sidekick-package-"));
  folders.push(folder);
  return folder;
}

export interface Started {
  /** Resolves with the match once the output has it. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  /** SIGTERM for the command and what it has started; resolves when all of it has ended. */
  stop(): Promise<void>;
}

export function start(folder: string, words: string[], env: Record<string, string> = {}): Started {
  const [command = "", ...rest] = words;
  const PATH = [join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter);
  const child = spawn(command, rest, {
    cwd: folder,
    env: { ...process.env, PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // npx puts a shell between us: the signal goes to the group
  });
  running.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  }
  // Not "exit", which may be that of npx alone.
  const closed = once(child, "close").then(() => running.delete(child));
  return {
    async until(pattern) {
      for (;;) {
        const match = pattern.exec(output);
        if (match !== null) return match;
        if (!running.has(child)) throw new Error(`${words.join(" ")} ended: ${output}`);
        await Promise.race([closed, once(child.stdout, "data"), once(child.stderr, "data")]);
      }
    },
    async stop() {
      process.kill(-child.pid!, "SIGTERM");
      await closed;
    },
  };
}

/** For `after`. */
export async function cleanUp(): Promise<void> {
  for (const child of running) process.kill(-child.pid!, "SIGKILL");
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
}
