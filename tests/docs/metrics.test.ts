// The dashboard for Grafana: every expression names families and labels that docs/metrics.md lists.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const page = readFileSync(`${root}docs/metrics.md`, "utf8");
const dashboard = JSON.parse(readFileSync(`${root}docs/grafana.json`, "utf8"));

interface Target {
  readonly expr: string;
  readonly legendFormat: string;
}
const targets: (Target & { readonly title: string })[] = dashboard.panels.flatMap(
  ({ title, targets }: { title: string; targets: Target[] }) =>
    targets.map((target) => ({ title, ...target })),
);

/** The labels of each family, by name. */
const families = new Map<string, string[]>();
for (const [, name, type, labels] of page.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]*) \|/gm)) {
  const own = [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label!);
  families.set(name!, own);
  if (type === "histogram") families.set(`${name}_bucket`, own);
}

test("each expression of the dashboard names families of docs/metrics.md, and their labels", () => {
  assert.ok(families.size > 30, "the tables are there");
  assert.ok(targets.length > 30, "the panels are there");
  for (const { title, expr, legendFormat } of targets) {
    const named = [...expr.matchAll(/\b(?:sidekick|process)_\w+/g)].map(([name]) => name);
    assert.ok(named.length > 0, `${title}: ${expr}`);
    for (const name of named) assert.ok(families.has(name), `${title}: ${name}`);
    const labels = named.flatMap((name) => families.get(name)!).concat("instance");
    const used = [
      ...[...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!),
      ...[...expr.matchAll(/\bby \((\w+)\)/g)].map(([, label]) => label!),
      ...[...expr.matchAll(/[{,](\w+)[=!]/g)].map(([, label]) => label!),
    ];
    for (const label of used) assert.ok(labels.includes(label), `${title}: ${label} in ${expr}`);
    assert.equal(/_total\b/.test(expr), /\b(rate|increase)\(\w+_total\b/.test(expr), expr);
  }
});

test("the dashboard shows every family, except constant ones", () => {
  const shown = targets.map(({ expr }) => expr).join("\n");
  const constant = ["sidekick_build_info", "process_start_time_seconds"];
  const unused = [...families.keys()].filter(
    (name) => !constant.includes(name) && !new RegExp(`\\b${name}(_bucket)?\\b`).test(shown),
  );
  assert.deepEqual(unused, []);
});
