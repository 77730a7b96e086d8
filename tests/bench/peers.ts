// scripts/bench --peers: what a message costs Sidekick and servers of other projects, side by side.
// The result is the ratio to our native server in the same run.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { bundle, compile } from "./compile.js";
import { measure, measureMemory } from "./measure.js";
import { type Column, chartOf, comparison } from "./peers-report.js";
import { machine, misuse, progress, runBench } from "./processes.js";
import { peerMemory, peerScenarios } from "./scenarios.js";
import { writeReport } from "./tables.js";
import {
  built,
  bunVersion,
  centrifugoVersion,
  isThere,
  missingCentrifugo,
  peers,
  type Target,
  targets,
} from "./targets.js";

const ours = ["native", "wasmtime", "ours"].map((id) => targets.find((it) => it.id === id)!);
const all = [...ours, ...peers];

const options = readOptions();

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        peers: { type: "boolean" },
        target: { type: "string", multiple: true },
        rounds: { type: "string", default: "7" },
        write: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
      },
    });
    const ids = all.map(({ id }) => id);
    const stranger = values.target?.find((id) => !ids.includes(id));
    if (stranger !== undefined)
      throw new Error(`--target: expected one of ${ids.join(", ")}, got ${stranger}`);
    if (!/^[1-9]\d?$/.test(values.rounds))
      throw new Error(`--rounds: expected 1 to 99, got ${values.rounds}`);
    return { ...values, rounds: Number(values.rounds) };
  } catch (error) {
    misuse(error as Error);
  }
}

async function main(): Promise<void> {
  if (options.list)
    return console.log([...peerScenarios(), peerMemory].map(({ name }) => name).join("\n"));
  await build();
  // The ratios need the native server.
  const running = all
    .filter(({ id }) => !options.target || id === "native" || options.target.includes(id))
    .filter(isThere);
  const load = [loadavg()[0]!];
  const columns: Column[] = [];
  for (const scenario of peerScenarios()) {
    for (const { row, by } of await measure(scenario, running, options.rounds)) {
      const values = running.map((target) => by.get(target)!.cpu_us);
      columns.push({ name: row.name, unit: row.unit, values });
    }
  }
  const held = await measureMemory(peerMemory, running);
  columns.push({
    name: peerMemory.name,
    unit: peerMemory.unit,
    values: running.map((target) => held.kilobytes.get(target)!),
  });
  load.push(loadavg()[0]!);
  const labels = running.map(({ label }) => label);
  const report = `${facts(load)}\n\n${comparison(labels, columns)}${leftOut(running)}`;
  console.log(report);
  if (options.write) {
    writeReport("peers", report);
    writeFileSync("docs/peers.svg", chartOf(labels, columns));
    progress("wrote docs/performance.md and docs/peers.svg");
  }
  progress("done");
}

async function build(): Promise<void> {
  progress("building the load generator and the servers");
  await compile("tests/bench/load.cpp", `${built}/load`);
  for (const name of ["socket-io", "bun-publish"]) bundle(`tests/bench/peers/${name}.ts`, name);
}

function leftOut(running: readonly Target[]): string {
  const missing = all.flatMap((target) => {
    const reason = running.includes(target) ? undefined : (target.missing() ?? "not requested");
    return reason === undefined ? [] : [`${target.label} (${reason})`];
  });
  return missing.length === 0 ? "" : `\n\nLeft out: ${missing.join(", ")}.`;
}

function facts(load: readonly number[]): string {
  const { version } = createRequire(import.meta.url)("socket.io/package.json");
  const versions = [`Socket.IO ${version}`, ...bunVersion()];
  if (missingCentrifugo() === undefined) versions.push(centrifugoVersion());
  return (
    `\`scripts/bench --peers\` on ${new Date().toISOString().slice(0, 10)}: ${machine()}, ` +
    `${versions.join(", ")}; medians of ${options.rounds} rounds (memory: ${peerMemory.rounds}); ` +
    `load average ${load.map((value) => value.toFixed(1)).join(" to ")}.`
  );
}

runBench(main);
