// The core of two commits: natively, in WASM, and as the module that ships. Each runs in a process
// of its own that takes commands (core_driven.hpp, module-driver.ts).
import { existsSync } from "node:fs";
import { Child } from "../processes.js";
import { built } from "../targets.js";
import { countInstructions, forgetCallgrind, underCallgrind } from "./callgrind.js";
import type { Side } from "./commit.js";
import { type CoreArea, coreRounds } from "./rows.js";

interface Reply {
  units: number;
  cpu_us: number;
}

const slices = 5;
/** Number of counts; their median leaves out those in which Node collected garbage or compiled. */
const counts = 4;
/** Largest difference allowed between the middle two. */
const steady = 0.01;
const attempts = 5;

export function coreCommand(side: Side, area: CoreArea, counted = false): string[] {
  if (area === "core, native") return [side.file("core_bench"), "--driven"];
  // One thread, so that CPU time is the work's. When counting, only the optimising compiler runs,
  // so that the code is the same from the start.
  const flags = [
    "--single-threaded",
    ...(counted ? ["--no-liftoff", "--no-wasm-tier-up", "--predictable"] : []),
  ];
  const what =
    area === "module" ? ["module", side.file("module")] : ["core", side.file("wasm_bench")];
  return [process.execPath, ...flags, `${built}/module-driver.mjs`, ...what];
}

class Driver {
  private constructor(
    readonly name: string,
    private readonly child: Child,
  ) {}

  static async start(side: Side, area: CoreArea, counted = false): Promise<Driver> {
    const command = coreCommand(side, area, counted);
    if (!existsSync(command[0]!)) throw new Error(`${command[0]} does not exist`);
    const child = new Child(
      `${area} (${side.label})`,
      counted ? underCallgrind(command) : command,
      { core: counted ? null : 0, talks: true },
    );
    return new Driver(`${area} (${side.label})`, child);
  }

  async run(name: string): Promise<Reply> {
    return JSON.parse(await this.child.ask(`run ${coreRounds.get(name)!} ${name}`)) as Reply;
  }

  async count(name: string): Promise<number> {
    const { instructions, result } = await countInstructions(this.child.pid, () => this.run(name));
    return instructions / result.units;
  }

  async end(): Promise<void> {
    await this.child.end();
    forgetCallgrind(this.child.pid);
  }
}

/** Instructions of one unit of each work, after warm-up. */
export async function countCore(
  side: Side,
  area: CoreArea,
  names: readonly string[],
): Promise<Map<string, number>> {
  const driver = await Driver.start(side, area, true);
  const medians = new Map<string, number>();
  try {
    for (const name of names) {
      await driver.run(name);
      medians.set(name, await steadyCount(driver, name));
    }
  } finally {
    await driver.end();
  }
  return medians;
}

async function steadyCount(driver: Driver, name: string): Promise<number> {
  let all: number[] = [];
  for (let attempt = 0; attempt < attempts; attempt++) {
    all = [];
    for (let i = 0; i < counts; i++) all.push(await driver.count(name));
    all.sort((a, b) => a - b);
    const [low, high] = [all[counts / 2 - 1]!, all[counts / 2]!];
    if (high - low <= steady * low) return (low + high) / 2;
  }
  throw new Error(`${driver.name}: ${name}: expected stable counts, got ${all.join(", ")}`);
}

/**
 * One pair, in us per unit: fresh processes, alternating slices, the fastest slice of each side.
 */
export async function timeCore(
  sides: readonly Side[],
  area: CoreArea,
  names: readonly string[],
): Promise<Map<string, number[]>> {
  const drivers: Driver[] = [];
  const times = new Map<string, number[]>();
  try {
    for (const side of sides) drivers.push(await Driver.start(side, area));
    for (const name of names) {
      for (const driver of drivers) await driver.run(name);
      const best = drivers.map(() => Infinity);
      for (let slice = 0; slice < slices; slice++) {
        for (const [i, driver] of drivers.entries())
          best[i] = Math.min(best[i]!, (await driver.run(name)).cpu_us);
      }
      times.set(name, best);
    }
  } finally {
    await Promise.all(drivers.map((driver) => driver.end()));
  }
  return times;
}
