// Reads the answer to GET /metrics with a parser of Prometheus' text format that is not ours.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly metrics: readonly {
    readonly labels?: object;
    readonly value?: string;
    /** Of a histogram: by upper bound, as written. */
    readonly buckets?: Readonly<Record<string, string>>;
    readonly count?: string;
    readonly sum?: string;
  }[];
}

export interface Histogram {
  /** By upper bound, as written, without +Inf: how many values are not above it. */
  readonly buckets: Readonly<Record<string, string>>;
  readonly count: number;
  readonly sum: number;
}

const parse: (text: string) => Family[] = createRequire(import.meta.url)(
  "parse-prometheus-text-format",
);

/** By name. Requires that the parser has found every family that the text announces. */
export function familiesOf(text: string): Map<string, Family> {
  const families = new Map(parse(text).map((family) => [family.name, family]));
  const announced = [...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name!);
  assert.deepEqual([...families.keys()].sort(), [...announced].sort());
  return families;
}

/** Requires that the counts of its buckets rise with the bounds, up to the count of all values. */
export function histogramOf(text: string, name: string): Histogram {
  const { type, metrics } = familiesOf(text).get(name) ?? assert.fail(`no ${name} in:\n${text}`);
  assert.equal(type, "HISTOGRAM", name);
  const [{ buckets, count, sum } = {}] = metrics;
  const { "+Inf": all, ...bounded } = buckets!;
  const rising = Object.entries(bounded).sort(([a], [b]) => Number(a) - Number(b));
  let below = 0;
  for (const [, bucket] of [...rising, ["+Inf", all] as const]) {
    assert.ok(Number(bucket) >= below, text);
    below = Number(bucket);
  }
  assert.equal(below, Number(count), text);
  return { buckets: bounded, count: Number(count), sum: Number(sum) };
}

/** The value of the series whose name and labels are written so. */
export function seriesOf(text: string, series: string): number {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  assert.ok(line !== undefined, `no ${series} in:\n${text}`);
  return Number(line.slice(series.length + 1));
}

/** The part that the hub itself answers. */
export function ofHub(text: string): string {
  const end = text.indexOf("# HELP sidekick_host_");
  assert.ok(end > 0, text);
  return text.slice(0, end);
}

/** The rows of the tables in docs/metrics.md: name, and for families of hosts which have it. */
export function documented(): { readonly name: string; readonly hosts: string | undefined }[] {
  const page = readFileSync(new URL("../../../../docs/metrics.md", import.meta.url), "utf8");
  const hostTable = page.indexOf("| family of the host |");
  return [...page.matchAll(/^\| `(\w+)` \| \w+ \| ([^|]*) \|/gm)].map(
    ({ 1: name, 2: third, index }) => ({
      name: name!,
      hosts: index > hostTable ? third!.trim() : undefined,
    }),
  );
}
