// The hosts of two commits under the load of load.cpp, with one fresh server of each per pair.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { built, collect, flags, node, Rig, secret, type Target } from "../targets.js";
import { countInstructions, forgetCallgrind, underCallgrind } from "./callgrind.js";
import type { Product, Side } from "./commit.js";
import { type HostArea, hostSteps, type Step } from "./rows.js";

export const hostProducts: Record<HostArea, readonly Product[]> = {
  node: ["module", "package"],
  "native server": ["server"],
  "wasmtime server": ["server", "wasi_module"],
  workerd: ["module", "worker"],
};

/** For each row, the cost of one unit on each side: us of CPU, or KB. */
export type Pair = Map<string, { before: number; now: number }>;
type Sides = { readonly before: Side; readonly now: Side };

/** Smaller counts where a request costs more. */
const share: Record<HostArea, number> = {
  node: 1,
  "native server": 2,
  "wasmtime server": 2,
  workerd: 0.2,
};
const inflight = 8;
/** Under callgrind: the share of requests, one at a time, and how often each row is counted. */
const countedShare = 0.1;
const counts = 2;

/**
 * One pair: both servers run side by side, and each step runs first on one and then on the other.
 */
export async function measureHost(
  sides: Sides,
  area: HostArea,
  names: ReadonlySet<string>,
  nowFirst: boolean,
): Promise<Pair> {
  const order = nowFirst ? [sides.now, sides.before] : [sides.before, sides.now];
  const rigs: Rig[] = [];
  const pair: Pair = new Map();
  const inTurn = async <T>(work: (rig: Rig) => Promise<T>): Promise<T[]> => {
    const values: T[] = [];
    for (const rig of rigs) values.push(await work(rig));
    return values;
  };
  const record = (row: string, [first, second]: number[]) =>
    pair.set(row, nowFirst ? { before: second!, now: first! } : { before: first!, now: second! });
  const heldBytes = () => Promise.all(rigs.map((rig) => rig.heldBytes()));
  try {
    for (const side of order) rigs.push(await start(side, area));
    for (const step of hostSteps(share[area], inflight)) {
      if ("setup" in step) {
        await inTurn((rig) => runAll(rig, [step.setup]));
      } else if ("memory" in step) {
        // code and heaps reach their size
        await inTurn((rig) => runAll(rig, ["open 100 64", "close"]));
        const isWanted = names.has(step.memory);
        const before = isWanted ? await heldBytes() : [];
        await inTurn((rig) => runAll(rig, step.commands));
        const after = isWanted ? await heldBytes() : [];
        const added = after.map((bytes, i) => (bytes - before[i]!) / 1024 / step.count);
        if (isWanted) record(step.memory, added);
      } else if (names.has(step.name)) {
        await inTurn((rig) => runStep(rig, step)); // warm-up
        record(step.name, await inTurn((rig) => runStep(rig, step)));
      }
    }
  } finally {
    await Promise.all(rigs.map((rig) => rig.end()));
    rmSync(workerdFolder, { recursive: true, force: true });
  }
  return pair;
}

async function runStep(rig: Rig, step: Extract<Step, { command: string }>): Promise<number> {
  const { cpu_us } = await rig.run(step.command);
  if (step.after !== undefined) await rig.run(step.after);
  return cpu_us;
}

async function runAll(rig: Rig, commands: readonly string[]): Promise<void> {
  for (const command of commands) await rig.run(command);
}

/**
 * Instructions of one unit of each row, in user space. Not exact as the core's are: how often a
 * server wakes for a request depends on timing, and each process lays its memory out differently.
 */
export async function countHost(
  side: Side,
  area: HostArea,
  names: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const leasts = new Map<string, number>();
  const rig = await start(side, area, true);
  try {
    for (const step of hostSteps(countedShare, 1)) {
      if ("setup" in step) await rig.run(step.setup);
      else if ("memory" in step) await runAll(rig, step.commands);
      else if (names.has(step.name)) {
        await runStep(rig, step); // warms up
        let least = Infinity;
        for (let i = 0; i < counts; i++) {
          const work = () => rig.run(step.command);
          const { instructions, result } = await countInstructions(rig.pid, work);
          least = Math.min(least, instructions / result.units);
          if (step.after !== undefined) await rig.run(step.after);
        }
        leasts.set(step.name, least);
      }
    }
  } finally {
    await rig.end();
    forgetCallgrind(rig.pid);
  }
  return leasts;
}

/** The reason the commit's host does not run here, if any. */
export async function hostProblem(side: Side, area: HostArea): Promise<string | undefined> {
  try {
    const rig = await start(side, area);
    await rig.end();
    return undefined;
  } catch (error) {
    return (error as Error).message.replaceAll("\n", " ");
  }
}

function start(side: Side, area: HostArea, counted = false): Promise<Rig> {
  const target: Target = {
    id: area,
    label: `${area} (${side.label})`,
    ...(area === "node" && { collect }),
    missing: () => undefined,
    command: (port, appServer) => {
      const command = hostCommand(side, area, port, appServer);
      return counted ? underCallgrind(command) : command;
    },
  };
  // A simulated server may use any core: its count is the same.
  return Rig.start(target, undefined, counted ? null : 0);
}

function hostCommand(side: Side, area: HostArea, port: number, appServer: string): string[] {
  const settings = flags(port, appServer, undefined);
  switch (area) {
    case "node":
      return [...node, side.file("package"), ...settings];
    case "native server":
      return [side.file("server"), runtimeFlag(side), "native", ...settings];
    case "wasmtime server": {
      const module = ["--module", side.file("wasi_module")];
      return [side.file("server"), runtimeFlag(side), "wasmtime", ...module, ...settings];
    }
    case "workerd":
      return workerdCommand(side, port, appServer);
  }
}

/** It was called --engine. */
function runtimeFlag(side: Side): string {
  const help = execFileSync(side.file("server"), ["--help"], { encoding: "utf8" });
  return help.includes("--runtime ") ? "--runtime" : "--engine";
}

// ---- workerd ----

const workerdFolder = resolve(built, "workerd");
const workerdPath = (createRequire(import.meta.url)("workerd") as { default: string }).default;

/** Writes the configuration that the commit's wrangler.jsonc describes. */
function workerdCommand(side: Side, port: number, appServer: string): string[] {
  const folder = `${workerdFolder}/${side.label}-${port}`;
  mkdirSync(`${folder}/storage`, { recursive: true });
  // workerd embeds only files below its configuration.
  copyFileSync(side.file("worker"), `${folder}/worker.js`);
  const modules = side.workerModules();
  for (const name of modules) {
    copyFileSync(resolve(dirname(side.file("module")), name), `${folder}/${name}`);
  }
  const wrangler = readFileSync(resolve(side.tree, "worker/wrangler.jsonc"), "utf8");
  const [, date] = /"compatibility_date": "([-0-9]+)"/.exec(wrangler) ?? [];
  const [, compatibility = "[]"] = /"compatibility_flags": (\[.*?\])/.exec(wrangler) ?? [];
  const objects = [...wrangler.matchAll(/"name": "(\w+)", "class_name": "(\w+)"/g)];
  const variables = {
    SIDEKICK_SECRET: secret,
    SIDEKICK_SERVER_URL: appServer,
    SIDEKICK_SERVER_SECRET: secret,
  };
  const text = (value: string) => JSON.stringify(value);
  const bindings = [
    ...Object.entries(variables).map(
      ([name, value]) => `(name = ${text(name)}, text = ${text(value)})`,
    ),
    ...objects.map(([, name, type]) => `(name = "${name}", durableObjectNamespace = "${type}")`),
  ];
  const namespaces = objects.map(
    ([, , type]) => `(className = "${type}", uniqueKey = "${type}", enableSql = true)`,
  );
  writeFileSync(
    `${folder}/config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "sidekick", worker = .sidekick),
    (name = "storage", disk = (path = ${text(`${folder}/storage`)}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "sidekick")],
);
const sidekick :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    ${modules.map((name) => `(name = "${name}", wasm = embed "${name}")`).join(",\n    ")},
  ],
  compatibilityDate = "${date}",
  compatibilityFlags = ${compatibility},
  bindings = [${bindings.join(", ")}],
  durableObjectNamespaces = [${namespaces.join(", ")}],
  durableObjectStorage = (localDisk = "storage"),
);
`,
  );
  return [workerdPath, "serve", "--experimental", `${folder}/config.capnp`];
}
