// The table of ION reading speeds. The figures come from separate processes (ion.ts, core_bench),
// pinned like a server.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { built } from "./targets.js";

/**
 * One line of either program. `name` is a text of the corpus (unit MB/s) or a work of the core
 * (unit ns).
 */
interface Reading {
  name: string;
  reader: string;
  value: number;
  unit: string;
}

const native = "build/native/core_bench";
const wasm = "build/sidekick.bench.wasm";

export function ionTable(quick: boolean, progress: (text: string) => void): string {
  progress("ion: JavaScript and WASM");
  const readings = run([
    process.execPath,
    `${built}/ion.mjs`,
    `${built}/ion`,
    wasm,
    quick ? "60" : "300",
  ]);
  if (existsSync(native)) {
    progress("ion: native");
    readings.push(
      ...run([native, `${built}/ion`]).map((reading) => ({ ...reading, reader: "native" })),
    );
  } else {
    progress(`without the native reader: ${native} is not built`);
  }
  const readers = [...new Set(readings.map((r) => r.reader))];
  const names = [...new Set(readings.map((r) => r.name))];
  const cell = (name: string, reader: string) => {
    const reading = readings.find((r) => r.name === name && r.reader === reader);
    return reading ? `${reading.value.toFixed(reading.value >= 10 ? 0 : 2)} ${reading.unit}` : "";
  };
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [
    "### Reading ION, and the core's own work",
    "",
    line(["", ...readers]),
    line(["---", ...readers.map(() => "---:")]),
    ...names.map((name) => line([name, ...readers.map((reader) => cell(name, reader))])),
  ].join("\n");
}

function run(command: string[]): Reading[] {
  const [program, ...args] =
    availableParallelism() > 1 ? ["taskset", "-c", "0", ...command] : command;
  const output = execFileSync(program!, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  return output
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Reading);
}
