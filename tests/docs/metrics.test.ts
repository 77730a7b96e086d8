// The dashboard for Grafana: every expression is PromQL, by Prometheus' own grammar, and names
// families and labels that docs/metrics.md lists.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parser } from "@prometheus-io/lezer-promql";

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

interface Selector {
  readonly family: string;
  readonly labels: readonly string[];
  /** Of the function around it, such as rate. */
  readonly call: string | undefined;
}

interface Expression {
  readonly selectors: readonly Selector[];
  /** The labels that the result keeps; undefined: all. */
  readonly grouped: readonly string[] | undefined;
}

type Node = ReturnType<typeof parser.parse>["topNode"];

function parsed(expr: string): Expression {
  const tree = parser.parse(expr);
  const text = ({ from, to }: Node): string => expr.slice(from, to);
  /** Labels that this node names, within other nodes or not. */
  const labelsIn = (node: Node | null): string[] => {
    const found: string[] = [];
    node?.cursor().iterate((at) => {
      if (at.name === "LabelName") found.push(text(at.node));
    });
    return found;
  };
  const selectors: Selector[] = [];
  tree.iterate({
    enter({ node, type, from }) {
      assert.ok(!type.isError, `not PromQL at ${from}: ${expr}`);
      if (type.name !== "VectorSelector") return;
      const [family, matchers] = [node.getChild("Identifier"), node.getChild("LabelMatchers")];
      const ranged = node.parent?.name === "MatrixSelector" ? node.parent.parent?.parent : null;
      const call = ranged?.getChild("FunctionIdentifier");
      selectors.push({
        family: text(family!),
        labels: labelsIn(matchers),
        call: call ? text(call) : undefined,
      });
    },
  });
  const aggregate = tree.topNode.getChild("AggregateExpr");
  const grouped = aggregate ? labelsIn(aggregate.getChild("AggregateModifier")) : undefined;
  return { selectors, grouped };
}

test("each expression of the dashboard names families of docs/metrics.md, and their labels", () => {
  assert.ok(families.size > 30, "the tables are there");
  assert.ok(targets.length > 30, "the panels are there");
  for (const { title, expr, legendFormat } of targets) {
    // Grafana replaces its own variables before it asks Prometheus.
    const { selectors, grouped } = parsed(expr.replaceAll("$__rate_interval", "5m"));
    assert.ok(selectors.length > 0, `${title}: ${expr}`);
    const known = new Set(["instance"]);
    for (const { family, labels, call } of selectors) {
      assert.ok(families.has(family), `${title}: ${family}`);
      const own = [...families.get(family)!, "instance"];
      for (const label of own) known.add(label);
      for (const label of labels) assert.ok(own.includes(label), `${title}: ${label} in ${expr}`);
      assert.ok(labels.includes("instance"), `${title} ignores the choice of instances: ${expr}`);
      const isCounter = /_(total|bucket)$/.test(family);
      assert.equal(call === "rate" || call === "increase", isCounter, expr);
    }
    const kept = grouped ?? [...known];
    for (const label of kept)
      assert.ok(known.has(label) || label === "le", `${title}: ${label} in ${expr}`);
    for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
      assert.ok(kept.includes(label!), `${title}: {{${label}}}, but the result keeps ${kept}`);
  }
});

test("Grafana gets each panel once, in its own place", () => {
  const { panels } = dashboard as {
    panels: { id: number; gridPos: { x: number; y: number; w: number; h: number } }[];
  };
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const { id, gridPos: a } of panels) {
    assert.ok(a.x + a.w <= 24, `panel ${id}`);
    for (const { gridPos: b } of panels.filter((other) => other.id !== id)) {
      const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(isApart, `panel ${id} lies over another`);
    }
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
