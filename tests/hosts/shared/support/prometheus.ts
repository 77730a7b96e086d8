// Reads the answer to GET /metrics with a parser of Prometheus' text format that is not ours.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly metrics: readonly { readonly labels?: object; readonly value?: string }[];
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
