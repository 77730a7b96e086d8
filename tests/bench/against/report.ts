// The tables of `scripts/bench --against`.

import { figure, table } from "../tables.js";
import { type RowId, textOf } from "./rows.js";
import type { Interval } from "./statistics.js";
import { confidence, judge, median, medianInterval } from "./statistics.js";

export interface Result extends RowId {
  readonly unit: string;
  readonly before: number;
  readonly now: number;
  readonly ratio: number;
  /** Of measured rows; counts are exact. */
  readonly interval?: Interval;
  readonly pairs?: number;
}

export function counted(row: RowId, before: number, now: number): Result {
  return { ...row, unit: "unit", before, now, ratio: now / before };
}

export function measured(
  row: RowId,
  unit: string,
  pairs: readonly { before: number; now: number }[],
): Result {
  const ratios = pairs.map(({ before, now }) => now / before);
  return {
    ...row,
    unit,
    before: median(pairs.map((pair) => pair.before)),
    now: median(pairs.map((pair) => pair.now)),
    ratio: median(ratios),
    interval: medianInterval(ratios),
    pairs: pairs.length,
  };
}

/** Gates below this need instructions: clocks are not precise enough. */
const clockGate = 1.05;

export type Judgement = "ok" | "worse" | "undecided" | "too few pairs" | "";

/** "": this row cannot judge the gate, but an instruction row of the same work does. */
export function judgement(result: Result, gate: number): Judgement {
  if (result.interval === undefined) return result.ratio <= gate ? "ok" : "worse";
  const hasCounts =
    result.area === "core, native" || result.area === "core in WASM" || result.area === "module";
  if (hasCounts && gate < clockGate) return "";
  if (result.interval.coverage < confidence) return "too few pairs";
  const verdict = judge(result.interval, gate);
  return verdict === "met" ? "ok" : verdict === "missed" ? "worse" : "undecided";
}

/** For progress. */
export function lineOf(result: Result, gate: number): string {
  const { ratio, interval } = result;
  const range = interval ? ` (${interval.low.toFixed(3)} to ${interval.high.toFixed(3)})` : "";
  return `${textOf(result)}: ${ratio.toFixed(4)}${range} ${judgement(result, gate)}`;
}

export function tables(results: readonly Result[], gate: number): string {
  const parts: string[] = [];
  for (const [measure, title] of [
    ["instructions", "Instructions per operation"],
    ["CPU", "CPU time per operation, us"],
    ["memory", "Resident memory, KB"],
  ] as const) {
    const chosen = results.filter((result) => result.measure === measure);
    const digits = measure === "instructions" ? 4 : 3;
    const rows = chosen.map((result) => {
      const { area, name, unit, before, now, ratio, interval } = result;
      const ends = interval ? [interval.low, interval.high].map((end) => end.toFixed(3)) : [];
      const shown = [figure(before), figure(now), ratio.toFixed(digits), ends.join(" to ")];
      return [`${area}: ${name}`, unit, ...shown, judgement(result, gate)];
    });
    const head = ["", "of one", "before", "now", "now / before", "interval", `at most ${gate}`];
    if (rows.length > 0) parts.push(`### ${title}\n\n${table(head, rows)}`);
  }
  const wasm = wasmTable(results);
  if (wasm !== "") parts.push(wasm);
  return parts.join("\n\n");
}

/** The same work in WASM, compared with native. */
function wasmTable(results: readonly Result[]): string {
  const rows: string[][] = [];
  for (const native of results.filter((r) => r.area === "core, native")) {
    for (const area of ["core in WASM", "module"] as const) {
      const wasm = results.find(
        (r) => r.area === area && r.measure === native.measure && r.name === native.name,
      );
      if (wasm === undefined) continue;
      rows.push([
        `${area}: ${native.name}`,
        native.measure,
        (wasm.before / native.before).toFixed(2),
        (wasm.now / native.now).toFixed(2),
      ]);
    }
  }
  return rows.length === 0
    ? ""
    : `### WASM, as a multiple of native\n\n${table(["", "by", "before", "now"], rows)}`;
}
