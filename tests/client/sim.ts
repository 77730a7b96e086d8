// Many seeds, for as long as requested:
//   node --import tsx tests/client/sim.ts [--mode capable] [--seeds 10000] [--from 1]
//   SEED=17 node --import tsx tests/client/sim.ts --mode legacy      # one seed, with its log
import { parseArgs } from "node:util";

import type { Mode } from "./life.ts";
import { live, MODES } from "./life.ts";

const { values } = parseArgs({
  options: {
    mode: { type: "string" },
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    findings: { type: "string", default: "3" },
    until: { type: "string" }, // a guarantee: ends at the first seed shown to break it
  },
});
const all: Readonly<Record<string, Mode>> = { ...MODES, npm: { hasRestarts: true, isNpm: true } };
const only = process.env["SEED"];
const first = Number(only ?? values.from);
const seeds = only === undefined ? Number(values.seeds) : 1;
const names = values.mode === undefined ? Object.keys(MODES) : [values.mode];
for (const name of names) {
  const mode = all[name];
  if (mode === undefined) throw new Error(`expected one of ${Object.keys(all)}, got ${name}`);
  const started = performance.now();
  const sums: Record<string, number> = { sockets: 0, asked: 0, fetches: 0, gaps: 0 };
  let found = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const outcome = await live(seed, mode, only === undefined ? {} : { log: console.log });
    for (const key of ["sockets", "asked", "fetches", "gaps"] as const) sums[key]! += outcome[key];
    for (const [key, count] of Object.entries(outcome.sends))
      sums[`send ${key}`] = (sums[`send ${key}`] ?? 0) + count;
    for (const finding of outcome.findings) {
      const key = `found ${finding.slice(0, finding.indexOf(":"))}`;
      sums[key] = (sums[key] ?? 0) + 1;
    }
    if (outcome.findings.length === 0) continue;
    process.exitCode = 1;
    if (++found > Number(values.findings)) continue;
    const shown = outcome.findings.slice(0, 4);
    console.log(`${name} SEED=${seed}\n  ${shown.join("\n  ")}`);
    if (shown.some((finding) => finding.startsWith(`${values.until}: `))) break;
  }

  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${name}: ${seeds} seeds, ${found} with findings; ` +
      `${(seeds / seconds).toFixed(0)} per second; ` +
      Object.entries(sums)
        .map(([key, count]) => `${key} ${count}`)
        .join(", "),
  );
}
